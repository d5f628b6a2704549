// check.h: bugs in Strata itself. User errors go through diag.h instead.
#pragma once

#include <stddef.h>

#include "base/attr.h"

// Prints "strata: bug at FILE:LINE: MESSAGE" to stderr and exits with status 4.
NORETURN void check_failed(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);

// The host ran out of memory: says so on stderr and exits with status 3. Only base calls it.
NORETURN void check_out_of_memory(size_t bytes);

#define BUG(...)  check_failed(__FILE__, __LINE__, __VA_ARGS__)
#define ASSERT(c) ((c) ? (void)0 : check_failed(__FILE__, __LINE__, "%s", #c))
#ifdef NDEBUG
#define ASSERT_HOT(c) ((void)0)
#else
#define ASSERT_HOT(c) ASSERT(c)
#endif
