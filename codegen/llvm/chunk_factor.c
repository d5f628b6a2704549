// chunk_factor.c: CHUNK: products of an alpha over runs of tokens, and operands of decayed dots
// times these. All are products of numbers that alphas are: if those are at most 1, nothing
// overflows.
#include "base/check.h"
#include "codegen/llvm/chunk.h"

Copy *copy_find(Chunk *c, CopyKind kind, TileId x, TileId alpha) {
    x = chunk_origin(c, x);
    for (uint32_t i = 0; i < c->copy_count; i++) {
        Copy *copy = &c->copies[i];
        if (copy->kind == kind && copy->of.i == x.i && copy->alpha.i == alpha.i) return copy;
    }
    return NULL;
}

Copy *copy_add(Chunk *c, CopyKind kind, TileId x, TileId alpha) {
    x = chunk_origin(c, x);
    const Matrix *m = &c->value[x.i];
    Copy *copy = &c->copies[c->copy_count++];
    *copy = (Copy){.kind = kind, .of = x, .alpha = alpha};
    if (kind == COPY_LATE_TURNED)
        copy->at = build_scratch(c->b, m->pitch * chunk_pitch(c, m->row) * 4);
    else
        copy->at =
            kind == COPY_BETWEEN ? chunk_room(c, c->m, c->n) : chunk_room(c, m->row, m->col);
    return copy;
}

// Products within each block, from its first token on or back from its last.
static void products_make(const Chunk *c, TileId alpha, IrValue to, bool from_start) {
    Builder *b = c->b;
    const Matrix *x = &c->value[alpha.i];
    Loop blocks = {.count = 0}, cols = {.count = 0};
    loop_begin(b, &blocks, build_i64(b, 0), c->live, c->block);
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, chunk_cols(c, x->col)), c->lanes);
    IrValue read = matrix_pointer(c, x->at, x->pitch, blocks.index, cols.index);
    IrValue write = matrix_pointer(c, to, x->pitch, blocks.index, cols.index);
    IrValue product = NULL, one = build_f32(b, 1, c->lanes);
    for (int i = 0; i < (int)c->block; i++) {
        int64_t bytes = (from_start ? i : c->block - 1 - i) * x->pitch * 4;
        IrValue factor = close_load(c, build_gep_bytes(b, read, bytes));
        IrValue next = product ? build_fmul(b, product, factor) : factor;
        close_store(c, from_start ? next : (product ? product : one),
                    build_gep_bytes(b, write, bytes));
        product = next;
    }
    loop_end(b, &cols);
    loop_end(b, &blocks);
}

// What alpha does to whole rows: x times the factors.
static void operand_make(Chunk *c, TileId x, IrValue factors, IrValue to) {
    Builder *b = c->b;
    const Matrix *m = &c->value[x.i];
    Loop rows = {.count = 0}, cols = {.count = 0};
    loop_begin(b, &rows, build_i64(b, 0), c->live, 1);
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, chunk_cols(c, m->col)), c->lanes);
    IrValue at = build_iadd(b, build_imul(b, rows.index, m->pitch), cols.index);
    IrValue product = build_fmul(b, close_load(c, build_gep(b, b->f32, m->at, at)),
                                 close_load(c, build_gep(b, b->f32, factors, at)));
    close_store(c, product, build_gep(b, b->f32, to, at));
    loop_end(b, &cols);
    loop_end(b, &rows);
}

// Row t is row t - 1 times alpha[t], and 1 where s = t.
static void between_make(const Chunk *c, TileId alpha, IrValue to) {
    Builder *b = c->b;
    int64_t pitch = chunk_pitch(c, c->n);
    Loop rows = {.count = 0}, cols = {.count = 0};
    IrValue one = build_i64(b, 1), lanes = build_lane_ids(b, 1, c->lanes);
    loop_begin(b, &rows, build_i64(b, 0), c->count, 1);
    IrValue factor = close_splat(c, c->value[alpha.i].at, rows.index);
    IrValue before = at_least(b, minus(b, rows.index, one), build_i64(b, 0));
    loop_begin(b, &cols, build_i64(b, 0), build_iadd(b, rows.index, one), c->lanes);
    IrValue diagonal = LLVMBuildTrunc(b->at, minus(b, rows.index, cols.index), b->i32, "");
    diagonal = build_splat(b, diagonal, c->lanes);
    IrValue x =
        build_fmul(b, factor, close_load(c, matrix_pointer(c, to, pitch, before, cols.index)));
    IrValue rest = build_select(b, build_icmp(b, LLVMIntEQ, lanes, diagonal),
                                build_f32(b, 1, c->lanes), build_f32(b, 0, c->lanes));
    x = build_select(b, build_icmp(b, LLVMIntSLT, lanes, diagonal), x, rest);
    close_store(c, x, matrix_pointer(c, to, pitch, rows.index, cols.index));
    loop_end(b, &cols);
    loop_end(b, &rows);
    matrix_clear_rows(c, to, pitch);
}

typedef struct {
    IrValue x, factors, to;
    int64_t pitch;
} Weighted;

static void weighted_vector(const Chunk *c, const Place *at, void *context) {
    Builder *b = c->b;
    const Weighted *w = context;
    IrValue offset = build_iadd(b, build_imul(b, at->row, w->pitch), at->col);
    IrValue x = close_load(c, build_gep(b, b->f32, w->x, offset));
    IrValue factor = close_load(c, build_gep(b, b->f32, w->factors, offset));
    close_store(c, build_fmul(b, x, factor), build_gep(b, b->f32, w->to, offset));
}

void pairs_weigh(Chunk *c, IrValue x, TileId alpha, IrValue to) {
    Weighted w = {x, copy_of(c, COPY_BETWEEN, alpha, alpha), to, chunk_pitch(c, c->n)};
    chunk_walk(c, c->m, c->n, weighted_vector, &w);
    matrix_clear_rows(c, to, w.pitch);
}

IrValue copy_of(Chunk *c, CopyKind kind, TileId x, TileId alpha) {
    const Copy *found = copy_find(c, kind, x, alpha);
    if (found) return found->at;
    IrValue to = copy_add(c, kind, x, alpha)->at;
    switch (kind) {
    case COPY_FROM_START:
    case COPY_TO_END: products_make(c, alpha, to, kind == COPY_FROM_START); break;
    case COPY_EARLY: operand_make(c, x, copy_of(c, COPY_FROM_START, alpha, alpha), to); break;
    case COPY_LATE: operand_make(c, x, copy_of(c, COPY_TO_END, alpha, alpha), to); break;
    case COPY_BETWEEN: between_make(c, alpha, to); break;
    case COPY_WEIGHTED: pairs_weigh(c, c->value[x.i].at, alpha, to); break;
    case COPY_LATE_TURNED: {
        // Nothing is behind the last block.
        IrValue end = minus(c->b, c->live, build_i64(c->b, c->block));
        matrix_turn(c, &c->value[x.i], copy_of(c, COPY_LATE, x, alpha), to, end);
        break;
    }
    case COPY_KINDS: BUG("no copy");
    }
    return to;
}
