// chunk_scan.c: CHUNK: sums over a dim, and running products and sums over tokens.
#include "base/check.h"
#include "codegen/llvm/chunk.h"

enum { PANEL = 4 };

// ---- sums

typedef struct {
    TileId x;
    IrValue sums;
    int64_t pitch;
    bool by_col;  // one sum a col; otherwise a vector of partial sums for each row
} Sum;

static void sum_vector(const Chunk *c, const Place *at, void *context) {
    Builder *b = c->b;
    const Sum *s = context;
    IrValue x = place_value(c, at, s->x), zero = build_f32(b, 0, c->lanes);
    if (at->mask) x = build_select(b, at->mask, x, zero);
    IrValue pointer = s->by_col
                          ? build_gep(b, b->f32, s->sums, at->col)
                          : matrix_pointer(c, s->sums, c->lanes, at->row, build_i64(b, 0));
    close_store(c, build_fadd(b, close_load(c, pointer), x), pointer);
}

static void clear(const Chunk *c, IrValue at, int64_t elements) {
    Builder *b = c->b;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, elements), c->lanes);
    close_store(c, build_f32(b, 0, c->lanes), build_gep(b, b->f32, at, loop.index));
    loop_end(b, &loop);
}

void reduce_emit(Chunk *c, TileId v) {
    Builder *b = c->b;
    const TileOp *op = tile_op(c->p, v);
    const Matrix *x = &c->value[op->in[0].i], *to = &c->value[v.i];
    Sum s = {.x = op->in[0], .by_col = x->row >= 0 && (op->over >> x->row & 1)};
    int64_t rows = x->row < 0 ? 1 : chunk_rows(c, x->row);
    int64_t elements = s.by_col ? to->pitch : rows * c->lanes;
    s.sums = s.by_col ? to->at : build_scratch(b, elements * 4);
    clear(c, s.sums, elements);
    chunk_walk(c, x->row, x->col, sum_vector, &s);
    if (s.by_col) return;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, rows), 1);
    IrValue parts =
        close_load(c, matrix_pointer(c, s.sums, c->lanes, loop.index, build_i64(b, 0)));
    build_store(b, build_lanes_sum(b, parts), build_gep(b, b->f32, to->at, loop.index), 4);
    loop_end(b, &loop);
}

// ---- running products and sums

static IrValue neutral(const Chunk *c, const TileOp *op, int lanes) {
    return build_f32(c->b, op->fn == OP_MUL ? 1 : 0, lanes);
}

static IrValue combine(const Chunk *c, const TileOp *op, IrValue x, IrValue y) {
    return op->fn == OP_MUL ? build_fmul(c->b, x, y) : build_fadd(c->b, x, y);
}

// AFTER and FROM go from the last token to the first.
static IrValue row_of(const Chunk *c, const TileOp *op, IrValue step) {
    Builder *b = c->b;
    if (op->way != WAY_AFTER && op->way != WAY_FROM) return step;
    return minus(b, build_iadd(b, c->count, build_i64(b, -1)), step);
}

// Is the token itself not among those that it sees?
static bool leaves_out(const TileOp *op) {
    return op->way == WAY_AFTER || op->way == WAY_BEFORE;
}

// `vectors` cols from `col` on, of all tokens. The last one may be a part of a vector.
static void panel_scan(Chunk *c, TileId v, int64_t col, int vectors) {
    Builder *b = c->b;
    const TileOp *op = tile_op(c->p, v);
    const Matrix *x = &c->value[op->in[0].i], *to = &c->value[v.i];
    int64_t extent = c->p->dims[x->col].extent;
    Loop loop = {.count = (uint32_t)vectors};
    for (int i = 0; i < vectors; i++)
        loop.carried[i] = neutral(c, op, c->lanes);
    loop_begin(b, &loop, build_i64(b, 0), c->count, 1);
    Place at = {.row_dim = x->row, .col_dim = x->col, .row = row_of(c, op, loop.index)};
    for (int i = 0; i < vectors; i++) {
        int64_t first = col + (int64_t)i * c->lanes, left = extent - first;
        at.col = build_i64(b, first);
        at.mask = left < c->lanes ? build_mask_first(b, (int)left, c->lanes) : NULL;
        IrValue before = loop.carried[i];
        loop.carried[i] = combine(c, op, before, place_value(c, &at, op->in[0]));
        if (op->way == WAY_ALL) continue;
        close_store(c, leaves_out(op) ? before : loop.carried[i],
                    matrix_pointer(c, to->at, to->pitch, at.row, at.col));
    }
    loop_end(b, &loop);
    for (int i = 0; op->way == WAY_ALL && i < vectors; i++)
        close_store(c, loop.carried[i],
                    build_gep_bytes(b, to->at, (col + (int64_t)i * c->lanes) * 4));
}

// Of one number a token.
static void line_scan(Chunk *c, TileId v) {
    Builder *b = c->b;
    const TileOp *op = tile_op(c->p, v);
    IrValue from = c->value[op->in[0].i].at, to = c->value[v.i].at;
    Loop loop = {.count = 1, .carried = {neutral(c, op, 1)}};
    loop_begin(b, &loop, build_i64(b, 0), c->count, 1);
    IrValue row = row_of(c, op, loop.index), before = loop.carried[0];
    IrValue x = build_load(b, b->f32, build_gep(b, b->f32, from, row), 4);
    loop.carried[0] = combine(c, op, before, x);
    if (op->way != WAY_ALL)
        build_store(b, leaves_out(op) ? before : loop.carried[0], build_gep(b, b->f32, to, row),
                    4);
    loop_end(b, &loop);
    if (op->way == WAY_ALL) build_store(b, loop.carried[0], to, 4);
}

void scan_emit(Chunk *c, TileId v) {
    const Matrix *x = &c->value[tile_op(c->p, v)->in[0].i], *to = &c->value[v.i];
    if (x->row < 0) {
        line_scan(c, v);
        return;
    }
    int64_t vectors = chunk_cols(c, x->col) / c->lanes;
    for (int64_t i = 0; i < vectors; i += PANEL)
        panel_scan(c, v, i * c->lanes, (int)(vectors - i < PANEL ? vectors - i : PANEL));
    if (to->row >= 0) matrix_clear_rows(c, to->at, to->pitch);
}
