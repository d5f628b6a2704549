// chunk_decay.c: CHUNK: decayed dots. Between a token s and a later one t lie what is left of
// s's block, whole blocks, and t's block up to t: the product of alpha over these is three
// factors, so pairs of different blocks are plain products of operands times such factors.
// Within a block the product of alpha runs along.
#include "base/check.h"
#include "codegen/llvm/chunk.h"

enum { MAX_BLOCK = 16 };

typedef struct {
    Chunk *c;
    TileId a, b, alpha;
    const Matrix *to, *of_a, *of_b, *of_alpha;
    IrValue from_start;   // its rows at the blocks' ends are the products of whole blocks
    int64_t pitch, cols;  // of rows along d
} Decayed;

static IrValue rows_at(const Decayed *d, IrValue base, IrValue row) {
    return matrix_pointer(d->c, base, d->pitch, row, build_i64(d->c->b, 0));
}

static IrValue pairs_at(const Decayed *d, const Matrix *x, IrValue t, IrValue s) {
    return matrix_pointer(d->c, x->at, x->pitch, t, s);
}

// The product of alpha over the block that begins with token `first`.
static IrValue over_block(const Decayed *d, IrValue first) {
    IrValue last = build_iadd(d->c->b, first, build_i64(d->c->b, d->c->block - 1));
    return rows_at(d, d->from_start, last);
}

static IrValue later(const Decayed *d, IrValue first, int64_t blocks) {
    return build_iadd(d->c->b, first, build_i64(d->c->b, blocks * d->c->block));
}

static Product block_product(const Decayed *d) {
    const Chunk *c = d->c;
    return (Product){.rows = build_i64(c->b, c->block),
                     .count = build_i64(c->b, c->block),
                     .unit = c->block,
                     .cols = d->cols,
                     .b_step = d->pitch,
                     .c_pitch = d->pitch};
}

// ---- over d, at (t, s)

// Of one block, by pointers to its first elements.
typedef struct {
    const Decayed *d;
    IrValue a, b, alpha, early, to;
} Diagonal;

// A vector of d of a row; past the last element it is zero.
static IrValue row_vector(const Decayed *d, IrValue base, int row, IrValue col, int lanes) {
    IrValue x =
        close_load(d->c, build_gep_bytes(d->c->b, build_gep(d->c->b, d->c->b->f32, base, col),
                                         row * d->pitch * 4));
    if (lanes == d->c->lanes) return x;
    return build_select(d->c->b, build_mask_first(d->c->b, lanes, d->c->lanes), x,
                        build_f32(d->c->b, 0, d->c->lanes));
}

// Goes from token t back to the block's first: w, a times the product of alpha after s up to t,
// meets b[s] on the way. What is left is what earlier blocks meet.
static void scores_vector(const Diagonal *x, int t, IrValue col, int lanes, IrValue *sums) {
    const Decayed *d = x->d;
    Builder *b = d->c->b;
    IrValue w = row_vector(d, x->a, t, col, lanes);
    for (int s = t; s >= 0; s--) {
        sums[s] = build_fma(b, w, row_vector(d, x->b, s, col, lanes), sums[s]);
        if (s || x->early) w = build_fmul(b, w, row_vector(d, x->alpha, s, col, lanes));
    }
    if (x->early)
        close_store(d->c, w,
                    build_gep_bytes(b, build_gep(b, b->f32, x->early, col), t * d->pitch * 4));
}

static void scores_row(const Diagonal *x, int t) {
    const Decayed *d = x->d;
    Chunk *c = d->c;
    Builder *b = c->b;
    int64_t extent = c->p->dims[d->of_b->col].extent, whole = extent / c->lanes * c->lanes;
    Loop loop = {.count = (uint32_t)t + 1};
    IrValue sums[MAX_BLOCK], zero = build_f32(b, 0, c->lanes);
    for (int s = 0; s < MAX_BLOCK; s++)
        sums[s] = zero;
    if (whole) {
        memcpy(loop.carried, sums, loop.count * sizeof(IrValue));
        loop_begin(b, &loop, build_i64(b, 0), build_i64(b, whole), c->lanes);
        memcpy(sums, loop.carried, loop.count * sizeof(IrValue));
        scores_vector(x, t, loop.index, c->lanes, sums);
        memcpy(loop.carried, sums, loop.count * sizeof(IrValue));
        loop_end(b, &loop);
        memcpy(sums, loop.carried, loop.count * sizeof(IrValue));
    }
    if (whole < extent) scores_vector(x, t, build_i64(b, whole), (int)(extent - whole), sums);
    IrValue row = c->lanes > 1 ? build_lanes_sums(b, sums, c->lanes) : sums[0];
    close_store(c, row, build_gep_bytes(b, x->to, t * d->to->pitch * 4));
}

static void scores_diagonal(const Decayed *d, IrValue first, IrValue early) {
    Builder *b = d->c->b;
    int64_t key[] = {ROUTINE_SCORES, d->pitch, d->to->pitch, d->c->p->dims[d->of_b->col].extent,
                     early != NULL};
    IrValue args[] = {rows_at(d, d->of_a->at, first), rows_at(d, d->of_b->at, first),
                      rows_at(d, d->of_alpha->at, first), early,
                      pairs_at(d, d->to, first, first)};
    Routine routine;
    if (!routine_begin(b, &routine, (Str){(const char *)key, sizeof key}, args, 5)) return;
    for (int t = 0; t < (int)d->c->block; t++)
        scores_row(&(Diagonal){d, args[0], args[1], args[2], args[3], args[4]}, t);
    routine_end(b, &routine);
}

// A block's rows [block][d], times a row of factors.
static void rows_multiply(const Decayed *d, IrValue x, IrValue factors) {
    Chunk *c = d->c;
    Builder *b = c->b;
    Loop rows = {.count = 0}, cols = {.count = 0};
    loop_begin(b, &rows, build_i64(b, 0), build_i64(b, c->block), 1);
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, d->cols), c->lanes);
    IrValue at = matrix_pointer(c, x, d->pitch, rows.index, cols.index);
    IrValue f = close_load(c, build_gep(b, b->f32, factors, cols.index));
    close_store(c, build_fmul(b, close_load(c, at), f), at);
    loop_end(b, &cols);
    loop_end(b, &rows);
}

// The block's queries times their factors meet the keys of one block after the other, back from
// the one before it, and take up the product over each on the way.
static void scores_before(const Decayed *d, IrValue first, IrValue early, IrValue late) {
    Chunk *c = d->c;
    Builder *b = c->b;
    Loop back = {.count = 0};
    loop_begin(b, &back, build_i64(b, 0), first, c->block);
    IrValue s = minus(b, minus(b, first, back.index), build_i64(b, c->block));
    Product p = block_product(d);
    p.a = early;
    p.a_across = d->pitch;
    p.a_step = 1;
    p.b = build_gep(b, b->f32, late, s);
    p.b_step = chunk_pitch(c, d->of_b->row);
    p.count = build_i64(b, c->p->dims[d->of_b->col].extent);
    p.cols = c->lanes;
    p.c = pairs_at(d, d->to, first, s);
    p.c_pitch = d->to->pitch;
    product_call(b, &p);
    rows_multiply(d, early, over_block(d, s));
    loop_end(b, &back);
}

static void scores_emit(const Decayed *d) {
    Chunk *c = d->c;
    Builder *b = c->b;
    bool many = c->padded > c->block;
    IrValue late = many ? copy_of(c, COPY_LATE_TURNED, d->b, d->alpha) : NULL;
    IrValue early = many ? build_scratch(b, c->block * d->pitch * 4) : NULL;
    Loop blocks = {.count = 0};
    loop_begin(b, &blocks, build_i64(b, 0), c->live, c->block);
    scores_diagonal(d, blocks.index, early);
    if (many) scores_before(d, blocks.index, early, late);
    loop_end(b, &blocks);
}

// ---- over s, at (t, d), and over t, at (s, d)

// Of one block, by pointers to its first elements.
typedef struct {
    IrValue to, factors, x, alpha, pairs;
} Sums;

static IrValue sums_at(const Decayed *d, IrValue base, IrValue col, int row) {
    Builder *b = d->c->b;
    return build_gep_bytes(b, build_gep(b, b->f32, base, col), row * d->pitch * 4);
}

// One vector of d: what the other blocks gave, times its factors, and the block's own pairs.
static void sums_vector(const Decayed *d, const Sums *s, IrValue col) {
    Chunk *c = d->c;
    Builder *b = c->b;
    int rows = (int)c->block;
    bool over_s = d->of_b->row == c->n;
    IrValue sums[MAX_BLOCK];
    for (int i = 0; i < rows; i++)
        sums[i] = build_fmul(b, close_load(c, sums_at(d, s->factors, col, i)),
                             close_load(c, sums_at(d, s->to, col, i)));
    for (int from = 0; from < rows; from++) {
        IrValue w = close_load(c, sums_at(d, s->x, col, from));
        for (int i = from; i >= 0 && i < rows; i += over_s ? 1 : -1) {
            // alpha of the token that the pair has more than the last one.
            int more = over_s ? i : i + 1;
            if (i != from) w = build_fmul(b, w, close_load(c, sums_at(d, s->alpha, col, more)));
            int64_t element = over_s ? i * d->of_a->pitch + from : from * d->of_a->pitch + i;
            IrValue factor = close_splat(c, s->pairs, build_i64(b, element));
            sums[i] = build_fma(b, factor, w, sums[i]);
        }
    }
    for (int i = 0; i < rows; i++)
        close_store(c, sums[i], sums_at(d, s->to, col, i));
}

static void sums_diagonal(const Decayed *d, IrValue first, IrValue factors) {
    Builder *b = d->c->b;
    int64_t key[] = {ROUTINE_SUMS, d->of_b->row == d->c->n, d->pitch, d->cols, d->of_a->pitch};
    IrValue args[] = {rows_at(d, d->to->at, first), rows_at(d, factors, first),
                      rows_at(d, d->of_b->at, first), rows_at(d, d->of_alpha->at, first),
                      pairs_at(d, d->of_a, first, first)};
    Routine routine;
    if (!routine_begin(b, &routine, (Str){(const char *)key, sizeof key}, args, 5)) return;
    Sums s = {args[0], args[1], args[2], args[3], args[4]};
    Loop cols = {.count = 0};
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, d->cols), d->c->lanes);
    sums_vector(d, &s, cols.index);
    loop_end(b, &cols);
    routine_end(b, &routine);
}

static void block_clear(const Decayed *d, IrValue to) {
    Builder *b = d->c->b;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, d->c->block * d->pitch), d->c->lanes);
    close_store(d->c, build_f32(b, 0, d->c->lanes), build_gep(b, b->f32, to, loop.index));
    loop_end(b, &loop);
}

// The sum over the tokens of another block; what was summed before takes up the product over
// it.
static void sums_product(const Decayed *d, IrValue first, IrValue other, IrValue operand) {
    Chunk *c = d->c;
    bool over_s = d->of_b->row == c->n;
    Product p = block_product(d);
    p.a = over_s ? pairs_at(d, d->of_a, first, other) : pairs_at(d, d->of_a, other, first);
    p.a_across = over_s ? d->of_a->pitch : 1;
    p.a_step = over_s ? 1 : d->of_a->pitch;
    p.b = rows_at(d, operand, other);
    p.c = rows_at(d, d->to->at, first);
    p.add = true;
    p.scale = over_block(d, other);
    product_call(c->b, &p);
}

static void sums_block(const Decayed *d, IrValue first, IrValue operand, IrValue factors) {
    Chunk *c = d->c;
    Builder *b = c->b;
    bool over_s = d->of_b->row == c->n;
    IrValue zero = build_i64(b, 0);
    Loop others = {.count = 0};
    block_clear(d, rows_at(d, d->to->at, first));
    IrValue behind = minus(b, c->live, later(d, first, 1));
    loop_begin(b, &others, zero, over_s ? first : behind, c->block);
    IrValue other = over_s ? others.index : minus(b, later(d, c->live, -1), others.index);
    sums_product(d, first, other, operand);
    loop_end(b, &others);
    sums_diagonal(d, first, factors);
}

static void sums_emit(const Decayed *d) {
    Chunk *c = d->c;
    Builder *b = c->b;
    bool over_s = d->of_b->row == c->n;
    IrValue operand = copy_of(c, over_s ? COPY_LATE : COPY_EARLY, d->b, d->alpha);
    IrValue factors = over_s ? d->from_start : copy_of(c, COPY_TO_END, d->alpha, d->alpha);
    Loop blocks = {.count = 0};
    loop_begin(b, &blocks, build_i64(b, 0), c->live, c->block);
    sums_block(d, blocks.index, operand, factors);
    loop_end(b, &blocks);
}

// ---- an alpha at tokens alone: a plain product, and pairs times the products between them

static void by_tokens_emit(Chunk *c, TileId v) {
    const TileOp *op = tile_op(c->p, v);
    const Matrix *to = &c->value[v.i];
    Product p = dot_product(c, v);
    if (!is_pairs(c, to)) p.a = copy_of(c, COPY_WEIGHTED, op->in[0], op->in[2]);
    product_call(c->b, &p);
    if (!is_pairs(c, to)) return;
    pairs_clip(c, to->at, to->pitch);
    pairs_weigh(c, to->at, op->in[2], to->at);
}

void decayed_emit(Chunk *c, TileId v) {
    const TileOp *op = tile_op(c->p, v);
    Decayed d = {.c = c, .a = op->in[0], .b = op->in[1], .alpha = op->in[2]};
    d.to = &c->value[v.i];
    d.of_a = &c->value[d.a.i];
    d.of_b = &c->value[d.b.i];
    d.of_alpha = &c->value[d.alpha.i];
    if (d.of_alpha->row < 0) {
        by_tokens_emit(c, v);
        return;
    }
    d.pitch = d.of_alpha->pitch;
    d.cols = chunk_cols(c, d.of_alpha->col);
    d.from_start = copy_of(c, COPY_FROM_START, d.alpha, d.alpha);
    if (is_pairs(c, d.to))
        scores_emit(&d);
    else
        sums_emit(&d);
}
