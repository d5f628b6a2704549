// evaluate_linear.c: reference of linear attention and its gradients, token by token, for one
// sequence (head) after the other. With S the state (d, e), a = exp(decay):
//     S' = a S    w = v - [delta] S'^T k    u = beta w    S = S' + k u^T    o = scale S^T q
// and in reverse, with G the gradient of S from all later tokens and of the final state:
//     G += scale q g^T    dq = scale S g    du = G^T k    dbeta = du . w    dw = dv = beta du
//     dk = G u - [delta] S' dw    G' = G - [delta] k dw^T    ddecay = sum over e of G' S'
//     and G = a G' for the token before
#include <math.h>

#include "ir/graph/evaluate_step.h"
#include "ir/graph/linear.h"

enum { Q, K, V, DECAY, BETA, INITIAL, ERROR, G, OUT, ARRAYS };

typedef struct {
    const EvaluateStep *s;
    int64_t tokens, width, values;
    bool delta, wide_decay;
    const double *base[ARRAYS];  // NULL: there is none
    const double *data[ARRAYS];  // of this sequence
    int64_t along_time[ARRAYS], along_width[ARRAYS], along_values[ARRAYS];
    double *out;
    double *decayed;  // S' of each token (t, d, e), if gradients are wanted
    double *state;    // S, or G (d, e)
    double *written;  // u of this token (e)
    double *error;    // w of this token (e)
} Linear;

static double at(const Linear *l, int array, int64_t t, int64_t i) {
    bool wide = array == Q || array == K || (array == DECAY && l->wide_decay);
    int64_t step = wide ? l->along_width[array] : l->along_values[array];
    return l->data[array][t * l->along_time[array] + i * step];
}

static double beta_at(const Linear *l, int64_t t) {
    return l->data[BETA] ? at(l, BETA, t, 0) : 1;
}

static double decay_at(const Linear *l, int64_t t, int64_t d) {
    return l->data[DECAY] ? exp(at(l, DECAY, t, d)) : 1;
}

static double *out_at(const Linear *l, int64_t t, int64_t i) {
    bool wide = l->along_width[OUT] != 0;
    int64_t step = wide ? l->along_width[OUT] : l->along_values[OUT];
    return &l->out[t * l->along_time[OUT] + i * step];
}

// w and u of token t, whose S' is given.
static void read_errors(const Linear *l, const double *decayed, int64_t t) {
    bool given = l->data[ERROR] != NULL;
    for (int64_t e = 0; e < l->values; e++)
        l->error[e] = at(l, given ? ERROR : V, t, e);
    for (int64_t d = 0; l->delta && !given && d < l->width; d++)
        for (int64_t e = 0; e < l->values; e++)
            l->error[e] -= decayed[d * l->values + e] * at(l, K, t, d);
    for (int64_t e = 0; e < l->values; e++)
        l->written[e] = beta_at(l, t) * l->error[e];
}

static void step_forward(const Linear *l, int64_t t) {
    for (int64_t d = 0; d < l->width; d++) {
        double decay = decay_at(l, t, d);
        for (int64_t e = 0; e < l->values; e++)
            l->state[d * l->values + e] *= decay;
    }
    int64_t count = l->width * l->values;
    if (l->decayed) memcpy(&l->decayed[t * count], l->state, (size_t)count * sizeof *l->state);
    read_errors(l, l->state, t);
    for (int64_t d = 0; d < l->width; d++)
        for (int64_t e = 0; e < l->values; e++)
            l->state[d * l->values + e] += at(l, K, t, d) * l->written[e];
    for (int64_t e = 0; l->s->value->op == OP_LINEAR_ERROR && e < l->values; e++)
        *out_at(l, t, e) = l->error[e];
    if (l->s->value->op != OP_LINEAR) return;
    for (int64_t d = 0; d < l->width; d++) {
        double q = l->s->value->attr.number * at(l, Q, t, d);
        for (int64_t e = 0; e < l->values; e++)
            *out_at(l, t, e) += q * l->state[d * l->values + e];
    }
}

static void run_forward(const Linear *l) {
    for (int64_t d = 0; d < l->width; d++)
        for (int64_t e = 0; e < l->values; e++)
            l->state[d * l->values + e] = l->data[INITIAL]
                                              ? l->data[INITIAL][d * l->along_width[INITIAL] +
                                                                 e * l->along_values[INITIAL]]
                                              : 0;
    for (int64_t t = 0; t < l->tokens; t++)
        step_forward(l, t);
}

// The state, or its gradient, where the result is one.
static void store_state(const Linear *l) {
    for (int64_t d = 0; d < l->width; d++)
        for (int64_t e = 0; e < l->values; e++)
            l->out[d * l->along_width[OUT] + e * l->along_values[OUT]] =
                l->state[d * l->values + e];
}

static void reverse_query(const Linear *l, const double *decayed, int64_t t) {
    double scale = l->s->value->attr.number;
    for (int64_t d = 0; d < l->width; d++)
        for (int64_t e = 0; e < l->values; e++) {
            double g = scale * at(l, G, t, e);
            l->state[d * l->values + e] += at(l, Q, t, d) * g;
            if (l->s->value->op != OP_LINEAR_DQ) continue;
            double after = decayed[d * l->values + e] + at(l, K, t, d) * l->written[e];
            *out_at(l, t, d) += after * g;
        }
}

// What the write at t passes on: the gradients of k, v and beta, and G'.
static void reverse_write(const Linear *l, const double *decayed, int64_t t) {
    GraphOp op = l->s->value->op;
    for (int64_t e = 0; e < l->values; e++) {
        double du = 0;
        for (int64_t d = 0; d < l->width; d++)
            du += l->state[d * l->values + e] * at(l, K, t, d);
        double dw = beta_at(l, t) * du;
        if (op == OP_LINEAR_DBETA) *out_at(l, t, 0) += du * l->error[e];
        if (op == OP_LINEAR_DV) *out_at(l, t, e) = dw;
        for (int64_t d = 0; d < l->width; d++) {
            double *g = &l->state[d * l->values + e];
            double seen = l->delta ? decayed[d * l->values + e] * dw : 0;
            if (op == OP_LINEAR_DK) *out_at(l, t, d) += *g * l->written[e] - seen;
            if (l->delta) *g -= at(l, K, t, d) * dw;
        }
    }
}

static void reverse_decay(const Linear *l, const double *decayed, int64_t t) {
    for (int64_t d = 0; d < l->width; d++) {
        double decay = decay_at(l, t, d);
        for (int64_t e = 0; e < l->values; e++) {
            double *g = &l->state[d * l->values + e];
            if (l->s->value->op == OP_LINEAR_DDECAY)
                *out_at(l, t, d) += *g * decayed[d * l->values + e];
            *g *= decay;
        }
    }
}

static void run_reverse(const Linear *l) {
    for (int64_t d = 0; d < l->width; d++)
        for (int64_t e = 0; e < l->values; e++)
            l->state[d * l->values + e] =
                l->data[Q] ? 0 : l->data[G][d * l->along_width[G] + e * l->along_values[G]];
    for (int64_t t = l->tokens - 1; t >= 0; t--) {
        const double *decayed = &l->decayed[t * l->width * l->values];
        read_errors(l, decayed, t);
        if (l->data[Q]) reverse_query(l, decayed, t);
        reverse_write(l, decayed, t);
        reverse_decay(l, decayed, t);
    }
}

// ---- all sequences

// The arrays, and in nest the axes of the sequences.
static void linear_init(Linear *l, const EvaluateStep *s, Nest *nest) {
    LinearOperands o = linear_operands(s->graph, s->value);
    const ValueId ids[ARRAYS] = {o.q,    o.k,       o.v,     o.decay,
                                 o.beta, o.initial, o.error, o.gradient};
    const Value *v = graph_value(s->graph, o.v);
    AxisId batch[GRAPH_MAX_RANK];
    Value sequences = {.axes = batch};
    for (uint32_t i = 0; i < v->rank; i++)
        if (v->axes[i].i != o.time.i && v->axes[i].i != o.values.i)
            batch[sequences.rank++] = v->axes[i];
    nest_init(nest, s->graph, &sequences, NULL, 0);
    *l = (Linear){.s = s,
                  .tokens = graph_extent(s->graph, o.time),
                  .width = graph_extent(s->graph, o.width),
                  .values = graph_extent(s->graph, o.values),
                  .delta = s->value->attr.amount & LINEAR_DELTA};
    for (int i = 0, k = 0; i < ARRAYS; i++) {
        if (ids[i].i) l->base[i] = s->in[k++];
        const Value *x = i == OUT ? s->value : ids[i].i ? graph_value(s->graph, ids[i]) : v;
        nest_array(nest, x);
        l->along_time[i] = value_stride(s->graph, x, o.time);
        l->along_width[i] = value_stride(s->graph, x, o.width);
        l->along_values[i] = value_stride(s->graph, x, o.values);
    }
    l->wide_decay = o.decay.i && graph_has_axis(graph_value(s->graph, o.decay), o.width);
    int64_t count = l->width * l->values;
    l->state = arena_array(s->scratch, double, count);
    l->written = arena_array(s->scratch, double, l->values);
    l->error = arena_array(s->scratch, double, l->values);
    if (o.gradient.i) l->decayed = arena_array(s->scratch, double, l->tokens *count);
}

static void run_sequence(Linear *l, const int64_t offset[ARRAYS]) {
    GraphOp op = l->s->value->op;
    for (int i = 0; i < OUT; i++)
        l->data[i] = l->base[i] ? l->base[i] + offset[i] : NULL;
    l->out = l->s->out + offset[OUT];
    run_forward(l);
    if (l->decayed) run_reverse(l);
    if (op == OP_LINEAR_STATE || op == OP_LINEAR_DINITIAL) store_state(l);
}

void evaluate_linear(const EvaluateStep *s) {
    Linear l;
    Nest nest;
    linear_init(&l, s, &nest);
    NestCursor c = nest_begin(&nest);
    do {
        for (int64_t i = 0; i < nest.extent[nest.rank - 1]; i++) {
            int64_t offset[ARRAYS];
            for (int a = 0; a < ARRAYS; a++)
                offset[a] = c.offset[a] + i * nest.stride[a][nest.rank - 1];
            run_sequence(&l, offset);
        }
    } while (nest_next(&nest, &c));
}
