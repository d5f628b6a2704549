// run_command.h: what the ways of evaluating a model once share. Private to cmd_run.
#pragma once

#include "cli/cli.h"
#include "ir/graph/evaluate.h"
#include "runtime/safetensors.h"

typedef struct {
    Cli *cli;
    Arena *arena;
    Diag *diag;
    EntryKind kind;
    TensorFile params, inputs;
    Vec(StoredTensor) results;  // of whatever does not write the file by itself
    bool has_loss;
    double loss;
} Run;

// The extents of run-time axes, from the shapes of the inputs.
MUST_USE bool run_bindings(Run *r, const Model *model, Bindings *out);
MUST_USE bool run_write_results(Run *r);

// By the reference evaluator.
MUST_USE bool run_reference(Run *r);
// Gives a leaf its elements: from the files, or a state's initial ones.
MUST_USE bool run_reference_leaf(Run *r, Evaluation *e, uint32_t leaf);
MUST_USE bool run_check_indices(Run *r, const PlanTensor *t, const double *x);
// Position by position, compiled or by the reference evaluator.
MUST_USE bool run_decode(Run *r);
