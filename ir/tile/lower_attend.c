// lower_attend.c: attention, and its gradients, as ATTEND programs. m: queries t, n: keys s,
// k: the elements d of queries and keys, and e of values.
//
//     forward                                      gradients
//     score[t, s] = scale * sum over d of q k      p[t, s]  = exp(score - lse)
//     top[t]      = max over s of score            dp[t, s] = sum over e of g v
//     w[t, s]     = exp(score - top)               ds[t, s] = p * (dp - delta) * scale
//     sum[t]      = sum over s of w                dq = sum over s of ds k
//     r[t, e]     = (sum over s of w v) / sum      dk = sum over t of ds q
//     lse[t]      = top + log(sum)                 dv = sum over t of p g
//
// Axes of q that k lacks (heads that share keys) are points of the grid, but for dk and dv:
// there they are serial, and summed with t. The gradients are one program, whose tasks are the
// points of the grid, or with the knob `split` two: dq in tiles of queries, dk and dv in tiles
// of keys.
#include "base/check.h"
#include "ir/graph/shape_rules.h"
#include "ir/tile/lower.h"

enum { DEFAULT_QUERIES = 64, DEFAULT_KEYS = 64 };

typedef struct {
    Lower *w;
    const Value *value;  // any member: all have the same first operands and attributes
    unsigned wanted;     // operations of the region that the program makes: see bit()
    DimSet m, n, d, e, serial;
} Attend;

static unsigned bit(GraphOp op) { return 1U << (op - OP_ATTEND); }
static bool makes(const Attend *a, GraphOp op) { return (a->wanted & bit(op)) != 0; }
static bool sums_queries(const Attend *a) {
    return makes(a, OP_ATTEND_DK) || makes(a, OP_ATTEND_DV);
}

// ---- the nest

// Also an axis of extent 1 has its place here: each role is needed.
static void nest_add_always(Lower *w, AxisId axis, TileRole role) {
    ASSERT(w->nest.axis_count < NEST_MAX_AXES);
    w->nest.axes[w->nest.axis_count++] =
        (NestAxis){.axis = axis, .role = role, .extent = graph_extent(w->graph, axis)};
}

static void add_axes(Attend *a) {
    Lower *w = a->w;
    const AxisId *along = a->value->attr.along;
    const Value *q = graph_value(w->graph, a->value->in[0]),
                *k = graph_value(w->graph, a->value->in[1]);
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < q->rank; i++) {
            AxisId axis = q->axes[i];
            if (axis.i == along[0].i || axis.i == along[1].i) continue;
            bool serial = sums_queries(a) && !graph_has_axis(k, axis);
            if (serial == (pass == 1)) nest_add(w, axis, serial ? DIM_SERIAL : DIM_GRID);
        }
    nest_add_always(w, along[1], DIM_M);
    nest_add_always(w, along[2], DIM_N);
    nest_add_always(w, along[0], DIM_K);
    if (a->value->arity == 2) return;
    const Value *v = graph_value(w->graph, a->value->in[2]);
    nest_add_always(w, attend_value_axis(k, v, along[0]), DIM_K);
}

static DimSet dim_of(Lower *w, AxisId axis) { return (DimSet)(1U << nest_find(w, axis)->dim); }

static void build_dims(Attend *a) {
    Lower *w = a->w;
    const AxisId *along = a->value->attr.along;
    nest_collect(w);
    nest_build(w);
    a->m = dim_of(w, along[1]);
    a->n = dim_of(w, along[2]);
    a->d = dim_of(w, along[0]);
    const Value *k = graph_value(w->graph, a->value->in[1]);
    if (a->value->arity > 2)
        a->e =
            dim_of(w, attend_value_axis(k, graph_value(w->graph, a->value->in[2]), along[0]));
    for (uint32_t i = 0; i < w->program->dim_count; i++)
        if (w->program->dims[i].role == DIM_SERIAL) a->serial |= (DimSet)(1U << i);
    w->program->band = a->value->attr.band;
}

static void set_tile(Attend *a, TileRole role, int32_t wanted, int64_t otherwise) {
    TileDim *dim = &a->w->program->dims[tile_dim_of(a->w->program, role)];
    int64_t tile = wanted > 0 ? wanted : otherwise;
    dim->tile = tile < dim->extent ? tile : dim->extent;
}

// Whichever of m and n is summed over stays whole.
static void set_tiles(Attend *a) {
    const Schedule *s = a->w->schedule;
    if (!sums_queries(a)) set_tile(a, DIM_M, s->bm, DEFAULT_QUERIES);
    if (sums_queries(a) && !makes(a, OP_ATTEND_DQ)) set_tile(a, DIM_N, s->bn, DEFAULT_KEYS);
    if (s->bm) tile_knob_set(a->w->program, "bm", s->bm);
    if (s->bn) tile_knob_set(a->w->program, "bn", s->bn);
    if (s->stages) tile_knob_set(a->w->program, "stages", s->stages);
    if (s->warps_m) tile_knob_set(a->w->program, "warps_m", s->warps_m);
}

// ---- values

static TileId number(Attend *a, double x) { return tile_const(a->w->program, x, DTYPE_F32); }

static TileId map1(Attend *a, GraphOp fn, TileId x) {
    return tile_map(a->w->program, fn, DTYPE_F32, &x, 1, a->value->span);
}

static TileId map2(Attend *a, GraphOp fn, TileId x, TileId y) {
    return tile_map(a->w->program, fn, DTYPE_F32, (TileId[]){x, y}, 2, a->value->span);
}

static TileId dot(Attend *a, TileId x, TileId y, DimSet over) {
    return tile_dot(a->w->program, x, y, over, a->value->span);
}

static TileId operand(Attend *a, uint32_t k, DimSet dims) {
    return lower_operand(a->w, a->value->in[k], dims, a->value->span);
}

static void store(Attend *a, GraphOp op, TileId x) { lower_store_op(a->w, op, x); }

static TileId scores(Attend *a) {
    TileId q = operand(a, 0, a->m | a->d), k = operand(a, 1, a->n | a->d);
    return map2(a, OP_MUL, dot(a, q, k, a->d), number(a, a->value->attr.number));
}

static void lower_forward(Attend *a) {
    TileProgram *p = a->w->program;
    Span span = a->value->span;
    TileId score = scores(a), top = tile_reduce(p, OP_REDUCE_MAX, score, a->n, span);
    TileId weight = map1(a, OP_EXP, map2(a, OP_SUB, score, top));
    TileId sum = tile_reduce(p, OP_REDUCE_SUM, weight, a->n, span);
    if (makes(a, OP_ATTEND)) {
        TileId mixed = dot(a, weight, operand(a, 2, a->n | a->e), a->n);
        store(a, OP_ATTEND, map2(a, OP_MUL, mixed, map2(a, OP_DIV, number(a, 1), sum)));
    }
    if (makes(a, OP_ATTEND_LSE))
        store(a, OP_ATTEND_LSE, map2(a, OP_ADD, top, map1(a, OP_LOG, sum)));
}

static void lower_backward(Attend *a) {
    TileId weight = map1(a, OP_EXP, map2(a, OP_SUB, scores(a), operand(a, 4, 0)));
    TileId g = operand(a, 3, a->m | a->e), slope = {0};
    DimSet rows = a->m | a->serial;
    if (makes(a, OP_ATTEND_DQ) || makes(a, OP_ATTEND_DK)) {
        TileId up = dot(a, g, operand(a, 2, a->n | a->e), a->e);
        slope = map2(a, OP_MUL, weight, map2(a, OP_SUB, up, operand(a, 5, 0)));
        slope = map2(a, OP_MUL, slope, number(a, a->value->attr.number));
    }
    if (makes(a, OP_ATTEND_DQ))
        store(a, OP_ATTEND_DQ, dot(a, slope, operand(a, 1, a->n | a->d), a->n));
    if (makes(a, OP_ATTEND_DK))
        store(a, OP_ATTEND_DK, dot(a, slope, operand(a, 0, a->m | a->d), rows));
    if (makes(a, OP_ATTEND_DV)) store(a, OP_ATTEND_DV, dot(a, weight, g, rows));
}

// ---- programs

// The member with the most operands.
static const Value *member_of(const Lower *w) {
    const Value *best = graph_value(w->graph, w->region->values[0]);
    for (uint32_t i = 1; i < w->region->value_count; i++) {
        const Value *v = graph_value(w->graph, w->region->values[i]);
        if (v->arity > best->arity) best = v;
    }
    return best;
}

static TileKernel lower_program(Lower *w, unsigned wanted) {
    Attend a = {.w = w, .value = member_of(w), .wanted = wanted};
    add_axes(&a);
    build_dims(&a);
    set_tiles(&a);
    if (a.value->arity > 3)
        lower_backward(&a);
    else
        lower_forward(&a);
    return (TileKernel){.program = tile_share(w->arena, w->program),
                        .bindings = w->bindings.ptr};
}

TileKernels *lower_attend(Lower *w) {
    unsigned wanted = 0, of_queries = bit(OP_ATTEND_DQ);
    for (uint32_t i = 0; i < w->region->output_count; i++)
        wanted |= bit(lower_output_op(w, w->region->outputs[i]));
    TileKernels *out = arena_new(w->arena, TileKernels);
    out->kernels = arena_array(w->arena, TileKernel, 2);
    if (!w->schedule->split || !(wanted & of_queries) || wanted == of_queries) {
        out->kernels[out->kernel_count++] = lower_program(w, wanted);
        return out;
    }
    Lower second;
    lower_init(&second, w->regions, w->region, w->schedule, w->arena);
    w->program->name = str_printf(w->arena, "%.*s.q", STR_ARG(w->region->name));
    second.program->name = str_printf(w->arena, "%.*s.kv", STR_ARG(w->region->name));
    out->kernels[out->kernel_count++] = lower_program(w, of_queries);
    out->kernels[out->kernel_count++] = lower_program(&second, wanted & ~of_queries);
    return out;
}
