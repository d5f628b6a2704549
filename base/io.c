// io.c: files on POSIX. Reading fails as FAIL_INPUT, writing as FAIL_ENVIRONMENT.
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

enum { WRITE_BUFFER = 1 << 18 };

// A NUL-terminated path for system calls, malloc'ed.
static char *path_text(Str path) {
    char *text = strndup(path.ptr ? path.ptr : "", path.len);
    if (!text) check_out_of_memory(path.len + 1);
    return text;
}

static bool read_error(Diag *diag, Str path, int error) {
    return diag_file_error(diag, FAIL_INPUT, path, "cannot read: %s", strerror(error));
}

static bool write_error(Diag *diag, Str path, int error) {
    return diag_file_error(diag, FAIL_ENVIRONMENT, path, "cannot write: %s", strerror(error));
}

static bool open_for_reading(Diag *diag, Str path, int *fd, struct stat *status) {
    char *text = path_text(path);
    *fd = open(text, O_RDONLY | O_CLOEXEC);
    free(text);
    if (*fd < 0) return read_error(diag, path, errno);
    int error = fstat(*fd, status) < 0 ? errno : S_ISDIR(status->st_mode) ? EISDIR : 0;
    if (!error) return true;
    close(*fd);
    return read_error(diag, path, error);
}

// Bytes read, fewer than n only at the end of the file; -1: errno says why.
static ssize_t read_full(int fd, char *data, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = read(fd, data + done, n - done);
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

// Pipes, and files of /proc, do not know their size.
static bool read_unsized(int fd, Arena *arena, Str *out) {
    StrBuf text = {0};
    char chunk[1 << 14];
    ssize_t got;
    while ((got = read_full(fd, chunk, sizeof chunk)) > 0) {
        strbuf_add(&text, (Str){chunk, (size_t)got});
    }
    int error = errno;
    if (got == 0) *out = str_copy(arena, strbuf_view(&text));
    strbuf_release(&text);
    errno = error;
    return got == 0;
}

static bool read_sized(int fd, Arena *arena, size_t size, Str *out) {
    char *data = arena_alloc(arena, size + 1, 1);
    ssize_t got = read_full(fd, data, size);
    if (got < 0) return false;
    data[got] = 0;
    *out = (Str){data, (size_t)got};
    return true;
}

bool io_read(Diag *diag, Arena *arena, Str path, Str *out) {
    int fd = -1;
    struct stat status = {0};
    if (!open_for_reading(diag, path, &fd, &status)) return false;
    bool sized = S_ISREG(status.st_mode) && status.st_size > 0;
    bool ok = sized ? read_sized(fd, arena, (size_t)status.st_size, out)
                    : read_unsized(fd, arena, out);
    int error = errno;
    close(fd);
    return ok || read_error(diag, path, error);
}

bool io_map(Diag *diag, Str path, FileMap *out) {
    static const unsigned char nothing[1];
    int fd = -1;
    struct stat status = {0};
    if (!open_for_reading(diag, path, &fd, &status)) return false;
    *out = (FileMap){.data = nothing};
    int error = 0;
    if (!S_ISREG(status.st_mode)) {
        error = ENODEV;
    } else if (status.st_size > 0) {
        void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            error = errno;
        else
            *out = (FileMap){.data = data, .size = (size_t)status.st_size};
    }
    close(fd);
    return error ? read_error(diag, path, error) : true;
}

void io_unmap(FileMap *map) {
    // The address goes through an integer because munmap takes away what was promised not to
    // change.
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    if (map->size) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (FileMap){0};
}

static void writer_free(FileWriter *w) {
    free(w->path);
    free(w->temporary);
    free(w->target);
    free(w->buffer);
    *w = (FileWriter){.fd = -1};
}

static bool writer_fail(Diag *diag, FileWriter *w, int error) {
    write_error(diag, str_of(w->path), error);
    io_writer_abort(w);
    return false;
}

// A fresh file beside the target, so that rename stays within one file system. Unlike
// mkstemp's, its permissions follow the umask.
static int temporary_open(FileWriter *w) {
    for (int attempt = 0; attempt < 100; attempt++) {
        StrBuf name = {0};
        strbuf_addf(&name, "%s.%ld.%llx.tmp", w->target, (long)getpid(),
                    (unsigned long long)clock_ns());
        int fd = open(name.ptr, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            w->temporary = name.ptr;
            return fd;
        }
        strbuf_release(&name);
        if (errno != EEXIST) return -1;
    }
    return -1;
}

bool io_writer_open(Diag *diag, Str path, FileWriter *out) {
    *out = (FileWriter){.fd = -1, .path = path_text(path), .buffer = malloc(WRITE_BUFFER)};
    // A link keeps pointing: what it points to is replaced.
    char *real = realpath(out->path, NULL);
    out->target = real ? real : path_text(path);
    if (!out->buffer) check_out_of_memory(WRITE_BUFFER);
    struct stat status;
    bool exists = stat(out->target, &status) == 0;
    if (!path.len) return writer_fail(diag, out, ENOENT);
    if (exists && S_ISDIR(status.st_mode)) return writer_fail(diag, out, EISDIR);
    // Devices and pipes, such as /dev/stdout, must not be replaced by a file: they are written
    // in place.
    bool in_place = exists && !S_ISREG(status.st_mode);
    out->fd = in_place ? open(out->target, O_WRONLY | O_CLOEXEC) : temporary_open(out);
    return out->fd >= 0 || writer_fail(diag, out, errno);
}

static bool write_full(int fd, const unsigned char *data, size_t n) {
    while (n) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        data += done;
        n -= (size_t)done;
    }
    return true;
}

static bool writer_flush(FileWriter *w) {
    size_t n = w->buffered;
    w->buffered = 0;
    return write_full(w->fd, w->buffer, n);
}

bool io_writer_add(Diag *diag, FileWriter *w, const void *data, size_t n) {
    ASSERT(w->fd >= 0);
    if (n > WRITE_BUFFER - w->buffered && !writer_flush(w)) return writer_fail(diag, w, errno);
    if (n > WRITE_BUFFER) return write_full(w->fd, data, n) || writer_fail(diag, w, errno);
    if (n) memcpy(w->buffer + w->buffered, data, n);
    w->buffered += n;
    return true;
}

// Makes the rename itself survive a power cut. Some file systems cannot, which is no failure.
static void sync_directory(const char *file) {
    const char *slash = strrchr(file, '/');
    Str name = slash ? (Str){file, (size_t)(slash - file) + 1} : STR(".");
    char *text = path_text(name);
    int fd = open(text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(text);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

bool io_writer_commit(Diag *diag, FileWriter *w) {
    ASSERT(w->fd >= 0);
    if (!writer_flush(w)) return writer_fail(diag, w, errno);
    if (w->temporary && fsync(w->fd) < 0) return writer_fail(diag, w, errno);
    int closed = close(w->fd);
    w->fd = -1;
    if (closed < 0) return writer_fail(diag, w, errno);
    if (w->temporary && rename(w->temporary, w->target) < 0) return writer_fail(diag, w, errno);
    if (w->temporary) sync_directory(w->target);
    writer_free(w);
    return true;
}

void io_writer_abort(FileWriter *w) {
    if (w->fd >= 0) close(w->fd);
    if (w->temporary) unlink(w->temporary);
    writer_free(w);
}

bool io_write(Diag *diag, Str path, const void *data, size_t n) {
    FileWriter w;
    return io_writer_open(diag, path, &w) && io_writer_add(diag, &w, data, n) &&
           io_writer_commit(diag, &w);
}

static bool make_directory(Diag *diag, const char *path) {
    struct stat status;
    if (mkdir(path, 0777) == 0) return true;
    int error = errno;
    if (stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode)) return true;
        error = ENOTDIR;
    }
    return diag_file_error(diag, FAIL_ENVIRONMENT, str_of(path),
                           "cannot make the directory: %s", strerror(error));
}

bool io_make_directories(Diag *diag, Str path) {
    char *text = path_text(path);
    bool ok = true;
    for (size_t i = 1; ok && i <= path.len; i++) {
        if (text[i] != '/' && text[i] != 0) continue;
        char kept = text[i];
        text[i] = 0;
        ok = make_directory(diag, text);
        text[i] = kept;
    }
    free(text);
    return ok;
}

bool io_exists(Str path) {
    char *text = path_text(path);
    bool exists = access(text, F_OK) == 0;
    free(text);
    return exists;
}
