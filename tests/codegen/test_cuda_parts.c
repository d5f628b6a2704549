// test_cuda_parts.c: contractions with k in parts, as both skeletons and the kernel that adds
// up the parts: on the CPU under every schedule, the same bits in each, and through NVRTC.
#include "codegen/cuda/loop_ws.h"
#include "ir/graph/passes.h"
#include "ir/region_to_tile.h"
#include "tests/codegen/cuda_bench.h"

// r[m, n] = sum over k of a[k, m] * b[k, n]: the gradient of a weight, k being tokens.
typedef struct {
    int64_t m, n, k;
    int32_t parts;
    DType type, out;
    bool residual;  // silu of it, and something added
} Gradient;

static ValueId param(Graph *g, const char *name, DType type, AxisId x, AxisId y) {
    Leaf leaf = {.kind = OP_PARAM,
                 .path = str_of(name),
                 .type = type,
                 .rank = 2,
                 .axes = (AxisId[]){x, y}};
    return graph_leaf(g, &leaf);
}

static const TileKernels *kernels_of(Arena *arena, const Gradient *x) {
    Graph *g = graph_new(arena, STR("parts"));
    AxisId m = graph_axis(g, STR("m"), x->m, false), n = graph_axis(g, STR("n"), x->n, false),
           k = graph_axis(g, STR("k"), x->k, false);
    ValueId in[] = {param(g, "a", x->type, k, m), param(g, "b", x->type, k, n)};
    GraphAttr along = {.along = &k, .along_count = 1};
    ValueId r = graph_add(g, OP_CONTRACT, (Operands){in, 2}, along, (Span){0});
    if (x->residual) {
        ValueId gate = graph_unary(g, OP_SIGMOID, r, (Span){0});
        r = graph_binary(g, OP_ADD, graph_binary(g, OP_MUL, r, gate, (Span){0}),
                         param(g, "c", DTYPE_F32, m, n), (Span){0});
    }
    graph_output(g, STR("r"), x->out == DTYPE_F32 ? r : graph_cast(g, r, x->out, (Span){0}));
    const Regions *regions = pass_fuse(g, arena);
    assert_int_equal(regions->count, 1);
    Schedule s = schedule_none();
    s.parts = x->parts;
    return region_to_tile(regions, &regions->regions[0], &s, arena);
}

// Each product is exact, or rounded once as each of k sums is; values are below 2 in magnitude.
static void add(CudaFixture *f, CudaSkeleton skeleton, IsaLevel arch, Gradient x) {
    const TileKernels *k = kernels_of(&f->bench.arena, &x);
    int64_t terms = x.k / x.parts;
    CudaCheck check = {.range = 2, .whole = 10, .tolerance = (double)(terms + 4) * 0x1p-23 * 4};
    assert_int_equal(k->kernel_count, 2);
    cuda_bench_add(&f->cuda, skeleton, k->kernels[0].program, arch, check);
    check.tolerance = (double)(x.parts + 8) * 0x1p-23 * 4;
    cuda_bench_add(&f->cuda, cuda_stream, k->kernels[1].program, arch, check);
}

// A part that no step divides ends with zeros, not with what the next part begins with.
static void test_warpgroups(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    add(&f, cuda_loop_ws, CUDA_SM90A,
        (Gradient){72, 136, 400, 4, DTYPE_BF16, DTYPE_F32, false});
    add(&f, cuda_loop_ws, CUDA_SM90A, (Gradient){64, 40, 512, 2, DTYPE_BF16, DTYPE_BF16, true});
    cuda_fixture_run(&f);
}

static void test_copies(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    add(&f, cuda_loop_cp, CUDA_SM80, (Gradient){72, 40, 400, 4, DTYPE_BF16, DTYPE_F32, false});
    add(&f, cuda_loop_cp, CUDA_SM80, (Gradient){33, 50, 210, 3, DTYPE_BF16, DTYPE_BF16, true});
    add(&f, cuda_loop_cp, CUDA_SM100A, (Gradient){40, 24, 180, 5, DTYPE_F32, DTYPE_F32, true});
    cuda_fixture_run(&f);
}

static void compile(CudaSkeleton skeleton, IsaLevel arch, DType type) {
    CudaFixture f;
    cuda_fixture_open(&f);
    add(&f, skeleton, arch, (Gradient){1024, 1024, 32768, 4, type, DTYPE_F32, false});
    add(&f, skeleton, arch, (Gradient){768, 512, 8192, 8, type, DTYPE_BF16, true});
    cuda_fixture_compile(&f, arch);
}

static void test_compiles(void **state) {
    (void)state;
    compile(cuda_loop_cp, CUDA_SM80, DTYPE_BF16);
    compile(cuda_loop_ws, CUDA_SM90A, DTYPE_BF16);
    compile(cuda_loop_cp, CUDA_SM100A, DTYPE_F32);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_warpgroups),
                                       cmocka_unit_test(test_copies),
                                       cmocka_unit_test(test_compiles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
