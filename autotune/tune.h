// tune.h: finds fast schedules for all regions of some graphs, and remembers every attempt.
#pragma once

#include <signal.h>

#include "autotune/graph_to_plan.h"
#include "autotune/measure.h"

typedef struct {
    Str region;                         // where the last trial was
    uint32_t regions, regions_done;     // distinct ones; done: nothing is left to try
    uint32_t trials, failures;          // of this session so far
    TrialStatus last;                   // what the last trial gave
    double last_ns, best_ns, least_ns;  // of this region; least_ns: its floor
    double seconds_left;                // estimate
} TuneProgress;

typedef struct {
    const PlanRequest *request;  // the graphs; target.db is not NULL
    double seconds;              // budget; 0: any
    uint32_t trials;             // budget; 0: any
    double patience;             // seconds that one candidate may take; 0: the usual
    double check_points;         // see reference_open; 0: the usual
    MeasureOptions measure;      // of measure_defaults()
    // Set (by a signal handler): tuning ends at once. What was measured is in the database. May
    // be NULL.
    const volatile sig_atomic_t *stop;
    void (*progress)(void *context, const TuneProgress *progress);  // after each trial; or NULL
    void *progress_context;
} TuneRequest;

typedef struct {
    uint32_t regions, regions_done, regions_busy;  // busy: another process tunes them
    uint32_t trials, failures;
    // All kernels of the entries together, each as often as it runs: with the prior's schedules
    // (of regions where that was measured; else as they are now), with the best known, and at
    // least.
    double prior_ns, best_ns, least_ns;
    uint64_t unsaved;  // trials that the database could not take
    bool interrupted;
} TuneReport;

// False: something that tuning needs is missing.
MUST_USE bool tune(Diag *diag, Arena *arena, const TuneRequest *request, TuneReport *out);
