// prelude.cuh: the names of codegen/cuda/prelude.cuh, for kernels that run on the CPU: calls of the
// machine (machine.h) in place of PTX.
#pragma once

#include "tests/simt/builtin.cuh"

struct bf16 {
    u16 bits;
};
struct f16 {
    u16 bits;
};
struct alignas(16) Words4 {
    u32 w[4];
};
struct alignas(128) TensorMap {
    u64 opaque[16];
};

#define DEVICE                static inline
#define KERNEL(threads)       extern "C" void
#define KERNEL_RESIDENT(t, n) extern "C" void
#define CLUSTER(blocks)
#define MAP_ARGUMENT          const TensorMap
#define TABLE                 const
#define DYNAMIC_SHARED(name)  u8 *const name = (u8 *)SIMT(dynamic_shared)
#define UNROLL
#define NO_UNROLL
#define UNROLL_SOME
#define UNROLL_PAIR

// ---- element types
DEVICE u16 simt_bf16(float x) {
    u32 bits = __float_as_uint(x);
    if ((bits & 0x7fffffffU) > 0x7f800000U) return 0x7fff;
    return (u16)((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}
DEVICE float f32_of(float x) { return x; }
DEVICE float f32_of(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
DEVICE float f32_of(f16 x) { return SIMT(f16_to, x.bits); }
DEVICE bf16 bf16_of(float x) { return bf16{simt_bf16(x)}; }
DEVICE f16 f16_of(float x) { return f16{SIMT(f16_of, x)}; }
DEVICE float bf16_low(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float bf16_high(u32 pair) { return __uint_as_float(pair & 0xffff0000U); }
DEVICE float bf16_half_again(u32 pair, bool high) { return high ? bf16_high(pair) : bf16_low(pair); }
DEVICE int row_alone(int row) { return row; }
DEVICE u32 bf16_pair(float low, float high) {
    return (u32)simt_bf16(low) | (u32)simt_bf16(high) << 16;
}
DEVICE u32 f16_pair(float low, float high) {
    return (u32)SIMT(f16_of, low) | (u32)SIMT(f16_of, high) << 16;
}

// ---- global memory
DEVICE float exp2_of(float x) { return exp2f(x); }
DEVICE Words4 load16(const void *p) { return *(const Words4 *)p; }
DEVICE Words4 load16_once(const void *p) { return *(const Words4 *)p; }
DEVICE void store16(void *p, Words4 v) { *(Words4 *)p = v; }
DEVICE void store16_once(void *p, Words4 v) { *(Words4 *)p = v; }
template <int N> struct alignas(N >= 4 ? 16 : 4 * N) Words {
    u32 w[N];
};
template <int N> DEVICE Words<N> load_words(const void *p) { return *(const Words<N> *)p; }
template <int N> DEVICE void store_words(void *p, Words<N> v) { *(Words<N> *)p = v; }
// ---- shared memory
DEVICE u32 shared_address(const void *p) { return SIMT(shared_address, p); }
DEVICE void named_barrier_sync(u32 id, u32 threads) { SIMT(barrier_sync, id, threads); }

// ---- sm_80
DEVICE void copy_async16(u32 to, const void *from, u32 bytes) { SIMT(copy_async, to, from, 16, bytes); }
DEVICE void copy_async4(u32 to, const void *from, u32 bytes) { SIMT(copy_async, to, from, 4, bytes); }
DEVICE void copy_async_commit() { SIMT(copy_async_commit); }
template <int N> DEVICE void copy_async_wait() { SIMT(copy_async_wait, N); }
DEVICE void matrix_load_x4(u32 (&r)[4], u32 at) { SIMT(matrix_load, r, at, false); }
DEVICE void matrix_load_x4_turned(u32 (&r)[4], u32 at) { SIMT(matrix_load, r, at, true); }
DEVICE void mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { SIMT(mma_bf16, d, a, b0, b1); }
DEVICE void mma_f16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { SIMT(mma_f16, d, a, b0, b1); }
DEVICE u32 tf32_of(float x) {
    u32 bits = __float_as_uint(x);
    if ((bits & 0x7f800000U) == 0x7f800000U) return bits;
    return (bits + 0x1000U) & ~0x1fffU;
}
DEVICE void mma_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { SIMT(mma_tf32, d, a, b0, b1); }

// ---- sm_90
DEVICE void barrier_init(u32 barrier, u32 arrivals) { SIMT(barrier_init, barrier, arrivals); }
DEVICE void barrier_init_done() { SIMT(barrier_init_done); }
DEVICE void barrier_expect(u32 barrier, u32 bytes) { SIMT(barrier_arrive, barrier, SIMT_OWN, bytes); }
DEVICE void barrier_arrive(u32 barrier) { SIMT(barrier_arrive, barrier, SIMT_OWN, 0); }
DEVICE void barrier_arrive_at(u32 barrier, u32 rank) { SIMT(barrier_arrive, barrier, rank, 0); }
DEVICE void barrier_wait(u32 barrier, u32 parity) { SIMT(barrier_wait, barrier, parity); }
DEVICE void copy_async_arrive(u32 barrier) { SIMT(copy_async_arrive, barrier); }
DEVICE void async_fence() { SIMT(async_fence); }
DEVICE void bulk_load(u32 to, const void *from, u32 bytes, u32 barrier) {
    SIMT(bulk_load, to, from, bytes, barrier);
}
DEVICE void bulk_store(void *to, u32 from, u32 bytes) { SIMT(bulk_store, to, from, bytes); }
DEVICE void bulk_commit() { SIMT(bulk_commit); }
template <int N> DEVICE void bulk_wait_read() { SIMT(bulk_wait, N, true); }
template <int N> DEVICE void bulk_wait() { SIMT(bulk_wait, N, false); }
DEVICE void tensor_map_prefetch(const TensorMap *map) { SIMT(tensor_map_check, map); }
template <class... At> DEVICE SimtBox simt_box(const TensorMap *map, At... at) {
    return {map, {at...}, sizeof...(at)};
}
template <class... At>
DEVICE void tensor_load(u32 to, const TensorMap *map, u32 barrier, int x, At... at) {
    SIMT(tensor_load, to, simt_box(map, x, at...), barrier, 0);
}
template <class... At>
DEVICE void tensor_load_shared(u32 to, const TensorMap *map, u32 barrier, u16 blocks, int x, At... at) {
    SIMT(tensor_load, to, simt_box(map, x, at...), barrier, blocks);
}
template <class... At> DEVICE void tensor_store(const TensorMap *map, u32 from, int x, At... at) {
    SIMT(tensor_store, simt_box(map, x, at...), from);
}
DEVICE u32 cluster_rank() { return SIMT(cluster_rank); }
DEVICE void cluster_sync() { SIMT(cluster_sync); }
DEVICE void matrix_store_x4(u32 at, u32 r0, u32 r1, u32 r2, u32 r3) {
    const u32 r[4] = {r0, r1, r2, r3};
    SIMT(matrix_store, at, r);
}

// ---- sm_90a
template <int N> DEVICE void registers_shrink() { SIMT(registers_set, N, false); }
template <int N> DEVICE void registers_grow() { SIMT(registers_set, N, true); }
DEVICE void wgmma_fence() { SIMT(wgmma_fence); }
DEVICE void wgmma_commit() { SIMT(wgmma_commit); }
template <int N> DEVICE void wgmma_wait() { SIMT(wgmma_wait, N); }
// The machine takes the accumulators away until they are waited for.
template <int N> DEVICE void wgmma_hold(float (&)[N]) {}
DEVICE u64 wgmma_tile_along_k(u32 at) {
    return (u64)((at & 0x3ffffU) >> 4) | (1ULL << 16) | (64ULL << 32) | (1ULL << 62);
}
DEVICE u64 wgmma_tile_across_k(u32 at, u32 pitch) {
    return (u64)((at & 0x3ffffU) >> 4) | ((u64)(pitch >> 4) << 16) | (64ULL << 32) | (1ULL << 62);
}
