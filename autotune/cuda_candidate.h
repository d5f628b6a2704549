// cuda_candidate.h: a candidate on a GPU: a plan whose entries run it once, or often enough to
// be timed, over several sets of its tensors, so that they do not all come from the L2 cache.
#pragma once

#include "autotune/candidate.h"
#include "runtime/device.h"

struct CudaCandidate {
    Session *session;
    const Plan *plan;
    const Workspace *workspace;
};

// c->runs says how often one call of cuda_candidate_time runs the candidate. The inputs are
// those of the workspace, every second time the skewed ones where there are such. The GPU is
// used from here on, so this process must not fork any more.
MUST_USE bool cuda_candidate_load(Diag *diag, Arena *arena, const Workspace *w,
                                  LoadedCandidate *c);
void cuda_candidate_unload(LoadedCandidate *c);
// Outputs go from and to the workspace.
MUST_USE bool cuda_candidate_once(Diag *diag, const LoadedCandidate *c);
MUST_USE bool cuda_candidate_time(Diag *diag, const LoadedCandidate *c);
