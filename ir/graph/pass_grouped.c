// pass_grouped.c: finds contractions whose weight is gathered, and makes them grouped ones,
// which never have the gathered weights in memory:
//
//     sum over D of x[rows, D] * gather(w[e, D, F], index[rows]) along e
//
// as a sum of products in any order, or as a contraction. An axis of the index may be summed as
// well (the experts of a token): that comes after. In such a sum of weight[rows] times the
// above, weights become factors of x: backward nothing with the axes F is then repeated along
// rows, or kept for the gradient of the weights.
#include "base/check.h"
#include "ir/graph/grouped.h"
#include "ir/graph/passes.h"

enum { MOST_FACTORS = 8 };

typedef struct {
    ValueId factor[MOST_FACTORS];
    uint32_t count;
} Factors;

typedef struct {
    ValueId weight, index;
    AxisId groups;
    Factors others;   // their product is x
    Factors weights;  // of rows, times x
    AxisId summed[GRAPH_MAX_RANK], outer[GRAPH_MAX_RANK], after[GRAPH_MAX_RANK];
    uint8_t summed_count, outer_count, after_count;  // D, F, and axes of the index
} Found;

typedef struct {
    const Graph *from;
    Graph *to;
    Arena scratch;
    ValueId *map;    // per value of `from`
    uint32_t *uses;  // likewise
    AxisId *rows;    // per value of `from`, an index: the axis of its lists
} Pass;

// ---- the pattern

// The factors of a product, in order; false if there are too many.
static bool factors_of(const Graph *g, ValueId v, Factors *f) {
    const Value *x = graph_value(g, v);
    if (x->op == OP_MUL) return factors_of(g, x->in[0], f) && factors_of(g, x->in[1], f);
    if (f->count == MOST_FACTORS) return false;
    f->factor[f->count++] = v;
    return true;
}

static void add(AxisId *list, uint8_t *count, AxisId a) { list[(*count)++] = a; }

// Sorts the axes of the weight, and those of `sum` that are not its own. NULL: they fit; else
// why not.
static const char *axes_refused(const Graph *g, const Value *sum, Found *f) {
    const Value *w = graph_value(g, f->weight), *index = graph_value(g, f->index);
    for (uint32_t i = 0; i < w->rank; i++) {
        AxisId a = w->axes[i];
        if (a.i == f->groups.i) continue;
        if (graph_has_axis(index, a)) return "the weight has an axis of the index";
        if (axis_in(sum->attr.along, sum->attr.along_count, a))
            add(f->summed, &f->summed_count, a);
        else
            add(f->outer, &f->outer_count, a);
    }
    for (uint32_t i = 0; i < sum->attr.along_count; i++) {
        AxisId a = sum->attr.along[i];
        if (axis_in(f->summed, f->summed_count, a)) continue;
        if (!graph_has_axis(index, a)) return "it sums an axis that weight and index lack";
        add(f->after, &f->after_count, a);
    }
    if (f->summed_count == 0) return "no axis of the weight is summed";
    if (f->outer_count == 0) return "all axes of the weight are summed";
    return index->rank > 0 ? NULL : "the index is one number";
}

// Is there a factor with all axes of the others, which are those of the index and all that are
// summed? It comes first then.
static const char *others_refused(const Graph *g, Found *f) {
    uint32_t widest = 0;
    for (uint32_t i = 1; i < f->others.count; i++)
        if (graph_value(g, f->others.factor[i])->rank >
            graph_value(g, f->others.factor[widest])->rank)
            widest = i;
    ValueId first = f->others.factor[widest];
    f->others.factor[widest] = f->others.factor[0];
    f->others.factor[0] = first;
    const Value *x = graph_value(g, first), *index = graph_value(g, f->index);
    for (uint32_t i = 0; i < f->summed_count; i++)
        if (!graph_has_axis(x, f->summed[i])) return "what is multiplied lacks a summed axis";
    for (uint32_t i = 0; i < x->rank; i++)
        if (!graph_has_axis(index, x->axes[i]) &&
            !axis_in(f->summed, f->summed_count, x->axes[i]))
            return "what is multiplied has an axis that the index lacks";
    for (uint32_t k = 1; k < f->others.count; k++) {
        const Value *y = graph_value(g, f->others.factor[k]);
        for (uint32_t i = 0; i < y->rank; i++)
            if (!graph_has_axis(x, y->axes[i])) return "no factor has all axes of the others";
    }
    return NULL;
}

// The gathered weight among the factors of a sum, if there is one: grouped, unless *why is
// given.
static bool find(const Graph *g, const Value *v, Found *f, const char **why) {
    Factors all = {.count = 0};
    bool found = false;
    if (v->op != OP_REDUCE_SUM && v->op != OP_CONTRACT) return false;
    for (uint32_t k = 0; k < v->arity; k++)
        if (!factors_of(g, v->in[k], &all)) return false;
    for (uint32_t k = 0; k < all.count && all.count > 1; k++) {
        const Value *x = graph_value(g, all.factor[k]);
        if (x->op != OP_GATHER) continue;
        found = true;
        *f = (Found){.weight = x->in[0], .index = x->in[1], .groups = x->attr.along[0]};
        for (uint32_t i = 0; i < all.count; i++)
            if (i != k) f->others.factor[f->others.count++] = all.factor[i];
        *why = axes_refused(g, v, f);
        if (!*why) *why = others_refused(g, f);
        if (!*why) return true;
    }
    return found;
}

static bool is_grouped(const Graph *g, const Value *v, Found *f) {
    const char *why = NULL;
    return find(g, v, f, &why) && !why;
}

static bool axes_within(const Graph *g, ValueId v, const Value *outer) {
    const Value *x = graph_value(g, v);
    for (uint32_t i = 0; i < x->rank; i++)
        if (!graph_has_axis(outer, x->axes[i])) return false;
    return true;
}

// Can the factors of a sum of products, but for the one that is the grouped sum found, be
// factors of its rows? And does the sum run over axes of the index alone?
static bool take_weights(const Graph *g, const Value *sum, const Factors *all, uint32_t grouped,
                         Found *f) {
    const Value *index = graph_value(g, f->index), *x = graph_value(g, f->others.factor[0]);
    for (uint32_t i = 0; i < all->count; i++) {
        if (i == grouped) continue;
        ValueId weight = all->factor[i];
        if (!axes_within(g, weight, index) || !axes_within(g, weight, x)) return false;
        f->weights.factor[f->weights.count++] = weight;
    }
    for (uint32_t i = 0; i < sum->attr.along_count; i++) {
        if (!graph_has_axis(index, sum->attr.along[i])) return false;
        add(f->after, &f->after_count, sum->attr.along[i]);
    }
    return f->weights.count > 0;
}

// A sum over axes of the index of weights times a grouped sum that nothing else needs.
static bool is_weighted(const Pass *p, const Value *v, Found *f) {
    Factors all = {.count = 0};
    if (v->op != OP_REDUCE_SUM || !factors_of(p->from, v->in[0], &all)) return false;
    for (uint32_t i = 0; i < all.count; i++)
        if (p->uses[all.factor[i].i] == 1 &&
            is_grouped(p->from, graph_value(p->from, all.factor[i]), f))
            return take_weights(p->from, v, &all, i, f);
    return false;
}

const char *grouped_refusal(const Graph *g, ValueId sum) {
    const char *why = NULL;
    Found f;
    return find(g, graph_value(g, sum), &f, &why) ? why : NULL;
}

// ---- the new graph

static ValueId one(Pass *p, GraphOp op, ValueId x, GraphAttr attr, Span span) {
    return graph_add(p->to, op, (Operands){&x, 1}, attr, span);
}

static ValueId in_order(Pass *p, ValueId x, const AxisId *axes, uint8_t rank, Span span) {
    const Value *v = graph_value(p->to, x);
    bool same = true;
    for (uint32_t i = 0; i < rank; i++)
        same = same && v->axes[i].i == axes[i].i;
    GraphAttr attr = {.to = axes, .to_count = rank};
    return same ? x : one(p, OP_TRANSPOSE, x, attr, span);
}

// In memory: what makes weights are sums over few choices, which a contraction's kernel has no
// place for.
static ValueId weight_add(Pass *p, const Found *f, Span span) {
    ValueId w = p->map[f->weights.factor[0].i];
    for (uint32_t i = 1; i < f->weights.count; i++) {
        ValueId y = p->map[f->weights.factor[i].i];
        bool wider = graph_value(p->to, y)->rank > graph_value(p->to, w)->rank;
        w = graph_binary(p->to, OP_MUL, wider ? y : w, wider ? w : y, span);
    }
    return one(p, OP_KEEP, w, (GraphAttr){0}, span);
}

// The axes of the index that x has, then those that are summed.
static ValueId product_add(Pass *p, const Found *f, Span span) {
    ValueId x = p->map[f->others.factor[0].i];
    for (uint32_t i = 1; i < f->others.count; i++)
        x = graph_binary(p->to, OP_MUL, x, p->map[f->others.factor[i].i], span);
    if (f->weights.count > 0) x = graph_binary(p->to, OP_MUL, x, weight_add(p, f, span), span);
    const Value *index = graph_value(p->from, f->index);
    AxisId axes[GRAPH_MAX_RANK];
    uint8_t rank = 0;
    for (uint32_t i = 0; i < index->rank; i++)
        if (graph_has_axis(graph_value(p->to, x), index->axes[i]))
            add(axes, &rank, index->axes[i]);
    for (uint32_t i = 0; i < f->summed_count; i++)
        add(axes, &rank, f->summed[i]);
    return in_order(p, x, axes, rank, span);
}

static AxisId rows_of(Pass *p, const Found *f) {
    AxisId *rows = &p->rows[f->index.i];
    if (!rows->i)
        *rows = graph_axis(p->to, STR("rows"), graph_elements(p->from, f->index), false);
    return *rows;
}

// The rows of what has `count` of the index's axes, in the order of groups.
static ValueId list_add(Pass *p, const Found *f, const AxisId *axes, uint8_t count, Span span) {
    AxisId to[GRAPH_MAX_RANK + 1];
    for (uint32_t i = 0; i < count; i++)
        to[i] = axes[i];
    to[count] = rows_of(p, f);
    GraphAttr attr = {
        .along = &f->groups, .along_count = 1, .to = to, .to_count = (uint8_t)(count + 1)};
    return one(p, OP_GROUP_ORDER, p->map[f->index.i], attr, span);
}

// How many rows there are up to each group, its own included.
static ValueId ends_add(Pass *p, const Found *f, Span span) {
    const Value index = *graph_value(p->from, f->index);
    AxisId axes[GRAPH_MAX_RANK];
    memcpy(axes, index.axes, index.rank * sizeof *axes);
    axes[index.rank] = f->groups;
    GraphAttr wide = {.to = axes, .to_count = (uint8_t)(index.rank + 1)};
    GraphAttr along = {.along = &f->groups, .along_count = 1};
    ValueId at = one(p, OP_BROADCAST, p->map[f->index.i], wide, span);
    ValueId number = graph_add(p->to, OP_IOTA, (Operands){0}, along, span);
    ValueId below = graph_binary(p->to, OP_LE, at, number, span);
    ValueId real = graph_binary(p->to, OP_LE, graph_const_i32(p->to, 0, span), at, span);
    ValueId counts =
        graph_cast(p->to, graph_binary(p->to, OP_AND, below, real, span), DTYPE_I32, span);
    return graph_sum(p->to, counts, axes, index.rank, span);
}

static ValueId grouped_add(Pass *p, const Value *v, const Found *f) {
    const Value *index = graph_value(p->from, f->index);
    ValueId x = product_add(p, f, v->span);
    AxisId along[GRAPH_MAX_RANK], to[GRAPH_MAX_RANK];
    GraphAttr attr = {.along = along, .to = to};
    for (uint32_t i = 0; i < f->summed_count; i++)
        along[attr.along_count++] = f->summed[i];
    along[attr.along_count++] = f->groups;
    for (uint32_t i = 0; i < index->rank; i++)
        to[attr.to_count++] = index->axes[i];
    for (uint32_t i = 0; i < f->outer_count; i++)
        to[attr.to_count++] = f->outer[i];
    AxisId own[GRAPH_MAX_RANK];
    uint8_t own_count = (uint8_t)(graph_value(p->to, x)->rank - f->summed_count);
    memcpy(own, graph_value(p->to, x)->axes, own_count * sizeof *own);
    ValueId in[GROUPED_OPERANDS] = {
        x, p->map[f->weight.i], list_add(p, f, own, own_count, v->span),
        list_add(p, f, index->axes, index->rank, v->span), ends_add(p, f, v->span)};
    ValueId r =
        graph_add(p->to, OP_CONTRACT_AT, (Operands){in, GROUPED_OPERANDS}, attr, v->span);
    if (f->after_count > 0) r = graph_sum(p->to, r, f->after, f->after_count, v->span);
    return in_order(p, r, v->axes, v->rank, v->span);
}

static ValueId copied(Pass *p, const Value *v) {
    if (v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT)
        return p->to->leaf_values.ptr[v->attr.leaf];
    ValueId *in = arena_array(&p->scratch, ValueId, v->arity);
    for (uint32_t k = 0; k < v->arity; k++)
        in[k] = p->map[v->in[k].i];
    return graph_again(p->to, v, in);
}

static uint32_t *uses_of(const Graph *g, Arena *arena) {
    uint32_t *uses = arena_array(arena, uint32_t, g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++)
        for (uint32_t k = 0; k < g->values.ptr[i].arity; k++)
            uses[g->values.ptr[i].in[k].i]++;
    vec_each (const GraphOutput, o, &g->outputs)
        uses[o->value.i]++;
    vec_each (const GraphUpdate, u, &g->updates)
        uses[u->value.i]++;
    return uses;
}

Graph *pass_grouped(const Graph *g, Arena *arena) {
    Pass p = {.from = g, .to = graph_copy_header(g, arena)};
    arena_init(&p.scratch);
    p.map = arena_array(&p.scratch, ValueId, g->values.len);
    p.rows = arena_array(&p.scratch, AxisId, g->values.len);
    p.uses = uses_of(g, &p.scratch);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        Found f;
        bool grouped = is_weighted(&p, v, &f) || is_grouped(g, v, &f);
        p.map[i] = grouped ? grouped_add(&p, v, &f) : copied(&p, v);
    }
    vec_each (const GraphOutput, o, &g->outputs)
        graph_output(p.to, o->name, p.map[o->value.i]);
    vec_each (const GraphUpdate, u, &g->updates)
        graph_update(p.to, u->leaf, p.map[u->value.i]);
    Graph *to = p.to;
    arena_release(&p.scratch);
    return to;
}
