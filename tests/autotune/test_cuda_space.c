// test_cuda_space.c: every schedule of a GPU's space gives kernels, no two the same, the
// prior's first; a sample compiles without spills.
#include "autotune/library.h"
#include "autotune/space.h"
#include "codegen/cuda/cuda.h"
#include "ir/graph/passes.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/gemm.h"
#include "tests/test.h"

enum { MOST = 60, LEVELS = 3 };
static const IsaLevel levels[LEVELS] = {CUDA_SM80, CUDA_SM90A, CUDA_SM100A};

typedef struct {
    Arena arena;
    Diag diag;
    Graph *graph;
    Regions *regions;
    Vec(CudaKernel) kernels;  // of the last schedule
} Fixture;

static void fixture_open(Fixture *f) {
    *f = (Fixture){0};
    diag_init(&f->diag, &f->arena);
    f->graph = graph_new(&f->arena, STR("space"));
}

static AxisId axis(Fixture *f, const char *name, int64_t extent) {
    return graph_axis(f->graph, str_of(name), extent, false);
}

static ValueId param(Fixture *f, const char *name, DType type, AxisId x, AxisId y) {
    AxisId axes[] = {x, y};
    Leaf leaf = {.kind = OP_PARAM, .path = str_of(name), .type = type, .rank = 2, .axes = axes};
    return graph_leaf(f->graph, &leaf);
}

static void fixture_fuse(Fixture *f, ValueId output) {
    graph_output(f->graph, STR("y"), output);
    f->regions = pass_fuse(f->graph, &f->arena);
    assert_int_equal(f->regions->count, 1);
}

typedef struct {
    int64_t m, n, k;
    DType type;
    bool turned_a, turned_b, plain;  // plain: a product and nothing else
    DType stored;
} Product;

static void contraction(Fixture *f, const Product *x) {
    fixture_open(f);
    AxisId m = axis(f, "m", x->m), n = axis(f, "n", x->n), k = axis(f, "k", x->k);
    ValueId in[] = {param(f, "a", x->type, x->turned_a ? k : m, x->turned_a ? m : k),
                    param(f, "b", x->type, x->turned_b ? n : k, x->turned_b ? k : n)};
    GraphAttr attr = {.along = &k, .along_count = 1};
    ValueId y = graph_add(f->graph, OP_CONTRACT, (Operands){in, 2}, attr, (Span){0});
    if (!x->plain) y = graph_unary(f->graph, OP_SIGMOID, y, (Span){0});
    fixture_fuse(f, x->stored == DTYPE_F32 ? y : graph_cast(f->graph, y, x->stored, (Span){0}));
}

// x / |x|, row by row.
static void normed(Fixture *f, int64_t rows, int64_t cols, DType type) {
    fixture_open(f);
    AxisId t = axis(f, "t", rows), d = axis(f, "d", cols);
    ValueId x = param(f, "x", type, t, d);
    if (type != DTYPE_F32) x = graph_cast(f->graph, x, DTYPE_F32, (Span){0});
    ValueId square = graph_binary(f->graph, OP_MUL, x, x, (Span){0});
    ValueId sum = graph_sum(f->graph, square, &d, 1, (Span){0});
    ValueId scale = graph_unary(f->graph, OP_RSQRT, sum, (Span){0});
    GraphAttr to = {.to = (AxisId[]){t, d}, .to_count = 2};
    scale = graph_add(f->graph, OP_BROADCAST, (Operands){&scale, 1}, to, (Span){0});
    fixture_fuse(f, graph_binary(f->graph, OP_MUL, x, scale, (Span){0}));
}

// Over rows: partial sums, then their sum.
static void sum_of_rows(Fixture *f) {
    fixture_open(f);
    AxisId t = axis(f, "t", 3000), d = axis(f, "d", 260);
    ValueId x = param(f, "x", DTYPE_F32, t, d);
    fixture_fuse(f, graph_sum(f->graph, x, &t, 1, (Span){0}));
}

// The gradients of 16 heads of 500 queries and keys, 64 elements each, or the attention itself.
static void attention(Fixture *f, bool gradients) {
    fixture_open(f);
    AxisId T = axis(f, "T", 500), S = axis(f, "S", 500), h = axis(f, "h", 16),
           d = axis(f, "d", 64), e = axis(f, "e", 64);
    const AxisId axes[6][3] = {{T, h, d}, {S, h, d}, {S, h, e}, {T, h, e}, {T, h}, {T, h}};
    ValueId in[6];
    for (uint32_t i = 0; i < 6; i++) {
        Leaf leaf = {.kind = OP_PARAM,
                     .path = str_printf(&f->arena, "x%u", i),
                     .type = i < 4 ? DTYPE_BF16 : DTYPE_F32,
                     .rank = i < 4 ? 3 : 2,
                     .axes = axes[i]};
        in[i] = graph_leaf(f->graph, &leaf);
    }
    AxisId along[] = {d, T, S};
    GraphAttr attr = {.along = along, .along_count = 3, .number = 0.125, .band = {0, 200}};
    if (!gradients) {
        fixture_fuse(f, graph_add(f->graph, OP_ATTEND, (Operands){in, 3}, attr, (Span){0}));
        return;
    }
    const GraphOp ops[] = {OP_ATTEND_DQ, OP_ATTEND_DK, OP_ATTEND_DV};
    for (int i = 0; i < 2; i++)
        graph_output(f->graph, str_printf(&f->arena, "g%d", i),
                     graph_add(f->graph, ops[i], (Operands){in, 6}, attr, (Span){0}));
    fixture_fuse(f, graph_add(f->graph, ops[2], (Operands){in, 6}, attr, (Span){0}));
}

// Every schedule must have kernels. Their text, and what launching them takes.
static Hash emitted(Fixture *f, const Schedule *s, IsaLevel level) {
    TileKernels *kernels = region_to_tile(f->regions, &f->regions->regions[0], s, &f->arena);
    Hash hash = {0};
    f->kernels.len = 0;
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        const TileProgram *p = kernels->kernels[i].program;
        CudaKernel kernel;
        assert_true(tile_verify(&f->diag, p));
        if (!cuda_emit(&f->diag, &f->arena, p, (EmitOptions){.level = level}, &kernel)) {
            assert_diag(&f->diag, "");
            fail();
        }
        uint32_t sizes[] = {kernel.launch.blocks, kernel.launch.cluster};
        hash = hash_mix(hash, hash_bytes(kernel.text.ptr, kernel.text.len));
        hash = hash_mix(hash, hash_bytes((const char *)sizes, sizeof sizes));
        vec_push(&f->arena, &f->kernels, kernel);
    }
    return hash;
}

static Schedules space_of(Fixture *f, IsaLevel level) {
    return schedule_space(f->regions, &f->regions->regions[0], level, 1, &f->arena);
}

static void check_space(Fixture *f, uint32_t least) {
    for (int l = 0; l < LEVELS; l++) {
        Schedules all = space_of(f, levels[l]);
        Schedule prior = schedule_prior(f->regions, &f->regions->regions[0], levels[l], 1);
        assert_in_range(all.len, least, MOST);
        assert_memory_equal(&all.ptr[0], &prior, sizeof prior);
        Hash *seen = arena_array(&f->arena, Hash, all.len);
        for (uint32_t i = 0; i < all.len; i++) {
            bool rows = f->regions->regions[0].kind == REGION_ROW;
            if (rows) assert_int_equal(all.ptr[i].parts, prior.parts);
            seen[i] = emitted(f, &all.ptr[i], levels[l]);
            for (uint32_t k = 0; k < i; k++)
                assert_false(hash_eq(seen[i], seen[k]));
        }
    }
    arena_release(&f->arena);
}

static const Product products[] = {
    {1, 70, 90, DTYPE_F32, false, false, false, DTYPE_F32},
    {50, 70, 90, DTYPE_F32, true, false, true, DTYPE_F32},
    {300, 200, 500, DTYPE_F32, false, true, false, DTYPE_F32},
    {8, 512, 512, DTYPE_BF16, false, false, false, DTYPE_F32},
    {1024, 768, 512, DTYPE_BF16, false, true, true, DTYPE_BF16},
    {512, 512, 2048, DTYPE_BF16, true, false, false, DTYPE_BF16},
    {100, 130, 77, DTYPE_BF16, true, true, false, DTYPE_F32},
    {640, 96, 64, DTYPE_BF16, false, false, true, DTYPE_F32},
};
enum { PRODUCTS = sizeof products / sizeof *products };

static void contractions_have_tiles(void **state) {
    (void)state;
    for (int i = 0; i < PRODUCTS; i++) {
        Fixture f;
        contraction(&f, &products[i]);
        check_space(&f, 8);
    }
}

static void attention_has_tiles(void **state) {
    (void)state;
    for (int gradients = 0; gradients < 2; gradients++) {
        Fixture f;
        attention(&f, gradients != 0);
        check_space(&f, 12);
    }
}

static void rows_have_shapes(void **state) {
    (void)state;
    static const int64_t cols[] = {1, 24, 300, 1024, 5000, 40000};
    for (size_t i = 0; i < sizeof cols / sizeof *cols; i++) {
        Fixture f;
        normed(&f, i & 1 ? 7 : 4000, cols[i], i & 2 ? DTYPE_F32 : DTYPE_BF16);
        check_space(&f, 1);
    }
    Fixture f;
    sum_of_rows(&f);
    check_space(&f, 2);
}

static int32_t parts_of(const Product *product, IsaLevel level) {
    Fixture f;
    contraction(&f, product);
    Schedule prior = schedule_prior(f.regions, &f.regions->regions[0], level, 1);
    arena_release(&f.arena);
    return prior.parts;
}

// k is in parts where the tiles of the result are too few for the card, and k is long; both are
// tried.
static void long_sums_are_in_parts(void **state) {
    (void)state;
    static const Product gradient = {1024, 1024,  32768, DTYPE_BF16,
                                     true, false, true,  DTYPE_F32},
                         square = {4096,  4096,  4096, DTYPE_BF16,
                                   false, false, true, DTYPE_BF16};
    for (int l = 0; l < LEVELS; l++) {
        assert_true(parts_of(&gradient, levels[l]) >= 4);
        assert_int_equal(parts_of(&square, levels[l]), 0);
    }
    Fixture f;
    contraction(&f, &gradient);
    Schedules all = space_of(&f, CUDA_SM90A);
    uint32_t whole = 0, in_parts = 0;
    for (uint32_t i = 0; i < all.len; i++) {
        emitted(&f, &all.ptr[i], CUDA_SM90A);
        assert_int_equal(f.kernels.len, all.ptr[i].parts ? 2 : 1);
        whole += !all.ptr[i].parts;
        in_parts += all.ptr[i].parts > 0;
    }
    assert_true(in_parts >= 8 && whole >= 1);
    arena_release(&f.arena);
}

// sm_90a has both skeletons where the copy engine can fetch the operands.
static void skeleton_is_a_choice(void **state) {
    (void)state;
    Fixture f;
    contraction(&f, &products[4]);
    Schedules all = space_of(&f, CUDA_SM90A);
    uint32_t ws = 0, cp = 0;
    for (uint32_t i = 1; i < all.len; i++) {
        emitted(&f, &all.ptr[i], CUDA_SM90A);
        bool copies = f.kernels.ptr[0].launch.map_count > 0;
        assert_int_equal(copies, all.ptr[i].skeleton == 0);
        ws += copies;
        cp += !copies;
    }
    assert_true(ws >= 10 && cp >= 5);
    arena_release(&f.arena);
}

static void library_is_asked_by_level(void **state) {
    (void)state;
    for (int i = 0; i < PRODUCTS; i++) {
        Fixture f;
        contraction(&f, &products[i]);
        Schedule none = schedule_none();
        TileKernels *k = region_to_tile(f.regions, &f.regions->regions[0], &none, &f.arena);
        PlanGemm g;
        uint32_t args[3];
        bool plain = library_gemm(k->kernels[0].program, &g, args);
        assert_int_equal(plain, products[i].plain);
        arena_release(&f.arena);
        if (!plain) continue;
        DType type = products[i].type;
        assert_int_equal(g.type_ab, type);
        assert_int_equal(g.type_c, products[i].stored);
        assert_int_equal(library_takes(CUDA_SM90A, &g), cublaslt_available());
        assert_int_equal(library_takes(CPU_AVX2, &g), gemm_available() && type == DTYPE_F32);
    }
}

// The estimates of registers must be good enough that few schedules are compiled in vain.
static void sample_compiles(void **state) {
    (void)state;
    enum { EACH = 11 };
    Fixture f;
    fixture_open(&f);
    if (!nvrtc_version(&f.arena).len) {
        arena_release(&f.arena);
        skip();
    }
    uint32_t compiled = 0, spilled = 0;
    for (int i = 3; i <= PRODUCTS; i += 2) {
        arena_release(&f.arena);
        if (i < PRODUCTS)
            contraction(&f, &products[i]);
        else
            normed(&f, 4000, 1024, DTYPE_BF16);
        Schedules all = space_of(&f, CUDA_SM90A);
        for (uint32_t k = EACH / 2; k < all.len; k += EACH) {
            emitted(&f, &all.ptr[k], CUDA_SM90A);
            CudaCode code;
            if (!nvrtc_compile(&f.diag, &f.arena, f.kernels.ptr[0].text, CUDA_SM90A, &code)) {
                assert_diag(&f.diag, "");
                fail();
            }
            compiled++;
            spilled += code.spill_bytes > 0 || code.notes.len > 0;
        }
    }
    arena_release(&f.arena);
    assert_true(compiled >= 6);
    assert_true(spilled * 4 <= compiled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contractions_have_tiles), cmocka_unit_test(attention_has_tiles),
        cmocka_unit_test(rows_have_shapes),        cmocka_unit_test(long_sums_are_in_parts),
        cmocka_unit_test(skeleton_is_a_choice),    cmocka_unit_test(library_is_asked_by_level),
        cmocka_unit_test(sample_compiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
