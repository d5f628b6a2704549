// builtin.cuh: what nvcc has built in, for kernels that run on the CPU: C++17 that asks the machine
// (machine.h) for what a GPU would do. The compiler instruments every access through a pointer
// (-fsanitize=thread, without its library), so that the machine sees them all.
// No header of C++ is included: a kernel compiles in some tens of milliseconds.
#pragma once

#include "tests/simt/calls.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

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

// ---- the machine
#define SIMT_INLINE static inline
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
SIMT_INLINE float rsqrtf(float x) { return 1.0F / sqrtf(x); }
SIMT_INLINE float __expf(float x) { return expf(x); }
SIMT_INLINE float __logf(float x) { return logf(x); }
SIMT_INLINE float __log2f(float x) { return log2f(x); }
SIMT_INLINE float __sinf(float x) { return sinf(x); }
SIMT_INLINE float __cosf(float x) { return cosf(x); }
SIMT_INLINE float __powf(float x, float y) { return powf(x, y); }
SIMT_INLINE float __fdividef(float x, float y) { return x / y; }
SIMT_INLINE float __frcp_rn(float x) { return 1.0F / x; }
SIMT_INLINE float __fsqrt_rn(float x) { return sqrtf(x); }
SIMT_INLINE float __fadd_rn(float x, float y) { return x + y; }
SIMT_INLINE float __fsub_rn(float x, float y) { return x - y; }
SIMT_INLINE float __fmul_rn(float x, float y) { return x * y; }
SIMT_INLINE float __fdiv_rn(float x, float y) { return x / y; }
SIMT_INLINE float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
SIMT_INLINE float __saturatef(float x) { return fminf(fmaxf(x, 0.0F), 1.0F); }
template <class To, class From> SIMT_INLINE To simt_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits of one size");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
SIMT_INLINE float __uint_as_float(u32 x) { return simt_bits<float>(x); }
SIMT_INLINE float __int_as_float(int x) { return simt_bits<float>(x); }
SIMT_INLINE u32 __float_as_uint(float x) { return simt_bits<u32>(x); }
SIMT_INLINE int __float_as_int(float x) { return simt_bits<int>(x); }
SIMT_INLINE int __float2int_rz(float x) {
    if (!(x > -2147483648.0F)) return x != x ? 0 : -2147483647 - 1;
    return x < 2147483648.0F ? (int)x : 2147483647;
}
SIMT_INLINE int isnan(float x) { return __builtin_isnan(x); }
SIMT_INLINE int isinf(float x) { return __builtin_isinf(x); }
SIMT_INLINE int __popc(u32 x) { return __builtin_popcount(x); }
SIMT_INLINE int __clz(int x) { return x ? __builtin_clz((u32)x) : 32; }
SIMT_INLINE int __ffs(int x) { return __builtin_ffs(x); }
SIMT_INLINE u32 __umulhi(u32 x, u32 y) { return (u32)((u64)x * y >> 32); }
SIMT_INLINE int abs(int x) { return x < 0 ? -x : x; }
template <class T> SIMT_INLINE T min(T x, T y) { return y < x ? y : x; }
template <class T> SIMT_INLINE T max(T x, T y) { return x < y ? y : x; }
template <class T> SIMT_INLINE T __ldg(const T *p) { return *p; }

SIMT_INLINE void __syncthreads() { SIMT(block_sync); }
SIMT_INLINE void __syncwarp(u32 mask = 0xffffffffU) { SIMT(warp_sync, mask); }
template <class T> SIMT_INLINE T simt_shuffle(const char *what, u32 mask, T value, u32 from) {
    static_assert(sizeof value <= sizeof(u64), "a value of up to 8 bytes");
    u64 bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = SIMT(shuffle, what, mask, bits, from);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
SIMT_INLINE u32 simt_lane() { return threadIdx.x % 32; }
// Lanes form groups of `width`; a source outside of the own group is the lane itself.
template <class T> SIMT_INLINE T __shfl_sync(u32 mask, T value, int from, int width = 32) {
    u32 group = simt_lane() & ~(u32)(width - 1);
    return simt_shuffle("__shfl_sync", mask, value, group + ((u32)from & (u32)(width - 1)));
}
template <class T> SIMT_INLINE T __shfl_xor_sync(u32 mask, T value, int distance, int width = 32) {
    u32 from = simt_lane() ^ (u32)distance;
    if (from / (u32)width > simt_lane() / (u32)width) from = simt_lane();
    return simt_shuffle("__shfl_xor_sync", mask, value, from);
}
template <class T> SIMT_INLINE T __shfl_down_sync(u32 mask, T value, u32 distance, int width = 32) {
    u32 from = simt_lane() + distance;
    if (from / (u32)width != simt_lane() / (u32)width) from = simt_lane();
    return simt_shuffle("__shfl_down_sync", mask, value, from);
}
template <class T> SIMT_INLINE T __shfl_up_sync(u32 mask, T value, u32 distance, int width = 32) {
    u32 from = simt_lane() - distance;
    if (from / (u32)width != simt_lane() / (u32)width) from = simt_lane();
    return simt_shuffle("__shfl_up_sync", mask, value, from);
}
SIMT_INLINE u32 __ballot_sync(u32 mask, int yes) { return SIMT(vote, "__ballot_sync", mask, yes != 0); }
SIMT_INLINE int __any_sync(u32 mask, int yes) { return SIMT(vote, "__any_sync", mask, yes != 0) != 0; }
SIMT_INLINE int __all_sync(u32 mask, int yes) { return SIMT(vote, "__all_sync", mask, yes == 0) == 0; }

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
