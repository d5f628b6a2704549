// leaves.c: leaves as tensors of the runtime.
#include "cli/leaves.h"

static void tensor_axes(Arena *arena, const Graph *g, const AxisId *axes, PlanTensor *t) {
    int64_t *shape = arena_array(arena, int64_t, t->rank);
    Str *names = arena_array(arena, Str, t->rank);
    for (uint32_t i = 0; i < t->rank; i++) {
        shape[i] = graph_extent(g, axes[i]);
        names[i] = graph_axis_at(g, axes[i])->name;
    }
    t->shape = shape;
    t->axes = names;
}

static TensorKind kind_of(GraphOp leaf) {
    if (leaf == OP_PARAM) return TENSOR_PARAM;
    return leaf == OP_STATE ? TENSOR_STATE : TENSOR_INPUT;
}

PlanTensor leaf_tensor(Arena *arena, const Graph *g, const Leaf *leaf) {
    PlanTensor t = {.kind = kind_of(leaf->kind),
                    .name = leaf->path,
                    .type = leaf->type,
                    .rank = leaf->rank,
                    .batch_count = leaf->batch_count,
                    .input_count = leaf->input_count,
                    .trained = leaf->trained};
    t.init = (PlanInit){(uint8_t)leaf->init.kind, (uint8_t)leaf->init.transform, leaf->init.a,
                        leaf->init.b};
    tensor_axes(arena, g, leaf->axes, &t);
    if (leaf->index_of.i) t.index_below = graph_extent(g, leaf->index_of);
    return t;
}

static bool is_bound(const Graph *g, const Leaf *leaf) {
    for (uint32_t i = 0; i < leaf->rank; i++)
        if (graph_axis_at(g, leaf->axes[i])->extent == EXTENT_UNKNOWN) return false;
    return true;
}

PlanTensor *leaf_tensors(Arena *arena, const Graph *g, uint32_t *count) {
    PlanTensor *tensors = arena_array(arena, PlanTensor, g->leaves.len);
    *count = 0;
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        const Leaf *leaf = &g->leaves.ptr[i];
        if (leaf->kind == OP_PARAM || (leaf->kind == OP_STATE && is_bound(g, leaf)))
            tensors[(*count)++] = leaf_tensor(arena, g, leaf);
    }
    return tensors;
}

PlanTensor output_tensor(Arena *arena, const Graph *g, const GraphOutput *output) {
    const Value *v = graph_value(g, output->value);
    PlanTensor t = {
        .kind = TENSOR_OUTPUT, .name = output->name, .type = v->type, .rank = v->rank};
    tensor_axes(arena, g, v->axes, &t);
    return t;
}
