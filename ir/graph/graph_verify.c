// graph_verify.c: the invariants of graph.h. Runs after every pass in debug builds and on every
// graph that is read.
#include "base/check.h"
#include "ir/graph/shape_rules.h"

typedef struct {
    Diag *diag;
    const Graph *g;
} Verifier;

// ---- axes

static bool verify_axes(const Verifier *v) {
    for (uint32_t i = 1; i < v->g->axes.len; i++) {
        const Axis *a = &v->g->axes.ptr[i];
        bool known = a->extent >= 1;
        if (a->name.len == 0) return diag_error(v->diag, (Span){0}, "axis %u has no name", i);
        if (!known && !(a->extent == EXTENT_UNKNOWN && a->runtime))
            return diag_error(v->diag, (Span){0}, "axis '%.*s' has extent %lld",
                              STR_ARG(a->name), (long long)a->extent);
        const Axis *main =
            a->same_as.i > 0 && a->same_as.i < i ? &v->g->axes.ptr[a->same_as.i] : NULL;
        bool second = main && main->same_as.i == 0 && a->runtime && main->runtime &&
                      main->extent == a->extent;
        if (a->same_as.i && !second)
            return diag_error(v->diag, (Span){0},
                              "axis '%.*s' is no second role of a run-time axis before it",
                              STR_ARG(a->name));
        if (graph_axis_find(v->g, a->name).i != i)
            return diag_error(v->diag, (Span){0}, "two axes are called '%.*s'",
                              STR_ARG(a->name));
    }
    return true;
}

static bool axis_exists(const Graph *g, AxisId a) { return a.i > 0 && a.i < g->axes.len; }

static bool axes_distinct(const AxisId *axes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (axes[i].i == axes[k].i) return false;
    return true;
}

// ---- leaves

static bool leaf_error(const Verifier *v, const Leaf *leaf, const char *what) {
    return diag_error(v->diag, leaf->span, "leaf '%.*s' %s", STR_ARG(leaf->path), what);
}

static bool verify_init(const Verifier *v, const Leaf *leaf) {
    const Init *init = &leaf->init;
    switch (init->kind) {
    case INIT_CONSTANT:
    case INIT_NORMAL: return true;
    case INIT_UNIFORM: return init->a <= init->b || leaf_error(v, leaf, "needs bounds a <= b");
    case INIT_LOG_UNIFORM:
        return (init->a > 0.0 && init->a <= init->b) ||
               leaf_error(v, leaf, "needs bounds 0 < a <= b");
    case INIT_FAN_IN:
    case INIT_ORTHOGONAL:
        return leaf->input_count > 0 ||
               leaf_error(v, leaf, "is drawn as a map but has no input axes");
    case INIT_IDENTITY:
        return leaf->rank >= 2 || leaf_error(v, leaf, "has no two axes for a diagonal");
    case INIT_UNIT:
        return leaf->rank >= 1 || leaf_error(v, leaf, "has no axis for a unit vector");
    }
    return leaf_error(v, leaf, "has an unknown initialiser");
}

static bool verify_leaf(const Verifier *v, uint32_t index) {
    const Leaf *leaf = &v->g->leaves.ptr[index];
    uint64_t named = 0;
    if (leaf->path.len == 0) return leaf_error(v, leaf, "has no name");
    if (!map_get(&v->g->leaf_paths, leaf->path, &named) || named != index)
        return leaf_error(v, leaf, "is not the only one of this name");
    if (leaf->kind != OP_PARAM && leaf->kind != OP_STATE && leaf->kind != OP_INPUT)
        return leaf_error(v, leaf, "is no parameter, state or input");
    if (leaf->type != DTYPE_F32 && leaf->type != DTYPE_I32 && leaf->type != DTYPE_BOOL &&
        leaf->type != DTYPE_BF16)
        return leaf_error(v, leaf, "has a type that no value can have");
    if (leaf->rank > GRAPH_MAX_RANK) return leaf_error(v, leaf, "has too many axes");
    for (uint32_t i = 0; i < leaf->rank; i++)
        if (!axis_exists(v->g, leaf->axes[i]))
            return leaf_error(v, leaf, "has an axis that does not exist");
    if (!axes_distinct(leaf->axes, leaf->rank)) return leaf_error(v, leaf, "has an axis twice");
    if (leaf->batch_count + leaf->input_count > leaf->rank)
        return leaf_error(v, leaf, "has fewer axes than its map");
    if (leaf->index_of.i && (!axis_exists(v->g, leaf->index_of) || leaf->type != DTYPE_I32))
        return leaf_error(v, leaf,
                          "cannot be an index: it is not i32 or the axis does not exist");
    if (leaf->trained &&
        (leaf->kind != OP_PARAM || leaf->type == DTYPE_I32 || leaf->type == DTYPE_BOOL))
        return leaf_error(v, leaf, "cannot be trained: it is no parameter of real numbers");
    ValueId value = v->g->leaf_values.ptr[index];
    if (value.i == 0 || value.i >= v->g->values.len) return leaf_error(v, leaf, "has no value");
    const Value *x = graph_value(v->g, value);
    if (x->op != leaf->kind || x->attr.leaf != index)
        return leaf_error(v, leaf, "has the value of another");
    return leaf->kind == OP_INPUT || verify_init(v, leaf);
}

static bool verify_leaves(const Verifier *v) {
    if (v->g->leaf_values.len != v->g->leaves.len)
        return diag_error(v->diag, (Span){0}, "%u leaves have %u values", v->g->leaves.len,
                          v->g->leaf_values.len);
    for (uint32_t i = 0; i < v->g->leaves.len; i++)
        if (!verify_leaf(v, i)) return false;
    return true;
}

// ---- values

static bool verify_value(const Verifier *v, ValueId id) {
    const Value *x = graph_value(v->g, id);
    for (uint32_t i = 0; i < x->arity; i++)
        if (x->in[i].i >= id.i)
            return diag_error(v->diag, x->span,
                              "value %%%u uses %%%u, which does not come before it", id.i,
                              x->in[i].i);
    ShapeQuery q = {.g = v->g, .op = x->op, .in = x->in, .arity = x->arity, .attr = x->attr};
    const char *why = shape_infer(&q);
    if (why) return diag_error(v->diag, x->span, "value %%%u: %s", id.i, why);
    bool same = x->type == q.type && x->rank == q.rank;
    for (uint32_t i = 0; i < q.rank && same; i++)
        same = x->axes[i].i == q.axes[i].i;
    if (!same)
        return diag_error(v->diag, x->span, "value %%%u: axes or type are not those of '%s'",
                          id.i, op_text(x->op));
    if ((op_attrs(x->op) & ATTR_LEAF) && v->g->leaf_values.ptr[x->attr.leaf].i != id.i)
        return diag_error(v->diag, x->span, "value %%%u is a second value of leaf '%.*s'", id.i,
                          STR_ARG(v->g->leaves.ptr[x->attr.leaf].path));
    return true;
}

// ---- results

static bool value_exists(const Graph *g, ValueId v) { return v.i > 0 && v.i < g->values.len; }

static bool verify_outputs(const Verifier *v) {
    for (uint32_t i = 0; i < v->g->outputs.len; i++) {
        const GraphOutput *o = &v->g->outputs.ptr[i];
        if (!value_exists(v->g, o->value))
            return diag_error(v->diag, (Span){0}, "output '%.*s' has no value",
                              STR_ARG(o->name));
        for (uint32_t k = 0; k < i; k++)
            if (str_eq(o->name, v->g->outputs.ptr[k].name))
                return diag_error(v->diag, (Span){0}, "two outputs are called '%.*s'",
                                  STR_ARG(o->name));
    }
    return true;
}

static bool verify_update(const Verifier *v, uint32_t index) {
    const GraphUpdate *u = &v->g->updates.ptr[index];
    if (u->leaf >= v->g->leaves.len || !value_exists(v->g, u->value))
        return diag_error(v->diag, (Span){0}, "update %u has no leaf or no value", index);
    const Leaf *leaf = &v->g->leaves.ptr[u->leaf];
    const Value *x = graph_value(v->g, u->value);
    if (leaf->kind == OP_INPUT) return leaf_error(v, leaf, "is an input and cannot be updated");
    bool same = leaf->type == x->type && leaf->rank == x->rank;
    for (uint32_t i = 0; i < x->rank && same; i++)
        same = leaf->axes[i].i == x->axes[i].i;
    if (!same) return leaf_error(v, leaf, "is updated with a value of other axes or type");
    for (uint32_t k = 0; k < index; k++)
        if (v->g->updates.ptr[k].leaf == u->leaf)
            return leaf_error(v, leaf, "is updated twice");
    return true;
}

bool graph_verify(Diag *diag, const Graph *g) {
    Verifier v = {diag, g};
    if (!verify_axes(&v)) return false;
    // Values first: what a leaf or a result refers to is then known to be sound.
    if (g->leaf_values.len != g->leaves.len) return verify_leaves(&v);
    for (uint32_t i = 1; i < g->values.len; i++)
        if (!verify_value(&v, (ValueId){i})) return false;
    if (!verify_leaves(&v) || !verify_outputs(&v)) return false;
    for (uint32_t i = 0; i < g->updates.len; i++)
        if (!verify_update(&v, i)) return false;
    return true;
}
