// loop_pack.c: copies of operand tiles in close memory, as f32 or pairs of bf16, in the order
// in which the register kernel reads them. What stands at k before the dot is computed on the
// way.
//
//     rows, by vectors along k:    [row][k], row_pitch apart
//     rows, by vectors along rows: [block of mr rows][k][mr]
//     cols:                        [panel of nv vectors][k][nv vectors]
#include "base/check.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/loop.h"

enum {
    MAX_LANES = 16,
    LEAST_LANES = 4,
    FEW_K = 8,  // so many rows of memory stay in a set of the first-level cache
    EARLY_ROWS = 8,
    EARLY_COLS = 16,  // k before it is copied a vector is asked for
};

// Where k begins, and where its copy does.
typedef struct {
    Place at;
    IrValue to;
    int64_t pitch;  // of the copy: elements of one k
} Copy;

// One index of every k dimension but the innermost, which the body walks as it likes.
typedef void PackBody(Contract *c, const Copy *copy, void *context);

static void nest_walk(Contract *c, const Copy *outer, int d, PackBody *body, void *context) {
    Builder *b = c->b;
    Copy copy = *outer;
    copy.at = place_inside(c, &outer->at);
    if (d == c->k_last) {
        body(c, &copy, context);
        return;
    }
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, c->p->dims[d].extent), 1);
    copy.at.index[d] = loop.index;
    IrValue offset = build_imul(b, loop.index, c->k_flat[d] * copy.pitch);
    copy.to = build_gep(b, b->f32, copy.to, offset);
    nest_walk(c, &copy, d + 1, body, context);
    loop_end(b, &loop);
}

static IrValue copy_pointer(const Contract *c, const Copy *copy, IrValue k) {
    IrValue offset = build_imul(c->b, whole_elements(c, k), copy->pitch);
    return build_gep(c->b, c->b->f32, copy->to, offset);
}

static DimSet outer_dims(const Contract *c) {
    DimSet known = 0;
    for (int d = 0; d < (int)c->p->dim_count; d++)
        if (c->p->dims[d].role == DIM_GRID || (d >= c->k_first && d < c->k_inside))
            known |= dim_bit(d);
    return known;
}

// ---- vectors along k: whole ones, then the rest under a mask; a vector is always written
// whole, k_pitch leaves room for that

typedef void VectorBody(Contract *c, const Copy *copy, IrValue k, IrValue mask, void *context);

static void k_vectors(Contract *c, const Copy *copy, VectorBody *body, void *context) {
    Builder *b = c->b;
    int lanes = c->lanes * c->pair;
    IrValue rest = LLVMBuildURem(b->at, c->k_count, build_i64(b, lanes), "");
    IrValue whole = LLVMBuildNSWSub(b->at, c->k_count, rest, "");
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), whole, lanes);
    body(c, copy, loop.index, NULL, context);
    loop_end(b, &loop);
    if (LLVMIsConstant(rest) && LLVMConstIntGetSExtValue(rest) == 0) return;
    Branch some = branch_begin(b, build_icmp(b, LLVMIntSGT, rest, build_i64(b, 0)));
    body(c, copy, whole, mask_below(b, rest, lanes), context);
    branch_end(b, some);
}

static Place place_along_k(Contract *c, const Place *outer, IrValue k, IrValue mask) {
    Place at = place_inside(c, outer);
    at.index[c->k_last] = build_iadd(c->b, at.index[c->k_last], k);
    at.along = c->k_last;
    at.lanes = c->lanes * c->pair;
    at.mask = mask;
    return at;
}

// ---- rows

static void row_vector(Contract *c, const Copy *row, IrValue k, IrValue mask, void *context) {
    (void)context;
    Place at = place_along_k(c, &row->at, k, mask);
    IrValue x = value_all(c, c->rows.value, &at);
    build_store(c->b, x, copy_pointer(c, row, k), (unsigned)c->lanes * 4);
}

static void row_body(Contract *c, const Copy *row, void *context) {
    k_vectors(c, row, row_vector, context);
}

static void rows_along_k(Contract *c, IrValue first, IrValue count) {
    Builder *b = c->b;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), count, 1);
    Copy row = {.at = place_inside(c, &c->at), .pitch = 1};
    IrValue *index = &row.at.index[c->row];
    *index = build_iadd(b, *index, build_iadd(b, first, loop.index));
    place_prepare(c, &row.at, c->rows.value, (DimSet)(outer_dims(c) | dim_bit(c->row)));
    row.to = build_gep(b, b->f32, c->rows.copy, build_imul(b, loop.index, c->row_pitch));
    nest_walk(c, &row, c->k_inside, row_body, NULL);
    loop_end(b, &loop);
}

// Vectors of a block of rows, or of a panel of cols.
typedef struct {
    const Operand *operand;
    Place places[LOOP_MAX_CARRIED];  // of each vector
    int vectors, lanes;
    int early;            // k before it is read memory is asked for
    IrValue last_stored;  // mask of the last vector's store; NULL: all lanes
    const Place *k;       // FEW_K k and what is known at each; NULL: nothing
} Strip;

// The rows of memory that follow are far from each other: nothing but this fetches them early.
static void strip_ask(Contract *c, const Strip *s, Place *at) {
    const TileOp *op = s->operand->load;
    if (op == NULL) return;
    int64_t bytes = s->early * op->access.stride[c->k_last] *
                    (int64_t)dtype_bytes(c->p->args.ptr[op->access.arg].type);
    build_prefetch(c->b, build_gep_bytes(c->b, place_pointer(c, op, at), bytes), false, 3);
}

// The k that is i behind `first`, with its row's number, if the operand's k are rows by number.
static Place place_of_k(const Contract *c, const Operand *o, const Place *outer, IrValue first,
                        int i) {
    Place at = place_inside(c, outer);
    at.index[c->k_last] = build_iadd(c->b, outer->index[c->k_last], first);
    at.shift[c->k_last] = i;
    if (o->by_number) value_one(c, tile_op(c->p, o->value)->in[0], &at);
    return at;
}

// Vector j of one k, whose place is known.
static IrValue strip_value(Contract *c, const Strip *s, const Place *outer, const Place *k,
                           int j) {
    Place at = s->places[j];
    if (s->operand->by_number) {
        at.pointer = k->pointer;
        at.one = k->one;
        at.all = k->all;
    }
    at = place_inside(c, &at);
    memcpy(at.index, outer->index, sizeof at.index);
    at.index[c->k_last] = k->index[c->k_last];
    at.shift[c->k_last] = k->shift[c->k_last];
    strip_ask(c, s, &at);
    return value_all(c, s->operand->value, &at);
}

static Place strip_place(Contract *c, const Strip *s, const Place *outer, IrValue k, int i) {
    return s->k != NULL ? s->k[i] : place_of_k(c, s->operand, outer, k, i);
}

// `count` k from k on, which are whole elements, or half of the last one.
static void strip_steps(Contract *c, const Strip *s, const Copy *copy, IrValue k, int count) {
    Builder *b = c->b;
    const Place *outer = &copy->at;
    IrValue to = copy_pointer(c, copy, k);
    for (int i = 0; i < count; i += c->pair) {
        bool two = c->pair > 1 && i + 1 < count;
        Place here = strip_place(c, s, outer, k, i);
        Place next = two ? strip_place(c, s, outer, k, i + 1) : here;
        for (int j = 0; j < s->vectors; j++) {
            IrValue x = strip_value(c, s, outer, &here, j), mask = NULL;
            if (c->pair > 1)
                x = element_pairs(b, x,
                                  two ? strip_value(c, s, outer, &next, j)
                                      : LLVMConstNull(LLVMTypeOf(x)));
            if (j == s->vectors - 1) mask = s->last_stored;
            int64_t bytes = (i / c->pair * copy->pitch + (int64_t)j * s->lanes) * 4;
            build_store_masked(b, x, build_gep_bytes(b, to, bytes), 4, mask);
        }
    }
}

// k in [from, end); from is even.
static void strip_walk(Contract *c, const Strip *s, const Copy *copy, const IrValue k[2]) {
    Builder *b = c->b;
    Loop loop = {.count = 0};
    IrValue whole = build_imul(b, whole_elements(c, k[1]), c->pair);
    loop_begin(b, &loop, k[0], whole, c->pair);
    strip_steps(c, s, copy, loop.index, c->pair);
    loop_end(b, &loop);
    if (half_element(c) == NULL) return;
    Branch half = branch_begin(b, build_icmp(b, LLVMIntSLT, whole, k[1]));
    strip_steps(c, s, copy, whole, 1);
    branch_end(b, half);
}

static void strip_prepare(Contract *c, Strip *s, const Place *at) {
    for (int j = 0; j < s->vectors; j++) {
        Place *place = &s->places[j];
        IrValue mask = place->mask;
        *place = place_inside(c, at);
        place->shift[s->operand->dim] = (int64_t)j * s->lanes;
        place->along = s->operand->dim;
        place->lanes = s->lanes;
        place->mask = mask;
        place_prepare(c, place, s->operand->value,
                      (DimSet)(outer_dims(c) | dim_bit(s->operand->dim)));
    }
}

typedef struct {
    IrValue first, count;
} RowRun;

// The mask of each vector of a block that has `left` rows.
static void rows_mask(Contract *c, Strip *s, IrValue left) {
    Builder *b = c->b;
    const TileDim *dim = &c->p->dims[c->row];
    bool edges = dim->tile % c->mr != 0 || dim->extent % dim->tile != 0;
    for (int j = 0; j < s->vectors; j++) {
        IrValue mask = j == s->vectors - 1 ? s->last_stored : NULL;
        IrValue from = build_i64(b, (int64_t)j * s->lanes);
        IrValue there =
            edges ? mask_below(b, LLVMBuildNSWSub(b->at, left, from, ""), s->lanes) : NULL;
        if (mask != NULL && there != NULL) mask = LLVMBuildAnd(b->at, mask, there, "");
        s->places[j].mask = mask != NULL ? mask : there;
    }
}

// As few as the rows of a block fit: longer vectors would meet two lines of memory more often.
static int lanes_of_rows(const Contract *c) {
    int lanes = c->lanes;
    while (lanes > LEAST_LANES && lanes / 2 >= c->mr)
        lanes /= 2;
    return lanes;
}

// Do the k of every step come in whole runs of FEW_K? A limit is rounded up to ku.
static bool few_are_whole(const Contract *c) {
    const TileDim *k = &c->p->dims[c->k_last];
    if (c->limited == c->k_last)
        return c->ku * c->pair % FEW_K == 0 && k->tile % FEW_K == 0 && k->extent % FEW_K == 0;
    return LLVMIsAConstantInt(c->k_count) && LLVMConstIntGetSExtValue(c->k_count) % FEW_K == 0;
}

// A few k of all blocks before the next few, so that memory is read in runs of rows.
static void rows_body(Contract *c, const Copy *outer, void *context) {
    Builder *b = c->b;
    const RowRun *run = context;
    Loop few = {.count = 0}, rows = {.count = 0};
    bool whole = few_are_whole(c) && (c->rows.load != NULL || c->rows.by_number);
    Place ks[FEW_K];
    loop_begin(b, &few, build_i64(b, 0), c->k_count, FEW_K);
    for (int i = 0; i < FEW_K && whole; i++)
        ks[i] = place_of_k(c, &c->rows, &outer->at, few.index, i);
    IrValue end = build_iadd(b, few.index, build_i64(b, FEW_K));
    end = build_select(b, build_icmp(b, LLVMIntSLT, end, c->k_count), end, c->k_count);
    loop_begin(b, &rows, build_i64(b, 0), run->count, c->mr);
    Strip s = {.operand = &c->rows, .lanes = lanes_of_rows(c), .early = EARLY_ROWS};
    s.vectors = (c->mr + s.lanes - 1) / s.lanes;
    int last = c->mr - (s.vectors - 1) * s.lanes;
    if (last < s.lanes) s.last_stored = build_mask_first(b, last, s.lanes);
    rows_mask(c, &s, LLVMBuildNSWSub(b->at, run->count, rows.index, ""));
    Copy block = {.at = place_inside(c, &outer->at), .pitch = outer->pitch};
    IrValue *index = &block.at.index[c->row];
    *index = build_iadd(b, *index, build_iadd(b, run->first, rows.index));
    strip_prepare(c, &s, &block.at);
    block.to = build_gep(b, b->f32, outer->to, build_imul(b, rows.index, c->row_pitch));
    s.k = whole ? ks : NULL;
    if (whole)
        strip_steps(c, &s, &block, few.index, FEW_K);
    else
        strip_walk(c, &s, &block, (IrValue[]){few.index, end});
    loop_end(b, &rows);
    loop_end(b, &few);
}

static void rows_along_rows(Contract *c, IrValue first, IrValue count) {
    RowRun run = {first, count};
    Copy all = {.at = c->at, .to = c->rows.copy, .pitch = c->mr};
    nest_walk(c, &all, c->k_inside, rows_body, &run);
}

void pack_rows(Contract *c, IrValue first, IrValue count) {
    if (c->rows.along_k)
        rows_along_k(c, first, count);
    else
        rows_along_rows(c, first, count);
}

// ---- cols

// `valid` columns, each loaded by vectors along k, and stored as rows of a panel.
typedef struct {
    Place places[MAX_LANES];
    int valid;
} Square;

static void square_vector(Contract *c, const Copy *copy, IrValue k, IrValue mask,
                          void *context) {
    Builder *b = c->b;
    const Square *s = context;
    IrValue x[MAX_LANES];
    for (int i = 0; i < c->lanes; i++) {
        x[i] = build_f32(b, 0, c->lanes);
        if (i >= s->valid) continue;
        Place column = s->places[i];
        memcpy(column.index, copy->at.index, sizeof column.index);
        Place at = place_along_k(c, &column, k, mask);
        x[i] = value_all(c, c->cols.value, &at);
        x[i] = build_bitcast(b, x[i], type_vector(b->f32, c->lanes));
    }
    build_transpose(b, x, c->lanes);
    IrValue to = copy_pointer(c, copy, k);
    for (int i = 0; i < c->lanes; i++)
        build_store(b, x[i], build_gep_bytes(b, to, i * copy->pitch * 4),
                    (unsigned)c->lanes * 4);
}

static void square_body(Contract *c, const Copy *copy, void *context) {
    k_vectors(c, copy, square_vector, context);
}

static void squares_pack(Contract *c, IrValue first, int valid, int pitch, IrValue to) {
    Square s = {.valid = valid};
    Copy copy = {.at = place_inside(c, &c->at), .to = to, .pitch = pitch};
    copy.at.index[c->col] = build_iadd(c->b, copy.at.index[c->col], first);
    for (int i = 0; i < valid; i++) {
        s.places[i] = place_inside(c, &copy.at);
        s.places[i].shift[c->col] = i;
        place_prepare(c, &s.places[i], c->cols.value,
                      (DimSet)(outer_dims(c) | dim_bit(c->col)));
    }
    nest_walk(c, &copy, c->k_inside, square_body, &s);
}

static void panel_along_k(Contract *c, IrValue first, Width w, IrValue to) {
    Builder *b = c->b;
    int pitch = w.vectors * c->lanes, whole = w.tail < c->lanes ? w.vectors - 1 : w.vectors;
    Loop loop = {.count = 0};
    if (whole > 0) {
        loop_begin(b, &loop, build_i64(b, 0), build_i64(b, (int64_t)whole * c->lanes),
                   c->lanes);
        squares_pack(c, build_iadd(b, first, loop.index), c->lanes, pitch,
                     build_gep(b, b->f32, to, loop.index));
        loop_end(b, &loop);
    }
    if (whole == w.vectors) return;
    IrValue at = build_i64(b, (int64_t)whole * c->lanes);
    squares_pack(c, build_iadd(b, first, at), w.tail, pitch, build_gep(b, b->f32, to, at));
}

IrValue panel_copy(const Contract *c, IrValue first) {
    Builder *b = c->b;
    int64_t places = blocks_copy(c) ? 2 * c->group : c->group;
    if (c->one_group && places == 1) return c->cols.copy;
    if (c->one_group) {
        int64_t panel = (int64_t)c->nv * c->lanes;
        IrValue number = LLVMBuildUDiv(b->at, first, build_i64(b, panel), "");
        number = LLVMBuildAnd(b->at, number, build_i64(b, places - 1), "");
        first = build_imul(b, number, panel);
    }
    return build_gep(b, b->f32, c->cols.copy, build_imul(b, first, c->k_pitch));
}

static void panel_body(Contract *c, const Copy *copy, void *context) {
    strip_walk(c, context, copy, (IrValue[]){build_i64(c->b, 0), c->k_count});
}

void pack_panel(Contract *c, IrValue first, Width w) {
    Builder *b = c->b;
    IrValue to = panel_copy(c, first);
    if (c->cols.along_k) {
        panel_along_k(c, first, w, to);
        return;
    }
    Strip s = {
        .operand = &c->cols, .vectors = w.vectors, .lanes = c->lanes, .early = EARLY_COLS};
    if (w.tail < c->lanes) s.places[w.vectors - 1].mask = build_mask_first(b, w.tail, c->lanes);
    Copy copy = {.at = place_inside(c, &c->at), .to = to};
    copy.pitch = (int64_t)w.vectors * c->lanes;
    copy.at.index[c->col] = build_iadd(b, copy.at.index[c->col], first);
    strip_prepare(c, &s, &copy.at);
    nest_walk(c, &copy, c->k_inside, panel_body, &s);
}
