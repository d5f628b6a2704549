// simplify_views.c: rewrites of movement. Two movements become one or none; repetition moves
// towards the results.
#include "base/check.h"
#include "ir/graph/grouped.h"
#include "ir/graph/shape_rules.h"
#include "ir/graph/simplify_rules.h"

static ValueId none(void) { return (ValueId){0}; }

static Value operand(const Simplifier *s, const Term *t) { return simplify_value(s, t->in[0]); }

static AxisId first_role(const Simplifier *s, AxisId a) {
    AxisId first = graph_axis_at(s->g, a)->same_as;
    return first.i ? first : a;
}

static bool extents_equal(const Simplifier *s, AxisId a, AxisId b) {
    int64_t x = graph_axis_at(s->g, a)->extent, y = graph_axis_at(s->g, b)->extent;
    return first_role(s, a).i == first_role(s, b).i || (x == y && x != EXTENT_UNKNOWN);
}

// ---- a movement that does nothing, or is a rename

// broadcast x to its own axes -> x;  broadcast (broadcast | transpose x) -> broadcast x
static ValueId broadcast_once(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (x.rank == t->rank) return t->in[0];
    if (x.op != OP_BROADCAST && x.op != OP_TRANSPOSE) return none();
    return simplify_move(s, t, OP_BROADCAST, x.in[0], t->attr);
}

// transpose x to its own order -> x;  transpose (broadcast | transpose x) -> broadcast |
// transpose x
static ValueId transpose_once(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (simplify_axes_equal(x.axes, x.rank, t->axes, t->rank)) return t->in[0];
    if (x.op != OP_BROADCAST && x.op != OP_TRANSPOSE) return none();
    return simplify_move(s, t, x.op, x.in[0], t->attr);
}

// rename x (a -> a) -> x;  rename (rename x (a -> b)) (b -> c) -> rename x (a -> c);  rename
// iota a -> iota b
static ValueId rename_once(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (t->attr.along[0].i == t->attr.to[0].i) return t->in[0];
    if (x.op == OP_IOTA) {
        Term iota = {
            .op = OP_IOTA, .attr = {.along = t->attr.to, .along_count = 1}, .span = t->span};
        return simplify_make(s, &iota);
    }
    if (x.op != OP_RENAME || x.attr.to[0].i != t->attr.along[0].i) return none();
    return simplify_rename(s, t, x.in[0], x.attr.along[0], t->attr.to[0]);
}

// slice or pad that keeps the extent -> rename
static ValueId window_is_whole(Simplifier *s, const Term *t) {
    if (t->attr.amount != 0 || !extents_equal(s, t->attr.along[0], t->attr.to[0]))
        return none();
    return simplify_rename(s, t, t->in[0], t->attr.along[0], t->attr.to[0]);
}

static ValueId split_is_rename(Simplifier *s, const Term *t) {
    if (t->attr.along_count != 1 || t->attr.to_count != 1) return none();
    return simplify_rename(s, t, t->in[0], t->attr.along[0], t->attr.to[0]);
}

// concat of one -> rename
static ValueId concat_is_rename(Simplifier *s, const Term *t) {
    if (t->arity != 1) return none();
    return simplify_rename(s, t, t->in[0], t->attr.along[0], t->attr.to[0]);
}

// roll or shift by 0 -> x;  roll (roll x) -> roll x
static ValueId roll_once(Simplifier *s, const Term *t) {
    if (t->attr.amount == 0) return t->in[0];
    Value x = operand(s, t);
    GraphAttr attr = t->attr;
    bool again = t->op == OP_ROLL && x.op == OP_ROLL && x.attr.along[0].i == attr.along[0].i;
    // Amounts of either sign that are beyond this cannot be added without a thought for
    // overflow.
    const int64_t limit = INT64_MAX / 4;
    if (!again || attr.amount > limit || attr.amount < -limit || x.attr.amount > limit ||
        x.attr.amount < -limit)
        return none();
    attr.amount += x.attr.amount;
    return simplify_move(s, t, OP_ROLL, x.in[0], attr);
}

// ---- a movement that undoes another

// merge (split x (d -> h, k)) (h, k -> e) -> rename x (d -> e)
static ValueId merge_of_split(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (x.op != OP_SPLIT) return none();
    if (!simplify_axes_equal(x.attr.to, x.attr.to_count, t->attr.along, t->attr.along_count))
        return none();
    return simplify_rename(s, t, x.in[0], x.attr.along[0], t->attr.to[0]);
}

// split (merge x (a, b -> c)) (c -> d, e) -> rename x, if a and d, b and e have equal extents
static ValueId split_of_merge(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (x.op != OP_MERGE || x.attr.to[0].i != t->attr.along[0].i ||
        x.attr.along_count != t->attr.to_count)
        return none();
    Value base = simplify_value(s, x.in[0]);
    for (uint32_t i = 0; i < t->attr.to_count; i++) {
        AxisId from = x.attr.along[i], to = t->attr.to[i];
        if (!extents_equal(s, from, to) || (from.i != to.i && graph_has_axis(&base, to)))
            return none();
    }
    ValueId r = x.in[0];
    for (uint32_t i = 0; i < t->attr.to_count; i++)
        r = simplify_rename(s, t, r, x.attr.along[i], t->attr.to[i]);
    return r;
}

// slice (slice x) -> slice x
static ValueId slice_of_slice(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    GraphAttr attr = t->attr;
    if (x.op != OP_SLICE || x.attr.to[0].i != attr.along[0].i) return none();
    Value base = simplify_value(s, x.in[0]);
    if (attr.to[0].i != x.attr.along[0].i && graph_has_axis(&base, attr.to[0])) return none();
    attr.along = x.attr.along;
    attr.amount += x.attr.amount;
    return simplify_move(s, t, OP_SLICE, x.in[0], attr);
}

// slice (pad x) of what was padded -> rename x
static ValueId slice_of_pad(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    bool undone = x.op == OP_PAD && x.attr.to[0].i == t->attr.along[0].i &&
                  x.attr.amount == t->attr.amount &&
                  extents_equal(s, x.attr.along[0], t->attr.to[0]);
    return undone ? simplify_rename(s, t, x.in[0], x.attr.along[0], t->attr.to[0]) : none();
}

// slice (concat x, y, ...) within one operand -> slice of that operand
static ValueId slice_of_concat(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    GraphAttr attr = t->attr;
    int64_t extent = graph_axis_at(s->g, attr.to[0])->extent;
    if (x.op != OP_CONCAT || x.attr.to[0].i != attr.along[0].i || extent == EXTENT_UNKNOWN)
        return none();
    for (uint32_t i = 0; i < x.arity; i++) {
        int64_t here = graph_extent(s->g, x.attr.along[i]);
        if (attr.amount >= here) {
            attr.amount -= here;
            continue;
        }
        if (attr.amount + extent > here) return none();
        attr.along = &x.attr.along[i];
        return simplify_move(s, t, OP_SLICE, x.in[i], attr);
    }
    return none();
}

// take (stack x, y, ...) -> the operand
static ValueId take_of_stack(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (x.op != OP_STACK || x.attr.to[0].i != t->attr.along[0].i) return none();
    return x.in[t->attr.amount];
}

// take (put x) -> x, or 0 at another index
static ValueId take_of_put(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (x.op != OP_PUT || x.attr.to[0].i != t->attr.along[0].i) return none();
    return x.attr.amount == t->attr.amount ? x.in[0] : simplify_number(s, t, 0, t->type);
}

// stack (take x 0, take x 1, ...) -> rename x
static ValueId stack_of_takes(Simplifier *s, const Term *t) {
    Value first = operand(s, t);
    if (first.op != OP_TAKE || !extents_equal(s, first.attr.along[0], t->attr.to[0]))
        return none();
    for (uint32_t i = 0; i < t->arity; i++) {
        Value x = simplify_value(s, t->in[i]);
        if (x.op != OP_TAKE || x.in[0].i != first.in[0].i || x.attr.amount != i ||
            x.attr.along[0].i != first.attr.along[0].i)
            return none();
    }
    return simplify_rename(s, t, first.in[0], first.attr.along[0], t->attr.to[0]);
}

// rename | split | merge | slice of a stack, along other axes -> stack of the movements
static ValueId move_below_stack(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (x.op != OP_STACK || axis_in(t->attr.along, t->attr.along_count, x.attr.to[0]))
        return none();
    Term stack = {.op = OP_STACK, .arity = x.arity, .attr = x.attr, .span = t->span};
    stack.in = arena_array(s->g->arena, ValueId, x.arity);
    for (uint32_t i = 0; i < x.arity; i++)
        stack.in[i] = simplify_move(s, t, t->op, x.in[i], t->attr);
    return simplify_make(s, &stack);
}

// stack of one -> broadcast
static ValueId stack_of_one(Simplifier *s, const Term *t) {
    return t->arity == 1 ? simplify_fit(s, t, t->in[0], t->axes, t->rank) : none();
}

// gather x at a constant -> take x
static ValueId gather_at_constant(Simplifier *s, const Term *t) {
    double index = 0;
    int64_t extent = graph_axis_at(s->g, t->attr.along[0])->extent;
    if (!simplify_constant(s, t->in[1], &index) || index < 0 || !(index < (double)extent))
        return none();
    // Axes that the index repeats and x has are aligned, so x has the other axes of the result.
    return simplify_move(
        s, t, OP_TAKE, t->in[0],
        (GraphAttr){.along = t->attr.along, .along_count = 1, .amount = (int64_t)index});
}

// ---- repetition

// rename | slice | take of a broadcast: along a repeated axis nothing happens; along another
// the movement goes below.
static ValueId move_below_broadcast(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (x.op != OP_BROADCAST) return none();
    Value base = simplify_value(s, x.in[0]);
    if (!graph_has_axis(&base, t->attr.along[0])) return x.in[0];
    if (t->attr.to_count && t->attr.to[0].i != t->attr.along[0].i &&
        graph_has_axis(&base, t->attr.to[0]))
        return none();
    return simplify_move(s, t, t->op, x.in[0], t->attr);
}

static bool same_axes_with(const Simplifier *s, const Term *t, const ValueId *in) {
    ShapeQuery q = {.g = s->g, .op = t->op, .in = in, .arity = t->arity, .attr = t->attr};
    return shape_infer(&q) == NULL && simplify_axes_equal(q.axes, q.rank, t->axes, t->rank);
}

// An operand's order or repetition that the result's axes do not depend on:
//   op (broadcast | transpose x), y -> op x, y
static ValueId operand_moved_in_vain(Simplifier *s, const Term *t) {
    for (uint32_t i = 0; i < t->arity; i++) {
        Value x = simplify_value(s, t->in[i]);
        if (x.op != OP_TRANSPOSE && (x.op != OP_BROADCAST || !op_is_elementwise(t->op)))
            continue;
        Term shorter = *t;
        shorter.in = arena_array(s->g->arena, ValueId, t->arity);
        for (uint32_t k = 0; k < t->arity; k++)
            shorter.in[k] = k == i ? x.in[0] : t->in[k];
        if (same_axes_with(s, t, shorter.in)) return simplify_make(s, &shorter);
    }
    return none();
}

// op (broadcast x), (broadcast y) -> broadcast (op x, y), if x and y align
static ValueId broadcast_last(Simplifier *s, const Term *t) {
    bool repeated = false;
    Term inner = *t;
    inner.in = arena_array(s->g->arena, ValueId, t->arity);
    for (uint32_t i = 0; i < t->arity; i++) {
        inner.in[i] = simplify_unbroadcast(s, t->in[i]);
        repeated |= inner.in[i].i != t->in[i].i;
    }
    ShapeQuery q = {.g = s->g, .op = t->op, .in = inner.in, .arity = t->arity, .attr = t->attr};
    if (!repeated || shape_infer(&q) || q.rank >= t->rank) return none();
    return simplify_make(s, &inner);
}

// Grouped contraction of broadcast x, by lists of its rows -> of x, by lists of the rows that
// it has. Of the gradients of a matrix that holds for both operands.
static ValueId rows_once(Simplifier *s, const Term *t) {
    uint32_t operands = t->op == OP_CONTRACT_INTO ? 2 : 1;
    for (uint32_t k = 0; k < operands; k++) {
        Value x = simplify_value(s, t->in[k]),
              list = simplify_value(s, t->in[GROUPED_X_ROWS + k]);
        if (x.op != OP_BROADCAST || list.op != OP_GROUP_ORDER) continue;
        Value base = simplify_value(s, x.in[0]);
        uint32_t rows = list.attr.to_count - 1U, own = 0, rank = 0;
        AxisId axes[GRAPH_MAX_RANK + 1], to[GRAPH_MAX_RANK + 1];
        for (uint32_t i = 0; i < x.rank; i++) {
            if (!graph_has_axis(&base, x.axes[i])) continue;
            if (i < rows) to[own++] = x.axes[i];
            axes[rank++] = x.axes[i];
        }
        if (rank - own + rows != x.rank) continue;  // it repeats what is summed
        to[own++] = list.attr.to[rows];
        GraphAttr attr = {.along = list.attr.along, .along_count = 1, .to = to};
        attr.to_count = (uint8_t)own;
        Term once = *t;
        once.in = arena_array(s->g->arena, ValueId, t->arity);
        for (uint32_t i = 0; i < t->arity; i++)
            once.in[i] = t->in[i];
        once.in[k] = simplify_fit(s, t, x.in[0], axes, rank);
        once.in[GROUPED_X_ROWS + k] = simplify_move(s, t, OP_GROUP_ORDER, list.in[0], attr);
        return simplify_make(s, &once);
    }
    return none();
}

// ---- merged axes

// The operand x of an elementwise term, with axis `whole` in the parts of `merge`: what is
// merged likewise is taken as it was, a parameter along that axis is split. {0}: x is neither.
static ValueId in_parts(Simplifier *s, const Term *t, ValueId x, const Value *merge) {
    Value v = simplify_value(s, x);
    AxisId whole = merge->attr.to[0];
    if (!graph_has_axis(&v, whole)) return x;
    if (v.op == OP_PARAM && v.rank == 1) {
        GraphAttr split = {.along = &whole,
                           .along_count = 1,
                           .to = merge->attr.along,
                           .to_count = merge->attr.along_count};
        return simplify_move(s, t, OP_SPLIT, x, split);
    }
    bool alike = v.op == OP_MERGE && v.attr.to[0].i == whole.i &&
                 simplify_axes_equal(v.attr.along, v.attr.along_count, merge->attr.along,
                                     merge->attr.along_count);
    return alike ? v.in[0] : none();
}

// op (merge x), y -> merge (op x, y), if y lacks the merged axis, is merged likewise or is a
// parameter. What stands before and behind then works on the same points. Not of vectors, which
// are gradients of parameters: their updates have the parameter's axes.
static ValueId merge_last(Simplifier *s, const Term *t) {
    uint32_t which = 0;
    while (which < t->arity && simplify_value(s, t->in[which]).op != OP_MERGE)
        which++;
    if (which == t->arity || t->rank < 2) return none();
    Value merge = simplify_value(s, t->in[which]);
    Term inner = *t;
    inner.in = arena_array(s->g->arena, ValueId, t->arity);
    for (uint32_t i = 0; i < t->arity; i++) {
        Value x = simplify_value(s, t->in[i]);
        for (uint32_t k = 0; k < merge.attr.along_count; k++)
            if (graph_has_axis(&x, merge.attr.along[k])) return none();
        inner.in[i] = in_parts(s, t, t->in[i], &merge);
        if (!inner.in[i].i) return none();
    }
    return simplify_move(s, t, OP_MERGE, simplify_make(s, &inner), merge.attr);
}

// sum over (merge x) of the merged axis -> sum over x of its parts
static ValueId sum_of_merge(Simplifier *s, const Term *t) {
    Value x = operand(s, t);
    if (x.op != OP_MERGE || x.rank < 2) return none();
    AxisId along[GRAPH_MAX_RANK + 1];
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->attr.along_count; i++)
        if (t->attr.along[i].i != x.attr.to[0].i) along[count++] = t->attr.along[i];
    if (count == t->attr.along_count || count + x.attr.along_count > GRAPH_MAX_RANK)
        return none();
    for (uint32_t i = 0; i < x.attr.along_count; i++)
        along[count++] = x.attr.along[i];
    return simplify_move(s, t, t->op, x.in[0],
                         (GraphAttr){.along = along, .along_count = (uint8_t)count});
}

const SimplifyRow simplify_view_rows[] = {
    {OP_BROADCAST, broadcast_once},
    {OP_TRANSPOSE, transpose_once},
    {OP_RENAME, rename_once},
    {OP_RENAME, move_below_broadcast},
    {OP_RENAME, move_below_stack},
    {OP_SPLIT, split_is_rename},
    {OP_SPLIT, split_of_merge},
    {OP_SPLIT, move_below_stack},
    {OP_MERGE, split_is_rename},
    {OP_MERGE, merge_of_split},
    {OP_MERGE, move_below_stack},
    {OP_SLICE, window_is_whole},
    {OP_SLICE, slice_of_slice},
    {OP_SLICE, slice_of_pad},
    {OP_SLICE, slice_of_concat},
    {OP_SLICE, move_below_broadcast},
    {OP_SLICE, move_below_stack},
    {OP_PAD, window_is_whole},
    {OP_TAKE, take_of_stack},
    {OP_TAKE, take_of_put},
    {OP_TAKE, move_below_broadcast},
    {OP_STACK, stack_of_one},
    {OP_STACK, stack_of_takes},
    {OP_CONCAT, concat_is_rename},
    {OP_ROLL, roll_once},
    {OP_SHIFT, roll_once},
    {OP_GATHER, gather_at_constant},
    {OP_NONE, operand_moved_in_vain},
    {OP_REDUCE_SUM, operand_moved_in_vain},
    {OP_REDUCE_MAX, operand_moved_in_vain},
    {OP_LOGSUMEXP, operand_moved_in_vain},
    {OP_CONTRACT, operand_moved_in_vain},
    {OP_CONTRACT_AT, rows_once},
    {OP_CONTRACT_INTO, rows_once},
    {OP_NONE, broadcast_last},
    {OP_NONE, merge_last},
    {OP_REDUCE_SUM, sum_of_merge},
    {OP_REDUCE_MAX, sum_of_merge},
    {OP_NONE, NULL},
};
