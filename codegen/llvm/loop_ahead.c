// loop_ahead.c: what the register kernel does for later blocks while it walks k: it asks for
// memory, and copies cols. Processors look ahead along a run of addresses, but not from row to
// row of a matrix; and what is done a little at a time costs nothing beside the sums.
//
//   * Cols that are copied: the first blocks of a panel copy the next panel. Block i copies k
//     i, i + ku, i + 2 ku, ... Where the cols lie along k it asks for a few of them.
//   * Cols that are read in place by few blocks: each asks for a run of k of the next panel,
//     `fast` of them every ku of its own. So do blocks whose number is known only when the
//     kernel runs (a group of rows) of cols that are copied. Where k is walked in strands
//     each asks for what comes next in them.
//   * Cols whose k are rows that are gathered: the first blocks ask for the next panel, block i
//     for the k that block i would copy.
//   * Rows that are read in place and do not stay in the second-level cache, or are gathered:
//     each block asks for those of the next one.
#include "base/integer.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/loop.h"

enum {
    LINE_BYTES = 64,
    SECOND_BYTES = 3 << 18,  // of the second-level cache, for rows
    MOST_AT_ONCE = 2,        // k that a block copies every ku k
    MOST_COLS = 4,           // cols along k that a block asks for
    EARLY = 64,              // k before it is copied a vector is asked for
    LEAST_ROWS = 4,          // fewer leave no time for the next panel
    MOST_STRANDS = 8,        // runs of memory that one core is brought side by side
};

static int64_t element_bytes(const Walk *w) { return (int64_t)dtype_bytes(w->type); }

static IrValue bytes_from(Builder *b, IrValue base, IrValue count, int64_t bytes) {
    return build_gep(b, b->i8, base, build_imul(b, count, bytes));
}

// ---- shares

int64_t strand_length(const Contract *c) {
    const TileDim *k = &c->p->dims[c->k_last];
    bool in_place = !c->cols.packed && !c->rows.packed && !c->dot_form;
    bool few = c->p->dims[c->row].tile < LEAST_ROWS && k->tile <= MOST_STRANDS;
    if (!in_place || !few || k->extent % k->tile != 0 || c->limited == c->k_last) return 0;
    return k->tile < k->extent ? k->extent / k->tile : 0;
}

// Whole blocks that every task has.
static int64_t blocks_at_least(const Contract *c) {
    const TileDim *row = &c->p->dims[c->row];
    int64_t last = row->extent % row->tile;
    if (c->limited == c->row) return 1;
    return (last > 0 ? last : row->tile) / c->mr;
}

// How many of `all` each of so many blocks does.
static int share_of(int64_t all, int64_t blocks) { return (int)ceil_div(all, blocks); }

static bool are_copied(const Contract *c) {
    return c->cols.packed && c->cols.plain && c->one_group;
}

bool blocks_copy(const Contract *c) {
    const TileDim *k = &c->p->dims[c->k_last];
    int64_t blocks = blocks_at_least(c);
    if (!are_copied(c) || c->cols.along_k || c->cols.load == NULL) return false;
    int64_t turn = (int64_t)c->ku * c->pair;
    if (k->tile % turn != 0 || k->extent % k->tile % turn != 0) return false;
    return blocks * MOST_AT_ONCE >= c->ku && c->ku % share_of(c->ku, blocks) == 0;
}

static bool blocks_ask(const Contract *c) {
    int64_t cols = (int64_t)c->nv * c->lanes;
    return are_copied(c) && c->cols.along_k && blocks_at_least(c) * MOST_COLS >= cols;
}

// For the k of rows by number.
static bool blocks_ask_by_number(const Contract *c) {
    const TileOp *op = tile_op(c->p, c->cols.value);
    return c->cols.packed && c->cols.by_number && c->one_group && !c->cols.along_k &&
           c->k_inside == c->k_last &&
           (tile_op(c->p, op->in[0])->dims & dim_bit(c->k_last)) != 0 &&
           blocks_at_least(c) >= c->ku;
}

bool any_blocks_ask(const Contract *c) {
    return c->limited == c->row && are_copied(c) && !blocks_copy(c);
}

int helping_blocks(const Contract *c) {
    int64_t blocks = blocks_at_least(c), cols = (int64_t)c->nv * c->lanes;
    if (blocks_ask_by_number(c)) return c->ku;
    if (blocks_copy(c)) return c->ku / share_of(c->ku, blocks);
    return blocks_ask(c) ? share_of(cols, share_of(cols, blocks)) : 0;
}

static int64_t step_bytes(const Ahead *a, const Contract *c) {
    return a->walk.step[c->k_last] * element_bytes(&a->walk);
}

void ahead_plan(Ahead *a, const Contract *c, const Block *block) {
    Builder *b = c->b;
    int vectors = c->strand > 0 ? block->width.vectors : c->nv;
    *a = (Ahead){.cols = (int64_t)vectors * c->lanes};
    if (block->next == NULL) return;
    a->walk = walk_in_place(c, &c->cols, block->col);
    a->walk.base = block->next;
    a->copy = block->next_copy;
    if (blocks_ask_by_number(c)) {
        a->k = block->number;
    } else if (a->copy != NULL) {
        a->share = share_of(c->ku, blocks_at_least(c));
        IrValue k = build_imul(b, block->number, a->share);
        a->walk.base = bytes_from(b, a->walk.base, k, step_bytes(a, c));
        a->copy = bytes_from(b, a->copy, k, (int64_t)c->nv * c->lanes * 4);
    } else if (c->cols.along_k) {
        int64_t cols = (int64_t)c->nv * c->lanes;
        bool any = any_blocks_ask(c);
        a->share = any ? MOST_COLS : share_of(cols, blocks_at_least(c));
        IrValue number = block->number;
        if (any) number = LLVMBuildURem(b->at, number, build_i64(b, cols / MOST_COLS), "");
        IrValue col = build_imul(b, number, a->share);
        a->walk.base =
            bytes_from(b, a->walk.base, col, a->walk.across * element_bytes(&a->walk));
    } else if (block->rows >= LEAST_ROWS || c->strand > 0) {
        const TileDim *row = &c->p->dims[c->row];
        int64_t blocks = ceil_div(row->tile, c->mr);
        a->fast = share_of(c->ku, blocks);
        int64_t all = elements_of(c, c->p->dims[c->k_last].tile);
        int64_t mine = all * a->fast / c->ku * step_bytes(a, c);
        IrValue run = LLVMBuildURem(b->at, block->number, build_i64(b, c->ku), "");
        if (blocks > 1) a->walk.base = bytes_from(b, a->walk.base, run, mine);
    }
}

void ahead_on(Ahead *a, const Contract *c, IrValue index, int d) {
    int64_t copied = c->k_flat[d] * c->nv * c->lanes * 4;
    if (a->walk.base != NULL) a->walk.base = walk_on(c, &a->walk, a->walk.base, index, d);
    if (a->copy != NULL) a->copy = bytes_from(c->b, a->copy, index, copied);
}

// ---- while k is walked

// Into the second-level cache: from the first, which they share with the operands of the sums,
// lines that lie a page apart are gone before they are needed. Of strands too: few lines can be
// on their way to the first at a time (Zen 4 reads them a third faster so, a Xeon 5 % slower).
static void ask(const Contract *c, IrValue base, int64_t bytes) {
    build_prefetch(c->b, build_gep_bytes(c->b, base, bytes), false, 2);
}

static void fast_step(const Ahead *a, const Contract *c, IrValue index, int u) {
    Builder *b = c->b;
    int64_t step = step_bytes(a, c);
    IrValue turn = LLVMBuildExactUDiv(b->at, index, build_i64(b, c->ku), "");
    IrValue at = bytes_from(b, a->walk.base, turn, a->fast * step);
    int64_t bytes = a->cols * element_bytes(&a->walk);
    for (int i = u; i < a->fast; i += c->ku)
        for (int64_t byte = 0; byte < bytes; byte += LINE_BYTES)
            for (int k = 0; k < c->pair; k++)
                ask(c, at, i * step + k * step / c->pair + byte);
}

// Bytes from the k that is copied to the one that is asked for: EARLY further, or, behind the
// last, as many further in the share of the next block.
static IrValue early_bytes(const Ahead *a, const Contract *c, IrValue index) {
    Builder *b = c->b;
    int64_t step = step_bytes(a, c);
    int64_t early = EARLY / c->pair;
    IrValue all = whole_elements(c, c->k_count), here = build_i64(b, early);
    IrValue last = build_iadd(b, all, build_i64(b, -early));
    IrValue next = LLVMBuildNSWSub(b->at, build_i64(b, early + a->share), all, "");
    IrValue k = build_select(b, build_icmp(b, LLVMIntSLT, index, last), here, next);
    return build_imul(b, k, step);
}

static IrValue copied_vector(const Ahead *a, const Contract *c, IrValue from) {
    Builder *b = c->b;
    DType type = a->walk.type;
    if (c->pair == 1) return element_load(b, type, from, c->lanes, NULL);
    IrValue second = build_gep_bytes(b, from, step_bytes(a, c) / 2);
    return element_pairs(b, element_load_raw(b, type, from, c->lanes, NULL),
                         element_load_raw(b, type, second, c->lanes, NULL));
}

// Vector j of the k that is i behind the first of this share.
static void vector_copy(const Ahead *a, const Contract *c, IrValue index, int i, int j) {
    Builder *b = c->b;
    int64_t step = step_bytes(a, c), bytes = c->lanes * element_bytes(&a->walk),
            copied = (int64_t)c->lanes * 4;
    IrValue from = bytes_from(b, a->walk.base, index, step);
    IrValue to = bytes_from(b, a->copy, index, c->nv * copied);
    int64_t offset = i * step + j * bytes;
    int64_t second = step / c->pair;  // 0 if there is none
    if (offset % LINE_BYTES == 0 || bytes >= LINE_BYTES)
        for (int k = 0; k < c->pair; k++)
            ask(c, build_gep(b, b->i8, from, early_bytes(a, c, index)), offset + k * second);
    IrValue x = copied_vector(a, c, build_gep_bytes(b, from, offset));
    build_store(b, x, build_gep_bytes(b, to, (i * c->nv + j) * copied), (unsigned)copied);
}

// Vectors of a k that are neighbours are copied together: they lie in one page.
static void k_copy(const Ahead *a, const Contract *c, IrValue index, int i) {
    for (int j = 0; j < c->nv; j++)
        vector_copy(a, c, index, i, j);
}

// A col has a new line only every few k; to ask again costs nearly nothing.
static void col_ask(const Ahead *a, const Contract *c, IrValue index, int i) {
    IrValue at = bytes_from(c->b, a->walk.base, index, step_bytes(a, c));
    ask(c, at, i * a->walk.across * element_bytes(&a->walk));
}

// The rows of memory that the k of element a->k behind `index` are.
static void row_ask(const Ahead *a, const Contract *c, IrValue index) {
    IrValue k = build_imul(c->b, build_iadd(c->b, index, a->k), c->pair);
    for (int i = 0; i < c->pair; i++) {
        Place at = place_inside(c, &c->at);
        at.index[c->k_last] = build_iadd(c->b, at.index[c->k_last], k);
        at.shift[c->k_last] = i;
        IrValue row = place_row(c, tile_op(c->p, c->cols.value), a->walk.base, &at);
        int64_t bytes = (int64_t)c->nv * c->lanes * element_bytes(&a->walk);
        for (int64_t byte = 0; byte < bytes; byte += LINE_BYTES)
            ask(c, row, byte);
    }
}

void ahead_step(const Ahead *a, const Contract *c, IrValue index, int u) {
    if (a->fast > 0) fast_step(a, c, index, u);
    if (a->k != NULL && u == 0) row_ask(a, c, index);
    for (int i = u; i < a->share; i += c->ku) {
        if (a->copy != NULL)
            k_copy(a, c, index, i);
        else
            col_ask(a, c, index, i);
    }
}

// ---- rows

bool rows_stream(const Contract *c) {
    int64_t bytes = c->p->dims[c->row].tile * (int64_t)dtype_bytes(c->rows.type);
    for (int d = c->k_inside; d <= c->k_last; d++)
        bytes *= c->p->dims[d].tile;
    return bytes > SECOND_BYTES;
}

// A line has k for several turns of ku; each turn asks for those of other rows.
void rows_ask(const Contract *c, const Walk *rows, int count, IrValue index) {
    Builder *b = c->b;
    if (rows->each != NULL) {
        IrType type = element_type(b, rows->type);
        for (int i = count; i < 2 * count; i++)
            ask(c, build_gep(b, type, rows->each[i], rows->base), 0);
        return;
    }
    if (c->rows.packed || rows->step[c->k_last] != c->pair || !rows_stream(c)) return;
    int64_t turns = LINE_BYTES / ((int64_t)c->ku * c->pair * element_bytes(rows));
    if (turns < 1) turns = 1;
    IrValue turn = LLVMBuildUDiv(b->at, index, build_i64(b, c->ku), "");
    turn = LLVMBuildURem(b->at, turn, build_i64(b, turns), "");
    int64_t pitch = rows->across * element_bytes(rows);
    IrValue at = bytes_from(b, rows->base, turn, pitch);
    for (int64_t row = count; row < 2 * (int64_t)count; row += turns)
        ask(c, at, row * pitch);
}
