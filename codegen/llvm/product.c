// product.c: see product.h.
#include "codegen/llvm/product.h"

#include "base/integer.h"
#include "codegen/llvm/routine.h"

IrValue at_least(Builder *b, IrValue x, IrValue y) {
    return build_select(b, build_icmp(b, LLVMIntSLT, x, y), y, x);
}

IrValue at_most(Builder *b, IrValue x, IrValue y) {
    return build_select(b, build_icmp(b, LLVMIntSLT, x, y), x, y);
}

IrValue minus(Builder *b, IrValue x, IrValue y) { return LLVMBuildNSWSub(b->at, x, y, ""); }

enum {
    UNROLL = 4,
    MOST_SUMS = 24,
    MOST_ROWS = 12,
    MOST_VECTORS = 4,
    NARROW_ROWS = 16,
    LINE_BYTES = 64
};

// A block of c.
typedef struct {
    Builder *b;
    const Product *p;
    int rows, vectors;
    IrValue col, row;
    IrValue sums[MOST_SUMS];
} Block;

static void step(Block *k, IrValue a, IrValue row) {
    Builder *b = k->b;
    const Product *p = k->p;
    IrType type = type_vector(b->f32, b->lanes);
    IrValue x[MOST_VECTORS];
    for (int j = 0; j < k->vectors; j++)
        x[j] = build_load(b, type, build_gep_bytes(b, row, (int64_t)j * b->lanes * 4),
                          (unsigned)b->lanes * 4);
    for (int i = 0; i < k->rows; i++) {
        IrValue y = build_load(b, b->f32, build_gep_bytes(b, a, i * p->a_across * 4), 4);
        y = build_splat(b, p->negate ? build_fneg(b, y) : y, b->lanes);
        for (int j = 0; j < k->vectors; j++) {
            IrValue *sum = &k->sums[i * k->vectors + j];
            *sum = p->pairs ? build_dot_pairs(b, y, x[j], *sum) : build_fma(b, y, x[j], *sum);
        }
    }
}

// The lines under the block, a few at each step: there is room for a dozen on their way, and
// the products' own operands need some.
static void ahead_step(const Block *k, const ProductAhead *ahead, IrValue step) {
    Builder *b = k->b;
    int64_t line = LINE_BYTES / ahead->element, width = (int64_t)k->vectors * b->lanes;
    int64_t across = ceil_div(width, line), lines = k->rows * across;
    int64_t share = ceil_div(lines * UNROLL, ahead->steps);
    IrValue row = build_gep(b, b->i8, ahead->at, build_imul(b, k->row, ahead->pitch));
    IrValue at = build_gep(b, b->i8, row, build_imul(b, k->col, ahead->element));
    IrValue first = LLVMBuildUDiv(b->at, build_imul(b, step, share), build_i64(b, UNROLL), "");
    for (int64_t i = 0; i < share; i++) {
        IrValue number =
            at_most(b, build_iadd(b, first, build_i64(b, i)), build_i64(b, lines - 1));
        IrValue down = LLVMBuildUDiv(b->at, number, build_i64(b, across), "");
        IrValue right = minus(b, number, build_imul(b, down, across));
        IrValue byte =
            build_iadd(b, build_imul(b, down, ahead->pitch), build_imul(b, right, LINE_BYTES));
        build_prefetch(b, build_gep(b, b->i8, at, byte), ahead->write, 2);
    }
}

static void steps(Block *k, IrValue a, IrValue from, IrValue to, int unroll) {
    Builder *b = k->b;
    const Product *p = k->p;
    uint32_t count = (uint32_t)(k->rows * k->vectors);
    bool known = LLVMIsAConstantInt(from) && LLVMIsAConstantInt(to);
    if (known && LLVMConstIntGetSExtValue(from) >= LLVMConstIntGetSExtValue(to)) return;
    Loop loop = {.count = count};
    memcpy(loop.carried, k->sums, count * sizeof(IrValue));
    loop_begin(b, &loop, from, to, unroll);
    memcpy(k->sums, loop.carried, count * sizeof(IrValue));
    IrValue a_at = build_gep(b, b->f32, a, build_imul(b, loop.index, p->a_step));
    IrValue b_at =
        build_gep(b, b->f32, p->b, build_iadd(b, build_imul(b, loop.index, p->b_step), k->col));
    for (int i = 0; unroll == UNROLL && i < PRODUCT_MOST_AHEAD; i++)
        if (p->ahead[i].at) ahead_step(k, &p->ahead[i], loop.index);
    for (int u = 0; u < unroll; u++)
        step(k, build_gep_bytes(b, a_at, u * p->a_step * 4),
             build_gep_bytes(b, b_at, u * p->b_step * 4));
    memcpy(loop.carried, k->sums, count * sizeof(IrValue));
    loop_end(b, &loop);
    memcpy(k->sums, loop.carried, count * sizeof(IrValue));
}

static IrValue c_pointer(const Block *k, int i, int j) {
    Builder *b = k->b;
    IrValue at = build_iadd(b, build_imul(b, k->row, k->p->c_pitch), k->col);
    return build_gep_bytes(b, build_gep(b, b->f32, k->p->c, at),
                           (i * k->p->c_pitch + (int64_t)j * b->lanes) * 4);
}

static void block_emit(Block *k) {
    Builder *b = k->b;
    const Product *p = k->p;
    IrType type = type_vector(b->f32, b->lanes);
    unsigned align = (unsigned)b->lanes * 4;
    for (int i = 0; i < k->rows * k->vectors; i++) {
        IrValue c = c_pointer(k, i / k->vectors, i % k->vectors);
        k->sums[i] = p->add ? build_load(b, type, c, align) : build_f32(b, 0, b->lanes);
    }
    for (int j = 0; p->scale && j < k->vectors; j++) {
        IrValue at = build_gep_bytes(b, build_gep(b, b->f32, p->scale, k->col),
                                     (int64_t)j * b->lanes * 4);
        IrValue scale = build_load(b, type, at, align);
        for (int i = 0; i < k->rows; i++)
            k->sums[i * k->vectors + j] = build_fmul(b, scale, k->sums[i * k->vectors + j]);
    }
    IrValue from = build_i64(b, 0), to = p->count;
    if (p->first) from = at_least(b, from, build_iadd(b, k->row, p->first));
    if (p->end) {
        IrValue last = build_iadd(b, k->row, build_i64(b, k->rows - 1));
        to = at_most(b, to, build_iadd(b, last, p->end));
    }
    IrValue a = build_gep(b, b->f32, p->a, build_imul(b, k->row, p->a_across));
    IrValue rest = LLVMBuildAnd(b->at, minus(b, to, from), build_i64(b, UNROLL - 1), "");
    IrValue main = minus(b, to, rest);
    steps(k, a, from, main, UNROLL);
    steps(k, a, at_least(b, from, main), to, 1);
    for (int i = 0; i < k->rows * k->vectors; i++)
        build_store(b, k->sums[i], c_pointer(k, i / k->vectors, i % k->vectors), align);
}

// Rows of the next smaller block; 0: there is none.
static int fewer_rows(const Block *k) {
    if (k->p->unit) return 0;
    int rows = k->rows / (k->vectors > 1 ? 2 : 4);
    return k->rows > 1 && rows == 0 ? 1 : rows;
}

// Rows [from, to) of a panel of cols: blocks, then what is left in ever smaller ones. Blocks
// that divide the unit leave none over.
static void panel_emit(Block *k, IrValue from, IrValue to) {
    Builder *b = k->b;
    int64_t unit = k->p->unit;
    if (unit) {
        int rows = 1;
        while (rows <= k->rows / 2 && rows <= unit / 2)
            rows *= 2;
        k->rows = rows;
    }
    for (; k->rows > 0; k->rows = fewer_rows(k)) {
        IrValue rest = build_i64(b, 0);
        if (!unit) rest = LLVMBuildSRem(b->at, minus(b, to, from), build_i64(b, k->rows), "");
        IrValue whole = minus(b, to, rest);
        Loop blocks = {.count = 0};
        loop_begin(b, &blocks, from, whole, k->rows);
        k->row = blocks.index;
        block_emit(k);
        loop_end(b, &blocks);
        from = at_least(b, from, whole);
    }
}

static IrValue first_row(Builder *b, const Product *p) {
    return p->row ? p->row : build_i64(b, 0);
}

static void wide_emit(Builder *b, const Product *p) {
    int budget = level_is_avx512(b->level) ? MOST_SUMS : MOST_SUMS / 2;
    int widest = level_is_avx512(b->level) ? MOST_VECTORS : MOST_VECTORS / 2;
    int left = (int)ceil_div(p->cols, b->lanes);
    for (int col = 0; left > 0;) {
        int panels = (left + widest - 1) / widest;
        Block k = {.b = b, .p = p, .col = build_i64(b, (int64_t)col * b->lanes)};
        k.vectors = (left + panels - 1) / panels;
        k.rows = budget / k.vectors < MOST_ROWS ? budget / k.vectors : MOST_ROWS;
        panel_emit(&k, first_row(b, p), p->rows);
        col += k.vectors;
        left -= k.vectors;
    }
}

// One vector of cols at a time, so that few rows are computed in vain.
static void narrow_emit(Builder *b, const Product *p) {
    Loop cols = {.count = 0};
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, p->cols), b->lanes);
    Block k = {.b = b, .p = p, .col = cols.index, .vectors = 1};
    k.rows = level_is_avx512(b->level) ? NARROW_ROWS : NARROW_ROWS / 2;
    IrValue from = first_row(b, p), to = p->rows;
    if (p->first_row) from = at_least(b, from, build_iadd(b, cols.index, p->first_row));
    if (p->end_row) {
        IrValue end = build_iadd(b, cols.index, build_i64(b, b->lanes));
        to = at_most(b, to, build_iadd(b, end, p->end_row));
    }
    panel_emit(&k, from, to);
    loop_end(b, &cols);
}

void product_emit(Builder *b, const Product *p) {
    if (p->first_row || p->end_row)
        narrow_emit(b, p);
    else
        wide_emit(b, p);
}

void product_call(Builder *b, const Product *p) {
    Product q = *p;
    IrValue *const values[] = {&q.a,       &q.b,           &q.c,          &q.row, &q.rows,
                               &q.count,   &q.scale,       &q.first,      &q.end, &q.first_row,
                               &q.end_row, &q.ahead[0].at, &q.ahead[1].at};
    enum { COUNT = sizeof values / sizeof *values };
    IrValue args[COUNT];
    const ProductAhead *x = &p->ahead[0], *y = &p->ahead[1];
    int64_t key[] = {p->a_across, p->a_step,  p->b_step, p->c_pitch, p->cols,  p->unit,
                     p->add,      p->negate,  x->pitch,  x->element, x->steps, x->write,
                     y->pitch,    y->element, y->steps,  y->write,   p->pairs};
    for (int i = 0; i < COUNT; i++)
        args[i] = *values[i];
    Routine routine;
    if (!routine_begin(b, &routine, (Str){(const char *)key, sizeof key}, args, COUNT)) return;
    for (int i = 0; i < COUNT; i++)
        *values[i] = args[i];
    product_emit(b, &q);
    routine_end(b, &routine);
}
