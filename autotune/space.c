// space.c: candidates are made by crossing a few choices for each knob, then ordered by the
// estimate; those that would give the same programs as an earlier one are left out.
#include "autotune/space.h"

#include <math.h>
#include <stdlib.h>

#include "autotune/contract_cost.h"
#include "autotune/cuda_space.h"
#include "base/integer.h"

enum {
    MOST_CONTRACT = 56,
    MOST_OF_A_BLOCK = 12,  // candidates with one shape of the register block
    MOST_CHOICES = 8,
    MOST_VECTORS = 16,
    MOST_OF_A_STRAND = 12,  // vectors, of which every strand asks for as many lines ahead
    MOST_TURNS = 4,         // tasks of each thread: slower threads take fewer
    LEAST_VECTORS = 8,      // fewer sums do not hide what an addition takes
    SPARE_REGISTERS = 4,
    MOST_UNROLL = 8,     // k; shorter steps are one turn, which can look ahead as a whole does
    VERY_FEW_ROWS = 16,  // that go best in equal blocks
    FEW_ROWS = 64,       // for which reading cols in place may be best, a few k at a time
};

typedef struct {
    Schedule schedule;
    double cost;
    uint32_t number;  // in the order of making: breaks ties
} Candidate;

typedef struct {
    const ContractShape *c;
    Arena *arena;
    Vec(Candidate) all;
    uint32_t first;  // candidate of this shape
} Space;

typedef struct {
    int32_t value[MOST_CHOICES];
    uint32_t count;
} Choices;

static void choice_add(Choices *choices, int64_t value, int64_t most) {
    if (value > most) value = most;
    if (value < 1 || value > INT32_MAX) return;
    for (uint32_t i = 0; i < choices->count; i++)
        if (choices->value[i] == (int32_t)value) return;
    if (choices->count < MOST_CHOICES) choices->value[choices->count++] = (int32_t)value;
}

static int64_t parts_of(int64_t extent, int64_t parts, int64_t unit) {
    int64_t units = ceil_div(extent, unit);
    return ceil_div(units, parts) * unit;
}

// ---- contractions

// Equal parts for the threads, be their last panels whole or not; more parts of whole panels.
static Choices choices_of_cols(const ContractShape *c, int64_t panel) {
    Choices nc = {.count = 0};
    int64_t most = parts_of(c->n, 1, panel);
    choice_add(&nc, most, INT32_MAX);
    int64_t equal = parts_of(c->n, c->threads, c->lanes);
    choice_add(&nc, equal < c->n ? equal : most, most);
    choice_add(&nc, parts_of(c->n, c->threads, panel), most);
    for (int64_t parts = 2; parts <= MOST_TURNS; parts *= 2)
        choice_add(&nc, parts_of(c->n, parts * (int64_t)c->threads, panel), most);
    choice_add(&nc, parts_of(512, 1, panel), most);
    return nc;
}

static Choices choices_of_rows(const ContractShape *c, int64_t block) {
    Choices mc = {.count = 0};
    int64_t most = parts_of(c->m, 1, block);
    choice_add(&mc, most, INT32_MAX);
    choice_add(&mc, parts_of(c->m, c->threads, block), most);
    choice_add(&mc, parts_of(c->m, 2 * (int64_t)c->threads, block), most);
    choice_add(&mc, parts_of(512, 1, block), most);
    choice_add(&mc, parts_of(256, 1, block), most);
    return mc;
}

static Choices choices_of_k(const ContractShape *c, int32_t nv) {
    Choices kc = {.count = 0};
    choice_add(&kc, c->inner_k, 4096);
    choice_add(&kc, 1024, c->inner_k);
    choice_add(&kc, 512, c->inner_k);
    choice_add(&kc, 256, c->inner_k);
    if (c->m <= FEW_ROWS) choice_add(&kc, 128, c->inner_k);
    if (c->m <= FEW_ROWS) choice_add(&kc, 64, c->inner_k);
    if (nv <= MOST_OF_A_STRAND) choice_add(&kc, contract_strands(c), c->inner_k);
    return kc;
}

static void candidate_add(Space *s, Schedule schedule) {
    if (s->c->parts > 1) schedule.parts = s->c->parts;
    Candidate candidate = {schedule, contract_cost(s->c, &schedule), s->all.len};
    vec_push(s->arena, &s->all, candidate);
}

static int32_t least(int32_t x, int32_t y) { return x < y ? x : y; }

// In dot form a panel is one vector wide; else cols that do not lie densely must be copied.
static void candidates_of_packing(Space *s, Schedule schedule, bool dot_form) {
    const ContractOperand *b = &s->c->b;
    bool b_in_place = dot_form || (b->direct && (b->across == 1 || s->c->n == 1));
    int pair = contract_pair(s->c, schedule.mc, dot_form);
    schedule.ku = least(MOST_UNROLL, (schedule.kc + pair - 1) / pair);
    for (int32_t a = contract_copies_rows(s->c, pair) ? 1 : 0; a <= 1; a++)
        for (int32_t copy = b_in_place ? 0 : 1; copy <= (dot_form ? 0 : 1); copy++) {
            schedule.pack_a = a;
            schedule.pack_b = copy;
            candidate_add(s, schedule);
        }
}

static void candidates_of_block(Space *s, int32_t mr, int32_t nv, bool dot_form) {
    const ContractShape *c = s->c;
    Choices mc = choices_of_rows(c, mr), kc = choices_of_k(c, nv);
    Choices nc = choices_of_cols(c, (int64_t)nv * c->lanes);
    Schedule schedule = schedule_none();
    schedule.mr = mr;
    schedule.nv = nv;
    for (uint32_t i = 0; i < mc.count; i++)
        for (uint32_t j = 0; j < nc.count; j++)
            for (uint32_t k = 0; k < kc.count; k++) {
                schedule.mc = mc.value[i];
                schedule.nc = nc.value[j];
                schedule.kc = kc.value[k];
                candidates_of_packing(s, schedule, dot_form);
            }
}

static bool block_seen(const Space *s, int32_t mr, int32_t nv) {
    for (uint32_t i = s->first; i < s->all.len; i++)
        if (s->all.ptr[i].schedule.mr == mr && s->all.ptr[i].schedule.nv == nv) return true;
    return false;
}

// Is there room for the sums, the vectors and one element spread out? A vector that only one
// row multiplies comes with the multiplication.
static bool block_fits(const ContractShape *c, int64_t mr, int64_t nv) {
    int64_t sums = mr * nv, held = mr > 1 ? nv : 1;
    return nv <= MOST_VECTORS && sums <= c->registers - SPARE_REGISTERS &&
           sums + held + 1 <= c->registers;
}

// Of the blocks that fit those that one more vector would make too large, or nearly; of one row
// those as well that divide the cols evenly.
static void candidates_of_blocks(Space *s) {
    static const int32_t rows[] = {1, 2, 3, 4, 5, 6, 8, 10, 12, 14};
    const ContractShape *c = s->c;
    int64_t wide = ceil_div(c->n, c->lanes), enough = c->registers * 5 / 8;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t mr = rows[i] < c->m ? rows[i] : (int32_t)c->m;
        if (c->m <= VERY_FEW_ROWS && c->m % mr != 0) continue;
        for (int32_t nv = 1; nv <= wide && block_fits(c, mr, nv); nv++) {
            bool full =
                nv == wide || !block_fits(c, mr, nv + 1) || mr * (nv + (int64_t)1) > enough;
            bool even = mr == 1 && nv >= LEAST_VECTORS && wide % nv == 0;
            if ((full || even) && !block_seen(s, mr, nv)) candidates_of_block(s, mr, nv, false);
        }
    }
}

// Rows in powers of two: with them the cols of a group fill a vector's lanes.
static void candidates_of_dot_form(Space *s) {
    const ContractShape *c = s->c;
    for (int32_t mr = 1; mr <= c->lanes && mr < 2 * c->m; mr *= 2) {
        int32_t rows = mr < c->m ? mr : (int32_t)c->m;
        candidates_of_block(s, rows, 1, true);
    }
}

static int by_cost(const void *x, const void *y) {
    const Candidate *a = x, *b = y;
    if (a->cost != b->cost) return a->cost < b->cost ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

// The best of each shape of the register block: no more than a few of one.
static Schedules pick(const Space *s) {
    Schedules picked = {0};
    for (uint32_t i = 0; i < s->all.len && picked.len < MOST_CONTRACT; i++) {
        const Schedule *candidate = &s->all.ptr[i].schedule;
        uint32_t same = 0;
        vec_each (const Schedule, other, &picked)
            same += other->mr == candidate->mr && other->nv == candidate->nv;
        if (same < MOST_OF_A_BLOCK) vec_push(s->arena, &picked, *candidate);
    }
    return picked;
}

static void candidates_of_shape(Space *s, const ContractShape *c) {
    s->c = c;
    s->first = s->all.len;
    candidates_of_blocks(s);
    if (contract_dot_form(c)) candidates_of_dot_form(s);
}

// Of very few rows k can be cut for the threads as well as the cols.
static Schedules contract_space(const Regions *regions, const Region *region, IsaLevel level,
                                uint32_t threads, Arena *arena) {
    Space s = {.arena = arena};
    ContractShape whole = contract_shape(regions, region, level, threads, 1);
    candidates_of_shape(&s, &whole);
    ContractShape cut = contract_shape(regions, region, level, threads, (int32_t)threads);
    if (cut.m <= VERY_FEW_ROWS && cut.parts > 1) candidates_of_shape(&s, &cut);
    qsort(s.all.ptr, s.all.len, sizeof *s.all.ptr, by_cost);
    return pick(&s);
}

// ---- what gives programs of its own, for rows and attention

static Hash programs_hash(const Regions *regions, const Region *region, const Schedule *s) {
    Arena arena = {0};
    const TileKernels *kernels = region_to_tile(regions, region, s, &arena);
    Hash hash = {0, 0};
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        hash = hash_mix(hash, tile_hash(kernels->kernels[i].program));
    arena_release(&arena);
    return hash;
}

typedef struct {
    const Regions *regions;
    const Region *region;
    Arena *arena;
    Schedules schedules;
    Vec(Hash) hashes;
} ProgramSpace;

static void program_add(ProgramSpace *s, Schedule schedule) {
    Hash hash = programs_hash(s->regions, s->region, &schedule);
    vec_each (const Hash, seen, &s->hashes)
        if (hash_eq(*seen, hash)) return;
    vec_push(s->arena, &s->hashes, hash);
    vec_push(s->arena, &s->schedules, schedule);
}

// ---- rows

static Schedules row_space(const Regions *regions, const Region *region, Arena *arena) {
    static const int32_t unrolls[] = {0, 1, 2, 4}, tiles[] = {0, 1024, 16384};
    ProgramSpace s = {.regions = regions, .region = region, .arena = arena};
    for (int32_t nt = -1; nt <= 1; nt++)
        for (int32_t keep = -1; keep <= 1; keep++)
            for (size_t t = 0; t < sizeof tiles / sizeof *tiles; t++)
                for (size_t u = 0; u < sizeof unrolls / sizeof *unrolls; u++) {
                    Schedule schedule = schedule_none();
                    schedule.nt = nt;
                    schedule.keep = keep;
                    schedule.tile = tiles[t];
                    schedule.unroll = unrolls[u];
                    // Far from the default only one step at a time.
                    int changes = (nt >= 0) + (keep >= 0) + (t != 0);
                    if (changes <= 1 || (changes == 2 && u == 0)) program_add(&s, schedule);
                }
    return s.schedules;
}

// ---- attention

static int64_t grid_points(const TileProgram *p) {
    int64_t points = 1;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_GRID) points *= p->dims[d].extent;
    return points;
}

// Queries that share copies of keys: the more, the less is copied, as long as there are tasks
// enough. Gradients in one kernel are a task for each point of the grid anyway.
static int32_t attend_block(const TileProgram *p, uint32_t threads) {
    const TileDim *m = &p->dims[tile_dim_of(p, DIM_M)];
    int64_t points = grid_points(p), wanted = 4 * (int64_t)threads;
    int32_t block = 256;
    while (m->tile < m->extent && block > 64 && points * (m->extent / block) < wanted)
        block /= 2;
    return block;
}

// Bytes that a task of all keys has to keep of their gradients.
static int64_t attend_kept(const TileProgram *p) {
    int64_t widths = 0;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_K) widths += p->dims[d].extent;
    return p->dims[tile_dim_of(p, DIM_N)].extent * widths * 4;
}

// Where queries begin anywhere and tasks are fewer than threads, keys are dealt to several.
static int32_t attend_parts(const TileProgram *p, uint32_t threads) {
    int32_t parts = 1;
    while (tile_start_of(p) && parts * tile_task_count(p) < threads)
        parts *= 2;
    return parts > 1 ? parts : 0;
}

// Gradients in one kernel need fewer products; in two they give more tasks, which keep little.
static Schedules attend_space(const Regions *regions, const Region *region, uint32_t threads,
                              Arena *arena) {
    static const int32_t blocks[] = {0, 64, 128, 256, 512, 16}, chunks[] = {128, 64, 256, 512};
    const int64_t most_kept = 16 << 20;
    ProgramSpace s = {.regions = regions, .region = region, .arena = arena};
    Schedule schedule = schedule_none();
    const TileProgram *p =
        region_to_tile(regions, region, &schedule, arena)->kernels[0].program;
    int32_t first = grid_points(p) < 2 * (int64_t)threads || attend_kept(p) > most_kept;
    for (int32_t k = 0; k < 2; k++)
        for (size_t j = 0; j < sizeof chunks / sizeof *chunks; j++)
            for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
                schedule.split = k ? 1 - first : first;
                schedule.bm = blocks[i] ? blocks[i] : attend_block(p, threads);
                schedule.bn = chunks[j];
                schedule.parts = attend_parts(p, threads);
                program_add(&s, schedule);
            }
    return s.schedules;
}

// What has no knobs.
static Schedules only_one(Arena *arena) {
    Schedules one = {0};
    vec_push(arena, &one, schedule_none());
    return one;
}

// ---- linear attention

// How the tokens or columns of a head are divided over threads.
typedef struct {
    int32_t parts, segments;
} HeadShares;

// Only where heads are fewer than threads: parts compute the scores of keys again, each for
// itself; segments walk the sequence almost three times, however many they are.
static uint32_t head_shares(const TileProgram *p, uint32_t threads, HeadShares out[3]) {
    enum { MANY = 8, LEAST_TOKENS = 128 };
    int64_t heads = grid_points(p), tokens = p->dims[tile_dim_of(p, DIM_M)].extent;
    int32_t wanted = 1;
    while (wanted * heads < threads)
        wanted *= 2;
    uint32_t count = 0;
    bool is_long = wanted > 1 && tokens / wanted >= LEAST_TOKENS;
    if (is_long && wanted >= MANY) out[count++] = (HeadShares){.segments = wanted};
    if (wanted > 1) out[count++] = (HeadShares){.parts = wanted};
    if (is_long && wanted < MANY) out[count++] = (HeadShares){.segments = wanted};
    out[count++] = (HeadShares){0};
    return count;
}

// Long tiles are more products a tile, short ones more steps that wait for each other.
static Schedules linear_space(const Regions *regions, const Region *region, uint32_t threads,
                              Arena *arena) {
    static const int32_t tokens[] = {32, 64, 16, 128};
    ProgramSpace s = {.regions = regions, .region = region, .arena = arena};
    Schedule schedule = schedule_none();
    HeadShares shares[3];
    uint32_t count = head_shares(
        region_to_tile(regions, region, &schedule, arena)->kernels[0].program, threads, shares);
    for (uint32_t k = 0; k < count; k++)
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
            schedule.parts = shares[k].parts;
            schedule.segments = shares[k].segments;
            schedule.chunk = tokens[i];
            program_add(&s, schedule);
        }
    return s.schedules;
}

Schedules schedule_space(const Regions *regions, const Region *region, IsaLevel level,
                         uint32_t threads, Arena *arena) {
    if (level_is_cuda(level)) return cuda_space(regions, region, level, arena);
    if (region->kind == REGION_ROW) return row_space(regions, region, arena);
    if (region->kind == REGION_ORDER) return only_one(arena);
    if (region->kind == REGION_ATTEND) return attend_space(regions, region, threads, arena);
    if (region->kind == REGION_LINEAR) return linear_space(regions, region, threads, arena);
    return contract_space(regions, region, level, threads, arena);
}
