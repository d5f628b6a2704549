// plan_sample.h: a small plan with one of everything, for tests. No machine code is in it: its
// objects are text.
#pragma once

#include "runtime/plan.h"

// Everything lives in the arena.
Plan *plan_sample(Arena *arena);
// The same for a GPU: kernels have a launch, and the one that runs a tensor map.
Plan *plan_sample_cuda(Arena *arena);
// Corrects the checksum and the length in the header of an artifact that a test has changed.
void plan_sample_seal(unsigned char *bytes, size_t n);
