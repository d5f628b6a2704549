// evaluate.c: which values a request needs, in which order, and the loop nests that the
// operations are computed with.
#include "ir/graph/evaluate.h"

#include "base/check.h"
#include "ir/graph/evaluate_step.h"

typedef void (*EvaluateFunction)(const EvaluateStep *s);

static const EvaluateFunction functions[OP_COUNT] = {
#define GRAPH_OP(NAME, text, arity, shape, derivative, evaluate, flops) \
    [OP_##NAME] = evaluate_##evaluate,
#include "ir/graph/ops.def"
#undef GRAPH_OP
};

void evaluation_init(Evaluation *e, const Graph *g, Arena *arena) {
    *e = (Evaluation){.graph = g, .arena = arena, .count = g->values.len};
    e->data = arena_array(arena, double *, e->count);
    e->needed = arena_array(arena, bool, e->count);
}

static double *evaluation_room(Evaluation *e, ValueId v) {
    e->data[v.i] = arena_array(e->arena, double, graph_elements(e->graph, v));
    return e->data[v.i];
}

double *evaluation_leaf(Evaluation *e, uint32_t leaf) {
    ASSERT(leaf < e->graph->leaf_values.len);
    ValueId v = e->graph->leaf_values.ptr[leaf];
    ASSERT(v.i < e->count);
    return e->data[v.i] ? e->data[v.i] : evaluation_room(e, v);
}

static void evaluation_step(Evaluation *e, ValueId v) {
    const Value *value = graph_value(e->graph, v);
    double *out = evaluation_room(e, v);
    ArenaMark mark = arena_mark(e->arena);
    const double **in = arena_array(e->arena, const double *, value->arity);
    for (uint32_t k = 0; k < value->arity; k++)
        in[k] = e->data[value->in[k].i];
    functions[value->op](&(EvaluateStep){e->graph, value, in, out, e->arena});
    arena_rewind(e->arena, mark);
}

const double *evaluation_value(Evaluation *e, ValueId v) {
    ASSERT(v.i != 0 && v.i < e->count);
    memset(e->needed, 0, v.i);
    e->needed[v.i] = true;
    // Operands come before their users, so one sweep down finds what is needed and one sweep up
    // computes it.
    for (uint32_t i = v.i; i > 0; i--) {
        if (!e->needed[i] || e->data[i]) continue;
        const Value *value = graph_value(e->graph, (ValueId){i});
        for (uint32_t k = 0; k < value->arity; k++)
            e->needed[value->in[k].i] = true;
    }
    for (uint32_t i = 1; i <= v.i; i++)
        if (e->needed[i] && !e->data[i]) evaluation_step(e, (ValueId){i});
    return e->data[v.i];
}

const Value *step_operand(const EvaluateStep *s, uint32_t k) {
    return graph_value(s->graph, s->value->in[k]);
}

int64_t value_stride(const Graph *g, const Value *v, AxisId a) {
    int64_t stride = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        if (v->axes[i].i == a.i) return stride;
        stride *= graph_extent(g, v->axes[i]);
    }
    return 0;
}

void nest_init(Nest *n, const Graph *g, const Value *axes_of, const AxisId *more,
               uint32_t more_count) {
    *n = (Nest){.graph = g, .rank = axes_of->rank + more_count};
    ASSERT(n->rank <= NEST_MAX_RANK);
    for (uint32_t i = 0; i < n->rank; i++) {
        n->axis[i] = i < axes_of->rank ? axes_of->axes[i] : more[i - axes_of->rank];
        n->extent[i] = graph_extent(g, n->axis[i]);
    }
    if (n->rank > 0) return;
    n->rank = 1;
    n->extent[0] = 1;
}

uint32_t nest_array(Nest *n, const Value *v) {
    ASSERT(n->arrays < NEST_MAX_ARRAYS);
    for (uint32_t i = 0; i < n->rank; i++)
        n->stride[n->arrays][i] = value_stride(n->graph, v, n->axis[i]);
    return n->arrays++;
}

NestCursor nest_begin(const Nest *n) {
    NestCursor c = {0};
    for (uint32_t a = 0; a < n->arrays; a++)
        c.offset[a] = n->start[a];
    return c;
}

bool nest_next(const Nest *n, NestCursor *c) {
    for (int i = (int)n->rank - 2; i >= 0; i--) {
        for (uint32_t a = 0; a < n->arrays; a++)
            c->offset[a] += n->stride[a][i];
        if (++c->index[i] < n->extent[i]) return true;
        for (uint32_t a = 0; a < n->arrays; a++)
            c->offset[a] -= n->stride[a][i] * n->extent[i];
        c->index[i] = 0;
    }
    return false;
}
