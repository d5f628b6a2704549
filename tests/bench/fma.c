// fma.c: chains of multiply-adds, enough of them to hide how long one takes.
#include "tests/bench/fma.h"

enum { LANES = 16, CHAINS = 12, STEPS = 2000, THREADS_MOST = 1024, LINE_FLOATS = 16 };

typedef float Vector __attribute__((vector_size(LANES * 4)));

static void pieces_run(void *context, int64_t begin, int64_t end, uint32_t thread) {
    float *out = context;
    Vector sum[CHAINS], x = {0}, y = {0};
    for (int i = 0; i < LANES; i++) {
        x[i] = 0.5F + (float)begin;
        y[i] = 0.25F;
    }
    for (int i = 0; i < CHAINS; i++)
        sum[i] = x;
    for (int64_t i = begin * STEPS; i < end * STEPS; i++)
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++)
            sum[j] = sum[j] * x + y;
    for (int j = 1; j < CHAINS; j++)
        sum[0] += sum[j];
    out[(int64_t)thread * LINE_FLOATS] = sum[0][0];
}

void fma_run(Pool *pool, double flops) {
    static const double piece = 2.0 * STEPS * CHAINS * LANES;
    float out[THREADS_MOST * LINE_FLOATS];
    pool_run(pool, (int64_t)(flops / piece) + 1, pieces_run, out);
}
