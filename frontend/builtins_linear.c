// builtins_linear.c: linear attention and its final state. The operands are given the axes that
// the operations want (ir/graph/linear.h): v all batch axes, decay and beta the tokens.
#include <math.h>

#include "frontend/builtins.h"
#include "ir/graph/linear.h"

// Places of the arguments; those of linear_attention_state lack q and scale, and come one
// earlier.
enum { Q, K, V, OVER, ALONG, DECAY, BETA, INITIAL, RULE, STARTS, SCALE };

typedef struct {
    BuiltinCall *c;
    uint32_t skipped;  // 1 without q
    AxisId time, along, values;
    double scale;
    bool delta;
    Datum q, k, v, decay, beta, initial;  // ABSENT: not there
} Linear;

static uint32_t place(const Linear *l, uint32_t argument) { return argument - l->skipped; }

static bool given(const Linear *l, uint32_t argument) {
    DatumKind kind = l->c->arg[place(l, argument)].v.kind;
    return kind != DATUM_ABSENT && kind != DATUM_NONE;
}

static const Value *value_of(const Linear *l, Datum x) {
    return graph_value(l->c->e->graph, x.tensor);
}

static bool has(const Linear *l, Datum x, AxisId a) {
    return x.kind == DATUM_TENSOR && graph_has_axis(value_of(l, x), a);
}

static bool read_rule(Linear *l) {
    if (!given(l, RULE)) return true;
    Operand rule = l->c->arg[place(l, RULE)];
    bool known = rule.v.kind == DATUM_STRING && (str_eq(rule.v.string, STR("additive")) ||
                                                 str_eq(rule.v.string, STR("delta")));
    if (!known) {
        elaborate_error(l->c->e, rule.at, "the rule is \"additive\" or \"delta\"");
        return false;
    }
    l->delta = str_eq(rule.v.string, STR("delta"));
    return true;
}

// One operand, if it is given: it must have axis `needed` (0: any).
static bool read_operand(Linear *l, uint32_t argument, uint32_t needed, Datum *out) {
    *out = ABSENT;
    if (!given(l, argument)) return true;
    uint32_t i = place(l, argument);
    if (!call_f32(l->c, i, out)) return false;
    return !needed ||
           call_has_axis(l->c, i, needed == OVER ? l->time : l->along, place(l, needed));
}

static bool refuse_axis(Linear *l, uint32_t argument, Datum x, AxisId a, const char *why) {
    if (!has(l, x, a)) return true;
    Elaboration *e = l->c->e;
    uint32_t i = place(l, argument);
    Str is = elaborate_describe(e, l->c->arg[i].v);
    elaborate_error(e, l->c->arg[i].at, "%s must not have axis %.*s%s; it is %.*s",
                    call_arg_text(l->c, i), STR_ARG(graph_axis_at(e->graph, a)->name), why,
                    STR_ARG(is));
    return false;
}

// The axis of v that the state has for it: the last that nothing else has.
static bool find_values(Linear *l) {
    const Value *v = value_of(l, l->v);
    for (uint32_t i = 0; i < v->rank; i++) {
        AxisId a = v->axes[i];
        if (a.i != l->time.i && !has(l, l->q, a) && !has(l, l->k, a) && !has(l, l->decay, a) &&
            !has(l, l->beta, a))
            l->values = a;
    }
    if (l->values.i) return true;
    uint32_t at = place(l, V);
    Str is = elaborate_describe(l->c->e, l->c->arg[at].v);
    elaborate_error(l->c->e, l->c->arg[at].at, "%s needs an axis of its own, this is %.*s",
                    call_arg_text(l->c, at), STR_ARG(is));
    return false;
}

static bool check_initial(Linear *l) {
    if (l->initial.kind != DATUM_TENSOR) return true;
    if (has(l, l->initial, l->values)) return refuse_axis(l, INITIAL, l->initial, l->time, "");
    uint32_t at = place(l, INITIAL);
    const Axis *axis = graph_axis_at(l->c->e->graph, l->values);
    Str is = elaborate_describe(l->c->e, l->initial);
    elaborate_error(l->c->e, l->c->arg[at].at, "%s needs axis %.*s of v, this is %.*s",
                    call_arg_text(l->c, at), STR_ARG(axis->name), STR_ARG(is));
    return false;
}

static bool linear_read(BuiltinCall *c, bool queried, Linear *l) {
    *l = (Linear){.c = c, .skipped = !queried, .scale = 1, .q = ABSENT};
    if (!call_axis(c, place(l, OVER), &l->time) || !call_axis(c, place(l, ALONG), &l->along) ||
        !read_rule(l))
        return false;
    if (queried && (!call_number(c, SCALE, 1, &l->scale) || !read_operand(l, Q, OVER, &l->q) ||
                    !call_has_axis(c, Q, l->along, ALONG)))
        return false;
    return read_operand(l, K, OVER, &l->k) &&
           call_has_axis(c, place(l, K), l->along, place(l, ALONG)) &&
           read_operand(l, V, OVER, &l->v) && read_operand(l, DECAY, 0, &l->decay) &&
           read_operand(l, BETA, 0, &l->beta) && read_operand(l, INITIAL, ALONG, &l->initial) &&
           refuse_axis(l, V, l->v, l->along, ", which q and k have") &&
           refuse_axis(l, BETA, l->beta, l->along, "") && find_values(l) && check_initial(l);
}

// ---- the axes that the operations want

static Datum over_time(const Linear *l, Datum x) {
    AxisSet time = {.items = {l->time}, .count = 1};
    return x.kind == DATUM_TENSOR ? emit_broadcast(l->c->e, x, &time, l->c->span) : x;
}

// A sequence begins where `starts` holds: nothing from before counts, exp(-inf) = 0.
static bool begin_sequences(Linear *l) {
    if (!given(l, STARTS)) return true;
    Elaboration *e = l->c->e;
    uint32_t i = place(l, STARTS);
    Operand at = l->c->arg[i];
    ValueId starts = {0};
    if (!call_tensor(l->c, i, &starts) || !call_has_axis(l->c, i, l->time, place(l, OVER)))
        return false;
    if (graph_value(e->graph, starts)->type != DTYPE_BOOL) {
        Datum holds =
            elaborate_compare(e, AST_BINARY_NE, at.at, at, (Operand){datum_number(0), at.at});
        if (holds.kind != DATUM_TENSOR) return false;
        starts = holds.tensor;
    }
    if (l->decay.kind != DATUM_TENSOR)
        l->decay = datum_tensor(graph_const(e->graph, 0, l->c->span));
    AxisSet all = {0};
    const Value *value = graph_value(e->graph, starts);
    for (uint32_t k = 0; k < value->rank; k++)
        all.items[all.count++] = value->axes[k];
    l->decay = emit_broadcast(e, l->decay, &all, l->c->span);
    if (l->decay.kind != DATUM_TENSOR) return false;
    ValueId forget = graph_const(e->graph, -HUGE_VAL, l->c->span);
    l->decay = emit(e, operation(OP_WHERE, l->c->span),
                    (ValueId[]){starts, forget, l->decay.tensor}, 3, NULL);
    return l->decay.kind == DATUM_TENSOR;
}

static bool is_batch(const Linear *l, AxisId a) {
    return a.i != l->time.i && a.i != l->along.i && a.i != l->values.i;
}

// Every batch axis of the operands, before the values.
static bool widen_values(Linear *l) {
    const Datum others[] = {l->q, l->k, l->decay, l->beta, l->initial};
    AxisId axes[GRAPH_MAX_RANK];
    uint32_t rank = 0;
    const Value *v = value_of(l, l->v);
    for (uint32_t i = 0; i < v->rank; i++)
        if (v->axes[i].i != l->values.i) axes[rank++] = v->axes[i];
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        if (others[k].kind != DATUM_TENSOR) continue;
        const Value *x = value_of(l, others[k]);
        for (uint32_t i = 0; i < x->rank; i++) {
            if (!is_batch(l, x->axes[i]) || axis_in(axes, rank, x->axes[i])) continue;
            if (rank + 1 == GRAPH_MAX_RANK) {
                elaborate_error(l->c->e, l->c->span, "more than %d axes", GRAPH_MAX_RANK);
                return false;
            }
            axes[rank++] = x->axes[i];
        }
    }
    axes[rank++] = l->values;
    if (rank == v->rank) return true;
    GraphAttr attr = {.to = axes, .to_count = (uint8_t)rank};
    l->v = emit(l->c->e, operation(OP_BROADCAST, l->c->span), &l->v.tensor, 1, &attr);
    return l->v.kind == DATUM_TENSOR;
}

static Datum linear_emit(BuiltinCall *c, GraphOp op) {
    Linear l;
    if (!linear_read(c, op == OP_LINEAR, &l) || !begin_sequences(&l)) return POISON;
    l.decay = over_time(&l, l.decay);
    l.beta = over_time(&l, l.beta);
    if (datum_is_poison(l.decay) || datum_is_poison(l.beta) || !widen_values(&l)) return POISON;
    const struct {
        Datum operand;
        int64_t bit;
    } operands[] = {
        {l.q, LINEAR_HAS_QUERY},
        {l.k, 0},
        {l.v, 0},
        {l.decay, LINEAR_HAS_DECAY},
        {l.beta, LINEAR_HAS_BETA},
        {l.initial, LINEAR_HAS_INITIAL},
    };
    ValueId in[6];
    uint32_t count = 0;
    AxisId along[2] = {l.along, l.time};
    GraphAttr attr = {.along = along, .along_count = 2, .number = l.scale};
    attr.amount = l.delta ? LINEAR_DELTA : 0;
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
        if (operands[i].operand.kind != DATUM_TENSOR) continue;
        in[count++] = operands[i].operand.tensor;
        attr.amount |= operands[i].bit;
    }
    return emit(c->e, operation(op, c->span), in, count, &attr);
}

Datum builtin_linear_attention(BuiltinCall *c) { return linear_emit(c, OP_LINEAR); }
Datum builtin_linear_attention_state(BuiltinCall *c) { return linear_emit(c, OP_LINEAR_STATE); }
