// ask.h: what GPU there is, without using it.
#pragma once

#include "runtime/cuda/driver.h"

typedef struct {
    CudaDevice device;
    char driver[32];  // the newest CUDA that it knows: "13.0"
} CudaAnswer;

// The first GPU that runs code for `arch`; empty: for which code can be made at all. Another
// process asks: a driver that has been started here could not be used by children of this one.
// False: there is none, and diag, if not NULL, says so.
MUST_USE bool cuda_ask(Diag *diag, Str arch, CudaAnswer *out);
// The same by this process itself.
MUST_USE bool cuda_look(Diag *diag, Arena *arena, Str arch, CudaAnswer *out);
