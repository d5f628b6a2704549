// attend_value.c: ATTEND: operations at a place, passes over the scores, and stores.
#include <float.h>
#include <math.h>

#include "base/check.h"
#include "codegen/llvm/attend.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/map.h"

static const TileOp *op_at(const Attend *a, uint32_t i) { return &a->p->ops.ptr[i]; }
static int64_t extent(const Attend *a, int d) { return a->p->dims[d].extent; }
static DType arg_type(const Attend *a, const TileOp *op) {
    return a->p->args.ptr[op->access.arg].type;
}

// ---- places

// A place: lanes along one dimension.
typedef struct {
    int along;                     // m, or a k; of few queries n
    IrValue index[TILE_MAX_DIMS];  // absolute; of `along`: the first lane's
    IrValue mask;                  // NULL: all lanes
    IrValue in_block, in_strip;    // of m: counted from the block's and strip's first
    IrValue in_keys;               // of n: counted from the first that the strip meets
    bool rows_known;               // values at m alone are in `row`
    IrValue *memo;                 // per operation
} Spot;

static Spot spot_new(const Attend *a, int along) {
    Spot s = {.along = along};
    memcpy(s.index, a->index, sizeof s.index);
    s.memo = arena_array(a->b->arena, IrValue, a->p->ops.len);
    return s;
}

// Lanes below an i64.
IrValue mask_count(const Attend *a, IrValue count) {
    Builder *b = a->b;
    if (LLVMIsAConstantInt(count)) {
        int64_t n = LLVMConstIntGetSExtValue(count);
        return n >= a->lanes ? NULL : build_mask_first(b, (int)n, a->lanes);
    }
    IrValue limit = build_splat(b, LLVMBuildTrunc(b->at, count, b->i32, ""), a->lanes);
    return build_icmp(b, LLVMIntSLT, build_lane_ids(b, 1, a->lanes), limit);
}

IrValue load_pointer(const Attend *a, const TileOp *op, const IrValue *index) {
    Builder *b = a->b;
    IrValue offset = build_i64(b, op->access.offset);
    for (uint32_t d = 0; d < a->p->dim_count; d++)
        if (op->access.stride[d])
            offset = build_iadd(b, build_imul(b, index[d], op->access.stride[d]), offset);
    return build_gep(b, element_type(b, arg_type(a, op)), b->args[op->access.arg], offset);
}

// One pointer a lane.
static IrValue lane_pointers(const Attend *a, const TileOp *op, IrValue pointer, int along) {
    IrValue lane[BUILD_MAX_LANES];
    for (int i = 0; i < a->lanes; i++)
        lane[i] = build_i64(a->b, i * op->access.stride[along]);
    IrValue offsets = LLVMConstVector(lane, (unsigned)a->lanes);
    return LLVMBuildGEP2(a->b->at, element_type(a->b, arg_type(a, op)), pointer, &offsets, 1,
                         "");
}

// ---- values

IrValue load_vector(const Attend *a, const TileOp *op, const IrValue *index, int along,
                    IrValue mask) {
    Builder *b = a->b;
    build_line(b, op->span);
    IrValue pointer = load_pointer(a, op, index);
    int64_t stride = op->access.stride[along];
    DType type = arg_type(a, op);
    if (stride == 0) return build_splat(b, element_load(b, type, pointer, 1, NULL), a->lanes);
    if (stride == 1) return element_load(b, type, pointer, a->lanes, mask);
    return element_gather(b, type, lane_pointers(a, op, pointer, along), mask);
}

IrValue load_pairs(const Attend *a, const TileOp *op, const IrValue *index, IrValue mask) {
    Builder *b = a->b;
    build_line(b, op->span);
    IrValue pointer = load_pointer(a, op, index);
    IrValue x = element_load_raw(b, arg_type(a, op), pointer, 2 * a->lanes, mask);
    return build_bitcast(b, x, type_vector(b->f32, a->lanes));
}

// A vector of close memory.
static IrValue close_vector(const Attend *a, IrValue base, IrValue offset) {
    Builder *b = a->b;
    return build_load(b, type_vector(b->f32, a->lanes), build_gep(b, b->f32, base, offset),
                      (unsigned)a->lanes * 4);
}

static IrValue value_of_row(const Attend *a, const Spot *s, TileId v) {
    Builder *b = a->b;
    DType type = tile_op(a->p, v)->type;
    IrValue at = build_gep(b, b->f32, a->row[v.i], s->in_block);
    if (s->along == a->m)
        return build_load(b, type_of(b, type, a->lanes), at, (unsigned)a->lanes * 4);
    return build_splat(b, build_load(b, type_of(b, type, 1), at, 4), a->lanes);
}

// Of a panel.
static IrValue score_at(const Attend *a, const Spot *s) {
    Builder *b = a->b;
    if (a->few) return build_iadd(b, build_imul(b, s->in_block, few_pitch(a)), s->in_keys);
    return build_iadd(b, build_imul(b, s->in_keys, a->strip), s->in_strip);
}

static IrValue value_of_dot(const Attend *a, const Spot *s, TileId v) {
    Builder *b = a->b;
    for (int i = 0; i < a->score_count; i++) {
        const Scores *k = &a->scores[i];
        if (k->dot.i != v.i) continue;
        return close_vector(a, k->panel, score_at(a, s));
    }
    for (int i = 0; i < a->sum_count; i++) {
        const Sums *k = &a->sums[i];
        if (k->dot.i != v.i) continue;
        IrValue row = k->over_n ? s->in_block : minus(b, s->index[a->n], a->task_n);
        row = build_imul(b, row, k->rows->width);
        return close_vector(a, k->sums, build_iadd(b, row, s->index[k->rows->k]));
    }
    BUG("a dot that is not planned");
}

static IrValue spot_value(const Attend *a, Spot *s, TileId v);

static IrValue op_value(const Attend *a, Spot *s, TileId v) {
    const TileOp *op = tile_op(a->p, v);
    IrValue in[3] = {0};
    switch ((int)op->kind) {
    case TILE_CONST: return map_const(a->b, op, a->lanes);
    case TILE_LOAD: return load_vector(a, op, s->index, s->along, s->mask);
    case TILE_DOT: return value_of_dot(a, s, v);
    case TILE_REDUCE: return value_of_row(a, s, v);
    case TILE_MAP:
        for (uint32_t i = 0; i < op->arity; i++)
            in[i] = spot_value(a, s, op->in[i]);
        return map_emit(a->b, op, in);
    default: BUG("operation %d has no value at a place", (int)op->kind);
    }
}

static IrValue spot_value(const Attend *a, Spot *s, TileId v) {
    if (s->memo[v.i]) return s->memo[v.i];
    bool known = s->rows_known && a->row[v.i];
    s->memo[v.i] = known ? value_of_row(a, s, v) : op_value(a, s, v);
    return s->memo[v.i];
}

static void spot_store(const Attend *a, Spot *s, const TileOp *store) {
    Builder *b = a->b;
    IrValue x = spot_value(a, s, store->in[0]);
    build_line(b, store->span);
    IrValue pointer = load_pointer(a, store, s->index);
    DType type = arg_type(a, store);
    int64_t stride = store->access.stride[s->along];
    if (stride == 1 || extent(a, s->along) == 1)
        element_store(b, type, x, pointer, s->mask);
    else
        element_scatter(b, type, x, lane_pointers(a, store, pointer, s->along), s->mask);
}

IrValue begin_value(const Attend *a) {
    Builder *b = a->b;
    Spot s = spot_new(a, a->m);
    IrValue all = spot_value(a, &s, a->start->in[0]);
    IrValue one = LLVMBuildExtractElement(b->at, all, build_i64(b, 0), "");
    return LLVMBuildSExt(b->at, one, b->i64, "");
}

// ---- values at the block's queries

static Spot spot_of_queries(const Attend *a, IrValue in_block) {
    Spot s = spot_new(a, a->m);
    s.in_block = in_block;
    s.index[a->m] = build_iadd(a->b, a->block_at.first, in_block);
    s.mask = mask_count(a, minus(a->b, a->block_at.count, in_block));
    return s;
}

static bool row_is_due(const Attend *a, uint32_t i, int round) {
    return a->row[i] && a->round[i] == round && op_at(a, i)->kind != TILE_REDUCE;
}

void rows_compute(Attend *a, int round, IrValue from, IrValue to) {
    Builder *b = a->b;
    bool any = false;
    for (uint32_t i = 1; i < a->p->ops.len; i++)
        any = any || row_is_due(a, i, round);
    if (!any) return;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, from, to, a->lanes);
    Spot s = spot_of_queries(a, loop.index);
    s.rows_known = true;
    for (uint32_t i = 1; i < a->p->ops.len; i++) {
        if (!row_is_due(a, i, round)) continue;
        s.memo[i] = op_value(a, &s, (TileId){i});
        build_store(b, s.memo[i], build_gep(b, b->f32, a->row[i], loop.index),
                    (unsigned)a->lanes * 4);
    }
    loop_end(b, &loop);
}

// ---- passes over the scores

enum { MOST_REDUCES = 4 };

typedef struct {
    Attend *a;
    int round;
    TileId reduce[MOST_REDUCES];
    int reduces;
    IrValue sums[LOOP_MAX_CARRIED];  // [reduce][vector]
} Pass;

static IrValue neutral(const Attend *a, const TileOp *reduce) {
    return build_f32(a->b, reduce->fn == OP_REDUCE_SUM ? 0 : -HUGE_VAL, a->lanes);
}

static IrValue only_live(Builder *b, IrValue live, IrValue x, IrValue otherwise) {
    return live ? build_select(b, live, x, otherwise) : x;
}

// Lanes whose query meets the key: lo <= t - s <= hi, where t is the first lane's plus a lane.
static IrValue live_lanes(const Attend *a, const Spot *s) {
    Builder *b = a->b;
    IrValue ids = build_lane_ids(b, 1, a->lanes), live = NULL;
    IrValue behind = minus(b, s->index[a->n], place_of(a, s->index[a->m]));
    if (a->has_lo) {
        IrValue least = build_iadd(b, behind, build_i64(b, a->p->band.lo));
        least = build_splat(b, LLVMBuildTrunc(b->at, least, b->i32, ""), a->lanes);
        live = build_icmp(b, LLVMIntSGE, ids, least);
    }
    if (!a->has_hi) return live;
    IrValue most = build_iadd(b, behind, build_i64(b, a->p->band.hi));
    most = build_splat(b, LLVMBuildTrunc(b->at, most, b->i32, ""), a->lanes);
    IrValue below = build_icmp(b, LLVMIntSLE, ids, most);
    return live ? LLVMBuildAnd(b->at, live, below, "") : below;
}

static bool weights_due(const Attend *a, int i, int round) {
    TileId weight = tile_op(a->p, a->sums[i].dot)->in[0];
    for (int k = 0; k < i; k++)
        if (tile_op(a->p, a->sums[k].dot)->in[0].i == weight.i) return false;
    return a->round[weight.i] == round;
}

// One vector of queries at one key, or of keys of one query. All is computed before the first
// store, which may take the place of scores.
static void cell_emit(Pass *p, Spot *s, int j, IrValue live) {
    Attend *a = p->a;
    Builder *b = a->b;
    IrValue zero = build_f32(b, 0, a->lanes);
    for (int r = 0; r < p->reduces; r++) {
        const TileOp *op = tile_op(a->p, p->reduce[r]);
        IrValue *sum = &p->sums[r * a->vectors + j];
        IrValue x = spot_value(a, s, op->in[0]);
        build_line(b, op->span);
        x = only_live(b, live, x, neutral(a, op));
        *sum = op->fn == OP_REDUCE_SUM ? build_fadd(b, *sum, x) : build_fmax(b, *sum, x);
    }
    for (int i = 0; i < a->sum_count; i++)
        if (weights_due(a, i, p->round)) spot_value(a, s, tile_op(a->p, a->sums[i].dot)->in[0]);
    for (int i = 0; i < a->sum_count; i++) {
        if (!weights_due(a, i, p->round)) continue;
        IrValue x = spot_value(a, s, tile_op(a->p, a->sums[i].dot)->in[0]);
        build_store(b, only_live(b, live, x, zero),
                    build_gep(b, b->f32, a->sums[i].weights, score_at(a, s)),
                    (unsigned)a->lanes * 4);
    }
}

// Keys [from, to) of those that the strip meets.
static void keys_pass(Pass *p, IrValue from, IrValue to, bool masked) {
    Attend *a = p->a;
    Builder *b = a->b;
    uint32_t count = (uint32_t)(p->reduces * a->vectors);
    Loop loop = {.count = count};
    memcpy(loop.carried, p->sums, count * sizeof(IrValue));
    loop_begin(b, &loop, from, to, 1);
    memcpy(p->sums, loop.carried, count * sizeof(IrValue));
    for (int j = 0; j < a->vectors; j++) {
        Spot s = spot_new(a, a->m);
        s.in_strip = build_i64(b, (int64_t)j * a->lanes);
        s.in_block = build_iadd(b, strip_in_block(a), s.in_strip);
        s.in_keys = loop.index;
        s.index[a->m] = build_iadd(b, a->strip_at.first, s.in_strip);
        s.index[a->n] = build_iadd(b, a->keys.first, loop.index);
        s.rows_known = true;
        cell_emit(p, &s, j, masked ? live_lanes(a, &s) : NULL);
    }
    memcpy(loop.carried, p->sums, count * sizeof(IrValue));
    loop_end(b, &loop);
    memcpy(p->sums, loop.carried, count * sizeof(IrValue));
}

// All keys of a query, a vector of them at a time.
static void few_keys(Pass *p, IrValue query, IrValue from, IrValue to, bool last) {
    Attend *a = p->a;
    Builder *b = a->b;
    uint32_t count = (uint32_t)p->reduces;
    Loop loop = {.count = count};
    memcpy(loop.carried, p->sums, count * sizeof(IrValue));
    loop_begin(b, &loop, from, to, a->lanes);
    memcpy(p->sums, loop.carried, count * sizeof(IrValue));
    Spot s = spot_new(a, a->n);
    s.in_block = s.in_strip = query;
    s.in_keys = loop.index;
    s.index[a->m] = build_iadd(b, a->strip_at.first, query);
    s.index[a->n] = build_iadd(b, a->keys.first, loop.index);
    s.rows_known = true;
    if (last) s.mask = mask_count(a, minus(b, to, loop.index));
    cell_emit(p, &s, 0, s.mask);
    memcpy(loop.carried, p->sums, count * sizeof(IrValue));
    loop_end(b, &loop);
    memcpy(p->sums, loop.carried, count * sizeof(IrValue));
}

static void few_pass(Pass *p) {
    Attend *a = p->a;
    Builder *b = a->b;
    IrValue rest = LLVMBuildAnd(b->at, a->keys.count, build_i64(b, a->lanes - 1), "");
    IrValue whole = minus(b, a->keys.count, rest);
    Loop queries = {.count = 0};
    loop_begin(b, &queries, build_i64(b, 0), a->strip_at.count, 1);
    for (int r = 0; r < p->reduces; r++)
        p->sums[r] = neutral(a, tile_op(a->p, p->reduce[r]));
    few_keys(p, queries.index, build_i64(b, 0), whole, false);
    few_keys(p, queries.index, whole, a->keys.count, true);
    for (int r = 0; r < p->reduces; r++) {
        bool sum = tile_op(a->p, p->reduce[r])->fn == OP_REDUCE_SUM;
        IrValue at = build_gep(b, b->f32, a->row[p->reduce[r].i], queries.index),
                before = build_load(b, b->f32, at, 4);
        IrValue all = (sum ? build_lanes_sum : build_lanes_max)(b, p->sums[r]);
        build_store(b, (sum ? build_fadd : build_fmax)(b, before, all), at, 4);
    }
    loop_end(b, &queries);
}

// The largest score so far stays finite, so that no difference to it is NaN: not even where
// there is no key for a query.
static IrValue first_value(const Attend *a, uint32_t reduce) {
    bool sum = op_at(a, reduce)->fn == OP_REDUCE_SUM;
    return build_f32(a->b, sum ? 0 : (double)-FLT_MAX, a->lanes);
}

void reductions_clear(Attend *a) {
    Builder *b = a->b;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), a->block_at.count, a->lanes);
    for (uint32_t i = 1; i < a->p->ops.len; i++)
        if (op_at(a, i)->kind == TILE_REDUCE)
            build_store(b, first_value(a, i), build_gep(b, b->f32, a->row[i], loop.index),
                        (unsigned)a->lanes * 4);
    loop_end(b, &loop);
}

static IrValue row_pointer(Attend *a, uint32_t op, int vector) {
    IrValue row = build_gep(a->b, a->b->f32, a->row[op], strip_in_block(a));
    return build_gep_bytes(a->b, row, (int64_t)vector * a->lanes * 4);
}

// Reductions go on from the chunks before.
void pass_over_scores(Attend *a, int round) {
    Builder *b = a->b;
    Pass p = {.a = a, .round = round};
    unsigned align = (unsigned)a->lanes * 4;
    for (uint32_t i = 1; i < a->p->ops.len; i++) {
        const TileOp *op = op_at(a, i);
        if (op->kind != TILE_REDUCE || a->round[op->in[0].i] != round) continue;
        ASSERT(p.reduces < MOST_REDUCES);
        for (int j = 0; j < a->vectors && !a->few; j++)
            p.sums[p.reduces * a->vectors + j] =
                build_load(b, type_vector(b->f32, a->lanes), row_pointer(a, i, j), align);
        p.reduce[p.reduces++] = (TileId){i};
    }
    if (a->few) {
        few_pass(&p);
        return;
    }
    // The keys that all queries of the strip meet need no mask.
    if (a->has_hi) keys_pass(&p, build_i64(b, 0), a->whole, true);
    keys_pass(&p, a->whole, a->whole_end, false);
    if (a->has_lo) keys_pass(&p, a->whole_end, a->keys.count, true);
    for (int r = 0; r < p.reduces; r++)
        for (int j = 0; j < a->vectors; j++)
            build_store(b, p.sums[r * a->vectors + j], row_pointer(a, p.reduce[r].i, j), align);
}

// ---- stores

// All vectors of a row along k, whose place `s` otherwise is.
static void row_store(const Attend *a, const Spot *outer, const TileOp *store, int k) {
    Builder *b = a->b;
    int64_t whole = extent(a, k) / a->lanes * a->lanes;
    for (int tail = 0; tail < 2; tail++) {
        if (tail && whole == extent(a, k)) return;
        Loop loop = {.count = 0};
        loop_begin(b, &loop, build_i64(b, tail ? whole : 0),
                   build_i64(b, tail ? extent(a, k) : whole), a->lanes);
        Spot s = spot_new(a, k);
        memcpy(s.index, outer->index, sizeof s.index);
        s.in_block = outer->in_block;
        s.rows_known = outer->rows_known;
        s.index[k] = loop.index;
        if (tail) s.mask = build_mask_first(b, (int)(extent(a, k) - whole), a->lanes);
        spot_store(a, &s, store);
        loop_end(b, &loop);
    }
}

static int store_k(const Attend *a, const TileOp *store) {
    for (uint32_t d = 0; d < a->p->dim_count; d++)
        if (a->p->dims[d].role == DIM_K && stands_at(store, (int)d)) return (int)d;
    return -1;
}

static void queries_store(Attend *a, const TileOp *store) {
    Builder *b = a->b;
    int k = store_k(a, store);
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), a->block_at.count, k < 0 ? a->lanes : 1);
    if (k < 0) {
        Spot s = spot_of_queries(a, loop.index);
        s.rows_known = true;
        spot_store(a, &s, store);
    } else {
        Spot row = spot_new(a, k);
        row.in_block = loop.index;
        row.index[a->m] = build_iadd(b, a->block_at.first, loop.index);
        row.rows_known = true;
        row_store(a, &row, store, k);
    }
    loop_end(b, &loop);
}

void rows_finish(Attend *a) {
    for (uint32_t i = 1; i < a->p->ops.len; i++)
        if (op_at(a, i)->kind == TILE_STORE && stands_at(op_at(a, i), a->m))
            queries_store(a, op_at(a, i));
}

void keys_finish(Attend *a) {
    Builder *b = a->b;
    for (uint32_t i = 1; i < a->p->ops.len; i++) {
        const TileOp *op = op_at(a, i);
        int k = store_k(a, op);
        if (op->kind != TILE_STORE || stands_at(op, a->m) || k < 0) continue;
        Loop loop = {.count = 0};
        loop_begin(b, &loop, a->task_n, a->task_n_end, 1);
        Spot row = spot_new(a, k);
        row.index[a->n] = loop.index;
        row_store(a, &row, op, k);
        loop_end(b, &loop);
    }
}
