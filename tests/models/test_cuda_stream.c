// test_cuda_stream.c: every STREAM program of the models as CUDA, run on the CPU against the
// interpreter.
#include "tests/codegen/cuda_bench.h"
#include "tests/models/cuda_kernels.h"

// Sums have a few hundred terms at most, of numbers below 2 in magnitude, and pass through a
// dozen operations that each round once.
static CudaCheck check_usual(void) {
    return (CudaCheck){.range = 1, .whole = 20, .tolerance = 1e-4};
}

#define SET(name, value)                                           \
    {                                                              \
        {(name), sizeof(name) - 1}, { (value), sizeof(value) - 1 } \
    }

static void check_settings(const char *path, const Setting *settings, uint32_t count,
                           DType storage) {
    const Binding bindings[] = {{STR("B"), 2}, {STR("T"), 21}};
    CudaModel m = {.path = path,
                   .kind = ENTRY_TRAIN,
                   .settings = {settings, count},
                   .bindings = {bindings, 2},
                   .arch = CUDA_SM90A,
                   .storage = storage};
    CudaKernels model;
    TileBench bench;
    bench_open(&bench);
    CudaBench cuda = {.bench = &bench, .quick = true};
    cuda_kernels_init(&model);
    assert_true(cuda_kernels_add(&model, &m));
    vec_each (const CompiledKernel, kernel, &model.kernels)
        if (kernel->program->skeleton == TILE_STREAM)
            cuda_bench_add(&cuda, cuda_stream, kernel->program, CUDA_SM90A, check_usual());
    print_message("%s: %u kernels\n", path, cuda.kernels.len);
    assert_true(cuda.kernels.len > 20);
    cuda_bench_run(&cuda);
    cuda_kernels_release(&model);
    bench_close(&bench);
}

static void check_model(const char *path, DType storage) {
    const Setting tiny = SET("size", "tiny");
    check_settings(path, &tiny, 1, storage);
}

static void prenorm(void **state) {
    (void)state;
    check_model("models/prenorm.strata", DTYPE_F32);
}

static void attnres_full(void **state) {
    (void)state;
    check_model("models/attnres_full.strata", DTYPE_F32);
}

static void attnres_block_in_bf16(void **state) {
    (void)state;
    check_model("models/attnres_block.strata", DTYPE_BF16);
}

// An iteration over small matrices: more scalars than registers.
static void streams_mixed_by_sinkhorn(void **state) {
    (void)state;
    const Setting settings[] = {SET("size", "tiny"), SET("residual", "mhc"),
                                SET("layers", "1")};
    check_settings("models/lm.strata", settings, 3, DTYPE_F32);
}

// Sublayers of a block over completed blocks: the sums over the sources, and the gradients of
// the sources. In every schedule, because a block's warps share the scalars; a block has
// several rows.
static void check_depth(const Setting *sizes, int64_t tokens, DType storage, IsaLevel arch) {
    const Binding binding = {STR("T"), tokens};
    CudaModel m = {.path = "tests/bench/depth_block_bf16.strata",
                   .kind = ENTRY_GRAD,
                   .settings = {sizes, 3},
                   .bindings = {&binding, 1},
                   .arch = arch,
                   .storage = storage};
    CudaKernels model;
    TileBench bench;
    bench_open(&bench);
    CudaBench cuda = {.bench = &bench};
    cuda_kernels_init(&model);
    assert_true(cuda_kernels_add(&model, &m));
    uint32_t count = 0;
    vec_each (const CompiledKernel, kernel, &model.kernels) {
        if (kernel->program->skeleton != TILE_STREAM) continue;
        TileProgram *p = arena_new(&bench.arena, TileProgram);
        *p = *kernel->program;
        tile_knob_set(p, "blocks", 2);
        cuda_bench_add(&cuda, cuda_stream, p, arch, check_usual());
        if (strstr(cuda.kernels.ptr[count].text.ptr, "*const scalars"))
            count++;
        else
            cuda.cases.len = cuda.kernels.len = count;
    }
    assert_true(count > 0);
    cuda_bench_run(&cuda);
    cuda_kernels_release(&model);
    bench_close(&bench);
}

static void depth_in_two_phases(void **state) {
    (void)state;
    const Setting sources[] = {SET("d", "272"), SET("n", "12"), SET("s", "8")};
    const Setting queries[] = {SET("d", "264"), SET("n", "3"), SET("s", "16")};
    check_depth(sources, 5, DTYPE_BF16, CUDA_SM80);
    check_depth(sources, 5, DTYPE_BF16, CUDA_SM90A);
    check_depth(queries, 3, DTYPE_F32, CUDA_SM90A);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prenorm),
        cmocka_unit_test(attnres_full),
        cmocka_unit_test(attnres_block_in_bf16),
        cmocka_unit_test(streams_mixed_by_sinkhorn),
        cmocka_unit_test(depth_in_two_phases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
