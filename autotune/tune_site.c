// tune_site.c: the candidates of one region: queued, compiled, tried, stored.
#include "autotune/tune_site.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "autotune/library.h"
#include "autotune/moves.h"
#include "autotune/peaks.h"
#include "autotune/space.h"
#include "base/check.h"
#include "base/clock.h"

// The first batch is small, so that every region is soon measured at all.
enum { CLAIM_SECONDS = 120, FIRST_BATCH = 4, BATCH = 8, MOVES_RANK = 10000 };

// ---- the queue

static Str hash_key(Arena *arena, Hash h) {
    return str_copy(arena, (Str){(const char *)&h, sizeof h});
}

// False: no such schedule, or the library that it asks for is not there.
static bool lower(Tuner *t, Site *site, const Schedule *schedule, Candidate *out) {
    return candidate_lower(site->regions, site->region, schedule, &site->arena, out) &&
           (!schedule->library || library_takes(t->target->level, &out->gemm));
}

// Does nothing if its code was tried, or is queued, or must not be tried.
static void enqueue(Tuner *t, Site *site, const Schedule *schedule, uint32_t rank) {
    Candidate c;
    if (!lower(t, site, schedule, &c)) return;
    Str key = hash_key(&site->arena, candidate_hash(&c));
    if (map_get(&site->tried, key, NULL)) return;
    map_set(&site->arena, &site->tried, key, 1);
    if (database_poisoned(t->target->db, site->hash, t->context_hash, schedule)) return;
    c.rank = rank;
    vec_push(&site->arena, &site->queue, c);
}

// What earlier sessions tried is not tried again.
static void recall(Tuner *t, Site *site) {
    Trial *trials;
    uint32_t count =
        database_trials(t->target->db, &site->arena, site->hash, t->context_hash, &trials);
    for (uint32_t i = 0; i < count; i++) {
        Candidate c;
        if (trials[i].status == TRIAL_OK && trials[i].rank == 0)
            site->prior_ns = trials[i].median;
        if (lower(t, site, &trials[i].schedule, &c))
            map_set(&site->arena, &site->tried, hash_key(&site->arena, candidate_hash(&c)), 1);
    }
}

static void find_leader(Tuner *t, Site *site) {
    Schedule leader;
    double ns;
    if (!database_best(t->target->db, site->hash, t->context_hash, &leader, &ns)) {
        site->leader_ns = 0;
        return;
    }
    bool same = site->leader_ns > 0 && memcmp(&leader, &site->leader, sizeof leader) == 0;
    site->dry = same ? site->dry + 1 : 0;
    site->leader = leader;
    site->leader_ns = ns;
}

static void queue_space(Tuner *t, Site *site) {
    Schedule library = schedule_none();
    Schedules space = schedule_space(site->regions, site->region, t->target->level,
                                     t->context.threads, &site->arena);
    library.library = 1;
    for (uint32_t i = 0; i < space.len; i++) {
        enqueue(t, site, &space.ptr[i], i);
        if (i == 0) enqueue(t, site, &library, MOVES_RANK - 1);
    }
    site->next_rank = MOVES_RANK;
    site->filled = true;
}

// Once the space is used up: what is near the leader. The space of a GPU has that already.
static void queue_moves(Tuner *t, Site *site) {
    Schedule moves[MOVES_MAX];
    if (site->leader_ns <= 0 || level_is_cuda(t->target->level)) return;
    if (site->moved && memcmp(&site->moved_from, &site->leader, sizeof site->leader) == 0)
        return;
    uint32_t count = schedule_moves(site->region->kind, &site->leader, moves);
    for (uint32_t i = 0; i < count; i++)
        enqueue(t, site, &moves[i], site->next_rank++);
    site->moved = true;
    site->moved_from = site->leader;
}

static void describe(Tuner *t, Site *site) {
    StrBuf text = {0};
    Schedule none = schedule_none();
    Candidate c;
    if (!lower(t, site, &none, &c)) BUG("no code");
    for (uint32_t i = 0; i < c.kernels->kernel_count; i++)
        tile_print(c.kernels->kernels[i].program, &text);
    database_region_add(t->target->db, site->hash, site->region->name, strbuf_view(&text));
    site->least_ns =
        floor_ns(&t->peaks, candidate_f32_flops(&c, t->target->level), candidate_bytes(&c));
    strbuf_release(&text);
}

Site *site_new(Tuner *t, const Regions *regions, const Region *region, Hash hash) {
    Site *site = arena_new(t->arena, Site);
    *site = (Site){.regions = regions, .region = region, .hash = hash, .count = 1};
    arena_init(&site->arena);
    describe(t, site);
    recall(t, site);
    find_leader(t, site);
    // That of a GPU takes a while, for which the budget must be asked.
    if (!level_is_cuda(t->target->level)) queue_space(t, site);
    return site;
}

uint32_t site_queued(const Site *site) { return site->queue.len - site->next; }

// ---- storing

// Of a GPU: what the code of a candidate that ran takes.
static Str code_note(const Tuner *t, const Candidate *c, char text[WORKER_NOTE]) {
    text[0] = 0;
    if (level_is_cuda(t->target->level) && c->code)
        snprintf(text, WORKER_NOTE, "%u registers", c->code[0].launch.registers);
    return str_of(text);
}

static void store(Tuner *t, Site *site, const Candidate *c, const WorkerResult *result) {
    const Measurement *m = &result->measured;
    bool timed = result->status == TRIAL_OK || result->status == TRIAL_SLOW;
    char text[WORKER_NOTE];
    Trial trial = {.region = site->hash,
                   .context = t->context_hash,
                   .schedule = c->schedule,
                   .rank = c->rank,
                   .status = result->status,
                   .samples = m->samples,
                   .sample_count = timed ? m->count : 0,
                   .median = timed ? m->time.median : 0,
                   .low = timed ? m->time.low : 0,
                   .high = timed ? m->time.high : 0,
                   .output = result->output,
                   .note = timed ? code_note(t, c, text) : str_of(result->note)};
    if (!database_trial_add(t->target->db, &trial)) t->unsaved++;
    t->trials++;
    t->failures += !timed;
    if (trial.status == TRIAL_OK && trial.rank == 0) site->prior_ns = trial.median;
    t->tell(t->tell_context, site, &trial);
}

typedef struct {
    Tuner *tuner;
    Site *site;
    const Candidate *incumbent;
    const Candidate *candidates;
} Batch;

static void done(void *context, uint32_t number, const WorkerResult *result) {
    const Batch *b = context;
    store(b->tuner, b->site, number == WORKER_INCUMBENT ? b->incumbent : &b->candidates[number],
          result);
}

// ---- compiling

// What a GPU's compiler says of the code. Spilled registers and instructions that wait for each
// other are never fast, so such a candidate is not even run.
static bool is_promising(Tuner *t, Site *site, const Candidate *c) {
    WorkerResult result = {.status = TRIAL_OK};
    for (uint32_t i = 0; i < c->kernels->kernel_count && result.status == TRIAL_OK; i++) {
        const EmittedKernel *code = &c->code[i];
        if (code->spill_bytes) {
            result.status = TRIAL_SPILLS;
            snprintf(result.note, sizeof result.note, "%u registers, %u bytes of spills",
                     code->launch.registers, code->spill_bytes);
        } else if (code->notes.len) {
            result.status = TRIAL_SERIALISED;
            snprintf(result.note, sizeof result.note, "%.*s", STR_ARG(code->notes));
        }
    }
    if (result.status != TRIAL_OK) store(t, site, c, &result);
    return result.status == TRIAL_OK;
}

// One candidate alone; one that has no code is a trial, too.
static bool compile_one(Tuner *t, Site *site, Candidate *c) {
    if (c->schedule.library) return true;
    Arena scratch = {0};
    Diag diag;
    diag_init(&diag, &scratch);
    uint32_t n = c->kernels->kernel_count;
    const TileProgram **programs = arena_array(&site->arena, const TileProgram *, n);
    for (uint32_t i = 0; i < n; i++)
        programs[i] = c->kernels->kernels[i].program;
    c->code = compile_kernels(&diag, &site->arena, t->target, programs, n);
    bool ok = c->code && is_promising(t, site, c);
    if (!c->code) {
        WorkerResult result = {.status = TRIAL_REFUSED};
        Str why = diag.item_count ? diag.items[0].message : STR("no code");
        memcpy(result.note, why.ptr,
               why.len < sizeof result.note - 1 ? why.len : sizeof result.note - 1);
        store(t, site, c, &result);
    }
    arena_release(&scratch);
    return ok;
}

// All at once, on several threads, into the database; then each finds its own there. What fails
// here is found again, and told apart, one by one.
static void compile_ahead(Tuner *t, Site *site, const Candidate *candidates, uint32_t count) {
    Vec(const TileProgram *) programs = {0};
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0;
             !candidates[i].schedule.library && k < candidates[i].kernels->kernel_count; k++)
            vec_push(&site->arena, &programs, candidates[i].kernels->kernels[k].program);
    Arena scratch = {0};
    Diag diag;
    diag_init(&diag, &scratch);
    const EmittedKernel *all =
        compile_kernels(&diag, &scratch, t->target, programs.ptr, programs.len);
    (void)all;
    arena_release(&scratch);
}

// ---- one batch

static bool open_site(Tuner *t, Site *site) {
    if (site->open) return true;
    if (!workspace_open(t->diag, &site->arena, site->regions, site->region, &site->workspace))
        return false;
    site->open = reference_open(t->diag, &site->arena, &site->workspace, t->check_points,
                                &site->reference);
    if (!site->open) workspace_close(&site->workspace);
    return site->open;
}

void site_rest(Site *site) {
    reference_close(&site->reference);
    workspace_close(&site->workspace);
    site->open = false;
}

static Hash claim_key(const Tuner *t, const Site *site) {
    return hash_mix(site->hash, t->context_hash);
}

static bool leader_candidate(Tuner *t, Site *site, Candidate *out) {
    return site->leader_ns > 0 && lower(t, site, &site->leader, out) &&
           compile_one(t, site, out);
}

// Tuners of one host compile at once but measure in turn: beside another measurement nothing
// is as fast as it is.
static Hash turn_key(void) {
    char host[256] = {0};
    if (gethostname(host, sizeof host - 1)) host[0] = 0;
    return hash_mix(hash_bytes("measuring", 9), hash_bytes(host, strlen(host)));
}

// False: interrupted, or out of time.
static bool wait_for_turn(const Tuner *t) {
    enum { PAUSE_US = 20000 };
    while (!database_claim(t->target->db, turn_key(), CLAIM_SECONDS)) {
        if (t->stop && *t->stop) return false;
        if (t->deadline > 0 && clock_seconds() > t->deadline) return false;
        usleep(PAUSE_US);
    }
    return true;
}

static bool run_batch(Tuner *t, Site *site, Candidate *candidates, uint32_t count) {
    Candidate leader;
    Batch b = {.tuner = t, .site = site, .candidates = candidates};
    if (leader_candidate(t, site, &leader)) b.incumbent = &leader;
    WorkerBatch batch = {.workspace = &site->workspace,
                         .reference = &site->reference,
                         .level = t->target->level,
                         .least_ns = site->least_ns,
                         .threads = t->context.threads,
                         .incumbent = b.incumbent,
                         .incumbent_ns = site->leader_ns,
                         .candidates = candidates,
                         .count = count,
                         .measure = t->measure,
                         .patience = t->patience,
                         .deadline = t->deadline,
                         .stop = t->stop,
                         .done = done,
                         .context = &b};
    if (!wait_for_turn(t)) return true;
    bool ok = worker_run(t->diag, &batch);
    database_release(t->target->db, turn_key());
    return ok;
}

// Moves the compiled ones together.
static uint32_t compile_batch(Tuner *t, Site *site, Candidate *candidates, uint32_t count) {
    uint32_t n = 0;
    compile_ahead(t, site, candidates, count);
    for (uint32_t i = 0; i < count; i++)
        if (compile_one(t, site, &candidates[i])) candidates[n++] = candidates[i];
    return n;
}

bool site_batch(Tuner *t, Site *site, uint32_t most) {
    if (!database_claim(t->target->db, claim_key(t, site), CLAIM_SECONDS)) {
        site->state = SITE_BUSY;
        return true;
    }
    if (!site->filled) queue_space(t, site);
    if (!site_queued(site)) queue_moves(t, site);
    uint32_t count = site_queued(site);
    uint32_t batch = site->leader_ns > 0 ? BATCH : FIRST_BATCH;
    if (count > batch) count = batch;
    if (count > most) count = most;
    if (!count) {
        site->state = SITE_DONE;
        return true;
    }
    Candidate *candidates = &site->queue.ptr[site->next];
    site->next += count;
    uint32_t compiled = compile_batch(t, site, candidates, count);
    bool ok = open_site(t, site) && (!compiled || run_batch(t, site, candidates, compiled));
    find_leader(t, site);
    return ok;
}

void site_release(Tuner *t, Site *site) {
    database_release(t->target->db, claim_key(t, site));
    site_rest(site);
    arena_release(&site->arena);
}
