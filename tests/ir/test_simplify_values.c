// test_simplify_values.c: a simplified graph has the values of the graph it came from: random
// graphs, and a model with its gradients.
#include <math.h>

#include "base/check.h"
#include "base/rng.h"
#include "ir/graph/passes.h"
#include "tests/ir/model_parts.h"
#include "tests/test.h"

// Rounding differs by the order of f64 operations, a few hundred of them at most. Where the
// values of the graph overflow, or nearly, regrouped sums may differ.
#define TOLERANCE  1e-9
#define HUGE_VALUE 1e9

static void compare(const double *was, const double *is, int64_t count, Str name) {
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(was[i]) || fabs(was[i]) > HUGE_VALUE) continue;
        if (fabs(was[i] - is[i]) <= TOLERANCE * (1 + fabs(was[i]))) continue;
        print_error("output %.*s, element %lld: %.17g became %.17g\n", STR_ARG(name),
                    (long long)i, was[i], is[i]);
        fail();
    }
}

static bool same_axes(const Value *x, const Value *y) {
    bool same = x->rank == y->rank && x->type == y->type;
    for (int i = 0; i < x->rank && same; i++)
        same = x->axes[i].i == y->axes[i].i;
    return same;
}

// Every output of the bench's graph, before and after; the simplified graph is returned.
static const Graph *check_values(GraphBench *b) {
    Diag diag;
    diag_init(&diag, &b->arena);
    Graph *g = b->g, *simple = pass_simplify(g, &b->arena);
    assert_true(graph_verify(&diag, g));
    assert_true(graph_verify(&diag, simple));
    assert_true(hash_eq(graph_hash(simple), graph_hash(pass_simplify(simple, &b->arena))));
    assert_int_equal(simple->outputs.len, g->outputs.len);
    Evaluation before = bench_evaluation(b);
    b->g = simple;
    Evaluation after = bench_evaluation(b);
    b->g = g;
    for (uint32_t i = 0; i < g->outputs.len; i++) {
        ValueId was = g->outputs.ptr[i].value, is = simple->outputs.ptr[i].value;
        assert_true(same_axes(graph_value(g, was), graph_value(simple, is)));
        compare(evaluation_value(&before, was), evaluation_value(&after, is),
                graph_elements(g, was), g->outputs.ptr[i].name);
    }
    return simple;
}

// ---- random graphs

enum { AXIS_COUNT = 7, LEAF_COUNT = 9, STEPS = 40 };

typedef struct {
    GraphBench b;
    AxisId axis[AXIS_COUNT];
    ValueId pool[LEAF_COUNT + STEPS];
    uint32_t count;
    uint64_t seed, draws;
} Random;

static uint32_t draw(Random *r, uint32_t below) {
    ASSERT(below > 0);
    return (uint32_t)(rng_u64(r->seed, r->draws++) % below);
}

// Recent values more often: chains are what rewrites look for.
static ValueId draw_value(Random *r) {
    uint32_t recent = r->count < 8 ? r->count : 8;
    return draw(r, 2) ? r->pool[draw(r, r->count)] : r->pool[r->count - 1 - draw(r, recent)];
}

static ValueId draw_const(Random *r) {
    const double numbers[] = {0, 1, -1, 2, 0.5, 3, -2, -0.5};
    return graph_const(r->b.g, numbers[draw(r, 8)], (Span){0});
}

// exp (tanh x): what roots, quotients and powers can take.
static ValueId positive(Random *r, ValueId x) {
    return bench_unary(&r->b, OP_EXP, bench_unary(&r->b, OP_TANH, x));
}

// Distinct axes, some of them of x.
static uint8_t draw_axes(Random *r, AxisId *list, uint32_t count) {
    uint8_t n = 0;
    for (uint32_t tries = 0; n < count && tries < 20; tries++) {
        AxisId a = r->axis[draw(r, AXIS_COUNT)];
        bool present = false;
        for (uint32_t i = 0; i < n; i++)
            present |= list[i].i == a.i;
        if (!present) list[n++] = a;
    }
    return n;
}

static ValueId add_if_legal(Random *r, GraphOp op, ValueId *in, uint32_t arity,
                            GraphAttr attr) {
    if (graph_rule_violation(r->b.g, op, (Operands){in, arity}, attr)) return (ValueId){0};
    return graph_add(r->b.g, op, (Operands){in, arity}, attr, (Span){0});
}

static ValueId draw_elementwise(Random *r) {
    const GraphOp unary[] = {OP_NEG,     OP_NEG, OP_ABS, OP_TANH,
                             OP_SIGMOID, OP_SIN, OP_COS, OP_DETACH};
    const GraphOp roots[] = {OP_SQRT, OP_RSQRT, OP_LOG};
    const GraphOp binary[] = {OP_ADD, OP_SUB, OP_MUL, OP_MUL, OP_MIN, OP_MAX};
    const double powers[] = {0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.5};
    ValueId x = draw_value(r), in[3] = {x, draw(r, 3) ? draw_value(r) : draw_const(r)};
    if (graph_value(r->b.g, x)->type != DTYPE_F32)
        return add_if_legal(r, OP_NOT, in, 1, (GraphAttr){0});
    switch (draw(r, 6)) {
    case 0: return add_if_legal(r, unary[draw(r, 8)], in, 1, (GraphAttr){0});
    case 1:
        in[0] = positive(r, x);
        return add_if_legal(r, roots[draw(r, 3)], in, 1, (GraphAttr){0});
    case 2:
        if (graph_value(r->b.g, in[1])->type != DTYPE_F32) return (ValueId){0};
        in[1] = positive(r, in[1]);
        if (draw(r, 2)) in[1] = bench_unary(&r->b, OP_SQRT, in[1]);
        return add_if_legal(r, OP_DIV, in, 2, (GraphAttr){0});
    case 3:
        in[0] = positive(r, x);
        in[1] = graph_const(r->b.g, powers[draw(r, 9)], (Span){0});
        return add_if_legal(r, OP_POW, in, 2, (GraphAttr){0});
    case 4:
        in[0] = r->pool[LEAF_COUNT - 1];
        if (draw(r, 2)) in[0] = bench_unary(&r->b, OP_NOT, in[0]);
        in[1] = x;
        in[2] = draw_value(r);
        return add_if_legal(r, OP_WHERE, in, 3, (GraphAttr){0});
    default: return add_if_legal(r, binary[draw(r, 6)], in, 2, (GraphAttr){0});
    }
}

// A broadcast product and its sum, as the front end makes them.
static ValueId draw_sum_of_product(Random *r) {
    AxisId all[GRAPH_MAX_RANK], along[2];
    for (int i = 0; i < AXIS_COUNT; i++)
        all[i] = r->axis[(i + (int)r->seed) % AXIS_COUNT];
    ValueId p = {0};
    for (uint32_t n = 2 + draw(r, 3); n > 0; n--) {
        ValueId x = draw_value(r);
        if (graph_value(r->b.g, x)->type != DTYPE_F32) return (ValueId){0};
        ValueId wide =
            bench_move(&r->b, OP_BROADCAST, x, (GraphAttr){.to = all, .to_count = AXIS_COUNT});
        p = p.i ? bench_binary(&r->b, OP_MUL, p, wide) : wide;
    }
    GraphAttr attr = {.along = along, .along_count = draw_axes(r, along, 1 + draw(r, 2))};
    ValueId sum = add_if_legal(r, OP_REDUCE_SUM, &p, 1, attr);
    return draw(r, 2) ? sum : bench_unary(&r->b, OP_TANH, sum);
}

static ValueId draw_other(Random *r) {
    const GraphOp ops[] = {OP_REDUCE_SUM, OP_REDUCE_MAX, OP_LOGSUMEXP, OP_SOFTMAX, OP_CONTRACT,
                           OP_CONTRACT,   OP_BROADCAST,  OP_BROADCAST, OP_RENAME,  OP_RENAME,
                           OP_TRANSPOSE,  OP_SPLIT,      OP_MERGE,     OP_SLICE,   OP_SLICE,
                           OP_PAD,        OP_TAKE,       OP_TAKE,      OP_PUT,     OP_ROLL,
                           OP_ROLL,       OP_SHIFT,      OP_CONCAT,    OP_STACK,   OP_GATHER,
                           OP_CAST};
    AxisId along[3], to[GRAPH_MAX_RANK];
    ValueId in[2] = {draw_value(r), draw(r, 2) ? draw_value(r) : draw_const(r)};
    GraphOp op = ops[draw(r, sizeof ops / sizeof *ops)];
    if (op == OP_GATHER)
        in[1] = draw(r, 2) ? r->pool[LEAF_COUNT - 2]
                           : graph_const_i32(r->b.g, draw(r, 4), (Span){0});
    GraphAttr attr = {.along = along, .to = to, .amount = draw(r, 4)};
    uint32_t arity =
        op == OP_CONTRACT || op == OP_CONCAT || op == OP_STACK || op == OP_GATHER ? 2 : 1;
    const Value *x = graph_value(r->b.g, in[0]);
    attr.along_count = draw_axes(r, along, 1 + draw(r, 2));
    attr.to_count =
        draw_axes(r, to, op == OP_BROADCAST ? AXIS_COUNT - draw(r, 3) : 1 + draw(r, 2));
    if (op == OP_TRANSPOSE) {
        for (int i = 0; i < x->rank; i++)
            to[i] = x->axes[x->rank - 1 - i];
        attr.to_count = x->rank;
    }
    if (op == OP_BROADCAST || op == OP_TRANSPOSE || op == OP_PUT || op == OP_STACK)
        attr.along_count = 0;
    if (op == OP_CAST) attr = (GraphAttr){.type = x->type == DTYPE_BOOL ? DTYPE_F32 : x->type};
    if (op == OP_REDUCE_SUM || op == OP_REDUCE_MAX || op == OP_LOGSUMEXP || op == OP_SOFTMAX ||
        op == OP_CONTRACT || op == OP_TAKE || op == OP_ROLL || op == OP_SHIFT ||
        op == OP_GATHER)
        attr.to_count = 0;
    return add_if_legal(r, op, in, arity, attr);
}

static void random_init(Random *r, uint64_t seed) {
    const char *names[AXIS_COUNT] = {"b", "t", "d", "f", "h", "k", "s"};
    const int64_t extents[AXIS_COUNT] = {2, 3, 4, 5, 2, 2, 3};
    *r = (Random){.seed = seed};
    bench_init(&r->b);
    r->b.seed = seed * 100;
    for (int i = 0; i < AXIS_COUNT; i++)
        r->axis[i] = bench_axis(&r->b, names[i], extents[i]);
    AxisId *a = r->axis, b = a[0], t = a[1], d = a[2], f = a[3], h = a[4], k = a[5];
    const double bits[] = {1, 0, 0, 1, 1, 0};
    r->pool[0] = bench_random(&r->b, AXES(b, t, d), -1, 1);
    r->pool[1] = bench_random(&r->b, AXES(d, t), -1, 1);
    r->pool[2] = bench_random(&r->b, AXES(d, f), -1, 1);
    r->pool[3] = bench_random(&r->b, AXES(f, d), -1, 1);
    r->pool[4] = bench_random(&r->b, AXES(d), -1, 1);
    r->pool[5] = bench_random(&r->b, AXES(h, t, k), -1, 1);
    r->pool[6] = bench_random(&r->b, AXES(b, t), -1, 1);
    r->pool[7] = bench_index(&r->b, AXES(b, h), 0, 3);
    r->pool[8] = bench_leaf(&r->b, DTYPE_BOOL, AXES(b, t), bits);
    r->count = LEAF_COUNT;
}

static void random_step(Random *r) {
    for (int tries = 0; tries < 200; tries++) {
        uint32_t kind = draw(r, 8);
        ValueId v = kind == 0  ? draw_sum_of_product(r)
                    : kind < 4 ? draw_elementwise(r)
                               : draw_other(r);
        if (v.i == 0) continue;
        r->pool[r->count++] = v;
        return;
    }
}

static void test_random_graphs_keep_their_values(void **state) {
    (void)state;
    uint32_t before = 0, after = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        Random r;
        random_init(&r, seed);
        for (int i = 0; i < STEPS; i++)
            random_step(&r);
        for (uint32_t i = LEAF_COUNT; i < r.count; i++)
            if (i + 6 > r.count || draw(&r, 4) == 0)
                graph_output(r.b.g, str_printf(&r.b.arena, "o%u", i), r.pool[i]);
        const Graph *simple = check_values(&r.b);
        before += r.b.g->values.len;
        after += simple->values.len;
        bench_release(&r.b);
    }
    // The graphs are full of what can be simplified: a pass that does nothing would pass the
    // rest.
    assert_true(after < before * 7 / 10);
}

// ---- a model

static void test_model_and_gradients_keep_their_values(void **state) {
    (void)state;
    ModelBench m;
    model_init(&m);
    ValueId loss = model_with_attn_res(&m);
    Graph *g = m.b.g;
    uint32_t count = g->leaf_values.len, trained = 0;
    ValueId *wrt = arena_array(&m.b.arena, ValueId, count),
            *grads = arena_array(&m.b.arena, ValueId, count);
    for (uint32_t i = 0; i < count; i++)
        if (g->leaves.ptr[i].trained) wrt[trained++] = g->leaf_values.ptr[i];
    pass_differentiate(g, loss, wrt, trained, grads);
    graph_output(g, STR("loss"), loss);
    for (uint32_t i = 0; i < trained; i++)
        graph_output(g, str_printf(&m.b.arena, "grad%u", i), grads[i]);
    const Graph *simple = check_values(&m.b);
    uint32_t contractions = 0;
    for (uint32_t i = 1; i < simple->values.len; i++)
        contractions += simple->values.ptr[i].op == OP_CONTRACT;
    assert_true(contractions > 0);
    assert_true(simple->values.len < g->values.len);
    bench_release(&m.b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs_keep_their_values),
        cmocka_unit_test(test_model_and_gradients_keep_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
