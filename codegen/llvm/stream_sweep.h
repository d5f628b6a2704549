// stream_sweep.h: what each sweep over the cols computes, and in which order.
//
// A pass makes all reductions over cols of its round; the last one makes the stores. It is one
// sweep over the cols, or several where registers do not hold the sums of all. Values of the
// cols are computed anew in each sweep, but for rows that fit in registers and for costly ones,
// which are kept in close memory.
#pragma once

#include "codegen/llvm/stream.h"

typedef struct {
    Stream *s;
    Level *level;
    int number;
    int unroll, slots;  // steps of an iteration, accumulators of each sum
    int waiting;        // values of the cols that wait at once for the last of their uses
    bool crowded;       // registers hold neither all scalars nor what waits
    bool *in;           // operations at the cols that this sweep computes or reads
    uint32_t *order;    // in which a step goes through the operations
    uint32_t count;
    bool used[STREAM_SLOTS];
} Sweep;

Sweep sweep_new(Stream *s, Level *l, int number);
void sweep_mark(Sweep *sweep);   // finds what it needs; earlier sweeps are marked already
void sweep_order(Sweep *sweep);  // once it is marked
bool sweep_reduces(const Sweep *sweep, uint32_t i);   // a reduction over cols
bool sweep_ends(const Sweep *sweep, uint32_t i);      // a store, or a sum over rows
bool sweep_computes(const Sweep *sweep, uint32_t i);  // a value of the cols
bool sweep_finds(const Sweep *sweep, uint32_t i);     // where it has been left
