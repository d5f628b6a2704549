// compile_kernels.h: machine code for tile programs: from the database, or made by the emitter
// on several threads.
#pragma once

#include "autotune/database.h"
#include "codegen/emitter.h"

typedef struct {
    IsaLevel level;
    uint32_t threads;  // for compiling
    Database *db;      // NULL: nothing is remembered
    bool line_tables;  // objects for the CPU say which line an instruction comes from
    // Called from the calling thread now and then; may be NULL.
    void (*progress)(void *context, uint32_t done, uint32_t count);
    void *progress_context;
} CompileTarget;

// The code of each program, in the arena; equal programs (by tile_hash, and by their lines
// where there are line tables) are compiled once. The model's lines are looked up in diag, if
// it has sources. NULL: one does not compile (diag says why).
MUST_USE EmittedKernel *compile_kernels(Diag *diag, Arena *arena, const CompileTarget *target,
                                        const TileProgram *const *programs, uint32_t count);
