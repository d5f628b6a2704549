// cuda_peaks.h: what a GPU can do at most.
#pragma once

#include "autotune/database.h"
#include "runtime/cuda/driver.h"

// By its maker's sheet.
MachinePeaks cuda_peaks_sheet(IsaLevel level);
// From the database; or the bandwidth measured, by this process, and remembered, and the rest
// from the sheet. `db` may be NULL.
MachinePeaks cuda_peaks_measured(Database *db, const TuneContext *context,
                                 const CudaDevice *device);
