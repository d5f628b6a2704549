// builtins_axis.c: movement between axes, and making tensors of axes.
#include "frontend/builtins.h"

static Str axis_name(const BuiltinCall *c, AxisId a) {
    return graph_axis_at(c->e->graph, a)->name;
}

// ---- maps of axes: from -> to

// The arrow of argument i; its left side as axes that x has. `x` is argument 0, whose value
// changes from map to map.
static const DatumArrow *read_arrow(BuiltinCall *c, uint32_t i, Datum x, AxisSet *from) {
    Elaboration *e = c->e;
    if (c->arg[i].v.kind != DATUM_ARROW) {
        elaborate_error(e, c->arg[i].at, "%s must be written old -> new", call_arg_text(c, i));
        return NULL;
    }
    const DatumArrow *arrow = c->arg[i].v.arrow;
    if (!want_axes(e, (Operand){arrow->from, c->arg[i].at}, "the left side of '->'", from))
        return NULL;
    for (uint32_t k = 0; k < from->count; k++) {
        if (!want_axis_of(e, (Operand){x, c->arg[0].at}, from->items[k], c->arg[i].at))
            return NULL;
    }
    return arrow;
}

static bool axis_is_free(BuiltinCall *c, Datum x, AxisId axis, uint32_t i) {
    if (!graph_has_axis(graph_value(c->e->graph, x.tensor), axis)) return true;
    Str is = elaborate_describe(c->e, x);
    elaborate_error(c->e, c->arg[i].at, "the tensor has axis %.*s already",
                    STR_ARG(axis_name(c, axis)));
    diag_note(c->e->diag, c->arg[0].at, "it is %.*s", STR_ARG(is));
    return false;
}

static bool one_axis(BuiltinCall *c, uint32_t i, const AxisSet *set, const char *side) {
    if (set->count == 1) return true;
    elaborate_error(c->e, c->arg[i].at, "the %s side of '->' is one axis here, not %u", side,
                    set->count);
    return false;
}

static Datum rename_one(BuiltinCall *c, uint32_t i, Datum x) {
    Elaboration *e = c->e;
    AxisSet from = {0};
    AxisId to = {0};
    const DatumArrow *arrow = read_arrow(c, i, x, &from);
    if (arrow == NULL || !one_axis(c, i, &from, "left")) return POISON;
    if (arrow->to.kind == DATUM_NEW_NAME) {
        to = axis_role(e, arrow->to.string, from.items[0], c->arg[i].at);
        scope_bind(e->arena, e->scope, arrow->to.string, datum_axis(to), c->arg[i].at);
    } else if (!want_axis(e, (Operand){arrow->to, c->arg[i].at}, "the right side of '->'",
                          &to)) {
        return POISON;
    }
    if (!extents_match(e, from.items[0], to)) {
        Str left = elaborate_describe(e, datum_axis(from.items[0]));
        Str right = elaborate_describe(e, datum_axis(to));
        const char *how = extent_known(e, from.items[0]) && extent_known(e, to)
                              ? "have different extents"
                              : "need not have the same extent";
        elaborate_error(e, c->arg[i].at, "%.*s and %.*s %s", STR_ARG(left), STR_ARG(right),
                        how);
        axis_note(e, from.items[0]);
        axis_note(e, to);
        return POISON;
    }
    if (from.items[0].i == to.i) return x;
    if (!axis_is_free(c, x, to, i)) return POISON;
    return emit_rename(e, x, from.items[0], to, c->span);
}

static Datum map_all(BuiltinCall *c, Datum (*one)(BuiltinCall *c, uint32_t i, Datum x)) {
    ValueId v = {0};
    if (!call_tensor(c, 0, &v)) return POISON;
    Datum x = datum_tensor(v);
    for (uint32_t i = 1; i < c->count && x.kind == DATUM_TENSOR; i++)
        x = one(c, i, x);
    return x;
}

Datum builtin_rename(BuiltinCall *c) { return map_all(c, rename_one); }

// The extents of the axes, multiplied; -1 after an error.
static int64_t product_of(BuiltinCall *c, const AxisSet *set, Span at) {
    double product = 1;
    int64_t out = -1;
    for (uint32_t k = 0; k < set->count; k++) {
        double extent = 0;
        if (!want_number(c->e, (Operand){datum_axis(set->items[k]), at}, "an extent", &extent))
            return -1;
        product *= extent;
    }
    return extent_check(c->e, product, at, &out) ? out : -1;
}

static Datum merge_one(BuiltinCall *c, uint32_t i, Datum x) {
    Elaboration *e = c->e;
    AxisSet from = {0};
    AxisId to = {0};
    const DatumArrow *arrow = read_arrow(c, i, x, &from);
    if (arrow == NULL) return POISON;
    if (from.count == 0)
        return elaborate_error(e, c->arg[i].at, "merge needs an axis on the left of '->'");
    int64_t extent = product_of(c, &from, c->arg[i].at);
    if (extent < 0 || !call_new_axis(c, (Operand){arrow->to, c->arg[i].at}, extent, &to))
        return POISON;
    if (from.count == 1 && from.items[0].i == to.i) return x;
    if (!axis_is_free(c, x, to, i)) return POISON;
    GraphAttr attr = {
        .along = from.items, .along_count = (uint8_t)from.count, .to = &to, .to_count = 1};
    return emit(e, operation(OP_MERGE, c->span), &x.tensor, 1, &attr);
}

Datum builtin_merge(BuiltinCall *c) { return map_all(c, merge_one); }

// The right side of a split: axes in scope; their product must be the extent that is split.
static bool split_targets(BuiltinCall *c, uint32_t i, Datum to, AxisId from, AxisSet *out) {
    Elaboration *e = c->e;
    double extent = 0;
    if (!want_axes(e, (Operand){to, c->arg[i].at}, "the right side of '->'", out)) return false;
    if (!want_number(e, (Operand){datum_axis(from), c->arg[i].at}, "an extent", &extent))
        return false;
    int64_t product = product_of(c, out, c->arg[i].at);
    if (product < 0) return false;
    if ((double)product == extent && out->count > 0) return true;
    elaborate_error(e, c->arg[i].at,
                    "axis %.*s has extent %.0f, the axes it is split into have %lld together",
                    STR_ARG(axis_name(c, from)), extent, (long long)product);
    axis_note(e, from);
    return false;
}

static Datum split_one(BuiltinCall *c, uint32_t i, Datum x) {
    AxisSet from = {0}, to = {0};
    const DatumArrow *arrow = read_arrow(c, i, x, &from);
    if (arrow == NULL || !one_axis(c, i, &from, "left")) return POISON;
    if (!split_targets(c, i, arrow->to, from.items[0], &to)) return POISON;
    if (to.count == 1 && to.items[0].i == from.items[0].i) return x;
    for (uint32_t k = 0; k < to.count; k++) {
        if (!axis_is_free(c, x, to.items[k], i)) return POISON;
    }
    GraphAttr attr = {
        .along = from.items, .along_count = 1, .to = to.items, .to_count = (uint8_t)to.count};
    return emit(c->e, operation(OP_SPLIT, c->span), &x.tensor, 1, &attr);
}

Datum builtin_split(BuiltinCall *c) { return map_all(c, split_one); }

Datum builtin_slice(BuiltinCall *c) {
    Elaboration *e = c->e;
    ValueId v = {0};
    AxisSet from = {0};
    AxisId to = {0};
    int64_t first = 0;
    if (!call_tensor(c, 0, &v)) return POISON;
    const DatumArrow *arrow = read_arrow(c, 1, datum_tensor(v), &from);
    if (arrow == NULL || !one_axis(c, 1, &from, "left")) return POISON;
    if (!want_axis(e, (Operand){arrow->to, c->arg[1].at}, "the right side of '->'", &to))
        return POISON;
    if (call_given(c, 2) && !want_integer(e, c->arg[2], call_arg_text(c, 2), &first))
        return POISON;
    double large = 0, small = 0;
    if (!want_number(e, (Operand){datum_axis(from.items[0]), c->arg[1].at}, "an extent",
                     &large) ||
        !want_number(e, (Operand){datum_axis(to), c->arg[1].at}, "an extent", &small)) {
        return POISON;
    }
    if (first < 0 || (double)first + small > large) {
        return elaborate_error(e, c->arg[1].at,
                               "elements %lld .. %.0f are outside axis %.*s of extent %.0f",
                               (long long)first, (double)first + small,
                               STR_ARG(axis_name(c, from.items[0])), large);
    }
    if (!axis_is_free(c, datum_tensor(v), to, 1)) return POISON;
    GraphAttr attr = {
        .along = from.items, .along_count = 1, .to = &to, .to_count = 1, .amount = first};
    return emit(e, operation(OP_SLICE, c->span), &v, 1, &attr);
}

// ---- along one axis

static Datum move_along(BuiltinCall *c, GraphOp op, int64_t fallback) {
    AxisId axis = {0};
    ValueId v = {0};
    int64_t amount = fallback;
    if (!call_tensor(c, 0, &v) || !call_axis(c, 1, &axis) || !call_has_axis(c, 0, axis, 1))
        return POISON;
    if (call_given(c, 2) && !want_integer(c->e, c->arg[2], call_arg_text(c, 2), &amount))
        return POISON;
    return emit_along(c->e, operation(op, c->span), datum_tensor(v), axis, amount);
}

Datum builtin_shift(BuiltinCall *c) { return move_along(c, OP_SHIFT, 1); }
Datum builtin_roll(BuiltinCall *c) { return move_along(c, OP_ROLL, 0); }

Datum builtin_window(BuiltinCall *c) {
    AxisId axis = {0}, taps = {0};
    ValueId v = {0};
    if (!call_tensor(c, 0, &v) || !call_axis(c, 1, &axis) || !call_axis(c, 2, &taps))
        return POISON;
    if (!call_has_axis(c, 0, axis, 1) || !axis_is_free(c, datum_tensor(v), taps, 2))
        return POISON;
    GraphAttr attr = {.along = &axis, .along_count = 1, .to = &taps, .to_count = 1};
    return emit(c->e, operation(OP_WINDOW, c->span), &v, 1, &attr);
}

// ---- stack and concat

static bool same_axes(const Graph *g, ValueId a, ValueId b) {
    const Value *x = graph_value(g, a), *y = graph_value(g, b);
    bool same = x->rank == y->rank;
    for (uint32_t i = 0; i < x->rank && same; i++)
        same = graph_has_axis(y, x->axes[i]);
    return same;
}

// The elements of a list with its numbers as tensors: of integers, if all of them are whole.
static Datum *stack_items(BuiltinCall *c, const DatumList *list) {
    Graph *g = c->e->graph;
    bool whole = true;
    for (uint32_t i = 0; i < list->count; i++)
        whole &= list->items[i].kind != DATUM_NUMBER || datum_is_int32(list->items[i]);
    Datum *items = arena_array(c->e->arena, Datum, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        items[i] = list->items[i];
        if (items[i].kind != DATUM_NUMBER) continue;
        double x = items[i].number;
        items[i] = datum_tensor(whole ? graph_const_i32(g, (int64_t)x, c->arg[0].at)
                                      : graph_const(g, x, c->arg[0].at));
    }
    return items;
}

static bool stack_element(BuiltinCall *c, uint32_t i, Datum first, Datum item, ValueId *out) {
    Elaboration *e = c->e;
    if (item.kind != DATUM_TENSOR) {
        Str is = elaborate_describe(e, item);
        elaborate_error(e, c->arg[0].at, "stack needs tensors or numbers, element %u is %.*s",
                        i, STR_ARG(is));
        return false;
    }
    if (!same_axes(e->graph, item.tensor, first.tensor)) {
        Str a = elaborate_describe(e, first), b = elaborate_describe(e, item);
        elaborate_error(e, c->arg[0].at, "the elements of the list have different axes");
        diag_note(e->diag, c->arg[0].at, "element 0 is %.*s", STR_ARG(a));
        diag_note(e->diag, c->arg[0].at, "element %u is %.*s", i, STR_ARG(b));
        return false;
    }
    const Value *shape = graph_value(e->graph, first.tensor);
    Datum ordered = emit_order(e, item, shape->axes, shape->rank, c->span);
    if (shape->type != graph_value(e->graph, item.tensor)->type) {
        ordered = emit_cast(e, ordered, graph_value(e->graph, first.tensor)->type, c->span);
    }
    if (ordered.kind == DATUM_TENSOR) *out = ordered.tensor;
    return ordered.kind == DATUM_TENSOR;
}

Datum builtin_stack(BuiltinCall *c) {
    Elaboration *e = c->e;
    if (c->arg[0].v.kind != DATUM_LIST || c->arg[0].v.list->count == 0) {
        Str is = elaborate_describe(e, c->arg[0].v);
        return elaborate_error(e, c->arg[0].at,
                               "stack needs a list with at least one tensor, this is %.*s",
                               STR_ARG(is));
    }
    const DatumList *list = c->arg[0].v.list;
    AxisId axis = {0};
    if (!call_new_axis(c, c->arg[1], list->count, &axis)) return POISON;
    ValueId *in = arena_array(e->arena, ValueId, list->count);
    Datum *items = stack_items(c, list);
    for (uint32_t i = 0; i < list->count; i++) {
        Datum first = items[0].kind == DATUM_TENSOR ? items[0] : items[i];
        if (!stack_element(c, i, first, items[i], &in[i])) return POISON;
    }
    if (!axis_is_free(c, datum_tensor(in[0]), axis, 1)) return POISON;
    return emit(e, operation(OP_STACK, c->span), in, list->count,
                &(GraphAttr){.to = &axis, .to_count = 1});
}

// The one axis of x that y lacks; {0} if there is not exactly one.
static AxisId single_difference(const Graph *g, ValueId x, ValueId y) {
    const Value *a = graph_value(g, x), *b = graph_value(g, y);
    AxisId found = {0};
    for (uint32_t i = 0; i < a->rank; i++) {
        if (graph_has_axis(b, a->axes[i])) continue;
        if (found.i != 0) return (AxisId){0};
        found = a->axes[i];
    }
    return found;
}

// Which axis of each operand is joined: the two that differ, or what is left of an arrow.
static bool concat_axes(BuiltinCall *c, const ValueId in[2], AxisId along[2], Datum *to) {
    Elaboration *e = c->e;
    *to = c->arg[2].v;
    if (to->kind == DATUM_ARROW) {
        AxisSet from = {0};
        *to = c->arg[2].v.arrow->to;
        if (!want_axes(e, (Operand){c->arg[2].v.arrow->from, c->arg[2].at},
                       "the left side of '->'", &from)) {
            return false;
        }
        if (from.count < 1 || from.count > 2) return one_axis(c, 2, &from, "left");
        along[0] = from.items[0];
        along[1] = from.items[from.count - 1];
    } else {
        along[0] = single_difference(e->graph, in[0], in[1]);
        along[1] = single_difference(e->graph, in[1], in[0]);
    }
    if (along[0].i != 0 && along[1].i != 0) {
        return call_has_axis(c, 0, along[0], 2) && call_has_axis(c, 1, along[1], 2);
    }
    Str a = elaborate_describe(e, datum_tensor(in[0])),
        b = elaborate_describe(e, datum_tensor(in[1]));
    elaborate_error(e, c->span,
                    "which axes to join is not clear: concat(a, b, n -> m) says it");
    diag_note(e->diag, c->arg[0].at, "one side is %.*s", STR_ARG(a));
    diag_note(e->diag, c->arg[1].at, "the other is %.*s", STR_ARG(b));
    return false;
}

// b in the order of a, with along[1] where a has along[0].
static Datum concat_second(BuiltinCall *c, const ValueId in[2], const AxisId along[2]) {
    Elaboration *e = c->e;
    const Value *a = graph_value(e->graph, in[0]), *b = graph_value(e->graph, in[1]);
    AxisId order[GRAPH_MAX_RANK];
    bool same = a->rank == b->rank;
    for (uint32_t i = 0; i < a->rank && same; i++) {
        order[i] = a->axes[i].i == along[0].i ? along[1] : a->axes[i];
        same = graph_has_axis(b, order[i]);
    }
    if (same) return emit_order(e, datum_tensor(in[1]), order, a->rank, c->span);
    Str x = elaborate_describe(e, datum_tensor(in[0])),
        y = elaborate_describe(e, datum_tensor(in[1]));
    elaborate_error(e, c->span, "the operands of concat differ in more than the joined axis");
    diag_note(e->diag, c->arg[0].at, "one side is %.*s", STR_ARG(x));
    diag_note(e->diag, c->arg[1].at, "the other is %.*s", STR_ARG(y));
    return POISON;
}

Datum builtin_concat(BuiltinCall *c) {
    Elaboration *e = c->e;
    ValueId in[2] = {{0}};
    AxisId along[2] = {{0}}, to = {0};
    Datum named = POISON;
    if (!call_tensor(c, 0, &in[0]) || !call_tensor(c, 1, &in[1])) return POISON;
    if (!concat_axes(c, in, along, &named)) return POISON;
    double x = 0, y = 0;
    if (!want_number(e, (Operand){datum_axis(along[0]), c->span}, "an extent", &x))
        return POISON;
    if (!want_number(e, (Operand){datum_axis(along[1]), c->span}, "an extent", &y))
        return POISON;
    if (!call_new_axis(c, (Operand){named, c->arg[2].at}, (int64_t)(x + y), &to)) return POISON;
    if (!axis_is_free(c, datum_tensor(in[0]), to, 2) ||
        !axis_is_free(c, datum_tensor(in[1]), to, 2)) {
        return POISON;
    }
    Datum a = datum_tensor(in[0]), b = concat_second(c, in, along);
    if (b.kind != DATUM_TENSOR) return POISON;
    if (graph_value(e->graph, a.tensor)->type != graph_value(e->graph, b.tensor)->type) {
        a = emit_cast(e, a, DTYPE_F32, c->span);
        b = emit_cast(e, b, DTYPE_F32, c->span);
    }
    GraphAttr attr = {.along = along, .along_count = 2, .to = &to, .to_count = 1};
    return emit(e, operation(OP_CONCAT, c->span), (ValueId[]){a.tensor, b.tensor}, 2, &attr);
}

// ---- every pair, more axes, positions

Datum builtin_outer(BuiltinCall *c) {
    Elaboration *e = c->e;
    ValueId a = {0}, b = {0};
    if (!call_tensor(c, 0, &a) || !call_tensor(c, 1, &b)) return POISON;
    const Value *y = graph_value(e->graph, b);
    AxisSet more = {.count = y->rank};
    for (uint32_t i = 0; i < y->rank; i++)
        more.items[i] = y->axes[i];
    Operand wide = {emit_broadcast(e, datum_tensor(a), &more, c->span), c->arg[0].at};
    return elaborate_arithmetic(e, (Operator){OP_MUL, "outer", c->span}, wide,
                                (Operand){datum_tensor(b), c->arg[1].at});
}

Datum builtin_broadcast(BuiltinCall *c) {
    ValueId v = {0};
    AxisSet axes = {0};
    if (!call_tensor(c, 0, &v) || !call_axes(c, 1, &axes)) return POISON;
    return emit_broadcast(c->e, datum_tensor(v), &axes, c->span);
}

Datum builtin_one_hot(BuiltinCall *c) {
    Elaboration *e = c->e;
    ValueId index = {0};
    AxisId axis = {0};
    if (!call_tensor(c, 0, &index) || !call_axis(c, 1, &axis)) return POISON;
    if (graph_value(e->graph, index)->type != DTYPE_I32) {
        Str is = elaborate_describe(e, datum_tensor(index));
        return elaborate_error(e, c->arg[0].at, "one_hot needs integers, this is %.*s",
                               STR_ARG(is));
    }
    if (!axis_is_free(c, datum_tensor(index), axis, 1)) return POISON;
    AxisSet more = {.items = {axis}, .count = 1};
    Operand wide = {emit_broadcast(e, datum_tensor(index), &more, c->span), c->span};
    Operand all = {emit_iota(e, axis, c->span), c->span};
    Datum hit = elaborate_compare(e, AST_BINARY_EQ, c->span, wide, all);
    return emit_cast(e, hit, DTYPE_F32, c->span);
}

Datum builtin_position(BuiltinCall *c) {
    AxisId axis = {0};
    return call_axis(c, 0, &axis) ? emit_iota(c->e, axis, c->span) : POISON;
}

// ---- axes as values

Datum builtin_extent(BuiltinCall *c) {
    AxisSet axes = {0};
    if (!call_axes(c, 0, &axes)) return POISON;
    double product = 1;
    for (uint32_t i = 0; i < axes.count; i++) {
        double extent = 0;
        Operand axis = {datum_axis(axes.items[i]), c->arg[0].at};
        if (!want_number(c->e, axis, "an extent", &extent)) return POISON;
        product *= extent;
    }
    return datum_number(product);
}

// A new axis: of a given extent, or as long as some axes together, after whom it is named.
Datum builtin_axis(BuiltinCall *c) {
    Elaboration *e = c->e;
    if (c->arg[0].v.kind == DATUM_NUMBER) {
        int64_t extent = 0;
        if (!extent_check(e, c->arg[0].v.number, c->arg[0].at, &extent)) return POISON;
        return datum_axis(axis_declare(e, STR("axis"), extent, c->span));
    }
    AxisSet axes = {0};
    if (!call_axes(c, 0, &axes)) return POISON;
    int64_t extent = product_of(c, &axes, c->arg[0].at);
    if (extent < 0) return POISON;
    Str name = axes.count > 0 ? axis_name(c, axes.items[0]) : STR("one");
    for (uint32_t i = 1; i < axes.count; i++) {
        name = str_printf(e->arena, "%.*s_%.*s", STR_ARG(name),
                          STR_ARG(axis_name(c, axes.items[i])));
    }
    return datum_axis(axis_declare(e, name, extent, c->span));
}

Datum builtin_axes(BuiltinCall *c) {
    ValueId v = {0};
    if (!call_tensor(c, 0, &v)) return POISON;
    const Value *x = graph_value(c->e->graph, v);
    return datum_axes(c->e->arena, x->axes, x->rank);
}
