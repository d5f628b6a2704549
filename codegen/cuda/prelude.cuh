// prelude.cuh: all that a generated kernel may call. Every line of PTX that Strata emits stands here
// and in wgmma.cuh; kernels themselves are plain CUDA C++ on these names and on the built-in
// variables, __shared__, __syncthreads and the warp shuffles. No header is needed but this one.
//
// tests/simt/prelude.cuh has the same names and runs the same kernels on the CPU: a name that is
// added here must be modelled there. Instruction semantics: PTX ISA 8.0 and later.
#pragma once

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
struct alignas(16) Words4 {  // 16 bytes, the widest access
    u32 w[4];
};
struct alignas(128) TensorMap {  // CUtensorMap
    u64 opaque[16];
};

#define DEVICE                 static __device__ __forceinline__
#define KERNEL_BOUNDS(t, n)    extern "C" __global__ void __launch_bounds__(t, n)
#ifdef ROOMY  // ptxas, left to itself, may spill a few registers for one more block
#define KERNEL(threads)        KERNEL_BOUNDS(threads, (threads) < 256 ? 256 / (threads) : 1)
#define KERNEL_RESIDENT(t, n)  KERNEL_BOUNDS(t, ((n) + 1) / 2)
#else
#define KERNEL(threads)        extern "C" __global__ void __launch_bounds__(threads)
#define KERNEL_RESIDENT(t, n)  KERNEL_BOUNDS(t, n)
#endif
#define CLUSTER(blocks)        __cluster_dims__(blocks, 1, 1)
#define MAP_ARGUMENT           const __grid_constant__ TensorMap
#define TABLE                  static const
#define DYNAMIC_SHARED(name)   extern __shared__ __align__(1024) u8 name[]
#ifndef INFINITY  // where no math.h brings it
#define INFINITY               __uint_as_float(0x7f800000U)
#define NAN                    __uint_as_float(0x7fc00000U)
#endif
#define UNROLL                 _Pragma("unroll")
#define NO_UNROLL              _Pragma("unroll 1")
#define UNROLL_SOME            _Pragma("unroll 4")
#define UNROLL_PAIR            _Pragma("unroll 2")

// ---- element types. A packed pair has the element of the lower address in its low half.
DEVICE float f32_of(float x) { return x; }
DEVICE float f32_of(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
DEVICE float f32_of(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
DEVICE bf16 bf16_of(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
DEVICE f16 f16_of(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
DEVICE float bf16_low(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float bf16_high(u32 pair) { return __uint_as_float(pair & 0xffff0000U); }
// For the second use of a pair: another instruction, so that the compiler does not keep the
// floats of the first use in two registers where the pair needs one.
DEVICE float bf16_half_again(u32 pair, bool high) {
    float y;
    asm volatile("prmt.b32 %0, %1, 0, %2;" : "=f"(y) : "r"(pair), "r"(high ? 0x3244U : 0x1044U));
    return y;
}
// The number of a row, of which the compiler knows nothing: it would keep an address of every
// argument, two registers each, from row to row.
DEVICE int row_alone(int row) {
    asm volatile("" : "+r"(row));
    return row;
}
DEVICE u32 bf16_pair(float low, float high) {
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
DEVICE u32 f16_pair(float low, float high) {
    u32 y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

// 2^x, of what is not 0 as far as numbers are normal.
DEVICE float exp2_of(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// ---- global memory, 16 aligned bytes at once. `_once`: nothing reads it again soon.
DEVICE Words4 load16(const void *p) {
    Words4 v;
    asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
                 : "l"(p)
                 : "memory");
    return v;
}
DEVICE Words4 load16_once(const void *p) {
    Words4 v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
                 : "l"(p)
                 : "memory");
    return v;
}
DEVICE void store16(void *p, Words4 v) {
    asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(v.w[0]), "r"(v.w[1]),
                 "r"(v.w[2]), "r"(v.w[3])
                 : "memory");
}
DEVICE void store16_once(void *p, Words4 v) {
    asm volatile("st.global.cs.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(v.w[0]), "r"(v.w[1]),
                 "r"(v.w[2]), "r"(v.w[3])
                 : "memory");
}

// A few words at once (1, 2 or a multiple of 4), at a multiple of their size, 16 bytes at most.
template <int N> struct alignas(N >= 4 ? 16 : 4 * N) Words {
    u32 w[N];
};
template <int N> DEVICE Words<N> load_words(const void *p) { return *(const Words<N> *)p; }
template <int N> DEVICE void store_words(void *p, Words<N> v) { *(Words<N> *)p = v; }

// ---- shared memory. A shared address is the u32 that PTX wants.
DEVICE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }
DEVICE void named_barrier_sync(u32 id, u32 threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ---- sm_80: asynchronous copies of 4, 8 or 16 bytes; `bytes` of them are read, the rest is 0
DEVICE void copy_async16(u32 to, const void *from, u32 bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}
DEVICE void copy_async4(u32 to, const void *from, u32 bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}
DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most N groups of this thread are under way.
template <int N> DEVICE void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- sm_80: matrices of 8 x 8 elements of 16 bits. Lane 8i + r gives the address of row r of
// matrix i; a lane receives elements (lane / 4, 2 (lane % 4)) and the next; `_turned`: transposed.
DEVICE void matrix_load_x4(u32 (&r)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
DEVICE void matrix_load_x4_turned(u32 (&r)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
// d[16 x 8] += a[16 x 16] b[16 x 8]. With g = lane / 4, t = lane % 4:
//   a: (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..)   rows m, columns k
//   b: k = 2t.., 2t + 8..; column g        d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
// Not volatile: copies may move over it.
DEVICE void mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void mma_f16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The nearest number with 11 bits (of magnitude, ties away from 0): what mma_tf32 takes.
DEVICE u32 tf32_of(float x) {
    u32 y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}
// d[16 x 8] += a[16 x 8] b[8 x 8].   a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
//   b: k = t, t + 4; column g        d: as above
DEVICE void mma_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#if __CUDA_ARCH__ >= 900
// ---- sm_90: barriers in shared memory that count arrivals and bytes. A wait with parity P
// returns once the phase of that parity is complete: a fresh barrier is in phase 0, so waiting
// for parity 1 returns at once.
DEVICE void barrier_init(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}
DEVICE void barrier_init_done() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Arrives, and makes the phase wait for `bytes` more.
DEVICE void barrier_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}
DEVICE void barrier_arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// At the same place in block `rank` of the cluster.
DEVICE void barrier_arrive_at(u32 barrier, u32 rank) {
    asm volatile("{ .reg .b32 there; mapa.shared::cluster.u32 there, %0, %1;\n"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there]; }" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
}
DEVICE void barrier_wait(u32 barrier, u32 parity) {
    asm volatile("{ .reg .pred done;\n"
                 "AGAIN_%=: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra DONE_%=;\nbra AGAIN_%=;\nDONE_%=: }" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}
// When this thread's copies so far are done, it arrives (beyond the expected arrivals' own).
DEVICE void copy_async_arrive(u32 barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}
// Ordinary writes to shared memory, before bulk and tensor copies or wgmma read them.
DEVICE void async_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- sm_90: copies by the copy engine: rows of a multiple of 16 bytes, 16-byte aligned
DEVICE void bulk_load(u32 to, const void *from, u32 bytes, u32 barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier)
                 : "memory");
}
DEVICE void bulk_store(void *to, u32 from, u32 bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from),
                 "r"(bytes)
                 : "memory");
}
DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until the sources of all but N groups may be written again.
template <int N> DEVICE void bulk_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
template <int N> DEVICE void bulk_wait() {
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}
// Boxes of a tensor map (coordinates in elements, innermost first); outside the tensor zeros
// are read and nothing is written. Bytes of a whole box are counted in any case.
DEVICE void tensor_map_prefetch(const TensorMap *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
DEVICE void tensor_load(u32 to, const TensorMap *map, u32 barrier, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4}], [%2];" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(x), "r"(y)
                 : "memory");
}
DEVICE void tensor_load(u32 to, const TensorMap *map, u32 barrier, int x, int y, int z) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
                 : "memory");
}
DEVICE void tensor_load(u32 to, const TensorMap *map, u32 barrier, int x, int y, int z, int w) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w)
                 : "memory");
}
// To the same place of every block of the cluster whose bit is set, and to its barrier.
DEVICE void tensor_load_shared(u32 to, const TensorMap *map, u32 barrier, u16 blocks, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%4, %5}], [%2], %3;" ::"r"(to),
                 "l"(map), "r"(barrier), "h"(blocks), "r"(x), "r"(y)
                 : "memory");
}
DEVICE void tensor_load_shared(u32 to, const TensorMap *map, u32 barrier, u16 blocks, int x, int y,
                               int z) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(to),
                 "l"(map), "r"(barrier), "h"(blocks), "r"(x), "r"(y), "r"(z)
                 : "memory");
}
DEVICE void tensor_load_shared(u32 to, const TensorMap *map, u32 barrier, u16 blocks, int x, int y,
                               int z, int w) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%4, %5, %6, %7}], [%2], %3;" ::"r"(to),
                 "l"(map), "r"(barrier), "h"(blocks), "r"(x), "r"(y), "r"(z), "r"(w)
                 : "memory");
}
DEVICE void tensor_store(const TensorMap *map, u32 from, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
                     map),
                 "r"(from), "r"(x), "r"(y)
                 : "memory");
}
DEVICE void tensor_store(const TensorMap *map, u32 from, int x, int y, int z) {
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
        "r"(from), "r"(x), "r"(y), "r"(z)
        : "memory");
}
DEVICE void tensor_store(const TensorMap *map, u32 from, int x, int y, int z, int w) {
    asm volatile(
        "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(
            map),
        "r"(from), "r"(x), "r"(y), "r"(z), "r"(w)
        : "memory");
}

// ---- sm_90: clusters, and 8 x 8 matrices to shared memory (the mirror of matrix_load_x4)
DEVICE u32 cluster_rank() {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
DEVICE void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}
DEVICE void matrix_store_x4(u32 at, u32 r0, u32 r1, u32 r2, u32 r3) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared::cta.b16 [%0], {%1,%2,%3,%4};" ::"r"(at),
                 "r"(r0), "r"(r1), "r"(r2), "r"(r3)
                 : "memory");
}
#endif

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// ---- sm_90a: registers move between warpgroups (24 to 256, a multiple of 8)
template <int N> DEVICE void registers_shrink() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> DEVICE void registers_grow() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
// ---- sm_90a: products of tiles in shared memory by a warpgroup. The products are in wgmma.cuh.
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// The accumulators may be under way: before a fence and after a wait.
template <int N> DEVICE void wgmma_hold(float (&d)[N]) {
    UNROLL for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}
// Operand tiles with rows of 128 bytes, swizzled by 128, at a multiple of 1024 bytes.
// Rows run along k (64 elements of 16 bits): 8 rows are 1024 bytes.
DEVICE u64 wgmma_tile_along_k(u32 at) {
    return (u64)((at & 0x3ffffU) >> 4) | (1ULL << 16) | (64ULL << 32) | (1ULL << 62);
}
// Rows run along m or n in sub-tiles of 64 columns, `pitch` bytes apart.
DEVICE u64 wgmma_tile_across_k(u32 at, u32 pitch) {
    return (u64)((at & 0x3ffffU) >> 4) | ((u64)(pitch >> 4) << 16) | (64ULL << 32) | (1ULL << 62);
}
#endif
