// dtype.h: element types and conversion of single elements.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef enum {
#define DTYPE(NAME, text, bytes, st) DTYPE_##NAME,
#include "base/dtypes.def"
#undef DTYPE
    DTYPE_COUNT
} DType;

const char *dtype_text(DType t);         // "f32"
const char *dtype_safetensors(DType t);  // "F32"
size_t dtype_bytes(DType t);
bool dtype_parse(Str text, DType *out);              // accepts "f32"
bool dtype_parse_safetensors(Str text, DType *out);  // accepts "F32"
bool dtype_is_float(DType t);

// Element i of an array of type t, as double; integers and bool exactly (I64 beyond 2^53 is
// rounded).
double dtype_get(DType t, const void *array, int64_t i);
void dtype_set(DType t, void *array, int64_t i,
               double x);  // rounds to nearest even; saturates integers

uint16_t bf16_of(float x);  // round to nearest even; NaN stays NaN
float bf16_to(uint16_t h);
uint16_t f16_of(float x);
float f16_to(uint16_t h);
