// gemm.h: f32 contractions by a library (oneDNN), or by plain loops where Strata was built
// without it.
#pragma once

#include "runtime/cpu/pool.h"

bool gemm_available(void);  // a library is behind gemm_run
// c = op(a) op(b) for every batch index. How it is cut depends on the shape alone, so the
// result is the same for any number of threads.
void gemm_run(Pool *pool, const PlanGemm *g, const float *a, const float *b, float *c);
