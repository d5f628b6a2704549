// attend_strip.c: ATTEND: a strip of queries and the keys of a chunk that it meets:
//
//     scores: products over k, into close memory
//     passes over the scores: maps, what is reduced over keys, weights
//     sums over keys (of each query), sums over queries (of each key): products
#include "codegen/llvm/attend.h"
#include "codegen/llvm/math.h"

static const TileDim *dim_at(const Attend *a, int d) { return &a->p->dims[d]; }

IrValue strip_in_block(Attend *a) { return minus(a->b, a->strip_at.first, a->block_at.first); }

// Row of an array that has `width` elements for each query of the block, or key of the chunk.
static IrValue strip_rows(Attend *a, IrValue base, int64_t width) {
    return build_gep(a->b, a->b->f32, base, build_imul(a->b, strip_in_block(a), width));
}

static IrValue key_rows(Attend *a, IrValue base, int64_t width) {
    IrValue in_chunk = minus(a->b, a->keys.first, a->chunk_at.first);
    return build_gep(a->b, a->b->f32, base, build_imul(a->b, in_chunk, width));
}

// ---- products

// What all queries of the block meet in whole panels, and the edges of the band query by query.
static void scores_emit(Attend *a, const Scores *s) {
    Builder *b = a->b;
    Product p = {.a = key_rows(a, s->of_n->copy, s->of_n->width),
                 .b = strip_rows(a, s->turned, s->count),
                 .c = s->panel,
                 .a_across = s->of_n->width,
                 .a_step = 1,
                 .b_step = a->strip,
                 .c_pitch = a->strip,
                 .row = a->whole,
                 .rows = a->whole_end,
                 .count = build_i64(b, s->count),
                 .cols = a->strip,
                 .pairs = s->pairs};
    build_line(b, tile_op(a->p, s->dot)->span);
    product_call(b, &p);
    IrValue ahead = minus(b, place_of(a, a->strip_at.first), a->keys.first);
    if (a->has_hi) p.first_row = plus(a, ahead, -a->p->band.hi);
    if (a->has_lo) p.end_row = plus(a, ahead, -a->p->band.lo);
    p.row = build_i64(b, 0);
    p.rows = a->whole;
    if (a->has_hi) product_call(b, &p);
    p.row = a->whole_end;
    p.rows = a->keys.count;
    if (a->has_lo) product_call(b, &p);
}

// Row r of the sums is a query, whose keys end with r - lo, or a key, whose queries begin with
// r + lo.
static void sums_emit(Attend *a, const Sums *s) {
    Builder *b = a->b;
    int64_t width = s->rows->width;
    build_line(b, tile_op(a->p, s->dot)->span);
    Product p = {.a = s->weights, .b_step = width, .c_pitch = width, .add = true};
    p.cols = dim_at(a, s->rows->k)->extent;
    IrValue place = place_of(a, a->strip_at.first), ahead = minus(b, place, a->keys.first),
            behind = minus(b, a->keys.first, place);
    const Band *band = &a->p->band;
    if (s->over_n) {
        p.a_across = 1;
        p.a_step = a->strip;
        p.rows = a->strip_at.count;
        p.count = a->keys.count;
        p.b = key_rows(a, s->rows->copy, width);
        p.c = strip_rows(a, s->sums, width);
        if (a->has_hi) p.first = plus(a, ahead, -band->hi);
        if (a->has_lo) p.end = plus(a, ahead, 1 - band->lo);
    } else {
        p.a_across = a->strip;
        p.a_step = 1;
        p.rows = a->keys.count;
        p.count = a->strip_at.count;
        p.b = strip_rows(a, s->rows->copy, width);
        p.c = build_gep(b, b->f32, s->sums,
                        build_imul(b, minus(b, a->keys.first, a->task_n), width));
        if (a->has_lo) p.first = plus(a, behind, band->lo);
        if (a->has_hi) p.end = plus(a, behind, band->hi + 1);
    }
    product_call(b, &p);
}

// ---- chunks of a softmax

static IrValue close_vector(Attend *a, IrValue base, IrValue at) {
    Builder *b = a->b;
    return build_load(b, type_vector(b->f32, a->lanes), build_gep(b, b->f32, base, at),
                      (unsigned)a->lanes * 4);
}

static void scale_at(Attend *a, IrValue base, IrValue at, IrValue factor) {
    IrValue x = build_fmul(a->b, close_vector(a, base, at), factor);
    build_store(a->b, x, build_gep(a->b, a->b->f32, base, at), (unsigned)a->lanes * 4);
}

// The strip's sums, of queries whose largest score may have grown from `before` to `top`: sums
// of scalars are multiplied here; `before` then holds the factors.
static void rescale_scalars(Attend *a) {
    Builder *b = a->b;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, a->strip), a->lanes);
    IrValue x = close_vector(a, a->before, loop.index);
    IrValue y = close_vector(a, strip_rows(a, a->row[a->top.i], 1), loop.index);
    IrValue factor = math_exp(b, build_fsub(b, x, y));
    for (uint32_t i = 1; i < a->p->ops.len; i++) {
        const TileOp *op = &a->p->ops.ptr[i];
        if (op->kind == TILE_REDUCE && a->round[op->in[0].i] > 0)
            scale_at(a, strip_rows(a, a->row[i], 1), loop.index, factor);
    }
    build_store(b, factor, build_gep(b, b->f32, a->before, loop.index), (unsigned)a->lanes * 4);
    loop_end(b, &loop);
}

static void rescale(Attend *a) {
    Builder *b = a->b;
    rescale_scalars(a);
    Loop queries = {.count = 0};
    loop_begin(b, &queries, build_i64(b, 0), a->strip_at.count, 1);
    IrValue factor = build_load(b, b->f32, build_gep(b, b->f32, a->before, queries.index), 4);
    factor = build_splat(b, factor, a->lanes);
    for (int i = 0; i < a->sum_count; i++) {
        const Sums *s = &a->sums[i];
        for (int64_t k = 0; k < s->rows->width && s->rescaled; k += a->lanes)
            scale_at(a, strip_rows(a, s->sums, s->rows->width),
                     plus(a, build_imul(b, queries.index, s->rows->width), k), factor);
    }
    loop_end(b, &queries);
}

// A pass that may move the largest scores, and what follows of it for the sums.
static void top_pass(Attend *a) {
    Builder *b = a->b;
    for (int64_t i = 0; i < a->strip && a->top.i; i += a->lanes)
        build_store(b, close_vector(a, strip_rows(a, a->row[a->top.i], 1), build_i64(b, i)),
                    build_gep_bytes(b, a->before, i * 4), (unsigned)a->lanes * 4);
    pass_over_scores(a, 0);
    if (a->top.i) rescale(a);
}

// ---- the strip

// Keys of the chunk that the strip meets. They are counted from the first of them.
static void keys_meet(Attend *a) {
    Builder *b = a->b;
    const Band *band = &a->p->band;
    IrValue from = a->chunk_at.first, to = build_iadd(b, from, a->chunk_at.count);
    IrValue first = place_of(a, a->strip_at.first),
            last = plus(a, build_iadd(b, first, a->strip_at.count), -1);
    if (a->has_hi) from = at_least(b, from, plus(a, first, -band->hi));
    if (a->has_lo) to = at_most(b, to, plus(a, last, 1 - band->lo));
    IrValue none = build_i64(b, 0);
    a->keys = (Range){from, at_least(b, none, minus(b, to, from))};
    a->whole = none;
    a->whole_end = a->keys.count;
    if (a->has_hi) {
        IrValue all = minus(b, plus(a, last, -band->hi), from);
        a->whole = at_least(b, none, at_most(b, all, a->keys.count));
    }
    if (a->has_lo) {
        IrValue end = minus(b, plus(a, first, 1 - band->lo), from);
        a->whole_end = at_least(b, a->whole, at_most(b, a->keys.count, end));
    }
}

void strip_emit(Attend *a) {
    Builder *b = a->b;
    keys_meet(a);
    Branch any = branch_begin(b, build_icmp(b, LLVMIntSGT, a->keys.count, build_i64(b, 0)));
    for (int i = 0; i < a->score_count; i++)
        (a->few ? few_scores : scores_emit)(a, &a->scores[i]);
    IrValue from = strip_in_block(a), to = build_iadd(b, from, a->strip_at.count);
    for (int round = 0; round < a->passes; round++) {
        if (round > 0)
            pass_over_scores(a, round);
        else
            top_pass(a);
        if (round + 1 < a->passes) rows_compute(a, round + 1, from, to);
    }
    for (int i = 0; i < a->sum_count; i++)
        (a->few ? few_sums : sums_emit)(a, &a->sums[i]);
    branch_end(b, any);
}
