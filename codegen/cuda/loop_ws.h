// loop_ws.h: the parts of the skeleton LOOP_WS share this: what the copy engine sees of the
// operands and the result, and the sizes of tiles. docs/cuda.md describes the kernel.
#pragma once

#include "codegen/cuda/loop_ws_choice.h"
#include "codegen/cuda/writer.h"

// A tensor map without its box. Its dimensions 2 and 3 are made of dimensions of the program,
// of the grid or the outer k: `part_of` says of which, 0: of none. Parts stand outer before
// inner.
typedef struct {
    TensorMapSpec map;
    uint32_t part_of[TILE_MAX_DIMS];
} WsTensor;

// The k dimensions as two, the outer of extent 1 if one is enough. *_dim: the innermost of the
// program's dimensions that it is made of, whose stride is its own; -1: extent 1.
typedef struct {
    int64_t inner, outer;
    int inner_dim, outer_dim;
} WsSteps;

typedef struct {
    bool across;  // rows of a tile in shared memory run along m or n, not along k
    WsTensor tensor;
} WsOperand;

typedef struct {
    CudaWriter *w;
    TileId dot;
    int m, n;  // dimensions
    DType type;
    WsSteps steps;
    WsOperand a, b;
    bool staged;      // results leave by tensor copies
    WsTensor result;  // if staged
    TileId stored;    // what is stored, if staged
    WsShape shape;
    WsTiles tiles;
} Ws;

// loop_ws_plan.c: all of the above. Prints nothing. False: the program has no such form; the
// reason is in w->diag.
MUST_USE bool ws_plan(CudaWriter *w, Ws *out);
