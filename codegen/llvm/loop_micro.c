// loop_micro.c: the register kernel: rows x vectors sums, held in registers while k is walked.
//
//     for k: load the vectors of one k; for each row: spread its element, multiply and add
#include "base/check.h"
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
    int paired;     // vectors that come in pairs, of the even and the odd cols of both
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
        if (d == c->k_last && c->strand > 0) w.step[d] *= c->strand;
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
    w.step[c->k_last] = c->strand > 0 ? c->strand : 1;
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

// ---- one k

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
    return element_load(c->b, w->type, pointer, c->lanes, mask);
}

static IrValue row_pointer(const Contract *c, const Walk *rows, int i) {
    if (rows->each != NULL)
        return build_gep(c->b, element_type(c->b, rows->type), rows->each[i], rows->base);
    return build_gep_bytes(c->b, rows->base,
                           i * rows->across * (int64_t)dtype_bytes(rows->type));
}

// Two vectors of 16-bit cols in one load, which leaves the other half of a line's time to
// others.
static void load_pair(const Micro *m, const Walk *w, IrValue at, int j, IrValue *x) {
    const Contract *c = m->c;
    int64_t bytes = (int64_t)j * c->lanes * (int64_t)dtype_bytes(w->type);
    IrValue pointer = build_gep_bytes(c->b, at, bytes);
    x[j] = element_load_second(c->b, w->type, pointer, c->lanes, false);
    x[j + 1] = element_load_second(c->b, w->type, pointer, c->lanes, true);
}

// Cols of pairs back in their order.
static void pairs_part(Micro *m) {
    const Contract *c = m->c;
    int low[BUILD_MAX_LANES], high[BUILD_MAX_LANES], vectors = m->block->width.vectors;
    for (int k = 0; k < c->lanes; k++) {
        low[k] = k / 2 + k % 2 * c->lanes;
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
    for (int j = 0; j < m->paired; j += 2)
        load_pair(m, &at->cols, at->cols.base, j, x);
    for (int j = m->paired; j < vectors; j++) {
        x[j] = load_vector(m, &at->cols, at->cols.base, j);
        if (!m->block->copies) continue;
        IrValue to = build_gep_bytes(b, at->copy.base, (int64_t)j * bytes_a_vector);
        build_store(b, x[j], to, (unsigned)bytes_a_vector);
    }
    for (int i = 0; i < m->block->rows; i++) {
        IrValue a = element_load(b, rows->type, row_pointer(c, rows, i), 1, NULL);
        a = build_splat(b, a, c->lanes);
        for (int j = 0; j < vectors; j++) {
            IrValue *sum = &m->sums[i * vectors + j];
            *sum = build_fma(b, a, x[j], *sum);
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
    int64_t k = c->p->dims[c->k_last].tile, turns = k / c->ku,
            vectors = m->block->width.vectors;
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
    IrValue unroll = build_i64(b, c->ku);
    IrValue rest = LLVMBuildURem(b->at, c->k_count, unroll, "");
    IrValue main = LLVMBuildNSWSub(b->at, c->k_count, rest, "");
    k_loop(m, w, build_i64(b, 0), main, c->ku);
    k_loop(m, w, main, c->k_count, 1);
}

// ---- partial sums between steps of k

static IrValue partial_pointer(const Micro *m, int i) {
    const Contract *c = m->c;
    Builder *b = c->b;
    int64_t panel = (int64_t)c->nv * c->lanes;
    int64_t pitch = (c->p->dims[c->col].tile + panel - 1) / panel * panel;
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
