// model_parts.h: what models are made of, tiny and with random parameters, for tests of passes.
#pragma once

#include "tests/ir/graph_bench.h"

typedef struct {
    GraphBench b;
    AxisId t, d, h, k, f;  // 3, 4, 2, 2, 5
} ModelBench;

void model_init(ModelBench *m);

ValueId model_sum(ModelBench *m, ValueId x, AxisId a);
ValueId model_dot(ModelBench *m, ValueId x, ValueId y, AxisId a);
// Of x[..., d]; with a gain.
ValueId model_rms_norm(ModelBench *m, ValueId x);
// silu(x w1) * (x w3), times w2
ValueId model_swiglu(ModelBench *m, ValueId x);
// Of x[t, d]: causal, h heads of width k.
ValueId model_attention(ModelBench *m, ValueId x);
// Softmax attention over the sources, one learned query; keys are normalised values.
ValueId model_attn_res(ModelBench *m, const ValueId *sources, uint32_t count);
// The mean over t of the loss of logits[t, vocab].
ValueId model_cross_entropy(ModelBench *m, ValueId logits, AxisId vocab);
// Rows of a table, at random tokens.
ValueId model_embedded(ModelBench *m, AxisId vocab);
// An embedding, four sublayers that each attend to all before them, a head; gives the loss.
ValueId model_with_attn_res(ModelBench *m);
