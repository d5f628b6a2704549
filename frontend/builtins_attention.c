// builtins_attention.c: functions of sequences, written in the graph's own operations.
#include <math.h>

#include "frontend/builtins.h"

static Datum op2(BuiltinCall *c, GraphOp op, Datum a, Datum b) {
    Operator how = {op, c->builtin->name, c->span};
    return elaborate_arithmetic(c->e, how, (Operand){a, c->span}, (Operand){b, c->span});
}

// ---- attend

typedef struct {
    AxisId time, key, along;
    bool causal;
    double scale, window;  // window 0: none
    ValueId segments;      // {0}: none
} Attention;

// Every attend over the same axis shares one second role of it, which never leaves here.
static AxisId key_axis(Elaboration *e, AxisId time) {
    Str key = str_printf(e->arena, "%u", time.i);
    uint64_t found = 0;
    if (map_get(&e->key_axes, key, &found)) return (AxisId){(uint32_t)found};
    Str name = str_printf(e->arena, "%.*s_key", STR_ARG(graph_axis_at(e->graph, time)->name));
    AxisId made = axis_internal(e, name, time);
    map_set(e->arena, &e->key_axes, key, made.i);
    return made;
}

static bool segments_read(BuiltinCall *c, Attention *a) {
    if (!call_tensor(c, 8, &a->segments) || !call_has_axis(c, 8, a->time, 3)) return false;
    const Value *v = graph_value(c->e->graph, a->segments);
    if (v->type != DTYPE_I32) {
        Str is = elaborate_describe(c->e, datum_tensor(a->segments));
        elaborate_error(c->e, c->arg[8].at, "segments are integers, these are %.*s",
                        STR_ARG(is));
        return false;
    }
    for (uint32_t i = 0; i < v->rank; i++)
        if (!call_has_axis(c, 1, graph_value(c->e->graph, a->segments)->axes[i], 8))
            return false;
    return true;
}

static bool attention_read(BuiltinCall *c, Attention *a) {
    *a = (Attention){0};
    if (!call_axis(c, 3, &a->time) || !call_axis(c, 4, &a->along)) return false;
    if (!call_bool(c, 5, false, &a->causal) || !call_number(c, 7, 0, &a->window)) return false;
    double fallback = extent_known(c->e, a->along)
                          ? 1 / sqrt((double)graph_extent(c->e->graph, a->along))
                          : 1;
    if (!call_number(c, 6, fallback, &a->scale)) return false;
    if (call_given(c, 7) && !(a->window >= 1 && a->window == floor(a->window) && a->causal)) {
        elaborate_error(c->e, c->arg[7].at,
                        "a window is a whole number >= 1 and needs causal = true");
        return false;
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (c->arg[i].v.kind != DATUM_TENSOR) {
            ValueId unused = {0};
            if (!call_tensor(c, i, &unused)) return false;
        }
        if (!call_has_axis(c, i, a->time, 3)) return false;
        if (i < 2 && !call_has_axis(c, i, a->along, 4)) return false;
    }
    a->key = key_axis(c->e, a->time);
    return !call_given(c, 8) || segments_read(c, a);
}

static Datum both(BuiltinCall *c, Datum x, Datum y) {
    if (x.kind != DATUM_TENSOR || y.kind != DATUM_TENSOR) return POISON;
    return emit(c->e, operation(OP_AND, c->span), (ValueId[]){x.tensor, y.tensor}, 2, NULL);
}

// Are query and key of one segment?
static Datum same_segment(BuiltinCall *c, const Attention *a) {
    Elaboration *e = c->e;
    AxisSet keys = {.items = {a->key}, .count = 1};
    Datum of_query = emit_broadcast(e, datum_tensor(a->segments), &keys, c->span),
          of_key = emit_rename(e, datum_tensor(a->segments), a->time, a->key, c->span);
    return elaborate_compare(e, AST_BINARY_EQ, c->span, (Operand){of_query, c->span},
                             (Operand){of_key, c->span});
}

// Does the key lie before the query, and inside the window? Positions are whole numbers,
// compared as i32.
static Datum in_band(BuiltinCall *c, const Attention *a) {
    Elaboration *e = c->e;
    AxisSet time = {.items = {a->time}, .count = 1};
    Datum key = emit_broadcast(e, emit_iota(e, a->key, c->span), &time, c->span);
    Datum query = emit_iota(e, a->time, c->span);
    Operand k = {key, c->span}, q = {query, c->span};
    Datum seen = elaborate_compare(e, AST_BINARY_LE, c->span, k, q);
    if (a->window == 0) return seen;
    Operand end = {op2(c, OP_ADD, key, datum_number(a->window)), c->span};
    return both(c, seen, elaborate_compare(e, AST_BINARY_LT, c->span, q, end));
}

// -inf where the query does not see the key.
static Datum attention_mask(BuiltinCall *c, const Attention *a, Datum scores) {
    if (!a->causal && !a->segments.i) return scores;
    Elaboration *e = c->e;
    Datum seen = a->causal ? in_band(c, a) : same_segment(c, a);
    if (a->causal && a->segments.i) seen = both(c, seen, same_segment(c, a));
    if (seen.kind != DATUM_TENSOR || scores.kind != DATUM_TENSOR) return POISON;
    ValueId never = graph_const(e->graph, -HUGE_VAL, c->span);
    return emit(e, operation(OP_WHERE, c->span), (ValueId[]){seen.tensor, scores.tensor, never},
                3, NULL);
}

// softmax over the keys of scale * sum(q * k, along), times v. q may have axes that k and v
// lack (groups of heads).
Datum builtin_attend(BuiltinCall *c) {
    Attention a;
    if (!attention_read(c, &a)) return POISON;
    Elaboration *e = c->e;
    Datum k = emit_rename(e, c->arg[1].v, a.time, a.key, c->span);
    Datum v = emit_rename(e, c->arg[2].v, a.time, a.key, c->span);
    AxisSet along = {.items = {a.along}, .count = 1}, keys = {.items = {a.key}, .count = 1};
    Datum scores = emit_contract(e, c->arg[0].v, k, &along, c->span);
    scores = attention_mask(c, &a, op2(c, OP_MUL, scores, datum_number(a.scale)));
    Datum weights = emit_reduce(e, OP_SOFTMAX, scores, &keys, c->span);
    return emit_contract(e, weights, v, &keys, c->span);
}

// ---- rope

typedef struct {
    AxisId time, along;
    int64_t half;
    double base;
} Rotation;

static bool rotation_read(BuiltinCall *c, Rotation *r) {
    if (!call_axis(c, 1, &r->time) || !call_axis(c, 2, &r->along)) return false;
    if (!call_number(c, 3, 10000, &r->base)) return false;
    double extent = 0;
    if (!want_number(c->e, c->arg[2], call_arg_text(c, 2), &extent)) return false;
    r->half = (int64_t)extent / 2;
    if (fmod(extent, 2) != 0) {
        elaborate_error(c->e, c->arg[2].at,
                        "rope turns pairs: the extent of %.*s must be even, it is %.0f",
                        STR_ARG(graph_axis_at(c->e->graph, r->along)->name), extent);
        return false;
    }
    if (!(r->base > 0)) {
        elaborate_error(c->e, c->arg[3].at, "the base of rope must be above 0");
        return false;
    }
    ValueId x = {0};
    return call_tensor(c, 0, &x) && call_has_axis(c, 0, r->time, 1) &&
           call_has_axis(c, 0, r->along, 2);
}

// The angle of element i at position t: t * base^(-2 j / n) with j = i mod n/2.
static Datum rotation_angle(BuiltinCall *c, const Rotation *r, Datum index, Datum upper) {
    Elaboration *e = c->e;
    Datum skip =
        op2(c, OP_MUL, emit_cast(e, upper, DTYPE_F32, c->span), datum_number((double)r->half));
    Datum pair = op2(c, OP_SUB, emit_cast(e, index, DTYPE_F32, c->span), skip);
    Datum power = op2(c, OP_MUL, pair, datum_number(-log(r->base) / (double)r->half));
    Datum frequency = emit_unary(e, OP_EXP, power, c->span);
    AxisSet along = {.items = {r->along}, .count = 1};
    Datum time = emit_cast(e, emit_iota(e, r->time, c->span), DTYPE_F32, c->span);
    return op2(c, OP_MUL, emit_broadcast(e, time, &along, c->span), frequency);
}

// Element i < n/2 turns with element i + n/2: x cos + roll(x, n/2) * (-sin below n/2, sin from
// there on).
Datum builtin_rope(BuiltinCall *c) {
    Rotation r = {0};
    if (!rotation_read(c, &r)) return POISON;
    Elaboration *e = c->e;
    Datum index = emit_iota(e, r.along, c->span);
    Operand half = {datum_number((double)r.half), c->span};
    Datum upper = elaborate_compare(e, AST_BINARY_GE, c->span, (Operand){index, c->span}, half);
    Datum angle = rotation_angle(c, &r, index, upper);
    Datum two = op2(c, OP_MUL, emit_cast(e, upper, DTYPE_F32, c->span), datum_number(2));
    Datum sign = op2(c, OP_SUB, two, datum_number(1));
    Datum sine = op2(c, OP_MUL, emit_unary(e, OP_SIN, angle, c->span), sign);
    Datum x = emit_cast(e, c->arg[0].v, DTYPE_F32, c->span);
    Datum turned =
        op2(c, OP_MUL, emit_along(e, operation(OP_ROLL, c->span), x, r.along, r.half), sine);
    return op2(c, OP_ADD, op2(c, OP_MUL, x, emit_unary(e, OP_COS, angle, c->span)), turned);
}

// ---- cross_entropy

Datum builtin_cross_entropy(BuiltinCall *c) {
    Elaboration *e = c->e;
    AxisId axis = {0};
    Datum logits = POISON;
    ValueId targets = {0};
    if (!call_axis(c, 2, &axis) || !call_f32(c, 0, &logits) || !call_tensor(c, 1, &targets))
        return POISON;
    if (!call_has_axis(c, 0, axis, 2)) return POISON;
    if (graph_value(e->graph, targets)->type != DTYPE_I32 ||
        graph_has_axis(graph_value(e->graph, targets), axis)) {
        Str is = elaborate_describe(e, datum_tensor(targets));
        return elaborate_error(e, c->arg[1].at,
                               "targets are integers without axis %.*s, these are %.*s",
                               STR_ARG(graph_axis_at(e->graph, axis)->name), STR_ARG(is));
    }
    AxisSet over = {.items = {axis}, .count = 1};
    Datum total = emit_reduce(e, OP_LOGSUMEXP, logits, &over, c->span);
    GraphAttr attr = {.along = &axis, .along_count = 1};
    Datum right =
        emit(e, operation(OP_GATHER, c->span), (ValueId[]){logits.tensor, targets}, 2, &attr);
    Operator minus = {OP_SUB, "cross_entropy", c->span};
    return elaborate_arithmetic(e, minus, (Operand){total, c->arg[0].at},
                                (Operand){right, c->arg[1].at});
}
