// tuning_history.h: how the kernels of a graph became faster, from the trials in the database.
#pragma once

#include "cli/machine.h"

// After trial i (from 0) all of the graph's tuned kernels together, each as often as it runs,
// took ms[i] with the best schedules known then.
typedef struct {
    const double *ms;
    uint32_t count;    // 0: nothing was tuned
    uint32_t regions;  // distinct ones with a measurement
} TuningHistory;

TuningHistory tuning_history(Cli *cli, Hash context, const Graph *g);
