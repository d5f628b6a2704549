// loop_ws_choice.c: see loop_ws_choice.h. The estimate follows DeepGEMM's: a step of k takes as
// long as the slowest of tensor cores, shared memory and L2; tiles run in waves.
#include "codegen/cuda/loop_ws_choice.h"

#include <math.h>

#include "base/integer.h"
#include "codegen/cuda/best.h"

enum {
    SHARED_MOST = 232448,  // bytes of shared memory that a block may have
    BARRIER_BYTES = 16,    // of a stage: full and empty
    OTHER_REGISTERS = 40,  // of a consumer's thread, beside accumulators
    BUSY_REGISTERS = 16,   // more where the epilogue does more than store one f32
};

// ---- legality

bool ws_staged(const WsShape *s, const WsTiles *t) { return s->stageable && t->bn >= WS_SLICE; }

size_t ws_a_bytes(const WsTiles *t) { return (size_t)t->bm * WS_TILE_K * 2; }

// Across k there are whole sub-tiles of 64 columns.
size_t ws_b_bytes(const WsShape *s, const WsTiles *t) {
    int columns = s->across_b ? (t->bn + 63) / 64 * 64 : t->bn;
    return (size_t)columns * WS_TILE_K * 2;
}

size_t ws_staging_bytes(const WsShape *s, const WsTiles *t) {
    return ws_staged(s, t) ? (size_t)t->consumers * 2 * WS_SLICE_BYTES : 0;
}

size_t ws_shared_bytes(const WsShape *s, const WsTiles *t) {
    size_t stage = ws_a_bytes(t) + ws_b_bytes(s, t) + BARRIER_BYTES;
    size_t turns = t->turns > 1 ? BARRIER_BYTES : 0;
    return (size_t)t->stages * stage + ws_staging_bytes(s, t) + turns;
}

// The register file has 512 for each thread of a warpgroup; the producer keeps 32 or 40.
static int registers_of(int consumers) {
    static const int most[] = {0, 232, 232, 160};
    return most[consumers];
}

const char *ws_illegal(const WsShape *s, const WsTiles *t) {
    if (t->consumers < 1 || t->consumers > 3) return "consumers are 1 to 3";
    if (t->turns != 1 && !(t->turns == 2 && t->consumers == 2))
        return "only two consumers take turns";
    if (t->bm < 64 || t->bm > 256 || t->bm % (64 * ws_sharers(t)) != 0)
        return "bm is at most 256 and a multiple of 64 for each consumer";
    if (t->bn < 8 || t->bn > 256 || t->bn % 8 != 0) return "bn is a multiple of 8 up to 256";
    if (t->cluster < 1 || t->cluster > 2) return "cluster is 1 or 2";
    if (t->cluster == 2 && t->bn % 16 != 0) return "half of bn is no multiple of 8";
    if (t->stages < 2 || t->stages > WS_MAX_STAGES) return "stages are 2 to 8";
    if (t->order < 1) return "order is at least 1";
    if (ws_shared_bytes(s, t) > SHARED_MOST) return "the stages do not fit shared memory";
    int others = OTHER_REGISTERS + (s->point_bytes > 4 ? BUSY_REGISTERS : 0);
    if (ws_blocks(t) * t->bn / 2 + others > registers_of(t->consumers))
        return "the accumulators do not fit the registers";
    // ptxas wants an instruction's operands, and 26 more, in the registers that threads have at
    // the start: 128 of each of four warpgroups.
    if (t->consumers == 3 && t->bn / 2 + 26 > 128) return "bn is too large for three consumers";
    return NULL;
}

// ---- estimate

static double step_cycles(const WsTiles *t) {
    const double l2_bytes = 46, latency = 1200;  // bytes a cycle and multiprocessor; cycles
    double bm = t->bm, bn = t->bn, rows = bm / 64;
    double multiply = rows * bn * 2;
    // Each product of 64 x bn x 16 reads both tiles; the copies write them once.
    double shared = rows * 4 * (16 + bn / 4) + bm + bn;
    double l2 = (bm + bn / t->cluster) * WS_TILE_K * 2 / l2_bytes;
    return fmax(fmax(multiply, shared), fmax(l2, latency / (t->stages - 1)));
}

double ws_cycles(const WsShape *s, const WsTiles *t) {
    const double memory_bytes = 2450;  // bytes a cycle, of the whole GPU
    double start = t->cluster > 1 ? 3600 : 3000;
    double steps = (double)ceil_div(s->k, WS_TILE_K);
    double tiles = (double)s->points * (double)ceil_div(s->m, ws_height(t)) *
                   (double)ceil_div(s->n, t->bn);
    int at_once = WS_BLOCKS / t->cluster;
    double waves = ceil(tiles / at_once);
    double store = ws_staged(s, t) ? 1 : 1.5, products = steps * step_cycles(t);
    double epilogue = 500 + (double)t->bm * t->bn * (1 + store * s->point_bytes) / 64;
    double work = waves * (products + epilogue);
    // In turns one consumer's epilogue hides behind the other's products.
    if (t->turns == 2) work = waves * fmax(products, (products + epilogue) / 2) + epilogue;
    double m = (double)s->m, n = (double)s->n, k = (double)s->k, points = (double)s->points;
    double bytes = points * (2 * k * (m + n) + s->point_bytes * m * n);
    // Of two that memory holds up equally the one with less work is better.
    double memory = bytes / memory_bytes;
    return start + fmax(work, memory) + fmin(work, memory) / 16;
}

// ---- choice

typedef struct {
    const WsShape *shape;
    WsTiles wanted;
    Best best;
} Choice;

static double cycles_of(const void *shape, const void *tiles) {
    return ws_cycles(shape, tiles);
}

// The tiles that are under way at once shall be about as high as they are wide, so that they
// read the least.
static int order_of(const WsTiles *t) {
    int at_once = WS_BLOCKS / t->cluster;
    return (int)fmax(1, round(sqrt((double)at_once * t->bn / (double)ws_height(t))));
}

// As many stages as fit, unless they are given.
static void choice_with_stages(Choice *c, WsTiles t) {
    t.order = c->wanted.order ? c->wanted.order : order_of(&t);
    t.stages = c->wanted.stages ? c->wanted.stages : WS_MAX_STAGES;
    while (!c->wanted.stages && t.stages > 2 && ws_shared_bytes(c->shape, &t) > SHARED_MOST)
        t.stages--;
    if (ws_illegal(c->shape, &t) == NULL) best_add(&c->best, &t);
}

static bool fits_wish(int value, int wanted) { return wanted == 0 || wanted == value; }

static void choice_of_rows(Choice *c, WsTiles t) {
    const WsTiles *wanted = &c->wanted;
    int widest = (int)(c->shape->n < 256 ? round_up(c->shape->n, 16) : 256);
    for (int cluster = 1; cluster <= 2; cluster++) {
        if (!fits_wish(cluster, wanted->cluster)) continue;
        // A lone row of tiles has nothing to share.
        if (cluster == 2 && !wanted->cluster && c->shape->m <= t.bm) continue;
        t.cluster = cluster;
        t.bn = wanted->bn;
        if (wanted->bn) choice_with_stages(c, t);
        for (t.bn = widest; t.bn >= 16 && !wanted->bn; t.bn -= 16)
            choice_with_stages(c, t);
    }
}

uint32_t ws_choices(const WsShape *s, const WsTiles *wanted, WsTiles *out, uint32_t most) {
    static const WsTiles usual[] = {
        {.bm = 128, .consumers = 2, .turns = 1}, {.bm = 128, .consumers = 2, .turns = 2},
        {.bm = 256, .consumers = 2, .turns = 1}, {.bm = 192, .consumers = 3, .turns = 1},
        {.bm = 64, .consumers = 1, .turns = 1},  {.bm = 64, .consumers = 2, .turns = 2},
    };
    Choice c = {.shape = s, .wanted = *wanted};
    c.best =
        (Best){.out = out, .size = sizeof *out, .most = most, .cycles = cycles_of, .shape = s};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (fits_wish(usual[i].bm, wanted->bm) &&
            fits_wish(usual[i].consumers, wanted->consumers) &&
            fits_wish(usual[i].turns, wanted->turns))
            choice_of_rows(&c, usual[i]);
    if (c.best.count > 0 || !wanted->bm) return c.best.count;
    WsTiles t = *wanted;
    if (!t.consumers) t.consumers = 1;
    if (!t.turns) t.turns = 1;
    choice_of_rows(&c, t);
    return c.best.count;
}
