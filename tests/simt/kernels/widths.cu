// y = a b for every width of b, one after the other: 64 x 16 and 16 x 8 to 16 x 256 elements.
#include "prelude.cuh"
#define WGMMA_N 8
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 16
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 24
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 32
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 40
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 48
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 56
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 64
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 72
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 80
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 88
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 96
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 104
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 112
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 120
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 128
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 136
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 144
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 152
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 160
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 168
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 176
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 184
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 192
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 200
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 208
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 216
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 224
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 232
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 240
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 248
#include "wgmma.cuh"
#undef WGMMA_N
#define WGMMA_N 256
#include "wgmma.cuh"
#undef WGMMA_N

template <int N> DEVICE float *multiply(float *y, u64 a, u64 b) {
    float sums[N / 2];
    wgmma_hold(sums);
    wgmma_fence();
    wgmma_bf16<N>(sums, a, b, 0);
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(sums);
    const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    UNROLL for (int i = 0; i < N / 2; i++)
        y[(row + i % 4 / 2 * 8) * N + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i];
    return y + 64 * N;
}

KERNEL(128) kernel(float *y, const bf16 *a, const bf16 *b, MAP_ARGUMENT map_a, MAP_ARGUMENT map_b) {
    DYNAMIC_SHARED(shared);
    const u32 at = shared_address(shared), full = at + 5 * 8192;
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init_done();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        barrier_expect(full, 5 * 8192);
        tensor_load(at, &map_a, full, 0, 0);
        for (int i = 0; i < 4; i++) tensor_load(at + (i + 1) * 8192, &map_b, full, 0, i * 64);
    }
    barrier_wait(full, 0);
    const u64 x = wgmma_tile_along_k(at), w = wgmma_tile_along_k(at + 8192);
    y = multiply<8>(y, x, w);
    y = multiply<16>(y, x, w);
    y = multiply<24>(y, x, w);
    y = multiply<32>(y, x, w);
    y = multiply<40>(y, x, w);
    y = multiply<48>(y, x, w);
    y = multiply<56>(y, x, w);
    y = multiply<64>(y, x, w);
    y = multiply<72>(y, x, w);
    y = multiply<80>(y, x, w);
    y = multiply<88>(y, x, w);
    y = multiply<96>(y, x, w);
    y = multiply<104>(y, x, w);
    y = multiply<112>(y, x, w);
    y = multiply<120>(y, x, w);
    y = multiply<128>(y, x, w);
    y = multiply<136>(y, x, w);
    y = multiply<144>(y, x, w);
    y = multiply<152>(y, x, w);
    y = multiply<160>(y, x, w);
    y = multiply<168>(y, x, w);
    y = multiply<176>(y, x, w);
    y = multiply<184>(y, x, w);
    y = multiply<192>(y, x, w);
    y = multiply<200>(y, x, w);
    y = multiply<208>(y, x, w);
    y = multiply<216>(y, x, w);
    y = multiply<224>(y, x, w);
    y = multiply<232>(y, x, w);
    y = multiply<240>(y, x, w);
    y = multiply<248>(y, x, w);
    y = multiply<256>(y, x, w);
}
