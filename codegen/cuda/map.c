// map.c: see cuda_map in writer.h. The elementwise operations of ops.def as expressions; what
// they mean at the borders (NaN, ties) is what ir/graph/evaluate_elementwise.c does.
#include <math.h>

#include "base/check.h"
#include "codegen/cuda/writer.h"

static Str call(CudaWriter *w, const char *function, Str x) {
    return str_printf(w->arena, "%s(%.*s)", function, STR_ARG(x));
}

static Str infix(CudaWriter *w, Str x, const char *sign, Str y) {
    return str_printf(w->arena, "%.*s %s %.*s", STR_ARG(x), sign, STR_ARG(y));
}

static Str map_cast(CudaWriter *w, DType to, DType from, Str x) {
    if (to == from) return x;
    if (from == DTYPE_BOOL)
        return str_printf(w->arena, to == DTYPE_F32 ? "(%.*s ? 1.0f : 0.0f)" : "(%.*s ? 1 : 0)",
                          STR_ARG(x));
    if (to == DTYPE_BOOL) return infix(w, x, "!=", from == DTYPE_F32 ? STR("0.0f") : STR("0"));
    // Towards zero; what does not fit is the nearest that does, and NaN is 0.
    return call(w, to == DTYPE_F32 ? "(float)" : "__float2int_rz", x);
}

static Str map_sign(CudaWriter *w, bool real, Str x) {
    return str_printf(w->arena,
                      real ? "(%.*s > 0.0f ? 1.0f : %.*s < 0.0f ? -1.0f : 0.0f)"
                           : "(%.*s > 0 ? 1 : %.*s < 0 ? -1 : 0)",
                      STR_ARG(x), STR_ARG(x));
}

static Str map_unary(CudaWriter *w, const TileOp *op, Str x) {
    DType from = tile_op(w->p, op->in[0])->type;
    bool real = from == DTYPE_F32;
    switch ((int)op->fn) {
    case OP_NEG: return str_printf(w->arena, "-%.*s", STR_ARG(x));
    case OP_ABS: return call(w, real ? "fabsf" : "abs", x);
    case OP_SIGN: return map_sign(w, real, x);
    case OP_EXP: return call(w, "expf", x);
    case OP_LOG: return call(w, "logf", x);
    case OP_SQRT: return call(w, "sqrtf", x);
    case OP_RSQRT: return call(w, "rsqrtf", x);
    case OP_TANH: return call(w, "tanhf", x);
    case OP_SIGMOID: return str_printf(w->arena, "1.0f / (1.0f + expf(-%.*s))", STR_ARG(x));
    case OP_SIN: return call(w, "sinf", x);
    case OP_COS: return call(w, "cosf", x);
    case OP_ERF: return call(w, "erff", x);
    case OP_FLOOR: return real ? call(w, "floorf", x) : x;
    case OP_NOT: return str_printf(w->arena, "!%.*s", STR_ARG(x));
    case OP_CAST: return map_cast(w, op->type, from, x);
    case OP_DETACH: return x;
    default: BUG("'%s' is not a unary map", op_text(op->fn));
    }
}

static Str map_pow(CudaWriter *w, const TileOp *op, Str x, Str y) {
    const TileOp *exponent = tile_op(w->p, op->in[1]);
    if (exponent->kind == TILE_CONST) {
        double n = exponent->number;
        if (n == 0.5) return call(w, "sqrtf", x);
        if (n == -0.5) return call(w, "rsqrtf", x);
        if (n == -1) return infix(w, STR("1.0f"), "/", x);
        if (n == 1) return x;
        if (n == 2) return infix(w, x, "*", x);
        if (n == 3) return infix(w, infix(w, x, "*", x), "*", x);
    }
    return str_printf(w->arena, "powf(%.*s, %.*s)", STR_ARG(x), STR_ARG(y));
}

// Unlike fminf and fmaxf, `x <= y ? x : y` gives NaN where y is one, as the interpreter does.
static Str map_choose(CudaWriter *w, const char *sign, Str x, Str y) {
    return str_printf(w->arena, "(%.*s ? %.*s : %.*s)", STR_ARG(infix(w, x, sign, y)),
                      STR_ARG(x), STR_ARG(y));
}

static Str map_binary(CudaWriter *w, const TileOp *op, Str x, Str y) {
    switch ((int)op->fn) {
    case OP_ADD: return infix(w, x, "+", y);
    case OP_SUB: return infix(w, x, "-", y);
    case OP_MUL: return infix(w, x, "*", y);
    case OP_DIV: return infix(w, x, "/", y);
    case OP_POW: return map_pow(w, op, x, y);
    case OP_MIN: return map_choose(w, "<=", x, y);
    case OP_MAX: return map_choose(w, ">=", x, y);
    case OP_EQ: return infix(w, x, "==", y);
    case OP_NE: return infix(w, x, "!=", y);
    case OP_LT: return infix(w, x, "<", y);
    case OP_LE: return infix(w, x, "<=", y);
    case OP_AND: return infix(w, x, "&&", y);
    case OP_OR: return infix(w, x, "||", y);
    default: BUG("'%s' is not a binary map", op_text(op->fn));
    }
}

Str cuda_map(CudaWriter *w, const TileOp *op, const Str *operands) {
    ASSERT(op->kind == TILE_MAP);
    if (op->arity == 1) return map_unary(w, op, operands[0]);
    if (op->arity == 2) return map_binary(w, op, operands[0], operands[1]);
    ASSERT(op->fn == OP_WHERE);
    return str_printf(w->arena, "(%.*s ? %.*s : %.*s)", STR_ARG(operands[0]),
                      STR_ARG(operands[1]), STR_ARG(operands[2]));
}
