// metrics.h: metrics.jsonl of a training run: an object a line, {"step":7,...}, steps in order.
#pragma once

#include "base/diag.h"

typedef struct {
    int fd;
    char *path;  // arena
} Metrics;

// Opens DIRECTORY/metrics.jsonl, makes it if need be, and cuts it off after the lines of steps
// up to `step`, at the first one that is later or damaged. One process at a time: the file is
// locked.
MUST_USE bool metrics_open(Diag *diag, Arena *arena, Str directory, int64_t step, Metrics *out);
// Appends a line; `line` has no newline. On failure the file is as before.
MUST_USE bool metrics_add(Diag *diag, Metrics *m, Str line);
MUST_USE bool metrics_sync(Diag *diag, Metrics *m);  // to disk
void metrics_close(Metrics *m);                      // safe on a zeroed or closed one
