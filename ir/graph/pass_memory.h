// pass_memory.h: where each buffer of a list of steps lies in one arena, planned ahead.
//
// Pure: it knows steps and buffers by number only. A buffer lives from the first step that
// touches it to the last, both included; two buffers that live at one step never share a byte,
// with one exception: a step may work in place.
//
//     step      0    1    2    3
//     buffer a  w----r
//     buffer b       w----r         may take a's offset if step 1 lists {from a, to b}
//     buffer c            w----r    may reuse a's bytes without asking
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"

#define MEMORY_ALIGNMENT 64

typedef struct {
    int64_t bytes;
    bool persistent;  // a parameter, state, input or output: lies elsewhere, gets no place here
} MemoryBuffer;

// The step may write `to` over `from`, if it reads `from` for the last time: byte by byte, or
// in whatever order the step makes good. The planner decides; a pair that cannot share (or has
// a persistent buffer) is passed over.
typedef struct {
    uint32_t from, to;
} MemoryInPlace;

typedef struct {
    const uint32_t *reads, *writes;  // buffers
    uint32_t read_count, write_count;
    const MemoryInPlace *in_place;  // in order of preference
    uint32_t in_place_count;
} MemoryStep;

// Buffers that lie side by side, in this order and without gaps: what is stacked then needs no
// copy. Who reads the whole lists every member among its reads. A buffer is in one group at
// most; none is persistent.
typedef struct {
    const uint32_t *members;
    uint32_t count;
} MemoryGroup;

typedef struct {
    const MemoryBuffer *buffers;
    uint32_t buffer_count;
    const MemoryStep *steps;
    uint32_t step_count;
    const MemoryGroup *groups;
    uint32_t group_count;
} MemoryProblem;

// A persistent buffer has no offset, nor has one that no step touches and no group holds.
#define MEMORY_NOWHERE (-1)

typedef struct {
    int64_t *offset;  // per buffer; aligned, except what follows another in a group
    int64_t bytes;    // of the arena
    int64_t least;    // bytes of the most crowded step; only in-place reuse does with less
} MemoryPlan;

// Largest first, each at the tightest fit. Deterministic. The plan and scratch are in `arena`.
MemoryPlan *pass_memory(const MemoryProblem *problem, Arena *arena);

// NULL if the plan keeps every promise above, else what it breaks (text in `arena`). Works from
// the problem alone.
MUST_USE const char *memory_violation(const MemoryProblem *problem, const MemoryPlan *plan,
                                      Arena *arena);
