// chunk_case.h: chunk programs that the tests of several emitters share: each operation alone,
// whole recurrences, and what regions of linear attention become.
#pragma once

#include "ir/graph/linear.h"
#include "ir/region_to_tile.h"
#include "tests/ir/tile_bench.h"

typedef struct {
    int64_t T, C, d, e;  // tokens, of a tile; elements of a key, of a value
    int64_t segments;    // of regions; 0: none
} ChunkShape;

// Programs of two heads for every shape. Alphas are within (0, 1), but token 4 forgets all.
typedef enum {
    CHUNK_DOTS,  // over every kind of dim, to every kind of result; what lies across is turned
    CHUNK_DECAYED,
    CHUNK_DECAYED_BY_TOKENS,
    CHUNK_SCANS,
    CHUNK_SCANS_OF_TOKENS,
    CHUNK_SUMS,
    CHUNK_SOLVES,
    CHUNK_GATED_DELTA,  // Kimi delta attention forward
    CHUNK_GATED_DELTA_BACK,
    CHUNK_TEXTS
} ChunkText;
TileProgram *chunk_case_text(TileBench *b, ChunkText text, const ChunkShape *x);

typedef enum {
    CHUNK_RESULTS,
    CHUNK_GRADIENTS,           // of what the queries read
    CHUNK_GRADIENTS_OF_FINAL,  // of the final state
} ChunkMakes;

// Linear attention of two heads with what `bits` (ir/graph/linear.h) say, or its gradients;
// `wide`: a decay a channel. Results are f32.
TileKernels *chunk_case_region(TileBench *b, const ChunkShape *x, int64_t bits, bool wide,
                               ChunkMakes makes);
enum {
    // A bit beside them: queries, keys, values and the gradient of results are bf16.
    CHUNK_BF16 = 1 << 30,
    CHUNK_EVERYTHING = LINEAR_HAS_DECAY | LINEAR_HAS_BETA | LINEAR_HAS_INITIAL | LINEAR_DELTA
};
