// Attention over depth in two phases: which mixes share their sources, that values and
// gradients stay the same, that the shared mixes are one kernel, and that kernels give the
// evaluator's numbers.
#include <math.h>

#include "ir/graph/passes.h"
#include "ir/graph/region.h"
#include "tests/ir/model_parts.h"
#include "tests/ir/run_regions.h"
#include "tests/test.h"

// ---- chains of sublayers, each a mix of what came before and a function of it

typedef ValueId MixFn(ModelBench *m, const ValueId *sources, uint32_t count);

typedef struct {
    const char *name;
    MixFn *mix;
    uint32_t sublayers, block;  // 0: every output is a source of its own
    uint32_t window;            // 0: all sources; else the first and so many of the last
    uint32_t kept;              // mixes whose shared part goes through memory
} Chain;

static ValueId stacked(ModelBench *m, const ValueId *sources, uint32_t count, AxisId *depth) {
    *depth = bench_axis(&m->b, "depth", count);
    GraphAttr attr = {.to = depth, .to_count = 1};
    return graph_add(m->b.g, OP_STACK, (Operands){sources, count}, attr, (Span){0});
}

static ValueId mixed(ModelBench *m, ValueId scores, ValueId v, AxisId depth) {
    ValueId weights = bench_reduce(&m->b, OP_SOFTMAX, scores, &depth, 1);
    return bench_reduce(&m->b, OP_REDUCE_SUM, bench_binary(&m->b, OP_MUL, v, weights), &depth,
                        1);
}

// A bias for each source, and one that grows along them; scores of raw values.
static ValueId biased_mix(ModelBench *m, const ValueId *sources, uint32_t count) {
    AxisId depth;
    ValueId v = stacked(m, sources, count, &depth);
    ValueId s = model_dot(m, bench_random(&m->b, AXES(m->d), -1, 1), v, m->d);
    GraphAttr along = {.along = &depth, .along_count = 1};
    ValueId place = graph_add(m->b.g, OP_IOTA, (Operands){0}, along, (Span){0});
    place = graph_cast(m->b.g, place, DTYPE_F32, (Span){0});
    ValueId bias = bench_binary(&m->b, OP_ADD, place, bench_random(&m->b, AXES(depth), -1, 1));
    return mixed(m, bench_binary(&m->b, OP_ADD, s, bias), v, depth);
}

// Two heads with a temperature each, scores of cubes: no function that the compiler knows.
static ValueId headed_mix(ModelBench *m, const ValueId *sources, uint32_t count) {
    AxisId depth, parts[2] = {m->h, m->k};
    GraphAttr attr = {.along = &m->d, .along_count = 1, .to = parts, .to_count = 2};
    ValueId v = bench_move(&m->b, OP_SPLIT, stacked(m, sources, count, &depth), attr);
    ValueId cube = bench_binary(&m->b, OP_MUL, bench_binary(&m->b, OP_MUL, v, v), v);
    ValueId s = model_dot(m, bench_random(&m->b, AXES(m->h, m->k), -1, 1), cube, m->k);
    s = bench_binary(&m->b, OP_MUL, s, bench_random(&m->b, AXES(m->h), 0.5, 1.5));
    GraphAttr back = {.along = parts, .along_count = 2, .to = &m->d, .to_count = 1};
    return bench_move(&m->b, OP_MERGE, mixed(m, s, v, depth), back);
}

// The query is made of the last source.
static ValueId asking_mix(ModelBench *m, const ValueId *sources, uint32_t count) {
    AxisId depth;
    ValueId v = stacked(m, sources, count, &depth), query = sources[count - 1];
    return mixed(m, model_dot(m, query, v, m->d), v, depth);
}

// No softmax.
static ValueId gated_mix(ModelBench *m, const ValueId *sources, uint32_t count) {
    AxisId depth;
    ValueId v = stacked(m, sources, count, &depth);
    ValueId s = model_dot(m, bench_random(&m->b, AXES(m->d), -1, 1), v, m->d);
    return model_dot(m, bench_unary(&m->b, OP_SIGMOID, s), v, depth);
}

// Weights that do not depend on the sources.
static ValueId static_mix(ModelBench *m, const ValueId *sources, uint32_t count) {
    AxisId depth;
    ValueId v = stacked(m, sources, count, &depth);
    return mixed(m, bench_random(&m->b, AXES(depth), -1, 1), v, depth);
}

static const Chain chains[] = {
    {"full", model_attn_res, 9, 0, 0, 6},
    {"block", model_attn_res, 12, 3, 0, 7},
    {"window", model_attn_res, 9, 0, 4, 5},
    {"biased", biased_mix, 8, 2, 0, 4},
    {"heads", headed_mix, 9, 3, 0, 5},
    {"static", static_mix, 9, 3, 0, 5},
    {"input-dependent query", asking_mix, 9, 3, 0, 0},
    {"no softmax", gated_mix, 9, 3, 0, 0},
};

enum { MOST_SOURCES = 16 };

static ValueId chain_mix(ModelBench *m, const Chain *c, const ValueId *sources,
                         uint32_t count) {
    if (count == 1) return sources[0];
    if (!c->window || count <= c->window + 1) return c->mix(m, sources, count);
    ValueId seen[MOST_SOURCES] = {sources[0]};
    memcpy(seen + 1, sources + count - c->window, c->window * sizeof *seen);
    return c->mix(m, seen, c->window + 1);
}

// The loss of the chain; sources hold the finished blocks, then the sum so far.
static ValueId chain_loss(ModelBench *m, const Chain *c) {
    ValueId sources[MOST_SOURCES] = {bench_random(&m->b, AXES(m->t, m->d), -1, 1)};
    uint32_t count = 1, in_block = 0;
    for (uint32_t i = 0; i < c->sublayers; i++) {
        ValueId x = chain_mix(m, c, sources, count);
        ValueId y =
            bench_contract(&m->b, x, bench_random(&m->b, AXES(m->d, m->f), -1, 1), AXES(m->d));
        y = bench_contract(&m->b, bench_unary(&m->b, OP_TANH, y),
                           bench_random(&m->b, AXES(m->f, m->d), -1, 1), AXES(m->f));
        if (in_block == 0)
            sources[count++] = y;
        else
            sources[count - 1] = bench_binary(&m->b, OP_ADD, sources[count - 1], y);
        in_block = c->block ? (in_block + 1) % c->block : 0;
    }
    ValueId out = chain_mix(m, c, sources, count);
    out = bench_contract(&m->b, out, bench_random(&m->b, AXES(m->d, m->f), -1, 1), AXES(m->d));
    return bench_total(&m->b, bench_binary(&m->b, OP_MUL, out, out));
}

typedef struct {
    ModelBench m;
    Graph *plain;  // simplified
} ChainBench;

static void chain_init(ChainBench *c, const Chain *chain) {
    model_init(&c->m);
    c->m.b.label = chain->name;
    graph_output(c->m.b.g, STR("loss"), chain_loss(&c->m, chain));
    c->plain = pass_simplify(c->m.b.g, &c->m.b.arena);
}

static Graph *two_phase(ChainBench *c, TwoPhase how, bool training) {
    Arena *arena = &c->m.b.arena;
    Graph *g = pass_depth(c->plain, arena, how, training);
    bench_verify(&c->m.b, g);
    return pass_simplify(g, arena);
}

static Graph *with_gradients(ChainBench *c, Graph *g) {
    Arena *arena = &c->m.b.arena;
    uint32_t n = g->leaves.len;
    ValueId *grads = arena_array(arena, ValueId, n);
    pass_differentiate(g, graph_output_find(g, STR("loss")), g->leaf_values.ptr, n, grads);
    for (uint32_t i = 0; i < n; i++)
        graph_output(g, str_printf(arena, "grad%u", i), grads[i]);
    return pass_recompute(pass_simplify(g, arena), arena, 1);
}

static uint32_t count_op(const Graph *g, GraphOp op) {
    uint32_t n = 0;
    vec_each (const Value, v, &g->values)
        n += v->op == op;
    return n;
}

// ---- tests

static void test_which_mixes_share(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        ChainBench c;
        chain_init(&c, &chains[i]);
        // The result and its score, which a fixed one is for all rows.
        uint32_t kept = count_op(two_phase(&c, TWO_PHASE_ALWAYS, false), OP_KEEP);
        if (kept != 2 * chains[i].kept)
            fail_msg("%s: %u values are kept, expected %u", chains[i].name, kept,
                     2 * chains[i].kept);
        Graph *never = pass_depth(c.plain, &c.m.b.arena, TWO_PHASE_NEVER, true);
        assert_true(hash_eq(graph_hash(never), graph_hash(c.plain)));
        bench_release(&c.m.b);
    }
}

// Outputs that must be weights or scores stay in one phase.
static void test_weights_that_are_wanted(void **state) {
    (void)state;
    ChainBench c;
    chain_init(&c, &chains[0]);
    for (uint32_t i = 1; i < c.plain->values.len; i++)
        if (c.plain->values.ptr[i].op == OP_SOFTMAX)
            graph_output(c.plain, str_printf(&c.m.b.arena, "w%u", i), (ValueId){i});
    assert_int_equal(count_op(two_phase(&c, TWO_PHASE_ALWAYS, false), OP_KEEP), 0);
    bench_release(&c.m.b);
}

static void expect_same_outputs(ChainBench *c, const Graph *g, const Graph *expected) {
    Evaluation of[2];
    const Graph *graphs[2] = {g, expected};
    for (int k = 0; k < 2; k++) {
        evaluation_init(&of[k], graphs[k], &c->m.b.arena);
        for (uint32_t i = 0; i < g->leaves.len; i++)
            memcpy(evaluation_leaf(&of[k], i), c->m.b.data.ptr[i],
                   (size_t)graph_elements(g, g->leaf_values.ptr[i]) * sizeof(double));
    }
    for (uint32_t o = 0; o < g->outputs.len; o++) {
        ValueId x = g->outputs.ptr[o].value, y = expected->outputs.ptr[o].value;
        const double *a = evaluation_value(&of[0], x), *b = evaluation_value(&of[1], y);
        for (int64_t i = 0; i < graph_elements(g, x); i++)
            if (!(fabs(a[i] - b[i]) <= 1e-11 * (1 + fabs(b[i]))))
                fail_msg("%s: output %u[%lld] is %.17g, in one phase %.17g", c->m.b.label, o,
                         (long long)i, a[i], b[i]);
    }
}

static void test_same_values_and_gradients(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        ChainBench c;
        chain_init(&c, &chains[i]);
        Graph *two = with_gradients(&c, two_phase(&c, TWO_PHASE_ALWAYS, true));
        Graph *one = with_gradients(&c, two_phase(&c, TWO_PHASE_NEVER, true));
        bench_verify(&c.m.b, two);
        expect_same_outputs(&c, two, one);
        bench_release(&c.m.b);
    }
}

// In f32, through up to 12 sublayers one after the other: as exact as plans of whole models.
static void test_regions(void **state) {
    (void)state;
    Schedule schedule = schedule_none();
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        for (int training = 0; training < 2; training++) {
            ChainBench c;
            chain_init(&c, &chains[i]);
            Graph *g = two_phase(&c, TWO_PHASE_ALWAYS, training);
            run_regions_check(training ? with_gradients(&c, g) : g, &schedule, 1e-4);
            bench_release(&c.m.b);
        }
}

static uint32_t readers_of(const Regions *regions, ValueId v) {
    uint32_t n = 0;
    for (uint32_t r = 0; r < regions->count; r++)
        for (uint32_t k = 0; k < regions->regions[r].input_count; k++)
            n += regions->regions[r].inputs[k].i == v.i;
    return n;
}

// 12 sublayers in blocks of 3: the first source is read by each of the first three mixes, by
// the one kernel of each later run, and by the head's. Gradients, of which training makes use
// of the runs too, add as many.
static void test_sources_are_read_once(void **state) {
    (void)state;
    ChainBench c;
    chain_init(&c, &chains[1]);
    Arena *arena = &c.m.b.arena;
    ValueId first = c.plain->leaf_values.ptr[0];
    Graph *one = two_phase(&c, TWO_PHASE_NEVER, false);
    Graph *two = two_phase(&c, TWO_PHASE_BYTES, false);
    Regions *before = pass_fuse(one, arena), *after = pass_fuse(two, arena);
    assert_int_equal(readers_of(before, first), 13);
    assert_int_equal(readers_of(after, first), 6);
    assert_int_equal(after->count, before->count);
    before = pass_fuse(with_gradients(&c, one), arena);
    after = pass_fuse(with_gradients(&c, two_phase(&c, TWO_PHASE_BYTES, true)), arena);
    assert_int_equal(readers_of(before, first), 26);
    assert_int_equal(readers_of(after, first), 12);
    assert_true(after->count <= before->count);
    bench_release(&c.m.b);
}

// However many kernels read it, a stack is not in memory.
static void test_stacks_are_not_stored(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        ChainBench c;
        chain_init(&c, &chains[i]);
        Graph *g = with_gradients(&c, two_phase(&c, TWO_PHASE_ALWAYS, true));
        Regions *regions = pass_fuse(g, &c.m.b.arena);
        for (uint32_t r = 0; r < regions->count; r++)
            for (uint32_t k = 0; k < regions->regions[r].input_count; k++)
                assert_int_not_equal(graph_value(g, regions->regions[r].inputs[k])->op,
                                     OP_STACK);
        bench_release(&c.m.b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_mixes_share),
        cmocka_unit_test(test_weights_that_are_wanted),
        cmocka_unit_test(test_same_values_and_gradients),
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_sources_are_read_once),
        cmocka_unit_test(test_stacks_are_not_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
