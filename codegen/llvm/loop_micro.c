// loop_micro.c: the register kernel: rows x vectors sums, held in registers while k is walked.
//
//     for k: load the vectors of one k; for each row: spread its element, multiply and add
#include "base/check.h"
#include "base/integer.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/loop.h"

enum { MAX_SUMS = LOOP_MAX_CARRIED };

typedef struct {
    Contract *c;
    const Block *block;
    IrValue sums[MAX_SUMS];  // [rows][vectors]
    int count;
    Ahead ahead;
    bool in_close;  // the cols are read from a copy
    int paired;     // vectors that come in pairs, whose cols are in another order
    bool half;      // the k is the first of a pair, and there is no second
} Micro;

typedef struct {
    Walk rows, cols;
    Walk copy;  // of the cols, if the block makes it
} Walks;

IrValue walk_on(const Contract *c, const Walk *w, IrValue base, IrValue index, int d) {
    return build_gep(c->b, element_type(c->b, w->type), base,
                     build_imul(c->b, index, w->step[d]));
}

Walk walk_in_place(const Contract *c, const Operand *o, IrValue first) {
    Builder *b = c->b;
    const TileAccess *access = &tile_op(c->p, o->value)->access;
    Walk w = {.type = c->p->args.ptr[access->arg].type, .across = access->stride[o->dim]};
    IrValue offset = build_i64(b, access->offset);
    for (int d = 0; d < (int)c->p->dim_count; d++) {
        w.step[d] = access->stride[d];
        if (d == c->k_last) w.step[d] *= c->strand > 0 ? c->strand : c->pair;
        if (access->stride[d] == 0) continue;
        IrValue index = c->at.index[d];
        if (d == o->dim) index = build_iadd(b, index, first);
        offset = build_iadd(b, build_imul(b, index, access->stride[d]), offset);
    }
    w.base = build_gep(b, element_type(b, w.type), b->args[access->arg], offset);
    return w;
}

static Walk walk_gathered(const Contract *c, const Block *k) {
    Builder *b = c->b;
    const TileOp *op = tile_op(c->p, c->rows.value);
    Walk w = {.type = c->rows.type, .base = build_i64(b, 0)};
    w.step[c->k_last] = c->strand > 0 ? c->strand : c->pair;
    w.each = arena_array(b->arena, IrValue, (size_t)k->rows * 2);
    for (int i = 0; i < 2 * k->rows; i++) {
        Place at = place_inside(c, &c->at);
        at.index[c->row] = build_iadd(b, at.index[c->row], k->row);
        at.shift[c->row] = i;
        w.each[i] = place_row(c, op, place_pointer(c, op, &at), &at);
        if (i < k->rows)
            w.each[i] = build_select(b, place_has_row(c, op, &at), w.each[i], c->no_row);
    }
    return w;
}

static Walk walk_rows(const Contract *c, const Block *k) {
    Builder *b = c->b;
    const Operand *o = &c->rows;
    if (!o->packed && o->load == NULL) return walk_gathered(c, k);
    if (!o->packed) return walk_in_place(c, o, k->row);
    Walk w = {.type = DTYPE_F32, .across = o->along_k ? c->row_pitch : 1};
    for (int d = c->k_inside; d <= c->k_last; d++)
        w.step[d] = c->k_flat[d] * (o->along_k ? 1 : c->mr);
    IrValue row = LLVMBuildNSWSub(b->at, k->row, k->block, "");
    w.base = build_gep(b, b->f32, o->copy, build_imul(b, row, c->row_pitch));
    return w;
}

static Walk walk_copy(const Contract *c, const Block *k) {
    Walk w = {.type = DTYPE_F32, .base = panel_copy(c, k->col)};
    for (int d = c->k_inside; d <= c->k_last; d++)
        w.step[d] = c->k_flat[d] * k->width.vectors * c->lanes;
    return w;
}

// ---- one k, or a pair

// Bytes from the first k of a pair of cols in memory to the second.
static int64_t second_bytes(const Contract *c, const Walk *w) {
    return w->step[c->k_last] / 2 * (int64_t)dtype_bytes(w->type);
}

static IrValue load_vector(const Micro *m, const Walk *w, IrValue at, int j) {
    const Contract *c = m->c;
    const Width *width = &m->block->width;
    int64_t bytes = (int64_t)j * c->lanes * (int64_t)dtype_bytes(w->type);
    IrValue pointer = build_gep_bytes(c->b, at, bytes);
    if (m->in_close)
        return build_load(c->b, type_vector(c->b->f32, c->lanes), pointer,
                          (unsigned)c->lanes * 4);
    bool partial = j == width->vectors - 1 && width->tail < c->lanes;
    IrValue mask = partial ? build_mask_first(c->b, width->tail, c->lanes) : NULL;
    if (c->pair == 1) return element_load(c->b, w->type, pointer, c->lanes, mask);
    IrValue low = element_load_raw(c->b, w->type, pointer, c->lanes, mask), high;
    pointer = build_gep_bytes(c->b, pointer, second_bytes(c, w));
    if (m->half)
        high = LLVMConstNull(LLVMTypeOf(low));
    else
        high = element_load_raw(c->b, w->type, pointer, c->lanes, mask);
    return element_pairs(c->b, low, high);
}

static IrValue row_pointer(const Contract *c, const Walk *rows, int i) {
    if (rows->each != NULL)
        return build_gep(c->b, element_type(c->b, rows->type), rows->each[i], rows->base);
    return build_gep_bytes(c->b, rows->base,
                           i * rows->across * (int64_t)dtype_bytes(rows->type));
}

// The element of row i, spread over a vector.
static IrValue load_row(const Micro *m, const Walk *rows, int i) {
    Builder *b = m->c->b;
    IrValue pointer = row_pointer(m->c, rows, i), x;
    if (m->c->pair == 1)
        x = element_load(b, rows->type, pointer, 1, NULL);
    else if (!m->half || rows->type == DTYPE_F32)
        x = build_load(b, b->f32, pointer, (unsigned)dtype_bytes(rows->type));
    else
        x = build_bitcast(
            b, LLVMBuildZExt(b->at, build_load(b, b->i16, pointer, 2), b->i32, ""), b->f32);
    return build_splat(b, x, m->c->lanes);
}

// Words of x and y alternately, those of the first or the second half of every 128 bits, which
// takes no table.
static IrValue unpack(Builder *b, IrValue x, IrValue y, bool second) {
    enum { WORDS = 8 };
    int words = type_lanes(LLVMTypeOf(x)), turn[BUILD_MAX_LANES];
    for (int k = 0; k < words; k++)
        turn[k] = k / WORDS * WORDS + k % WORDS / 2 + second * WORDS / 2 + k % 2 * words;
    IrValue all = build_shuffle(b, x, y, turn, words);
    return build_bitcast(b, all, type_vector(b->f32, words / 2));
}

// Two vectors of 16-bit cols in one load, which leaves the other half of a line's time to
// others.
static void load_pair(const Micro *m, const Walk *w, IrValue at, int j, IrValue *x) {
    const Contract *c = m->c;
    int64_t bytes = (int64_t)j * c->lanes * (int64_t)dtype_bytes(w->type);
    IrValue pointer = build_gep_bytes(c->b, at, bytes);
    if (c->pair > 1) {
        IrValue second = build_gep_bytes(c->b, pointer, second_bytes(c, w));
        IrValue low = element_load_raw(c->b, w->type, pointer, 2 * c->lanes, NULL);
        IrValue high = m->half ? LLVMConstNull(LLVMTypeOf(low))
                               : element_load_raw(c->b, w->type, second, 2 * c->lanes, NULL);
        x[j] = unpack(c->b, low, high, false);
        x[j + 1] = unpack(c->b, low, high, true);
        return;
    }
    x[j] = element_load_second(c->b, w->type, pointer, c->lanes, false);
    x[j + 1] = element_load_second(c->b, w->type, pointer, c->lanes, true);
}

// Cols of pairs back in their order.
static void pairs_part(Micro *m) {
    const Contract *c = m->c;
    int low[BUILD_MAX_LANES], high[BUILD_MAX_LANES], vectors = m->block->width.vectors;
    int run = c->pair > 1 ? 4 : 1;  // neighbours that stay neighbours
    for (int k = 0; k < c->lanes; k++) {
        low[k] = k / (2 * run) * run + k % run + k / run % 2 * c->lanes;
        high[k] = low[k] + c->lanes / 2;
    }
    for (int i = 0; i < m->block->rows; i++)
        for (int j = 0; j < m->paired; j += 2) {
            IrValue *x = &m->sums[i * vectors + j], even = x[0], odd = x[1];
            x[0] = build_shuffle(c->b, even, odd, low, c->lanes);
            x[1] = build_shuffle(c->b, even, odd, high, c->lanes);
        }
}

// One k; the bases of the walks are there.
static void k_step(Micro *m, const Walks *at) {
    const Contract *c = m->c;
    Builder *b = c->b;
    const Walk *rows = &at->rows;
    int vectors = m->block->width.vectors, bytes_a_vector = c->lanes * 4;
    IrValue x[MAX_SUMS];
    ASSERT(m->paired >= 0 && m->paired <= vectors);
    for (int j = 0; j < m->paired; j += 2)
        load_pair(m, &at->cols, at->cols.base, j, x);
    for (int j = m->paired; j < vectors; j++) {
        x[j] = load_vector(m, &at->cols, at->cols.base, j);
        if (!m->block->copies) continue;
        IrValue to = build_gep_bytes(b, at->copy.base, (int64_t)j * bytes_a_vector);
        build_store(b, x[j], to, (unsigned)bytes_a_vector);
    }
    for (int i = 0; i < m->block->rows; i++) {
        IrValue a = load_row(m, rows, i);
        for (int j = 0; j < vectors; j++) {
            IrValue *sum = &m->sums[i * vectors + j];
            *sum =
                c->pair > 1 ? build_dot_pairs(b, a, x[j], *sum) : build_fma(b, a, x[j], *sum);
        }
    }
}

// ---- all k

static void sums_loop_begin(Micro *m, Loop *loop, IrValue from, IrValue to, int64_t step) {
    loop->count = (uint32_t)m->count;
    memcpy(loop->carried, m->sums, (size_t)m->count * sizeof(IrValue));
    loop_begin(m->c->b, loop, from, to, step);
    memcpy(m->sums, loop->carried, (size_t)m->count * sizeof(IrValue));
}

static void sums_loop_end(Micro *m, Loop *loop) {
    memcpy(loop->carried, m->sums, (size_t)m->count * sizeof(IrValue));
    loop_end(m->c->b, loop);
    memcpy(m->sums, loop->carried, (size_t)m->count * sizeof(IrValue));
}

static Walks walks_on(const Micro *m, const Walks *w, IrValue index, int d) {
    Walks on = *w;
    if (w->rows.each != NULL)
        on.rows.base =
            build_iadd(m->c->b, w->rows.base, build_imul(m->c->b, index, w->rows.step[d]));
    else
        on.rows.base = walk_on(m->c, &w->rows, w->rows.base, index, d);
    on.cols.base = walk_on(m->c, &w->cols, w->cols.base, index, d);
    if (m->block->copies) on.copy.base = walk_on(m->c, &w->copy, w->copy.base, index, d);
    return on;
}

// The places of results arrive while k is walked, vector by vector: all at once they would hold
// up the operands.
static void results_ask(const Micro *m, IrValue index) {
    const Contract *c = m->c;
    Builder *b = c->b;
    int64_t turns = elements_of(c, c->p->dims[c->k_last].tile) / c->ku;
    int64_t vectors = m->block->width.vectors;
    if (turns == 0) return;
    int64_t at_once = (m->count + turns - 1) / turns;
    IrValue done =
        build_imul(b, LLVMBuildUDiv(b->at, index, build_i64(b, c->ku), ""), m->count);
    IrValue first = LLVMBuildUDiv(b->at, done, build_i64(b, turns), "");
    for (int64_t i = 0; i < at_once; i++) {
        IrValue number = build_iadd(b, first, build_i64(b, i)), width = build_i64(b, vectors);
        epilogue_ask(m->c, m->block, LLVMBuildUDiv(b->at, number, width, ""),
                     LLVMBuildURem(b->at, number, width, ""));
    }
}

static void k_loop(Micro *m, const Walks *w, IrValue from, IrValue to, int unroll) {
    const Contract *c = m->c;
    if (LLVMIsConstant(from) && LLVMIsConstant(to) &&
        LLVMConstIntGetSExtValue(from) >= LLVMConstIntGetSExtValue(to))
        return;
    Loop loop;
    sums_loop_begin(m, &loop, from, to, unroll);
    Walks here = walks_on(m, w, loop.index, c->k_last);
    for (int u = 0; u < unroll; u++) {
        Walks at = walks_on(m, &here, build_i64(c->b, u), c->k_last);
        if (unroll == c->ku) ahead_step(&m->ahead, c, loop.index, u);
        if (unroll == c->ku && u == 0 && c->strand == 0) {
            results_ask(m, loop.index);
            rows_ask(c, &here.rows, m->block->rows, loop.index);
        }
        k_step(m, &at);
        build_fence(c->b, m->sums[m->count - 1]);
    }
    sums_loop_end(m, &loop);
}

static void k_nest(Micro *m, const Walks *w, int d) {
    const Contract *c = m->c;
    Builder *b = c->b;
    if (d < c->k_last) {
        Loop loop;
        sums_loop_begin(m, &loop, build_i64(b, 0), build_i64(b, c->p->dims[d].extent), 1);
        Walks inner = walks_on(m, w, loop.index, d);
        Ahead ahead = m->ahead;
        ahead_on(&m->ahead, c, loop.index, d);
        k_nest(m, &inner, d + 1);
        m->ahead = ahead;
        sums_loop_end(m, &loop);
        return;
    }
    IrValue unroll = build_i64(b, c->ku), all = whole_elements(c, c->k_count);
    IrValue main = LLVMBuildNSWSub(b->at, all, LLVMBuildURem(b->at, all, unroll, ""), "");
    k_loop(m, w, build_i64(b, 0), main, c->ku);
    k_loop(m, w, main, all, 1);
    IrValue half = half_element(c);
    if (half == NULL) return;
    m->half = true;
    k_loop(m, w, all, build_iadd(b, all, LLVMBuildZExt(b->at, half, b->i64, "")), 1);
    m->half = false;
}

// ---- partial sums between steps of k

static IrValue partial_pointer(const Micro *m, int i) {
    const Contract *c = m->c;
    Builder *b = c->b;
    int64_t panel = (int64_t)c->nv * c->lanes;
    int64_t pitch = round_up(c->p->dims[c->col].tile, panel);
    IrValue at =
        build_iadd(b, build_imul(b, m->block->row, pitch), build_imul(b, m->block->col, c->mr));
    IrValue base = build_gep(b, b->f32, c->partial, at);
    return build_gep_bytes(b, base, (int64_t)i * c->lanes * 4);
}

// Asked for at the block's start, added at its end: in between they arrive.
static void partial_ask(const Micro *m) {
    enum { LINE_BYTES = 64 };
    int64_t bytes = (int64_t)m->count * m->c->lanes * 4;
    for (int64_t byte = 0; byte < bytes; byte += LINE_BYTES)
        build_prefetch(m->c->b, build_gep_bytes(m->c->b, partial_pointer(m, 0), byte), true, 3);
}

static void partial_add(Micro *m) {
    Builder *b = m->c->b;
    IrType type = type_vector(b->f32, m->c->lanes);
    IrValue variables[MAX_SUMS];
    for (int i = 0; i < m->count; i++) {
        variables[i] = build_variable(b, type);
        build_store(b, m->sums[i], variables[i], 4);
    }
    Branch later = branch_begin(b, LLVMBuildNot(b->at, m->c->is_first, ""));
    for (int i = 0; i < m->count; i++) {
        IrValue x = build_load(b, type, partial_pointer(m, i), (unsigned)m->c->lanes * 4);
        build_store(b, build_fadd(b, m->sums[i], x), variables[i], 4);
    }
    branch_end(b, later);
    for (int i = 0; i < m->count; i++)
        m->sums[i] = build_load(b, type, variables[i], 4);
}

static void partial_store(Micro *m) {
    for (int i = 0; i < m->count; i++)
        build_store(m->c->b, m->sums[i], partial_pointer(m, i), (unsigned)m->c->lanes * 4);
}

void block_emit(Contract *c, const Block *block) {
    Micro m = {.c = c, .block = block, .count = block->rows * block->width.vectors};
    ASSERT(m.count <= MAX_SUMS);
    build_line(c->b, tile_op(c->p, c->dot)->span);
    if (c->steps && c->strand == 0) partial_ask(&m);
    ahead_plan(&m.ahead, c, block);
    for (int i = 0; i < m.count; i++)
        m.sums[i] = build_f32(c->b, 0, c->lanes);
    m.in_close = c->cols.packed && !block->copies;
    if (!c->cols.packed && !c->dot_form && c->cols.type == DTYPE_BF16)
        m.paired = (block->width.vectors - (block->width.tail < c->lanes)) / 2 * 2;
    Walks w = {.rows = walk_rows(c, block)};
    w.cols = m.in_close ? walk_copy(c, block) : walk_in_place(c, &c->cols, block->col);
    if (block->copies) w.copy = walk_copy(c, block);
    if (c->dot_form)
        dot_sums(c, block, (const Walk[]){w.rows, w.cols}, m.sums);
    else
        k_nest(&m, &w, c->k_inside);
    if (!c->steps) {
        pairs_part(&m);
        epilogue_emit(c, block, m.sums);
        return;
    }
    partial_add(&m);
    Branch other = branch_begin(c->b, LLVMBuildNot(c->b->at, c->is_last, ""));
    partial_store(&m);
    branch_end(c->b, other);
    Branch last = branch_begin(c->b, c->is_last);
    pairs_part(&m);
    epilogue_emit(c, block, m.sums);
    branch_end(c->b, last);
}
