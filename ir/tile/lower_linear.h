// lower_linear.h: what the programs of linear attention share. Private to lower_linear*.c.
#pragma once

#include "ir/graph/linear.h"
#include "ir/tile/lower.h"

typedef struct {
    Lower *w;
    const Value *value;  // any member: all of a region have the same operands
    LinearOperands in;
    unsigned wanted;  // operations of the region that the program makes: see bit()
    bool delta;
    DimSet grid, t, s, d, e;
    DimSet c;             // d once more, as a state's columns or rows; of a UNIT also e
    DimSet segment;       // of the grid: its points share the tokens; 0: none does
    TileId state, slope;  // S and dS: carries, or loaded
} Linear;

// What a program walks over: tokens, with a state [d, e]; tokens, with [d, c], where no v is
// written; pairs of segments, instead of tokens.
typedef enum { LINEAR_WALK, LINEAR_UNIT, LINEAR_JOIN } LinearForm;
typedef struct {
    LinearForm form;
    int64_t parts;     // of the columns e, in so many tasks
    int64_t segments;  // of the tokens
} LinearShape;

Linear linear_begin(Lower *w, unsigned wanted, const LinearShape *shape);
TileKernel linear_end(const Linear *l, const char *suffix);
Lower *linear_again(const Lower *w);                  // for a further program of the region
int64_t linear_tile(const Lower *w, int64_t tokens);  // tokens of a tile

// Memory between the programs of a region, numbered as it is first needed.
typedef enum {
    LINEAR_STATES,
    LINEAR_SLOPES,
    LINEAR_SUMS,
    LINEAR_MAPS,
    LINEAR_ENTERING,
    LINEAR_BUFFERS
} LinearBuffer;
typedef struct {
    int64_t *bytes;
    uint32_t count;
    uint32_t number[LINEAR_BUFFERS];  // 1 more; 0: none yet
} LinearBuffers;
uint32_t linear_argument(const Linear *l, LinearBuffers *buffers, LinearBuffer which,
                         int64_t elements);

// ---- formulas (lower_linear.c)
TileId linear_next(const Linear *l, bool back);  // of S, or of dS
TileId linear_faded(const Linear *l, TileId x, TileWay way);
// A carry at these dims and the grid; what it begins with may be {0}: nothing.
TileId linear_carry(const Linear *l, TileId begin, DimSet dims);
TileId linear_first(const Linear *l, bool back);  // S of the first token, dS of the last

// ---- lower_linear_segments.c
// In how many segments the sequence is cut; 1: none.
int64_t linear_segments(const Lower *w);
// The programs that find what enters each segment: S or, back, dS. `last`: stored as this
// operation of the region where the last one ends; OP_NONE: it is not.
void linear_segments_join(const Lower *w, bool back, GraphOp last, LinearBuffers *buffers,
                          TileKernels *out);
// A carry that begins with that.
TileId linear_entering(const Linear *l, LinearBuffers *buffers);
