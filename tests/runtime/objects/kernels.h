// kernels.h: for small kernels that the tests compile to objects and load.
#pragma once

#include <stdint.h>

void kernel(void *const *args, int64_t begin, int64_t end, void *scratch);
