// tile_interpret.h: what the files of the interpreter share.
#pragma once

#include "ir/tile/tile_access.h"

typedef struct {
    const TileProgram *p;
    void *const *args;
    // The part of each dimension that is being computed: one point of grid, one tile of col, m,
    // n and k, all of serial.
    int64_t first[TILE_MAX_DIMS], count[TILE_MAX_DIMS];
    int64_t index[TILE_MAX_DIMS];  // the current point
    double **data;                 // per operation, row-major in its dims over the current part
} TileRun;

void tile_run_begin(TileRun *r);  // to the first point
// To the next point of `dims`; after the last one back to the first, and false.
bool tile_run_next(TileRun *r, DimSet dims);
double *tile_run_at(const TileRun *r, TileId v);  // the value's element at the current point
// How far apart neighbours along a dimension lie in an operation's value.
int64_t tile_run_stride(const TileRun *r, TileId v, uint32_t dim);
void tile_run_value(TileRun *r, TileId v);          // computes it, at all points
void tile_run_write(TileRun *r, const TileOp *op);  // a store, at all points

// ---- chunk programs (tile_interpret_chunk.c)
void tile_run_chunk_value(TileRun *r, TileId v);  // of the kinds that only they have
void tile_run_decayed(TileRun *r, TileId v);      // a decayed dot
void tile_run_chunk_task(TileRun *r);
