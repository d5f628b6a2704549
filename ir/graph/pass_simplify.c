// pass_simplify.c: rebuilds a graph bottom-up. Each value is made from simplified operands; the
// rows of simplify_views.c, simplify_algebra.c and simplify_sums.c may replace it; equal values
// are made once. A second walk copies what the roots need. requires: verified graph.  ensures:
// same axes, leaves, outputs and updates, each with the same axes and type.
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "ir/graph/passes.h"
#include "ir/graph/shape_rules.h"
#include "ir/graph/simplify_rules.h"

#define MAX_DEPTH 1000  // far beyond any chain of rewrites that makes progress

// ---- looking

Value simplify_value(const Simplifier *s, ValueId v) { return *graph_value(s->g, v); }

ValueId simplify_unbroadcast(const Simplifier *s, ValueId v) {
    const Value *x = graph_value(s->g, v);
    return x->op == OP_BROADCAST ? simplify_unbroadcast(s, x->in[0]) : v;
}

bool simplify_constant(const Simplifier *s, ValueId v, double *out) {
    const Value *x = graph_value(s->g, simplify_unbroadcast(s, v));
    if (x->op == OP_CONST) *out = x->attr.number;
    return x->op == OP_CONST;
}

bool simplify_axes_equal(const AxisId *a, uint32_t a_count, const AxisId *b, uint32_t b_count) {
    bool equal = a_count == b_count;
    for (uint32_t i = 0; i < a_count && equal; i++)
        equal = a[i].i == b[i].i;
    return equal;
}

bool simplify_axes_within(const Value *inner, const Value *outer) {
    for (uint32_t i = 0; i < inner->rank; i++)
        if (!graph_has_axis(outer, inner->axes[i])) return false;
    return true;
}

// ---- making

// Equal values have equal keys. Spans are no part of it: the first place named stays.
static Str term_key(const Simplifier *s, const Term *t) {
    const GraphAttr *a = &t->attr;
    uint32_t count = 9 + t->arity + a->along_count + a->to_count, n = 0;
    uint64_t *key = arena_array(s->g->arena, uint64_t, count);
    key[n++] = t->op;
    key[n++] = t->type;
    memcpy(&key[n++], &a->number, sizeof a->number);
    key[n++] = (uint64_t)a->amount;
    key[n++] = a->leaf;
    key[n++] = (uint64_t)a->band.lo;
    key[n++] = (uint64_t)a->band.hi;
    key[n++] = t->arity;
    key[n++] = a->along_count;
    for (uint32_t i = 0; i < t->arity; i++)
        key[n++] = t->in[i].i;
    for (uint32_t i = 0; i < a->along_count; i++)
        key[n++] = a->along[i].i;
    for (uint32_t i = 0; i < a->to_count; i++)
        key[n++] = a->to[i].i;
    ASSERT(n == count);
    return (Str){(const char *)key, n * sizeof *key};
}

static ValueId term_intern(Simplifier *s, const Term *t) {
    Str key = term_key(s, t);
    uint64_t id = 0;
    if (map_get(&s->seen, key, &id)) return (ValueId){(uint32_t)id};
    ValueId v = graph_add(s->g, t->op, (Operands){t->in, t->arity}, t->attr, t->span);
    map_set(s->g->arena, &s->seen, key, v.i);
    return v;
}

static void term_infer(const Simplifier *s, Term *t) {
    ShapeQuery q = {.g = s->g, .op = t->op, .in = t->in, .arity = t->arity, .attr = t->attr};
    const char *why = shape_infer(&q);
    if (why) BUG("simplify made an illegal '%s': %s", op_text(t->op), why);
    t->type = q.type;
    t->rank = q.rank;
    memcpy(t->axes, q.axes, sizeof t->axes);
}

static bool is_number(const Simplifier *s, ValueId v) {
    return graph_value(s->g, v)->op == OP_CONST;
}

// Constants right, else by number, unless that changes the order of the axes.
static void term_sort_operands(const Simplifier *s, Term *t) {
    bool commutes = t->op == OP_ADD || t->op == OP_MUL || t->op == OP_EQ || t->op == OP_NE ||
                    t->op == OP_AND || t->op == OP_OR;
    if (!commutes) return;
    ValueId x = t->in[0], y = t->in[1];
    bool number = is_number(s, x) && !is_number(s, y);
    if (!number && (is_number(s, y) || x.i <= y.i)) return;
    Term swapped = *t;
    swapped.in = (ValueId[]){y, x};
    term_infer(s, &swapped);
    if (!simplify_axes_equal(swapped.axes, swapped.rank, t->axes, t->rank)) return;
    t->in[0] = y;
    t->in[1] = x;
}

// The order of `along` means nothing to a reduction: it becomes that of the operand's axes.
static void term_sort_along(const Simplifier *s, Term *t) {
    bool set = t->op == OP_REDUCE_SUM || t->op == OP_REDUCE_MAX || t->op == OP_LOGSUMEXP ||
               t->op == OP_SOFTMAX || t->op == OP_CONTRACT;
    if (!set) return;
    Value x = simplify_value(s, t->in[0]);
    GraphAttr found = {0};
    AxisId *sorted = arena_array(s->g->arena, AxisId, t->attr.along_count);
    for (uint32_t i = 0; i < x.rank; i++)
        for (uint32_t k = 0; k < t->attr.along_count; k++)
            if (t->attr.along[k].i == x.axes[i].i) sorted[found.along_count++] = x.axes[i];
    t->attr.along = sorted;
}

static bool row_matches(const SimplifyRow *row, const Term *t) {
    return row->op == t->op || (row->op == OP_NONE && op_is_elementwise(t->op));
}

static ValueId term_rewrite(Simplifier *s, const Term *t) {
    const SimplifyRow *const tables[] = {simplify_view_rows, simplify_algebra_rows,
                                         simplify_sum_rows, NULL};
    for (const SimplifyRow *const *table = tables; *table; table++) {
        for (const SimplifyRow *row = *table; row->apply; row++) {
            if (!row_matches(row, t)) continue;
            ValueId r = row->apply(s, t);
            if (r.i) return simplify_fit(s, t, r, t->axes, t->rank);
        }
    }
    return (ValueId){0};
}

ValueId simplify_make(Simplifier *s, const Term *term) {
    if (++s->depth > MAX_DEPTH) BUG("simplify does not terminate at '%s'", op_text(term->op));
    Term t = *term;
    t.in = arena_array(s->g->arena, ValueId, t.arity);
    for (uint32_t i = 0; i < t.arity; i++)
        t.in[i] = term->in[i];
    term_infer(s, &t);
    term_sort_operands(s, &t);
    term_sort_along(s, &t);
    ValueId r = term_rewrite(s, &t);
    if (r.i == 0) r = term_intern(s, &t);
    ASSERT(graph_value(s->g, r)->type == t.type);
    s->depth--;
    return r;
}

ValueId simplify_unary(Simplifier *s, const Term *at, GraphOp op, ValueId x) {
    return simplify_move(s, at, op, x, (GraphAttr){0});
}

ValueId simplify_binary(Simplifier *s, const Term *at, GraphOp op, ValueId x, ValueId y) {
    Term t = {.op = op, .in = (ValueId[]){x, y}, .arity = 2, .span = at->span};
    return simplify_make(s, &t);
}

ValueId simplify_move(Simplifier *s, const Term *at, GraphOp op, ValueId x, GraphAttr attr) {
    Term t = {.op = op, .in = &x, .arity = 1, .attr = attr, .span = at->span};
    return simplify_make(s, &t);
}

ValueId simplify_number(Simplifier *s, const Term *at, double number, DType type) {
    Term t = {.op = OP_CONST, .attr = {.number = number, .type = type}, .span = at->span};
    return simplify_make(s, &t);
}

ValueId simplify_rename(Simplifier *s, const Term *at, ValueId x, AxisId from, AxisId to) {
    return simplify_move(
        s, at, OP_RENAME, x,
        (GraphAttr){.along = &from, .to = &to, .along_count = 1, .to_count = 1});
}

ValueId simplify_fit(Simplifier *s, const Term *at, ValueId x, const AxisId *axes,
                     uint32_t rank) {
    Value v = simplify_value(s, x);
    if (simplify_axes_equal(v.axes, v.rank, axes, rank)) return x;
    return simplify_move(s, at, v.rank == rank ? OP_TRANSPOSE : OP_BROADCAST, x,
                         (GraphAttr){.to = axes, .to_count = (uint8_t)rank});
}

// ---- walking

// Which values the outputs and updates need.
static bool *find_live(const Graph *g, Arena *arena) {
    bool *live = arena_array(arena, bool, g->values.len);
    vec_each (const GraphOutput, o, &g->outputs) {
        live[o->value.i] = true;
    }
    vec_each (const GraphUpdate, u, &g->updates) {
        live[u->value.i] = true;
    }
    for (uint32_t i = g->values.len - 1; i > 0; i--) {
        if (!live[i]) continue;
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; k < v->arity; k++)
            live[v->in[k].i] = true;
    }
    return live;
}

static bool is_leaf(const Value *v) {
    return v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT;
}

// Each live value of `from` in s->g; with `rewrite`, simplified.
static void walk(Simplifier *s, const Graph *from, Arena *scratch, bool rewrite) {
    ValueId *map = arena_array(scratch, ValueId, from->values.len);
    bool *live = find_live(from, scratch);
    for (uint32_t i = 1; i < from->values.len; i++) {
        const Value *v = graph_value(from, (ValueId){i});
        if (is_leaf(v)) {
            map[i] = s->g->leaf_values.ptr[v->attr.leaf];
        } else if (live[i]) {
            ValueId *in = arena_array(scratch, ValueId, v->arity);
            for (uint32_t k = 0; k < v->arity; k++)
                in[k] = map[v->in[k].i];
            Term t = {
                .op = v->op, .in = in, .arity = v->arity, .attr = v->attr, .span = v->span};
            map[i] = rewrite ? simplify_make(s, &t)
                             : graph_add(s->g, t.op, (Operands){in, t.arity}, t.attr, t.span);
        }
    }
    vec_each (const GraphOutput, o, &from->outputs) {
        graph_output(s->g, o->name, map[o->value.i]);
    }
    vec_each (const GraphUpdate, u, &from->updates) {
        graph_update(s->g, u->leaf, map[u->value.i]);
    }
}

Graph *pass_simplify(const Graph *g, Arena *arena) {
    Arena scratch;
    arena_init(&scratch);
    Simplifier rewritten = {.g = graph_copy_header(g, &scratch)};
    walk(&rewritten, g, &scratch, true);
    Simplifier pruned = {.g = graph_copy_header(g, arena)};
    walk(&pruned, rewritten.g, &scratch, false);
    arena_release(&scratch);
    return pruned.g;
}
