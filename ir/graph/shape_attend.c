// shape_attend.c: operands and axes of attention and its gradients.
#include "base/check.h"
#include "ir/graph/attend.h"
#include "ir/graph/shape_step.h"

// ---- operands

uint32_t attend_needs(GraphOp op) { return op == OP_ATTEND_LSE ? 2 : op == OP_ATTEND ? 3 : 6; }

// The one axis of v that k has not, or that k is contracted over; {0} if there are others.
AxisId attend_value_axis(const Value *k, const Value *v, AxisId width) {
    AxisId own = {0};
    for (uint32_t i = 0; i < v->rank; i++) {
        if (graph_has_axis(k, v->axes[i]) && v->axes[i].i != width.i) continue;
        if (own.i) return (AxisId){0};
        own = v->axes[i];
    }
    return own;
}

// Optional operands tell themselves apart by their number: 1 start, 2 segments, 3 both.
static AttendOperands read_operands(GraphOp op, const ValueId *in, uint32_t arity,
                                    const AxisId *along) {
    AttendOperands a = {.q = in[0], .k = in[1]};
    ValueId *needed[] = {&a.q, &a.k, &a.v, &a.gradient, &a.lse, &a.delta};
    uint32_t at = attend_needs(op), more = arity - at;
    for (uint32_t i = 0; i < at; i++)
        *needed[i] = in[i];
    if (more & 1) a.start = in[at++];
    if (more & 2) {
        a.query_segment = in[at];
        a.key_segment = in[at + 1];
    }
    a.width = along[0];
    a.query = along[1];
    a.key = along[2];
    return a;
}

AttendOperands attend_operands(const Graph *g, const Value *v) {
    AttendOperands a = read_operands(v->op, v->in, v->arity, v->attr.along);
    if (a.v.i) a.values = attend_value_axis(graph_value(g, a.k), graph_value(g, a.v), a.width);
    return a;
}

double attend_pairs(const Graph *g, const Value *v) {
    AttendOperands a = attend_operands(g, v);
    int64_t queries = graph_extent(g, a.query), keys = graph_extent(g, a.key);
    if (!a.start.i) return band_pairs(&v->attr.band, queries, keys);
    return band_pairs_anywhere(&v->attr.band, queries, keys);
}

// ---- rules

static const char *need_float(const ShapeQuery *q, const Value *x) {
    return x->type == DTYPE_BF16 ? NULL : need_type(q, x, DTYPE_F32);
}

static const char *need_band(const ShapeQuery *q) {
    const int64_t most = (int64_t)1 << 40;
    const Band *band = &q->attr.band;
    bool lo = band->lo == BAND_LEAST || (band->lo >= -most && band->lo <= most);
    bool hi = band->hi == BAND_MOST || (band->hi >= -most && band->hi <= most);
    return lo && hi && band->lo <= band->hi ? NULL
                                            : shape_violation(q, "the band has no sense");
}

// q has d and t, k has d and s, and q every other axis of k.
static const char *need_keys(const ShapeQuery *q, const Value *queries, const Value *keys) {
    const AxisId *along = q->attr.along;
    const char *why = need_counts(q, 3, 0);
    if (!why) why = need_distinct(q, along, 3, "along");
    if (!why) why = need_axes(q, queries, along, 2);
    if (!why) why = need_axes(q, keys, &along[0], 1);
    if (!why) why = need_axes(q, keys, &along[2], 1);
    if (!why) why = need_new(q, queries, &along[2], 1);
    if (!why) why = need_new(q, keys, &along[1], 1);
    if (!why) why = need_float(q, queries);
    if (!why) why = need_float(q, keys);
    for (uint32_t i = 0; i < keys->rank && !why; i++)
        if (keys->axes[i].i != along[2].i) why = need_axes(q, queries, &keys->axes[i], 1);
    return why ? why : need_band(q);
}

static const char *need_values(const ShapeQuery *q, const Value *queries, const Value *keys,
                               const Value *values, AxisId *own) {
    const char *why = need_float(q, values);
    *own = attend_value_axis(keys, values, q->attr.along[0]);
    if (why) return why;
    if (own->i == 0 || values->rank != keys->rank || graph_has_axis(queries, *own))
        return shape_violation(q, "%s does not have the axes of %s with one of its own",
                               shape_text(q, values), shape_text(q, keys));
    return need_axes(q, values, &q->attr.along[2], 1);
}

static const char *need_exactly(const ShapeQuery *q, const Value *x, const AxisId *axes,
                                uint32_t rank) {
    bool same = x->rank == rank;
    for (uint32_t i = 0; i < rank && same; i++)
        same = x->axes[i].i == axes[i].i;
    return same ? need_float(q, x) : shape_violation(q, "%s has other axes", shape_text(q, x));
}

// Whole numbers, at `point` if that is not {0}; other axes are those of `of` but d and `not`.
static const char *need_whole(const ShapeQuery *q, ValueId v, AxisId point, const Value *of) {
    const Value *x = graph_value(q->g, v);
    const AxisId *along = q->attr.along;
    const char *why = need_type(q, x, DTYPE_I32);
    if (!why && point.i) why = need_axes(q, x, &point, 1);
    for (uint32_t i = 0; i < x->rank && !why; i++) {
        why = need_axes(q, of, &x->axes[i], 1);
        if (!why && (x->axes[i].i == along[0].i || axis_in(&along[1], 2, x->axes[i])) &&
            x->axes[i].i != point.i)
            why = shape_violation(q, "%s has an axis that positions and segments lack",
                                  shape_text(q, x));
    }
    return why;
}

static const char *need_optional(const ShapeQuery *q, const AttendOperands *a) {
    const Value *queries = graph_value(q->g, a->q), *keys = graph_value(q->g, a->k);
    const char *why = NULL;
    if (a->start.i) why = need_whole(q, a->start, (AxisId){0}, keys);
    if (why || !a->query_segment.i) return why;
    why = need_whole(q, a->query_segment, a->query, queries);
    return why ? why : need_whole(q, a->key_segment, a->key, keys);
}

const char *shape_attend(ShapeQuery *q) {
    uint32_t needs = attend_needs(q->op);
    if (q->arity < needs || q->arity > needs + 3)
        return shape_violation(q, "'%s' takes %u to %u operands, got %u", op_text(q->op), needs,
                               needs + 3, q->arity);
    const char *why = need_keys(q, graph_value(q->g, q->in[0]), graph_value(q->g, q->in[1]));
    if (why) return why;
    AttendOperands a = read_operands(q->op, q->in, q->arity, q->attr.along);
    const Value *queries = graph_value(q->g, a.q), *keys = graph_value(q->g, a.k);
    AxisId rows[GRAPH_MAX_RANK], own = {0};
    uint8_t count = 0;
    for (uint32_t i = 0; i < queries->rank; i++)
        if (queries->axes[i].i != a.width.i) rows[count++] = queries->axes[i];
    if (a.v.i) why = need_values(q, queries, keys, graph_value(q->g, a.v), &own);
    if (!why && a.lse.i) why = need_exactly(q, graph_value(q->g, a.lse), rows, count);
    if (!why && a.delta.i) why = need_exactly(q, graph_value(q->g, a.delta), rows, count);
    if (!why) why = need_optional(q, &a);
    if (why) return why;
    if (a.v.i) rows[count++] = own;
    if (a.gradient.i) {
        take_shape(q, graph_value(q->g, q->in[q->op - OP_ATTEND_DQ]));
        why = need_exactly(q, graph_value(q->g, a.gradient), rows, count);
    } else {
        memcpy(q->axes, rows, sizeof rows);
        q->rank = count;
    }
    q->type = DTYPE_F32;
    return why;
}
