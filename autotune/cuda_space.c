// cuda_space.c: tiles by the emitter's own estimates, and for rows a few knobs near its choice.
// Every candidate is written as text once: what has no text is not legal, and what has the text
// of an earlier one is left out.
#include "autotune/cuda_space.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/prior.h"
#include "base/vec.h"
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/loop_choices.h"

enum {
    MOST_CHOICES = 256,  // that are looked at, of each skeleton
    MOST_LOOP = 40,
    MOST_CP_BESIDE_WS = 10,  // tensor cores of sm_90a are only half as fast there
    MOST_OF_A_TILE = 3,      // candidates with one shape of the tile
    MOST_ROW = 40,
    MOST_CHUNKS = 45,      // of linear attention: tokens of a tile, parts and segments
    LEAST_TOKENS = 128,    // of a segment
    LAUNCH_CYCLES = 4000,  // from one kernel to the next
};

typedef struct {
    const Regions *regions;
    const Region *region;
    IsaLevel level;
    Arena *arena;
    Schedules schedules;
    Vec(Hash) hashes;  // of the kernels of each
} Space;

// ---- what a schedule gives

static Hash launch_hash(const Launch *l) {
    const uint32_t sizes[] = {l->blocks, l->threads, l->cluster, l->shared_bytes};
    Hash hash = hash_bytes((const char *)sizes, sizeof sizes);
    for (uint32_t i = 0; i < l->map_count; i++)
        hash = hash_mix(hash, hash_bytes((const char *)l->maps[i].box, sizeof l->maps[i].box));
    return hash;
}

// False: a kernel has no form with these knobs.
static bool kernels_hash(const Space *s, const Schedule *schedule, Arena *scratch, Hash *out) {
    const TileKernels *kernels = region_to_tile(s->regions, s->region, schedule, scratch);
    Diag reasons;
    diag_init(&reasons, scratch);
    *out = (Hash){0};
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        CudaKernel kernel;
        if (!cuda_emit(&reasons, scratch, kernels->kernels[i].program,
                       (EmitOptions){.level = s->level}, &kernel))
            return false;
        Hash text = hash_bytes(kernel.text.ptr, kernel.text.len);
        *out = hash_mix(*out, hash_mix(text, launch_hash(&kernel.launch)));
    }
    return true;
}

static bool is_new(const Space *s, Hash hash) {
    vec_each (const Hash, seen, &s->hashes)
        if (hash_eq(*seen, hash)) return false;
    return true;
}

static bool space_add(Space *s, const Schedule *schedule) {
    Arena scratch = {0};
    Hash hash;
    bool added = kernels_hash(s, schedule, &scratch, &hash) && is_new(s, hash);
    arena_release(&scratch);
    if (!added) return false;
    vec_push(s->arena, &s->hashes, hash);
    vec_push(s->arena, &s->schedules, *schedule);
    return true;
}

// ---- contractions

// k in parts fills a GPU that the tiles of the result leave idle.
static const int32_t parts_of_k[] = {0, 2, 4, 8, 16};
enum { PARTS_OF_K = sizeof parts_of_k / sizeof *parts_of_k };

static const TileKernels *kernels_in_parts(const Regions *regions, const Region *region,
                                           int32_t parts, Arena *arena) {
    Schedule s = schedule_none();
    s.parts = parts;
    return region_to_tile(regions, region, &s, arena);
}

// Of the kernels from number `first` on.
static double cycles_from(const TileKernels *k, uint32_t first, IsaLevel level, Arena *arena) {
    double cycles = 0;
    for (uint32_t i = first; i < k->kernel_count; i++)
        cycles += cuda_cycles(arena, k->kernels[i].program, level);
    return cycles;
}

int32_t cuda_parts(const Regions *regions, const Region *region, IsaLevel level) {
    const double worthwhile = 0.95;  // of the cycles of fewer parts
    Arena arena = {0};
    int32_t best = 0;
    double least = INFINITY;
    for (int i = 0; i < PARTS_OF_K; i++) {
        const TileKernels *k = kernels_in_parts(regions, region, parts_of_k[i], &arena);
        double cycles = cycles_from(k, 0, level, &arena);
        if (cycles >= least * worthwhile) continue;
        best = parts_of_k[i];
        least = cycles;
    }
    arena_release(&arena);
    return best;
}

static Schedule schedule_of(const LoopChoice *choice, int32_t parts, IsaLevel level) {
    Schedule s = schedule_none();
    s.parts = parts;
    if (choice->is_ws) {
        const WsTiles *t = &choice->ws;
        s.bm = t->bm;
        s.bn = t->bn;
        s.stages = t->stages;
        s.consumers = t->consumers;
        s.turns = t->turns;
        s.cluster = t->cluster;
        s.order = t->order;
        return s;
    }
    const CpTiles *t = &choice->cp;
    s.bm = t->bm;
    s.bn = t->bn;
    s.bk = t->bk;
    s.stages = t->stages;
    s.warps_m = t->warps_m;
    s.warps_n = t->warps_n;
    s.warps_k = t->warps_k;
    s.order = t->order;
    s.skeleton = level == CUDA_SM90A;
    return s;
}

static bool same_tile(const Schedule *x, const Schedule *y) {
    return x->skeleton == y->skeleton && x->parts == y->parts && x->bm == y->bm &&
           x->bn == y->bn && x->consumers == y->consumers && x->turns == y->turns;
}

static uint32_t count_of_tile(const Space *s, const Schedule *schedule) {
    uint32_t count = 0;
    vec_each (const Schedule, other, &s->schedules)
        count += same_tile(other, schedule);
    return count;
}

typedef struct {
    LoopChoice choice;
    int32_t parts;
    double cycles;    // of both kernels, if there are parts
    uint32_t number;  // among equals the first stays first
} Candidate;

typedef Vec(Candidate) Candidates;

static int by_cycles(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->cycles != y->cycles) return x->cycles < y->cycles ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static void candidates_add(const Space *s, int32_t parts, Candidates *out) {
    const TileKernels *k = kernels_in_parts(s->regions, s->region, parts, s->arena);
    double rest = cycles_from(k, 1, s->level, s->arena);
    LoopChoice *choices;
    uint32_t count =
        cuda_loop_choices(s->arena, k->kernels[0].program, s->level, MOST_CHOICES, &choices);
    for (uint32_t i = 0; i < count; i++) {
        Candidate c = {choices[i], parts, choices[i].cycles + rest, out->len};
        vec_push(s->arena, out, c);
    }
}

static void add_best_in_parts(Space *s, const Candidates *sorted, int32_t parts) {
    vec_each (const Candidate, c, sorted) {
        if (c->parts != parts) continue;
        Schedule schedule = schedule_of(&c->choice, parts, s->level);
        space_add(s, &schedule);
        return;
    }
}

static void contract_space(Space *s) {
    Candidates all = {0};
    int divided = s->region->kind == REGION_CONTRACT ? PARTS_OF_K : 1;  // rows are in groups
    for (int i = 0; i < divided; i++)
        candidates_add(s, parts_of_k[i], &all);
    if (all.len == 0) return;
    qsort(all.ptr, all.len, sizeof *all.ptr, by_cycles);
    for (int i = 0; i < divided; i++)
        add_best_in_parts(s, &all, parts_of_k[i]);
    bool any_ws = false;
    for (uint32_t i = 0; i < all.len; i++)
        any_ws = any_ws || all.ptr[i].choice.is_ws;
    const uint32_t most[] = {any_ws ? MOST_CP_BESIDE_WS : MOST_LOOP, MOST_LOOP};
    uint32_t taken[] = {0, 0};
    vec_each (const Candidate, c, &all) {
        bool is_ws = c->choice.is_ws;
        Schedule schedule = schedule_of(&c->choice, c->parts, s->level);
        if (taken[is_ws] == most[is_ws] || count_of_tile(s, &schedule) == MOST_OF_A_TILE)
            continue;
        taken[is_ws] += space_add(s, &schedule);
    }
}

// ---- rows

typedef struct {
    size_t knob;  // offset in Schedule
    int32_t value;
} Option;

static const Option row_options[] = {
    {offsetof(Schedule, threads), 32},  {offsetof(Schedule, threads), 64},
    {offsetof(Schedule, threads), 128}, {offsetof(Schedule, threads), 256},
    {offsetof(Schedule, threads), 16},  {offsetof(Schedule, threads), 512},
    {offsetof(Schedule, width), 4},     {offsetof(Schedule, width), 2},
    {offsetof(Schedule, rows), 4},      {offsetof(Schedule, rows), 1},
    {offsetof(Schedule, rows), 8},      {offsetof(Schedule, ring), -1},
    {offsetof(Schedule, ring), 1},      {offsetof(Schedule, keep), 0},
    {offsetof(Schedule, blocks), 264},  {offsetof(Schedule, blocks), 528},
    {offsetof(Schedule, blocks), 1056}, {offsetof(Schedule, nt), 1},
};
enum { ROW_OPTIONS = sizeof row_options / sizeof *row_options };

static void option_set(Schedule *s, const Option *option) {
    memcpy((char *)s + option->knob, &option->value, sizeof option->value);
}

// One knob changed, then two.
static void row_space(Space *s, const Schedule *prior) {
    for (int i = 0; i < ROW_OPTIONS; i++) {
        Schedule schedule = *prior;
        option_set(&schedule, &row_options[i]);
        space_add(s, &schedule);
    }
    for (int i = 0; i < ROW_OPTIONS; i++)
        for (int j = i + 1; j < ROW_OPTIONS && s->schedules.len < MOST_ROW; j++) {
            if (row_options[i].knob == row_options[j].knob) continue;
            Schedule schedule = *prior;
            option_set(&schedule, &row_options[i]);
            option_set(&schedule, &row_options[j]);
            space_add(s, &schedule);
        }
}

// ---- attention

// Where queries begin anywhere, and so are few, as many blocks share their keys as keep all
// multiprocessors busy, if each has some.
int32_t cuda_dealt(const Regions *regions, const Region *region, IsaLevel level) {
    enum { LEAST_KEYS = 256 };
    Arena arena = {0};
    Schedule schedule = schedule_none();
    const TileProgram *p =
        region_to_tile(regions, region, &schedule, &arena)->kernels[0].program;
    int64_t keys = p->dims[tile_dim_of(p, DIM_N)].extent;
    double tasks = (double)tile_task_count(p), blocks = cuda_card(level)->blocks;
    int32_t parts = 1;
    while (tile_start_of(p) && parts * tasks < blocks &&
           (int64_t)2 * parts * LEAST_KEYS <= keys)
        parts *= 2;
    arena_release(&arena);
    return parts > 1 ? parts : 0;
}

static void attend_space(Space *s, const Schedule *prior) {
    static const int32_t queries[] = {64, 128, 32, 16}, keys[] = {32, 64, 16, 128};
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            for (int stages = 2; stages <= 3; stages++) {
                Schedule schedule = *prior;
                schedule.bm = queries[i];
                schedule.bn = keys[j];
                schedule.stages = stages;
                space_add(s, &schedule);
            }
}

// ---- linear attention

typedef struct {
    Schedule schedule;
    double cycles;
} Chunks;

static int64_t tokens_of(const Regions *regions, const Region *region, Arena *arena) {
    Schedule whole = schedule_none();
    const TileProgram *p = region_to_tile(regions, region, &whole, arena)->kernels[0].program;
    return p->dims[tile_dim_of(p, DIM_M)].extent;
}

// Tokens of a tile; parts or segments, which keep more multiprocessors busy where heads are
// few.
static uint32_t chunks_all(const Regions *regions, const Region *region, IsaLevel level,
                           Arena *arena, Chunks out[MOST_CHUNKS]) {
    static const int32_t tokens[] = {64, 32, 16, 128, 8};
    static const int32_t shares[][2] = {{0, 0}, {2, 0}, {4, 0},  {8, 0}, {0, 2},
                                        {0, 4}, {0, 8}, {0, 16}, {0, 32}};
    int64_t total = tokens_of(regions, region, arena);
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        for (size_t j = 0; j < sizeof shares / sizeof *shares; j++) {
            Schedule s = schedule_none();
            s.chunk = tokens[i];
            s.parts = shares[j][0];
            s.segments = shares[j][1];
            if (s.segments && total / s.segments < LEAST_TOKENS) continue;
            const TileKernels *k = region_to_tile(regions, region, &s, arena);
            double cycles = cycles_from(k, 0, level, arena) + k->kernel_count * LAUNCH_CYCLES;
            uint32_t at = count++;
            for (; at > 0 && out[at - 1].cycles > cycles; at--)
                out[at] = out[at - 1];
            out[at] = (Chunks){s, cycles};
        }
    return count;
}

Schedule cuda_chunks(const Regions *regions, const Region *region, IsaLevel level) {
    Arena arena = {0};
    Chunks all[MOST_CHUNKS];
    chunks_all(regions, region, level, &arena, all);
    arena_release(&arena);
    return all[0].schedule;
}

static void linear_space(Space *s) {
    Chunks all[MOST_CHUNKS];
    uint32_t count = chunks_all(s->regions, s->region, s->level, s->arena, all);
    for (uint32_t i = 0; i < count; i++)
        space_add(s, &all[i].schedule);
}

Schedules cuda_space(const Regions *regions, const Region *region, IsaLevel level,
                     Arena *arena) {
    enum { ANY_THREADS = 1 };
    Space s = {.regions = regions, .region = region, .level = level, .arena = arena};
    Schedule prior = schedule_prior(regions, region, level, ANY_THREADS);
    if (!space_add(&s, &prior)) return s.schedules;
    if (region->kind == REGION_ROW) row_space(&s, &prior);
    if (region->kind == REGION_CONTRACT || region->kind == REGION_GROUPED) contract_space(&s);
    if (region->kind == REGION_ATTEND) attend_space(&s, &prior);
    if (region->kind == REGION_LINEAR) linear_space(&s);
    return s.schedules;
}
