// planted.c: y = 2 x + 1, as it should be and as it should not.
#include "tests/autotune/objects/planted.h"

#include <stddef.h>

void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    const float *x = args[1];  // (PLANTED_COUNT)
    float *y = args[0];        // (PLANTED_COUNT)
    (void)scratch;
#if defined(PLANTED_CRASH)
    volatile int *volatile nowhere = NULL;
    *nowhere = 1;  // NOLINT(clang-analyzer-core.NullDereference): what is planted
#elif defined(PLANTED_HANG)
    for (volatile int forever = 1; forever;)
        continue;
#endif
    for (int64_t i = begin * PLANTED_COUNT; i < end * PLANTED_COUNT; i++)
        y[i] = 2 * x[i] + 1;
#if defined(PLANTED_WRONG)
    y[PLANTED_COUNT - 1] += 0.5F;
#elif defined(PLANTED_SLOW)
    for (volatile int delay = 0; delay < 600000; delay++)
        continue;
#endif
}
