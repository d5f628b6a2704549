// tune_context.h: under which conditions this process measures, or uses what was measured.
#pragma once

#include "autotune/database.h"
#include "runtime/cuda/ask.h"

// Of a CUDA level: `gpu` is the card; NULL: none is here, so nothing was measured. The number
// of threads counts on the CPU alone.
TuneContext tune_context(Arena *arena, IsaLevel level, uint32_t threads, const CudaAnswer *gpu);
