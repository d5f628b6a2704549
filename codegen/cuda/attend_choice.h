// attend_choice.h: sizes of the tiles of ATTEND for CUDA: which are legal, how long each is
// expected to take, and the best of them.
#pragma once

#include "codegen/emitter.h"

// Elements of a query, of a key and of a value for which there are tiles on every GPU.
enum { ATTEND_MOST_WIDTH = 256 };
// The same of attention without gradients: of a key and its value, if it is no part of the key;
// of a value.
enum { ATTEND_MOST_KEPT = 576, ATTEND_MOST_VALUES = 512 };

// One side of the scores is a block's `own`; it walks over tiles of the other.
typedef struct {
    IsaLevel arch;
    int bytes;                           // of an element; 4: products by FMA
    int64_t points, serial, own, other;  // extents; points of the grid and serial dimensions
    int own_width, other_width;          // elements of all tiles of a point
    int score_width, sum_width;          // of all products over a k, and of all sums
    int least_width;                     // of the sums
    int scores, weights;                 // products over a k; operands of the sums
    int64_t lo, hi;                      // lo <= own - other <= hi
    bool has_lo, has_hi;                 // can they be felt?
    int64_t begin;                       // about where own 0 stands among the others
    int64_t parts, deal;  // others are dealt to so many, so many at a time; 0: no
} AttendShape;

typedef struct {
    int own, other;  // points of a block's tile; of a step
    int rows;        // fragments of 16 own points of a warp: 1 or 2
    int stages;      // steps that are copied ahead, and the one that is computed
    int columns;     // warps with the same own points: each has a part of a step's scores, and
                     // of the columns of the sums
} AttendTiles;

static inline int attend_warps(const AttendTiles *t) {
    return t->own / (16 * t->rows) * t->columns;
}
static inline int attend_part(const AttendTiles *t) { return t->other / t->columns; }
static inline int attend_threads(const AttendTiles *t) { return attend_warps(t) * 32; }
int attend_shared_bytes(const AttendShape *s, const AttendTiles *t);
// Of them, before what warps share: the tiles, and then weights.
int attend_tile_bytes(const AttendShape *s, const AttendTiles *t);
int attend_weight_bytes(const AttendShape *s, const AttendTiles *t);
int attend_registers(const AttendShape *s, const AttendTiles *t);  // of a thread, about
int attend_resident(const AttendShape *s, const AttendTiles *t);   // blocks at once
// NULL: legal; else which rule is broken.
const char *attend_illegal(const AttendShape *s, const AttendTiles *t);
double attend_cycles(const AttendShape *s, const AttendTiles *t);
// Are weights in shared memory on their way to the sums?
static inline bool attend_shares(const AttendShape *s, const AttendTiles *t) {
    return s->bytes == 4 || t->columns > 1;
}
// The best legal tiles first, at most `most`, with those numbers of `wanted` that are not 0.
uint32_t attend_choices(const AttendShape *s, const AttendTiles *wanted, AttendTiles *out,
                        uint32_t most);
