// tile_verify_chunk.c: the invariants of chunk programs (docs/tile_ir.md).
#include "base/check.h"
#include "ir/tile/tile_check.h"

static DimSet tokens(const Check *c) { return c->m | c->n; }

// The dims of operand i besides the grid.
static DimSet own_dims(const Check *c, uint32_t i) {
    return (DimSet)(tile_operand(c, i)->dims & ~c->grid);
}

static bool one_dim(DimSet dims) { return dims && !(dims & (dims - 1)); }

static bool at_most_one(DimSet dims) { return !(dims & (dims - 1)); }

bool tile_chunk_dims_verify(const Check *c) {
    const TileDim *m = &c->p->dims[tile_dim_of(c->p, DIM_M)];
    const TileDim *n = &c->p->dims[tile_dim_of(c->p, DIM_N)];
    if (m->extent != n->extent || m->tile != n->tile)
        return tile_bad(c, "m and n of a chunk program are the same tokens in the same tiles");
    int dealt = tile_dealt_to(c->p);
    double segments = dealt < 0 ? 1 : (double)c->p->dims[dealt].extent;
    double tiles = (double)tile_chunks(c->p);
    bool fits = c->p->segments == (dealt >= 0) && segments <= tiles &&
                segments * tiles <= (double)TILE_MAX_NUMBER;
    return fits || tile_bad(c, "segments are points of a grid dimension, each with a tile");
}

static bool load_verify(const Check *c) {
    bool guarded = c->op->access.guard[0].dim >= 0;
    if (!tile_by_tiles(c->p, c->op) || !guarded) return true;
    return tile_bad(c, "a load that moves by tiles has no guard");
}

static bool store_verify(const Check *c) {
    if (c->op->dims & tokens(c) || tile_by_tiles(c->p, c->op)) return true;
    if (tile_operand(c, 0)->kind == TILE_CARRY) return true;
    return tile_bad(c, "only a carry is stored after the last tile");
}

static bool reduce_verify(const Check *c) {
    DimSet over = c->op->over, from = own_dims(c, 0);
    bool fits = one_dim(over) && over & (c->k | c->m) && over & from &&
                !tile_at_pairs(c->p, from) && c->op->fn == OP_REDUCE_SUM;
    return fits || tile_bad(c, "a reduction of a chunk program is a sum over one k, or over m");
}

static bool plain_dot_verify(const Check *c) {
    DimSet a = own_dims(c, 0), b = own_dims(c, 1), over = c->op->over;
    if (!one_dim(over) || !(over & a & b))
        return tile_bad(c, "a dot of a chunk program is over one dimension of both operands");
    DimSet row = (DimSet)(a & ~over), col = (DimSet)(b & ~over);
    if (!at_most_one(row) || !at_most_one(col) || row & col)
        return tile_bad(c, "its operands do not stand at one other dimension each");
    if (tile_at_pairs(c->p, b) || (row == c->n && col == c->m))
        return tile_bad(c, "of m and n, or of what stands at both, m is on the left");
    return true;
}

static bool decayed_dot_verify(const Check *c) {
    DimSet a = own_dims(c, 0), b = own_dims(c, 1), over = c->op->over;
    DimSet width = (DimSet)(over & c->k ? over : b & c->k), pairs = tokens(c);
    bool scores = a == (c->m | width) && b == (c->n | width);
    bool sums = a == pairs && b == (over | width) && (over == c->n || over == c->m);
    if (!one_dim(width) || !(over & c->k ? scores : sums))
        return tile_bad(c,
                        "a decayed dot is of m, k and n, k, or of m, n and what is at one of "
                        "them and k");
    DimSet alpha = own_dims(c, 2);
    return alpha == c->m || alpha == (c->m | width) ||
           tile_bad(c, "its decay stands at m, or at m and the k that decays");
}

// Is it made of constants and indices?
static bool is_number(const Check *c, TileId v) {
    const TileOp *op = tile_op(c->p, v);
    for (uint32_t k = 0; op->kind == TILE_MAP && k < op->arity; k++)
        if (!is_number(c, op->in[k])) return false;
    return op->kind == TILE_MAP || op->kind == TILE_CONST || op->kind == TILE_INDEX;
}

static bool carry_verify(const Check *c) {
    const TileOp *init = tile_operand(c, 0);
    bool loaded = init->kind == TILE_LOAD && !tile_by_tiles(c->p, init);
    if (!(loaded || is_number(c, c->op->in[0])) || c->op->dims & tokens(c))
        return tile_bad(c, "a carry begins as numbers, or what is loaded, without tokens");
    return true;
}

static bool next_verify(const Check *c) {
    if (tile_operand(c, 0)->kind != TILE_CARRY) return tile_bad(c, "a next of no carry");
    return !(tile_operand(c, 1)->dims & ~c->op->dims) ||
           tile_bad(c, "the carry lacks dimensions of its next value");
}

static bool scan_verify(const Check *c) {
    if (c->op->fn != OP_MUL && c->op->fn != OP_ADD)
        return tile_bad(c, "a scan is of products or sums");
    bool fits = c->op->over == c->m && c->op->way <= WAY_ALL && own_dims(c, 0) & c->m &&
                !tile_at_pairs(c->p, own_dims(c, 0));
    return fits || tile_bad(c, "a scan is over m, of a value at m");
}

static bool solve_verify(const Check *c) {
    DimSet b = own_dims(c, 1);
    bool fits = own_dims(c, 0) == tokens(c) && b & c->m && one_dim(b & c->k) &&
                !(b & ~(c->m | c->k)) &&
                (c->op->way == WAY_UPTO || c->op->way == WAY_TRANSPOSED);
    return fits || tile_bad(c, "what is solved stands at m and n, and at m and one k");
}

static bool turn_verify(const Check *c) {
    return one_dim(own_dims(c, 0) & tokens(c)) ||
           tile_bad(c, "what is turned stands at one of m and n");
}

static bool place_verify(const Check *c) {
    DimSet own = (DimSet)(c->op->dims & ~c->grid), rest = (DimSet)(own & (own - 1));
    if (!at_most_one(rest))
        return tile_bad(c, "it stands at more than two dimensions besides the grid");
    if (!tile_at_pairs(c->p, own)) return true;
    return c->op->kind == TILE_MAP || c->op->kind == TILE_DOT ||
           tile_bad(c, "only maps and dots stand at m and n");
}

bool tile_chunk_op_verify(const Check *c) {
    if (!place_verify(c)) return false;
    switch (c->op->kind) {
    case TILE_NONE:
    case TILE_CONST:
    case TILE_INDEX:
    case TILE_MAP: return true;
    case TILE_LOAD: return load_verify(c);
    case TILE_STORE: return store_verify(c);
    case TILE_REDUCE: return reduce_verify(c);
    case TILE_DOT: return c->op->arity == 3 ? decayed_dot_verify(c) : plain_dot_verify(c);
    case TILE_CARRY: return carry_verify(c);
    case TILE_NEXT: return next_verify(c);
    case TILE_SCAN: return scan_verify(c);
    case TILE_SOLVE: return solve_verify(c);
    case TILE_TURN: return turn_verify(c);
    case TILE_GATHER:
    case TILE_SCATTER:
    case TILE_LIMIT:
    case TILE_START:
    case TILE_SORT: return tile_bad(c, "it is no operation of chunk programs");
    }
    BUG("operation %d", (int)c->op->kind);
}

static uint32_t nexts_of(const TileProgram *p, uint32_t carry) {
    uint32_t count = 0;
    vec_each (const TileOp, op, &p->ops)
        count += op->kind == TILE_NEXT && op->in[0].i == carry;
    return count;
}

bool tile_chunk_verify(Check *c) {
    bool ended = false;
    for (uint32_t i = 1; i < c->p->ops.len; i++) {
        c->op = &c->p->ops.ptr[i];
        if (c->op->kind == TILE_CARRY && nexts_of(c->p, i) != 1)
            return tile_bad(c, "a carry has one next value");
        if (ended && tile_op_has_value(c->op->kind)) return tile_bad(c, "a value after a next");
        ended = ended || c->op->kind == TILE_NEXT;
    }
    c->op = NULL;
    return true;
}
