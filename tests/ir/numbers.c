// numbers.c: see numbers.h.
#include "tests/ir/numbers.h"

#include <math.h>

#include "base/check.h"
#include "base/rng.h"

// By how much of itself rounding moves a number: at most in f32, half of that in the others.
#define UNIT_F32    0x1p-24
#define UNIT_16     0x1p-9
// Products of linear attention have factors of 11 bits, or of 22 where nothing has 16
// (docs/cuda.md, CHUNK).
#define UNIT_FACTOR 0x1p-12
#define UNIT_SPLIT  0x1p-23

double number_of_leaf(const Graph *g, uint32_t leaf, double deviation, int64_t i) {
    const Leaf *l = &g->leaves.ptr[leaf];
    uint64_t counter = (uint64_t)i * 977 + leaf;
    if (l->index_of.i)
        return (double)(rng_u64(3, counter) % (uint64_t)graph_extent(g, l->index_of));
    bool positive = l->kind == OP_STATE || l->rank == 0;
    return positive ? 0.5 + rng_uniform(3, counter) : deviation * rng_normal(3, counter);
}

static bool is_float(const Graph *g, ValueId v) {
    return dtype_is_float(graph_value(g, v)->type);
}

static void move(double *x, int64_t count, double unit, uint64_t stream) {
    for (int64_t i = 0; i < count; i++)
        x[i] *= 1 + unit * (2 * rng_uniform(stream, (uint64_t)i) - 1);
}

// ---- one operation

// How many terms are added up to an element; 0: `v` is no sum.
static double terms_of(const Graph *g, const Value *v) {
    bool nested = op_is_attend(v->op) || op_is_linear(v->op) || op_is_grouped(v->op) ||
                  v->op == OP_UNWINDOW;
    bool plain = v->op == OP_REDUCE_SUM || v->op == OP_LOGSUMEXP || v->op == OP_SOFTMAX ||
                 v->op == OP_CONTRACT;
    if (v->op == OP_SCATTER) return (double)graph_elements(g, v->in[1]);
    double sum = 0, product = 1;
    for (uint32_t i = 0; i < v->attr.along_count; i++) {
        sum += (double)graph_extent(g, v->attr.along[i]);
        product *= (double)graph_extent(g, v->attr.along[i]);
    }
    return nested ? sum : plain ? product : 0;
}

// What rounds a term of a sum.
static double unit_of_terms(const Graph *g, const Value *v) {
    bool has_16 = false;
    for (uint32_t k = 0; k < v->arity; k++)
        has_16 |= is_float(g, v->in[k]) && dtype_bytes(graph_value(g, v->in[k])->type) == 2;
    if (op_is_linear(v->op)) return has_16 ? UNIT_FACTOR : UNIT_SPLIT;
    // Weights are rounded to the type of what they weigh.
    return op_is_attend(v->op) && has_16 ? UNIT_16 : UNIT_F32;
}

// Results that are operands, or made without a rounding.
static bool is_exact(const Graph *g, const Value *v) {
    switch ((int)v->op) {
    case OP_CONST:
    case OP_NEG:
    case OP_ABS:
    case OP_SIGN:
    case OP_FLOOR:
    case OP_DETACH:
    case OP_KEEP:
    case OP_MIN:
    case OP_MAX:
    case OP_WHERE:
    case OP_REDUCE_MAX:
    case OP_STACK:
    case OP_CONCAT:
    case OP_PAD:
    case OP_PUT:
    case OP_ROLL:
    case OP_SHIFT:
    case OP_WINDOW:
    case OP_GATHER:
    case OP_PLACE: return true;
    case OP_CAST: return !is_float(g, v->in[0]);
    default: return op_is_view(v->op);
    }
}

// A cast to 16 bits in the place of the rounding that the evaluator knows.
static void round_cast(Evaluation *e, uint32_t i, uint64_t stream) {
    const Value *v = graph_value(e->graph, (ValueId){i});
    int64_t n = graph_elements(e->graph, (ValueId){i});
    e->data[i] = arena_array(e->arena, double, n);
    memcpy(e->data[i], e->data[v->in[0].i], (size_t)n * sizeof(double));
    if (dtype_bytes(v->type) == 2) move(e->data[i], n, UNIT_16, stream);
}

static void round_terms(Evaluation *e, const Value *v, double unit, uint64_t stream) {
    for (uint32_t k = 0; k < v->arity; k++) {
        uint32_t in = v->in[k].i;
        int64_t n = graph_elements(e->graph, v->in[k]);
        if (!is_float(e->graph, v->in[k])) continue;
        const double *x = e->data[in];
        e->data[in] = arena_array(e->arena, double, n);
        memcpy(e->data[in], x, (size_t)n * sizeof *x);
        move(e->data[in], n, unit, stream + k);
    }
}

static void step(Evaluation *e, uint32_t i, uint64_t seed) {
    enum { MOST_OPERANDS = 16 };
    const Graph *g = e->graph;
    const Value *v = graph_value(g, (ValueId){i});
    uint64_t stream = (seed << 32) + (uint64_t)i * (MOST_OPERANDS + 1);
    if (v->op == OP_CAST && is_float(g, (ValueId){i}) && is_float(g, v->in[0])) {
        round_cast(e, i, stream);
        return;
    }
    // Errors of n additions grow with the root of n.
    double *operands[MOST_OPERANDS] = {NULL}, terms = terms_of(g, v),
           growth = sqrt(fmax(terms, 1));
    if (terms > 0) {
        ASSERT(v->arity <= MOST_OPERANDS);
        for (uint32_t k = 0; k < v->arity; k++)
            operands[k] = e->data[v->in[k].i];
        round_terms(e, v, fmax(unit_of_terms(g, v), UNIT_F32 * growth), stream + 1);
    }
    evaluation_value(e, (ValueId){i});
    for (uint32_t k = 0; terms > 0 && k < v->arity; k++)
        e->data[v->in[k].i] = operands[k];
    if (is_float(g, (ValueId){i}) && !is_exact(g, v))
        move(e->data[i], graph_elements(g, (ValueId){i}), UNIT_F32 * growth, stream);
}

// ---- all of them

void evaluation_rounded(Evaluation *e, const ValueId *values, uint32_t count, uint64_t seed) {
    bool *needed = arena_array(e->arena, bool, e->count);
    for (uint32_t k = 0; k < count; k++)
        needed[values[k].i] = true;
    for (uint32_t i = e->count - 1; i > 0; i--) {
        const Value *v = graph_value(e->graph, (ValueId){i});
        needed[i] = needed[i] && !e->data[i];
        for (uint32_t k = 0; needed[i] && k < v->arity; k++)
            needed[v->in[k].i] = true;
    }
    for (uint32_t i = 1; i < e->count; i++)
        if (needed[i]) step(e, i, seed);
}

double deviation_of(const Evaluation *reference, Evaluation *rounded, ValueId v) {
    int64_t n = graph_elements(reference->graph, v);
    double most = 0;
    for (uint32_t k = 0; k < ROUNDED_COUNT; k++)
        for (int64_t i = 0; i < n; i++)
            most = fmax(most, fabs(rounded[k].data[v.i][i] - reference->data[v.i][i]));
    return most;
}
