// chunk_solve.c: CHUNK: X with (I + L) X = B, or (I + L)^T X = B, where L is the strictly lower
// part of a value at pairs: substitution by blocks of tokens, forward or backward.
#include "base/check.h"
#include "codegen/llvm/chunk.h"

enum { MAX_BLOCK = 16 };

typedef struct {
    Chunk *c;
    const Matrix *a, *x;
    bool transposed;
    IrValue first;  // token of the block
} Solve;

// What the blocks that are solved contribute to this one.
static void block_product(const Solve *s) {
    Chunk *c = s->c;
    Builder *b = c->b;
    IrValue zero = build_i64(b, 0), from = zero;
    Product p = {0};
    p.a_across = s->transposed ? 1 : s->a->pitch;
    p.a_step = s->transposed ? s->a->pitch : 1;
    p.rows = build_i64(b, c->block);
    p.count = s->first;
    p.unit = c->block;
    p.add = p.negate = true;
    p.b_step = p.c_pitch = s->x->pitch;
    p.cols = chunk_cols(c, s->x->col);
    p.c = matrix_pointer(c, s->x->at, s->x->pitch, s->first, zero);
    if (s->transposed) {
        from = build_iadd(b, s->first, build_i64(b, c->block));
        p.count = minus(b, c->live, from);
        p.a = matrix_pointer(c, s->a->at, s->a->pitch, from, s->first);
    } else {
        p.a = matrix_pointer(c, s->a->at, s->a->pitch, s->first, zero);
    }
    p.b = matrix_pointer(c, s->x->at, s->x->pitch, from, zero);
    product_call(b, &p);
}

// One vector of cols of the block, row by row.
static void block_rows(const Solve *s, IrValue col) {
    Chunk *c = s->c;
    Builder *b = c->b;
    int rows = (int)c->block;
    IrValue x[MAX_BLOCK];
    IrValue a = matrix_pointer(c, s->a->at, s->a->pitch, s->first, s->first);
    IrValue at = matrix_pointer(c, s->x->at, s->x->pitch, s->first, col);
    for (int i = 0; i < rows; i++)
        x[i] = close_load(c, build_gep_bytes(b, at, i * s->x->pitch * 4));
    for (int done = 0; done < rows; done++) {
        int from = s->transposed ? rows - 1 - done : done;
        for (int k = done + 1; k < rows; k++) {
            int to = s->transposed ? rows - 1 - k : k;
            int64_t element = s->transposed ? from * s->a->pitch + to : to * s->a->pitch + from;
            IrValue factor = close_splat(c, a, build_i64(b, element));
            x[to] = build_fma(b, build_fneg(b, factor), x[from], x[to]);
        }
    }
    for (int i = 0; i < rows; i++)
        close_store(c, x[i], build_gep_bytes(b, at, i * s->x->pitch * 4));
}

void solve_emit(Chunk *c, TileId v) {
    Builder *b = c->b;
    const TileOp *op = tile_op(c->p, v);
    Solve s = {.c = c,
               .a = &c->value[op->in[0].i],
               .x = &c->value[v.i],
               .transposed = op->way == WAY_TRANSPOSED};
    Loop blocks = {.count = 0}, cols = {.count = 0};
    matrix_fill(c, op->in[1], s.x);
    loop_begin(b, &blocks, build_i64(b, 0), c->live, c->block);
    s.first = blocks.index;
    if (s.transposed)
        s.first = minus(b, minus(b, c->live, blocks.index), build_i64(b, c->block));
    block_product(&s);
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, chunk_cols(c, s.x->col)), c->lanes);
    block_rows(&s, cols.index);
    loop_end(b, &cols);
    loop_end(b, &blocks);
}
