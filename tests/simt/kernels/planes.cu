// y = 7 x in each of two blocks, x as a tensor of 3 dimensions and of 4, of which each block loads half for
// both, and once more for itself; z is x, stored as a tensor of 4.
#include "prelude.cuh"

KERNEL(32) CLUSTER(2) kernel(float *y, float *z, const float *x, MAP_ARGUMENT x3, MAP_ARGUMENT x4,
                             MAP_ARGUMENT z4) {
    DYNAMIC_SHARED(shared);
    const u32 at = shared_address(shared), full = at + 6144, rank = cluster_rank();
    if (threadIdx.x == 0) {
        tensor_map_prefetch(&x3);
        barrier_init(full, 1);
        barrier_init_done();
    }
    cluster_sync();
    if (threadIdx.x == 0) {
        barrier_expect(full, 6144);
        for (u32 k = 0; k < 8; k++) {
            const u32 to = at + k * 256;
            if (k / 2 % 2 == rank) {
                tensor_load_shared(to, &x3, full, 3, 0, k % 2 * 2, k / 2);
                tensor_load_shared(to + 2048, &x4, full, 3, 0, k % 2 * 2, k / 2 % 2, k / 4);
            }
            tensor_load(to + 4096, &x4, full, 0, k % 2 * 2, k / 2 % 2, k / 4);
        }
    }
    __syncwarp();
    barrier_wait(full, 0);
    const float *f = (const float *)shared;
    for (int i = threadIdx.x; i < 512; i += 32) y[rank * 512 + i] = f[i] + 2 * f[512 + i] + 4 * f[1024 + i];
    if (rank == 0 && threadIdx.x == 0) {
        for (u32 k = 0; k < 8; k++) tensor_store(&z4, at + k * 256, 0, k % 2 * 2, k / 2 % 2, k / 4);
        bulk_commit();
        bulk_wait<0>();
    }
    cluster_sync();
}
