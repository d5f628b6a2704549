// library.c: looking in one place after the other.
#include "base/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_CAP = 1024 };

static bool file_try(const LibrarySpec *spec, const char *path, void *table,
                     const char **lacks) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return false;
    for (size_t i = 0; i < spec->symbol_count; i++) {
        void *address = dlsym(handle, spec->symbols[i]);
        if (!address) {
            *lacks = spec->symbols[i];
            return false;
        }
        memcpy((char *)table + i * sizeof address, &address, sizeof address);
    }
    return true;
}

// Matches in the order of their names.
static bool pattern_try(const LibrarySpec *spec, const char *pattern, void *table,
                        const char **lacks) {
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) return false;
    bool done = false;
    for (size_t i = 0; i < found.gl_pathc && !done; i++)
        done = file_try(spec, found.gl_pathv[i], table, lacks);
    globfree(&found);
    return done;
}

static bool named_try(const LibrarySpec *spec, const char *named, void *table,
                      const char **lacks) {
    struct stat info;
    if (stat(named, &info) != 0 || !S_ISDIR(info.st_mode))
        return file_try(spec, named, table, lacks);
    char pattern[PATH_CAP];
    snprintf(pattern, sizeof pattern, "%s/%s", named, spec->file);
    return pattern_try(spec, pattern, table, lacks);
}

bool library_open(const LibrarySpec *spec, void *table, const char **lacks) {
    *lacks = NULL;
    const char *named = getenv(spec->variable);
    if (named && *named) return named_try(spec, named, table, lacks);
    for (size_t i = 0; i < spec->place_count; i++) {
        const char *place = spec->places[i];
        if (*place == '/' ? pattern_try(spec, place, table, lacks)
                          : file_try(spec, place, table, lacks))
            return true;
    }
    return false;
}
