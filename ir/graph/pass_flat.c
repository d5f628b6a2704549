// pass_flat.c: what is computed element by element does not ask for axes. Updates of a
// parameter [heads, c], and sums of their squares, are computed over an axis of heads * c
// elements where another parameter has no axis but such a one: then both can share kernels.
// The optimiser's other operands are in memory and are read as views; so is what is updated.
#include "ir/graph/passes.h"

typedef struct {
    const Graph *g;
    Graph *to;
    AxisId *over;   // per value: the axis that it is computed over; none: its own
    ValueId *copy;  // per value, as it is
    ValueId *flat;  // per value, over the axis of its user
} Flat;

static bool same_axes(const Value *x, const Value *y) {
    bool same = x->rank == y->rank;
    for (uint32_t i = 0; same && i < x->rank; i++)
        same = x->axes[i].i == y->axes[i].i;
    return same;
}

// For v of several axes that of the first trained parameter with one axis, of as many elements.
static AxisId axis_for(const Graph *g, const Value *v) {
    int64_t elements = v->rank > 1;
    for (uint32_t i = 0; i < v->rank; i++)
        elements *= graph_axis_at(g, v->axes[i])->runtime ? 0 : graph_extent(g, v->axes[i]);
    vec_each (const Leaf, leaf, &g->leaves) {
        if (leaf->trained && leaf->rank == 1 && graph_extent(g, leaf->axes[0]) == elements)
            return leaf->axes[0];
    }
    return (AxisId){0};
}

// Has x one of several axes of v, so that its elements can be gathered?
static bool is_part(const Value *x, const Value *v) {
    return x->rank == 1 && graph_has_axis(v, x->axes[0]);
}

static bool operands_fit(const Graph *g, const Value *v) {
    for (uint32_t k = 0; k < v->arity; k++) {
        const Value *x = graph_value(g, v->in[k]);
        if (x->rank && !same_axes(x, v) && !is_part(x, v)) return false;
    }
    return true;
}

static bool is_sum_of_all(const Graph *g, const Value *v) {
    return v->op == OP_REDUCE_SUM && v->rank == 0 && graph_value(g, v->in[0])->rank;
}

// Finds values that nothing uses but updates, sums of all elements and other such values.
static void find_flat(Flat *f, Arena *scratch) {
    const Graph *g = f->g;
    bool *wanted = arena_array(scratch, bool, g->values.len),
         *shaped = arena_array(scratch, bool, g->values.len);  // some user needs the axes
    vec_each (const GraphOutput, o, &g->outputs)
        shaped[o->value.i] = true;
    vec_each (const GraphUpdate, u, &g->updates)
        wanted[u->value.i] = true;
    for (uint32_t i = g->values.len - 1; i > 0; i--) {
        const Value *v = graph_value(g, (ValueId){i});
        bool fits = wanted[i] && !shaped[i] && op_is_elementwise(v->op) && operands_fit(g, v);
        if (fits) f->over[i] = axis_for(g, v);
        for (uint32_t k = 0; k < v->arity; k++) {
            bool any =
                f->over[i].i ? same_axes(graph_value(g, v->in[k]), v) : is_sum_of_all(g, v);
            (any ? wanted : shaped)[v->in[k].i] = true;
        }
    }
}

static ValueId merged(Flat *f, ValueId x, AxisId to) {
    const Value *v = graph_value(f->to, x);
    GraphAttr attr = {.along = v->axes, .along_count = v->rank, .to = &to, .to_count = 1};
    return graph_add(f->to, OP_MERGE, (Operands){&x, 1}, attr, v->span);
}

static ValueId split_like(Flat *f, ValueId x, const Value *like) {
    const Value *v = graph_value(f->to, x);
    GraphAttr attr = {
        .along = v->axes, .along_count = 1, .to = like->axes, .to_count = like->rank};
    return graph_add(f->to, OP_SPLIT, (Operands){&x, 1}, attr, like->span);
}

// Element i of the result is the one of x that meets element i of a value with the axes of
// `like`.
static ValueId gathered(Flat *f, ValueId x, const Value *like, AxisId over) {
    const AxisId *axis = graph_value(f->to, x)->axes;
    GraphAttr along = {.along = axis, .along_count = 1},
              to = {.to = like->axes, .to_count = like->rank};
    ValueId at = graph_add(f->to, OP_IOTA, (Operands){0}, along, like->span);
    at = merged(f, graph_add(f->to, OP_BROADCAST, (Operands){&at, 1}, to, like->span), over);
    return graph_add(f->to, OP_GATHER, (Operands){(ValueId[]){x, at}, 2}, along, like->span);
}

static ValueId operand_over(Flat *f, const Value *v, uint32_t k, AxisId over) {
    ValueId x = v->in[k];
    if (graph_value(f->g, x)->rank == 0) return f->copy[x.i];
    if (is_part(graph_value(f->g, x), v)) return gathered(f, f->copy[x.i], v, over);
    if (!f->flat[x.i].i) f->flat[x.i] = merged(f, f->copy[x.i], over);
    return f->flat[x.i];
}

static void rebuild_value(Flat *f, uint32_t i) {
    const Value *v = graph_value(f->g, (ValueId){i});
    if (v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT) {
        f->copy[i] = f->to->leaf_values.ptr[v->attr.leaf];
        return;
    }
    GraphAttr attr = v->attr;
    AxisId over = f->over[i], of = v->arity ? f->over[v->in[0].i] : (AxisId){0};
    if (is_sum_of_all(f->g, v) && of.i) {
        attr.along = &of;
        attr.along_count = 1;
        over = of;
    }
    ValueId *in = arena_array(f->to->arena, ValueId, v->arity);
    for (uint32_t k = 0; k < v->arity; k++)
        in[k] = over.i ? operand_over(f, v, k, over) : f->copy[v->in[k].i];
    ValueId made = graph_add(f->to, v->op, (Operands){in, v->arity}, attr, v->span);
    (f->over[i].i ? f->flat : f->copy)[i] = made;
}

Graph *pass_flat(const Graph *g, Arena *arena) {
    Arena scratch;
    arena_init(&scratch);
    uint32_t n = g->values.len;
    Flat f = {.g = g,
              .to = graph_copy_header(g, arena),
              .over = arena_array(&scratch, AxisId, n),
              .copy = arena_array(&scratch, ValueId, n),
              .flat = arena_array(&scratch, ValueId, n)};
    find_flat(&f, &scratch);
    for (uint32_t i = 1; i < n; i++)
        rebuild_value(&f, i);
    vec_each (const GraphOutput, o, &g->outputs)
        graph_output(f.to, o->name, f.copy[o->value.i]);
    vec_each (const GraphUpdate, u, &g->updates) {
        bool flat = f.over[u->value.i].i != 0;
        graph_update(f.to, u->leaf,
                     flat ? split_like(&f, f.flat[u->value.i], graph_value(g, u->value))
                          : f.copy[u->value.i]);
    }
    arena_release(&scratch);
    return f.to;
}
