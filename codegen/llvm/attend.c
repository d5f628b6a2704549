// attend.c: the ATTEND skeleton: the nest around blocks of scores.
//
//     for each task (a point of grid, a tile of queries or of keys):
//       for each point of the serial dimensions, for each block of queries:
//         turn the queries
//         for each chunk of keys that the band lets meet the block:
//           scores: products over k, into close memory
//           passes over the scores: maps, what is reduced over keys, weights
//           sums over keys (of each query) and over queries (of each key): products
//         store what stands at the queries
//       store what stands at the keys
#include "codegen/llvm/attend.h"

#include "base/check.h"
#include "codegen/llvm/skeleton.h"

static const TileDim *dim_at(const Attend *a, int d) { return &a->p->dims[d]; }

static IrValue plus(const Attend *a, IrValue x, int64_t y) {
    return build_iadd(a->b, x, build_i64(a->b, y));
}

// ---- products of one block and chunk

static void scores_emit(Attend *a, const Scores *s) {
    Builder *b = a->b;
    IrValue index[TILE_MAX_DIMS];
    memcpy(index, a->index, sizeof index);
    index[a->n] = a->n_first;
    index[s->k] = build_i64(b, 0);
    build_line(b, tile_op(a->p, s->dot)->span);
    IrValue ahead = minus(b, a->m_first, a->n_first);
    IrValue first = a->has_hi ? plus(a, ahead, -a->p->band.hi) : NULL;
    IrValue end = a->has_lo ? plus(a, ahead, -a->p->band.lo) : NULL;
    product_emit(b, &(Product){.a_type = a->p->args.ptr[s->of_n->access.arg].type,
                               .b_type = DTYPE_F32,
                               .a = load_pointer(a, s->of_n, index),
                               .b = s->turned,
                               .c = s->panel,
                               .a_across = s->of_n->access.stride[a->n],
                               .a_step = s->of_n->access.stride[s->k],
                               .b_step = a->block,
                               .c_pitch = a->block,
                               .rows = a->n_count,
                               .count = build_i64(b, dim_at(a, s->k)->extent),
                               .first_row = first,
                               .end_row = end,
                               .cols = a->block,
                               .b_padded = true});
}

// What the sums multiply the weights with: in place, or a copy.
static void sums_operand(Attend *a, const Sums *s, Product *p) {
    IrValue index[TILE_MAX_DIMS];
    if (s->copy) {
        copy_operand(a, s);
        p->b_type = DTYPE_F32;
        p->b = s->copy;
        p->b_step = s->width;
        p->b_padded = true;
        return;
    }
    memcpy(index, a->index, sizeof index);
    index[a->m] = a->m_first;
    index[a->n] = a->n_first;
    index[s->k] = build_i64(a->b, 0);
    p->b_type = a->p->args.ptr[s->load->access.arg].type;
    p->b = load_pointer(a, s->load, index);
    p->b_step = s->load->access.stride[s->over_n ? a->n : a->m];
}

// Row r of the sums is a query, whose keys end with r - lo, or a key, whose queries begin with
// r + lo.
static void sums_emit(Attend *a, const Sums *s) {
    Builder *b = a->b;
    Product p = {.a_type = DTYPE_F32, .a = s->weights, .c_pitch = s->width, .add = true};
    p.cols = dim_at(a, s->k)->extent;
    sums_operand(a, s, &p);
    build_line(b, tile_op(a->p, s->dot)->span);
    IrValue ahead = minus(b, a->m_first, a->n_first), behind = minus(b, a->n_first, a->m_first);
    const Band *band = &a->p->band;
    if (s->over_n) {
        p.a_across = 1;
        p.a_step = a->block;
        p.rows = a->m_count;
        p.count = a->n_count;
        p.c = s->sums;
        if (a->has_hi) p.first = plus(a, ahead, -band->hi);
        if (a->has_lo) p.end = plus(a, ahead, 1 - band->lo);
    } else {
        p.a_across = a->block;
        p.a_step = 1;
        p.rows = a->n_count;
        p.count = a->m_count;
        p.c = build_gep(b, b->f32, s->sums,
                        build_imul(b, minus(b, a->n_first, a->task_n), s->width));
        if (a->has_lo) p.first = plus(a, behind, band->lo);
        if (a->has_hi) p.end = plus(a, behind, band->hi + 1);
    }
    product_emit(b, &p);
}

// ---- the nest

static void clear(Attend *a, IrValue at, IrValue elements) {
    Builder *b = a->b;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), elements, a->lanes);
    build_store(b, build_f32(b, 0, a->lanes), build_gep(b, b->f32, at, loop.index),
                (unsigned)a->lanes * 4);
    loop_end(b, &loop);
}

static void clear_sums(Attend *a, bool over_n) {
    for (int i = 0; i < a->sum_count; i++) {
        const Sums *s = &a->sums[i];
        if (s->over_n != over_n) continue;
        IrValue rows = over_n ? a->m_count : minus(a->b, a->task_n_end, a->task_n);
        clear(a, s->sums, build_imul(a->b, rows, s->width));
    }
}

static void keys_emit(Attend *a) {
    for (int i = 0; i < a->score_count; i++)
        scores_emit(a, &a->scores[i]);
    for (int round = 0; round < a->passes; round++) {
        pass_over_scores(a, round);
        if (round + 1 < a->passes) rows_compute(a, round + 1);
    }
    for (int i = 0; i < a->sum_count; i++)
        sums_emit(a, &a->sums[i]);
}

// The keys that the block's queries meet, in chunks.
static void chunks_emit(Attend *a) {
    Builder *b = a->b;
    IrValue from = a->task_n, to = a->task_n_end;
    IrValue last = plus(a, build_iadd(b, a->m_first, a->m_count), -1);
    if (a->has_hi) from = at_least(b, from, plus(a, a->m_first, -a->p->band.hi));
    if (a->has_lo) to = at_most(b, to, plus(a, last, 1 - a->p->band.lo));
    Loop loop = {.count = 0};
    loop_begin(b, &loop, from, to, a->chunk);
    a->n_first = loop.index;
    a->n_count = at_most(b, build_i64(b, a->chunk), minus(b, to, loop.index));
    keys_emit(a);
    loop_end(b, &loop);
}

static void block_emit(Attend *a) {
    clear_sums(a, true);
    for (int i = 0; i < a->score_count; i++)
        turn_queries(a, &a->scores[i]);
    rows_compute(a, 0);
    chunks_emit(a);
    rows_compute(a, a->passes);
    rows_finish(a);
}

// Blocks of the task's queries; if it has a tile of keys, those that meet any of them.
static void blocks_emit(Attend *a) {
    Builder *b = a->b;
    IrValue from = a->task_m, to = a->task_m_end;
    bool tiled = dim_at(a, a->n)->tile < dim_at(a, a->n)->extent;
    if (tiled && a->has_lo) {
        IrValue first = at_least(b, from, plus(a, a->task_n, a->p->band.lo));
        from = minus(b, first, LLVMBuildURem(b->at, first, build_i64(b, a->block), ""));
        from = at_least(b, from, a->task_m);
    }
    if (tiled && a->has_hi) to = at_most(b, to, plus(a, a->task_n_end, a->p->band.hi));
    Loop loop = {.count = 0};
    loop_begin(b, &loop, from, to, a->block);
    a->m_first = loop.index;
    a->m_count = at_most(b, build_i64(b, a->block), minus(b, to, loop.index));
    block_emit(a);
    loop_end(b, &loop);
}

static void serial_emit(Attend *a, uint32_t d) {
    while (d < a->p->dim_count && dim_at(a, (int)d)->role != DIM_SERIAL)
        d++;
    if (d == a->p->dim_count) {
        blocks_emit(a);
        return;
    }
    Loop loop = {.count = 0};
    loop_begin(a->b, &loop, build_i64(a->b, 0), build_i64(a->b, dim_at(a, (int)d)->extent), 1);
    a->index[d] = loop.index;
    serial_emit(a, d + 1);
    loop_end(a->b, &loop);
}

// Tiles of a triangle differ in work: neighbours in the order of tasks are one from its front
// and one from its back.
static IrValue tile_number(Attend *a, IrValue number, int64_t tiles) {
    Builder *b = a->b;
    if (!a->has_lo && !a->has_hi) return number;
    IrValue half = LLVMBuildLShr(b->at, number, build_i64(b, 1), "");
    IrValue odd = LLVMBuildAnd(b->at, number, build_i64(b, 1), "");
    IrValue from_back = minus(b, build_i64(b, tiles - 1), half);
    return build_select(b, build_icmp(b, LLVMIntEQ, odd, build_i64(b, 0)), from_back, half);
}

static void task_place(Attend *a, IrValue task) {
    Builder *b = a->b;
    IrValue start[TILE_MAX_DIMS];
    for (int d = a->n; d >= 0; d--) {
        const TileDim *dim = dim_at(a, d);
        int64_t tiles = (dim->extent + dim->tile - 1) / dim->tile;
        start[d] = build_i64(b, 0);
        if (dim->role == DIM_SERIAL || tiles == 1) continue;
        IrValue count = build_i64(b, tiles);
        IrValue number = LLVMBuildURem(b->at, task, count, "");
        task = LLVMBuildUDiv(b->at, task, count, "");
        if (dim->role != DIM_GRID) number = tile_number(a, number, tiles);
        start[d] = build_imul(b, number, dim->tile);
    }
    for (int d = 0; d < a->m; d++)
        a->index[d] = start[d];
    a->task_m = start[a->m];
    a->task_n = start[a->n];
    a->task_m_end = at_most(b, plus(a, a->task_m, dim_at(a, a->m)->tile),
                            build_i64(b, dim_at(a, a->m)->extent));
    a->task_n_end = at_most(b, plus(a, a->task_n, dim_at(a, a->n)->tile),
                            build_i64(b, dim_at(a, a->n)->extent));
}

bool attend_emit(Builder *b) {
    Attend a;
    if (!attend_plan(&a, b)) return false;
    Loop task = {.count = 0};
    loop_begin(b, &task, b->begin, b->end, 1);
    task_place(&a, task.index);
    clear_sums(&a, false);
    serial_emit(&a, 0);
    keys_finish(&a);
    loop_end(b, &task);
    return true;
}
