// prior.h: the schedule that a region gets without tuning: from an analytic model of the
// machine, at once.
#pragma once

#include "codegen/emitter.h"
#include "ir/region_to_tile.h"

Schedule schedule_prior(const Regions *regions, const Region *region, IsaLevel level,
                        uint32_t threads);
