// rng.c: value i of a stream is a mix of seed and i. The seed is spread over 64 bits first, so
// that nearby seeds give unrelated streams; then the counter goes through three rounds of
// multiply and xor-shift.
#include "base/rng.h"

#include <math.h>

// A bijection on 64-bit words.
static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8a1f3b5c4927d);
    x ^= x >> 29;
    x *= UINT64_C(0x9a3c7b1ee2d5480b);
    x ^= x >> 31;
    x *= UINT64_C(0xc5b16e94a7f3d20d);
    x ^= x >> 30;
    return x;
}

uint64_t rng_u64(uint64_t seed, uint64_t counter) {
    uint64_t key = mix(seed + UINT64_C(0x9e3779b97f4a7c15));
    return mix(mix(counter ^ key) + (key << 17 | key >> 47));
}

double rng_uniform(uint64_t seed, uint64_t counter) {
    return (double)(rng_u64(seed, counter) >> 11) * 0x1p-53;
}

double rng_normal(uint64_t seed, uint64_t counter) {
    const double two_pi = 6.283185307179586476925286766559;
    // The two uniforms come from words 2i and 2i + 1 of a stream beside `seed`.
    uint64_t stream = seed ^ UINT64_C(0x5851f42d4c957f2d);
    double radius = sqrt(-2.0 * log(1.0 - rng_uniform(stream, counter * 2)));
    return radius * cos(two_pi * rng_uniform(stream, counter * 2 + 1));
}
