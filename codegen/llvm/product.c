// product.c: see product.h.
#include "codegen/llvm/product.h"

#include "base/check.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/routine.h"

int64_t round_to(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

IrValue at_least(Builder *b, IrValue x, IrValue y) {
    return build_select(b, build_icmp(b, LLVMIntSLT, x, y), y, x);
}

IrValue at_most(Builder *b, IrValue x, IrValue y) {
    return build_select(b, build_icmp(b, LLVMIntSLT, x, y), x, y);
}

IrValue minus(Builder *b, IrValue x, IrValue y) { return LLVMBuildNSWSub(b->at, x, y, ""); }

enum { UNROLL = 4, MOST_SUMS = 24, MOST_ROWS = 12, MOST_VECTORS = 4, NARROW_ROWS = 16 };

// A block of c.
typedef struct {
    Builder *b;
    const Product *p;
    int rows, vectors, tail;  // the last vector's lanes
    IrValue col, row;
    IrValue sums[MOST_SUMS];
} Block;

static IrValue element(const Block *k, DType type, IrValue base, IrValue offset) {
    return build_gep(k->b, element_type(k->b, type), base, offset);
}

static IrValue load_b(const Block *k, IrValue row, int j) {
    Builder *b = k->b;
    const Product *p = k->p;
    int64_t bytes = (int64_t)j * b->lanes * (int64_t)dtype_bytes(p->b_type);
    bool whole = p->b_padded || j < k->vectors - 1 || k->tail == b->lanes;
    IrValue mask = whole ? NULL : build_mask_first(b, k->tail, b->lanes);
    return element_load(b, p->b_type, build_gep_bytes(b, row, bytes), b->lanes, mask);
}

static void step(Block *k, IrValue a, IrValue row) {
    Builder *b = k->b;
    const Product *p = k->p;
    IrValue x[MOST_VECTORS];
    for (int j = 0; j < k->vectors; j++)
        x[j] = load_b(k, row, j);
    for (int i = 0; i < k->rows; i++) {
        int64_t bytes = i * p->a_across * (int64_t)dtype_bytes(p->a_type);
        IrValue y = element_load(b, p->a_type, build_gep_bytes(b, a, bytes), 1, NULL);
        y = build_splat(b, p->negate ? build_fneg(b, y) : y, b->lanes);
        for (int j = 0; j < k->vectors; j++) {
            IrValue *sum = &k->sums[i * k->vectors + j];
            *sum = build_fma(b, y, x[j], *sum);
        }
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
    IrValue a_at = element(k, p->a_type, a, build_imul(b, loop.index, p->a_step));
    IrValue b_at = element(k, p->b_type, p->b,
                           build_iadd(b, build_imul(b, loop.index, p->b_step), k->col));
    for (int u = 0; u < unroll; u++)
        step(k, build_gep_bytes(b, a_at, u * p->a_step * (int64_t)dtype_bytes(p->a_type)),
             build_gep_bytes(b, b_at, u * p->b_step * (int64_t)dtype_bytes(p->b_type)));
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
    IrValue a = element(k, p->a_type, p->a, build_imul(b, k->row, p->a_across));
    IrValue rest = LLVMBuildAnd(b->at, minus(b, to, from), build_i64(b, UNROLL - 1), "");
    IrValue main = minus(b, to, rest);
    steps(k, a, from, main, UNROLL);
    steps(k, a, at_least(b, from, main), to, 1);
    for (int i = 0; i < k->rows * k->vectors; i++)
        build_store(b, k->sums[i], c_pointer(k, i / k->vectors, i % k->vectors), align);
}

// Rows [from, to) of a panel of cols: blocks, then single rows. Blocks that divide the unit
// leave none over.
static void panel_emit(Block *k, IrValue from, IrValue to) {
    Builder *b = k->b;
    int64_t unit = k->p->unit;
    if (unit) {
        int rows = 1;
        while (rows * 2 <= k->rows && rows * 2 <= unit)
            rows *= 2;
        k->rows = rows;
    }
    IrValue rest = build_i64(b, 0);
    if (!unit) rest = LLVMBuildSRem(b->at, minus(b, to, from), build_i64(b, k->rows), "");
    IrValue whole = minus(b, to, rest);
    Loop blocks = {.count = 0}, singles = {.count = 0};
    loop_begin(b, &blocks, from, whole, k->rows);
    k->row = blocks.index;
    block_emit(k);
    loop_end(b, &blocks);
    if (k->rows == 1 || unit) return;
    k->rows = 1;
    loop_begin(b, &singles, at_least(b, from, whole), to, 1);
    k->row = singles.index;
    block_emit(k);
    loop_end(b, &singles);
}

static void wide_emit(Builder *b, const Product *p) {
    int budget = b->level == CPU_AVX512 ? MOST_SUMS : MOST_SUMS / 2;
    int widest = b->level == CPU_AVX512 ? MOST_VECTORS : MOST_VECTORS / 2;
    for (int64_t col = 0; col < p->cols; col += (int64_t)widest * b->lanes) {
        int64_t left = p->cols - col, vectors = round_to(left, b->lanes) / b->lanes;
        Block k = {.b = b, .p = p, .col = build_i64(b, col)};
        k.vectors = (int)(vectors < widest ? vectors : widest);
        int64_t before_last = (int64_t)(k.vectors - 1) * b->lanes;
        k.tail = (int)(left - before_last < b->lanes ? left - before_last : b->lanes);
        k.rows = budget / k.vectors < MOST_ROWS ? budget / k.vectors : MOST_ROWS;
        panel_emit(&k, build_i64(b, 0), p->rows);
    }
}

// One vector of cols at a time, so that few rows are computed in vain.
static void narrow_emit(Builder *b, const Product *p) {
    Loop cols = {.count = 0};
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, p->cols), b->lanes);
    Block k = {.b = b, .p = p, .col = cols.index, .vectors = 1, .tail = b->lanes};
    k.rows = b->level == CPU_AVX512 ? NARROW_ROWS : NARROW_ROWS / 2;
    IrValue from = build_i64(b, 0), to = p->rows;
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
    IrValue args[] = {p->a, p->b, p->c, p->rows, p->count, p->scale};
    IrValue bounds[] = {p->first, p->end, p->first_row, p->end_row};
    int64_t key[16] = {p->a_type,   p->b_type,  p->a_across, p->a_step,
                       p->b_step,   p->c_pitch, p->cols,     p->unit,
                       p->b_padded, p->add,     p->negate,   p->scale != NULL};
    for (int i = 0; i < 4; i++) {
        ASSERT(bounds[i] == NULL || LLVMIsConstant(bounds[i]));
        key[12 + i] = (int64_t)(intptr_t)bounds[i];
    }
    Routine routine;
    Product q = *p;
    if (!routine_begin(b, &routine, (Str){(const char *)key, sizeof key}, args, 6)) return;
    q.a = args[0];
    q.b = args[1];
    q.c = args[2];
    q.rows = args[3];
    q.count = args[4];
    q.scale = args[5];
    product_emit(b, &q);
    routine_end(b, &routine);
}
