// ATTEND kernels against the tile interpreter, at all levels: programs that regions of
// attention and of its gradients lower to, over ragged lengths, widths, bands, layouts and
// tiles.
#include "ir/region_to_tile.h"
#include "tests/codegen/kernel_bench.h"
#include "tests/test.h"

typedef struct {
    int64_t T, S, d, e, heads, groups;
    Band band;
    bool turned;  // q, k and v with their widths first
    int32_t bm, bn, split;
} Case;

static AxisId axis(Graph *g, const char *name, int64_t extent) {
    return graph_axis(g, str_of(name), extent, false);
}

static ValueId leaf(Graph *g, const char *name, uint32_t rank, const AxisId *axes,
                    bool turned) {
    AxisId order[GRAPH_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++)
        order[(i + turned) % rank] = axes[i];
    Leaf l = {.kind = OP_INPUT,
              .path = str_of(name),
              .type = DTYPE_F32,
              .rank = (uint8_t)rank,
              .axes = order};
    return graph_leaf(g, &l);
}

static Graph *graph_of(Arena *arena, const Case *c, bool gradients) {
    Graph *g = graph_new(arena, STR("test"));
    AxisId B = axis(g, "B", 2), T = axis(g, "T", c->T), S = axis(g, "S", c->S);
    AxisId h = axis(g, "h", c->heads), r = axis(g, "r", c->groups), d = axis(g, "d", c->d);
    AxisId e = axis(g, "e", c->e), along[3] = {d, T, S};
    ValueId in[6];
    in[0] = leaf(g, "q", 5, (AxisId[]){B, T, h, r, d}, c->turned);
    in[1] = leaf(g, "k", 4, (AxisId[]){B, S, h, d}, c->turned);
    in[2] = leaf(g, "v", 4, (AxisId[]){B, S, h, e}, c->turned);
    GraphAttr attr = {.along = along, .along_count = 3, .number = 0.5, .band = c->band};
    if (!gradients) {
        graph_output(g, STR("y"), graph_add(g, OP_ATTEND, in, 3, attr, (Span){0}));
        graph_output(g, STR("lse"), graph_add(g, OP_ATTEND_LSE, in, 2, attr, (Span){0}));
        return g;
    }
    const Value *lse = graph_value(g, graph_add(g, OP_ATTEND_LSE, in, 2, attr, (Span){0}));
    AxisId rows[GRAPH_MAX_RANK];
    uint32_t count = lse->rank;
    memcpy(rows, lse->axes, count * sizeof *rows);
    in[4] = leaf(g, "lse", count, rows, false);
    in[5] = leaf(g, "delta", count, rows, false);
    rows[count] = e;
    in[3] = leaf(g, "g", count + 1, rows, false);
    graph_output(g, STR("dq"), graph_add(g, OP_ATTEND_DQ, in, 6, attr, (Span){0}));
    graph_output(g, STR("dk"), graph_add(g, OP_ATTEND_DK, in, 6, attr, (Span){0}));
    graph_output(g, STR("dv"), graph_add(g, OP_ATTEND_DV, in, 6, attr, (Span){0}));
    return g;
}

static void check(const Case *c, bool gradients) {
    TileBench b;
    bench_open(&b);
    Graph *g = graph_of(&b.arena, c, gradients);
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

#define ALL \
    { BAND_LEAST, BAND_MOST }
#define CAUSAL \
    { 0, BAND_MOST }

static void test_lengths(void **state) {
    (void)state;
    kernel_need_compiler();
    static const int64_t lengths[] = {1, 5, 64, 257};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        Case c = {lengths[i], lengths[i], 16, 24, 1, 2, CAUSAL, false, 0, 0, 0};
        check(&c, false);
        check(&c, true);
    }
}

static void test_bands(void **state) {
    (void)state;
    kernel_need_compiler();
    static const Case rows[] = {
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
    static const Case rows[] = {
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
    static const Case rows[] = {
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
