// loop_cp_choice.c: see loop_cp_choice.h. The estimate follows DeepGEMM's: a step of k takes as
// long as the slowest of arithmetic, shared memory and L2; blocks run in waves.
#include "codegen/cuda/loop_cp_choice.h"

#include <math.h>

#include "base/integer.h"
#include "codegen/cuda/best.h"

enum {
    MAX_STAGES = 8,
    OTHER_REGISTERS = 36,  // of a thread, beside sums and operands
    FMA_REGISTERS = 60,    // the same for FMA, with operands that are under way
    DEFAULT_ORDER = 8,
};

const CudaCard *cuda_card(IsaLevel arch) {
    static const CudaCard a100 = {108, 99 * 1024, 164 * 1024, 1024, 64, 128, 48, 1400};
    static const CudaCard h200 = {132, 227 * 1024, 228 * 1024, 1200, 128, 128, 46, 2450};
    static const CudaCard b200 = {148, 227 * 1024, 228 * 1024, 1200, 128, 128, 64, 4200};
    return arch == CUDA_SM80 ? &a100 : arch == CUDA_SM90A ? &h200 : &b200;
}

static int least(int x, int y) { return x < y ? x : y; }
static int element_bytes(const CpShape *s) { return cp_is_mma(s) ? 2 : 4; }
// Of one point, if all have about as much.
static int64_t own_m(const CpShape *s) { return ceil_div(s->m, s->sharing_m); }
static int64_t own_k(const CpShape *s) { return ceil_div(s->k, s->sharing_k); }

// Where points share the rows, each may end with a part of a tile.
int64_t cp_row_tiles(const CpShape *s, const CpTiles *t) {
    int64_t ends = s->sharing_m < s->m ? s->sharing_m : s->m;
    return s->points / s->sharing_m * ((s->m + ends * (t->bm - 1)) / t->bm);
}

// ---- legality

int cp_a_bytes(const CpShape *s, const CpTiles *t) { return t->bm * t->bk * element_bytes(s); }
int cp_b_bytes(const CpShape *s, const CpTiles *t) { return t->bn * t->bk * element_bytes(s); }

// The stages, whose place the sums of all parts of k but the first take at the end.
int cp_shared_bytes(const CpShape *s, const CpTiles *t) {
    int stages = t->stages * (cp_a_bytes(s, t) + cp_b_bytes(s, t));
    int sums = (t->warps_k - 1) * t->bm * t->bn * 4;
    return stages > sums ? stages : sums;
}

static int warp_m(const CpTiles *t) { return t->bm / t->warps_m; }
static int warp_n(const CpTiles *t) { return t->bn / t->warps_n; }

// Fragments of both tiles; for FMA four k of b and of a one row or column.
static int operand_registers(const CpShape *s, const CpTiles *t) {
    if (cp_is_mma(s)) return (warp_m(t) + warp_n(t)) / 4;
    int k = s->across_a && s->across_b ? 1 : 4;
    return k * warp_n(t) / 8 + warp_m(t) / 4;
}

int cp_registers(const CpShape *s, const CpTiles *t) {
    int sums = cp_thread_sums(t), operands = operand_registers(s, t);
    int computed = 0, threads = cp_threads(t);
    if (s->computed_a) computed += cp_a_bytes(s, t) / threads / 2;
    if (s->computed_b) computed += cp_b_bytes(s, t) / threads / 2;
    int epilogue = s->stored_bytes > 4 ? 3 * (s->stored_bytes - 4) : 0;
    int addresses = t->bk / t->warps_k / 8;
    return sums + operands + computed + epilogue + addresses +
           (cp_is_mma(s) ? OTHER_REGISTERS : FMA_REGISTERS);
}

static bool is_power(int x) { return x > 0 && (x & (x - 1)) == 0; }

// Rows of a tile in shared memory: their chunks of 16 bytes are mixed in groups of 8, or of
// fewer if a row has fewer.
static bool row_mixes(int elements, int bytes) {
    int chunks = elements * bytes / CP_CHUNK_BYTES;
    return chunks > 0 && (chunks % 8 == 0 || is_power(chunks));
}

static const char *illegal_warps(const CpShape *s, const CpTiles *t) {
    if (t->warps_m < 1 || t->warps_n < 1 || t->warps_k < 1 || cp_warps(t) > 16)
        return "warps are 1 to 16";
    if (t->bk % (t->warps_k * (cp_is_mma(s) ? 16 : 4)) != 0)
        return "warps_k does not divide bk";
    int unit_m = cp_is_mma(s) ? 16 : 4, unit_n = cp_is_mma(s) ? 16 : 8;
    if (t->bm % (t->warps_m * unit_m) != 0 || t->bn % (t->warps_n * unit_n) != 0)
        return cp_is_mma(s) ? "a warp's tile is in multiples of 16 x 16"
                            : "a warp's tile is in multiples of 4 x 8";
    if (!cp_is_mma(s) && (!is_power(warp_m(t)) || !is_power(warp_n(t))))
        return "a thread's tile has powers of two as its sides";
    return NULL;
}

const char *cp_illegal(const CpShape *s, const CpTiles *t) {
    if (t->bm < 1 || t->bm > 256 || t->bn < 1 || t->bn > 256) return "bm and bn are 1 to 256";
    if (t->bk != 16 && t->bk != 32 && t->bk != 64 && t->bk != 128)
        return "bk is 16, 32, 64 or 128";
    if (t->stages < 2 || t->stages > MAX_STAGES) return "stages are 2 to 8";
    if (t->order < 1) return "order is at least 1";
    const char *reason = illegal_warps(s, t);
    if (reason) return reason;
    if (!row_mixes(s->across_a ? t->bm : t->bk, element_bytes(s)) ||
        !row_mixes(s->across_b ? t->bn : t->bk, element_bytes(s)))
        return "rows of tiles have 1, 2, 4 or a multiple of 8 pieces of 16 bytes";
    if (cp_shared_bytes(s, t) > cuda_card(s->arch)->shared_most)
        return "the stages do not fit shared memory";
    if (cp_registers(s, t) > 255 || cp_registers(s, t) * cp_threads(t) > 65536)
        return "the sums do not fit the registers";
    return NULL;
}

// ---- estimate

int cp_resident(const CpShape *s, const CpTiles *t) {
    const CudaCard *card = cuda_card(s->arch);
    int by_shared = card->shared_all / (cp_shared_bytes(s, t) + 1024);
    int by_registers = 65536 / ((cp_registers(s, t) + 7) / 8 * 8 * cp_threads(t));
    int resident = least(least(by_shared, by_registers), least(2048 / cp_threads(t), 16));
    return resident > 1 ? resident : 1;
}

// Cycles in which a multiprocessor does one step of one block, if it does nothing else.
static double step_cycles(const CpShape *s, const CpTiles *t) {
    const CudaCard *card = cuda_card(s->arch);
    double bm = t->bm, bn = t->bn, bk = t->bk, bytes = element_bytes(s);
    double multiply = bm * bn * bk / (cp_is_mma(s) ? card->mma : card->fma);
    double fill = (bm + bn) * bk * bytes;
    // Each warp reads its rows of both tiles, which FMA's threads share a quarter of a warp at
    // a time.
    double warps = t->warps_m * t->warps_n;
    double read = warps * (warp_m(t) + warp_n(t)) * bk * bytes;
    int quarter = warp_m(t) / 4 + warp_n(t) / 8;
    if (!cp_is_mma(s)) read = warps * quarter * bk * card->shared_bytes;
    double computed = 0;
    if (s->computed_a) computed += bm * bk / 16;
    if (s->computed_b) computed += bn * bk / 16;
    return fmax(multiply, fmax((fill + read) / card->shared_bytes, fill / card->l2_bytes)) +
           computed;
}

double cp_memory_bytes(IsaLevel arch) { return cuda_card(arch)->memory_bytes; }

double cp_cycles(const CpShape *s, const CpTiles *t) {
    const double start = 3000, latency = 900, least_step = 100;
    const CudaCard *card = cuda_card(s->arch);
    double steps = (double)ceil_div(own_k(s), t->bk), warps = cp_warps(t);
    double blocks =
        (double)s->points * (double)ceil_div(own_m(s), t->bm) * (double)ceil_div(s->n, t->bn);
    double epilogue = (double)t->bm * t->bn * (1 + s->stored_bytes + 2 * (t->warps_k - 1)) / 48;
    double busy = steps * step_cycles(s, t) + epilogue;
    // Alone, a block waits for its loads and barriers, and few warps do not fill the pipelines.
    double slower = warps < 4 ? 4 / warps : 1;
    double step = fmax(latency / (t->stages - 1), least_step + step_cycles(s, t) * slower);
    double alone = 1500 + steps * step + epilogue;
    double resident = cp_resident(s, t);
    double rounds = ceil(blocks / (card->blocks * resident));
    double waves = fmax(ceil(blocks / card->blocks) * busy, rounds * alone);
    double m = (double)own_m(s), n = (double)s->n, k = (double)own_k(s),
           points = (double)s->points;
    double bytes = points * (element_bytes(s) * k * (m + n) + s->stored_bytes * m * n);
    return start + fmax(waves, bytes / card->memory_bytes);
}

// ---- choice

typedef struct {
    const CpShape *shape;
    CpTiles wanted;
    Best best;
} Choice;

static double cycles_of(const void *shape, const void *tiles) {
    return cp_cycles(shape, tiles);
}

// Halves the longer side of a warp's tile until there are enough warps and each has no more
// sums than it keeps well.
static void warps_choose(const CpShape *s, CpTiles *t, int wanted) {
    bool mma = cp_is_mma(s);
    const int least_m = mma ? 16 : 8, least_n = mma ? 16 : 32;
    const int most_m = mma ? 64 : 32, most_n = 64, most_sums = 2048;
    t->warps_m = t->warps_n = 1;
    for (;;) {
        int m = warp_m(t), n = warp_n(t), warps = t->warps_m * t->warps_n;
        bool enough = warps >= wanted && m * n <= most_sums && m <= most_m && n <= most_n;
        bool can_m = m % (2 * least_m) == 0, can_n = n % (2 * least_n) == 0;
        if (enough || warps >= 8 || (!can_m && !can_n)) return;
        bool split_m = can_m && (!can_n || m > n || (!mma && m > most_m));
        *(split_m ? &t->warps_m : &t->warps_n) *= 2;
    }
}

// With few rows or columns steps are short, and only many of them under way keep memory busy.
static bool is_thin(const CpShape *s) { return own_m(s) <= 64 || s->n <= 64; }

// Among equals those with more stages.
static void choice_with_stages(Choice *c, CpTiles t) {
    int wanted = c->wanted.stages, most = is_thin(c->shape) ? MAX_STAGES : 4;
    for (t.stages = wanted ? wanted : most; t.stages >= (wanted ? wanted : 2); t.stages--)
        if (cp_illegal(c->shape, &t) == NULL) best_add(&c->best, &t);
}

// Small tiles may have their warps in parts of k.
static void choice_with_warps(Choice *c, CpTiles t) {
    const CpTiles *wanted = &c->wanted;
    t.order = wanted->order ? wanted->order : DEFAULT_ORDER;
    for (int parts_of_k = 1; parts_of_k <= 4; parts_of_k *= 2) {
        t.warps_k = wanted->warps_k ? wanted->warps_k : parts_of_k;
        warps_choose(c->shape, &t, 4 / parts_of_k);
        if (wanted->warps_m) t.warps_m = wanted->warps_m;
        if (wanted->warps_n) t.warps_n = wanted->warps_n;
        if (parts_of_k == 1 || t.warps_m * t.warps_n * parts_of_k <= 4)
            choice_with_stages(c, t);
        if (wanted->warps_k) return;
    }
}

static void choice_with_step(Choice *c, CpTiles t) {
    if (c->wanted.bk) {
        t.bk = c->wanted.bk;
        choice_with_warps(c, t);
        return;
    }
    int longest = cp_is_mma(c->shape) ? (is_thin(c->shape) ? 128 : 64) : 32;
    for (t.bk = 32; t.bk <= longest; t.bk *= 2)
        if (t.bk == 32 || own_k(c->shape) >= t.bk) choice_with_warps(c, t);
}

// A side that is not given is a power of two that is less than twice the extent.
static bool fits(int value, int64_t extent, int smallest) {
    return value == smallest || value < 2 * extent;
}

uint32_t cp_choices(const CpShape *s, const CpTiles *wanted, CpTiles *out, uint32_t most) {
    Choice c = {.shape = s, .wanted = *wanted};
    c.best =
        (Best){.out = out, .size = sizeof *out, .most = most, .cycles = cycles_of, .shape = s};
    bool mma = cp_is_mma(s);
    int widest = mma ? 256 : 128;
    int first_m = wanted->bm ? wanted->bm : widest, last_m = wanted->bm ? first_m
                                                             : mma      ? 16
                                                                        : 8;
    int first_n = wanted->bn ? wanted->bn : widest, last_n = wanted->bn ? first_n
                                                             : mma      ? 16
                                                                        : 32;
    for (int bm = first_m; bm >= last_m; bm /= 2)
        for (int bn = first_n; bn >= last_n; bn /= 2)
            if (fits(bm, wanted->bm ? bm : own_m(s), last_m) &&
                fits(bn, wanted->bn ? bn : s->n, last_n))
                choice_with_step(&c, (CpTiles){.bm = bm, .bn = bn});
    return c.best.count;
}
