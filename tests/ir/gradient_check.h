// gradient_check.h: gradients against central differences.
#pragma once

#include "tests/ir/graph_bench.h"

// Fails the test unless the gradients of `loss` (scalar) with respect to every parameter of the
// bench, and their axes, are right.
void check_gradients_of(GraphBench *b, ValueId loss);
// The same for a weighted sum of all elements of r, with random weights (a new parameter).
void check_gradients(GraphBench *b, ValueId r);
