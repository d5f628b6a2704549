// loop_epilogue.c: see loop_epilogue.h.
//
//     what stands at the grid alone
//     for each row:  what stands at m alone, kept for all runs
//     for each run:  what stands at n alone, kept for all rows
//         for each row:  the rest, then the stores
#include "codegen/cuda/loop_epilogue.h"

#include "base/check.h"
#include "codegen/cuda/loop_value.h"
#include "ir/tile/tile_access.h"

typedef enum { AT_GRID, AT_M, AT_N, AT_POINT, PLACES } Place;

typedef struct {
    CudaWriter *w;
    const CudaSums *s;
    int m, n;                // dimensions
    Str m_inside, n_inside;  // conditions; empty: always
    bool by_element;         // runs may end early: n_inside is of element e
    bool *which[PLACES];     // operations computed there
    bool *kept;              // used at another place, or stored
} Epilogue;

static Place place_of(const Epilogue *x, const bool *after_dot, uint32_t i) {
    DimSet dims = x->w->p->ops.ptr[i].dims;
    bool at_m = dims & dim_set(x->m), at_n = dims & dim_set(x->n);
    if (after_dot[i] || (at_m && at_n)) return AT_POINT;
    return at_m ? AT_M : at_n ? AT_N : AT_GRID;
}

static void places_find(Epilogue *x) {
    const TileProgram *p = x->w->p;
    uint32_t count = p->ops.len;
    bool *wanted = arena_array(x->w->arena, bool, count);
    bool *after_dot = arena_array(x->w->arena, bool, count);
    Place *place = arena_array(x->w->arena, Place, count);
    x->kept = arena_array(x->w->arena, bool, count);
    for (int at = 0; at < PLACES; at++)
        x->which[at] = arena_array(x->w->arena, bool, count);
    for (uint32_t i = 1; i < count; i++)
        if (tile_op_writes(p->ops.ptr[i].kind))
            for (uint32_t k = 0; k < p->ops.ptr[i].arity; k++)
                values_mark(p, p->ops.ptr[i].in[k], wanted);
    for (uint32_t i = 1; i < count; i++) {
        const TileOp *op = &p->ops.ptr[i];
        after_dot[i] = op->kind == TILE_DOT;
        for (uint32_t k = 0; k < op->arity; k++)
            if (after_dot[op->in[k].i]) after_dot[i] = true;
        place[i] = place_of(x, after_dot, i);
        if (tile_op_writes(op->kind))
            for (uint32_t k = 0; k < op->arity; k++)
                x->kept[op->in[k].i] = true;
        if (!wanted[i]) continue;
        x->which[place[i]][i] = true;
        for (uint32_t k = 0; k < op->arity && op->kind != TILE_DOT; k++)
            if (place[op->in[k].i] != place[i]) x->kept[op->in[k].i] = true;
    }
}

static void conditions_find(Epilogue *x) {
    CudaWriter *w = x->w;
    int64_t rows = w->p->dims[x->m].extent, cols = w->p->dims[x->n].extent;
    x->by_element = !x->s->n_whole && cols % x->s->width != 0;
    if (!x->s->m_whole) x->m_inside = str_printf(w->arena, "m < %lld", (long long)rows);
    if (!x->s->n_whole)
        x->n_inside =
            str_printf(w->arena, x->by_element ? "n + e < %lld" : "n < %lld", (long long)cols);
}

static bool some_kept(const Epilogue *x, Place place) {
    for (uint32_t i = 1; i < x->w->p->ops.len; i++)
        if (x->which[place][i] && x->kept[i] && x->w->p->ops.ptr[i].kind != TILE_CONST)
            return true;
    return false;
}

static void rows_print(Epilogue *x, Values *v) {
    CudaWriter *w = x->w;
    if (!some_kept(x, AT_M)) return;
    Run run = {.along = -1, .width = 1, .first = x->s->at, .slot = STR("i")};
    run.first.at[x->m] = STR("m");
    run.only = x->m_inside;
    values_declare(w, x->which[AT_M], x->kept, x->s->rows);
    cuda_open(w, "UNROLL for (int i = 0; i < %d; i++)", x->s->rows);
    cuda_line(w, "const int m = %.*s;", STR_ARG(x->s->m));
    values_print(v, &run, x->which[AT_M], x->kept);
    cuda_close(w);
}

static void store_each(Epilogue *x, const TileOp *op, const Run *run, const Values *v) {
    CudaWriter *w = x->w;
    CudaPoint at = run->first;
    at.at[run->along] = STR("n + e");
    cuda_open(w, "UNROLL for (int e = 0; e < %d; e++)", run->width);
    if (run->only.len > 0) cuda_open(w, "if (%.*s)", STR_ARG(run->only));
    CudaScatter put = {.row = v->known[op->in[0].i], .value = v->known[op->in[1].i]};
    if (op->kind == TILE_SCATTER)
        cuda_scatter(w, op, &at, &put);
    else
        cuda_store(w, op, &at, v->known[op->in[0].i]);
    if (run->only.len > 0) cuda_close(w);
    cuda_close(w);
}

static void value_put(Epilogue *x, const TileOp *op, const Run *run, const Values *v) {
    CudaWriter *w = x->w;
    cuda_open(w, "UNROLL for (int e = 0; e < %d; e++)", run->width);
    cuda_line(w, "%.*s = %.*s;", STR_ARG(x->s->into), STR_ARG(v->known[op->in[0].i]));
    cuda_close(w);
}

static void point_print(Epilogue *x, const Values *outside, const Run *run) {
    CudaWriter *w = x->w;
    Values v = values_inside(outside);
    values_declare(w, x->which[AT_POINT], x->kept, run->width);
    for (uint32_t i = 1; i < w->p->ops.len; i++)
        if (w->p->ops.ptr[i].kind == TILE_DOT) v.known[i] = x->s->sum;
    values_print(&v, run, x->which[AT_POINT], x->kept);
    for (uint32_t i = 1; i < w->p->ops.len; i++) {
        const TileOp *op = &w->p->ops.ptr[i];
        if (!tile_op_writes(op->kind)) continue;
        cuda_comment(w, op);
        if (x->s->into.len > 0)
            value_put(x, op, run, &v);
        else if (run->wide && access_is_wide(w->p, op, run->along, run->width))
            values_store_wide(&v, op, run);
        else
            store_each(x, op, run, &v);
    }
}

static void runs_print(Epilogue *x, const Values *outside) {
    CudaWriter *w = x->w;
    Values v = values_inside(outside);
    Run run = {.along = x->n, .width = x->s->width, .first = x->s->at, .slot = STR("e")};
    run.first.at[x->n] = STR("n");
    run.wide = !x->by_element;
    if (x->by_element) run.only = x->n_inside;
    bool check = x->n_inside.len > 0 && !x->by_element;
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", x->s->runs);
    cuda_line(w, "const int n = %.*s;", STR_ARG(x->s->n));
    if (check) cuda_open(w, "if (%.*s)", STR_ARG(x->n_inside));
    values_declare(w, x->which[AT_N], x->kept, x->s->width);
    values_print(&v, &run, x->which[AT_N], x->kept);
    cuda_open(w, "UNROLL for (int i = 0; i < %d; i++)", x->s->rows);
    cuda_line(w, "const int m = %.*s;", STR_ARG(x->s->m));
    run.first.at[x->m] = STR("m");
    if (x->m_inside.len > 0) cuda_open(w, "if (%.*s)", STR_ARG(x->m_inside));
    point_print(x, &v, &run);
    if (x->m_inside.len > 0) cuda_close(w);
    cuda_close(w);
    if (check) cuda_close(w);
    cuda_close(w);
}

void cuda_epilogue(CudaWriter *w, const CudaSums *sums) {
    Epilogue x = {.w = w, .s = sums};
    x.m = tile_dim_of(w->p, DIM_M);
    x.n = tile_dim_of(w->p, DIM_N);
    ASSERT(x.m >= 0 && x.n >= 0);
    places_find(&x);
    conditions_find(&x);
    Values v = values_new(w);
    Run grid = {.along = -1, .width = 1, .first = sums->at};
    values_print(&v, &grid, x.which[AT_GRID], x.kept);
    rows_print(&x, &v);
    runs_print(&x, &v);
}
