// attend.h: the parts of the skeleton ATTEND for CUDA share this. docs/cuda.md describes the
// kernel.
#pragma once

#include "codegen/cuda/attend_choice.h"
#include "codegen/cuda/loop_value.h"

// Points of one side with the elements of one k, as a tile in shared memory: a row a point.
typedef struct {
    TileId load;
    int dim, k;   // m or n, and the k
    int width;    // elements of a row: k's extent, rounded up
    int offset;   // bytes: of own tiles from the first, of others in a stage
    bool copied;  // 16 bytes at a time; else loaded, packed and stored
} AttendTile;

// A dot over a k: `scores` in the text.
typedef struct {
    TileId dot;
    int own, other;  // tiles
} AttendScore;

// A dot over the other side, of weights and a tile: `sums` in the text.
typedef struct {
    TileId dot;
    int weight, other;  // an operand of the sums; a tile
    int k, width;       // of what is summed; elements, rounded up
    int column;         // of the tile, where they begin
} AttendSum;

enum { ATTEND_MOST = 4 };

typedef struct {
    CudaWriter *w;
    int own, other;  // dims: the one whose points a block keeps, the one it walks over
    DType type;      // of all tiles: BF16, F16 or F32
    AttendTile own_tiles[ATTEND_MOST], other_tiles[ATTEND_MOST];
    AttendScore scores[ATTEND_MOST];
    AttendSum sums[ATTEND_MOST];
    TileId weights[ATTEND_MOST];
    int own_count, other_count, score_count, sum_count, weight_count;
    // A softmax over the other side: its maximum and its sum, {0} if there is none. If `factor`
    // is not 0 the score is scores[0] times it.
    TileId top, total;
    double factor;
    const TileOp *start;  // NULL: queries begin at key 0
    int dealt;            // the grid dim whose points have keys of their own; -1: none
    AttendShape shape;
    AttendTiles tiles;
    CudaPoint at;  // grid and serial dimensions, where they are known
    Values rows;   // what is known of a row
} CudaAttend;

static inline int64_t attend_extent(const CudaAttend *a, int d) {
    return a->w->p->dims[d].extent;
}
// Do tiles of the other side go beyond its last point?
static inline bool attend_is_ragged(const CudaAttend *a) {
    return a->shape.other % (a->dealt < 0 ? a->tiles.other : a->shape.deal) != 0;
}

static inline bool attend_is_fma(const CudaAttend *a) { return a->type == DTYPE_F32; }
// Elements of 16 bytes.
static inline int attend_chunk(const CudaAttend *a) { return 16 / (int)dtype_bytes(a->type); }

// attend_plan.c. False: the program has no such form; the reason is in w->diag.
MUST_USE bool cuda_attend_plan(CudaWriter *w, CudaAttend *a);
// Of the same program, for the tuner: legal tiles, the best first.
uint32_t cuda_attend_choices(Arena *arena, const TileProgram *p, IsaLevel arch,
                             AttendTiles *out, uint32_t most);

// attend_tile.c
void attend_places_print(const CudaAttend *a);
// Fills a tile whose rows begin at `first` at `to`, an offset in shared memory.
void attend_fill(const CudaAttend *a, const AttendTile *t, const char *first, const char *to);
void attend_score_print(const CudaAttend *a, int number);
void attend_sum_print(const CudaAttend *a, int number);
// Weights become known to all warps that share their rows, and by FMA to all lanes.
void attend_weights_share(const CudaAttend *a);
// Until all warps that share rows are here.
void attend_rows_wait(const CudaAttend *a);

// attend_fma.c: the same where products are by FMA.
void attend_score_fma(const CudaAttend *a, int number);
void attend_sum_fma(const CudaAttend *a, int number);
void attend_weights_share_fma(const CudaAttend *a);

// The first of a step's points that are this warp's, as text.
static inline const char *attend_part_first(const CudaAttend *a) {
    return a->tiles.columns > 1 ? "part_first" : "other_first";
}

// attend.c: the condition that the pair (own, other) exists; empty: always.
Str attend_inside(const CudaAttend *a);

// attend_value.c
void attend_grid_print(CudaAttend *a);     // values of the whole block
void attend_rows_print(CudaAttend *a);     // values at own alone, before the walk
void attend_softmax_print(CudaAttend *a);  // a step's scores become weights
void attend_weights_print(CudaAttend *a);  // the same, by the program's maps
void attend_results_print(CudaAttend *a);  // what follows the walk, and the stores
