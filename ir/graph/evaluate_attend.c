// evaluate_attend.c: reference of attention and its gradients, a row of queries at a time:
//     score = scale * q . k    lse = log sum exp score    p = exp(score - lse)
//     ds = scale * p * (g . v - delta)
// over live pairs: in the band, and of one segment.
#include <float.h>
#include <math.h>

#include "ir/graph/attend.h"
#include "ir/graph/evaluate_step.h"

// ROW: lse and delta. Absent arrays are as long as the rows, and not read.
enum { Q, K, V, G, ROW, START, QUERY_SEGMENT, KEY_SEGMENT, OUT, ARRAYS };

typedef struct {
    const EvaluateStep *s;
    AttendOperands operands;
    Nest nest;  // the rows, then the keys
    const double *in[ARRAYS];
    uint32_t keys, query;
    int64_t width, values;  // extents of the two inner axes
    int64_t along_width[ARRAYS], along_values[ARRAYS];
    double *weight;  // of each key of the current row
} Attention;

// Elements along the width or the values.
typedef struct {
    const double *first;
    int64_t step;
} Line;

static double dot(Line x, Line y, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x.first[i * x.step] * y.first[i * y.step];
    return sum;
}

static void add_scaled(double *to, int64_t step, Line x, double factor, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        to[i * step] += factor * x.first[i * x.step];
}

static ValueId array_id(const AttendOperands *o, int array) {
    const ValueId ids[OUT] = {
        o->q, o->k, o->v, o->gradient, o->lse, o->start, o->query_segment, o->key_segment};
    return ids[array];
}

static const double *elements_of(const EvaluateStep *s, ValueId v) {
    for (uint32_t i = 0; v.i && i < s->value->arity; i++)
        if (s->value->in[i].i == v.i) return s->in[i];
    return NULL;
}

static void array_init(Attention *a, int array, const Value *rows) {
    const EvaluateStep *s = a->s;
    const Value *v = s->value;
    if (array != OUT) {
        ValueId id = array_id(&a->operands, array);
        v = id.i ? graph_value(s->graph, id) : rows;
        a->in[array] = elements_of(s, id);
    }
    nest_array(&a->nest, v);
    AxisId own = a->operands.values;
    a->along_width[array] = value_stride(s->graph, v, a->operands.width);
    a->along_values[array] = own.i ? value_stride(s->graph, v, own) : 0;
}

static void attention_init(Attention *a, const EvaluateStep *s) {
    AttendOperands o = attend_operands(s->graph, s->value);
    const Value *q = graph_value(s->graph, o.q);
    AxisId axes[GRAPH_MAX_RANK];
    Value rows = {.axes = axes};
    for (uint32_t i = 0; i < q->rank; i++)
        if (q->axes[i].i != o.width.i) axes[rows.rank++] = q->axes[i];
    *a = (Attention){.s = s, .operands = o, .keys = rows.rank, .values = 1};
    a->query = (uint32_t)graph_axis_position(&rows, o.query);
    a->width = graph_extent(s->graph, o.width);
    if (o.values.i) a->values = graph_extent(s->graph, o.values);
    nest_init(&a->nest, s->graph, &rows, &o.key, 1);
    for (int i = 0; i < ARRAYS; i++)
        array_init(a, i, &rows);
    a->weight = arena_array(s->scratch, double, a->nest.extent[a->keys]);
}

// Element of an array that belongs to the row and a key.
static int64_t at(const Attention *a, const NestCursor *c, int array, int64_t key) {
    return c->offset[array] + key * a->nest.stride[array][a->keys];
}

static Line width_of(const Attention *a, const NestCursor *c, int array, int64_t key) {
    return (Line){a->in[array] + at(a, c, array, key), a->along_width[array]};
}

static Line values_of(const Attention *a, const NestCursor *c, int array, int64_t key) {
    return (Line){a->in[array] + at(a, c, array, key), a->along_values[array]};
}

static bool is_live(const Attention *a, const NestCursor *c, int64_t key) {
    int64_t query = c->index[a->query];
    if (a->in[START]) query += (int64_t)a->in[START][at(a, c, START, 0)];
    if (!band_has(&a->s->value->attr.band, query, key)) return false;
    return !a->in[KEY_SEGMENT] || a->in[QUERY_SEGMENT][at(a, c, QUERY_SEGMENT, 0)] ==
                                      a->in[KEY_SEGMENT][at(a, c, KEY_SEGMENT, key)];
}

// The scores of a row's keys; -inf where they are not live.
static void row_scores(const Attention *a, const NestCursor *c) {
    for (int64_t key = 0; key < a->nest.extent[a->keys]; key++) {
        double score = dot(width_of(a, c, Q, 0), width_of(a, c, K, key), a->width);
        a->weight[key] = is_live(a, c, key) ? score * a->s->value->attr.number : -HUGE_VAL;
    }
}

static double row_lse(const Attention *a) {
    int64_t keys = a->nest.extent[a->keys];
    double most = -HUGE_VAL, sum = 0;
    for (int64_t key = 0; key < keys; key++)
        if (a->weight[key] > most || isnan(a->weight[key])) most = a->weight[key];
    if (most == -HUGE_VAL) return (double)-FLT_MAX;
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
        add_scaled(a->s->out + at(a, c, OUT, 0), a->along_values[OUT], values_of(a, c, V, key),
                   exp(a->weight[key] - lse), a->values);
}

static void row_backward(const Attention *a, const NestCursor *c) {
    GraphOp op = a->s->value->op;
    const double *const *in = a->in;
    double lse = in[ROW][at(a, c, ROW, 0)], delta = a->s->in[5][at(a, c, ROW, 0)];
    Line g = values_of(a, c, G, 0);
    for (int64_t key = 0; key < a->nest.extent[a->keys]; key++) {
        double p = exp(a->weight[key] - lse), *out = a->s->out + at(a, c, OUT, key);
        if (p == 0) continue;
        if (op == OP_ATTEND_DV) {
            add_scaled(out, a->along_values[OUT], g, p, a->values);
            continue;
        }
        double dp = dot(g, values_of(a, c, V, key), a->values);
        double ds = a->s->value->attr.number * p * (dp - delta);
        int other = op == OP_ATTEND_DQ ? K : Q;
        add_scaled(out, a->along_width[OUT], width_of(a, c, other, key), ds, a->width);
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
