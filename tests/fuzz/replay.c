// replay.c: stands in for libFuzzer: gives each file of the folders named on the command line
// to the target.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool replay_file(Arena *arena, Diag *diag, const char *path) {
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) return true;
    Str text;
    if (!io_read(diag, arena, str_of(path), &text)) return false;
    LLVMFuzzerTestOneInput((const uint8_t *)text.ptr, text.len);
    return true;
}

static bool replay_folder(Arena *arena, Diag *diag, const char *folder) {
    DIR *directory = opendir(folder);
    if (!directory) return diag_file_error(diag, FAIL_INPUT, str_of(folder), "no such folder");
    int count = 0;
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(directory)); count++) {
        ok = replay_file(arena, diag, arena_printf(arena, "%s/%s", folder, entry->d_name));
    }
    closedir(directory);
    printf("%s: %d entries\n", folder, count);
    return ok;
}

int main(int argc, char **argv) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    bool ok = argc > 1;
    for (int i = 1; ok && i < argc; i++)
        ok = replay_folder(&arena, &diag, argv[i]);
    StrBuf messages = {0};
    diag_render(&diag, &messages);
    fputs(strbuf_view(&messages).ptr, stderr);
    strbuf_release(&messages);
    arena_release(&arena);
    return ok ? 0 : 1;
}
