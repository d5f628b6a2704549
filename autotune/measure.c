// measure.c: interleaved timing until the answer is known well enough.
#include "autotune/measure.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"

// A sample is at least that long: the clock costs some 25 ns.
static const double least_sample_ns = 20000;
// Intervals narrower than this need no more samples.
static const double narrow = 0.02;

MeasureOptions measure_defaults(void) {
    return (MeasureOptions){.seconds = 0.25, .least_pairs = 11, .give_up = 1.5};
}

static int by_size(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// The count of values below the median is binomial: its 95 % range gives the ranks.
Interval interval_of(double *values, uint32_t count) {
    ASSERT(count > 0);
    qsort(values, count, sizeof *values, by_size);
    double half = 0.98 * sqrt((double)count);
    int64_t low = (int64_t)floor((double)count / 2 - half), high = count - 1 - low;
    if (low < 0) {
        low = 0;
        high = count - 1;
    }
    double median =
        count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    return (Interval){median, values[low], values[high]};
}

static double run_ns(const Measured *what, uint32_t times) {
    int64_t before = clock_ns();
    for (uint32_t i = 0; i < times; i++)
        what->run(what->context);
    return (double)(clock_ns() - before) / times;
}

static uint32_t repeats(const Measured *what) {
    double once = run_ns(what, 1);
    return once >= least_sample_ns ? 1
                                   : (uint32_t)(least_sample_ns / (once > 100 ? once : 100));
}

static Interval copy_interval(const double *values, uint32_t count) {
    double sorted[MEASURE_SAMPLES_MAX];
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = values[i];
    return interval_of(sorted, count);
}

static bool is_narrow(const Interval *x) { return x->high - x->low < narrow * x->median; }

// A verdict: the interval excludes 1 clearly, or there is little left to learn.
static bool known(const Measurement *m, bool compared) {
    const Interval *x = compared ? &m->ratio : &m->time;
    return is_narrow(x) || (compared && (x->low > 1.1 || x->high < 0.9));
}

void measure(const Measured *candidate, const Measured *incumbent,
             const MeasureOptions *options, Measurement *out) {
    const uint32_t least_to_give_up = 6;
    double ratios[MEASURE_SAMPLES_MAX], start = clock_seconds();
    uint32_t times = repeats(candidate), other_times = incumbent ? repeats(incumbent) : 0;
    *out = (Measurement){.ratio = {1, 1, 1}};
    while (out->count < MEASURE_SAMPLES_MAX) {
        bool first = out->count % 2 == 0;
        double other = incumbent && first ? run_ns(incumbent, other_times) : 1;
        double mine = run_ns(candidate, times);
        if (incumbent && !first) other = run_ns(incumbent, other_times);
        out->samples[out->count] = mine;
        ratios[out->count++] = mine / (other > 1 ? other : 1);
        out->time = copy_interval(out->samples, out->count);
        if (incumbent) out->ratio = copy_interval(ratios, out->count);
        if (incumbent && options->give_up > 0 && out->count >= least_to_give_up &&
            out->ratio.low > options->give_up) {
            out->gave_up = true;
            return;
        }
        if (out->count < options->least_pairs) continue;
        if (clock_seconds() - start > options->seconds || known(out, incumbent != NULL)) return;
    }
}
