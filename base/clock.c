// clock.c: see clock.h.
#include "base/clock.h"

#include <time.h>

static int64_t time_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_ns(void) { return time_ns(CLOCK_MONOTONIC); }
double clock_seconds(void) { return (double)clock_ns() * 1e-9; }
double clock_thread_seconds(void) { return (double)time_ns(CLOCK_THREAD_CPUTIME_ID) * 1e-9; }
