// y = 2 x, rows of 256 bytes through a ring of 3 stages: one warp loads, another computes, and its
// results leave in bulk.
#include "prelude.cuh"

enum { STAGES = 3, STEPS = 10 };

KERNEL(64) kernel(float *y, const float *x) {
    DYNAMIC_SHARED(shared);
    const u32 at = shared_address(shared);
    const u32 full = at + 2 * STAGES * 256;
    const u32 empty = full + 8 * STAGES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(full + 8 * i, 1);
            barrier_init(empty + 8 * i, 1);
        }
        barrier_init_done();
    }
    __syncthreads();
    u32 stage = 0;
    u32 parity = threadIdx.x < 32;
    for (int k = 0; k < STEPS; k++) {
        if (threadIdx.x == 0) {
            barrier_wait(empty + 8 * stage, parity);
            barrier_expect(full + 8 * stage, 256);
            bulk_load(at + stage * 256, x + 64 * k, 256, full + 8 * stage);
        } else if (threadIdx.x >= 32) {
            const float *from = (const float *)(shared + stage * 256);
            float *to = (float *)(shared + (STAGES + stage) * 256);
            const int lane = threadIdx.x % 32;
            barrier_wait(full + 8 * stage, parity);
            if (lane == 0) bulk_wait_read<STAGES - 1>();
            __syncwarp();
            to[lane] = 2 * from[lane];
            to[lane + 32] = 2 * from[lane + 32];
            async_fence();
            __syncwarp();
            if (lane == 0) {
                barrier_arrive(empty + 8 * stage);
                bulk_store(y + 64 * k, at + (STAGES + stage) * 256, 256);
                bulk_commit();
            }
        }
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
    if (threadIdx.x == 32) bulk_wait<0>();
}
