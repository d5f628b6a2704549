// space.h: the schedules that are worth trying for a region.
#pragma once

#include "autotune/prior.h"

// All different and legal, the prior's pick first, then by its estimate. Never changes `parts`,
// on which the order of a sum over rows depends. They live in the arena.
Schedules schedule_space(const Regions *regions, const Region *region, IsaLevel level,
                         uint32_t threads, Arena *arena);
