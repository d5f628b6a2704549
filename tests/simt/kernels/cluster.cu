// Sums of halves of rows. Each block of a pair loads half of every row for both; a stage is free again
// when both have read it.
#include "prelude.cuh"

KERNEL(64) CLUSTER(2) kernel(float *y, const float *x, MAP_ARGUMENT map) {
    DYNAMIC_SHARED(shared);
    const u32 at = shared_address(shared);
    const u32 full = at + 2048;
    const u32 empty = full + 16;
    const u32 rank = cluster_rank();
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; i++) {
            barrier_init(full + 8 * i, 1);
            barrier_init(empty + 8 * i, 2);
        }
        barrier_init_done();
    }
    cluster_sync();
    const int pair = blockIdx.x / 2 * 8;
    for (int k = 0; k < 8; k++) {
        const u32 stage = k % 2;
        const u32 parity = k / 2 % 2;
        if (threadIdx.x == 0) {
            barrier_wait(empty + 8 * stage, parity ^ 1);
            barrier_expect(full + 8 * stage, 256);
            tensor_load_shared(at + stage * 1024 + rank * 128, &map, full + 8 * stage, 3,
                               rank * 32, pair + k);
        }
        __syncwarp();
        if (threadIdx.x >= 32) {
            const int lane = threadIdx.x % 32;
            const float *row = (const float *)(shared + stage * 1024);
            barrier_wait(full + 8 * stage, parity);
            const float sum = row[lane] + row[lane + 32];
            __syncwarp();
            if (lane < 2) barrier_arrive_at(empty + 8 * stage, lane);
            y[(blockIdx.x * 8 + k) * 32 + lane] = sum;
        }
    }
    cluster_sync();
}
