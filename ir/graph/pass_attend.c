// pass_attend.c: finds attention and makes it one operation, which never has the scores in
// memory:
//
//     contract(softmax(mask(scale * contract(q, k) along d)) along s, v) along s
//
// in any order of operands, axes and factors. The mask is a `where` whose other side is -inf
// and whose condition bounds t - s, made of comparisons of positions, or says that t and s are
// of one segment. Several attentions may share scores or weights: each computes its own. Where
// something else uses them they must be in memory: the graph stays as it is there.
#include <math.h>

#include "base/check.h"
#include "ir/graph/attend.h"
#include "ir/graph/passes.h"

typedef struct {
    ValueId q, k, v;
    ValueId query_segment, key_segment;  // {0}: none
    AxisId width, query, key;            // query {0}: not known from a mask
    double scale;
    Band band;
} Attention;

typedef struct {
    const Graph *g;
    Arena scratch;
    bool *kept;         // per value: something but attention uses it
    Attention **found;  // per value: the attention that it is; NULL
    int64_t most_width;
} Attend;

// ---- positions: sums of axes' indices times whole factors, and a whole number

enum { MOST_TERMS = 2 };
typedef struct {
    AxisId axis[MOST_TERMS];
    int64_t factor[MOST_TERMS], constant;
    uint32_t count;
} Affine;

static bool affine_add(Affine *to, const Affine *x, int64_t factor) {
    to->constant += x->constant * factor;
    for (uint32_t i = 0; i < x->count; i++) {
        uint32_t at = 0;
        while (at < to->count && to->axis[at].i != x->axis[i].i)
            at++;
        if (at == MOST_TERMS) return false;
        if (at == to->count) to->axis[to->count++] = x->axis[i];
        to->factor[at] += x->factor[i] * factor;
    }
    return true;
}

static bool whole(double x, int64_t *out) {
    const double most = (double)(1 << 24);  // what f32 counts one by one
    if (!(x == floor(x) && fabs(x) <= most)) return false;
    *out = (int64_t)x;
    return true;
}

static bool affine_of(const Graph *g, ValueId v, Affine *out);

static bool affine_of_two(const Graph *g, const Value *v, Affine *out) {
    Affine x, y;
    if (!affine_of(g, v->in[0], &x) || !affine_of(g, v->in[1], &y)) return false;
    *out = (Affine){.count = 0};
    if (v->op == OP_ADD || v->op == OP_SUB)
        return affine_add(out, &x, 1) && affine_add(out, &y, v->op == OP_ADD ? 1 : -1);
    if (x.count == 0) return affine_add(out, &y, x.constant);
    return y.count == 0 && affine_add(out, &x, y.constant);
}

static bool affine_of(const Graph *g, ValueId v, Affine *out) {
    const Value *value = graph_value(g, v);
    Affine x;
    *out = (Affine){.count = 0};
    switch ((int)value->op) {
    case OP_CONST: return whole(value->attr.number, &out->constant);
    case OP_IOTA:
        return affine_add(
            out, &(Affine){.axis = {value->attr.along[0]}, .factor = {1}, .count = 1}, 1);
    case OP_BROADCAST:
    case OP_TRANSPOSE:
    case OP_DETACH:
    case OP_CAST: return value->type != DTYPE_BOOL && affine_of(g, value->in[0], out);
    case OP_NEG: return affine_of(g, value->in[0], &x) && affine_add(out, &x, -1);
    case OP_RENAME:
        if (!affine_of(g, value->in[0], out)) return false;
        for (uint32_t i = 0; i < out->count; i++)
            if (out->axis[i].i == value->attr.along[0].i) out->axis[i] = value->attr.to[0];
        return true;
    case OP_ADD:
    case OP_SUB:
    case OP_MUL: return affine_of_two(g, value, out);
    default: return false;
    }
}

// ---- conditions

static void narrow_high(Attention *a, int64_t hi) {
    if (hi < a->band.hi) a->band.hi = hi;
}

static void narrow_low(Attention *a, int64_t lo) {
    if (lo > a->band.lo) a->band.lo = lo;
}

// x <= y, x < y or x = y, where x - y is a - s + c or s - a + c for one other axis a.
static bool compare_narrows(const Graph *g, GraphOp op, ValueId x, ValueId y, Attention *a) {
    Affine left, right, d = {.count = 0};
    if (!affine_of(g, x, &left) || !affine_of(g, y, &right)) return false;
    if (!affine_add(&d, &left, 1) || !affine_add(&d, &right, -1) || d.count != 2) return false;
    uint32_t key = d.axis[0].i == a->key.i ? 0 : 1, query = 1 - key;
    bool one_step = (d.factor[key] == 1 && d.factor[query] == -1) ||
                    (d.factor[key] == -1 && d.factor[query] == 1);
    if (!one_step || d.axis[key].i != a->key.i) return false;
    if (a->query.i && a->query.i != d.axis[query].i) return false;
    a->query = d.axis[query];
    int64_t strict = op == OP_LT;
    if (d.factor[query] == 1 || op == OP_EQ)
        narrow_high(a, -d.constant * d.factor[query] - strict);
    if (d.factor[query] == -1 || op == OP_EQ)
        narrow_low(a, -d.constant * d.factor[query] + strict);
    return true;
}

static bool is_spread(const Graph *g, ValueId v) {
    GraphOp op = graph_value(g, v)->op;
    return op == OP_BROADCAST || op == OP_TRANSPOSE;
}

// x = y, where both are whole numbers, one at the keys: of segments, if q and k have their
// axes.
static bool is_segment_pair(const Graph *g, ValueId x, ValueId y, Attention *a) {
    while (is_spread(g, x))
        x = graph_value(g, x)->in[0];
    while (is_spread(g, y))
        y = graph_value(g, y)->in[0];
    bool first = graph_has_axis(graph_value(g, x), a->key);
    ValueId of_key = first ? x : y, of_query = first ? y : x;
    const Value *key = graph_value(g, of_key), *query = graph_value(g, of_query);
    bool fits = key->type == DTYPE_I32 && graph_has_axis(key, a->key) &&
                !graph_has_axis(query, a->key) && !a->key_segment.i;
    if (!fits) return false;
    a->key_segment = of_key;
    a->query_segment = of_query;
    return true;
}

static bool same_whole(const Graph *g, ValueId x, ValueId y, Attention *a) {
    return compare_narrows(g, OP_EQ, x, y, a) || is_segment_pair(g, x, y, a);
}

static bool condition_narrows(const Graph *g, ValueId v, bool holds, Attention *a) {
    const Value *c = graph_value(g, v);
    switch ((int)c->op) {
    case OP_BROADCAST:
    case OP_TRANSPOSE:
    case OP_DETACH: return condition_narrows(g, c->in[0], holds, a);
    case OP_NOT: return condition_narrows(g, c->in[0], !holds, a);
    case OP_AND:
    case OP_OR:
        return (c->op == OP_AND) == holds && condition_narrows(g, c->in[0], holds, a) &&
               condition_narrows(g, c->in[1], holds, a);
    case OP_EQ: return holds && same_whole(g, c->in[0], c->in[1], a);
    case OP_NE: return !holds && same_whole(g, c->in[0], c->in[1], a);
    case OP_LE:
    case OP_LT:
        if (holds) return compare_narrows(g, c->op, c->in[0], c->in[1], a);
        return compare_narrows(g, c->op == OP_LE ? OP_LT : OP_LE, c->in[1], c->in[0], a);
    default: return false;
    }
}

// ---- the pattern

static bool is_number(const Graph *g, ValueId v, double *out) {
    const Value *x = graph_value(g, v);
    while (x->op == OP_BROADCAST)
        x = graph_value(g, x->in[0]);
    *out = x->attr.number;
    return x->op == OP_CONST;
}

static bool is_never(const Graph *g, ValueId v) {
    double x = 0;
    return is_number(g, v, &x) && x == -HUGE_VAL;
}

// One step from the weights towards the contraction of q and k; {0} if it is none that fits.
static ValueId scores_step(const Graph *g, const Value *v, Attention *a) {
    const ValueId none = {0};
    double factor = 0;
    switch ((int)v->op) {
    case OP_TRANSPOSE: return v->in[0];
    case OP_MUL: {
        uint32_t x = is_number(g, v->in[1], &factor) ? 0 : 1;
        // A factor below 0 would turn the -inf of a mask that comes before it.
        if (!is_number(g, v->in[1 - x], &factor) || !(factor > 0) || isinf(factor)) return none;
        a->scale *= factor;
        return v->in[x];
    }
    case OP_WHERE: {
        bool holds = is_never(g, v->in[2]);
        if (!holds && !is_never(g, v->in[1])) return none;
        return condition_narrows(g, v->in[0], holds, a) ? v->in[holds ? 1 : 2] : none;
    }
    default: return none;
    }
}

// Without a mask any axis that only q has may be the queries: the longest is best.
static AxisId longest_of(const Graph *g, const Value *q, const Value *k) {
    AxisId best = {0};
    for (uint32_t i = 0; i < q->rank; i++) {
        AxisId axis = q->axes[i];
        bool longer = !best.i || graph_extent(g, axis) > graph_extent(g, best);
        if (!graph_has_axis(k, axis) && longer) best = axis;
    }
    return best;
}

// Do q and k have the axes of their segments?
static bool segments_fit(const Graph *g, Attention *a) {
    if (!a->key_segment.i) return true;
    const Value *q = graph_value(g, a->q), *k = graph_value(g, a->k);
    const Value *of_q = graph_value(g, a->query_segment),
                *of_k = graph_value(g, a->key_segment);
    for (uint32_t i = 0; i < of_q->rank; i++) {
        AxisId axis = of_q->axes[i];
        if (!graph_has_axis(q, axis) || axis.i == a->width.i) return false;
        if (!a->query.i && !graph_has_axis(k, axis)) a->query = axis;
    }
    for (uint32_t i = 0; i < of_k->rank; i++)
        if (!graph_has_axis(k, of_k->axes[i]) || of_k->axes[i].i == a->width.i) return false;
    return a->query.i && graph_has_axis(of_q, a->query);
}

// Has every query a key? A softmax over nothing is NaN, as in the graph, only at great cost.
static bool rows_live(const Graph *g, const Attention *a) {
    int64_t queries = graph_extent(g, a->query), keys = graph_extent(g, a->key);
    bool some = a->band.lo <= 0 && a->band.hi >= queries - keys;
    return some && a->band.lo <= a->band.hi;
}

static bool scores_of(const Attend *p, ValueId v, Attention *a) {
    const Graph *g = p->g;
    const Value *c = graph_value(g, v);
    for (; !p->kept[v.i] && c->op != OP_CONTRACT; c = graph_value(g, v))
        if (!(v = scores_step(g, c, a)).i) return false;
    if (p->kept[v.i] || c->attr.along_count != 1) return false;
    bool k_first = graph_has_axis(graph_value(g, c->in[0]), a->key);
    a->q = c->in[k_first ? 1 : 0];
    a->k = c->in[k_first ? 0 : 1];
    a->width = c->attr.along[0];
    const Value *q = graph_value(g, a->q), *k = graph_value(g, a->k);
    if (!segments_fit(g, a)) return false;
    if (!a->query.i) a->query = longest_of(g, q, k);
    return a->query.i && graph_has_axis(q, a->query) && !graph_has_axis(k, a->query) &&
           !graph_has_axis(q, a->key);
}

// The weights: a softmax over just the key axis that is not kept.
static ValueId softmax_of(const Attend *p, ValueId v, AxisId key) {
    const Value *x = graph_value(p->g, v);
    while (!p->kept[v.i] && x->op == OP_TRANSPOSE) {
        v = x->in[0];
        x = graph_value(p->g, v);
    }
    bool fits = !p->kept[v.i] && x->op == OP_SOFTMAX && x->attr.along_count == 1 &&
                x->attr.along[0].i == key.i;
    return fits ? x->in[0] : (ValueId){0};
}

// Are v's axes those of k, with one of its own for d, and are both short enough?
static bool values_fit(const Graph *g, const Attention *a, int64_t most_width) {
    const Value *q = graph_value(g, a->q), *k = graph_value(g, a->k), *v = graph_value(g, a->v);
    for (uint32_t i = 0; i < k->rank; i++)
        if (k->axes[i].i != a->key.i && !graph_has_axis(q, k->axes[i])) return false;
    AxisId own = attend_value_axis(k, v, a->width);
    bool new = own.i == a->width.i || (own.i && !graph_has_axis(q, own));
    new = new &&graph_extent(g, a->width) <= most_width &&graph_extent(g, own) <= most_width;
    return new && v->rank == k->rank &&graph_has_axis(v, a->key);
}

static Attention *attention_of(Attend *p, ValueId v) {
    const Graph *g = p->g;
    const Value *c = graph_value(g, v);
    if (c->op != OP_CONTRACT || c->attr.along_count != 1) return NULL;
    for (uint32_t i = 0; i < 2; i++) {
        Attention a = {.key = c->attr.along[0], .scale = 1, .band = BAND_ALL};
        ValueId scores = softmax_of(p, c->in[i], a.key);
        a.v = c->in[1 - i];
        if (!scores.i || !scores_of(p, scores, &a)) continue;
        if (!rows_live(g, &a) || !values_fit(g, &a, p->most_width)) continue;
        Attention *kept = arena_new(&p->scratch, Attention);
        *kept = a;
        return kept;
    }
    return NULL;
}

// ---- the new graph

enum { OPERANDS = 5 };

static void operands_of(const Attention *a, ValueId out[OPERANDS]) {
    const ValueId in[OPERANDS] = {a->q, a->k, a->v, a->query_segment, a->key_segment};
    memcpy(out, in, sizeof in);
}

static ValueId renamed(Graph *g, ValueId v, AxisId from, AxisId to, Span span) {
    GraphAttr attr = {.along = &from, .to = &to, .along_count = 1, .to_count = 1};
    return graph_add(g, OP_RENAME, (Operands){&v, 1}, attr, span);
}

// `old` as an attention; in[]: its operands in the new graph.
static ValueId attention_add(Graph *g, const Value *old, const Attention *a,
                             const ValueId in[OPERANDS]) {
    ValueId operands[OPERANDS];
    memcpy(operands, in, sizeof operands);
    uint32_t count = a->key_segment.i ? OPERANDS : OPERANDS - 2;
    AxisId own = attend_value_axis(graph_value(g, in[1]), graph_value(g, in[2]), a->width),
           fresh = own;
    if (own.i == a->width.i) {
        const Axis axis = *graph_axis_at(g, own);
        fresh = graph_axis(g, str_printf(g->arena, "%.*s_value", STR_ARG(axis.name)),
                           axis.extent, false);
        operands[2] = renamed(g, in[2], own, fresh, old->span);
    }
    AxisId along[3] = {a->width, a->query, a->key};
    GraphAttr attr = {.along = along, .along_count = 3, .number = a->scale, .band = a->band};
    ValueId r = graph_add(g, OP_ATTEND, (Operands){operands, count}, attr, old->span);
    if (fresh.i != own.i) r = renamed(g, r, fresh, own, old->span);
    const Value *made = graph_value(g, r);
    bool same = true;
    for (uint32_t i = 0; i < made->rank; i++)
        same = same && made->axes[i].i == old->axes[i].i;
    if (same) return r;
    GraphAttr order = {.to = old->axes, .to_count = old->rank};
    return graph_add(g, OP_TRANSPOSE, (Operands){&r, 1}, order, old->span);
}

// Finds the attentions that need nothing that is kept in memory, and what values are needed
// then.
static void find_all(Attend *p, bool *needed) {
    const Graph *g = p->g;
    memset(needed, 0, g->values.len * sizeof *needed);
    vec_each (const GraphOutput, o, &g->outputs)
        needed[o->value.i] = true;
    vec_each (const GraphUpdate, u, &g->updates)
        needed[u->value.i] = true;
    for (uint32_t i = g->values.len - 1; i > 0; i--) {
        p->found[i] = NULL;
        if (!needed[i]) continue;
        const Value *v = graph_value(g, (ValueId){i});
        const Attention *a = p->found[i] = attention_of(p, (ValueId){i});
        ValueId operands[OPERANDS];
        if (a) operands_of(a, operands);
        const ValueId *in = a ? operands : v->in;
        for (uint32_t k = 0; k < (a ? OPERANDS : v->arity); k++)
            needed[in[k].i] = true;
    }
}

static bool keep_needed(Attend *p, const bool *needed) {
    bool more = false;
    for (uint32_t i = 0; i < p->g->values.len; i++) {
        more = more || (needed[i] && !p->kept[i]);
        p->kept[i] = p->kept[i] || needed[i];
    }
    return more;
}

// What an attention computes inside may turn out to be needed: then it is none, and what it
// consists of is needed as well.
static void find_to_the_end(Attend *p, bool *needed) {
    p->kept = arena_array(&p->scratch, bool, p->g->values.len);
    p->found = arena_array(&p->scratch, Attention *, p->g->values.len);
    do
        find_all(p, needed);
    while (keep_needed(p, needed));
}

static Graph *rebuild(Attend *p, const bool *needed, Arena *arena) {
    const Graph *g = p->g;
    Graph *to = graph_copy_header(g, arena);
    ValueId *map = arena_array(&p->scratch, ValueId, g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        const Attention *a = p->found[i];
        bool leaf = v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT;
        if (leaf) map[i] = to->leaf_values.ptr[v->attr.leaf];
        if (leaf || !needed[i]) continue;
        if (a) {
            ValueId in[OPERANDS];
            operands_of(a, in);
            for (uint32_t k = 0; k < OPERANDS; k++)
                in[k] = map[in[k].i];
            map[i] = attention_add(to, v, a, in);
            continue;
        }
        ValueId *in = arena_array(&p->scratch, ValueId, v->arity);
        for (uint32_t k = 0; k < v->arity; k++)
            in[k] = map[v->in[k].i];
        map[i] = graph_again(to, v, in);
    }
    vec_each (const GraphOutput, o, &g->outputs)
        graph_output(to, o->name, map[o->value.i]);
    vec_each (const GraphUpdate, u, &g->updates)
        graph_update(to, u->leaf, map[u->value.i]);
    return to;
}

Graph *pass_attend(const Graph *g, Arena *arena, int64_t most_width) {
    Attend p = {.g = g, .most_width = most_width};
    arena_init(&p.scratch);
    bool *needed = arena_array(&p.scratch, bool, g->values.len);
    find_to_the_end(&p, needed);
    Graph *to = rebuild(&p, needed, arena);
    arena_release(&p.scratch);
    return to;
}

const char *attend_refusal(const Graph *g, ValueId v, int64_t most_width) {
    Attend p = {.g = g, .most_width = INT64_MAX};
    arena_init(&p.scratch);
    p.kept = arena_array(&p.scratch, bool, g->values.len);  // nothing
    const Attention *a = attention_of(&p, v);
    const char *why = NULL;
    if (a)
        why = values_fit(g, a, most_width)
                  ? "something else uses them, or the weights"
                  : "queries, keys or values have more elements than a kernel takes";
    arena_release(&p.scratch);
    return why;
}
