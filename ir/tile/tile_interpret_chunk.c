// tile_interpret_chunk.c: the meaning of chunk programs: tiles of tokens in order, values
// carried from one to the next.
#include <string.h>

#include "base/check.h"
#include "ir/tile/tile_interpret.h"

static uint32_t dim_m(const TileRun *r) { return (uint32_t)tile_dim_of(r->p, DIM_M); }
static uint32_t dim_n(const TileRun *r) { return (uint32_t)tile_dim_of(r->p, DIM_N); }

// The current tile has `count` tokens; here is token i of it, in both roles.
static void token_set(TileRun *r, int64_t i) {
    r->index[dim_m(r)] = r->first[dim_m(r)] + i;
    r->index[dim_n(r)] = r->first[dim_n(r)] + i;
}

static int64_t value_size(const TileRun *r, DimSet dims) {
    int64_t size = 1;
    for (uint32_t d = 0; d < r->p->dim_count; d++)
        if (dims >> d & 1) size *= r->count[d];
    return size;
}

// ---- operations

static void scan_along(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    bool product = op->fn == OP_MUL, back = op->way == WAY_AFTER || op->way == WAY_FROM;
    int64_t count = r->count[dim_m(r)];
    double so_far = product ? 1 : 0;
    for (int64_t i = 0; i < count; i++) {
        token_set(r, back ? count - 1 - i : i);
        double x = *tile_run_at(r, op->in[0]);
        if (op->way == WAY_AFTER || op->way == WAY_BEFORE) *tile_run_at(r, v) = so_far;
        so_far = product ? so_far * x : so_far + x;
        if (op->way == WAY_UPTO || op->way == WAY_FROM) *tile_run_at(r, v) = so_far;
    }
    token_set(r, 0);
    if (op->way == WAY_ALL) *tile_run_at(r, v) = so_far;
}

static void scan_run(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    tile_run_begin(r);
    do
        scan_along(r, v);
    while (tile_run_next(r, (DimSet)(op->dims & ~op->over)));
}

// X[t] -= a[t, s] X[s], or a[s, t] X[s] of the transposed, for one column of X.
static void solve_step(TileRun *r, TileId v, int64_t t, int64_t s) {
    const TileOp *op = tile_op(r->p, v);
    bool transposed = op->way == WAY_TRANSPOSED;
    int64_t row = tile_run_stride(r, op->in[0], dim_m(r)),
            col = tile_run_stride(r, op->in[0], dim_n(r));
    int64_t step = tile_run_stride(r, v, dim_m(r));
    token_set(r, 0);
    const double *a = tile_run_at(r, op->in[0]);
    double *x = tile_run_at(r, v);
    x[t * step] -= a[transposed ? s * row + t * col : t * row + s * col] * x[s * step];
}

static void solve_run(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    bool transposed = op->way == WAY_TRANSPOSED;
    int64_t count = r->count[dim_m(r)];
    tile_run_begin(r);
    do
        *tile_run_at(r, v) = *tile_run_at(r, op->in[1]);
    while (tile_run_next(r, op->dims));
    DimSet columns = (DimSet)(op->dims & ~tile_tokens(r->p));
    do
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < i; k++)
                solve_step(r, v, transposed ? count - 1 - i : i,
                           transposed ? count - 1 - k : k);
    while (tile_run_next(r, columns));
}

// Both roles have the same tokens, and lie in the same place among the dimensions.
static void turn_run(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    memcpy(r->data[v.i], r->data[op->in[0].i],
           (size_t)value_size(r, op->dims) * sizeof *r->data[v.i]);
}

void tile_run_chunk_value(TileRun *r, TileId v) {
    switch (tile_op(r->p, v)->kind) {
    case TILE_SCAN: scan_run(r, v); return;
    case TILE_SOLVE: solve_run(r, v); return;
    case TILE_TURN: turn_run(r, v); return;
    default: BUG("operation %%%u is not of a chunk program", v.i);
    }
}

// ---- decayed dots: b, as it decays on the way from token s to token t

typedef struct {
    uint32_t k;      // the dimension that decays
    int64_t count;   // its points
    double *weight;  // b, decayed so far
    bool back;       // over t: from t down to every s
} Decay;

// Adds the term of the pair at the current point.
static void decay_add(const TileRun *r, TileId v, const Decay *w) {
    const TileOp *op = tile_op(r->p, v);
    int64_t step = tile_run_stride(r, v, w->k), step_a = tile_run_stride(r, op->in[0], w->k);
    double *to = tile_run_at(r, v);
    const double *a = tile_run_at(r, op->in[0]);
    for (int64_t i = 0; i < w->count; i++)
        to[i * step] += a[i * step_a] * w->weight[i];
}

static void decay_step(const TileRun *r, TileId alpha, const Decay *w) {
    int64_t step = tile_run_stride(r, alpha, w->k);
    const double *x = tile_run_at(r, alpha);
    for (int64_t i = 0; i < w->count; i++)
        w->weight[i] *= x[i * step];
}

// All pairs of which `b` stands at token i.
static void decay_token(TileRun *r, TileId v, const Decay *w, int64_t i) {
    const TileOp *op = tile_op(r->p, v);
    uint32_t m = dim_m(r), n = dim_n(r);
    token_set(r, i);
    int64_t step = tile_run_stride(r, op->in[1], w->k);
    const double *b = tile_run_at(r, op->in[1]);
    for (int64_t k = 0; k < w->count; k++)
        w->weight[k] = b[k * step];
    int64_t pairs = w->back ? i + 1 : r->count[m] - i;
    for (int64_t j = 0; j < pairs; j++) {
        int64_t t = w->back ? i : i + j, s = w->back ? i - j : i;
        r->index[m] = r->first[m] + t;
        r->index[n] = r->first[n] + s;
        if (!w->back && j) decay_step(r, op->in[2], w);
        decay_add(r, v, w);
        // On the way back the decay of token s lies between s - 1 and t.
        r->index[m] = r->first[m] + s;
        if (w->back) decay_step(r, op->in[2], w);
    }
}

void tile_run_decayed(TileRun *r, TileId v) {
    const TileOp *op = tile_op(r->p, v);
    DimSet k = (DimSet)(tile_op(r->p, op->in[1])->dims & tile_role_dims(r->p, DIM_K));
    Arena arena = {0};
    Decay w = {.back = op->over == tile_role_dims(r->p, DIM_M)};
    while (!(k >> w.k & 1))
        w.k++;
    w.count = r->count[w.k];
    w.weight = arena_array(&arena, double, w.count);
    memset(r->data[v.i], 0, (size_t)value_size(r, op->dims) * sizeof(double));
    tile_run_begin(r);
    for (int64_t i = 0; i < r->count[dim_m(r)]; i++)
        decay_token(r, v, &w, i);
    arena_release(&arena);
}

// ---- tiles

static void tile_place(TileRun *r, int64_t tile) {
    const uint32_t dims[] = {dim_m(r), dim_n(r)};
    for (uint32_t i = 0; i < 2; i++) {
        const TileDim *dim = &r->p->dims[dims[i]];
        int64_t first = tile * dim->tile, rest = dim->extent - first;
        r->first[dims[i]] = first;
        r->count[dims[i]] = rest < dim->tile ? rest : dim->tile;
    }
}

static void copy_value(TileRun *r, TileId to, TileId from) {
    tile_run_begin(r);
    do
        *tile_run_at(r, to) = *tile_run_at(r, from);
    while (tile_run_next(r, tile_op(r->p, to)->dims));
}

static void tile_values(TileRun *r, bool first) {
    for (uint32_t i = 1; i < r->p->ops.len; i++) {
        const TileOp *op = &r->p->ops.ptr[i];
        if (!tile_op_has_value(op->kind)) continue;
        if (op->kind != TILE_CARRY)
            tile_run_value(r, (TileId){i});
        else if (first)
            copy_value(r, (TileId){i}, op->in[0]);
    }
}

// All next values are known before any carry changes.
static void carries_move(TileRun *r) {
    for (uint32_t i = 1; i < r->p->ops.len; i++)
        if (r->p->ops.ptr[i].kind == TILE_NEXT)
            copy_value(r, (TileId){i}, r->p->ops.ptr[i].in[1]);
    for (uint32_t i = 1; i < r->p->ops.len; i++)
        if (r->p->ops.ptr[i].kind == TILE_NEXT)
            copy_value(r, r->p->ops.ptr[i].in[0], (TileId){i});
}

// Stored in every tile, or once after the last?
static bool stored_always(const TileProgram *p, const TileOp *op) {
    return op->dims & tile_tokens(p) || tile_by_tiles(p, op);
}

void tile_run_chunk_task(TileRun *r) {
    TileRange own = tile_walked_by(r->p, r->first);
    for (int64_t i = own.first; i <= own.last; i++) {
        tile_place(r, r->p->reverse ? own.first + own.last - i : i);
        tile_values(r, i == own.first);
        vec_each (const TileOp, op, &r->p->ops)
            if (op->kind == TILE_STORE && stored_always(r->p, op)) tile_run_write(r, op);
        carries_move(r);
    }
    vec_each (const TileOp, op, &r->p->ops)
        if (op->kind == TILE_STORE && !stored_always(r->p, op)) tile_run_write(r, op);
}
