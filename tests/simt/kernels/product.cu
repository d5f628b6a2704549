// y = z = 2 a b, of 16 x 16 elements, in two steps; b once with n innermost, once (bt) with k.
#include "prelude.cuh"

KERNEL(32) kernel(float *y, float *z, const bf16 *a, const bf16 *b, const bf16 *bt) {
    DYNAMIC_SHARED(shared);
    const u32 at = shared_address(shared);
    const int lane = threadIdx.x;
    for (int i = lane; i < 96; i += 32) {
        const bf16 *from = i < 32 ? a : i < 64 ? b : bt;
        copy_async16(at + i * 16, from + i % 32 * 8, 16);
    }
    copy_async_commit();
    copy_async_wait<0>();
    __syncwarp();
    u32 x[4];
    u32 w[4];
    u32 v[4];
    matrix_load_x4(x, at + lane % 16 * 32 + lane / 16 * 16);
    matrix_load_x4_turned(w, at + 512 + lane % 16 * 32 + lane / 16 * 16);
    matrix_load_x4(v, at + 1024 + (lane % 8 + lane / 16 * 8) * 32 + lane / 8 % 2 * 16);
    for (int half = 0; half < 2; half++) {
        float d[4] = {0};
        float e[4] = {0};
        for (int step = 0; step < 2; step++) {
            mma_bf16(d, x, w[2 * half], w[2 * half + 1]);
            mma_bf16(e, x, v[2 * half], v[2 * half + 1]);
        }
        for (int i = 0; i < 4; i++) {
            int place = (lane / 4 + i / 2 * 8) * 16 + half * 8 + 2 * (lane % 4) + i % 2;
            y[place] = d[i];
            z[place] = e[i];
        }
    }
}
