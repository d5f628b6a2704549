// loop_epilogue.c: what follows the dot, on the sums of a block: maps, loads and stores. Every
// value of a point is computed before its first store, because a store may be in place.
#include "base/check.h"
#include "codegen/llvm/loop.h"
#include "ir/tile/tile_access.h"

enum { COSTLY_FLOPS = 4 };

bool epilogue_is_costly(const Contract *c) {
    double flops = 0;
    for (uint32_t i = c->dot.i + 1; i < c->p->ops.len; i++)
        if (c->p->ops.ptr[i].kind == TILE_MAP) flops += op_flops(c->p->ops.ptr[i].fn);
    return flops > COSTLY_FLOPS;
}

static TileId stored(const TileOp *op) { return op->in[op->arity - 1]; }

static void prepare_stored(const Contract *c, Place *at, DimSet known) {
    for (uint32_t i = c->dot.i + 1; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        if (tile_op_writes(op->kind)) place_prepare(c, at, stored(op), known);
    }
}

static void point_finish(const Contract *c, Place *at, IrValue sum) {
    at->all[c->dot.i] = sum;
    for (uint32_t i = c->dot.i + 1; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        if (tile_op_writes(op->kind)) value_all(c, stored(op), at);
    }
    for (uint32_t i = c->dot.i + 1; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        if (tile_op_writes(op->kind)) place_store(c, op, value_all(c, stored(op), at), at);
    }
}

// Does an operation read or write, for each row of a block, a run of memory along its cols?
static bool meets_memory(const Contract *c, const TileOp *op) {
    bool numbered = op->kind == TILE_GATHER || op->kind == TILE_SCATTER;
    if (op->kind != TILE_LOAD && op->kind != TILE_STORE && !numbered) return false;
    if (numbered && tile_op(c->p, op->in[0])->dims & dim_bit(c->col)) return false;
    return op->access.stride[c->col] == 1 && (op->dims & dim_bit(c->row)) != 0;
}

// Asks for the memory that one vector of the block's results meets.
void epilogue_ask(Contract *c, const Block *k, IrValue row, IrValue vector) {
    Builder *b = c->b;
    Place at = place_inside(c, &c->at);
    at.index[c->row] = build_iadd(b, at.index[c->row], build_iadd(b, k->row, row));
    at.index[c->col] = build_iadd(b, at.index[c->col], k->col);
    for (uint32_t i = 1; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        if (!meets_memory(c, op)) continue;
        int64_t bytes = c->lanes * (int64_t)dtype_bytes(c->p->args.ptr[op->access.arg].type);
        IrValue first = place_pointer(c, op, &at);
        if (op->kind == TILE_GATHER || op->kind == TILE_SCATTER)
            first = place_row(c, op, first, &at);
        build_prefetch(b, build_gep(b, b->i8, first, build_imul(b, vector, bytes)),
                       tile_op_writes(op->kind), 3);
    }
}

// Place of each vector of the block, with what is the same for all rows.
static void places_of_cols(const Contract *c, const Block *k, Place *cols) {
    Builder *b = c->b;
    Place at = place_inside(c, &c->at);
    at.index[c->col] = build_iadd(b, at.index[c->col], k->col);
    at.along = c->col;
    at.lanes = c->lanes;
    DimSet known = 0;
    for (int d = 0; d < (int)c->p->dim_count; d++)
        if (c->p->dims[d].role == DIM_GRID) known |= dim_bit(d);
    prepare_stored(c, &at, known);
    for (int j = 0; j < k->width.vectors; j++) {
        cols[j] = place_inside(c, &at);
        cols[j].shift[c->col] = (int64_t)j * c->lanes;
        if (j == k->width.vectors - 1 && k->width.tail < c->lanes)
            cols[j].mask = build_mask_first(b, k->width.tail, c->lanes);
        prepare_stored(c, &cols[j], (DimSet)(known | dim_bit(c->col)));
    }
}

// The row at `row`, whose pointers all of its points share.
static void row_finish(const Contract *c, const Block *k, const Place *cols, const Place *row,
                       const IrValue *sums) {
    IrValue *one = NULL;
    for (int j = 0; j < k->width.vectors; j++) {
        Place at = place_inside(c, &cols[j]);
        at.index[c->row] = row->index[c->row];
        at.shift[c->row] = row->shift[c->row];
        at.pointer = row->pointer;
        if (one != NULL) at.one = one;
        point_finish(c, &at, sums[j]);
        one = at.one;
    }
}

void epilogue_emit(Contract *c, const Block *k, IrValue *sums) {
    Builder *b = c->b;
    int vectors = k->width.vectors;
    Place cols[LOOP_MAX_CARRIED];
    places_of_cols(c, k, cols);
    IrValue first = build_iadd(b, c->at.index[c->row], k->row);
    if (!c->rolled) {
        Place row = place_inside(c, &cols[0]);
        row.index[c->row] = first;
        for (int i = 0; i < k->rows; i++) {
            row.shift[c->row] = i;
            row_finish(c, k, cols, &row, sums + (size_t)i * vectors);
        }
        return;
    }
    IrType type = type_vector(b->f32, c->lanes);
    int64_t bytes = (int64_t)c->lanes * 4;
    for (int i = 0; i < k->rows * vectors; i++)
        build_store(b, sums[i], build_gep_bytes(b, c->spill, i * bytes), (unsigned)bytes);
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, k->rows), 1);
    IrValue x[LOOP_MAX_CARRIED];
    IrValue from = build_gep(b, b->i8, c->spill, build_imul(b, loop.index, vectors * bytes));
    for (int j = 0; j < vectors; j++)
        x[j] = build_load(b, type, build_gep_bytes(b, from, j * bytes), (unsigned)bytes);
    Place row = place_inside(c, &cols[0]);
    row.index[c->row] = build_iadd(b, first, loop.index);
    row_finish(c, k, cols, &row, x);
    loop_end(b, &loop);
}
