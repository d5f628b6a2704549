// fuse_groups.c: what makes a group of values a legal kernel.
#include "ir/graph/fuse_groups.h"

#include "base/check.h"

bool axis_set_has(const uint64_t *set, uint32_t axis) {
    return set[axis / 64] >> (axis % 64) & 1;
}

static void axis_set_add(uint64_t *set, AxisId axis) {
    set[axis.i / 64] |= (uint64_t)1 << (axis.i % 64);
}

Group *fuse_group(Fuse *f, ValueId v) {
    uint32_t root = v.i;
    while (f->parent[root] != root)
        root = f->parent[root];
    while (f->parent[v.i] != root) {
        uint32_t up = f->parent[v.i];
        f->parent[v.i] = root;
        v.i = up;
    }
    return &f->groups[root];
}

bool fuse_unrolled_all(const Fuse *f, const AxisId *axes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!f->unrolled[axes[i].i]) return false;
    return true;
}

ValueId fuse_through_views(const Fuse *f, ValueId v) {
    while (f->homes[v.i] == HOME_VIEW) {
        const Value *value = graph_value(f->graph, v);
        bool free = value->op == OP_CAST || value->op == OP_BROADCAST ||
                    value->op == OP_TRANSPOSE ||
                    (value->op == OP_TAKE && f->unrolled[value->attr.along[0].i]);
        if (!free) return (ValueId){0};
        v = value->in[0];
    }
    return v;
}

// Operations that read their operand at other points than the one they compute.
static bool reads_elsewhere(GraphOp op, uint32_t operand) {
    switch ((int)op) {
    case OP_SPLIT:
    case OP_MERGE:
    case OP_RENAME:
    case OP_SLICE:
    case OP_TAKE:
    case OP_PAD:
    case OP_ROLL:
    case OP_SHIFT:
    case OP_WINDOW:
    case OP_UNWINDOW:
    case OP_CONCAT:
    case OP_SCATTER:
    case OP_PLACE:
    case OP_CONTRACT: return true;
    case OP_GATHER: return operand == 0;
    default: return op_stands_alone(op);
    }
}

static bool is_low_form(const Value *v) { return v->op == OP_CAST && v->type == DTYPE_BF16; }

// Is x, or what x is the bf16 form of, to be read from memory?
static bool is_kept(const Fuse *f, ValueId x) {
    const Value *value = graph_value(f->graph, x);
    if (is_low_form(value)) value = graph_value(f->graph, value->in[0]);
    return value->op == OP_KEEP;
}

const char *fuse_edge_refused(const Fuse *f, uint32_t v, uint32_t i) {
    const Value *value = &f->graph->values.ptr[v];
    ValueId x = fuse_through_views(f, value->in[i]);
    if (reads_elsewhere(value->op, i) || x.i == 0)
        return "it is read at other points than it is computed";
    return is_kept(f, x) && !is_low_form(value) ? "it is to be kept in memory" : NULL;
}

static bool is_reduction(GraphOp op) {
    return op == OP_REDUCE_SUM || op == OP_REDUCE_MAX || op == OP_SOFTMAX || op == OP_LOGSUMEXP;
}

static bool in_cols(const Cols *cols, AxisId a) {
    for (uint32_t i = 0; i < cols->count; i++)
        if (cols->axes[i].i == a.i) return true;
    return false;
}

// How a reduction meets the cols: its operand's cols must be reduced all or not at all, and in
// the storage order of cols.
static bool reduces_cols_wholly(const Fuse *f, const Value *v, const Cols *cols) {
    const Value *x = graph_value(f->graph, v->in[0]);
    uint32_t present = 0, reduced = 0;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (!in_cols(cols, x->axes[i])) continue;
        present++;
        reduced += axis_in(v->attr.along, v->attr.along_count, x->axes[i]);
    }
    return reduced == 0 || (reduced == present && present == cols->count);
}

static bool reduces_rows(const Fuse *f, const Value *v, const Cols *cols) {
    for (uint32_t i = 0; i < v->attr.along_count; i++)
        if (!f->unrolled[v->attr.along[i].i] && !in_cols(cols, v->attr.along[i])) return true;
    return false;
}

// ---- groups of one

// The trailing axes of x (unrolled ones apart) that are all in, or all not in, the reduction.
static Cols cols_of(const Fuse *f, const Value *v) {
    const Value *x = is_reduction(v->op) ? graph_value(f->graph, v->in[0]) : v;
    AxisId *axes = arena_array(f->arena, AxisId, x->rank + 1);
    int n = 0;
    for (int i = 0; i < x->rank; i++)
        if (!f->unrolled[x->axes[i].i]) axes[n++] = x->axes[i];
    if (n == 0) return (Cols){axes, 0};
    if (!is_reduction(v->op) || fuse_unrolled_all(f, v->attr.along, v->attr.along_count))
        return (Cols){axes + n - 1, 1};
    int from = n - 1;
    while (from > 0 && axis_in(v->attr.along, v->attr.along_count, axes[from]) &&
           axis_in(v->attr.along, v->attr.along_count, axes[from - 1]))
        from--;
    // A sum over everything keeps one axis as cols: its other axes are rows, which can be
    // shared out.
    if (from == 0 && axis_in(v->attr.along, v->attr.along_count, axes[0]) &&
        (v->op == OP_REDUCE_SUM || v->op == OP_REDUCE_MAX))
        from = n - 1;
    return (Cols){axes + from, (uint32_t)(n - from)};
}

static void group_init(Fuse *f, uint32_t v) {
    const Value *value = &f->graph->values.ptr[v];
    Group *g = &f->groups[v];
    *g = (Group){.id = v,
                 .first = v,
                 .last = v,
                 .size = 1,
                 .space = arena_array(f->arena, uint64_t, f->set_words)};
    for (int i = 0; i < value->rank; i++)
        axis_set_add(g->space, value->axes[i]);
    for (uint32_t k = 0; k < value->arity; k++) {
        const Value *x = graph_value(f->graph, value->in[k]);
        for (int i = 0; i < x->rank && !reads_elsewhere(value->op, k); i++)
            axis_set_add(g->space, x->axes[i]);
    }
    g->cols = cols_of(f, value);
    g->constrained = is_reduction(value->op) &&
                     !fuse_unrolled_all(f, value->attr.along, value->attr.along_count);
    g->sealed = value->op == OP_SCATTER || value->op == OP_PLACE || op_is_view(value->op) ||
                (op_stands_alone(value->op) && !op_is_grouped(value->op));
    if (value->op == OP_UNWINDOW) axis_set_add(g->space, value->attr.along[1]);
    if (op_is_contraction(value->op)) g->contract = (ValueId){v};
    f->own[v] = arena_array(f->arena, uint64_t, f->set_words);
    memcpy(f->own[v], g->space, f->set_words * sizeof *g->space);
}

static void build_users(Fuse *f) {
    const Graph *g = f->graph;
    uint32_t n = g->values.len, total = 0;
    f->users_at = arena_array(f->arena, uint32_t, n + 2);
    for (uint32_t v = 1; v < n; v++)
        for (uint32_t k = 0; f->homes[v] && k < g->values.ptr[v].arity; k++, total++)
            f->users_at[g->values.ptr[v].in[k].i + 2]++;
    for (uint32_t v = 1; v < n + 1; v++)
        f->users_at[v + 1] += f->users_at[v];
    f->users = arena_array(f->arena, uint32_t, total + 1);
    for (uint32_t v = 1; v < n; v++)
        for (uint32_t k = 0; f->homes[v] && k < g->values.ptr[v].arity; k++)
            f->users[f->users_at[g->values.ptr[v].in[k].i + 1]++] = v;
}

static uint32_t role_of(const Fuse *f, uint32_t a) {
    AxisId first = graph_axis_at(f->graph, (AxisId){a})->same_as;
    return first.i ? first.i : a;
}

static void mark_small(Fuse *f, AxisId a) {
    if (graph_extent(f->graph, a) <= 16) f->unrolled[a.i] = true;
}

// Sources that are stacked in parts (heads): the parts meet again in what is done with all of a
// source, if they are few.
static void mark_heads(Fuse *f, const Value *source) {
    for (uint32_t i = 0; source->op == OP_SPLIT && i + 1 < source->attr.to_count; i++)
        mark_small(f, source->attr.to[i]);
}

// Axes that stack and window make are small and known: their points become separate tiles. So
// are small axes that points are taken of, those of one point that no input gives, and axes
// that play other roles of one.
static void mark_unrolled(Fuse *f) {
    for (uint32_t v = 1; v < f->graph->values.len; v++) {
        const Value *value = &f->graph->values.ptr[v];
        if (value->op == OP_STACK || value->op == OP_PUT || value->op == OP_WINDOW)
            f->unrolled[value->attr.to[0].i] = true;
        if (value->op == OP_UNWINDOW) f->unrolled[value->attr.along[1].i] = true;
        if (value->op == OP_TAKE) mark_small(f, value->attr.along[0]);
        for (uint32_t k = 0; value->op == OP_STACK && k < value->arity; k++)
            mark_heads(f, graph_value(f->graph, value->in[k]));
    }
    for (uint32_t a = 1; a < f->axis_count; a++) {
        const Axis *axis = graph_axis_at(f->graph, (AxisId){a});
        if (f->unrolled[a] || (!axis->runtime && axis->extent == 1))
            f->unrolled[role_of(f, a)] = true;
    }
    for (uint32_t a = 1; a < f->axis_count; a++)
        f->unrolled[a] = f->unrolled[role_of(f, a)];
}

// The loss and what it needs behind the last contraction belong to the backward part, which
// begins there.
static void mark_parts(Fuse *f) {
    ValueId loss = graph_output_find(f->graph, STR("loss"));
    if (!loss.i) return;
    bool *needed = arena_array(f->arena, bool, f->graph->values.len);
    needed[loss.i] = true;
    for (uint32_t v = loss.i; v > 0; v--) {
        const Value *value = &f->graph->values.ptr[v];
        for (uint32_t k = 0; needed[v] && k < value->arity; k++) {
            needed[value->in[k].i] = true;
            f->early[value->in[k].i] |= f->early[v] || value->op == OP_CONTRACT ||
                                        value->op == OP_ATTEND || op_is_linear(value->op) ||
                                        value->op == OP_CONTRACT_AT;
        }
    }
    for (uint32_t v = 1; v < f->graph->values.len; v++) {
        const Value *value = &f->graph->values.ptr[v];
        f->again[v] = !needed[v];
        for (uint32_t k = 0; k < value->arity; k++) {
            uint32_t x = value->in[k].i;
            bool is_there = f->homes[x] == HOME_LEAF || f->homes[x] == HOME_INLINE ||
                            f->homes[x] == HOME_CONSTANT;
            if (!is_there && !f->early[x] && !f->again[x]) f->again[v] = false;
        }
    }
}

bool fuse_parts_differ(const Fuse *f, const Group *p, const Group *q) {
    return f->early[p->first] != f->early[q->first];
}

Fuse *fuse_new(const Graph *g, Arena *arena) {
    Fuse *f = arena_new(arena, Fuse);
    uint32_t n = g->values.len;
    *f = (Fuse){
        .graph = g, .arena = arena, .homes = value_homes(g, arena), .axis_count = g->axes.len};
    f->set_words = f->axis_count / 64 + 1;
    f->unrolled = arena_array(arena, bool, f->axis_count);
    f->roots = arena_array(arena, bool, n);
    f->early = arena_array(arena, bool, n);
    f->again = arena_array(arena, bool, n);
    f->laid_in = arena_array(arena, ValueId, n);
    mark_unrolled(f);
    mark_parts(f);
    build_users(f);
    f->base = arena_array(arena, ValueId, n);
    for (uint32_t v = 1; v < n; v++)
        f->base[v] = value_layout(g, (ValueId){v}).base;
    f->groups = arena_array(arena, Group, n);
    f->own = arena_array(arena, uint64_t *, n);
    f->rows = arena_array(arena, uint64_t, f->set_words);
    f->parent = arena_array(arena, uint32_t, n);
    f->next = arena_array(arena, uint32_t, n);
    f->stack = arena_array(arena, uint32_t, n);
    f->seen = arena_array(arena, uint32_t, n);
    f->refusal_cap = 4 * n;
    f->refusals = arena_array(arena, struct Refusal, f->refusal_cap);
    for (uint32_t v = 1; v < n; v++) {
        f->parent[v] = v;
        if (f->homes[v] == HOME_COMPUTED) group_init(f, v);
    }
    return f;
}

// ---- legality of a union

// A contraction's own axes are dimensions of its loops, also those that are small elsewhere.
bool group_unrolls(const Fuse *f, const Group *p, AxisId a) {
    if (!f->unrolled[a.i] || !p->contract.i) return f->unrolled[a.i];
    const Value *c = graph_value(f->graph, p->contract);
    return !graph_has_axis(c, a) && !graph_has_axis(graph_value(f->graph, c->in[0]), a) &&
           !graph_has_axis(graph_value(f->graph, c->in[1]), a);
}

// Axes of the union that are neither cols nor unrolled. Returns how many are unrolled.
static uint32_t find_rows(Fuse *f, const Group *p, const Group *q, const Cols *cols) {
    uint32_t unrolled = 0;
    memset(f->rows, 0, f->set_words * sizeof *f->rows);
    for (uint32_t a = 1; a < f->axis_count; a++) {
        if (!axis_set_has(p->space, a) && !axis_set_has(q->space, a)) continue;
        if (group_unrolls(f, p, (AxisId){a}) && group_unrolls(f, q, (AxisId){a}))
            unrolled++;
        else if (!in_cols(cols, (AxisId){a}))
            axis_set_add(f->rows, (AxisId){a});
    }
    return unrolled;
}

// Is value m computed once a row? A value that lacks a row axis would be computed again and
// again.
static bool has_all_rows(const Fuse *f, uint32_t m) {
    for (uint32_t i = 0; i < f->set_words; i++)
        if (f->rows[i] & ~f->own[m][i]) return false;
    return true;
}

bool group_same_space(const Fuse *f, const Group *p, const Group *q) {
    const Value *c = graph_value(f->graph, p->contract);
    for (uint32_t a = 1; a < f->axis_count; a++)
        if (axis_set_has(q->space, a) != graph_has_axis(c, (AxisId){a})) return false;
    return true;
}

// A sum over rows is known only when the kernel is done: no member of the union may use it.
static bool used_within(Fuse *f, uint32_t v, const Group *p, const Group *q) {
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->homes[user] == HOME_VIEW) {
            if (used_within(f, user, p, q)) return true;
        } else if (f->homes[user] == HOME_COMPUTED) {
            const Group *g = fuse_group(f, (ValueId){user});
            if (g == p || g == q) return true;
        }
    }
    return false;
}

// The row axes that v sums over must be those that `first` (an earlier such member, or 0) sums
// over.
static bool same_row_sum(const Fuse *f, uint32_t first, uint32_t v, const Cols *cols) {
    if (!first) return true;
    const Value *a = &f->graph->values.ptr[first], *b = &f->graph->values.ptr[v];
    for (int pass = 0; pass < 2; pass++) {
        const Value *one = pass ? b : a, *other = pass ? a : b;
        for (uint32_t i = 0; i < one->attr.along_count; i++) {
            AxisId axis = one->attr.along[i];
            if (!f->unrolled[axis.i] && !in_cols(cols, axis) &&
                !axis_in(other->attr.along, other->attr.along_count, axis))
                return false;
        }
    }
    return true;
}

static const char *member_legal(Fuse *f, uint32_t m, const Group *p, const Group *q,
                                const Cols *cols) {
    const Value *v = &f->graph->values.ptr[m];
    if (!has_all_rows(f, m)) return "they have different rows";
    for (uint32_t k = 0; k < v->arity; k++) {
        ValueId base = f->base[v->in[k].i];
        const char *why = NULL;
        if (f->homes[base.i] != HOME_COMPUTED || (why = fuse_edge_refused(f, m, k)) == NULL)
            continue;
        const Group *from = fuse_group(f, base);
        if (from == p || from == q) return why;
    }
    if (!is_reduction(v->op) || fuse_unrolled_all(f, v->attr.along, v->attr.along_count))
        return NULL;
    if (!reduces_cols_wholly(f, v, cols)) return "they reduce along different axes";
    if (!reduces_rows(f, v, cols)) return NULL;
    if (v->op == OP_SOFTMAX || v->op == OP_LOGSUMEXP) return "a softmax over rows";
    if (used_within(f, m, p, q))
        return "a sum over all rows is known only when the kernel is done";
    return NULL;
}

static int64_t stride_along(const Value *x, const ValueLayout *layout, AxisId axis) {
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->axes[i].i == axis.i) return layout->stride[i];
    return 0;
}

// Does every operand of m walk the cols as if they were one axis?
static bool walks_cols_as_one(const Fuse *f, uint32_t m, const Cols *cols) {
    const Value *v = &f->graph->values.ptr[m];
    for (uint32_t k = 0; k < v->arity; k++) {
        const Value *x = graph_value(f->graph, v->in[k]);
        ValueLayout layout = value_layout(f->graph, v->in[k]);
        for (uint32_t i = 0; i + 1 < cols->count; i++) {
            AxisId outer = cols->axes[i], inner = cols->axes[i + 1];
            int64_t step = stride_along(x, &layout, inner) * graph_extent(f->graph, inner);
            if (stride_along(x, &layout, outer) != step) return false;
        }
    }
    return true;
}

const char *group_union_legal(Fuse *f, Group *p, Group *q, const Cols *cols) {
    if (find_rows(f, p, q, cols) > REGION_MAX_UNROLLED) return "they have many small axes";
    uint32_t row_sum = 0;
    bool col_sum = false, as_one = true;
    for (int i = 0; i < 2; i++)
        for (uint32_t m = i ? q->first : p->first; m; m = f->next[m]) {
            const char *reason = member_legal(f, m, p, q, cols);
            if (reason) return reason;
            const Value *v = &f->graph->values.ptr[m];
            bool reduces = is_reduction(v->op), rows = reduces && reduces_rows(f, v, cols);
            if (rows && !same_row_sum(f, row_sum, m, cols))
                return "they sum over different rows";
            row_sum = rows ? m : row_sum;
            col_sum = col_sum || (reduces && !rows);
            as_one = as_one && walks_cols_as_one(f, m, cols);
        }
    // What sums along such cols goes through all but the last of them row by row; what sums
    // over rows and keeps them would need all of its sums at once.
    if (row_sum && col_sum && !as_one) return "cols that are apart, and a sum that keeps them";
    return NULL;
}

// How many outputs and updates are v or views of it; and does any other kernel than that of p
// and q read it?
static uint32_t roots_of(Fuse *f, uint32_t v, const Group *p, const Group *q, bool *elsewhere) {
    uint32_t count = f->roots[v];
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->homes[user] == HOME_VIEW) {
            count += roots_of(f, user, p, q, elsewhere);
        } else if (f->homes[user] == HOME_COMPUTED) {
            const Group *g = fuse_group(f, (ValueId){user});
            if (g != p && g != q) *elsewhere = true;
        }
    }
    return count;
}

// What a value in memory counts for: its tiles, if it has cols, or one.
static uint32_t weight_of(const Fuse *f, uint32_t v, bool tiles) {
    const Value *value = &f->graph->values.ptr[v];
    if (!tiles || fuse_unrolled_all(f, value->axes, value->rank)) return 1;
    int64_t points = 1;
    for (uint32_t i = 0; i < value->rank; i++)
        if (f->unrolled[value->axes[i].i]) points *= graph_extent(f->graph, value->axes[i]);
    return points < UINT16_MAX ? (uint32_t)points : UINT16_MAX;
}

// Each value in memory is counted once, by a mark.
static uint32_t values_read(Fuse *f, uint32_t m, const Group *const pair[2], bool tiles) {
    const Value *v = &f->graph->values.ptr[m];
    uint32_t count = 0;
    for (uint32_t k = 0; k < v->arity; k++) {
        uint32_t x = v->in[k].i;
        ValueId base = f->base[x];
        if (f->homes[x] == HOME_INLINE) count += values_read(f, x, pair, tiles);
        if (f->homes[x] == HOME_INLINE || f->seen[base.i] == f->stamp) continue;
        f->seen[base.i] = f->stamp;
        const Group *from = f->homes[base.i] == HOME_COMPUTED ? fuse_group(f, base) : NULL;
        if (!from || (from != pair[0] && from != pair[1])) count += weight_of(f, x, tiles);
    }
    return count;
}

static uint32_t union_count(Fuse *f, const Group *p, const Group *q, bool tiles) {
    const Group *const pair[2] = {p, q};
    uint32_t count = 0;
    f->stamp++;
    for (int i = 0; i < 2; i++)
        for (uint32_t m = pair[i]->first; m; m = f->next[m]) {
            bool elsewhere = false;
            uint32_t roots = roots_of(f, m, p, q, &elsewhere);
            count += values_read(f, m, pair, tiles) +
                     (roots ? roots : elsewhere) * weight_of(f, m, tiles);
        }
    return count;
}

uint32_t group_union_pointers(Fuse *f, const Group *p, const Group *q) {
    return union_count(f, p, q, false);
}

uint32_t group_union_tiles(Fuse *f, const Group *p, const Group *q) {
    return union_count(f, p, q, true);
}

// Walks forward from p's members. A view belongs to the group that computes its base, so a step
// from p through views to q is the direct edge; a step to q from any other group closes a path
// around.
bool fuse_path_around(Fuse *f, const Group *p, const Group *q) {
    uint32_t depth = 0;
    f->stamp++;
    for (uint32_t m = p->first; m; m = f->next[m])
        f->stack[depth++] = m;
    while (depth > 0) {
        uint32_t v = f->stack[--depth];
        ValueId base = f->base[v];
        for (uint32_t i = f->users_at[v]; i < f->users_at[v + 1]; i++) {
            uint32_t user = f->users[i];
            if (user > q->last) continue;
            if (f->homes[user] == HOME_VIEW) {
                f->stack[depth++] = user;
                continue;
            }
            if (f->homes[user] != HOME_COMPUTED) continue;
            const Group *g = fuse_group(f, (ValueId){user});
            if (g == p || (g != q && f->seen[g->id] == f->stamp)) continue;
            if (g == q) {
                if (fuse_group(f, base) != p) return true;
                continue;
            }
            f->seen[g->id] = f->stamp;
            for (uint32_t m = g->first; m; m = f->next[m])
                f->stack[depth++] = m;
        }
    }
    return false;
}

void group_join(Fuse *f, Group *p, Group *q, const Cols *cols) {
    Group *into = p->contract.i || p->id < q->id ? p : q, *from = into == p ? q : p;
    for (uint32_t w = 0; w < f->set_words; w++)
        into->space[w] |= from->space[w];
    into->cols = *cols;
    into->constrained |= from->constrained;
    into->size += from->size;
    if (from->contract.i) into->contract = from->contract;
    f->parent[from->id] = into->id;
    uint32_t a = into->first, b = from->first, last = 0, first = 0;
    while (a || b) {
        uint32_t *pick = a && (!b || a < b) ? &a : &b, v = *pick;
        *pick = f->next[v];
        if (last)
            f->next[last] = v;
        else
            first = v;
        last = v;
    }
    f->next[last] = 0;
    into->first = first;
    into->last = last;
}
