// device.h: a loaded plan on a device: memory for its tensors, code ready to run. The plan's
// target says which: this machine's CPU, or a GPU.
#pragma once

#include "runtime/plan.h"

typedef struct Session Session;

// Maps the code, allocates every tensor and the arenas (once; nothing is allocated while
// running). threads 0: all.
MUST_USE bool session_open(Diag *diag, const Plan *plan, uint32_t threads, Session **out);
void session_close(Session *s);
const Plan *session_plan(const Session *s);

// ---- tensors. Both give plan_tensor_bytes() of host memory, 64-byte aligned, which stays
// where it is until close; on the CPU it is what kernels work on, so nothing is copied.
// Elsewhere a run first takes over what was written here, and reading fetches what a run has
// changed; what is not asked for is not transferred. Running never changes inputs.

// The tensor's value. NULL: it could not be fetched (diag says why).
MUST_USE const void *session_read(Diag *diag, Session *s, uint32_t tensor);
// The `bytes` bytes at `offset` of the value, and no others.
MUST_USE const void *session_read_part(Diag *diag, Session *s, uint32_t tensor, size_t offset,
                                       size_t bytes);
// Memory to be written whole before the next run; call again before writing again. That of an
// input still holds what was written last.
MUST_USE void *session_write(Session *s, uint32_t tensor);
// Draws parameters and states from their initialisers (init.h).
void session_init(Session *s, uint64_t seed);

// Checks integer inputs against index_below (false, naming the place), then runs every step.
MUST_USE bool session_run(Diag *diag, Session *s, const PlanEntry *entry);

// Measured time of each step of the last session_run, in ns; enable first.
void session_profile(Session *s, bool on);
const int64_t *session_step_ns(const Session *s, uint32_t *count);
