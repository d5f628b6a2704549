// ATTEND kernels against the tile interpreter, at all levels: programs that regions of
// attention and of its gradients lower to, over ragged lengths, widths, bands, layouts and
// tiles.
#include "ir/region_to_tile.h"
#include "tests/codegen/attend_case.h"
#include "tests/codegen/kernel_bench.h"
#include "tests/test.h"

static void check_stored(const AttendCase *c, bool gradients, DType type) {
    TileBench b;
    bench_open(&b);
    Graph *g = attend_case_graph(&b.arena, c, gradients);
    Regions *regions = pass_fuse(g, &b.arena);
    assert_int_equal(regions->count, 1);
    Schedule schedule = schedule_none();
    schedule.bm = c->bm;
    schedule.bn = c->bn;
    schedule.split = c->split;
    schedule.parts = c->parts;
    TileKernels *kernels = region_to_tile(regions, &regions->regions[0], &schedule, &b.arena);
    KernelCheck usual = kernel_check_usual();
    usual.range = c->d > 64 ? 0.5 : 1;  // exponentials of large scores have large errors
    usual.tolerance = 3e-5;             // some thousand roundings of sums
    usual.low = c->start ? -3 : 0;
    usual.high = c->start ? c->S : 3;
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        TileProgram p = *kernels->kernels[i].program;
        attend_case_narrow(&p, type);
        kernel_check(&b, &p, usual);
    }
    bench_close(&b);
}

static void check(const AttendCase *c, bool gradients) {
    check_stored(c, gradients, DTYPE_F32);
}

static void test_lengths(void **state) {
    (void)state;
    kernel_need_compiler();
    static const int64_t lengths[] = {1, 5, 257};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        AttendCase c = {lengths[i], lengths[i], 16, 24, 1,     2,     CAUSAL,
                        false,      0,          0,  0,  false, false, 0};
        check(&c, false);
        check(&c, true);
    }
}

static void test_bands(void **state) {
    (void)state;
    kernel_need_compiler();
    static const AttendCase rows[] = {
        {150, 150, 8, 8, 1, 1, {0, 9}, false, 32, 16, 0, false, false, 0},
        {40, 90, 8, 8, 1, 1, {BAND_LEAST, 3}, false, 32, 32, 0, false, false, 0},
        {90, 40, 8, 8, 1, 1, {-7, 60}, false, 32, 32, 0, false, false, 0},
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
        {33, 33, 1, 1, 2, 1, CAUSAL, false, 16, 0, 0, false, false, 0},
        {33, 33, 33, 70, 2, 2, CAUSAL, false, 0, 0, 0, false, false, 0},
        {35, 35, 5, 12, 2, 2, CAUSAL, true, 16, 16, 0, false, false, 0},
        {35, 30, 19, 3, 1, 3, ALL, true, 0, 0, 0, false, false, 0},
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
        {100, 100, 8, 8, 1, 2, CAUSAL, false, 30, 40, 1, false, false, 0},
        {100, 100, 8, 8, 1, 1, {0, 12}, false, 48, 7, 1, false, false, 0},
        {100, 80, 8, 8, 1, 1, ALL, false, 64, 33, 1, false, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], true);
}

// More keys than a chunk: the largest score of a query moves from chunk to chunk, or a chunk
// has no key for it.
static void test_chunks(void **state) {
    (void)state;
    kernel_need_compiler();
    static const AttendCase rows[] = {
        {90, 90, 192, 128, 1, 1, CAUSAL, false, 32, 16, 0, false, false, 0},
        {150, 150, 8, 8, 1, 2, {0, 70}, false, 80, 16, 0, false, false, 0},
        {1, 200, 20, 16, 1, 4, ALL, false, 0, 64, 0, false, false, 0},
        {70, 200, 16, 40, 2, 1, {-130, 20}, true, 64, 32, 1, false, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check(&rows[i], false);
        check(&rows[i], true);
    }
    check_stored(&rows[1], false, DTYPE_BF16);
    check_stored(&rows[1], true, DTYPE_BF16);
}

// Scores of bf16 by pairs of neighbours along the width, where it is even and they are stored
// so; in gradients only of what no sum reads as well.
static void test_pairs(void **state) {
    (void)state;
    kernel_need_compiler();
    static const AttendCase rows[] = {
        {90, 90, 192, 128, 1, 1, CAUSAL, false, 32, 16, 0, false, false, 0},
        {33, 70, 34, 70, 2, 2, ALL, false, 0, 0, 0, false, false, 0},
        {150, 150, 16, 6, 1, 2, {0, 70}, false, 80, 16, 1, false, false, 0},
        {35, 30, 19, 3, 1, 3, ALL, false, 0, 0, 0, false, false, 0},
        {35, 35, 12, 12, 2, 2, CAUSAL, true, 16, 16, 0, false, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_stored(&rows[i], false, DTYPE_BF16);
        check_stored(&rows[i], true, DTYPE_BF16);
    }
}

// Several sequences in one: a query sees keys of its own only, which may begin in a late chunk.
static void test_segments(void **state) {
    (void)state;
    kernel_need_compiler();
    TileBench b;
    bench_open(&b);
    KernelCheck usual = kernel_check_usual();
    usual.range = 1;
    kernel_check_text(&b,
                      "tile segments attend\n  m t = 70 tile 32\n  n s = 70\n  k d = 5\n"
                      "  k e = 9\n  band 0, inf\n  arg q: f32[350]\n  arg key: f32[350]\n"
                      "  arg v: f32[630]\n  arg segment: i32[70]\n  arg y: f32[630]\n"
                      "  arg lse: f32[70]\n  knob bn = 16\n"
                      "  %1 = load q[t*5 + d] : f32 (t, d)\n"
                      "  %2 = load key[s*5 + d] : f32 (s, d)\n"
                      "  %3 = dot %1, %2 over (d) : f32 (t, s)\n"
                      "  %4 = load segment[t] : i32 (t)\n  %5 = load segment[s] : i32 (s)\n"
                      "  %6 = map eq %4, %5 : bool (t, s)\n  %7 = const -inf : f32 ()\n"
                      "  %8 = map where %6, %3, %7 : f32 (t, s)\n"
                      "  %9 = reduce_max %8 over (s) : f32 (t)\n"
                      "  %10 = map sub %8, %9 : f32 (t, s)\n"
                      "  %11 = map exp %10 : f32 (t, s)\n"
                      "  %12 = reduce_sum %11 over (s) : f32 (t)\n"
                      "  %13 = load v[s*9 + e] : f32 (s, e)\n"
                      "  %14 = dot %11, %13 over (s) : f32 (t, e)\n"
                      "  %15 = map div %14, %12 : f32 (t, e)\n"
                      "  store y[t*9 + e] = %15 : f32 (t, e)\n"
                      "  %17 = map log %12 : f32 (t)\n  %18 = map add %9, %17 : f32 (t)\n"
                      "  store lse[t] = %18 : f32 (t)\n",
                      usual);
    bench_close(&b);
}

// Queries that begin at any key: before the first, where they see none, up to the last.
static void test_start(void **state) {
    (void)state;
    kernel_need_compiler();
    static const AttendCase rows[] = {
        {.T = 40, .S = 150, .d = 12, .e = 8, .heads = 2, .groups = 2, .band = CAUSAL, .bn = 32},
        {.T = 40,
         .S = 150,
         .d = 12,
         .e = 8,
         .heads = 1,
         .groups = 2,
         .band = {0, 30},
         .bm = 16},
        {.T = 1, .S = 300, .d = 20, .e = 24, .heads = 2, .groups = 5, .band = CAUSAL, .bn = 64},
        {.T = 1, .S = 300, .d = 8, .e = 3, .heads = 1, .groups = 1, .band = {0, 70}, .bn = 16},
        {.T = 1, .S = 40, .d = 576, .e = 512, .heads = 1, .groups = 4, .band = CAUSAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        AttendCase c = rows[i];
        c.start = true;
        check(&c, false);
        if (i == 0) check(&c, true);
        if (i == 2) check_stored(&c, false, DTYPE_BF16);
        c.parts = 3;
        if (i % 2 == 0) check(&c, false);
    }
}

// Each segment in rows that may be of none of the keys'.
static void test_segmented(void **state) {
    (void)state;
    kernel_need_compiler();
    static const AttendCase rows[] = {
        {.T = 70, .S = 70, .d = 5, .e = 9, .heads = 2, .groups = 2, .band = CAUSAL, .bn = 16},
        {.T = 33, .S = 2, .d = 5, .e = 9, .heads = 1, .groups = 1, .band = ALL},
        {.T = 1, .S = 50, .d = 8, .e = 8, .heads = 1, .groups = 3, .band = ALL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        AttendCase c = rows[i];
        c.segments = true;
        check(&c, false);
        if (i < 2) check(&c, true);
        c.parts = 2;
        if (i == 0) check(&c, false);
    }
}

static int64_t scratch_of(AttendCase c, bool gradients) {
    TileBench b;
    bench_open(&b);
    Regions *regions = pass_fuse(attend_case_graph(&b.arena, &c, gradients), &b.arena);
    Schedule schedule = schedule_none();
    schedule.split = c.split;
    TileKernels *kernels = region_to_tile(regions, &regions->regions[0], &schedule, &b.arena);
    int64_t most = 0;
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        EmittedKernel made;
        EmitOptions options = {.level = CPU_PORTABLE};
        if (!emit_kernel(&b.diag, &b.arena, kernels->kernels[i].program, options, &made))
            fail_msg("no code");
        if (made.scratch_bytes > most) most = made.scratch_bytes;
    }
    bench_close(&b);
    return most;
}

// Close memory does not grow with the number of keys.
static void test_close_memory(void **state) {
    (void)state;
    kernel_need_compiler();
    AttendCase c = {1024, 1024, 16, 16, 1, 1, CAUSAL, false, 0, 0, 1, false, false, 0},
               longer = c;
    longer.T = longer.S = 65536;
    for (int gradients = 0; gradients < 2; gradients++)
        assert_int_equal(scratch_of(longer, gradients), scratch_of(c, gradients));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_bands),
        cmocka_unit_test(test_widths_and_layouts),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_segmented),
        cmocka_unit_test(test_close_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
