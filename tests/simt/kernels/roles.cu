// y = 2 a b, in two steps, of 128 x 16 x 16 elements, of which the last four rows of a are zeros: a warpgroup copies, two
// multiply, and the first writes what they leave in shared memory.
#include "prelude.cuh"

KERNEL_RESIDENT(384, 1) kernel(f16 *y, const f16 *a, const f16 *b) {
    DYNAMIC_SHARED(shared);
    const u32 at = shared_address(shared), at_b = at + 4096, to = at_b + 512, full = to + 4096;
    const int i = threadIdx.x, lane = i % 32;
    if (i == 0) {
        barrier_init(full, 128);
        barrier_init_done();
    }
    __syncthreads();
    if (i < 128) {
        registers_shrink<40>();
        for (int k = i; k < 256; k += 128) copy_async16(at + k * 16, a + k % 248 * 8, k < 248 ? 16 : 0);
        if (i < 32) copy_async16(at_b + i * 16, b + i * 8, 16);
        copy_async_arrive(full);
        named_barrier_sync(1, 384);
        for (int k = i; k < 256; k += 128) store16(y + k * 8, *(const Words4 *)(shared + 4608 + k * 16));
    } else {
        registers_grow<232>();
        const u32 row = (i - 128) / 32 * 512 + lane % 16 * 32 + lane / 16 * 16;
        u32 x[4], w[4];
        float d[4] = {0}, e[4] = {0};
        barrier_wait(full, 0);
        matrix_load_x4(x, at + row);
        matrix_load_x4_turned(w, at_b + lane % 16 * 32 + lane / 16 * 16);
        for (int step = 0; step < 2; step++) {
            mma_f16(d, x, w[0], w[1]);
            mma_f16(e, x, w[2], w[3]);
        }
        matrix_store_x4(to + row, f16_pair(d[0], d[1]), f16_pair(d[2], d[3]), f16_pair(e[0], e[1]),
                        f16_pair(e[2], e[3]));
        named_barrier_sync(1, 384);
    }
}
