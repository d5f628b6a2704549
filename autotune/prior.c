// prior.c: the schedule without tuning: the first of the space.
#include "autotune/prior.h"

#include "autotune/space.h"

Schedule schedule_prior(const Regions *regions, const Region *region, CpuLevel level,
                        uint32_t threads) {
    if (region->kind == REGION_ROW) return schedule_none();
    Arena arena = {0};
    Schedule *space = NULL, best = schedule_none();
    if (schedule_space(regions, region, level, threads, &arena, &space) > 0) best = space[0];
    arena_release(&arena);
    return best;
}
