// chunk.h: the parts of the skeleton CHUNK for CUDA share this. docs/cuda.md describes the
// kernel.
#pragma once

#include "codegen/cuda/writer.h"

// A value of the program: a matrix of two dimensions besides the grid, a line of one (a col),
// or a single number. It is kept in a room of shared memory, computed wherever it is read, or,
// a dot, summed in registers for the one value that it is a term of (`fused`).
typedef struct {
    int row, col;   // dims; -1: none
    uint32_t room;  // 0: it is not kept
    bool fused;
} ChunkValue;

// What decayed dots have of an alpha. half 0: the products between all pairs of tokens (alpha
// stands at tokens alone). Else, for parts of 2 half tokens: of a token in the second half the
// product from its beginning to the token, of one in the first half that after it to its end.
typedef struct {
    TileId alpha;
    int half;
    uint32_t room;
} ChunkFactor;

// Place of a matrix in shared memory, while it is needed; also of what is a row or one number.
typedef struct {
    TileId value;                       // {0}: a factor's
    int64_t rows, cols, pitch, offset;  // elements, of 4 bytes
    int first,
        last;  // steps from which on, and up to which, it holds something; of carries all
} ChunkRoom;

typedef enum { CHUNK_KEEP, CHUNK_FACTOR, CHUNK_STORE, CHUNK_NEXT } ChunkStepKind;

// What all threads do before the next thing: fill a room, or store.
typedef struct {
    ChunkStepKind kind;
    uint32_t number;  // of the operation, or the factor
} ChunkStep;

typedef struct {
    CudaWriter *w;
    const TileProgram *p;
    int m, n;           // dims of the tokens
    int64_t tile;       // tokens
    bool ragged;        // the last tile has fewer
    bool exact;         // products are right to f32
    ChunkValue *value;  // by operation
    Vec(ChunkFactor) factors;
    Vec(ChunkRoom) rooms;  // [0] is unused
    Vec(ChunkStep) steps;
    int64_t floats;  // of shared memory
    CudaPoint grid;
    Vec(ChunkRoom) pending;  // accesses since the last barrier: rooms, `first` 1: written
} Chunk;

static inline const TileOp *chunk_op(const Chunk *c, uint32_t i) { return &c->p->ops.ptr[i]; }
static inline bool chunk_is_tokens(const Chunk *c, int dim) {
    return dim == c->m || dim == c->n;
}
static inline bool chunk_is_pairs(const Chunk *c, const ChunkValue *v) {
    return v->row == c->m && v->col == c->n;
}
static inline bool chunk_is_additive(const TileOp *op) {
    return op->kind == TILE_MAP && (op->fn == OP_ADD || op->fn == OP_SUB || op->fn == OP_NEG);
}
// Decay a channel: no plain product.
static inline bool chunk_is_wide(const Chunk *c, const TileOp *dot) {
    return dot->kind == TILE_DOT && dot->arity == 3 && c->value[dot->in[2].i].row >= 0;
}
int64_t chunk_extent(const Chunk *c, int dim);  // of tokens those of a tile; of no dim 1

// chunk_plan.c: what is kept, what is fused, in which steps. False: the reason is in w->diag.
MUST_USE bool chunk_plan(CudaWriter *w, Chunk *c);
const ChunkFactor *chunk_factor(const Chunk *c, TileId alpha, int half);

// chunk_room.c
// What a step reads: rooms, `here` alone if each element is read by who writes the same one.
typedef void ChunkRead(void *context, uint32_t room, bool here);
void chunk_reads(const Chunk *c, const ChunkStep *s, ChunkRead *read, void *context);
uint32_t chunk_written(const Chunk *c, const ChunkStep *s);  // a room; 0: none
MUST_USE bool chunk_rooms_place(Chunk *c);                   // false: they do not fit
// Before a step: a barrier, if it needs one; after it: what is to be waited for.
void chunk_barrier(Chunk *c, const ChunkStep *s);
void chunk_synced(Chunk *c);  // a barrier has just been passed

// chunk_value.c: values at a point of a tile, as C expressions.
typedef struct {
    Chunk *c;
    Str at[TILE_MAX_DIMS];  // index in the tile, by dimension
    Str *known[2];          // by operation, and with the tokens' roles exchanged
    Str sum;                // of the fused dots of this point; empty: there are none
    bool summed;            // it has been used: other dots of the same sum are 0
} ChunkScope;
ChunkScope chunk_scope(Chunk *c);
Str chunk_at(const Chunk *c, int dim);  // name of the index: "t_at"
// Prints what it takes, and returns a name or a number.
Str chunk_value(ChunkScope *s, TileId v);
// The operation itself, kept or not.
Str chunk_computed(ChunkScope *s, TileId v);
Str chunk_room_at(const ChunkScope *s, uint32_t room, int row, int col);
// The same of a matrix by another name that has the form of the room.
Str chunk_matrix_at(const ChunkScope *s, Str name, uint32_t room, int row, int col);
CudaPoint chunk_point(const ChunkScope *s, const TileOp *op);
// That index `at` of the dim, below a multiple of `unit`, is of a point that exists; empty:
// always.
Str chunk_inside(const Chunk *c, int dim, int unit);
Str chunk_both(const Chunk *c, Str x, Str y);

// chunk_step.c
void chunk_step_print(Chunk *c, const ChunkStep *s);
// "const auto NAME = [&](int row, int col) -> float": a value as a function of its place, 0
// outside of the tile.
typedef struct {
    const char *name;
    TileId value;
    int row, col;            // dims of the parameters; -1: it is not used
    int row_unit, col_unit;  // multiples up to which they run; 0: they stay inside
    bool negate;
    const ChunkFactor *factor;  // that it is multiplied with; NULL: none
    Str factor_name;            // of what has the factor's form
    int factor_row, factor_col;
} ChunkFunction;
void chunk_function(Chunk *c, const ChunkFunction *f);
// Parts of a result, a warp each: um x un fragments of 16 x 8, rows x cols of them.
typedef struct {
    int um, un, rows, cols;
} ChunkUnits;
ChunkUnits chunk_units(int64_t rows, int64_t cols);

// chunk_decay.c
void chunk_decayed_print(Chunk *c, TileId v);
void chunk_factor_print(Chunk *c, const ChunkFactor *f);
