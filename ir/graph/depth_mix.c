// depth_mix.c: finding weighted sums over stacks.
#include "ir/graph/depth_mix.h"

// Per value: does it depend on an input?
static bool *mark_activations(const Graph *g, Arena *arena) {
    bool *active = arena_array(arena, bool, g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        active[i] = v->op == OP_INPUT;
        for (uint32_t k = 0; k < v->arity; k++)
            active[i] |= active[v->in[k].i];
    }
    return active;
}

// The stack along the axis that x is, seen through casts and views; {0} if none.
static ValueId stack_along(const Graph *g, ValueId x, AxisId axis) {
    const Value *v = graph_value(g, x);
    while (v->op == OP_CAST || op_is_view(v->op)) {
        x = v->in[0];
        v = graph_value(g, x);
    }
    return v->op == OP_STACK && v->attr.to[0].i == axis.i ? x : (ValueId){0};
}

// The value whose elements are summed, as two factors; false if it is no such sum.
static bool sum_of_products(const Graph *g, ValueId sum, ValueId factors[2]) {
    const Value *v = graph_value(g, sum);
    if (v->op == OP_REDUCE_SUM) v = graph_value(g, v->in[0]);
    if (v->op != OP_CONTRACT && v->op != OP_MUL) return false;
    factors[0] = v->in[0];
    factors[1] = v->in[1];
    return true;
}

static bool mix_of(const Graph *g, const bool *active, ValueId sum, DepthMix *out) {
    const Value *v = graph_value(g, sum);
    ValueId factors[2];
    if (v->op != OP_REDUCE_SUM && v->op != OP_CONTRACT) return false;
    if (v->attr.along_count != 1 || !sum_of_products(g, sum, factors)) return false;
    AxisId axis = v->attr.along[0];
    for (uint32_t k = 0; k < 2; k++) {
        ValueId stack = stack_along(g, factors[k], axis), weights = factors[1 - k];
        if (!stack.i || !active[stack.i]) continue;
        if (!graph_has_axis(graph_value(g, weights), axis) || stack_along(g, weights, axis).i)
            continue;
        *out = (DepthMix){sum, weights, stack, axis};
        return true;
    }
    return false;
}

DepthMixes depth_mixes(const Graph *g, Arena *arena) {
    Vec(DepthMix) found = {0};
    const bool *active = mark_activations(g, arena);
    DepthMix mix;
    for (uint32_t i = 1; i < g->values.len; i++)
        if (mix_of(g, active, (ValueId){i}, &mix)) vec_push(arena, &found, mix);
    return (DepthMixes){found.ptr, found.len};
}
