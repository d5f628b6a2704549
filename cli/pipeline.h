// pipeline.h: from a model file to what a command needs: its graphs, or a plan that can run.
//
//     source -> syntax tree -> graph -> (differentiate, optimiser) -> simplify -> regions ->
//     tile programs -> code -> plan
#pragma once

#include "autotune/graph_to_plan.h"
#include "frontend/ast_to_graph.h"
#include "frontend/modules.h"
#include "ir/graph/passes.h"

typedef struct {
    Str path;
    AstProgram *program;
    Settings settings;  // of --set
} Model;

// Parses the model and its imports; the library of models is found beside the executable, in
// $STRATA_PATH, or in the source tree.
MUST_USE bool model_load(Diag *diag, Arena *arena, Str path, Settings settings, Model *out);

// What one evaluation of the model is to give. Names of entries, tensors and states are in
// runtime/names.h.
typedef enum {
    ENTRY_FORWARD,  // every output
    ENTRY_INFER,    // every output but the loss and reports
    ENTRY_EVAL,     // the loss and reports
    // What ENTRY_INFER gives, of a chunk of positions, with what came before in states
    // (docs/decoding.md). T says how many positions there can be.
    // A plan has them also for rows that have not got far: see LIVE_LEAST.
    ENTRY_PREFILL,  // PREFILL_CHUNK positions
    ENTRY_DECODE,   // one
    ENTRY_GRAD,   // every output, and grad.PARAM of every trained parameter; updates of states
    ENTRY_TRAIN,  // one training step: loss, reports, gradient norm; parameters and states are
                  // updated
    ENTRY_ACCUMULATE,  // adds a micro-batch's gradients to states
    ENTRY_APPLY,       // updates the parameters from the mean of the accumulated gradients
    ENTRY_KINDS
} EntryKind;
const char *entry_name(EntryKind kind);  // "train"
enum { PREFILL_CHUNK = 128 };
// Attention of the entries "decode.512", "decode.2048" and so on looks at so many positions.
enum { LIVE_LEAST = 512, LIVE_STEP = 4 };

typedef struct {
    Str optimizer;       // "adamw"
    Settings overrides;  // of the optimiser's settings
} TrainSetup;

// A run-time axis's extent.
typedef PlanExtent Binding;
typedef struct {
    const Binding *items;
    uint32_t count;
} Bindings;

// Gives run-time axes their extents; true if none is left open.
bool graph_bind_axes(Graph *g, Bindings bindings);

typedef struct {
    const Model *model;
    EntryKind kind;
    Bindings bindings;        // axes left open stay open; the graph is then not simplified
    const TrainSetup *setup;  // for the training entries
    DType storage;            // of activations and working weights: F32 or BF16
    IsaLevel level;           // of the target: CUDA has kernels of attention for BF16
    TwoPhase two_phase;       // of attention over depth
    int64_t live;             // of ENTRY_PREFILL and ENTRY_DECODE: see IncrementalRequest
} ModelGraphRequest;
// The graph of one entry: elaborated afresh, differentiated as needed, bound and simplified.
MUST_USE bool model_graph(Diag *diag, Arena *arena, const ModelGraphRequest *request,
                          Graph **out);
// The same of a forward pass, with the model's marks as values of that graph.
MUST_USE bool model_marked_graph(Diag *diag, Arena *arena, const ModelGraphRequest *request,
                                 Graph **out, Sublayers *sublayers);

typedef struct {
    const EntryKind *entries;
    uint32_t entry_count;
    Bindings bindings;
    TrainSetup setup;
    DType storage;
    CompileTarget target;
    uint32_t run_threads;
    TwoPhase two_phase;
} ModelPlanRequest;
MUST_USE bool model_plan(Diag *diag, Arena *arena, const Model *model,
                         const ModelPlanRequest *request, Plan **out);
