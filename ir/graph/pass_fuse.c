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
//   scalar save a launch and no memory traffic: they come last, and stay small enough for every
//   value to have a register.
// Then an elementwise group whose space is a contraction's joins it as its epilogue, and one
// that only feeds an operand of it as its prologue.
#include "base/check.h"
#include "base/launch.h"
#include "ir/graph/fuse_groups.h"
#include "ir/graph/grouped.h"
#include "ir/graph/linear.h"

enum { MOST_FOR_A_SCALAR = 64 };  // pointers of groups that only share a scalar

static void record_refusal(Fuse *f, ValueId producer, ValueId consumer, const char *reason) {
    if (f->refusal_count == f->refusal_cap) return;
    f->refusals[f->refusal_count++] = (struct Refusal){producer, consumer, reason};
}

static const char *pointers_refused(Fuse *f, const Group *p, const Group *q, uint32_t most) {
    return group_union_pointers(f, p, q) > most ? "together they have too many operands" : NULL;
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
        reason = pointers_refused(f, p, q,
                                  is_scalar(f, x) ? MOST_FOR_A_SCALAR : LAUNCH_MAX_POINTERS);
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

// Does the group's kernel have but one row? Alone it leaves most of a machine idle.
static bool is_one_row(const Fuse *f, const Group *g) {
    for (uint32_t a = 1; a < f->axis_count; a++)
        if (axis_set_has(g->space, a) && !f->unrolled[a] &&
            !axis_in(g->cols.axes, g->cols.count, (AxisId){a}))
            return false;
    return true;
}

static bool same_cols(const Group *p, const Group *q) {
    return p->cols.count == q->cols.count &&
           memcmp(p->cols.axes, q->cols.axes, p->cols.count * sizeof *p->cols.axes) == 0;
}

// Users of scalar v that are one row, such as the updates of all weights of norms, join the
// last one before them with the same cols.
static void join_small_users(Fuse *f, uint32_t v) {
    uint32_t count = 0,
             *small = arena_array(f->arena, uint32_t, f->users_at[v + 1] - f->users_at[v] + 1);
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u], before = count;
        if (f->homes[user] != HOME_COMPUTED) continue;
        Group *q = fuse_group(f, (ValueId){user}), *p = NULL;
        if (!is_one_row(f, q)) continue;
        while (before > 0 && (!p || !same_cols(p, q)))
            p = fuse_group(f, (ValueId){small[--before]});
        small[count++] = user;
        Cols cols;
        if (p && p != q && same_cols(p, q) && !join_refused(f, p, q, &cols) &&
            !pointers_refused(f, p, q, MOST_FOR_A_SCALAR))
            group_join(f, p, q, &cols);
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

static bool is_grouped(const Fuse *f, const Group *g) {
    return op_is_grouped(f->graph->values.ptr[g->contract.i].op);
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
               : pointers_refused(f, p, q, LAUNCH_MAX_POINTERS);
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
               : pointers_refused(f, p, q, LAUNCH_MAX_POINTERS);
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

static bool same_attention(const Value *a, const Value *b, uint32_t operands) {
    bool same = a->attr.number == b->attr.number && a->attr.band.lo == b->attr.band.lo &&
                a->attr.band.hi == b->attr.band.hi;
    for (uint32_t i = 0; i < operands && same; i++)
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
        if (!same_attention(value, other, forward ? 2 : value->arity)) continue;
        Group *p = fuse_group(f, (ValueId){v}), *q = fuse_group(f, (ValueId){u});
        if (p != q) group_join(f, p, q, &p->cols);
    }
}

static bool same_operands(const Value *a, const Value *b, uint32_t from_a, uint32_t from_b) {
    bool same = a->arity - from_a == b->arity - from_b;
    for (uint32_t i = 0; same && from_a + i < a->arity; i++)
        same = a->in[from_a + i].i == b->in[from_b + i].i;
    return same;
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

// ---- groups to regions

static bool is_root(const Fuse *f, uint32_t v) {
    for (uint32_t i = 0; i < f->graph->outputs.len; i++)
        if (f->graph->outputs.ptr[i].value.i == v) return true;
    for (uint32_t i = 0; i < f->graph->updates.len; i++)
        if (f->graph->updates.ptr[i].value.i == v) return true;
    return false;
}

// The member of a row group of which root v takes a point of an unrolled axis: its kernel has
// the point at hand and stores it. {0}: v is no such root.
static ValueId stored_with(Fuse *f, uint32_t v) {
    if (!f->roots[v] || f->homes[v] != HOME_VIEW) return (ValueId){0};
    while (f->homes[v] == HOME_VIEW) {
        const Value *view = &f->graph->values.ptr[v];
        if (view->op != OP_TAKE || !f->unrolled[view->attr.along[0].i]) return (ValueId){0};
        v = view->in[0].i;
    }
    if (f->homes[v] != HOME_COMPUTED) return (ValueId){0};
    const Group *group = fuse_group(f, (ValueId){v});
    GraphOp op = f->graph->values.ptr[v].op;
    // A sum over rows may be one of partial sums.
    bool plain = op != OP_REDUCE_SUM && op != OP_REDUCE_MAX;
    return plain && !group->sealed && !group->contract.i ? (ValueId){v} : (ValueId){0};
}

// A stack along an unrolled axis makes nothing: a row kernel that reads it point by point has
// the operands instead, as if the stack were its own.
static bool is_free_stack(const Fuse *f, uint32_t v) {
    const Value *value = &f->graph->values.ptr[v];
    return value->op == OP_STACK && f->homes[v] == HOME_COMPUTED &&
           f->unrolled[value->attr.to[0].i];
}

// Operand k of v, where it is a free stack, through views, whose operands v's kernel can read
// instead. {0}: it is none.
static ValueId stack_read_apart(Fuse *f, uint32_t v, uint32_t k) {
    const Group *group = fuse_group(f, (ValueId){v});
    if (group->sealed || group->contract.i || fuse_edge_refused(f, v, k)) return (ValueId){0};
    ValueId x = fuse_through_views(f, f->graph->values.ptr[v].in[k]);
    return is_free_stack(f, x.i) ? x : (ValueId){0};
}

// Must free stack s, of which v is a view or which it is, be in memory?
static bool stack_is_stored(Fuse *f, uint32_t s, uint32_t v) {
    if (f->roots[v] && !stored_with(f, v).i) return true;
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->homes[user] == HOME_VIEW && stack_is_stored(f, s, user)) return true;
        if (f->homes[user] != HOME_COMPUTED) continue;
        const Value *value = &f->graph->values.ptr[user];
        for (uint32_t k = 0; k < value->arity; k++)
            if (value->in[k].i == v && stack_read_apart(f, user, k).i != s) return true;
    }
    return false;
}

// Does another kernel than `group`'s read v, through whatever views and free stacks?
static bool read_by_others(Fuse *f, uint32_t v, const Group *group) {
    if (f->roots[v] && !is_free_stack(f, v) && !stored_with(f, v).i) return true;
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        bool through = f->homes[user] == HOME_VIEW || is_free_stack(f, user);
        if (through && read_by_others(f, user, group)) return true;
        if (f->homes[user] != HOME_COMPUTED || fuse_group(f, (ValueId){user}) == group)
            continue;
        if (!through || stack_is_stored(f, user, user)) return true;
    }
    return false;
}

static bool has_root(const Fuse *f, uint32_t v) {
    bool root = f->roots[v];
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++)
        root = root || (f->homes[f->users[u]] == HOME_VIEW && has_root(f, f->users[u]));
    return root;
}

// Could operand k of a stack lie in the stack's memory? Each operand must be there just once,
// and be aligned as memory of its own is.
static bool can_lie_in_stack(const Fuse *f, const Value *stack, uint32_t k) {
    ValueId x = stack->in[k];
    int64_t bytes =
        graph_elements(f->graph, x) * (int64_t)dtype_bytes(graph_value(f->graph, x)->type);
    bool alone = f->homes[x.i] == HOME_COMPUTED && !is_free_stack(f, x.i) && !f->roots[x.i] &&
                 !f->laid_in[x.i].i && bytes % REGION_ALIGNMENT == 0;
    for (uint32_t i = 0; i < k; i++)
        alone = alone && stack->in[i].i != x.i;
    return alone;
}

// A stack that must be in memory is made of its operands, side by side, where it can be.
static void lay_stack(Fuse *f, uint32_t s) {
    const Value *stack = &f->graph->values.ptr[s];
    bool can = stack_is_stored(f, s, s) && !has_root(f, s);
    for (uint32_t k = 0; k < stack->arity; k++)
        can = can && can_lie_in_stack(f, stack, k);
    for (uint32_t k = 0; can && k < stack->arity; k++)
        f->laid_in[stack->in[k].i] = (ValueId){s};
}

static bool is_kept(Fuse *f, uint32_t v, const Group *group) {
    if (!is_free_stack(f, v)) return f->laid_in[v].i || read_by_others(f, v, group);
    return stack_is_stored(f, v, v) && f->laid_in[f->graph->values.ptr[v].in[0].i].i != v;
}

static bool is_among(const ValueId *values, uint32_t count, ValueId v) {
    for (uint32_t i = 0; i < count; i++)
        if (values[i].i == v.i) return true;
    return false;
}

typedef Vec(ValueId) ValueList;

static void add_operands(Fuse *f, const Region *r, const Group *group, ValueId v,
                         ValueList *inputs) {
    const Value *value = graph_value(f->graph, v);
    for (uint32_t k = 0; k < value->arity; k++) {
        ValueId x = value->in[k], base = f->base[x.i];
        if (f->homes[x.i] == HOME_INLINE) {
            add_operands(f, r, group, x, inputs);
            continue;
        }
        bool inside =
            group && f->homes[base.i] == HOME_COMPUTED &&
            (fuse_group(f, base) == group || is_among(r->values, r->value_count, base));
        if (!inside && !is_among(inputs->ptr, inputs->len, base))
            vec_push(f->arena, inputs, base);
    }
}

// Of the first operand that is a parameter, or a parameter's form in bf16.
static Str parameter_name(const Fuse *f, const Value *value) {
    for (uint32_t i = 0; i < value->arity; i++) {
        ValueId base = f->base[value->in[i].i];
        if (graph_value(f->graph, base)->op == OP_CAST)
            base = f->base[graph_value(f->graph, base)->in[0].i];
        if (graph_value(f->graph, base)->op == OP_PARAM)
            return graph_leaf_of(f->graph, base)->path;
    }
    return (Str){0};
}

// The dearest member names the region.
static Str region_name(Fuse *f, const Region *r) {
    GraphOp dearest = OP_NONE;
    double flops = -1;
    for (uint32_t i = 0; i < r->value_count; i++) {
        GraphOp op = graph_value(f->graph, r->values[i])->op;
        double weight = op_flops(op) + (op_is_elementwise(op) ? 0 : 20);
        if (weight > flops) flops = weight, dearest = op;
    }
    bool is_cast = r->value_count == 1 && dearest == OP_CAST;
    ValueId namer = r->contract.i ? r->contract : r->values[0];
    Str parameter =
        r->contract.i || is_cast ? parameter_name(f, graph_value(f->graph, namer)) : (Str){0};
    uint32_t number = f->region_count;
    if (parameter.len)
        return str_printf(f->arena, "%s.%.*s.%u", op_text(dearest), STR_ARG(parameter), number);
    return str_printf(f->arena, "%s.%u", op_text(dearest), number);
}

static void finish_region(Fuse *f, Region *r, const Group *group) {
    ValueList inputs = {0};
    for (uint32_t i = 0; i < r->value_count; i++)
        add_operands(f, r, group, r->values[i], &inputs);
    r->inputs = inputs.ptr;
    r->input_count = inputs.len;
    r->name = region_name(f, r);
    f->regions[f->region_count++] = *r;
}

// Views of v that are stored with it, after the `count` values in `out` (NULL: only counted).
static uint32_t add_root_views(Fuse *f, uint32_t v, ValueId *out, uint32_t count) {
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->homes[user] != HOME_VIEW) continue;
        if (stored_with(f, user).i) {
            if (out) out[count] = (ValueId){user};
            count++;
        }
        count = add_root_views(f, user, out, count);
    }
    return count;
}

static void region_outputs(Fuse *f, Region *r, const Group *group) {
    uint32_t most = r->value_count;
    for (uint32_t i = 0; i < r->value_count; i++)
        most = add_root_views(f, r->values[i].i, NULL, most);
    ValueId *outputs = arena_array(f->arena, ValueId, most);
    for (uint32_t i = 0; i < r->value_count; i++) {
        uint32_t v = r->values[i].i;
        if (fuse_group(f, r->values[i]) != group) continue;
        if (is_kept(f, v, group)) outputs[r->output_count++] = r->values[i];
        r->output_count = add_root_views(f, v, outputs, r->output_count);
    }
    r->outputs = outputs;
}

// Members are the group's values, and the stacks of other groups that they read point by point;
// in graph order.
static void region_members(Fuse *f, Region *r, const Group *group) {
    Vec(ValueId) values = {0};
    for (uint32_t v = group->first; v; v = f->next[v])
        vec_push(f->arena, &values, (ValueId){v});
    for (uint32_t i = 0; i < values.len; i++)
        for (uint32_t k = 0; k < graph_value(f->graph, values.ptr[i])->arity; k++) {
            ValueId stack = stack_read_apart(f, values.ptr[i].i, k);
            if (stack.i && !is_among(values.ptr, values.len, stack))
                vec_push(f->arena, &values, stack);
        }
    for (uint32_t i = group->size; i < values.len; i++)
        for (uint32_t k = i; k > 0 && values.ptr[k - 1].i > values.ptr[k].i; k--) {
            ValueId earlier = values.ptr[k];
            values.ptr[k] = values.ptr[k - 1];
            values.ptr[k - 1] = earlier;
        }
    r->values = values.ptr;
    r->value_count = values.len;
}

static void region_of_group(Fuse *f, Group *group) {
    GraphOp first = f->graph->values.ptr[group->first].op;
    Region r = {.kind = op_is_attend(first)       ? REGION_ATTEND
                        : op_is_linear(first)     ? REGION_LINEAR
                        : first == OP_GROUP_ORDER ? REGION_ORDER
                        : !group->contract.i      ? REGION_ROW
                        : is_grouped(f, group)    ? REGION_GROUPED
                                                  : REGION_CONTRACT,
                .contract = group->contract};
    region_members(f, &r, group);
    region_outputs(f, &r, group);
    if (r.output_count == 0) return;  // a stack that nobody needs in memory
    r.cols = group->cols.axes;
    r.col_count = group->cols.count;
    AxisId *unrolled = arena_array(f->arena, AxisId, f->axis_count);
    for (uint32_t a = 1; a < f->axis_count; a++)
        if (axis_set_has(group->space, a) && group_unrolls(f, group, (AxisId){a}))
            unrolled[r.unrolled_count++] = (AxisId){a};
    r.unrolled = unrolled;
    finish_region(f, &r, group);
}

// An output or update that is a view, or written out where it is used, gets memory of its own
// by a copy.
static void region_of_root(Fuse *f, ValueId v) {
    const Value *value = graph_value(f->graph, v);
    ValueId *one = arena_new(f->arena, ValueId);
    *one = v;
    Region r = {
        .kind = REGION_ROW, .values = one, .value_count = 1, .outputs = one, .output_count = 1};
    r.cols = value->rank ? &value->axes[value->rank - 1] : NULL;
    r.col_count = value->rank ? 1 : 0;
    finish_region(f, &r, NULL);
}

// Groups in an order in which every group comes after those that feed it: depth first from the
// roots' side.
typedef struct {
    uint32_t group, member, operand;
} Visit;

// The next group that must come before `visit`'s, or NULL when all have been placed.
static Group *next_needed(Fuse *f, Visit *visit, const uint8_t *placed) {
    while (visit->member) {
        const Value *v = &f->graph->values.ptr[visit->member];
        if (visit->operand == v->arity) {
            visit->member = f->next[visit->member];
            visit->operand = 0;
            continue;
        }
        ValueId base = f->base[v->in[visit->operand++].i];
        if (f->homes[base.i] != HOME_COMPUTED) continue;
        Group *needed = fuse_group(f, base);
        if (needed->id != visit->group && !placed[needed->id]) return needed;
    }
    return NULL;
}

static void order_from(Fuse *f, Group *start, uint8_t *placed, Visit *stack) {
    uint32_t depth = 0;
    stack[depth++] = (Visit){start->id, start->first, 0};
    placed[start->id] = 1;
    while (depth > 0) {
        Group *needed = next_needed(f, &stack[depth - 1], placed);
        if (needed) {
            placed[needed->id] = 1;
            stack[depth++] = (Visit){needed->id, needed->first, 0};
        } else {
            region_of_group(f, &f->groups[stack[--depth].group]);
        }
    }
}

static void emit_regions(Fuse *f) {
    uint32_t n = f->graph->values.len;
    uint8_t *placed = arena_array(f->arena, uint8_t, n);
    Visit *stack = arena_array(f->arena, Visit, n);
    uint32_t root_count = f->graph->outputs.len + f->graph->updates.len;
    f->regions = arena_array(f->arena, Region, n + root_count);
    for (uint32_t v = 1; v < n; v++) {
        if (f->homes[v] != HOME_COMPUTED) continue;
        Group *group = fuse_group(f, (ValueId){v});
        if (!placed[group->id]) order_from(f, group, placed, stack);
    }
    for (uint32_t v = 1; v < n; v++)
        if (f->roots[v] && (f->homes[v] == HOME_VIEW || f->homes[v] == HOME_INLINE) &&
            !stored_with(f, v).i)
            region_of_root(f, (ValueId){v});
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
    for (uint32_t v = 1; v < g->values.len; v++)
        if (is_free_stack(f, v)) lay_stack(f, v);
    emit_regions(f);
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
