// seed_mean.h: a number measured with several seeds.
#pragma once

#include <stdint.h>

// low..high holds the true mean with 95 % confidence, if runs vary normally (Student's t); of
// one run they are the number itself. NAN: not measured.
typedef struct {
    double mean, low, high;
} SeedMean;
SeedMean seed_mean(const double *values, uint32_t count);
