// attend_choice.c: see attend_choice.h. A step takes as long as the slower of tensor cores and
// shared memory, and what is done to each score; blocks run in waves.
#include "codegen/cuda/attend_choice.h"

#include <math.h>

#include "base/integer.h"
#include "codegen/cuda/best.h"
#include "codegen/cuda/loop_cp_choice.h"

enum {
    OTHER_REGISTERS = 56,  // of a thread, beside sums, scores and weights
    WALK_REGISTERS = 8,    // for each of a begin and a deal
    MOST_REGISTERS = 232,  // of 255: the count is an estimate
    MOST_STAGES = 4,
    MOST_COLUMNS = 4,
    FMA_SUMS = 96,  // of a thread, with which FMA never spilled
    ROW_BYTES = 4,  // of a number that is known of a row
};

static int least(int x, int y) { return x < y ? x : y; }
int attend_tile_bytes(const AttendShape *s, const AttendTiles *t) {
    return s->bytes * (t->own * s->own_width + t->stages * t->other * s->other_width);
}

int attend_weight_bytes(const AttendShape *s, const AttendTiles *t) {
    return attend_shares(s, t) ? s->bytes * s->weights * t->own * t->other : 0;
}

int attend_shared_bytes(const AttendShape *s, const AttendTiles *t) {
    int of_rows = t->columns == 1 ? 0 : ROW_BYTES * t->own * t->columns;
    return attend_tile_bytes(s, t) + attend_weight_bytes(s, t) + of_rows;
}

static int thread_sums(const AttendShape *s, const AttendTiles *t) {
    return t->rows * s->sum_width / t->columns / 2;
}

int attend_registers(const AttendShape *s, const AttendTiles *t) {
    int sums = thread_sums(s, t);
    int scores = s->scores * t->rows * attend_part(t) / 2;
    int weights = s->weights * t->rows * attend_part(t) / 4;
    // Loaded weights, or by FMA four elements of each row.
    int shared = s->bytes == 4 ? 8 * t->rows : t->columns == 1 ? 0 : 4 * t->rows;
    int walk = WALK_REGISTERS * ((s->begin > 0) + (s->deal > 0));
    return sums + scores + weights + shared + walk + 8 * t->rows + OTHER_REGISTERS;
}

int attend_resident(const AttendShape *s, const AttendTiles *t) {
    const CudaCard *card = cuda_card(s->arch);
    int by_shared = card->shared_all / (attend_shared_bytes(s, t) + 1024);
    int registers = (attend_registers(s, t) + 7) / 8 * 8;
    // Each quarter of a multiprocessor has registers for 512 / registers warps.
    int by_registers = 4 * (512 / registers) / attend_warps(t);
    int resident = least(by_shared, by_registers);
    return resident > 1 ? resident : 1;
}

// 99 KB is what all GPUs that run machine code of sm_80 have. The A100 has more, which only the
// widest rows of f32 ask for.
static int shared_most(const AttendShape *s) {
    const CudaCard *card = cuda_card(s->arch);
    const AttendTiles smallest = {.own = 16, .other = 16, .stages = 2, .columns = MOST_COLUMNS};
    bool fits = attend_shared_bytes(s, &smallest) <= card->shared_most;
    return fits ? card->shared_most : card->shared_all - 1024;
}

const char *attend_illegal(const AttendShape *s, const AttendTiles *t) {
    if (t->rows != 1 && t->rows != 2) return "a warp has 16 or 32 rows";
    if (t->own < 16 || t->own > 256 || t->own % (16 * t->rows) != 0 || attend_warps(t) > 8)
        return "a block's tile is 16 to 256 points, of 1 to 8 warps";
    if (t->other < 16 || t->other > 128 || t->other % 16 != 0)
        return "a step is 16 to 128 points, in multiples of 16";
    if (t->columns != 1 && t->columns != 2 && t->columns != MOST_COLUMNS)
        return "1, 2 or 4 warps share rows";
    int unit = s->bytes == 4 ? 8 : 16;
    if (t->other % (unit * t->columns) != 0 || s->least_width % (unit * t->columns) != 0)
        return "a warp's parts of a step and of the sums are multiples of 16, of f32 of 8";
    if (t->stages < 2 || t->stages > MOST_STAGES) return "stages are 2 to 4";
    if (s->deal % t->other != 0) return "a step is of keys that are dealt at once";
    if (attend_shared_bytes(s, t) > shared_most(s)) return "the tiles do not fit shared memory";
    if (s->bytes == 4 && t->rows > 1 && thread_sums(s, t) > FMA_SUMS)
        return "32 rows of a warp have too many sums";
    if (attend_registers(s, t) > MOST_REGISTERS ||
        attend_registers(s, t) * attend_threads(t) > 65536)
        return "the sums do not fit the registers";
    return NULL;
}

// Of a block whose own points begin at `first`: tiles of the other side that the band has.
static int64_t steps_of(const AttendShape *s, const AttendTiles *t, int64_t first) {
    int64_t from = 0, to = s->other - 1;
    first += s->begin;
    if (s->has_hi && first - s->hi > from) from = first - s->hi;
    if (s->has_lo && first + t->own - 1 - s->lo < to) to = first + t->own - 1 - s->lo;
    if (to < from) return 0;
    return ceil_div((to / t->other - from / t->other + 1) * s->serial, s->parts);
}

// Bytes that a step moves through shared memory. Each thread reads what it multiplies by FMA;
// ldmatrix reads once for a warp.
static double step_bytes(const AttendShape *s, const AttendTiles *t) {
    double warps = attend_warps(t), scores = (double)t->own * t->other, columns = t->columns;
    double read = warps / columns * t->other * (s->score_width + s->sum_width) +
                  columns * t->own * s->score_width;
    if (s->bytes == 4) {
        int of_score = 2 * t->rows + attend_part(t) / 4;
        double of_sums = 2.0 * t->rows * s->weights + s->sum_width / columns / 4;
        read = 32 * warps * (s->score_width * of_score + t->other * of_sums);
    }
    if (attend_shares(s, t)) read += (1 + columns) * s->weights * scores;
    return s->bytes * (read + (double)t->other * s->other_width);
}

double attend_cycles(const AttendShape *s, const AttendTiles *t) {
    const double start = 3000, wait = 250, score_rate = 12;  // scores in a cycle
    const CudaCard *card = cuda_card(s->arch);
    double warps = attend_warps(t), scores = (double)t->own * t->other;
    double products = scores * (s->score_width + s->sum_width);
    double multiply = products / (s->bytes == 4 ? card->fma : card->mma);
    double step =
        fmax(multiply, step_bytes(s, t) / card->shared_bytes) + scores * s->scores / score_rate;
    double steps = 0, longest = 0;  // of all blocks of a point
    for (int64_t first = 0; first < s->own; first += t->own) {
        double here = (double)steps_of(s, t, first);
        steps += here;
        longest = fmax(longest, here);
    }
    // Alone, a block waits for its loads and barriers, and few warps do not fill the pipelines.
    double enough = s->bytes == 4 ? 8 : 4;
    double slower = step * fmax(enough / warps, 1) + wait;
    double ends = (double)t->own * (s->own_width + s->sum_width) / 8;
    double blocks = (double)ceil_div(s->own, t->own), points = (double)s->points / card->blocks;
    double busy = points * (steps * step + blocks * ends);
    double waiting = points * (steps * slower + blocks * (ends + 1500)) / attend_resident(s, t);
    return start + fmax(fmax(busy, waiting), longest * slower + ends + 1500);
}

// ---- choice

static double cycles_of(const void *shape, const void *tiles) {
    return attend_cycles(shape, tiles);
}

// No side is twice as long as what there is.
static bool fits(int value, int wanted, int64_t extent) {
    if (wanted) return value == wanted;
    return value == 16 || value < 2 * extent;
}

static void choices_of(const AttendShape *s, const AttendTiles *wanted, AttendTiles t,
                       Best *best) {
    for (t.rows = 1; t.rows <= 2; t.rows++)
        for (t.stages = 2; t.stages <= MOST_STAGES; t.stages++) {
            bool is = (!wanted->rows || wanted->rows == t.rows) &&
                      (!wanted->stages || wanted->stages == t.stages);
            if (is && attend_illegal(s, &t) == NULL) best_add(best, &t);
        }
}

static void choices_with(const AttendShape *s, const AttendTiles *wanted, int columns,
                         Best *best) {
    for (int own = 16; own <= 256; own += 16)
        for (int other = 16; other <= 128; other += 16) {
            bool powers = (own & (own - 1)) == 0 && (other & (other - 1)) == 0;
            if (!powers && !wanted->own && !wanted->other) continue;
            AttendTiles t = {.own = own, .other = other, .columns = columns};
            if (wanted->other && other != wanted->other) continue;
            if (fits(own, wanted->own, s->own) && fits(attend_part(&t), 0, s->other))
                choices_of(s, wanted, t, best);
        }
}

// As many warps share rows as leave each thread FMA_SUMS.
static int columns_for_fma(const AttendShape *s) {
    AttendTiles t = {.rows = 1, .columns = 1};
    while (t.columns < MOST_COLUMNS && thread_sums(s, &t) > FMA_SUMS)
        t.columns *= 2;
    return t.columns;
}

// Warps that share rows wait for each other: no more of them than registers ask for. Where
// their tiles do not fit, fewer may do.
uint32_t attend_choices(const AttendShape *s, const AttendTiles *wanted, AttendTiles *out,
                        uint32_t most) {
    Best best = {
        .out = out, .size = sizeof *out, .most = most, .cycles = cycles_of, .shape = s};
    int first = wanted->columns ? wanted->columns : s->bytes == 4 ? columns_for_fma(s) : 1;
    int last = wanted->columns ? first : MOST_COLUMNS;
    for (int columns = first; columns <= last && best.count == 0; columns *= 2)
        choices_with(s, wanted, columns, &best);
    for (int columns = first / 2; !wanted->columns && columns > 0 && best.count == 0;
         columns /= 2)
        choices_with(s, wanted, columns, &best);
    return best.count;
}
