// attend.h: the parts of the ATTEND skeleton share this. docs/codegen.md describes the nest.
//
// Scores lie transposed in close memory: a row for each key, queries along the vectors. So what
// is reduced over keys needs no work across lanes, and both kinds of sums over scores are plain
// products: rows of queries by keys, rows of keys by queries.
#pragma once

#include "codegen/llvm/product.h"

// A dot over a k: scores.
typedef struct {
    TileId dot;
    int k;
    const TileOp *of_m, *of_n;  // its operands: loads
    IrValue turned;             // [k][block]: the block's queries, turned
    IrValue panel;              // [key of the chunk][block]
} Scores;

// A dot over n, or over m: sums of scores times what `load` reads.
typedef struct {
    TileId dot;
    bool over_n;
    int k;  // where the result and `load` stand
    const TileOp *load;
    IrValue weights;  // [key of the chunk][block]
    IrValue copy;     // of what is loaded, [n or m][width]: where it does not lie along k
    IrValue sums;     // [query of the block, or key of the task][width]
    int64_t width;    // of a row: k's extent, rounded up to vectors
} Sums;

enum { ATTEND_MOST_DOTS = 4 };

typedef struct {
    Builder *b;
    const TileProgram *p;
    int m, n, lanes, vectors;  // vectors of a block of queries
    int64_t block, chunk;      // most queries and keys that are handled together
    bool has_lo, has_hi;       // can the band's bounds be felt?
    Scores scores[ATTEND_MOST_DOTS];
    Sums sums[ATTEND_MOST_DOTS];
    int score_count, sum_count;
    int *round;  // per operation: how many passes over the scores it waits for
    int passes;
    bool reduces;  // anything over keys
    IrValue *row;  // per operation at m alone: its values of the block
    // Of the task, block and chunk that are being emitted: i64.
    IrValue index[TILE_MAX_DIMS];  // of grid and serial dims
    IrValue task_m, task_m_end, task_n, task_n_end;
    IrValue m_first, m_count, n_first, n_count;
} Attend;

// attend_plan.c. False, with the reason in b->diag: the program has no code here.
MUST_USE bool attend_plan(Attend *a, Builder *b);
bool stands_at(const TileOp *op, int dim);

// attend_value.c
// The element of an access at these indices; those of dimensions that it does not walk may be
// NULL.
IrValue load_pointer(const Attend *a, const TileOp *op, const IrValue *index);

void rows_compute(Attend *a, int round);  // values at m alone
void pass_over_scores(Attend *a, int round);
void rows_finish(Attend *a);  // stores at m
void keys_finish(Attend *a);  // stores at n
void turn_queries(Attend *a, const Scores *s);
void copy_operand(Attend *a, const Sums *s);
