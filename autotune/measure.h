// measure.h: how long something takes, compared with something else.
//
// Two things are run in turn, A B B A A B ..., so that whatever changes on the machine
// meanwhile happens to both; a pair of neighbours gives a ratio, and the median of the ratios,
// with an interval from their order alone, is what counts. The regime is warm: a kernel of a
// model runs after others that just wrote its inputs, and every step runs it again.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { MEASURE_SAMPLES_MAX = 64 };

typedef struct {
    void (*run)(void *context);
    void *context;
} Measured;

typedef struct {
    double seconds;        // stop after about that much time
    uint32_t least_pairs;  // but not before this many; at most MEASURE_SAMPLES_MAX
    double give_up;        // stop early when the ratio is above this beyond doubt; 0: never
} MeasureOptions;
MeasureOptions measure_defaults(void);

typedef struct {
    double median, low, high;  // low..high holds the true median with 95 % confidence
} Interval;
// By order statistics; count > 0. Sorts the values.
Interval interval_of(double *values, uint32_t count);

typedef struct {
    double samples[MEASURE_SAMPLES_MAX];  // of the candidate, ns a run, in order
    uint32_t count;
    Interval time;   // ns
    Interval ratio;  // candidate / incumbent, pair by pair; 1 if there is no incumbent
    bool gave_up;
} Measurement;
// `incumbent` NULL: the candidate alone. Both have run at least once before.
void measure(const Measured *candidate, const Measured *incumbent,
             const MeasureOptions *options, Measurement *out);
