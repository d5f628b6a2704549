// stream_rows.c: scalars of several rows at once.
//
//     for each block of as many rows as a vector has lanes, or what is left:
//       for each round: its scalars, rows along the lanes
//                       for each row: the pass over its cols
//       stores of scalars
//
// What passes need of a scalar, and what they reduce a row to, goes through close memory.
#include "base/check.h"
#include "codegen/llvm/map.h"
#include "codegen/llvm/stream_sweep.h"
#include "ir/tile/tile_access.h"

typedef struct {
    Stream *s;
    Level *level;
    int dim;               // of the rows
    IrValue first, count;  // i64
    IrValue mask;          // i1: lanes that have a row
    IrValue sums;          // [row][reduction of the level], f32 or i32
    int *sum_at;           // by TileId
} Block;

static const TileOp *op_at(const Stream *s, uint32_t i) { return &s->plan.p->ops.ptr[i]; }

// ---- which programs

static bool is_access(TileOpKind kind) {
    return kind == TILE_LOAD || kind == TILE_GATHER || tile_op_writes(kind);
}

static bool is_row_scalar(const Stream *s, uint32_t i) {
    return !s->plan.ops[i].col && s->plan.ops[i].home == LEVEL_TASK;
}

static bool scalar_can(const Stream *s, int dim, const TileOp *op) {
    if (op->kind == TILE_MAP || op->kind == TILE_REDUCE) return true;
    if (op->kind != TILE_LOAD && op->kind != TILE_STORE) return false;
    const TileAccess *at = &op->access;
    return dtype_bytes(s->plan.p->args.ptr[at->arg].type) == 4 && at->guard[0].dim < 0 &&
           at->guard[1].dim < 0 && (op->kind == TILE_LOAD || at->stride[dim] != 0);
}

// What is kept from sweep to sweep is kept for one row; scalars that meet the cols lie in
// memory as numbers.
static bool at_cols_can(const Stream *s, const TileOp *op) {
    if (op->kind == TILE_MAP && map_is_costly(op->fn)) return false;
    for (uint32_t k = 0; k < op->arity; k++) {
        uint32_t in = op->in[k].i;
        if (op->kind == TILE_GATHER && s->plan.ops[in].col) return false;
        if (is_row_scalar(s, in) && op_at(s, in)->type == DTYPE_BOOL) return false;
    }
    return true;
}

bool rows_in_blocks(const Stream *s, int dim) {
    enum {
        LEAST_SCALARS = 256,     // a row; of fewer the rows' own time is not worth it
        MOST_BYTES = 512 << 10,  // of a block's rows, which the later rounds find close by
    };
    const TileProgram *p = s->plan.p;
    int col = s->plan.col, scalars = 0;
    if (s->b->level == CPU_PORTABLE || s->plan.serial_count > 0) return false;
    if (col < 0 || s->in_registers || p->dims[col].tile != p->dims[col].extent) return false;
    if (p->dims[dim].extent < s->b->lanes) return false;
    int64_t bytes = 0;
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *op = op_at(s, i);
        const StreamPlace *place = &s->plan.ops[i];
        if (place->home != LEVEL_TASK) continue;
        if (place->col ? !at_cols_can(s, op) : !scalar_can(s, dim, op)) return false;
        scalars += !place->col;
        if (place->col && is_access(op->kind) && op->access.stride[dim] != 0)
            bytes += s->cols * (int64_t)dtype_bytes(p->args.ptr[op->access.arg].type);
    }
    return scalars >= LEAST_SCALARS && bytes * s->b->lanes <= MOST_BYTES;
}

// ---- scalars, rows along the lanes

static IrValue lanes_value(const Block *k, TileId v) {
    Builder *b = k->s->b;
    const StreamOp *so = &k->s->ops[v.i];
    const TileOp *op = tile_op(k->s->plan.p, v);
    if (op->kind == TILE_CONST) return map_const(b, op, b->lanes);
    if (is_row_scalar(k->s, v.i)) return so->lanes;
    return build_splat(b, so->value, b->lanes);
}

static void scalars_compute(const Block *k, int round) {
    Stream *s = k->s;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        const TileOp *op = op_at(s, i);
        if (!stream_scalar(&s->plan, &k->level->plan, i, round)) continue;
        IrValue in[3] = {0};
        for (uint32_t n = 0; op->kind == TILE_MAP && n < op->arity; n++)
            in[n] = lanes_value(k, op->in[n]);
        s->ops[i].lanes = op->kind == TILE_MAP ? map_emit(s->b, op, in)
                                               : access_load_rows(s, i, k->dim, k->mask);
    }
}

static void scalars_store(const Block *k) {
    Stream *s = k->s;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        const TileOp *op = op_at(s, i);
        bool here = stream_ends(&s->plan, &k->level->plan, i) && !s->plan.ops[i].col;
        if (here && tile_op_writes(op->kind))
            access_store_rows(s, i, k->dim, lanes_value(k, op->in[0]), k->mask);
    }
}

// ---- passes, row by row

// Which scalars the pass of a row takes out of close memory.
static void scalars_leave(const Block *k, int round) {
    Stream *s = k->s;
    Builder *b = s->b;
    const StreamLevel *plan = &k->level->plan;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        for (uint32_t n = 0; s->plan.ops[i].col && n < op_at(s, i)->arity; n++) {
            uint32_t v = op_at(s, i)->in[n].i;
            bool here = is_row_scalar(s, v) && plan->need[v];
            if (!here || plan->time[v] > round || s->ops[v].rows != NULL) continue;
            s->ops[v].rows = build_scratch(b, (int64_t)b->lanes * 4);
            build_store(b, s->ops[v].lanes, s->ops[v].rows, 4);
        }
    }
}

static void scalars_take(const Block *k, IrValue row) {
    Stream *s = k->s;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        StreamOp *so = &s->ops[i];
        if (so->rows == NULL) continue;
        so->near_row = build_gep(s->b, s->b->f32, so->rows, row);
        so->value = build_load(s->b, type_of(s->b, op_at(s, i)->type, 1), so->near_row, 4);
    }
}

static int64_t sums_apart(const Block *k) {
    int64_t lanes = k->s->b->lanes;
    return (k->level->sum_count + lanes - 1) / lanes * lanes;
}

static void sums_leave(const Block *k, int round, IrValue row) {
    Stream *s = k->s;
    Builder *b = s->b;
    IrValue to = build_gep(b, b->f32, k->sums, build_imul(b, row, sums_apart(k)));
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
        if (stream_reduces(&s->plan, &k->level->plan, i, round))
            build_store(b, s->ops[i].value,
                        build_gep(b, b->f32, to, build_i64(b, k->sum_at[i])), 4);
}

// Reductions number `from` on of all rows, from [row][reduction] to rows along the lanes.
static void sums_turn(const Block *k, int round, int from) {
    Stream *s = k->s;
    Builder *b = s->b;
    IrValue x[BUILD_MAX_LANES];
    for (int n = 0; n < b->lanes; n++) {
        IrValue at = build_i64(b, n * sums_apart(k) + from);
        x[n] =
            build_load(b, type_vector(b->f32, b->lanes), build_gep(b, b->f32, k->sums, at), 4);
    }
    build_transpose(b, x, b->lanes);
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        int at = k->sum_at[i] - from;
        if (!stream_reduces(&s->plan, &k->level->plan, i, round)) continue;
        if (at < 0 || at >= b->lanes) continue;
        s->ops[i].lanes = build_bitcast(b, x[at], type_of(b, op_at(s, i)->type, b->lanes));
    }
}

static void pass_rows(const Block *k, int round) {
    Stream *s = k->s;
    Builder *b = s->b;
    scalars_leave(k, round);
    Loop loop = {0};
    loop_begin(b, &loop, build_i64(b, 0), k->count, 1);
    s->index[k->dim] = build_iadd(b, k->first, loop.index);
    scalars_take(k, loop.index);
    pass_emit(s, k->level, round);
    sums_leave(k, round, loop.index);
    loop_end(b, &loop);
    s->index[k->dim] = k->first;
    for (int from = 0; from < k->level->sum_count; from += b->lanes)
        sums_turn(k, round, from);
}

// Reductions of one sweep lie side by side, as they are finished.
static void sums_place(Block *k) {
    Stream *s = k->s;
    Builder *b = s->b;
    k->sum_at = arena_array(b->arena, int, s->plan.p->ops.len);
    for (int sweep = 0, at = 0; sweep < k->level->sweeps; sweep++)
        for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
            if (stream_reduces(&s->plan, &k->level->plan, i, k->level->round_of[sweep]) &&
                k->level->sweep[i] == sweep)
                k->sum_at[i] = at++;
    k->sums = build_scratch(b, sums_apart(k) * b->lanes * 4);
}

static void block_emit(Block *k) {
    Stream *s = k->s;
    Builder *b = s->b;
    IrValue count = LLVMBuildTrunc(b->at, k->count, b->i32, "");
    k->mask = build_icmp(b, LLVMIntSLT, build_lane_ids(b, 1, b->lanes),
                         build_splat(b, count, b->lanes));
    s->index[k->dim] = k->first;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
        s->ops[i].rows = s->ops[i].near_row = NULL;
    sums_place(k);
    for (int round = 0; round <= k->level->plan.last; round++) {
        scalars_compute(k, round);
        if (stream_pass_due(&s->plan, &k->level->plan, round)) pass_rows(k, round);
    }
    scalars_store(k);
}

void rows_emit(Stream *s, int dim, const bool *target) {
    Builder *b = s->b;
    for (uint32_t d = 0; d < s->plan.p->dim_count; d++)
        s->index[d] = build_i64(b, 0);
    Level level = level_new(s, LEVEL_TASK, target);
    s->in_blocks = true;
    Loop loop = {0};
    loop_begin(b, &loop, b->begin, b->end, b->lanes);
    IrValue most = build_i64(b, b->lanes);
    IrValue rest = LLVMBuildSub(b->at, b->end, loop.index, "");
    Block block = {.s = s,
                   .level = &level,
                   .dim = dim,
                   .first = loop.index,
                   .count = build_select(b, build_icmp(b, LLVMIntSLT, most, rest), most, rest)};
    block_emit(&block);
    loop_end(b, &loop);
}
