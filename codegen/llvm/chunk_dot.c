// chunk_dot.c: CHUNK: plain dots: products of matrices in close memory, of pairs only where
// s <= t. A dot whose right operand lies across what is summed reads its transpose.
#include "base/check.h"
#include "codegen/llvm/chunk.h"

static int only_dim(DimSet dims) {
    int d = 0;
    while (!(dims >> d & 1))
        d++;
    return d;
}

bool is_pairs(const Chunk *c, const Matrix *x) {
    return chunk_is_tokens(c, x->row) && chunk_is_tokens(c, x->col);
}

// Its rows are the result's: across them, or along them.
static void left_operand(const Chunk *c, const Matrix *x, int over, Product *p) {
    p->a = x->at;
    p->a_across = x->col == over ? x->pitch : 1;
    p->a_step = x->col == over ? 1 : x->pitch;
    if (!is_pairs(c, x)) return;
    // [t][s]: of a row t, the sum over s ends with t; of a row s, that over t begins with s.
    if (x->col == over)
        p->end = build_i64(c->b, 1);
    else
        p->first = build_i64(c->b, 0);
}

static void right_operand(Chunk *c, TileId v, int over, Product *p) {
    const Matrix *x = &c->value[v.i];
    bool across = x->row == over;
    p->b = across ? x->at : matrix_turned(c, v);
    p->b_step = across ? x->pitch : chunk_pitch(c, x->row);
}

Product dot_product(Chunk *c, TileId v) {
    Builder *b = c->b;
    const TileOp *op = tile_op(c->p, v);
    const Matrix *to = &c->value[v.i];
    int over = only_dim(op->over);
    bool swap = (tile_op(c->p, op->in[1])->dims >> to->col & 1) == 0;
    TileId left = op->in[swap], right = op->in[!swap];
    Product p = {
        .c = to->at, .c_pitch = to->pitch, .cols = chunk_cols(c, to->col), .unit = c->lanes};
    bool tokens = chunk_is_tokens(c, to->row);
    p.rows = tokens ? c->live : build_i64(b, to->row < 0 ? 1 : chunk_rows(c, to->row));
    if (to->row < 0) p.unit = 1;
    if (tokens) p.unit = c->block;
    p.count = chunk_is_tokens(c, over) ? c->count : build_i64(b, c->p->dims[over].extent);
    left_operand(c, &c->value[left.i], over, &p);
    right_operand(c, right, over, &p);
    if (is_pairs(c, to)) p.first_row = build_i64(b, 0);
    return p;
}

void dot_emit(Chunk *c, TileId v) {
    const Matrix *to = &c->value[v.i];
    Product p = dot_product(c, v);
    announced_take(c, v, &p);
    product_call(c->b, &p);
    if (is_pairs(c, to)) pairs_clip(c, to->at, to->pitch);
}
