// attend_plan.c: ATTEND: what the operations of a program are to the skeleton, the passes over
// the scores, and the close memory for them.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/llvm/attend.h"
#include "ir/tile/tile_access.h"

enum {
    BLOCK = 256,        // queries that share copies of keys, if the program leaves it open
    CHUNK = 128,        // keys of a copy, likewise
    STRIP_VECTORS = 4,  // at most
    FELT = 1 << 30,     // distances beyond this are none
};

bool stands_at(const TileOp *op, int dim) { return (op->dims >> dim & 1) != 0; }

static bool refuse(const Attend *a, const char *why) {
    return diag_fail(a->b->diag, FAIL_ENVIRONMENT, "kernel '%.*s' has %s", STR_ARG(a->p->name),
                     why);
}

static const TileDim *dim_at(const Attend *a, int d) { return &a->p->dims[d]; }

// A guard that always holds only says where a value stands.
static bool always_holds(const Attend *a, const TileGuard *g) {
    if (g->dim < 0) return true;
    int64_t last = int_min((dim_at(a, g->dim)->extent - 1) / g->div, g->mod - 1);
    return g->lo <= g->shift && last + g->shift < g->hi;
}

static bool is_plain_load(const Attend *a, const TileOp *op) {
    return op->kind == TILE_LOAD && always_holds(a, &op->access.guard[0]) &&
           always_holds(a, &op->access.guard[1]);
}

static int only_dim(DimSet dims) {
    int d = 0;
    while (!(dims >> d & 1))
        d++;
    return d;
}

static DimSet k_dims(const Attend *a) {
    DimSet dims = 0;
    for (uint32_t d = 0; d < a->p->dim_count; d++)
        if (dim_at(a, (int)d)->role == DIM_K) dims |= (DimSet)(1U << d);
    return dims;
}

// ---- operations

// The copy that holds what a load reads at the keys or queries.
static const Rows *rows_of(Attend *a, const TileOp *load) {
    for (int i = 0; i < a->row_count; i++)
        if (a->rows[i].load == load) return &a->rows[i];
    ASSERT(a->row_count < ATTEND_MOST_ROWS);
    Rows *r = &a->rows[a->row_count++];
    *r = (Rows){.load = load, .along = stands_at(load, a->n) ? a->n : a->m};
    r->k = only_dim(load->dims & k_dims(a));
    r->width = round_up(dim_at(a, r->k)->extent, a->lanes);
    return r;
}

static bool dot_plan(Attend *a, TileId v) {
    const TileOp *op = tile_op(a->p, v), *x = tile_op(a->p, op->in[0]),
                 *y = tile_op(a->p, op->in[1]);
    if (!is_plain_load(a, y)) return refuse(a, "a dot of what is no load");
    if (op->over & k_dims(a)) {
        if (!is_plain_load(a, x)) return refuse(a, "a dot of what is no load");
        if (a->score_count == ATTEND_MOST_DOTS) return refuse(a, "too many dots");
        Scores *s = &a->scores[a->score_count++];
        *s = (Scores){.dot = v, .k = only_dim(op->over), .of_m = x, .of_n = rows_of(a, y)};
        s->count = dim_at(a, s->k)->extent;
        if (a->few) s->rows_of_m = rows_of(a, x);
        return true;
    }
    if (a->sum_count == ATTEND_MOST_DOTS) return refuse(a, "too many dots");
    bool over_n = (op->over >> a->n & 1) != 0;
    a->sums[a->sum_count++] = (Sums){.dot = v, .over_n = over_n, .rows = rows_of(a, y)};
    return true;
}

// ---- pairs of bf16

static bool is_along(const TileOp *load, int k) { return load->access.stride[k] == 1; }

// The keys' rows are copied as pairs, so that nothing else may read them.
static bool can_pair(const Attend *a, const Scores *s) {
    bool along = is_along(s->of_m, s->k) && is_along(s->of_n->load, s->k);
    int readers = 0;
    for (int i = 0; i < a->score_count; i++)
        readers += a->scores[i].of_n == s->of_n;
    for (int i = 0; i < a->sum_count; i++)
        readers += a->sums[i].rows == s->of_n;
    return a->b->level == CPU_AVX512BF16 && !a->few && along && s->count % 2 == 0 &&
           readers == 1 && tile_dot_of_bf16(a->p, tile_op(a->p, s->dot));
}

static void pairs_plan(Attend *a) {
    for (int i = 0; i < a->score_count; i++) {
        Scores *s = &a->scores[i];
        if (!can_pair(a, s)) continue;
        Rows *r = &a->rows[s->of_n - a->rows];
        s->pairs = r->pairs = true;
        s->count /= 2;
        r->width = round_up(s->count, a->lanes);
    }
}

static bool op_plan(Attend *a, uint32_t i) {
    const TileOp *op = &a->p->ops.ptr[i];
    for (uint32_t k = 0; k < op->arity; k++)
        if (a->round[op->in[k].i] > a->round[i]) a->round[i] = a->round[op->in[k].i];
    if (op->kind == TILE_LOAD && !is_plain_load(a, op)) return refuse(a, "a guarded load");
    if (op->kind == TILE_DOT) return dot_plan(a, (TileId){i});
    if (op->kind == TILE_REDUCE) a->round[i]++, a->reduces = true;
    bool known = op->kind == TILE_CONST || op->kind == TILE_LOAD || op->kind == TILE_MAP ||
                 op->kind == TILE_REDUCE || op->kind == TILE_STORE || op->kind == TILE_START;
    return known || refuse(a, "an operation that attention has no code for");
}

// Passes are numbered by the round of what they read.
static void passes_plan(Attend *a) {
    for (uint32_t i = 1; i < a->p->ops.len; i++) {
        const TileOp *op = &a->p->ops.ptr[i];
        bool sums = op->kind == TILE_DOT && tile_at_pairs(a->p, tile_op(a->p, op->in[0])->dims);
        if (op->kind != TILE_REDUCE && !sums) continue;
        int round = a->round[op->in[0].i];
        if (round >= a->passes) a->passes = round + 1;
    }
}

// ---- chunks of a softmax
//
// Sums over keys of exp(x - top), where top is the largest x, can be had chunk by chunk: what
// was summed relative to an earlier top is multiplied by exp(earlier - later).

static bool is_map(const TileOp *op, GraphOp fn) {
    return op->kind == TILE_MAP && op->fn == fn;
}

static bool is_top(const Attend *a, TileId v) {
    const TileOp *op = tile_op(a->p, v);
    return op->kind == TILE_REDUCE && op->fn == OP_REDUCE_MAX && a->round[op->in[0].i] == 0;
}

// Of what is reduced over keys: is it, or will it be, the same for all chunks? *top is then set
// if it has to be rescaled.
static bool is_rescalable(const Attend *a, TileId v, TileId *top) {
    const TileOp *op = tile_op(a->p, v);
    if (a->round[v.i] == 0) return true;
    if (!is_map(op, OP_EXP)) return false;
    op = tile_op(a->p, op->in[0]);
    if (!is_map(op, OP_SUB) || a->round[op->in[0].i] != 0 || !is_top(a, op->in[1]))
        return false;
    bool same = !top->i || top->i == op->in[1].i;
    *top = op->in[1];
    return same;
}

// Can all that is reduced, or summed, be had chunk by chunk?
static bool chunks_plan(Attend *a) {
    TileId top = {0};
    for (uint32_t i = 1; i < a->p->ops.len; i++) {
        const TileOp *op = &a->p->ops.ptr[i];
        if (op->kind != TILE_REDUCE) continue;
        if (!is_rescalable(a, op->in[0], &top)) return false;
        if (a->round[op->in[0].i] > 0 && op->fn != OP_REDUCE_SUM) return false;
    }
    for (int i = 0; i < a->sum_count; i++) {
        Sums *s = &a->sums[i];
        TileId weight = tile_op(a->p, s->dot)->in[0];
        if (!is_rescalable(a, weight, &top)) return false;
        s->rescaled = a->round[weight.i] > 0;
        if (s->rescaled && !s->over_n) return false;
    }
    a->top = top;
    return true;
}

// ---- close memory

// Most keys that meet one block of queries.
static int64_t most_live(const Attend *a) {
    int64_t keys = dim_at(a, a->n)->tile;
    if (!a->has_lo || !a->has_hi) return keys;
    return int_min(keys, a->block + a->p->band.hi - a->p->band.lo);
}

static bool sizes_plan(Attend *a) {
    int64_t queries = dim_at(a, a->m)->extent, tile = dim_at(a, a->m)->tile;
    int64_t block = tile_knob(a->p, "bm", 0), chunk = tile_knob(a->p, "bn", 0);
    if (tile < queries) block = tile;
    if (block <= 0) block = BLOCK;
    a->strip = a->few ? a->lanes
                      : int_min(round_up(int_min(block, tile), a->lanes),
                                STRIP_VECTORS * (int64_t)a->lanes);
    a->vectors = (int)(a->strip / a->lanes);
    a->block = round_up(int_min(block, tile), a->strip);
    if (chunk <= 0) chunk = CHUNK;
    // What cannot be rescaled needs all scores of the block at once.
    bool at_once = a->reduces && !chunks_plan(a);
    a->chunk = at_once ? most_live(a) : int_min(chunk, most_live(a));
    if (a->dealt >= 0) {
        a->chunk = a->p->deal;
        return !at_once || refuse(a, "dealt keys that are needed at once");
    }
    if (a->chunk >= most_live(a)) a->top = (TileId){0};
    return true;
}

static IrValue room(Attend *a, int64_t elements) { return build_scratch(a->b, elements * 4); }

static int64_t panel_elements(const Attend *a) {
    return (a->few ? few_pitch(a) : a->chunk) * a->strip;
}

// Scores that no later pass reads give their place to the weights that the last one stores.
static void weights_plan(Attend *a) {
    int reused = 0;
    for (int i = 0; i < a->sum_count; i++) {
        Sums *s = &a->sums[i];
        TileId weight = tile_op(a->p, s->dot)->in[0];
        for (int k = 0; k < i; k++)
            if (tile_op(a->p, a->sums[k].dot)->in[0].i == weight.i)
                s->weights = a->sums[k].weights;
        if (s->weights) continue;
        bool last = a->round[weight.i] == a->passes - 1;
        s->weights = last && reused < a->score_count ? a->scores[reused++].panel
                                                     : room(a, panel_elements(a));
    }
}

static void memory_plan(Attend *a) {
    for (int i = 0; i < a->score_count; i++) {
        Scores *s = &a->scores[i];
        if (!a->few) s->turned = room(a, s->count * a->block);
        s->panel = room(a, panel_elements(a));
    }
    weights_plan(a);
    for (int i = 0; i < a->row_count; i++) {
        Rows *r = &a->rows[i];
        if (a->few && r->along == a->n) continue;
        r->copy = room(a, (r->along == a->n ? a->chunk : a->block) * r->width);
    }
    for (int i = 0; i < a->sum_count; i++) {
        Sums *s = &a->sums[i];
        int64_t rows = s->over_n ? a->block : dim_at(a, a->n)->tile;
        s->sums = room(a, rows * s->rows->width);
    }
    if (a->top.i) a->before = room(a, a->strip);
    DimSet others = k_dims(a) | (DimSet)(1U << a->n);
    a->row = arena_array(a->b->arena, IrValue, a->p->ops.len);
    for (uint32_t i = 1; i < a->p->ops.len; i++) {
        const TileOp *op = &a->p->ops.ptr[i];
        bool row = stands_at(op, a->m) && !(op->dims & others) && op->kind != TILE_STORE &&
                   op->type != DTYPE_BOOL;
        if (row) a->row[i] = room(a, a->block);
    }
}

// Do so few queries reduce over the same keys that they would not fill a vector?
static bool few_queries(const Attend *a) {
    const TileDim *m = dim_at(a, a->m);
    bool reduces = false;
    vec_each (const TileOp, op, &a->p->ops)
        reduces = reduces || op->kind == TILE_REDUCE;
    return reduces && !a->has_lo && !a->has_hi && m->tile == m->extent && m->extent < a->lanes;
}

bool attend_plan(Attend *a, Builder *b) {
    *a = (Attend){.b = b, .p = b->program, .lanes = b->lanes};
    a->m = tile_dim_of(a->p, DIM_M);
    a->n = tile_dim_of(a->p, DIM_N);
    a->start = tile_start_of(a->p);
    a->dealt = tile_dealt_to(a->p);
    a->has_lo = a->p->band.lo > 1 - dim_at(a, a->n)->extent;
    a->has_hi = a->p->band.hi < dim_at(a, a->m)->extent - 1;
    if (a->start) {
        a->has_lo = a->start->over && a->p->band.lo != BAND_LEAST;
        a->has_hi = a->start->over && a->p->band.hi != BAND_MOST;
    }
    a->few = few_queries(a);
    a->round = arena_array(b->arena, int, a->p->ops.len);
    for (uint32_t d = 0; d < a->p->dim_count; d++)
        if (dim_at(a, (int)d)->extent > FELT) return refuse(a, "too long a loop");
    for (uint32_t i = 1; i < a->p->ops.len; i++)
        if (!op_plan(a, i)) return false;
    passes_plan(a);
    pairs_plan(a);
    if (!sizes_plan(a)) return false;
    memory_plan(a);
    return true;
}
