// planted.h: kernels for test_worker.c that are right, wrong, slow, crash or hang.
#pragma once

#include <stdint.h>

#define PLANTED_COUNT 1000

void kernel(void *const *args, int64_t begin, int64_t end, void *scratch);
