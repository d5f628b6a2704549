// moves.h: schedules one step away from a good one.
#pragma once

#include "ir/graph/region.h"
#include "ir/tile/schedule.h"

enum { MOVES_MAX = 32 };

// One knob changed each; not all are legal, and some give the same code. None changes `parts`.
uint32_t schedule_moves(RegionKind kind, const Schedule *from, Schedule out[MOVES_MAX]);
