// scopes.h: which parts of a model its parameters belong to.
#pragma once

#include "ir/graph/graph.h"

// Parameters of one name, or of scopes that differ in their numbers only. A scope that declares
// parameters itself holds those of the scopes in it.
typedef struct {
    Str name;  // "layers.*.mix.attention"
    uint32_t count;
    int64_t parameters;  // of all together
    bool alike;          // each has as many
} ScopeTotal;

// In the order of the model. Returns how many; they live in the arena.
uint32_t graph_scopes(const Graph *g, Arena *arena, ScopeTotal **out);
