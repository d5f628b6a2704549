// pass_depth.c: attention over depth in two phases (arXiv 2603.15031, section 4.2).
//
// A mix is reduce_sum(value * softmax(scores) along a) along a, where a is an axis that a stack
// makes and value and scores are computed point by point of a. Let A be sources that are there
// before the first of several mixes, P what a mix has besides. Each mix then is
//
//     merge(mix over A, mix over P),  merge = the mix of both with the scores logsumexp(scores)
//
// which is an identity of softmax. The mixes over A have equal sources: they become one kernel,
// which reads each source once for all of them; so does, after differentiation, the kernel of
// the sources' gradients. Which mixes go together is chosen by the elements that are moved.
#include "base/check.h"
#include "ir/graph/passes.h"

typedef struct {
    ValueId at, value, scores;
    AxisId axis;
    const Value *stack;      // that the value is computed from; its operands are the sources
    uint32_t *source_after;  // per source: it is there once so many mixes are done
    uint32_t context_after;  // so is all else that value and scores are computed from
    double sums;             // elements of that whose gradients are sums over rows
    const uint32_t *cone;    // values at a, from the result's side on
    uint32_t cone_count;
    uint32_t first, last;  // the mixes [first, last) that share sources with it
    uint32_t *shared;      // those sources of this mix, in one order for all; NULL: single
    uint32_t shared_count;
} Mix;

typedef struct {
    const Graph *g;
    Arena scratch;
    TwoPhase how;
    bool training;
    uint32_t *uses, *after;  // per value; after: of how many mixes, in order, it may depend
    Vec(Mix) mixes;
    Graph *to;
    ValueId *map, *part;  // old value -> new; of a cone: its part that is made now
    bool *marked;         // per value, of the cone being found
    uint32_t *members;
} Depth;

// ---- mixes

// Does v, which has axis a, compute each point along a from just that point of its operands?
static bool is_pointwise(const Value *v, AxisId a) {
    if (v->arity == 0 || v->op == OP_SCATTER || op_stands_alone(v->op)) return false;
    if (axis_in(v->attr.along, v->attr.along_count, a)) return false;
    bool lists_all = v->op == OP_BROADCAST || v->op == OP_TRANSPOSE;
    return lists_all || !axis_in(v->attr.to, v->attr.to_count, a);
}

static bool is_stack_to(const Value *v, AxisId a) {
    return v->op == OP_STACK && v->attr.to[0].i == a.i;
}

static uint32_t later(uint32_t x, uint32_t y) { return x > y ? x : y; }

// What lacks axes of the result, other than constants, gets a sum over them as its gradient.
static double summed_elements(const Depth *p, const Mix *m, ValueId x) {
    const Value *v = graph_value(p->g, x);
    bool has_all = v->rank >= graph_value(p->g, m->at)->rank;
    return v->op == OP_CONST || has_all ? 0 : (double)graph_elements(p->g, x);
}

// What v, a member of the cone, is made of: sources, other members, which are marked, and
// context.
static uint32_t visit_member(Depth *p, Mix *m, uint32_t member) {
    const Value *v = graph_value(p->g, (ValueId){member});
    uint32_t added = 0;
    bool is_source = is_stack_to(v, m->axis), inside = !is_source && is_pointwise(v, m->axis);
    if (!is_source && !inside) m->context_after = later(m->context_after, p->after[member]);
    for (uint32_t k = 0; k < v->arity; k++) {
        uint32_t x = v->in[k].i, after = p->after[x];
        if (is_source)
            m->source_after[k] = later(m->source_after[k], after);
        else if (inside && !graph_has_axis(graph_value(p->g, v->in[k]), m->axis)) {
            m->context_after = later(m->context_after, after);
            m->sums += summed_elements(p, m, v->in[k]);
        } else if (inside && !p->marked[x]) {
            p->marked[x] = true;
            added++;
        }
    }
    return added;
}

// The first stack to the mix's axis that its value is computed from; NULL if there is none.
static const Value *stack_behind(const Depth *p, const Mix *m) {
    const Value *v = graph_value(p->g, m->value);
    while (!is_stack_to(v, m->axis)) {
        if (!is_pointwise(v, m->axis)) return NULL;
        uint32_t k = 0;
        while (!graph_has_axis(graph_value(p->g, v->in[k]), m->axis))
            if (++k == v->arity) return NULL;
        v = graph_value(p->g, v->in[k]);
    }
    return v;
}

static void find_cone(Depth *p, Mix *m) {
    p->marked[m->value.i] = p->marked[m->scores.i] = true;
    uint32_t pending = m->value.i == m->scores.i ? 1 : 2, n = 0;
    for (uint32_t i = later(m->value.i, m->scores.i); pending > 0; i--) {
        if (!p->marked[i]) continue;
        p->marked[i] = false;
        p->members[n++] = i;
        pending += visit_member(p, m, i) - 1;
    }
    uint32_t *cone = arena_array(&p->scratch, uint32_t, n);
    memcpy(cone, p->members, n * sizeof *cone);
    m->cone = cone;
    m->cone_count = n;
}

// Is v a softmax along just a, which nothing else needs?
static bool is_weights(const Depth *p, ValueId v, AxisId a) {
    const Value *w = graph_value(p->g, v);
    return w->op == OP_SOFTMAX && w->attr.along_count == 1 && w->attr.along[0].i == a.i &&
           p->uses[v.i] == 1;
}

static bool is_mix(Depth *p, ValueId at, Mix *out) {
    const Value *sum = graph_value(p->g, at);
    if (sum->op != OP_REDUCE_SUM || sum->attr.along_count != 1) return false;
    const Value *product = graph_value(p->g, sum->in[0]);
    AxisId a = sum->attr.along[0];
    if (product->op != OP_MUL || p->uses[sum->in[0].i] != 1) return false;
    uint32_t weights = is_weights(p, product->in[0], a) ? 0 : 1;
    ValueId value = product->in[1 - weights];
    if (!is_weights(p, product->in[weights], a) || !graph_has_axis(graph_value(p->g, value), a))
        return false;
    *out = (Mix){.at = at, .value = value, .axis = a};
    out->scores = graph_value(p->g, product->in[weights])->in[0];
    out->stack = stack_behind(p, out);
    return out->stack != NULL;
}

static void count_uses(Depth *p) {
    const Graph *g = p->g;
    p->uses = arena_array(&p->scratch, uint32_t, g->values.len);
    vec_each (const GraphOutput, o, &g->outputs)
        p->uses[o->value.i]++;
    vec_each (const GraphUpdate, u, &g->updates)
        p->uses[u->value.i]++;
    for (uint32_t i = g->values.len - 1; i > 0; i--) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; p->uses[i] > 0 && k < v->arity; k++)
            p->uses[v->in[k].i]++;
    }
}

static void find_mixes(Depth *p) {
    const Graph *g = p->g;
    p->after = arena_array(&p->scratch, uint32_t, g->values.len);
    p->marked = arena_array(&p->scratch, bool, g->values.len);
    p->members = arena_array(&p->scratch, uint32_t, g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; k < v->arity; k++)
            p->after[i] = later(p->after[i], p->after[v->in[k].i]);
        Mix m;
        if (!p->uses[i] || !is_mix(p, (ValueId){i}, &m)) continue;
        m.source_after = arena_array(&p->scratch, uint32_t, m.stack->arity);
        find_cone(p, &m);
        vec_push(&p->scratch, &p->mixes, m);
        p->after[i] = p->mixes.len;
    }
}

// ---- which mixes share sources

// Mixes in one kernel: more would not leave it registers for the sums of all. Of elements of
// sums over rows, which the gradients' kernel keeps from row to row: close memory has no more.
enum { MOST_MIXES = 16, MOST_SUMS = 32 << 10 };

// A run of mixes and the sources that all of them have and that are there before the first.
typedef struct {
    uint32_t first, last, count;
    ValueId *sources;
    double sums;
} Run;

static bool has_source(const Mix *m, ValueId source, uint32_t before) {
    for (uint32_t i = 0; i < m->stack->arity; i++)
        if (m->stack->in[i].i == source.i && m->source_after[i] <= before) return true;
    return false;
}

// The run with one more mix. False: that mix needs something that is not there before the run.
static bool run_extend(const Depth *p, Run *run) {
    const Mix *m = &p->mixes.ptr[run->last];
    if (m->context_after > run->first) return false;
    run->sums += m->sums;
    if (p->training && run->last > run->first && run->sums > MOST_SUMS) return false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->count; i++)
        if (has_source(m, run->sources[i], run->first)) run->sources[n++] = run->sources[i];
    run->count = n;
    run->last++;
    return n > 1;
}

static Run run_from(Depth *p, uint32_t first) {
    const Mix *m = &p->mixes.ptr[first];
    Run run = {.first = first, .last = first};
    run.sources = arena_array(&p->scratch, ValueId, m->stack->arity);
    for (uint32_t i = 0; i < m->stack->arity; i++) {
        bool again = false;
        for (uint32_t k = 0; k < run.count; k++)
            again |= run.sources[k].i == m->stack->in[i].i;
        if (!again) run.sources[run.count++] = m->stack->in[i];
    }
    return run;
}

// Elements that a mix on its own moves. In training: also those of its gradients, where each
// source is read, and its gradient read and written.
static double cost_single(const Depth *p, const Mix *m) {
    double size = (double)graph_elements(p->g, m->at), n = m->stack->arity;
    return size * (p->training ? 4 * n + 2 : n + 1);
}

// Of mixes that share sources. What each has from them is written, and read as it is merged
// with what it has besides; in training so is its gradient, and it is kept in between.
static double cost_run(const Depth *p, const Run *run) {
    double shared = run->count, total = 0;
    total += (p->training ? 4 : 1) * shared *
             (double)graph_elements(p->g, p->mixes.ptr[run->first].at);
    for (uint32_t i = run->first; i < run->last; i++) {
        const Mix *m = &p->mixes.ptr[i];
        double own = (double)m->stack->arity - shared;
        double rows = own == 0 ? 1 : own + 3;
        if (p->training) rows += own == 0 ? 1 : 3 * own + 5;
        total += rows * (double)graph_elements(p->g, m->at);
    }
    return total;
}

static void note_shared(Depth *p, const Run *run) {
    for (uint32_t i = run->first; i < run->last; i++) {
        Mix *m = &p->mixes.ptr[i];
        m->first = run->first;
        m->last = run->last;
        m->shared = arena_array(&p->scratch, uint32_t, run->count);
        m->shared_count = run->count;
        for (uint32_t k = 0; k < run->count; k++)
            while (m->stack->in[m->shared[k]].i != run->sources[k].i)
                m->shared[k]++;
    }
}

// Cuts the mixes into runs that move as little as possible.
static void choose_runs(Depth *p) {
    if (p->how == TWO_PHASE_NEVER) return;
    uint32_t n = p->mixes.len;
    double *best = arena_array(&p->scratch, double, n + 1);
    uint32_t *from = arena_array(&p->scratch, uint32_t, n + 1);
    double penalty = 0;  // of a mix on its own: more than all may cost, if it is to be avoided
    vec_each (const Mix, m, &p->mixes)
        penalty += p->how == TWO_PHASE_ALWAYS ? 2 * cost_single(p, m) : 0;
    for (uint32_t i = 0; i < n; i++) {
        double single = best[i] + cost_single(p, &p->mixes.ptr[i]) + penalty;
        if (best[i + 1] == 0 || single < best[i + 1]) {
            best[i + 1] = single;
            from[i + 1] = i;
        }
        Run run = run_from(p, i);
        for (uint32_t j = i; j < n && j < i + MOST_MIXES && run_extend(p, &run); j++) {
            double cost = best[i] + cost_run(p, &run);
            if (j == i || (best[j + 1] != 0 && cost >= best[j + 1])) continue;
            best[j + 1] = cost;
            from[j + 1] = i;
        }
    }
    for (uint32_t j = n; j > 0; j = from[j]) {
        if (j == from[j] + 1) continue;
        Run run = run_from(p, from[j]);
        bool same = true;
        while (run.last < j && same)
            same = run_extend(p, &run);
        ASSERT(same);
        note_shared(p, &run);
    }
}

// ---- the new graph

// Some points of a mix's axis: several along an axis of their own, or one without any.
typedef struct {
    const uint32_t *points;
    uint32_t count;
    AxisId axis;
} Part;

// What a stack has at the part's points, or any other value that has to be taken apart.
static ValueId part_of_source(Depth *p, const Mix *m, const Part *part, uint32_t member) {
    const Value *v = graph_value(p->g, (ValueId){member});
    ValueId *in = arena_array(&p->scratch, ValueId, part->count);
    for (uint32_t i = 0; i < part->count; i++) {
        GraphAttr at = {.along = &m->axis, .along_count = 1, .amount = part->points[i]};
        in[i] = is_stack_to(v, m->axis)
                    ? p->map[v->in[part->points[i]].i]
                    : graph_add(p->to, OP_TAKE, (Operands){&p->map[member], 1}, at, v->span);
    }
    if (part->count == 1) return in[0];
    GraphAttr attr = {.to = &part->axis, .to_count = 1};
    return graph_add(p->to, OP_STACK, (Operands){in, part->count}, attr, v->span);
}

static ValueId part_of_member(Depth *p, const Mix *m, const Part *part, uint32_t member) {
    const Value *v = graph_value(p->g, (ValueId){member});
    if (is_stack_to(v, m->axis) || !is_pointwise(v, m->axis))
        return part_of_source(p, m, part, member);
    ValueId *in = arena_array(&p->scratch, ValueId, v->arity);
    for (uint32_t k = 0; k < v->arity; k++) {
        bool inside = graph_has_axis(graph_value(p->g, v->in[k]), m->axis);
        in[k] = inside ? p->part[v->in[k].i] : p->map[v->in[k].i];
    }
    GraphAttr attr = v->attr;
    AxisId *to = arena_array(&p->scratch, AxisId, attr.to_count);
    attr.to = to;
    attr.to_count = 0;
    for (uint32_t i = 0; i < v->attr.to_count; i++) {
        AxisId axis = v->attr.to[i].i == m->axis.i ? part->axis : v->attr.to[i];
        if (axis.i) to[attr.to_count++] = axis;
    }
    return graph_add(p->to, v->op, (Operands){in, v->arity}, attr, v->span);
}

// A mix of some points: its result, and the logarithm of the sum of its weights before they
// were divided by it.
typedef struct {
    ValueId result, score;
} Partial;

static Partial partial_mix(Depth *p, const Mix *m, const Part *part) {
    Span span = graph_value(p->g, m->at)->span;
    for (uint32_t i = m->cone_count; i > 0; i--)
        p->part[m->cone[i - 1]] = part_of_member(p, m, part, m->cone[i - 1]);
    ValueId value = p->part[m->value.i], scores = p->part[m->scores.i];
    if (part->count == 1) return (Partial){value, scores};
    GraphAttr attr = {.along = &part->axis, .along_count = 1};
    ValueId weights = graph_add(p->to, OP_SOFTMAX, (Operands){&scores, 1}, attr, span);
    ValueId product = graph_binary(p->to, OP_MUL, value, weights, span);
    return (Partial){graph_sum(p->to, product, &part->axis, 1, span),
                     graph_add(p->to, OP_LOGSUMEXP, (Operands){&scores, 1}, attr, span)};
}

static AxisId new_axis(Depth *p, const Mix *m, uint32_t extent) {
    return graph_axis(p->to, graph_axis_at(p->g, m->axis)->name, extent, false);
}

static ValueId stack_of_two(Depth *p, ValueId x, ValueId y, AxisId axis, Span span) {
    const ValueId in[2] = {x, y};
    GraphAttr attr = {.to = &axis, .to_count = 1};
    return graph_add(p->to, OP_STACK, (Operands){in, 2}, attr, span);
}

// The mix of two mixes.
static ValueId merged(Depth *p, const Mix *m, Partial x, Partial y) {
    Span span = graph_value(p->g, m->at)->span;
    AxisId axis = new_axis(p, m, 2);
    GraphAttr along = {.along = &axis, .along_count = 1};
    ValueId scores = stack_of_two(p, x.score, y.score, axis, span);
    ValueId results = stack_of_two(p, x.result, y.result, axis, span);
    ValueId weights = graph_add(p->to, OP_SOFTMAX, (Operands){&scores, 1}, along, span);
    ValueId product = graph_binary(p->to, OP_MUL, results, weights, span);
    return graph_sum(p->to, product, &axis, 1, span);
}

static bool is_shared(const Mix *m, uint32_t point) {
    for (uint32_t i = 0; i < m->shared_count; i++)
        if (m->shared[i] == point) return true;
    return false;
}

// The first mix of a run can be merged in the kernel of the shared mixes.
static ValueId in_two_phases(Depth *p, const Mix *m, AxisId shared_axis, bool is_first) {
    const Value *old = graph_value(p->g, m->at);
    Part part = {m->shared, m->shared_count, shared_axis};
    Partial x = partial_mix(p, m, &part);
    uint32_t *rest = arena_array(&p->scratch, uint32_t, m->stack->arity), n = 0;
    for (uint32_t i = 0; i < m->stack->arity; i++)
        if (!is_shared(m, i)) rest[n++] = i;
    if (n > 0 && !is_first)
        x = (Partial){graph_unary(p->to, OP_KEEP, x.result, old->span),
                      graph_unary(p->to, OP_KEEP, x.score, old->span)};
    ValueId r = x.result;
    if (n > 0) {
        part = (Part){rest, n, n > 1 ? new_axis(p, m, n) : (AxisId){0}};
        r = merged(p, m, x, partial_mix(p, m, &part));
    }
    GraphAttr order = {.to = old->axes, .to_count = old->rank};
    return graph_add(p->to, OP_TRANSPOSE, (Operands){&r, 1}, order, old->span);
}

static ValueId copied(Depth *p, const Value *v) {
    ValueId *in = arena_array(&p->scratch, ValueId, v->arity);
    for (uint32_t k = 0; k < v->arity; k++)
        in[k] = p->map[v->in[k].i];
    return graph_again(p->to, v, in);
}

static void rebuild(Depth *p, Arena *arena) {
    const Graph *g = p->g;
    p->to = graph_copy_header(g, arena);
    p->map = arena_array(&p->scratch, ValueId, g->values.len);
    p->part = arena_array(&p->scratch, ValueId, g->values.len);
    uint32_t next = 0;
    AxisId shared_axis = {0};
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        const Mix *m = next < p->mixes.len ? &p->mixes.ptr[next] : NULL;
        bool is_next = m && m->at.i == i;
        bool leaf = v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT;
        if (is_next && m->shared && m->first == next)
            shared_axis = new_axis(p, m, m->shared_count);
        if (leaf)
            p->map[i] = p->to->leaf_values.ptr[v->attr.leaf];
        else
            p->map[i] = is_next && m->shared
                            ? in_two_phases(p, m, shared_axis, m->first == next)
                            : copied(p, v);
        next += is_next;
    }
    vec_each (const GraphOutput, o, &g->outputs)
        graph_output(p->to, o->name, p->map[o->value.i]);
    vec_each (const GraphUpdate, u, &g->updates)
        graph_update(p->to, u->leaf, p->map[u->value.i]);
}

Graph *pass_depth(const Graph *g, Arena *arena, TwoPhase how, bool training) {
    Depth p = {.g = g, .how = how, .training = training};
    arena_init(&p.scratch);
    count_uses(&p);
    find_mixes(&p);
    if (how != TWO_PHASE_NEVER) choose_runs(&p);
    rebuild(&p, arena);
    arena_release(&p.scratch);
    return p.to;
}
