// map.c: see map.h.
#include "codegen/llvm/map.h"

#include <math.h>

#include "base/check.h"
#include "codegen/llvm/math.h"

static int lanes_of(IrValue x) { return type_lanes(LLVMTypeOf(x)); }

static IrValue zero_like(IrValue x) { return LLVMConstNull(LLVMTypeOf(x)); }

static IrValue map_pow(Builder *b, const TileOp *op, IrValue x, IrValue y) {
    const TileOp *exponent = tile_op(b->program, op->in[1]);
    if (exponent->kind != TILE_CONST) return math_pow(b, x, y);
    double n = exponent->number;
    if (n == 0.5) return build_sqrt(b, x);
    if (n == -0.5) return math_rsqrt(b, x);
    if (n == floor(n) && fabs(n) <= 1024) return math_pow_integer(b, x, (int64_t)n);
    return math_pow(b, x, y);
}

static IrValue map_sign(Builder *b, IrValue x, bool real) {
    IrValue zero = zero_like(x);
    IrValue above =
        real ? build_fcmp(b, LLVMRealOGT, x, zero) : build_icmp(b, LLVMIntSGT, x, zero);
    IrValue below =
        real ? build_fcmp(b, LLVMRealOLT, x, zero) : build_icmp(b, LLVMIntSLT, x, zero);
    int lanes = lanes_of(x);
    IrValue one = real ? build_f32(b, 1, lanes) : build_i32(b, 1, lanes);
    IrValue minus = real ? build_f32(b, -1, lanes) : build_i32(b, -1, lanes);
    return build_select(b, above, one, build_select(b, below, minus, zero));
}

static IrValue map_cast(Builder *b, DType to, DType from, IrValue x) {
    int lanes = lanes_of(x);
    IrType type = type_of(b, to, lanes);
    if (to == from) return x;
    if (from == DTYPE_BOOL) {
        IrValue one = to == DTYPE_F32 ? build_f32(b, 1, lanes) : build_i32(b, 1, lanes);
        return build_select(b, x, one, LLVMConstNull(type));
    }
    if (to == DTYPE_BOOL)
        return from == DTYPE_F32 ? build_fcmp(b, LLVMRealUNE, x, zero_like(x))
                                 : build_icmp(b, LLVMIntNE, x, zero_like(x));
    if (to == DTYPE_F32) return LLVMBuildSIToFP(b->at, x, type, "");
    Intrinsic truncate = {"llvm.fptosi.sat", {type, LLVMTypeOf(x)}, 2};
    return build_intrinsic(b, truncate, &x, 1);
}

static IrValue map_unary(Builder *b, const TileOp *op, IrValue x) {
    DType from = tile_op(b->program, op->in[0])->type;
    bool real = from == DTYPE_F32;
    switch ((int)op->fn) {
    case OP_NEG: return real ? build_fneg(b, x) : LLVMBuildNeg(b->at, x, "");
    case OP_ABS:
        if (real) return build_fabs(b, x);
        return build_select(b, build_icmp(b, LLVMIntSLT, x, zero_like(x)),
                            LLVMBuildNeg(b->at, x, ""), x);
    case OP_SIGN: return map_sign(b, x, real);
    case OP_EXP: return math_exp(b, x);
    case OP_LOG: return math_log(b, x);
    case OP_SQRT: return build_sqrt(b, x);
    case OP_RSQRT: return math_rsqrt(b, x);
    case OP_TANH: return math_tanh(b, x);
    case OP_SIGMOID: return math_sigmoid(b, x);
    case OP_SIN: return math_sin(b, x);
    case OP_COS: return math_cos(b, x);
    case OP_ERF: return math_erf(b, x);
    case OP_FLOOR: return real ? math_floor(b, x) : x;
    case OP_NOT: return LLVMBuildNot(b->at, x, "");
    case OP_CAST: return map_cast(b, op->type, from, x);
    case OP_DETACH: return x;
    default: BUG("'%s' is not a unary map", op_text(op->fn));
    }
}

static IrValue map_compare(Builder *b, GraphOp fn, DType type, IrValue x, IrValue y) {
    bool real = type == DTYPE_F32, is_bool = type == DTYPE_BOOL;
    switch ((int)fn) {
    case OP_EQ: return real ? build_fcmp(b, LLVMRealOEQ, x, y) : build_icmp(b, LLVMIntEQ, x, y);
    case OP_NE: return real ? build_fcmp(b, LLVMRealUNE, x, y) : build_icmp(b, LLVMIntNE, x, y);
    case OP_LT:
        if (real) return build_fcmp(b, LLVMRealOLT, x, y);
        return build_icmp(b, is_bool ? LLVMIntULT : LLVMIntSLT, x, y);
    case OP_LE:
        if (real) return build_fcmp(b, LLVMRealOLE, x, y);
        return build_icmp(b, is_bool ? LLVMIntULE : LLVMIntSLE, x, y);
    default: BUG("'%s' is not a comparison", op_text(fn));
    }
}

static IrValue map_binary(Builder *b, const TileOp *op, IrValue x, IrValue y) {
    DType type = tile_op(b->program, op->in[0])->type;
    bool real = type == DTYPE_F32;
    switch ((int)op->fn) {
    case OP_ADD: return real ? build_fadd(b, x, y) : LLVMBuildAdd(b->at, x, y, "");
    case OP_SUB: return real ? build_fsub(b, x, y) : LLVMBuildSub(b->at, x, y, "");
    case OP_MUL: return real ? build_fmul(b, x, y) : LLVMBuildMul(b->at, x, y, "");
    case OP_DIV: return build_fdiv(b, x, y);
    case OP_POW: return map_pow(b, op, x, y);
    case OP_MIN:
        if (real) return build_fmin(b, x, y);
        return build_select(b, build_icmp(b, LLVMIntSLT, x, y), x, y);
    case OP_MAX:
        if (real) return build_fmax(b, x, y);
        return build_select(b, build_icmp(b, LLVMIntSGT, x, y), x, y);
    case OP_EQ:
    case OP_NE:
    case OP_LT:
    case OP_LE: return map_compare(b, op->fn, type, x, y);
    case OP_AND: return LLVMBuildAnd(b->at, x, y, "");
    case OP_OR: return LLVMBuildOr(b->at, x, y, "");
    default: BUG("'%s' is not a binary map", op_text(op->fn));
    }
}

IrValue map_emit(Builder *b, const TileOp *op, const IrValue in[3]) {
    ASSERT(op->kind == TILE_MAP);
    build_line(b, op->span);
    if (op->arity == 1) return map_unary(b, op, in[0]);
    if (op->arity == 2) return map_binary(b, op, in[0], in[1]);
    ASSERT(op->fn == OP_WHERE);
    return build_select(b, in[0], in[1], in[2]);
}

bool map_is_costly(GraphOp fn) { return op_flops(fn) >= 4; }

IrValue map_const(const Builder *b, const TileOp *op, int lanes) {
    if (op->type == DTYPE_F32) return build_f32(b, op->number, lanes);
    if (op->type == DTYPE_I32) return build_i32(b, (int64_t)op->number, lanes);
    return build_mask_first(b, op->number != 0 ? lanes : 0, lanes);
}
