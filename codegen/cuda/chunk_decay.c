// chunk_decay.c: CHUNK for CUDA: dots whose terms decay channel by channel. Pairs s <= t of one
// block of 16 tokens take the product of alpha along; all others lie in the two halves of some
// part of 2 half tokens, half = 16, 32, ..: there the product of alpha after s up to t is that
// after s to the end of the first half times that from the beginning of the second to t, and
// the sum a plain product of operands times these factors.
#include "base/check.h"
#include "codegen/cuda/chunk.h"

typedef struct {
    Chunk *c;
    TileId v;
    const TileOp *op;
    const ChunkValue *x;
    int width;  // the dim that decays
    bool scores, over_t;
} Decayed;

static int64_t parts(int64_t x, int64_t part) { return (x + part - 1) / part; }

// Halves of a tile, the last of which may have fewer tokens.
static int64_t halves_of(const Chunk *c, int half) { return parts(c->tile, half); }

// ---- within blocks

static void alpha_print(const Decayed *d) {
    ChunkFunction f = {.name = "alpha",
                       .value = d->op->in[2],
                       .row = d->c->m,
                       .col = d->width,
                       .row_unit = 16};
    chunk_function(d->c, &f);
}

static void blocks_print(const Decayed *d) {
    Chunk *c = d->c;
    CudaWriter *w = c->w;
    ChunkFunction a = {.name = d->scores ? "left" : "pairs",
                       .value = d->op->in[0],
                       .row = c->m,
                       .col = d->scores ? d->width : c->n,
                       .row_unit = 16,
                       .col_unit = d->scores ? 0 : 16};
    ChunkFunction b = {.name = "right",
                       .value = d->op->in[1],
                       .row = d->over_t ? c->m : c->n,
                       .col = d->width,
                       .row_unit = 16};
    chunk_function(c, &a);
    chunk_function(c, &b);
    alpha_print(d);
    ChunkScope s = chunk_scope(c);
    Str row = chunk_at(c, d->x->row), col = chunk_at(c, d->x->col);
    Str inside = chunk_inside(c, d->x->row, 16);
    long long width = (long long)chunk_extent(c, d->width);
    if (d->scores)
        cuda_line(w, "block_scores<%lld, %lld>(left, right, alpha,", (long long)c->tile, width);
    else
        cuda_line(w, "block_sums<%lld, %lld, %s>(pairs, right, alpha,", (long long)c->tile,
                  width, d->over_t ? "true" : "false");
    cuda_open(w, "    [&](int %.*s, int %.*s, float sum)", STR_ARG(row), STR_ARG(col));
    if (inside.len) cuda_line(w, "if (!(%.*s)) return;", STR_ARG(inside));
    cuda_line(w, "%.*s = sum;", STR_ARG(chunk_room_at(&s, d->x->room, d->x->row, d->x->col)));
    w->indent--;
    cuda_line(w, "});");
}

// ---- between the halves of parts

static void halves_functions(const Decayed *d, const ChunkUnits *u, int half) {
    Chunk *c = d->c;
    const ChunkFactor *f = chunk_factor(c, d->op->in[2], half);
    int over = d->scores ? d->width : d->over_t ? c->m : c->n;
    ChunkFunction a = {.name = "left",
                       .value = d->op->in[0],
                       .row = d->x->row,
                       .col = over,
                       .row_unit = 16 * u->um,
                       .col_unit = 8};
    ChunkFunction b = {.name = "right",
                       .value = d->op->in[1],
                       .row = over,
                       .col = d->scores ? c->n : d->width,
                       .row_unit = 8,
                       .col_unit = 8 * u->un,
                       .factor = f,
                       .factor_row = d->over_t ? c->m : c->n,
                       .factor_col = d->width};
    if (d->scores) {
        a.factor = f;
        a.factor_row = c->m;
        a.factor_col = d->width;
    }
    chunk_function(c, &a);
    chunk_function(c, &b);
}

static void halves_result(const Decayed *d, const ChunkUnits *u, int half) {
    Chunk *c = d->c;
    CudaWriter *w = c->w;
    ChunkScope s = chunk_scope(c);
    Str inside = chunk_both(c, chunk_inside(c, d->x->row, 16 * u->um),
                            chunk_inside(c, d->x->col, 8 * u->un));
    Str to = chunk_room_at(&s, d->x->room, d->x->row, d->x->col);
    cuda_open(w, "unit_each(sums, row, col, [&](int %.*s, int %.*s, float sum)",
              STR_ARG(chunk_at(c, d->x->row)), STR_ARG(chunk_at(c, d->x->col)));
    if (inside.len) cuda_line(w, "if (!(%.*s)) return;", STR_ARG(inside));
    if (d->scores) {
        cuda_line(w, "%.*s = sum;", STR_ARG(to));
    } else {
        const ChunkFactor *f = chunk_factor(c, d->op->in[2], half);
        cuda_line(w, "%.*s = fmaf(%.*s, sum, %.*s);", STR_ARG(to),
                  STR_ARG(chunk_room_at(&s, f->room, d->x->row, d->width)), STR_ARG(to));
    }
    w->indent--;
    cuda_line(w, "});");
}

// Rows of the result are tokens of one half of a part; columns, or what is summed, of the
// other.
static void halves_print(const Decayed *d, int half) {
    Chunk *c = d->c;
    CudaWriter *w = c->w;
    int64_t pieces = halves_of(c, half) / 2,
            cols = d->scores ? half : chunk_extent(c, d->width);
    ChunkUnits u = chunk_units(half, cols * pieces);
    u.cols = (int)parts(cols, 8 * u.un);
    int per = u.rows * u.cols;
    cuda_line(w, "{");
    w->indent++;
    halves_functions(d, &u, half);
    cuda_open(w, "NO_UNROLL for (int unit = warp; unit < %lld; unit += CHUNK_WARPS)",
              (long long)pieces * per);
    cuda_line(w, "const int before = unit / %d * %d, behind = before + %d;", per, 2 * half,
              half);
    cuda_line(w, "const int row = %s + unit %% %d / %d * %d;", d->over_t ? "before" : "behind",
              per, u.cols, 16 * u.um);
    cuda_line(w, "const int col = %sunit %% %d * %d;", d->scores ? "before + " : "", u.cols,
              8 * u.un);
    cuda_line(w, "float sums[%d][%d][4] = {};", u.um, u.un);
    Str range =
        str_printf(w->arena, "0, %lld", (long long)parts(chunk_extent(c, d->width), 8) * 8);
    if (!d->scores)
        range = str_printf(w->arena, "%s, %s + %d", d->over_t ? "behind" : "before",
                           d->over_t ? "behind" : "before", half);
    cuda_line(w, "unit_multiply<%s>(sums, row, col, %.*s, left, right);",
              c->exact ? "true" : "false", STR_ARG(range));
    halves_result(d, &u, half);
    cuda_close(w);
    cuda_close(w);
}

void chunk_decayed_print(Chunk *c, TileId v) {
    CudaWriter *w = c->w;
    const TileOp *op = tile_op(c->p, v);
    const ChunkValue *x = &c->value[v.i];
    Decayed d = {.c = c, .v = v, .op = op, .x = x};
    d.scores = chunk_is_pairs(c, x);
    d.width = c->value[op->in[2].i].col;
    d.over_t = op->over == (DimSet)(1U << c->m);
    cuda_line(w, "{");
    w->indent++;
    blocks_print(&d);
    cuda_close(w);
    for (int half = 16; half < c->tile; half *= 2) {
        if (!d.scores) cuda_line(w, "__syncthreads();");
        halves_print(&d, half);
    }
}

// ---- factors

// Between all pairs of tokens: a thread goes down from each s.
static void between_print(Chunk *c, const ChunkFactor *f) {
    CudaWriter *w = c->w;
    ChunkScope s = chunk_scope(c);
    Str t_at = chunk_at(c, c->m), s_at = chunk_at(c, c->n);
    Str to = chunk_room_at(&s, f->room, c->m, c->n);
    cuda_open(w, "NO_UNROLL for (int %.*s = thread; %.*s < count; %.*s += CHUNK_THREADS)",
              STR_ARG(s_at), STR_ARG(s_at), STR_ARG(s_at));
    cuda_line(w, "float product = 1.0f;");
    cuda_open(w, "UNROLL_SOME for (int %.*s = %.*s; %.*s < count; %.*s++)", STR_ARG(t_at),
              STR_ARG(s_at), STR_ARG(t_at), STR_ARG(t_at));
    cuda_line(w, "if (%.*s > %.*s) product *= %.*s;", STR_ARG(t_at), STR_ARG(s_at),
              STR_ARG(chunk_value(&s, f->alpha)));
    cuda_line(w, "%.*s = product;", STR_ARG(to));
    cuda_close(w);
    cuda_close(w);
}

// A thread has a channel of a half, and goes on from the parts' middle, or back from it.
static void halves_factor_print(Chunk *c, const ChunkFactor *f) {
    CudaWriter *w = c->w;
    ChunkScope s = chunk_scope(c);
    const ChunkValue *x = &c->value[f->alpha.i];
    Str t_at = chunk_at(c, x->row), col = chunk_at(c, x->col);
    long long width = (long long)chunk_extent(c, x->col), half = f->half;
    Str value = chunk_room_at(&s, x->room, x->row, x->col);
    Str to = chunk_room_at(&s, f->room, x->row, x->col);
    cuda_open(w, "NO_UNROLL for (int i = thread; i < %lld; i += CHUNK_THREADS)",
              (long long)(halves_of(c, f->half) / 2 * 2) * width);
    cuda_line(w, "const int begin = i / %lld * %lld, %.*s = i %% %lld;", width, half,
              STR_ARG(col), width);
    cuda_line(w, "const auto load = [&](int t) -> float {");
    cuda_line(w, "    const int %.*s = begin + t;", STR_ARG(t_at));
    cuda_line(w, "    return %.*s;", STR_ARG(value));
    cuda_line(w, "};");
    cuda_line(w, "const auto out = [&](int t, float x) {");
    cuda_line(w, "    const int %.*s = begin + t;", STR_ARG(t_at));
    cuda_line(w, "    %.*s = x;", STR_ARG(to));
    cuda_line(w, "};");
    cuda_line(w, "if (begin / %lld %% 2)", half);
    cuda_line(w, "    scan<%lld, true, false>(count - begin, load,", half);
    cuda_line(w, "        [&](int t, float, float with) { out(t, with); });");
    cuda_line(w, "else");
    cuda_line(w, "    scan<%lld, true, true>(count - begin, load,", half);
    cuda_line(w, "        [&](int t, float before, float) { out(t, before); });");
    cuda_close(w);
}

void chunk_factor_print(Chunk *c, const ChunkFactor *f) {
    if (f->half == 0)
        between_print(c, f);
    else
        halves_factor_print(c, f);
}
