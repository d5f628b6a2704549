// pass_differentiate.c: reverse mode. One sweep up finds the values that lie between wrt and
// `of`; one sweep down gives each its gradient. Operands come before their users, so a value's
// gradient is complete when the sweep reaches it. Gradients from several uses are added as the
// sweep meets them, last use first: one running sum is alive, not a list.
#include "base/check.h"
#include "ir/graph/derivative_rules.h"
#include "ir/graph/passes.h"

typedef struct {
    Graph *g;
    Arena scratch;
    // Per value up to `of`:
    bool *active;   // floating, and some wrt reaches it through differentiable operations
    ValueId *grad;  // {0}: zero
} Sweep;

static void sweep_mark_active(Sweep *s, ValueId of, const ValueId *wrt, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (wrt[i].i <= of.i) s->active[wrt[i].i] = true;
    for (uint32_t i = 1; i <= of.i; i++) {
        const Value *v = graph_value(s->g, (ValueId){i});
        bool passes = op_has_derivative(v->op);
        for (uint32_t k = 0; passes && k < v->arity; k++)
            s->active[i] |= s->active[v->in[k].i];
        s->active[i] &= dtype_is_float(v->type);
    }
}

static void sweep_add(Sweep *s, ValueId to, ValueId grad, Span span) {
    ValueId *sum = &s->grad[to.i];
    if (grad.i == 0) return;
    *sum = sum->i == 0 ? grad : graph_binary(s->g, OP_ADD, *sum, grad, span);
}

static void sweep_value(Sweep *s, ValueId v) {
    const Value value = *graph_value(s->g, v);
    if (!op_has_derivative(value.op)) return;
    for (uint32_t k = 0; k < value.arity; k++) {
        if (!s->active[value.in[k].i]) continue;
        sweep_add(s, value.in[k], derivative_of_operand(s->g, v, s->grad[v.i], k), value.span);
    }
}

static ValueId zeros_like(Graph *g, ValueId v) {
    const Value value = *graph_value(g, v);
    ValueId zero = graph_const(g, 0, value.span);
    if (value.rank == 0) return zero;
    GraphAttr attr = {.to = value.axes, .to_count = value.rank};
    return graph_add(g, OP_BROADCAST, (Operands){&zero, 1}, attr, value.span);
}

void pass_differentiate(Graph *g, ValueId of, const ValueId *wrt, uint32_t count,
                        ValueId *grads) {
    const Value *target = graph_value(g, of);
    ASSERT(target->rank == 0 && target->type == DTYPE_F32);
    Sweep s = {.g = g};
    arena_init(&s.scratch);
    s.active = arena_array(&s.scratch, bool, of.i + 1);
    s.grad = arena_array(&s.scratch, ValueId, of.i + 1);
    sweep_mark_active(&s, of, wrt, count);
    if (s.active[of.i]) s.grad[of.i] = graph_const(g, 1, target->span);
    for (uint32_t i = of.i; i > 0; i--)
        if (s.active[i] && s.grad[i].i != 0) sweep_value(&s, (ValueId){i});
    for (uint32_t i = 0; i < count; i++) {
        ValueId grad = wrt[i].i <= of.i ? s.grad[wrt[i].i] : (ValueId){0};
        grads[i] = grad.i != 0 ? grad : zeros_like(g, wrt[i]);
    }
    arena_release(&s.scratch);
}
