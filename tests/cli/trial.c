// trial.c: trial DB NS: a good trial of NS nanoseconds for every region that the tuning
// database DB has tried.
#include <stdlib.h>

#include "autotune/database.h"

static bool add(Database *db, const DatabaseRegion *region, double ns) {
    Trial trial = {.region = region->region,
                   .context = region->context,
                   .schedule = schedule_none(),
                   .status = TRIAL_OK,
                   .samples = &ns,
                   .sample_count = 1,
                   .median = ns,
                   .low = ns,
                   .high = ns};
    return database_trial_add(db, &trial);
}

int main(int argc, char **argv) {
    Arena arena = {0};
    Diag diag;
    Database *db = NULL;
    DatabaseRegion *regions = NULL;
    diag_init(&diag, &arena);
    bool good = argc == 3 && database_open(&diag, str_of(argv[1]), &db);
    uint32_t count = good ? database_regions(db, &arena, &regions) : 0;
    for (uint32_t i = 0; i < count; i++)
        good = add(db, &regions[i], strtod(argv[2], NULL)) && good;
    database_close(db);
    arena_release(&arena);
    return good && count ? 0 : 1;
}
