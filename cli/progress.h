// progress.h: one line on stderr about long work: what is done, how fast, how long still. On a
// terminal it is rewritten in place; in a log a new line comes every few seconds.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

typedef struct {
    const char *what;  // "compiling"
    const char *unit;  // "kernels"
    bool quiet, terminal;
    bool open;  // a line without its newline is on the terminal
    int64_t start_ns, shown_ns;
    double first;  // done already when it began
} Progress;

// `first` of the work was done before; the rate does not count it.
void progress_begin(Progress *p, const char *what, const char *unit, double first);
// total 0: not known. The text after the numbers may be empty.
void progress_show(Progress *p, double done, double total, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void progress_end(Progress *p);  // clears the terminal's line; safe to repeat
