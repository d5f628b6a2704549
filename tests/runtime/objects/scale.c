// scale.c: out[i] = weight[i % 4] * in[i] + i, through a table in read-only data and a call.
#include "tests/runtime/objects/kernels.h"

static const float weight[4] = {1.0F, 2.0F, 0.5F, -1.0F};

__attribute__((noinline)) static float weight_of(int64_t i) { return weight[i & 3]; }

void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    const float *in = args[0];  // (n)
    float *out = args[1];       // (n)
    (void)scratch;
    for (int64_t i = begin; i < end; i++)
        out[i] = weight_of(i) * in[i] + (float)i;
}
