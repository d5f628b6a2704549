// lower_linear_segments.c: linear attention in segments of the sequence that are walked side by
// side.
//
// What leaves a segment depends on what enters it by an affine map, next S = M S + b. M and b
// are found by walks, of all segments at once; then the segments are gone through one after the
// other:
//
//     sums      b: what leaves where nothing entered
//     maps      M: what leaves where the unit matrix entered and no v is written
//     entering  S of the first segment; for each segment: stored, then S = M S + b
//
// Where what is written does not depend on S (no delta rule, or E is known) M is diagonal: the
// product of all decays. dS, from the last segment to the first, likewise.
//
// A product M S stands at the rows of M: S changes between d and c, so two segments are a step.
#include "base/integer.h"
#include "ir/tile/lower_linear.h"

enum { MOST_GRID = 4 };  // dimensions: a join has five others, and parts

int64_t linear_segments(const Lower *w) {
    LinearOperands in = linear_operands(w->graph, lower_member(w));
    if (graph_value(w->graph, in.v)->rank > MOST_GRID + 2) return 1;
    int64_t tokens = graph_extent(w->graph, in.time), tile = linear_tile(w, tokens);
    int64_t tiles = ceil_div(tokens, tile), wanted = w->schedule->segments;
    int64_t count = (wanted < tiles ? wanted : tiles) / 2 * 2;
    return count > 1 ? count : 1;
}

typedef struct {
    const Lower *of;
    LinearOperands in;
    LinearBuffers *buffers;
    int64_t count;
    bool back;
    bool sums;      // b is not 0
    bool products;  // M is no diagonal
} Segments;

static Segments segments_of(const Lower *w, bool back, LinearBuffers *buffers) {
    const Value *value = lower_member(w);
    Segments s = {.of = w,
                  .in = linear_operands(w->graph, value),
                  .buffers = buffers,
                  .count = linear_segments(w),
                  .back = back};
    s.sums = !back || s.in.q.i;
    s.products = value->attr.amount & LINEAR_DELTA && (back || !s.in.error.i);
    return s;
}

// ---- memory

static uint32_t only_dim(DimSet dims) {
    uint32_t d = 0;
    while (!(dims >> d & 1))
        d++;
    return d;
}

// A matrix of each segment: rows and cols (no rows: a line). A task of a walk has one segment,
// a step of a join two: the first, or the second.
typedef struct {
    LinearBuffer buffer;
    DimSet rows, cols;
    bool second;
} Cell;

static int64_t place_dim(const Lower *w, TileAccess *access, DimSet dim, int64_t stride) {
    if (!dim) return stride;
    uint32_t d = only_dim(dim);
    int64_t extent = w->program->dims[d].extent;
    access->stride[d] = stride;
    if ((int)d != w->split_dim) return stride * extent;
    access->stride[w->part_dim] = stride * extent;
    return stride * extent * w->parts;
}

static TileAccess cell_access(const Linear *l, const Segments *s, const Cell *cell) {
    const Lower *w = l->w;
    const TileProgram *p = w->program;
    TileAccess access = tile_access(0);
    int64_t stride = place_dim(w, &access, cell->rows, place_dim(w, &access, cell->cols, 1));
    uint32_t tokens = only_dim(l->t);
    access.stride[only_dim(l->segment ? l->segment : l->t)] = l->segment ? stride : 2 * stride;
    if (cell->second) access.offset = stride;
    stride *= s->count;
    for (uint32_t d = tokens; d-- > 0;) {
        if ((int)d == w->part_dim || l->segment >> d & 1) continue;
        access.stride[d] = stride;
        stride *= p->dims[d].extent;
    }
    access.arg = linear_argument(l, s->buffers, cell->buffer, stride);
    return access;
}

// S: whichever of d (or what stands for it) and e comes first has the rows.
static Cell cell_of_state(const Linear *l, LinearBuffer buffer, DimSet d) {
    bool turned = l->e < l->d;
    return (Cell){.buffer = buffer, .rows = turned ? l->e : d, .cols = turned ? d : l->e};
}

// ---- walks

static Linear walk_begin(const Segments *s, LinearForm form) {
    LinearShape shape = {.form = form, .segments = s->count};
    Linear l = linear_begin(linear_again(s->of), 0, &shape);
    l.w->program->reverse = s->back;
    return l;
}

static TileKernel walk_end(const Linear *l, const Segments *s, TileId leaving,
                           const Cell *cell) {
    tile_store(l->w->program, cell_access(l, s, cell), leaving, l->value->span);
    return linear_end(l, cell->buffer == LINEAR_SUMS ? ".sums" : ".maps");
}

// What leaves each segment into which `begin` comes.
static TileKernel lower_leaving(const Segments *s, Linear *l, TileId begin, const Cell *cell) {
    TileId *x = s->back ? &l->slope : &l->state;
    *x = linear_carry(l, begin, l->d | l->e);
    tile_next(l->w->program, *x, linear_next(l, s->back), l->value->span);
    return walk_end(l, s, *x, cell);
}

static TileKernel lower_sums(const Segments *s) {
    Linear l = walk_begin(s, LINEAR_WALK);
    Cell cell = cell_of_state(&l, LINEAR_SUMS, l.d);
    return lower_leaving(s, &l, (TileId){0}, &cell);
}

static TileId unit_matrix(const Linear *l) {
    TileProgram *p = l->w->program;
    Span span = l->value->span;
    TileGuard row = {.dim = (int8_t)only_dim(l->d), .div = 1}, col = row;
    row.mod = col.mod = p->dims[row.dim].extent;
    col.dim = (int8_t)only_dim(l->c);
    TileId in[] = {tile_index(p, row, span), tile_index(p, col, span)};
    TileId of[] = {tile_map(p, OP_EQ, DTYPE_BOOL, in, span), tile_const(p, 1, DTYPE_F32),
                   tile_const(p, 0, DTYPE_F32)};
    return tile_map(p, OP_WHERE, DTYPE_F32, of, span);
}

static TileKernel lower_products(const Segments *s) {
    Linear l = walk_begin(s, LINEAR_UNIT);
    Cell cell = {.buffer = LINEAR_MAPS, .rows = l.d, .cols = l.c};
    return lower_leaving(s, &l, unit_matrix(&l), &cell);
}

static TileKernel lower_decays(const Segments *s) {
    Linear l = walk_begin(s, LINEAR_WALK);
    TileProgram *p = l.w->program;
    TileId x = linear_carry(&l, tile_const(p, 1, DTYPE_F32), l.d);
    tile_next(p, x, linear_faded(&l, x, WAY_ALL), l.value->span);
    Cell cell = {.buffer = LINEAR_MAPS, .cols = l.d};
    return walk_end(&l, s, x, &cell);
}

// ---- the join

static TileId cell_load(const Linear *l, const Segments *s, const Cell *cell) {
    return tile_load_by_tiles(l->w->program, cell_access(l, s, cell), l->value->span);
}

// M x + b of a segment, at `to`; x stands at `from`.
static TileId join_step(const Linear *l, const Segments *s, bool second, TileId x) {
    TileProgram *p = l->w->program;
    Span span = l->value->span;
    DimSet from = second == s->back ? l->d : l->c, to = second == s->back ? l->c : l->d;
    Cell map = {.buffer = LINEAR_MAPS, .rows = to, .cols = from, .second = second};
    if (s->products) {
        x = tile_dot(p, cell_load(l, s, &map), x, from, span);
    } else if (l->in.decay.i) {
        map = (Cell){.buffer = LINEAR_MAPS, .cols = l->d, .second = second};
        x = tile_map(p, OP_MUL, DTYPE_F32, (TileId[]){cell_load(l, s, &map), x}, span);
    }
    if (!s->sums) return x;
    Cell sum = cell_of_state(l, LINEAR_SUMS, s->products ? to : l->d);
    sum.second = second;
    return tile_map(p, OP_ADD, DTYPE_F32, (TileId[]){x, cell_load(l, s, &sum)}, span);
}

static void entering_store(const Linear *l, const Segments *s, bool second, TileId x) {
    DimSet d = tile_op(l->w->program, x)->dims & l->d ? l->d : l->c;
    Cell cell = cell_of_state(l, LINEAR_ENTERING, d);
    cell.second = second;
    tile_store(l->w->program, cell_access(l, s, &cell), x, l->value->span);
}

static TileKernel lower_entering(const Segments *s, GraphOp last) {
    LinearShape shape = {.form = LINEAR_JOIN, .parts = s->count, .segments = s->count};
    Linear l = linear_begin(linear_again(s->of), 0, &shape);
    TileProgram *p = l.w->program;
    p->reverse = s->back;
    TileId x = linear_carry(&l, linear_first(&l, s->back), l.d | l.e);
    entering_store(&l, s, s->back, x);
    TileId between = join_step(&l, s, s->back, x);
    entering_store(&l, s, !s->back, between);
    tile_next(p, x, join_step(&l, s, !s->back, between), l.value->span);
    if (last != OP_NONE) lower_store_op(l.w, last, x);
    return linear_end(&l, ".entering");
}

// ---- all

void linear_segments_join(const Lower *w, bool back, GraphOp last, LinearBuffers *buffers,
                          TileKernels *out) {
    Segments s = segments_of(w, back, buffers);
    if (s.sums) out->kernels[out->kernel_count++] = lower_sums(&s);
    if (s.products)
        out->kernels[out->kernel_count++] = lower_products(&s);
    else if (s.in.decay.i)
        out->kernels[out->kernel_count++] = lower_decays(&s);
    out->kernels[out->kernel_count++] = lower_entering(&s, last);
}

TileId linear_entering(const Linear *l, LinearBuffers *buffers) {
    Segments s = segments_of(l->w, false, buffers);
    Cell cell = cell_of_state(l, LINEAR_ENTERING, l->d);
    TileId x = tile_load(l->w->program, cell_access(l, &s, &cell), l->value->span);
    return linear_carry(l, x, l->d | l->e);
}
