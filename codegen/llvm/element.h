// element.h: between the types of memory and the types of values: bf16, f16 and f64 are float
// as values, whole numbers i32, bool i1. Any number of lanes; mask NULL: all lanes; masked-off
// lanes read 0 and touch no memory.
#pragma once

#include "codegen/llvm/builder.h"

IrType element_type(const Builder *b, DType t);  // of one element in memory

IrValue element_load(Builder *b, DType t, IrValue pointer, int lanes, IrValue mask);
// Every second of 2 * lanes elements: the even ones or the odd ones.
IrValue element_load_second(Builder *b, DType t, IrValue pointer, int lanes, bool odd);
IrValue element_gather(Builder *b, DType t, IrValue pointers, IrValue mask);
void element_store(Builder *b, DType t, IrValue x, IrValue pointer, IrValue mask);
void element_scatter(Builder *b, DType t, IrValue x, IrValue pointers, IrValue mask);

// As they lie in memory, which element_widen makes values of.
IrValue element_load_raw(Builder *b, DType t, IrValue pointer, int lanes, IrValue mask);
IrValue element_gather_raw(Builder *b, DType t, IrValue pointers, IrValue mask);
// Lanes of 32 bits with one of each, `low` in the lower half.
IrValue element_pairs(Builder *b, IrValue low, IrValue high);

// What was loaded as it is, as a value, and back; rounds to nearest even, NaN stays NaN.
IrValue element_widen(Builder *b, DType t, IrValue raw);
IrValue element_narrow(Builder *b, DType t, IrValue x);
// Twice as many elements, alternately of both.
IrValue element_narrow_pair(Builder *b, DType t, IrValue even, IrValue odd);
