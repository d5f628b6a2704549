// clock.h: monotonic time.
#pragma once

#include <stdint.h>

int64_t clock_ns(void);
double clock_seconds(void);
