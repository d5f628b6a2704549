// y = a b, of 16 x 16 floats of which 11 bits count.
#include "prelude.cuh"

KERNEL(32) kernel(float *y, const float *a, const float *b) {
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; half++) {
        float d[4] = {0};
        for (int k = 0; k < 16; k += 8) {
            u32 x[4];
            for (int i = 0; i < 4; i++)
                x[i] = tf32_of(a[(g + i % 2 * 8) * 16 + k + t + i / 2 * 4]);
            mma_tf32(d, x, tf32_of(b[(k + t) * 16 + half * 8 + g]),
                     tf32_of(b[(k + t + 4) * 16 + half * 8 + g]));
        }
        for (int i = 0; i < 4; i++) y[(g + i / 2 * 8) * 16 + half * 8 + 2 * t + i % 2] = d[i];
    }
}
