// evaluate_reduce.c: reference of reductions, softmax and contractions.
#include <math.h>

#include "base/check.h"
#include "ir/graph/evaluate_step.h"

// A walk over x beside an array that lacks the axes reduced (stride 0 along them).
enum { WALK_X, WALK_REDUCED };

// Gives the walk and the number of elements that x's axes without `along` hold.
static int64_t walk_init(Nest *n, const EvaluateStep *s) {
    const Value *x = step_operand(s, 0);
    AxisId kept[GRAPH_MAX_RANK];
    Value reduced = {.axes = kept};
    int64_t elements = 1;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (axis_in(s->value->attr.along, s->value->attr.along_count, x->axes[i])) continue;
        kept[reduced.rank++] = x->axes[i];
        elements *= graph_extent(s->graph, x->axes[i]);
    }
    nest_init(n, s->graph, x, NULL, 0);
    nest_array(n, x);
    nest_array(n, &reduced);
    return elements;
}

static void walk_max(const Nest *n, const double *x, double *max, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        max[i] = -HUGE_VAL;
    uint32_t last = n->rank - 1;
    NestCursor c = nest_begin(n);
    do {
        for (int64_t i = 0; i < n->extent[last]; i++) {
            double value = x[c.offset[WALK_X] + i * n->stride[WALK_X][last]];
            double *m = &max[c.offset[WALK_REDUCED] + i * n->stride[WALK_REDUCED][last]];
            if (value > *m || isnan(value)) *m = value;  // a NaN stays
        }
    } while (nest_next(n, &c));
}

// sum += f(x), where f is exp(x - shift) if a shift is given, else x.
static void walk_sum(const Nest *n, const double *x, const double *shift, double *sum) {
    uint32_t last = n->rank - 1;
    NestCursor c = nest_begin(n);
    do {
        for (int64_t i = 0; i < n->extent[last]; i++) {
            double value = x[c.offset[WALK_X] + i * n->stride[WALK_X][last]];
            int64_t at = c.offset[WALK_REDUCED] + i * n->stride[WALK_REDUCED][last];
            sum[at] += shift ? exp(value - shift[at]) : value;
        }
    } while (nest_next(n, &c));
}

void evaluate_reduce(const EvaluateStep *s) {
    Nest n;
    int64_t count = walk_init(&n, s);
    if (s->value->op == OP_REDUCE_MAX)
        walk_max(&n, s->in[0], s->out, count);
    else
        walk_sum(&n, s->in[0], NULL, s->out);
}

// The greatest x of each group, but 0 where all are -inf, so that x - shift is never inf - inf.
static double *walk_shift(const Nest *n, const EvaluateStep *s, int64_t count) {
    double *shift = arena_array(s->scratch, double, count);
    walk_max(n, s->in[0], shift, count);
    for (int64_t i = 0; i < count; i++)
        if (isinf(shift[i])) shift[i] = 0;
    return shift;
}

void evaluate_logsumexp(const EvaluateStep *s) {
    Nest n;
    int64_t count = walk_init(&n, s);
    const double *shift = walk_shift(&n, s, count);
    walk_sum(&n, s->in[0], shift, s->out);
    for (int64_t i = 0; i < count; i++)
        s->out[i] = shift[i] + log(s->out[i]);
}

void evaluate_softmax(const EvaluateStep *s) {
    Nest n;
    int64_t count = walk_init(&n, s);
    const double *shift = walk_shift(&n, s, count);
    double *sum = arena_array(s->scratch, double, count);
    walk_sum(&n, s->in[0], shift, sum);
    uint32_t last = n.rank - 1;
    NestCursor c = nest_begin(&n);
    do {
        for (int64_t i = 0; i < n.extent[last]; i++) {
            int64_t at = c.offset[WALK_X] + i * n.stride[WALK_X][last];
            int64_t group = c.offset[WALK_REDUCED] + i * n.stride[WALK_REDUCED][last];
            s->out[at] = exp(s->in[0][at] - shift[group]) / sum[group];
        }
    } while (nest_next(&n, &c));
}

// The axis that is best walked innermost: neighbours lie together in most arrays, and there are
// many of them.
static uint32_t nest_best_inner(const Nest *n) {
    uint32_t best = n->rank - 1;
    int64_t best_score = -1;
    for (uint32_t i = 0; i < n->rank; i++) {
        int64_t score = 0;
        for (uint32_t a = 0; a < n->arrays; a++)
            score += n->stride[a][i] <= 1;
        if (n->extent[i] < 4) score = 0;
        if (score >= best_score) best = i;
        if (score >= best_score) best_score = score;
    }
    return best;
}

static void nest_swap(Nest *n, uint32_t i, uint32_t j) {
    AxisId axis = n->axis[i];
    n->axis[i] = n->axis[j];
    n->axis[j] = axis;
    int64_t extent = n->extent[i];
    n->extent[i] = n->extent[j];
    n->extent[j] = extent;
    for (uint32_t a = 0; a < n->arrays; a++) {
        int64_t stride = n->stride[a][i];
        n->stride[a][i] = n->stride[a][j];
        n->stride[a][j] = stride;
    }
}

void evaluate_contract(const EvaluateStep *s) {
    const Value *v = s->value;
    Nest n;
    nest_init(&n, s->graph, v, v->attr.along, v->attr.along_count);
    uint32_t ax = nest_array(&n, step_operand(s, 0)), ay = nest_array(&n, step_operand(s, 1)),
             ar = nest_array(&n, v);
    uint32_t last = n.rank - 1;
    nest_swap(&n, nest_best_inner(&n), last);
    int64_t count = n.extent[last], sx = n.stride[ax][last], sy = n.stride[ay][last],
            sr = n.stride[ar][last];
    NestCursor c = nest_begin(&n);
    do {
        const double *x = s->in[0] + c.offset[ax], *y = s->in[1] + c.offset[ay];
        double *r = s->out + c.offset[ar];
        for (int64_t i = 0; i < count; i++)
            r[i * sr] += x[i * sx] * y[i * sy];
    } while (nest_next(&n, &c));
}
