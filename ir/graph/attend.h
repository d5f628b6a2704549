// attend.h: the operands and axes of attention and its gradients (ATTEND .. ATTEND_DV in
// ops.def).
#pragma once

#include "ir/graph/graph.h"

typedef struct {
    ValueId q, k, v, gradient, lse, delta;  // {0}: the operation has none
    ValueId start;                          // {0}: none
    ValueId query_segment, key_segment;     // {0}: none
    AxisId width, query, key, values;       // values {0}: of ATTEND_LSE
} AttendOperands;

// How many operands an operation has before the optional ones: start, then both segments.
uint32_t attend_needs(GraphOp op);
AttendOperands attend_operands(const Graph *g, const Value *v);

// The axis of v that stands for the `width` of k; {0} if v has not k's axes with one of its
// own.
AxisId attend_value_axis(const Value *k, const Value *v, AxisId width);
// Pairs of query and key of one point of the other axes; half of those there could be where
// only data says at which key the queries stand.
double attend_pairs(const Graph *g, const Value *v);
