// test_measure.c: intervals, and the rules by which measuring ends. No test depends on how fast
// anything is: what is measured counts its own runs.
#include "autotune/measure.h"
#include "base/clock.h"
#include "tests/test.h"

static void median_of_odd_and_even(void **state) {
    (void)state;
    double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
    assert_true(interval_of(odd, 3).median == 3);
    assert_true(interval_of(even, 4).median == 2.5);
    Interval x = interval_of(one, 1);
    assert_true(x.median == 7 && x.low == 7 && x.high == 7);
}

// Of few values the interval is all there is; of many it narrows towards the middle, and about
// 95 % of such intervals hold the true median.
static void intervals_hold_the_median(void **state) {
    (void)state;
    double few[] = {9, 1, 5, 3, 7};
    Interval x = interval_of(few, 5);
    assert_true(x.low == 1 && x.high == 9);
    double many[100];
    for (int i = 0; i < 100; i++)
        many[i] = (i * 37) % 100;
    x = interval_of(many, 100);
    assert_true(x.low <= 49 && x.low >= 39 && x.high >= 50 && x.high <= 60);
}

typedef struct {
    int64_t spin_ns;
    int runs;
} Spinner;

static void spin(void *context) {
    Spinner *s = context;
    s->runs++;
    for (int64_t start = clock_ns(); clock_ns() - start < s->spin_ns;)
        continue;
}

static void clearly_slower_is_given_up(void **state) {
    (void)state;
    Spinner slow = {2000000, 0}, fast = {20000, 0};
    Measured candidate = {spin, &slow}, incumbent = {spin, &fast};
    MeasureOptions options = {.seconds = 60, .least_pairs = 40, .give_up = 1.5};
    Measurement m;
    measure(&candidate, &incumbent, &options, &m);
    assert_true(m.gave_up);
    assert_true(m.count < 40);
    assert_true(m.ratio.low > 1.5);
}

static void samples_are_kept_within_limits(void **state) {
    (void)state;
    Spinner a = {1000, 0}, b = {1000, 0};
    Measured candidate = {spin, &a}, incumbent = {spin, &b};
    MeasureOptions options = {.seconds = 0, .least_pairs = 9};
    Measurement m;
    measure(&candidate, &incumbent, &options, &m);
    assert_false(m.gave_up);
    assert_true(m.count >= 9 && m.count <= MEASURE_SAMPLES_MAX);
    assert_true(m.time.low <= m.time.median && m.time.median <= m.time.high);
    // Samples of something short are means of several runs.
    assert_true(a.runs > (int)m.count && b.runs > (int)m.count);
    for (uint32_t i = 0; i < m.count; i++)
        assert_true(m.samples[i] >= 1000);
}

static void alone_the_ratio_is_one(void **state) {
    (void)state;
    Spinner a = {30000, 0};
    Measured candidate = {spin, &a};
    MeasureOptions options = {.seconds = 0, .least_pairs = 5, .give_up = 1.5};
    Measurement m;
    measure(&candidate, NULL, &options, &m);
    assert_true(m.count == 5 && !m.gave_up);
    assert_true(m.ratio.median == 1);
    assert_true(m.time.low >= 30000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(median_of_odd_and_even),
        cmocka_unit_test(intervals_hold_the_median),
        cmocka_unit_test(clearly_slower_is_given_up),
        cmocka_unit_test(samples_are_kept_within_limits),
        cmocka_unit_test(alone_the_ratio_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
