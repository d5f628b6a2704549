// shape_linear.c: operands and axes of linear attention, its final state and their gradients.
#include "base/check.h"
#include "ir/graph/linear.h"
#include "ir/graph/shape_step.h"

static bool is_gradient(GraphOp op) { return op >= OP_LINEAR_DQ && op <= OP_LINEAR_DINITIAL; }

// The operands in order; false if there are more or fewer of them.
static bool read_operands(GraphOp op, const ValueId *in, uint32_t arity, int64_t bits,
                          LinearOperands *l) {
    struct {
        ValueId *to;
        bool there;
    } slots[] = {
        {&l->q, bits & LINEAR_HAS_QUERY},
        {&l->k, true},
        {&l->v, true},
        {&l->decay, bits & LINEAR_HAS_DECAY},
        {&l->beta, bits & LINEAR_HAS_BETA},
        {&l->initial, bits & LINEAR_HAS_INITIAL},
        {&l->error, is_gradient(op) && bits & LINEAR_DELTA},
        {&l->gradient, is_gradient(op)},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        if (!slots[i].there) continue;
        if (count < arity) *slots[i].to = in[count];
        count++;
    }
    return count == arity;
}

static bool lacks(const Graph *g, ValueId v, AxisId a) {
    return v.i == 0 || !graph_has_axis(graph_value(g, v), a);
}

// e: the last axis of v that only v has. Any others that only v has are batch axes.
static AxisId values_axis(const Graph *g, const LinearOperands *l) {
    const Value *v = graph_value(g, l->v);
    for (int i = v->rank - 1; i >= 0; i--) {
        AxisId a = v->axes[i];
        if (a.i != l->time.i && lacks(g, l->q, a) && lacks(g, l->k, a) &&
            lacks(g, l->decay, a) && lacks(g, l->beta, a))
            return a;
    }
    return (AxisId){0};
}

LinearOperands linear_operands(const Graph *g, const Value *value) {
    LinearOperands l = {.width = value->attr.along[0], .time = value->attr.along[1]};
    bool read = read_operands(value->op, value->in, value->arity, value->attr.amount, &l);
    ASSERT(read);
    l.values = values_axis(g, &l);
    return l;
}

// ---- rules

// An operand has the axes `own` (NULL: any of time, width and values is as good as absent), and
// every other axis is one of v.
typedef struct {
    ValueId value;
    AxisId has[2];    // must be there
    AxisId optional;  // may be there
    bool any_width;   // f32 or bf16; else f32
} OperandRule;

static const char *need_operand(const ShapeQuery *q, const LinearOperands *l, OperandRule r) {
    if (r.value.i == 0) return NULL;
    const Value *x = graph_value(q->g, r.value), *v = graph_value(q->g, l->v);
    if (x->type != DTYPE_F32 && !(r.any_width && x->type == DTYPE_BF16))
        return shape_violation(q, "needs f32, got %s", shape_text(q, x));
    uint32_t own = 0;
    for (uint32_t i = 0; i < x->rank; i++) {
        AxisId a = x->axes[i];
        if (axis_in(r.has, 2, a)) {
            own++;
            continue;
        }
        bool batch = graph_has_axis(v, a) && a.i != l->time.i && a.i != l->values.i;
        if (!batch && a.i != r.optional.i)
            return shape_violation(q, "%s has an axis that is none of the sequences' in %s",
                                   shape_text(q, x), shape_text(q, v));
    }
    uint32_t needed = r.has[1].i ? 2 : 1;
    return own == needed ? NULL
                         : shape_violation(q, "%s lacks an axis of the sequence or the state",
                                           shape_text(q, x));
}

static void add(ShapeQuery *q, AxisId a) { q->axes[q->rank++] = a; }

static void add_batch(ShapeQuery *q, const LinearOperands *l) {
    const Value *v = graph_value(q->g, l->v);
    for (uint32_t i = 0; i < v->rank; i++)
        if (v->axes[i].i != l->time.i && v->axes[i].i != l->values.i) add(q, v->axes[i]);
}

static void add_state(ShapeQuery *q, const LinearOperands *l) {
    add_batch(q, l);
    add(q, l->width);
    add(q, l->values);
}

// The axes of v, with `last` in the place of e.
static void add_sequence(ShapeQuery *q, const LinearOperands *l, AxisId last) {
    const Value *v = graph_value(q->g, l->v);
    for (uint32_t i = 0; i < v->rank; i++)
        add(q, v->axes[i].i == l->values.i ? last : v->axes[i]);
}

// The gradient of o has its axes, that of the final state those of a state.
static const char *need_gradient(ShapeQuery *q, const LinearOperands *l) {
    if (!is_gradient(q->op)) return NULL;
    const Value *x = graph_value(q->g, l->gradient);
    if (l->q.i)
        add_sequence(q, l, l->values);
    else
        add_state(q, l);
    bool same = x->rank == q->rank && (x->type == DTYPE_F32 || x->type == DTYPE_BF16);
    for (uint32_t i = 0; i < x->rank && same; i++)
        same = x->axes[i].i == q->axes[i].i;
    q->rank = 0;
    return same ? NULL : shape_violation(q, "%s is no gradient of it", shape_text(q, x));
}

static const char *need_linear(ShapeQuery *q, LinearOperands *l) {
    int64_t bits = q->attr.amount;
    static const int64_t needed[OP_COUNT] = {
        [OP_LINEAR] = LINEAR_HAS_QUERY,      [OP_LINEAR_ERROR] = LINEAR_DELTA,
        [OP_LINEAR_DQ] = LINEAR_HAS_QUERY,   [OP_LINEAR_DDECAY] = LINEAR_HAS_DECAY,
        [OP_LINEAR_DBETA] = LINEAR_HAS_BETA, [OP_LINEAR_DINITIAL] = LINEAR_HAS_INITIAL,
    };
    bool reads = q->op == OP_LINEAR || is_gradient(q->op);
    bool known = bits >= 0 && bits <= LINEAR_BITS && (bits & needed[q->op]) == needed[q->op] &&
                 (reads || !(bits & LINEAR_HAS_QUERY));
    if (!known || !read_operands(q->op, q->in, q->arity, bits, l))
        return shape_violation(q, "%u operands of kinds %lld are not those of '%s'", q->arity,
                               (long long)bits, op_text(q->op));
    if (q->attr.along_count != 2 || q->attr.along[0].i == q->attr.along[1].i)
        return shape_violation(q, "'along' needs two axes");
    l->width = q->attr.along[0];
    l->time = q->attr.along[1];
    l->values = values_axis(q->g, l);
    const Value *v = graph_value(q->g, l->v);
    if (graph_has_axis(v, l->width) || l->values.i == 0)
        return shape_violation(q, "%s has no axis of its own for that of the keys",
                               shape_text(q, v));
    return NULL;
}

const char *shape_linear(ShapeQuery *q) {
    LinearOperands l = {0};
    const char *why = need_linear(q, &l);
    const OperandRule rules[] = {
        {l.q, {l.time, l.width}, {0}, true},
        {l.k, {l.time, l.width}, {0}, true},
        {l.v, {l.time, l.values}, {0}, true},
        {l.decay, {l.time}, l.width, false},
        {l.beta, {l.time}, {0}, false},
        {l.initial, {l.width, l.values}, {0}, false},
        {l.error, {l.time, l.values}, {0}, false},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules && !why; i++)
        why = need_operand(q, &l, rules[i]);
    if (!why) why = need_gradient(q, &l);
    if (why) return why;
    switch ((int)q->op) {
    case OP_LINEAR_DQ:
    case OP_LINEAR_DK: add_sequence(q, &l, l.width); break;
    case OP_LINEAR_STATE:
    case OP_LINEAR_DINITIAL: add_state(q, &l); break;
    case OP_LINEAR_DDECAY:
    case OP_LINEAR_DBETA:
        add_batch(q, &l);
        add(q, l.time);
        if (q->op == OP_LINEAR_DDECAY && !lacks(q->g, l.decay, l.width)) add(q, l.width);
        break;
    default: add_sequence(q, &l, l.values);
    }
    q->type = DTYPE_F32;
    return NULL;
}
