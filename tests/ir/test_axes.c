// Axes of equal name become one, and only those that may.
#include "ir/graph/passes.h"
#include "tests/ir/graph_reader.h"

static void expect(const char *text, const char *expected) {
    GraphReader r;
    reader_init(&r);
    Graph *g = reader_graph(&r, text);
    pass_axes(g);
    assert_true(graph_verify(&r.diag, g));
    assert_string_equal(reader_print(&r, g), expected);
    reader_release(&r);
}

#define HEADER             \
    "graph g\n"            \
    "axis d = 4\n"         \
    "axis c = 2\n"         \
    "axis c.1 = 2\n"       \
    "axis c.2 = 3\n"       \
    "axis h = 2\n"         \
    "axis h.1 = 2\n"       \
    "axis T = ? runtime\n" \
    "axis T.1 = ? runtime\n"

// c.1 is c. c.2 has another extent, h.1 meets h, and extents of T and T.1 come with the data.
static void test_calls(void **state) {
    (void)state;
    expect(HEADER "param x : f32[h, c] = constant(0)\n"
                  "param y : f32[c.1, h.1] = constant(0)\n"
                  "param z : f32[c.2, T, T.1] = constant(0)\n"
                  "input i : i32[T] index of c.1\n"
                  "%1 = param x : f32[h, c]\n"
                  "%2 = param y : f32[c.1, h.1]\n"
                  "%3 = param z : f32[c.2, T, T.1]\n"
                  "%4 = input i : i32[T]\n"
                  "%5 = rename %2 along (h.1) to (h) : f32[c.1, h]\n"
                  "%6 = reduce_sum %5 along (c.1) : f32[h]\n"
                  "output o = %6\n",
           HEADER "param x : f32[h, c] = constant(0)\n"
                  "param y : f32[c, h.1] = constant(0)\n"
                  "param z : f32[c.2, T, T.1] = constant(0)\n"
                  "input i : i32[T] index of c\n"
                  "%1 = param x : f32[h, c]\n"
                  "%2 = param y : f32[c, h.1]\n"
                  "%3 = param z : f32[c.2, T, T.1]\n"
                  "%4 = input i : i32[T]\n"
                  "%5 = rename %2 along (h.1) to (h) : f32[c, h]\n"
                  "%6 = reduce_sum %5 along (c) : f32[h]\n"
                  "output o = %6\n");
}

// An operand's axis, and one that the result has got.
static void test_meetings_in_an_operation(void **state) {
    (void)state;
    const char *text = HEADER "param x : f32[c, d] = constant(0)\n"
                              "input i : i32[c.1]\n"
                              "%1 = param x : f32[c, d]\n"
                              "%2 = input i : i32[c.1]\n"
                              "%3 = gather %1, %2 along (c) : f32[c.1, d]\n"
                              "%4 = split %3 along (d) to (h, h.1) : f32[c.1, h, h.1]\n"
                              "output o = %4\n";
    expect(text, text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls),
                                       cmocka_unit_test(test_meetings_in_an_operation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
