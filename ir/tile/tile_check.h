// tile_check.h: what the files that verify tile programs share.
#pragma once

#include "ir/tile/tile_access.h"

typedef struct {
    Diag *diag;
    const TileProgram *p;
    const TileOp *op;  // being checked; NULL: the program as a whole
    DimSet grid, serial, col, m, n, k;
} Check;

bool tile_bad(const Check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);  // false
const TileOp *tile_operand(const Check *c, uint32_t i);

// ---- chunk programs (tile_verify_chunk.c)
bool tile_chunk_dims_verify(const Check *c);
bool tile_chunk_op_verify(const Check *c);  // of every operation, after what all kinds share
bool tile_chunk_verify(Check *c);           // what several operations must fulfil together
