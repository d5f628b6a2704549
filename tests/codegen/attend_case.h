// attend_case.h: graphs of attention and its gradients, for the tests of the emitters.
#pragma once

#include "ir/graph/passes.h"
#include "ir/tile/tile.h"

typedef struct {
    int64_t T, S, d, e, heads, groups;
    Band band;
    bool turned;  // q, k and v with their widths first
    int32_t bm, bn, split;
    bool start, segments;  // inputs start[B], segment[B, T] and other[B, S]
    int32_t parts;
} AttendCase;

#define ALL \
    { BAND_LEAST, BAND_MOST }
#define CAUSAL \
    { 0, BAND_MOST }

// Outputs y and lse, or with gradients dq, dk and dv of inputs q, k, v, g, lse and delta.
Graph *attend_case_graph(Arena *arena, const AttendCase *c, bool gradients);
// What is multiplied is stored as this type.
void attend_case_narrow(TileProgram *p, DType type);
