// passes.h: transformations of the graph. Each takes a verified graph and gives a verified graph.
#pragma once

#include "ir/graph/graph.h"

// Appends the derivative of the scalar `of` with respect to each of wrt[count] (leaf values or any others).
// grads[i] has exactly the axes of wrt[i], in its order; zeros if `of` does not depend on it.
// Reverse mode; each operation's rule is named in ops.def. requires: `of` has no axes and is f32.
void pass_differentiate(Graph *g, ValueId of, const ValueId *wrt, uint32_t count, ValueId *grads);

// A new graph with the same leaves (same numbers, also unused ones), outputs and updates: constants folded, common
// subexpressions shared, dead values gone, reduce_sum(mul) made contract, algebra that removes traffic. Axes keep names.
Graph *pass_simplify(const Graph *g, Arena *arena);
