// library.h: contractions that a library can do: a LOOP program that is a product of two
// matrices (or many of them) and nothing else.
#pragma once

#include "codegen/emitter.h"
#include "ir/tile/tile.h"
#include "runtime/plan.h"

// Fills the shape and the numbers of the arguments a, b and c. False: the program does more, or
// its strides are none that a library takes.
bool library_gemm(const TileProgram *p, PlanGemm *out, uint32_t args[3]);
// There is a library for this level here, and it multiplies elements of these types.
bool library_takes(IsaLevel level, const PlanGemm *g);
double gemm_flops(const PlanGemm *g);
double gemm_bytes(const PlanGemm *g);  // every element of a, b and c once
