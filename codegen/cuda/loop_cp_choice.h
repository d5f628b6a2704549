// loop_cp_choice.h: sizes of the tiles of LOOP_CP: which are legal, how long each is expected
// to take, and the best of them.
#pragma once

#include "codegen/emitter.h"

typedef struct {
    IsaLevel arch;
    DType type;               // of the product's operands: BF16 and F16 by mma, F32 by FMA
    int64_t points, m, n, k;  // points of the grid dimensions; k is the product of all k
    int64_t sharing_m,
        sharing_k;            // points that have the m, or the k, together; 1: each has all
    bool across_a, across_b;  // rows of a tile in shared memory run along m or n, not along k
    bool computed_a, computed_b;  // tiles that pass through registers
    int stored_bytes;             // loaded and stored by one point of m and n
} CpShape;

typedef struct {
    int bm, bn, bk, stages, warps_m, warps_n, warps_k, order;  // see ir/tile/knobs.def
} CpTiles;

enum { CP_CHUNK_BYTES = 16 };

// What a multiprocessor has and does in a cycle.
typedef struct {
    int blocks;                     // multiprocessors
    int shared_most, shared_all;    // bytes: of a block; of a multiprocessor
    double mma, fma;                // products
    double shared_bytes, l2_bytes;  // moved
    double memory_bytes;            // moved, of the whole GPU
} CudaCard;
const CudaCard *cuda_card(IsaLevel arch);

static inline bool cp_is_mma(const CpShape *s) { return s->type != DTYPE_F32; }
static inline int cp_warps(const CpTiles *t) { return t->warps_m * t->warps_n * t->warps_k; }
static inline int cp_threads(const CpTiles *t) { return cp_warps(t) * 32; }
static inline int cp_thread_sums(const CpTiles *t) {
    return t->bm / t->warps_m * (t->bn / t->warps_n) / 32;
}
// Tiles of rows at all points of the grid, at most.
int64_t cp_row_tiles(const CpShape *s, const CpTiles *t);
int cp_a_bytes(const CpShape *s, const CpTiles *t);  // of a stage
int cp_b_bytes(const CpShape *s, const CpTiles *t);
int cp_shared_bytes(const CpShape *s, const CpTiles *t);
int cp_registers(const CpShape *s, const CpTiles *t);  // of a thread, about
int cp_resident(const CpShape *s, const CpTiles *t);   // blocks on a multiprocessor at once
// NULL: legal; else which rule is broken.
const char *cp_illegal(const CpShape *s, const CpTiles *t);
// Expected cycles of the whole kernel.
double cp_cycles(const CpShape *s, const CpTiles *t);
double cp_memory_bytes(IsaLevel arch);  // that a large GPU moves in a cycle
// The best legal tiles first, at most `most`, with those knobs of `wanted` that are not 0.
uint32_t cp_choices(const CpShape *s, const CpTiles *wanted, CpTiles *out, uint32_t most);
