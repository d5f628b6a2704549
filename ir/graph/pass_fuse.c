// pass_fuse.c: groups values into regions, each of which becomes one kernel.
//
// A group iterates over a space of axes: rows (independent points, or summed over), cols (along
// which a row is reduced) and unrolled axes (depth: every point its own tile). Values start as
// groups of their own; a group joins one of its producers' when
//   1. both have the same rows under one choice of cols, and every member's reduction is legal
//   under it (group_legal);
//   2. no value would have to wait for another kernel that waits for this one (no path out of
//   the union and back);
//   3. the value that links them is used at the same point (not through a roll, a window, a
//   gather, a renaming).
//   4. both belong to the forward part, or both to the backward part;
//   5. a kernel can be given pointers to all that both read and store. Groups that only share a
//   scalar save a launch and no memory traffic: they come last, and not if a task would compute
//   more than before, or have more values than registers.
// Then an elementwise group whose space is a contraction's joins it as its epilogue, and one
// that only feeds an operand of it as its prologue.
#include "base/launch.h"
#include "ir/graph/attend.h"
#include "ir/graph/fuse_groups.h"
#include "ir/graph/grouped.h"
#include "ir/graph/linear.h"

// Of groups that only share a scalar. All of a row is loaded before any of it is stored, for
// results may take the place of what is read: each tile needs one of 255 registers.
enum {
    MOST_FOR_A_SCALAR = 192,  // tiles read and stored
    MOST_OF_A_THREAD = 512    // points of what has neither rows nor cols
};

static void record_refusal(Fuse *f, ValueId producer, ValueId consumer, const char *reason) {
    if (f->refusal_count == f->refusal_cap) return;
    f->refusals[f->refusal_count++] = (struct Refusal){producer, consumer, reason};
}

static const char too_many[] = "together they have too many operands";

static const char *pointers_refused(Fuse *f, const Group *p, const Group *q) {
    return group_union_pointers(f, p, q) > LAUNCH_MAX_POINTERS ? too_many : NULL;
}

// Does the group's kernel have but one row? Alone it leaves most of a machine idle.
static bool is_one_row(const Fuse *f, const Group *g) {
    for (uint32_t a = 1; a < f->axis_count; a++)
        if (axis_set_has(g->space, a) && !f->unrolled[a] &&
            !axis_in(g->cols.axes, g->cols.count, (AxisId){a}))
            return false;
    return true;
}

// Of what has neither rows nor cols.
static int64_t points_of(const Fuse *f, const Group *g) {
    int64_t points = 0;
    for (uint32_t v = g->first; v; v = f->next[v]) {
        const Value *value = &f->graph->values.ptr[v];
        if (fuse_unrolled_all(f, value->axes, value->rank))
            points += graph_elements(f->graph, (ValueId){v});
    }
    return points;
}

static const char *scalar_link_refused(Fuse *f, const Group *p, const Group *q) {
    int64_t points = points_of(f, p), others = points_of(f, q);
    if (points && others && points + others > MOST_OF_A_THREAD)
        return "a single thread would compute all of both";
    if (is_one_row(f, p) && is_one_row(f, q) && p->cols.count && q->cols.count &&
        p->constrained != q->constrained)
        return "one sums the cols that the other shares out";
    return group_union_tiles(f, p, q) > MOST_FOR_A_SCALAR ? too_many : NULL;
}

// Why p and q cannot be one group, or NULL and the cols that the union takes.
static const char *join_refused(Fuse *f, Group *p, Group *q, Cols *cols) {
    if (p->sealed || q->sealed) return "one of them moves or gathers data";
    if (p->contract.i || q->contract.i) return "one of them is a contraction";
    if (fuse_parts_differ(f, p, q)) return "one belongs to the backward part";
    const char *reason = NULL;
    const Cols *tries[2] = {p->constrained && !q->constrained ? &p->cols : &q->cols,
                            p->constrained && !q->constrained ? &q->cols : &p->cols};
    for (int i = 0; i < 2; i++) {
        reason = group_union_legal(f, p, q, tries[i]);
        if (reason) continue;
        *cols = *tries[i];
        return fuse_path_around(f, p, q) || fuse_path_around(f, q, p)
                   ? "a kernel between them needs the one and feeds the other"
                   : NULL;
    }
    return reason;
}

static bool is_scalar(const Fuse *f, ValueId v) { return graph_value(f->graph, v)->rank == 0; }

// The groups of v and of its operand i become one if they may. False: they may not.
static bool join_operand(Fuse *f, uint32_t v, uint32_t i) {
    ValueId x = fuse_through_views(f, f->graph->values.ptr[v].in[i]);
    if (!x.i || f->homes[x.i] != HOME_COMPUTED) return false;
    Group *p = fuse_group(f, x), *q = fuse_group(f, (ValueId){v});
    if (p == q) return true;
    Cols cols;
    const char *reason = fuse_edge_refused(f, v, i);
    if (!reason) reason = join_refused(f, p, q, &cols);
    if (!reason)
        reason = is_scalar(f, x) ? scalar_link_refused(f, p, q) : pointers_refused(f, p, q);
    if (reason)
        record_refusal(f, x, (ValueId){v}, reason);
    else
        group_join(f, p, q, &cols);
    return reason == NULL;
}

// Along the links that are scalars, or along the others.
static void join_producers(Fuse *f, uint32_t v, bool scalars) {
    for (uint32_t i = 0; i < f->graph->values.ptr[v].arity; i++) {
        ValueId x = fuse_through_views(f, f->graph->values.ptr[v].in[i]);
        if (x.i && is_scalar(f, x) == scalars) join_operand(f, v, i);
    }
}

// v, which `at` is or is a view of, joins the first of its users that it may.
static bool join_a_user(Fuse *f, uint32_t v, uint32_t at) {
    for (uint32_t u = f->users_at[at]; u < f->users_at[at + 1]; u++) {
        uint32_t user = f->users[u];
        const Value *value = &f->graph->values.ptr[user];
        if (f->homes[user] == HOME_VIEW && join_a_user(f, v, user)) return true;
        for (uint32_t i = 0; f->homes[user] == HOME_COMPUTED && i < value->arity; i++)
            if (fuse_through_views(f, value->in[i]).i == v && join_operand(f, user, i))
                return true;
    }
    return false;
}

// What has no cols goes with any.
static bool cols_agree(const Group *p, const Group *q) {
    if (p->cols.count == 0 || q->cols.count == 0) return true;
    return p->cols.count == q->cols.count &&
           memcmp(p->cols.axes, q->cols.axes, p->cols.count * sizeof *p->cols.axes) == 0;
}

static bool join_small(Fuse *f, Group *p, Group *q) {
    Cols cols;
    bool joins = p != q && cols_agree(p, q) && !scalar_link_refused(f, p, q) &&
                 !join_refused(f, p, q, &cols);
    if (joins) group_join(f, p, q, &cols);
    return joins || p == q;
}

// Users of scalar v that are one row, such as the updates of all weights of norms, join the
// first one before them that they may.
static void join_small_users(Fuse *f, uint32_t v) {
    uint32_t count = 0,
             *small = arena_array(f->arena, uint32_t, f->users_at[v + 1] - f->users_at[v] + 1);
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->homes[user] != HOME_COMPUTED) continue;
        Group *q = fuse_group(f, (ValueId){user});
        if (!is_one_row(f, q)) continue;
        bool joined = false;
        for (uint32_t i = 0; i < count && !joined; i++)
            joined = join_small(f, fuse_group(f, (ValueId){small[i]}), q);
        if (!joined) small[count++] = user;
    }
}

// Values that the backward part computes again could all be computed as soon as it begins. They
// wait for those that use them: else what they were to save would be stored after all.
static void join_rows(Fuse *f) {
    uint32_t n = f->graph->values.len;
    for (uint32_t v = 1; v < n; v++)
        if (f->homes[v] == HOME_COMPUTED && !f->again[v]) join_producers(f, v, false);
    for (uint32_t v = n - 1; v > 0; v--)
        if (f->homes[v] == HOME_COMPUTED && f->again[v]) join_a_user(f, v, v);
    for (uint32_t v = 1; v < n; v++)
        if (f->homes[v] == HOME_COMPUTED && f->again[v]) join_producers(f, v, false);
    for (uint32_t v = 1; v < n; v++)
        if (f->homes[v] == HOME_COMPUTED) join_producers(f, v, true);
    for (uint32_t v = 1; v < n; v++)
        if (f->homes[v] == HOME_COMPUTED && is_scalar(f, (ValueId){v})) join_small_users(f, v);
}

static bool elementwise_only(const Fuse *f, const Group *g) {
    for (uint32_t v = g->first; v; v = f->next[v])
        if (!op_is_elementwise(f->graph->values.ptr[v].op)) return false;
    return true;
}

// The rows of a grouped contraction come in the order of groups: what its epilogue reads must
// have a place for each row's number.
static bool reads_by_row(const Fuse *f, const Group *p, const Group *q) {
    const Graph *g = f->graph;
    GroupedRows rows = grouped_rows(g, graph_value(g, p->contract));
    int64_t stride;
    for (uint32_t m = q->first; m; m = f->next[m]) {
        if (!grouped_row_stride(g, &rows, (ValueId){m}, &stride)) return false;
        for (uint32_t k = 0; k < g->values.ptr[m].arity; k++) {
            ValueId x = g->values.ptr[m].in[k];
            bool reached = grouped_row_stride(g, &rows, x, &stride);
            if (!reached || (f->homes[x.i] == HOME_INLINE && stride != 0)) return false;
        }
    }
    return true;
}

static const char *epilogue_refused(Fuse *f, Group *p, Group *q) {
    if (q->sealed || q->contract.i) return "one contraction a kernel";
    if (!elementwise_only(f, q))
        return "the epilogue works on tiles: only elementwise operations";
    if (!group_same_space(f, p, q)) return "it has other axes than the contraction";
    if (!reads_by_row(f, p, q)) return "rows in the order of groups: it has no place for each";
    if (fuse_parts_differ(f, p, q)) return "one belongs to the backward part";
    const char *reason = group_union_legal(f, p, q, &p->cols);
    if (reason) return reason;
    return fuse_path_around(f, p, q) || fuse_path_around(f, q, p)
               ? "a kernel between them needs the one and feeds the other"
               : pointers_refused(f, p, q);
}

// What a contraction's result is kept as is stored by the contraction.
static void join_kept_form(Fuse *f, uint32_t v) {
    const Value *value = &f->graph->values.ptr[v];
    if (f->homes[v] != HOME_COMPUTED || value->op != OP_CAST || value->type != DTYPE_BF16)
        return;
    if (!op_is_contraction(graph_value(f->graph, value->in[0])->op)) return;
    Group *p = fuse_group(f, value->in[0]), *q = fuse_group(f, (ValueId){v});
    group_join(f, p, q, &p->cols);
}

// An elementwise group over just the contraction's axes becomes its epilogue. `at` is the
// contraction c or a form of it.
static void join_epilogue(Fuse *f, uint32_t c, uint32_t at) {
    Group *p = fuse_group(f, (ValueId){c});
    for (uint32_t u = f->users_at[at]; u < f->users_at[at + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->graph->values.ptr[user].op == OP_CAST && f->base[user].i == f->base[at].i)
            join_epilogue(f, c, user);
        if (f->homes[user] != HOME_COMPUTED) continue;
        Group *q = fuse_group(f, (ValueId){user});
        const char *reason = q == p ? NULL : epilogue_refused(f, p, q);
        if (reason)
            record_refusal(f, (ValueId){c}, (ValueId){user}, reason);
        else if (q != p)
            group_join(f, p, q, &p->cols);
        else if (f->graph->values.ptr[user].op == OP_CAST)
            join_epilogue(f, c, user);
    }
}

// Do all users of group q's values, through whatever views, lie in q or take it as operand
// `operand` of contraction c?
static bool feeds_only(Fuse *f, const Group *q, uint32_t v, uint32_t c, uint32_t operand) {
    if (f->roots[v]) return false;
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->homes[user] == HOME_VIEW) {
            if (!feeds_only(f, q, user, c, operand)) return false;
            continue;
        }
        bool operand_only =
            user == c && f->base[f->graph->values.ptr[c].in[1 - operand].i].i != f->base[v].i;
        if (!operand_only && fuse_group(f, (ValueId){user}) != q) return false;
    }
    return true;
}

static const char *prologue_refused(Fuse *f, Group *p, Group *q, uint32_t c, uint32_t operand) {
    ValueId x = fuse_through_views(f, f->graph->values.ptr[c].in[operand]);
    if (!x.i || f->homes[x.i] != HOME_COMPUTED)
        return "it is read at other points than it is computed";
    if (q->sealed || q->contract.i) return "one contraction a kernel";
    if (!elementwise_only(f, q))
        return "the prologue works on tiles: only elementwise operations";
    if (graph_value(f->graph, x)->op == OP_CAST && graph_value(f->graph, x)->type == DTYPE_BF16)
        return "its bf16 form is wanted in memory";
    for (uint32_t m = q->first; m; m = f->next[m])
        if (!feeds_only(f, q, m, c, operand)) return "others need it too";
    return fuse_path_around(f, q, p) || fuse_path_around(f, p, q)
               ? "a kernel between them needs the one and feeds the other"
               : pointers_refused(f, p, q);
}

// An elementwise group that only feeds one operand becomes the contraction's prologue: it is
// computed as tiles of the operand are brought close, and never stored.
static void join_prologue(Fuse *f, uint32_t c, uint32_t operand) {
    ValueId base = f->base[f->graph->values.ptr[c].in[operand].i];
    if (f->homes[base.i] != HOME_COMPUTED) return;
    Group *p = fuse_group(f, (ValueId){c}), *q = fuse_group(f, base);
    if (p == q) return;
    const char *reason = prologue_refused(f, p, q, c, operand);
    if (reason)
        record_refusal(f, base, (ValueId){c}, reason);
    else
        group_join(f, p, q, &p->cols);
}

static bool same_operands(const Value *a, const Value *b, uint32_t from_a, uint32_t from_b) {
    bool same = a->arity - from_a == b->arity - from_b;
    for (uint32_t i = 0; same && from_a + i < a->arity; i++)
        same = a->in[from_a + i].i == b->in[from_b + i].i;
    return same;
}

static bool same_attention(const Value *a, const Value *b) {
    uint32_t needs = attend_needs(a->op), other = attend_needs(b->op);
    bool same = a->attr.number == b->attr.number && a->attr.band.lo == b->attr.band.lo &&
                a->attr.band.hi == b->attr.band.hi && same_operands(a, b, needs, other);
    for (uint32_t i = 0; i < needs && i < other && same; i++)
        same = a->in[i].i == b->in[i].i;
    for (uint32_t i = 0; i < 3 && same; i++)
        same = a->attr.along[i].i == b->attr.along[i].i;
    return same;
}

// An attention makes the logarithms of its sums by the way, and its gradients share the scores.
static void join_attention(Fuse *f, uint32_t v) {
    const Value *value = &f->graph->values.ptr[v];
    bool forward = value->op == OP_ATTEND || value->op == OP_ATTEND_LSE;
    for (uint32_t u = v + 1; u < f->graph->values.len; u++) {
        const Value *other = &f->graph->values.ptr[u];
        if (f->homes[u] != HOME_COMPUTED || !op_is_attend(other->op)) continue;
        bool other_forward = other->op == OP_ATTEND || other->op == OP_ATTEND_LSE;
        if (forward != other_forward || other->op == value->op) continue;
        if (!same_attention(value, other)) continue;
        Group *p = fuse_group(f, (ValueId){v}), *q = fuse_group(f, (ValueId){u});
        if (p != q) group_join(f, p, q, &p->cols);
    }
}

// Do they walk the same states, forward or in reverse?
static bool same_states(const Fuse *f, const Value *a, const Value *b) {
    bool forward = a->op < OP_LINEAR_DQ, other_forward = b->op < OP_LINEAR_DQ;
    if (forward != other_forward || a->op == b->op) return false;
    if ((a->attr.amount ^ b->attr.amount) & ~(forward ? LINEAR_HAS_QUERY : 0)) return false;
    if (!forward && a->attr.number != b->attr.number) return false;
    LinearOperands x = linear_operands(f->graph, a), y = linear_operands(f->graph, b);
    return x.width.i == y.width.i && x.time.i == y.time.i && x.values.i == y.values.i &&
           same_operands(a, b, forward && x.q.i, forward && y.q.i);
}

// Does q's kernel need what p's makes?
static bool depends(Fuse *f, const Group *p, const Group *q) {
    for (uint32_t m = q->first; m; m = f->next[m])
        for (uint32_t k = 0; k < f->graph->values.ptr[m].arity; k++) {
            ValueId base = f->base[f->graph->values.ptr[m].in[k].i];
            if (f->homes[base.i] == HOME_COMPUTED && fuse_group(f, base) == p) return true;
        }
    return fuse_path_around(f, p, q);
}

// The final state and errors are made by the way, and gradients share the states.
static void join_linear(Fuse *f, uint32_t v) {
    for (uint32_t u = v + 1; u < f->graph->values.len; u++) {
        if (f->homes[u] != HOME_COMPUTED || !op_is_linear(f->graph->values.ptr[u].op)) continue;
        if (!same_states(f, &f->graph->values.ptr[v], &f->graph->values.ptr[u])) continue;
        Group *p = fuse_group(f, (ValueId){v}), *q = fuse_group(f, (ValueId){u});
        if (p != q && !depends(f, p, q) && !depends(f, q, p)) group_join(f, p, q, &p->cols);
    }
}

// What a kernel of attention makes is rounded as it is stored.
static void join_cast(Fuse *f, uint32_t v) {
    const Value *value = &f->graph->values.ptr[v];
    if (value->op != OP_CAST || f->homes[value->in[0].i] != HOME_COMPUTED) return;
    GraphOp made = graph_value(f->graph, value->in[0])->op;
    if (!op_stands_alone(made)) return;
    Group *p = fuse_group(f, value->in[0]), *q = fuse_group(f, (ValueId){v});
    if (p != q && q->size == 1 && !fuse_path_around(f, p, q)) group_join(f, p, q, &p->cols);
}

static bool is_root(const Fuse *f, uint32_t v) {
    for (uint32_t i = 0; i < f->graph->outputs.len; i++)
        if (f->graph->outputs.ptr[i].value.i == v) return true;
    for (uint32_t i = 0; i < f->graph->updates.len; i++)
        if (f->graph->updates.ptr[i].value.i == v) return true;
    return false;
}

Regions *pass_fuse(const Graph *g, Arena *arena) {
    Fuse *f = fuse_new(g, arena);
    for (uint32_t v = 1; v < g->values.len; v++)
        f->roots[v] = is_root(f, v);
    for (uint32_t v = 1; v < g->values.len; v++)
        join_kept_form(f, v);
    join_rows(f);
    for (uint32_t v = 1; v < g->values.len; v++)
        if (f->homes[v] == HOME_COMPUTED && op_is_contraction(g->values.ptr[v].op))
            join_epilogue(f, v, v);
    for (uint32_t v = 1; v < g->values.len; v++) {
        if (f->homes[v] != HOME_COMPUTED || g->values.ptr[v].op != OP_CONTRACT) continue;
        join_prologue(f, v, 0);
        join_prologue(f, v, 1);
    }
    for (uint32_t v = 1; v < g->values.len; v++)
        if (f->homes[v] == HOME_COMPUTED && op_is_attend(g->values.ptr[v].op))
            join_attention(f, v);
    for (uint32_t v = 1; v < g->values.len; v++)
        if (f->homes[v] == HOME_COMPUTED && op_is_linear(g->values.ptr[v].op))
            join_linear(f, v);
    for (uint32_t v = 1; v < g->values.len; v++)
        if (f->homes[v] == HOME_COMPUTED) join_cast(f, v);
    fuse_emit_regions(f);
    Regions *out = arena_new(arena, Regions);
    *out = (Regions){.graph = g,
                     .homes = f->homes,
                     .laid_in = f->laid_in,
                     .regions = f->regions,
                     .count = f->region_count,
                     .refusals = f->refusals,
                     .refusal_count = f->refusal_count};
    return out;
}
