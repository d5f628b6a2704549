// Updates that are computed element by element have the axis of another parameter, if one has
// as many elements.
#include "ir/graph/passes.h"
#include "tests/ir/graph_reader.h"

// `expected`, or what `text` is without the pass.
static void expect(const char *text, const char *expected) {
    GraphReader r;
    reader_init(&r);
    Graph *given = reader_graph(&r, text), *g = pass_flat(given, &r.arena);
    assert_true(graph_verify(&r.diag, g));
    if (!expected) expected = reader_print(&r, pass_simplify(given, &r.arena));
    assert_string_equal(reader_print(&r, pass_simplify(g, &r.arena)), expected);
    reader_release(&r);
}

#define HEADER     \
    "graph g\n"    \
    "axis d = 6\n" \
    "axis h = 2\n" \
    "axis c = 3\n" \
    "axis e = 6\n" \
    "axis rows = 5\n"

#define LEAVES                                        \
    "param gain : f32[d] = constant(0) trained\n"     \
    "param query : f32[h, c] = constant(0) trained\n" \
    "param factor : f32[h] = constant(0)\n"           \
    "input x : f32[rows, h, c]\n"                     \
    "%1 = param gain : f32[d]\n"                      \
    "%2 = param query : f32[h, c]\n"                  \
    "%3 = param factor : f32[h]\n"                    \
    "%4 = input x : f32[rows, h, c]\n"                \
    "%5 = reduce_sum %4 along (rows) : f32[h, c]\n"

static void test_update(void **state) {
    (void)state;
    expect(HEADER LEAVES "%6 = mul %5, %3 : f32[h, c]\n"
                         "%7 = mul %6, %6 : f32[h, c]\n"
                         "%8 = reduce_sum %7 along (h, c) : f32[]\n"
                         "%9 = mul %6, %8 : f32[h, c]\n"
                         "%10 = sub %2, %9 : f32[h, c]\n"
                         "output squares = %8\n"
                         "update query = %10\n",
           HEADER LEAVES "%6 = merge %5 along (h, c) to (d) : f32[d]\n"
                         "%7 = iota along (h) : i32[h]\n"
                         "%8 = broadcast %7 to (h, c) : i32[h, c]\n"
                         "%9 = merge %8 along (h, c) to (d) : i32[d]\n"
                         "%10 = gather %3, %9 along (h) : f32[d]\n"
                         "%11 = mul %6, %10 : f32[d]\n"
                         "%12 = mul %11, %11 : f32[d]\n"
                         "%13 = reduce_sum %12 along (d) : f32[]\n"
                         "%14 = mul %11, %13 : f32[d]\n"
                         "%15 = merge %2 along (h, c) to (d) : f32[d]\n"
                         "%16 = sub %15, %14 : f32[d]\n"
                         "%17 = split %16 along (d) to (h, c) : f32[h, c]\n"
                         "output squares = %13\n"
                         "update query = %17\n");
}

// What is also an output, or also summed along one axis, keeps its axes.
static void test_others_need_the_axes(void **state) {
    (void)state;
    expect(HEADER LEAVES "%6 = mul %5, %2 : f32[h, c]\n"
                         "%7 = add %5, %2 : f32[h, c]\n"
                         "%8 = reduce_sum %7 along (c) : f32[h]\n"
                         "output product = %6\n"
                         "output sum = %8\n"
                         "update query = %6\n",
           NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_update),
                                       cmocka_unit_test(test_others_need_the_axes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
