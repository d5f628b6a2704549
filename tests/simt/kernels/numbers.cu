// What becomes of four floats a thread in other formats, 16 bytes at a time.
#include "prelude.cuh"

KERNEL(32) kernel(u32 *y, const float *x) {
    const Words4 v = load16_once(x + threadIdx.x * 4);
    float f[4];
    for (int i = 0; i < 4; i++) f[i] = __uint_as_float(v.w[i]);
    const u32 pair = bf16_pair(f[0], f[1]);
    const f16 half = f16_of(f[2]);
    const Words4 formats = {{pair, f16_pair(f[1], f[2]), (u32)bf16_of(f[2]).bits << 16 | half.bits,
                             __float_as_uint(f32_of(half))}};
    const Words4 floats = {{__float_as_uint(bf16_half_again(pair, false)), __float_as_uint(bf16_half_again(pair, true)),
                            __float_as_uint(exp2_of(f[3])), v.w[0]}};
    store16(y + threadIdx.x * 8, formats);
    store16_once(y + threadIdx.x * 8 + 4, floats);
}
