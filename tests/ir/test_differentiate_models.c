// Derivatives of what models are made of, against central differences: compositions in which
// values are used many times.
#include <math.h>

#include "ir/graph/passes.h"
#include "tests/ir/gradient_check.h"
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

static void test_rms_norm(void **state) {
    ModelBench *m = *state;
    check_gradients(&m->b, model_rms_norm(m, bench_random(&m->b, AXES(m->t, m->d), -2, 2)));
}

static void test_swiglu(void **state) {
    ModelBench *m = *state;
    check_gradients(&m->b, model_swiglu(m, bench_random(&m->b, AXES(m->t, m->d), -1, 1)));
}

static void test_attention(void **state) {
    ModelBench *m = *state;
    check_gradients(&m->b, model_attention(m, bench_random(&m->b, AXES(m->t, m->d), -1, 1)));
}

static void test_cross_entropy(void **state) {
    ModelBench *m = *state;
    check_gradients_of(
        &m->b, model_cross_entropy(m, bench_random(&m->b, AXES(m->t, m->f), -2, 2), m->f));
}

static void test_attn_res(void **state) {
    ModelBench *m = *state;
    ValueId sources[4];
    for (int i = 0; i < 4; i++)
        sources[i] = bench_random(&m->b, AXES(m->t, m->d), -2, 2);
    check_gradients(&m->b, model_attn_res(m, sources, 4));
}

// The softmax over one source is the identity, so its score must get exactly no gradient.
static void test_attn_res_of_one_source(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -2, 2), r = model_attn_res(m, &x, 1),
            total = bench_total(&m->b, r);
    ValueId wrt[3], grads[3];
    for (uint32_t i = 0; i < 3; i++)
        wrt[i] = m->b.g->leaf_values.ptr[i];  // x, query, gain
    pass_differentiate(m->b.g, total, wrt, 3, grads);
    EXPECT(&m->b, grads[0], 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    EXPECT(&m->b, grads[1], 0, 0, 0, 0);
    EXPECT(&m->b, grads[2], 0, 0, 0, 0);
}

static void test_model_with_attn_res(void **state) {
    ModelBench *m = *state;
    check_gradients_of(&m->b, model_with_attn_res(m));
}

// Sigmoid router, the two best of four experts by index, gathered weights.
static void test_mixture_of_experts(void **state) {
    ModelBench *m = *state;
    AxisId e = bench_axis(&m->b, "e", 4), top = bench_axis(&m->b, "top", 2);
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    ValueId score = bench_unary(
        &m->b, OP_SIGMOID, model_dot(m, x, bench_random(&m->b, AXES(m->d, e), -1, 1), m->d));
    ValueId pick = bench_index(&m->b, AXES(m->t, top), 0, 4);
    GraphAttr attr = {.along = &e, .along_count = 1};
    ValueId gate =
        graph_add(m->b.g, OP_GATHER, (Operands){(ValueId[]){score, pick}, 2}, attr, (Span){0});
    gate = bench_binary(&m->b, OP_DIV, gate, model_sum(m, gate, top));
    ValueId bank = bench_random(&m->b, AXES(e, m->d, m->f), -1, 1);
    ValueId w =
        graph_add(m->b.g, OP_GATHER, (Operands){(ValueId[]){bank, pick}, 2}, attr, (Span){0});
    check_gradients(&m->b, model_dot(m, gate, model_dot(m, x, w, m->d), top));
}

// A depthwise causal convolution along t.
static void test_short_convolution(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1),
            taps = bench_random(&m->b, AXES(m->d, m->k), -1, 1);
    GraphAttr attr = {.along = &m->t, .along_count = 1, .to = &m->k, .to_count = 1};
    check_gradients(&m->b, model_dot(m, bench_move(&m->b, OP_WINDOW, x, attr), taps, m->k));
}

// The same graph gives the same derivative, value for value.
static void test_derivative_is_deterministic(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1),
            loss = bench_total(&m->b, model_swiglu(m, model_rms_norm(m, x)));
    ValueId first, second;
    uint32_t start = m->b.g->values.len;
    pass_differentiate(m->b.g, loss, &x, 1, &first);
    uint32_t appended = m->b.g->values.len - start;
    pass_differentiate(m->b.g, loss, &x, 1, &second);
    assert_int_equal(m->b.g->values.len - start, 2 * appended);
    assert_int_equal(second.i - first.i, appended);
    for (uint32_t i = start; i < start + appended; i++)
        assert_int_equal(graph_value(m->b.g, (ValueId){i})->op,
                         graph_value(m->b.g, (ValueId){i + appended})->op);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_rms_norm),
        TEST(test_swiglu),
        TEST(test_attention),
        TEST(test_cross_entropy),
        TEST(test_attn_res),
        TEST(test_attn_res_of_one_source),
        TEST(test_model_with_attn_res),
        TEST(test_mixture_of_experts),
        TEST(test_short_convolution),
        TEST(test_derivative_is_deterministic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
