// tile_access.h: which elements of an argument an operation may touch. Exact for what it is
// asked: an address is a sum of independent terms, one a dimension, and a guard narrows the
// range of one dimension's index.
#pragma once

#include "ir/tile/tile.h"

// Every number of a verified program is at most this in magnitude, so sums of a few products of
// two of them that were checked one by one are exact in double precision.
#define TILE_MAX_NUMBER ((int64_t)1 << 48)

// Indices of a dimension for which the guard may hold: [first, last], empty if first > last.
typedef struct {
    int64_t first, last;
} TileRange;
TileRange tile_guard_range(const TileDim *dim, const TileGuard *guard);
// CHUNK: tiles that the task walks that `index` is of.
TileRange tile_walked_by(const TileProgram *p, const int64_t index[TILE_MAX_DIMS]);
// Of dimension `dim` under both guards of the access of op, which may move by tiles.
TileRange tile_index_range(const TileProgram *p, const TileOp *op, uint32_t dim);

// Elements touched by a LOAD, GATHER, STORE or SCATTER_ADD over all points: all lie in [least,
// most], and there are at most `count` of them. count 0: no guard ever holds.
typedef struct {
    double least, most, count;
} TileReach;
TileReach tile_reach(const TileProgram *p, const TileOp *op);

// Does each combination of indices of `dims` (and of the row number, for GATHER and
// SCATTER_ADD) have its own element? Strides of mixed radix are recognised, in any order;
// anything cleverer counts as no.
bool tile_access_injective(const TileProgram *p, const TileOp *op, DimSet dims);
// Do a load or store and a store, to one memory, touch no common element?
bool tile_accesses_disjoint(const TileProgram *p, const TileOp *a, const TileOp *b);

bool tile_op_accesses(TileOpKind kind);                 // LOAD, GATHER, STORE, SCATTER_ADD
bool tile_op_writes(TileOpKind kind);                   // STORE, SCATTER_ADD
bool tile_op_has_value(TileOpKind kind);                // not those, nor NEXT
bool tile_name_legal(Str name);                         // fit for the text form
double tile_points(const TileProgram *p, DimSet dims);  // product of extents
DimSet tile_access_moves(const TileAccess *access);     // dims with a stride
// In how many parts tasks divide a dimension: its tiles (GRID: points).
int64_t tile_dim_tiles(const TileProgram *p, uint32_t dim);
bool tile_dim_splits(const TileProgram *p, uint32_t dim);  // is that more than one?
// Are both operands of a DOT bf16 as they come from memory, at the innermost dimension that it
// sums over? Then an emitter may multiply them as such.
bool tile_dot_of_bf16(const TileProgram *p, const TileOp *dot);
DimSet tile_tokens(const TileProgram *p);  // m and n
// Without the dim of segments: what moves along tokens, or is computed for each tile, is no
// other at each of its points.
DimSet tile_own_dims(const TileProgram *p, DimSet dims);
DimSet tile_turned(const TileProgram *p, DimSet dims);  // with m for n, and n for m
