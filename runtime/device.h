// device.h: a loaded plan on a device: memory for its tensors, code ready to run.
#pragma once

#include "runtime/plan.h"

typedef struct Session Session;

// Maps the code, allocates every tensor and the arenas (once; nothing is allocated while
// running). threads 0: all.
MUST_USE bool session_open(Diag *diag, const Plan *plan, uint32_t threads, Session **out);
void session_close(Session *s);
const Plan *session_plan(const Session *s);

// The tensor's memory on the host, plan_tensor_bytes() long, 64-byte aligned, valid until
// close.
void *session_tensor(Session *s, uint32_t tensor);
// Draws parameters and states from their initialisers (init.h).
void session_init(Session *s, uint64_t seed);
// Checks integer inputs against index_below (false, naming the place), then runs every step.
MUST_USE bool session_run(Diag *diag, Session *s, const PlanEntry *entry);

// Measured time of each step of the last session_run, in ns; enable first.
void session_profile(Session *s, bool on);
const int64_t *session_step_ns(const Session *s, uint32_t *count);
