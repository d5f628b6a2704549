#include "tests/ir/model_parts.h"

#include <math.h>

void model_init(ModelBench *m) {
    bench_init(&m->b);
    m->t = bench_axis(&m->b, "t", 3);
    m->d = bench_axis(&m->b, "d", 4);
    m->h = bench_axis(&m->b, "h", 2);
    m->k = bench_axis(&m->b, "k", 2);
    m->f = bench_axis(&m->b, "f", 5);
}

static ValueId add(ModelBench *m, ValueId x, ValueId y) {
    return bench_binary(&m->b, OP_ADD, x, y);
}
static ValueId mul(ModelBench *m, ValueId x, ValueId y) {
    return bench_binary(&m->b, OP_MUL, x, y);
}
static ValueId real(ModelBench *m, double x) { return graph_const(m->b.g, x, (Span){0}); }
ValueId model_sum(ModelBench *m, ValueId x, AxisId a) {
    return bench_reduce(&m->b, OP_REDUCE_SUM, x, &a, 1);
}
ValueId model_dot(ModelBench *m, ValueId x, ValueId y, AxisId a) {
    return bench_contract(&m->b, x, y, &a, 1);
}

static ValueId softmax(ModelBench *m, ValueId x, AxisId a) {
    return bench_move(&m->b, OP_SOFTMAX, x, (GraphAttr){.along = &a, .along_count = 1});
}

static ValueId renamed(ModelBench *m, ValueId x, AxisId from, AxisId to) {
    GraphAttr attr = {.along = &from, .along_count = 1, .to = &to, .to_count = 1};
    return bench_move(&m->b, OP_RENAME, x, attr);
}

// x * rsqrt(mean(x * x, d) + eps) * gain
ValueId model_rms_norm(ModelBench *m, ValueId x) {
    ValueId mean = mul(m, model_sum(m, mul(m, x, x), m->d), real(m, 0.25));
    ValueId scale = bench_unary(&m->b, OP_RSQRT, add(m, mean, real(m, 1e-5)));
    return mul(m, mul(m, x, scale), bench_random(&m->b, AXES(m->d), 0.5, 1.5));
}

// silu(x w1) * (x w3), times w2
ValueId model_swiglu(ModelBench *m, ValueId x) {
    ValueId a = model_dot(m, x, bench_random(&m->b, AXES(m->d, m->f), -1, 1), m->d);
    ValueId c = model_dot(m, x, bench_random(&m->b, AXES(m->d, m->f), -1, 1), m->d);
    ValueId gated = mul(m, mul(m, a, bench_unary(&m->b, OP_SIGMOID, a)), c);
    return model_dot(m, gated, bench_random(&m->b, AXES(m->f, m->d), -1, 1), m->f);
}

static ValueId iota(ModelBench *m, AxisId a, const AxisId *to, uint8_t rank) {
    ValueId x = graph_add(m->b.g, OP_IOTA, (Operands){0},
                          (GraphAttr){.along = &a, .along_count = 1}, (Span){0});
    return bench_move(&m->b, OP_BROADCAST, x, (GraphAttr){.to = to, .to_count = rank});
}

// Causal, h heads of width k.
ValueId model_attention(ModelBench *m, ValueId x) {
    AxisId s = bench_axis(&m->b, "s", 3);
    ValueId q = model_dot(m, x, bench_random(&m->b, AXES(m->d, m->h, m->k), -1, 1), m->d);
    ValueId key = model_dot(m, x, bench_random(&m->b, AXES(m->d, m->h, m->k), -1, 1), m->d);
    ValueId v = model_dot(m, x, bench_random(&m->b, AXES(m->d, m->h, m->k), -1, 1), m->d);
    ValueId scores =
        mul(m, model_dot(m, q, renamed(m, key, m->t, s), m->k), real(m, sqrt(0.5)));
    AxisId square[2] = {m->t, s};
    ValueId seen = bench_binary(&m->b, OP_LE, iota(m, s, square, 2), iota(m, m->t, square, 2));
    ValueId in[3] = {seen, scores, real(m, -HUGE_VAL)};
    ValueId masked = graph_add(m->b.g, OP_WHERE, (Operands){in, 3}, (GraphAttr){0}, (Span){0});
    ValueId mixed = model_dot(m, softmax(m, masked, s), renamed(m, v, m->t, s), s);
    return bench_contract(&m->b, mixed, bench_random(&m->b, AXES(m->h, m->k, m->d), -1, 1),
                          AXES(m->h, m->k));
}

// Softmax attention over the sources, one learned query, keys are normalised values.
ValueId model_attn_res(ModelBench *m, const ValueId *sources, uint32_t count) {
    AxisId depth = bench_axis(&m->b, "depth", count);
    ValueId v = graph_add(m->b.g, OP_STACK, (Operands){sources, count},
                          (GraphAttr){.to = &depth, .to_count = 1}, (Span){0});
    ValueId query = bench_random(&m->b, AXES(m->d), -1, 1);
    ValueId scores = model_dot(m, query, model_rms_norm(m, v), m->d);
    return model_dot(m, softmax(m, scores, depth), v, depth);
}

ValueId model_cross_entropy(ModelBench *m, ValueId logits, AxisId vocab) {
    ValueId target = bench_index(&m->b, AXES(m->t), 0, graph_extent(m->b.g, vocab));
    GraphAttr attr = {.along = &vocab, .along_count = 1};
    ValueId picked = graph_add(m->b.g, OP_GATHER, (Operands){(ValueId[]){logits, target}, 2},
                               attr, (Span){0});
    ValueId all = bench_reduce(&m->b, OP_LOGSUMEXP, logits, &vocab, 1);
    return mul(m, bench_total(&m->b, bench_binary(&m->b, OP_SUB, all, picked)),
               real(m, 1.0 / 3));
}

ValueId model_embedded(ModelBench *m, AxisId vocab) {
    ValueId in[2] = {bench_random(&m->b, AXES(vocab, m->d), -1, 1),
                     bench_index(&m->b, AXES(m->t), 0, graph_extent(m->b.g, vocab))};
    return graph_add(m->b.g, OP_GATHER, (Operands){in, 2},
                     (GraphAttr){.along = &vocab, .along_count = 1}, (Span){0});
}

// Every source is read by every later sublayer; the embedding also through the gathered rows.
ValueId model_with_attn_res(ModelBench *m) {
    AxisId vocab = bench_axis(&m->b, "vocab", 6);
    ValueId sources[5] = {model_embedded(m, vocab)};
    for (uint32_t i = 1; i < 5; i++) {
        ValueId x = model_rms_norm(m, model_attn_res(m, sources, i));
        sources[i] = i % 2 ? model_attention(m, x) : model_swiglu(m, x);
    }
    ValueId y = model_rms_norm(m, model_attn_res(m, sources, 5));
    ValueId logits = model_dot(m, y, bench_random(&m->b, AXES(m->d, vocab), -1, 1), m->d);
    return model_cross_entropy(m, logits, vocab);
}
