// test_cuda_loop.c: every LOOP program of the models by LOOP_CP, run on the CPU against the
// interpreter.
#include "tests/codegen/cuda_bench.h"
#include "tests/models/cuda_kernels.h"

typedef struct {
    const char *path;
    EntryKind kind;
    DType storage;
    int64_t batch, context;
} Case;

static const Case cases[] = {
    {"models/prenorm.strata", ENTRY_TRAIN, DTYPE_F32, 2, 21},
    {"models/prenorm.strata", ENTRY_TRAIN, DTYPE_BF16, 2, 24},
    {"models/attnres_full.strata", ENTRY_TRAIN, DTYPE_F32, 2, 24},
    {"models/attnres_full.strata", ENTRY_FORWARD, DTYPE_BF16, 1, 19},
    {"models/attnres_block.strata", ENTRY_INFER, DTYPE_F32, 1, 16},
    {"models/attnres_block.strata", ENTRY_TRAIN, DTYPE_BF16, 2, 16},
};

static void add_model(CudaKernels *k, const Case *c) {
    const Setting settings[] = {{STR("size"), STR("tiny")}, {STR("vocab"), STR("40")}};
    const Binding bindings[] = {{STR("B"), c->batch}, {STR("T"), c->context}};
    CudaModel m = {.path = c->path,
                   .kind = c->kind,
                   .settings = {settings, 2},
                   .bindings = {bindings, 2},
                   .arch = CUDA_SM80,
                   .storage = c->storage};
    assert_true(cuda_kernels_add(k, &m));
}

// Each product and each of k sums is rounded once; numbers are below 1 in magnitude, and an
// epilogue has a dozen operations.
static CudaCheck check_of(const TileProgram *p) {
    double k = 1;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_K) k *= (double)p->dims[d].extent;
    return (CudaCheck){.range = 1, .whole = 20, .tolerance = (k + 16) * 0x1p-23 * 4};
}

static void test_results(void **state) {
    (void)state;
    CudaKernels models;
    TileBench bench;
    bench_open(&bench);
    CudaBench cuda = {.bench = &bench, .quick = true};
    cuda_kernels_init(&models);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        add_model(&models, &cases[i]);
    vec_each (const CompiledKernel, kernel, &models.kernels)
        if (kernel->program->skeleton == TILE_LOOP)
            cuda_bench_add(&cuda, cuda_loop_cp, kernel->program, CUDA_SM80,
                           check_of(kernel->program));
    assert_true(cuda.kernels.len > 20);
    cuda_bench_run(&cuda);
    cuda_kernels_release(&models);
    bench_close(&bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_results)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
