// Means over seeds: quantiles of Student's distribution from tables.
#include <math.h>

#include "cli/seed_mean.h"
#include "tests/test.h"

static void expect(const double *x, uint32_t n, double mean, double half) {
    SeedMean m = seed_mean(x, n);
    assert_true(fabs(m.mean - mean) < 1e-12);
    assert_true(fabs(m.high - m.mean - half) < 2e-3 * (half + 1e-9));
    assert_true(fabs(m.mean - m.low - half) < 2e-3 * (half + 1e-9));
}

static void test_intervals(void **state) {
    (void)state;
    assert_true(isnan(seed_mean(NULL, 0).mean));
    expect((double[]){5}, 1, 5, 0);
    expect((double[]){4, 4, 4}, 3, 4, 0);
    expect((double[]){1, 3}, 2, 2, 12.706);
    expect((double[]){1, 2, 3}, 3, 2, 4.303 / sqrt(3));
    // 0, 1, ..., 15: 15 degrees of freedom; then 30.
    double x[31];
    for (int i = 0; i < 31; i++)
        x[i] = i;
    expect(x, 16, 7.5, 2.131 * sqrt(16.0 * 17 / 12 / 16));
    expect(x, 31, 15, 2.042 * sqrt(31.0 * 32 / 12 / 31));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_intervals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
