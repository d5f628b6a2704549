// wgmma.cuh: the names of codegen/cuda/wgmma.cuh, for all widths.
#pragma once

#include "prelude.cuh"

template <int N, int ACROSS_A = 0, int ACROSS_B = 0>
DEVICE void wgmma_bf16(float (&d)[N / 2], u64 a, u64 b, int add) {
    SIMT(wgmma, d, SimtProduct{a, b, N, false, ACROSS_A != 0, ACROSS_B != 0, add != 0});
}
template <int N, int ACROSS_A = 0, int ACROSS_B = 0>
DEVICE void wgmma_f16(float (&d)[N / 2], u64 a, u64 b, int add) {
    SIMT(wgmma, d, SimtProduct{a, b, N, true, ACROSS_A != 0, ACROSS_B != 0, add != 0});
}
