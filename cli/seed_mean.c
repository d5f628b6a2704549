// seed_mean.c: the mean and its interval.
#include "cli/seed_mean.h"

#include <math.h>

SeedMean seed_mean(const double *values, uint32_t count) {
    static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262};
    enum { KNOWN = sizeof t / sizeof *t };
    if (!count) return (SeedMean){(double)NAN, (double)NAN, (double)NAN};
    double mean = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++)
        mean += values[i] / count;
    if (count == 1) return (SeedMean){mean, mean, mean};
    for (uint32_t i = 0; i < count; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    double free = count - 1;
    // The first terms of the quantile's expansion in 1 / free.
    double quantile =
        count - 1 <= KNOWN ? t[count - 2] : 1.96 + 2.372 / free + 2.823 / (free * free);
    double half = quantile * sqrt(squares / free / count);
    return (SeedMean){mean, mean - half, mean + half};
}
