// bench.h: how long an entry of a plan takes, as a whole and step by step.
#pragma once

#include "autotune/measure.h"
#include "autotune/peaks.h"
#include "runtime/device.h"

typedef struct {
    Str name;
    uint32_t launches;   // a run
    uint32_t registers;  // of a thread of a GPU; 0: not known, or no kernel of ours
    // Of all launches together.
    double flops, bytes, floor_ns;
    Interval ns;
} BenchKernel;

typedef struct {
    Interval ns;  // a run
    uint32_t runs;
    double flops, bytes;
    double floor_ns;       // of all steps, one after another
    BenchKernel *kernels;  // longest first
    uint32_t kernel_count;
} Bench;

typedef struct {
    Session *session;
    const PlanEntry *entry;
    double seconds;
    MachinePeaks peaks;
} BenchRequest;
// Draws parameters and inputs, runs the entry a few times to warm up, then for about `seconds`.
MUST_USE bool bench_entry(Diag *diag, Arena *arena, const BenchRequest *request, Bench *out);
