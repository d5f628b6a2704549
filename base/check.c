// check.c: the two ways Strata gives up at once.
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// Exit handlers are skipped: after a bug they may see broken data, and another thread may hold
// a lock.
void check_failed(const char *file, int line, const char *fmt, ...) {
    fprintf(stderr, "strata: bug at %s:%d: ", file, line);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _Exit(4);
}

void check_out_of_memory(size_t bytes) {
    fprintf(stderr, "strata: error: out of memory while asking for %zu bytes\n", bytes);
    fflush(NULL);
    _Exit(3);
}
