// pass_precision.c: what is kept in memory for long is kept in bf16.
//
// A value v that is chosen has two forms: low(v), cast to bf16, and high(v), which everything
// but contractions sees. Contractions take low operands and sum in f32. Activations, which have
// a run-time axis, are in memory as low(v), and high(v) is low(v) cast back: a view, so that a
// kernel widens what it loads. Without a run-time axis high(v) is the value itself: a parameter
// stays the f32 master of its working weight.
//
// Chosen are the operands of contractions, and every activation that a kernel writes to memory;
// not row statistics, what updates a leaf, the decays, write strengths and states of linear
// attention, and what is no f32.
#include "base/check.h"
#include "ir/graph/linear.h"
#include "ir/graph/passes.h"
#include "ir/graph/region.h"

typedef struct {
    const Graph *from;
    Graph *to;
    Arena scratch;
    bool *statistic, *chosen;  // per value of `from`
    ValueId *low, *high;       // per value of `from`, in `to`; {0}: not made yet
} Precision;

static bool is_addressing(const Value *v) {
    return op_is_view(v->op) || v->op == OP_STACK || v->op == OP_CONCAT;
}

static bool is_activation(const Graph *g, const Value *v) {
    for (int i = 0; i < v->rank; i++)
        if (graph_axis_at(g, v->axes[i])->runtime) return true;
    return false;
}

// Takes low operands and sums in f32.
static bool multiplies(GraphOp op) {
    return op == OP_CONTRACT || op_is_attend(op) || op_is_linear(op) || op_is_grouped(op);
}

// ---- choosing

// The values of which v is an addressing.
static void choose_bases(Precision *p, ValueId v, bool chosen) {
    const Value *value = graph_value(p->from, v);
    if (value->type != DTYPE_F32) return;
    if (!is_addressing(value)) {
        p->chosen[v.i] = chosen;
        return;
    }
    for (uint32_t k = 0; k < value->arity; k++)
        choose_bases(p, value->in[k], chosen);
}

// One number a row, or few: what a reduction over the last axis leaves, and what is made of
// such alone.
static bool is_statistic(const Precision *p, const Value *v) {
    const Graph *g = p->from;
    bool reduces = v->op == OP_REDUCE_SUM || v->op == OP_REDUCE_MAX || v->op == OP_LOGSUMEXP;
    if (v->op == OP_ATTEND_LSE) return true;
    if (v->op == OP_LINEAR_STATE || v->op == OP_LINEAR_ERROR || v->op == OP_LINEAR_DDECAY ||
        v->op == OP_LINEAR_DBETA || v->op == OP_LINEAR_DINITIAL)
        return true;
    if (reduces) {
        const Value *x = graph_value(g, v->in[0]);
        if (axis_in(v->attr.along, v->attr.along_count, x->axes[x->rank - 1])) return true;
    }
    bool some = false,
         all = reduces || v->op == OP_SOFTMAX || is_addressing(v) || op_is_elementwise(v->op);
    for (uint32_t k = 0; k < v->arity; k++) {
        const Value *x = graph_value(g, v->in[k]);
        some = some || p->statistic[v->in[k].i];
        all = all && (p->statistic[v->in[k].i] || x->rank == 0);
    }
    return some && all;
}

// The operands of v that are multiplied per token; or (chosen: false) the others: decays, write
// strengths and states.
static void choose_linear(Precision *p, const Value *v, bool chosen) {
    LinearOperands l = linear_operands(p->from, v);
    const ValueId none = {0};
    const ValueId low[] = {l.q, l.k, l.v, l.q.i ? l.gradient : none},
                  high[] = {l.decay, l.beta, l.initial, l.q.i ? none : l.gradient};
    const ValueId *list = chosen ? low : high;
    for (uint32_t i = 0; i < sizeof low / sizeof *low; i++)
        if (list[i].i) choose_bases(p, list[i], chosen);
}

static void choose(Precision *p) {
    const Graph *g = p->from;
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        if (op_is_linear(v->op)) choose_linear(p, v, true);
        // The rest of an attention's operands are statistics.
        bool products = multiplies(v->op) && !op_is_linear(v->op);
        for (uint32_t k = 0; products && k < v->arity && k < 4; k++)
            choose_bases(p, v->in[k], true);
    }
    for (uint32_t i = 1; i < g->values.len; i++)
        p->statistic[i] = is_statistic(p, graph_value(g, (ValueId){i}));
    const Regions *regions = pass_fuse(g, &p->scratch);
    for (uint32_t r = 0; r < regions->count; r++) {
        const Region *region = &regions->regions[r];
        for (uint32_t k = 0; k < region->output_count; k++) {
            ValueId v = region->outputs[k];
            if (is_activation(g, graph_value(g, v)) && !p->statistic[v.i])
                choose_bases(p, v, true);
        }
    }
    vec_each (const GraphUpdate, u, &g->updates) {
        choose_bases(p, u->value, false);
    }
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        if (op_is_linear(v->op)) choose_linear(p, v, false);
    }
}

// ---- rebuilding

// Is every value that v addresses chosen?
static bool is_low(const Precision *p, ValueId v) {
    const Value *value = graph_value(p->from, v);
    if (!is_addressing(value)) return p->chosen[v.i];
    for (uint32_t k = 0; k < value->arity; k++)
        if (!is_low(p, value->in[k])) return false;
    return true;
}

static ValueId low_form(Precision *p, ValueId v);

// The operation on the low or high forms of its operands.
static ValueId copy(Precision *p, ValueId v, bool low) {
    const Value *value = graph_value(p->from, v);
    ArenaMark mark = arena_mark(&p->scratch);
    ValueId *in = arena_array(&p->scratch, ValueId, value->arity);
    for (uint32_t k = 0; k < value->arity; k++)
        in[k] = low && is_low(p, value->in[k]) ? low_form(p, value->in[k])
                                               : p->high[value->in[k].i];
    ValueId out = graph_again(p->to, value, in);
    arena_rewind(&p->scratch, mark);
    return out;
}

static ValueId low_form(Precision *p, ValueId v) {
    if (p->low[v.i].i) return p->low[v.i];
    const Value *value = graph_value(p->from, v);
    p->low[v.i] = is_addressing(value)
                      ? copy(p, v, true)
                      : graph_cast(p->to, p->high[v.i], DTYPE_BF16, value->span);
    return p->low[v.i];
}

static void rebuild_value(Precision *p, ValueId v) {
    const Value *value = graph_value(p->from, v);
    if (value->op == OP_PARAM || value->op == OP_STATE || value->op == OP_INPUT) {
        p->high[v.i] = p->to->leaf_values.ptr[value->attr.leaf];
        return;
    }
    bool low = is_low(p, v) && is_activation(p->from, value);
    if (!low || !is_addressing(value)) p->high[v.i] = copy(p, v, multiplies(value->op));
    if (low) p->high[v.i] = graph_cast(p->to, low_form(p, v), DTYPE_F32, value->span);
}

static void rebuild(Precision *p) {
    const Graph *g = p->from;
    for (uint32_t i = 1; i < g->values.len; i++)
        rebuild_value(p, (ValueId){i});
    vec_each (const GraphOutput, o, &g->outputs) {
        bool low = is_low(p, o->value) && is_activation(g, graph_value(g, o->value));
        graph_output(p->to, o->name, low ? low_form(p, o->value) : p->high[o->value.i]);
    }
    vec_each (const GraphUpdate, u, &g->updates) {
        graph_update(p->to, u->leaf, p->high[u->value.i]);
    }
}

static bool any_chosen(const Precision *p) {
    for (uint32_t i = 1; i < p->from->values.len; i++)
        if (p->chosen[i]) return true;
    return false;
}

// NULL: there is nothing to choose.
static Graph *one_round(const Graph *g, Arena *arena) {
    Precision p = {.from = g};
    arena_init(&p.scratch);
    p.statistic = arena_array(&p.scratch, bool, g->values.len);
    p.chosen = arena_array(&p.scratch, bool, g->values.len);
    p.low = arena_array(&p.scratch, ValueId, g->values.len);
    p.high = arena_array(&p.scratch, ValueId, g->values.len);
    choose(&p);
    if (any_chosen(&p)) {
        p.to = graph_copy_header(g, arena);
        rebuild(&p);
    }
    arena_release(&p.scratch);
    return p.to;
}

// What kernels write depends on what is bf16, so the choice is made again until it holds.
Graph *pass_precision(Graph *g, Arena *arena) {
    enum { MOST_ROUNDS = 4 };
    for (int i = 0; i < MOST_ROUNDS; i++) {
        Graph *next = one_round(g, arena);
        if (!next) break;
        g = next;
    }
    return g;
}
