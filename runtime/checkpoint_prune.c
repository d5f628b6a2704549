// checkpoint_prune.c: removes checkpoints that newer ones replace.
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/vec.h"
#include "runtime/checkpoint.h"

typedef Vec(int64_t) Steps;

// N of "checkpoint-N.safetensors"; -1 for other names.
static int64_t step_of(Str name) {
    const Str prefix = STR("checkpoint-"), suffix = STR(".safetensors");
    if (!str_starts(name, prefix) || !str_ends(name, suffix)) return -1;
    if (name.len <= prefix.len + suffix.len) return -1;
    int64_t step;
    Str digits = {name.ptr + prefix.len, name.len - prefix.len - suffix.len};
    return str_to_int64(digits, &step) && step >= 0 ? step : -1;
}

// What a writer of this directory leaves behind when it is killed.
static bool is_left_over(Str name) {
    bool ours = str_starts(name, STR("checkpoint-")) || str_starts(name, STR("latest.")) ||
                str_starts(name, STR("params.safetensors.")) ||
                str_starts(name, STR("metrics.jsonl."));
    return ours && str_ends(name, STR(".tmp"));
}

static int compare_steps(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a < b) - (a > b);
}

static void scan(Arena *arena, Str directory, DIR *dir, Steps *steps) {
    for (const struct dirent *entry; (entry = readdir(dir));) {
        Str name = str_of(entry->d_name);
        int64_t step = step_of(name);
        if (step >= 0) vec_push(arena, steps, step);
        if (is_left_over(name))
            unlink(arena_printf(arena, "%.*s/%s", STR_ARG(directory), entry->d_name));
    }
}

void checkpoint_prune(Str directory, int64_t step, uint32_t keep) {
    Arena arena = {0};
    Steps steps = {0};
    DIR *dir = opendir(arena_strndup(&arena, directory.ptr, directory.len));
    if (dir) {
        scan(&arena, directory, dir, &steps);
        closedir(dir);
    }
    if (steps.len) qsort(steps.ptr, steps.len, sizeof *steps.ptr, compare_steps);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < steps.len; i++) {
        // Later ones are of a run that was resumed from before them; it will replace them.
        if (steps.ptr[i] > step || seen++ < keep) continue;
        unlink(checkpoint_path(&arena, directory, steps.ptr[i]).ptr);
    }
    arena_release(&arena);
}
