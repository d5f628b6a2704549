// Attention: which spellings pass_attend finds, which it must not; that what it makes has the
// same values and gradients; and that regions of it run to the same numbers as the evaluator
// gives.
#include <math.h>

#include "ir/graph/passes.h"
#include "tests/ir/graph_bench.h"
#include "tests/ir/graph_reader.h"
#include "tests/ir/run_regions.h"
#include "tests/test.h"

// ---- recognition

#define HEADER                                                                          \
    "graph g\naxis B = 2\naxis T = 5\naxis S = 5\naxis h = 2\naxis r = 3\naxis d = 4\n" \
    "axis e = 6\ninput q : f32[B, T, h, r, d]\ninput k : f32[B, S, h, d]\n"             \
    "input v : f32[B, S, h, e]\n%1 = input q : f32[B, T, h, r, d]\n"                    \
    "%2 = input k : f32[B, S, h, d]\n%3 = input v : f32[B, S, h, e]\n"                  \
    "%4 = iota along (S) : i32[S]\n%5 = iota along (T) : i32[T]\n"                      \
    "%6 = broadcast %4 to (S, T) : i32[S, T]\n%7 = const -inf : f32[]\n"                \
    "%8 = contract %1, %2 along (d) : f32[B, T, h, r, S]\n%9 = const 0.5 : f32[]\n"     \
    "%10 = mul %8, %9 : f32[B, T, h, r, S]\n"
#define CAUSAL HEADER "%11 = le %6, %5 : bool[S, T]\n"
#define MASK   "%12 = where %11, %10, %7 : f32[B, T, h, r, S]\n"
#define REST                                                  \
    "%13 = softmax %12 along (S) : f32[B, T, h, r, S]\n"      \
    "%14 = contract %13, %3 along (S) : f32[B, T, h, r, e]\n" \
    "output y = %14\n"

// The attend that the pass makes of the text, as "0.5 along (d, T, S) band 0, inf"; "" if none.
static const char *found_in(GraphReader *r, const char *text) {
    Graph *g = reader_graph(r, text);
    const char *print =
        reader_print(r, pass_attend(pass_simplify(g, &r->arena), &r->arena, INT64_MAX));
    const char *line = strstr(print, " = attend ");
    if (!line) return "";
    while (*line != '.' && (*line < '0' || *line > '9' || line[-1] == '%'))
        line++;
    return arena_strndup(&r->arena, line, strcspn(line, ":") - 1);
}

static void expect(const char *text, const char *expected) {
    GraphReader r;
    reader_init(&r);
    assert_string_equal(found_in(&r, text), expected);
    reader_release(&r);
}

static void test_masks_that_are_found(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"%11 = le %6, %5 : bool[S, T]\n", "band 0, inf"},
        {"%11 = lt %5, %6 : bool[S, T]\n", ""},  // the last query has no key
        {"%11 = le %5, %6 : bool[S, T]\n", "band -inf, 0"},
        {"%11 = eq %5, %6 : bool[S, T]\n", "band 0, 0"},
        {"%11 = ne %5, %6 : bool[S, T]\n", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        GraphReader r;
        reader_init(&r);
        StrBuf text = {0};
        strbuf_addf(&text, "%s%s%s", HEADER, rows[i][0], MASK REST);
        const char *found = found_in(&r, text.ptr);
        bool none = rows[i][1][0] == 0;
        if (none ? *found != 0 : strstr(found, rows[i][1]) == NULL)
            fail_msg("row %zu: '%s'", i, found);
        strbuf_release(&text);
        reader_release(&r);
    }
}

static void test_spellings_that_are_found(void **state) {
    (void)state;
    expect(CAUSAL MASK REST, "0.5 along (d, T, S) band 0, inf");
    // Without a mask; the longest axis that the keys lack is the queries.
    expect(HEADER "%11 = softmax %10 along (S) : f32[B, T, h, r, S]\n"
                  "%12 = contract %3, %11 along (S) : f32[B, h, e, T, r]\noutput y = %12\n",
           "0.5 along (d, T, S) band -inf, inf");
    // A window, in one condition of two; the mask before the scale.
    expect(HEADER "%11 = le %6, %5 : bool[S, T]\n%12 = const 3 : i32[]\n"
                  "%13 = add %6, %12 : i32[S, T]\n%14 = lt %5, %13 : bool[S, T]\n"
                  "%15 = and %11, %14 : bool[S, T]\n"
                  "%16 = where %15, %8, %7 : f32[B, T, h, r, S]\n"
                  "%17 = mul %16, %9 : f32[B, T, h, r, S]\n"
                  "%18 = softmax %17 along (S) : f32[B, T, h, r, S]\n"
                  "%19 = contract %18, %3 along (S) : f32[B, T, h, r, e]\noutput y = %19\n",
           "0.5 along (d, T, S) band 0, 2");
    // What is masked named first, positions as real numbers.
    expect(HEADER "%11 = cast %6 : f32[S, T]\n%12 = cast %5 : f32[T]\n"
                  "%13 = lt %12, %11 : bool[S, T]\n"
                  "%14 = where %13, %7, %10 : f32[B, T, h, r, S]\n"
                  "%15 = softmax %14 along (S) : f32[B, T, h, r, S]\n"
                  "%16 = contract %15, %3 along (S) : f32[B, T, h, r, e]\noutput y = %16\n",
           "0.5 along (d, T, S) band 0, inf");
}

// Scores that two masks share, or weights that two values share: `counted` attentions, and no
// scores in memory.
static void expect_shared(const char *text, int counted) {
    GraphReader r;
    reader_init(&r);
    const char *print = reader_print(
        &r, pass_attend(pass_simplify(reader_graph(&r, text), &r.arena), &r.arena, INT64_MAX));
    assert_true((counted > 0) == (strstr(print, "contract") == NULL));
    for (; (print = strstr(print, " = attend ")); print++)
        counted--;
    assert_int_equal(counted, 0);
    reader_release(&r);
}

static void test_what_attentions_share(void **state) {
    (void)state;
    static const char shared[] = CAUSAL MASK REST
        "%15 = const 2 : i32[]\n%16 = add %6, %15 : i32[S, T]\n%17 = lt %5, %16 : bool[S, T]\n"
        "%18 = and %11, %17 : bool[S, T]\n%19 = where %18, %10, %7 : f32[B, T, h, r, S]\n"
        "%20 = softmax %19 along (S) : f32[B, T, h, r, S]\n"
        "%21 = contract %20, %3 along (S) : f32[B, T, h, r, e]\noutput z = %21\n";
    expect_shared(shared, 2);
    expect_shared(CAUSAL MASK REST "%15 = mul %3, %3 : f32[B, S, h, e]\n"
                                   "%16 = contract %13, %15 along (S) : f32[B, T, h, r, e]\n"
                                   "output z = %16\n",
                  2);
    // One of the two is none, so the scores are in memory for both.
    StrBuf text = {0};
    strbuf_addf(&text, "%soutput w = %%20\n", shared);
    expect_shared(text.ptr, 0);
    strbuf_release(&text);
}

#define SEGMENTS(type, less)                                                      \
    HEADER "%11 = mul %4, %4 : i32[S]\n%12 = mul %5, %5 : i32[T]\n"               \
           "%13 = cast %11 : " type "[S]\n%14 = cast %12 : " type "[T]\n"         \
           "%15 = broadcast %13 to (S, T) : " type "[S, T]\n"                     \
           "%16 = eq %15, %14 : bool[S, T]\n%17 = " less " %6, %5 : bool[S, T]\n" \
           "%18 = and %17, %16 : bool[S, T]\n"                                    \
           "%19 = where %18, %10, %7 : f32[B, T, h, r, S]\n"                      \
           "%20 = softmax %19 along (S) : f32[B, T, h, r, S]\n"                   \
           "%21 = contract %20, %3 along (S) : f32[B, T, h, r, e]\noutput y = %21\n"

// Whole numbers at queries and keys, beside a mask of positions; nothing but whole numbers.
static void test_segments(void **state) {
    (void)state;
    expect(SEGMENTS("i32", "le"), "0.5 along (d, T, S) band 0, inf");
    expect(SEGMENTS("f32", "le"), "");
    expect(SEGMENTS("i32", "ne"), "");
}

static void test_what_must_not_be_found(void **state) {
    (void)state;
    // The weights are an output, or the scores are used elsewhere.
    expect(CAUSAL MASK REST "output w = %13\n", "");
    expect(CAUSAL MASK REST "output s = %8\n", "");
    // A finite number for the masked, a bias, a factor below 0, another function.
    expect(CAUSAL "%12 = const -1000 : f32[]\n"
                  "%13 = where %11, %10, %12 : f32[B, T, h, r, S]\n"
                  "%14 = softmax %13 along (S) : f32[B, T, h, r, S]\n"
                  "%15 = contract %14, %3 along (S) : f32[B, T, h, r, e]\noutput y = %15\n",
           "");
    expect(HEADER "%11 = cast %4 : f32[S]\n%12 = add %10, %11 : f32[B, T, h, r, S]\n" REST, "");
    expect(HEADER
           "%11 = neg %10 : f32[B, T, h, r, S]\n%12 = tanh %11 : f32[B, T, h, r, S]\n" REST,
           "");
    // A softmax over the queries, too, and one over another axis.
    expect(CAUSAL MASK
           "%13 = softmax %12 along (T, S) : f32[B, T, h, r, S]\n"
           "%14 = contract %13, %3 along (S) : f32[B, T, h, r, e]\noutput y = %14\n",
           "");
    expect(CAUSAL MASK
           "%13 = softmax %12 along (T) : f32[B, T, h, r, S]\n"
           "%14 = contract %13, %3 along (S) : f32[B, T, h, r, e]\noutput y = %14\n",
           "");
}

// ---- the same values and gradients

typedef struct {
    int64_t T, S, d, e, heads, groups;
    Band band;
} Case;

static const Case cases[] = {
    {1, 1, 4, 4, 1, 1, {0, BAND_MOST}}, {5, 5, 4, 3, 2, 2, {0, BAND_MOST}},
    {7, 7, 3, 5, 1, 3, {0, 2}},         {4, 9, 2, 2, 2, 1, {BAND_LEAST, BAND_MOST}},
    {9, 4, 1, 3, 1, 2, {-3, 6}},
};

typedef struct {
    GraphBench b;
    AxisId T, S, h, r, d, e;
    ValueId q, k, v;
} Setting;

static void setting_init(Setting *s, const Case *c) {
    bench_init(&s->b);
    s->T = bench_axis(&s->b, "T", c->T);
    s->S = bench_axis(&s->b, "S", c->S);
    s->h = bench_axis(&s->b, "h", c->heads);
    s->r = bench_axis(&s->b, "r", c->groups);
    s->d = bench_axis(&s->b, "d", c->d);
    s->e = bench_axis(&s->b, "e", c->e);
    s->q = bench_random(&s->b, AXES(s->T, s->h, s->r, s->d), -2, 2);
    s->k = bench_random(&s->b, AXES(s->S, s->h, s->d), -2, 2);
    s->v = bench_random(&s->b, AXES(s->S, s->h, s->e), -2, 2);
}

static ValueId iota(Setting *s, AxisId a) {
    GraphAttr attr = {.along = &a, .along_count = 1};
    return graph_add(s->b.g, OP_IOTA, (Operands){0}, attr, (Span){0});
}

// T - S >= lo, T - S <= hi, written out.
static ValueId masked(Setting *s, const Band *band, ValueId scores) {
    Graph *g = s->b.g;
    AxisId both[2] = {s->S, s->T};
    GraphAttr attr = {.to = both, .to_count = 2};
    ValueId key = bench_move(&s->b, OP_BROADCAST, iota(s, s->S), attr), query = iota(s, s->T);
    ValueId distance = bench_binary(&s->b, OP_SUB, query, key),
            never = graph_const(g, -HUGE_VAL, (Span){0});
    if (band->lo != BAND_LEAST) {
        ValueId lo = graph_const_i32(g, band->lo, (Span){0});
        ValueId in[3] = {bench_binary(&s->b, OP_LE, lo, distance), scores, never};
        scores = graph_add(g, OP_WHERE, (Operands){in, 3}, (GraphAttr){0}, (Span){0});
    }
    if (band->hi == BAND_MOST) return scores;
    ValueId hi = graph_const_i32(g, band->hi, (Span){0});
    ValueId in[3] = {bench_binary(&s->b, OP_LE, distance, hi), scores, never};
    return graph_add(g, OP_WHERE, (Operands){in, 3}, (GraphAttr){0}, (Span){0});
}

static ValueId in_words(Setting *s, const Case *c) {
    ValueId scores = bench_contract(&s->b, s->q, s->k, AXES(s->d));
    scores = bench_binary(&s->b, OP_MUL, scores, graph_const(s->b.g, 0.6, (Span){0}));
    scores = masked(s, &c->band, scores);
    ValueId weights = bench_reduce(&s->b, OP_SOFTMAX, scores, AXES(s->S));
    return bench_contract(&s->b, weights, s->v, AXES(s->S));
}

static ValueId one_operation(Setting *s, const Case *c) {
    AxisId along[3] = {s->d, s->T, s->S};
    GraphAttr attr = {.along = along, .along_count = 3, .number = 0.6, .band = c->band};
    return graph_add(s->b.g, OP_ATTEND, (Operands){(ValueId[]){s->q, s->k, s->v}, 3}, attr,
                     (Span){0});
}

static void expect_same(Setting *s, ValueId x, ValueId y, const char *what) {
    int64_t n = graph_elements(s->b.g, x);
    assert_int_equal(n, graph_elements(s->b.g, y));
    Evaluation e = bench_evaluation(&s->b);
    const double *a = evaluation_value(&e, x), *b = evaluation_value(&e, y);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= 1e-12 * (1 + fabs(b[i]))))
            fail_msg("%s[%lld]: %.17g, in words %.17g", what, (long long)i, a[i], b[i]);
}

static void test_same_as_in_words(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Setting s;
        setting_init(&s, &cases[i]);
        ValueId one = one_operation(&s, &cases[i]), words = in_words(&s, &cases[i]);
        ValueId up = bench_random(&s.b, AXES(s.T, s.h, s.r, s.e), -1, 1);
        ValueId wrt[3] = {s.q, s.k, s.v}, grads[3], expected[3];
        ValueId loss = bench_total(&s.b, bench_binary(&s.b, OP_MUL, one, up));
        ValueId other = bench_total(&s.b, bench_binary(&s.b, OP_MUL, words, up));
        pass_differentiate(s.b.g, loss, wrt, 3, grads);
        pass_differentiate(s.b.g, other, wrt, 3, expected);
        expect_same(&s, one, words, "value");
        for (int k = 0; k < 3; k++)
            expect_same(&s, grads[k], expected[k], "gradient");
        bench_release(&s.b);
    }
}

// The pass, on what is written in words, then everything region by region.
static void run_case(const Case *c, bool gradients, Schedule schedule) {
    Setting s;
    setting_init(&s, c);
    ValueId y = in_words(&s, c);
    graph_output(s.b.g, STR("y"), y);
    graph_output(s.b.g, STR("loss"), bench_total(&s.b, bench_binary(&s.b, OP_MUL, y, y)));
    Graph *g = pass_attend(pass_simplify(s.b.g, &s.b.arena), &s.b.arena, INT64_MAX);
    bench_verify(&s.b, g);
    if (gradients) {
        ValueId wrt[3], grads[3];
        static const char *const names[] = {"dq", "dk", "dv"};
        for (int i = 0; i < 3; i++)
            wrt[i] = g->leaf_values.ptr[i];
        pass_differentiate(g, graph_output_find(g, STR("loss")), wrt, 3, grads);
        for (int i = 0; i < 3; i++)
            graph_output(g, str_of(names[i]), grads[i]);
        g = pass_recompute(pass_simplify(g, &s.b.arena), &s.b.arena, 1);
    }
    run_regions_check(g, &schedule, 1e-5);
    bench_release(&s.b);
}

static void test_regions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int split = 0; split < 2; split++) {
            Schedule schedule = schedule_none();
            schedule.split = split;
            schedule.bm = split ? 3 : schedule.bm;
            schedule.bn = split ? 2 : schedule.bn;
            run_case(&cases[i], false, schedule);
            // Of one key the weight is 1, whatever its score: gradients of 0, but for rounding.
            if (cases[i].S > 1) run_case(&cases[i], true, schedule);
        }
}

// A gradient of ones is repeated, not stored: it is read as if it were.
static void test_gradient_of_a_sum(void **state) {
    (void)state;
    Setting s;
    setting_init(&s, &cases[1]);
    ValueId loss = bench_total(&s.b, one_operation(&s, &cases[1])), grads[2];
    pass_differentiate(s.b.g, loss, (ValueId[]){s.q, s.v}, 2, grads);
    graph_output(s.b.g, STR("dq"), grads[0]);
    graph_output(s.b.g, STR("dv"), grads[1]);
    Schedule schedule = schedule_none();
    run_regions_check(pass_simplify(s.b.g, &s.b.arena), &schedule, 1e-5);
    bench_release(&s.b);
}

// Forward and logarithms of the sums are one kernel, the three gradients another.
static void test_kernels(void **state) {
    (void)state;
    Setting s;
    setting_init(&s, &cases[1]);
    ValueId y = one_operation(&s, &cases[1]), wrt[3] = {s.q, s.k, s.v}, grads[3];
    ValueId loss = bench_total(&s.b, bench_binary(&s.b, OP_MUL, y, y));
    graph_output(s.b.g, STR("loss"), loss);
    pass_differentiate(s.b.g, loss, wrt, 3, grads);
    for (int i = 0; i < 3; i++)
        graph_output(s.b.g, str_printf(&s.b.arena, "g%d", i), grads[i]);
    Graph *g = pass_recompute(pass_simplify(s.b.g, &s.b.arena), &s.b.arena, 1);
    Regions *regions = pass_fuse(g, &s.b.arena);
    uint32_t count = 0, members[2] = {0};
    for (uint32_t i = 0; i < regions->count; i++)
        if (regions->regions[i].kind == REGION_ATTEND && count < 2)
            members[count++] = regions->regions[i].value_count;
    assert_int_equal(count, 2);
    assert_int_equal(members[0], 2);
    assert_int_equal(members[1], 3);
    bench_release(&s.b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks_that_are_found),
        cmocka_unit_test(test_spellings_that_are_found),
        cmocka_unit_test(test_what_attentions_share),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_what_must_not_be_found),
        cmocka_unit_test(test_same_as_in_words),
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_gradient_of_a_sum),
        cmocka_unit_test(test_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
