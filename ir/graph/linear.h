// linear.h: the operands and axes of linear attention, what it makes by the way, and gradients
// (LINEAR .. LINEAR_DINITIAL in ops.def).
#pragma once

#include "ir/graph/graph.h"

// GraphAttr.amount of these operations: which of the optional operands there are, and the rule
// of writing.
enum {
    LINEAR_HAS_QUERY = 1 << 0,
    LINEAR_HAS_DECAY = 1 << 1,
    LINEAR_HAS_BETA = 1 << 2,
    LINEAR_HAS_INITIAL = 1 << 3,
    LINEAR_DELTA = 1 << 4,
    LINEAR_BITS = (1 << 5) - 1,
};

typedef struct {
    ValueId q, k, v, decay, beta, initial, error, gradient;  // {0}: there is none
    AxisId width, time, values;                              // d, t, e
} LinearOperands;

LinearOperands linear_operands(const Graph *g, const Value *value);
