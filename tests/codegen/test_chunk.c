// CHUNK kernels against the tile interpreter, at all levels: each operation alone and whole
// recurrences, over ragged lengths, tiles and widths.
#include "tests/codegen/chunk_case.h"
#include "tests/codegen/kernel_bench.h"
#include "tests/test.h"

// Arguments are within (-1, 1).
static void check(ChunkText text, const ChunkShape *x) {
    TileBench b;
    bench_open(&b);
    KernelCheck usual = kernel_check_usual();
    usual.range = 1;
    kernel_check(&b, chunk_case_text(&b, text, x), usual);
    bench_close(&b);
}

static const ChunkShape shapes[] = {
    {1, 1, 16, 16, 0},    {7, 3, 5, 9, 0},     {65, 64, 33, 24, 0},
    {100, 40, 24, 16, 0}, {31, 31, 16, 70, 0},
};

static void check_all(ChunkText text) {
    kernel_need_compiler();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(text, &shapes[i]);
}

static void test_dots(void **state) {
    (void)state;
    check_all(CHUNK_DOTS);
}

static void test_decayed_dots(void **state) {
    (void)state;
    check_all(CHUNK_DECAYED);
    check_all(CHUNK_DECAYED_BY_TOKENS);
}

static void test_scans(void **state) {
    (void)state;
    check_all(CHUNK_SCANS);
    check_all(CHUNK_SCANS_OF_TOKENS);
}

static void test_sums(void **state) {
    (void)state;
    check_all(CHUNK_SUMS);
}

static void test_solves(void **state) {
    (void)state;
    check_all(CHUNK_SOLVES);
}

// Of sequences that are walked forward, or back.
static void test_gated_delta(void **state) {
    (void)state;
    check_all(CHUNK_GATED_DELTA);
    check(CHUNK_GATED_DELTA_BACK, &shapes[3]);
}

// Arguments are small: keys that are longer than 1, or tokens that grow, would let states grow
// without bound.
static void check_region(const ChunkShape *x, int64_t bits, bool wide, ChunkMakes makes) {
    TileBench b;
    bench_open(&b);
    TileKernels *kernels = chunk_case_region(&b, x, bits, wide, makes);
    KernelCheck usual = kernel_check_usual();
    usual.range = 0.25;
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        kernel_check(&b, kernels->kernels[i].program, usual);
    bench_close(&b);
}

static void test_regions(void **state) {
    (void)state;
    kernel_need_compiler();
    static const ChunkShape x = {50, 32, 20, 17, 0};
    static const ChunkShape one = {1, 1, 20, 17, 0};
    for (int i = CHUNK_RESULTS; i <= CHUNK_GRADIENTS_OF_FINAL; i++) {
        ChunkMakes makes = (ChunkMakes)i;
        check_region(&x, CHUNK_EVERYTHING, true, makes);
        check_region(&x, CHUNK_EVERYTHING, false, makes);
        check_region(&x, LINEAR_HAS_DECAY, true, makes);
        check_region(&x, LINEAR_DELTA, true, makes);
        check_region(&x, LINEAR_HAS_INITIAL, true, makes);
        check_region(&one, CHUNK_EVERYTHING, true, makes);
    }
}

// Of keys that are wider than values, and narrower; five tiles in four segments, three in two.
static void test_segments(void **state) {
    (void)state;
    kernel_need_compiler();
    static const ChunkShape x = {65, 16, 20, 17, 4};
    static const ChunkShape narrow = {23, 8, 9, 40, 2};
    for (int i = CHUNK_RESULTS; i <= CHUNK_GRADIENTS_OF_FINAL; i++) {
        ChunkMakes makes = (ChunkMakes)i;
        check_region(&x, CHUNK_EVERYTHING, true, makes);
        check_region(&narrow, CHUNK_EVERYTHING | CHUNK_BF16, true, makes);
        check_region(&narrow, CHUNK_EVERYTHING, false, makes);
        check_region(&narrow, LINEAR_HAS_DECAY, true, makes);
        check_region(&narrow, 0, false, makes);
    }
}

// What several places call is in the object by its name.
static void test_same_bytes(void **state) {
    (void)state;
    kernel_need_compiler();
    TileBench b;
    bench_open(&b);
    TileProgram *p = chunk_case_text(&b, CHUNK_GATED_DELTA, &shapes[3]);
    EmittedKernel first, again;
    for (int level = CPU_PORTABLE; level <= CPU_AVX512BF16; level++) {
        EmitOptions options = {.level = (IsaLevel)level};
        assert_true(emit_kernel(&b.diag, &b.arena, p, options, &first));
        assert_true(emit_kernel(&b.diag, &b.arena, p, options, &again));
        assert_true(str_eq(first.object, again.object));
    }
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dots),       cmocka_unit_test(test_decayed_dots),
        cmocka_unit_test(test_scans),      cmocka_unit_test(test_sums),
        cmocka_unit_test(test_solves),     cmocka_unit_test(test_gated_delta),
        cmocka_unit_test(test_regions),    cmocka_unit_test(test_segments),
        cmocka_unit_test(test_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
