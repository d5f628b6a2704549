// test_simt.c: the models of what sm_80 has: threads, shuffles, barriers, copies, matrices.
#include "tests/simt/simt_bench.h"

static const char sum_rows[] =
    TEXT(KERNEL(256) kernel(float *__restrict__ y, const bf16 *__restrict__ x) {
        __shared__ float parts[8];
        const Words4 v = load16(x + blockIdx.x * 2048 + threadIdx.x * 8);
        float sum = 0;
        UNROLL for (int i = 0; i < 4; i++) sum += bf16_low(v.w[i]) + bf16_high(v.w[i]);
        UNROLL for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(~0U, sum, d);
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
        __syncthreads();
        float total = 0;
        UNROLL for (int i = 0; i < 8; i++) total += parts[i];
        if (threadIdx.x == 0) y[blockIdx.x] = total;
    });

static void rows_are_summed(void **state) {
    Fixture *f = *state;
    uint16_t *x = arena_alloc(&f->arena, 3 * 2048, sizeof *x);
    float y[3], expected[3] = {0};
    for (int i = 0; i < 3 * 2048; i++) {
        x[i] = bf16_of((float)(i % 7));
        expected[i / 2048] += (float)(i % 7);
    }
    SimtArg args[] = {{"y", y, sizeof y}, {"x", x, 3 * 2048 * sizeof *x}};
    run_text(f, sum_rows, (Launch){.blocks = 3, .threads = 256}, args, 2);
    for (int i = 0; i < 3; i++)
        assert_float_equal(y[i], expected[i], 0);
}

// y[16 x 16] = a[16 x 16] b[16 x 16]: b once as it is, k outermost, and once with k innermost.
static const char product[] =
    TEXT(KERNEL(32) kernel(float *y, float *z, const bf16 *a, const bf16 *b, const bf16 *bt) {
        DYNAMIC_SHARED(shared);
        const u32 at = shared_address(shared);
        const int lane = threadIdx.x;
        for (int i = lane; i < 96; i += 32) {
            const bf16 *from = i < 32 ? a : i < 64 ? b : bt;
            copy_async16(at + i * 16, from + i % 32 * 8, 16);
        }
        copy_async_commit();
        copy_async_wait<0>();
        __syncwarp();
        u32 x[4];
        u32 w[4];
        u32 v[4];
        matrix_load_x4(x, at + lane % 16 * 32 + lane / 16 * 16);
        matrix_load_x4_turned(w, at + 512 + lane % 16 * 32 + lane / 16 * 16);
        matrix_load_x4(v, at + 1024 + (lane % 8 + lane / 16 * 8) * 32 + lane / 8 % 2 * 16);
        for (int half = 0; half < 2; half++) {
            float d[4] = {0};
            float e[4] = {0};
            mma_bf16(d, x, w[2 * half], w[2 * half + 1]);
            mma_bf16(e, x, v[2 * half], v[2 * half + 1]);
            for (int i = 0; i < 4; i++) {
                int place = (lane / 4 + i / 2 * 8) * 16 + half * 8 + 2 * (lane % 4) + i % 2;
                y[place] = d[i];
                z[place] = e[i];
            }
        }
    });

static void products_of_a_warp(void **state) {
    Fixture *f = *state;
    uint16_t a[256], b[256], bt[256];
    float y[256] = {0}, z[256] = {0};
    for (int i = 0; i < 256; i++) {
        a[i] = bf16_of((float)(i % 11) - 4);
        b[i] = bt[i % 16 * 16 + i / 16] = bf16_of((float)(i % 7) - 2);
    }
    SimtArg args[] = {{"y", y, sizeof y},
                      {"z", z, sizeof z},
                      {"a", a, sizeof a},
                      {"b", b, sizeof b},
                      {"bt", bt, sizeof bt}};
    run_text(f, product, (Launch){.blocks = 1, .threads = 32, .shared_bytes = 1536}, args, 5);
    for (int i = 0; i < 256; i++) {
        float sum = 0;
        for (int k = 0; k < 16; k++)
            sum += bf16_to(a[i / 16 * 16 + k]) * bf16_to(b[k * 16 + i % 16]);
        assert_float_equal(y[i], sum, 0);
        assert_float_equal(z[i], sum, 0);
    }
}

int main(void) {
    if (!simt_available()) {
        print_message("skipped: no C++ compiler\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_summed),
        cmocka_unit_test(products_of_a_warp),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
