// evaluate_move.c: reference of operations that put elements elsewhere. All are copies of
// boxes: a loop nest over the box, a stride for each of its axes in the operand and in the
// result, and where each begins.
#include <string.h>

#include "base/check.h"
#include "ir/graph/evaluate_step.h"

enum { BOX_X, BOX_R };

static void box_copy(const Nest *n, const double *x, double *r) {
    uint32_t last = n->rank - 1;
    NestCursor c = nest_begin(n);
    do {
        for (int64_t i = 0; i < n->extent[last]; i++)
            r[c.offset[BOX_R] + i * n->stride[BOX_R][last]] =
                x[c.offset[BOX_X] + i * n->stride[BOX_X][last]];
    } while (nest_next(n, &c));
}

static void box_add(const Nest *n, const double *x, double *r) {
    uint32_t last = n->rank - 1;
    NestCursor c = nest_begin(n);
    do {
        for (int64_t i = 0; i < n->extent[last]; i++)
            r[c.offset[BOX_R] + i * n->stride[BOX_R][last]] +=
                x[c.offset[BOX_X] + i * n->stride[BOX_X][last]];
    } while (nest_next(n, &c));
}

static uint32_t box_axis(const Nest *n, AxisId a) {
    for (uint32_t i = 0; i < n->rank; i++)
        if (n->axis[i].i == a.i) return i;
    BUG("axis is not in the nest");
}

// The nest over the axes of operand k, or over those of the result.
static void box_init(Nest *n, const EvaluateStep *s, uint32_t k, bool over_result) {
    const Value *x = step_operand(s, k);
    nest_init(n, s->graph, over_result ? s->value : x, NULL, 0);
    nest_array(n, x);
    nest_array(n, s->value);
}

// Restricts a nest over x to r[i] = x[i + delta] along one of its axes, which r calls `to`.
// False if no element of x falls inside r.
static bool box_window(Nest *n, const Value *r, AxisId from, AxisId to, int64_t delta) {
    uint32_t at = box_axis(n, from);
    int64_t low = delta > 0 ? delta : 0, end = graph_extent(n->graph, to) + delta;
    if (end > n->extent[at]) end = n->extent[at];
    if (end <= low) return false;
    n->stride[BOX_R][at] = value_stride(n->graph, r, to);
    n->start[BOX_X] += low * n->stride[BOX_X][at];
    n->start[BOX_R] += (low - delta) * n->stride[BOX_R][at];
    n->extent[at] = end - low;
    return true;
}

// r[i] = x[i + delta] along `from` of operand k, which is `to` in r; elements outside either
// are left alone.
static void move_window(const EvaluateStep *s, uint32_t k, AxisId from, AxisId to,
                        int64_t delta) {
    Nest n;
    box_init(&n, s, k, false);
    if (box_window(&n, s->value, from, to, delta)) box_copy(&n, s->in[k], s->out);
}

// An axis that is one in `joined` and several, row-major, in `parts`.
static void move_regroup(const EvaluateStep *s, const AxisId *parts, uint32_t count,
                         AxisId joined) {
    bool split = s->value->op == OP_SPLIT;
    Nest n;
    box_init(&n, s, 0, split);
    uint32_t array = split ? BOX_X : BOX_R;
    int64_t stride = value_stride(s->graph, split ? step_operand(s, 0) : s->value, joined);
    for (uint32_t i = count; i-- > 0;) {
        uint32_t at = box_axis(&n, parts[i]);
        n.stride[array][at] = stride;
        stride *= n.extent[at];
    }
    box_copy(&n, s->in[0], s->out);
}

// The operand fills the part of r at `index` of an axis that it lacks.
static void move_put(const EvaluateStep *s, uint32_t k, AxisId axis, int64_t index) {
    Nest n;
    box_init(&n, s, k, false);
    n.start[BOX_R] = index * value_stride(s->graph, s->value, axis);
    box_copy(&n, s->in[k], s->out);
}

static void move_take(const EvaluateStep *s, AxisId axis, int64_t index) {
    Nest n;
    box_init(&n, s, 0, true);
    n.start[BOX_X] = index * value_stride(s->graph, step_operand(s, 0), axis);
    box_copy(&n, s->in[0], s->out);
}

static void move_roll(const EvaluateStep *s) {
    AxisId axis = s->value->attr.along[0];
    int64_t n = graph_extent(s->graph, axis), amount = s->value->attr.amount % n;
    if (amount < 0) amount += n;
    move_window(s, 0, axis, axis, amount);
    move_window(s, 0, axis, axis, amount - n);
}

// r[t, k] = x[t - (K - 1) + k]
static void move_taps(const EvaluateStep *s) {
    AxisId axis = s->value->attr.along[0], taps = s->value->attr.to[0];
    int64_t count = graph_extent(s->graph, taps);
    for (int64_t k = 0; k < count; k++) {
        Nest n;
        box_init(&n, s, 0, false);
        n.start[BOX_R] = k * value_stride(s->graph, s->value, taps);
        if (box_window(&n, s->value, axis, axis, k - (count - 1)))
            box_copy(&n, s->in[0], s->out);
    }
}

static void move_concat(const EvaluateStep *s) {
    const GraphAttr *attr = &s->value->attr;
    int64_t offset = 0;
    for (uint32_t k = 0; k < s->value->arity; k++) {
        move_window(s, k, attr->along[k], attr->to[0], -offset);
        offset += graph_extent(s->graph, attr->along[k]);
    }
}

static void move_same_axes(const EvaluateStep *s) {
    Nest n;
    box_init(&n, s, 0, true);
    box_copy(&n, s->in[0], s->out);
}

void evaluate_move(const EvaluateStep *s) {
    const Value *v = s->value;
    const GraphAttr *attr = &v->attr;
    switch ((int)v->op) {
    case OP_BROADCAST:
    case OP_TRANSPOSE: move_same_axes(s); return;
    case OP_RENAME: move_window(s, 0, attr->along[0], attr->to[0], 0); return;
    case OP_SPLIT: move_regroup(s, attr->to, attr->to_count, attr->along[0]); return;
    case OP_MERGE: move_regroup(s, attr->along, attr->along_count, attr->to[0]); return;
    case OP_SLICE: move_window(s, 0, attr->along[0], attr->to[0], attr->amount); return;
    case OP_PAD: move_window(s, 0, attr->along[0], attr->to[0], -attr->amount); return;
    case OP_TAKE: move_take(s, attr->along[0], attr->amount); return;
    case OP_PUT: move_put(s, 0, attr->to[0], attr->amount); return;
    case OP_ROLL: move_roll(s); return;
    case OP_SHIFT: move_window(s, 0, attr->along[0], attr->along[0], -attr->amount); return;
    case OP_WINDOW: move_taps(s); return;
    case OP_CONCAT: move_concat(s); return;
    case OP_STACK:
        for (uint32_t k = 0; k < v->arity; k++)
            move_put(s, k, attr->to[0], k);
        return;
    default: BUG("'%s' is not a movement", op_text(v->op));
    }
}

// r[t] = sum over k of x[t + (K - 1) - k, k]
void evaluate_unwindow(const EvaluateStep *s) {
    AxisId axis = s->value->attr.along[0], taps = s->value->attr.along[1];
    const Value *x = step_operand(s, 0);
    int64_t count = graph_extent(s->graph, taps);
    for (int64_t k = 0; k < count; k++) {
        Nest n;
        box_init(&n, s, 0, true);
        n.start[BOX_X] = k * value_stride(s->graph, x, taps);
        if (box_window(&n, s->value, axis, axis, count - 1 - k)) box_add(&n, s->in[0], s->out);
    }
}
