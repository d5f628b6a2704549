// graph_to_plan.h: graphs -> a plan: regions, their schedules, machine code, memory and steps.
#pragma once

#include "autotune/compile_kernels.h"
#include "ir/graph/region.h"
#include "ir/region_to_tile.h"
#include "runtime/plan.h"

// One thing that the plan can run. Entries of one plan share parameters, states, inputs and
// outputs by name.
typedef struct {
    Str name;            // "forward", "train"
    const Graph *graph;  // simplified, every axis bound
} PlanRequestEntry;

typedef struct {
    Str model;
    CompileTarget target;
    uint32_t run_threads;  // the threads that will run it
    const PlanRequestEntry *entries;
    uint32_t entry_count;
} PlanRequest;

// False: no code could be made (see emit_kernel). The plan lives in the arena.
MUST_USE bool graph_to_plan(Diag *diag, Arena *arena, const PlanRequest *request, Plan **out);

// What a region computes, whatever it is called: the hash of its programs without a schedule.
// Key of its trials.
Hash region_hash(const Regions *regions, const Region *region);
// Picks schedules: the best known in the database, else the prior's. Equal regions get equal
// schedules, looked up once.
typedef struct {
    Arena *arena;
    const PlanRequest *request;
    Hash context;
    Map known;  // region hash -> index into schedules
    Schedules schedules;
} ScheduleChooser;
void schedule_chooser_init(ScheduleChooser *c, Arena *arena, const PlanRequest *request);
Schedule schedule_choose(ScheduleChooser *c, const Regions *regions, const Region *region);
