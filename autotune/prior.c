// prior.c: the schedule without tuning.
#include "autotune/prior.h"

Schedule schedule_prior(const Regions *regions, const Region *region, CpuLevel level,
                        uint32_t threads) {
    (void)regions;
    (void)region;
    (void)level;
    (void)threads;
    return schedule_none();
}
