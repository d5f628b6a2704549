// loop_dot.c: the register kernel for few rows (or few cols) of operands that both lie along k.
// As many sums as a vector has lanes are formed at once, each a vector along k:
//
//     rows x group sums, group = lanes / rows; a tree of shuffles and additions turns them into
//     one vector with the sum of row r and col c of the group in lane r * group + c
//
// Cols whose pitch is a power of two meet in one set of the first-level cache: a few at a time
// walk along k, so that none pushes out the line that another one reads next.
#include "base/check.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/loop.h"

enum {
    MAX_LANES = 16,
    MOST_COLS = 4,  // at a time; as many sums hide the latency of an addition
};

typedef struct {
    Contract *c;
    int rows, cols;           // that exist
    int group;                // cols, if all existed
    int from, count;          // cols that walk now
    IrValue sums[MAX_LANES];  // [cols][rows]
} Dot;

static uint32_t sums_count(const Dot *d) { return (uint32_t)(d->rows * d->count); }

static IrValue load_along(const Dot *d, const Walk *w, IrValue at, int number, IrValue mask) {
    Builder *b = d->c->b;
    int lanes = d->c->lanes;
    int64_t bytes = number * w->across * (int64_t)dtype_bytes(w->type);
    IrValue pointer = build_gep_bytes(b, at, bytes);
    // Copies have zeros behind the last k.
    if (d->c->pair == 1) return element_load(b, w->type, pointer, lanes, mask);
    if (w->type == DTYPE_F32) return element_load(b, w->type, pointer, lanes, NULL);
    IrValue pairs = element_load_raw(b, w->type, pointer, 2 * lanes, mask);
    return build_bitcast(b, pairs, type_vector(b->f32, lanes));
}

static void dot_step(Dot *d, const Walk walks[2], IrValue k, IrValue mask) {
    const Contract *c = d->c;
    k = whole_elements(c, k);
    IrValue row_at = walk_on(c, &walks[0], walks[0].base, k, c->k_last);
    IrValue col_at = walk_on(c, &walks[1], walks[1].base, k, c->k_last);
    IrValue x[MAX_LANES];
    for (int j = 0; j < d->count; j++)
        x[j] = load_along(d, &walks[1], col_at, d->from + j, mask);
    for (int i = 0; i < d->rows; i++) {
        IrValue a = load_along(d, &walks[0], row_at, i, mask);
        for (int j = 0; j < d->count; j++) {
            IrValue *sum = &d->sums[(d->from + j) * d->rows + i];
            *sum = c->pair > 1 ? build_dot_pairs(c->b, a, x[j], *sum)
                               : build_fma(c->b, a, x[j], *sum);
        }
    }
}

static void carry(Dot *d, Loop *loop, bool in) {
    size_t bytes = sums_count(d) * sizeof(IrValue);
    IrValue *sums = &d->sums[(int64_t)d->from * d->rows];
    if (in)
        memcpy(loop->carried, sums, bytes);
    else
        memcpy(sums, loop->carried, bytes);
}

static void dot_vectors(Dot *d, const Walk walks[2]) {
    const Contract *c = d->c;
    Builder *b = c->b;
    int step = c->lanes * c->pair;
    IrValue rest = LLVMBuildURem(b->at, c->k_count, build_i64(b, step), "");
    IrValue whole = LLVMBuildNSWSub(b->at, c->k_count, rest, "");
    Loop loop = {.count = sums_count(d)};
    carry(d, &loop, true);
    loop_begin(b, &loop, build_i64(b, 0), whole, step);
    carry(d, &loop, false);
    dot_step(d, walks, loop.index, NULL);
    carry(d, &loop, true);
    loop_end(b, &loop);
    carry(d, &loop, false);
    if (LLVMIsConstant(rest) && LLVMConstIntGetSExtValue(rest) == 0) return;
    // At most once: a loop only because it carries the sums.
    carry(d, &loop, true);
    loop_begin(b, &loop, whole, c->k_count, step);
    carry(d, &loop, false);
    dot_step(d, walks, loop.index, mask_below(c->b, rest, step));
    carry(d, &loop, true);
    loop_end(b, &loop);
    carry(d, &loop, false);
}

static void dot_nest(Dot *d, const Walk walks[2], int k) {
    const Contract *c = d->c;
    if (k == c->k_last) {
        dot_vectors(d, walks);
        return;
    }
    Builder *b = c->b;
    Loop loop = {.count = sums_count(d)};
    carry(d, &loop, true);
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, c->p->dims[k].extent), 1);
    carry(d, &loop, false);
    Walk inner[] = {walks[0], walks[1]};
    for (int i = 0; i < 2; i++)
        inner[i].base = walk_on(c, &walks[i], walks[i].base, loop.index, k);
    dot_nest(d, inner, k + 1);
    carry(d, &loop, true);
    loop_end(b, &loop);
    carry(d, &loop, false);
}

// ---- lanes

// The sums of the group that begins at `col` go to their places in c->turned.
static void group_store(Dot *d, IrValue col) {
    const Contract *c = d->c;
    Builder *b = c->b;
    IrValue x[MAX_LANES];
    for (int i = 0; i < c->lanes; i++) {
        bool there = i / d->group < d->rows && i % d->group < d->cols;
        x[i] =
            there ? d->sums[i % d->group * d->rows + i / d->group] : build_f32(b, 0, c->lanes);
    }
    IrValue sums = build_lanes_sums(b, x, c->lanes);
    for (int i = 0; i < d->rows; i++) {
        int lane[MAX_LANES];
        for (int k = 0; k < d->group; k++)
            lane[k] = i * d->group + k;
        IrValue row = d->group == 1 ? build_extract(b, sums, i)
                                    : build_shuffle(b, sums, sums, lane, d->group);
        IrValue to = build_gep(b, b->f32, c->turned, col);
        build_store(b, row, build_gep_bytes(b, to, (int64_t)i * c->lanes * 4), 4);
    }
}

static void group_emit(Contract *c, const Block *block, const Walk walks[2], IrValue col,
                       int cols) {
    Dot d = {.c = c, .rows = block->rows, .cols = cols};
    d.group = c->lanes;
    for (int rows = 1; rows < block->rows; rows *= 2)
        d.group /= 2;
    for (int i = 0; i < d.rows * d.cols; i++)
        d.sums[i] = build_f32(c->b, 0, c->lanes);
    Walk here[] = {walks[0], walks[1]};
    here[1].base = build_gep(c->b, element_type(c->b, walks[1].type), walks[1].base,
                             build_imul(c->b, col, walks[1].across));
    for (; d.from < cols; d.from += d.count) {
        d.count = cols - d.from < MOST_COLS ? cols - d.from : MOST_COLS;
        dot_nest(&d, here, c->k_inside);
    }
    group_store(&d, col);
}

void dot_sums(Contract *c, const Block *block, const Walk walks[2], IrValue *sums) {
    Builder *b = c->b;
    ASSERT(block->width.vectors == 1 && block->rows <= c->lanes);
    int group = c->lanes, cols = block->width.tail;
    for (int rows = 1; rows < block->rows; rows *= 2)
        group /= 2;
    int whole = cols / group * group;
    if (whole > 0) {
        Loop loop = {.count = 0};
        loop_begin(b, &loop, build_i64(b, 0), build_i64(b, whole), group);
        group_emit(c, block, walks, loop.index, group);
        loop_end(b, &loop);
    }
    if (whole < cols) group_emit(c, block, walks, build_i64(b, whole), cols - whole);
    for (int i = 0; i < block->rows; i++) {
        int64_t bytes = (int64_t)c->lanes * 4;
        IrValue x = build_load(b, type_vector(b->f32, c->lanes),
                               build_gep_bytes(b, c->turned, i * bytes), (unsigned)bytes);
        sums[i] = build_fadd(b, sums[i], x);
    }
}
