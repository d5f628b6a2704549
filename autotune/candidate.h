// candidate.h: one schedule of one region, compiled, and its running.
#pragma once

#include "autotune/compile_kernels.h"
#include "autotune/workspace.h"
#include "runtime/cpu/pool.h"
#include "runtime/object.h"

typedef struct {
    Schedule schedule;
    uint32_t rank;               // see Trial
    const TileKernels *kernels;  // what it runs, one after another
    const EmittedKernel *code;   // one a kernel; NULL for the library's call
    PlanGemm gemm;
    uint32_t operands[3];  // arguments of the kernel that are a, b and c
} Candidate;

// Lowers the region. For schedules that ask for the library: false if the region is no product
// of matrices; else library_takes says whether there is one that does it.
MUST_USE bool candidate_lower(const Regions *regions, const Region *region,
                              const Schedule *schedule, Arena *arena, Candidate *out);
// Two candidates of one region with the same hash run the same code.
Hash candidate_hash(const Candidate *c);
// As many as take as long at the peak of f32: half, where the level multiplies pairs of bf16.
double program_f32_flops(const TileProgram *p, IsaLevel level);
double candidate_f32_flops(const Candidate *c, IsaLevel level);
double candidate_bytes(const Candidate *c);

typedef struct CudaCandidate CudaCandidate;

// A candidate with its memory, ready to run.
typedef struct {
    const Candidate *candidate;  // set before loading, and so are the next four
    IsaLevel level;
    double least_ns;  // of a GPU: the region's floor
    Pool *pool;       // of the CPU
    Diag *diag;       // of a GPU: why running failed
    Object *objects;  // one a kernel
    void ***args;     // of each kernel
    void ***skewed;   // likewise, with the workspace's skewed data; NULL: there is none
    CudaCandidate *cuda;
    uint32_t runs;  // that one call of candidate_run makes
    bool failed;    // a run on a GPU, which then cannot be used by this process any more
} LoadedCandidate;
MUST_USE bool candidate_load(Diag *diag, Arena *arena, const Workspace *w, LoadedCandidate *c);
void candidate_unload(LoadedCandidate *c);
// Once, on what is in the workspace. False: see `failed`.
MUST_USE bool candidate_run_once(LoadedCandidate *c);
void candidate_run(void *loaded);  // a LoadedCandidate; of the type that measure.h wants
