// writable.c: keeps a count between calls, which kernels may not.
#include "tests/runtime/objects/kernels.h"

void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    static int64_t calls = 1;
    int64_t *out = args[0];  // scalar
    (void)begin, (void)end, (void)scratch;
    *out = calls++;
}
