// chunk.h: the parts of the CHUNK skeleton share this. docs/codegen.md describes the nest.
//
// Values of a tile of tokens lie in close memory as matrices: rows of whole vectors, the dim
// that comes first in the program across the rows. What only maps and stores read is not stored
// but computed where it is read.
//
// Tokens come in blocks of `block`, a vector's lanes (fewer if no tile has as many). Rows that
// the last block has beyond the last token are zero, so nothing that is summed over tokens in
// whole blocks sees them. A value at pairs is zero where s > t in its diagonal blocks and
// undefined in the blocks beyond them: nothing reads those.
#pragma once

#include "codegen/llvm/product.h"
#include "codegen/llvm/routine.h"

// Where an operation's value is.
typedef struct {
    int row, col;    // dims; -1: none
    IrValue at;      // NULL: it is computed where it is read
    int64_t pitch;   // from row to row
    IrValue turned;  // its transpose, [col][row]; NULL: nothing wanted it yet in this tile
} Matrix;

// Beginnings of the keys of routines; those of products are types.
enum { ROUTINE_SCORES = 1000, ROUTINE_SUMS, ROUTINE_TURN };

// What decayed dots make of their operands, each once a tile.
typedef enum {
    COPY_FROM_START,  // of alpha: product over its tokens from the block's first up to the
                      // row's
    COPY_TO_END,  // of alpha: product over the tokens after the row's up to the block's last
    COPY_EARLY,   // x COPY_FROM_START
    COPY_LATE,    // x COPY_TO_END
    COPY_LATE_TURNED,  // the transpose of COPY_LATE
    COPY_BETWEEN,      // of an alpha at tokens alone: [t][s], product over s < r <= t
    COPY_WEIGHTED,     // x COPY_BETWEEN, x at pairs
    COPY_KINDS
} CopyKind;

typedef struct {
    CopyKind kind;
    TileId of, alpha;
    IrValue at;
} Copy;

typedef struct {
    Builder *b;
    const TileProgram *p;
    int m, n, lanes;
    int64_t tile, block, padded;  // tokens: of a tile, of a block, of a tile's whole blocks
    Matrix *value;                // per operation
    bool *added;  // per operation: a dot that is added to the matrix of the sum it is a term of
    IrValue index[TILE_MAX_DIMS];  // of grid dims
    // Of the tile that is being emitted: i64.
    IrValue number, first, count, blocks;
    IrValue live;  // tokens of its whole blocks
    Copy *copies;
    uint32_t copy_count;
    const TileOp **ahead;  // whose memory of the next tile is still to be asked for
    uint32_t ahead_count;
} Chunk;

// chunk_plan.c. False, with the reason in b->diag: the program has no code here.
MUST_USE bool chunk_plan(Chunk *c, Builder *b);
TileId chunk_origin(const Chunk *c, TileId v);  // what turns only give another role
bool chunk_is_tokens(const Chunk *c, int dim);
int64_t chunk_cols(const Chunk *c, int dim);   // whole vectors
int64_t chunk_pitch(const Chunk *c, int dim);  // from row to row, of rows along dim
int64_t chunk_rows(const Chunk *c, int dim);   // room for rows across dim
IrValue chunk_room(Chunk *c, int row, int col);

// ---- chunk_value.c: values at places
// A place: one row, and lanes along the cols from `col` on.
typedef struct {
    int row_dim, col_dim;  // -1: none
    IrValue row, col;      // counted from the tile's first token, or from 0
    IrValue mask;          // lanes that exist; NULL: all
} Place;
// NULL: a dot that is added later, or only such.
IrValue place_value(const Chunk *c, const Place *at, TileId v);

// Where memory has the element of a load or store.
IrValue access_pointer(const Chunk *c, const Place *at, const TileOp *op);
DType arg_type(const Chunk *c, const TileOp *op);

// Calls `emit` for all vectors of a matrix: rows that exist, and lanes of the last vector.
typedef void PlaceEmit(const Chunk *c, const Place *at, void *context);
void chunk_walk(const Chunk *c, int row_dim, int col_dim, PlaceEmit *emit, void *context);
IrValue matrix_pointer(const Chunk *c, IrValue base, int64_t pitch, IrValue row, IrValue col);
IrValue close_load(const Chunk *c, IrValue pointer);               // a vector
IrValue close_splat(const Chunk *c, IrValue base, IrValue index);  // an element, in all lanes
void close_store(const Chunk *c, IrValue x, IrValue pointer);

// The value of `v`, which may lack dims of the matrix, into it.
void matrix_fill(Chunk *c, TileId v, const Matrix *to);
void matrix_clear_rows(const Chunk *c, IrValue at,
                       int64_t pitch);  // those behind the last token
void pairs_clip(const Chunk *c, IrValue at,
                int64_t pitch);  // zeros where s > t: diagonal blocks
// The transpose of `from`, a matrix like x, of its rows below `end`.
void matrix_turn(Chunk *c, const Matrix *x, IrValue from, IrValue to, IrValue end);
IrValue matrix_turned(Chunk *c, TileId v);  // rows of chunk_pitch(row)
void chunk_store(const Chunk *c, const TileOp *store);

// chunk_ahead.c: memory of the next tile, asked for by products.
void announced_plan(Chunk *c);
void announced_take(Chunk *c, TileId dot, Product *p);

// ---- the operations
void reduce_emit(Chunk *c, TileId v);  // chunk_scan.c
void scan_emit(Chunk *c, TileId v);
void solve_emit(Chunk *c, TileId v);    // chunk_solve.c
void dot_emit(Chunk *c, TileId v);      // chunk_dot.c
void decayed_emit(Chunk *c, TileId v);  // chunk_decay.c
// The product that a dot is, but for its decay: into the value's matrix, of these operands.
Product dot_product(Chunk *c, TileId v);
bool is_pairs(const Chunk *c, const Matrix *x);
// chunk_factor.c: made when first asked for.
IrValue copy_of(Chunk *c, CopyKind kind, TileId x, TileId alpha);
void pairs_weigh(Chunk *c, IrValue x, TileId alpha, IrValue to);   // by COPY_BETWEEN
Copy *copy_find(Chunk *c, CopyKind kind, TileId x, TileId alpha);  // NULL: there is none yet
Copy *copy_add(Chunk *c, CopyKind kind, TileId x, TileId alpha);   // with room, but empty
