// derivative_rules.h: the derivative of each operation, for pass_differentiate.
#pragma once

#include "ir/graph/graph.h"

// False for operations that no gradient passes through (derivative "none" in ops.def).
bool op_has_derivative(GraphOp op);

// Appends the gradient of a scalar with respect to operand k of `v`, as far as it reaches the
// operand through `v`. grad: the scalar's gradient with respect to `v`, with exactly the axes
// of `v`. The result has exactly those of the operand; {0} if it is zero.  requires:
// op_has_derivative; the operand has a floating type.
ValueId derivative_of_operand(Graph *g, ValueId v, ValueId grad, uint32_t k);
