// incremental_linear.c: linear attention over a chunk. Its state is what the positions before
// have left, and is where the next chunk begins.
#include <math.h>

#include "ir/graph/incremental.h"
#include "ir/graph/linear.h"

typedef struct {
    Incremental *p;
    const Value *v;  // of g
    AxisId width, time, values;
    ValueId slot, is_token;  // i32 and bool[rows, time]
    ValueId q, k, values_of, decay, beta, initial;
} Linear;

static ValueId where(const Linear *l, ValueId condition, ValueId x, ValueId y) {
    return graph_add(l->p->to, OP_WHERE, (Operands){(ValueId[]){condition, x, y}, 3},
                     (GraphAttr){0}, l->v->span);
}

static ValueId used(const Linear *l, ValueId v) {
    return v.i ? incremental_by_rows(l->p, incremental_use(l->p, v), l->v->span) : v;
}

// What is no token of its row neither decays the state nor writes to it.
static ValueId of_tokens(const Linear *l, ValueId x) {
    return x.i ? where(l, l->is_token, x, graph_const(l->p->to, 0, l->v->span)) : x;
}

// A row's first token then forgets what the state is, which so is read and written in place.
static bool begins_by_decay(const Linear *l) { return l->decay.i && !l->initial.i; }

static ValueId at_zero(const Linear *l, ValueId number) {
    ValueId zero = graph_const_i32(l->p->to, 0, l->v->span);
    return graph_binary(l->p->to, OP_EQ, number, zero, l->v->span);
}

static ValueId never(const Linear *l) { return graph_const(l->p->to, -HUGE_VAL, l->v->span); }

static void linear_init(Linear *l, Incremental *p, const Value *v) {
    LinearOperands o = linear_operands(p->g, v);
    *l = (Linear){.p = p, .v = v, .width = o.width, .time = o.time, .values = o.values};
    l->slot = incremental_renamed(p, p->slot, p->time, l->time, v->span);
    l->is_token =
        graph_binary(p->to, OP_LE, graph_const_i32(p->to, 0, v->span), l->slot, v->span);
    l->q = used(l, o.q);
    l->k = of_tokens(l, used(l, o.k));
    l->values_of = used(l, o.v);
    l->decay = of_tokens(l, used(l, o.decay));
    l->beta = used(l, o.beta);
    l->initial = used(l, o.initial);
    if (begins_by_decay(l)) l->decay = where(l, at_zero(l, l->slot), never(l), l->decay);
}

static ValueId state_of(const Linear *l) {
    const Value *v = graph_value(l->p->to, l->values_of);
    AxisId axes[GRAPH_MAX_RANK];
    uint32_t rank = 0;
    for (uint32_t i = 0; i < v->rank; i++)
        if (v->axes[i].i != l->time.i && v->axes[i].i != l->values.i) axes[rank++] = v->axes[i];
    axes[rank++] = l->width;
    axes[rank++] = l->values;
    Leaf leaf = {.type = DTYPE_F32, .rank = (uint8_t)rank, .axes = axes, .span = l->v->span};
    return incremental_state_leaf(l->p, leaf, "state");
}

// The state, or the initial one at a row's first position.
static ValueId entering(const Linear *l, ValueId state) {
    if (begins_by_decay(l)) return state;
    ValueId initial = l->initial.i ? l->initial : graph_const(l->p->to, 0, l->v->span);
    return where(l, at_zero(l, l->p->position), initial, state);
}

static ValueId linear_add(const Linear *l, GraphOp op, ValueId state) {
    const ValueId operands[] = {
        op == OP_LINEAR ? l->q : (ValueId){0}, l->k, l->values_of, l->decay, l->beta, state};
    ValueId in[6];
    uint32_t count = 0;
    GraphAttr attr = l->v->attr;
    attr.amount |= LINEAR_HAS_INITIAL;
    if (op == OP_LINEAR_STATE) attr.amount &= ~(int64_t)LINEAR_HAS_QUERY;
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++)
        if (operands[i].i) in[count++] = operands[i];
    return graph_add(l->p->to, op, (Operands){in, count}, attr, l->v->span);
}

ValueId incremental_linear(Incremental *p, const Value *v) {
    Linear l;
    linear_init(&l, p, v);
    ValueId state = state_of(&l), before = entering(&l, state);
    incremental_update(p, state, linear_add(&l, OP_LINEAR_STATE, before));
    return linear_add(&l, OP_LINEAR, before);
}
