// progress.c: progress on stderr.
#include "cli/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/cli.h"

enum { TERMINAL_NS = 100 * 1000 * 1000 };
static const int64_t log_ns = 5LL * 1000 * 1000 * 1000;

void progress_begin(Progress *p, const char *what, const char *unit, double first) {
    bool quiet = p->quiet;
    *p = (Progress){.what = what, .unit = unit, .quiet = quiet, .first = first};
    p->terminal = isatty(STDERR_FILENO);
    // The first line in a log comes once work takes as long as that.
    p->start_ns = p->shown_ns = clock_ns();
}

void progress_show(Progress *p, double done, double total, const char *fmt, ...) {
    int64_t now = clock_ns();
    if (p->quiet || now - p->shown_ns < (p->terminal ? TERMINAL_NS : log_ns)) return;
    p->shown_ns = now;
    double seconds = (double)(now - p->start_ns) * 1e-9, rate = (done - p->first) / seconds;
    StrBuf line = {0};
    strbuf_addf(&line, "%s: %.0f", p->what, done);
    if (total > 0) strbuf_addf(&line, "/%.0f", total);
    strbuf_addf(&line, " %s, %.3g/s", p->unit, rate);
    if (total > done && rate > 0) {
        strbuf_addz(&line, ", ");
        text_duration(&line, (total - done) / rate);
        strbuf_addz(&line, " left");
    }
    StrBuf more = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&more, fmt, args);
    va_end(args);
    if (more.len) strbuf_addf(&line, ", %s", more.ptr);
    strbuf_release(&more);
    // Clearing to the end of the line: the last text may have been longer.
    if (p->terminal)
        fprintf(stderr, "\r%s\x1b[K", line.ptr);
    else
        fprintf(stderr, "%s\n", line.ptr);
    fflush(stderr);
    p->open = p->terminal;
    strbuf_release(&line);
}

void progress_end(Progress *p) {
    if (p->open) fputs("\r\x1b[K", stderr);
    p->open = false;
}
