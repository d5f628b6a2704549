// test_simplify.c: each rewrite of pass_simplify on the smallest graph that shows it.
#include "ir/graph/passes.h"
#include "tests/ir/graph_reader.h"

// Leaves of every test: values %1 .. %8.
#define HEADER                               \
    "graph g\n"                              \
    "axis B = 2\n"                           \
    "axis T = 3\n"                           \
    "axis d = 4\n"                           \
    "axis f = 5\n"                           \
    "axis h = 2\n"                           \
    "axis k = 2\n"                           \
    "axis S = 3\n"                           \
    "axis U = ? runtime\n"                   \
    "param x : f32[B, T, d] = constant(0)\n" \
    "param y : f32[B, T, d] = constant(0)\n" \
    "param w : f32[d, f] = constant(0)\n"    \
    "param v : f32[d] = constant(0)\n"       \
    "param b : f32[B, T] = constant(0)\n"    \
    "param c : f32[] = constant(0)\n"        \
    "input i : i32[B, T]\n"                  \
    "input p : bool[B, T, d]\n"              \
    "%1 = param x : f32[B, T, d]\n"          \
    "%2 = param y : f32[B, T, d]\n"          \
    "%3 = param w : f32[d, f]\n"             \
    "%4 = param v : f32[d]\n"                \
    "%5 = param b : f32[B, T]\n"             \
    "%6 = param c : f32[]\n"                 \
    "%7 = input i : i32[B, T]\n"             \
    "%8 = input p : bool[B, T, d]\n"

// The graph with `values` after the header must become that with `expected`, which simplify
// leaves as it is.
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
    expect("%9 = exp %1 : f32[B, T, d]\n"
           "%10 = neg %4 : f32[d]\n"
           "output o = %10\n",
           "%9 = neg %4 : f32[d]\n"
           "output o = %9\n");
}

static void test_equal_values_are_shared(void **state) {
    (void)state;
    expect("%9 = add %1, %2 : f32[B, T, d]\n"
           "%10 = add %2, %1 : f32[B, T, d]\n"
           "%11 = mul %9, %10 : f32[B, T, d]\n"
           "output o = %11\n",
           "%9 = add %1, %2 : f32[B, T, d]\n"
           "%10 = mul %9, %9 : f32[B, T, d]\n"
           "output o = %10\n");
}

static void test_min_and_max_keep_operand_order(void **state) {
    (void)state;
    expect("%9 = min %2, %1 : f32[B, T, d]\n"
           "%10 = max %2, %1 : f32[B, T, d]\n"
           "output o = %9\n"
           "output p = %10\n",
           "%9 = min %2, %1 : f32[B, T, d]\n"
           "%10 = max %2, %1 : f32[B, T, d]\n"
           "output o = %9\n"
           "output p = %10\n");
}

static void test_constants_fold(void **state) {
    (void)state;
    expect("%9 = const 3 : f32[]\n"
           "%10 = const 4 : f32[]\n"
           "%11 = mul %9, %10 : f32[]\n"
           "%12 = sqrt %10 : f32[]\n"
           "%13 = sub %11, %12 : f32[]\n"
           "%14 = add %6, %13 : f32[]\n"
           "output o = %14\n",
           "%9 = const 10 : f32[]\n"
           "%10 = add %6, %9 : f32[]\n"
           "output o = %10\n");
}

static void test_a_fold_that_f32_cannot_hold_stays(void **state) {
    (void)state;
    expect("%9 = const 0 : f32[]\n"
           "%10 = log %9 : f32[]\n"
           "output o = %10\n",
           "%9 = const 0 : f32[]\n"
           "%10 = log %9 : f32[]\n"
           "output o = %10\n");
}

static void test_constant_chains_join(void **state) {
    (void)state;
    expect("%9 = const 2 : f32[]\n"
           "%10 = const 3 : f32[]\n"
           "%11 = mul %1, %9 : f32[B, T, d]\n"
           "%12 = mul %10, %11 : f32[B, T, d]\n"
           "%13 = add %12, %9 : f32[B, T, d]\n"
           "%14 = sub %13, %10 : f32[B, T, d]\n"
           "output o = %14\n",
           "%9 = const 6 : f32[]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "%11 = const -1 : f32[]\n"
           "%12 = add %10, %11 : f32[B, T, d]\n"
           "output o = %12\n");
}

static void test_neutral_elements_go(void **state) {
    (void)state;
    expect("%9 = const 0 : f32[]\n"
           "%10 = const 1 : f32[]\n"
           "%11 = add %1, %9 : f32[B, T, d]\n"
           "%12 = mul %10, %11 : f32[B, T, d]\n"
           "%13 = sub %12, %9 : f32[B, T, d]\n"
           "%14 = div %13, %10 : f32[B, T, d]\n"
           "%15 = exp %14 : f32[B, T, d]\n"
           "output o = %15\n",
           "%9 = exp %1 : f32[B, T, d]\n"
           "output o = %9\n");
    expect("%9 = const 1 : f32[]\n"
           "%10 = broadcast %9 to (T, B, d) : f32[T, B, d]\n"
           "%11 = mul %10, %4 : f32[T, B, d]\n"
           "output o = %11\n",
           "%9 = broadcast %4 to (T, B, d) : f32[T, B, d]\n"
           "output o = %9\n");
}

static void test_zero_times_x_stays(void **state) {
    (void)state;
    expect("%9 = const 0 : f32[]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = const 0 : f32[]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "output o = %10\n");
}

static void test_signs_cancel(void **state) {
    (void)state;
    expect("%9 = neg %1 : f32[B, T, d]\n"
           "%10 = neg %9 : f32[B, T, d]\n"
           "%11 = sub %10, %2 : f32[B, T, d]\n"
           "%12 = neg %11 : f32[B, T, d]\n"
           "output o = %12\n",
           "%9 = sub %2, %1 : f32[B, T, d]\n"
           "output o = %9\n");
    expect("%9 = neg %1 : f32[B, T, d]\n"
           "%10 = neg %2 : f32[B, T, d]\n"
           "%11 = add %9, %2 : f32[B, T, d]\n"
           "%12 = mul %9, %10 : f32[B, T, d]\n"
           "%13 = sub %11, %9 : f32[B, T, d]\n"
           "output o = %11\n"
           "output p = %12\n"
           "output q = %13\n",
           "%9 = sub %2, %1 : f32[B, T, d]\n"
           "%10 = mul %1, %2 : f32[B, T, d]\n"
           "%11 = add %1, %9 : f32[B, T, d]\n"
           "output o = %9\n"
           "output p = %10\n"
           "output q = %11\n");
    expect("%9 = const 2 : f32[]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "%11 = neg %10 : f32[B, T, d]\n"
           "%12 = neg %1 : f32[B, T, d]\n"
           "%13 = mul %12, %9 : f32[B, T, d]\n"
           "%14 = const -1 : f32[]\n"
           "%15 = mul %2, %14 : f32[B, T, d]\n"
           "%16 = const 0 : f32[]\n"
           "%17 = sub %16, %2 : f32[B, T, d]\n"
           "output o = %11\n"
           "output p = %13\n"
           "output q = %15\n"
           "output r = %17\n",
           "%9 = const -2 : f32[]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "%11 = neg %2 : f32[B, T, d]\n"
           "output o = %10\n"
           "output p = %10\n"
           "output q = %11\n"
           "output r = %11\n");
}

static void test_narrow_factors_meet_first(void **state) {
    (void)state;
    expect("%9 = mul %1, %4 : f32[B, T, d]\n"
           "%10 = mul %6, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = mul %4, %6 : f32[d]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "output o = %10\n");
    // Neither has the axes of the other.
    expect("%9 = mul %1, %4 : f32[B, T, d]\n"
           "%10 = mul %5, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = mul %1, %4 : f32[B, T, d]\n"
           "%10 = mul %5, %9 : f32[B, T, d]\n"
           "output o = %10\n");
}

static void test_division_becomes_multiplication(void **state) {
    (void)state;
    expect("%9 = const 4 : f32[]\n"
           "%10 = div %1, %9 : f32[B, T, d]\n"
           "%11 = sqrt %2 : f32[B, T, d]\n"
           "%12 = div %10, %11 : f32[B, T, d]\n"
           "output o = %12\n",
           "%9 = const 0.25 : f32[]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "%11 = rsqrt %2 : f32[B, T, d]\n"
           "%12 = mul %10, %11 : f32[B, T, d]\n"
           "output o = %12\n");
    expect("%9 = const 1 : f32[]\n"
           "%10 = sqrt %1 : f32[B, T, d]\n"
           "%11 = div %9, %10 : f32[B, T, d]\n"
           "%12 = rsqrt %2 : f32[B, T, d]\n"
           "%13 = div %9, %12 : f32[B, T, d]\n"
           "output o = %11\n"
           "output p = %13\n",
           "%9 = rsqrt %1 : f32[B, T, d]\n"
           "%10 = sqrt %2 : f32[B, T, d]\n"
           "output o = %9\n"
           "output p = %10\n");
}

static void test_powers_by_constants(void **state) {
    (void)state;
    expect("%9 = const 1 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "output o = %1\n");
    expect("%9 = const 0 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = const 1 : f32[]\n"
           "%10 = broadcast %9 to (B, T, d) : f32[B, T, d]\n"
           "output o = %10\n");
    expect("%9 = const 2 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = mul %1, %1 : f32[B, T, d]\n"
           "output o = %9\n");
    expect("%9 = const 3 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = mul %1, %1 : f32[B, T, d]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "output o = %10\n");
    expect("%9 = const -1 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = const 1 : f32[]\n"
           "%10 = div %9, %1 : f32[B, T, d]\n"
           "output o = %10\n");
    expect("%9 = const -2 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = const 1 : f32[]\n"
           "%10 = mul %1, %1 : f32[B, T, d]\n"
           "%11 = div %9, %10 : f32[B, T, d]\n"
           "output o = %11\n");
    expect("%9 = const 0.5 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = sqrt %1 : f32[B, T, d]\n"
           "output o = %9\n");
    expect("%9 = const -0.5 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = rsqrt %1 : f32[B, T, d]\n"
           "output o = %9\n");
    expect("%9 = const 1.5 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = const 1.5 : f32[]\n"
           "%10 = pow %1, %9 : f32[B, T, d]\n"
           "output o = %10\n");
}

static void test_functions_meet(void **state) {
    (void)state;
    expect("%9 = exp %1 : f32[B, T, d]\n"
           "%10 = log %9 : f32[B, T, d]\n"
           "%11 = neg %10 : f32[B, T, d]\n"
           "%12 = abs %11 : f32[B, T, d]\n"
           "%13 = abs %12 : f32[B, T, d]\n"
           "%14 = cos %11 : f32[B, T, d]\n"
           "output o = %13\n"
           "output p = %14\n",
           "%9 = abs %1 : f32[B, T, d]\n"
           "%10 = cos %1 : f32[B, T, d]\n"
           "output o = %9\n"
           "output p = %10\n");
    expect("%9 = softmax %1 along (d) : f32[B, T, d]\n"
           "%10 = log %9 : f32[B, T, d]\n"
           "output o = %10\n",
           "%9 = logsumexp %1 along (d) : f32[B, T]\n"
           "%10 = sub %1, %9 : f32[B, T, d]\n"
           "output o = %10\n");
    expect("%9 = floor %1 : f32[B, T, d]\n"
           "%10 = floor %9 : f32[B, T, d]\n"
           "%11 = detach %10 : f32[B, T, d]\n"
           "%12 = detach %11 : f32[B, T, d]\n"
           "output o = %12\n",
           "%9 = floor %1 : f32[B, T, d]\n"
           "%10 = detach %9 : f32[B, T, d]\n"
           "output o = %10\n");
}

static void test_casts_join(void **state) {
    (void)state;
    expect("%9 = cast %1 : f32[B, T, d]\n"
           "%10 = cast %8 : i32[B, T, d]\n"
           "%11 = cast %10 : f32[B, T, d]\n"
           "%12 = mul %9, %11 : f32[B, T, d]\n"
           "output o = %12\n",
           "%9 = cast %8 : f32[B, T, d]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "output o = %10\n");
}

static void test_choices_known(void **state) {
    (void)state;
    expect("%9 = where %8, %1, %1 : f32[B, T, d]\n"
           "%10 = not %8 : bool[B, T, d]\n"
           "%11 = not %10 : bool[B, T, d]\n"
           "%12 = where %10, %9, %2 : f32[B, T, d]\n"
           "%13 = const 1 : bool[]\n"
           "%14 = and %11, %13 : bool[B, T, d]\n"
           "%15 = where %13, %12, %1 : f32[B, T, d]\n"
           "%16 = where %14, %15, %6 : f32[B, T, d]\n"
           "%17 = max %16, %16 : f32[B, T, d]\n"
           "output o = %17\n",
           "%9 = where %8, %2, %1 : f32[B, T, d]\n"
           "%10 = where %8, %9, %6 : f32[B, T, d]\n"
           "output o = %10\n");
    expect("%9 = const 0 : bool[]\n"
           "%10 = and %8, %9 : bool[B, T, d]\n"
           "%11 = or %8, %9 : bool[B, T, d]\n"
           "%12 = or %11, %8 : bool[B, T, d]\n"
           "output o = %10\n"
           "output p = %12\n",
           "%9 = const 0 : bool[]\n"
           "%10 = broadcast %9 to (B, T, d) : bool[B, T, d]\n"
           "output o = %10\n"
           "output p = %8\n");
}

static void test_broadcasts_move_to_the_end(void **state) {
    (void)state;
    expect("%9 = broadcast %4 to (T, d) : f32[T, d]\n"
           "%10 = broadcast %9 to (B, T, d) : f32[B, T, d]\n"
           "%11 = mul %1, %10 : f32[B, T, d]\n"
           "%12 = exp %10 : f32[B, T, d]\n"
           "output o = %11\n"
           "output p = %12\n",
           "%9 = mul %1, %4 : f32[B, T, d]\n"
           "%10 = exp %4 : f32[d]\n"
           "%11 = broadcast %10 to (B, T, d) : f32[B, T, d]\n"
           "output o = %9\n"
           "output p = %11\n");
    expect("%9 = broadcast %4 to (T, B, d) : f32[T, B, d]\n"
           "%10 = mul %9, %1 : f32[T, B, d]\n"
           "output o = %10\n",
           "%9 = broadcast %4 to (T, B, d) : f32[T, B, d]\n"
           "%10 = mul %9, %1 : f32[T, B, d]\n"
           "output o = %10\n");
}

static void test_transposes_join(void **state) {
    (void)state;
    expect("%9 = transpose %1 to (d, B, T) : f32[d, B, T]\n"
           "%10 = transpose %9 to (B, T, d) : f32[B, T, d]\n"
           "%11 = transpose %1 to (T, B, d) : f32[T, B, d]\n"
           "%12 = reduce_sum %11 along (T) : f32[B, d]\n"
           "%13 = add %2, %11 : f32[B, T, d]\n"
           "%14 = transpose %2 to (B, T, d) : f32[B, T, d]\n"
           "output o = %10\n"
           "output p = %12\n"
           "output q = %13\n"
           "output r = %14\n",
           "%9 = reduce_sum %1 along (T) : f32[B, d]\n"
           "%10 = add %1, %2 : f32[B, T, d]\n"
           "output o = %1\n"
           "output p = %9\n"
           "output q = %10\n"
           "output r = %2\n");
}

static void test_renames_join(void **state) {
    (void)state;
    expect("%9 = rename %5 along (T) to (S) : f32[B, S]\n"
           "%10 = rename %9 along (S) to (T) : f32[B, T]\n"
           "%11 = iota along (T) : i32[T]\n"
           "%12 = rename %11 along (T) to (S) : i32[S]\n"
           "%13 = broadcast %5 to (d, B, T) : f32[d, B, T]\n"
           "%14 = rename %13 along (T) to (S) : f32[d, B, S]\n"
           "output o = %10\n"
           "output p = %12\n"
           "output q = %14\n",
           "%9 = rename %5 along (T) to (S) : f32[B, S]\n"
           "%10 = iota along (S) : i32[S]\n"
           "%11 = broadcast %9 to (d, B, S) : f32[d, B, S]\n"
           "output o = %5\n"
           "output p = %10\n"
           "output q = %11\n");
}

// A norm behind a merge works on the merged parts; a vector keeps its axis.
static void test_merges_move_to_the_end(void **state) {
    (void)state;
    expect("%9 = split %1 along (d) to (h, k) : f32[B, T, h, k]\n"
           "%10 = roll %9 along (k) amount 1 : f32[B, T, h, k]\n"
           "%11 = merge %10 along (h, k) to (d) : f32[B, T, d]\n"
           "%12 = mul %11, %4 : f32[B, T, d]\n"
           "%13 = mul %12, %5 : f32[B, T, d]\n"
           "%14 = mul %11, %13 : f32[B, T, d]\n"
           "%15 = reduce_sum %14 along (T, d) : f32[B]\n"
           "output o = %13\n"
           "output p = %15\n",
           "%9 = split %1 along (d) to (h, k) : f32[B, T, h, k]\n"
           "%10 = roll %9 along (k) amount 1 : f32[B, T, h, k]\n"
           "%11 = split %4 along (d) to (h, k) : f32[h, k]\n"
           "%12 = mul %10, %11 : f32[B, T, h, k]\n"
           "%13 = mul %5, %12 : f32[B, T, h, k]\n"
           "%14 = merge %13 along (h, k) to (d) : f32[B, T, d]\n"
           "%15 = mul %10, %13 : f32[B, T, h, k]\n"
           "%16 = reduce_sum %15 along (T, h, k) : f32[B]\n"
           "output o = %14\n"
           "output p = %16\n");
    expect("%9 = split %4 along (d) to (h, k) : f32[h, k]\n"
           "%10 = roll %9 along (k) amount 1 : f32[h, k]\n"
           "%11 = merge %10 along (h, k) to (d) : f32[d]\n"
           "%12 = mul %11, %4 : f32[d]\n"
           "output o = %12\n",
           "%9 = split %4 along (d) to (h, k) : f32[h, k]\n"
           "%10 = roll %9 along (k) amount 1 : f32[h, k]\n"
           "%11 = merge %10 along (h, k) to (d) : f32[d]\n"
           "%12 = mul %4, %11 : f32[d]\n"
           "output o = %12\n");
    // y is computed elsewhere, on d: to split it would put it into a kernel of its own.
    expect("%9 = split %1 along (d) to (h, k) : f32[B, T, h, k]\n"
           "%10 = roll %9 along (k) amount 1 : f32[B, T, h, k]\n"
           "%11 = merge %10 along (h, k) to (d) : f32[B, T, d]\n"
           "%12 = mul %2, %11 : f32[B, T, d]\n"
           "output o = %12\n",
           "%9 = split %1 along (d) to (h, k) : f32[B, T, h, k]\n"
           "%10 = roll %9 along (k) amount 1 : f32[B, T, h, k]\n"
           "%11 = merge %10 along (h, k) to (d) : f32[B, T, d]\n"
           "%12 = mul %2, %11 : f32[B, T, d]\n"
           "output o = %12\n");
}

static void test_splits_undo_merges(void **state) {
    (void)state;
    expect("%9 = split %4 along (d) to (h, k) : f32[h, k]\n"
           "%10 = merge %9 along (h, k) to (d) : f32[d]\n"
           "output o = %10\n",
           "output o = %4\n");
    expect("%9 = split %4 along (d) to (h, k) : f32[h, k]\n"
           "%10 = merge %9 along (k, h) to (d) : f32[d]\n"
           "%11 = split %10 along (d) to (k, h) : f32[k, h]\n"
           "output o = %11\n",
           "%9 = split %4 along (d) to (h, k) : f32[h, k]\n"
           "%10 = transpose %9 to (k, h) : f32[k, h]\n"
           "output o = %10\n");
}

static void test_slices_shrink(void **state) {
    (void)state;
    expect("%9 = slice %4 along (d) to (T) amount 1 : f32[T]\n"
           "%10 = slice %9 along (T) to (h) amount 1 : f32[h]\n"
           "%11 = slice %5 along (T) to (S) amount 0 : f32[B, S]\n"
           "%12 = pad %4 along (d) to (f) amount 1 : f32[f]\n"
           "%13 = slice %12 along (f) to (d) amount 1 : f32[d]\n"
           "output o = %10\n"
           "output p = %11\n"
           "output q = %13\n",
           "%9 = slice %4 along (d) to (h) amount 2 : f32[h]\n"
           "%10 = rename %5 along (T) to (S) : f32[B, S]\n"
           "output o = %9\n"
           "output p = %10\n"
           "output q = %4\n");
    expect("%9 = slice %4 along (d) to (h) amount 0 : f32[h]\n"
           "%10 = slice %4 along (d) to (T) amount 1 : f32[T]\n"
           "%11 = exp %10 : f32[T]\n"
           "%12 = concat %9, %11 along (h, T) to (f) : f32[f]\n"
           "%13 = slice %12 along (f) to (k) amount 3 : f32[k]\n"
           "output o = %13\n",
           "%9 = slice %4 along (d) to (T) amount 1 : f32[T]\n"
           "%10 = exp %9 : f32[T]\n"
           "%11 = slice %10 along (T) to (k) amount 1 : f32[k]\n"
           "output o = %11\n");
    expect("%9 = broadcast %5 to (B, T, d) : f32[B, T, d]\n"
           "%10 = slice %9 along (d) to (h) amount 1 : f32[B, T, h]\n"
           "%11 = slice %9 along (T) to (h) amount 1 : f32[B, h, d]\n"
           "%12 = concat %4 along (d) to (d) : f32[d]\n"
           "output o = %10\n"
           "output p = %11\n"
           "output q = %12\n",
           "%9 = broadcast %5 to (B, T, h) : f32[B, T, h]\n"
           "%10 = slice %5 along (T) to (h) amount 1 : f32[B, h]\n"
           "%11 = broadcast %10 to (B, h, d) : f32[B, h, d]\n"
           "output o = %9\n"
           "output p = %11\n"
           "output q = %4\n");
}

static void test_stacks_meet_takes(void **state) {
    (void)state;
    expect("%9 = stack %1, %2 to (h) : f32[h, B, T, d]\n"
           "%10 = take %9 along (h) amount 1 : f32[B, T, d]\n"
           "output o = %10\n",
           "output o = %2\n");
    expect("%9 = take %1 along (B) amount 0 : f32[T, d]\n"
           "%10 = take %1 along (B) amount 1 : f32[T, d]\n"
           "%11 = stack %9, %10 to (h) : f32[h, T, d]\n"
           "output o = %11\n",
           "%9 = rename %1 along (B) to (h) : f32[h, T, d]\n"
           "output o = %9\n");
    expect("%9 = put %4 to (f) amount 2 : f32[f, d]\n"
           "%10 = take %9 along (f) amount 2 : f32[d]\n"
           "%11 = take %9 along (f) amount 0 : f32[d]\n"
           "%12 = broadcast %4 to (B, d) : f32[B, d]\n"
           "%13 = take %12 along (B) amount 1 : f32[d]\n"
           "output o = %10\n"
           "output p = %11\n"
           "output q = %13\n",
           "%9 = const 0 : f32[]\n"
           "%10 = broadcast %9 to (d) : f32[d]\n"
           "output o = %4\n"
           "output p = %10\n"
           "output q = %4\n");
}

static void test_rolls_join(void **state) {
    (void)state;
    expect("%9 = roll %1 along (T) amount 2 : f32[B, T, d]\n"
           "%10 = roll %9 along (T) amount -1 : f32[B, T, d]\n"
           "%11 = shift %10 along (T) amount 0 : f32[B, T, d]\n"
           "%12 = roll %2 along (T) amount 0 : f32[B, T, d]\n"
           "output o = %11\n"
           "output p = %12\n",
           "%9 = roll %1 along (T) amount 1 : f32[B, T, d]\n"
           "output o = %9\n"
           "output p = %2\n");
}

static void test_gather_at_a_constant_is_a_take(void **state) {
    (void)state;
    expect("%9 = const 1 : i32[]\n"
           "%10 = gather %1, %9 along (T) : f32[B, d]\n"
           "%11 = broadcast %9 to (B, h) : i32[B, h]\n"
           "%12 = gather %1, %11 along (T) : f32[B, h, d]\n"
           "%13 = const 9 : i32[]\n"
           "%14 = gather %1, %13 along (T) : f32[B, d]\n"
           "output o = %10\n"
           "output p = %12\n"
           "output q = %14\n",
           "%9 = take %1 along (T) amount 1 : f32[B, d]\n"
           "%10 = broadcast %9 to (B, h, d) : f32[B, h, d]\n"
           "%11 = const 9 : i32[]\n"
           "%12 = gather %1, %11 along (T) : f32[B, d]\n"
           "output o = %9\n"
           "output p = %10\n"
           "output q = %12\n");
}

static void test_sum_of_an_outer_product_contracts(void **state) {
    (void)state;
    expect("%9 = broadcast %1 to (B, T, d, f) : f32[B, T, d, f]\n"
           "%10 = mul %9, %3 : f32[B, T, d, f]\n"
           "%11 = reduce_sum %10 along (d) : f32[B, T, f]\n"
           "output o = %11\n",
           "%9 = contract %1, %3 along (d) : f32[B, T, f]\n"
           "output o = %9\n");
    expect("%9 = broadcast %1 to (f, B, T, d) : f32[f, B, T, d]\n"
           "%10 = mul %9, %3 : f32[f, B, T, d]\n"
           "%11 = reduce_sum %10 along (d) : f32[f, B, T]\n"
           "output o = %11\n",
           "%9 = contract %3, %1 along (d) : f32[f, B, T]\n"
           "output o = %9\n");
    expect("%9 = broadcast %1 to (B, f, T, d) : f32[B, f, T, d]\n"
           "%10 = mul %9, %3 : f32[B, f, T, d]\n"
           "%11 = reduce_sum %10 along (d) : f32[B, f, T]\n"
           "output o = %11\n",
           "%9 = contract %3, %1 along (d) : f32[f, B, T]\n"
           "%10 = transpose %9 to (B, f, T) : f32[B, f, T]\n"
           "output o = %10\n");
}

static void test_sum_over_rows_stays(void **state) {
    (void)state;
    expect("%9 = mul %1, %2 : f32[B, T, d]\n"
           "%10 = reduce_sum %9 along (d) : f32[B, T]\n"
           "%11 = mul %1, %4 : f32[B, T, d]\n"
           "%12 = reduce_sum %11 along (d) : f32[B, T]\n"
           "output o = %10\n"
           "output p = %12\n",
           "%9 = mul %1, %2 : f32[B, T, d]\n"
           "%10 = reduce_sum %9 along (d) : f32[B, T]\n"
           "%11 = mul %1, %4 : f32[B, T, d]\n"
           "%12 = reduce_sum %11 along (d) : f32[B, T]\n"
           "output o = %10\n"
           "output p = %12\n");
}

static void test_contraction_over_rows_is_a_sum(void **state) {
    (void)state;
    expect("%9 = contract %1, %4 along (d) : f32[B, T]\n"
           "%10 = contract %2, %5 along (T) : f32[B, d]\n"
           "%11 = contract %5, %2 along (T) : f32[B, d]\n"
           "output o = %9\n"
           "output p = %10\n"
           "output q = %11\n",
           "%9 = mul %1, %4 : f32[B, T, d]\n"
           "%10 = reduce_sum %9 along (d) : f32[B, T]\n"
           "%11 = mul %2, %5 : f32[B, T, d]\n"
           "%12 = reduce_sum %11 along (T) : f32[B, d]\n"
           "output o = %10\n"
           "output p = %12\n"
           "output q = %12\n");
    expect("%9 = contract %3, %5 along () : f32[d, f, B, T]\n"
           "output o = %9\n",
           "%9 = broadcast %3 to (d, f, B, T) : f32[d, f, B, T]\n"
           "%10 = mul %5, %9 : f32[d, f, B, T]\n"
           "output o = %10\n");
}

static void test_contraction_sees_through_broadcasts(void **state) {
    (void)state;
    expect("%9 = broadcast %4 to (T, d) : f32[T, d]\n"
           "%10 = contract %9, %3 along (d) : f32[T, f]\n"
           "output o = %10\n",
           "%9 = mul %3, %4 : f32[d, f]\n"
           "%10 = reduce_sum %9 along (d) : f32[f]\n"
           "%11 = broadcast %10 to (T, f) : f32[T, f]\n"
           "output o = %11\n");
}

static void test_what_only_one_factor_has_is_summed_first(void **state) {
    (void)state;
    expect("%9 = broadcast %1 to (B, T, d, f) : f32[B, T, d, f]\n"
           "%10 = mul %9, %3 : f32[B, T, d, f]\n"
           "%11 = reduce_sum %10 along (d, T) : f32[B, f]\n"
           "%12 = mul %1, %5 : f32[B, T, d]\n"
           "%13 = reduce_sum %12 along (d) : f32[B, T]\n"
           "output o = %11\n"
           "output p = %13\n",
           "%9 = reduce_sum %1 along (T) : f32[B, d]\n"
           "%10 = contract %9, %3 along (d) : f32[B, f]\n"
           "%11 = reduce_sum %1 along (d) : f32[B, T]\n"
           "%12 = mul %5, %11 : f32[B, T]\n"
           "output o = %10\n"
           "output p = %12\n");
}

static void test_what_is_not_summed_leaves_the_sum(void **state) {
    (void)state;
    expect("%9 = const 0.5 : f32[]\n"
           "%10 = mul %1, %9 : f32[B, T, d]\n"
           "%11 = reduce_sum %10 along (d, T) : f32[B]\n"
           "%12 = mul %1, %2 : f32[B, T, d]\n"
           "%13 = mul %12, %5 : f32[B, T, d]\n"
           "%14 = reduce_sum %13 along (d) : f32[B, T]\n"
           "%15 = neg %1 : f32[B, T, d]\n"
           "%16 = reduce_sum %15 along (d) : f32[B, T]\n"
           "output o = %11\n"
           "output p = %14\n"
           "output q = %16\n",
           "%9 = const 0.5 : f32[]\n"
           "%10 = reduce_sum %1 along (T, d) : f32[B]\n"
           "%11 = mul %10, %9 : f32[B]\n"
           "%12 = mul %1, %2 : f32[B, T, d]\n"
           "%13 = reduce_sum %12 along (d) : f32[B, T]\n"
           "%14 = mul %5, %13 : f32[B, T]\n"
           "%15 = reduce_sum %1 along (d) : f32[B, T]\n"
           "%16 = neg %15 : f32[B, T]\n"
           "output o = %11\n"
           "output p = %14\n"
           "output q = %16\n");
}

static void test_many_factors_become_two_sides(void **state) {
    (void)state;
    expect("%9 = broadcast %1 to (B, T, d, f) : f32[B, T, d, f]\n"
           "%10 = mul %9, %3 : f32[B, T, d, f]\n"
           "%11 = mul %10, %4 : f32[B, T, d, f]\n"
           "%12 = mul %11, %5 : f32[B, T, d, f]\n"
           "%13 = reduce_sum %12 along (d) : f32[B, T, f]\n"
           "output o = %13\n",
           "%9 = mul %3, %4 : f32[d, f]\n"
           "%10 = contract %1, %9 along (d) : f32[B, T, f]\n"
           "%11 = mul %5, %10 : f32[B, T, f]\n"
           "output o = %11\n");
}

static void test_reductions_of_repeated_values(void **state) {
    (void)state;
    expect("%9 = broadcast %5 to (B, T, d) : f32[B, T, d]\n"
           "%10 = reduce_sum %9 along (d, T) : f32[B]\n"
           "%11 = reduce_max %9 along (d) : f32[B, T]\n"
           "%12 = broadcast %5 to (B, T, U) : f32[B, T, U]\n"
           "%13 = reduce_sum %12 along (U) : f32[B, T]\n"
           "output o = %10\n"
           "output p = %11\n"
           "output q = %13\n",
           "%9 = reduce_sum %5 along (T) : f32[B]\n"
           "%10 = const 4 : f32[]\n"
           "%11 = mul %9, %10 : f32[B]\n"
           "%12 = broadcast %5 to (B, T, U) : f32[B, T, U]\n"
           "%13 = reduce_sum %12 along (U) : f32[B, T]\n"
           "output o = %11\n"
           "output p = %5\n"
           "output q = %13\n");
}

static void test_movements_go_below_stacks(void **state) {
    (void)state;
    // The header lacks axes for this, so it does not go through expect().
    GraphReader r;
    reader_init(&r);
    Graph *g = reader_graph(
        &r, "graph g\naxis t = 3\naxis d = 4\naxis h = 2\naxis k = 2\naxis n = 2\n"
            "param x : f32[t, d] = constant(0)\nparam y : f32[t, d] = constant(0)\n"
            "%1 = param x : f32[t, d]\n%2 = param y : f32[t, d]\n"
            "%3 = stack %1, %2 to (n) : f32[n, t, d]\n"
            "%4 = split %3 along (d) to (h, k) : f32[n, t, h, k]\noutput o = %4\n");
    const char *text = reader_print(&r, pass_simplify(g, &r.arena));
    assert_non_null(strstr(text, "%3 = split %1 along (d) to (h, k) : f32[t, h, k]\n"
                                 "%4 = split %2 along (d) to (h, k) : f32[t, h, k]\n"
                                 "%5 = stack %3, %4 to (n) : f32[n, t, h, k]\n"
                                 "output o = %5\n"));
    reader_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead_values_go),
        cmocka_unit_test(test_equal_values_are_shared),
        cmocka_unit_test(test_movements_go_below_stacks),
        cmocka_unit_test(test_min_and_max_keep_operand_order),
        cmocka_unit_test(test_constants_fold),
        cmocka_unit_test(test_a_fold_that_f32_cannot_hold_stays),
        cmocka_unit_test(test_constant_chains_join),
        cmocka_unit_test(test_narrow_factors_meet_first),
        cmocka_unit_test(test_neutral_elements_go),
        cmocka_unit_test(test_zero_times_x_stays),
        cmocka_unit_test(test_signs_cancel),
        cmocka_unit_test(test_division_becomes_multiplication),
        cmocka_unit_test(test_powers_by_constants),
        cmocka_unit_test(test_functions_meet),
        cmocka_unit_test(test_casts_join),
        cmocka_unit_test(test_choices_known),
        cmocka_unit_test(test_broadcasts_move_to_the_end),
        cmocka_unit_test(test_transposes_join),
        cmocka_unit_test(test_renames_join),
        cmocka_unit_test(test_merges_move_to_the_end),
        cmocka_unit_test(test_splits_undo_merges),
        cmocka_unit_test(test_slices_shrink),
        cmocka_unit_test(test_stacks_meet_takes),
        cmocka_unit_test(test_rolls_join),
        cmocka_unit_test(test_gather_at_a_constant_is_a_take),
        cmocka_unit_test(test_sum_of_an_outer_product_contracts),
        cmocka_unit_test(test_sum_over_rows_stays),
        cmocka_unit_test(test_contraction_over_rows_is_a_sum),
        cmocka_unit_test(test_contraction_sees_through_broadcasts),
        cmocka_unit_test(test_what_only_one_factor_has_is_summed_first),
        cmocka_unit_test(test_what_is_not_summed_leaves_the_sum),
        cmocka_unit_test(test_many_factors_become_two_sides),
        cmocka_unit_test(test_reductions_of_repeated_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
