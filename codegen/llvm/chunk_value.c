// chunk_value.c: CHUNK: values at places, walks over matrices, copies and stores.
#include "base/check.h"
#include "codegen/llvm/chunk.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/map.h"

enum { MAX_LANES = 16, UNROLL = 4 };

// ---- close memory

IrValue matrix_pointer(const Chunk *c, IrValue base, int64_t pitch, IrValue row, IrValue col) {
    Builder *b = c->b;
    return build_gep(b, b->f32, base, build_iadd(b, build_imul(b, row, pitch), col));
}

IrValue close_load(const Chunk *c, IrValue pointer) {
    return build_load(c->b, type_vector(c->b->f32, c->lanes), pointer, (unsigned)c->lanes * 4);
}

IrValue close_splat(const Chunk *c, IrValue base, IrValue index) {
    Builder *b = c->b;
    IrValue x = build_load(b, b->f32, build_gep(b, b->f32, base, index), 4);
    return build_splat(b, x, c->lanes);
}

void close_store(const Chunk *c, IrValue x, IrValue pointer) {
    build_store(c->b, x, pointer, (unsigned)c->lanes * 4);
}

// ---- places

static bool at_pairs(const Chunk *c, const Place *at) {
    return chunk_is_tokens(c, at->row_dim) && chunk_is_tokens(c, at->col_dim);
}

// Do the lanes run along this dim? Tokens have one place in both roles, but at pairs.
static bool is_along(const Chunk *c, const Place *at, int dim) {
    if (at_pairs(c, at) || !chunk_is_tokens(c, dim)) return dim == at->col_dim;
    return chunk_is_tokens(c, at->col_dim);
}

static IrValue offset_at(const Chunk *c, const Place *at, int dim) {
    return is_along(c, at, dim) ? at->col : at->row;
}

static IrValue access_index(const Chunk *c, const Place *at, const TileOp *op, int dim) {
    if (dim < c->m) return c->index[dim];
    bool stands = (op->dims >> dim & 1) != 0;
    if (!chunk_is_tokens(c, dim)) return offset_at(c, at, dim);
    return stands ? build_iadd(c->b, c->first, offset_at(c, at, dim)) : c->number;
}

DType arg_type(const Chunk *c, const TileOp *op) { return c->p->args.ptr[op->access.arg].type; }

IrValue access_pointer(const Chunk *c, const Place *at, const TileOp *op) {
    Builder *b = c->b;
    IrValue offset = build_i64(b, op->access.offset);
    for (int d = 0; d < (int)c->p->dim_count; d++) {
        int64_t stride = op->access.stride[d];
        if (stride)
            offset = build_iadd(b, build_imul(b, access_index(c, at, op, d), stride), offset);
    }
    return build_gep(b, element_type(b, arg_type(c, op)), b->args[op->access.arg], offset);
}

// From one lane to the next; 0: all are the same element.
static int64_t lane_stride(const Chunk *c, const Place *at, const TileOp *op) {
    for (int d = c->m; d < (int)c->p->dim_count; d++)
        if ((op->dims >> d & 1) && is_along(c, at, d)) return op->access.stride[d];
    return 0;
}

static IrValue lane_pointers(const Chunk *c, const TileOp *op, IrValue pointer,
                             int64_t stride) {
    IrValue lane[BUILD_MAX_LANES];
    for (int i = 0; i < c->lanes; i++)
        lane[i] = build_i64(c->b, i * stride);
    IrValue offsets = LLVMConstVector(lane, (unsigned)c->lanes);
    return LLVMBuildGEP2(c->b->at, element_type(c->b, arg_type(c, op)), pointer, &offsets, 1,
                         "");
}

// ---- values

static IrValue value_load(const Chunk *c, const Place *at, const TileOp *op) {
    Builder *b = c->b;
    IrValue pointer = access_pointer(c, at, op);
    int64_t stride = lane_stride(c, at, op);
    DType type = arg_type(c, op);
    if (stride == 0) return build_splat(b, element_load(b, type, pointer, 1, NULL), c->lanes);
    if (stride == 1) return element_load(b, type, pointer, c->lanes, at->mask);
    return element_gather(b, type, lane_pointers(c, op, pointer, stride), at->mask);
}

// (index / div) % mod + shift of what the lanes stand at.
static IrValue value_index(const Chunk *c, const Place *at, const TileOp *op) {
    Builder *b = c->b;
    const TileGuard *g = &op->access.guard[0];
    IrValue index = access_index(c, at, op, g->dim);
    index = build_splat(b, LLVMBuildTrunc(b->at, index, b->i32, ""), c->lanes);
    if (g->dim >= c->m && is_along(c, at, g->dim))
        index = LLVMBuildAdd(b->at, index, build_lane_ids(b, 1, c->lanes), "");
    if (g->div > 1) index = LLVMBuildUDiv(b->at, index, build_i32(b, g->div, c->lanes), "");
    if (g->mod < c->p->dims[g->dim].extent)
        index = LLVMBuildURem(b->at, index, build_i32(b, g->mod, c->lanes), "");
    return LLVMBuildAdd(b->at, index, build_i32(b, g->shift, c->lanes), "");
}

static IrValue value_close(const Chunk *c, const Place *at, const Matrix *x) {
    if (x->row >= 0) return close_load(c, matrix_pointer(c, x->at, x->pitch, at->row, at->col));
    if (x->col < 0) return close_splat(c, x->at, build_i64(c->b, 0));
    IrValue offset = offset_at(c, at, x->col);
    if (!is_along(c, at, x->col)) return close_splat(c, x->at, offset);
    return close_load(c, build_gep(c->b, c->b->f32, x->at, offset));
}

// A term that is added later is not there.
static IrValue value_map(const Chunk *c, const Place *at, const TileOp *op) {
    IrValue in[3] = {0};
    for (uint32_t i = 0; i < op->arity; i++)
        in[i] = place_value(c, at, op->in[i]);
    if (op->arity == 2 && in[1] == NULL) return in[0];
    if (in[0] == NULL) return op->fn == OP_SUB ? build_fneg(c->b, in[1]) : in[1];
    return map_emit(c->b, op, in);
}

static IrValue value_here(const Chunk *c, const Place *at, TileId v) {
    const TileOp *op = tile_op(c->p, v);
    switch ((int)op->kind) {
    case TILE_CONST: return map_const(c->b, op, c->lanes);
    case TILE_INDEX: return value_index(c, at, op);
    case TILE_LOAD: return value_load(c, at, op);
    case TILE_TURN: return place_value(c, at, op->in[0]);
    case TILE_MAP: return value_map(c, at, op);
    default: BUG("operation %d has no value at a place", (int)op->kind);
    }
}

IrValue place_value(const Chunk *c, const Place *at, TileId v) {
    const Matrix *x = &c->value[v.i];
    if (c->added[v.i]) return NULL;
    return x->at ? value_close(c, at, x) : value_here(c, at, v);
}

// ---- walks

typedef struct {
    const Chunk *c;
    Place at;
    PlaceEmit *emit;
    void *context;
} Walk;

static void walk_vector(Walk *w, IrValue col, IrValue mask) {
    w->at.col = col;
    w->at.mask = mask;
    w->emit(w->c, &w->at, w->context);
}

static void walk_vectors(Walk *w, IrValue from, int64_t vectors) {
    for (int64_t i = 0; i < vectors; i++)
        walk_vector(w, build_iadd(w->c->b, from, build_i64(w->c->b, i * w->c->lanes)), NULL);
}

// Along the elements of a k.
static void walk_elements(Walk *w, int64_t extent) {
    const Chunk *c = w->c;
    Builder *b = c->b;
    int64_t whole = extent / c->lanes, looped = whole / UNROLL * UNROLL;
    Loop loop = {.count = 0};
    if (looped) {
        loop_begin(b, &loop, build_i64(b, 0), build_i64(b, looped * c->lanes),
                   (int64_t)UNROLL * c->lanes);
        walk_vectors(w, loop.index, UNROLL);
        loop_end(b, &loop);
    }
    walk_vectors(w, build_i64(b, looped * c->lanes), whole - looped);
    int tail = (int)(extent - whole * c->lanes);
    if (tail)
        walk_vector(w, build_i64(b, whole * c->lanes), build_mask_first(b, tail, c->lanes));
}

// Lanes below an i64.
static IrValue mask_below(const Chunk *c, IrValue count) {
    Builder *b = c->b;
    IrValue limit = build_splat(b, LLVMBuildTrunc(b->at, count, b->i32, ""), c->lanes);
    return build_icmp(b, LLVMIntSLT, build_lane_ids(b, 1, c->lanes), limit);
}

// Along tokens: all of the tile, or, at pairs, those up to the row's.
static void walk_tokens(Walk *w) {
    const Chunk *c = w->c;
    Builder *b = c->b;
    bool pairs = w->at.row_dim >= 0;
    IrValue to = pairs ? build_iadd(b, w->at.row, build_i64(b, 1)) : c->count;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), to, c->lanes);
    walk_vector(w, loop.index, pairs ? NULL : mask_below(c, minus(b, to, loop.index)));
    loop_end(b, &loop);
}

static void walk_row(Walk *w) {
    const Chunk *c = w->c;
    if (w->at.col_dim < 0)
        walk_vector(w, build_i64(c->b, 0), build_mask_first(c->b, 1, c->lanes));
    else if (chunk_is_tokens(c, w->at.col_dim))
        walk_tokens(w);
    else
        walk_elements(w, c->p->dims[w->at.col_dim].extent);
}

void chunk_walk(const Chunk *c, int row_dim, int col_dim, PlaceEmit *emit, void *context) {
    Builder *b = c->b;
    Walk w = {c, {.row_dim = row_dim, .col_dim = col_dim}, emit, context};
    w.at.row = build_i64(b, 0);
    if (row_dim < 0) {
        walk_row(&w);
        return;
    }
    bool tokens = chunk_is_tokens(c, row_dim);
    Loop rows = {.count = 0};
    loop_begin(b, &rows, build_i64(b, 0),
               tokens ? c->count : build_i64(b, c->p->dims[row_dim].extent), 1);
    w.at.row = rows.index;
    walk_row(&w);
    loop_end(b, &rows);
}

// ---- whole matrices

typedef struct {
    TileId v;
    const Matrix *to;
} Fill;

static void fill_vector(const Chunk *c, const Place *at, void *context) {
    const Fill *f = context;
    bool itself = &c->value[f->v.i] == f->to;
    close_store(c, itself ? value_here(c, at, f->v) : place_value(c, at, f->v),
                matrix_pointer(c, f->to->at, f->to->pitch, at->row, at->col));
}

// The terms of a sum that is computed where it is read, or whose matrix is being filled.
static bool has_terms(const Chunk *c, TileId v, const Matrix *to) {
    const TileOp *op = tile_op(c->p, v);
    bool here = c->value[v.i].at == NULL || &c->value[v.i] == to;
    if (op->kind == TILE_TURN) return here;
    return here && op->kind == TILE_MAP && (op->fn == OP_ADD || op->fn == OP_SUB);
}

// Is there more in the sum than dots that are added?
static bool has_rest(const Chunk *c, TileId v, const Matrix *to) {
    const TileOp *op = tile_op(c->p, v);
    if (c->added[v.i]) return false;
    if (!has_terms(c, v, to)) return true;
    return has_rest(c, op->in[0], to) || (op->arity == 2 && has_rest(c, op->in[1], to));
}

typedef struct {
    Chunk *c;
    const Matrix *to;
    bool add;  // to what the matrix holds: something does
} Terms;

static void terms_add(Terms *t, TileId v, bool negate) {
    const TileOp *op = tile_op(t->c->p, v);
    if (t->c->added[v.i]) {
        Product p = dot_product(t->c, v);
        p.c = t->to->at;
        p.add = t->add;
        p.negate = negate;
        announced_take(t->c, v, &p);
        product_call(t->c->b, &p);
        t->add = true;
    } else if (has_terms(t->c, v, t->to)) {
        terms_add(t, op->in[0], negate);
        if (op->arity == 2) terms_add(t, op->in[1], negate != (op->fn == OP_SUB));
    }
}

void matrix_fill(Chunk *c, TileId v, const Matrix *to) {
    Fill f = {v, to};
    Terms t = {c, to, has_rest(c, v, to)};
    if (t.add) chunk_walk(c, to->row, to->col, fill_vector, &f);
    if (chunk_is_tokens(c, to->row)) matrix_clear_rows(c, to->at, to->pitch);
    if (is_pairs(c, to)) pairs_clip(c, to->at, to->pitch);
    terms_add(&t, v, false);
}

void matrix_clear_rows(const Chunk *c, IrValue at, int64_t pitch) {
    Builder *b = c->b;
    Loop rows = {.count = 0}, cols = {.count = 0};
    loop_begin(b, &rows, c->count, c->live, 1);
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, pitch), c->lanes);
    close_store(c, build_f32(b, 0, c->lanes),
                matrix_pointer(c, at, pitch, rows.index, cols.index));
    loop_end(b, &cols);
    loop_end(b, &rows);
}

void pairs_clip(const Chunk *c, IrValue at, int64_t pitch) {
    Builder *b = c->b;
    Loop rows = {.count = 0};
    loop_begin(b, &rows, build_i64(b, 0), c->live, 1);
    IrValue lane = LLVMBuildAnd(b->at, rows.index, build_i64(b, c->lanes - 1), "");
    IrValue pointer = matrix_pointer(c, at, pitch, rows.index, minus(b, rows.index, lane));
    IrValue keep = mask_below(c, build_iadd(b, lane, build_i64(b, 1)));
    close_store(c, build_select(b, keep, close_load(c, pointer), build_f32(b, 0, c->lanes)),
                pointer);
    loop_end(b, &rows);
}

// By squares of vectors. A tile that is less than a vector of tokens has fewer rows.
static void turn_emit(const Chunk *c, const Matrix *x, IrValue from, IrValue to, IrValue end) {
    Builder *b = c->b;
    bool tokens = chunk_is_tokens(c, x->row);
    int rows = tokens ? (int)c->block : c->lanes;
    int64_t pitch = chunk_pitch(c, x->row);
    Loop down = {.count = 0}, right = {.count = 0};
    loop_begin(b, &down, build_i64(b, 0), end, rows);
    loop_begin(b, &right, build_i64(b, 0), build_i64(b, chunk_cols(c, x->col)), c->lanes);
    IrValue square[MAX_LANES];
    from = matrix_pointer(c, from, x->pitch, down.index, right.index);
    to = matrix_pointer(c, to, pitch, right.index, down.index);
    for (int i = 0; i < c->lanes; i++)
        square[i] = i < rows ? close_load(c, build_gep_bytes(b, from, i * x->pitch * 4))
                             : build_f32(b, 0, c->lanes);
    build_transpose(b, square, c->lanes);
    for (int i = 0; i < c->lanes; i++)
        close_store(c, square[i], build_gep_bytes(b, to, i * pitch * 4));
    loop_end(b, &right);
    loop_end(b, &down);
}

void matrix_turn(Chunk *c, const Matrix *x, IrValue from, IrValue to, IrValue end) {
    int64_t key[] = {ROUTINE_TURN, chunk_is_tokens(c, x->row), x->pitch, chunk_cols(c, x->col),
                     chunk_pitch(c, x->row)};
    IrValue args[] = {from, to, end};
    Routine routine;
    if (!routine_begin(c->b, &routine, (Str){(const char *)key, sizeof key}, args, 3)) return;
    turn_emit(c, x, args[0], args[1], args[2]);
    routine_end(c->b, &routine);
}

IrValue matrix_turned(Chunk *c, TileId v) {
    Matrix *x = &c->value[chunk_origin(c, v).i];
    if (x->turned) return x->turned;
    int64_t rows = chunk_rows(c, x->row);
    x->turned = build_scratch(c->b, x->pitch * chunk_pitch(c, x->row) * 4);
    matrix_turn(c, x, x->at, x->turned,
                chunk_is_tokens(c, x->row) ? c->live : build_i64(c->b, rows));
    return x->turned;
}

// ---- stores

static void store_vector(const Chunk *c, const Place *at, void *context) {
    Builder *b = c->b;
    const TileOp *op = context;
    IrValue x = place_value(c, at, op->in[0]), pointer = access_pointer(c, at, op);
    int64_t stride = lane_stride(c, at, op);
    DType type = arg_type(c, op);
    bool one = at->col_dim < 0 || c->p->dims[at->col_dim].extent == 1;
    if (stride == 1 || one)
        element_store(b, type, x, pointer, at->mask);
    else
        element_scatter(b, type, x, lane_pointers(c, op, pointer, stride), at->mask);
}

void chunk_store(const Chunk *c, const TileOp *store) {
    const Matrix *x = &c->value[store->in[0].i];
    TileOp copy = *store;
    chunk_walk(c, x->row, x->col, store_vector, &copy);
}
