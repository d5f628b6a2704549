// builtins_choice.c: which elements are the greatest.
#include <math.h>

#include "frontend/builtins.h"

static Datum where(BuiltinCall *c, Datum condition, ValueId x, ValueId y) {
    return emit(c->e, operation(OP_WHERE, c->span), (ValueId[]){condition.tensor, x, y}, 3,
                NULL);
}

static Datum both(BuiltinCall *c, GraphOp op, Datum x, Datum y) {
    return emit(c->e, operation(op, c->span), (ValueId[]){x.tensor, y.tensor}, 2, NULL);
}

// The first position where `hit`; `hit` holds somewhere, unless elements are NaN: then a
// position outside.
static Datum first_position(BuiltinCall *c, Datum hit, const AxisSet *along) {
    Elaboration *e = c->e;
    Datum back = emit_unary(e, OP_NEG, emit_iota(e, along->items[0], c->span), c->span);
    ValueId none = graph_const_i32(e->graph, -ELABORATE_MAX_EXTENT, c->span);
    Datum most =
        emit_reduce(e, OP_REDUCE_MAX, where(c, hit, back.tensor, none), along, c->span);
    return emit_unary(e, OP_NEG, most, c->span);
}

// The k positions, one round each: the greatest of what no round before took.
static bool choose(BuiltinCall *c, Datum x, AxisId axis, ValueId *pick, uint32_t count) {
    Elaboration *e = c->e;
    AxisSet along = {.items = {axis}, .count = 1};
    Datum free = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (!elaborate_step(e, c->span, 1)) return false;
        ValueId least = graph_const(e->graph, -HUGE_VAL, c->span);
        Datum left = i > 0 ? where(c, free, x.tensor, least) : x;
        Datum most = emit_reduce(e, OP_REDUCE_MAX, left, &along, c->span);
        Datum hit = both(c, OP_EQ, x, most);
        if (i > 0) hit = both(c, OP_AND, hit, free);
        Datum at = first_position(c, hit, &along);
        if (at.kind != DATUM_TENSOR) return false;
        pick[i] = at.tensor;
        Datum here = emit_iota(e, axis, c->span), wide = emit_broadcast(e, at, &along, c->span);
        Datum other = both(c, OP_NE, wide, here);
        free = i > 0 ? both(c, OP_AND, free, other) : other;
    }
    return true;
}

// Positions of the greatest elements along an axis, the greatest first; of equal ones, the one
// that stands first.
Datum builtin_top_k(BuiltinCall *c) {
    Elaboration *e = c->e;
    Datum x = POISON;
    AxisId axis = {0}, to = {0};
    double all = 0, count = 0;
    if (!call_f32(c, 0, &x) || !call_axis(c, 1, &axis) || !call_axis(c, 2, &to)) return POISON;
    if (!call_has_axis(c, 0, axis, 1)) return POISON;
    if (!want_number(e, c->arg[1], call_arg_text(c, 1), &all)) return POISON;
    if (!want_number(e, c->arg[2], call_arg_text(c, 2), &count)) return POISON;
    if (count > all)
        return elaborate_error(e, c->arg[2].at, "the %.0f greatest of %.0f elements", count,
                               all);
    if (graph_has_axis(graph_value(e->graph, x.tensor), to))
        return elaborate_error(e, c->arg[2].at, "the tensor has axis %.*s already",
                               STR_ARG(graph_axis_at(e->graph, to)->name));
    ValueId *pick = arena_array(e->arena, ValueId, (size_t)count);
    if (!choose(c, x, axis, pick, (uint32_t)count)) return POISON;
    return emit(e, operation(OP_STACK, c->span), pick, (uint32_t)count,
                &(GraphAttr){.to = &to, .to_count = 1});
}
