// test_tile_interpret.c: the interpreter against plain loops over the same arrays.
#include <math.h>

#include "base/rng.h"
#include "tests/ir/tile_bench.h"

// The interpreter sums in double precision: f32 results differ from a double by their rounding
// alone.
#define ROUNDING 6e-8

static void assert_near(double got, double expected) {
    if (fabs(got - expected) > ROUNDING * fabs(expected) + 1e-30)
        fail_msg("expected %.9g, got %.9g", expected, got);
}

static void fill(float *x, int64_t count, uint64_t seed) {
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)rng_normal(seed, (uint64_t)i);
}

static void run(const char *text, void *const *args) {
    TileBench b;
    bench_open(&b);
    tile_interpret(bench_program(&b, text), args);
    bench_close(&b);
}

static void test_rms_norm(void **state) {
    (void)state;
    float x[15], y[15];  // (t, c)
    uint16_t w[5];       // (c)
    fill(x, 15, 1);
    for (int c = 0; c < 5; c++)
        w[c] = bf16_of(0.3F * (float)c - 0.5F);
    run(tile_text_rms_norm, (void *[]){x, w, y});
    for (int t = 0; t < 3; t++) {
        double sum = 0;
        for (int c = 0; c < 5; c++)
            sum += (double)x[t * 5 + c] * (double)x[t * 5 + c];
        double scale = 1 / sqrt(sum * 0.2 + 1e-05);
        for (int c = 0; c < 5; c++)
            assert_near((double)y[t * 5 + c],
                        (double)x[t * 5 + c] * scale * (double)bf16_to(w[c]));
    }
}

// What lies outside the band does not exist: neither for a reduction nor for a dot.
static void test_attention_in_a_band(void **state) {
    (void)state;
    float q[5 * 2], k[4 * 2], y[5], z[4 * 2];
    fill(q, 10, 3);
    fill(k, 8, 4);
    run("tile band attend\nm m = 5\nn n = 4\nk d = 2\nband 0, 1\n"
        "arg q: f32[10]\narg k: f32[8]\narg z: f32[8]\n"
        "%1 = load q[m*2 + d] : f32 (m, d)\n"
        "%2 = load k[n*2 + d] : f32 (n, d)\n"
        "%3 = dot %1, %2 over (d) : f32 (m, n)\n"
        "%4 = dot %3, %1 over (m) : f32 (n, d)\n"
        "store z[n*2 + d] = %4 : f32 (n, d)\n",
        (void *[]){q, k, z});
    run("tile band attend\nm m = 5 tile 2\nn n = 4\nk d = 2\nband -1, 1\n"
        "arg q: f32[10]\narg k: f32[8]\narg y: f32[5]\n"
        "%1 = load q[m*2 + d] : f32 (m, d)\n"
        "%2 = load k[n*2 + d] : f32 (n, d)\n"
        "%3 = dot %1, %2 over (d) : f32 (m, n)\n"
        "%4 = reduce_max %3 over (n) : f32 (m)\n"
        "store y[m] = %4 : f32 (m)\n",
        (void *[]){q, k, y});
    double sums[4 * 2] = {0};
    for (int64_t m = 0; m < 5; m++) {
        double most = -HUGE_VAL;
        for (int64_t n = 0; n < 4; n++) {
            double score = (double)q[m * 2] * (double)k[n * 2] +
                           (double)q[m * 2 + 1] * (double)k[n * 2 + 1];
            if (m - n >= -1 && m - n <= 1) most = fmax(most, score);
            for (int d = 0; m - n >= 0 && m - n <= 1 && d < 2; d++)
                sums[n * 2 + d] += score * (double)q[m * 2 + d];
        }
        assert_near((double)y[m], most);
    }
    for (int i = 0; i < 8; i++)
        assert_near((double)z[i], sums[i]);
}

static void test_row_softmax_in_place(void **state) {
    (void)state;
    float x[4 * 6], y[4 * 6];  // (g, c)
    fill(x, 24, 2);
    memcpy(y, x, sizeof x);
    run("tile softmax stream\ngrid g = 4\ncol c = 6\narg x: f32[24]\n"
        "%1 = load x[g*6 + c] : f32 (g, c)\n"
        "%2 = reduce_max %1 over (c) : f32 (g)\n"
        "%3 = map sub %1, %2 : f32 (g, c)\n"
        "%4 = map exp %3 : f32 (g, c)\n"
        "%5 = reduce_sum %4 over (c) : f32 (g)\n"
        "%6 = map div %4, %5 : f32 (g, c)\n"
        "store x[g*6 + c] = %6 : f32 (g, c)\n",
        (void *[]){y});
    for (int g = 0; g < 4; g++) {
        double most = -HUGE_VAL, sum = 0;
        for (int c = 0; c < 6; c++)
            most = fmax(most, (double)x[g * 6 + c]);
        for (int c = 0; c < 6; c++)
            sum += exp((double)x[g * 6 + c] - most);
        for (int c = 0; c < 6; c++)
            assert_near((double)y[g * 6 + c], exp((double)x[g * 6 + c] - most) / sum);
    }
}

// A store may stand before a load of the same element: it must still load what was there.
static void test_stores_come_last(void **state) {
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6];
    run("tile t stream\ncol c = 6\narg x: f32[6]\narg y: f32[6]\n"
        "%1 = load x[c] : f32 (c)\n"
        "%2 = map neg %1 : f32 (c)\n"
        "store x[c] = %2 : f32 (c)\n"
        "%4 = load x[c] : f32 (c)\n"
        "store y[c] = %4 : f32 (c)\n",
        (void *[]){x, y});
    for (int c = 0; c < 6; c++) {
        assert_near((double)x[c], -(c + 1.0));
        assert_near((double)y[c], c + 1.0);
    }
}

// A store of the whole sum beside one of every row: serial rows, cols in tiles.
static void test_sum_over_serial_rows(void **state) {
    (void)state;
    float x[2 * 5 * 7], sum[2 * 7], twice[2 * 5 * 7];  // (g, s, c), (g, c), (g, s, c)
    fill(x, 70, 3);
    run("tile sum stream\ngrid g = 2\nserial s = 5\ncol c = 7 tile 3\n"
        "arg x: f32[70]\narg sum: f32[14]\narg twice: f32[70]\n"
        "%1 = load x[g*35 + s*7 + c] : f32 (g, s, c)\n"
        "%2 = reduce_sum %1 over (s) : f32 (g, c)\n"
        "store sum[g*7 + c] = %2 : f32 (g, c)\n"
        "%4 = map add %1, %1 : f32 (g, s, c)\n"
        "store twice[g*35 + s*7 + c] = %4 : f32 (g, s, c)\n",
        (void *[]){x, sum, twice});
    for (int g = 0; g < 2; g++)
        for (int c = 0; c < 7; c++) {
            double expected = 0;
            for (int s = 0; s < 5; s++)
                expected += (double)x[g * 35 + s * 7 + c];
            assert_near((double)sum[g * 7 + c], expected);
        }
    for (int i = 0; i < 70; i++)
        assert_near((double)twice[i], 2 * (double)x[i]);
}

static void test_gather(void **state) {
    (void)state;
    float table[3 * 4], y[5 * 4];  // (v, c), (g, c)
    int32_t row[5] = {2, 0, -1, 3, 1};
    fill(table, 12, 4);
    run("tile gather stream\ngrid g = 5\ncol c = 4 tile 3\narg w: f32[12]\narg j: i32[5]\narg y: f32[20]\n"
        "%1 = load j[g] : i32 (g)\n"
        "%2 = gather w[c] at %1*4 of 3 : f32 (g, c)\n"
        "store y[g*4 + c] = %2 : f32 (g, c)\n",
        (void *[]){table, row, y});
    for (int g = 0; g < 5; g++)
        for (int c = 0; c < 4; c++) {
            bool inside = row[g] >= 0 && row[g] < 3;
            assert_near((double)y[g * 4 + c], inside ? (double)table[row[g] * 4 + c] : 0);
        }
}

static void test_scatter(void **state) {
    (void)state;
    float x[6 * 4], y[3 * 4], expected[3 * 4] = {0};  // (s, c), (v, c)
    int32_t row[6] = {2, 0, 2, -1, 3, 2};
    fill(x, 24, 5);
    memset(y, 0, sizeof y);
    run("tile scatter stream\nserial s = 6\ncol c = 4 tile 3\narg x: f32[24]\narg j: i32[6]\narg y: f32[12]\n"
        "%1 = load j[s] : i32 (s)\n"
        "%2 = load x[s*4 + c] : f32 (s, c)\n"
        "scatter_add y[c] at %1*4 of 3 = %2 : f32 (s, c)\n",
        (void *[]){x, row, y});
    for (int s = 0; s < 6; s++)
        for (int c = 0; c < 4; c++)
            if (row[s] >= 0 && row[s] < 3) expected[row[s] * 4 + c] += x[s * 4 + c];
    assert_memory_equal(y, expected, sizeof y);
    int32_t place[6] = {2, -1, 0, -1, 3, 1};
    fill(y, 12, 7);
    run("tile put stream\ngrid s = 6\ncol c = 4 tile 3\narg x: f32[24]\narg j: i32[6]\narg y: f32[12]\n"
        "%1 = load j[s] : i32 (s)\n"
        "%2 = load x[s*4 + c] : f32 (s, c)\n"
        "scatter_put y[c] at %1*4 of 3 = %2 : f32 (s, c)\n",
        (void *[]){x, place, y});
    memcpy(expected, x + 8, 4 * sizeof *x);
    memcpy(expected + 4, x + 20, 4 * sizeof *x);
    memcpy(expected + 8, x, 4 * sizeof *x);
    assert_memory_equal(y, expected, sizeof y);
}

static void test_shift_and_roll(void **state) {
    (void)state;
    float x[3 * 7], y[3 * 7], z[3 * 7];  // (g, c)
    fill(x, 21, 6);
    run("tile move stream\ngrid g = 3\ncol c = 7 tile 2\narg x: f32[21]\narg y: f32[21]\narg z: f32[21]\n"
        "%1 = load x[g*7 + c - 2] if 0 <= c - 2 < 7 : f32 (g, c)\n"
        "store y[g*7 + c] = %1 : f32 (g, c)\n"
        "%3 = load x[g*7 + c + 3] if 0 <= c + 3 < 7 : f32 (g, c)\n"
        "%4 = load x[g*7 + c - 4] if 7 <= c + 3 < 14 : f32 (g, c)\n"
        "%5 = map add %3, %4 : f32 (g, c)\n"
        "store z[g*7 + c] = %5 : f32 (g, c)\n",
        (void *[]){x, y, z});
    for (int g = 0; g < 3; g++)
        for (int c = 0; c < 7; c++) {
            assert_near((double)y[g * 7 + c], c < 2 ? 0 : (double)x[g * 7 + c - 2]);
            assert_near((double)z[g * 7 + c], (double)x[g * 7 + (c + 3) % 7]);
        }
}

// A merged dimension (h, d) whose guard and index look at one part of it.
static void test_index_and_guard_of_parts(void **state) {
    (void)state;
    float x[12], y[12];
    int32_t part[12];
    fill(x, 12, 7);
    run("tile part stream\ncol c = 12\narg x: f32[12]\narg y: f32[12]\narg part: i32[12]\n"
        "%1 = index c / 2 % 3 + 5 : i32 (c)\n"
        "store part[c] = %1 : i32 (c)\n"
        "%3 = load x[c] if 1 <= c / 2 % 3 < 2 and 4 <= c < 10 : f32 (c)\n"
        "store y[c] = %3 : f32 (c)\n",
        (void *[]){x, y, part});
    for (int c = 0; c < 12; c++) {
        assert_int_equal(part[c], c / 2 % 3 + 5);
        bool holds = c / 2 % 3 == 1 && c >= 4 && c < 10;
        assert_near((double)y[c], holds ? (double)x[c] : 0);
    }
}

static void test_rounding_at_stores(void **state) {
    (void)state;
    float x[4] = {1.00390625F, -0.1F, 65519, 1e6F};
    uint16_t b[4], h[4];
    int32_t i[4];
    bool positive[4];
    run("tile round stream\ncol c = 4\narg x: f32[4]\narg b: bf16[4]\narg h: f16[4]\narg i: i32[4]\narg p: bool[4]\n"
        "%1 = load x[c] : f32 (c)\n"
        "store b[c] = %1 : f32 (c)\n"
        "store h[c] = %1 : f32 (c)\n"
        "%4 = map cast %1 : i32 (c)\n"
        "store i[c] = %4 : i32 (c)\n"
        "%6 = const 0 : f32 ()\n"
        "%7 = map lt %6, %1 : bool (c)\n"
        "store p[c] = %7 : bool (c)\n",
        (void *[]){x, b, h, i, positive});
    for (int c = 0; c < 4; c++) {
        assert_int_equal(b[c], bf16_of(x[c]));
        assert_int_equal(h[c], f16_of(x[c]));
        assert_int_equal(i[c], (int32_t)x[c]);
        assert_int_equal(positive[c], x[c] > 0);
    }
}

static double silu(double x) { return x / (1 + exp(-x)); }

static void test_contraction(void **state) {
    (void)state;
    float x[7 * 9], w[9 * 5], y[7 * 5];  // (t, d), (d, f), (t, f)
    fill(x, 63, 8);
    fill(w, 45, 9);
    run(tile_text_contraction, (void *[]){x, w, y});
    for (int t = 0; t < 7; t++)
        for (int f = 0; f < 5; f++) {
            double sum = 0;
            for (int d = 0; d < 9; d++)
                sum += (double)x[t * 9 + d] * (double)w[d * 5 + f];
            assert_near((double)y[t * 5 + f], silu(sum));
        }
}

// Batched, two dimensions summed, a prologue on both sides, an epilogue that adds a residual in
// place.
static void test_contraction_with_prologue(void **state) {
    (void)state;
    enum { G = 2, M = 5, N = 3, H = 4, D = 6 };
    float x[G * M * H * D], scale[G * M], w[G * H * N * D], y[G * M * N], residual[G * M * N];
    fill(x, (int64_t)G * M * H * D, 10);  // (g, m, h, d)
    fill(scale, (int64_t)G * M, 11);      // (g, m)
    fill(w, (int64_t)G * H * N * D, 12);  // (g, h, n, d)
    fill(residual, (int64_t)G * M * N, 13);
    memcpy(y, residual, sizeof y);
    run("tile attention loop\ngrid g = 2\nm m = 5 tile 2\nn n = 3 tile 2\nk h = 4 tile 3\nk d = 6 tile 4\n"
        "arg x: f32[240]\narg s: f32[10]\narg w: f32[144]\narg y: f32[30]\n"
        "%1 = load x[g*120 + m*24 + h*6 + d] : f32 (g, m, h, d)\n"
        "%2 = load s[g*5 + m] : f32 (g, m)\n"
        "%3 = map mul %1, %2 : f32 (g, m, h, d)\n"
        "%4 = load w[g*72 + n*6 + h*18 + d] : f32 (g, n, h, d)\n"
        "%5 = map tanh %4 : f32 (g, n, h, d)\n"
        "%6 = dot %3, %5 over (h, d) : f32 (g, m, n)\n"
        "%7 = load y[g*15 + m*3 + n] : f32 (g, m, n)\n"
        "%8 = map add %6, %7 : f32 (g, m, n)\n"
        "store y[g*15 + m*3 + n] = %8 : f32 (g, m, n)\n",
        (void *[]){x, scale, w, y});
    for (int g = 0; g < G; g++)
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                double sum = (double)residual[(g * M + m) * N + n];
                for (int h = 0; h < H; h++)
                    for (int d = 0; d < D; d++)
                        sum += (double)x[((g * M + m) * H + h) * D + d] *
                               (double)scale[g * M + m] *
                               tanh((double)w[((g * H + h) * N + n) * D + d]);
                assert_true(fabs((double)y[(g * M + m) * N + n] - sum) <= 1e-6);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_attention_in_a_band),
        cmocka_unit_test(test_row_softmax_in_place),
        cmocka_unit_test(test_stores_come_last),
        cmocka_unit_test(test_sum_over_serial_rows),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_scatter),
        cmocka_unit_test(test_shift_and_roll),
        cmocka_unit_test(test_index_and_guard_of_parts),
        cmocka_unit_test(test_rounding_at_stores),
        cmocka_unit_test(test_contraction),
        cmocka_unit_test(test_contraction_with_prologue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
