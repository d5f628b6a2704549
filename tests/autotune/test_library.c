// test_library.c: products of matrices are recognised, in every storage order, and what the
// library would compute is what the program says.
#include "autotune/candidate.h"
#include "autotune/library.h"
#include "runtime/gemm.h"
#include "tests/test.h"

enum { M = 3, N = 5, K = 7, BATCH = 2 };

typedef struct {
    Arena arena;
    Diag diag;
    TileProgram *p;
    DType type;            // of a and b
    int64_t extent[4];     // batch, m, n, k
    int64_t stride[3][4];  // of a, b and c
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    f->type = DTYPE_F32;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    arena_release(&f->arena);
    test_free(f);
    return 0;
}

static TileAccess access(Fixture *f, uint32_t arg, const uint32_t dims[4]) {
    TileAccess x = tile_access(arg);
    for (int i = 0; i < 4; i++)
        x.stride[dims[i]] = f->stride[arg][i];
    return x;
}

// Strides of a, b and c in the order batch, m, n, k.
static void build(Fixture *f, const int64_t extent[4], int64_t strides[3][4]) {
    memcpy(f->extent, extent, sizeof f->extent);
    memcpy(f->stride, strides, sizeof f->stride);
    f->p = tile_new(&f->arena, STR("product"), TILE_LOOP);
    const uint32_t dims[4] = {tile_dim(f->p, STR("b"), extent[0], 1, DIM_GRID),
                              tile_dim(f->p, STR("m"), extent[1], extent[1], DIM_M),
                              tile_dim(f->p, STR("n"), extent[2], extent[2], DIM_N),
                              tile_dim(f->p, STR("k"), extent[3], extent[3], DIM_K)};
    const char *names[] = {"a", "b", "c"};
    for (int arg = 0; arg < 3; arg++) {
        int64_t elements = 1;
        for (int i = 0; i < 4; i++)
            elements += (extent[i] - 1) * strides[arg][i];
        tile_arg(f->p, str_of(names[arg]), arg < 2 ? f->type : DTYPE_F32, elements);
    }
    TileId a = tile_load(f->p, access(f, 0, dims), (Span){0}),
           b = tile_load(f->p, access(f, 1, dims), (Span){0});
    TileId dot = tile_dot(f->p, a, b, (DimSet)(1U << dims[3]), (Span){0});
    tile_store(f->p, access(f, 2, dims), dot, (Span){0});
    assert_true(tile_verify(&f->diag, f->p));
}

// Small integers: sums are exact whatever their order.
static void check_numbers(Fixture *f) {
    PlanGemm g;
    uint32_t args[3];
    assert_true(library_gemm(f->p, &g, args));
    float *data[4];
    for (int i = 0; i < 4; i++) {
        int64_t n = f->p->args.ptr[i < 3 ? i : 2].elements;
        data[i] = arena_array(&f->arena, float, n);
        for (int64_t j = 0; j < n; j++)
            data[i][j] = i < 2 ? (float)((j * 5 + i) % 7 - 3) : 0;
    }
    tile_interpret(f->p, (void *[]){data[0], data[1], data[2]});
    Pool *pool;
    assert_true(pool_open(&f->diag, 1, &pool));
    float *result = data[3];
    gemm_run(pool, &g, data[args[0]], data[args[1]], result);
    pool_close(pool);
    assert_int_equal(args[2], 2);
    for (int64_t i = 0; i < f->p->args.ptr[2].elements; i++)
        assert_true(result[i] == data[2][i]);
}

static void each_storage_order(void **state) {
    Fixture *f = *state;
    const int64_t extent[4] = {BATCH, M, N, K};
    for (int order = 0; order < 8; order++) {
        bool ta = order & 1, tb = order & 2, tc = order & 4;
        int64_t strides[3][4] = {{(int64_t)M * K, ta ? 1 : K, 0, ta ? M : 1},
                                 {(int64_t)K * N, 0, tb ? K : 1, tb ? 1 : N},
                                 {(int64_t)M * N, tc ? 1 : N, tc ? M : 1, 0}};
        build(f, extent, strides);
        check_numbers(f);
    }
}

static void extents_of_one(void **state) {
    Fixture *f = *state;
    for (int which = 0; which < 8; which++) {
        int64_t m = which & 1 ? 1 : M, n = which & 2 ? 1 : N, k = which & 4 ? 1 : K;
        const int64_t extent[4] = {1, m, n, k};
        int64_t strides[3][4] = {{0, k, 0, 1}, {0, 0, 1, n}, {0, n, 1, 0}};
        build(f, extent, strides);
        check_numbers(f);
    }
}

static void weights_shared_by_the_batch(void **state) {
    Fixture *f = *state;
    const int64_t extent[4] = {BATCH, M, N, K};
    int64_t strides[3][4] = {
        {(int64_t)M * K, K, 0, 1}, {0, 0, 1, N}, {(int64_t)M * N, N, 1, 0}};
    build(f, extent, strides);
    check_numbers(f);
    PlanGemm g;
    uint32_t args[3];
    assert_true(library_gemm(f->p, &g, args));
    assert_true(gemm_flops(&g) == 2.0 * BATCH * M * N * K);
    assert_true(gemm_bytes(&g) == 4.0 * (BATCH * M * K + K * N + BATCH * M * N));
}

static void other_strides_are_refused(void **state) {
    Fixture *f = *state;
    const int64_t extent[4] = {1, M, N, K};
    int64_t apart[3][4] = {{0, (int64_t)2 * K, 0, 2}, {0, 0, 1, N}, {0, N, 1, 0}};
    PlanGemm g;
    uint32_t args[3];
    build(f, extent, apart);
    assert_false(library_gemm(f->p, &g, args));
    int64_t overlapping[3][4] = {{0, 1, 0, 1}, {0, 0, 1, N}, {0, N, 1, 0}};
    build(f, extent, overlapping);
    assert_false(library_gemm(f->p, &g, args));
}

static void epilogues_are_refused(void **state) {
    Fixture *f = *state;
    f->p = tile_new(&f->arena, STR("product"), TILE_LOOP);
    uint32_t m = tile_dim(f->p, STR("m"), M, M, DIM_M),
             n = tile_dim(f->p, STR("n"), N, N, DIM_N),
             k = tile_dim(f->p, STR("k"), K, K, DIM_K);
    uint32_t a = tile_arg(f->p, STR("a"), DTYPE_F32, (int64_t)M * K),
             b = tile_arg(f->p, STR("b"), DTYPE_F32, (int64_t)K * N),
             c = tile_arg(f->p, STR("c"), DTYPE_F32, (int64_t)M * N);
    TileAccess xa = tile_access(a), xb = tile_access(b), xc = tile_access(c);
    xa.stride[m] = K, xa.stride[k] = 1;
    xb.stride[k] = N, xb.stride[n] = 1;
    xc.stride[m] = N, xc.stride[n] = 1;
    TileId dot = tile_dot(f->p, tile_load(f->p, xa, (Span){0}), tile_load(f->p, xb, (Span){0}),
                          (DimSet)(1U << k), (Span){0});
    TileId negative = tile_map(f->p, OP_NEG, DTYPE_F32, &dot, (Span){0});
    tile_store(f->p, xc, negative, (Span){0});
    PlanGemm g;
    uint32_t args[3];
    assert_false(library_gemm(f->p, &g, args));
}

// A floor counts pairs of bf16 half where the processor multiplies them at once.
static void flops_of_pairs(void **state) {
    Fixture *f = *state;
    const int64_t extent[4] = {1, M, N, K};
    int64_t strides[3][4] = {{0, K, 0, 1}, {0, 0, 1, N}, {0, N, 1, 0}};
    for (int pairs = 0; pairs < 2; pairs++) {
        f->type = pairs ? DTYPE_BF16 : DTYPE_F32;
        build(f, extent, strides);
        double flops = 2.0 * M * N * K;
        assert_true(program_f32_flops(f->p, CPU_AVX512) == flops);
        assert_true(program_f32_flops(f->p, CPU_AVX512BF16) == flops / (pairs ? 2 : 1));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_storage_order, setup, teardown),
        cmocka_unit_test_setup_teardown(extents_of_one, setup, teardown),
        cmocka_unit_test_setup_teardown(weights_shared_by_the_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(flops_of_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(other_strides_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(epilogues_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
