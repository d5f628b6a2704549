// region_to_tile.h: region + schedule -> tile program. A pure function: the tuner calls it once a candidate.
#pragma once

#include "ir/graph/region.h"
#include "ir/tile/tile.h"

// The choices left open by a region, each a small integer (knobs.def names them and says what they mean).
typedef struct {
#define KNOB(name, otherwise) int32_t name;
#include "ir/tile/knobs.def"
#undef KNOB
} Schedule;

Schedule schedule_none(void);  // every knob at its `otherwise`
void schedule_print(const Schedule *s, StrBuf *out);  // "mr=6 nv=4 kc=512", only what differs from schedule_none
MUST_USE bool schedule_read(Str text, Schedule *out);

// A region may need more than one kernel (a sum over rows is partial sums, then their sum): programs run in order.
// Argument i of a program is bound to memory by its binding.
typedef enum { BIND_VALUE, BIND_PARTIAL } BindKind;
typedef struct {
    BindKind kind;
    ValueId value;      // BIND_VALUE: a region input, output or constant
    uint32_t partial;   // BIND_PARTIAL: number of a scratch buffer shared by the programs of this region
} TileBinding;
typedef struct {
    TileProgram *program;
    const TileBinding *bindings;  // one per argument
    bool clear_first;             // outputs must be zero before it runs (scatter)
} TileKernel;
typedef struct {
    TileKernel *kernels;
    uint32_t kernel_count;
    const int64_t *partial_bytes;
    uint32_t partial_count;
} TileKernels;

TileKernels *region_to_tile(const Graph *g, const Region *region, const Schedule *s, Arena *arena);
