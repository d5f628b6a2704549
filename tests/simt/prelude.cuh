// prelude.cuh: the names of codegen/cuda/prelude.cuh, for kernels that run on the CPU: C++17 that
// asks the machine (machine.h) for what a GPU would do. The compiler instruments every access
// through a pointer (-fsanitize=thread, without its library), so that the machine sees them all.
// No header of C++ is included: a kernel compiles in some tens of milliseconds.
#pragma once

#include "tests/simt/calls.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
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

#define __device__
#define __global__
#define __host__
#define __constant__          const
#define __forceinline__       inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __align__(n)          __attribute__((aligned(n)))
// SIMT_SECTION is another one for each kernel.
#define __shared__            static __attribute__((section(SIMT_SECTION)))
#define __CUDA_ARCH__         900
#define __CUDA_ARCH_FEAT_SM90_ALL

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

// ---- the machine
#define SIMT_EDGE   __attribute__((weak, visibility("hidden")))
#define SIMT_EXPORT __attribute__((visibility("default")))
extern "C" {
SIMT_EXPORT SimtLink simt_link;
SIMT_EXPORT extern const size_t simt_link_bytes = sizeof(SimtLink);
SIMT_EXPORT extern const SimtEntry simt_entries[];
}
#define SIMT(name, ...) simt_link.calls.name(simt_link.machine, ##__VA_ARGS__)
#define threadIdx       (simt_link.place.thread)
#define blockIdx        (simt_link.place.block)
#define blockDim        (simt_link.place.threads)
#define gridDim         (simt_link.place.blocks)

#define SIMT_HIDDEN extern "C" __attribute__((visibility("hidden"), no_sanitize("thread"), used))
#define SIMT_HOOK(name, bytes, write) \
    SIMT_HIDDEN void __tsan_##name(void *at) { SIMT(access, at, bytes, write); }
SIMT_HOOK(read1, 1, false)
SIMT_HOOK(read2, 2, false)
SIMT_HOOK(read4, 4, false)
SIMT_HOOK(read8, 8, false)
SIMT_HOOK(read16, 16, false)
SIMT_HOOK(write1, 1, true)
SIMT_HOOK(write2, 2, true)
SIMT_HOOK(write4, 4, true)
SIMT_HOOK(write8, 8, true)
SIMT_HOOK(write16, 16, true)
SIMT_HOOK(unaligned_read2, 2, false)
SIMT_HOOK(unaligned_read4, 4, false)
SIMT_HOOK(unaligned_read8, 8, false)
SIMT_HOOK(unaligned_read16, 16, false)
SIMT_HOOK(unaligned_write2, 2, true)
SIMT_HOOK(unaligned_write4, 4, true)
SIMT_HOOK(unaligned_write8, 8, true)
SIMT_HOOK(unaligned_write16, 16, true)
SIMT_HIDDEN void __tsan_read_range(void *at, size_t bytes) { SIMT(access, at, (u32)bytes, false); }
SIMT_HIDDEN void __tsan_write_range(void *at, size_t bytes) { SIMT(access, at, (u32)bytes, true); }
SIMT_HIDDEN void __tsan_init() {}
SIMT_HIDDEN void __tsan_func_entry(void *) {}
SIMT_HIDDEN void __tsan_func_exit() {}
// Copies of structs that the compiler makes by a call; with a size that is no constant to it, or
// it would make this a call of itself.
SIMT_HIDDEN void *memcpy(void *to, const void *from, size_t bytes) noexcept {
    SIMT(access, from, (u32)bytes, false);
    SIMT(access, to, (u32)bytes, true);
    for (size_t i = 0; i < bytes; i++) ((volatile u8 *)to)[i] = ((const volatile u8 *)from)[i];
    return to;
}
SIMT_HIDDEN void *memset(void *to, int value, size_t bytes) noexcept {
    SIMT(access, to, (u32)bytes, true);
    for (size_t i = 0; i < bytes; i++) ((volatile u8 *)to)[i] = (u8)value;
    return to;
}

// ---- what CUDA has built in
extern "C" {
float expf(float) noexcept;
float exp2f(float) noexcept;
float expm1f(float) noexcept;
float logf(float) noexcept;
float log2f(float) noexcept;
float log1pf(float) noexcept;
float sqrtf(float) noexcept;
float sinf(float) noexcept;
float cosf(float) noexcept;
float tanf(float) noexcept;
float tanhf(float) noexcept;
float erff(float) noexcept;
float powf(float, float) noexcept;
float fmodf(float, float) noexcept;
float fmaf(float, float, float) noexcept;
float fmaxf(float, float) noexcept;
float fminf(float, float) noexcept;
float fabsf(float) noexcept;
float floorf(float) noexcept;
float ceilf(float) noexcept;
float truncf(float) noexcept;
float rintf(float) noexcept;
float roundf(float) noexcept;
float copysignf(float, float) noexcept;
double exp(double) noexcept;
double log(double) noexcept;
double sqrt(double) noexcept;
double sin(double) noexcept;
double cos(double) noexcept;
double tanh(double) noexcept;
double pow(double, double) noexcept;
double fma(double, double, double) noexcept;
double fmax(double, double) noexcept;
double fmin(double, double) noexcept;
double fabs(double) noexcept;
double floor(double) noexcept;
}
#define INFINITY __builtin_inff()
#define NAN      __builtin_nanf("")
DEVICE float rsqrtf(float x) { return 1.0F / sqrtf(x); }
DEVICE float __expf(float x) { return expf(x); }
DEVICE float __logf(float x) { return logf(x); }
DEVICE float __log2f(float x) { return log2f(x); }
DEVICE float __sinf(float x) { return sinf(x); }
DEVICE float __cosf(float x) { return cosf(x); }
DEVICE float __powf(float x, float y) { return powf(x, y); }
DEVICE float __fdividef(float x, float y) { return x / y; }
DEVICE float __frcp_rn(float x) { return 1.0F / x; }
DEVICE float __fsqrt_rn(float x) { return sqrtf(x); }
DEVICE float __fadd_rn(float x, float y) { return x + y; }
DEVICE float __fsub_rn(float x, float y) { return x - y; }
DEVICE float __fmul_rn(float x, float y) { return x * y; }
DEVICE float __fdiv_rn(float x, float y) { return x / y; }
DEVICE float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
DEVICE float __saturatef(float x) { return fminf(fmaxf(x, 0.0F), 1.0F); }
template <class To, class From> DEVICE To simt_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits of one size");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
DEVICE float __uint_as_float(u32 x) { return simt_bits<float>(x); }
DEVICE float __int_as_float(int x) { return simt_bits<float>(x); }
DEVICE u32 __float_as_uint(float x) { return simt_bits<u32>(x); }
DEVICE int __float_as_int(float x) { return simt_bits<int>(x); }
DEVICE int __float2int_rz(float x) {
    if (!(x > -2147483648.0F)) return x != x ? 0 : -2147483647 - 1;
    return x < 2147483648.0F ? (int)x : 2147483647;
}
DEVICE int isnan(float x) { return __builtin_isnan(x); }
DEVICE int isinf(float x) { return __builtin_isinf(x); }
DEVICE int __popc(u32 x) { return __builtin_popcount(x); }
DEVICE int __clz(int x) { return x ? __builtin_clz((u32)x) : 32; }
DEVICE int __ffs(int x) { return __builtin_ffs(x); }
DEVICE u32 __umulhi(u32 x, u32 y) { return (u32)((u64)x * y >> 32); }
DEVICE int abs(int x) { return x < 0 ? -x : x; }
template <class T> DEVICE T min(T x, T y) { return y < x ? y : x; }
template <class T> DEVICE T max(T x, T y) { return x < y ? y : x; }
template <class T> DEVICE T __ldg(const T *p) { return *p; }

DEVICE void __syncthreads() { SIMT(block_sync); }
DEVICE void __syncwarp(u32 mask = 0xffffffffU) { SIMT(warp_sync, mask); }
template <class T> DEVICE T simt_shuffle(const char *what, u32 mask, T value, u32 from) {
    SIMT(shuffle, what, mask, &value, sizeof value, from);
    return value;
}
DEVICE u32 simt_lane() { return threadIdx.x % 32; }
// Lanes form groups of `width`; a source outside of the own group is the lane itself.
template <class T> DEVICE T __shfl_sync(u32 mask, T value, int from, int width = 32) {
    u32 group = simt_lane() & ~(u32)(width - 1);
    return simt_shuffle("__shfl_sync", mask, value, group + ((u32)from & (u32)(width - 1)));
}
template <class T> DEVICE T __shfl_xor_sync(u32 mask, T value, int distance, int width = 32) {
    u32 from = simt_lane() ^ (u32)distance;
    if (from / (u32)width > simt_lane() / (u32)width) from = simt_lane();
    return simt_shuffle("__shfl_xor_sync", mask, value, from);
}
template <class T> DEVICE T __shfl_down_sync(u32 mask, T value, u32 distance, int width = 32) {
    u32 from = simt_lane() + distance;
    if (from / (u32)width != simt_lane() / (u32)width) from = simt_lane();
    return simt_shuffle("__shfl_down_sync", mask, value, from);
}
template <class T> DEVICE T __shfl_up_sync(u32 mask, T value, u32 distance, int width = 32) {
    u32 from = simt_lane() - distance;
    if (from / (u32)width != simt_lane() / (u32)width) from = simt_lane();
    return simt_shuffle("__shfl_up_sync", mask, value, from);
}
DEVICE u32 __ballot_sync(u32 mask, int yes) { return SIMT(vote, "__ballot_sync", mask, yes != 0); }
DEVICE int __any_sync(u32 mask, int yes) { return SIMT(vote, "__any_sync", mask, yes != 0) != 0; }
DEVICE int __all_sync(u32 mask, int yes) { return SIMT(vote, "__all_sync", mask, yes == 0) == 0; }

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
DEVICE float bf16_low_again(u32 pair) { return bf16_low(pair); }
DEVICE float bf16_high_again(u32 pair) { return bf16_high(pair); }
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
DEVICE void mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { SIMT(mma, d, a, b0, b1, false); }
DEVICE void mma_f16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { SIMT(mma, d, a, b0, b1, true); }
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
template <class... At> DEVICE SimtCoordinates simt_at(At... at) {
    return {{at...}, sizeof...(at)};
}
template <class... At>
DEVICE void tensor_load(u32 to, const TensorMap *map, u32 barrier, int x, At... at) {
    SIMT(tensor_load, to, map, barrier, 0, simt_at(x, at...));
}
template <class... At>
DEVICE void tensor_load_shared(u32 to, const TensorMap *map, u32 barrier, u16 blocks, int x, At... at) {
    SIMT(tensor_load, to, map, barrier, blocks, simt_at(x, at...));
}
template <class... At> DEVICE void tensor_store(const TensorMap *map, u32 from, int x, At... at) {
    SIMT(tensor_store, map, from, simt_at(x, at...));
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

// ---- calling a kernel with the addresses of its arguments
template <class T> struct SimtArgument {
    static T of(void *const *at) { return *(const T *)*at; }
};
template <class T> struct SimtArgument<T *> {
    static T *of(void *const *at) { return (T *)*at; }
};
template <class... T> void simt_call(void (*kernel)(T...)) {
    void *const *next = simt_link.arguments;
    // Braces are evaluated from left to right.
    struct Run {
        Run(void (*kernel)(T...), T... value) { kernel(value...); }
    } run{kernel, SimtArgument<T>::of(next++)...};
    (void)run;
}
