// undefined.c: refers to a function that is nowhere.
#include "tests/runtime/objects/kernels.h"

void elsewhere(void *const *args);

void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    (void)begin, (void)end, (void)scratch;
    elsewhere(args);
}
