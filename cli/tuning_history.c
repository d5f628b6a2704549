// tuning_history.c: trials of all regions in the order of time.
#include "cli/tuning_history.h"

#include <stdlib.h>

typedef struct {
    int64_t at;
    uint32_t order;  // keeps trials of one second in the order in which they were read
    uint32_t region;
    double ns;
} Event;

typedef struct {
    Hash hash;
    uint32_t launches;
    double first, best;
} Tuned;

typedef struct {
    Cli *cli;
    Hash context;
    Vec(Tuned) regions;
    Vec(Event) events;
} History;

static int earlier_first(const void *a, const void *b) {
    const Event *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static void add_region(History *h, Hash hash) {
    for (uint32_t i = 0; i < h->regions.len; i++) {
        if (!hash_eq(h->regions.ptr[i].hash, hash)) continue;
        h->regions.ptr[i].launches++;
        return;
    }
    Trial *trials;
    uint32_t n = database_trials(h->cli->db, &h->cli->arena, hash, h->context, &trials);
    Tuned tuned = {.hash = hash, .launches = 1};
    for (uint32_t i = 0; i < n; i++) {
        if (trials[i].status != TRIAL_OK) continue;
        if (!(tuned.first > 0)) tuned.first = tuned.best = trials[i].median;
        vec_push(&h->cli->arena, &h->events,
                 (Event){trials[i].at, h->events.len, h->regions.len, trials[i].median});
    }
    vec_push(&h->cli->arena, &h->regions, tuned);
}

TuningHistory tuning_history(Cli *cli, Hash context, const Graph *g) {
    if (!cli->db) return (TuningHistory){0};
    History h = {.cli = cli, .context = context};
    Regions *regions = pass_fuse(g, &cli->arena);
    for (uint32_t i = 0; i < regions->count; i++)
        add_region(&h, region_hash(regions, &regions->regions[i]));
    if (!h.events.len) return (TuningHistory){0};
    qsort(h.events.ptr, h.events.len, sizeof *h.events.ptr, earlier_first);
    TuningHistory out = {0};
    double total = 0;
    for (uint32_t i = 0; i < h.regions.len; i++) {
        total += h.regions.ptr[i].first * h.regions.ptr[i].launches;
        out.regions += h.regions.ptr[i].first > 0;
    }
    double *ms = arena_array(&cli->arena, double, h.events.len);
    for (uint32_t i = 0; i < h.events.len; i++) {
        Tuned *t = &h.regions.ptr[h.events.ptr[i].region];
        if (h.events.ptr[i].ns < t->best) {
            total -= (t->best - h.events.ptr[i].ns) * t->launches;
            t->best = h.events.ptr[i].ns;
        }
        ms[i] = total * 1e-6;
    }
    out.ms = ms;
    out.count = h.events.len;
    return out;
}
