// test_histogram.c: rows of groups as they are drawn for measuring: each listed once, under its
// own group, and as many as the histogram says.
#include "autotune/histogram.h"
#include "autotune/workspace.h"
#include "ir/graph/grouped.h"
#include "ir/graph/passes.h"
#include "tests/ir/graph_reader.h"
#include "tests/test.h"

enum { TOKENS = 300, TOP = 2, ROWS = TOKENS * TOP, GROUPS = 8 };

static const char *const text =
    "graph g\naxis B = 300\naxis k = 2\naxis e = 8\naxis d = 5\naxis f = 6\n"
    "input x : f32[B, d]\ninput i : i32[k, B]\nparam w : f32[e, d, f] = constant(1)\n"
    "%1 = input x : f32[B, d]\n%2 = input i : i32[k, B]\n%3 = param w : f32[e, d, f]\n"
    "%4 = gather %3, %2 along (e) : f32[k, B, d, f]\n"
    "%5 = mul %4, %1 : f32[k, B, d, f]\n"
    "%6 = reduce_sum %5 along (d) : f32[k, B, f]\noutput r = %6\n";

typedef struct {
    GraphReader r;
    Regions *regions;
    const Region *region;  // of the grouped contraction
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    reader_init(&f->r);
    Graph *g = pass_simplify(reader_graph(&f->r, text), &f->r.arena);
    g = pass_simplify(pass_grouped(g, &f->r.arena), &f->r.arena);
    f->regions = pass_fuse(g, &f->r.arena);
    f->region = &f->regions->regions[f->regions->count - 1];
    assert_int_equal(f->region->kind, REGION_GROUPED);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    reader_release(&f->r);
    test_free(f);
    return 0;
}

static void check_lists(const Fixture *f, Histogram histogram, int32_t counts[GROUPS]) {
    const Graph *g = f->regions->graph;
    const Value *c = graph_value(g, f->region->contract);
    int32_t tokens[ROWS], rows[ROWS], ends[GROUPS], seen[ROWS] = {0};
    histogram_fill(g, c, GROUPED_X_ROWS, histogram, tokens);
    histogram_fill(g, c, GROUPED_Y_ROWS, histogram, rows);
    histogram_fill(g, c, GROUPED_ENDS, histogram, ends);
    for (int j = 0; j < ROWS; j++) {
        assert_in_range(rows[j], 0, ROWS - 1);
        assert_int_equal(seen[rows[j]]++, 0);
        assert_int_equal(tokens[j], rows[j] % TOKENS);
    }
    for (int k = 0; k < GROUPS; k++) {
        counts[k] = ends[k] - (k ? ends[k - 1] : 0);
        // Within a group rows keep their order.
        for (int j = k ? ends[k - 1] : 0; j + 1 < ends[k]; j++)
            assert_true(rows[j] < rows[j + 1]);
    }
    assert_int_equal(ends[GROUPS - 1], ROWS);
}

// The bounds are five standard deviations away from the mean.
static void test_histograms(void **state) {
    int32_t counts[GROUPS];
    check_lists(*state, HISTOGRAM_UNIFORM, counts);
    for (int k = 0; k < GROUPS; k++)
        assert_in_range(counts[k], 34, 116);
    check_lists(*state, HISTOGRAM_ZIPF, counts);
    assert_in_range(counts[0], 161, 281);
    assert_in_range(counts[1], 61, 160);
    assert_in_range(counts[GROUPS - 1], 2, 53);
}

// Only what says where rows are has other data to measure on.
static void test_workspace(void **state) {
    Fixture *f = *state;
    Workspace w = {0};
    assert_true(workspace_open(&f->r.diag, &f->r.arena, f->regions, f->region, &w));
    workspace_fill(&w, false);
    uint32_t lists = 0;
    for (uint32_t i = 0; i < w.tensor_count; i++) {
        const WorkspaceTensor *t = &w.tensors[i];
        assert_int_equal(t->skewed != NULL, t->type == DTYPE_I32);
        if (!t->skewed) continue;
        lists++;
        assert_memory_not_equal(t->data, t->skewed, (size_t)t->elements * sizeof(int32_t));
    }
    assert_int_equal(lists, 3);
    workspace_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_histograms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workspace, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
