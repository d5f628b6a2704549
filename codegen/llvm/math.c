// math.c: see math.h. Each function reduces its argument to a small interval, evaluates a
// minimax polynomial there (fitted with weights for relative error and coefficients rounded to
// f32 one by one), and puts the parts together.
//
// Requirements for whoever adds one: no conversion of an unchecked float to an integer (its
// result is undefined in LLVM), no llvm.* function that becomes a libm call at some level, no
// branch.
#include "codegen/llvm/math.h"

#include <math.h>

#include "base/check.h"

#define LN2_HIGH 0x1.62e400p-1  // few enough bits that a product with an exponent is exact
#define LN2_LOW  0x1.7f7d1cf79abcap-20

static int lanes_of(IrValue x) { return type_lanes(LLVMTypeOf(x)); }

// A constant like x, f32 or f64.
static IrValue like(const Builder *b, IrValue x, double number) {
    IrType type = LLVMTypeOf(x);
    int lanes = type_lanes(type);
    IrType element = lanes == 1 ? type : LLVMGetElementType(type);
    if (element == b->f32) return build_f32(b, number, lanes);
    IrValue all[BUILD_MAX_LANES];
    for (int i = 0; i < lanes; i++)
        all[i] = LLVMConstReal(element, number);
    return lanes == 1 ? all[0] : LLVMConstVector(all, (unsigned)lanes);
}

static IrValue bits_of(Builder *b, IrValue x) {
    return build_bitcast(b, x, type_vector(b->i32, lanes_of(x)));
}

static IrValue float_of(Builder *b, IrValue bits) {
    return build_bitcast(b, bits, type_vector(b->f32, lanes_of(bits)));
}

static IrValue with_sign_of(Builder *b, IrValue x, IrValue sign) {
    IrValue mask = build_bits(b, 0x80000000U, lanes_of(x));
    IrValue top = LLVMBuildAnd(b->at, bits_of(b, sign), mask, "");
    return float_of(b, LLVMBuildOr(b->at, bits_of(b, x), top, ""));
}

// c[0] + c[1] x + ... + c[count-1] x^(count-1)
static IrValue polynomial(Builder *b, IrValue x, const double *c, int count) {
    IrValue sum = like(b, x, c[count - 1]);
    for (int i = count - 2; i >= 0; i--)
        sum = build_fma(b, sum, x, like(b, x, c[i]));
    return sum;
}
#define POLYNOMIAL(b, x, c) polynomial((b), (x), (c), (int)(sizeof(c) / sizeof *(c)))

// Clamps that keep NaN.
static IrValue at_most(Builder *b, IrValue x, double limit) {
    return build_fmin(b, like(b, x, limit), x);
}
static IrValue at_least(Builder *b, IrValue x, double limit) {
    return build_fmax(b, like(b, x, limit), x);
}

// The nearest integer, as f32 and as i32, of |x| < 2^22: adding 1.5 * 2^23 leaves it in the low
// mantissa bits. A NaN gives some integer.
typedef struct {
    IrValue real, integer;
} Nearest;

static Nearest nearest_of_product(Builder *b, IrValue x, double factor) {
    static const double magic = 12582912.0;
    IrValue shifted = build_fma(b, x, like(b, x, factor), like(b, x, magic));
    IrValue integer =
        LLVMBuildSub(b->at, bits_of(b, shifted), build_bits(b, 0x4b400000U, lanes_of(x)), "");
    return (Nearest){build_fsub(b, shifted, like(b, x, magic)), integer};
}

static IrValue power_of_two(Builder *b, IrValue exponent) {
    int lanes = lanes_of(exponent);
    IrValue biased = LLVMBuildAdd(b->at, exponent, build_i32(b, 127, lanes), "");
    return float_of(b, LLVMBuildShl(b->at, biased, build_i32(b, 23, lanes), ""));
}

// x * 2^k, rounded once, for |k| <= 250.
static IrValue scale(Builder *b, IrValue x, Nearest k) {
    int lanes = lanes_of(x);
    if (level_is_avx512(b->level) && (lanes == 4 || lanes == 8 || lanes == 16)) {
        const char *name = lanes == 16  ? "llvm.x86.avx512.mask.scalef.ps.512"
                           : lanes == 8 ? "llvm.x86.avx512.mask.scalef.ps.256"
                                        : "llvm.x86.avx512.mask.scalef.ps.128";
        IrType mask = lanes == 16 ? b->i16 : b->i8;
        IrValue args[] = {x, k.real, LLVMGetUndef(LLVMTypeOf(x)), LLVMConstAllOnes(mask),
                          build_i32(b, 4, 1)};
        return build_intrinsic(b, (Intrinsic){.name = name}, args, lanes == 16 ? 5 : 4);
    }
    // In two steps, so that neither factor leaves the range of normal numbers.
    IrValue half = LLVMBuildAShr(b->at, k.integer, build_i32(b, 1, lanes), "");
    IrValue rest = LLVMBuildSub(b->at, k.integer, half, "");
    x = build_fmul(b, x, power_of_two(b, half));
    return build_fmul(b, x, power_of_two(b, rest));
}

// exp(r) = 1 + r + r^2 P(r) for |r| <= log(2) / 2, relative error 2^-28
static IrValue exp_reduced(Builder *b, IrValue r) {
    static const double c[] = {
        1, 1, 0x1.fffffcp-2, 0x1.555492p-3, 0x1.5558bcp-5, 0x1.1239c6p-7, 0x1.6a4154p-10};
    return POLYNOMIAL(b, r, c);
}

IrValue math_exp(Builder *b, IrValue x) {
    // Beyond these limits the result is infinite or rounds to 0 anyway.
    x = at_least(b, at_most(b, x, 89.0), -105.0);
    Nearest k = nearest_of_product(b, x, 1.44269504088896341);
    IrValue minus = build_fneg(b, k.real);
    IrValue r = build_fma(b, minus, like(b, x, LN2_HIGH), x);
    r = build_fma(b, minus, like(b, x, LN2_LOW), r);
    return scale(b, exp_reduced(b, r), k);
}

// x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2);  log(1 + f) = f - f^2 / 2 + f^3 P(f), relative
// error 2^-27
IrValue math_log(Builder *b, IrValue x) {
    static const double c[] = {0x1.555554p-2, -0x1.000226p-2, 0x1.99a01ap-3, -0x1.547288p-3,
                               0x1.22d96ep-3, -0x1.0d82a4p-3, 0x1.055ce8p-3, -0x1.38c2a6p-4};
    int lanes = lanes_of(x);
    IrValue denormal = build_fcmp(b, LLVMRealOLT, x, like(b, x, 0x1p-126));
    IrValue normal = build_select(b, denormal, build_fmul(b, x, like(b, x, 0x1p23)), x);
    IrValue bits = bits_of(b, normal), least = build_bits(b, 0x3f3504f3U, lanes);
    IrValue exponent =
        LLVMBuildAShr(b->at, LLVMBuildSub(b->at, bits, least, ""), build_i32(b, 23, lanes), "");
    IrValue top = LLVMBuildShl(b->at, exponent, build_i32(b, 23, lanes), "");
    IrValue m = float_of(b, LLVMBuildSub(b->at, bits, top, ""));
    IrValue k = LLVMBuildSIToFP(b->at, exponent, LLVMTypeOf(x), "");
    k = build_fsub(b, k, build_select(b, denormal, like(b, x, 23), like(b, x, 0)));
    IrValue f = build_fsub(b, m, like(b, x, 1)), f2 = build_fmul(b, f, f);
    IrValue y = build_fmul(b, build_fmul(b, f, f2), POLYNOMIAL(b, f, c));
    y = build_fma(b, k, like(b, x, LN2_LOW), y);
    y = build_fma(b, f2, like(b, x, -0.5), y);
    y = build_fma(b, k, like(b, x, LN2_HIGH), build_fadd(b, f, y));
    IrValue infinite = build_fcmp(b, LLVMRealOEQ, x, like(b, x, INFINITY));
    y = build_select(b, infinite, x, y);
    IrValue zero = build_fcmp(b, LLVMRealOEQ, x, like(b, x, 0));
    IrValue outside = build_select(b, zero, like(b, x, -INFINITY), like(b, x, NAN));
    return build_select(b, build_fcmp(b, LLVMRealOGT, x, like(b, x, 0)), y, outside);
}

// |x| < 0.625: x + x^3 P(x^2), relative error 2^-27; else 1 - 2 / (exp(2 |x|) + 1)
IrValue math_tanh(Builder *b, IrValue x) {
    static const double c[] = {-0x1.555532p-2, 0x1.1106fep-3, -0x1.b83790p-5, 0x1.520a24p-6,
                               -0x1.756c9cp-8};
    IrValue a = build_fabs(b, x), x2 = build_fmul(b, x, x);
    IrValue small = build_fma(b, build_fmul(b, x, x2), POLYNOMIAL(b, x2, c), x);
    IrValue e = math_exp(b, build_fadd(b, a, a));
    IrValue part = build_fdiv(b, like(b, x, 2), build_fadd(b, e, like(b, x, 1)));
    IrValue large = with_sign_of(b, build_fsub(b, like(b, x, 1), part), x);
    return build_select(b, build_fcmp(b, LLVMRealOLT, a, like(b, x, 0.625)), small, large);
}

// With e = exp(-|x|) nothing overflows:  x >= 0: 1 / (1 + e), else e / (1 + e)
IrValue math_sigmoid(Builder *b, IrValue x) {
    IrValue e = math_exp(b, build_fneg(b, build_fabs(b, x)));
    IrValue one = like(b, x, 1);
    IrValue above = build_select(b, build_fcmp(b, LLVMRealOLT, x, like(b, x, 0)), e, one);
    return build_fdiv(b, above, build_fadd(b, one, e));
}

IrValue math_rsqrt(Builder *b, IrValue x) {
    return build_fdiv(b, like(b, x, 1), build_sqrt(b, x));
}

IrValue math_floor(Builder *b, IrValue x) {
    if (b->level != CPU_PORTABLE)
        return build_intrinsic(b, (Intrinsic){"llvm.floor", {LLVMTypeOf(x)}, 1}, &x, 1);
    // From 2^23 on every float is an integer, and the conversion would not be defined.
    IrValue whole = build_fcmp(b, LLVMRealUGE, build_fabs(b, x), like(b, x, 0x1p23));
    IrValue safe = build_select(b, whole, like(b, x, 0), x);
    IrValue integer = LLVMBuildFPToSI(b->at, safe, type_vector(b->i32, lanes_of(x)), "");
    IrValue t = LLVMBuildSIToFP(b->at, integer, LLVMTypeOf(x), "");
    IrValue above = build_fcmp(b, LLVMRealOGT, t, safe);
    t = build_fsub(b, t, build_select(b, above, like(b, x, 1), like(b, x, 0)));
    return build_select(b, whole, x, with_sign_of(b, t, x));
}

// ---- in double precision

static IrType type_double(const Builder *b, int lanes) {
    return type_vector(LLVMDoubleTypeInContext(b->context), lanes);
}

static IrValue to_double(Builder *b, IrValue x) {
    return LLVMBuildFPExt(b->at, x, type_double(b, lanes_of(x)), "");
}

static IrValue to_float(Builder *b, IrValue x) {
    return LLVMBuildFPTrunc(b->at, x, type_vector(b->f32, lanes_of(x)), "");
}

typedef struct {
    IrValue real, low;  // f64, and the low 32 bits as i32
} NearestDouble;

static NearestDouble nearest_double(Builder *b, IrValue x) {
    static const double magic = 6755399441055744.0;  // 1.5 * 2^52
    int lanes = lanes_of(x);
    IrValue shifted = build_fadd(b, x, like(b, x, magic));
    IrValue bits = build_bitcast(b, shifted, type_vector(b->i64, lanes));
    IrValue low = LLVMBuildTrunc(b->at, bits, type_vector(b->i32, lanes), "");
    return (NearestDouble){build_fsub(b, shifted, like(b, x, magic)), low};
}

// x = k pi/2 + r, |r| <= pi/4, reduced in f64: exact enough as long as k is (|x| < 2^51 with
// FMA, 2^20 without; from there the error grows with |x|). sin(r) and cos(r) then swap and
// change sign by the quadrant.
static IrValue sine_of_quadrant(Builder *b, IrValue x, int quadrant) {
    static const double s[] = {-0x1.555546p-3, 0x1.110774p-7, -0x1.9951fap-13};
    static const double c[] = {0x1.55554ap-5, -0x1.6c0c28p-10, 0x1.99e816p-16};
    int lanes = lanes_of(x);
    IrValue wide = to_double(b, x);
    NearestDouble k =
        nearest_double(b, build_fmul(b, wide, like(b, wide, 0.63661977236758134)));
    IrValue minus = build_fneg(b, k.real);
    // Without FMA the first part of pi/2 has 33 bits, so that its product with k is exact.
    bool fused = b->level != CPU_PORTABLE;
    IrValue high = like(b, wide, fused ? 0x1.921fb54442d18p0 : 0x1.921fb544p0);
    IrValue low = like(b, wide, fused ? 0x1.1a62633145c07p-54 : 0x1.0b4611a626331p-34);
    IrValue r = to_float(b, build_fma(b, minus, low, build_fma(b, minus, high, wide)));
    r = at_least(b, at_most(b, r, 0.8), -0.8);
    IrValue r2 = build_fmul(b, r, r);
    IrValue sine = build_fma(b, build_fmul(b, r, r2), POLYNOMIAL(b, r2, s), r);
    IrValue cosine = build_fma(b, r2, like(b, x, -0.5), like(b, x, 1));
    cosine = build_fma(b, build_fmul(b, r2, r2), POLYNOMIAL(b, r2, c), cosine);
    IrValue q = LLVMBuildAdd(b->at, k.low, build_i32(b, quadrant, lanes), "");
    IrValue odd = LLVMBuildAnd(b->at, q, build_i32(b, 1, lanes), "");
    IrValue swap = build_icmp(b, LLVMIntNE, odd, build_i32(b, 0, lanes));
    IrValue sign = LLVMBuildAnd(b->at, q, build_i32(b, 2, lanes), "");
    sign = LLVMBuildShl(b->at, sign, build_i32(b, 30, lanes), "");
    IrValue y = bits_of(b, build_select(b, swap, cosine, sine));
    return float_of(b, LLVMBuildXor(b->at, y, sign, ""));
}

IrValue math_sin(Builder *b, IrValue x) { return sine_of_quadrant(b, x, 0); }
IrValue math_cos(Builder *b, IrValue x) { return sine_of_quadrant(b, x, 1); }

// |x| < 0.9: x + x P(x^2), relative error 2^-30; else 1 - exp(Q(|x|)), Q = log(erfc), relative
// error of the result 2^-29
IrValue math_erf(Builder *b, IrValue x) {
    static const double p[] = {0x1.06eba8p-3, -0x1.812740p-2,  0x1.ce2d60p-4, -0x1.b80062p-6,
                               0x1.543f2ap-8, -0x1.a583bcp-11, 0x1.4d2864p-14};
    static const double q[] = {-0x1.5d0670p-13, -0x1.20b754p+0, -0x1.4621b0p-1, -0x1.aa738cp-4,
                               0x1.6d9e0ap-6,   -0x1.91d060p-9, 0x1.9fba8cp-13};
    IrValue a = at_most(b, build_fabs(b, x), 4.0), x2 = build_fmul(b, a, a);
    IrValue small = build_fma(b, x, POLYNOMIAL(b, x2, p), x);
    IrValue tail = math_exp(b, POLYNOMIAL(b, a, q));
    IrValue large = with_sign_of(b, build_fsub(b, like(b, x, 1), tail), x);
    return build_select(b, build_fcmp(b, LLVMRealOLT, a, like(b, x, 0.9)), small, large);
}

// log2(x) in f64 of a positive finite f32: x = 2^k m, s = (m - 1) / (m + 1), log(m) = 2
// atanh(s), error 2^-40.
static IrValue log2_double(Builder *b, IrValue x) {
    static const double c[] = {2.0,     2.0 / 3,  2.0 / 5,  2.0 / 7,
                               2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15};
    int lanes = lanes_of(x);
    IrType wide = type_double(b, lanes), integers = type_vector(b->i32, lanes);
    IrValue denormal = build_fcmp(b, LLVMRealOLT, x, like(b, x, 0x1p-126));
    IrValue normal = build_select(b, denormal, build_fmul(b, x, like(b, x, 0x1p23)), x);
    IrValue bits = bits_of(b, normal), least = build_bits(b, 0x3f3504f3U, lanes);
    IrValue exponent =
        LLVMBuildAShr(b->at, LLVMBuildSub(b->at, bits, least, ""), build_i32(b, 23, lanes), "");
    IrValue top = LLVMBuildShl(b->at, exponent, build_i32(b, 23, lanes), "");
    IrValue m = to_double(b, float_of(b, LLVMBuildSub(b->at, bits, top, "")));
    IrValue shift = build_select(b, denormal, build_i32(b, 23, lanes), LLVMConstNull(integers));
    IrValue k = LLVMBuildSIToFP(b->at, LLVMBuildSub(b->at, exponent, shift, ""), wide, "");
    IrValue one = like(b, m, 1);
    IrValue s = build_fdiv(b, build_fsub(b, m, one), build_fadd(b, m, one));
    IrValue log = build_fmul(b, s, POLYNOMIAL(b, build_fmul(b, s, s), c));
    return build_fma(b, log, like(b, m, 1.4426950408889634), k);
}

// 2^(y log2(x)). In f64, because an error of log2(x) is multiplied by up to 150.
IrValue math_pow(Builder *b, IrValue x, IrValue y) {
    IrValue z = build_fmul(b, to_double(b, y), log2_double(b, x));
    z = at_least(b, at_most(b, z, 200), -200);
    NearestDouble k = nearest_double(b, z);
    IrValue r = build_fmul(b, build_fsub(b, z, k.real), like(b, z, 0.69314718055994531));
    IrValue power =
        scale(b, exp_reduced(b, to_float(b, r)), (Nearest){to_float(b, k.real), k.low});
    IrValue zero = like(b, x, 0), one = like(b, x, 1), infinity = like(b, x, INFINITY);
    // 0 and infinity to a power are 0 or infinity, by the sign of the exponent.
    IrValue rising = build_fcmp(b, LLVMRealOGT, y, zero);
    IrValue x_infinite = build_fcmp(b, LLVMRealOEQ, x, infinity);
    IrValue x_zero = build_fcmp(b, LLVMRealOEQ, x, zero);
    power = build_select(b, x_infinite, build_select(b, rising, infinity, zero), power);
    power = build_select(b, x_zero, build_select(b, rising, zero, infinity), power);
    IrValue undefined = build_fcmp(b, LLVMRealULT, x, zero);
    power = build_select(b, undefined, like(b, x, NAN), power);
    power = build_select(b, build_fcmp(b, LLVMRealUNO, y, y), y, power);
    return build_select(b, build_fcmp(b, LLVMRealOEQ, y, zero), one, power);
}

IrValue math_pow_integer(Builder *b, IrValue x, int64_t n) {
    if (n == 0) return like(b, x, 1);
    if (n == 1) return x;
    if (n == 2) return build_fmul(b, x, x);
    // Products of f64 leave one rounding, that of the result.
    IrValue factor = to_double(b, x), power = NULL;
    for (uint64_t m = n < 0 ? 0 - (uint64_t)n : (uint64_t)n; m != 0; m >>= 1) {
        if (m & 1) power = power == NULL ? factor : build_fmul(b, power, factor);
        if (m > 1) factor = build_fmul(b, factor, factor);
    }
    if (n < 0) power = build_fdiv(b, like(b, power, 1), power);
    return to_float(b, power);
}
