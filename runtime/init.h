// init.h: initial values of parameters and states. Element i is a function of the seed, the
// tensor's name and i alone: it depends neither on the order of declaration nor on where the
// tensor lives.
#pragma once

#include "runtime/plan.h"

// As PlanInit's kind and transform: the same numbers as InitKind and InitTransform of
// ir/graph/graph.h.
typedef enum {
    DRAW_CONSTANT,     // a
    DRAW_NORMAL,       // deviation a
    DRAW_UNIFORM,      // in [a, b]
    DRAW_LOG_UNIFORM,  // exp of uniform in [log a, log b]
    DRAW_FAN_IN,       // normal, deviation 1 / sqrt(product of the map's input extents)
    DRAW_ORTHOGONAL,   // a times an orthogonal (inputs by outputs) matrix, one per batch index
    DRAW_IDENTITY,     // a on the diagonal of the last two axes, 0 elsewhere
    DRAW_UNIT,         // b at position a of the last axis, 0 elsewhere
    DRAW_COUNT
} DrawKind;
typedef enum { MAP_AS_IS, MAP_LOG, MAP_SOFTPLUS_INVERSE, MAP_COUNT } DrawMap;

// Writes plan_tensor_bytes(t) bytes.
void init_tensor(const PlanTensor *t, uint64_t seed, void *out);
