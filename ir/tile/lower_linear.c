// lower_linear.c: linear attention, its final state and their gradients, as CHUNK programs. m,
// n: the tokens t and s of a tile; k: the elements d of keys and e of values. S is the state as
// it enters a tile, dS the gradient of the state that leaves it.
//
// With a = exp(decay), and of its products in a tile: prefix (up to t), suffix (after t),
// total, and decayed(x, y): a dot whose terms decay by a from token s to token t:
//
//     P  = decayed(k[t], k[s]) over d               A  = decayed(q[t], k[s]) over d
//     E  = solve(P times beta of s, v - k prefix S)     without the delta rule: v
//     V' = beta E
//     o  = scale (q prefix S + A V')                next S = total S + (k suffix)^T V'
//
// The gradients, for g' = scale g and the E of the forward pass; strict(x) is x where s < t,
// else 0:
//
//     D   = solve(beta P, A^T g' + k suffix dS) transposed   without the delta rule, its right
//                                                            side itself
//     dv  = beta D                                  dbeta = sum over e of D E
//     dA  = strict(g' V'^T)                         dP = - beta strict(D V'^T)
//     past = prefix (g' S^T) + decayed(dA, k[s]) over s          own   = sum over e of g' V'
//     row  = - prefix ((beta D) S^T) + decayed(dP, k[s]) over s  (only with the delta rule)
//     col  = decayed(dA, q[t]) over t + decayed(dP, k[t]) over t
//     left = suffix (V' dS^T)
//     dq  = past + own k                            dk = row + col + left + own q
//     ddecay  = sum over r >= t of (q past + k (row - col)) + sum over r < t of k left
//               + total sum over e of S dS
//     next dS = total dS + (q prefix)^T g' - (beta k prefix)^T D
//
// What a token itself wrote does not decay until it reads: `own` stands apart, so that nothing
// large cancels in ddecay.
//
// They need S at every tile, last tile first: a program stores it for the next one, in a buffer
// f32[grid, tiles, e, d].
//
// Few heads leave threads idle. With the knob `parts` the columns e, which never meet in S or
// dS, are divided over tasks. Gradients sum over columns: their tasks are parts of the
// sequence, which begin with the dS that a program before, of columns again, found behind each
// part. With `segments` the sequence is divided in all programs (lower_linear_segments.c).
#include "ir/tile/lower_linear.h"

#include "base/check.h"

enum { DEFAULT_CHUNK = 64, MOST_KERNELS = 9 };

static unsigned bit(GraphOp op) { return 1U << (op - OP_LINEAR); }
static bool makes(const Linear *l, GraphOp op) { return (l->wanted & bit(op)) != 0; }

// ---- the nest

// Also an axis of extent 1 has its place here: each role is needed. The tokens have two.
static NestAxis *add_axis(Lower *w, AxisId axis, int64_t extent, TileRole role) {
    ASSERT(w->nest.axis_count < NEST_MAX_AXES);
    NestAxis *at = &w->nest.axes[w->nest.axis_count++];
    *at = (NestAxis){.axis = axis, .role = role, .extent = extent};
    return at;
}

static DimSet dim_of(const NestAxis *at) { return (DimSet)(at ? 1U << at->dim : 0); }

int64_t linear_tile(const Lower *w, int64_t tokens) {
    int64_t tile = w->schedule->chunk > 0 ? w->schedule->chunk : DEFAULT_CHUNK;
    return tile < tokens ? tile : tokens;
}

typedef struct {
    const NestAxis *t, *s, *d, *c, *e;
} Axes;

// Gradients multiply by S^T: the columns of S come first there.
static void add_state(const Linear *l, LinearForm form, Axes *axes) {
    Lower *w = l->w;
    int64_t width = graph_extent(w->graph, l->in.width);
    int64_t values = graph_extent(w->graph, l->in.values);
    bool columns = form != LINEAR_UNIT, first = columns && l->in.gradient.i;
    if (first) axes->e = add_axis(w, l->in.values, values, DIM_K);
    axes->d = add_axis(w, l->in.width, width, DIM_K);
    if (form != LINEAR_WALK) axes->c = add_axis(w, (AxisId){0}, width, DIM_K);
    if (columns && !first) axes->e = add_axis(w, l->in.values, values, DIM_K);
}

static void build_dims(Linear *l, const LinearShape *shape) {
    Lower *w = l->w;
    LinearForm form = shape->form;
    const Value *v = graph_value(w->graph, l->in.v);
    for (uint32_t i = 0; i < v->rank; i++)
        if (v->axes[i].i != l->in.time.i && v->axes[i].i != l->in.values.i)
            nest_add(w, v->axes[i], DIM_GRID);
    const NestAxis *segment = NULL;
    w->program->segments = form != LINEAR_JOIN && shape->segments > 1;
    if (w->program->segments) segment = add_axis(w, (AxisId){0}, shape->segments, DIM_GRID);
    int64_t tokens = graph_extent(w->graph, l->in.time);
    Axes axes = {.t = add_axis(w, l->in.time, tokens, DIM_M)};
    axes.s = add_axis(w, (AxisId){0}, tokens, DIM_N);
    add_state(l, form, &axes);
    nest_collect(w);
    nest_build(w);
    l->t = dim_of(axes.t);
    l->s = dim_of(axes.s);
    l->d = dim_of(axes.d);
    l->c = dim_of(axes.c);
    l->e = form == LINEAR_UNIT ? l->c : dim_of(axes.e);
    l->segment = dim_of(segment);
    l->grid = tile_role_dims(w->program, DIM_GRID);
    TileDim *t = &w->program->dims[axes.t->dim], *s = &w->program->dims[axes.s->dim];
    t->extent = form == LINEAR_JOIN ? shape->segments / 2 : t->extent - w->skip;
    t->tile = form == LINEAR_JOIN ? 1 : linear_tile(w, t->extent);
    s->extent = t->extent;
    s->tile = t->tile;
}

// ---- operations

static TileId number(const Linear *l, double x) {
    return tile_const(l->w->program, x, DTYPE_F32);
}

static TileId map2(const Linear *l, GraphOp fn, TileId x, TileId y) {
    return tile_map(l->w->program, fn, DTYPE_F32, (TileId[]){x, y}, l->value->span);
}

static TileId mul(const Linear *l, TileId x, TileId y) { return map2(l, OP_MUL, x, y); }

// Of two terms of which one may not be there.
static TileId add(const Linear *l, TileId x, TileId y) {
    return !x.i ? y : !y.i ? x : map2(l, OP_ADD, x, y);
}

static TileId sub(const Linear *l, TileId x, TileId y) {
    return y.i ? map2(l, OP_SUB, x, y) : x;
}

static TileId negative(const Linear *l, TileId x) {
    return tile_map(l->w->program, OP_NEG, DTYPE_F32, &x, l->value->span);
}

static TileId dot(const Linear *l, TileId x, TileId y, DimSet over) {
    return tile_dot(l->w->program, x, y, over, l->value->span);
}

static TileId sum(const Linear *l, TileId x, DimSet over) {
    return tile_reduce(l->w->program, OP_REDUCE_SUM, x, over, l->value->span);
}

static TileId turn(const Linear *l, TileId x) {
    return tile_turn(l->w->program, x, l->value->span);
}

static TileId scaled(const Linear *l, TileId x) {
    double scale = l->value->attr.number;
    return scale == 1 ? x : mul(l, x, number(l, scale));
}

static TileId operand(const Linear *l, ValueId v, DimSet dims) {
    return lower_operand(l->w, v, dims, l->value->span);
}

static TileId query(const Linear *l) { return operand(l, l->in.q, l->t | l->d); }
static TileId key(const Linear *l) { return operand(l, l->in.k, l->t | l->d); }
static TileId written(const Linear *l) { return operand(l, l->in.v, l->t | l->e); }

static bool wide_decay(const Linear *l) {
    return graph_has_axis(graph_value(l->w->graph, l->in.decay), l->in.width);
}

static TileId alpha(const Linear *l) {
    TileId x = operand(l, l->in.decay, wide_decay(l) ? l->t | l->d : l->t);
    return tile_map(l->w->program, OP_EXP, DTYPE_F32, &x, l->value->span);
}

static TileId strong(const Linear *l, TileId x) {
    return l->in.beta.i ? mul(l, operand(l, l->in.beta, l->t), x) : x;
}

// x times the product of decays over the tokens that `way` says.
static TileId faded(const Linear *l, TileId x, TileWay way) {
    if (!l->in.decay.i) return x;
    return mul(l, x, tile_scan(l->w->program, OP_MUL, alpha(l), way, l->value->span));
}

static TileId decayed(const Linear *l, TileId x, TileId y, DimSet over) {
    if (!l->in.decay.i) return dot(l, x, y, over);
    return tile_dot_decayed(l->w->program, (TileDecayed){x, y, alpha(l)}, over, l->value->span);
}

static TileId strict(const Linear *l, TileId x) {
    TileProgram *p = l->w->program;
    TileGuard t = {.dim = (int8_t)tile_dim_of(p, DIM_M), .div = 1}, s = t;
    s.dim = (int8_t)tile_dim_of(p, DIM_N);
    t.mod = s.mod = p->dims[t.dim].extent;
    Span span = l->value->span;
    TileId at[2] = {tile_index(p, s, span), tile_index(p, t, span)};
    TileId before = tile_map(p, OP_LT, DTYPE_BOOL, at, span);
    TileId in[3] = {before, x, number(l, 0)};
    return tile_map(p, OP_WHERE, DTYPE_F32, in, span);
}

// ---- formulas; equal operations of different ones are made one afterwards

static TileId key_scores(const Linear *l) { return decayed(l, key(l), turn(l, key(l)), l->d); }

static TileId query_scores(const Linear *l) {
    return decayed(l, query(l), turn(l, key(l)), l->d);
}

// v - k prefix S.
static TileId unread(const Linear *l) {
    TileId read = dot(l, faded(l, key(l), WAY_UPTO), l->state, l->d);
    return l->in.v.i ? sub(l, written(l), read) : negative(l, read);
}

// E.
static TileId error(const Linear *l) {
    if (l->in.error.i) return operand(l, l->in.error, l->t | l->e);
    if (!l->delta) return written(l);
    TileId scores = key_scores(l);
    if (l->in.beta.i) scores = mul(l, scores, turn(l, operand(l, l->in.beta, l->t)));
    return tile_solve(l->w->program, scores, unread(l), false, l->value->span);
}

// V'.
static TileId writes(const Linear *l) { return strong(l, error(l)); }

static TileId next_state(const Linear *l) {
    return add(l, faded(l, l->state, WAY_ALL),
               dot(l, faded(l, key(l), WAY_AFTER), writes(l), l->t));
}

static TileId result(const Linear *l) {
    TileId old = dot(l, faded(l, query(l), WAY_UPTO), l->state, l->d);
    TileId new = dot(l, query_scores(l), turn(l, writes(l)), l->s);
    return scaled(l, add(l, old, new));
}

// g'.
static TileId upstream(const Linear *l) {
    return scaled(l, operand(l, l->in.gradient, l->t | l->e));
}

// D.
static TileId write_slope(const Linear *l) {
    TileId x = dot(l, faded(l, key(l), WAY_AFTER), l->slope, l->d);
    if (l->in.q.i) x = add(l, turn(l, dot(l, query_scores(l), upstream(l), l->t)), x);
    if (!l->delta) return x;
    return tile_solve(l->w->program, strong(l, key_scores(l)), x, true, l->value->span);
}

static TileId beta_slope(const Linear *l) {
    return sum(l, mul(l, write_slope(l), error(l)), l->e);
}

// dA and dP.
static TileId query_score_slope(const Linear *l) {
    return strict(l, dot(l, upstream(l), turn(l, writes(l)), l->e));
}

static TileId key_score_slope(const Linear *l) {
    TileId x = dot(l, write_slope(l), turn(l, writes(l)), l->e);
    return negative(l, strong(l, strict(l, x)));
}

static TileId own_slope(const Linear *l) {
    return sum(l, mul(l, upstream(l), writes(l)), l->e);
}

static TileId past_slope(const Linear *l) {
    return add(l, faded(l, dot(l, upstream(l), l->state, l->e), WAY_UPTO),
               decayed(l, query_score_slope(l), turn(l, key(l)), l->s));
}

static TileId query_slope(const Linear *l) {
    return add(l, past_slope(l), mul(l, own_slope(l), key(l)));
}

// The parts of dk: through what a token reads, through what the tile reads of what it wrote,
// and through what later tiles read. {0}: there is none.
static TileId row_slope(const Linear *l) {
    if (!l->delta) return (TileId){0};
    TileId read = dot(l, strong(l, write_slope(l)), l->state, l->e);
    return sub(l, decayed(l, key_score_slope(l), turn(l, key(l)), l->s),
               faded(l, read, WAY_UPTO));
}

static TileId col_slope(const Linear *l) {
    TileId sums = {0};
    if (l->in.q.i) sums = decayed(l, query_score_slope(l), query(l), l->t);
    if (l->delta) sums = add(l, sums, decayed(l, key_score_slope(l), key(l), l->t));
    return sums.i ? turn(l, sums) : sums;
}

static TileId left_slope(const Linear *l) {
    return faded(l, dot(l, writes(l), l->slope, l->e), WAY_AFTER);
}

static TileId key_slope(const Linear *l) {
    TileId x = add(l, add(l, row_slope(l), col_slope(l)), left_slope(l));
    return l->in.q.i ? add(l, x, mul(l, own_slope(l), query(l))) : x;
}

// A decay that all elements of a key share has the sum of their gradients.
static TileId shared(const Linear *l, TileId x) { return wide_decay(l) ? x : sum(l, x, l->d); }

static TileId scan(const Linear *l, TileId x, TileWay way) {
    return tile_scan(l->w->program, OP_ADD, shared(l, x), way, l->value->span);
}

static TileId decay_slope(const Linear *l) {
    TileId whole = shared(l, sum(l, mul(l, l->state, l->slope), l->e));
    TileId x =
        add(l, scan(l, mul(l, key(l), left_slope(l)), WAY_BEFORE), faded(l, whole, WAY_ALL));
    TileId terms = {0};
    if (l->in.q.i) terms = mul(l, query(l), past_slope(l));
    if (l->delta)
        terms = add(l, terms, mul(l, key(l), sub(l, row_slope(l), col_slope(l))));
    else if (l->in.q.i)
        terms = sub(l, terms, mul(l, key(l), col_slope(l)));
    return terms.i ? add(l, scan(l, terms, WAY_FROM), x) : x;
}

static TileId next_slope(const Linear *l) {
    TileId x = faded(l, l->slope, WAY_ALL);
    if (l->in.q.i) x = add(l, x, dot(l, faded(l, query(l), WAY_UPTO), upstream(l), l->t));
    if (!l->delta) return x;
    return sub(l, x, dot(l, strong(l, faded(l, key(l), WAY_UPTO)), write_slope(l), l->t));
}

// ---- programs

TileId linear_next(const Linear *l, bool back) { return back ? next_slope(l) : next_state(l); }

TileId linear_faded(const Linear *l, TileId x, TileWay way) { return faded(l, x, way); }

TileId linear_carry(const Linear *l, TileId begin, DimSet dims) {
    if (!begin.i) begin = number(l, 0);
    return tile_carry(l->w->program, begin, l->grid | dims, l->value->span);
}

// What o gives to dS begins with nothing; a gradient of the final state is dS behind it.
TileId linear_first(const Linear *l, bool back) {
    ValueId x = !back ? l->in.initial : l->in.q.i ? (ValueId){0} : l->in.gradient;
    return x.i ? lower_value(l->w, x, (Point){{0}}) : (TileId){0};
}

static TileId first_carry(const Linear *l, bool back) {
    return linear_carry(l, linear_first(l, back), l->d | l->e);
}

static void store(const Linear *l, GraphOp op, TileId x) { lower_store_op(l->w, op, x); }

uint32_t linear_argument(const Linear *l, LinearBuffers *buffers, LinearBuffer which,
                         int64_t elements) {
    if (!buffers->number[which]) buffers->number[which] = ++buffers->count;
    uint32_t number = buffers->number[which] - 1;
    int64_t bytes = elements * (int64_t)dtype_bytes(DTYPE_F32);
    if (bytes > buffers->bytes[number]) buffers->bytes[number] = bytes;
    TileBinding binding = {.kind = BIND_PARTIAL, .partial = number};
    return lower_argument(l->w, binding, DTYPE_F32, elements);
}

// f32[grid, tiles, e, d]: S as it enters each tile, or dS as it leaves each.
static TileAccess buffer_access(const Linear *l, LinearBuffer which, LinearBuffers *buffers) {
    const Lower *w = l->w;
    const TileProgram *p = w->program;
    TileAccess access = tile_access(0);
    int64_t stride = 1;
    for (uint32_t d = p->dim_count; d-- > 0;) {
        if (p->dims[d].role == DIM_N || (int)d == w->part_dim || l->segment >> d & 1) continue;
        int64_t extent = p->dims[d].role == DIM_M ? tile_chunks(p) : p->dims[d].extent;
        int64_t before = p->dims[d].role == DIM_M ? w->skip / p->dims[d].tile : 0;
        access.stride[d] = stride;
        access.offset += before * stride;
        if ((int)d == w->split_dim) access.stride[w->part_dim] = stride * extent;
        stride *= before + ((int)d == w->split_dim ? extent * w->parts : extent);
    }
    access.arg = linear_argument(l, buffers, which, stride);
    return access;
}

// Of one tile, counted from the first that the program, or its segment, walks: all of one
// length.
static TileAccess buffer_access_at(const Linear *l, int64_t tile, LinearBuffers *buffers) {
    TileAccess access = buffer_access(l, LINEAR_SLOPES, buffers);
    int64_t *stride = &access.stride[tile_dim_of(l->w->program, DIM_M)];
    access.offset += tile * *stride;
    for (uint32_t d = 0; d < TILE_MAX_DIMS; d++)
        if (l->segment >> d & 1) access.stride[d] = tile_walked(l->w->program) * *stride;
    *stride = 0;
    return access;
}

Linear linear_begin(Lower *w, unsigned wanted, const LinearShape *shape) {
    const Value *value = lower_member(w);
    Linear l = {.w = w,
                .value = value,
                .in = linear_operands(w->graph, value),
                .wanted = wanted,
                .delta = (value->attr.amount & LINEAR_DELTA) != 0};
    w->parts = shape->parts;
    w->split_axis = l.in.values;
    build_dims(&l, shape);
    if (shape->form == LINEAR_UNIT) l.in.q = l.in.v = (ValueId){0};
    return l;
}

// A walk in parts of its columns.
static Linear columns_begin(Lower *w, unsigned wanted) {
    return linear_begin(w, wanted, &(LinearShape){.parts = w->schedule->parts});
}

// In segments of the sequence.
static Linear tokens_begin(Lower *w, unsigned wanted, int64_t segments) {
    return linear_begin(w, wanted, &(LinearShape){.segments = segments});
}

TileKernel linear_end(const Linear *l, const char *suffix) {
    l->w->program->name =
        str_printf(l->w->arena, "%.*s%s", STR_ARG(l->w->region->name), suffix);
    return (TileKernel){.program = tile_share(l->w->arena, l->w->program),
                        .bindings = l->w->bindings.ptr};
}

Lower *linear_again(const Lower *w) {
    Lower *again = arena_new(w->arena, Lower);
    lower_init(again, w);
    return again;
}

static void kernel_add(TileKernels *out, TileKernel kernel) {
    ASSERT(out->kernel_count < MOST_KERNELS);
    out->kernels[out->kernel_count++] = kernel;
}

static TileKernel lower_walk(Linear *l) {
    if (makes(l, OP_LINEAR)) store(l, OP_LINEAR, result(l));
    if (makes(l, OP_LINEAR_ERROR)) store(l, OP_LINEAR_ERROR, error(l));
    tile_next(l->w->program, l->state, next_state(l), l->value->span);
    if (makes(l, OP_LINEAR_STATE)) store(l, OP_LINEAR_STATE, l->state);
    return linear_end(l, "");
}

static void lower_forward(Lower *w, unsigned wanted, LinearBuffers *buffers, TileKernels *out) {
    int64_t segments = linear_segments(w);
    if (segments == 1) {
        Linear l = columns_begin(w, wanted);
        l.state = first_carry(&l, false);
        kernel_add(out, lower_walk(&l));
        return;
    }
    unsigned last = wanted & bit(OP_LINEAR_STATE);
    linear_segments_join(w, false, last ? OP_LINEAR_STATE : OP_NONE, buffers, out);
    if (wanted == last) return;
    Linear l = tokens_begin(w, wanted & ~last, segments);
    l.state = linear_entering(&l, buffers);
    kernel_add(out, lower_walk(&l));
}

static TileKernel lower_states(Linear *l, LinearBuffers *buffers) {
    tile_store(l->w->program, buffer_access(l, LINEAR_STATES, buffers), l->state,
               l->value->span);
    tile_next(l->w->program, l->state, next_state(l), l->value->span);
    return linear_end(l, ".states");
}

static void store_slopes(const Linear *l) {
    if (makes(l, OP_LINEAR_DQ)) store(l, OP_LINEAR_DQ, query_slope(l));
    if (makes(l, OP_LINEAR_DK)) store(l, OP_LINEAR_DK, key_slope(l));
    if (makes(l, OP_LINEAR_DV)) store(l, OP_LINEAR_DV, strong(l, write_slope(l)));
    if (makes(l, OP_LINEAR_DDECAY)) store(l, OP_LINEAR_DDECAY, decay_slope(l));
    if (makes(l, OP_LINEAR_DBETA)) store(l, OP_LINEAR_DBETA, beta_slope(l));
}

// Do the gradients need the state at every tile?
static bool reads_state(const Lower *w, unsigned wanted) {
    bool delta = lower_member(w)->attr.amount & LINEAR_DELTA;
    return wanted &
           (bit(OP_LINEAR_DQ) | bit(OP_LINEAR_DDECAY) | (delta ? bit(OP_LINEAR_DK) : 0));
}

// dS from the last tile to the first, past those that are skipped: carried, and in the buffer.
static TileKernel lower_slopes(Lower *w, unsigned wanted, int64_t skip,
                               LinearBuffers *buffers) {
    w->skip = skip;
    Linear l = columns_begin(w, wanted);
    TileProgram *p = w->program;
    p->reverse = true;
    l.slope = first_carry(&l, true);
    tile_store(p, buffer_access(&l, LINEAR_SLOPES, buffers), l.slope, l.value->span);
    tile_next(p, l.slope, next_slope(&l), l.value->span);
    if (skip) tile_store(p, buffer_access_at(&l, -1, buffers), l.slope, l.value->span);
    if (makes(&l, OP_LINEAR_DINITIAL)) store(&l, OP_LINEAR_DINITIAL, l.slope);
    return linear_end(&l, ".slopes");
}

// The gradients that are wanted, from the last tile to the first.
static TileKernel lower_backward(Linear *l, LinearBuffers *buffers) {
    TileProgram *p = l->w->program;
    p->reverse = true;
    if (reads_state(l->w, l->wanted))
        l->state =
            tile_load_by_tiles(p, buffer_access(l, LINEAR_STATES, buffers), l->value->span);
    store_slopes(l);
    tile_next(p, l->slope, next_slope(l), l->value->span);
    if (makes(l, OP_LINEAR_DINITIAL)) store(l, OP_LINEAR_DINITIAL, l->slope);
    return linear_end(l, "");
}

// Parts of the sequence, of whole tiles: as many as the schedule wants, or fewer.
static int64_t parts_of_tokens(const Lower *w, int64_t tokens) {
    int64_t tile = linear_tile(w, tokens), parts = w->schedule->parts;
    while (parts > 1 && tokens % (parts * tile))
        parts--;
    return parts > 1 ? parts : 1;
}

// What enters each segment is found before.
static void gradients_of_segments(Lower *w, unsigned wanted, LinearBuffers *buffers,
                                  TileKernels *out) {
    int64_t segments = linear_segments(w);
    if (reads_state(w, wanted)) {
        linear_segments_join(w, false, OP_NONE, buffers, out);
        Linear l = tokens_begin(linear_again(w), 0, segments);
        l.state = linear_entering(&l, buffers);
        kernel_add(out, lower_states(&l, buffers));
    }
    unsigned last = wanted & bit(OP_LINEAR_DINITIAL);
    linear_segments_join(w, true, last ? OP_LINEAR_DINITIAL : OP_NONE, buffers, out);
    if (wanted == last) return;
    Linear l = tokens_begin(w, wanted & ~last, segments);
    l.slope = linear_entering(&l, buffers);
    kernel_add(out, lower_backward(&l, buffers));
}

// Each part of the sequence begins with what the buffer has of its last tile.
static void gradients_of_parts(Lower *w, unsigned wanted, LinearBuffers *buffers,
                               TileKernels *out) {
    int64_t tokens = graph_extent(w->graph, linear_operands(w->graph, lower_member(w)).time);
    int64_t parts = parts_of_tokens(w, tokens);
    if (parts > 1 || reads_state(w, wanted)) {
        Linear l = columns_begin(linear_again(w), 0);
        l.state = first_carry(&l, false);
        kernel_add(out, lower_states(&l, buffers));
    }
    unsigned first = parts > 1 ? wanted & bit(OP_LINEAR_DINITIAL) : 0;
    if (parts > 1)
        kernel_add(out,
                   lower_slopes(linear_again(w), first, first ? 0 : tokens / parts, buffers));
    Linear l = tokens_begin(w, wanted & ~first, parts);
    if (parts > 1) {
        TileProgram *p = w->program;
        TileAccess last = buffer_access_at(&l, tile_walked(p) - 1, buffers);
        l.slope = linear_carry(&l, tile_load(p, last, l.value->span), l.d | l.e);
    } else {
        l.slope = first_carry(&l, true);
    }
    kernel_add(out, lower_backward(&l, buffers));
}

static void lower_gradients(Lower *w, unsigned wanted, LinearBuffers *buffers,
                            TileKernels *out) {
    const unsigned of_columns = bit(OP_LINEAR_DV) | bit(OP_LINEAR_DINITIAL);
    if (linear_segments(w) > 1) {
        gradients_of_segments(w, wanted, buffers, out);
    } else if (wanted & ~of_columns) {
        gradients_of_parts(w, wanted, buffers, out);
    } else {
        Linear l = columns_begin(w, wanted);
        l.slope = first_carry(&l, true);
        kernel_add(out, lower_backward(&l, buffers));
    }
}

TileKernels *lower_linear(Lower *w) {
    unsigned wanted = 0;
    for (uint32_t i = 0; i < w->region->output_count; i++)
        wanted |= bit(lower_output_op(w, w->region->outputs[i]));
    TileKernels *out = arena_new(w->arena, TileKernels);
    out->kernels = arena_array(w->arena, TileKernel, MOST_KERNELS);
    LinearBuffers buffers = {.bytes = arena_array(w->arena, int64_t, LINEAR_BUFFERS)};
    if (wanted & (bit(OP_LINEAR) | bit(OP_LINEAR_STATE) | bit(OP_LINEAR_ERROR)))
        lower_forward(w, wanted, &buffers, out);
    else
        lower_gradients(w, wanted, &buffers, out);
    out->partial_bytes = buffers.bytes;
    out->partial_count = buffers.count;
    return out;
}
