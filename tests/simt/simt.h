// simt.h: runs the text of CUDA kernels on the CPU, without a GPU and without CUDA: g++ or
// clang++ compiles it against tests/simt/prelude.cuh, and a machine of fibers runs it
// (machine.h) in a child process, under schedules that are as nasty as CUDA's rules allow.
// docs/simt.md says what it can see.
//     Simt *simt;
//     if (!simt_build(diag, arena, kernels, count, &simt)) ...
//     SimtArg args[] = {{"y", y, sizeof y}, {"x", x, sizeof x}};
//     if (!simt_check(diag, simt, 0, (SimtArgs){args, 2})) ...  // in all schedules
//     simt_close(simt);  // y is what they computed
#pragma once

#include "codegen/cuda/cuda.h"

typedef enum { SIMT_FORWARD, SIMT_REVERSE, SIMT_RANDOM, SIMT_STARVE, SIMT_ORDERS } SimtOrder;
// When asynchronous work is done: at once, only when somebody needs it, or at any time between.
typedef enum { SIMT_EAGER, SIMT_LATE, SIMT_ANY_TIME, SIMT_COMPLETIONS } SimtCompletion;
typedef struct {
    SimtOrder order;  // in which threads take turns; SIMT_STARVE: the last ones hardly ever
    SimtCompletion completion;
    uint64_t seed;
} SimtSchedule;
const char *simt_schedule_text(SimtSchedule s);  // "random order, late completion"

// A pointer argument: `bytes` of memory that the kernel reads and writes. Arguments that start
// at the same address are one; otherwise they must not overlap.
typedef struct {
    const char *name;
    void *data;
    size_t bytes;
} SimtArg;
typedef struct {
    const SimtArg *ptr;
    uint32_t len;
} SimtArgs;

typedef struct Simt Simt;

// Is there a C++ compiler ($CXX, g++ or clang++)?
bool simt_available(void);
// Compiles the texts together, as one object. False: no compiler (FAIL_ENVIRONMENT), or a text
// does not compile (its messages are in diag). Close it.
MUST_USE bool simt_build(Diag *diag, Arena *arena, const CudaKernel *kernels, uint32_t count,
                         Simt **out);
// The same of texts that bring their prelude with them, on ptx.cuh (ptx_text.h).
MUST_USE bool simt_build_plain(Diag *diag, Arena *arena, const CudaKernel *kernels,
                               uint32_t count, Simt **out);
void simt_close(Simt *simt);

// Runs a kernel once; its arguments are the Launch's pointers, in order. False: what the kernel
// did wrong (deadlock, divergence, access out of range, race, ...) is in diag, and the
// arguments are as they were.
MUST_USE bool simt_launch(Diag *diag, const Simt *simt, uint32_t kernel, SimtArgs args,
                          SimtSchedule schedule);
// Runs it in every order with every completion, from the same values each time; false also if
// results differ in any bit.
MUST_USE bool simt_check(Diag *diag, const Simt *simt, uint32_t kernel, SimtArgs args);
