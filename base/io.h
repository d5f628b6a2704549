// io.h: files. Every failure is reported in diag with the path and the system's reason
// (FAIL_ENVIRONMENT for a full disk or a directory that cannot be written, FAIL_INPUT for a
// file that cannot be read).
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/diag.h"

// Whole file in memory (arena-owned, NUL after the end).
MUST_USE bool io_read(Diag *diag, Arena *arena, Str path, Str *out);

// A read-only mapping. A zero-length file gives data = "" and size 0.
typedef struct {
    const unsigned char *data;
    size_t size;
} FileMap;
MUST_USE bool io_map(Diag *diag, Str path, FileMap *out);
void io_unmap(FileMap *map);

// A file that appears whole or not at all: written beside its target, fsynced, renamed by
// commit.
typedef struct {
    int fd;
    char *path;                // as given, for messages; malloc'ed
    char *temporary, *target;  // malloc'ed
    unsigned char *buffer;     // malloc'ed
    size_t buffered;
} FileWriter;
MUST_USE bool io_writer_open(Diag *diag, Str path, FileWriter *out);
MUST_USE bool io_writer_add(Diag *diag, FileWriter *w, const void *data, size_t n);
MUST_USE bool io_writer_commit(Diag *diag,
                               FileWriter *w);  // on failure the target is untouched
void io_writer_abort(FileWriter *w);            // also safe after commit
MUST_USE bool io_write(Diag *diag, Str path, const void *data,
                       size_t n);  // the four above in one

MUST_USE bool io_make_directories(Diag *diag, Str path);  // like mkdir -p
bool io_exists(Str path);
bool io_is_directory(Str path);

// A folder of files that appears whole or not at all: files are written into one beside it,
// which commit renames. What is there already must be an empty folder.
typedef struct {
    Str path, temporary;  // in the arena
} FolderWriter;
MUST_USE bool io_folder_open(Diag *diag, Arena *arena, Str path, FolderWriter *out);
MUST_USE bool io_folder_commit(Diag *diag, FolderWriter *w);
void io_folder_abort(FolderWriter *w);  // also safe after commit
