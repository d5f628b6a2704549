// attend.c: the ATTEND skeleton: the nest around blocks of scores.
//
//     for each task (a point of grid, a tile of queries or of keys):
//       for each point of the serial dimensions, for each block of queries:
//         turn the queries
//         for each chunk of keys that the band lets meet the block:
//           copy what is read at the keys
//           for each strip of the block's queries: scores and what is summed of them
//         store what stands at the queries
//       store what stands at the keys
#include "codegen/llvm/attend.h"

#include "base/integer.h"
#include "codegen/llvm/skeleton.h"

static const TileDim *dim_at(const Attend *a, int d) { return &a->p->dims[d]; }

IrValue plus(const Attend *a, IrValue x, int64_t y) {
    return build_iadd(a->b, x, build_i64(a->b, y));
}

IrValue place_of(const Attend *a, IrValue query) {
    if (!a->begin) return query;
    return a->start->over ? build_iadd(a->b, query, a->begin) : a->begin;
}

Range ranges_begin(Attend *a, Loop *loop, IrValue from, IrValue to, int64_t step) {
    loop_begin(a->b, loop, from, to, step);
    IrValue left = minus(a->b, to, loop->index);
    return (Range){loop->index, at_most(a->b, build_i64(a->b, step), left)};
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
        IrValue rows = over_n ? a->block_at.count : minus(a->b, a->task_n_end, a->task_n);
        clear(a, s->sums, build_imul(a->b, rows, s->rows->width));
    }
}

static void copies_emit(Attend *a, int along) {
    for (int i = 0; i < a->row_count; i++)
        if (a->rows[i].along == along && a->rows[i].copy) copy_rows(a, &a->rows[i]);
}

static void keys_emit(Attend *a) {
    copies_emit(a, a->n);
    Range block = a->block_at;
    Loop strips = {.count = 0};
    IrValue end = build_iadd(a->b, block.first, block.count);
    a->strip_at = ranges_begin(a, &strips, block.first, end, a->strip);
    strip_emit(a);
    loop_end(a->b, &strips);
}

// Chunks of those keys that are dealt to the task: what [from, to) has of every so many.
static void dealt_emit(Attend *a, IrValue from, IrValue to) {
    Builder *b = a->b;
    int64_t all = a->chunk * dim_at(a, a->dealt)->extent;
    IrValue round = minus(b, from, LLVMBuildURem(b->at, from, build_i64(b, all), ""));
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_iadd(b, round, build_imul(b, a->index[a->dealt], a->chunk)), to,
               all);
    a->chunk_at.first = at_least(b, loop.index, from);
    IrValue end = at_most(b, plus(a, loop.index, a->chunk), to);
    a->chunk_at.count = minus(b, end, a->chunk_at.first);
    keys_emit(a);
    loop_end(b, &loop);
}

// The keys that the block's queries meet, in chunks.
static void chunks_emit(Attend *a) {
    Builder *b = a->b;
    const Band *band = &a->p->band;
    IrValue from = a->task_n, to = a->task_n_end;
    IrValue first = place_of(a, a->block_at.first),
            last =
                place_of(a, plus(a, build_iadd(b, a->block_at.first, a->block_at.count), -1));
    if (a->has_hi || (a->begin && band->hi != BAND_MOST))
        from = at_least(b, from, plus(a, first, -band->hi));
    if (a->has_lo || (a->begin && band->lo != BAND_LEAST))
        to = at_most(b, to, plus(a, last, 1 - band->lo));
    if (a->dealt >= 0) {
        dealt_emit(a, from, to);
        return;
    }
    Loop loop = {.count = 0};
    a->chunk_at = ranges_begin(a, &loop, from, to, a->chunk);
    keys_emit(a);
    loop_end(b, &loop);
}

static void block_emit(Attend *a) {
    IrValue none = build_i64(a->b, 0);
    clear_sums(a, true);
    for (int i = 0; i < a->score_count && !a->few; i++)
        turn_queries(a, &a->scores[i]);
    copies_emit(a, a->m);
    reductions_clear(a);
    rows_compute(a, 0, none, a->block_at.count);
    chunks_emit(a);
    rows_compute(a, a->passes, none, a->block_at.count);
    rows_finish(a);
}

// Blocks of the task's queries; if it has a tile of keys, those that meet any of them.
static void blocks_emit(Attend *a) {
    Builder *b = a->b;
    IrValue from = a->task_m, to = a->task_m_end, none = build_i64(b, 0);
    IrValue begin = a->begin ? a->begin : none;
    bool tiled = dim_at(a, a->n)->tile < dim_at(a, a->n)->extent;
    if (tiled && a->has_lo) {
        IrValue first = at_least(b, from, minus(b, plus(a, a->task_n, a->p->band.lo), begin));
        from = minus(b, first, LLVMBuildURem(b->at, first, build_i64(b, a->block), ""));
        from = at_least(b, from, a->task_m);
    }
    if (tiled && a->has_hi)
        to = at_most(b, to, minus(b, plus(a, a->task_n_end, a->p->band.hi), begin));
    Loop loop = {.count = 0};
    a->block_at = ranges_begin(a, &loop, from, to, a->block);
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
    IrValue start[TILE_MAX_DIMS] = {0};
    for (int d = a->n; d >= 0; d--) {
        const TileDim *dim = dim_at(a, d);
        int64_t tiles = ceil_div(dim->extent, dim->tile);
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
    a.begin = a.start ? begin_value(&a) : NULL;
    clear_sums(&a, false);
    serial_emit(&a, 0);
    keys_finish(&a);
    loop_end(b, &task);
    return true;
}
