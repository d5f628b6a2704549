// stream.c: the STREAM skeleton: the loop over tasks, the loops over serial dimensions, and
// what is computed between the passes over the cols.
#include "codegen/llvm/stream.h"

#include "base/check.h"
#include "codegen/llvm/map.h"
#include "codegen/llvm/skeleton.h"
#include "ir/tile/tile_access.h"

static void level_emit(Stream *s, int level, const bool *target);

static const TileOp *op_at(const Stream *s, uint32_t i) { return &s->plan.p->ops.ptr[i]; }

// ---- scalars

static void scalar_emit(Stream *s, uint32_t i) {
    Step step = {.first = build_i64(s->b, 0), .lanes = 1};
    const TileOp *op = op_at(s, i);
    StreamOp *so = &s->ops[i];
    switch ((int)op->kind) {
    case TILE_CONST: so->value = map_const(s->b, op, 1); return;
    case TILE_INDEX: so->value = access_index(s, i, &step); return;
    case TILE_LOAD:
    case TILE_GATHER:
        access_prepare(s, i);
        so->value = access_load(s, i, &step);
        return;
    case TILE_MAP: {
        IrValue in[3] = {0};
        for (uint32_t k = 0; k < op->arity; k++)
            in[k] = s->ops[op->in[k].i].value;
        so->value = map_emit(s->b, op, in);
        return;
    }
    default: break;
    }
    BUG("operation %d is not a scalar", (int)op->kind);
}

// Costly functions of several scalars (the softmax weights of a few sources) are computed as
// one vector.
static void pack_emit(Stream *s, const uint32_t *members, int count) {
    Builder *b = s->b;
    int lanes = 2;
    while (lanes < count)
        lanes *= 2;
    const TileOp *first = op_at(s, members[0]);
    IrValue in[3] = {0};
    for (uint32_t k = 0; k < first->arity; k++) {
        // Spare lanes hold ones, so that they divide and take logarithms in peace.
        in[k] = build_f32(b, 1, lanes);
        for (int lane = 0; lane < count; lane++) {
            IrValue x = s->ops[op_at(s, members[lane])->in[k].i].value;
            in[k] = build_insert(b, in[k], x, lane);
        }
    }
    IrValue y = map_emit(b, first, in);
    for (int lane = 0; lane < count; lane++)
        s->ops[members[lane]].value = build_extract(b, y, lane);
}

static bool can_pack(const Stream *s, uint32_t i) {
    const TileOp *op = op_at(s, i);
    return op->kind == TILE_MAP && op->type == DTYPE_F32 && op->fn != OP_POW &&
           map_is_costly(op->fn);
}

// Emits the operations of one depth: they do not depend on each other.
static void depth_emit(Stream *s, const int *depth_of, int depth) {
    uint32_t n = s->plan.p->ops.len;
    bool *done = arena_array(s->b->arena, bool, n);
    for (uint32_t i = 1; i < n; i++) {
        if (depth_of[i] != depth || done[i]) continue;
        uint32_t members[16];
        int count = 0;
        for (uint32_t k = i; can_pack(s, i) && k < n && count < s->b->lanes; k++)
            if (depth_of[k] == depth && !done[k] && can_pack(s, k) &&
                op_at(s, k)->fn == op_at(s, i)->fn)
                members[count++] = k;
        for (int k = 0; count > 1 && k < count; k++)
            done[members[k]] = true;
        if (count > 1)
            pack_emit(s, members, count);
        else
            scalar_emit(s, i);
    }
}

static void scalars_emit(Stream *s, const Level *l, int round) {
    uint32_t n = s->plan.p->ops.len;
    int *depth_of = arena_array(s->b->arena, int, n), deepest = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (!stream_scalar(&s->plan, &l->plan, i, round)) continue;
        int depth = 1;
        for (uint32_t k = 0; k < op_at(s, i)->arity; k++) {
            int in = depth_of[op_at(s, i)->in[k].i];
            if (in >= depth) depth = in + 1;
        }
        depth_of[i] = depth;
        if (depth > deepest) deepest = depth;
    }
    for (int depth = 1; depth <= deepest; depth++)
        depth_emit(s, depth_of, depth);
}

// Stores of scalars, and sums over rows that get one.
static void scalar_ends(Stream *s, const Level *l) {
    Builder *b = s->b;
    Step step = {.first = build_i64(b, 0), .lanes = 1};
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        const TileOp *op = op_at(s, i);
        if (!stream_ends(&s->plan, &l->plan, i)) continue;
        if (op->kind == TILE_REDUCE && !s->plan.ops[op->in[0].i].col) {
            IrType type = type_of(b, op->type, 1);
            IrValue old = build_load(b, type, s->ops[i].variable, 4);
            build_store(b, reduce_add(b, op, old, s->ops[op->in[0].i].value),
                        s->ops[i].variable, 4);
        } else if (tile_op_writes(op->kind) && !s->plan.ops[i].col) {
            access_prepare(s, i);
            if (op->kind == TILE_STORE)
                access_store(s, i, &step, false);
            else
                access_scatter(s, i, &step);
        }
    }
}

// ---- loops inside a level

static void row_form(Stream *s) {
    s->in_registers = row_fits_registers(s);
    s->paired = !s->in_registers && access_pairs(s);
}

static void task_body(Stream *s, const bool *target) {
    row_form(s);
    level_emit(s, LEVEL_TASK, target);
}

// The last tile of the cols may be narrower: it has code of its own, so that every extent stays
// a constant.
static void task_emit(Stream *s, const bool *target) {
    Builder *b = s->b;
    if (s->plan.col < 0 ||
        s->plan.p->dims[s->plan.col].tile == s->plan.p->dims[s->plan.col].extent) {
        s->col_base = build_i64(b, 0);
        task_body(s, target);
        return;
    }
    const TileDim *dim = &s->plan.p->dims[s->plan.col];
    int64_t rest = dim->extent % dim->tile, scratch = b->scratch_bytes;
    s->col_base = build_imul(b, s->index[s->plan.col], dim->tile);
    s->cols = dim->tile;
    if (rest == 0) {
        task_body(s, target);
        return;
    }
    IrBlock full = build_block(b, "full"), narrow = build_block(b, "narrow");
    IrBlock after = build_block(b, "after");
    IrValue is_full =
        build_icmp(b, LLVMIntSLE, s->col_base, build_i64(b, dim->extent - dim->tile));
    LLVMBuildCondBr(b->at, is_full, full, narrow);
    build_at(b, full);
    task_body(s, target);
    LLVMBuildBr(b->at, after);
    build_at(b, narrow);
    int64_t used = b->scratch_bytes;
    b->scratch_bytes = scratch;
    s->cols = rest;
    task_body(s, target);
    if (b->scratch_bytes < used) b->scratch_bytes = used;
    LLVMBuildBr(b->at, after);
    build_at(b, after);
}

// Indices of the split dimensions, counted up with the task instead of divided out of its
// number each time.
static void tasks_emit(Stream *s, const bool *target) {
    Builder *b = s->b;
    int dims[TILE_MAX_DIMS], count = 0;
    for (uint32_t d = 0; d < s->plan.p->dim_count; d++)
        if (tile_dim_tiles(s->plan.p, d) > 1) dims[count++] = (int)d;
    if (count == 1 && rows_in_blocks(s, dims[0])) {
        rows_emit(s, dims[0], target);
        return;
    }
    Loop loop = {.count = (uint32_t)count};
    IrValue rest = b->begin;
    for (int k = count - 1; k >= 0; k--) {
        IrValue tiles = build_i64(b, tile_dim_tiles(s->plan.p, (uint32_t)dims[k]));
        loop.carried[k] = LLVMBuildURem(b->at, rest, tiles, "");
        rest = LLVMBuildUDiv(b->at, rest, tiles, "");
    }
    loop_begin(b, &loop, b->begin, b->end, 1);
    for (uint32_t d = 0; d < s->plan.p->dim_count; d++)
        s->index[d] = build_i64(b, 0);
    for (int k = 0; k < count; k++)
        s->index[dims[k]] = loop.carried[k];
    task_emit(s, target);
    IrValue carry = LLVMConstInt(b->i1, 1, 0), zero = build_i64(b, 0);
    for (int k = count - 1; k >= 0; k--) {
        IrValue next = build_iadd(b, loop.carried[k], LLVMBuildZExt(b->at, carry, b->i64, ""));
        IrValue tiles = build_i64(b, tile_dim_tiles(s->plan.p, (uint32_t)dims[k]));
        carry = build_icmp(b, LLVMIntEQ, next, tiles);
        loop.carried[k] = build_select(b, carry, zero, next);
    }
    loop_end(b, &loop);
}

static void serial_emit(Stream *s, const Level *l, const bool *target) {
    Builder *b = s->b;
    int d = s->plan.serial[l->plan.level - LEVEL_TASK];
    Loop loop = {0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, s->plan.p->dims[d].extent), 1);
    s->index[d] = loop.index;
    level_emit(s, l->plan.level + 1, target);
    loop_end(b, &loop);
}

// One round of the level's loop: the sums over rows that it completes, and in its last round
// all deeper stores.
static void inner_emit(Stream *s, const Level *l, int round) {
    const bool *target = stream_inner_targets(&s->plan, &l->plan, round);
    if (target == NULL) return;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
        if (stream_sums(&s->plan, &l->plan, i, round)) rows_start(s, i);
    if (l->plan.level == LEVEL_KERNEL)
        tasks_emit(s, target);
    else
        serial_emit(s, l, target);
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
        if (stream_sums(&s->plan, &l->plan, i, round) && !s->plan.ops[i].col)
            s->ops[i].value =
                build_load(s->b, type_of(s->b, op_at(s, i)->type, 1), s->ops[i].variable, 4);
}

static void level_emit(Stream *s, int level, const bool *target) {
    Level l = level_new(s, level, target);
    for (int round = 0; round <= l.plan.last; round++) {
        scalars_emit(s, &l, round);
        if (stream_pass_due(&s->plan, &l.plan, round)) pass_emit(s, &l, round);
        if (round <= l.plan.last_inner) inner_emit(s, &l, round);
    }
    scalar_ends(s, &l);
}

// ---- the kernel

// Is every argument of a nontemporal store aligned to a vector? One test for the whole call;
// its strides are multiples of a vector.
static void aligned_find(Stream *s) {
    Builder *b = s->b;
    IrValue bits = NULL;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        if (!access_nontemporal(s, i)) continue;
        IrValue address =
            LLVMBuildPtrToInt(b->at, b->args[op_at(s, i)->access.arg], b->i64, "");
        bits = bits == NULL ? address : LLVMBuildOr(b->at, bits, address, "");
    }
    if (bits == NULL) return;
    bits = LLVMBuildAnd(b->at, bits, build_i64(b, b->lanes * 4 - 1), "");
    s->aligned = build_icmp(b, LLVMIntEQ, bits, build_i64(b, 0));
}

bool stream_emit(Builder *b) {
    Stream s = {.b = b};
    if (!stream_plan_make(b->diag, b->arena, b->program, &s.plan)) return false;
    b->program = s.plan.p;
    s.ops = arena_array(b->arena, StreamOp, s.plan.p->ops.len);
    s.cols = s.plan.col < 0 ? 1 : s.plan.p->dims[s.plan.col].extent;
    row_form(&s);
    aligned_find(&s);
    s.col_base = build_i64(b, 0);
    early_emit(&s);
    level_emit(&s, LEVEL_KERNEL, stream_targets(&s.plan));
    // Nontemporal stores are ordered with the end of the kernel only by a fence.
    if (s.aligned != NULL)
        build_intrinsic(b, (Intrinsic){.name = "llvm.x86.sse.sfence"}, NULL, 0);
    return true;
}
