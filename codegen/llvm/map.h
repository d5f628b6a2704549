// map.h: elementwise operations of a tile program, at any number of lanes. F32 values are
// float, I32 i32, BOOL i1.
#pragma once

#include "codegen/llvm/builder.h"

// The value of a MAP whose operands have these values, all with the same lanes.
IrValue map_emit(Builder *b, const TileOp *op, const IrValue in[3]);
// Worth keeping rather than computing twice.
bool map_is_costly(GraphOp fn);
IrValue map_const(const Builder *b, const TileOp *op, int lanes);  // of a CONST
