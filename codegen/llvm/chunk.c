// chunk.c: the CHUNK skeleton: the nest around tiles of tokens.
//
//     for each task (a point of grid):
//       carries = their first values
//       for each tile of tokens, in order or from the last to the first:
//         each operation, as a whole; what is stored for each tile; carries' next values
//       store what is stored once
#include "codegen/llvm/chunk.h"

#include "base/check.h"
#include "codegen/llvm/skeleton.h"

static void op_emit(Chunk *c, TileId v) {
    const TileOp *op = tile_op(c->p, v);
    const Matrix *x = &c->value[v.i];
    build_line(c->b, op->span);
    switch ((int)op->kind) {
    case TILE_LOAD:
    case TILE_MAP:
        if (x->at) matrix_fill(c, v, x);
        break;
    case TILE_REDUCE: reduce_emit(c, v); break;
    case TILE_SCAN: scan_emit(c, v); break;
    case TILE_SOLVE: solve_emit(c, v); break;
    case TILE_DOT:
        if (c->added[v.i]) break;
        if (op->arity == 3)
            decayed_emit(c, v);
        else
            dot_emit(c, v);
        break;
    default: break;  // computed where it is read, or at another time
    }
}

// Is it stored for every tile?
static bool stores_tile(const Chunk *c, const TileOp *op) {
    for (int d = c->m; d <= c->n; d++)
        if ((op->dims >> d & 1) || op->access.stride[d]) return true;
    return false;
}

static void stores_emit(Chunk *c, bool of_tile) {
    vec_each (const TileOp, op, &c->p->ops)
        if (op->kind == TILE_STORE && stores_tile(c, op) == of_tile) chunk_store(c, op);
}

static void tile_emit(Chunk *c) {
    for (uint32_t i = 1; i < c->p->ops.len; i++)
        op_emit(c, (TileId){i});
    stores_emit(c, true);
    vec_each (const TileOp, op, &c->p->ops) {
        bool stays = op->in[1].i == op->in[0].i;
        if (op->kind == TILE_NEXT && !stays) matrix_fill(c, op->in[1], &c->value[op->in[0].i]);
    }
}

// The first tile of a segment.
static IrValue segment_begin(const Chunk *c, IrValue segment) {
    IrValue segments = build_i64(c->b, c->p->dims[tile_dealt_to(c->p)].extent);
    IrValue tiles = build_imul(c->b, segment, tile_chunks(c->p));
    return LLVMBuildUDiv(c->b->at, tiles, segments, "");
}

static void tiles_emit(Chunk *c) {
    Builder *b = c->b;
    int64_t tokens = c->p->dims[c->m].extent;
    Loop loop = {.count = 0};
    IrValue begin = build_i64(b, 0), end = build_i64(b, tile_chunks(c->p));
    int dealt = tile_dealt_to(c->p);
    if (dealt >= 0) {
        begin = segment_begin(c, c->index[dealt]);
        end = segment_begin(c, build_iadd(b, c->index[dealt], build_i64(b, 1)));
    }
    loop_begin(b, &loop, begin, end, 1);
    c->number = loop.index;
    IrValue last = build_iadd(b, end, build_i64(b, -1));
    if (c->p->reverse) c->number = minus(b, build_iadd(b, begin, last), loop.index);
    c->first = build_imul(b, c->number, c->tile);
    c->count = at_most(b, build_i64(b, c->tile), minus(b, build_i64(b, tokens), c->first));
    IrValue whole = build_iadd(b, c->count, build_i64(b, c->block - 1));
    announced_plan(c);
    c->live = LLVMBuildAnd(b->at, whole, build_i64(b, -c->block), "");
    tile_emit(c);
    loop_end(b, &loop);
}

static void task_place(Chunk *c, IrValue task) {
    Builder *b = c->b;
    for (int d = c->m - 1; d >= 0; d--) {
        IrValue extent = build_i64(b, c->p->dims[d].extent);
        c->index[d] = LLVMBuildURem(b->at, task, extent, "");
        task = LLVMBuildUDiv(b->at, task, extent, "");
    }
}

// What a carry begins with, and what that is made of.
static void begin_emit(Chunk *c, TileId v) {
    const TileOp *op = tile_op(c->p, v);
    for (uint32_t k = 0; k < op->arity; k++)
        begin_emit(c, op->in[k]);
    op_emit(c, v);
}

bool chunk_emit(Builder *b) {
    Chunk c;
    if (!chunk_plan(&c, b)) return false;
    Loop task = {.count = 0};
    loop_begin(b, &task, b->begin, b->end, 1);
    task_place(&c, task.index);
    for (uint32_t i = 1; i < c.p->ops.len; i++) {
        const TileOp *op = &c.p->ops.ptr[i];
        if (op->kind != TILE_CARRY) continue;
        begin_emit(&c, op->in[0]);
        matrix_fill(&c, op->in[0], &c.value[i]);
    }
    tiles_emit(&c);
    stores_emit(&c, false);
    loop_end(b, &task);
    return true;
}
