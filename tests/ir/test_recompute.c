// Recomputing changes no number, keeps less, and computes nothing dear twice.
#include <math.h>

#include "ir/graph/passes.h"
#include "tests/ir/model_parts.h"
#include "tests/test.h"

static int setup(void **state) {
    ModelBench *m = test_malloc(sizeof *m);
    model_init(m);
    *state = m;
    return 0;
}

static int teardown(void **state) {
    ModelBench *m = *state;
    bench_release(&m->b);
    test_free(m);
    return 0;
}

// Outputs: the loss, and the gradient of each parameter.
static void finish(GraphBench *b, ValueId loss) {
    ValueId wrt[64] = {0}, grads[64];
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->data.len; i++) {
        assert_true(count < 64);
        if (b->g->leaves.ptr[i].kind == OP_PARAM) wrt[count++] = b->g->leaf_values.ptr[i];
    }
    pass_differentiate(b->g, loss, wrt, count, grads);
    graph_output(b->g, STR("loss"), loss);
    for (uint32_t i = 0; i < count; i++)
        graph_output(b->g, str_printf(&b->arena, "grad%u", i), grads[i]);
}

static uint32_t count_of(const Graph *g, GraphOp op) {
    uint32_t count = 0;
    for (uint32_t i = 1; i < g->values.len; i++)
        count += graph_value(g, (ValueId){i})->op == op;
    return count;
}

// The copies do the same operations on the same numbers: outputs agree to the last bit.
static void check_same_outputs(GraphBench *b, const Graph *g, Graph *other) {
    bench_verify(b, other);
    assert_int_equal(other->outputs.len, g->outputs.len);
    Evaluation e = bench_evaluation(b);
    Graph *before = b->g;
    b->g = other;  // the same leaves take the same data
    Evaluation f = bench_evaluation(b);
    b->g = before;
    for (uint32_t i = 0; i < g->outputs.len; i++) {
        ValueId x = g->outputs.ptr[i].value, y = other->outputs.ptr[i].value;
        assert_true(str_eq(g->outputs.ptr[i].name, other->outputs.ptr[i].name));
        size_t bytes = (size_t)graph_elements(g, x) * sizeof(double);
        assert_memory_equal(evaluation_value(&e, x), evaluation_value(&f, y), bytes);
    }
}

static void check_recompute(GraphBench *b) {
    static const double held_costs[] = {0, 1, 4, 1e6};
    int64_t kept = graph_kept_bytes(b->g);
    for (size_t i = 0; i < sizeof held_costs / sizeof *held_costs; i++) {
        Graph *to = pass_recompute(b->g, &b->arena, held_costs[i]);
        check_same_outputs(b, b->g, to);
        assert_int_equal(count_of(to, OP_CONTRACT), count_of(b->g, OP_CONTRACT));
        int64_t now = graph_kept_bytes(to);
        assert_true(now <= kept);
        kept = now;
    }
}

static void test_model(void **state) {
    ModelBench *m = *state;
    finish(&m->b, model_with_attn_res(m));
    int64_t before = graph_kept_bytes(m->b.g);
    check_recompute(&m->b);
    Graph *to = pass_recompute(m->b.g, &m->b.arena, 1);
    assert_true(graph_kept_bytes(to) < before * 3 / 4);
}

// As models are compiled: shared values first, then the choice what to make twice.
static void test_after_simplify(void **state) {
    ModelBench *m = *state;
    finish(&m->b, model_with_attn_res(m));
    m->b.g = pass_simplify(m->b.g, &m->b.arena);
    int64_t before = graph_kept_bytes(m->b.g);
    check_recompute(&m->b);
    Graph *to = pass_recompute(m->b.g, &m->b.arena, 1);
    assert_true(graph_kept_bytes(to) < before * 3 / 4);
}

static void test_swiglu(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    finish(&m->b, bench_total(&m->b, model_swiglu(m, model_rms_norm(m, x))));
    check_recompute(&m->b);
}

// Elementwise values of a leaf: the leaf is there anyway, so nothing at all is kept.
static void test_chain_from_a_leaf(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    for (int i = 0; i < 3; i++)
        x = bench_unary(&m->b, OP_TANH, bench_binary(&m->b, OP_MUL, x, x));
    finish(&m->b, bench_total(&m->b, x));
    assert_true(graph_kept_bytes(m->b.g) > 0);
    check_recompute(&m->b);
    assert_int_equal(graph_kept_bytes(pass_recompute(m->b.g, &m->b.arena, 0)), 0);
}

// The operand of a contraction is in memory for it; making it again would write it again.
static void test_stored_value_is_kept_if_memory_is_free(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    ValueId y = bench_unary(&m->b, OP_EXP, x), w = bench_random(&m->b, AXES(m->d, m->f), -1, 1);
    ValueId loss = bench_total(&m->b, model_dot(m, y, w, m->d));
    finish(&m->b, loss);
    assert_int_equal(count_of(pass_recompute(m->b.g, &m->b.arena, 0), OP_EXP), 1);
    assert_int_equal(count_of(pass_recompute(m->b.g, &m->b.arena, 100), OP_EXP), 2);
    check_recompute(&m->b);
}

// A stream that every step changes, reads by a contraction, and could be made again of the one
// before: but then all of it would be made again at once, and be in memory as if it were kept.
static void test_chain_in_memory_is_kept(void **state) {
    ModelBench *m = *state;
    ValueId h = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    for (int i = 0; i < 12; i++) {
        ValueId w = bench_random(&m->b, AXES(m->d, m->f), -1, 1),
                v = bench_random(&m->b, AXES(m->f, m->d), -1, 1),
                scale = bench_random(&m->b, AXES(m->d), -1, 1);
        ValueId y = model_dot(m, model_dot(m, h, w, m->d), v, m->f);
        ValueId change = bench_binary(&m->b, OP_MUL, y, scale);  // its gradient reads y
        h = bench_unary(&m->b, OP_NEG, bench_binary(&m->b, OP_ADD, h, change));
    }
    finish(&m->b, bench_total(&m->b, h));
    check_recompute(&m->b);
    uint32_t count = count_of(m->b.g, OP_NEG);
    Graph *to = pass_recompute(m->b.g, &m->b.arena, 1.5);
    assert_true(count_of(to, OP_NEG) <= count + 2);
}

static uint32_t exps_made_again(ModelBench *m, int steps) {
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1), s = model_sum(m, x, m->d);
    for (int i = 0; i < steps; i++)
        s = bench_unary(&m->b, OP_EXP, bench_unary(&m->b, OP_NEG, s));
    ValueId y = bench_binary(&m->b, OP_MUL, x, s);
    finish(&m->b, bench_total(&m->b, bench_binary(&m->b, OP_MUL, y, y)));
    check_recompute(&m->b);
    Graph *to = pass_recompute(m->b.g, &m->b.arena, 1.5);
    return count_of(to, OP_EXP) - count_of(m->b.g, OP_EXP);
}

// A scalar of a row is cheaply computed again, unless it comes at the end of a long iteration.
static void test_short_iteration(void **state) {
    assert_int_equal(exps_made_again(*state, 6), 6);
}
static void test_long_iteration(void **state) {
    assert_int_equal(exps_made_again(*state, 60), 0);
}

// Rows of a table in parts (heads) are gathered in parts, so that who reads them can gather
// them.
static void test_gathered_in_parts(void **state) {
    ModelBench *m = *state;
    GraphAttr heads = {
        .along = &m->d, .along_count = 1, .to = (AxisId[]){m->h, m->k}, .to_count = 2};
    ValueId rows = model_embedded(m, bench_axis(&m->b, "vocab", 6)),
            parts = bench_move(&m->b, OP_SPLIT, rows, heads),
            query = bench_random(&m->b, AXES(m->h, m->k), -1, 1),
            w = bench_random(&m->b, AXES(m->k, m->f), -1, 1);
    ValueId scaled = bench_unary(&m->b, OP_EXP, bench_binary(&m->b, OP_MUL, parts, query));
    finish(&m->b, bench_total(&m->b, model_dot(m, scaled, w, m->k)));
    check_recompute(&m->b);
    const Graph *to = pass_recompute(m->b.g, &m->b.arena, 1e6);
    uint32_t of_parts = 0;
    vec_each (const Value, v, &to->values)
        of_parts +=
            v->op == OP_GATHER && graph_value(to, v->in[0])->op == OP_SPLIT && v->rank == 3;
    assert_int_equal(of_parts, 1);
}

static void test_without_a_loss(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    graph_output(m->b.g, STR("y"), model_rms_norm(m, x));
    assert_int_equal(graph_kept_bytes(m->b.g), 0);
    Graph *to = pass_recompute(m->b.g, &m->b.arena, 1);
    assert_int_equal(to->values.len, m->b.g->values.len);
    check_same_outputs(&m->b, m->b.g, to);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_model),
        TEST(test_after_simplify),
        TEST(test_swiglu),
        TEST(test_chain_from_a_leaf),
        TEST(test_stored_value_is_kept_if_memory_is_free),
        TEST(test_chain_in_memory_is_kept),
        TEST(test_short_iteration),
        TEST(test_long_iteration),
        TEST(test_gathered_in_parts),
        TEST(test_without_a_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
