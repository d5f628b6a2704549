// peaks.h: what this machine can do at most: the floor of every kernel's time.
#pragma once

#include "autotune/database.h"
#include "runtime/cpu/pool.h"

// From the database, or measured (about a second) and remembered; of a GPU that was never
// measured by its maker's sheet. `db` may be NULL.
MUST_USE bool machine_peaks(Diag *diag, Database *db, const TuneContext *context,
                            MachinePeaks *out);
// Measured in any case. The database keeps the best of all measurements, since other work on
// the machine only makes it look slower.
MUST_USE bool machine_peaks_measure(Diag *diag, Database *db, const TuneContext *context,
                                    MachinePeaks *out);
// One pass over the data, a multiple of 64 bytes aligned to 64. There are a few forms of
// reading, and which is fastest differs between machines.
enum { PEAK_READ_FORMS = 3 };
double peak_read_seconds(Pool *pool, IsaLevel level, int form, const void *data, size_t bytes);

// The least time that the work can take, in ns: its operations at the peak rate (flops as many
// as take as long in f32), its bytes from the closest memory that they fit in.
double floor_ns(const MachinePeaks *peaks, double f32_flops, double bytes);
