// tune.c: which region gets the next batch of trials, until the budget is spent.
//
// First every region gets one batch, the largest first; then always the region that promises
// most: the time above its floor, as often as it runs, less after each batch that found nothing
// better.
#include "autotune/tune.h"

#include <math.h>

#include "autotune/peaks.h"
#include "autotune/tune_context.h"
#include "autotune/tune_site.h"
#include "base/check.h"
#include "base/clock.h"

typedef struct {
    const TuneRequest *request;
    Tuner tuner;
    Vec(Site *) sites;
    Map by_hash;
    double deadline;
    TuneReport *report;
} Session;

// ---- regions

static void add_site(Session *s, const Regions *regions, const Region *region) {
    Arena *arena = s->tuner.arena;
    Hash hash = region_hash(regions, region);
    Str key = str_copy(arena, (Str){(const char *)&hash, sizeof hash});
    uint64_t known;
    if (map_get(&s->by_hash, key, &known)) {
        ASSERT(known < s->sites.len && s->sites.ptr);
        s->sites.ptr[known]->count++;
        return;
    }
    map_set(arena, &s->by_hash, key, s->sites.len);
    vec_push(arena, &s->sites, site_new(&s->tuner, regions, region, hash));
}

static void find_sites(Session *s) {
    const PlanRequest *plan = s->request->request;
    for (uint32_t e = 0; e < plan->entry_count; e++) {
        const Regions *regions = pass_fuse(plan->entries[e].graph, s->tuner.arena);
        for (uint32_t i = 0; i < regions->count; i++)
            add_site(s, regions, &regions->regions[i]);
    }
}

// ---- whose turn it is

// Expected gain in ns. A region without any measurement comes before all others.
static double promise(const Site *site) {
    const double fade = 0.6, unmeasured = 1e18;
    if (site->state != SITE_OPEN) return -1;
    double work = site->count * site->least_ns;
    if (site->leader_ns <= 0) return unmeasured + work;
    double above = site->leader_ns - site->least_ns;
    double most = above > 0 ? above : 0;
    // Even at the floor there may be something to find: the floor assumes data from memory.
    return site->count * (most + 0.05 * site->leader_ns) * pow(fade, site->dry);
}

static Site *next_site(const Session *s) {
    Site *best = NULL;
    vec_each (Site *, site, &s->sites)
        if ((*site)->state == SITE_OPEN && (!best || promise(*site) > promise(best)))
            best = *site;
    return best;
}

static bool is_over(const Session *s) {
    const TuneRequest *r = s->request;
    if (r->stop && *r->stop) return true;
    if (r->seconds > 0 && clock_seconds() >= s->deadline) return true;
    return r->trials > 0 && s->tuner.trials >= r->trials;
}

// ---- reports

static uint32_t count_sites(const Session *s, SiteState state) {
    uint32_t n = 0;
    vec_each (Site *, site, &s->sites)
        n += (*site)->state == state;
    return n;
}

// The budget's rest, or what is queued at the pace so far, whichever is less.
static double seconds_left(const Session *s) {
    double queued = 0, elapsed = clock_seconds() - s->tuner.start;
    vec_each (Site *, site, &s->sites)
        if ((*site)->state == SITE_OPEN) queued += site_queued(*site);
    double trials = s->tuner.trials ? s->tuner.trials : 1;
    if (s->request->trials > 0) queued = fmin(queued, s->request->trials - trials);
    double left = queued * elapsed / trials;
    return s->request->seconds > 0 ? fmin(left, s->deadline - clock_seconds()) : left;
}

static void tell(void *context, const Site *site, const Trial *trial) {
    Session *s = context;
    if (!s->request->progress) return;
    TuneProgress progress = {.region = site->region->name,
                             .regions = s->sites.len,
                             .regions_done = count_sites(s, SITE_DONE),
                             .trials = s->tuner.trials,
                             .failures = s->tuner.failures,
                             .last = trial->status,
                             .last_ns = trial->median,
                             .best_ns = site->leader_ns,
                             .least_ns = site->least_ns,
                             .seconds_left = seconds_left(s)};
    s->request->progress(s->request->progress_context, &progress);
}

static void sum_up(const Session *s, TuneReport *out) {
    out->regions = s->sites.len;
    out->regions_done = count_sites(s, SITE_DONE);
    out->regions_busy = count_sites(s, SITE_BUSY);
    out->trials = s->tuner.trials;
    out->failures = s->tuner.failures;
    out->unsaved = s->tuner.unsaved;
    out->interrupted = s->request->stop && *s->request->stop;
    vec_each (Site *, at, &s->sites) {
        const Site *site = *at;
        out->best_ns += site->count * site->leader_ns;
        out->prior_ns += site->count * (site->prior_ns > 0 ? site->prior_ns : site->leader_ns);
        out->least_ns += site->count * site->least_ns;
    }
}

// ---- the session

// False: there is no GPU for the target.
static bool find_context(Diag *diag, Arena *arena, const PlanRequest *plan, TuneContext *out) {
    IsaLevel level = plan->target.level;
    CudaAnswer gpu;
    if (!level_is_cuda(level)) {
        *out = tune_context(arena, level, plan->run_threads, NULL);
        return true;
    }
    if (!cuda_ask(diag, str_of(isa_level_text(level)), &gpu)) return false;
    *out = tune_context(arena, level, plan->run_threads, &gpu);
    return true;
}

static bool set_up(Diag *diag, Arena *arena, Session *s) {
    const TuneRequest *r = s->request;
    const double patience = 20, points = 3e6;
    s->tuner = (Tuner){.diag = diag,
                       .arena = arena,
                       .target = &r->request->target,
                       .patience = r->patience > 0 ? r->patience : patience,
                       .check_points = r->check_points > 0 ? r->check_points : points,
                       .measure = r->measure,
                       .stop = r->stop,
                       .start = clock_seconds(),
                       .tell = tell,
                       .tell_context = s};
    if (!find_context(diag, arena, r->request, &s->tuner.context)) return false;
    s->tuner.context_hash = tune_context_hash(&s->tuner.context);
    s->deadline = s->tuner.start + r->seconds;
    if (r->seconds > 0) s->tuner.deadline = s->deadline;
    database_context_add(r->request->target.db, &s->tuner.context);
    return machine_peaks(diag, r->request->target.db, &s->tuner.context, &s->tuner.peaks);
}

bool tune(Diag *diag, Arena *arena, const TuneRequest *request, TuneReport *out) {
    ASSERT(request->request->target.db);
    Session s = {.request = request};
    *out = (TuneReport){0};
    if (!set_up(diag, arena, &s)) return false;
    find_sites(&s);
    bool ok = true;
    Site *previous = NULL;
    while (ok && !is_over(&s)) {
        Site *site = next_site(&s);
        if (!site) break;
        if (previous && previous != site) site_rest(previous);
        previous = site;
        uint32_t most = WORKER_BATCH_MAX;
        if (request->trials > 0 && request->trials - s.tuner.trials < most)
            most = request->trials - s.tuner.trials;
        ok = site_batch(&s.tuner, site, most);
    }
    vec_each (Site *, site, &s.sites)
        site_release(&s.tuner, *site);
    sum_up(&s, out);
    return ok;
}
