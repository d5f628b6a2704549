// prior.c: the schedule without tuning: the first of the space.
#include "autotune/prior.h"

#include "autotune/cuda_space.h"
#include "autotune/space.h"

// The CUDA emitter estimates tiles by itself. A sum over rows takes as many blocks as fill a
// large GPU twice.
static Schedule cuda_prior(const Regions *regions, const Region *region, IsaLevel level) {
    enum { PARTS = 256 };
    if (region->kind == REGION_LINEAR) return cuda_chunks(regions, region, level);
    Schedule s = schedule_none();
    if (region->kind == REGION_ROW) s.parts = PARTS;
    if (region->kind == REGION_CONTRACT) s.parts = cuda_parts(regions, region, level);
    if (region->kind == REGION_ATTEND) {
        s.split = 1;
        s.parts = cuda_dealt(regions, region, level);
    }
    return s;
}

Schedule schedule_prior(const Regions *regions, const Region *region, IsaLevel level,
                        uint32_t threads) {
    if (level_is_cuda(level)) return cuda_prior(regions, region, level);
    if (region->kind == REGION_ROW || region->kind == REGION_ORDER) return schedule_none();
    Arena arena = {0};
    Schedules space = schedule_space(regions, region, level, threads, &arena);
    Schedule best = space.len > 0 ? space.ptr[0] : schedule_none();
    arena_release(&arena);
    return best;
}
