// contract_cost.c: the estimate behind the prior. The loops are those of docs/codegen.md; the
// constants were measured with tests/bench/bench_gemm.c on one core of a Xeon of 2023 and are
// kept coarse on purpose: they only have to put schedules in a good order.
#include "autotune/contract_cost.h"

#include <math.h>

#include "base/check.h"
#include "ir/tile/tile_access.h"

enum {
    ELEMENT_BYTES = 4,
    CLOSE_BYTES = 1 << 20,   // half of a usual second-level cache
    FAR_STRIDE = 1024,       // bytes: from here on neighbours in k lie in other pages soon
    ALIAS_BYTES = 4096,      // rows this far apart meet in one set of the first-level cache
    FIRST_BYTES = 32 << 10,  // of the first-level cache, for a panel
    NEAR_BYTES = 256 << 10,  // of memory that one pass over k may spread
    COPY_BYTES = 8 << 20,    // of copied rows: more than that streams badly
    FEW_ROWS = 16,           // codegen/llvm/loop.c
    SAFE_ROWS = 6,           // that many of them do no harm
};

static const double cycles_to_copy = 0.5;   // an element in the order that it lies in
static const double cycles_to_turn = 1.2;   // an element that is transposed on the way
static const double cycles_to_compute = 2;  // an element of an operand with a prologue
static const double cycles_far = 30;        // a vector or row element from a far page
static const double cycles_near = 1.5;      // the same from a page in reach
static const double cycles_a_sum = 2;       // epilogue and store of a vector
static const double cycles_a_block = 30;    // start and end of a register block
static const double cycles_a_turn = 60;     // lanes of a group of sums, turned into one vector
static const double cycles_second = 1.5;    // a vector from the second-level cache
static const double cycles_a_task = 2000;
static const double bytes_a_cycle = 5;  // from memory beyond the second-level cache

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

static ContractOperand operand_of(const TileProgram *p, TileId v, int across, int k) {
    const TileOp *op = tile_op(p, v), *load = main_load(p, v);
    if (load == NULL) return (ContractOperand){0};
    bool guarded = load->access.guard[0].dim >= 0 || load->access.guard[1].dim >= 0;
    ContractOperand o = {.direct = op == load && op->kind == TILE_LOAD && !guarded,
                         .across = load->access.stride[across],
                         .along = load->access.stride[k]};
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

ContractShape contract_shape(const Regions *regions, const Region *region, CpuLevel level,
                             uint32_t threads) {
    Arena arena = {0};
    Schedule none = schedule_none();
    const TileProgram *p = region_to_tile(regions, region, &none, &arena)->kernels[0].program;
    ContractShape c = {.k = 1, .points = 1, .threads = threads};
    int m = tile_dim_of(p, DIM_M), n = tile_dim_of(p, DIM_N), k = (int)p->dim_count - 1;
    for (uint32_t d = 0; d < p->dim_count; d++) {
        if (p->dims[d].role == DIM_K) c.k *= p->dims[d].extent;
        if (p->dims[d].role == DIM_GRID) c.points *= p->dims[d].extent;
    }
    c.m = p->dims[m].extent;
    c.n = p->dims[n].extent;
    c.inner_k = p->dims[k].extent;
    c.a = operand_of(p, dot_of(p)->in[0], m, k);
    c.b = operand_of(p, dot_of(p)->in[1], n, k);
    c.lanes = level == CPU_AVX512 ? 16 : level == CPU_AVX2 ? 8 : 4;
    c.registers = level == CPU_AVX512 ? 32 : 16;
    arena_release(&arena);
    return c;
}

bool contract_dot_form(const ContractShape *c) {
    if (!c->b.direct || c->b.along != 1) return false;
    if (c->n * 2 <= c->lanes && c->a.direct && c->a.along == 1) return true;
    return c->b.across != 1 && c->n > 1 && c->m <= 4 * FEW_ROWS;
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

// What it costs to read a line of the operand for one k, beyond the load itself: more the
// further the tile's k are spread.
static double reach(const Task *t, const ContractOperand *o) {
    double stride = fabs((double)o->along) * ELEMENT_BYTES, k = fmin(t->s->kc, (double)t->c->k);
    if (o->along == 1 || o->along == 0) return 0;
    if (stride < FAR_STRIDE && (double)o->bytes <= CLOSE_BYTES) return 0;
    if (stride * k <= NEAR_BYTES) return cycles_near;
    return stride * k <= CLOSE_BYTES ? 2 * cycles_near : cycles_far;
}

// Two things that overlap, but less well the closer they come.
static double together(double x, double y) { return cbrt(pow(x, 3) + pow(y, 3)); }

// Vectors along k (codegen/llvm/loop_dot.c): as many sums at once as a vector has lanes.
static double dot_form_cost(const Task *t, double rows, double vectors) {
    const ContractShape *c = t->c;
    double group = c->lanes;
    for (double r = 1; r < rows; r *= 2)
        group /= 2;
    double groups = ceil(fmin(vectors * c->lanes, t->cols) / group),
           steps = ceil((double)c->k / c->lanes);
    double step = fmax(fmax(rows * group / 2, (rows + group) / 2), 4);
    if ((double)c->k * c->lanes * ELEMENT_BYTES > FIRST_BYTES)
        step = together(step, group * cycles_second);
    return groups * (step * steps + cycles_a_turn) + rows * vectors * cycles_a_sum +
           cycles_a_block;
}

// Sums of a register block of `rows` x `vectors` over all k.
static double block_cost(const Task *t, double rows, double vectors) {
    const ContractShape *c = t->c;
    if (t->dot_form) return dot_form_cost(t, rows, vectors);
    double sums = rows * vectors, loads = rows + vectors;
    double step = fmax(fmax(sums / 2, loads / 2), 4);  // 2 of each a cycle, 4 of latency
    // A panel that the first-level cache does not hold comes from the second.
    double panel = fmin(t->s->kc, (double)c->k) * vectors * c->lanes * ELEMENT_BYTES;
    if (panel > FIRST_BYTES) step = together(step, vectors * cycles_second);
    if (!t->pack_b) step += reach(t, &c->b) * vectors;
    if (!t->pack_a) step += reach(t, &c->a) / 2;  // one line serves several blocks of rows
    double stride = fabs((double)c->a.across) * ELEMENT_BYTES;
    if (rows > SAFE_ROWS) {
        bool alias = !t->pack_a && c->a.along == 1 && fmod(stride, ALIAS_BYTES) == 0;
        step *= 1 + (alias ? 0.05 : 0.02) * (rows - SAFE_ROWS);
    }
    double steps = ceil((double)c->inner_k / t->s->kc);
    double between = sums * cycles_a_sum * (steps - 1);
    return step * (double)c->k + cycles_a_block * steps + sums * cycles_a_sum + between;
}

static double rows_cost(const Task *t, double vectors) {
    double whole = floor(t->rows / t->s->mr), rest = t->rows - whole * t->s->mr;
    double cost = whole * block_cost(t, t->s->mr, vectors);
    return rest > 0 ? cost + block_cost(t, rest, vectors) : cost;
}

static double blocks_cost(const Task *t) {
    double vectors = ceil(t->cols / t->c->lanes), whole = floor(vectors / t->s->nv);
    double rest = vectors - whole * t->s->nv;
    double cost = whole * rows_cost(t, t->s->nv);
    return rest > 0 ? cost + rows_cost(t, rest) : cost;
}

static double copy_cost(const ContractOperand *o, bool turned) {
    if (!o->direct) return cycles_to_compute;
    return turned ? cycles_to_turn : cycles_to_copy;
}

static double packing_cost(const Task *t) {
    double k = (double)t->c->k, cost = 0;
    if (t->pack_a) cost += k * t->rows * copy_cost(&t->c->a, t->c->a.along != 1);
    if (t->pack_b) cost += k * t->cols * copy_cost(&t->c->b, t->c->b.across != 1);
    return cost;
}

// What streams by from far memory, if that takes longer than the sums.
static double traffic_cost(const Task *t) {
    double k = (double)t->c->k, panels = ceil(t->cols / (t->s->nv * t->c->lanes));
    double a = k * t->rows * ELEMENT_BYTES, b = k * t->cols * ELEMENT_BYTES;
    double steps = ceil((double)t->c->inner_k / t->s->kc);
    double held = a / steps, bytes = b + (held > CLOSE_BYTES ? a * panels : a);
    if (t->pack_a && held > COPY_BYTES) bytes += a * panels;
    return bytes / bytes_a_cycle;
}

// Sums that are kept between steps of k, where they do not stay close.
static double partial_cost(const Task *t) {
    double steps = ceil((double)t->c->inner_k / t->s->kc);
    double bytes = t->rows * t->cols * ELEMENT_BYTES;
    return bytes > CLOSE_BYTES ? 2 * (steps - 1) * bytes / bytes_a_cycle : 0;
}

double contract_cost(const ContractShape *c, const Schedule *s) {
    Task t = {.c = c, .s = s};
    t.rows = fmin(s->mc, (double)c->m);
    t.cols = fmin(s->nc, (double)c->n);
    t.pack_a = !c->a.direct || s->pack_a == 1;
    t.dot_form = contract_dot_form(c) && s->pack_b != 1;
    t.pack_b = !t.dot_form && (b_must_be_packed(c) || s->pack_b == 1);
    double tiles_m = ceil((double)c->m / s->mc), tiles_n = ceil((double)c->n / s->nc);
    double tasks = (double)c->points * tiles_m * tiles_n;
    // A last tile may be smaller: tasks cost what they do on average.
    double part = (double)c->m * (double)c->n / (tiles_m * tiles_n * t.rows * t.cols);
    double sums = blocks_cost(&t), turns = ceil(tasks / c->threads);
    double traffic = traffic_cost(&t);
    double work = together(sums, traffic) + packing_cost(&t) + partial_cost(&t);
    double even = turns * c->threads > tasks + c->threads / 2.0 ? 1 : fmax(part, 0.5);
    return turns * (work * even + cycles_a_task);
}
