// io_folder.c: a folder that appears at once, by renaming one that was filled beside it.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

static bool is_dots(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

static bool is_empty_folder(const char *path) {
    DIR *folder = opendir(path);
    bool empty = folder != NULL;
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)))
        empty &= is_dots(entry->d_name);
    if (folder) closedir(folder);
    return empty;
}

bool io_is_directory(Str path) {
    Arena scratch = {0};
    struct stat status;
    bool is = stat(arena_strndup(&scratch, path.ptr, path.len), &status) == 0 &&
              S_ISDIR(status.st_mode);
    arena_release(&scratch);
    return is;
}

bool io_folder_open(Diag *diag, Arena *arena, Str path, FolderWriter *out) {
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    *out = (FolderWriter){.path = str_copy(arena, path)};
    if (io_exists(path) && !is_empty_folder(out->path.ptr))
        return diag_file_error(diag, FAIL_INPUT, path, "it exists and is no empty folder");
    Str temporary = str_printf(arena, "%s.%ld.%llx.tmp", out->path.ptr, (long)getpid(),
                               (unsigned long long)clock_ns());
    if (!io_make_directories(diag, temporary)) return false;
    out->temporary = temporary;
    return true;
}

bool io_folder_commit(Diag *diag, FolderWriter *w) {
    if (rename(w->temporary.ptr, w->path.ptr) < 0)
        return diag_file_error(diag, FAIL_ENVIRONMENT, w->path, "cannot write: %s",
                               strerror(errno));
    w->temporary = (Str){0};
    return true;
}

void io_folder_abort(FolderWriter *w) {
    if (!w->temporary.len) return;
    DIR *folder = opendir(w->temporary.ptr);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)))
        if (!is_dots(entry->d_name)) unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder) closedir(folder);
    rmdir(w->temporary.ptr);
    w->temporary = (Str){0};
}
