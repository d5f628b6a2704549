// state.h: a session on a GPU, shared by session_cuda.c, which opens it, and steps.c, which
// runs it.
#pragma once

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver.h"
#include "runtime/session.h"

typedef struct {
    CuFunction *function;
    bool set_cluster;  // at every launch: the code itself has no size of clusters
} CudaFunction;

typedef struct {
    CuAddress *args;
    void **params;       // of a launch: pointers to the arguments and tensor maps
    CublasltGemm *gemm;  // of a contraction
} CudaStep;

typedef struct {
    CudaStep *steps;
    CuGraphExec *graph;  // all steps; NULL before the first run
    CuGraphExec *timed;  // the same with an event around each step; NULL before it is needed
    CuEvent **events;    // with it: one more than steps
} CudaEntry;

typedef struct {
    const CudaDriver *cu;
    CudaDevice device;
    CuContext *context;
    CuStream *stream;
    CuAddress memory;    // the only allocation: tensors, constants, the arena, workspace
    CuAddress *tensors;  // of each tensor
    CuAddress constants, arena, workspace;
    Mapping host;  // copies of tensors; small inputs and outputs are in pinned memory
    void *pinned;
    CuModule **modules;  // distinct ones
    uint32_t module_count;
    CudaFunction *functions;  // of each kernel
    Cublaslt *lt;             // NULL: no contraction by the library
    CudaEntry *entries;
    bool careful;  // STRATA_CUDA_SYNC: waits for each step, so that a failure has its name
} CudaState;

// Addresses, parameters and tensor maps of all steps of an entry, once memory and kernels are
// there.
MUST_USE bool cuda_entry_bind(Diag *diag, Session *s, uint32_t entry);
// As Backend.run: all steps, by one graph launch.
MUST_USE bool cuda_entry_run(Diag *diag, Session *s, uint32_t entry);
void cuda_entry_release(Session *s, uint32_t entry);  // its graphs and events
