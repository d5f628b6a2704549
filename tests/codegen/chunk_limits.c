// chunk_limits.c: a CHUNK program is walked as the interpreter walks it, with two numbers in
// the place of each: the value, and the most that it can be off. An operation passes on what
// its operands are off, and adds its own roundings. What is linear in an operand is computed by
// the interpreter itself, from errors or magnitudes in the operand's place.
#include "tests/codegen/chunk_limits.h"

#include <math.h>
#include <string.h>

#include "ir/tile/tile_interpret.h"
#include "tests/test.h"

#define UNIT     0x1p-24
// Of functions: two units in the last place, and what their arguments, at most 1, are scaled
// by.
#define FUNCTION (8 * UNIT)

typedef struct {
    TileRun r;
    Arena arena;
    double **error;  // per operation, as r.data
    double factors;  // what the factors of a product are off, together
    void *const *limits;
} Walk;

static uint32_t dim_of(const Walk *w, TileRole role) {
    return (uint32_t)tile_dim_of(w->r.p, role);
}

static int64_t points(const Walk *w, DimSet dims) {
    int64_t n = 1;
    for (uint32_t d = 0; d < w->r.p->dim_count; d++)
        if (dims >> d & 1) n *= w->r.count[d];
    return n;
}

static int64_t size_of(const Walk *w, TileId v) { return points(w, tile_op(w->r.p, v)->dims); }
static int64_t tokens(const Walk *w) { return w->r.count[dim_of(w, DIM_M)]; }

static double *error_at(const Walk *w, TileId v) {
    return w->error[v.i] + (tile_run_at(&w->r, v) - w->r.data[v.i]);
}

static double *magnitudes(Walk *w, TileId v) {
    int64_t n = size_of(w, v);
    double *x = arena_array(&w->arena, double, n);
    for (int64_t i = 0; i < n; i++)
        x[i] = fabs(w->r.data[v.i][i]);
    return x;
}

// ---- point by point

// At one point: x are the operands, e what they are off.
static double map_error(const TileOp *op, double result, const double *x, const double *e) {
    switch ((int)op->fn) {
    case OP_ADD:
    case OP_SUB: return e[0] + e[1] + UNIT * fabs(result);
    case OP_MUL: return fabs(x[0]) * e[1] + fabs(x[1]) * e[0] + UNIT * fabs(result);
    case OP_NEG: return e[0];
    case OP_WHERE: return x[0] != 0 ? e[1] : e[2];
    case OP_EXP: return fabs(result) * (e[0] + FUNCTION);
    case OP_SIGMOID: return e[0] / 4 + 2 * FUNCTION * fabs(result);  // exp, and a quotient
    case OP_RSQRT: return fabs(result) * (e[0] / (2 * x[0]) + FUNCTION);
    case OP_EQ:
    case OP_LT: return 0;
    default: fail_msg("no error of %s is known", op_text(op->fn));
    }
    return 0;
}

static void map_walk(Walk *w, TileId v) {
    const TileOp *op = tile_op(w->r.p, v);
    tile_run_begin(&w->r);
    do {
        double x[3] = {0}, e[3] = {0};
        for (uint32_t i = 0; i < op->arity; i++) {
            x[i] = *tile_run_at(&w->r, op->in[i]);
            e[i] = *error_at(w, op->in[i]);
        }
        *error_at(w, v) = map_error(op, *tile_run_at(&w->r, v), x, e);
    } while (tile_run_next(&w->r, op->dims));
}

// ---- what is linear in each operand

// Adds scale * v, computed from a and b in the place of its first two operands.
static void add_with(Walk *w, TileId v, double *a, double *b, double scale) {
    const TileOp *op = tile_op(w->r.p, v);
    double **data = w->r.data, *const kept[3] = {data[v.i], data[op->in[0].i],
                                                 data[op->in[1].i]};
    double *sum = arena_array(&w->arena, double, size_of(w, v));
    data[v.i] = sum;
    data[op->in[0].i] = a;
    if (b) data[op->in[1].i] = b;
    tile_run_value(&w->r, v);
    data[op->in[0].i] = kept[1];
    if (b) data[op->in[1].i] = kept[2];
    data[v.i] = kept[0];
    for (int64_t i = 0; i < size_of(w, v); i++)
        w->error[v.i][i] += scale * sum[i];
}

static void sum_walk(Walk *w, TileId v, int64_t terms) {
    TileId x = tile_op(w->r.p, v)->in[0];
    add_with(w, v, w->error[x.i], NULL, 1);
    if (terms) add_with(w, v, magnitudes(w, x), NULL, (double)terms * UNIT);
}

// The greatest relative error of x's elements.
static double relative_error(const Walk *w, TileId x) {
    double most = 0;
    for (int64_t i = 0; i < size_of(w, x); i++)
        if (w->error[x.i][i] > 0) most = fmax(most, w->error[x.i][i] / fabs(w->r.data[x.i][i]));
    return most;
}

static void dot_walk(Walk *w, TileId v) {
    const TileOp *op = tile_op(w->r.p, v);
    TileId a = op->in[0], b = op->in[1];
    assert_true(a.i != b.i);
    double own = (double)(points(w, op->over) + 2) * UNIT + w->factors;
    if (op->arity == 3) own += (double)tokens(w) * (relative_error(w, op->in[2]) + 2 * UNIT);
    add_with(w, v, magnitudes(w, a), w->error[b.i], 1);
    add_with(w, v, w->error[a.i], magnitudes(w, b), 1);
    add_with(w, v, magnitudes(w, a), magnitudes(w, b), own);
}

static void scan_walk(Walk *w, TileId v) {
    const TileOp *op = tile_op(w->r.p, v);
    if (op->fn == OP_ADD) {
        sum_walk(w, v, tokens(w));
        return;
    }
    double own = (double)tokens(w) * (relative_error(w, op->in[0]) + UNIT);
    for (int64_t i = 0; i < size_of(w, v); i++)
        w->error[v.i][i] = own * fabs(w->r.data[v.i][i]);
}

// ---- triangular systems
//
// What is computed solves a system whose matrix and right side are slightly others: with T = I
// + the strictly lower part of a,  |error of X| <= |T^-1| (error of b + (error of a + own |a|)
// |X|)

typedef struct {
    const double *a, *error;
    int64_t row, col, count;
} Triangle;

static Triangle triangle_of(const Walk *w, const TileOp *op) {
    TileId a = op->in[0];
    Triangle t = {w->r.data[a.i], w->error[a.i], tile_run_stride(&w->r, a, dim_of(w, DIM_M)),
                  tile_run_stride(&w->r, a, dim_of(w, DIM_N)), tokens(w)};
    if (op->way != WAY_TRANSPOSED) return t;
    // Counted from the last token on it is lower, too.
    int64_t last = (t.count - 1) * (t.row + t.col), row = t.row;
    t.a += last, t.error += last;
    t.row = -t.col, t.col = -row;
    return t;
}

// [count][count]: the magnitudes of T^-1's elements.
static double *inverse_of(Walk *w, const Triangle *t) {
    int64_t n = t->count;
    double *x = arena_array(&w->arena, double, n *n);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = j; i < n; i++) {
            x[i * n + j] = i == j;
            for (int64_t k = j; k < i; k++)
                x[i * n + j] -= t->a[i * t->row + k * t->col] * x[k * n + j];
        }
    for (int64_t i = 0; i < n * n; i++)
        x[i] = fabs(x[i]);
    return x;
}

static void solve_walk(Walk *w, TileId v) {
    const TileOp *op = tile_op(w->r.p, v);
    Triangle t = triangle_of(w, op);
    int64_t n = t.count, step = tile_run_stride(&w->r, v, dim_of(w, DIM_M)),
            start = op->way == WAY_TRANSPOSED ? (n - 1) * step : 0;
    if (start) step = -step;
    const double *inverse = inverse_of(w, &t), own = (double)(n + 2) * UNIT + w->factors;
    double *residual = arena_array(&w->arena, double, n);
    for (int64_t col = 0; col < size_of(w, v) / n; col++) {
        const double *x = w->r.data[v.i] + start + col,
                     *b = w->error[op->in[1].i] + start + col;
        for (int64_t i = 0; i < n; i++) {
            residual[i] = b[i * step] + UNIT * fabs(x[i * step]);
            for (int64_t k = 0; k < i; k++) {
                int64_t at = i * t.row + k * t.col;
                residual[i] += (t.error[at] + own * fabs(t.a[at])) * fabs(x[k * step]);
            }
        }
        double *to = w->error[v.i] + start + col;
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = 0; k <= i; k++)
                to[i * step] += inverse[i * n + k] * residual[k];
    }
}

// ---- the walk

static void value_walk(Walk *w, TileId v) {
    const TileOp *op = tile_op(w->r.p, v);
    tile_run_value(&w->r, v);
    memset(w->error[v.i], 0, (size_t)size_of(w, v) * sizeof(double));
    switch ((int)op->kind) {
    case TILE_MAP: map_walk(w, v); return;
    case TILE_DOT: dot_walk(w, v); return;
    case TILE_REDUCE: sum_walk(w, v, points(w, op->over)); return;
    case TILE_SCAN: scan_walk(w, v); return;
    case TILE_TURN: sum_walk(w, v, 0); return;
    case TILE_SOLVE: solve_walk(w, v); return;
    default: return;
    }
}

static void copy(Walk *w, TileId to, TileId from) {
    tile_run_begin(&w->r);
    do {
        *tile_run_at(&w->r, to) = *tile_run_at(&w->r, from);
        *error_at(w, to) = *error_at(w, from);
    } while (tile_run_next(&w->r, tile_op(w->r.p, to)->dims));
}

static void stores_walk(Walk *w, bool of_tiles) {
    const TileProgram *p = w->r.p;
    TileRun r = w->r;
    r.data = w->error;
    r.args = w->limits;
    vec_each (const TileOp, op, &p->ops)
        if (op->kind == TILE_STORE &&
            (op->dims & tile_tokens(p) || tile_by_tiles(p, op)) == of_tiles)
            tile_run_write(&r, op);
}

static void tile_walk(Walk *w, int64_t tile, bool first) {
    const TileProgram *p = w->r.p;
    ArenaMark mark = arena_mark(&w->arena);
    for (TileRole role = DIM_M; role <= DIM_N; role++) {
        const TileDim *dim = &p->dims[dim_of(w, role)];
        int64_t from = tile * dim->tile, rest = dim->extent - from;
        w->r.first[dim_of(w, role)] = from;
        w->r.count[dim_of(w, role)] = rest < dim->tile ? rest : dim->tile;
    }
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *op = &p->ops.ptr[i];
        if (op->kind == TILE_CARRY && first)
            copy(w, (TileId){i}, op->in[0]);
        else if (op->kind != TILE_CARRY && tile_op_has_value(op->kind))
            value_walk(w, (TileId){i});
    }
    stores_walk(w, true);
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (p->ops.ptr[i].kind == TILE_NEXT) copy(w, (TileId){i}, p->ops.ptr[i].in[1]);
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (p->ops.ptr[i].kind == TILE_NEXT) copy(w, p->ops.ptr[i].in[0], (TileId){i});
    arena_rewind(&w->arena, mark);
}

static void walk_init(Walk *w, const TileProgram *p, void *const *args, void *const *limits) {
    *w = (Walk){.r = {.p = p, .args = args}, .limits = limits, .factors = 3 * 0x1p-22};
    vec_each (const TileArg, arg, &p->args)
        if (dtype_bytes(arg->type) == 2) w->factors = 2 * 0x1p-11;
    for (uint32_t d = 0; d < p->dim_count; d++)
        w->r.count[d] = p->dims[d].role == DIM_GRID ? 1 : p->dims[d].tile;
    w->r.data = arena_array(&w->arena, double *, p->ops.len);
    w->error = arena_array(&w->arena, double *, p->ops.len);
    for (uint32_t i = 1; i < p->ops.len; i++) {
        if (tile_op_writes(p->ops.ptr[i].kind)) continue;
        w->r.data[i] = arena_array(&w->arena, double, size_of(w, (TileId){i}));
        w->error[i] = arena_array(&w->arena, double, size_of(w, (TileId){i}));
    }
}

void chunk_limits(const TileProgram *p, void *const *args, void *const *limits) {
    Walk w;
    walk_init(&w, p, args, limits);
    int64_t tasks = tile_task_count(p);
    for (int64_t task = 0; task < tasks; task++) {
        int64_t rest = task;
        for (uint32_t d = p->dim_count; d-- > 0;) {
            if (p->dims[d].role != DIM_GRID) continue;
            w.r.first[d] = rest % p->dims[d].extent;
            rest /= p->dims[d].extent;
        }
        TileRange own = tile_walked_by(p, w.r.first);
        for (int64_t i = own.first; i <= own.last; i++)
            tile_walk(&w, p->reverse ? own.first + own.last - i : i, i == own.first);
        stores_walk(&w, false);
    }
    arena_release(&w.arena);
}
