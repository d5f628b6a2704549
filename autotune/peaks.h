// peaks.h: what this machine can do at most: the floor of every kernel's time.
#pragma once

#include "autotune/database.h"
#include "runtime/cpu/pool.h"

// From the database, or measured (half a second) and remembered. `db` may be NULL.
MUST_USE bool machine_peaks(Diag *diag, Database *db, const TuneContext *context,
                            MachinePeaks *out);
// The least time that the work can take, in ns, if its data come from memory.
double floor_ns(const MachinePeaks *peaks, double flops, double bytes);
