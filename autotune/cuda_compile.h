// cuda_compile.h: the machine code of a tile program for a GPU: from the database, or by NVRTC.
// A kernel of rows has its shape by an estimate of its registers; where its code shows that
// they are too few, it gets one that the estimate gives fewer.
#pragma once

#include "autotune/database.h"
#include "codegen/cuda/cuda.h"

typedef struct {
    IsaLevel level;
    Str emitter;        // its version
    Database *db;       // NULL: nothing is remembered
    const Diag *lines;  // where spans of the model are looked up; NULL: nowhere
    bool known_only;    // nothing is compiled
} CudaCompiler;

typedef struct {
    CudaKernel kernel;
    Hash key;    // under which its code is in the database: see cuda_code_key
    bool known;  // is there code?
    EmittedKernel code;
} CudaCompiled;

// False: the program has no form, or does not compile (diag says why).
MUST_USE bool cuda_compile(Diag *diag, Arena *arena, const CudaCompiler *c,
                           const TileProgram *p, CudaCompiled *out);
// Of the text that cuda_emit gives, with lines or without.
Hash cuda_code_key(Str text, IsaLevel level, Str emitter);
