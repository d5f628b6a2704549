// loop_numbers.c: lists of row numbers. A gather or scatter whose row is computed (the rows of
// a group: their order, up to where the group ends) would compute it for every block of rows
// and panel anew, which costs as much as some k. So the numbers of a task's rows, and of a
// step's k, are computed once and lie in close memory.
#include "codegen/llvm/loop.h"

// The dimension that a list of such numbers goes along; -1: none is worth it.
static int listed_along(const Contract *c, TileId number) {
    const TileOp *op = tile_op(c->p, number);
    DimSet grid = 0;
    for (int d = 0; d < (int)c->p->dim_count; d++)
        if (c->p->dims[d].role == DIM_GRID) grid |= dim_bit(d);
    DimSet own = (DimSet)(op->dims & ~grid);
    bool is_made = op->kind == TILE_MAP || op->kind == TILE_GATHER;
    if (c->dot_form || !is_made) return -1;
    if (own == dim_bit(c->row)) return c->row;
    return own == dim_bit(c->k_last) ? c->k_last : -1;
}

void numbers_plan(Contract *c) {
    c->numbers = arena_array(c->b->arena, Numbers, c->p->ops.len);
    for (uint32_t i = 1; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        if (op->kind != TILE_GATHER && op->kind != TILE_SCATTER) continue;
        Numbers *n = &c->numbers[op->in[0].i];
        int along = listed_along(c, op->in[0]);
        if (n->list != NULL || along < 0) continue;
        n->along = along;
        // A block looks at the rows of the next one.
        int64_t ahead = along == c->row ? 2 * (int64_t)c->mr : (int64_t)c->ku * c->pair;
        n->list = build_scratch(c->b, (c->p->dims[along].tile + ahead) * 4);
    }
}

static void list_fill(const Contract *c, TileId v, IrValue list, IrValue count) {
    Builder *b = c->b;
    int along = c->numbers[v.i].along;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), count, 1);
    Place at = place_inside(c, &c->at);
    at.index[along] = build_iadd(b, at.index[along], loop.index);
    build_store(b, value_one(c, v, &at), build_gep(b, b->i32, list, loop.index), 4);
    loop_end(b, &loop);
    if (along != c->row) return;
    for (int i = 0; i < c->mr; i++)
        build_store(b, build_i32(b, -1, 1),
                    build_gep(b, b->i32, list, build_iadd(b, count, build_i64(b, i))), 4);
}

void numbers_fill(Contract *c, int along, IrValue count) {
    Builder *b = c->b;
    for (uint32_t i = 1; i < c->p->ops.len; i++) {
        Numbers *n = &c->numbers[i];
        if (n->list == NULL || n->along != along) continue;
        list_fill(c, (TileId){i}, n->list, count);
        IrValue back = build_imul(b, c->at.index[along], -1);
        n->from_zero = LLVMBuildGEP2(b->at, b->i32, n->list, &back, 1, "");
    }
}

IrValue number_listed(const Contract *c, TileId v, const Place *at) {
    Builder *b = c->b;
    const Numbers *n = &c->numbers[v.i];
    if (n->from_zero == NULL) return NULL;
    IrValue index = at->index[n->along];
    IrValue pointer = LLVMBuildGEP2(b->at, b->i32, n->from_zero, &index, 1, "");
    return build_load(b, b->i32, build_gep_bytes(b, pointer, at->shift[n->along] * 4), 4);
}
