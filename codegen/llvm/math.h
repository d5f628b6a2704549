// math.h: elementary functions as vector polynomials of our own, at any number of lanes. Errors
// are given in units in the last place over the whole range (docs/codegen.md); NaN in, NaN out;
// infinities and denormals as in libm.
#pragma once

#include "codegen/llvm/builder.h"

IrValue math_exp(Builder *b, IrValue x);
IrValue math_log(Builder *b, IrValue x);
IrValue math_tanh(Builder *b, IrValue x);
IrValue math_sigmoid(Builder *b, IrValue x);
IrValue math_sin(Builder *b, IrValue x);
IrValue math_cos(Builder *b, IrValue x);
IrValue math_erf(Builder *b, IrValue x);
IrValue math_rsqrt(Builder *b, IrValue x);
IrValue math_floor(Builder *b, IrValue x);
IrValue math_pow(Builder *b, IrValue x,
                 IrValue y);  // x > 0, or x = 0 and y >= 0; NaN for x < 0
IrValue math_pow_integer(Builder *b, IrValue x, int64_t n);  // any x
