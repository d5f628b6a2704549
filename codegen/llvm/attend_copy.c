// attend_copy.c: ATTEND: operands on their way to close memory.
#include "codegen/llvm/attend.h"
#include "codegen/llvm/element.h"

enum { MAX_LANES = 16, LINE = 64 };  // LINE: bytes

static int64_t extent(const Attend *a, int d) { return a->p->dims[d].extent; }

static DType arg_type(const Attend *a, const TileOp *op) {
    return a->p->args.ptr[op->access.arg].type;
}

// ---- queries, turned

// The element of a query, counted from the block's first; it begins a vector.
static IrValue turned_pointer(Attend *a, const Scores *s, IrValue query, IrValue k) {
    Builder *b = a->b;
    IrValue in_strip = LLVMBuildURem(b->at, query, build_i64(b, a->strip), "");
    IrValue strip = build_imul(b, minus(b, query, in_strip), s->count);
    IrValue at = build_iadd(b, build_iadd(b, strip, in_strip), build_imul(b, k, a->strip));
    return build_gep(b, b->f32, s->turned, at);
}

// A vector of elements along k from the index on, of which there are `count`.
static IrValue load_along_k(const Attend *a, const Rows *r, const IrValue *index,
                            int64_t count) {
    int lanes = r->pairs ? 2 * a->lanes : a->lanes;
    int there = (int)(count < a->lanes ? count : a->lanes) * (r->pairs ? 2 : 1);
    IrValue mask = there < lanes ? build_mask_first(a->b, there, lanes) : NULL;
    return r->pairs ? load_pairs(a, r->load, index, mask)
                    : load_vector(a, r->load, index, r->k, mask);
}

// `rows` elements from `k` on of the lanes' queries: loaded along k, stored along the queries.
// What lies behind the block's last query is read there instead; nothing uses it.
static void turn_square(Attend *a, const Scores *s, IrValue first, IrValue k, int rows) {
    Builder *b = a->b;
    IrValue x[MAX_LANES], index[TILE_MAX_DIMS];
    Rows queries = {.load = s->of_m, .along = a->m, .k = s->k, .pairs = s->pairs};
    IrValue last = plus(a, a->block_at.count, -1);
    memcpy(index, a->index, sizeof index);
    index[s->k] = build_imul(b, k, s->pairs ? 2 : 1);
    for (int i = 0; i < a->lanes; i++) {
        IrValue query = at_most(b, plus(a, first, i), last);
        index[a->m] = build_iadd(b, a->block_at.first, query);
        x[i] = load_along_k(a, &queries, index, rows);
    }
    build_transpose(b, x, a->lanes);
    IrValue to = turned_pointer(a, s, first, k);
    for (int i = 0; i < rows; i++)
        build_store(b, x[i], build_gep_bytes(b, to, i * a->strip * 4), (unsigned)a->lanes * 4);
}

static void turn_by_squares(Attend *a, const Scores *s, IrValue first) {
    Builder *b = a->b;
    int64_t whole = s->count / a->lanes * a->lanes;
    Loop ks = {.count = 0};
    loop_begin(b, &ks, build_i64(b, 0), build_i64(b, whole), a->lanes);
    turn_square(a, s, first, ks.index, a->lanes);
    loop_end(b, &ks);
    int rest = (int)(s->count - whole);
    if (rest) turn_square(a, s, first, build_i64(b, whole), rest);
}

static void copy_turned(Attend *a, const Scores *s, IrValue first) {
    Builder *b = a->b;
    Loop ks = {.count = 0};
    loop_begin(b, &ks, build_i64(b, 0), build_i64(b, extent(a, s->k)), 1);
    IrValue index[TILE_MAX_DIMS];
    memcpy(index, a->index, sizeof index);
    index[s->k] = ks.index;
    index[a->m] = build_iadd(b, a->block_at.first, first);
    IrValue mask = mask_count(a, minus(b, a->block_at.count, first));
    build_store(b, load_vector(a, s->of_m, index, a->m, mask),
                turned_pointer(a, s, first, ks.index), (unsigned)a->lanes * 4);
    loop_end(b, &ks);
}

void turn_queries(Attend *a, const Scores *s) {
    Builder *b = a->b;
    Loop queries = {.count = 0};
    loop_begin(b, &queries, build_i64(b, 0), a->block_at.count, a->lanes);
    if (s->of_m->access.stride[s->k] == 1)
        turn_by_squares(a, s, queries.index);
    else
        copy_turned(a, s, queries.index);
    loop_end(b, &queries);
}

// ---- rows

// The same row of the next chunk: rows of one head lie far apart, and processors look ahead
// only along addresses that follow each other.
static void announce_row(Attend *a, const Rows *r, const IrValue *index) {
    Builder *b = a->b;
    const TileAccess *access = &r->load->access;
    if (r->along != a->n || access->stride[r->k] != 1) return;
    int64_t element = (int64_t)dtype_bytes(arg_type(a, r->load));
    int64_t parts = a->dealt >= 0 ? a->p->dims[a->dealt].extent : 1;
    int64_t ahead = parts * a->chunk * access->stride[a->n] * element;
    IrValue pointer = load_pointer(a, r->load, index);
    for (int64_t byte = 0; byte < extent(a, r->k) * element; byte += LINE)
        build_prefetch(b, build_gep_bytes(b, pointer, ahead + byte), false, 2);
}

void copy_rows(Attend *a, const Rows *r) {
    Builder *b = a->b;
    bool keys = r->along == a->n;
    IrValue index[TILE_MAX_DIMS];
    Loop rows = {.count = 0};
    Range range = keys ? a->chunk_at : a->block_at;
    loop_begin(b, &rows, build_i64(b, 0), range.count, 1);
    memcpy(index, a->index, sizeof index);
    index[r->along] = build_iadd(b, range.first, rows.index);
    index[r->k] = build_i64(b, 0);
    announce_row(a, r, index);
    IrValue to = build_gep(b, b->f32, r->copy, build_imul(b, rows.index, r->width));
    int64_t pair = r->pairs ? 2 : 1, count = extent(a, r->k) / pair;
    for (int64_t k = 0; k < r->width; k += a->lanes) {
        index[r->k] = build_i64(b, k * pair);
        build_store(b, load_along_k(a, r, index, count - k), build_gep_bytes(b, to, k * 4),
                    (unsigned)a->lanes * 4);
    }
    loop_end(b, &rows);
}
