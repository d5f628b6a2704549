// attend_few.c: ATTEND with so few queries that lanes are keys, or elements of a row: the
// products are bound by reading each key and value once, which they do where these lie.
// Scores are [query][key] here.
#include "base/integer.h"
#include "codegen/llvm/attend.h"

enum {
    MAX_LANES = 16,
    UNROLLED = 4,      // vectors of a row at most, as straight code
    MOST_VECTORS = 4,  // of a row, summed at once for some queries
    MOST_ROWS = 4,
};

static int64_t extent(const Attend *a, int d) { return a->p->dims[d].extent; }

int64_t few_pitch(const Attend *a) { return round_up(a->chunk, a->lanes); }

// A vector of the row of a key, from element k on.
static IrValue row_vector(const Attend *a, const Rows *r, IrValue key, IrValue k, int count) {
    IrValue index[TILE_MAX_DIMS];
    memcpy(index, a->index, sizeof index);
    index[a->n] = build_iadd(a->b, a->keys.first, key);
    index[r->k] = k;
    return load_vector(a, r->load, index, r->k, mask_count(a, build_i64(a->b, count)));
}

// ---- scores: a group of keys, one a lane

typedef struct {
    Attend *a;
    const Scores *s;
    IrValue query, next;  // next: the first key of the next group
    IrValue key[MAX_LANES], sums[MAX_LANES];
} Group;

// Keys lie one behind the other in pieces too short for the processor to look ahead: each query
// asks for some keys of the next group, at the element that it is at.
static void group_ask(const Group *g, IrValue k) {
    const Attend *a = g->a;
    Builder *b = a->b;
    int64_t queries = extent(a, a->m), each = ceil_div(a->lanes, queries);
    IrValue key = build_iadd(b, g->next, build_imul(b, g->query, each));
    IrValue index[TILE_MAX_DIMS];
    memcpy(index, a->index, sizeof index);
    index[g->s->of_n->k] = k;
    for (int64_t i = 0; i < each; i++) {
        index[a->n] = build_iadd(b, a->keys.first, plus(a, key, i));
        build_prefetch(b, load_pointer(a, g->s->of_n->load, index), false, 3);
    }
}

static void group_step(Group *g, IrValue k, int count) {
    const Attend *a = g->a;
    Builder *b = a->b;
    const Rows *of_m = g->s->rows_of_m;
    IrValue at = build_iadd(b, build_imul(b, g->query, of_m->width), k);
    IrValue q = build_load(b, type_vector(b->f32, a->lanes),
                           build_gep(b, b->f32, of_m->copy, at), (unsigned)a->lanes * 4);
    group_ask(g, k);
    for (int i = 0; i < a->lanes; i++)
        g->sums[i] =
            build_fma(b, row_vector(a, g->s->of_n, g->key[i], k, count), q, g->sums[i]);
}

static void group_sum(Group *g) {
    const Attend *a = g->a;
    Builder *b = a->b;
    int64_t all = extent(a, g->s->k), whole = all / a->lanes * a->lanes;
    for (int i = 0; i < a->lanes; i++)
        g->sums[i] = build_f32(b, 0, a->lanes);
    if (whole <= UNROLLED * (int64_t)a->lanes) {
        for (int64_t k = 0; k < whole; k += a->lanes)
            group_step(g, build_i64(b, k), a->lanes);
    } else {
        Loop loop = {.count = (uint32_t)a->lanes};
        memcpy(loop.carried, g->sums, sizeof g->sums);
        loop_begin(b, &loop, build_i64(b, 0), build_i64(b, whole), a->lanes);
        memcpy(g->sums, loop.carried, sizeof g->sums);
        group_step(g, loop.index, a->lanes);
        memcpy(loop.carried, g->sums, sizeof g->sums);
        loop_end(b, &loop);
        memcpy(g->sums, loop.carried, sizeof g->sums);
    }
    if (all > whole) group_step(g, build_i64(b, whole), (int)(all - whole));
}

// The scores of `lanes` keys; what lies behind the last key is read there instead.
static void group_emit(Attend *a, const Scores *s, IrValue first, bool last) {
    Builder *b = a->b;
    Group g = {.a = a, .s = s, .next = plus(a, first, a->lanes)};
    Loop queries = {.count = 0};
    loop_begin(b, &queries, build_i64(b, 0), a->strip_at.count, 1);
    g.query = queries.index;
    for (int i = 0; i < a->lanes; i++) {
        g.key[i] = plus(a, first, i);
        if (last) g.key[i] = at_most(b, g.key[i], plus(a, a->keys.count, -1));
    }
    group_sum(&g);
    IrValue at = build_iadd(b, build_imul(b, g.query, few_pitch(a)), first);
    build_store(b, build_lanes_sums(b, g.sums, a->lanes), build_gep(b, b->f32, s->panel, at),
                (unsigned)a->lanes * 4);
    loop_end(b, &queries);
}

void few_scores(Attend *a, const Scores *s) {
    Builder *b = a->b;
    build_line(b, tile_op(a->p, s->dot)->span);
    IrValue rest = LLVMBuildAnd(b->at, a->keys.count, build_i64(b, a->lanes - 1), "");
    IrValue whole = minus(b, a->keys.count, rest);
    Loop groups = {.count = 0};
    loop_begin(b, &groups, build_i64(b, 0), whole, a->lanes);
    group_emit(a, s, groups.index, false);
    loop_end(b, &groups);
    Branch some = branch_begin(b, build_icmp(b, LLVMIntSGT, rest, build_i64(b, 0)));
    group_emit(a, s, whole, true);
    branch_end(b, some);
}

// ---- sums over the keys

typedef struct {
    Attend *a;
    const Sums *s;
    int first, rows, vectors, tail;  // queries; elements of the last vector
    IrValue col;
    IrValue sums[MOST_ROWS * 2 * MOST_VECTORS];
} Block;

static void block_step(Block *k, IrValue key) {
    const Attend *a = k->a;
    Builder *b = a->b;
    IrValue x[2 * MOST_VECTORS];
    for (int j = 0; j < k->vectors; j++) {
        int count = j + 1 < k->vectors ? a->lanes : k->tail;
        x[j] = row_vector(a, k->s->rows, key, plus(a, k->col, (int64_t)j * a->lanes), count);
    }
    for (int i = 0; i < k->rows; i++) {
        IrValue at = plus(a, key, (k->first + i) * few_pitch(a));
        IrValue weight = build_load(b, b->f32, build_gep(b, b->f32, k->s->weights, at), 4);
        weight = build_splat(b, weight, a->lanes);
        for (int j = 0; j < k->vectors; j++) {
            IrValue *sum = &k->sums[i * k->vectors + j];
            *sum = build_fma(b, weight, x[j], *sum);
        }
    }
}

static IrValue sum_pointer(const Block *k, int i) {
    Builder *b = k->a->b;
    int64_t width = k->s->rows->width;
    int64_t at = (k->first + i / k->vectors) * width + (int64_t)(i % k->vectors) * k->a->lanes;
    return build_gep_bytes(b, build_gep(b, b->f32, k->s->sums, k->col), at * 4);
}

static void block_emit(Block *k) {
    const Attend *a = k->a;
    Builder *b = a->b;
    uint32_t count = (uint32_t)(k->rows * k->vectors);
    unsigned align = (unsigned)a->lanes * 4;
    Loop keys = {.count = count};
    for (uint32_t i = 0; i < count; i++)
        keys.carried[i] =
            build_load(b, type_vector(b->f32, a->lanes), sum_pointer(k, (int)i), align);
    loop_begin(b, &keys, build_i64(b, 0), a->keys.count, 1);
    memcpy(k->sums, keys.carried, count * sizeof(IrValue));
    block_step(k, keys.index);
    memcpy(keys.carried, k->sums, count * sizeof(IrValue));
    loop_end(b, &keys);
    for (uint32_t i = 0; i < count; i++)
        build_store(b, keys.carried[i], sum_pointer(k, (int)i), align);
}

// Cols by cols: all of a few queries for as many vectors of a row as registers hold.
static void cols_emit(Attend *a, const Sums *s, IrValue col, int64_t cols) {
    int queries = (int)extent(a, a->m);
    for (int first = 0; first < queries; first += MOST_ROWS) {
        Block k = {.a = a, .s = s, .first = first, .col = col};
        k.rows = queries - first < MOST_ROWS ? queries - first : MOST_ROWS;
        k.vectors = (int)ceil_div(cols, a->lanes);
        k.tail = (int)(cols - (k.vectors - 1) * (int64_t)a->lanes);
        block_emit(&k);
    }
}

void few_sums(Attend *a, const Sums *s) {
    Builder *b = a->b;
    build_line(b, tile_op(a->p, s->dot)->span);
    int vectors = extent(a, a->m) == 1 ? 2 * MOST_VECTORS : MOST_VECTORS;
    int64_t all = extent(a, s->rows->k), step = vectors * (int64_t)a->lanes,
            whole = all / step * step;
    Loop cols = {.count = 0};
    loop_begin(b, &cols, build_i64(b, 0), build_i64(b, whole), step);
    cols_emit(a, s, cols.index, step);
    loop_end(b, &cols);
    if (all > whole) cols_emit(a, s, build_i64(b, whole), all - whole);
}
