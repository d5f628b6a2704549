// incremental.h: what the parts of pass_incremental share. Private to it.
#pragma once

#include "ir/graph/passes.h"

typedef struct {
    Diag *diag;
    const Graph *g;
    Graph *to;
    const IncrementalRequest *request;
    Arena scratch;
    AxisId rows, time;  // of the tokens
    AxisId context;     // in `to`: all positions
    AxisId live;        // in `to`: those that attention in steps looks at
    int64_t chunk;      // positions of `time` there
    // In `to`: i32 inputs over rows, and i32[rows, time]: the position of each token of the
    // chunk, and where it is kept: its position, or -1 of what is no token of the row.
    ValueId position, count, index, slot;
    // Per value of g. pure: depends on positions alone, so that `table`, over all positions, is
    // made when compiling. map: its values at the chunk's positions; {0} until made.
    bool *needed, *pure;
    ValueId *table, *map;
    ValueId *kept;  // per value of g: its cache, over all positions, once there is one
    uint32_t states;
} Incremental;

// Is it the axis of positions, or a second role of it?
bool incremental_is_time(const Incremental *p, AxisId a);
// The value of g at the chunk's positions: its axes, perhaps behind that of rows.
ValueId incremental_use(Incremental *p, ValueId v);
// x with these axes in this order, of which it may lack some.
ValueId incremental_shaped(Incremental *p, ValueId x, const AxisId *axes, uint32_t rank,
                           Span span);
ValueId incremental_renamed(Incremental *p, ValueId x, AxisId from, AxisId to, Span span);
// x with an axis of rows: what is kept of a row is its own.
ValueId incremental_by_rows(Incremental *p, ValueId x, Span span);
// A state with the leaf's type and axes.
ValueId incremental_state_leaf(Incremental *p, Leaf leaf, const char *what);
void incremental_update(Incremental *p, ValueId state, ValueId value);

// Operations that look back. `v` is the value of g; the result may have its axes in another
// order.
ValueId incremental_attend(Incremental *p, const Value *v);
ValueId incremental_linear(Incremental *p, const Value *v);
ValueId incremental_window(Incremental *p, const Value *v);  // SHIFT, WINDOW
