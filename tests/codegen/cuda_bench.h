// cuda_bench.h: tile programs as CUDA kernels, for tests: run on the CPU (tests/simt) under
// every schedule and compared with the interpreter; compiled by NVRTC. Kernels are collected
// first, so that one run of the C++ compiler does for many.
#pragma once

#include "codegen/cuda/writer.h"
#include "tests/ir/tile_bench.h"

typedef bool (*CudaSkeleton)(CudaWriter *w);

// Puts what must not be random into arguments that are filled.
typedef void (*CudaPrepare)(const TileProgram *p, void *const *args);

// For every element of the arguments that p writes, how far it may be off; in arrays of the
// arguments' types.
typedef void (*CudaLimits)(const TileProgram *p, void *const *args, void *const *limits);

typedef struct {
    double range;  // reals from (-range, range); whole numbers from [0, whole)
    int64_t whole;
    double tolerance;     // of f32 results: |got - expected| <= tolerance * (1 + |expected|)
    CudaLimits limits;    // in place of it; NULL: none
    int in_place[2];      // arguments that are the same memory; both 0: none are
    CudaPrepare prepare;  // NULL: nothing is left to do
} CudaCheck;

typedef struct {
    const TileProgram *program;
    CudaCheck check;
} CudaCase;

typedef struct {
    TileBench *bench;
    Vec(CudaCase) cases;
    Vec(CudaKernel) kernels;
    bool quick;  // run in one schedule instead of all
} CudaBench;

// Emits the program for the architecture and adds it. Fails the test if it has no form.
void cuda_bench_add(CudaBench *b, CudaSkeleton skeleton, const TileProgram *p, IsaLevel arch,
                    CudaCheck check);
// Runs all on the CPU; fails the test with the first difference. Skips without a C++ compiler.
void cuda_bench_run(CudaBench *b);
// Compiles all with NVRTC: no spills, no stack, no notes. Skips where there is none.
void cuda_bench_compile(CudaBench *b, IsaLevel arch);

// A test's own.
typedef struct {
    TileBench bench;
    CudaBench cuda;
} CudaFixture;
void cuda_fixture_open(CudaFixture *f);
// Each closes f.
void cuda_fixture_run(CudaFixture *f);
void cuda_fixture_compile(CudaFixture *f, IsaLevel arch);
