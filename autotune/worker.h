// worker.h: candidates run in a process of their own, so that one that crashes or hangs costs
// itself and nothing else.
//
//     parent                            child
//     lowers, compiles                  (forked: inherits code, inputs, expected values)
//     waits, stores each result   <---  check, time, result into shared memory, one byte
//     kills it when it hangs, and starts another one behind the candidate that did it
#pragma once

#include <signal.h>

#include "autotune/candidate.h"
#include "autotune/check.h"
#include "autotune/measure.h"

enum { WORKER_BATCH_MAX = 16, WORKER_NOTE = 160 };
// In the place of a candidate's number.
#define WORKER_INCUMBENT UINT32_MAX

typedef struct {
    TrialStatus status;
    Measurement measured;  // OK and SLOW; times in the incumbent's terms
    Hash output;
    char note[WORKER_NOTE];
} WorkerResult;

typedef struct {
    const Workspace *workspace;
    Reference *reference;
    IsaLevel level;
    double least_ns;  // of a GPU: the region's floor
    uint32_t threads;
    const Candidate *incumbent;  // NULL: none yet, so the first that is right becomes it
    double incumbent_ns;         // its median in the database
    const Candidate *candidates;
    uint32_t count;  // at most WORKER_BATCH_MAX
    MeasureOptions measure;
    double patience;                    // seconds that one candidate may take in all
    double deadline;                    // by clock_seconds(): no further candidate; 0: none
    const volatile sig_atomic_t *stop;  // set: give up at once; may be NULL
    // Called in the parent as soon as a result is there. If the incumbent itself fails, that is
    // the only result.
    void (*done)(void *context, uint32_t candidate, const WorkerResult *result);
    void *context;
} WorkerBatch;

// False: no process could be started. Interrupted or late is no failure: the rest is not done.
MUST_USE bool worker_run(Diag *diag, const WorkerBatch *batch);
