// fma.h: multiply-adds of f32 in registers, and nothing else: what this machine does at most.
#pragma once

#include "runtime/cpu/pool.h"

void fma_run(Pool *pool, double flops);  // as many, or a few more
