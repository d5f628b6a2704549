// linear_response.c: one sweep up says which values are linear in the sources; one sweep down
// for each value that is read gives its responses.
#include "base/check.h"
#include "ir/graph/depth_mix.h"
#include "ir/graph/derivative_rules.h"

typedef struct {
    const Graph *g;
    const bool *linear;
    bool *kept;  // per axis: the sources have it, by this or another name
} Marking;

static bool any_kept(const Marking *m, const AxisId *axes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (m->kept[axes[i].i]) return true;
    return false;
}

// An axis of the sources that is renamed, split or merged is one still.
static void follow_axes(Marking *m, const Value *v) {
    if (!any_kept(m, v->attr.along, v->attr.along_count)) return;
    for (uint32_t i = 0; i < v->attr.to_count; i++)
        m->kept[v->attr.to[i].i] = true;
}

static bool operand_linear(const Marking *m, const Value *v, uint32_t k) {
    return m->linear[v->in[k].i];
}

static bool any_linear(const Marking *m, const Value *v) {
    for (uint32_t k = 0; k < v->arity; k++)
        if (operand_linear(m, v, k)) return true;
    return false;
}

// A product of two linear values is not linear in either, nor is what sums over their axes.
static bool product_linear(const Marking *m, const Value *v) {
    return operand_linear(m, v, 0) != operand_linear(m, v, 1) &&
           !any_kept(m, v->attr.along, v->attr.along_count);
}

static bool value_linear(Marking *m, const Value *v) {
    switch ((int)v->op) {
    case OP_NEG:
    case OP_ADD:
    case OP_SUB:
    case OP_BROADCAST:
    case OP_TRANSPOSE:
    case OP_TAKE:
    case OP_PUT:
    case OP_ROLL:
    case OP_SHIFT:
    case OP_STACK: return any_linear(m, v);
    case OP_CAST: return dtype_is_float(v->type) && any_linear(m, v);
    case OP_RENAME:
    case OP_SPLIT:
    case OP_MERGE:
    case OP_SLICE:
    case OP_PAD:
    case OP_CONCAT:
        if (!any_linear(m, v)) return false;
        follow_axes(m, v);
        return true;
    case OP_REDUCE_SUM:
        return any_linear(m, v) && !any_kept(m, v->attr.along, v->attr.along_count);
    case OP_MUL:
    case OP_CONTRACT: return product_linear(m, v);
    case OP_DIV: return operand_linear(m, v, 0) && !operand_linear(m, v, 1);
    case OP_WHERE: return operand_linear(m, v, 1) || operand_linear(m, v, 2);
    default: return false;
    }
}

LinearPart linear_part(Graph *g, Arena *arena, const ValueId *sources, uint32_t count) {
    LinearPart p = {.g = g,
                    .arena = arena,
                    .sources = sources,
                    .source_count = count,
                    .count = g->values.len};
    bool *linear = arena_array(arena, bool, p.count);
    p.source = arena_array(arena, uint32_t, p.count);
    Marking m = {g, linear, arena_array(arena, bool, g->axes.len)};
    for (uint32_t i = 0; i < count; i++) {
        const Value *v = graph_value(g, sources[i]);
        p.source[sources[i].i] = i + 1;
        for (uint32_t k = 0; k < v->rank; k++)
            m.kept[v->axes[k].i] = true;
    }
    for (uint32_t i = 1; i < p.count; i++)
        linear[i] = p.source[i] || value_linear(&m, graph_value(g, (ValueId){i}));
    p.linear = linear;
    return p;
}

static ValueId ones_like(Graph *g, ValueId v) {
    const Value value = *graph_value(g, v);
    ValueId one = graph_const(g, 1, value.span);
    if (!value.rank) return one;
    GraphAttr attr = {.to = value.axes, .to_count = value.rank};
    return graph_add(g, OP_BROADCAST, (Operands){&one, 1}, attr, value.span);
}

// Hands the gradient of v on to its linear operands.
static void pass_down(const LinearPart *p, ValueId v, ValueId *grad) {
    const Value value = *graph_value(p->g, v);
    for (uint32_t k = 0; k < value.arity; k++) {
        uint32_t to = value.in[k].i;
        if (!p->linear[to]) continue;
        ValueId part = derivative_of_operand(p->g, v, grad[v.i], k);
        if (!part.i) continue;
        grad[to] = grad[to].i ? graph_binary(p->g, OP_ADD, grad[to], part, value.span) : part;
    }
}

void linear_responses(const LinearPart *p, ValueId read, ValueId *responses) {
    ASSERT(read.i < p->count);
    ValueId *grad = arena_array(p->arena, ValueId, p->count);
    if (p->linear[read.i]) grad[read.i] = ones_like(p->g, read);
    for (uint32_t i = read.i; i > 0; i--)
        if (grad[i].i && !p->source[i]) pass_down(p, (ValueId){i}, grad);
    for (uint32_t i = 0; i < p->source_count; i++)
        responses[i] = grad[p->sources[i].i];
}
