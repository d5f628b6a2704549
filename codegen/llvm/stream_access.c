// stream_access.c: addresses, guards, loads and stores of STREAM programs.
//
// A condition on the row (a guard, an index out of range) does not branch: the address is
// redirected to zeros. One that differs between cols becomes a mask.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/stream.h"
#include "ir/tile/tile_access.h"

enum { CACHE_LINE = 64, WORD = 4 };

static const TileOp *op_at(const Stream *s, uint32_t i) { return &s->plan.p->ops.ptr[i]; }

static DType arg_type(const Stream *s, const TileOp *op) {
    return s->plan.p->args.ptr[op->access.arg].type;
}

static int64_t col_stride(const Stream *s, const TileOp *op) {
    return s->plan.col < 0 ? 0 : op->access.stride[s->plan.col];
}

static bool has_row_number(const TileOp *op) {
    return op->kind == TILE_GATHER || op->kind == TILE_SCATTER;
}

// Does the row number differ between cols?
static bool row_number_is_col(const Stream *s, const TileOp *op) {
    return has_row_number(op) && s->plan.ops[op->in[0].i].col;
}

bool access_is_dense(const Stream *s, uint32_t i) {
    const TileOp *op = op_at(s, i);
    return col_stride(s, op) == 1 && !row_number_is_col(s, op);
}

static IrValue both(Builder *b, IrValue x, IrValue y) {
    if (x == NULL) return y;
    return y == NULL ? x : LLVMBuildAnd(b->at, x, y, "");
}

// ---- guards and indices

// (index / div) % mod; index is i64 or a vector of i32, and not negative.
static IrValue index_part(Stream *s, const TileGuard *g, IrValue index) {
    Builder *b = s->b;
    int64_t extent = s->plan.p->dims[g->dim].extent;
    IrType type = LLVMTypeOf(index);
    int lanes = type_lanes(type);
    bool wide = type == b->i64;
    if (g->div > 1) {
        IrValue div = wide ? build_i64(b, g->div) : build_i32(b, g->div, lanes);
        index = g->div >= extent ? LLVMConstNull(type) : LLVMBuildUDiv(b->at, index, div, "");
    }
    if (g->mod < ceil_div(extent, g->div)) {
        IrValue mod = wide ? build_i64(b, g->mod) : build_i32(b, g->mod, lanes);
        index = LLVMBuildURem(b->at, index, mod, "");
    }
    return index;
}

// Does the guard let the access happen at this index? NULL: always.
static IrValue guard_condition(Stream *s, const TileGuard *g, IrValue index) {
    Builder *b = s->b;
    int64_t most = s->plan.p->dims[g->dim].extent;
    int64_t lo = int_clamp(g->lo - g->shift, 0, most),
            hi = int_clamp(g->hi - g->shift, 0, most);
    int64_t parts = ceil_div(most, g->div);
    if (lo == 0 && hi >= (g->mod < parts ? g->mod : parts)) return NULL;
    IrType type = LLVMTypeOf(index);
    int lanes = type_lanes(type);
    if (lo >= hi) return LLVMConstNull(type_vector(b->i1, lanes));
    bool wide = type == b->i64;
    IrValue part = index_part(s, g, index);
    IrValue from = wide ? build_i64(b, lo) : build_i32(b, lo, lanes);
    IrValue count = wide ? build_i64(b, hi - lo) : build_i32(b, hi - lo, lanes);
    if (lo != 0) part = LLVMBuildSub(b->at, part, from, "");
    return build_icmp(b, LLVMIntULT, part, count);
}

// i32 per lane.
static IrValue col_index(Stream *s, const Step *step) {
    Builder *b = s->b;
    IrValue first = build_iadd(b, s->col_base, step->first);
    if (step->cols == COLS_ODD) first = build_iadd(b, first, build_i64(b, 1));
    IrValue narrow = build_splat(b, LLVMBuildTrunc(b->at, first, b->i32, ""), step->lanes);
    int apart = step->cols == COLS_RUN ? 1 : 2;
    return LLVMBuildAdd(b->at, narrow, build_lane_ids(b, apart, step->lanes), "");
}

IrValue access_index(Stream *s, uint32_t i, const Step *step) {
    Builder *b = s->b;
    const TileGuard *g = &op_at(s, i)->access.guard[0];
    build_line(b, op_at(s, i)->span);
    if (g->dim == s->plan.col) {
        IrValue part = index_part(s, g, col_index(s, step));
        return LLVMBuildAdd(b->at, part, build_i32(b, g->shift, step->lanes), "");
    }
    IrValue part = index_part(s, g, s->index[g->dim]);
    part = build_iadd(b, part, build_i64(b, g->shift));
    return LLVMBuildTrunc(b->at, part, b->i32, "");
}

// Is the row number one that the access has?
static IrValue row_number_condition(Stream *s, const TileOp *op, IrValue number) {
    int lanes = type_lanes(LLVMTypeOf(number));
    int64_t count = int_clamp(op->index_count, 0, INT32_MAX);
    return build_icmp(s->b, LLVMIntULT, number, build_i32(s->b, count, lanes));
}

// ---- what is the same for the whole row

// Elements between the addresses of this row and the one that is `prefetch` rows further.
static int64_t ahead_stride(const Stream *s, const TileOp *op) {
    int64_t rows = tile_knob(s->plan.p, "prefetch", 0);
    if (rows <= 0 || has_row_number(op)) return 0;
    if (s->in_blocks && rows < s->b->lanes) rows = s->b->lanes;
    for (int d = (int)s->plan.p->dim_count - 1; d >= 0; d--)
        if (d != s->plan.col && op->access.stride[d] != 0) return rows * op->access.stride[d];
    return 0;
}

void access_prepare(Stream *s, uint32_t i) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    StreamOp *so = &s->ops[i];
    build_line(b, op->span);
    IrValue at = build_i64(b, op->access.offset);
    for (uint32_t d = 0; d < s->plan.p->dim_count; d++)
        if ((int)d != s->plan.col && op->access.stride[d] != 0)
            at = build_iadd(b, at, build_imul(b, s->index[d], op->access.stride[d]));
    if (col_stride(s, op) != 0)
        at = build_iadd(b, at, build_imul(b, s->col_base, op->access.stride[s->plan.col]));
    so->condition = NULL;
    for (int k = 0; k < 2; k++) {
        const TileGuard *g = &op->access.guard[k];
        if (g->dim >= 0 && g->dim != s->plan.col)
            so->condition = both(b, so->condition, guard_condition(s, g, s->index[g->dim]));
    }
    if (has_row_number(op) && !row_number_is_col(s, op)) {
        IrValue number = s->ops[op->in[0].i].value;
        so->condition = both(b, so->condition, row_number_condition(s, op, number));
        IrValue wide = LLVMBuildSExt(b->at, number, b->i64, "");
        at = build_iadd(b, at, build_imul(b, wide, op->index_stride));
    }
    IrType type = element_type(b, arg_type(s, op));
    so->pointer = build_gep(b, type, b->args[op->access.arg], at);
    int64_t ahead = ahead_stride(s, op);
    so->ahead = ahead == 0 ? NULL : build_gep(b, type, so->pointer, build_i64(b, ahead));
}

// ---- one step

// Lanes at which the access happens; NULL: all. The row's condition is included if `row`.
static IrValue step_mask(Stream *s, uint32_t i, const Step *step, bool row) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    IrValue mask = step->mask;
    for (int k = 0; k < 2; k++)
        if (op->access.guard[k].dim >= 0 && op->access.guard[k].dim == s->plan.col)
            mask = both(b, mask, guard_condition(s, &op->access.guard[k], col_index(s, step)));
    if (row_number_is_col(s, op)) {
        IrValue number = operand_value(s, op->in[0], step);
        mask = both(b, mask, row_number_condition(s, op, number));
    }
    if (row && s->ops[i].condition != NULL)
        mask = both(b, mask, build_splat(b, s->ops[i].condition, step->lanes));
    return mask;
}

// Pointer of the step's first col.
static IrValue step_pointer(Stream *s, uint32_t i, const Step *step) {
    const TileOp *op = op_at(s, i);
    int64_t stride = s->plan.ops[i].col ? col_stride(s, op) : 0;
    IrValue offset = build_imul(s->b, step->first, stride);
    return build_gep(s->b, element_type(s->b, arg_type(s, op)), s->ops[i].pointer, offset);
}

// One pointer a lane.
static IrValue step_pointers(Stream *s, uint32_t i, const Step *step) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    IrType wide = type_vector(b->i64, step->lanes);
    IrValue lane = LLVMConstNull(wide);
    int64_t stride = col_stride(s, op);
    if (step->lanes > 1) {
        IrValue all[BUILD_MAX_LANES];
        for (int k = 0; k < step->lanes; k++)
            all[k] = build_i64(b, k * stride);
        lane = LLVMConstVector(all, (unsigned)step->lanes);
    }
    if (row_number_is_col(s, op)) {
        IrValue number = LLVMBuildSExt(b->at, operand_value(s, op->in[0], step), wide, "");
        IrValue factor = build_splat(b, build_i64(b, op->index_stride), step->lanes);
        lane = LLVMBuildAdd(b->at, lane, LLVMBuildMul(b->at, number, factor, ""), "");
    }
    return build_gep(b, element_type(b, arg_type(s, op)), step_pointer(s, i, step), lane);
}

// ---- a block of rows

static IrValue rows_pointer(Stream *s, uint32_t i, int dim) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    access_prepare(s, i);
    IrValue all[BUILD_MAX_LANES], pointer = s->ops[i].pointer;
    if (op->access.stride[dim] <= 1) return pointer;
    for (int k = 0; k < b->lanes; k++)
        all[k] = build_i64(b, k * op->access.stride[dim]);
    IrValue lane = LLVMConstVector(all, (unsigned)b->lanes);
    return build_gep(b, element_type(b, arg_type(s, op)), pointer, lane);
}

IrValue access_load_rows(Stream *s, uint32_t i, int dim, IrValue mask) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    DType type = arg_type(s, op);
    IrValue at = rows_pointer(s, i, dim);
    int64_t stride = op->access.stride[dim];
    if (stride == 1) return element_load(b, type, at, b->lanes, mask);
    if (stride == 0) return build_splat(b, element_load(b, type, at, 1, NULL), b->lanes);
    return element_gather(b, type, at, mask);
}

void access_store_rows(Stream *s, uint32_t i, int dim, IrValue x, IrValue mask) {
    const TileOp *op = op_at(s, i);
    IrValue at = rows_pointer(s, i, dim);
    if (op->access.stride[dim] == 1)
        element_store(s->b, arg_type(s, op), x, at, mask);
    else
        element_scatter(s->b, arg_type(s, op), x, at, mask);
}

// ---- loads and stores of a step

// Where the condition on the row fails, zeros are read instead.
static IrValue redirected(Stream *s, uint32_t i, IrValue pointer) {
    if (s->ops[i].condition == NULL) return pointer;
    return build_select(s->b, s->ops[i].condition, pointer, s->b->zeros);
}

IrValue access_load(Stream *s, uint32_t i, const Step *step) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    DType type = arg_type(s, op);
    build_line(b, op->span);
    if (step->lanes > 1 && !access_is_dense(s, i) &&
        (col_stride(s, op) != 0 || row_number_is_col(s, op)))
        return element_gather(b, type, step_pointers(s, i, step), step_mask(s, i, step, true));
    bool one =
        step->lanes == 1 || col_stride(s, op) == 0;  // the second: guarded along the cols
    IrValue mask = step_mask(s, i, step, false);
    if (!one) {
        IrValue pointer = redirected(s, i, step_pointer(s, i, step));
        if (step->cols == COLS_RUN) return element_load(b, type, pointer, step->lanes, mask);
        return element_load_second(b, type, pointer, step->lanes, step->cols == COLS_ODD);
    }
    IrValue pointer = step->lanes == 1 ? step_pointers(s, i, step) : step_pointer(s, i, step);
    if (step->lanes == 1 && mask != NULL) {
        pointer = build_select(b, mask, pointer, b->zeros);
        mask = NULL;
    }
    IrValue x = element_load(b, type, redirected(s, i, pointer), 1, NULL);
    if (step->lanes == 1) return x;
    x = build_splat(b, x, step->lanes);
    return mask == NULL ? x : build_select(b, mask, x, LLVMConstNull(LLVMTypeOf(x)));
}

static bool guards_cols(const Stream *s, const TileOp *op) {
    return op->access.guard[0].dim == s->plan.col || op->access.guard[1].dim == s->plan.col;
}

// One operation instead of two widens bf16, and half as many store whole cache lines; all else
// must be shuffled.
bool access_pairs(const Stream *s) {
    int halves = 0;
    if (!level_is_avx512(s->b->level) || s->plan.col < 0) return false;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        const TileOp *op = op_at(s, i);
        bool access =
            op->kind == TILE_LOAD || op->kind == TILE_GATHER || tile_op_writes(op->kind);
        if (!access || !s->plan.ops[i].col) continue;
        if (!access_is_dense(s, i) || guards_cols(s, op) || op->kind == TILE_SCATTER)
            return false;
        if (s->plan.ops[i].home > LEVEL_KERNEL)
            halves += arg_type(s, op) == DTYPE_BF16 ? 1 : -1;
    }
    return halves > 0;
}

bool access_prefetches(const Stream *s, const Level *l, uint32_t i) {
    const TileOp *op = op_at(s, i);
    // In a loop inside that of its rows the next row would be the same one.
    return op->kind == TILE_LOAD && s->plan.ops[i].home == l->plan.level &&
           access_is_dense(s, i) && ahead_stride(s, op) != 0;
}

// Of the steps that share a cache line one asks for it, if they are in one iteration.
void access_prefetch(Stream *s, uint32_t i, const Step *step) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    const ColValue *v = &s->level->cols[i];
    if (v->asks >= 0 && v->asks != v->sweep) return;
    int64_t share = v->asks < 0 ? v->sweeps : 1;
    IrType type = element_type(b, arg_type(s, op));
    int64_t bytes = b->lanes * (int64_t)dtype_bytes(arg_type(s, op));
    int64_t steps = share * CACHE_LINE / bytes;
    if (steps > 1 && step->turn % steps != 0) return;
    IrValue at = LLVMBuildUDiv(b->at, step->at, build_i64(b, share), "");
    if (share > 1) at = build_iadd(b, at, build_i64(b, s->cols * v->sweep / share));
    build_prefetch(b, build_gep(b, type, s->ops[i].ahead, at), false, 2);
}

// Cols that are stored at once.
static int64_t store_cols(const Stream *s) {
    return (int64_t)s->b->lanes * (s->paired ? 2 : 1);
}

static int64_t vector_bytes(const Stream *s, const TileOp *op) {
    return store_cols(s) * (int64_t)dtype_bytes(arg_type(s, op));
}

// A line of which one vector after the other is stored waits in a buffer for the last. Those
// are few: with eight such lines at once a kernel took three times as long, with four no less.
static bool lines_wait(const Stream *s) {
    enum { MOST_WAITING = 2 };
    int waiting = 0;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        const TileOp *op = op_at(s, i);
        waiting +=
            op->kind == TILE_STORE && s->plan.ops[i].col && vector_bytes(s, op) < CACHE_LINE;
    }
    return waiting <= MOST_WAITING;
}

bool access_nontemporal(const Stream *s, uint32_t i) {
    enum { LEAST_BYTES = 16 };  // of a vector that can be stored so
    const TileOp *op = op_at(s, i);
    if (op->kind != TILE_STORE || !access_is_dense(s, i) || tile_knob(s->plan.p, "nt", 0) == 0)
        return false;
    int64_t lanes = store_cols(s), bytes = vector_bytes(s, op);
    bool ok = bytes >= LEAST_BYTES && (bytes >= CACHE_LINE || lines_wait(s)) &&
              op->access.offset % lanes == 0;
    for (uint32_t d = 0; d < s->plan.p->dim_count; d++)
        if ((int)d != s->plan.col && op->access.stride[d] % lanes != 0) ok = false;
    return ok && s->plan.p->dims[s->plan.col].tile % lanes == 0 &&
           op->access.guard[0].dim < 0 && op->access.guard[1].dim < 0;
}

// Both steps of a pair, in the order of the cols.
static IrValue pair_narrow(Stream *s, const TileOp *op, const Step *odd, IrValue x) {
    Step even = *odd;
    even.part = 0;
    return element_narrow_pair(s->b, arg_type(s, op), operand_value(s, op->in[0], &even), x);
}

// Stores have no guards: only the end of the row can mask one. A pair is stored by its second
// step.
void access_store(Stream *s, uint32_t i, const Step *step, bool nontemporal) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    DType type = arg_type(s, op);
    build_line(b, op->span);
    IrValue x = operand_value(s, op->in[0], step);
    if (nontemporal || step->cols == COLS_ODD) {
        bool pair = step->cols == COLS_ODD;
        unsigned bytes = (unsigned)dtype_bytes(type);
        unsigned aligned = (unsigned)b->lanes * (pair ? WORD : bytes);
        IrValue raw = pair ? pair_narrow(s, op, step, x) : element_narrow(b, type, x);
        IrValue store =
            build_store(b, raw, step_pointer(s, i, step), nontemporal ? aligned : bytes);
        if (nontemporal) build_nontemporal(b, store);
    } else if (step->lanes > 1 && !access_is_dense(s, i)) {
        element_scatter(b, type, x, step_pointers(s, i, step), step->mask);
    } else {
        element_store(b, type, x, step_pointer(s, i, step), step->mask);
    }
}

// Adds x to the element at the pointer, or puts it there.
static void scatter_to(Builder *b, const TileOp *op, DType type, IrValue pointer, IrValue x) {
    if (op->fn == OP_ADD) {
        IrValue old = element_load(b, type, pointer, type_lanes(LLVMTypeOf(x)), NULL);
        x = op->type == DTYPE_F32 ? build_fadd(b, old, x) : LLVMBuildAdd(b->at, old, x, "");
    }
    element_store(b, type, x, pointer, NULL);
}

void access_scatter(Stream *s, uint32_t i, const Step *step) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    DType type = arg_type(s, op);
    build_line(b, op->span);
    IrValue x = operand_value(s, op->in[1], step), mask = step_mask(s, i, step, false);
    Branch row = {0};
    if (s->ops[i].condition != NULL) row = branch_begin(b, s->ops[i].condition);
    if (access_is_dense(s, i) && mask == NULL) {
        scatter_to(b, op, type, step_pointer(s, i, step), x);
    } else {
        // Lanes may meet in one element, so they take their turns.
        IrValue pointers = step_pointers(s, i, step);
        for (int k = 0; k < step->lanes; k++) {
            bool vector = step->lanes > 1;
            IrValue bit = mask == NULL ? NULL : vector ? build_extract(b, mask, k) : mask;
            Branch lane = {0};
            if (bit != NULL) lane = branch_begin(b, bit);
            scatter_to(b, op, type, vector ? build_extract(b, pointers, k) : pointers,
                       vector ? build_extract(b, x, k) : x);
            if (bit != NULL) branch_end(b, lane);
        }
    }
    if (s->ops[i].condition != NULL) branch_end(b, row);
}
