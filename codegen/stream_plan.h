// stream_plan.h: where and when each operation of a STREAM program is computed, for any target.
//
// A kernel is a nest of levels: 0 runs once a call, 1 once a task, 2 + s once an iteration of
// serial dimension s. Every operation has a home: the level at which its value is complete. A
// value that stands at the cols is never complete as a whole; passes over the cols of its
// home's level (or of a deeper one) compute it where they need it.
//
// A level works in rounds: what a reduction over cols or over an inner serial dimension gives
// is known one round after its operand. A round is: scalars, one pass over the cols, one run
// through the loop of the next level.
#pragma once

#include "ir/tile/tile.h"

enum { LEVEL_KERNEL, LEVEL_TASK, LEVEL_SERIAL };

typedef struct {
    int home;
    bool col;          // stands at the cols
    bool over_serial;  // a REDUCE over serial dims (one over cols otherwise)
} StreamPlace;

typedef struct {
    Diag *diag;
    Arena *arena;
    const TileProgram *p;  // every REDUCE is over cols or over serial dims, not both
    int col;               // dimension, or -1
    int serial[TILE_MAX_DIMS], serial_count;
    StreamPlace *ops;  // by TileId
} StreamPlan;

// What a level's passes and loops have to do. Arrays are by TileId.
typedef struct {
    int level;
    const bool *target;  // stores to make, and reductions of outer levels to add to
    bool *need;          // values of this level or deeper that the targets depend on
    int *time;           // how many rounds of this level's loops a value waits for
    int last, last_col, last_inner;  // rounds; -1: there is no such pass or loop
} StreamLevel;

// False: the program's loops have no such order (diag says why).
MUST_USE bool stream_plan_make(Diag *diag, Arena *arena, const TileProgram *p, StreamPlan *out);
// All stores of the program: the targets of LEVEL_KERNEL.
bool *stream_targets(const StreamPlan *s);
StreamLevel stream_level(const StreamPlan *s, int level, const bool *target);
// Lets what has no cols and waits for no reduction, if it is more than registers should hold
// through a pass, wait for the first round that uses it.
void stream_level_delay(const StreamPlan *s, StreamLevel *l);
// The targets of the next level's loop in this round; NULL: it does not run.
bool *stream_inner_targets(const StreamPlan *s, const StreamLevel *l, int round);

// ---- what an operation is to a round of a level
// Does the loop of the next level complete this reduction over serial dims in this round?
bool stream_sums(const StreamPlan *s, const StreamLevel *l, uint32_t i, int round);
// Is it a target that belongs to this very level, not to a loop inside it?
bool stream_ends(const StreamPlan *s, const StreamLevel *l, uint32_t i);
// A reduction over cols that the pass of this round makes.
bool stream_reduces(const StreamPlan *s, const StreamLevel *l, uint32_t i, int round);
// A store at the cols, or a sum over rows that gets this row's cols: made by the last pass.
bool stream_ends_at_cols(const StreamPlan *s, const StreamLevel *l, uint32_t i, int round);
bool stream_pass_due(const StreamPlan *s, const StreamLevel *l, int round);
// A value without cols that is computed at the beginning of this round.
bool stream_scalar(const StreamPlan *s, const StreamLevel *l, uint32_t i, int round);
