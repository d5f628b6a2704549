// cpu.h: what this machine's CPU offers.
#pragma once

#include <stdint.h>

#include "base/str.h"

uint32_t cpu_count(void);  // CPUs that this process may run on (affinity), at least 1
Str cpu_features(
    void);  // the best of "avx512bf16", "avx512", "avx2", "sse2" (see Plan.cpu_features)
int cpu_features_rank(
    Str name);  // 0 sse2 to 3 avx512bf16, -1 unknown: code runs where its rank is not higher
