// chunk.cuh: what kernels of the CHUNK skeleton call beside the prelude. Plain CUDA C++ on the
// prelude's names, so that tests/simt runs this very text. Operands and results are functions of
// places: what they read and write, the kernel says. 256 threads are a block.
#pragma once

constexpr int CHUNK_THREADS = 256, CHUNK_WARPS = CHUNK_THREADS / 32;

// ---- products of a warp: UM x UN fragments of 16 x 8, whose first element is (row, col)

// A factor as it is multiplied: 11 bits of it and, EXACT, the next 11.
template <bool EXACT> struct Factor {
    u32 high, low;
    DEVICE Factor of(float x) {
        Factor f = {tf32_of(x), 0};
        if (EXACT) f.low = tf32_of(x - __uint_as_float(f.high));
        return f;
    }
};

// sums += a(row, k) b(k, col), k from `from` to `to` in steps of 8.
template <bool EXACT, int UM, int UN, class A, class B>
DEVICE void unit_multiply(float (&sums)[UM][UN][4], int row, int col, int from, int to, A a, B b) {
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    NO_UNROLL for (int k = from; k < to; k += 8) {
        u32 high[UM][4], low[UM][4];
        UNROLL for (int i = 0; i < UM; i++) {
            UNROLL for (int q = 0; q < 4; q++) {
                const Factor<EXACT> x =
                    Factor<EXACT>::of(a(row + i * 16 + g + q % 2 * 8, k + t + q / 2 * 4));
                high[i][q] = x.high;
                low[i][q] = x.low;
            }
        }
        UNROLL for (int j = 0; j < UN; j++) {
            const Factor<EXACT> x = Factor<EXACT>::of(b(k + t, col + j * 8 + g));
            const Factor<EXACT> y = Factor<EXACT>::of(b(k + t + 4, col + j * 8 + g));
            UNROLL for (int i = 0; i < UM; i++) {
                if (EXACT) {
                    mma_tf32(sums[i][j], low[i], x.high, y.high);
                    mma_tf32(sums[i][j], high[i], x.low, y.low);
                }
                mma_tf32(sums[i][j], high[i], x.high, y.high);
            }
        }
    }
}

template <int UM, int UN, class Out>
DEVICE void unit_each(const float (&sums)[UM][UN][4], int row, int col, Out out) {
    const int lane = (int)threadIdx.x % 32;
    UNROLL for (int i = 0; i < UM; i++)
        UNROLL for (int j = 0; j < UN; j++)
            UNROLL for (int q = 0; q < 4; q++)
                out(row + i * 16 + lane / 4 + q / 2 * 8, col + j * 8 + lane % 4 * 2 + q % 2,
                    sums[i][j][q]);
}

// ---- by one thread

// Products (MUL) or sums of load(t) over the tokens t < count, of at most C, from the first on or
// BACK from the last; out(t, without t, with t). The result is that of all.
template <int C, bool MUL, bool BACK, class Load, class Out>
DEVICE float scan(int count, Load load, Out out) {
    constexpr int STEP = 8;
    float so_far = MUL ? 1.0f : 0.0f;
    NO_UNROLL for (int first = 0; first < C; first += STEP) {
        float x[STEP];
        UNROLL for (int i = 0; i < STEP; i++) {
            const int t = BACK ? C - 1 - first - i : first + i;
            x[i] = t >= 0 && t < count ? load(t) : (MUL ? 1.0f : 0.0f);
        }
        UNROLL for (int i = 0; i < STEP; i++) {
            const int t = BACK ? C - 1 - first - i : first + i;
            const float before = so_far;
            so_far = MUL ? before * x[i] : before + x[i];
            if (t >= 0 && t < count) out(t, before, so_far);
        }
    }
    return so_far;
}

// 16 tokens of a column of X in (I + strictly lower part of a) X = x, or with its transpose.
template <bool TRANSPOSED, class A> DEVICE void solve_block(A a, float *x, int pitch, int rows) {
    float v[16];
    UNROLL for (int i = 0; i < 16; i++) v[i] = i < rows ? x[i * pitch] : 0.0f;
    UNROLL for (int done = 0; done < 16; done++) {
        UNROLL for (int k = done + 1; k < 16; k++) {
            const int from = TRANSPOSED ? 15 - done : done, to = TRANSPOSED ? 15 - k : k;
            v[to] = fmaf(-(TRANSPOSED ? a(from, to) : a(to, from)), v[from], v[to]);
        }
    }
    UNROLL for (int i = 0; i < 16; i++)
        if (i < rows) x[i * pitch] = v[i];
}

// ---- pairs s <= t of one block of 16 tokens, with the decay between them

// Adds sums of the lane at a distance of `lanes` to those of this one, which goes on with HALF of
// them: the upper ones if its number has that bit.
template <int HALF> DEVICE void lanes_add(float (&sums)[32], int lanes) {
    const bool upper = (threadIdx.x & (u32)lanes) != 0;
    UNROLL for (int i = 0; i < HALF; i++) {
        const float kept = upper ? sums[i + HALF] : sums[i];
        const float given = upper ? sums[i] : sums[i + HALF];
        sums[i] = kept + __shfl_xor_sync(~0U, given, lanes);
    }
}

// out(t, s, sum over d of a(t, d) b(s, d) times the products of alpha(r, d), s < r <= t). A warp has
// eight of a block's s, a lane two of them, and an eighth of the D elements.
template <int C, int D, class A, class B, class Alpha, class Out>
DEVICE void block_scores(A a, B b, Alpha alpha, Out out) {
    const int lane = (int)threadIdx.x % 32, part = lane % 8;
    NO_UNROLL for (int unit = (int)threadIdx.x / 32; unit < (C + 7) / 8; unit += CHUNK_WARPS) {
        const int first = unit / 2 * 16, own = unit % 2 * 8 + lane / 8 * 2;
        float sums[32] = {};
        NO_UNROLL for (int d = part; d < D; d += 8) {
            float w[2] = {b(first + own, d), b(first + own + 1, d)};
            UNROLL for (int t = 0; t < 16; t++) {
                const float x = a(first + t, d), decay = alpha(first + t, d);
                UNROLL for (int q = 0; q < 2; q++) {
                    if (t > own + q) w[q] *= decay;
                    sums[t * 2 + q] = fmaf(x, w[q], sums[t * 2 + q]);
                }
            }
        }
        lanes_add<16>(sums, 4);
        lanes_add<8>(sums, 2);
        lanes_add<4>(sums, 1);
        UNROLL for (int i = 0; i < 4; i++) {
            const int t = part * 2 + i / 2, s = own + i % 2;
            if (s <= t) out(first + t, first + s, sums[i]);
        }
    }
}

// out(t, d, sum over s of pairs(t, s) b(s, d) times the same products), or OVER_T: out(s, d, sum
// over t of pairs(t, s) b(t, d) times them). A thread goes through a block's tokens, on or back:
// w[k] is b of the token k before times the products from there.
template <int C, int D, bool OVER_T, class Pairs, class B, class Alpha, class Out>
DEVICE void block_sums(Pairs pairs, B b, Alpha alpha, Out out) {
    constexpr int BLOCKS = (C + 15) / 16;
    NO_UNROLL for (int item = (int)threadIdx.x; item < BLOCKS * D; item += CHUNK_THREADS) {
        const int first = item / D * 16, d = item % D;
        float w[16] = {}, decay = 1.0f;
        NO_UNROLL for (int step = 0; step < 16; step++) {
            const int token = first + (OVER_T ? 15 - step : step);
            if (!OVER_T) decay = alpha(token, d);
            UNROLL for (int k = 15; k > 0; k--) w[k] = w[k - 1] * decay;
            if (OVER_T) decay = alpha(token, d);
            w[0] = b(token, d);
            float sum = 0.0f;
            UNROLL for (int i = 0; i < 16; i++) {
                const int k = OVER_T ? i : 15 - i;
                if (k <= step)
                    sum = fmaf(OVER_T ? pairs(token + k, token) : pairs(token, token - k), w[k], sum);
            }
            out(token, d, sum);
        }
    }
}
