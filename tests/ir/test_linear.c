// Linear attention: closed forms, packed sequences, heads that share operands, the rules that
// its operands keep, text, what is bf16, and which values share a kernel. Gradients of every
// combination are in test_differentiate.c.
#include <math.h>

#include "ir/graph/linear.h"
#include "ir/graph/passes.h"
#include "ir/graph/region.h"
#include "tests/ir/graph_bench.h"
#include "tests/ir/graph_reader.h"
#include "tests/test.h"

typedef struct {
    GraphBench b;
    AxisId B, T, h, d, e;
    ValueId q, k, v, decay, beta, initial;
} Setting;

enum { BATCHES = 2, TOKENS = 9, HEADS = 3, WIDTH = 4, VALUES = 5 };

static void setting_init(Setting *s, bool wide) {
    bench_init(&s->b);
    s->B = bench_axis(&s->b, "B", BATCHES);
    s->T = bench_axis(&s->b, "T", TOKENS);
    s->h = bench_axis(&s->b, "h", HEADS);
    s->d = bench_axis(&s->b, "d", WIDTH);
    s->e = bench_axis(&s->b, "e", VALUES);
    s->q = bench_random(&s->b, AXES(s->B, s->T, s->h, s->d), -1, 1);
    s->k = bench_random(&s->b, AXES(s->B, s->T, s->h, s->d), -0.7, 0.7);
    s->v = bench_random(&s->b, AXES(s->B, s->T, s->h, s->e), -1, 1);
    s->decay = wide ? bench_random(&s->b, AXES(s->B, s->T, s->h, s->d), -1, -0.1)
                    : bench_random(&s->b, AXES(s->B, s->T, s->h), -1, -0.1);
    s->beta = bench_random(&s->b, AXES(s->B, s->T, s->h), 0.2, 1);
    s->initial = bench_random(&s->b, AXES(s->B, s->h, s->d, s->e), -1, 1);
}

static ValueId linear_of(Setting *s, GraphOp op, int64_t bits) {
    ValueId in[7];
    uint32_t count = 0;
    if (bits & LINEAR_HAS_QUERY) in[count++] = s->q;
    in[count++] = s->k;
    in[count++] = s->v;
    if (bits & LINEAR_HAS_DECAY) in[count++] = s->decay;
    if (bits & LINEAR_HAS_BETA) in[count++] = s->beta;
    if (bits & LINEAR_HAS_INITIAL) in[count++] = s->initial;
    AxisId along[2] = {s->d, s->T};
    GraphAttr attr = {.along = along, .along_count = 2, .number = 0.5, .amount = bits};
    return graph_add(s->b.g, op, (Operands){in, count}, attr, (Span){0});
}

static double *data_of(Setting *s, ValueId v) {
    return s->b.data.ptr[graph_value(s->b.g, v)->attr.leaf];
}

// ---- closed forms

// Without the delta rule: o_t = scale sum over u <= t of (q_t . (product of decays) k_u) beta_u
// v_u.
static double pair_weight(Setting *s, int64_t head, int64_t t, int64_t u) {
    const double *q = data_of(s, s->q), *k = data_of(s, s->k), *g = data_of(s, s->decay);
    double sum = 0;
    for (int64_t d = 0; d < WIDTH; d++) {
        double decay = 0;
        for (int64_t r = u + 1; r <= t; r++)
            decay += g[(r * HEADS + head) * WIDTH + d];
        sum +=
            q[(t * HEADS + head) * WIDTH + d] * k[(u * HEADS + head) * WIDTH + d] * exp(decay);
    }
    return sum * data_of(s, s->beta)[u * HEADS + head];
}

static void test_pairs(void **state) {
    (void)state;
    Setting s;
    setting_init(&s, true);
    ValueId o = linear_of(&s, OP_LINEAR, LINEAR_HAS_QUERY | LINEAR_HAS_DECAY | LINEAR_HAS_BETA);
    bench_expect_axes(&s.b, o, AXES(s.B, s.T, s.h, s.e));
    const double *got = bench_value(&s.b, o), *v = data_of(&s, s.v);
    for (int64_t head = 0; head < HEADS; head++)  // of the first batch
        for (int64_t t = 0; t < TOKENS; t++)
            for (int64_t e = 0; e < VALUES; e++) {
                double sum = 0;
                for (int64_t u = 0; u <= t; u++)
                    sum +=
                        0.5 * pair_weight(&s, head, t, u) * v[(u * HEADS + head) * VALUES + e];
                assert_true(fabs(got[(t * HEADS + head) * VALUES + e] - sum) < 1e-13);
            }
    bench_release(&s.b);
}

// A key of length 1 that is written with strength 1 reads what was written just now.
static void test_delta_overwrites(void **state) {
    (void)state;
    Setting s;
    setting_init(&s, false);
    double *k = data_of(&s, s.k), *v = data_of(&s, s.v);
    for (int64_t i = 0; i < (int64_t)BATCHES * TOKENS * HEADS; i++) {
        double square = 0;
        for (int64_t d = 0; d < WIDTH; d++)
            square += k[i * WIDTH + d] * k[i * WIDTH + d];
        for (int64_t d = 0; d < WIDTH; d++)
            k[i * WIDTH + d] /= sqrt(square);
    }
    s.q = s.k;
    ValueId o = linear_of(
        &s, OP_LINEAR, LINEAR_HAS_QUERY | LINEAR_HAS_DECAY | LINEAR_HAS_INITIAL | LINEAR_DELTA);
    const double *got = bench_value(&s.b, o);
    for (int64_t i = 0; i < graph_elements(s.b.g, o); i++)
        assert_true(fabs(got[i] - 0.5 * v[i]) < 1e-13);
    bench_release(&s.b);
}

// The final state is what goes on: two halves with the state handed over are the whole.
static void test_state_goes_on(void **state) {
    (void)state;
    enum { FIRST = 4 };
    const int64_t bits = LINEAR_HAS_QUERY | LINEAR_HAS_DECAY | LINEAR_HAS_BETA |
                         LINEAR_HAS_INITIAL | LINEAR_DELTA;
    Setting s;
    setting_init(&s, true);
    ValueId whole = linear_of(&s, OP_LINEAR, bits);
    AxisId T = s.T,
           part[2] = {bench_axis(&s.b, "T1", FIRST), bench_axis(&s.b, "T2", TOKENS - FIRST)};
    Setting halves = s;
    ValueId out[2];
    for (int i = 0; i < 2; i++) {
        ValueId *operands[] = {&halves.q, &halves.k, &halves.v, &halves.decay, &halves.beta};
        const ValueId from[] = {s.q, s.k, s.v, s.decay, s.beta};
        GraphAttr attr = {.along = &T, .along_count = 1, .to = &part[i], .to_count = 1};
        attr.amount = (int64_t)i * FIRST;
        for (int k = 0; k < 5; k++)
            *operands[k] = bench_move(&s.b, OP_SLICE, from[k], attr);
        halves.T = part[i];
        halves.b = s.b;
        out[i] = linear_of(&halves, OP_LINEAR, bits);
        halves.initial = linear_of(&halves, OP_LINEAR_STATE, bits & ~LINEAR_HAS_QUERY);
    }
    bench_expect_axes(&s.b, halves.initial, AXES(s.B, s.h, s.d, s.e));
    ValueId joined = graph_add(
        s.b.g, OP_CONCAT, (Operands){out, 2},
        (GraphAttr){.along = part, .along_count = 2, .to = &T, .to_count = 1}, (Span){0});
    Evaluation e = bench_evaluation(&s.b);
    const double *x = evaluation_value(&e, whole), *y = evaluation_value(&e, joined);
    for (int64_t i = 0; i < graph_elements(s.b.g, whole); i++)
        assert_true(x[i] == y[i]);
    bench_release(&s.b);
}

// ---- packed sequences

// A decay of -inf at a token: nothing from before it counts, in values and in gradients, which
// are those of the sequences run apart, and numbers.
static void test_packed(void **state) {
    (void)state;
    enum { START = 5 };
    const int64_t bits = LINEAR_HAS_QUERY | LINEAR_HAS_DECAY | LINEAR_HAS_BETA | LINEAR_DELTA;
    for (int wide = 0; wide < 2; wide++) {
        Setting s;
        setting_init(&s, wide);
        int64_t row = (int64_t)(wide ? WIDTH : 1) * HEADS;
        for (int64_t i = 0; i < BATCHES * row; i++)
            data_of(&s, s.decay)[(i / row * TOKENS + START) * row + i % row] = -HUGE_VAL;
        ValueId o = linear_of(&s, OP_LINEAR, bits), grads[2][5];
        ValueId up = bench_random(&s.b, AXES(s.B, s.T, s.h, s.e), -1, 1);
        const ValueId from[] = {s.q, s.k, s.v, s.beta, s.decay};
        ValueId loss = bench_total(&s.b, bench_binary(&s.b, OP_MUL, o, up));
        pass_differentiate(s.b.g, loss, from, 5, grads[0]);
        // The second sequence alone.
        AxisId T = s.T, tail = bench_axis(&s.b, "tail", TOKENS - START);
        GraphAttr attr = {.along = &T, .along_count = 1, .to = &tail, .to_count = 1};
        attr.amount = START;
        Setting second = s;
        second.q = bench_move(&s.b, OP_SLICE, s.q, attr);
        second.k = bench_move(&s.b, OP_SLICE, s.k, attr);
        second.v = bench_move(&s.b, OP_SLICE, s.v, attr);
        second.beta = bench_move(&s.b, OP_SLICE, s.beta, attr);
        second.decay = bench_move(&s.b, OP_SLICE, s.decay, attr);
        second.T = tail;
        ValueId alone = linear_of(&second, OP_LINEAR, bits);
        ValueId there = bench_move(&s.b, OP_SLICE, o, attr);
        ValueId other = bench_total(
            &s.b, bench_binary(&s.b, OP_MUL, alone, bench_move(&s.b, OP_SLICE, up, attr)));
        pass_differentiate(s.b.g, other, from, 5, grads[1]);
        Evaluation e = bench_evaluation(&s.b);
        const double *x = evaluation_value(&e, there), *y = evaluation_value(&e, alone);
        for (int64_t i = 0; i < graph_elements(s.b.g, alone); i++)
            assert_true(x[i] == y[i]);
        for (int k = 0; k < 5; k++) {
            const double *a = evaluation_value(&e, grads[0][k]),
                         *b = evaluation_value(&e, grads[1][k]);
            int64_t n = graph_elements(s.b.g, from[k]), step = n / BATCHES / TOKENS;
            for (int64_t i = 0; i < n; i++) {
                int64_t t = i / step % TOKENS;
                assert_true(isfinite(a[i]));
                if (t >= START) assert_true(a[i] == b[i]);
            }
        }
        bench_release(&s.b);
    }
}

// ---- operands that heads share

static void test_shared_operands(void **state) {
    (void)state;
    Setting s;
    setting_init(&s, true);
    const int64_t bits = LINEAR_BITS;
    Setting shared = s;
    shared.k = bench_random(&s.b, AXES(s.T, s.d), -0.7, 0.7);
    shared.decay = bench_random(&s.b, AXES(s.d, s.T), -1, -0.1);
    shared.initial = bench_random(&s.b, AXES(s.e, s.d), -1, 1);
    shared.b = s.b;
    ValueId one = linear_of(&shared, OP_LINEAR, bits);
    const ValueId few[] = {shared.k, shared.decay, shared.initial};
    GraphAttr wide = {.to = (AxisId[]){s.B, s.T, s.h, s.d}, .to_count = 4};
    s.k = bench_move(&s.b, OP_BROADCAST, shared.k, wide);
    s.decay = bench_move(&s.b, OP_BROADCAST, shared.decay, wide);
    wide.to = (AxisId[]){s.B, s.h, s.d, s.e};
    s.initial = bench_move(&s.b, OP_BROADCAST, shared.initial, wide);
    ValueId other = linear_of(&s, OP_LINEAR, bits), grads[2][3];
    pass_differentiate(s.b.g, bench_total(&s.b, one), few, 3, grads[0]);
    pass_differentiate(s.b.g, bench_total(&s.b, other), few, 3, grads[1]);
    Evaluation e = bench_evaluation(&s.b);
    const double *x = evaluation_value(&e, one), *y = evaluation_value(&e, other);
    for (int64_t i = 0; i < graph_elements(s.b.g, one); i++)
        assert_true(x[i] == y[i]);
    for (int k = 0; k < 3; k++) {
        const double *a = evaluation_value(&e, grads[0][k]),
                     *b = evaluation_value(&e, grads[1][k]);
        for (int64_t i = 0; i < graph_elements(s.b.g, few[k]); i++)
            assert_true(fabs(a[i] - b[i]) < 1e-12);
    }
    bench_release(&s.b);
}

// ---- rules and text

static void test_rules(void **state) {
    (void)state;
    Setting s;
    setting_init(&s, true);
    AxisId along[2] = {s.d, s.T};
    GraphAttr attr = {.along = along, .along_count = 2, .number = 1};
    ValueId low = graph_cast(s.b.g, s.decay, DTYPE_BF16, (Span){0});
    ValueId plain = bench_random(&s.b, AXES(s.T, s.d), -1, 1);
    const struct {
        GraphOp op;
        int bits;
        ValueId in[4];
        uint32_t count;
        const char *why;
    } rows[] = {
        {OP_LINEAR, 1, {s.q, s.k, s.v}, 3, NULL},
        {OP_LINEAR, 3, {s.q, s.k, s.v, s.decay}, 4, NULL},
        {OP_LINEAR, 0, {s.k, s.v}, 2, "2 operands of kinds 0 are not those of 'linear'"},
        {OP_LINEAR, 1, {s.k, s.v}, 2, "2 operands of kinds 1 are not those of 'linear'"},
        {OP_LINEAR, 33, {s.q, s.k, s.v}, 3, "3 operands of kinds 33 are not those of 'linear'"},
        {OP_LINEAR_STATE,
         1,
         {s.q, s.k, s.v},
         3,
         "3 operands of kinds 1 are not those of 'linear_state'"},
        {OP_LINEAR_ERROR, 16, {s.k, s.v}, 2, NULL},
        {OP_LINEAR_DK, 16, {s.k, s.v, s.v, s.initial}, 4, NULL},
        {OP_LINEAR_DDECAY,
         1,
         {s.q, s.k, s.v, s.v},
         4,
         "4 operands of kinds 1 are not those of 'linear_ddecay'"},
        {OP_LINEAR,
         1,
         {s.q, s.k, s.k},
         3,
         "f32[B=2, T=9, h=3, d=4] has no axis of its own for that of the keys"},
        {OP_LINEAR,
         1,
         {s.q, s.beta, s.v},
         3,
         "f32[B=2, T=9, h=3] lacks an axis of the sequence or the state"},
        {OP_LINEAR, 3, {s.q, s.k, s.v, low}, 4, "needs f32, got bf16[B=2, T=9, h=3, d=4]"},
        {OP_LINEAR,
         5,
         {s.q, s.k, s.v, s.q},
         4,
         "f32[B=2, T=9, h=3, d=4] has an axis that is none of the sequences' in "
         "f32[B=2, T=9, h=3, e=5]"},
        {OP_LINEAR,
         9,
         {s.q, s.k, s.v, s.q},
         4,
         "f32[B=2, T=9, h=3, d=4] has an axis that is none of the sequences' in "
         "f32[B=2, T=9, h=3, e=5]"},
        {OP_LINEAR_DQ,
         1,
         {s.q, s.k, s.v, s.q},
         4,
         "f32[B=2, T=9, h=3, d=4] is no gradient of it"},
        {OP_LINEAR_DK, 0, {s.k, s.v, s.v}, 3, "f32[B=2, T=9, h=3, e=5] is no gradient of it"},
        {OP_LINEAR_DK, 0, {s.k, s.v, s.initial}, 3, NULL},
        {OP_LINEAR, 1, {plain, plain, s.v}, 3, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        attr.amount = rows[i].bits;
        const char *why = graph_rule_violation(s.b.g, rows[i].op,
                                               (Operands){rows[i].in, rows[i].count}, attr);
        if (!why != !rows[i].why || (why && strcmp(why, rows[i].why) != 0))
            fail_msg("row %zu: %s", i, why ? why : "legal");
    }
    attr.amount = LINEAR_HAS_QUERY;
    along[1] = s.d;
    assert_string_equal(
        graph_rule_violation(s.b.g, OP_LINEAR, (Operands){(ValueId[]){s.q, s.k, s.v}, 3}, attr),
        "'along' needs two axes");
    bench_release(&s.b);
}

// Everything there is, with gradients, as text and back.
static void everything(Setting *s) {
    setting_init(s, true);
    s->b.g->axes.ptr[s->T.i].runtime = s->b.g->axes.ptr[s->B.i].runtime = true;
    // Operands that kernels make: else nothing of theirs is kept.
    ValueId *made[] = {&s->q, &s->k, &s->v, &s->decay, &s->beta};
    for (int i = 0; i < 5; i++)
        *made[i] = bench_unary(&s->b, i < 3 ? OP_TANH : OP_SIGMOID, *made[i]);
    s->decay = bench_unary(&s->b, OP_NEG, s->decay);
    const int64_t bits = LINEAR_BITS;
    ValueId o = linear_of(s, OP_LINEAR, bits),
            last = linear_of(s, OP_LINEAR_STATE, bits & ~LINEAR_HAS_QUERY);
    ValueId loss =
        bench_binary(&s->b, OP_ADD, bench_total(&s->b, bench_binary(&s->b, OP_MUL, o, o)),
                     bench_total(&s->b, bench_binary(&s->b, OP_MUL, last, last)));
    graph_output(s->b.g, STR("loss"), loss);
    ValueId wrt[6], grads[6];
    for (int i = 0; i < 6; i++)
        wrt[i] = s->b.g->leaf_values.ptr[i];
    pass_differentiate(s->b.g, loss, wrt, 6, grads);
    for (int i = 0; i < 6; i++)
        graph_output(s->b.g, str_printf(&s->b.arena, "g%d", i), grads[i]);
    bench_verify(&s->b, s->b.g);
}

static void test_text(void **state) {
    (void)state;
    Setting s;
    everything(&s);
    GraphReader r;
    reader_init(&r);
    const char *text = reader_print(&r, s.b.g);
    assert_non_null(strstr(text, " = linear_dinitial "));
    assert_non_null(strstr(text, " 0.5 along (d, T) amount 31 : f32[B, T, h, e]"));
    assert_string_equal(reader_print(&r, reader_graph(&r, text)), text);
    reader_release(&r);
    bench_release(&s.b);
}

// ---- passes

// Forward, final state and errors are one kernel; so are the gradients of either. None is made
// twice.
static void test_kernels(void **state) {
    (void)state;
    Setting s;
    everything(&s);
    Graph *g = pass_recompute(pass_simplify(s.b.g, &s.b.arena), &s.b.arena, 1);
    const Regions *regions = pass_fuse(g, &s.b.arena);
    uint32_t count = 0, members[4] = {0};
    for (uint32_t i = 0; i < regions->count; i++) {
        if (regions->regions[i].kind != REGION_LINEAR) continue;
        assert_true(count < 4);
        members[count++] = regions->regions[i].value_count;
    }
    assert_int_equal(count, 3);
    assert_int_equal(members[0], 3);
    // The final state has no query.
    assert_int_equal(members[1] + members[2], 6 + 5);
    bench_release(&s.b);
}

// A query made of the final state cannot be in the kernel that makes the state.
static void test_query_of_the_state(void **state) {
    (void)state;
    Setting s;
    setting_init(&s, false);
    ValueId last = linear_of(&s, OP_LINEAR_STATE, LINEAR_HAS_DECAY);
    ValueId sum = bench_reduce(&s.b, OP_REDUCE_SUM, last, AXES(s.e));
    GraphAttr to = {.to = (AxisId[]){s.B, s.T, s.h, s.d}, .to_count = 4};
    s.q = bench_move(&s.b, OP_BROADCAST, sum, to);
    graph_output(s.b.g, STR("y"),
                 linear_of(&s, OP_LINEAR, LINEAR_HAS_DECAY | LINEAR_HAS_QUERY));
    const Regions *regions = pass_fuse(s.b.g, &s.b.arena);
    uint32_t count = 0;
    for (uint32_t i = 0; i < regions->count; i++)
        count += regions->regions[i].kind == REGION_LINEAR;
    assert_int_equal(count, 2);
    bench_release(&s.b);
}

static DType stored_as(const Graph *g, ValueId v) {
    return v.i ? graph_value(g, v)->type : DTYPE_F32;
}

// What is multiplied per token is bf16; decays, strengths, states and their gradients are f32.
static void test_precision(void **state) {
    (void)state;
    Setting s;
    everything(&s);
    Graph *g = pass_recompute(pass_simplify(s.b.g, &s.b.arena), &s.b.arena, 1);
    g = pass_precision(g, &s.b.arena);
    bench_verify(&s.b, g);
    uint32_t count = 0;
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        if (v->op == OP_CAST && v->type == DTYPE_BF16) {
            GraphOp of = graph_value(g, v->in[0])->op;
            assert_true(of != OP_LINEAR_STATE && of != OP_LINEAR_ERROR &&
                        of != OP_LINEAR_DDECAY && of != OP_LINEAR_DBETA &&
                        of != OP_LINEAR_DINITIAL);
        }
        if (!op_is_linear(v->op)) continue;
        count++;
        LinearOperands l = linear_operands(g, v);
        assert_int_equal(stored_as(g, l.k), DTYPE_BF16);
        assert_int_equal(stored_as(g, l.v), DTYPE_BF16);
        if (l.q.i) assert_int_equal(stored_as(g, l.q), DTYPE_BF16);
        if (l.q.i && l.gradient.i) assert_int_equal(stored_as(g, l.gradient), DTYPE_BF16);
        if (!l.q.i && l.gradient.i) assert_int_equal(stored_as(g, l.gradient), DTYPE_F32);
        assert_int_equal(stored_as(g, l.error), DTYPE_F32);
        assert_int_equal(stored_as(g, l.decay), DTYPE_F32);
        assert_int_equal(stored_as(g, l.beta), DTYPE_F32);
        assert_int_equal(stored_as(g, l.initial), DTYPE_F32);
    }
    assert_int_equal(count, 14);
    bench_release(&s.b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_delta_overwrites),
        cmocka_unit_test(test_state_goes_on),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_shared_operands),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_query_of_the_state),
        cmocka_unit_test(test_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
