// attend.h: the parts of the ATTEND skeleton share this. docs/codegen.md describes the nest.
//
// Scores lie transposed in close memory: a row for each key, queries along the vectors. So what
// is reduced over keys needs no work across lanes, and both kinds of sums over scores are plain
// products: rows of queries by keys, rows of keys by queries.
#pragma once

#include "codegen/llvm/product.h"

// What a load reads at the chunk's keys, or at the block's queries, copied: whatever its type,
// layout and place in memory, a product finds it in the cache, row behind row.
typedef struct {
    const TileOp *load;
    int along, k;   // n or m; the elements of a row
    int64_t width;  // of a row: k's elements, rounded up to vectors
    bool pairs;     // an element is a pair of bf16, as in memory; else f32
    IrValue copy;   // [key of the chunk, or query of the block][width]; NULL: read in place
} Rows;

// A dot over a k: scores.
typedef struct {
    TileId dot;
    int k;
    int64_t count;          // products of a score: k's extent, or half of it
    bool pairs;             // of bf16: see Rows
    const TileOp *of_m;     // the queries
    const Rows *of_n;       // the keys
    IrValue turned;         // [strip of the block][k][query]: the block's queries, turned
    const Rows *rows_of_m;  // few queries: as they are instead
    IrValue panel;          // [key][query of the strip]; of few queries [query][key]
} Scores;

// A dot over n, or over m: sums of scores times rows.
typedef struct {
    TileId dot;
    bool over_n;
    bool rescaled;  // its weights are relative to the largest score so far
    const Rows *rows;
    IrValue weights;  // as the panel
    IrValue sums;     // [query of the block, or key of the task][width]
} Sums;

enum { ATTEND_MOST_DOTS = 4, ATTEND_MOST_ROWS = 2 * ATTEND_MOST_DOTS };

typedef struct {
    IrValue first, count;  // i64
} Range;

typedef struct {
    Builder *b;
    const TileProgram *p;
    int m, n, lanes, vectors;  // vectors of a strip
    // Most queries that share a copy of keys, most keys of a copy; queries whose scores are
    // computed together.
    int64_t block, chunk, strip;
    bool has_lo, has_hi;  // can the band's bounds be felt among queries of a strip?
    bool few;             // queries, all with the same keys: attend_few.c
    const TileOp *start;  // NULL: queries begin at 0
    int dealt;            // the grid dim whose points have keys of their own; -1: none
    Rows rows[ATTEND_MOST_ROWS];
    Scores scores[ATTEND_MOST_DOTS];
    Sums sums[ATTEND_MOST_DOTS];
    int row_count, score_count, sum_count;
    int *round;  // per operation: how many passes over the scores it waits for
    int passes;
    bool reduces;    // anything over keys
    TileId top;      // the largest score of a query, where chunks can be rescaled; {0}: not
    IrValue before;  // [query of the strip]: top, of the chunks before
    IrValue *row;    // per operation at m alone: its values of the block
    // What is being emitted. Of the task: i64.
    IrValue index[TILE_MAX_DIMS];  // of grid and serial dims
    IrValue task_m, task_m_end, task_n, task_n_end;
    IrValue begin;  // i64: where the queries begin; NULL: at 0
    Range block_at, chunk_at, strip_at;
    Range keys;                // of the chunk: those that any query of the strip meets
    IrValue whole, whole_end;  // of these: those that all its queries meet, from keys.first
} Attend;

IrValue plus(const Attend *a, IrValue x, int64_t y);
IrValue place_of(const Attend *a, IrValue query);  // among the keys
// [from, to) in steps: the range of each, of at most that many.
Range ranges_begin(Attend *a, Loop *loop, IrValue from, IrValue to, int64_t step);
IrValue strip_in_block(Attend *a);  // its first query, from the block's

// attend_plan.c. False, with the reason in b->diag: the program has no code here.
MUST_USE bool attend_plan(Attend *a, Builder *b);
bool stands_at(const TileOp *op, int dim);

// attend_value.c
// The element of an access at these indices; those of dimensions that it does not walk may be
// NULL.
IrValue load_pointer(const Attend *a, const TileOp *op, const IrValue *index);
// A vector of elements along a dimension, from this index of it on.
IrValue load_vector(const Attend *a, const TileOp *op, const IrValue *index, int along,
                    IrValue mask);
// Likewise twice as many of bf16 that are neighbours, as they lie in memory.
IrValue load_pairs(const Attend *a, const TileOp *op, const IrValue *index, IrValue mask);
IrValue mask_count(const Attend *a, IrValue count);  // lanes below an i64; NULL: all

IrValue begin_value(const Attend *a);                               // of the task, from `start`
void rows_compute(Attend *a, int round, IrValue from, IrValue to);  // at queries of the block
void reductions_clear(Attend *a);                                   // of the block
void pass_over_scores(Attend *a, int round);
void rows_finish(Attend *a);  // stores at m
void keys_finish(Attend *a);  // stores at n

// attend_strip.c: everything of a strip of queries and a chunk of keys.
void strip_emit(Attend *a);

// attend_few.c
void few_scores(Attend *a, const Scores *s);
void few_sums(Attend *a, const Sums *s);
int64_t few_pitch(const Attend *a);  // of panels: keys of a chunk, in whole vectors

// attend_copy.c
void turn_queries(Attend *a, const Scores *s);
void copy_rows(Attend *a, const Rows *r);
