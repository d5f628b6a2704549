// tile.h: tile programs, the language between the graph and machine code. One program is one
// kernel.
//
// A program is a nest of loops over dimensions and a flat list of operations in SSA form, each
// standing at the loops that its `dims` set names. It has no threads, barriers or vector
// widths: those belong to the emitters' skeletons.
//
//   STREAM   for every point of the grid dims { for every point of the serial dims { over the
//   cols } }
//            maps and reductions over cols (one row's sum, a softmax) and over serial dims (a
//            column's sum)
//   LOOP     for every point of the grid dims and every tile of m and n { acc = 0; over k: acc
//   += a . b } then maps, stores
//            (loads and maps that stand at k are the operands' prologue; those after the dot
//            its epilogue)
//
//   ATTEND   for every point of the grid dims and every tile of m, or of n: scores at m and n,
//            and what is summed of them
//            (m: queries; n: keys; k: the elements of a query or key, and of a value. A value
//            at m and n exists only where `band` has (m, n), and is never stored. Where keys
//            are dealt, each point of a grid dim has only keys of its own)
//
//   CHUNK    for every point of the grid dims { for every tile of tokens, in order, or last to
//            first if `reverse`: all operations }: a recurrence whose state is carried from
//            tile to tile (m and n: the same tokens in two roles, t and s; k: the elements of a
//            key, and of a value. A value at m and n exists only for s <= t of one tile, and is
//            never stored)
//
// A dimension's `tile` is how many of its points one task handles together: cols of a STREAM
// program may be tiled only if nothing is reduced over them. A task is one point of the grid
// dims x one tile of cols (STREAM) or of m, n (LOOP, ATTEND); task numbers run row-major over
// dims in their order. Tasks are independent.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ir/graph/graph.h"

typedef struct {
    uint32_t i;
} TileId;  // an operation and its value; 0: none

typedef enum { TILE_STREAM, TILE_LOOP, TILE_ATTEND, TILE_CHUNK } TileSkeleton;
typedef enum {
    DIM_GRID,
    DIM_SERIAL,
    DIM_COL,
    DIM_M,
    DIM_N,
    DIM_K
} TileRole;  // dims stand in this order; at most one COL, M, N

#define TILE_MAX_DIMS 10
typedef uint16_t DimSet;  // bit i: dims[i]

typedef struct {
    Str name;
    int64_t extent, tile;  // 1 <= tile <= extent
    TileRole role;
} TileDim;

// One pointer parameter of the kernel.
typedef struct {
    Str name;
    DType type;
    int64_t elements;  // every access is inside [0, elements)
    bool read, written;
} TileArg;

// Element offset + sum over dims of index * stride. A dimension with stride 0 does not move it.
// A guarded access reads 0 (and does not touch memory) unless  lo <= (index of dim / div) % mod
// + shift < hi.
typedef struct {
    int8_t dim;  // -1: none
    int64_t div, mod, shift, lo, hi;
} TileGuard;
typedef struct {
    uint32_t arg;
    int64_t offset;
    int64_t stride[TILE_MAX_DIMS];
    TileGuard guard[2];
} TileAccess;

typedef enum {
    TILE_NONE,
    TILE_CONST,   // number, type
    TILE_INDEX,   // i32: (index of dim / div) % mod + shift, from guard[0] of access
    TILE_LOAD,    // access; bf16 and f16 arrive as f32. CHUNK: see tile_by_tiles
    TILE_GATHER,  // in[0]: i32 row number j; reads at access + j * index_stride, or 0 unless 0
                  // <= j < index_count
    TILE_MAP,     // fn: an elementwise GraphOp over in[0..arity); dims = union of theirs
    TILE_REDUCE,  // fn: OP_REDUCE_SUM or OP_REDUCE_MAX; over: dims reduced (COL, or SERIAL
                  // dims, or both)
    TILE_DOT,     // LOOP, exactly one: in[0] stands at m, k; in[1] at n, k; over: the K dims.
               // ATTEND: over one k, or in[0] stands at m and n, and over is n, or m and SERIAL
               // CHUNK: over one dim that both have, each with one other; with in[2], decayed:
               // each term times the product of in[2] over the tokens after s up to t
    TILE_STORE,    // in[0] to access; its dims are the value's
    TILE_SCATTER,  // in[0]: i32 j, in[1]: value; at access + j * index_stride, nothing unless 0
                   // <= j < index_count. fn OP_ADD: adds; only where no two tasks share an
                   // element: rows are serial. fn OP_NONE: takes its place; the builder
                   // promises that no two points have one element.
    TILE_LIMIT,    // LOOP: of the points of `over`, m or a k, only those below in[0], which
                   // stands at grid, matter: the builder promises that others store and sum
                   // nothing, and that the points of the grid have no more than all together
    TILE_START,  // ATTEND, at most one: m begins at in[0], an i32 that stands at grid. The band
                 // is that of in[0] + m - n or, where over is empty and not m, of in[0] - n
    TILE_SORT,   // STREAM of one serial dim: access + j is in[1] of the j-th row in the order
                 // of in[0], which is in [0, index_count), equal ones in their own order; the
                 // others come last
    // ---- CHUNK
    TILE_CARRY,  // a value carried from tile to tile; in[0] before the first
    TILE_NEXT,   // in[0]: the carry, in[1]: its value in the tile walked next
    TILE_SCAN,   // fn: OP_MUL or OP_ADD; of in[0] over those tokens (over: m) that `way` says
    TILE_SOLVE,  // X with (I + strictly lower part of in[0]) X = in[1]; TRANSPOSED: with its
                 // transpose
    TILE_TURN,   // in[0] with its tokens in the other role: m for n, n for m
} TileOpKind;

typedef enum {
    WAY_UPTO,        // tokens r <= t
    WAY_BEFORE,      // r < t
    WAY_AFTER,       // r > t
    WAY_FROM,        // r >= t
    WAY_ALL,         // every r: the value does not stand at t
    WAY_TRANSPOSED,  // of SOLVE
} TileWay;

typedef struct {
    TileOpKind kind;
    GraphOp fn;
    DType type;  // of the value: F32, I32, BOOL
    DimSet dims, over;
    uint8_t arity, way;  // way: TileWay
    TileId in[3];
    double number;
    TileAccess access;
    int64_t index_stride, index_count;
    Span span;
} TileOp;

// Tuning parameters that are not tile sizes; what each means is with the skeleton that reads it
// (docs/tile_ir.md).
typedef struct {
    Str name;  // "mr"
    int64_t value;
} TileKnob;

typedef struct {
    Arena *arena;
    Str name;  // readable; not part of its identity
    TileSkeleton skeleton;
    Band band;      // ATTEND: of m and n
    int64_t deal;   // ATTEND: the last grid dim has P points, and point p of it the keys n with
                    // n / deal % P = p; 0: every point of every grid dim has all keys
    bool reverse;   // CHUNK: tiles are walked last to first
    bool segments;  // CHUNK: of N tiles, point p of the P of the last grid dim has only those
                    // from p * N / P up to (p + 1) * N / P
    TileDim dims[TILE_MAX_DIMS];
    uint32_t dim_count;
    Vec(TileArg) args;
    Vec(TileOp) ops;  // [0] is unused
    Vec(TileKnob) knobs;
} TileProgram;

// Which row: `index`, of `count` that lie `stride` apart.
typedef struct {
    TileId index;
    int64_t stride, count;
} TileRows;

// What is sorted, by keys in [0, groups).
typedef struct {
    TileId key, x;
    int64_t groups;
} TileSorted;

// The operands of a decayed dot.
typedef struct {
    TileId a, b, alpha;
} TileDecayed;

// ---- building: each returns the new operation; ill-formed operands are a bug in the caller
TileProgram *tile_new(Arena *arena, Str name, TileSkeleton skeleton);
uint32_t tile_dim(TileProgram *p, Str name, int64_t extent, int64_t tile, TileRole role);
uint32_t tile_arg(TileProgram *p, Str name, DType type, int64_t elements);
TileAccess tile_access(uint32_t arg);  // no strides, no guards
TileId tile_const(TileProgram *p, double number, DType type);
TileId tile_index(TileProgram *p, TileGuard index, Span span);
TileId tile_load(TileProgram *p, TileAccess access, Span span);
TileId tile_gather(TileProgram *p, TileAccess access, TileRows rows, Span span);
TileId tile_map(TileProgram *p, GraphOp fn, DType type, const TileId *in, Span span);
TileId tile_reduce(TileProgram *p, GraphOp fn, TileId x, DimSet over, Span span);
TileId tile_dot(TileProgram *p, TileId a, TileId b, DimSet over, Span span);
TileId tile_dot_decayed(TileProgram *p, TileDecayed operands, DimSet over, Span span);
void tile_store(TileProgram *p, TileAccess access, TileId x, Span span);
void tile_scatter_add(TileProgram *p, TileAccess access, TileRows rows, TileId x, Span span);
void tile_scatter_put(TileProgram *p, TileAccess access, TileRows rows, TileId x, Span span);
// CHUNK. A load that moves by tiles (tile_by_tiles) does not stand at the tokens.
TileId tile_load_by_tiles(TileProgram *p, TileAccess access, Span span);
TileId tile_carry(TileProgram *p, TileId init, DimSet dims, Span span);
void tile_next(TileProgram *p, TileId carry, TileId x, Span span);
TileId tile_scan(TileProgram *p, GraphOp fn, TileId x, TileWay way, Span span);
TileId tile_solve(TileProgram *p, TileId a, TileId b, bool transposed, Span span);
TileId tile_turn(TileProgram *p, TileId x, Span span);
void tile_limit(TileProgram *p, TileId count, DimSet over, Span span);
void tile_start(TileProgram *p, TileId first, DimSet over, Span span);
void tile_sort(TileProgram *p, TileAccess access, TileSorted sorted, Span span);
void tile_knob_set(TileProgram *p, const char *name, int64_t value);

// ---- reading
const TileOp *tile_op(const TileProgram *p, TileId v);
int64_t tile_knob(const TileProgram *p, const char *name, int64_t otherwise);
int tile_dim_of(const TileProgram *p, TileRole role);  // first with that role; -1: none
DimSet tile_role_dims(const TileProgram *p, TileRole role);
int64_t tile_task_count(const TileProgram *p);
double tile_flops(const TileProgram *p);                // of pairs of m and n that exist
bool tile_at_pairs(const TileProgram *p, DimSet dims);  // ATTEND, CHUNK: both m and n
const TileOp *tile_start_of(const TileProgram *p);      // ATTEND; NULL: none
// The grid dim whose points have keys, or tiles, of their own; -1: none.
int tile_dealt_to(const TileProgram *p);
// CHUNK: does the load or store move along the tokens though its value does not stand at them?
// Then it moves by tiles: stride * number of the tile, counted from the front of the sequence.
bool tile_by_tiles(const TileProgram *p, const TileOp *op);
int64_t tile_chunks(const TileProgram *p);  // CHUNK: tiles of the sequence
int64_t tile_walked(const TileProgram *p);  // that a task walks, at most
double tile_bytes(const TileProgram *p);  // least traffic: every element of every argument that
                                          // is touched, once
// The program with equal operations only once (tile_share.c).
TileProgram *tile_share(Arena *arena, const TileProgram *p);
// May argument `out` be the same memory as `in`: every load of `in` reads just the element that
// every store to `out` of the same point writes, or (STREAM) one that the store never does?
bool tile_in_place(const TileProgram *p, uint32_t in, uint32_t out);

// ---- text form, checks, oracle
void tile_print(const TileProgram *p, StrBuf *out);
// One operation, without indentation and line end: "%3 = map mul %1, %2 : f32 (t, d)"
void tile_print_op(const TileProgram *p, uint32_t number, StrBuf *out);
MUST_USE bool tile_read(Diag *diag, Arena *arena, uint32_t file, TileProgram **out);
MUST_USE bool tile_verify(Diag *diag, const TileProgram *p);
Hash tile_hash(const TileProgram *p);  // of everything but `name` and spans
// Runs every task in order, in double precision with storage rounded to the arguments' types;
// args[i] points at args.ptr[i].elements elements.
void tile_interpret(const TileProgram *p, void *const *args);
void tile_interpret_task(const TileProgram *p, void *const *args,
                         int64_t task);  // one of them alone
