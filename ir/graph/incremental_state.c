// incremental_state.c: operations that look back, as a state that the positions before the
// chunk have left, and its update.
#include <math.h>

#include "ir/graph/attend.h"
#include "ir/graph/incremental.h"

enum {
    MOST = GRAPH_MAX_RANK + 1,
    FEW = 8,  // positions before one that are values of their own
};

static ValueId add2(Incremental *p, GraphOp op, ValueId x, ValueId y, Span span) {
    return graph_binary(p->to, op, x, y, span);
}

static ValueId iota(Incremental *p, AxisId axis, Span span) {
    return graph_add(p->to, OP_IOTA, (Operands){0},
                     (GraphAttr){.along = &axis, .along_count = 1}, span);
}

static ValueId where(Incremental *p, ValueId condition, ValueId x, ValueId y, Span span) {
    return graph_add(p->to, OP_WHERE, (Operands){(ValueId[]){condition, x, y}, 3},
                     (GraphAttr){0}, span);
}

static ValueId like(Incremental *p, ValueId x, ValueId shape, Span span) {
    const Value *v = graph_value(p->to, shape);
    return incremental_shaped(p, x, v->axes, v->rank, span);
}

ValueId incremental_by_rows(Incremental *p, ValueId x, Span span) {
    const Value *v = graph_value(p->to, x);
    AxisId axes[MOST] = {p->rows};
    if (graph_has_axis(v, p->rows)) return x;
    for (uint32_t i = 0; i < v->rank; i++)
        axes[i + 1] = v->axes[i];
    return incremental_shaped(p, x, axes, v->rank + 1U, span);
}

ValueId incremental_state_leaf(Incremental *p, Leaf leaf, const char *what) {
    leaf.kind = OP_STATE;
    leaf.path =
        str_printf(&p->scratch, "%.*s%u.%s", STR_ARG(p->request->states), p->states++, what);
    return graph_leaf(p->to, &leaf);
}

// v's axes with `to` for `from`. Returns the rank.
static uint32_t axes_with(const Value *v, AxisId from, AxisId to, AxisId axes[MOST]) {
    for (uint32_t i = 0; i < v->rank; i++)
        axes[i] = v->axes[i].i == from.i ? to : v->axes[i];
    return v->rank;
}

void incremental_update(Incremental *p, ValueId state, ValueId value) {
    graph_update(p->to, graph_value(p->to, state)->attr.leaf, value);
}

// ---- attention
//
// Keys and values of all positions are kept; those of the chunk are put in their places. A
// query at position i sees what is kept at i - hi .. i - lo: what lies there is older than it,
// so nothing needs to be cleared for a new sequence.

// Is v a part of what is kept already?
static bool is_part(const Incremental *p, const Value *v, AxisId keys) {
    bool part = v->op == OP_SLICE || v->op == OP_RENAME;
    return part && v->attr.along[0].i != keys.i && p->kept[v->in[0].i].i;
}

// The axis just before the last one.
static ValueId rows_last(Incremental *p, ValueId x, AxisId axis, Span span) {
    const Value *v = graph_value(p->to, x);
    AxisId axes[MOST];
    uint32_t n = 0, last = v->rank - 1U;
    for (uint32_t i = 0; i < last; i++)
        if (v->axes[i].i != axis.i) axes[n++] = v->axes[i];
    if (n == last) return x;  // it is the last itself
    axes[n] = axis;
    axes[last] = v->axes[last];
    return incremental_shaped(p, x, axes, v->rank, span);
}

// Numbers are kept as what is in memory elsewhere, segments as they are.
static ValueId as_kept(Incremental *p, ValueId x, Span span) {
    bool rounds =
        p->request->cache == DTYPE_BF16 && dtype_is_float(graph_value(p->to, x)->type);
    return rounds ? graph_cast(p->to, x, DTYPE_BF16, span) : x;
}

// Operand v of an attention, its axis `keys` now p->context.
static ValueId cached(Incremental *p, ValueId v, AxisId keys, const char *what) {
    if (p->kept[v.i].i) return p->kept[v.i];
    const Value *old = graph_value(p->g, v);
    if (is_part(p, old, keys)) {
        ValueId whole = p->kept[old->in[0].i];
        return p->kept[v.i] =
                   graph_add(p->to, old->op, (Operands){&whole, 1}, old->attr, old->span);
    }
    Span span = old->span;
    ValueId x = incremental_by_rows(p, incremental_use(p, v), span);
    x = as_kept(p, x, span);
    // Each head's rows follow each other, so that they are read as one.
    x = rows_last(p, x, keys, span);
    AxisId axes[MOST];
    uint8_t rank = (uint8_t)axes_with(graph_value(p->to, x), keys, p->context, axes);
    ValueId state = incremental_state_leaf(
        p,
        (Leaf){.type = graph_value(p->to, x)->type, .rank = rank, .axes = axes, .span = span},
        what);
    ValueId in[3] = {state, incremental_renamed(p, x, keys, p->time, span), p->slot};
    GraphAttr attr = {.along = &p->context, .along_count = 1};
    ValueId kept = graph_add(p->to, OP_PLACE, (Operands){in, 3}, attr, span);
    incremental_update(p, state, kept);
    p->kept[v.i] = kept;
    return kept;
}

// What is live of it.
static ValueId cut(Incremental *p, ValueId kept, Span span) {
    GraphAttr attr = {.along = &p->context, .along_count = 1, .to = &p->live, .to_count = 1};
    bool all = p->live.i == p->context.i;
    return all ? kept : graph_add(p->to, OP_SLICE, (Operands){&kept, 1}, attr, span);
}

// bool[rows, time, live]: may the query see the key?
static ValueId live(Incremental *p, const Band *band, Span span) {
    AxisId axes[3] = {p->rows, p->time, p->live};
    ValueId query = incremental_shaped(p, p->index, axes, 3, span),
            key = incremental_shaped(p, iota(p, p->live, span), axes, 3, span);
    ValueId back = add2(p, OP_SUB, query, key, span);
    ValueId least = like(p, graph_const_i32(p->to, band->lo, span), back, span);
    ValueId seen = add2(p, OP_LE, least, back, span);
    if (band->hi == BAND_MOST) return seen;
    ValueId most = like(p, graph_const_i32(p->to, band->hi, span), back, span);
    return add2(p, OP_AND, seen, add2(p, OP_LE, back, most, span), span);
}

static ValueId contracted(Incremental *p, ValueId x, ValueId y, AxisId along, Span span) {
    GraphAttr attr = {.along = &along, .along_count = 1};
    return graph_add(p->to, OP_CONTRACT, (Operands){(ValueId[]){x, y}, 2}, attr, span);
}

// The attention's operands in the graph of a chunk.
typedef struct {
    ValueId q, k, v;
    ValueId query_segment, key_segment;  // {0}: none
} ChunkOperands;

// bool with the axes of both: is the query of the key's segment?
static ValueId same_segment(Incremental *p, const ChunkOperands *in, ValueId scores,
                            Span span) {
    ValueId key = cut(p, in->key_segment, span);
    return add2(p, OP_EQ, like(p, in->query_segment, scores, span), like(p, key, scores, span),
                span);
}

// With its scores in memory, of all that is live.
static ValueId attend_in_steps(Incremental *p, const Value *v, const ChunkOperands *in) {
    AxisId width = v->attr.along[0];
    Span span = v->span;
    ValueId k = cut(p, in->k, span), values = cut(p, in->v, span);
    ValueId scores = contracted(p, in->q, k, width, span);
    ValueId scale = graph_const(p->to, v->attr.number, span);
    scores = add2(p, OP_MUL, scores, scale, span);
    ValueId never = like(p, graph_const(p->to, -HUGE_VAL, span), scores, span);
    ValueId seen = like(p, live(p, &v->attr.band, span), scores, span);
    if (in->key_segment.i)
        seen = add2(p, OP_AND, seen, same_segment(p, in, scores, span), span);
    GraphAttr along = {.along = &p->live, .along_count = 1};
    ValueId masked = where(p, seen, scores, never, span);
    ValueId weights = graph_add(p->to, OP_SOFTMAX, (Operands){&masked, 1}, along, span);
    // A query whose segment has no key gets 0.
    if (in->key_segment.i) weights = where(p, seen, weights, graph_const(p->to, 0, span), span);
    if (p->request->cache == DTYPE_BF16) weights = graph_cast(p->to, weights, DTYPE_BF16, span);
    return contracted(p, weights, values, p->live, span);
}

static ValueId attend_at_once(Incremental *p, const Value *v, const ChunkOperands *in) {
    AxisId along[3] = {v->attr.along[0], p->time, p->context};
    GraphAttr attr = v->attr;
    attr.along = along;
    ValueId all[] = {in->q, in->k, in->v, p->position, in->query_segment, in->key_segment};
    return graph_add(p->to, OP_ATTEND, (Operands){all, in->key_segment.i ? 6 : 4}, attr,
                     v->span);
}

static ValueId query_operand(Incremental *p, ValueId v, AxisId query, Span span) {
    ValueId x = incremental_by_rows(p, incremental_use(p, v), span);
    return as_kept(p, incremental_renamed(p, x, query, p->time, span), span);
}

static ChunkOperands chunk_operands(Incremental *p, const AttendOperands *a, Span span) {
    ChunkOperands in = {0};
    in.k = cached(p, a->k, a->key, "keys");
    in.v = cached(p, a->v, a->key, "values");
    in.q = query_operand(p, a->q, a->query, span);
    if (!a->key_segment.i) return in;
    in.key_segment = cached(p, a->key_segment, a->key, "segments");
    in.query_segment = query_operand(p, a->query_segment, a->query, span);
    return in;
}

// Are the values a part of the keys, or all of them?
static bool values_are_keys(const Incremental *p, const ChunkOperands *in) {
    const Value *v = graph_value(p->to, in->v);
    bool part = v->op == OP_SLICE || v->op == OP_RENAME;
    return in->v.i == in->k.i || (part && v->in[0].i == in->k.i);
}

ValueId incremental_attend(Incremental *p, const Value *v) {
    AttendOperands a = attend_operands(p->g, v);
    ChunkOperands in = chunk_operands(p, &a, v->span);
    const IncrementalRequest *most = p->request;
    int64_t values = graph_extent(p->g, a.values);
    int64_t kept = graph_extent(p->g, a.width) + (values_are_keys(p, &in) ? 0 : values);
    bool whole = kept <= most->attend_kept && values <= most->attend_values;
    ValueId mixed = whole ? attend_at_once(p, v, &in) : attend_in_steps(p, v, &in);
    return incremental_renamed(p, mixed, p->time, a.query, v->span);
}

// ---- shifts and windows
//
// The last positions before the chunk are kept, and stand in front of it: zeros where there
// were none. What is kept of both for the next chunk ends where the row's tokens end.

static ValueId zero_like(Incremental *p, ValueId x) {
    const Value *v = graph_value(p->to, x);
    return graph_add(p->to, OP_CONST, (Operands){0}, (GraphAttr){.type = v->type}, v->span);
}

// The state over `past`, zero before the sequence's first position.
static ValueId past_values(Incremental *p, ValueId state, AxisId past, Span span) {
    AxisId axes[2] = {p->rows, past};
    ValueId length = graph_const_i32(p->to, graph_extent(p->to, past), span),
            zero = graph_const_i32(p->to, 0, span);
    ValueId at = incremental_shaped(p, iota(p, past, span), axes, 2, span);
    at = add2(p, OP_SUB, add2(p, OP_ADD, at, p->position, span), length, span);
    ValueId exists = add2(p, OP_LE, like(p, zero, at, span), at, span);
    ValueId none = zero_like(p, state);
    return where(p, like(p, exists, state, span), state, like(p, none, state, span), span);
}

// Over `past` and then x's axes without `time`: what one position reads lies together.
static ValueId past_state(Incremental *p, ValueId x, AxisId time, AxisId past) {
    const Value *v = graph_value(p->to, x);
    AxisId axes[MOST] = {past};
    uint8_t rank = 1;
    for (uint32_t i = 0; i < v->rank; i++)
        if (v->axes[i].i != time.i) axes[rank++] = v->axes[i];
    Leaf leaf = {.type = v->type, .rank = rank, .axes = axes, .span = v->span};
    return incremental_state_leaf(p, leaf, "window");
}

// The values that a row's next chunk finds before it.
static ValueId next_past(Incremental *p, ValueId recent, AxisId line, AxisId past,
                         ValueId state) {
    Span span = graph_value(p->to, state)->span;
    AxisId axes[2] = {p->rows, past};
    ValueId at = incremental_shaped(p, iota(p, past, span), axes, 2, span);
    ValueId in[2] = {recent, add2(p, OP_ADD, at, p->count, span)};
    GraphAttr attr = {.along = &line, .along_count = 1};
    return like(p, graph_add(p->to, OP_GATHER, (Operands){in, 2}, attr, span), state, span);
}

// ---- one position after few others: each a value of its own, so that the kernel that sums
// them makes what is kept next as well

static ValueId taken(Incremental *p, ValueId x, AxisId along, int64_t at, Span span) {
    GraphAttr attr = {.along = &along, .along_count = 1, .amount = at};
    return graph_add(p->to, OP_TAKE, (Operands){&x, 1}, attr, span);
}

static ValueId stacked(Incremental *p, const ValueId *in, int64_t count, AxisId to, Span span) {
    GraphAttr attr = {.to = &to, .to_count = 1};
    return graph_add(p->to, OP_STACK, (Operands){in, (uint32_t)count}, attr, span);
}

// x if the number of its row is at least `least`, else y.
static ValueId if_row(Incremental *p, ValueId number, int64_t least, ValueId x, ValueId y) {
    Span span = graph_value(p->to, x)->span;
    ValueId bound = like(p, graph_const_i32(p->to, least, span), number, span);
    return where(p, like(p, add2(p, OP_LE, bound, number, span), x, span), x,
                 like(p, y, x, span), span);
}

// What is kept next, where the row has a token, are the values after the first: used in their
// place, so that one kernel makes both. Where it has none the result means nothing.
static ValueId one_position(Incremental *p, const Value *v, ValueId x, AxisId past,
                            ValueId state) {
    Span span = v->span;
    int64_t keep = graph_extent(p->to, past);
    ValueId old[FEW + 1], in[FEW + 1], none = zero_like(p, state);
    for (int64_t i = 0; i < keep; i++)
        old[i] = taken(p, state, past, i, span);
    old[keep] = taken(p, x, v->attr.along[0], 0, span);
    in[0] = old[0];
    for (int64_t i = 0; i < keep; i++)
        in[i + 1] = if_row(p, p->count, 1, old[i + 1], old[i]);
    incremental_update(p, state, like(p, stacked(p, in + 1, keep, past, span), state, span));
    for (int64_t i = 0; i < keep; i++)
        in[i] = if_row(p, p->position, keep - i, in[i], none);
    return v->op == OP_SHIFT ? in[0] : stacked(p, in, keep + 1, v->attr.to[0], span);
}

ValueId incremental_window(Incremental *p, const Value *v) {
    Span span = v->span;
    AxisId time = v->attr.along[0];
    bool taps = v->op == OP_WINDOW;
    int64_t keep = taps ? graph_extent(p->g, v->attr.to[0]) - 1 : v->attr.amount,
            chunk = p->chunk;
    ValueId x = incremental_by_rows(p, incremental_use(p, v->in[0]), span);
    if (keep == 0) return graph_add(p->to, v->op, (Operands){&x, 1}, v->attr, span);
    AxisId past = graph_axis(p->to, STR("past"), keep, false),
           line = graph_axis(p->to, STR("recent"), keep + chunk, false);
    ValueId state = past_state(p, x, time, past);
    if (chunk == 1 && keep <= FEW) return one_position(p, v, x, past, state);
    AxisId from[2] = {past, time}, axes[MOST];
    uint32_t rank = axes_with(graph_value(p->to, x), time, past, axes);
    GraphAttr join = {.along = from, .along_count = 2, .to = &line, .to_count = 1};
    ValueId before = past_values(p, state, past, span);
    ValueId in[2] = {incremental_shaped(p, before, axes, rank, span), x};
    ValueId recent = graph_add(p->to, OP_CONCAT, (Operands){in, 2}, join, span);
    incremental_update(p, state, next_past(p, recent, line, past, state));
    GraphAttr cut = {.along = &line, .along_count = 1, .to = &time, .to_count = 1};
    if (taps) {
        GraphAttr window = {.along = &line, .along_count = 1, .to = v->attr.to, .to_count = 1};
        recent = graph_add(p->to, OP_WINDOW, (Operands){&recent, 1}, window, span);
        cut.amount = keep;
    }
    return graph_add(p->to, OP_SLICE, (Operands){&recent, 1}, cut, span);
}
