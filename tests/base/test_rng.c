// test_rng.c: moments and independence. Bounds are six standard errors of n samples.
#include <math.h>

#include "base/rng.h"
#include "tests/test.h"

enum { N = 400000, PAIRS = 100000 };

static void uniform_moments(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        double sum = 0, squares = 0;
        unsigned bins[64] = {0};
        for (uint64_t i = 0; i < N; i++) {
            double x = rng_uniform(seed, i);
            assert_true(x >= 0 && x < 1);
            sum += x;
            squares += (x - 0.5) * (x - 0.5);
            bins[(unsigned)(x * 64)]++;
        }
        assert_true(fabs(sum / N - 0.5) < 6 * sqrt(1 / 12.0 / N));
        // Var((x - 1/2)^2) = 1/80 - 1/144
        assert_true(fabs(squares / N - 1 / 12.0) < 6 * sqrt((1 / 80.0 - 1 / 144.0) / N));
        double chi = 0;
        for (int i = 0; i < 64; i++)
            chi += pow(bins[i] - N / 64.0, 2) / (N / 64.0);
        assert_true(fabs(chi - 63) < 6 * sqrt(2 * 63));
    }
}

static void normal_moments(void **state) {
    (void)state;
    double m[5] = {0}, product = 0, last = 0;
    for (uint64_t i = 0; i < N; i++) {
        double x = rng_normal(7, i);
        assert_true(isfinite(x));
        for (int k = 1; k < 5; k++)
            m[k] += pow(x, k) / N;
        product += x * last / N;
        last = x;
    }
    // Variances of the powers of a normal variable: 1, 2, 15, 96.
    assert_true(fabs(m[1]) < 6 * sqrt(1.0 / N));
    assert_true(fabs(m[2] - 1) < 6 * sqrt(2.0 / N));
    assert_true(fabs(m[3]) < 6 * sqrt(15.0 / N));
    assert_true(fabs(m[4] - 3) < 6 * sqrt(96.0 / N));
    assert_true(fabs(product) < 6 * sqrt(1.0 / N));
}

// Mean product of two normal streams is 0 with standard error 1 / sqrt(n).
static double correlation(uint64_t seed_a, uint64_t seed_b, uint64_t shift) {
    double sum = 0;
    for (uint64_t i = 0; i < PAIRS; i++)
        sum += rng_normal(seed_a, i) * rng_normal(seed_b, i + shift);
    return fabs(sum / PAIRS);
}

static void streams_are_unrelated(void **state) {
    (void)state;
    double bound = 6 / sqrt(PAIRS);
    assert_true(correlation(0, 1, 0) < bound);
    assert_true(correlation(0, 1, 1) < bound);
    assert_true(correlation(5, 4, 1) < bound);
    assert_true(correlation(1, UINT64_C(1) << 63, 0) < bound);
    assert_true(correlation(3, 3, 2) < bound);
}

static void words_are_fixed_and_bits_flip(void **state) {
    (void)state;
    assert_true(rng_u64(0, 0) == UINT64_C(0xc2b8e1c03648238e));
    assert_true(rng_u64(1, 2) == UINT64_C(0xff80d22ec2927754));
    for (unsigned bit = 0; bit < 64; bit++) {
        unsigned flips[64] = {0};
        for (uint64_t i = 0; i < 2000; i++) {
            uint64_t change = rng_u64(9, i) ^ rng_u64(9, i ^ UINT64_C(1) << bit);
            for (unsigned k = 0; k < 64; k++)
                flips[k] += (unsigned)(change >> k & 1);
        }
        for (unsigned k = 0; k < 64; k++)
            assert_true(fabs(flips[k] - 1000.0) < 6 * sqrt(2000) / 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_moments),
        cmocka_unit_test(normal_moments),
        cmocka_unit_test(streams_are_unrelated),
        cmocka_unit_test(words_are_fixed_and_bits_flip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
