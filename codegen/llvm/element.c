// element.c: see element.h.
#include "codegen/llvm/element.h"

#include "base/check.h"

IrType element_type(const Builder *b, DType t) {
    switch (t) {
    case DTYPE_F32: return b->f32;
    case DTYPE_BF16:
    case DTYPE_F16:
    case DTYPE_U16: return b->i16;
    case DTYPE_F64: return LLVMDoubleTypeInContext(b->context);
    case DTYPE_I32: return b->i32;
    case DTYPE_I64: return b->i64;
    case DTYPE_U8:
    case DTYPE_BOOL: return b->i8;
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)t);
}

static int lanes_of(IrValue x) { return type_lanes(LLVMTypeOf(x)); }

static IrValue shift_left(Builder *b, IrValue x, int by) {
    return LLVMBuildShl(b->at, x, build_i32(b, by, lanes_of(x)), "");
}

static IrValue shift_right(Builder *b, IrValue x, int by) {
    return LLVMBuildLShr(b->at, x, build_i32(b, by, lanes_of(x)), "");
}

static IrValue and_bits(Builder *b, IrValue x, uint32_t bits) {
    return LLVMBuildAnd(b->at, x, build_bits(b, bits, lanes_of(x)), "");
}

static IrValue or_bits(Builder *b, IrValue x, uint32_t bits) {
    return LLVMBuildOr(b->at, x, build_bits(b, bits, lanes_of(x)), "");
}

static IrValue add_bits(Builder *b, IrValue x, uint32_t bits) {
    return LLVMBuildAdd(b->at, x, build_bits(b, bits, lanes_of(x)), "");
}

static IrValue as_float(Builder *b, IrValue bits) {
    return build_bitcast(b, bits, type_vector(b->f32, lanes_of(bits)));
}

static IrValue as_bits(Builder *b, IrValue x) {
    return build_bitcast(b, x, type_vector(b->i32, lanes_of(x)));
}

// Adds what makes cutting off the lower `bits` bits round to nearest, ties to even.
static IrValue round_up_half(Builder *b, IrValue x, int bits) {
    IrValue odd = and_bits(b, shift_right(b, x, bits), 1);
    return LLVMBuildAdd(b->at, add_bits(b, x, (1U << (bits - 1)) - 1), odd, "");
}

// ---- bf16: the upper half of an f32

static IrValue bf16_widen(Builder *b, IrValue raw) {
    IrType wide = type_vector(b->i32, lanes_of(raw));
    return as_float(b, shift_left(b, LLVMBuildZExt(b->at, raw, wide, ""), 16));
}

// The upper halves of 16 words, by one permutation; a shift and a truncation take three steps.
static IrValue upper_halves(Builder *b, IrValue words) {
    enum { WORDS = 16 };
    IrValue halves = build_bitcast(b, words, type_vector(b->i16, 2 * WORDS)), at[WORDS];
    for (int k = 0; k < WORDS; k++)
        at[k] = build_i32(b, 2 * k + 1, 1);
    return LLVMBuildShuffleVector(b->at, halves, LLVMGetPoison(LLVMTypeOf(halves)),
                                  LLVMConstVector(at, WORDS), "");
}

// y where x is a number; else by `responses`, one for quiet and one for signalling NaN.
static IrValue unless_nan(Builder *b, IrValue x, IrValue y, uint32_t responses) {
    int lanes = lanes_of(x);
    IrValue args[] = {y,
                      x,
                      build_bits(b, responses, lanes),
                      build_i32(b, 0, 1),
                      LLVMConstAllOnes(b->i16),
                      build_i32(b, 4, 1)};
    return build_intrinsic(b, (Intrinsic){.name = "llvm.x86.avx512.mask.fixupimm.ps.512"}, args,
                           6);
}

// With masks, adding one number or another is a test and two additions.
static IrValue bf16_narrow_avx512(Builder *b, IrValue x) {
    enum { QUIETED = 0x22 };
    IrValue bits = as_bits(b, x);
    IrValue even =
        build_icmp(b, LLVMIntEQ, and_bits(b, bits, 0x10000), LLVMConstNull(LLVMTypeOf(bits)));
    IrValue rounded =
        build_select(b, even, add_bits(b, bits, 0x7fff), add_bits(b, bits, 0x8000));
    return upper_halves(b, as_bits(b, unless_nan(b, x, as_float(b, rounded), QUIETED)));
}

// Words of upper halves of x and lower ones of y. Written plainly it would become a shuffle,
// which takes three times as long.
static IrValue upper_of_first(Builder *b, IrValue x, IrValue y) {
    enum { THIRD_CHOOSES = 0xe4 };  // the first where it is one, else the second
    IrValue args[] = {x, y, build_bits(b, 0xffff0000, lanes_of(x)),
                      build_i32(b, THIRD_CHOOSES, 1)};
    return build_intrinsic(b, (Intrinsic){.name = "llvm.x86.avx512.pternlog.d.512"}, args, 4);
}

// The upper halves of both in one vector, the lower ones in another: one comparison tells which
// of 32 numbers are rounded up.
static IrValue bf16_narrow_pair(Builder *b, IrValue even, IrValue odd) {
    enum { QUIET = 0x33 };  // a NaN without lower half
    int lanes = lanes_of(even);
    even = as_bits(b, unless_nan(b, even, even, QUIET));
    odd = as_bits(b, unless_nan(b, odd, odd, QUIET));
    IrValue upper = upper_of_first(b, odd, shift_right(b, even, 16));
    IrValue lower = upper_of_first(b, shift_left(b, odd, 16), even);
    // More than a half, or just a half over an odd number.
    IrValue rest = LLVMBuildOr(b->at, lower, and_bits(b, upper, 0x10001), "");
    IrType halves = type_vector(b->i16, 2 * lanes);
    IrValue one = build_bitcast(b, build_bits(b, 0x10001, lanes), halves);
    IrValue half = build_bitcast(b, build_bits(b, 0x80008000, lanes), halves);
    IrValue up = build_icmp(b, LLVMIntUGT, build_bitcast(b, rest, halves), half);
    upper = build_bitcast(b, upper, halves);
    return build_select(b, up, LLVMBuildAdd(b->at, upper, one, ""), upper);
}

// The processor's own conversion, which takes denormals for zero.
static IrValue bf16_narrow_native(Builder *b, IrValue x) {
    Intrinsic convert = {.name = "llvm.x86.avx512bf16.cvtneps2bf16.512"};
    return build_bitcast(b, build_intrinsic(b, convert, &x, 1), type_vector(b->i16, b->lanes));
}

static IrValue bf16_narrow(Builder *b, IrValue x) {
    if (b->level == CPU_AVX512BF16 && lanes_of(x) == b->lanes) return bf16_narrow_native(b, x);
    if (level_is_avx512(b->level) && lanes_of(x) == b->lanes) return bf16_narrow_avx512(b, x);
    IrValue bits = as_bits(b, x);
    IrValue nan = build_fcmp(b, LLVMRealUNO, x, x);
    bits = build_select(b, nan, or_bits(b, bits, 0x400000), round_up_half(b, bits, 16));
    return LLVMBuildTrunc(b->at, shift_right(b, bits, 16), type_vector(b->i16, lanes_of(x)),
                          "");
}

// ---- f16: with the F16C instructions, or by hand where the baseline has none

static IrType type_half(const Builder *b, int lanes) {
    return type_vector(LLVMHalfTypeInContext(b->context), lanes);
}

static IrValue f16_widen(Builder *b, IrValue raw) {
    int lanes = lanes_of(raw);
    if (b->level != CPU_PORTABLE) {
        IrValue half = build_bitcast(b, raw, type_half(b, lanes));
        return LLVMBuildFPExt(b->at, half, type_vector(b->f32, lanes), "");
    }
    // The exponent's bias differs by 112: multiplying by 2^112 corrects it, for denormals as
    // well.
    IrValue h = LLVMBuildZExt(b->at, raw, type_vector(b->i32, lanes), "");
    IrValue magnitude = and_bits(b, h, 0x7fff);
    IrValue scaled =
        build_fmul(b, as_float(b, shift_left(b, magnitude, 13)), build_f32(b, 0x1p112, lanes));
    IrValue special = build_icmp(b, LLVMIntUGE, magnitude, build_bits(b, 0x7c00, lanes));
    IrValue bits = as_bits(b, scaled);
    bits = build_select(b, special, or_bits(b, bits, 0x7f800000), bits);
    IrValue sign = shift_left(b, and_bits(b, h, 0x8000), 16);
    return as_float(b, LLVMBuildOr(b->at, bits, sign, ""));
}

static IrValue f16_narrow(Builder *b, IrValue x) {
    int lanes = lanes_of(x);
    if (b->level != CPU_PORTABLE) {
        IrValue half = LLVMBuildFPTrunc(b->at, x, type_half(b, lanes), "");
        return build_bitcast(b, half, type_vector(b->i16, lanes));
    }
    IrValue bits = as_bits(b, x), magnitude = and_bits(b, bits, 0x7fffffff);
    IrValue normal = shift_right(b, round_up_half(b, magnitude, 13), 13);
    normal = add_bits(b, normal, 0U - (112U << 10));
    // Beside 0.5 an f32 has the spacing of f16 denormals, so the addition rounds to one.
    IrValue sum = build_fadd(b, as_float(b, magnitude), build_f32(b, 0.5, lanes));
    IrValue denormal = add_bits(b, as_bits(b, sum), 0U - 0x3f000000U);
    IrValue small = build_icmp(b, LLVMIntULT, magnitude, build_bits(b, 0x38800000, lanes));
    IrValue large = build_icmp(b, LLVMIntUGE, magnitude, build_bits(b, 0x477ff000, lanes));
    IrValue h = build_select(b, small, denormal, normal);
    h = build_select(b, large, build_bits(b, 0x7c00, lanes), h);
    IrValue nan = build_fcmp(b, LLVMRealUNO, x, x);
    h = build_select(b, nan, build_bits(b, 0x7e00, lanes), h);
    IrValue sign = and_bits(b, shift_right(b, bits, 16), 0x8000);
    h = LLVMBuildOr(b->at, h, sign, "");
    return LLVMBuildTrunc(b->at, h, type_vector(b->i16, lanes), "");
}

// ---- any type

IrValue element_widen(Builder *b, DType t, IrValue raw) {
    int lanes = lanes_of(raw);
    IrType i32 = type_vector(b->i32, lanes);
    switch (t) {
    case DTYPE_F32:
    case DTYPE_I32: return raw;
    case DTYPE_BF16: return bf16_widen(b, raw);
    case DTYPE_F16: return f16_widen(b, raw);
    case DTYPE_F64: return LLVMBuildFPTrunc(b->at, raw, type_vector(b->f32, lanes), "");
    case DTYPE_I64: return LLVMBuildTrunc(b->at, raw, i32, "");
    case DTYPE_U8:
    case DTYPE_U16: return LLVMBuildZExt(b->at, raw, i32, "");
    case DTYPE_BOOL: return build_icmp(b, LLVMIntNE, raw, LLVMConstNull(LLVMTypeOf(raw)));
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)t);
}

IrValue element_narrow(Builder *b, DType t, IrValue x) {
    IrType type = type_vector(element_type(b, t), lanes_of(x));
    switch (t) {
    case DTYPE_F32:
    case DTYPE_I32: return x;
    case DTYPE_BF16: return bf16_narrow(b, x);
    case DTYPE_F16: return f16_narrow(b, x);
    case DTYPE_F64: return LLVMBuildFPExt(b->at, x, type, "");
    case DTYPE_I64: return LLVMBuildSExt(b->at, x, type, "");
    case DTYPE_U8:
    case DTYPE_U16: return LLVMBuildTrunc(b->at, x, type, "");
    case DTYPE_BOOL: return LLVMBuildZExt(b->at, x, type, "");
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)t);
}

// x[0], y[0], x[1], y[1], ...
static IrValue interleave(Builder *b, IrValue x, IrValue y) {
    int lanes = lanes_of(x), turn[BUILD_MAX_LANES];
    for (int k = 0; k < 2 * lanes; k++)
        turn[k] = k / 2 + k % 2 * lanes;
    return build_shuffle(b, x, y, turn, 2 * lanes);
}

IrValue element_narrow_pair(Builder *b, DType t, IrValue even, IrValue odd) {
    if (t == DTYPE_BF16 && b->level != CPU_AVX512BF16) return bf16_narrow_pair(b, even, odd);
    return interleave(b, element_narrow(b, t, even), element_narrow(b, t, odd));
}

IrValue element_load_raw(Builder *b, DType t, IrValue pointer, int lanes, IrValue mask) {
    IrType type = type_vector(element_type(b, t), lanes);
    return build_load_masked(b, type, pointer, (unsigned)dtype_bytes(t), mask);
}

IrValue element_load(Builder *b, DType t, IrValue pointer, int lanes, IrValue mask) {
    return element_widen(b, t, element_load_raw(b, t, pointer, lanes, mask));
}

IrValue element_pairs(Builder *b, IrValue low, IrValue high) {
    return build_bitcast(b, interleave(b, low, high), type_vector(b->f32, lanes_of(low)));
}

IrValue element_load_second(Builder *b, DType t, IrValue pointer, int lanes, bool odd) {
    if (t == DTYPE_BF16) {
        IrValue words = build_load(b, type_vector(b->i32, lanes), pointer, 2);
        return as_float(b, odd ? and_bits(b, words, 0xffff0000) : shift_left(b, words, 16));
    }
    int second[BUILD_MAX_LANES];
    for (int k = 0; k < lanes; k++)
        second[k] = 2 * k + odd;
    IrType type = type_vector(element_type(b, t), 2 * lanes);
    IrValue raw = build_load(b, type, pointer, (unsigned)dtype_bytes(t));
    return element_widen(b, t, build_shuffle(b, raw, raw, second, lanes));
}

IrValue element_gather_raw(Builder *b, DType t, IrValue pointers, IrValue mask) {
    IrType type = type_vector(element_type(b, t), lanes_of(pointers));
    return build_gather(b, type, pointers, (unsigned)dtype_bytes(t), mask);
}

IrValue element_gather(Builder *b, DType t, IrValue pointers, IrValue mask) {
    return element_widen(b, t, element_gather_raw(b, t, pointers, mask));
}

void element_store(Builder *b, DType t, IrValue x, IrValue pointer, IrValue mask) {
    build_store_masked(b, element_narrow(b, t, x), pointer, (unsigned)dtype_bytes(t), mask);
}

void element_scatter(Builder *b, DType t, IrValue x, IrValue pointers, IrValue mask) {
    build_scatter(b, element_narrow(b, t, x), pointers, (unsigned)dtype_bytes(t), mask);
}
