// test_lower_linear.c: linear attention and its gradients as chunk programs, interpreted,
// against the recurrence of the evaluator: every member of the family.
#include <math.h>

#include "ir/graph/linear.h"
#include "ir/graph/passes.h"
#include "tests/ir/graph_bench.h"
#include "tests/ir/run_regions.h"
#include "tests/test.h"

// Operands and results are stored in f32; in between all is double precision. What a token
// reads goes through as many states as there are tokens before it, of which each forgets some.
#define TOLERANCE 4e-6

typedef struct {
    int64_t tokens, chunk;
    int64_t bits;
    bool wide_decay, forgets;  // forgets: some decays are -inf
    bool shared;               // heads share keys, queries and decays; batches an initial state
    bool low;                  // bf16
    int64_t parts;             // of columns, or of the sequence
    int64_t segments;
} Case;

typedef struct {
    GraphBench b;
    AxisId B, T, h, d, e;
    ValueId leaves[6];
    uint32_t leaf_count;
} Model;

static ValueId leaf(Model *m, const AxisId *axes, size_t rank) {
    ValueId x = bench_random(&m->b, axes, rank, -1, 1);
    m->leaves[m->leaf_count++] = x;
    return x;
}

static ValueId constant(Model *m, double x) {
    return graph_add(m->b.g, OP_CONST, (Operands){0}, (GraphAttr){.number = x}, (Span){0});
}

// Whatever the leaf is: decays are at most 0, and -inf now and then.
static ValueId decay_of(Model *m, ValueId x, bool forgets) {
    ValueId decay = bench_unary(&m->b, OP_NEG, bench_binary(&m->b, OP_MUL, x, x));
    if (!forgets) return decay;
    const Value *v = graph_value(m->b.g, x);
    GraphAttr wide = {.to = v->axes, .to_count = v->rank};
    ValueId limit = bench_move(&m->b, OP_BROADCAST, constant(m, 1.4), wide);
    ValueId never = bench_move(&m->b, OP_BROADCAST, constant(m, -HUGE_VAL), wide);
    ValueId in[3] = {bench_binary(&m->b, OP_LT, limit, x), never, decay};
    return graph_add(m->b.g, OP_WHERE, (Operands){in, 3}, (GraphAttr){0}, (Span){0});
}

static ValueId small(Model *m, ValueId x) {
    const Value *v = graph_value(m->b.g, x);
    GraphAttr wide = {.to = v->axes, .to_count = v->rank};
    ValueId factor = bench_move(&m->b, OP_BROADCAST, constant(m, 0.6), wide);
    return bench_binary(&m->b, OP_MUL, factor, bench_unary(&m->b, OP_TANH, x));
}

static ValueId linear(Model *m, const Case *c, GraphOp op, const ValueId operands[6]) {
    ValueId in[6];
    uint32_t count = 0;
    int64_t bits = op == OP_LINEAR ? c->bits | LINEAR_HAS_QUERY : c->bits;
    const int64_t needs[6] = {LINEAR_HAS_QUERY,  0, 0, LINEAR_HAS_DECAY, LINEAR_HAS_BETA,
                              LINEAR_HAS_INITIAL};
    for (int i = 0; i < 6; i++)
        if (!needs[i] || bits & needs[i]) in[count++] = operands[i];
    GraphAttr attr = {
        .along = (AxisId[]){m->d, m->T}, .along_count = 2, .number = 0.7, .amount = bits};
    return graph_add(m->b.g, op, (Operands){in, count}, attr, (Span){0});
}

static void operands_make(Model *m, const Case *c, ValueId out[6]) {
    AxisId B = m->B, T = m->T, h = m->h, d = m->d, e = m->e;
    out[0] = c->shared ? leaf(m, AXES(T, B, d)) : leaf(m, AXES(B, T, h, d));
    out[1] = small(m, c->shared ? leaf(m, AXES(B, T, d)) : leaf(m, AXES(B, T, h, d)));
    out[2] = leaf(m, AXES(B, T, h, e));
    if (c->bits & LINEAR_HAS_DECAY) {
        ValueId x = c->wide_decay ? leaf(m, AXES(B, T, h, d)) : leaf(m, AXES(B, T, h));
        if (c->shared) {
            m->leaf_count--;
            x = c->wide_decay ? leaf(m, AXES(T, d)) : leaf(m, AXES(T));
        }
        out[3] = decay_of(m, x, c->forgets);
    }
    if (c->bits & LINEAR_HAS_BETA)
        out[4] = bench_unary(&m->b, OP_SIGMOID, leaf(m, AXES(B, T, h)));
    if (c->bits & LINEAR_HAS_INITIAL)
        out[5] = c->shared ? leaf(m, AXES(e, d)) : leaf(m, AXES(B, h, d, e));
}

static void model_make(Model *m, const Case *c) {
    *m = (Model){.leaf_count = 0};
    bench_init(&m->b);
    m->B = bench_axis(&m->b, "B", 2);
    m->T = bench_axis(&m->b, "T", c->tokens);
    m->h = bench_axis(&m->b, "h", 2);
    m->d = bench_axis(&m->b, "d", 4);
    m->e = bench_axis(&m->b, "e", c->parts ? 6 : 3);
    ValueId in[6] = {{0}}, grads[6];
    operands_make(m, c, in);
    ValueId o = linear(m, c, OP_LINEAR, in), last = linear(m, c, OP_LINEAR_STATE, in);
    ValueId loss =
        bench_binary(&m->b, OP_ADD, bench_total(&m->b, bench_binary(&m->b, OP_MUL, o, o)),
                     bench_total(&m->b, bench_binary(&m->b, OP_MUL, last, last)));
    graph_output(m->b.g, STR("o"), o);
    graph_output(m->b.g, STR("last"), last);
    pass_differentiate(m->b.g, loss, m->leaves, m->leaf_count, grads);
    for (uint32_t i = 0; i < m->leaf_count; i++)
        graph_output(m->b.g, str_printf(&m->b.arena, "slope%u", i), grads[i]);
    bench_verify(&m->b, m->b.g);
}

static void check(const Case *c) {
    Model m;
    model_make(&m, c);
    Schedule schedule = schedule_none();
    schedule.chunk = (int32_t)c->chunk;
    schedule.parts = (int32_t)c->parts;
    schedule.segments = (int32_t)c->segments;
    Graph *g = pass_simplify(m.b.g, &m.b.arena);
    if (c->low) g = pass_precision(g, &m.b.arena);
    // bf16 has 8 bits; what it rounds is a product of a few.
    run_regions_check(g, &schedule, c->low ? 0.03 : TOLERANCE);
    bench_release(&m.b);
}

static void test_family(void **state) {
    (void)state;
    for (int decay = 0; decay < 3; decay++)
        for (int64_t rest = 0; rest < 8; rest++) {
            Case c = {.tokens = 21, .chunk = 8, .wide_decay = decay == 2};
            if (decay) c.bits |= LINEAR_HAS_DECAY;
            if (rest & 1) c.bits |= LINEAR_DELTA;
            if (rest & 2) c.bits |= LINEAR_HAS_BETA;
            if (rest & 4) c.bits |= LINEAR_HAS_INITIAL;
            check(&c);
        }
}

enum { EVERYTHING = LINEAR_HAS_DECAY | LINEAR_HAS_BETA | LINEAR_HAS_INITIAL | LINEAR_DELTA };

// One token, one tile, whole tiles, tiles of one token, more tile than tokens.
static void test_lengths(void **state) {
    (void)state;
    const int64_t sizes[][2] = {{1, 8}, {8, 8}, {16, 8}, {9, 8}, {5, 1}, {7, 64}, {70, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int wide = 0; wide < 2; wide++) {
            Case c = {.tokens = sizes[i][0], .chunk = sizes[i][1], .bits = EVERYTHING};
            c.wide_decay = wide;
            check(&c);
        }
}

static void test_forgetting(void **state) {
    (void)state;
    for (int wide = 0; wide < 2; wide++)
        check(&(Case){
            .tokens = 30, .chunk = 8, .bits = EVERYTHING, .wide_decay = wide, .forgets = true});
}

static void test_shared_operands(void **state) {
    (void)state;
    for (int wide = 0; wide < 2; wide++)
        check(&(Case){
            .tokens = 13, .chunk = 4, .bits = EVERYTHING, .wide_decay = wide, .shared = true});
}

// Columns in two and three parts; the sequence, too, where its parts have whole tiles.
static void test_parts(void **state) {
    (void)state;
    for (int64_t bits = 0; bits <= EVERYTHING; bits++)
        for (int64_t parts = 2; parts <= 4; parts++) {
            if (bits & LINEAR_HAS_QUERY) continue;
            Case c = {.tokens = 24, .chunk = 4, .bits = bits, .parts = parts};
            c.wide_decay = parts == 2;
            check(&c);
        }
    check(&(Case){.tokens = 23, .chunk = 4, .bits = EVERYTHING, .parts = 2});
}

// Two, four and six of nine or ten tiles, of which the last has one token or three; three would
// be two. What enters a segment may have been forgotten within it.
static void test_segments(void **state) {
    (void)state;
    for (int64_t bits = 0; bits <= EVERYTHING; bits++)
        for (int64_t segments = 2; segments <= 6; segments += 2) {
            if (bits & LINEAR_HAS_QUERY) continue;
            Case c = {.tokens = 31 + segments, .chunk = 4, .bits = bits, .segments = segments};
            c.wide_decay = segments != 4;
            check(&c);
        }
    Case c = {.tokens = 36, .chunk = 4, .bits = EVERYTHING, .segments = 3, .forgets = true};
    check(&c);
    c.wide_decay = c.shared = true;
    check(&c);
    // More segments than tiles, of which there are one, two and three.
    for (c.tokens = 3; c.tokens < 12; c.tokens += 4) {
        c.segments = 8;
        check(&c);
    }
}

static void test_bf16(void **state) {
    (void)state;
    check(
        &(Case){.tokens = 20, .chunk = 8, .bits = EVERYTHING, .wide_decay = true, .low = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_family),     cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_forgetting), cmocka_unit_test(test_shared_operands),
        cmocka_unit_test(test_parts),      cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
