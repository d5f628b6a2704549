// stream.cuh: what kernels of the STREAM skeleton call beside the prelude. Plain CUDA C++ on the
// prelude's names, so that tests/simt runs this very text.
#pragma once

#define UNROLL_4 _Pragma("unroll 4")

// ---- V neighbouring elements at once. Their address is a multiple of 16 bytes, or of their size
// where that is less. `_if`: zeros are loaded where `there` is false.

// W words, in parts of at most 16 bytes. No loops: kernels have hundreds of these, and a loop that is
// unrolled takes the compiler longer than what it does.
template <int W> DEVICE void words_load(u32 *to, const void *from) {
    if constexpr (W > 4) {
        words_load<W / 2>(to, from);
        words_load<W / 2>(to + W / 2, (const u32 *)from + W / 2);
    } else {
        Words<W> words = load_words<W>(from);
        to[0] = words.w[0];
        if constexpr (W > 1) to[1] = words.w[1];
        if constexpr (W > 2) to[2] = words.w[2];
        if constexpr (W > 2) to[3] = words.w[3];
    }
}
template <int W> DEVICE void words_load_if(u32 *to, const void *from, bool there) {
    UNROLL for (int i = 0; i < W; i++) to[i] = 0;
    if (there) words_load<W>(to, from);
}
template <int W> DEVICE void words_store(void *to, const u32 *from) {
    if constexpr (W > 4) {
        words_store<W / 2>(to, from);
        words_store<W / 2>((u32 *)to + W / 2, from + W / 2);
    } else {
        Words<W> words;
        words.w[0] = from[0];
        if constexpr (W > 1) words.w[1] = from[1];
        if constexpr (W > 2) words.w[2] = from[2];
        if constexpr (W > 2) words.w[3] = from[3];
        store_words<W>(to, words);
    }
}
// Past the first cache, where 16 bytes are written at once.
template <int W> DEVICE void words_store_once(void *to, const u32 *from) {
    if constexpr (W > 4) {
        words_store_once<W / 2>(to, from);
        words_store_once<W / 2>((u32 *)to + W / 2, from + W / 2);
    } else if constexpr (W == 4) {
        store16_once(to, Words4{{from[0], from[1], from[2], from[3]}});
    } else {
        words_store<W>(to, from);
    }
}

// Values of elements that arrive in words. F16: halves of words are f16 rather than bf16.
DEVICE float half_low(u32 pair) { return f32_of(f16{(u16)pair}); }
DEVICE float half_high(u32 pair) { return f32_of(f16{(u16)(pair >> 16)}); }
// Without branches: i is often known only after loops are unrolled.
DEVICE float bf16_at(const u32 *x, int i) {
    return __uint_as_float(x[i / 2] << (i % 2 ? 0 : 16) & 0xffff0000U);
}
DEVICE float bf16_again(const u32 *x, int i) { return bf16_half_again(x[i / 2], i % 2); }
DEVICE float f16_at(const u32 *x, int i) { return i % 2 ? half_high(x[i / 2]) : half_low(x[i / 2]); }

template <int V> DEVICE void vector_of_words(float *to, const u32 *words, const float *) {
    UNROLL for (int i = 0; i < V; i++) to[i] = __uint_as_float(words[i]);
}
template <int V> DEVICE void vector_of_words(int *to, const u32 *words, const int *) {
    UNROLL for (int i = 0; i < V; i++) to[i] = (int)words[i];
}
template <int V> DEVICE void vector_of_words(float *to, const u32 *words, const bf16 *) {
    UNROLL for (int i = 0; i < V; i++) to[i] = bf16_at(words, i);
}
template <int V> DEVICE void vector_of_words(float *to, const u32 *words, const f16 *) {
    UNROLL for (int i = 0; i < V; i++) to[i] = f16_at(words, i);
}
template <int V, class To, class From> DEVICE void vector_load_if(To *to, const From *from, bool there) {
    u32 words[V * sizeof(From) / 4];
    words_load_if<V * sizeof(From) / 4>(words, from, there);
    vector_of_words<V>(to, words, from);
}
template <int V, class To, class From> DEVICE void vector_load(To *to, const From *from) {
    u32 words[V * sizeof(From) / 4];
    words_load<V * sizeof(From) / 4>(words, from);
    vector_of_words<V>(to, words, from);
}

template <int V> DEVICE void vector_words(u32 *words, const float *, const float *x) {
    UNROLL for (int i = 0; i < V; i++) words[i] = __float_as_uint(x[i]);
}
template <int V> DEVICE void vector_words(u32 *words, const int *, const int *x) {
    UNROLL for (int i = 0; i < V; i++) words[i] = (u32)x[i];
}
template <int V> DEVICE void vector_words(u32 *words, const bf16 *, const float *x) {
    UNROLL for (int i = 0; i < V / 2; i++) words[i] = bf16_pair(x[2 * i], x[2 * i + 1]);
}
template <int V> DEVICE void vector_words(u32 *words, const f16 *, const float *x) {
    UNROLL for (int i = 0; i < V / 2; i++) words[i] = f16_pair(x[2 * i], x[2 * i + 1]);
}
template <int V, class To, class From> DEVICE void vector_store(To *to, const From *x) {
    u32 words[V * sizeof(To) / 4];
    vector_words<V>(words, to, x);
    words_store<V * sizeof(To) / 4>(to, words);
}
template <int V, class To, class From> DEVICE void vector_store_once(To *to, const From *x) {
    u32 words[V * sizeof(To) / 4];
    vector_words<V>(words, to, x);
    words_store_once<V * sizeof(To) / 4>(to, words);
}

// ---- teams: the threads that share a row. 1, 2, 4, 8, 16 or 32 lanes of a warp, or all warps of
// a block. Every thread of a team gets the same bits, in the same order of summation each time.

struct Sum {
    template <class T> static __device__ __forceinline__ T of(T x, T y) { return x + y; }
};
struct Max {
    static __device__ __forceinline__ float of(float x, float y) { return fmaxf(x, y); }
    static __device__ __forceinline__ int of(int x, int y) { return max(x, y); }
};

DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
DEVICE u32 bits_of(int x) { return (u32)x; }
DEVICE void bits_to(float &x, u32 bits) { x = __uint_as_float(bits); }
DEVICE void bits_to(int &x, u32 bits) { x = (int)bits; }

template <int THREADS> struct Team {
    u32 *words;  // shared memory of a team of several warps: two halves, each a word a warp and value
    u32 half;    // words of a half
    u32 turn;    // the half that is used next: a slow thread may still read the other
};
template <int THREADS> DEVICE u32 team_lanes() {
    if (THREADS >= 32) return 0xffffffffU;
    return ((1U << THREADS % 32) - 1) << (threadIdx.x % 32 / THREADS * THREADS);
}
template <int THREADS> DEVICE void team_sync() {
    if (THREADS > 32) __syncthreads();
    else __syncwarp(team_lanes<THREADS>());
}

// One value over the lanes of a team, or of each warp of a larger one.
template <class F, int THREADS, class T> DEVICE T lanes_reduce(T x) {
    UNROLL for (int step = (THREADS < 32 ? THREADS : 32) / 2; step > 0; step /= 2)
        x = F::of(x, __shfl_xor_sync(team_lanes<THREADS>(), x, step));
    return x;
}
// K values, a power of two, over the 32 lanes of a warp: lane i has the result of value i * K / 32.
// Each step sends one half of the values and keeps the other: K - 1 shuffles instead of 5 K.
template <class F, int K, int STEP, class T> DEVICE T lanes_reduce_each(T *x) {
    if constexpr (K == 1) {
        T sum = x[0];
        UNROLL for (int step = STEP; step > 0; step /= 2)
            sum = F::of(sum, __shfl_xor_sync(0xffffffffU, sum, step));
        return sum;
    } else {
        bool upper = (threadIdx.x & STEP) != 0;
        UNROLL for (int i = 0; i < K / 2; i++) {
            T send = upper ? x[i] : x[i + K / 2], kept = upper ? x[i + K / 2] : x[i];
            x[i] = F::of(kept, __shfl_xor_sync(0xffffffffU, send, STEP));
        }
        return lanes_reduce_each<F, K / 2, STEP / 2>(x);
    }
}

DEVICE constexpr int power_above(int k) { return k <= 1 ? 1 : 2 * power_above((k + 1) / 2); }

// Up to 32 values at once.
template <class F, int THREADS, int K, class T> DEVICE void values_reduce(Team<THREADS> &team, T *x) {
    constexpr int warps = THREADS / 32, all = power_above(K), share = 32 / all;
    T each[all];
    UNROLL for (int i = 0; i < all; i++) each[i] = x[i < K ? i : 0];
    T mine = lanes_reduce_each<F, all, 16>(each);
    int lane = threadIdx.x % 32, value = lane / share;
    if constexpr (warps > 1) {
        u32 *words = team.words + team.turn * team.half;
        team.turn ^= 1;
        if (lane % share == 0) words[threadIdx.x / 32 * all + value] = bits_of(mine);
        __syncthreads();
        bits_to(mine, words[value]);
        UNROLL for (int warp = 1; warp < warps; warp++) {
            T other;
            bits_to(other, words[warp * all + value]);
            mine = F::of(mine, other);
        }
    }
    UNROLL for (int i = 0; i < K; i++) x[i] = all == 1 ? mine : __shfl_sync(0xffffffffU, mine, i * share);
}
template <class F, int THREADS, int K, class T> DEVICE void team_reduce_all(Team<THREADS> &team, T *x) {
    if constexpr (THREADS < 32 || (THREADS == 32 && K < 4)) {
        UNROLL for (int i = 0; i < K; i++) x[i] = lanes_reduce<F, THREADS>(x[i]);
    } else if constexpr (K > 32) {
        values_reduce<F, THREADS, 32>(team, x);
        team_reduce_all<F, THREADS, K - 32>(team, x + 32);
    } else {
        values_reduce<F, THREADS, K>(team, x);
    }
}
// Scalars that a block shares. The values of a warp's lanes, combined, to shared memory; they are
// added to what is there unless they are the first.
template <class F, int K> DEVICE void lanes_reduce_to(float *to, const float *x, bool first) {
    constexpr int all = power_above(K), share = 32 / all;
    float each[all];
    UNROLL for (int i = 0; i < all; i++) each[i] = x[i < K ? i : 0];
    float mine = lanes_reduce_each<F, all, 16>(each);
    int lane = threadIdx.x % 32, value = lane / share;
    if (lane % share == 0 && value < K) to[value] = first ? mine : F::of(to[value], mine);
}
// What each warp has, `stride` from the one before, combined in their order. Value k goes to place k,
// or to places[k].
template <class F, int WARPS>
DEVICE void warps_reduce(float *to, const u16 *places, const float *from, int stride, int count) {
    NO_UNROLL for (int k = threadIdx.x; k < count; k += 32 * WARPS) {
        float all = from[k];
        UNROLL for (int warp = 1; warp < WARPS; warp++) all = F::of(all, from[warp * stride + k]);
        to[places ? places[k] : k] = all;
    }
}

template <class F, int THREADS, class T> DEVICE T team_reduce(Team<THREADS> &team, T x) {
    team_reduce_all<F, THREADS, 1>(team, &x);
    return x;
}
