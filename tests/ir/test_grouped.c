// Grouped contractions: which spellings pass_grouped finds; that what it makes has the same
// values and gradients; and that regions of it run to the same numbers as the evaluator gives.
#include <math.h>

#include "ir/graph/grouped.h"
#include "ir/graph/passes.h"
#include "tests/ir/graph_bench.h"
#include "tests/ir/graph_reader.h"
#include "tests/ir/run_regions.h"
#include "tests/test.h"

// ---- recognition

#define HEADER                                                                             \
    "graph g\naxis B = 3\naxis k = 2\naxis e = 4\naxis d = 5\naxis f = 6\n"                \
    "input x : f32[B, d]\ninput y : f32[k, B, f]\ninput i : i32[k, B]\n"                   \
    "param w : f32[e, d, f] = constant(1)\n%1 = input x : f32[B, d]\n"                     \
    "%2 = input y : f32[k, B, f]\n%3 = input i : i32[k, B]\n%4 = param w : f32[e, d, f]\n" \
    "%5 = gather %4, %3 along (e) : f32[k, B, d, f]\n"

static uint32_t count_of(const Graph *g, GraphOp op) {
    uint32_t count = 0;
    for (uint32_t i = 1; i < g->values.len; i++)
        count += g->values.ptr[i].op == op;
    return count;
}

// How many grouped contractions the text becomes; nothing gathers then.
static void expect(const char *text, uint32_t count) {
    GraphReader r;
    reader_init(&r);
    Graph *g = pass_simplify(reader_graph(&r, text), &r.arena);
    g = pass_simplify(pass_grouped(g, &r.arena), &r.arena);
    assert_true(graph_verify(&r.diag, g));
    assert_int_equal(count_of(g, OP_CONTRACT_AT), count);
    assert_int_equal(count_of(g, OP_GATHER), count == 0);
    reader_release(&r);
}

static void test_spellings(void **state) {
    (void)state;
    expect(HEADER "%6 = mul %1, %5 : f32[k, B, d, f]\n"
                  "%7 = reduce_sum %6 along (d) : f32[k, B, f]\noutput r = %7\n",
           1);
    expect(HEADER "%6 = mul %5, %2 : f32[k, B, d, f]\n"
                  "%7 = reduce_sum %6 along (f) : f32[k, B, d]\noutput r = %7\n",
           1);
    // The sum over the choices comes with it; a factor that it lacks comes after.
    expect(HEADER "%6 = mul %5, %2 : f32[k, B, d, f]\n%7 = mul %6, %1 : f32[k, B, d, f]\n"
                  "%8 = reduce_sum %7 along (k, f) : f32[B, d]\noutput r = %8\n",
           1);
}

static void test_what_is_none(void **state) {
    (void)state;
    // All of the weight is summed; nothing of it.
    expect(HEADER "%6 = mul %5, %2 : f32[k, B, d, f]\n"
                  "%7 = reduce_sum %6 along (d, f) : f32[k, B]\noutput r = %7\n",
           0);
    expect(HEADER "%6 = mul %5, %2 : f32[k, B, d, f]\n"
                  "%7 = reduce_sum %6 along (k) : f32[B, d, f]\noutput r = %7\n",
           0);
}

// ---- values

typedef struct {
    int64_t B, k, e, d, f;
    int64_t low, high;  // of the index
} Case;

static const Case cases[] = {
    {7, 2, 3, 5, 4, 0, 3},  {9, 1, 4, 8, 16, 1, 3},  // groups without rows
    {6, 3, 3, 1, 7, -1, 5},                          // rows without a group
    {5, 2, 1, 6, 3, 0, 1},  {1, 1, 6, 2, 2, 0, 6},
};

typedef struct {
    GraphBench b;
    AxisId B, k, e, d, f;
    ValueId x, y, w, share, index;
} Setting;

static void setting_init(Setting *s, const Case *c) {
    bench_init(&s->b);
    s->B = bench_axis(&s->b, "B", c->B);
    s->k = bench_axis(&s->b, "k", c->k);
    s->e = bench_axis(&s->b, "e", c->e);
    s->d = bench_axis(&s->b, "d", c->d);
    s->f = bench_axis(&s->b, "f", c->f);
    s->x = bench_random(&s->b, AXES(s->B, s->d), -2, 2);
    s->y = bench_random(&s->b, AXES(s->k, s->B, s->f), -2, 2);
    s->w = bench_random(&s->b, AXES(s->e, s->d, s->f), -2, 2);
    s->share = bench_random(&s->b, AXES(s->k, s->B), 0, 2);
    s->index = bench_index(&s->b, AXES(s->k, s->B), c->low, c->high);
}

static ValueId in_words(Setting *s, ValueId rows, AxisId along) {
    GraphAttr attr = {.along = &s->e, .along_count = 1};
    ValueId chosen = graph_add(s->b.g, OP_GATHER, (Operands){(ValueId[]){s->w, s->index}, 2},
                               attr, (Span){0});
    return bench_reduce(&s->b, OP_REDUCE_SUM, bench_binary(&s->b, OP_MUL, rows, chosen), &along,
                        1);
}

// An expert: y is what it adds in the middle, so that rows have no axis that x lacks. Its
// results are summed with weights.
static ValueId expert(Setting *s) {
    ValueId hidden = in_words(s, s->x, s->d);
    ValueId result = in_words(s, bench_binary(&s->b, OP_MUL, hidden, s->y), s->f);
    ValueId weighted = bench_binary(&s->b, OP_MUL, result, s->share);
    return bench_reduce(&s->b, OP_REDUCE_SUM, weighted, &s->k, 1);
}

static void add_outputs(GraphBench *b, Graph *g) {
    enum { WRT = 4 };
    ValueId wrt[WRT], grads[WRT];
    static const char *const names[WRT] = {"dx", "dy", "dw", "dshare"};
    for (int i = 0; i < WRT; i++)
        wrt[i] = g->leaf_values.ptr[i];
    pass_differentiate(g, graph_output_find(g, STR("loss")), wrt, WRT, grads);
    for (int i = 0; i < WRT; i++)
        graph_output(g, str_of(names[i]), grads[i]);
    bench_verify(b, g);
}

// The graph in words, and a grouped one with the same leaves; both with gradients.
static Graph *both_forms(Setting *s) {
    ValueId r = expert(s);
    graph_output(s->b.g, STR("r"), r);
    graph_output(s->b.g, STR("loss"), bench_total(&s->b, bench_binary(&s->b, OP_MUL, r, r)));
    Graph *g = pass_grouped(pass_simplify(s->b.g, &s->b.arena), &s->b.arena);
    bench_verify(&s->b, g);
    add_outputs(&s->b, s->b.g);
    add_outputs(&s->b, g);
    return pass_simplify(g, &s->b.arena);
}

// What is the same for several rows, as the gradient of a sum of them, is read by shorter
// lists.
static void expect_nothing_repeated(const Graph *g) {
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = &g->values.ptr[i];
        if (!op_is_grouped(v->op)) continue;
        assert_int_not_equal(graph_value(g, v->in[GROUPED_X])->op, OP_BROADCAST);
        assert_int_not_equal(graph_value(g, v->in[GROUPED_Y])->op, OP_BROADCAST);
    }
}

static void test_same_as_in_words(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Setting s;
        setting_init(&s, &cases[i]);
        Graph *g = both_forms(&s), *words = s.b.g;
        assert_int_equal(count_of(g, OP_CONTRACT_AT), 4);
        assert_int_equal(count_of(g, OP_CONTRACT_INTO), 2);
        assert_int_equal(count_of(g, OP_SCATTER) + count_of(g, OP_GATHER), 0);
        expect_nothing_repeated(g);
        for (uint32_t o = 0; o < words->outputs.len; o++) {
            s.b.g = words;
            int64_t n = graph_elements(words, words->outputs.ptr[o].value);
            const double *expected = bench_value(&s.b, words->outputs.ptr[o].value);
            s.b.g = g;
            const double *got = bench_value(&s.b, g->outputs.ptr[o].value);
            for (int64_t j = 0; j < n; j++)
                if (!(fabs(got[j] - expected[j]) <= 1e-12 * (1 + fabs(expected[j]))))
                    fail_msg("case %zu, output %u [%lld]: %.17g, in words %.17g", i, o,
                             (long long)j, got[j], expected[j]);
        }
        bench_release(&s.b);
    }
}

static void test_regions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Setting s;
        setting_init(&s, &cases[i]);
        Graph *g = both_forms(&s);
        Schedule schedule = schedule_none();
        schedule.mc = i % 2 ? 4 : 0;
        schedule.kc = i % 2 ? 3 : 0;
        run_regions_check(g, &schedule, 1e-5);
        bench_release(&s.b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_same_as_in_words),
        cmocka_unit_test(test_regions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
