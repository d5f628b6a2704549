// check.h: is what a kernel computed right?
//
// The interpreter of tile programs says what a region's outputs must be. It is slow, so of
// large programs it computes a sample of tasks: the corners, where remainders are handled, and
// others at random. The elements outside the sample are compared with what the first kernel
// that passed computed.
#pragma once

#include "autotune/workspace.h"

typedef struct {
    const WorkspaceTensor *tensor;
    void *expected;
    unsigned char *known;  // per element: is `expected` there
    double scale;          // largest magnitude among the known
} ReferenceTensor;

typedef struct {
    ReferenceTensor *tensors;  // the outputs
    uint32_t tensor_count;
    double terms;     // of the longest sum
    uint32_t steps;   // operations, each of which may round
    double rounding;  // of weights of attention, which GPUs round once more
    bool jumps;       // comparisons: rounding may flip a few elements
    bool whole;       // every element is known from the interpreter
    bool completed;   // the rest is known from a kernel that passed
    void *mapping;
    size_t mapped;
} Reference;

// Fills the inputs and interprets about `points` points of the region's program (at least the
// corners).
MUST_USE bool reference_open(Diag *diag, Arena *arena, Workspace *w, double points,
                             Reference *out);
void reference_close(Reference *r);  // safe on a zeroed Reference

// Compares the outputs in the workspace. False: `why` says where and by how much.
bool reference_check(const Reference *r, char *why, size_t why_bytes);
// What lies in the workspace passed: from now on it is expected where nothing else is.
void reference_complete(Reference *r);
// Of the bits of all outputs.
Hash reference_output_hash(const Reference *r);
