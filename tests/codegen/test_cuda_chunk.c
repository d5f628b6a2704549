// CHUNK kernels for GPUs: each operation of recurrences alone, and what regions of linear
// attention and of its gradients become, over ragged lengths, tiles and widths, against the
// interpreter, and through NVRTC.
#include "tests/codegen/chunk_case.h"
#include "tests/codegen/chunk_limits.h"
#include "tests/codegen/cuda_bench.h"

static void fixture_open(CudaFixture *f, bool quick) {
    cuda_fixture_open(f);
    f->cuda.quick = quick;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const CudaCheck check = {.range = 1, .limits = chunk_limits};

static const ChunkShape shapes[] = {
    {1, 1, 16, 16, 0},    {7, 3, 5, 9, 0},     {65, 64, 33, 24, 0},
    {100, 40, 24, 16, 0}, {31, 31, 16, 70, 0},
};

static void check_text(ChunkText text) {
    CudaFixture f;
    fixture_open(&f, true);
    for (size_t i = 0; i < COUNT(shapes); i++)
        cuda_bench_add(&f.cuda, cuda_chunk, chunk_case_text(&f.bench, text, &shapes[i]),
                       (IsaLevel)(CUDA_SM80 + i % 3), check);
    cuda_fixture_run(&f);
}

static void test_dots(void **state) {
    (void)state;
    check_text(CHUNK_DOTS);
}

static void test_decayed_dots(void **state) {
    (void)state;
    check_text(CHUNK_DECAYED);
    check_text(CHUNK_DECAYED_BY_TOKENS);
}

static void test_scans_and_sums(void **state) {
    (void)state;
    check_text(CHUNK_SCANS);
    check_text(CHUNK_SCANS_OF_TOKENS);
    check_text(CHUNK_SUMS);
}

static void test_solves(void **state) {
    (void)state;
    check_text(CHUNK_SOLVES);
}

static void test_gated_delta(void **state) {
    (void)state;
    check_text(CHUNK_GATED_DELTA);
    check_text(CHUNK_GATED_DELTA_BACK);
}

// Arguments are small: keys that are longer than 1, or tokens that grow, would let states grow
// without bound.
static void add_region(CudaFixture *f, const ChunkShape *x, int64_t bits, bool wide,
                       ChunkMakes makes) {
    CudaCheck small = check;
    small.range = 0.25;
    TileKernels *kernels = chunk_case_region(&f->bench, x, bits, wide, makes);
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        cuda_bench_add(&f->cuda, cuda_chunk, kernels->kernels[i].program,
                       (IsaLevel)(CUDA_SM80 + f->cuda.cases.len % 3), small);
}

// Every member, by what it is made of.
static void add_members(CudaFixture *f, const ChunkShape *x, ChunkMakes makes) {
    add_region(f, x, 0, false, makes);
    add_region(f, x, LINEAR_HAS_DECAY, false, makes);
    add_region(f, x, LINEAR_HAS_DECAY, true, makes);
    add_region(f, x, LINEAR_HAS_BETA, false, makes);
    add_region(f, x, LINEAR_DELTA, false, makes);
    add_region(f, x, CHUNK_EVERYTHING, false, makes);
    add_region(f, x, CHUNK_EVERYTHING, true, makes);
}

static void test_members(void **state) {
    (void)state;
    CudaFixture f;
    fixture_open(&f, true);
    add_members(&f, &(ChunkShape){50, 32, 20, 17, 0}, CHUNK_RESULTS);
    add_region(&f, &(ChunkShape){1, 1, 20, 17, 0}, CHUNK_EVERYTHING, true, CHUNK_RESULTS);
    cuda_fixture_run(&f);
}

static void test_gradients(void **state) {
    (void)state;
    CudaFixture f;
    fixture_open(&f, true);
    add_members(&f, &(ChunkShape){50, 32, 20, 17, 0}, CHUNK_GRADIENTS);
    add_members(&f, &(ChunkShape){50, 32, 20, 17, 0}, CHUNK_GRADIENTS_OF_FINAL);
    add_region(&f, &(ChunkShape){1, 1, 20, 17, 0}, CHUNK_EVERYTHING, true, CHUNK_GRADIENTS);
    cuda_fixture_run(&f);
}

static void test_segments(void **state) {
    (void)state;
    const ChunkShape x = {65, 16, 20, 17, 4}, narrow = {23, 8, 9, 40, 2};
    CudaFixture f;
    fixture_open(&f, true);
    for (int i = CHUNK_RESULTS; i <= CHUNK_GRADIENTS_OF_FINAL; i++) {
        add_region(&f, &x, CHUNK_EVERYTHING, true, (ChunkMakes)i);
        add_region(&f, &x, CHUNK_EVERYTHING | CHUNK_BF16, true, (ChunkMakes)i);
        add_region(&f, &narrow, LINEAR_HAS_DECAY, true, (ChunkMakes)i);
    }
    cuda_fixture_run(&f);
}

// In f32, where rooms are largest, as wide as heads are, whole or in segments.
static void test_compiles(void **state) {
    (void)state;
    const ChunkShape whole = {256, 16, 128, 128, 0}, cut = {256, 16, 128, 128, 4};
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++) {
        CudaFixture f;
        fixture_open(&f, true);
        const ChunkShape *x = arch == CUDA_SM90A ? &whole : &cut;
        add_region(&f, x, CHUNK_EVERYTHING, true, CHUNK_RESULTS);
        add_region(&f, x, CHUNK_EVERYTHING, true, CHUNK_GRADIENTS);
        cuda_fixture_compile(&f, (IsaLevel)arch);
    }
}

// In all schedules of the machine: results are the same bits.
static void test_schedules(void **state) {
    (void)state;
    CudaFixture f;
    fixture_open(&f, false);
    const ChunkShape x = {20, 17, 16, 8, 0};
    cuda_bench_add(&f.cuda, cuda_chunk, chunk_case_text(&f.bench, CHUNK_GATED_DELTA_BACK, &x),
                   CUDA_SM80, check);
    add_region(&f, &x, CHUNK_EVERYTHING, true, CHUNK_GRADIENTS);
    add_region(&f, &x, CHUNK_EVERYTHING, false, CHUNK_GRADIENTS);
    cuda_fixture_run(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dots),           cmocka_unit_test(test_decayed_dots),
        cmocka_unit_test(test_scans_and_sums), cmocka_unit_test(test_solves),
        cmocka_unit_test(test_gated_delta),    cmocka_unit_test(test_members),
        cmocka_unit_test(test_gradients),      cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_compiles),       cmocka_unit_test(test_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
