// loop_ws_choice.h: sizes of the tiles of LOOP_WS: which are legal, how long each is expected
// to take, and the best of them.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WS_TILE_K = 64,   // elements of 16 bits in the 128 bytes that a tile's row has
    WS_BLOCKS = 132,  // multiprocessors of an H100 or H200
    WS_SLICE = 64,    // rows and columns of a result that one tensor copy stores
    WS_SLICE_BYTES = WS_SLICE * WS_SLICE * 2,
    WS_MAX_STAGES = 8,
    WS_MAX_RANK = 4,  // of tensor maps: what the prelude has copies for
};

typedef struct {
    int64_t points, m, n, k;  // points of the grid dimensions
    bool across_b;            // see WsOperand
    bool stageable;           // the result can leave by tensor copies
    int point_bytes;          // loaded and stored by one point of m and n
} WsShape;

typedef struct {
    int bm, bn, stages, consumers, turns, cluster, order;  // see ir/tile/knobs.def
} WsTiles;

// Consumers of one tile, and the rows of 64 that each of them has.
static inline int ws_sharers(const WsTiles *t) { return t->consumers / t->turns; }
static inline int ws_blocks(const WsTiles *t) { return t->bm / 64 / ws_sharers(t); }
// Rows of the tiles of a cluster.
static inline int64_t ws_height(const WsTiles *t) { return (int64_t)t->bm * t->cluster; }
bool ws_staged(const WsShape *s, const WsTiles *t);
// Bytes of a stage's tiles, of the buffers for results, and of all dynamic shared memory.
size_t ws_a_bytes(const WsTiles *t);
size_t ws_b_bytes(const WsShape *s, const WsTiles *t);
size_t ws_staging_bytes(const WsShape *s, const WsTiles *t);
size_t ws_shared_bytes(const WsShape *s, const WsTiles *t);
// NULL: legal; else which rule is broken.
const char *ws_illegal(const WsShape *s, const WsTiles *t);
// Expected cycles of the whole kernel on an H200.
double ws_cycles(const WsShape *s, const WsTiles *t);
// The best legal tiles first, at most `most`, with those knobs of `wanted` that are not 0.
uint32_t ws_choices(const WsShape *s, const WsTiles *wanted, WsTiles *out, uint32_t most);
