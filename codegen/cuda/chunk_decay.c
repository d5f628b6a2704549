// chunk_decay.c: CHUNK for CUDA: dots whose terms decay channel by channel. Pairs s <= t of one
// block of 16 tokens take the product of alpha along; all others lie in the two halves of some
// part of 2 half tokens, half = 16, 32, ..: there the product of alpha after s up to t is that
// after s to the end of the first half times that from the beginning of the second to t, and
// the sum a plain product of operands times these factors.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/cuda/chunk.h"

typedef struct {
    Chunk *c;
    TileId v;
    const TileOp *op;
    const ChunkValue *x;
    int width;  // the dim that decays
    bool scores, over_t;
} Decayed;

// Halves of a tile, the last of which may have fewer tokens.
static int64_t halves_of(const Chunk *c, int half) { return ceil_div(c->tile, half); }

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

// ---- between the halves of parts: a loop over half, because text is time to compile

// What a step of the loop reads its factors from, as C: "half == 16 ? room_30 : room_31".
static void factor_print(const Decayed *d) {
    Chunk *c = d->c;
    Str rooms = {0};
    for (int half = 16; half < c->tile; half *= 2) {
        uint32_t room = chunk_factor(c, d->op->in[2], half)->room;
        rooms = half == 16 ? str_printf(c->w->arena, "room_%u", room)
                           : str_printf(c->w->arena, "half == %d ? room_%u : %.*s", half, room,
                                        STR_ARG(rooms));
    }
    cuda_line(c->w, "const float *const factor = %.*s;", STR_ARG(rooms));
}

static void halves_functions(const Decayed *d, const ChunkUnits *u) {
    Chunk *c = d->c;
    const ChunkFactor *f = chunk_factor(c, d->op->in[2], 16);
    int over = d->scores ? d->width : d->over_t ? c->m : c->n;
    ChunkFunction a = {.name = "left",
                       .value = d->op->in[0],
                       .row = d->x->row,
                       .col = over,
                       .row_unit = 16,
                       .col_unit = 8};
    ChunkFunction b = {.name = "right",
                       .value = d->op->in[1],
                       .row = over,
                       .col = d->scores ? c->n : d->width,
                       .row_unit = 8,
                       .col_unit = 8 * u->un,
                       .factor = f,
                       .factor_name = STR("factor"),
                       .factor_row = d->over_t ? c->m : c->n,
                       .factor_col = d->width};
    if (d->scores) {
        a.factor = f;
        a.factor_name = b.factor_name;
        a.factor_row = c->m;
        a.factor_col = d->width;
    }
    chunk_function(c, &a);
    chunk_function(c, &b);
}

static void halves_result(const Decayed *d, const ChunkUnits *u) {
    Chunk *c = d->c;
    CudaWriter *w = c->w;
    ChunkScope s = chunk_scope(c);
    Str inside =
        chunk_both(c, chunk_inside(c, d->x->row, 16), chunk_inside(c, d->x->col, 8 * u->un));
    Str to = chunk_room_at(&s, d->x->room, d->x->row, d->x->col);
    cuda_open(w, "unit_each(sums, row, col, [&](int %.*s, int %.*s, float sum)",
              STR_ARG(chunk_at(c, d->x->row)), STR_ARG(chunk_at(c, d->x->col)));
    if (inside.len) cuda_line(w, "if (!(%.*s)) return;", STR_ARG(inside));
    if (d->scores) {
        cuda_line(w, "%.*s = sum;", STR_ARG(to));
    } else {
        uint32_t room = chunk_factor(c, d->op->in[2], 16)->room;
        Str factor = chunk_matrix_at(&s, STR("factor"), room, d->x->row, d->width);
        cuda_line(w, "%.*s = fmaf(%.*s, sum, %.*s);", STR_ARG(to), STR_ARG(factor),
                  STR_ARG(to));
    }
    w->indent--;
    cuda_line(w, "});");
}

// Rows of the result are tokens of one half of a part; columns, or what is summed, of the
// other.
static void halves_print(const Decayed *d) {
    Chunk *c = d->c;
    CudaWriter *w = c->w;
    long long tile = (long long)c->tile, width = (long long)chunk_extent(c, d->width);
    ChunkUnits u = {.un = 1};
    if (!d->scores) u = chunk_units(16, width * (halves_of(c, 16) / 2));
    long long cols = (long long)ceil_div(width, (int64_t)8 * u.un);
    cuda_open(w, "NO_UNROLL for (int bits = 4; 1 << bits < %lld; bits++)", tile);
    cuda_line(w, "const int half = 1 << bits;");
    factor_print(d);
    halves_functions(d, &u);
    if (!d->scores) cuda_line(w, "__syncthreads();");
    cuda_line(w, "const int rows = (%lld + half - 1 >> bits) / 2 * half / 16;", tile);
    cuda_open(w, "NO_UNROLL for (int unit = warp; unit < rows * %s; unit += CHUNK_WARPS)",
              d->scores ? "half / 8" : str_printf(w->arena, "%lld", cols).ptr);
    Str number =
        d->scores ? STR("(unit * 8 >> bits)") : str_printf(w->arena, "unit / %lld", cols);
    cuda_line(w, "const int at = %.*s * 16, inner = at & (half - 1);", STR_ARG(number));
    cuda_line(w, "const int before = (at - inner) * 2, behind = before + half;");
    cuda_line(w, "const int row = %s + inner;", d->over_t ? "before" : "behind");
    if (d->scores)
        cuda_line(w, "const int col = before + (unit * 8 & (half - 1));");
    else
        cuda_line(w, "const int col = unit %% %lld * %d;", cols, 8 * u.un);
    cuda_line(w, "float sums[1][%d][4] = {};", u.un);
    Str range = str_printf(w->arena, "0, %lld", (long long)round_up(width, 8));
    if (!d->scores) range = d->over_t ? STR("behind, behind + half") : STR("before, behind");
    cuda_line(w, "unit_multiply<%s>(sums, row, col, %.*s, left, right);",
              c->exact ? "true" : "false", STR_ARG(range));
    halves_result(d, &u);
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
    if (c->tile > 16) halves_print(&d);
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
