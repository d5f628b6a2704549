// dtype.c: element types and conversion of single elements.
#include "base/dtype.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

typedef struct {
    const char *text, *safetensors;
    size_t bytes;
} DTypeInfo;

static const DTypeInfo info[DTYPE_COUNT] = {
#define DTYPE(NAME, text, bytes, st) [DTYPE_##NAME] = {text, st, bytes},
#include "base/dtypes.def"
#undef DTYPE
};

static const DTypeInfo *info_of(DType t) {
    ASSERT((unsigned)t < DTYPE_COUNT);
    return &info[t];
}

const char *dtype_text(DType t) { return info_of(t)->text; }
const char *dtype_safetensors(DType t) { return info_of(t)->safetensors; }
size_t dtype_bytes(DType t) { return info_of(t)->bytes; }

bool dtype_parse(Str text, DType *out) {
    for (unsigned t = 0; t < DTYPE_COUNT; t++) {
        if (!str_eq(text, str_of(info[t].text))) continue;
        *out = (DType)t;
        return true;
    }
    return false;
}

bool dtype_parse_safetensors(Str text, DType *out) {
    for (unsigned t = 0; t < DTYPE_COUNT; t++) {
        if (!str_eq(text, str_of(info[t].safetensors))) continue;
        *out = (DType)t;
        return true;
    }
    return false;
}

bool dtype_is_float(DType t) {
    return t == DTYPE_F32 || t == DTYPE_BF16 || t == DTYPE_F16 || t == DTYPE_F64;
}

static uint32_t float_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

// u / 2^shift, to nearest even; 0 < shift < 32.
static uint32_t shift_round(uint32_t u, unsigned shift) {
    uint32_t kept = u >> shift, rest = u & ((1u << shift) - 1), half = 1u << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1)));
}

uint16_t bf16_of(float x) {
    uint32_t u = float_bits(x);
    if (isnan(x)) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)shift_round(u, 16);
}

float bf16_to(uint16_t h) { return float_of_bits((uint32_t)h << 16); }

uint16_t f16_of(float x) {
    uint32_t u = float_bits(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
    if (magnitude >= 0x47800000) return (uint16_t)(sign | 0x7c00);  // 65536 and more
    uint32_t exponent = magnitude >> 23;
    if (exponent >= 113) return (uint16_t)(sign | shift_round(magnitude - (112u << 23), 13));
    if (exponent < 102) return (uint16_t)sign;  // below half of the least subnormal
    uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    return (uint16_t)(sign | shift_round(mantissa, 126 - exponent));
}

float f16_to(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return float_of_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

// Towards zero, then the last bit set if anything was lost: rounding the result once more, to
// fewer bits, gives what rounding x at once would give.
static float float_to_odd(double x) {
    float f = (float)x;
    if (isnan(x) || (double)f == x) return f;
    uint32_t u = float_bits(f);
    if (fabs((double)f) > fabs(x)) u--;
    return float_of_bits(u | 1);
}

#define ELEMENT_ACCESS(T)                                                 \
    static T element_##T(const void *array, int64_t i) {                  \
        T x;                                                              \
        memcpy(&x, (const char *)array + (size_t)i * sizeof x, sizeof x); \
        return x;                                                         \
    }                                                                     \
    static void set_##T(void *array, int64_t i, T x) {                    \
        memcpy((char *)array + (size_t)i * sizeof x, &x, sizeof x);       \
    }
ELEMENT_ACCESS(float)
ELEMENT_ACCESS(double)
ELEMENT_ACCESS(uint8_t)
ELEMENT_ACCESS(uint16_t)
ELEMENT_ACCESS(int32_t)
ELEMENT_ACCESS(int64_t)

double dtype_get(DType t, const void *array, int64_t i) {
    switch (t) {
    case DTYPE_F32: return (double)element_float(array, i);
    case DTYPE_BF16: return (double)bf16_to(element_uint16_t(array, i));
    case DTYPE_F16: return (double)f16_to(element_uint16_t(array, i));
    case DTYPE_F64: return element_double(array, i);
    case DTYPE_I32: return (double)element_int32_t(array, i);
    case DTYPE_I64: return (double)element_int64_t(array, i);
    case DTYPE_U8: return (double)element_uint8_t(array, i);
    case DTYPE_U16: return (double)element_uint16_t(array, i);
    case DTYPE_BOOL: return element_uint8_t(array, i) ? 1.0 : 0.0;
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)t);
}

// NaN becomes 0. `least` and `most` are exact as doubles.
static int64_t saturate(double x, double least, double most) {
    if (isnan(x)) return 0;
    double whole = nearbyint(x);
    return (int64_t)(whole < least ? least : whole > most ? most : whole);
}

static int64_t saturate_i64(double x) {
    if (x >= 0x1p63) return INT64_MAX;
    return saturate(x, -0x1p63, 0x1p63);
}

void dtype_set(DType t, void *array, int64_t i, double x) {
    switch (t) {
    case DTYPE_F32: set_float(array, i, (float)x); return;
    case DTYPE_BF16: set_uint16_t(array, i, bf16_of(float_to_odd(x))); return;
    case DTYPE_F16: set_uint16_t(array, i, f16_of(float_to_odd(x))); return;
    case DTYPE_F64: set_double(array, i, x); return;
    case DTYPE_I32: set_int32_t(array, i, (int32_t)saturate(x, INT32_MIN, INT32_MAX)); return;
    case DTYPE_I64: set_int64_t(array, i, saturate_i64(x)); return;
    case DTYPE_U8: set_uint8_t(array, i, (uint8_t)saturate(x, 0, UINT8_MAX)); return;
    case DTYPE_U16: set_uint16_t(array, i, (uint16_t)saturate(x, 0, UINT16_MAX)); return;
    case DTYPE_BOOL: set_uint8_t(array, i, x != 0); return;
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)t);
}
