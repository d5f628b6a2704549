// tile_interpret.c: the meaning of tile programs, and the oracle of the emitters. Plain loops:
// each operation of a task is computed as a whole, over all points of its dims, before the next
// one begins.
#include "ir/tile/tile_interpret.h"

#include <float.h>
#include <math.h>

#include "base/check.h"
#include "ir/graph/evaluate.h"

// ---- points

void tile_run_begin(TileRun *r) {
    for (uint32_t d = 0; d < r->p->dim_count; d++)
        r->index[d] = r->first[d];
}

// To the next point of `dims`; after the last one back to the first, and false.
bool tile_run_next(TileRun *r, DimSet dims) {
    for (uint32_t d = r->p->dim_count; d-- > 0;) {
        if (!(dims >> d & 1)) continue;
        if (++r->index[d] < r->first[d] + r->count[d]) return true;
        r->index[d] = r->first[d];
    }
    return false;
}

// The element of an operation's value that belongs to the current point.
double *tile_run_at(const TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    int64_t at = 0;
    for (uint32_t d = 0; d < r->p->dim_count; d++)
        if (op->dims >> d & 1) at = at * r->count[d] + r->index[d] - r->first[d];
    return &r->data[v.i][at];
}

static int64_t guard_index(const TileRun *r, const TileGuard *g) {
    return r->index[g->dim] / g->div % g->mod + g->shift;
}

static bool guard_holds(const TileRun *r, const TileGuard *g) {
    if (g->dim < 0) return true;
    int64_t at = guard_index(r, g);
    return g->lo <= at && at < g->hi;
}

static int64_t moved_index(const TileRun *r, const TileOp *op, uint32_t dim) {
    if (tile_by_tiles(r->p, op) && tile_tokens(r->p) >> dim & 1)
        return r->first[dim] / r->p->dims[dim].tile;
    return r->index[dim];
}

// Does the access happen at the current point? Then *at is its element.
static bool access_at(const TileRun *r, const TileOp *op, int64_t *at) {
    *at = op->access.offset;
    for (uint32_t d = 0; d < r->p->dim_count; d++)
        *at += moved_index(r, op, d) * op->access.stride[d];
    if (!guard_holds(r, &op->access.guard[0]) || !guard_holds(r, &op->access.guard[1]))
        return false;
    if (op->kind == TILE_GATHER || op->kind == TILE_SCATTER) {
        int64_t row = (int64_t)*tile_run_at(r, op->in[0]);
        if (row < 0 || row >= op->index_count) return false;
        *at += row * op->index_stride;
    }
    ASSERT(*at >= 0 && *at < r->p->args.ptr[op->access.arg].elements);
    return true;
}

// ---- operations at the current point

static double point_load(const TileRun *r, const TileOp *op) {
    int64_t at = 0;
    if (!access_at(r, op, &at)) return 0;
    return dtype_get(r->p->args.ptr[op->access.arg].type, r->args[op->access.arg], at);
}

static double point_map(const TileRun *r, const TileOp *op) {
    double x[3] = {0};
    for (uint32_t i = 0; i < op->arity; i++)
        x[i] = *tile_run_at(r, op->in[i]);
    return evaluate_scalar(op->fn, op->type, x);
}

static void point_write(const TileRun *r, const TileOp *op) {
    int64_t at = 0;
    if (!access_at(r, op, &at)) return;
    DType type = r->p->args.ptr[op->access.arg].type;
    void *array = r->args[op->access.arg];
    double x = *tile_run_at(r, op->in[op->arity - 1]);
    if (op->fn == OP_ADD && op->kind == TILE_SCATTER) x += dtype_get(type, array, at);
    dtype_set(type, array, at, x);
}

// ---- operations as a whole

static void fill(TileRun *r, TileId v, double x) {
    tile_run_begin(r);
    do
        *tile_run_at(r, v) = x;
    while (tile_run_next(r, tile_op(r->p, v)->dims));
}

// Does the current point of these dims exist? Only in the band of an ATTEND program; in a CHUNK
// program only tokens up to t.
static bool pair_lives(const TileRun *r, DimSet dims) {
    if (!tile_at_pairs(r->p, dims)) return true;
    int64_t m = r->index[tile_dim_of(r->p, DIM_M)], n = r->index[tile_dim_of(r->p, DIM_N)];
    if (r->p->skeleton == TILE_CHUNK) return n <= m;
    const TileOp *start = tile_start_of(r->p);
    if (start) m = (start->over ? m : 0) + (int64_t)*tile_run_at(r, start->in[0]);
    int dealt = tile_dealt_to(r->p);
    bool own = dealt < 0 || n / r->p->deal % r->p->dims[dealt].extent == r->index[dealt];
    return own && band_has(&r->p->band, m, n);
}

static void reduce_run(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    bool sum = op->fn == OP_REDUCE_SUM;
    fill(r, v, sum ? 0 : r->p->skeleton == TILE_ATTEND ? (double)-FLT_MAX : -HUGE_VAL);
    do {
        if (!pair_lives(r, tile_op(r->p, op->in[0])->dims)) continue;
        double *result = tile_run_at(r, v), x = *tile_run_at(r, op->in[0]);
        if (sum)
            *result += x;
        else if (x > *result)
            *result = x;
    } while (tile_run_next(r, tile_op(r->p, op->in[0])->dims));
}

// To the next tile of the k dims; false after the last.
static bool k_next(TileRun *r, DimSet k) {
    for (uint32_t d = r->p->dim_count; d-- > 0;) {
        if (!(k >> d & 1)) continue;
        const TileDim *dim = &r->p->dims[d];
        r->first[d] += dim->tile;
        bool more = r->first[d] < dim->extent;
        if (!more) r->first[d] = 0;
        r->count[d] =
            dim->extent - r->first[d] < dim->tile ? dim->extent - r->first[d] : dim->tile;
        if (more) return true;
    }
    return false;
}

// How far apart neighbours along a dimension lie in an operation's value.
int64_t tile_run_stride(const TileRun *r, TileId v, uint32_t dim) {
    DimSet dims = tile_op(r->p, v)->dims;
    if (!(dims >> dim & 1)) return 0;
    int64_t stride = 1;
    for (uint32_t d = dim + 1; d < r->p->dim_count; d++)
        if (dims >> d & 1) stride *= r->count[d];
    return stride;
}

// The last dimension, a k, is a loop of its own: programs of real size spend their time here.
static void dot_tile_run(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    uint32_t inner = r->p->dim_count - 1;
    int64_t step_a = tile_run_stride(r, op->in[0], inner);
    int64_t step_b = tile_run_stride(r, op->in[1], inner);
    tile_run_begin(r);
    do {
        const double *a = tile_run_at(r, op->in[0]), *b = tile_run_at(r, op->in[1]);
        double sum = 0;
        for (int64_t k = 0; k < r->count[inner]; k++)
            sum += a[k * step_a] * b[k * step_b];
        *tile_run_at(r, v) += sum;
    } while (tile_run_next(r, (DimSet)((op->dims | op->over) & ~(1U << inner))));
}

// The innermost dimension is a loop of its own here, too: the result may stand at it. In an
// ATTEND or CHUNK program.
static void dot_pairs_run(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    DimSet dims = op->dims | op->over;
    uint32_t inner = r->p->dim_count - 1;
    while (!(dims >> inner & 1))
        inner--;
    // Pairs may exist or not.
    bool alone = tile_at_pairs(r->p, dims) && tile_tokens(r->p) >> inner & 1;
    int64_t steps = alone ? 1 : r->count[inner];
    int64_t step = tile_run_stride(r, v, inner);
    int64_t step_a = tile_run_stride(r, op->in[0], inner);
    int64_t step_b = tile_run_stride(r, op->in[1], inner);
    fill(r, v, 0);
    do {
        if (!pair_lives(r, dims)) continue;
        const double *a = tile_run_at(r, op->in[0]), *b = tile_run_at(r, op->in[1]);
        double *to = tile_run_at(r, v);
        for (int64_t i = 0; i < steps; i++)
            to[i * step] += a[i * step_a] * b[i * step_b];
    } while (tile_run_next(r, (DimSet)(alone ? dims : dims & ~(1U << inner))));
}

// What stands at k is computed one tile of k at a time.
static void dot_run(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    if (op->arity == 3) {
        tile_run_decayed(r, v);
        return;
    }
    if (r->p->skeleton != TILE_LOOP) {
        dot_pairs_run(r, v);
        return;
    }
    fill(r, v, 0);
    do {
        for (uint32_t i = 1; i < v.i; i++)
            if (r->p->ops.ptr[i].dims & op->over) tile_run_value(r, (TileId){i});
        dot_tile_run(r, v);
    } while (k_next(r, op->over));
}

static double point_value(const TileRun *r, const TileOp *op) {
    switch ((int)op->kind) {
    case TILE_CONST: return op->number;
    case TILE_INDEX: return (double)guard_index(r, &op->access.guard[0]);
    case TILE_LOAD:
    case TILE_GATHER: return point_load(r, op);
    case TILE_MAP: return point_map(r, op);
    default: break;
    }
    BUG("operation %d is not computed point by point", (int)op->kind);
}

void tile_run_value(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    if (op->kind == TILE_REDUCE) {
        reduce_run(r, v);
        return;
    }
    if (op->kind == TILE_DOT) {
        dot_run(r, v);
        return;
    }
    if (op->kind == TILE_LIMIT || op->kind == TILE_START) return;
    if (op->kind >= TILE_CARRY) {
        tile_run_chunk_value(r, v);
        return;
    }
    tile_run_begin(r);
    do
        *tile_run_at(r, v) = point_value(r, op);
    while (tile_run_next(r, op->dims));
}

static void sort_write(TileRun *r, const TileOp *op) {
    int64_t at = op->access.offset;
    for (int64_t group = 0; group <= op->index_count; group++) {
        tile_run_begin(r);
        do {
            double key = *tile_run_at(r, op->in[0]);
            bool inside = key >= 0 && key < (double)op->index_count;
            if (inside ? key != (double)group : group != op->index_count) continue;
            dtype_set(DTYPE_I32, r->args[op->access.arg], at++, *tile_run_at(r, op->in[1]));
        } while (tile_run_next(r, op->dims));
    }
}

void tile_run_write(TileRun *r, const TileOp *op) {
    if (op->kind == TILE_SORT) {
        sort_write(r, op);
        return;
    }
    tile_run_begin(r);
    do
        point_write(r, op);
    while (tile_run_next(r, op->dims));
}

// Stores come last: an argument that is stored in place keeps what it held until all has been
// loaded.
static void task_run(TileRun *r, DimSet k) {
    for (uint32_t i = 1; i < r->p->ops.len; i++)
        if (!tile_op_writes(r->p->ops.ptr[i].kind) && !(r->p->ops.ptr[i].dims & k))
            tile_run_value(r, (TileId){i});
    vec_each (const TileOp, op, &r->p->ops)
        if (tile_op_writes(op->kind)) tile_run_write(r, op);
}

// ---- tasks

// Task numbers run row-major over the dims that are split.
static void task_place(TileRun *r, int64_t task) {
    for (uint32_t d = r->p->dim_count; d-- > 0;) {
        const TileDim *dim = &r->p->dims[d];
        int64_t tiles = tile_dim_tiles(r->p, d),
                tile = dim->role == DIM_SERIAL ? dim->extent : dim->tile;
        r->first[d] = task % tiles * tile;
        r->count[d] = dim->extent - r->first[d] < tile ? dim->extent - r->first[d] : tile;
        task /= tiles;
    }
}

// Task 0 has the largest part of every dimension.
static void values_alloc(TileRun *r, Arena *arena) {
    task_place(r, 0);
    r->data = arena_array(arena, double *, r->p->ops.len);
    for (uint32_t i = 1; i < r->p->ops.len; i++) {
        int64_t count = 1;
        for (uint32_t d = 0; d < r->p->dim_count; d++)
            if (r->p->ops.ptr[i].dims >> d & 1) count *= r->count[d];
        if (!tile_op_writes(r->p->ops.ptr[i].kind))
            r->data[i] = arena_array(arena, double, count);
    }
}

static void tasks_run(const TileProgram *p, void *const *args, int64_t first, int64_t end) {
    Arena arena = {0};
    TileRun r = {.p = p, .args = args};
    DimSet k = 0;  // of a LOOP: what stands there is computed within its dot
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->skeleton == TILE_LOOP && p->dims[d].role == DIM_K) k |= (DimSet)(1U << d);
    values_alloc(&r, &arena);
    for (int64_t task = first; task < end; task++) {
        task_place(&r, task);
        if (p->skeleton == TILE_CHUNK)
            tile_run_chunk_task(&r);
        else
            task_run(&r, k);
    }
    arena_release(&arena);
}

void tile_interpret(const TileProgram *p, void *const *args) {
    tasks_run(p, args, 0, tile_task_count(p));
}

void tile_interpret_task(const TileProgram *p, void *const *args, int64_t task) {
    ASSERT(task >= 0 && task < tile_task_count(p));
    tasks_run(p, args, task, task + 1);
}
