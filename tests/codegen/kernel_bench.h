// kernel_bench.h: compiles tile programs at every level that this machine can run and compares
// what they store with the interpreter's results. Arguments and scratch end at pages that
// cannot be touched, so that a step too far is a crash.
#pragma once

#include "codegen/emitter.h"
#include "tests/ir/tile_bench.h"

typedef struct {
    int64_t low, high;  // whole numbers are drawn from [low, high)
    double range;       // reals from (-range, range)
    double tolerance;   // of f32 results: |got - expected| <= tolerance * (1 + |expected|)
    uint64_t seed;
    bool aligned;  // arguments begin at a page instead of ending at one
    // Of values that must fit together, after all are drawn; may be NULL.
    void (*prepare)(const TileProgram *p, void *const *args);
} KernelCheck;

// {0, 10, 2, 1e-5, 1, false, NULL}
KernelCheck kernel_check_usual(void);
// Compiles, runs and compares, at all levels. Fails the test with the first difference.
void kernel_check(TileBench *b, const TileProgram *p, KernelCheck check);
// The text of a program, checked.
void kernel_check_text(TileBench *b, const char *text, KernelCheck check);

// Compiles for the level and runs all tasks on these arguments.
void kernel_run(TileBench *b, const TileProgram *p, IsaLevel level, void *const *args);

// Skips the test if kernels cannot be compiled on this machine.
void kernel_need_compiler(void);

// Memory for an argument, and the means to call a kernel oneself.
typedef struct {
    void *base;  // mapping
    size_t bytes;
    void *data;
} GuardedMemory;
GuardedMemory guarded_new(size_t bytes, bool aligned);
void guarded_release(GuardedMemory *m);
