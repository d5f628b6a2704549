// Weighted sums over stacks, and linear responses, of the ways to connect sublayers.
#include <math.h>

#include "ir/graph/depth_mix.h"
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

static ValueId random_source(ModelBench *m) {
    return bench_random(&m->b, AXES(m->t, m->d), -2, 2);
}

// The responses of `read` to the sources; they are appended to the graph.
static ValueId *responses_of(ModelBench *m, ValueId read, const ValueId *sources,
                             uint32_t count) {
    ValueId *out = arena_array(&m->b.arena, ValueId, count);
    LinearPart part = linear_part(m->b.g, &m->b.arena, sources, count);
    linear_responses(&part, read, out);
    bench_verify(&m->b, m->b.g);
    return out;
}

// read = sum of responses times sources, element by element.
static void expect_explained(ModelBench *m, ValueId read, const ValueId *sources,
                             uint32_t count) {
    const ValueId *responses = responses_of(m, read, sources, count);
    ValueId sum = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (!responses[i].i) continue;
        ValueId term = bench_binary(&m->b, OP_MUL, sources[i], responses[i]);
        sum = sum.i ? bench_binary(&m->b, OP_ADD, sum, term) : term;
    }
    Evaluation e = bench_evaluation(&m->b);
    const double *got = evaluation_value(&e, sum), *expected = evaluation_value(&e, read);
    for (int64_t i = 0; i < graph_elements(m->b.g, read); i++)
        assert_true(fabs(got[i] - expected[i]) <= 1e-13 * (1 + fabs(expected[i])));
}

static void expect_all(ModelBench *m, ValueId v, double x) {
    assert_true(v.i != 0);
    const double *got = bench_value(&m->b, v);
    for (int64_t i = 0; i < graph_elements(m->b.g, v); i++)
        assert_true(fabs(got[i] - x) < 1e-14);
}

// A later sublayer's output is cut: what it read does not count again.
static void test_residual_stream(void **state) {
    ModelBench *m = *state;
    ValueId x = random_source(m), v = model_swiglu(m, model_rms_norm(m, x)),
            h = bench_binary(&m->b, OP_ADD, x, v);
    const ValueId *r = responses_of(m, h, (ValueId[]){x, v}, 2);
    expect_all(m, r[0], 1);
    expect_all(m, r[1], 1);
    r = responses_of(m, x, (ValueId[]){x, v}, 2);
    expect_all(m, r[0], 1);
    assert_int_equal(r[1].i, 0);
}

// A norm in the stream is a coefficient, as are weights computed from the sources.
static void test_coefficients_are_held(void **state) {
    ModelBench *m = *state;
    ValueId s[4];
    for (int i = 0; i < 4; i++)
        s[i] = random_source(m);
    expect_explained(m, model_attn_res(m, s, 4), s, 4);
    expect_explained(m, model_rms_norm(m, bench_binary(&m->b, OP_ADD, s[0], s[1])), s, 2);
    ValueId gate = bench_unary(&m->b, OP_SIGMOID, s[2]);
    expect_explained(m, bench_binary(&m->b, OP_MUL, gate, s[1]), s, 3);
}

// The responses are the weights of the sources.
static void test_responses_are_weights(void **state) {
    ModelBench *m = *state;
    ValueId s[3];
    for (int i = 0; i < 3; i++)
        s[i] = random_source(m);
    AxisId depth = bench_axis(&m->b, "weights", 3);
    ValueId v = graph_add(m->b.g, OP_STACK, (Operands){s, 3},
                          (GraphAttr){.to = &depth, .to_count = 1}, (Span){0});
    ValueId w = bench_leaf(&m->b, DTYPE_F32, AXES(depth), (double[]){0.5, -2, 3});
    const ValueId *r = responses_of(m, model_dot(m, w, v, depth), s, 3);
    expect_all(m, r[0], 0.5);
    expect_all(m, r[1], -2);
    expect_all(m, r[2], 3);
}

static void test_products_are_not_linear(void **state) {
    ModelBench *m = *state;
    ValueId s[2] = {random_source(m), random_source(m)};
    const ValueId *r = responses_of(m, bench_binary(&m->b, OP_MUL, s[0], s[1]), s, 2);
    assert_int_equal(r[0].i, 0);
    assert_int_equal(r[1].i, 0);
}

static void test_mixes_of_a_model(void **state) {
    ModelBench *m = *state;
    model_with_attn_res(m);
    DepthMixes found = depth_mixes(m->b.g, &m->b.arena);
    assert_int_equal(found.count, 5);
    for (uint32_t i = 0; i < found.count; i++) {
        const DepthMix *mix = &found.items[i];
        assert_int_equal(graph_value(m->b.g, mix->stack)->arity, i + 1);
        assert_int_equal(graph_value(m->b.g, mix->weights)->op, OP_SOFTMAX);
        expect_all(m, model_sum(m, mix->weights, mix->axis), 1);
    }
}

// Weights of any kind count, written as a product that is summed, in groups of channels too; a
// plain sum, and a stack of parameters, do not.
static void test_kinds_of_weights(void **state) {
    ModelBench *m = *state;
    AxisId vocab = bench_axis(&m->b, "vocab", 7), depth = bench_axis(&m->b, "depth", 2);
    ValueId x[2] = {model_embedded(m, vocab), model_embedded(m, vocab)},
            p[2] = {random_source(m), random_source(m)};
    GraphAttr stacked = {.to = &depth, .to_count = 1};
    ValueId v = graph_add(m->b.g, OP_STACK, (Operands){x, 2}, stacked, (Span){0}),
            parameters = graph_add(m->b.g, OP_STACK, (Operands){p, 2}, stacked, (Span){0});
    AxisId parts[2] = {m->h, m->k};
    ValueId heads =
        bench_move(&m->b, OP_SPLIT, v,
                   (GraphAttr){.along = &m->d, .along_count = 1, .to = parts, .to_count = 2});
    ValueId w = bench_random(&m->b, AXES(depth), -1, 1),
            per_head = bench_random(&m->b, AXES(depth, m->h), -1, 1);
    ValueId a = model_sum(m, bench_binary(&m->b, OP_MUL, w, v), depth),
            b = model_sum(m, bench_binary(&m->b, OP_MUL, heads, per_head), depth);
    model_sum(m, v, depth);
    model_dot(m, w, parameters, depth);
    DepthMixes found = depth_mixes(m->b.g, &m->b.arena);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.items[0].sum.i, a.i);
    assert_int_equal(found.items[0].weights.i, w.i);
    assert_int_equal(found.items[1].sum.i, b.i);
    assert_int_equal(found.items[1].weights.i, per_head.i);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_residual_stream),       T(test_coefficients_are_held),
        T(test_responses_are_weights), T(test_products_are_not_linear),
        T(test_mixes_of_a_model),      T(test_kinds_of_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
