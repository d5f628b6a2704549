// bench.h: how long a plan's steps take where they belong: in the plan, one after another.
#pragma once

#include <signal.h>

#include "autotune/database.h"
#include "autotune/measure.h"
#include "runtime/device.h"

typedef struct {
    Session *session;  // with its parameters and inputs set
    const PlanEntry *entry;
    MachinePeaks peaks;
    double seconds;                     // about that long; at least a few runs
    const volatile sig_atomic_t *stop;  // set: what was measured so far; may be NULL
} BenchRequest;

typedef struct {
    Str name;  // of the kernel, or "gemm", "clear", "copy"
    StepKind kind;
    uint32_t line;        // in the model's source; 0: unknown
    Interval time;        // ns
    double flops, bytes;  // of least traffic
    double least_ns;      // the floor; least_ns / time.median is the fraction of it
} BenchStep;

typedef struct {
    BenchStep *steps;  // one a step of the entry
    uint32_t step_count;
    uint32_t runs;
    Interval whole;                 // a run of the entry, ns, without looking at its steps
    double flops, bytes, least_ns;  // sums over the steps
} BenchReport;

// False: a run failed, or none was finished.
MUST_USE bool bench_plan(Diag *diag, Arena *arena, const BenchRequest *request,
                         BenchReport *out);
