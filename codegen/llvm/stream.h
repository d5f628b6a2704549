// stream.h: the parts of the STREAM skeleton share this. docs/codegen.md describes how a
// program becomes code.
// Levels, homes and rounds are those of codegen/stream_plan.h.
#pragma once

#include "codegen/llvm/builder.h"
#include "codegen/stream_plan.h"

enum {
    STREAM_MAX_UNROLL = 8,
    STREAM_MAX_STEPS = 4,  // of a row that stays in registers
    // Accumulators: full vectors, then tails of 1, 2, 4, 8, 16 lanes.
    STREAM_SLOTS = STREAM_MAX_UNROLL + 5,
};

// What is known of an operation while code is being emitted.
typedef struct {
    IrValue value;  // no col: the scalar
    IrValue splat;  // of the scalar, made before the current pass
    IrValue near;   // of the scalar, in close memory; NULL: the splat has a register
    // Of a block of rows (stream_rows.c); NULL: there is none, or it is not needed.
    IrValue lanes;     // the scalar in each row
    IrValue rows;      // close memory of that
    IrValue near_row;  // of the row at hand
    IrValue variable;  // accumulator of a scalar
    IrValue row;       // accumulator of the cols, in close memory
    IrValue early;     // close memory of a value that all rows share; NULL: made as needed
    // Accumulators of the current pass; those of a row in registers: one a step.
    IrValue slots[STREAM_SLOTS];
    IrValue pointer;    // of an access: its element at the task's first col
    IrValue condition;  // may it happen at all in this row; NULL: yes
    IrValue ahead;      // the pointer of the row that is prefetched; NULL: none
} StreamOp;

typedef struct Level Level;

typedef struct {
    Builder *b;
    StreamPlan plan;
    StreamOp *ops;                 // by TileId
    IrValue index[TILE_MAX_DIMS];  // i64: of the grid and serial dims
    IrValue col_base;              // i64: first col of the task
    int64_t cols;                  // of the task
    bool in_blocks;                // as many rows as lanes share the time of their scalars
    bool in_registers;             // a row is few vectors, all held at once
    bool paired;                   // two steps take the even and the odd of their cols
    IrValue aligned;  // i1: the arguments of nontemporal stores are; NULL: there are none
    Level *level;     // whose pass is being emitted
} Stream;

// A run of cols, or every second one of twice as many: those of bf16 are halves of words.
typedef enum { COLS_RUN, COLS_EVEN, COLS_ODD } StepCols;

// One step along the cols: `lanes` of them.
typedef struct {
    IrValue at;     // place of the lanes in rows of close memory
    IrValue first;  // first col, that of the pair, counted from the task's first col
    StepCols cols;
    int lanes;
    IrValue mask;  // NULL: all lanes
    int turn;      // which step of an iteration
    int slot;      // of the accumulators
    int part;  // which of the row's steps, if the row is in registers; which of a pair; or 0
} Step;

// Values of the cols, as the passes of one level know them.
typedef struct {
    int first;    // sweep that computes it first; -1: none
    bool keep;    // a later sweep reads it from `row`
    IrValue row;  // close memory
    int sweeps;   // how many compute it
    int sweep;    // how many of them have been emitted
    int asks;     // which of them asks for the row that comes later; -1: each for its share
    // Of the current step or pair, or of every step of a row in registers.
    IrValue vec[STREAM_MAX_STEPS];
} ColValue;

// A level's passes and loops.
struct Level {
    StreamLevel plan;
    ColValue *cols;  // by TileId
    uint32_t *sums;  // its reductions over cols, those of the same row one after the other
    int sum_count;
    // The pass over the cols of a round is one sweep, or several: each makes some of its sums.
    int *sweep;     // by TileId: in which one it is reduced or stored; -1: in none
    int *round_of;  // by sweep
    int sweeps;
};

// stream_access.c: all of them work for a scalar (one lane, no col) and for a step along the
// cols.
void access_prepare(Stream *s, uint32_t i);                     // what is the same for the row
IrValue access_load(Stream *s, uint32_t i, const Step *step);   // LOAD and GATHER
IrValue access_index(Stream *s, uint32_t i, const Step *step);  // INDEX
void access_store(Stream *s, uint32_t i, const Step *step, bool nontemporal);
void access_scatter(Stream *s, uint32_t i, const Step *step);
bool access_prefetches(const Stream *s, const Level *l,
                       uint32_t i);  // are rows asked for ahead
void access_prefetch(Stream *s, uint32_t i, const Step *step);
bool access_is_dense(const Stream *s, uint32_t i);     // along the cols
bool access_pairs(const Stream *s);                    // are rows best taken in pairs of steps
bool access_nontemporal(const Stream *s, uint32_t i);  // may the store bypass the cache

// For a block of rows, one a lane; those along which strides[dim] goes.
IrValue access_load_rows(Stream *s, uint32_t i, int dim, IrValue mask);
void access_store_rows(Stream *s, uint32_t i, int dim, IrValue x, IrValue mask);

// stream_sweep.c
Level level_new(Stream *s, int level, const bool *target);  // its passes are planned

// stream_rows.c
// Are the tasks, points of `dim` alone, best taken in blocks that share the time of scalars?
bool rows_in_blocks(const Stream *s, int dim);
void rows_emit(Stream *s, int dim, const bool *target);  // all tasks

// stream_pass.c
bool row_fits_registers(const Stream *s);        // for s->cols
void pass_emit(Stream *s, Level *l, int round);  // all that the round does along the cols
void early_emit(Stream *s);                      // values that all rows share, before the first
void rows_start(Stream *s, uint32_t i);  // clears what a reduction over serial dims adds to
IrValue reduce_start(const Builder *b, const TileOp *op, int lanes);  // neutral element
IrValue reduce_add(Builder *b, const TileOp *op, IrValue sum, IrValue x);
IrValue operand_value(Stream *s, TileId v, const Step *step);
