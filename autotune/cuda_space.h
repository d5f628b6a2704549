// cuda_space.h: the schedules that are worth trying on a GPU. Part of schedule_space.
#pragma once

#include "codegen/emitter.h"
#include "ir/region_to_tile.h"

// In how many parts k of a contraction's region is expected to be summed fastest; 0: whole.
int32_t cuda_parts(const Regions *regions, const Region *region, IsaLevel level);
// Of linear attention: tokens of a tile and parts that are expected to be fastest, of those
// whose values fit shared memory.
Schedule cuda_chunks(const Regions *regions, const Region *region, IsaLevel level);
// Over how many blocks an attention's keys are dealt; 0: each block has all of them.
int32_t cuda_dealt(const Regions *regions, const Region *region, IsaLevel level);
// As schedule_space: the prior's pick first. All are legal, and no two give the same kernels.
Schedules cuda_space(const Regions *regions, const Region *region, IsaLevel level,
                     Arena *arena);
