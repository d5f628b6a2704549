// plan_memory.h: an entry under construction: its steps, and the pieces of memory that they
// touch.
#pragma once

#include "autotune/graph_to_plan.h"

typedef struct {
    BufferKind kind;
    uint32_t tensor;  // BUFFER_TENSOR
    uint32_t whole;   // 1 + the piece that this one is a part of, from `offset` on; 0: none
    int64_t offset;   // BUFFER_CONSTANT; of BUFFER_ARENA once placed
    int64_t bytes;
} Memory;

typedef struct {
    StepKind kind;
    const TileProgram *program;  // LAUNCH
    PlanGemm gemm;               // GEMM
    const uint32_t *args;        // indices into memory
    uint32_t arg_count;
    Span span;
} DraftStep;

typedef struct {
    Str name;
    const Graph *graph;
    const Regions *regions;
    Arena *arena;
    Vec(Memory) memory;
    Vec(DraftStep) steps;
    uint32_t *memory_of;  // per value: index into memory + 1; 0: none yet
    int64_t arena_bytes;
} Draft;

bool draft_step_reads(const DraftStep *step, uint32_t arg);
bool draft_step_writes(const DraftStep *step, uint32_t arg);
// The value takes over the memory of the tensor it updates, if no step reads the old content
// after (or while, but elsewhere than where) the new one is written. False: it must be copied
// there at the end.
bool draft_update_in_place(Draft *d, uint32_t value_memory, uint32_t tensor);
// Gives every BUFFER_ARENA its offset.
void draft_place(Draft *d);
