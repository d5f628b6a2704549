// evaluate_attend.c: reference of attention and its gradients, a row of queries at a time:
//     score = scale * q . k    lse = log sum exp score    p = exp(score - lse), 0 outside the
//     band ds = scale * p * (g . v - delta)
#include <math.h>

#include "ir/graph/evaluate_step.h"
#include "ir/graph/shape_rules.h"

enum { Q, K, V, G, ROW, OUT, ARRAYS };  // ROW: lse and delta

typedef struct {
    const EvaluateStep *s;
    Nest nest;  // the rows, then the keys
    uint32_t keys, query;
    int64_t width, values;  // extents of the two inner axes
    int64_t along_width[ARRAYS], along_values[ARRAYS];
    double *weight;  // of each key of the current row
} Attention;

static double dot(const double *x, int64_t x_step, const double *y, int64_t y_step,
                  int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i * x_step] * y[i * y_step];
    return sum;
}

static void add_scaled(double *to, int64_t step, const double *x, int64_t x_step, double factor,
                       int64_t count) {
    for (int64_t i = 0; i < count; i++)
        to[i * step] += factor * x[i * x_step];
}

// An array of the operation's: its axes, and those of the rows where it has none of its own.
static const Value *array_value(const EvaluateStep *s, int array, const Value *rows) {
    if (array == OUT) return s->value;
    if (array == ROW) return rows;
    return (uint32_t)array < s->value->arity ? step_operand(s, (uint32_t)array) : rows;
}

static void attention_init(Attention *a, const EvaluateStep *s) {
    const GraphAttr *attr = &s->value->attr;
    const Value *q = step_operand(s, 0), *k = step_operand(s, 1);
    AxisId axes[GRAPH_MAX_RANK], own = {0};
    Value rows = {.axes = axes};
    for (uint32_t i = 0; i < q->rank; i++)
        if (q->axes[i].i != attr->along[0].i) axes[rows.rank++] = q->axes[i];
    *a = (Attention){.s = s, .keys = rows.rank, .values = 1};
    a->query = (uint32_t)graph_axis_position(&rows, attr->along[1]);
    a->width = graph_extent(s->graph, attr->along[0]);
    if (s->value->arity > 2) own = attend_value_axis(k, step_operand(s, 2), attr->along[0]);
    if (own.i) a->values = graph_extent(s->graph, own);
    nest_init(&a->nest, s->graph, &rows, &attr->along[2], 1);
    for (int i = 0; i < ARRAYS; i++) {
        const Value *v = array_value(s, i, &rows);
        nest_array(&a->nest, v);
        a->along_width[i] = value_stride(s->graph, v, attr->along[0]);
        a->along_values[i] = own.i ? value_stride(s->graph, v, own) : 0;
    }
    a->weight = arena_array(s->scratch, double, a->nest.extent[a->keys]);
}

// Element of an array that belongs to the row and a key.
static int64_t at(const Attention *a, const NestCursor *c, int array, int64_t key) {
    return c->offset[array] + key * a->nest.stride[array][a->keys];
}

// The scores of a row's keys; -inf outside the band.
static void row_scores(const Attention *a, const NestCursor *c) {
    const GraphAttr *attr = &a->s->value->attr;
    for (int64_t key = 0; key < a->nest.extent[a->keys]; key++) {
        const double *q = a->s->in[0] + at(a, c, Q, 0), *k = a->s->in[1] + at(a, c, K, key);
        double score = dot(q, a->along_width[Q], k, a->along_width[K], a->width);
        bool live = band_has(&attr->band, c->index[a->query], key);
        a->weight[key] = live ? score * attr->number : -HUGE_VAL;
    }
}

static double row_lse(const Attention *a) {
    int64_t keys = a->nest.extent[a->keys];
    double most = -HUGE_VAL, sum = 0;
    for (int64_t key = 0; key < keys; key++)
        if (a->weight[key] > most || isnan(a->weight[key])) most = a->weight[key];
    double shift = isinf(most) ? 0 : most;
    for (int64_t key = 0; key < keys; key++)
        sum += exp(a->weight[key] - shift);
    return shift + log(sum);
}

static void row_forward(const Attention *a, const NestCursor *c) {
    double lse = row_lse(a);
    if (a->s->value->op == OP_ATTEND_LSE) {
        a->s->out[at(a, c, OUT, 0)] = lse;
        return;
    }
    for (int64_t key = 0; key < a->nest.extent[a->keys]; key++)
        add_scaled(a->s->out + at(a, c, OUT, 0), a->along_values[OUT],
                   a->s->in[2] + at(a, c, V, key), a->along_values[V],
                   exp(a->weight[key] - lse), a->values);
}

static void row_backward(const Attention *a, const NestCursor *c) {
    GraphOp op = a->s->value->op;
    const double *const *in = a->s->in;
    double lse = in[4][at(a, c, ROW, 0)], delta = in[5][at(a, c, ROW, 0)];
    const double *g = in[3] + at(a, c, G, 0);
    for (int64_t key = 0; key < a->nest.extent[a->keys]; key++) {
        double p = exp(a->weight[key] - lse), *out = a->s->out + at(a, c, OUT, key);
        if (p == 0) continue;
        if (op == OP_ATTEND_DV) {
            add_scaled(out, a->along_values[OUT], g, a->along_values[G], p, a->values);
            continue;
        }
        double dp =
            dot(g, a->along_values[G], in[2] + at(a, c, V, key), a->along_values[V], a->values);
        double ds = a->s->value->attr.number * p * (dp - delta);
        int other = op == OP_ATTEND_DQ ? K : Q;
        add_scaled(out, a->along_width[OUT], in[other] + at(a, c, other, key),
                   a->along_width[other], ds, a->width);
    }
}

void evaluate_attend(const EvaluateStep *s) {
    Attention a;
    attention_init(&a, s);
    bool forward = s->value->op == OP_ATTEND || s->value->op == OP_ATTEND_LSE;
    NestCursor c = nest_begin(&a.nest);
    do {
        row_scores(&a, &c);
        if (forward)
            row_forward(&a, &c);
        else
            row_backward(&a, &c);
    } while (nest_next(&a.nest, &c));
}
