// plan_check.h: compiles a model for a target, runs it, and compares with the reference
// evaluator on the same graph.
#pragma once

#include "cli/pipeline.h"

// One entry of the model at `path` with small extents; activations are kept as `storage`. What
// updates write is compared after one run. Fails the test that calls it.
void plan_check(const char *path, EntryKind kind, IsaLevel level, DType storage);
// The same with further settings of the model.
void plan_check_with(const char *path, EntryKind kind, IsaLevel level, DType storage,
                     Settings further);
