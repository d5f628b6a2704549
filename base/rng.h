// rng.h: counter-based random numbers: value i of stream `seed` does not depend on any other
// value.
#pragma once

#include <stdint.h>

uint64_t rng_u64(uint64_t seed, uint64_t counter);
double rng_uniform(uint64_t seed, uint64_t counter);  // in [0, 1), 53 bits
double rng_normal(uint64_t seed, uint64_t counter);   // mean 0, deviation 1 (Box-Muller)
