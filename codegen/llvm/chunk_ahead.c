// chunk_ahead.c: CHUNK: what the next tile reads and writes is asked for while this one's
// products are summed. Rows of one head lie far apart, and processors look ahead only along
// addresses that follow each other. A product asks for what has rows and cols like its result.
#include "base/check.h"
#include "codegen/llvm/chunk.h"

static bool is_alike(const Chunk *c, int dim, int other) {
    if (chunk_is_tokens(c, dim) || chunk_is_tokens(c, other))
        return chunk_is_tokens(c, dim) && chunk_is_tokens(c, other);
    return c->p->dims[dim].extent == c->p->dims[other].extent;
}

// What is loaded or stored.
static const Matrix *matrix_of(const Chunk *c, const TileOp *op) {
    return &c->value[op->kind == TILE_STORE ? op->in[0].i : op - c->p->ops.ptr];
}

// Is it a matrix of rows without gaps whose place moves from tile to tile?
static bool moves(const Chunk *c, const TileOp *op) {
    if (op->kind != TILE_LOAD && op->kind != TILE_STORE) return false;
    const Matrix *x = matrix_of(c, op);
    if (x->row < 0 || is_pairs(c, x) || op->access.stride[x->col] != 1) return false;
    return op->access.stride[c->m] != 0 || op->access.stride[c->n] != 0;
}

void announced_plan(Chunk *c) {
    c->ahead_count = 0;
    if (c->p->dims[c->m].extent <= c->tile) return;
    c->ahead = arena_array(c->b->arena, const TileOp *, c->p->ops.len);
    vec_each (const TileOp, op, &c->p->ops)
        if (moves(c, op)) c->ahead[c->ahead_count++] = op;
}

static bool fits(const Chunk *c, const TileOp *op, const Matrix *to) {
    const Matrix *x = matrix_of(c, op);
    return is_alike(c, x->row, to->row) && is_alike(c, x->col, to->col);
}

// Products from this one on with results like its own.
static uint32_t hosts_from(const Chunk *c, TileId dot) {
    const Matrix *to = &c->value[dot.i];
    uint32_t hosts = 0;
    for (uint32_t i = dot.i; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        const Matrix *x = &c->value[i];
        if (op->kind == TILE_DOT && op->arity == 2 && x->row >= 0)
            hosts += is_alike(c, x->row, to->row) && is_alike(c, x->col, to->col);
    }
    return hosts;
}

// Behind the last tile it asks for that one again, which is there.
static ProductAhead ahead_of(const Chunk *c, const TileOp *op) {
    Builder *b = c->b;
    const Matrix *x = matrix_of(c, op);
    Chunk next = *c;
    int64_t last = (c->p->dims[c->m].extent - 1) / c->tile;
    next.number = build_iadd(b, c->number, build_i64(b, c->p->reverse ? -1 : 1));
    next.number = at_most(b, at_least(b, next.number, build_i64(b, 0)), build_i64(b, last));
    next.first = build_imul(b, next.number, c->tile);
    Place at = {.row_dim = x->row, .col_dim = x->col};
    at.row = at.col = build_i64(b, 0);
    int64_t element = (int64_t)dtype_bytes(arg_type(c, op));
    return (ProductAhead){.at = access_pointer(&next, &at, op),
                          .pitch = op->access.stride[x->row] * element,
                          .element = element,
                          .write = op->kind == TILE_STORE};
}

void announced_take(Chunk *c, TileId dot, Product *p) {
    const Matrix *to = &c->value[dot.i];
    uint32_t left = 0, kept = 0, taken = 0;
    if (to->row < 0 || is_pairs(c, to)) return;
    for (uint32_t i = 0; i < c->ahead_count; i++)
        left += fits(c, c->ahead[i], to);
    DimSet over = tile_op(c->p, dot)->over;
    int64_t steps = c->tile;
    for (int d = c->n + 1; d < (int)c->p->dim_count; d++)
        if (over >> d & 1) steps = c->p->dims[d].extent;
    uint32_t hosts = hosts_from(c, dot);
    ASSERT(hosts > 0);  // the dot is one of them
    uint32_t share = (left + hosts - 1) / hosts;
    for (uint32_t i = 0; i < c->ahead_count; i++) {
        bool take = taken < share && taken < PRODUCT_MOST_AHEAD && fits(c, c->ahead[i], to);
        if (take) {
            p->ahead[taken] = ahead_of(c, c->ahead[i]);
            p->ahead[taken++].steps = steps;
        } else
            c->ahead[kept++] = c->ahead[i];
    }
    c->ahead_count = kept;
}
