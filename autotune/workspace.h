// workspace.h: memory for running one region by itself: its inputs, drawn at random and always
// the same, and its outputs.
#pragma once

#include "base/diag.h"
#include "ir/region_to_tile.h"

typedef struct {
    ValueId value;
    DType type;
    int64_t elements;
    bool written;
    int64_t below;     // integers: drawn from [0, below)
    double low, high;  // reals: drawn from [low, high)
    void *data;        // 64-byte aligned
    void *skewed;      // of a grouped contraction, where its rows are: other data to measure on
} WorkspaceTensor;

typedef struct {
    const Regions *regions;
    const Region *region;
    WorkspaceTensor *tensors;
    uint32_t tensor_count;
    void *mapping;
    size_t mapped;
} Workspace;

// The arguments are those of the region's program without a schedule. False: no memory.
MUST_USE bool workspace_open(Diag *diag, Arena *arena, const Regions *regions,
                             const Region *region, Workspace *out);
void workspace_close(Workspace *w);  // safe on a zeroed Workspace
WorkspaceTensor *workspace_find(const Workspace *w, ValueId value);

// Draws the inputs: reals in [-1, 1), or in [0.5, 1.5) where functions are undefined below 0;
// those of a recurrence so that it does not grow without bound; rows of groups so that all have
// about as many, and in `skewed` some far more than others.
void workspace_fill(Workspace *w, bool positive);
// Makes every output differ from anything that a kernel may write there.
void workspace_spoil(Workspace *w);
bool workspace_has_skewed(const Workspace *w);
// How much memory all of a region's tensors take together.
int64_t workspace_bytes(const Workspace *w);
