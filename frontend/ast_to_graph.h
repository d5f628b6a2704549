// ast_to_graph.h: from the syntax tree of a program to the graph of its model.
#pragma once

#include "frontend/ast.h"
#include "ir/graph/graph.h"

// NAME=VALUE of the command line: overrides a `dim` or `let` of the model, gives a run-time
// axis its extent, or, as size=NAME, applies an entry of the model's `sizes` before all others.
typedef struct {
    Str name, value;
} Setting;

typedef struct {
    const Setting *items;
    uint32_t count;
} Settings;

// A model's graph, with the scopes of its modules, so that optimisers can be elaborated after
// differentiation.
typedef struct Elaboration Elaboration;

// Elaborates the program's model. Several errors are reported in one run; false if there was
// any. Everything made lives in the arena.
MUST_USE bool ast_to_graph(Diag *diag, Arena *arena, const AstProgram *program,
                           Settings settings, Elaboration **out);
Graph *elaboration_graph(const Elaboration *e);

// What the model marks with sublayer_input and sublayer_output, in the order of the first mark.
typedef struct {
    Str name;               // "layers.3.attn"
    ValueId input, output;  // of the graph as elaborated; 0: not marked
} Sublayer;
typedef struct {
    const Sublayer *items;
    uint32_t count;
} Sublayers;
Sublayers elaboration_sublayers(const Elaboration *e);

// What an optimiser is given for the parameters leaves[i], i < count.
typedef struct {
    Str name;            // "adamw"
    Settings overrides;  // of the optimiser's own settings: beta1=0.9
    const uint32_t *leaves;
    const ValueId *grads;  // grads[i] has the axes of leaves[i]
    uint32_t count;
    ValueId lr, step;  // scalars, f32; step counts from 1
} OptimizerRequest;

// Appends the optimiser's states, named optim.PATH.NAME, and the updates of states and
// parameters.
MUST_USE bool elaborate_optimizer(Elaboration *e, Graph *graph,
                                  const OptimizerRequest *request);
