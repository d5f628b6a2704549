// cuda_kernels.h: the programs of whole models for GPUs, each once; compiled by NVRTC on two
// threads.
#pragma once

#include "autotune/cuda_compile.h"
#include "autotune/graph_to_plan.h"
#include "cli/pipeline.h"

typedef struct {
    const TileProgram *program;
    IsaLevel arch;
    EmittedKernel code;  // without its object
    double seconds;      // of compiling it
    CubinCounts counts;
    char failure[400];  // it does not compile, and why; empty: it does
} CompiledKernel;

typedef struct {
    Arena arena;
    Diag diag;
    Map seen;  // program and architecture
    Vec(CompiledKernel) kernels;
} CudaKernels;

void cuda_kernels_init(CudaKernels *k);
void cuda_kernels_release(CudaKernels *k);

typedef struct {
    const char *path;
    EntryKind kind;
    Settings settings;
    Bindings bindings;
    IsaLevel arch;
    DType storage;
} CudaModel;
// Adds the programs of an entry that are not there yet, with untuned schedules. False: diag
// says why.
MUST_USE bool cuda_kernels_add(CudaKernels *k, const CudaModel *m);
void cuda_kernels_compile(CudaKernels *k);
void cuda_kernel_compile(CompiledKernel *k);
