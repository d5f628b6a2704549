// chunk_limits.h: how far kernels of CHUNK programs may be from the interpreter.
#pragma once

#include "ir/tile/tile.h"

// For every element of the arguments that p writes, the most that the roundings of a kernel for
// GPUs (docs/cuda.md, CHUNK) can move it, in an array of the argument's type: sums and all that
// is no product are f32, factors of products have 11 bits, or 22 if no argument has 16. To
// first order: errors of errors are left out.
void chunk_limits(const TileProgram *p, void *const *args, void *const *limits);
