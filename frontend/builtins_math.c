// builtins_math.c: elementwise functions and reductions.
#include <math.h>

#include "frontend/builtins.h"

// ---- on numbers

double fold_abs(double x) { return fabs(x); }
double fold_sign(double x) { return x > 0 ? 1 : (x < 0 ? -1 : 0); }
double fold_rsqrt(double x) { return 1 / sqrt(x); }
double fold_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double fold_log(double x) { return log(x); }
double fold_floor(double x) { return floor(x); }

static bool is_number(Datum d) { return d.kind == DATUM_NUMBER || d.kind == DATUM_AXIS; }

static Datum apply_fold(BuiltinCall *c, double (*fold)(double)) {
    double x = 0;
    return call_number(c, 0, 0, &x) ? datum_number(fold(x)) : POISON;
}

Datum builtin_unary(BuiltinCall *c) {
    if (is_number(c->arg[0].v)) return apply_fold(c, c->builtin->fold);
    Datum x = POISON;
    if (!call_f32(c, 0, &x)) return POISON;
    return emit_unary(c->e, c->builtin->op, x, c->span);
}

// log of an initialiser: the drawn values are log-transformed.
Datum builtin_log(BuiltinCall *c) {
    if (is_number(c->arg[0].v)) return apply_fold(c, fold_log);
    if (c->arg[0].v.kind == DATUM_INIT) {
        Init init = c->arg[0].v.init;
        if (init.transform != INIT_AS_IS) {
            return elaborate_error(c->e, c->span, "an initialiser takes one transformation");
        }
        init.transform = INIT_LOG;
        return datum_init(init);
    }
    Datum x = POISON;
    return call_f32(c, 0, &x) ? emit_unary(c->e, OP_LOG, x, c->span) : POISON;
}

// ---- compositions

static Datum op2(BuiltinCall *c, GraphOp op, Datum a, Datum b) {
    Operator how = {op, c->builtin->name, c->span};
    return elaborate_arithmetic(c->e, how, (Operand){a, c->span}, (Operand){b, c->span});
}

static Datum op1(BuiltinCall *c, GraphOp op, Datum x) {
    return emit_unary(c->e, op, x, c->span);
}

static double fold_silu(double x) { return x / (1 + exp(-x)); }
static double fold_gelu(double x) { return 0.5 * x * (1 + erf(x / sqrt(2))); }
static double fold_relu(double x) { return fmax(x, 0); }
static double fold_softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }

Datum builtin_silu(BuiltinCall *c) {
    if (is_number(c->arg[0].v)) return apply_fold(c, fold_silu);
    Datum x = POISON;
    if (!call_f32(c, 0, &x)) return POISON;
    return op2(c, OP_MUL, x, op1(c, OP_SIGMOID, x));
}

// x * (1 + erf(x / sqrt 2)) / 2: the exact form, not the one with tanh.
Datum builtin_gelu(BuiltinCall *c) {
    if (is_number(c->arg[0].v)) return apply_fold(c, fold_gelu);
    Datum x = POISON;
    if (!call_f32(c, 0, &x)) return POISON;
    Datum erf_x = op1(c, OP_ERF, op2(c, OP_MUL, x, datum_number(sqrt(0.5))));
    Datum half = op2(c, OP_MUL, x, datum_number(0.5));
    return op2(c, OP_MUL, half, op2(c, OP_ADD, erf_x, datum_number(1)));
}

Datum builtin_relu(BuiltinCall *c) {
    if (is_number(c->arg[0].v)) return apply_fold(c, fold_relu);
    Datum x = POISON;
    return call_f32(c, 0, &x) ? op2(c, OP_MAX, x, datum_number(0)) : POISON;
}

// max(x, 0) + log(1 + exp(-|x|)): no overflow on either side.
Datum builtin_softplus(BuiltinCall *c) {
    if (is_number(c->arg[0].v)) return apply_fold(c, fold_softplus);
    Datum x = POISON;
    if (!call_f32(c, 0, &x)) return POISON;
    Datum small = op1(c, OP_EXP, op1(c, OP_NEG, op1(c, OP_ABS, x)));
    Datum tail = op1(c, OP_LOG, op2(c, OP_ADD, small, datum_number(1)));
    return op2(c, OP_ADD, op2(c, OP_MAX, x, datum_number(0)), tail);
}

Datum builtin_pow(BuiltinCall *c) {
    return elaborate_arithmetic(c->e, (Operator){OP_POW, "pow", c->span}, c->arg[0], c->arg[1]);
}

// ---- min and max: of two values, or of a tensor over axes

static bool axes_given(Datum d) {
    return d.kind == DATUM_AXIS || (d.kind == DATUM_LIST && d.list->count > 0);
}

static Datum reduce(BuiltinCall *c, GraphOp op, Datum x, bool needs_f32) {
    AxisSet axes = {0};
    if (!call_axes(c, 1, &axes)) return POISON;
    for (uint32_t i = 0; i < axes.count; i++) {
        if (!call_has_axis(c, 0, axes.items[i], 1)) return POISON;
    }
    if (needs_f32 && !call_f32(c, 0, &x)) return POISON;
    if (axes.count == 0) {
        return elaborate_error(c->e, c->arg[1].at, "%s needs an axis", call_arg_text(c, 1));
    }
    return emit_reduce(c->e, op, x, &axes, c->span);
}

Datum builtin_max(BuiltinCall *c) {
    if (c->arg[0].v.kind == DATUM_TENSOR && axes_given(c->arg[1].v)) {
        return reduce(c, OP_REDUCE_MAX, c->arg[0].v, false);
    }
    return elaborate_arithmetic(c->e, (Operator){OP_MAX, "max", c->span}, c->arg[0], c->arg[1]);
}

Datum builtin_min(BuiltinCall *c) {
    if (c->arg[0].v.kind == DATUM_TENSOR && axes_given(c->arg[1].v)) {
        Datum negated = op1(c, OP_NEG, c->arg[0].v);
        return op1(c, OP_NEG, reduce(c, OP_REDUCE_MAX, negated, false));
    }
    return elaborate_arithmetic(c->e, (Operator){OP_MIN, "min", c->span}, c->arg[0], c->arg[1]);
}

Datum builtin_softmax(BuiltinCall *c) { return reduce(c, OP_SOFTMAX, c->arg[0].v, true); }
Datum builtin_logsumexp(BuiltinCall *c) { return reduce(c, OP_LOGSUMEXP, c->arg[0].v, true); }

// ---- where

static bool condition_tensor(BuiltinCall *c, Operand *out) {
    *out = c->arg[0];
    if (out->v.kind == DATUM_TENSOR &&
        graph_value(c->e->graph, out->v.tensor)->type == DTYPE_BOOL) {
        return true;
    }
    Str is = elaborate_describe(c->e, out->v);
    elaborate_error(c->e, out->at,
                    "the condition of where is a tensor of booleans, this is %.*s",
                    STR_ARG(is));
    return false;
}

Datum builtin_where(BuiltinCall *c) {
    Operand cond = {0};
    ValueId x = {0}, y = {0};
    if (c->arg[0].v.kind == DATUM_BOOL) return c->arg[c->arg[0].v.boolean ? 1 : 2].v;
    if (!condition_tensor(c, &cond) || !call_tensor(c, 1, &x) || !call_tensor(c, 2, &y))
        return POISON;
    Operand a = {datum_tensor(x), c->arg[1].at}, b = {datum_tensor(y), c->arg[2].at};
    if (graph_value(c->e->graph, x)->type != graph_value(c->e->graph, y)->type) {
        a.v = emit_cast(c->e, a.v, DTYPE_F32, a.at);
        b.v = emit_cast(c->e, b.v, DTYPE_F32, b.at);
    }
    Operator how = {OP_WHERE, "where", c->span};
    if (!align_check(c->e, how, a, b) || !align_check(c->e, how, cond, a)) return POISON;
    if (!align_check(c->e, how, cond, b)) return POISON;
    ValueId in[] = {cond.v.tensor, a.v.tensor, b.v.tensor};
    return emit(c->e, operation(OP_WHERE, c->span), in, 3, NULL);
}

Datum builtin_stop_gradient(BuiltinCall *c) {
    ValueId x = {0};
    return call_tensor(c, 0, &x) ? op1(c, OP_DETACH, datum_tensor(x)) : POISON;
}

// ---- sum and mean

static Datum sum_of(BuiltinCall *c, AxisSet *axes) {
    return elaborate_sum_of_products(c->e, c->expr[0], c->expr[1], call_arg_text(c, 1), axes);
}

Datum builtin_sum(BuiltinCall *c) {
    AxisSet axes = {0};
    return sum_of(c, &axes);
}

// The number of elements summed; a tensor while an extent is known only at run time.
static Datum element_count(BuiltinCall *c, const AxisSet *axes) {
    Elaboration *e = c->e;
    double known = 1;
    AxisSet unknown = {0};
    for (uint32_t i = 0; i < axes->count; i++) {
        if (extent_known(e, axes->items[i])) {
            known *= (double)graph_extent(e->graph, axes->items[i]);
        } else {
            unknown.items[unknown.count++] = axes->items[i];
        }
    }
    if (unknown.count == 0) return datum_number(known);
    Datum ones = datum_tensor(graph_const(e->graph, known, c->span));
    return emit_reduce(e, OP_REDUCE_SUM, emit_broadcast(e, ones, &unknown, c->span), &unknown,
                       c->span);
}

Datum builtin_mean(BuiltinCall *c) {
    AxisSet axes = {0};
    Datum sum = sum_of(c, &axes);
    if (sum.kind != DATUM_TENSOR) return POISON;
    Datum count = element_count(c, &axes);
    if (count.kind == DATUM_NUMBER) return op2(c, OP_MUL, sum, datum_number(1 / count.number));
    return op2(c, OP_DIV, sum, count);
}
