// machine.h: what a target's code runs on, as the tuning database knows it.
#pragma once

#include "autotune/peaks.h"
#include "cli/cli.h"

typedef struct {
    bool here;            // false: a GPU, and none is here that runs this code
    TuneContext context;  // of a GPU that is not here: nothing was measured in it
    Hash hash;            // of the context
    MachinePeaks peaks;   // if it is here
} Machine;

// The database is opened, if it can be.
MUST_USE bool machine_find(Cli *cli, IsaLevel level, Machine *out);
// The same; false where it is not here, which is said.
MUST_USE bool machine_need(Cli *cli, IsaLevel level, Machine *out);
// "NVIDIA H200, driver for CUDA 13.0 (sm_90a)".
Str machine_text(Arena *arena, const Machine *machine);
