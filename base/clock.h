// clock.h: monotonic time, and that of the thread on the CPU.
#pragma once

#include <stdint.h>

int64_t clock_ns(void);
double clock_seconds(void);
double clock_thread_seconds(void);
