// leaves.h: a graph's leaves and outputs as tensors of the runtime, for what is done without a
// plan.
#pragma once

#include "ir/graph/graph.h"
#include "runtime/plan.h"

// Every axis of it must be bound.
PlanTensor leaf_tensor(Arena *arena, const Graph *g, const Leaf *leaf);
// The parameters, and the states whose axes are bound.
PlanTensor *leaf_tensors(Arena *arena, const Graph *g, uint32_t *count);
PlanTensor output_tensor(Arena *arena, const Graph *g, const GraphOutput *output);
