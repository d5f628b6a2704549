// loop_value.c: operations of a LOOP program at a place: the elements of operands while they
// are packed, and everything after the dot.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/loop.h"
#include "codegen/llvm/map.h"

DimSet dim_bit(int dim) { return (DimSet)(dim < 0 ? 0U : 1U << dim); }

int64_t elements_of(const Contract *c, int64_t k) { return ceil_div(k, c->pair); }

IrValue whole_elements(const Contract *c, IrValue k) {
    return c->pair == 1 ? k : LLVMBuildUDiv(c->b->at, k, build_i64(c->b, c->pair), "");
}

IrValue half_element(const Contract *c) {
    IrValue odd = LLVMBuildTrunc(c->b->at, c->k_count, c->b->i1, "");
    bool even = LLVMIsAConstantInt(odd) && LLVMConstIntGetZExtValue(odd) == 0;
    return c->pair == 1 || even ? NULL : odd;
}

// ---- places

static IrValue *known_copy(const Contract *c, const IrValue *known) {
    uint32_t n = c->p->ops.len;
    IrValue *copy = arena_array(c->b->arena, IrValue, n);
    if (known != NULL) memcpy(copy, known, n * sizeof(IrValue));
    return copy;
}

Place place_new(const Contract *c) {
    Place at = {.along = -1, .lanes = 1};
    at.pointer = known_copy(c, NULL);
    at.one = known_copy(c, NULL);
    at.all = known_copy(c, NULL);
    return at;
}

Place place_inside(const Contract *c, const Place *outer) {
    Place at = *outer;
    at.pointer = known_copy(c, outer->pointer);
    at.one = known_copy(c, outer->one);
    at.all = known_copy(c, outer->all);
    return at;
}

IrValue place_index(const Contract *c, const Place *at, int dim) {
    return build_iadd(c->b, at->index[dim], build_i64(c->b, at->shift[dim]));
}

// The dot comes as vectors, even where nothing that it is made of stands at the cols.
static bool stands_along(const Contract *c, TileId v, const Place *at) {
    return (tile_op(c->p, v)->dims & dim_bit(at->along)) != 0 || c->after_dot[v.i];
}

static void mark_needed(const Contract *c, TileId v, bool *needed) {
    if (needed[v.i]) return;
    needed[v.i] = true;
    const TileOp *op = tile_op(c->p, v);
    if (op->kind == TILE_DOT || c->numbers[v.i].from_zero != NULL) return;
    for (uint32_t i = 0; i < op->arity; i++)
        mark_needed(c, op->in[i], needed);
}

void place_prepare(const Contract *c, Place *at, TileId v, DimSet known) {
    bool *needed = arena_array(c->b->arena, bool, c->p->ops.len);
    mark_needed(c, v, needed);
    for (uint32_t i = 1; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        if (!needed[i] || c->after_dot[i] || op->dims & ~known) continue;
        if (stands_along(c, (TileId){i}, at))
            value_all(c, (TileId){i}, at);
        else
            value_one(c, (TileId){i}, at);
    }
}

IrValue mask_below(Builder *b, IrValue count, int lanes) {
    if (LLVMIsAConstantInt(count)) {
        int64_t n = LLVMConstIntGetSExtValue(count);
        return n >= lanes ? NULL : build_mask_first(b, (int)n, lanes);
    }
    IrValue limit = build_splat(b, LLVMBuildTrunc(b->at, count, b->i32, ""), lanes);
    return build_icmp(b, LLVMIntSLT, build_lane_ids(b, 1, lanes), limit);
}

// ---- positions

static IrValue both(Builder *b, IrValue x, IrValue y) {
    if (x == NULL) return y;
    return y == NULL ? x : LLVMBuildAnd(b->at, x, y, "");
}

// An integer of the type of x.
static IrValue like(const Builder *b, IrValue x, int64_t number) {
    IrType type = LLVMTypeOf(x);
    return type == b->i64 ? build_i64(b, number) : build_i32(b, number, type_lanes(type));
}

// (index / div) % mod + shift of a guard or INDEX: i64, or a vector of i32 along its dimension.
static IrValue guard_position(const Contract *c, const TileGuard *g, const Place *at,
                              bool vector) {
    Builder *b = c->b;
    IrValue x = place_index(c, at, g->dim);
    if (vector) {
        x = build_splat(b, LLVMBuildTrunc(b->at, x, b->i32, ""), at->lanes);
        x = LLVMBuildAdd(b->at, x, build_lane_ids(b, 1, at->lanes), "");
    }
    if (g->div > 1) x = LLVMBuildUDiv(b->at, x, like(b, x, g->div), "");
    if ((c->p->dims[g->dim].extent - 1) / g->div >= g->mod)
        x = LLVMBuildURem(b->at, x, like(b, x, g->mod), "");
    return g->shift ? LLVMBuildAdd(b->at, x, like(b, x, g->shift), "") : x;
}

static IrValue guard_condition(const Contract *c, const TileGuard *g, const Place *at,
                               bool vector) {
    IrValue x = guard_position(c, g, at, vector);
    IrValue low = build_icmp(c->b, LLVMIntSGE, x, like(c->b, x, g->lo));
    return both(c->b, low, build_icmp(c->b, LLVMIntSLT, x, like(c->b, x, g->hi)));
}

static IrValue row_number_condition(Builder *b, const TileOp *op, IrValue number) {
    // As an unsigned number a negative one is too large.
    return build_icmp(b, LLVMIntULT, number, like(b, number, op->index_count));
}

static DType arg_type(const Contract *c, const TileOp *op) {
    return c->p->args.ptr[op->access.arg].type;
}

IrValue place_pointer(const Contract *c, const TileOp *op, Place *at) {
    Builder *b = c->b;
    IrValue *known = &at->pointer[op - c->p->ops.ptr];
    IrType type = element_type(b, arg_type(c, op));
    int64_t shift = 0;
    for (uint32_t d = 0; d < c->p->dim_count; d++)
        if (op->access.stride[d] != 0) shift += at->shift[d] * op->access.stride[d];
    if (*known == NULL) {
        IrValue offset = build_i64(b, op->access.offset);
        for (uint32_t d = 0; d < c->p->dim_count; d++)
            if (op->access.stride[d] != 0)
                offset =
                    build_iadd(b, build_imul(b, at->index[d], op->access.stride[d]), offset);
        *known = LLVMBuildGEP2(b->at, type, b->args[op->access.arg], &offset, 1, "");
    }
    IrValue by = build_i64(b, shift);
    return shift == 0 ? *known : LLVMBuildGEP2(b->at, type, *known, &by, 1, "");
}

IrValue place_row(const Contract *c, const TileOp *op, IrValue pointer, Place *at) {
    Builder *b = c->b;
    IrValue number = LLVMBuildSExt(b->at, value_one(c, op->in[0], at), b->i64, "");
    IrValue offset = build_imul(b, number, op->index_stride);
    return LLVMBuildGEP2(b->at, element_type(b, arg_type(c, op)), pointer, &offset, 1, "");
}

IrValue place_has_row(const Contract *c, const TileOp *op, Place *at) {
    return row_number_condition(c->b, op, value_one(c, op->in[0], at));
}

// One pointer a lane, `stride` elements apart; `number` is a vector of row numbers or NULL.
static IrValue lane_pointers(const Contract *c, const TileOp *op, IrValue pointer,
                             IrValue number, const Place *at) {
    Builder *b = c->b;
    IrValue lane[BUILD_MAX_LANES];
    for (int i = 0; i < at->lanes; i++)
        lane[i] = build_i64(b, i * op->access.stride[at->along]);
    IrValue offsets = LLVMConstVector(lane, (unsigned)at->lanes);
    if (number != NULL) {
        IrValue wide = LLVMBuildSExt(b->at, number, LLVMTypeOf(offsets), "");
        IrValue factor = build_splat(b, build_i64(b, op->index_stride), at->lanes);
        offsets = LLVMBuildAdd(b->at, offsets, LLVMBuildMul(b->at, wide, factor, ""), "");
    }
    return LLVMBuildGEP2(b->at, element_type(b, arg_type(c, op)), pointer, &offsets, 1, "");
}

// ---- loads

// Neighbours along the vector are neighbours in memory, or there is but one.
static bool is_dense(const Contract *c, const TileOp *op, const Place *at) {
    return op->access.stride[at->along] == 1 || c->p->dims[at->along].extent == 1;
}

typedef struct {
    IrValue pointer;
    IrValue where;   // i1: does the access happen; NULL: yes
    IrValue mask;    // the same a lane
    IrValue number;  // row numbers, a vector; NULL: none
} Reach;

static Reach reach_of(const Contract *c, const TileOp *op, Place *at, bool vector) {
    Builder *b = c->b;
    Reach r = {.pointer = place_pointer(c, op, at), .mask = vector ? at->mask : NULL};
    for (int k = 0; k < 2; k++) {
        const TileGuard *g = &op->access.guard[k];
        if (g->dim < 0) continue;
        bool spread = vector && g->dim == at->along;
        IrValue holds = guard_condition(c, g, at, spread);
        if (spread)
            r.mask = both(b, r.mask, holds);
        else
            r.where = both(b, r.where, holds);
    }
    if (op->kind != TILE_GATHER) return r;
    if (vector && stands_along(c, op->in[0], at)) {
        r.number = value_all(c, op->in[0], at);
        r.mask = both(b, r.mask, row_number_condition(b, op, r.number));
        return r;
    }
    r.where = both(b, r.where, place_has_row(c, op, at));
    r.pointer = place_row(c, op, r.pointer, at);
    return r;
}

// What pairs are made of stays as it is in memory.
static IrValue widened(const Contract *c, const TileOp *op, IrValue raw) {
    bool operand = op == tile_op(c->p, c->rows.value) || op == tile_op(c->p, c->cols.value);
    return c->pair > 1 && operand ? raw : element_widen(c->b, arg_type(c, op), raw);
}

// Where the access does not happen, zeros are read instead.
static IrValue load_one(const Contract *c, const TileOp *op, const Reach *r) {
    IrValue pointer = r->pointer;
    if (r->where != NULL) pointer = build_select(c->b, r->where, pointer, c->b->zeros);
    return widened(c, op, element_load_raw(c->b, arg_type(c, op), pointer, 1, NULL));
}

static IrValue load_all(const Contract *c, const TileOp *op, Place *at) {
    Builder *b = c->b;
    Reach r = reach_of(c, op, at, true);
    if (r.number != NULL || (!is_dense(c, op, at) && op->access.stride[at->along] != 0)) {
        if (r.where != NULL) r.mask = both(b, r.mask, build_splat(b, r.where, at->lanes));
        IrValue pointers = lane_pointers(c, op, r.pointer, r.number, at);
        return widened(c, op, element_gather_raw(b, arg_type(c, op), pointers, r.mask));
    }
    if (is_dense(c, op, at)) {
        if (r.where != NULL) r.pointer = build_select(b, r.where, r.pointer, b->zeros);
        return widened(c, op,
                       element_load_raw(b, arg_type(c, op), r.pointer, at->lanes, r.mask));
    }
    IrValue x = build_splat(b, load_one(c, op, &r), at->lanes);
    return r.mask == NULL ? x : build_select(b, r.mask, x, LLVMConstNull(LLVMTypeOf(x)));
}

// ---- values

static IrValue op_value(const Contract *c, const TileOp *op, Place *at, bool vector) {
    Builder *b = c->b;
    IrValue in[3] = {0};
    build_line(b, op->span);
    switch ((int)op->kind) {
    case TILE_CONST: return map_const(b, op, 1);
    case TILE_INDEX: {
        IrValue x = guard_position(c, &op->access.guard[0], at, vector);
        return vector ? x : LLVMBuildTrunc(b->at, x, b->i32, "");
    }
    case TILE_LOAD:
    case TILE_GATHER: {
        if (vector) return load_all(c, op, at);
        Reach r = reach_of(c, op, at, false);
        return load_one(c, op, &r);
    }
    case TILE_MAP:
        for (uint32_t i = 0; i < op->arity; i++)
            in[i] = vector ? value_all(c, op->in[i], at) : value_one(c, op->in[i], at);
        return map_emit(b, op, in);
    default: break;
    }
    BUG("operation %d has no value at a place", (int)op->kind);
}

IrValue value_one(const Contract *c, TileId v, Place *at) {
    IrValue *known = &at->one[v.i];
    if (*known == NULL) *known = number_listed(c, v, at);
    if (*known == NULL) *known = op_value(c, tile_op(c->p, v), at, false);
    return *known;
}

IrValue value_all(const Contract *c, TileId v, Place *at) {
    if (at->all[v.i] != NULL) return at->all[v.i];
    if (stands_along(c, v, at))
        at->all[v.i] = op_value(c, tile_op(c->p, v), at, true);
    else
        at->all[v.i] = build_splat(c->b, value_one(c, v, at), at->lanes);
    return at->all[v.i];
}

// The place of a row whose number is known; none if that is no row.
static IrValue row_mask(const Contract *c, const TileOp *op, Place *at, IrValue *pointer) {
    Builder *b = c->b;
    *pointer = place_row(c, op, *pointer, at);
    return build_splat(b, place_has_row(c, op, at), at->lanes);
}

void place_store(const Contract *c, const TileOp *op, IrValue x, Place *at) {
    DType type = arg_type(c, op);
    build_line(c->b, op->span);
    IrValue pointer = place_pointer(c, op, at), mask = at->mask;
    if (op->kind == TILE_SCATTER) mask = both(c->b, mask, row_mask(c, op, at, &pointer));
    if (is_dense(c, op, at))
        element_store(c->b, type, x, pointer, mask);
    else
        element_scatter(c->b, type, x, lane_pointers(c, op, pointer, NULL, at), mask);
}
