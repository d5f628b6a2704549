// metrics.c: appending to metrics.jsonl. base/io writes whole files; this one grows, so the
// system calls are here.
#include "runtime/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

static bool metrics_fail(Diag *diag, const Metrics *m) {
    return diag_file_error(diag, FAIL_ENVIRONMENT, str_of(m->path), "cannot write: %s",
                           strerror(errno));
}

// The step of a line that we wrote, {"step":7,...}; -1: it is not whole.
static int64_t line_step(Str line) {
    const Str start = STR("{\"step\":");
    size_t end = start.len;
    if (!str_starts(line, start) || !str_ends(line, STR("}"))) return -1;
    while (end < line.len && line.ptr[end] >= '0' && line.ptr[end] <= '9')
        end++;
    int64_t step;
    Str digits = {line.ptr + start.len, end - start.len};
    return str_to_int64(digits, &step) ? step : -1;
}

// Bytes of the lines to keep; *last is the step of the last of them.
static size_t kept_bytes(Str text, int64_t step, int64_t *last) {
    size_t kept = 0;
    *last = 0;
    while (kept < text.len) {
        const char *newline = memchr(text.ptr + kept, '\n', text.len - kept);
        if (!newline) break;
        Str line = {text.ptr + kept, (size_t)(newline - text.ptr) - kept};
        int64_t at = line_step(line);
        if (at < 0 || at > step) break;
        *last = at;
        kept += line.len + 1;
    }
    return kept;
}

static bool cut(Diag *diag, Arena *arena, Metrics *m, int64_t step) {
    Str text;
    int64_t last;
    if (!io_read(diag, arena, str_of(m->path), &text)) return false;
    size_t kept = kept_bytes(text, step, &last);
    if (last < step) {
        diag_warning(diag, (Span){0}, "%s: the lines from step %lld to step %lld are missing",
                     m->path, (long long)last + 1, (long long)step);
    }
    return ftruncate(m->fd, (off_t)kept) == 0 || metrics_fail(diag, m);
}

bool metrics_open(Diag *diag, Arena *arena, Str directory, int64_t step, Metrics *out) {
    out->path = arena_printf(arena, "%.*s/metrics.jsonl", STR_ARG(directory));
    out->fd = open(out->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (out->fd < 0) return metrics_fail(diag, out);
    Arena scratch = {0};
    bool ok = true;
    // Some file systems have no locks; then there is no protection.
    if (flock(out->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        ok = diag_file_error(diag, FAIL_USAGE, directory,
                             "another process is training in this directory");
    }
    ok = ok && cut(diag, &scratch, out, step);
    arena_release(&scratch);
    if (!ok) metrics_close(out);
    return ok;
}

bool metrics_add(Diag *diag, Metrics *m, Str line) {
    StrBuf text = {0};
    strbuf_add(&text, line);
    strbuf_addc(&text, '\n');
    struct stat before = {0};
    bool ok = fstat(m->fd, &before) == 0;
    for (size_t done = 0; ok && done < text.len;) {
        ssize_t n = write(m->fd, text.ptr + done, text.len - done);
        ok = n >= 0 || errno == EINTR;
        if (n > 0) done += (size_t)n;
    }
    if (!ok) {
        metrics_fail(diag, m);
        // Half a line is worse than none; what cannot be undone now is cut on resuming.
        (void)!ftruncate(m->fd, before.st_size);
    }
    strbuf_release(&text);
    return ok;
}

bool metrics_sync(Diag *diag, Metrics *m) {
    // Pipes and devices have nothing to sync.
    return fsync(m->fd) == 0 || errno == EINVAL || metrics_fail(diag, m);
}

void metrics_close(Metrics *m) {
    if (m->path && m->fd >= 0) close(m->fd);
    *m = (Metrics){.fd = -1};
}
