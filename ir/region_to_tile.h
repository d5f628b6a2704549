// region_to_tile.h: region + schedule -> tile program. A pure function: the tuner calls it once
// a candidate.
#pragma once

#include "ir/graph/region.h"
#include "ir/tile/schedule.h"
#include "ir/tile/tile.h"

// A region may need more than one kernel (a sum over rows or a long k is partial sums, then
// their sum): programs run in order. Argument i of a program is bound to memory by its binding.
typedef enum { BIND_VALUE, BIND_PARTIAL } BindKind;
typedef struct {
    BindKind kind;
    ValueId value;     // BIND_VALUE: a region input, output or constant
    uint32_t partial;  // BIND_PARTIAL: number of a scratch buffer shared by the programs of
                       // this region
} TileBinding;
typedef struct {
    TileProgram *program;
    const TileBinding *bindings;  // one per argument
    bool clear_first;             // outputs must be zero before it runs (scatter)
    ValueId starts_as;  // in a plan they are this value before it runs, not zero (place)
} TileKernel;
typedef struct {
    TileKernel *kernels;
    uint32_t kernel_count;
    const int64_t *partial_bytes;
    uint32_t partial_count;
} TileKernels;

// Tile sizes that the schedule leaves open get the defaults of ir/tile/lower_*.c.
TileKernels *region_to_tile(const Regions *regions, const Region *region, const Schedule *s,
                            Arena *arena);
