// model_io.h: where a language model's batch and results are among a plan's tensors.
#pragma once

#include "runtime/dataset.h"
#include "runtime/device.h"

typedef struct {
    uint32_t tokens, targets;  // tensors of the plan
    int64_t rows, context;     // B, T
    int64_t vocab;             // token ids are below
    DType type;                // of tokens and targets
} ModelIo;

// Finds tokens[B, T] and, if wanted, targets[B, T] of the same type; an error says what the
// model lacks.
MUST_USE bool model_io_find(Diag *diag, const Plan *plan, bool targets, ModelIo *out);
// The same of tokens alone, whose input has another name.
MUST_USE bool model_io_find_tokens(Diag *diag, const Plan *plan, const char *name,
                                   ModelIo *out);
// The memory of a session's batch, for dataset.h to write; to be asked for before each one.
Batch model_io_batch(Session *s, const ModelIo *io);
// The entry, or an error that names it.
MUST_USE bool model_io_entry(Diag *diag, const Plan *plan, const char *name,
                             const PlanEntry **out);
// An output of one element; -1 if there is none.
int model_io_scalar(const Plan *plan, TensorKind kind, const char *name);
MUST_USE bool model_io_read(Diag *diag, Session *s, uint32_t tensor,
                            double *out);  // its first element
