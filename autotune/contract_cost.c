// contract_cost.c: the estimate behind the prior. The loops are those of docs/codegen.md; the
// constants were measured with tests/bench/bench_gemm.c on one core of a Xeon of 2023 and are
// kept coarse on purpose: they only have to put schedules in a good order.
#include "autotune/contract_cost.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/integer.h"
#include "ir/tile/tile_access.h"

enum {
    ELEMENT_BYTES = 4,
    CLOSE_BYTES = 1600 << 10,   // of a second-level cache of 2 MB: what stays while others pass
    ROWS_BYTES = 1100 << 10,    // of it, for copies of rows
    LINE_BYTES = 64,            // from k to k: a line
    FAR_BYTES = 4096,           // from k to k: a page
    WAY_BYTES = 128 << 10,      // of that cache: addresses so far apart meet in one set
    NEAR_BYTES = 256 << 10,     // of memory that one pass over k may spread
    ALIAS_BYTES = 4096,         // rows this far apart meet in one set of the first-level cache
    FIRST_BYTES = 32 << 10,     // of the first-level cache, for a panel
    FIRST_WAYS = 12,            // of it, lines that may meet in a set
    PARTIAL_BYTES = 512 << 10,  // of it, for partial sums that pass through
    GROUP_BYTES = 256 << 10,    // of it, for the panels of a group
    PANELS_BYTES = 600 << 10,   // of the second, for the copies of panels
    COPY_BYTES = 12 << 20,      // of copied rows: more than that streams badly
    FEW_ROWS = 16,              // codegen/llvm/loop.c
    THIN_ROWS = 4,              // fewer wait for cols alone (codegen/llvm/loop_ahead.c)
    MOST_STRANDS = 8,           // of k
    LEAST_STRANDS = 4,          // fewer are no better than none
    ALIAS_ROWS = 6,             // that many rows that meet in a set do no harm
    SAFE_ROWS = 8,              // that many others
    PIECES = 3,                 // pieces of rows stream by so much slower than copies
    FEW_BLOCKS = 4,             // fewer cannot copy the next panel beside the sums
    ALONE_WORK = 48 << 10,      // bytes and operations that one thread does (runtime/cpu)
    ALONE_BYTES = 12 << 10,     // of sums that it so adds up
    UNIT = 16,                  // rows of a group, or k, in multiples of it
    MOST_TASKS = 256,           // of more the last ones are too small to matter
};

static const double cycles_to_copy = 0.5;     // an element in the order that it lies in
static const double cycles_beside = 0.14;     // the same, beside the sums
static const double cycles_beside_far = 0.4;  // the same, of k that lie in pages of their own
static const double cycles_by_first = 0.25;   // the same, by the first block
static const double cycles_to_turn = 0.5;     // an element that is transposed on the way
static const double cycles_of_rows = 0.7;     // an element of rows that do not lie along k
static const double cycles_spread = 0.5;      // more for both, into more than ROWS_BYTES
static const double cycles_to_compute = 2;    // an element of an operand with a prologue
static const double cycles_to_gather = 8;     // a vector of a block's rows, of gathered k
static const double cycles_a_sum = 2;         // epilogue and store of a vector
static const double cycles_between = 1.5;     // a vector of sums kept until the next step of k
static const double cycles_a_block = 40;      // start and end of a register block
static const double cycles_a_rest = 150;      // a panel that is not whole: other code
static const double cycles_a_turn = 60;     // lanes of a group of sums, turned into one vector
static const double cycles_in_place = 0.3;  // a vector of cols whose k are not neighbours
static const double cycles_far_cols = 3;    // a vector of cols in place whose k lie far apart
static const double cycles_far_rows = 26;   // a line of rows that serves two blocks, likewise
static const double cycles_a_line = 0.4;    // of rows, for each k
static const double cycles_a_load = 0.05;
static const double cycles_second = 1;  // a vector from the second-level cache
static const double cycles_a_task = 2000;
static const double cycles_a_kernel = 3000;  // until all threads are at the second one
static const double cycles_alone = 1000;     // of one that its caller runs alone
static const double share_whole = 0.5;    // of what copies stream by whole rows do, see PIECES
static const double cycles_alike = 2e6;   // of a task, which all threads do equally fast;
static const double share_waited = 0.03;  // of the rest others wait for so much
static const double times_shared_rows = 1.25;  // see shares_rows
static const double bytes_a_cycle = 8;         // from memory beyond the second-level cache
static const double close_bytes_a_cycle = 24;  // from that cache
static const double rows_bytes_a_cycle = 64;   // see rows_cost_in_place
static const double lines_again = 1.25;        // times as long from memory, where cols_alias
static const double times_no_strands = 1.25;   // or where it comes in no strands
static const double loads_unpaired = 1.5;      // of a vector of 16 bits that stands alone
static const double shared_bytes_a_cycle = 8;  // written by one thread, read by another

// ---- shape

static const TileOp *main_load(const TileProgram *p, TileId v) {
    const TileOp *op = tile_op(p, v), *best = NULL;
    if (op->kind == TILE_LOAD || op->kind == TILE_GATHER) return op;
    for (uint32_t i = 0; i < op->arity; i++) {
        const TileOp *load = main_load(p, op->in[i]);
        if (load == NULL) continue;
        if (best == NULL || tile_points(p, load->dims) > tile_points(p, best->dims))
            best = load;
    }
    return best;
}

// Rows (not cols) that are gathered can be read in place if each lies densely along k.
static bool is_in_place(const TileProgram *p, const TileOp *gather, int across, int k) {
    DimSet number = tile_op(p, gather->in[0])->dims;
    return p->dims[across].role == DIM_M && gather->access.stride[k] == 1 &&
           (number >> k & 1) == 0;
}

static ContractOperand operand_of(const TileProgram *p, TileId v, int across, int k) {
    const TileOp *op = tile_op(p, v), *load = main_load(p, v);
    if (load == NULL) return (ContractOperand){0};
    bool guarded = load->access.guard[0].dim >= 0 || load->access.guard[1].dim >= 0;
    ContractOperand o = {.direct = op == load && !guarded,
                         .across = load->access.stride[across],
                         .along = load->access.stride[k]};
    if (load->kind == TILE_GATHER) {
        o.gathered = o.direct && o.along != 1;
        o.direct = o.direct && is_in_place(p, load, across, k);
        o.across = load->index_stride;
    }
    double bytes = (double)dtype_bytes(p->args.ptr[load->access.arg].type);
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role != DIM_GRID && load->access.stride[d] != 0)
            bytes *= (double)p->dims[d].extent;
    o.bytes = (int64_t)bytes;
    return o;
}

static const TileOp *dot_of(const TileProgram *p) {
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (p->ops.ptr[i].kind == TILE_DOT) return &p->ops.ptr[i];
    BUG("a LOOP program without a dot");
}

// Groups of rows: each has about as many as the others. A quarter more, so that most find room
// in one tile: another one would copy all cols again for a few rows. Of so few that cols stream
// nothing is copied, and most tiles would be empty.
static void share_groups(const TileProgram *p, ContractShape *c, int m) {
    for (uint32_t i = 1; i < p->ops.len; i++) {
        if (p->ops.ptr[i].kind != TILE_LIMIT) continue;
        bool of_rows = p->ops.ptr[i].over >> m & 1;
        int64_t *shared = of_rows ? &c->m : &c->k, groups = c->points;
        int64_t mean = ceil_div(*shared, groups);
        bool few = of_rows && mean < THIN_ROWS;
        *shared = few ? mean : int_min(*shared, round_up(mean * 5 / 4, UNIT));
        if (!of_rows) c->inner_k = c->k;
    }
}

ContractShape contract_shape(const Regions *regions, const Region *region, IsaLevel level,
                             uint32_t threads, int32_t parts) {
    Arena arena = {0};
    Schedule schedule = schedule_none();
    schedule.parts = parts;
    const TileKernels *kernels = region_to_tile(regions, region, &schedule, &arena);
    const TileProgram *p = kernels->kernels[0].program;
    ContractShape c = {.k = 1, .points = 1, .parts = 1, .threads = threads};
    if (kernels->kernel_count > 1) c.parts = parts;
    int m = tile_dim_of(p, DIM_M), n = tile_dim_of(p, DIM_N), k = (int)p->dim_count - 1;
    for (uint32_t d = 0; d < p->dim_count; d++) {
        if (p->dims[d].role == DIM_K) c.k *= p->dims[d].extent;
        if (p->dims[d].role == DIM_GRID) c.points *= p->dims[d].extent;
    }
    c.m = p->dims[m].extent;
    c.n = p->dims[n].extent;
    c.inner_k = p->dims[k].extent;
    share_groups(p, &c, m);
    const TileOp *a = tile_op(p, dot_of(p)->in[0]);
    c.a = operand_of(p, dot_of(p)->in[0], m, k);
    c.b = operand_of(p, dot_of(p)->in[1], n, k);
    c.pairs = level == CPU_AVX512BF16 && c.inner_k > 1 && tile_dot_of_bf16(p, dot_of(p));
    // Rows by number are read in place only in the form that they are multiplied in.
    if (a->kind == TILE_GATHER && !c.pairs && p->args.ptr[a->access.arg].type != DTYPE_F32)
        c.a.direct = false;
    c.lanes = level_is_avx512(level) ? 16 : level == CPU_AVX2 ? 8 : 4;
    c.registers = level_is_avx512(level) ? 32 : 16;
    arena_release(&arena);
    return c;
}

// Rows so few that nothing but reading the cols takes time.
static bool is_thin(const ContractShape *c) {
    return c->m < THIN_ROWS && c->b.direct && c->b.across == 1;
}

int64_t contract_strands(const ContractShape *c) {
    if (!is_thin(c) || !c->a.direct) return 0;
    for (int64_t k = MOST_STRANDS; k >= LEAST_STRANDS; k--)
        if (c->inner_k > k && c->inner_k % k == 0) return k;
    return 0;
}

bool contract_dot_form(const ContractShape *c) {
    if (!c->b.direct || c->b.along != 1) return false;
    if (c->n * 2 <= c->lanes && c->a.direct && c->a.along == 1) return true;
    return c->b.across != 1 && c->n > 1 && c->m <= (int64_t)4 * FEW_ROWS;
}

int contract_pair(const ContractShape *c, int64_t rows, bool dot_form) {
    return c->pairs && (rows >= THIN_ROWS || dot_form) ? 2 : 1;
}

bool contract_copies_rows(const ContractShape *c, int pair) {
    return !c->a.direct || (pair > 1 && c->a.along != 1);
}

// Of an element of the cols.
static double cols_bytes(const ContractShape *c) {
    return (double)c->b.bytes / (double)(c->k * c->n);
}

// ---- estimate

// One task's loops.
typedef struct {
    const ContractShape *c;
    const Schedule *s;
    double rows, cols;  // of the task
    bool pack_a, pack_b, dot_form;
} Task;

static bool b_must_be_packed(const ContractShape *c) {
    return !c->b.direct || (c->b.across != 1 && c->n > 1);
}

// What it costs to read a line of the operand in place for one k, beyond the load itself: more
// the further the k of a tile are spread, for then the lines share few sets of the second
// cache.
static double reach(const Task *t, const ContractOperand *o, double far) {
    double k = fmin(t->s->kc, (double)t->c->k);
    double spread = fabs((double)o->along) * ELEMENT_BYTES * k;
    if (o->along == 1 || o->along == 0 || spread <= NEAR_BYTES) return 0;
    if (spread <= 2.0 * NEAR_BYTES) return 0.3;
    return spread <= 4.0 * NEAR_BYTES ? 0.8 : far;
}

// Two things that overlap, but less well the closer they come.
static double together(double x, double y) { return cbrt(x * x * x + y * y * y); }

// Vectors along k (codegen/llvm/loop_dot.c): as many sums at once as a vector has lanes.
static double dot_form_cost(const Task *t, double rows, double vectors) {
    const ContractShape *c = t->c;
    double group = c->lanes;
    for (int64_t r = 1; (double)r < rows; r *= 2)
        group /= 2;
    double groups = ceil(fmin(vectors * c->lanes, t->cols) / group);
    double kc = fmin((double)c->k, t->s->kc), steps = ceil((double)c->k / c->lanes);
    double step = fmax(fmax(rows * group / 2, (rows + group) / 2), 4);
    // Rows that the first-level cache does not hold come again with each group.
    bool near = rows * kc * ELEMENT_BYTES <= FIRST_BYTES / 2.0;
    step = together(step, (near ? group : rows + group) * cycles_second);
    groups *= ceil((double)c->k / kc);
    steps /= ceil((double)c->k / kc);
    return groups * (step * steps + cycles_a_turn) + rows * vectors * cycles_a_sum +
           cycles_a_block;
}

// Of the copies of cols that are there at a time.
static double panels_bytes(const Task *t) {
    double kc = fmin((double)t->c->k, t->s->kc), copies = t->c->b.across == 1 ? 2 : 1;
    return t->pack_b ? copies * t->s->nv * t->c->lanes * kc * ELEMENT_BYTES : 0;
}

// Cols of 16 bits in place come two vectors at once.
static double vectors_loads(const Task *t, double vectors) {
    if (t->pack_b || cols_bytes(t->c) >= ELEMENT_BYTES) return vectors;
    return floor(vectors / 2) + loads_unpaired * fmod(vectors, 2);
}

// Sums of a register block of `rows` x `vectors` over all k.
static double block_cost(const Task *t, double rows, double vectors) {
    const ContractShape *c = t->c;
    if (t->dot_form) return dot_form_cost(t, rows, vectors);
    double sums = rows * vectors, loads = rows + vectors_loads(t, vectors);
    // 2 of each a cycle, 4 of latency; loads come late now and then.
    double step = fmax(fmax(sums / 2, loads / 2), 4) + cycles_a_load * loads;
    // A panel that the first-level cache does not hold comes from the second.
    double panel = fmin(t->s->kc, (double)c->k) * vectors * c->lanes * ELEMENT_BYTES;
    double second = panels_bytes(t) > PANELS_BYTES ? 1.5 * cycles_second : cycles_second;
    if (panel > FIRST_BYTES) step = together(step, vectors * second);
    if (!t->pack_b) step += (cycles_in_place + reach(t, &c->b, cycles_far_cols)) * vectors;
    if (!t->pack_a) step += reach(t, &c->a, cycles_far_rows) / 2;
    bool apart = fabs((double)c->a.along) * ELEMENT_BYTES >= LINE_BYTES;
    if (!t->pack_a && apart) step += cycles_a_line;
    double stride = fabs((double)c->a.across) * ELEMENT_BYTES;
    bool alias = !t->pack_a && c->a.along == 1 && fmod(stride, ALIAS_BYTES) == 0;
    if (alias && rows > ALIAS_ROWS) step *= 1 + 0.02 * (rows - ALIAS_ROWS);
    if (rows > SAFE_ROWS) step *= 1 + 0.01 * (rows - SAFE_ROWS);
    double steps = ceil((double)c->inner_k / t->s->kc);
    double between = sums * cycles_between * (steps - 1);
    return step * (double)c->k + cycles_a_block * steps + sums * cycles_a_sum + between;
}

static double rows_cost(const Task *t, double vectors) {
    double whole = floor(t->rows / t->s->mr), rest = t->rows - whole * t->s->mr;
    double cost = whole * block_cost(t, t->s->mr, vectors);
    return rest > 0 ? cost + block_cost(t, rest, vectors) : cost;
}

static double k_steps(const Task *t) { return ceil((double)t->c->inner_k / t->s->kc); }

static double blocks_cost(const Task *t) {
    double vectors = ceil(t->cols / t->c->lanes), whole = floor(vectors / t->s->nv);
    double rest = vectors - whole * t->s->nv;
    double cost = whole * rows_cost(t, t->s->nv);
    if (rest > 0) cost += rows_cost(t, rest) + k_steps(t) * cycles_a_rest;
    return cost;
}

static double rows_packing_cost(const Task *t) {
    const ContractOperand *a = &t->c->a;
    double held = t->rows * fmin(t->s->kc, (double)t->c->k) * ELEMENT_BYTES;
    double computed = a->gathered ? cycles_to_gather / t->s->mr : cycles_to_compute;
    double each = !a->direct ? computed : a->along == 1 ? cycles_to_copy : cycles_of_rows;
    if (a->direct && held > ROWS_BYTES) each += cycles_spread;
    return t->pack_a ? (double)t->c->k * t->rows * each : 0;
}

static double cols_packing_cost(const Task *t) {
    const ContractOperand *b = &t->c->b;
    double k = (double)t->c->k, panel = (double)t->s->nv * t->c->lanes;
    if (!t->pack_b) return 0;
    if (!b->direct) return k * t->cols * cycles_to_compute;
    if (b->across != 1) return k * t->cols * cycles_to_turn;
    if (floor(t->rows / t->s->mr) < FEW_BLOCKS) return k * t->cols * cycles_by_first;
    // The first panel is copied at once, one that is not whole by its first block.
    double whole = floor(t->cols / panel) * panel;
    bool far = fabs((double)b->along) * ELEMENT_BYTES >= FAR_BYTES;
    double beside = far ? cycles_beside_far : cycles_beside;
    return k * (fmin(panel, whole) * cycles_to_copy + whole * beside +
                (t->cols - whole) * cycles_by_first);
}

// Panels that rows meet each time they stream by (codegen/llvm/loop.c).
static double group_panels(const Task *t) {
    double kc = fmin((double)t->c->k, t->s->kc), size = 1;
    double bytes = t->s->nv * t->c->lanes * kc * ELEMENT_BYTES;
    while (t->pack_b && 2 * size * bytes <= GROUP_BYTES)
        size *= 2;
    return size;
}

// Of the sets of the second-level cache those that the task's cols lie in: where neighbouring k
// lie a power of two apart, a run of cols between them always meets the same.
static double sets_share(const Task *t) {
    const ContractOperand *b = &t->c->b;
    if (b->across != 1) return 1;
    int64_t pitch = llabs(b->along) * ELEMENT_BYTES, power = pitch & -pitch;
    return fmin(1, t->cols * ELEMENT_BYTES / fmin((double)power, WAY_BYTES));
}

// Do rows of cols that are read in place meet in the first-level cache? Then lines of the next
// cols, which come with each, are gone before they are needed.
static bool cols_alias(const Task *t) {
    const ContractOperand *b = &t->c->b;
    double pitch = fabs((double)b->along) * cols_bytes(t->c);
    bool rows = !t->pack_b && b->across == 1 && fmin(t->s->kc, (double)t->c->k) > FIRST_WAYS;
    return rows && fmod(pitch, ALIAS_BYTES) == 0;
}

static bool in_strands(const Task *t) {
    return !t->pack_a && !t->pack_b && t->s->kc == contract_strands(t->c);
}

// How long it takes to read so many bytes of the operands: they are in the second-level cache
// since the last call as far as they find room there. But cols of very few rows are a model's
// weights when it decodes: all others pass in between.
static double read_cost(const Task *t, double bytes) {
    double times = in_strands(t) ? 1 : times_no_strands;
    if (is_thin(t->c)) return bytes * times * cols_bytes(t->c) / ELEMENT_BYTES / bytes_a_cycle;
    double all = (double)(t->c->a.bytes + t->c->b.bytes) * t->c->parts / t->c->threads;
    double room = CLOSE_BYTES * sets_share(t), far = fmin(1, fmax(0, all - room) / room);
    double late = cols_alias(t) ? lines_again : 1;
    return bytes * (far * late / bytes_a_cycle + (1 - far) / close_bytes_a_cycle);
}

// What streams by from far memory, if that takes longer than the sums.
static double traffic_cost(const Task *t) {
    double k = (double)t->c->k, panel = (double)t->s->nv * t->c->lanes;
    double groups = ceil(t->cols / (panel * group_panels(t)));
    double a = k * t->rows * ELEMENT_BYTES, b = k * t->cols * ELEMENT_BYTES;
    double held = a / k_steps(t);
    double room = k_steps(t) > 1 ? CLOSE_BYTES - PARTIAL_BYTES : CLOSE_BYTES;
    bool streams = held + panels_bytes(t) > room, whole = k_steps(t) == 1;
    double again = t->pack_a ? 1 : whole ? share_whole : PIECES;
    double bytes = b + (streams ? a * groups * again : a);
    if (t->pack_a && held > COPY_BYTES) bytes += a * groups;
    return read_cost(t, bytes);
}

// Sums that are kept between steps of k, where they do not stay close.
static double partial_cost(const Task *t) {
    double bytes = t->rows * t->cols * ELEMENT_BYTES;
    return bytes > 0.5 * CLOSE_BYTES ? 2 * (k_steps(t) - 1) * bytes / bytes_a_cycle : 0;
}

// What the sums do not hide of reading rows: tasks that share them, each for its cols, read
// them again.
static double rows_cost_in_place(const Task *t) {
    double bytes = (double)t->c->k * t->rows * ELEMENT_BYTES;
    return t->pack_a || t->dot_form ? 0 : bytes / rows_bytes_a_cycle;
}

static double task_cost(Task *t, double rows, double cols) {
    t->rows = rows;
    t->cols = cols;
    return together(blocks_cost(t), traffic_cost(t)) + rows_cost_in_place(t) +
           rows_packing_cost(t) + cols_packing_cost(t) + partial_cost(t) + cycles_a_task;
}

// Tasks of one point of the grid: those at the ends are smaller.
typedef struct {
    int64_t m, n;       // tiles
    double cost[2][2];  // [last of m][last of n]
} Tiles;

static double tile_cost(const Tiles *tiles, int64_t number) {
    number %= tiles->m * tiles->n;
    return tiles->cost[number / tiles->n == tiles->m - 1][number % tiles->n == tiles->n - 1];
}

// When the last thread is done, if each takes the next task as soon as it is free. Over some
// time threads are not equally fast, and for the slowest one's last task the others wait.
static double turns_cost(const ContractShape *c, const Tiles *tiles) {
    double busy[MOST_TASKS] = {0}, all = 0, longest = 0;
    int64_t tasks = c->points * tiles->m * tiles->n;
    uint32_t threads = c->threads < MOST_TASKS ? c->threads : MOST_TASKS;
    if (tasks > MOST_TASKS) {
        for (int64_t i = 0; i < tiles->m * tiles->n && i < MOST_TASKS; i++)
            all += tile_cost(tiles, i);
        double each = all / fmin((double)(tiles->m * tiles->n), MOST_TASKS);
        return each * (double)tasks / threads;
    }
    for (int64_t i = 0; i < tasks; i++) {
        uint32_t next = 0;
        for (uint32_t k = 1; k < threads; k++)
            if (busy[k] < busy[next]) next = k;
        busy[next] += tile_cost(tiles, i);
        all = fmax(all, busy[next]);
        longest = fmax(longest, tile_cost(tiles, i));
    }
    return threads > 1 ? all + share_waited * fmax(0, longest - cycles_alike) : all;
}

// Adding up the sums of the parts of k; where they are few, one thread does it.
static double parts_cost(const ContractShape *c) {
    double bytes = (double)(c->m * c->n * c->points) * ELEMENT_BYTES;
    double start = bytes > ALONE_BYTES ? cycles_a_kernel : cycles_alone;
    return c->parts > 1 ? start + bytes / shared_bytes_a_cycle : 0;
}

// Do threads read parts of the same rows of memory, a page long or shorter? The processor,
// which looks ahead along a row, then brings each of them what the others read.
static bool shares_rows(const ContractShape *c, const Schedule *s) {
    bool apart = s->nc >= c->n || (double)s->nc * cols_bytes(c) > FAR_BYTES;
    return is_thin(c) && c->threads > 1 && !apart;
}

static bool is_tiny(const ContractShape *c) {
    double work = 2 * (double)(c->m * c->n * c->k) + (double)(c->a.bytes + c->b.bytes);
    return work * (double)c->points <= ALONE_WORK;
}

// Two neighbouring k of bf16 take the room of one f32, and one multiplication.
static void pairs_count(ContractShape *c, Schedule *s) {
    c->k = (c->k + 1) / 2;
    c->inner_k = (c->inner_k + 1) / 2;
    s->kc = (s->kc + 1) / 2;
    for (int i = 0; i < 2; i++) {
        ContractOperand *o = i ? &c->b : &c->a;
        if (o->along == 1) o->across /= 2;
    }
}

double contract_cost(const ContractShape *whole, const Schedule *schedule) {
    ContractShape alone = *whole, *c = &alone;
    Schedule single = *schedule, *s = &single;
    if (is_tiny(whole)) alone.threads = 1;
    Task t = {.c = c, .s = s};
    double rows = fmin(s->mc, (double)c->m), cols = fmin(s->nc, (double)c->n);
    t.dot_form = contract_dot_form(c) && s->pack_b != 1;
    int pair = contract_pair(c, (int64_t)rows, t.dot_form);
    t.pack_a = contract_copies_rows(c, pair) || s->pack_a == 1;
    if (pair > 1) pairs_count(c, s);
    t.pack_b = !t.dot_form && (b_must_be_packed(c) || s->pack_b == 1);
    Tiles tiles = {.m = ceil_div(c->m, s->mc), .n = ceil_div(c->n, s->nc)};
    double last_rows = (double)c->m - (double)(tiles.m - 1) * rows,
           last_cols = (double)c->n - (double)(tiles.n - 1) * cols;
    // Only those that there are.
    for (int i = tiles.m == 1; i < 2; i++)
        for (int j = tiles.n == 1; j < 2; j++)
            tiles.cost[i][j] = task_cost(&t, i ? last_rows : rows, j ? last_cols : cols);
    double cost = turns_cost(c, &tiles) + parts_cost(c);
    return shares_rows(c, s) ? cost * times_shared_rows : cost;
}
