// stream_shape.c: how many threads share a row of a STREAM program, and what each of them
// holds.
//
// The rules, in this order: rows stay in registers if they can; vectors are wide; a team is
// small, because small teams reduce cheaply, but not so small that the GPU is idle or that a
// thread needs many registers.
#include "base/check.h"
#include "codegen/cuda/stream.h"
#include "ir/tile/tile_access.h"

enum {
    BLOCK_THREADS = 256,       // of teams that fit in a warp
    WIDE_THREADS = 256,        // of a team whose row does not stay
    MOST_THREADS = 1024,       // of a block
    MOST_ELEMENTS = 32,        // of a thread
    BUSY_THREADS = 132 * 512,  // fewer leave a large GPU idle
    BUSY_BLOCKS = 2 * 132,
    FIXED_REGISTERS = 24,  // addresses, indices and what is on its way
    GROUP_REGISTERS = 32,  // what the compiler moves from one group to another
    SAFE_REGISTERS = 232,  // of 255: the count is an estimate
    MOST_UNROLLED = 2000,  // operations at the cols of a thread: they take NVRTC a second
};

// ---- what the program asks for

static int64_t grid_points(const StreamPlan *s) {
    int64_t points = 1;
    for (uint32_t d = 0; d < s->p->dim_count; d++)
        if (s->p->dims[d].role == DIM_GRID) points *= s->p->dims[d].extent;
    return points;
}

static bool reduces_cols(const StreamPlan *s) {
    for (uint32_t i = 1; i < s->p->ops.len; i++)
        if (s->p->ops.ptr[i].kind == TILE_REDUCE && !s->ops[i].over_serial) return true;
    return false;
}

static bool stores_scalars(const StreamPlan *s) {
    for (uint32_t i = 1; i < s->p->ops.len; i++)
        if (tile_op_writes(s->p->ops.ptr[i].kind) && !s->ops[i].col) return true;
    return false;
}

// May two cols of a row be added to one element? Then one thread must take them in turns.
static bool scatters_meet(const StreamPlan *s) {
    for (uint32_t i = 1; i < s->p->ops.len; i++) {
        const TileOp *op = &s->p->ops.ptr[i];
        if (op->kind != TILE_SCATTER || !s->ops[i].col) continue;
        bool own = s->ops[op->in[0].i].col;
        if (own || !tile_access_injective(s->p, op, (DimSet)(1U << s->col))) return true;
    }
    return false;
}

static int accesses_that_fit(const StreamPlan *s, int width, size_t bytes) {
    int count = 0;
    for (uint32_t i = 1; i < s->p->ops.len; i++)
        if (stream_width_fits(s, i, width) &&
            dtype_bytes(s->p->args.ptr[s->p->ops.ptr[i].access.arg].type) == bytes)
            count++;
    return count;
}

int stream_width(const StreamPlan *s) {
    int64_t knob = tile_knob(s->p, "width", 0);
    if (s->col < 0) return 1;
    for (int width = 8; width > 1; width /= 2) {
        if (s->p->dims[s->col].extent % width != 0 || (knob > 0 && width > knob)) continue;
        int narrow = accesses_that_fit(s, width, 2), wide = accesses_that_fit(s, width, 4);
        if (width == 8 && narrow < wide) continue;
        if (narrow + wide > 0) return width;
    }
    return 1;
}

// ---- candidates

static int power_above(int64_t x) {
    int power = 1;
    while (power < x)
        power *= 2;
    return power;
}

static int64_t divided_up(int64_t x, int64_t by) { return (x - 1) / by + 1; }

typedef struct {
    const Stream *s;
    int64_t rows, vectors;  // of all tasks; of a row
    bool strict;            // also busy and not too large
} Search;

static bool registers_fit(const Search *q, const StreamShape *shape) {
    const StreamNeeds *needs = &q->s->needs;
    double elements = (double)shape->width * shape->steps;
    int scalars = needs->scalars > needs->reduced ? needs->scalars : needs->reduced;
    double registers = FIXED_REGISTERS + scalars + needs->live * elements;
    if (shape->shares) registers += GROUP_REGISTERS;
    // Each of the four parts of a multiprocessor has a quarter of the registers.
    int threads = (shape->threads + 127) / 128 * 128;
    int64_t knob = tile_knob(q->s->plan.p, "registers", 0);
    double safe = knob > 0 ? (double)knob : SAFE_REGISTERS;
    double most = 65536.0 / threads < safe ? 65536.0 / threads : safe;
    if (q->strict && most > 128) most = 128;
    return registers <= most;
}

static int ops_at_cols(const StreamPlan *s) {
    int count = 0;
    for (uint32_t i = 1; i < s->p->ops.len; i++)
        count += s->ops[i].col;
    return count;
}

static bool is_busy(const Search *q, int64_t threads_of_row) {
    return q->rows * threads_of_row >= BUSY_THREADS;
}

static bool resident_fits(const Search *q, StreamShape *shape) {
    shape->steps = (int)divided_up(q->vectors, shape->threads);
    if (shape->steps > 1 && q->strict && !is_busy(q, shape->threads)) return false;
    int elements = shape->width * shape->steps;
    if (shape->shares && ops_at_cols(&q->s->plan) * elements > MOST_UNROLLED) return false;
    bool few = elements <= MOST_ELEMENTS;
    return (few || !q->strict) && registers_fit(q, shape);
}

// The smallest team whose threads can hold the row.
static bool team_of_row(const Search *q, StreamShape *shape) {
    int64_t knob = tile_knob(q->s->plan.p, "threads", 0);
    int least = shape->shares ? 64 : q->vectors < 8 ? power_above(q->vectors) : 8;
    // Narrower vectors rather than threads without any.
    if (shape->shares && shape->width > 2 && q->vectors < least) return false;
    for (int threads = least; threads <= MOST_THREADS; threads += threads < 32 ? threads : 32) {
        if (knob > 0 && threads != knob) continue;
        shape->threads = threads;
        if (resident_fits(q, shape)) return true;
        if (threads >= q->vectors) return false;
    }
    return false;
}

// The row is taken apart: every team has the cols that it covers at once.
static bool team_of_part(const Search *q, StreamShape *shape) {
    int64_t knob = tile_knob(q->s->plan.p, "threads", 0);
    int64_t threads =
        q->vectors <= 32 ? power_above(q->vectors) : divided_up(q->vectors, 32) * 32;
    if (threads > BLOCK_THREADS) threads = BLOCK_THREADS;
    if (knob > 0 && knob < threads) threads = knob;
    shape->threads = (int)threads;
    shape->steps = 1;
    shape->tile = threads * shape->width;
    bool busy = shape->width == 1 || is_busy(q, q->vectors);
    return (busy || !q->strict) &&
           (registers_fit(q, shape) || (shape->width == 1 && !q->strict));
}

static int64_t shared_most(IsaLevel arch) { return arch == CUDA_SM80 ? 163 << 10 : 227 << 10; }

int stream_reduction_words(const Stream *s) {
    int values = s->needs.reduced < 32 ? s->needs.reduced : 32;
    if (s->shape.threads <= 32 || values == 0) return 0;
    return s->shape.threads / 32 * power_above(values);
}

// Shared memory of a fixed size: of reductions, and barriers. Dynamic memory begins at a
// multiple of 1024 behind it.
static int64_t shared_fixed(const Stream *s) {
    enum { BARRIER_BYTES = 256 };
    return divided_up(2 * 4 * stream_reduction_words(s) + BARRIER_BYTES, 1024) * 1024;
}

int64_t stream_shared_left(const Stream *s) {
    return shared_most(s->w->arch) - shared_fixed(s) - stream_shared_words(s) * 4;
}

int64_t stream_sums_out(const Stream *s) {
    if (!s->shape.overflows) return 0;
    Stream all = *s;
    all.shape.overflows = false;
    int64_t lacking = -stream_shared_left(&all), sum = stream_sum_cols(s) * 4;
    int64_t out = lacking > 0 ? divided_up(lacking, sum) : 0;
    return out < s->needs.loose_sums ? out : s->needs.loose_sums;
}

static bool shared_fits(const Search *q, const StreamShape *shape) {
    Stream chosen = *q->s;
    chosen.shape = *shape;
    return stream_shared_left(&chosen) >= 0;
}

int64_t stream_blocks_of_unit(const Stream *s) {
    int64_t threads = s->shape.threads, most = MOST_THREADS;
    if (s->shape.shares) most = s->shape.few_registers ? 65536 / 128 : 65536 / 256;
    int64_t bytes = stream_shared_words(s) * 4 + shared_fixed(s);
    int64_t by_shared = shared_most(s->w->arch) / bytes, by_threads = most / threads;
    int64_t each = by_shared < by_threads ? by_shared : by_threads;
    return each > 1 ? each : 1;
}

int64_t stream_blocks_at_once(const Stream *s) {
    int64_t units = s->w->arch == CUDA_SM100A ? 148 : 132;
    return units * stream_blocks_of_unit(s);
}

// Fewer threads, each with a single col and with shared memory for what it stores.
static bool team_of_stash(const Search *q, StreamShape *shape) {
    shape->stashed = true;
    shape->threads = 256;
    while (shape->threads > 32 && !shared_fits(q, shape))
        shape->threads /= 2;
    return true;
}

static bool team_of_passes(const Search *q, StreamShape *shape) {
    int64_t knob = tile_knob(q->s->plan.p, "threads", 0), threads = WIDE_THREADS;
    if (!shape->shares && !is_busy(q, threads) && q->vectors > 2 * threads) threads *= 2;
    if (q->vectors < threads) threads = divided_up(q->vectors, 32) * 32;
    shape->threads = knob > 0 ? (int)knob : (int)threads;
    shape->steps = 1;
    if (shape->shares && shape->threads <= 32) return false;
    if (shape->shares && shape->width > 2 &&
        ops_at_cols(&q->s->plan) * shape->width > 2 * MOST_UNROLLED)
        return false;
    if (registers_fit(q, shape)) return true;
    return !shape->shares && shape->width == 1 && !q->strict && team_of_stash(q, shape);
}

// Teams that never wait for each other's warps may share a block.
static int teams_of_block(const Search *q, const StreamShape *shape) {
    const StreamPlan *plan = &q->s->plan;
    int64_t knob = tile_knob(plan->p, "rows", 0), tasks = stream_tasks(q->s);
    bool waits = reduces_cols(plan) || stores_scalars(plan);
    if (shape->threads > 32 && waits) return 1;
    int64_t teams = BLOCK_THREADS / shape->threads;
    if (knob > 0)
        teams = knob < MOST_THREADS / shape->threads ? knob : MOST_THREADS / shape->threads;
    while (teams > 1 && (tasks < teams || (knob == 0 && teams * shape->threads > 32 &&
                                           tasks / teams < BUSY_BLOCKS)))
        teams /= 2;
    return teams < 1 ? 1 : (int)teams;
}

static bool choose(const Search *q, StreamShape *shape) {
    const StreamPlan *plan = &q->s->plan;
    if (shape->shares && (scatters_meet(plan) || !reduces_cols(plan))) return false;
    if (scatters_meet(plan)) {
        shape->threads = shape->steps = 1;
        return !shape->resident;
    }
    if (!shape->resident) return team_of_passes(q, shape);
    if (!reduces_cols(plan) && !stores_scalars(plan)) return team_of_part(q, shape);
    return team_of_row(q, shape);
}

bool stream_shape_choose(const Stream *s, bool strict, StreamShape *out) {
    const StreamPlan *plan = &s->plan;
    int64_t cols = plan->col < 0 ? 1 : plan->p->dims[plan->col].extent;
    Search q = {.s = s, .rows = grid_points(plan), .strict = strict};
    *out = s->shape;
    out->tile = cols;
    q.vectors = divided_up(cols, out->width);
    if (plan->col < 0)
        out->threads = out->steps = 1;
    else if (!choose(&q, out))
        return false;
    Stream chosen = *s;
    chosen.shape = *out;
    q.s = &chosen;
    out->teams = teams_of_block(&q, out);
    out->few_registers = strict;
    return shared_fits(&q, out);
}
