// depth_mix.h: how sublayers are connected, found in the graph of any scheme: weighted sums
// over a stack of values, and the linear response of what a sublayer reads to what others gave.
// requires: a graph as elaborated or simplified, every axis bound.
#pragma once

#include "ir/graph/graph.h"

// A sum over the axis that a stack made, of the stack times weights:
//     sum = sum over `axis` of weights * stack(sources)
// where the sources depend on an input. The weights may be of any kind: a softmax of scores, a
// sigmoid, parameters.
typedef struct {
    ValueId sum, weights, stack;
    AxisId axis;
} DepthMix;
typedef struct {
    DepthMix *items;  // in graph order
    uint32_t count;
} DepthMixes;
DepthMixes depth_mixes(const Graph *g, Arena *arena);

// Which values are linear in the sources, coefficients held: the sources themselves; sums,
// moves and casts of linear values; a linear value times or over one that is not. All else is a
// coefficient, also a product of two linear values, and a sum over an axis that the sources
// have (a score, a norm).
typedef struct {
    Graph *g;
    Arena *arena;
    const ValueId *sources;
    uint32_t source_count;
    uint32_t *source;  // per value: its number among the sources + 1; 0: none
    bool *linear;      // per value of the graph when this was made
    uint32_t count;    // of these
} LinearPart;
LinearPart linear_part(Graph *g, Arena *arena, const ValueId *sources, uint32_t count);

// Appends the gradient of the sum of all elements of `read` with respect to each source, as far
// as it flows through linear values and past no other source. responses[i]: axes of sources[i];
// {0} where `read` does not depend on it. So, of a mechanism that acts on each element alone,
//     read = sum over i of responses[i] * sources[i]
// exactly, plus what does not come from the sources.
void linear_responses(const LinearPart *p, ValueId read, ValueId *responses);
