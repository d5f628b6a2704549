// y[i] = x[i] + x[i ^ 63], rows of 64 words through a ring of 3 stages.
#include "prelude.cuh"

enum { STAGES = 3, STEPS = 8 };

KERNEL(64) kernel(float *y, const float *x) {
    __shared__ float ring[STAGES * 64];
    const int i = threadIdx.x;
    for (int k = 0; k < STAGES - 1; k++) {
        copy_async4(shared_address(&ring[k * 64 + i]), x + k * 64 + i, 4);
        copy_async_commit();
    }
    for (int k = 0; k < STEPS; k++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();
        const int next = k + STAGES - 1;
        if (next < STEPS)
            copy_async4(shared_address(&ring[next % STAGES * 64 + i]), x + next * 64 + i, 4);
        copy_async_commit();
        y[k * 64 + i] = ring[k % STAGES * 64 + i] + ring[k % STAGES * 64 + (i ^ 63)];
    }
    copy_async_wait<0>();
}
