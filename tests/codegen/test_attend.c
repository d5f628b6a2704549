// ATTEND kernels against the tile interpreter, at all levels: programs that regions of
// attention and of its gradients lower to, over ragged lengths, widths, bands, layouts and
// tiles.
#include "ir/region_to_tile.h"
#include "tests/codegen/attend_case.h"
#include "tests/codegen/kernel_bench.h"
#include "tests/test.h"

static void check(const AttendCase *c, bool gradients) {
    TileBench b;
    bench_open(&b);
    Graph *g = attend_case_graph(&b.arena, c, gradients);
    Regions *regions = pass_fuse(g, &b.arena);
    assert_int_equal(regions->count, 1);
    Schedule schedule = schedule_none();
    schedule.bm = c->bm;
    schedule.bn = c->bn;
    schedule.split = c->split;
    TileKernels *kernels = region_to_tile(regions, &regions->regions[0], &schedule, &b.arena);
    KernelCheck usual = kernel_check_usual();
    usual.range = 1;
    usual.tolerance = 3e-5;  // some thousand roundings of sums
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        kernel_check(&b, kernels->kernels[i].program, usual);
    bench_close(&b);
}

static void test_lengths(void **state) {
    (void)state;
    kernel_need_compiler();
    static const int64_t lengths[] = {1, 5, 64, 257};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        AttendCase c = {lengths[i], lengths[i], 16, 24, 1, 2, CAUSAL, false, 0, 0, 0};
        check(&c, false);
        check(&c, true);
    }
}

static void test_bands(void **state) {
    (void)state;
    kernel_need_compiler();
    static const AttendCase rows[] = {
        {150, 150, 8, 8, 1, 1, {0, 9}, false, 32, 16, 0},
        {150, 150, 8, 8, 1, 1, {-20, 30}, false, 16, 48, 0},
        {40, 90, 8, 8, 1, 1, {BAND_LEAST, 3}, false, 32, 32, 0},
        {90, 40, 8, 8, 1, 1, {-7, 60}, false, 32, 32, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check(&rows[i], false);
        check(&rows[i], true);
    }
}

static void test_widths_and_layouts(void **state) {
    (void)state;
    kernel_need_compiler();
    static const AttendCase rows[] = {
        {33, 33, 1, 1, 2, 1, CAUSAL, false, 16, 0, 0},
        {33, 33, 33, 70, 2, 2, CAUSAL, false, 0, 0, 0},
        {35, 35, 5, 12, 2, 2, CAUSAL, true, 16, 16, 0},
        {35, 30, 19, 3, 1, 3, ALL, true, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check(&rows[i], false);
        check(&rows[i], true);
    }
}

static void test_tiles(void **state) {
    (void)state;
    kernel_need_compiler();
    static const AttendCase rows[] = {
        {100, 100, 8, 8, 1, 2, CAUSAL, false, 16, 16, 1},
        {100, 100, 8, 8, 1, 2, CAUSAL, false, 30, 40, 1},
        {100, 100, 8, 8, 1, 1, {0, 12}, false, 48, 7, 1},
        {100, 80, 8, 8, 1, 1, ALL, false, 64, 33, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_bands),
        cmocka_unit_test(test_widths_and_layouts),
        cmocka_unit_test(test_tiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
