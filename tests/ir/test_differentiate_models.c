// Derivatives of what models are made of, against central differences: compositions in which
// values are used many times.
#include <math.h>

#include "ir/graph/passes.h"
#include "tests/ir/gradient_check.h"
#include "tests/test.h"

typedef struct {
    GraphBench b;
    AxisId t, d, h, k, f;  // 3, 4, 2, 2, 5
} Bench;

static int setup(void **state) {
    Bench *m = test_malloc(sizeof *m);
    bench_init(&m->b);
    m->t = bench_axis(&m->b, "t", 3);
    m->d = bench_axis(&m->b, "d", 4);
    m->h = bench_axis(&m->b, "h", 2);
    m->k = bench_axis(&m->b, "k", 2);
    m->f = bench_axis(&m->b, "f", 5);
    *state = m;
    return 0;
}

static int teardown(void **state) {
    Bench *m = *state;
    bench_release(&m->b);
    test_free(m);
    return 0;
}

static ValueId add(Bench *m, ValueId x, ValueId y) { return bench_binary(&m->b, OP_ADD, x, y); }
static ValueId mul(Bench *m, ValueId x, ValueId y) { return bench_binary(&m->b, OP_MUL, x, y); }
static ValueId real(Bench *m, double x) { return graph_const(m->b.g, x, (Span){0}); }
static ValueId sum(Bench *m, ValueId x, AxisId a) {
    return bench_reduce(&m->b, OP_REDUCE_SUM, x, &a, 1);
}
static ValueId dot(Bench *m, ValueId x, ValueId y, AxisId a) {
    return bench_contract(&m->b, x, y, &a, 1);
}

static ValueId softmax(Bench *m, ValueId x, AxisId a) {
    return bench_move(&m->b, OP_SOFTMAX, x, (GraphAttr){.along = &a, .along_count = 1});
}

static ValueId renamed(Bench *m, ValueId x, AxisId from, AxisId to) {
    GraphAttr attr = {.along = &from, .along_count = 1, .to = &to, .to_count = 1};
    return bench_move(&m->b, OP_RENAME, x, attr);
}

// x * rsqrt(mean(x * x, d) + eps) * gain
static ValueId rms_norm(Bench *m, ValueId x) {
    ValueId mean = mul(m, sum(m, mul(m, x, x), m->d), real(m, 0.25));
    ValueId scale = bench_unary(&m->b, OP_RSQRT, add(m, mean, real(m, 1e-5)));
    return mul(m, mul(m, x, scale), bench_random(&m->b, AXES(m->d), 0.5, 1.5));
}

// silu(x w1) * (x w3), times w2
static ValueId swiglu(Bench *m, ValueId x) {
    ValueId a = dot(m, x, bench_random(&m->b, AXES(m->d, m->f), -1, 1), m->d);
    ValueId c = dot(m, x, bench_random(&m->b, AXES(m->d, m->f), -1, 1), m->d);
    ValueId gated = mul(m, mul(m, a, bench_unary(&m->b, OP_SIGMOID, a)), c);
    return dot(m, gated, bench_random(&m->b, AXES(m->f, m->d), -1, 1), m->f);
}

static ValueId iota(Bench *m, AxisId a, const AxisId *to, uint8_t rank) {
    ValueId x = graph_add(m->b.g, OP_IOTA, NULL, 0, (GraphAttr){.along = &a, .along_count = 1},
                          (Span){0});
    return bench_move(&m->b, OP_BROADCAST, x, (GraphAttr){.to = to, .to_count = rank});
}

// Causal, h heads of width k.
static ValueId attention(Bench *m, ValueId x) {
    AxisId s = bench_axis(&m->b, "s", 3);
    ValueId q = dot(m, x, bench_random(&m->b, AXES(m->d, m->h, m->k), -1, 1), m->d);
    ValueId key = dot(m, x, bench_random(&m->b, AXES(m->d, m->h, m->k), -1, 1), m->d);
    ValueId v = dot(m, x, bench_random(&m->b, AXES(m->d, m->h, m->k), -1, 1), m->d);
    ValueId scores = mul(m, dot(m, q, renamed(m, key, m->t, s), m->k), real(m, sqrt(0.5)));
    AxisId square[2] = {m->t, s};
    ValueId seen = bench_binary(&m->b, OP_LE, iota(m, s, square, 2), iota(m, m->t, square, 2));
    ValueId in[3] = {seen, scores, real(m, -INFINITY)};
    ValueId masked = graph_add(m->b.g, OP_WHERE, in, 3, (GraphAttr){0}, (Span){0});
    ValueId mixed = dot(m, softmax(m, masked, s), renamed(m, v, m->t, s), s);
    return bench_contract(&m->b, mixed, bench_random(&m->b, AXES(m->h, m->k, m->d), -1, 1),
                          AXES(m->h, m->k));
}

// Softmax attention over the sources, one learned query, keys are normalised values.
static ValueId attn_res(Bench *m, const ValueId *sources, uint32_t count) {
    AxisId depth = bench_axis(&m->b, "depth", count);
    ValueId v = graph_add(m->b.g, OP_STACK, sources, count,
                          (GraphAttr){.to = &depth, .to_count = 1}, (Span){0});
    ValueId query = bench_random(&m->b, AXES(m->d), -1, 1);
    ValueId scores = dot(m, query, rms_norm(m, v), m->d);
    return dot(m, softmax(m, scores, depth), v, depth);
}

static ValueId cross_entropy(Bench *m, ValueId logits, AxisId vocab) {
    ValueId target = bench_index(&m->b, AXES(m->t), 0, graph_extent(m->b.g, vocab));
    GraphAttr attr = {.along = &vocab, .along_count = 1};
    ValueId picked =
        graph_add(m->b.g, OP_GATHER, (ValueId[]){logits, target}, 2, attr, (Span){0});
    ValueId all = bench_reduce(&m->b, OP_LOGSUMEXP, logits, &vocab, 1);
    return mul(m, bench_total(&m->b, bench_binary(&m->b, OP_SUB, all, picked)),
               real(m, 1.0 / 3));
}

static ValueId embedded(Bench *m, AxisId vocab) {
    ValueId in[2] = {bench_random(&m->b, AXES(vocab, m->d), -1, 1),
                     bench_index(&m->b, AXES(m->t), 0, graph_extent(m->b.g, vocab))};
    return graph_add(m->b.g, OP_GATHER, in, 2, (GraphAttr){.along = &vocab, .along_count = 1},
                     (Span){0});
}

static void test_rms_norm(void **state) {
    Bench *m = *state;
    check_gradients(&m->b, rms_norm(m, bench_random(&m->b, AXES(m->t, m->d), -2, 2)));
}

static void test_swiglu(void **state) {
    Bench *m = *state;
    check_gradients(&m->b, swiglu(m, bench_random(&m->b, AXES(m->t, m->d), -1, 1)));
}

static void test_attention(void **state) {
    Bench *m = *state;
    check_gradients(&m->b, attention(m, bench_random(&m->b, AXES(m->t, m->d), -1, 1)));
}

static void test_cross_entropy(void **state) {
    Bench *m = *state;
    check_gradients_of(&m->b,
                       cross_entropy(m, bench_random(&m->b, AXES(m->t, m->f), -2, 2), m->f));
}

static void test_attn_res(void **state) {
    Bench *m = *state;
    ValueId sources[4];
    for (int i = 0; i < 4; i++)
        sources[i] = bench_random(&m->b, AXES(m->t, m->d), -2, 2);
    check_gradients(&m->b, attn_res(m, sources, 4));
}

// The softmax over one source is the identity, so its score must get exactly no gradient.
static void test_attn_res_of_one_source(void **state) {
    Bench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -2, 2), r = attn_res(m, &x, 1),
            total = bench_total(&m->b, r);
    ValueId wrt[3], grads[3];
    for (uint32_t i = 0; i < 3; i++)
        wrt[i] = m->b.g->leaf_values.ptr[i];  // x, query, gain
    pass_differentiate(m->b.g, total, wrt, 3, grads);
    EXPECT(&m->b, grads[0], 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    EXPECT(&m->b, grads[1], 0, 0, 0, 0);
    EXPECT(&m->b, grads[2], 0, 0, 0, 0);
}

// Every source is read by every later sublayer; the embedding also through the gathered rows.
static void test_model_with_attn_res(void **state) {
    Bench *m = *state;
    AxisId vocab = bench_axis(&m->b, "vocab", 6);
    ValueId sources[5] = {embedded(m, vocab)};
    for (uint32_t i = 1; i < 5; i++) {
        ValueId x = rms_norm(m, attn_res(m, sources, i));
        sources[i] = i % 2 ? attention(m, x) : swiglu(m, x);
    }
    ValueId y = rms_norm(m, attn_res(m, sources, 5));
    ValueId logits = dot(m, y, bench_random(&m->b, AXES(m->d, vocab), -1, 1), m->d);
    check_gradients_of(&m->b, cross_entropy(m, logits, vocab));
}

// Sigmoid router, the two best of four experts by index, gathered weights.
static void test_mixture_of_experts(void **state) {
    Bench *m = *state;
    AxisId e = bench_axis(&m->b, "e", 4), top = bench_axis(&m->b, "top", 2);
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    ValueId score = bench_unary(&m->b, OP_SIGMOID,
                                dot(m, x, bench_random(&m->b, AXES(m->d, e), -1, 1), m->d));
    ValueId pick = bench_index(&m->b, AXES(m->t, top), 0, 4);
    GraphAttr attr = {.along = &e, .along_count = 1};
    ValueId gate = graph_add(m->b.g, OP_GATHER, (ValueId[]){score, pick}, 2, attr, (Span){0});
    gate = bench_binary(&m->b, OP_DIV, gate, sum(m, gate, top));
    ValueId bank = bench_random(&m->b, AXES(e, m->d, m->f), -1, 1);
    ValueId w = graph_add(m->b.g, OP_GATHER, (ValueId[]){bank, pick}, 2, attr, (Span){0});
    check_gradients(&m->b, dot(m, gate, dot(m, x, w, m->d), top));
}

// A depthwise causal convolution along t.
static void test_short_convolution(void **state) {
    Bench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1),
            taps = bench_random(&m->b, AXES(m->d, m->k), -1, 1);
    GraphAttr attr = {.along = &m->t, .along_count = 1, .to = &m->k, .to_count = 1};
    check_gradients(&m->b, dot(m, bench_move(&m->b, OP_WINDOW, x, attr), taps, m->k));
}

// The same graph gives the same derivative, value for value.
static void test_derivative_is_deterministic(void **state) {
    Bench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1),
            loss = bench_total(&m->b, swiglu(m, rms_norm(m, x)));
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
