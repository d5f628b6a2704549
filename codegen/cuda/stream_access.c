// stream_access.c: which accesses at the cols of a STREAM program can be made by vectors.
#include "base/check.h"
#include "codegen/cuda/stream.h"
#include "ir/tile/tile_access.h"

static DType arg_type(const StreamPlan *s, const TileOp *op) {
    return s->p->args.ptr[op->access.arg].type;
}

static bool has_row_number(const TileOp *op) {
    return op->kind == TILE_GATHER || op->kind == TILE_SCATTER;
}

static bool aligned(int64_t x, int64_t to) { return x % to == 0; }

// Are the addresses of vectors multiples of `to` elements?
static bool access_is_aligned(const StreamPlan *s, const TileOp *op, int64_t to) {
    if (!aligned(op->access.offset, to)) return false;
    for (uint32_t d = 0; d < s->p->dim_count; d++)
        if ((int)d != s->col && s->p->dims[d].extent > 1 && !aligned(op->access.stride[d], to))
            return false;
    return op->kind != TILE_GATHER || aligned(op->index_stride, to);
}

// Does the guard hold for all cols of a vector or for none?
static bool guard_is_even(const StreamPlan *s, const TileGuard *g, int width) {
    if (g->dim < 0 || g->dim != s->col) return true;
    int64_t extent = s->p->dims[g->dim].extent;
    if (g->div > 1) return aligned(g->div, width);
    if (g->mod < extent) return false;
    int64_t lo = g->lo - g->shift, hi = g->hi - g->shift;
    return (lo <= 0 || aligned(lo, width)) && (hi >= extent || aligned(hi, width));
}

bool stream_width_fits(const StreamPlan *s, uint32_t i, int width) {
    const TileOp *op = &s->p->ops.ptr[i];
    if (width == 1 || !tile_op_accesses(op->kind) || op->kind == TILE_SCATTER) return false;
    if (!s->ops[i].col || op->access.stride[s->col] != 1) return false;
    if (has_row_number(op) && s->ops[op->in[0].i].col) return false;
    DType type = arg_type(s, op);
    bool known =
        type == DTYPE_F32 || type == DTYPE_I32 || type == DTYPE_BF16 || type == DTYPE_F16;
    int64_t most = 16 / (int64_t)dtype_bytes(type);
    return known && access_is_aligned(s, op, width < most ? width : most) &&
           guard_is_even(s, &op->access.guard[0], width) &&
           guard_is_even(s, &op->access.guard[1], width);
}

bool stream_is_vector(const Stream *s, uint32_t i) {
    return stream_width_fits(&s->plan, i, s->shape.width);
}

bool stream_is_packed(const Stream *s, uint32_t i) {
    const TileOp *op = stream_op(s, i);
    if (!stream_is_vector(s, i) || tile_op_writes(op->kind)) return false;
    DType type = arg_type(&s->plan, op);
    return type == DTYPE_BF16 || type == DTYPE_F16;
}
