// explain.h: the parts of `explain` share this.
#pragma once

#include "cli/cost.h"
#include "cli/machine.h"

typedef struct {
    Cli *cli;
    const Graph *g;
    const Regions *regions;
    Machine machine;
    uint32_t *region_of;  // per value: region + 1; 0: in none
} Explain;

typedef struct {
    const Region *region;
    RegionCost cost;
    double floor_ns, tuned_ns;  // NAN: no machine to run on; 0: not tuned
    Schedule schedule;          // tuned, or the prior's
} Kernel;

// A leaf by its path, another value by the kernel that makes it.
Str explain_value_name(const Explain *e, ValueId v);

// explain_code.c: of a target that is a GPU: what the kernels do to the layouts of values, and
// what the compiler has said of them, if the database has their code.
void explain_code_text(const Explain *e, const Kernel *k);
void explain_code_json(const Explain *e, const Kernel *k);
