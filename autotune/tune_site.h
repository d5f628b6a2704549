// tune_site.h: private to tune*.c: one distinct region while it is being tuned.
#pragma once

#include "autotune/database.h"
#include "autotune/worker.h"
#include "base/map.h"
#include "base/vec.h"

typedef enum {
    SITE_OPEN,  // there is more to try
    SITE_DONE,  // there is not
    SITE_BUSY,  // another process is at it
} SiteState;

typedef struct Tuner Tuner;

typedef struct {
    const Regions *regions;
    const Region *region;
    Hash hash;
    uint32_t count;  // how often it runs
    SiteState state;
    double least_ns;   // its floor
    double leader_ns;  // of the best known schedule; 0: none
    double prior_ns;   // of the prior's; 0: not measured
    Schedule leader;
    uint32_t dry;  // batches since the leader changed
    bool filled;   // the space was queued
    bool moved;    // the neighbours of `moved_from` were queued
    Schedule moved_from;
    uint32_t next_rank;
    Arena arena;  // owns what follows
    Vec(Candidate) queue;
    uint32_t next;  // in the queue
    Map tried;      // candidate_hash of all that was queued or tried in earlier sessions
    Workspace workspace;
    Reference reference;
    bool open;  // workspace and reference are there
} Site;

struct Tuner {
    Diag *diag;
    Arena *arena;
    const CompileTarget *target;
    TuneContext context;
    Hash context_hash;
    MachinePeaks peaks;
    double patience, check_points, start, deadline;
    MeasureOptions measure;
    const volatile sig_atomic_t *stop;
    uint32_t trials, failures;
    uint64_t unsaved;
    void (*tell)(void *context, const Site *site, const Trial *trial);
    void *tell_context;
};

// Looks up what is known of the region, and queues what is worth trying.
Site *site_new(Tuner *t, const Regions *regions, const Region *region, Hash hash);
// Tries at most so many candidates. False: it is impossible on this machine.
MUST_USE bool site_batch(Tuner *t, Site *site, uint32_t most);
uint32_t site_queued(const Site *site);
void site_rest(Site *site);  // gives memory back until the next batch
void site_release(Tuner *t, Site *site);
