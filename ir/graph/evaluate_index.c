// evaluate_index.c: reference of gather, of its adjoint, and of place.
#include <string.h>

#include "ir/graph/evaluate_step.h"

// A nest over the axes of gather's result, from which `source` (gather's x, scatter's and
// place's r) is addressed.
typedef struct {
    Nest nest;
    uint32_t picked, index, source;  // arrays of the nest
    int64_t stride, extent;          // of the axis looked up, in source
} Lookup;

static Lookup lookup_of(const EvaluateStep *s, const Value *picked, const Value *source,
                        AxisId axis) {
    Lookup l = {.stride = value_stride(s->graph, source, axis),
                .extent = graph_extent(s->graph, axis)};
    nest_init(&l.nest, s->graph, picked, NULL, 0);
    l.picked = nest_array(&l.nest, picked);
    l.index = nest_array(&l.nest, step_operand(s, s->value->arity - 1));
    l.source = nest_array(&l.nest, source);
    return l;
}

void evaluate_gather(const EvaluateStep *s) {
    Lookup l = lookup_of(s, s->value, step_operand(s, 0), s->value->attr.along[0]);
    const Nest *n = &l.nest;
    uint32_t last = n->rank - 1;
    NestCursor c = nest_begin(n);
    do {
        for (int64_t i = 0; i < n->extent[last]; i++) {
            double index = s->in[1][c.offset[l.index] + i * n->stride[l.index][last]];
            if (!(index >= 0 && index < (double)l.extent)) continue;
            int64_t at =
                c.offset[l.source] + i * n->stride[l.source][last] + (int64_t)index * l.stride;
            s->out[c.offset[l.picked] + i * n->stride[l.picked][last]] = s->in[0][at];
        }
    } while (nest_next(n, &c));
}

void evaluate_scatter(const EvaluateStep *s) {
    const Value *x = step_operand(s, 0), *v = s->value;
    uint32_t axis = 0;
    while (graph_has_axis(x, v->axes[axis]))
        axis++;  // the one axis that x lacks
    Lookup l = lookup_of(s, x, v, v->axes[axis]);
    const Nest *n = &l.nest;
    uint32_t last = n->rank - 1;
    NestCursor c = nest_begin(n);
    do {
        for (int64_t i = 0; i < n->extent[last]; i++) {
            double index = s->in[1][c.offset[l.index] + i * n->stride[l.index][last]];
            if (!(index >= 0 && index < (double)l.extent)) continue;
            int64_t at =
                c.offset[l.source] + i * n->stride[l.source][last] + (int64_t)index * l.stride;
            s->out[at] += s->in[0][c.offset[l.picked] + i * n->stride[l.picked][last]];
        }
    } while (nest_next(n, &c));
}

void evaluate_place(const EvaluateStep *s) {
    Lookup l = lookup_of(s, step_operand(s, 1), s->value, s->value->attr.along[0]);
    const Nest *n = &l.nest;
    uint32_t last = n->rank - 1;
    int64_t elements = 1;
    for (uint32_t i = 0; i < s->value->rank; i++)
        elements *= graph_extent(s->graph, s->value->axes[i]);
    memcpy(s->out, s->in[0], (size_t)elements * sizeof *s->out);
    NestCursor c = nest_begin(n);
    do {
        for (int64_t i = 0; i < n->extent[last]; i++) {
            double index = s->in[2][c.offset[l.index] + i * n->stride[l.index][last]];
            if (!(index >= 0 && index < (double)l.extent)) continue;
            int64_t at =
                c.offset[l.source] + i * n->stride[l.source][last] + (int64_t)index * l.stride;
            s->out[at] = s->in[1][c.offset[l.picked] + i * n->stride[l.picked][last]];
        }
    } while (nest_next(n, &c));
}
