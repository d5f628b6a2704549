// y[way] = 2 a b, of 64 x 64 elements, from tiles that the copy engine swizzles by 128 bytes, in all
// four ways that they can lie.
#include "prelude.cuh"
#define WGMMA_N 64
#include "wgmma.cuh"

template <int ACROSS_A, int ACROSS_B> DEVICE void multiply(float *y, u32 a, u32 b) {
    float sums[32];
    u64 tile_a = ACROSS_A ? wgmma_tile_across_k(a, 8192) : wgmma_tile_along_k(a);
    u64 tile_b = ACROSS_B ? wgmma_tile_across_k(b, 8192) : wgmma_tile_along_k(b);
    wgmma_hold(sums);
    wgmma_fence();
    for (int j = 0; j < 8; j++)
        wgmma_bf16<64, ACROSS_A, ACROSS_B>(sums, tile_a + j % 4 * (ACROSS_A ? 128 : 2),
                                           tile_b + j % 4 * (ACROSS_B ? 128 : 2), j > 0);
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(sums);
    const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    for (int i = 0; i < 32; i++)
        y[(row + i % 4 / 2 * 8) * 64 + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i];
}

KERNEL(128) kernel(float *y, const bf16 *a, const bf16 *at, const bf16 *b, const bf16 *bt,
                   MAP_ARGUMENT map_a, MAP_ARGUMENT map_at, MAP_ARGUMENT map_b,
                   MAP_ARGUMENT map_bt) {
    DYNAMIC_SHARED(shared);
    const u32 tiles = shared_address(shared);
    const u32 full = tiles + 4 * 8192;
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init_done();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        barrier_expect(full, 4 * 8192);
        tensor_load(tiles, &map_a, full, 0, 0);
        tensor_load(tiles + 8192, &map_at, full, 0, 0);
        tensor_load(tiles + 2 * 8192, &map_b, full, 0, 0);
        tensor_load(tiles + 3 * 8192, &map_bt, full, 0, 0);
    }
    barrier_wait(full, 0);
    multiply<0, 0>(y, tiles, tiles + 3 * 8192);
    multiply<1, 0>(y + 4096, tiles + 8192, tiles + 3 * 8192);
    multiply<0, 1>(y + 2 * 4096, tiles, tiles + 2 * 8192);
    multiply<1, 1>(y + 3 * 4096, tiles + 8192, tiles + 2 * 8192);
}
