// test_simplify.c: each rewrite of pass_simplify on the smallest graph that shows it.
#include "ir/graph/passes.h"
#include "tests/ir/graph_reader.h"

// Leaves of every test: values %1 .. %8.
#define HEADER                                \
    "graph g\n"                               \
    "axis B = 2\n"                            \
    "axis T = 3\n"                            \
    "axis d = 4\n"                            \
    "axis f = 5\n"                            \
    "axis h = 2\n"                            \
    "axis k = 2\n"                            \
    "axis S = 3\n"                            \
    "axis U = ? runtime\n"                    \
    "param x : f32[B, T, d] = constant(0)\n"  \
    "param y : f32[B, T, d] = constant(0)\n"  \
    "param w : f32[d, f] = constant(0)\n"     \
    "param v : f32[d] = constant(0)\n"        \
    "param b : f32[B, T] = constant(0)\n"     \
    "param c : f32[] = constant(0)\n"         \
    "input i : i32[B, T]\n"                   \
    "input p : bool[B, T, d]\n"               \
    "%1 = param x : f32[B, T, d]\n"           \
    "%2 = param y : f32[B, T, d]\n"           \
    "%3 = param w : f32[d, f]\n"              \
    "%4 = param v : f32[d]\n"                 \
    "%5 = param b : f32[B, T]\n"              \
    "%6 = param c : f32[]\n"                  \
    "%7 = input i : i32[B, T]\n"              \
    "%8 = input p : bool[B, T, d]\n"

// The graph with `values` after the header must become that with `expected`, which simplify leaves as it is.
static void expect(const char *values, const char *expected) {
    GraphReader r;
    reader_init(&r);
    Graph *g = reader_graph(&r, arena_printf(&r.arena, "%s%s", HEADER, values));
    Graph *simple = pass_simplify(g, &r.arena);
    const char *wanted = arena_printf(&r.arena, "%s%s", HEADER, expected);
    assert_string_equal(reader_print(&r, simple), wanted);
    assert_true(graph_verify(&r.diag, simple));
    assert_string_equal(reader_print(&r, pass_simplify(simple, &r.arena)), wanted);
    reader_release(&r);
}

static void test_dead_values_go(void **state) {
    (void)state;
    expect("%9 = exp %1 : f32[B, T, d]\n%10 = neg %4 : f32[d]\noutput o = %10\n",
           "%9 = neg %4 : f32[d]\noutput o = %9\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead_values_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
