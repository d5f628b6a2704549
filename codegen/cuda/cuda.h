// cuda.h: tile program -> CUDA C++ -> cubin. No GPU and no CUDA header is needed: NVRTC is
// opened when the first kernel is compiled. docs/cuda.md follows a kernel through every form.
#pragma once

#include "base/launch.h"
#include "codegen/emitter.h"

// A value that changes its layout inside the kernel at a cost: by shuffles between lanes, or by
// way of shared memory. What changes for nothing (packing, the turned forms of ldmatrix and
// wgmma by themselves) is not listed.
typedef struct {
    Str value;  // its name in the kernel's text
    int arg;    // the argument that it is loaded from; -1: it is computed
    Str how;
    int64_t copies, bytes;  // of shared memory of a block, at once; 0: shuffles alone
} CudaConversion;

typedef struct {
    Str text;  // CUDA C++: includes "prelude.cuh", and "stream.cuh", "chunk.cuh" or
               // "wgmma.cuh"; one function "kernel"
    Launch launch;
    const CudaConversion *conversions;
    uint32_t conversion_count;
} CudaKernel;

// The program for an architecture (CUDA_SM80, CUDA_SM90A, CUDA_SM100A). A pure function of the
// program, its tile sizes and knobs. False: the program has no form on this architecture
// (diag says which rule).
MUST_USE bool cuda_emit(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options,
                        CudaKernel *out);

// ---- NVRTC
typedef struct {
    Str cubin;
    uint32_t registers;     // of a thread
    uint32_t stack_bytes;   // of a thread
    uint32_t spill_bytes;   // stores and loads of spilled registers
    uint32_t shared_bytes;  // static
    Str notes;  // warnings of ptxas that cost speed (wgmma serialised, setmaxnreg ignored);
                // empty: none
    double seconds;  // of the thread on the CPU
} CudaCode;

// False: there is none (FAIL_ENVIRONMENT, naming what to install).
MUST_USE bool nvrtc_available(Diag *diag);
// "12.8": of the library that was found; empty: there is none.
Str nvrtc_version(Arena *arena);
// False: no NVRTC (see nvrtc_available), or the text does not compile (a
// bug of ours: its log is in diag). Thread-safe.
MUST_USE bool nvrtc_compile(Diag *diag, Arena *arena, Str text, IsaLevel arch, CudaCode *out);
// The same to PTX, for `show`.
MUST_USE bool nvrtc_ptx(Diag *diag, Arena *arena, Str text, IsaLevel arch, Str *out);

// How many instructions of a kind a cubin's machine code holds (for tests and explain).
typedef struct {
    uint32_t wgmma, tensor_copies, mma, instructions;
} CubinCounts;
MUST_USE bool cubin_count(Diag *diag, Str cubin, CubinCounts *out);

// prelude.cuh, stream.cuh, chunk.cuh and wgmma.cuh, as they are compiled into this program.
Str cuda_prelude(void);
Str cuda_stream_library(void);
Str cuda_chunk_library(void);
Str cuda_wgmma(void);
