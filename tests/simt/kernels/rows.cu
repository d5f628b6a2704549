// Sums of rows of 2048 elements.
#include "prelude.cuh"

KERNEL(256) kernel(float *__restrict__ y, const bf16 *__restrict__ x) {
    __shared__ float parts[8];
    const Words4 v = load16(x + blockIdx.x * 2048 + threadIdx.x * 8);
    float sum = 0;
    UNROLL for (int i = 0; i < 4; i++) sum += bf16_low(v.w[i]) + bf16_high(v.w[i]);
    UNROLL for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(~0U, sum, d);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    __syncthreads();
    float total = 0;
    UNROLL for (int i = 0; i < 8; i++) total += parts[i];
    if (threadIdx.x == 0) y[blockIdx.x] = total;
}
