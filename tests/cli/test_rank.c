// Singular values and ranks of matrices that have known ones.
#include <math.h>

#include "cli/rank.h"
#include "tests/test.h"

static void expect_values(const double *m, uint32_t rows, uint32_t columns,
                          const double *expected) {
    double scratch[64], got[8];
    uint32_t n = rows < columns ? rows : columns;
    singular_values(m, rows, columns, scratch, got);
    for (uint32_t i = 0; i < n; i++)
        assert_true(fabs(got[i] - expected[i]) < 1e-13 * (1 + expected[0]));
}

static void test_values(void **state) {
    (void)state;
    expect_values((double[]){3, 0, 0, 0, -5, 0, 0, 0, 4}, 3, 3, (double[]){5, 4, 3});
    // [[3, 0], [4, 5]]: the squares are 45 and 5.
    expect_values((double[]){3, 0, 4, 5}, 2, 2, (double[]){sqrt(45), sqrt(5)});
    // Both sides may be the longer one: the squares are 25 and 9.
    const double wide[] = {3, 2, 2, 2, 3, -2}, tall[] = {3, 2, 2, 3, 2, -2};
    expect_values(wide, 2, 3, (double[]){5, 3});
    expect_values(tall, 3, 2, (double[]){5, 3});
    expect_values((double[]){0, 0, 0, 0}, 2, 2, (double[]){0, 0});
}

static void test_rank(void **state) {
    (void)state;
    const double one[] = {1, 2, 3, 2, 4, 6, 3, 6, 9};
    assert_int_equal(matrix_rank(one, 3, 3, 1e-9), 1);
    const double nearly[] = {1, 0, 0, 1e-7};
    assert_int_equal(matrix_rank(nearly, 2, 2, 1e-6), 1);
    assert_int_equal(matrix_rank(nearly, 2, 2, 1e-8), 2);
    assert_int_equal(matrix_rank((double[]){0, 0, 0, 0}, 2, 2, 1e-9), 0);
}

// A residual stream: full rank, but every block below the diagonal has rank 1.
static void test_triangle_of_ones(void **state) {
    (void)state;
    enum { N = 8 };
    double m[N * N] = {0};
    for (int r = 0; r < N; r++)
        for (int c = 0; c <= r; c++)
            m[r * N + c] = 1;
    assert_int_equal(matrix_rank(m, N, N, 1e-9), N);
    assert_int_equal(semiseparable_rank(m, N, N, 1e-9), 1);
    // One row that reads its own way adds one.
    m[5 * N + 2] = 3;
    assert_int_equal(semiseparable_rank(m, N, N, 1e-9), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_rank),
                                       cmocka_unit_test(test_triangle_of_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
