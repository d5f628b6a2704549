// pass_absorb.c: makes narrow what attention reads of every position.
//
// Keys k = concat(c w, r) of a narrow c, where heads come from the weight w alone and r is the
// same for all of them, are used as q . k = (q w) . c + q . r, and values v = c u as
// (p . c) u. So queries meet w, results meet u, and each position is concat(c, r), once for all
// heads. Which of the two forms costs less is counted for one query, which reads it all.
//
// In a graph over all positions nothing is gained: pass_incremental keeps what it reads here.
#include "base/check.h"
#include "ir/graph/attend.h"
#include "ir/graph/passes.h"

// What a processor computes while it reads a byte: few can do less.
#define FLOPS_A_BYTE 4.0

enum { MOST_PARTS = 4, MOST_OPERANDS = 8 };

// One part of k or v along its width: x, whose axis `rank` meets the weight w; or x as it is,
// the same for all heads, where w is {0}. All values are of the old graph.
typedef struct {
    ValueId x, w;
    AxisId key;    // of x
    AxisId rank;   // of x: what is kept; of w too
    AxisId inner;  // of w: the width of the part
    AxisId own;    // the width of the part where k is made
    int64_t at;    // where x lies in what is kept
} Part;

typedef struct {
    const Graph *g;
    const Value *attend;
    Part keys[MOST_PARTS], values;  // values: one part
    uint32_t key_count;
    int64_t width;  // of what is kept for keys
    int shared;     // the part of the keys that values are made of as well; -1: none
} Form;

typedef struct {
    ValueId v;
    AxisId width;  // its own axis
} Wide;

typedef struct {
    const Graph *g;
    Graph *to;
    ValueId *map;  // per value of g
    Wide *kept;    // per k or v of an attention: what stands for it, which others may share
} Absorb;

// ---- what k and v are made of

static bool has(const Graph *g, ValueId v, AxisId a) {
    return graph_has_axis(graph_value(g, v), a);
}

// Is v the sum over one axis of x with a weight that gives it its width?
static bool is_weighted(const Graph *g, const Value *v, Part *part) {
    if (v->op != OP_CONTRACT || v->attr.along_count != 1) return false;
    part->rank = v->attr.along[0];
    for (uint32_t i = 0; i < 2; i++) {
        part->x = v->in[i];
        part->w = v->in[1 - i];
        if (has(g, part->x, part->key) && !has(g, part->w, part->key) &&
            has(g, part->w, part->inner) && !has(g, part->x, part->inner))
            return true;
    }
    return false;
}

// Adds the parts of v, whose keys and width are `at->key` and `at->inner`, to `parts`.
static bool find_parts(const Graph *g, ValueId v, Part at, Part *parts, uint32_t *count) {
    const Value *value = graph_value(g, v);
    const GraphAttr *attr = &value->attr;
    if (value->op == OP_TRANSPOSE) return find_parts(g, value->in[0], at, parts, count);
    bool of_key = value->op == OP_RENAME && attr->to[0].i == at.key.i,
         of_width = value->op == OP_RENAME && attr->to[0].i == at.inner.i;
    if (of_key || of_width) {
        *(of_key ? &at.key : &at.inner) = attr->along[0];
        return find_parts(g, value->in[0], at, parts, count);
    }
    if (value->op == OP_CONCAT && attr->to[0].i == at.inner.i) {
        for (uint32_t i = 0; i < value->arity; i++) {
            at.inner = at.own = attr->along[i];
            if (!find_parts(g, value->in[i], at, parts, count)) return false;
        }
        return true;
    }
    if (*count == MOST_PARTS) return false;
    if (!is_weighted(g, value, &at)) {
        bool same = value->op == OP_BROADCAST && has(g, value->in[0], at.key) &&
                    has(g, value->in[0], at.inner);
        at.x = same ? value->in[0] : v;
        at.w = (ValueId){0};
        at.rank = at.inner;
    }
    parts[(*count)++] = at;
    return true;
}

// Does x lack the axis of k or v, which then comes from its weight or is a repetition?
static bool lacks(const Form *f, const Part *part, AxisId axis) {
    bool key = axis.i == f->attend->attr.along[2].i;
    return !has(f->g, part->x, key ? part->key : axis);
}

// Do all parts lack the same axes, so that what is kept has the others?
static bool parts_agree(const Form *f) {
    const Value *k = graph_value(f->g, f->attend->in[1]),
                *q = graph_value(f->g, f->attend->in[0]);
    for (uint32_t i = 0; i < k->rank; i++) {
        if (k->axes[i].i == f->attend->attr.along[0].i) continue;
        bool first = lacks(f, &f->keys[0], k->axes[i]);
        for (uint32_t n = 1; n < f->key_count; n++)
            if (lacks(f, &f->keys[n], k->axes[i]) != first) return false;
        if (lacks(f, &f->values, k->axes[i]) != first) return false;
    }
    for (uint32_t n = 0; n < f->key_count; n++)
        if ((f->keys[n].w.i && graph_has_axis(q, f->keys[n].rank)) ||
            (f->key_count > 1 && graph_has_axis(q, f->keys[n].own)))
            return false;
    return true;
}

static bool find_form(Form *f) {
    const Graph *g = f->g;
    const AxisId *along = f->attend->attr.along;
    const Value *k = graph_value(g, f->attend->in[1]), *v = graph_value(g, f->attend->in[2]);
    Part at = {.key = along[2], .inner = along[0], .own = along[0]};
    if (!find_parts(g, f->attend->in[1], at, f->keys, &f->key_count)) return false;
    uint32_t count = 0;
    Part values[MOST_PARTS];
    at.inner = at.own = attend_value_axis(k, v, along[0]);
    if (!find_parts(g, f->attend->in[2], at, values, &count) || count != 1) return false;
    f->values = values[0];
    f->shared = -1;
    for (uint32_t i = 0; i < f->key_count; i++) {
        Part *part = &f->keys[i];
        part->at = f->width;
        f->width += graph_extent(g, part->rank);
        bool same = part->x.i == f->values.x.i && part->key.i == f->values.key.i &&
                    part->rank.i == f->values.rank.i;
        if (same) f->shared = (int)i;
    }
    return parts_agree(f);
}

// ---- cost

// Of one position of all rows, read by one query: bytes, and operations as bytes.
static double cost(const Form *f, double kept, double width) {
    const Value *q = graph_value(f->g, f->attend->in[0]);
    double heads = (double)graph_elements(f->g, f->attend->in[0]) /
                   (double)graph_extent(f->g, f->attend->attr.along[0]) /
                   (double)graph_extent(f->g, f->attend->attr.along[1]);
    return kept * (double)dtype_bytes(q->type) +
           op_flops(OP_CONTRACT) * heads * width / FLOPS_A_BYTE;
}

// Elements of x a position and element of its width.
static double repeats(const Form *f, ValueId x, AxisId key, AxisId width) {
    return (double)graph_elements(f->g, x) / (double)graph_extent(f->g, key) /
           (double)graph_extent(f->g, width);
}

static bool is_cheaper(const Form *f) {
    const AxisId *along = f->attend->attr.along;
    ValueId k = f->attend->in[1], v = f->attend->in[2];
    AxisId own = attend_value_axis(graph_value(f->g, k), graph_value(f->g, v), along[0]);
    double d = (double)graph_extent(f->g, along[0]), e = (double)graph_extent(f->g, own),
           rank = (double)graph_extent(f->g, f->values.rank), width = (double)f->width,
           once = repeats(f, f->values.x, f->values.key, f->values.rank);
    double before = cost(f, (d + e) * repeats(f, k, along[2], along[0]), d + e),
           after = cost(f, (width + (f->shared < 0 ? rank : 0)) * once, width + rank);
    return after < before;
}

// ---- the new graph

static ValueId renamed(Graph *g, ValueId x, AxisId from, AxisId to, Span span) {
    if (from.i == to.i) return x;
    GraphAttr attr = {.along = &from, .to = &to, .along_count = 1, .to_count = 1};
    return graph_add(g, OP_RENAME, (Operands){&x, 1}, attr, span);
}

static ValueId sliced(Graph *g, Wide x, AxisId to, int64_t at, Span span) {
    if (graph_extent(g, x.width) == graph_extent(g, to))
        return renamed(g, x.v, x.width, to, span);
    GraphAttr attr = {
        .along = &x.width, .to = &to, .along_count = 1, .to_count = 1, .amount = at};
    return graph_add(g, OP_SLICE, (Operands){&x.v, 1}, attr, span);
}

static ValueId contracted(Graph *g, ValueId x, ValueId y, AxisId along, Span span) {
    GraphAttr attr = {.along = &along, .along_count = 1};
    return graph_add(g, OP_CONTRACT, (Operands){(ValueId[]){x, y}, 2}, attr, span);
}

// x with the axes of `like` that it has, in their order, its width in the place of `width`.
static ValueId ordered(Graph *g, Wide x, const Value *like, AxisId width, Span span) {
    const Value *v = graph_value(g, x.v);
    AxisId axes[GRAPH_MAX_RANK];
    uint32_t n = 0;
    bool same = true;
    for (uint32_t i = 0; i < like->rank; i++) {
        AxisId axis = like->axes[i].i == width.i ? x.width : like->axes[i];
        if (!graph_has_axis(v, axis)) continue;
        same = same && v->axes[n].i == axis.i;
        axes[n++] = axis;
    }
    GraphAttr attr = {.to = axes, .to_count = (uint8_t)n};
    return same ? x.v : graph_add(g, OP_TRANSPOSE, (Operands){&x.v, 1}, attr, span);
}

// One behind the other.
static ValueId joined(Graph *g, const Wide *parts, uint32_t count, AxisId to, Span span) {
    if (count == 1) return renamed(g, parts[0].v, parts[0].width, to, span);
    ValueId in[MOST_PARTS];
    AxisId axes[MOST_PARTS];
    for (uint32_t i = 0; i < count; i++) {
        in[i] = parts[i].v;
        axes[i] = parts[i].width;
    }
    GraphAttr attr = {.along = axes, .along_count = (uint8_t)count, .to = &to, .to_count = 1};
    return graph_add(g, OP_CONCAT, (Operands){in, count}, attr, span);
}

static AxisId new_axis(Graph *g, const char *name, int64_t extent) {
    return graph_axis(g, str_of(name), extent, false);
}

// What is kept of a position for the part, with the axes of k or v in their order.
static ValueId kept_of(const Absorb *p, const Form *f, const Part *part, const Value *like,
                       AxisId width) {
    Span span = f->attend->span;
    ValueId x = renamed(p->to, p->map[part->x.i], part->key, f->attend->attr.along[2], span);
    return ordered(p->to, (Wide){x, part->rank}, like, width, span);
}

static Wide keys_of(const Absorb *p, const Form *f) {
    Wide *kept = &p->kept[f->attend->in[1].i];
    if (kept->v.i) return *kept;
    const Value *k = graph_value(f->g, f->attend->in[1]);
    Wide parts[MOST_PARTS];
    for (uint32_t i = 0; i < f->key_count; i++)
        parts[i] =
            (Wide){kept_of(p, f, &f->keys[i], k, f->attend->attr.along[0]), f->keys[i].rank};
    kept->width = new_axis(p->to, "latent", f->width);
    kept->v = joined(p->to, parts, f->key_count, kept->width, f->attend->span);
    return *kept;
}

static Wide values_of(const Absorb *p, const Form *f, Wide keys) {
    Span span = f->attend->span;
    Wide own = {.width = new_axis(p->to, "latent_value", graph_extent(f->g, f->values.rank))};
    if (f->shared >= 0) {
        own.v = sliced(p->to, keys, own.width, f->keys[f->shared].at, span);
        return own;
    }
    Wide *kept = &p->kept[f->attend->in[2].i];
    if (kept->v.i) return *kept;
    const Value *v = graph_value(f->g, f->attend->in[2]);
    ValueId x = kept_of(p, f, &f->values, v, f->values.own);
    own.v = renamed(p->to, x, f->values.rank, own.width, span);
    return *kept = own;
}

static ValueId queries_of(const Absorb *p, const Form *f, AxisId all) {
    Graph *to = p->to;
    Span span = f->attend->span;
    const Value *like = graph_value(f->g, f->attend->in[0]);
    Wide parts[MOST_PARTS], q = {p->map[f->attend->in[0].i], f->attend->attr.along[0]};
    int64_t at = 0;
    for (uint32_t i = 0; i < f->key_count; i++) {
        const Part *part = &f->keys[i];
        parts[i] = (Wide){sliced(to, q, part->own, at, span), part->own};
        at += graph_extent(to, part->own);
        if (!part->w.i) continue;
        ValueId w = renamed(to, p->map[part->w.i], part->inner, part->own, span);
        Wide latent = {contracted(to, parts[i].v, w, part->own, span), part->rank};
        parts[i] = (Wide){ordered(to, latent, like, q.width, span), part->rank};
    }
    return joined(to, parts, f->key_count, all, span);
}

// What the mean r of what is kept says of the values.
static ValueId result_of(const Absorb *p, const Form *f, ValueId r, AxisId width) {
    Graph *to = p->to;
    const Part *part = &f->values;
    Span span = f->attend->span;
    if (!part->w.i) return renamed(to, r, width, part->own, span);
    ValueId w = renamed(to, p->map[part->w.i], part->inner, part->own, span);
    r = contracted(to, r, renamed(to, w, part->rank, width, span), width, span);
    return ordered(to, (Wide){r, part->own}, f->attend, part->own, span);
}

static ValueId absorbed(const Absorb *p, const Form *f) {
    Wide keys = keys_of(p, f), values = values_of(p, f, keys);
    const AxisId *old = f->attend->attr.along;
    AxisId along[3] = {keys.width, old[1], old[2]};
    GraphAttr attr = f->attend->attr;
    attr.along = along;
    // Segments, if there are any, stay.
    ValueId in[MOST_OPERANDS] = {queries_of(p, f, keys.width), keys.v, values.v};
    ASSERT(f->attend->arity <= MOST_OPERANDS);
    for (uint32_t i = 3; i < f->attend->arity; i++)
        in[i] = p->map[f->attend->in[i].i];
    ValueId r =
        graph_add(p->to, OP_ATTEND, (Operands){in, f->attend->arity}, attr, f->attend->span);
    return result_of(p, f, r, values.width);
}

static ValueId made(const Absorb *p, const Value *v, Arena *scratch) {
    Form form = {.g = p->g, .attend = v};
    bool kept = v->op == OP_ATTEND && graph_axis_at(p->g, v->attr.along[2])->same_as.i;
    if (kept && find_form(&form) && is_cheaper(&form)) return absorbed(p, &form);
    ValueId *in = arena_array(scratch, ValueId, v->arity);
    for (uint32_t k = 0; k < v->arity; k++)
        in[k] = p->map[v->in[k].i];
    return graph_again(p->to, v, in);
}

Graph *pass_absorb(const Graph *g, Arena *arena) {
    Absorb p = {.g = g, .to = graph_copy_header(g, arena)};
    Arena scratch;
    arena_init(&scratch);
    p.map = arena_array(&scratch, ValueId, g->values.len);
    p.kept = arena_array(&scratch, Wide, g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        bool leaf = v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT;
        p.map[i] = leaf ? p.to->leaf_values.ptr[v->attr.leaf] : made(&p, v, &scratch);
    }
    vec_each (const GraphOutput, o, &g->outputs)
        graph_output(p.to, o->name, p.map[o->value.i]);
    vec_each (const GraphUpdate, u, &g->updates)
        graph_update(p.to, u->leaf, p.map[u->value.i]);
    arena_release(&scratch);
    return p.to;
}
