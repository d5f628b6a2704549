// visible.c: a table that others could replace, so that position-independent code reaches it
// through the global offset table.
#include "tests/runtime/objects/kernels.h"

extern const int32_t visible_table[3];
const int32_t visible_table[3] = {10, 20, 30};

void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    int32_t *out = args[0];  // (n)
    (void)scratch;
    for (int64_t i = begin; i < end; i++)
        out[i] = visible_table[i % 3];
}
