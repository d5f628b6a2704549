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
// Without any key a row's top is the least finite number, its sum 0 and its r 0.
//
// Axes of q that k lacks (heads that share keys) are points of the grid, but for dk and dv:
// there they are serial, and summed with t. The gradients are one program, whose tasks are the
// points of the grid, or with the knob `split` two: dq in tiles of queries, dk and dv in tiles
// of keys.
//
// Of a single query that begins anywhere the longest such axis is m, so that keys are read once
// for all its heads.
// With `parts` keys are dealt to that many tasks, and a second program makes one of their
// results (lower_attend_parts.c).
#include <float.h>
#include <math.h>

#include "base/check.h"
#include "ir/graph/attend.h"
#include "ir/tile/lower.h"

enum { DEFAULT_QUERIES = 64, DEFAULT_KEYS = 64, DEFAULT_DEAL = 128 };

typedef struct {
    Lower *w;
    const Value *value;  // any member: all have the same first operands and attributes
    ValueId result;      // that is the attention; {0}: none
    AttendOperands in;
    unsigned wanted;  // operations of the region that the program makes: see bit()
    AxisId rows;      // m: the queries, or heads of a single one
    int64_t parts;    // that keys are dealt to; 1: one
    DimSet m, n, d, e, serial, part;
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

static AxisId rows_axis(const Attend *a) {
    const Graph *g = a->w->graph;
    const Value *q = graph_value(g, a->in.q), *k = graph_value(g, a->in.k);
    AxisId best = a->in.query;
    if (graph_extent(g, best) > 1 || !a->in.start.i || a->in.gradient.i) return best;
    for (uint32_t i = 0; i < q->rank; i++)
        if (!graph_has_axis(k, q->axes[i]) &&
            graph_extent(g, q->axes[i]) > graph_extent(g, best))
            best = q->axes[i];
    return best;
}

static void add_axes(Attend *a) {
    Lower *w = a->w;
    const Value *q = graph_value(w->graph, a->in.q), *k = graph_value(w->graph, a->in.k);
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < q->rank; i++) {
            AxisId axis = q->axes[i];
            if (axis.i == a->in.width.i || axis.i == a->rows.i) continue;
            bool serial = sums_queries(a) && !graph_has_axis(k, axis);
            if (serial == (pass == 1)) nest_add(w, axis, serial ? DIM_SERIAL : DIM_GRID);
        }
    if (a->parts > 1)
        w->nest.axes[w->nest.axis_count++] =
            (NestAxis){.role = DIM_GRID, .extent = a->parts, .indexed = true};
    nest_add_always(w, a->rows, DIM_M);
    nest_add_always(w, a->in.key, DIM_N);
    nest_add_always(w, a->in.width, DIM_K);
    if (a->in.v.i) nest_add_always(w, a->in.values, DIM_K);
}

static DimSet dim_of(Lower *w, AxisId axis) { return (DimSet)(1U << nest_find(w, axis)->dim); }

static void build_dims(Attend *a) {
    Lower *w = a->w;
    nest_collect(w);
    nest_build(w);
    a->m = dim_of(w, a->rows);
    a->n = dim_of(w, a->in.key);
    a->d = dim_of(w, a->in.width);
    if (a->in.v.i) a->e = dim_of(w, a->in.values);
    a->serial = tile_role_dims(w->program, DIM_SERIAL);
    w->program->band = a->value->attr.band;
    if (a->parts == 1) return;
    w->program->deal = w->schedule->bn > 0 ? w->schedule->bn : DEFAULT_DEAL;
    a->part = (DimSet)(1U << tile_dealt_to(w->program));
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
    if (s->warps_n) tile_knob_set(a->w->program, "warps_n", s->warps_n);
}

// ---- values

static TileId number(Attend *a, double x) { return tile_const(a->w->program, x, DTYPE_F32); }

static TileId map1(Attend *a, GraphOp fn, TileId x) {
    return tile_map(a->w->program, fn, DTYPE_F32, &x, a->value->span);
}

static TileId map2(Attend *a, GraphOp fn, TileId x, TileId y) {
    return tile_map(a->w->program, fn, DTYPE_F32, (TileId[]){x, y}, a->value->span);
}

static TileId dot(Attend *a, TileId x, TileId y, DimSet over) {
    return tile_dot(a->w->program, x, y, over, a->value->span);
}

static TileId operand(Attend *a, ValueId v, DimSet dims) {
    return lower_operand(a->w, v, dims, a->value->span);
}

static void start(Attend *a) {
    TileProgram *p = a->w->program;
    bool rows = a->rows.i == a->in.query.i && graph_extent(a->w->graph, a->rows) > 1;
    if (a->in.start.i)
        tile_start(p, operand(a, a->in.start, 0), rows ? a->m : 0, a->value->span);
}

// One of the parts' results goes where the program that joins them finds it.
static void store(Attend *a, GraphOp op, TileId x) {
    if (a->parts == 1) {
        lower_store_op(a->w, op, x);
        return;
    }
    uint32_t which = op == OP_ATTEND ? ATTEND_PART_ROWS : ATTEND_PART_SUMS;
    TileAccess place =
        attend_part_access(a->w, a->result, which, a->parts, tile_dealt_to(a->w->program));
    tile_store(a->w->program, place, x, a->value->span);
}

static TileId scores(Attend *a) {
    TileProgram *p = a->w->program;
    Span span = a->value->span;
    TileId q = operand(a, a->in.q, a->m | a->d), k = operand(a, a->in.k, a->n | a->d | a->part);
    TileId score = map2(a, OP_MUL, dot(a, q, k, a->d), number(a, a->value->attr.number));
    if (!a->in.query_segment.i) return score;
    TileId segments[2] = {operand(a, a->in.query_segment, 0), operand(a, a->in.key_segment, 0)};
    TileId same = tile_map(p, OP_EQ, DTYPE_BOOL, segments, span);
    TileId in[3] = {same, score, number(a, -HUGE_VAL)};
    return tile_map(p, OP_WHERE, DTYPE_F32, in, span);
}

static void lower_forward(Attend *a) {
    TileProgram *p = a->w->program;
    Span span = a->value->span;
    TileId score = scores(a), top = tile_reduce(p, OP_REDUCE_MAX, score, a->n, span);
    TileId weight = map1(a, OP_EXP, map2(a, OP_SUB, score, top));
    // At least 1, but where there are no keys: it is divided by.
    TileId sum = tile_reduce(p, OP_REDUCE_SUM, weight, a->n, span);
    sum = map2(a, OP_MAX, sum, number(a, (double)FLT_MIN));
    if (makes(a, OP_ATTEND)) {
        TileId mixed = dot(a, weight, operand(a, a->in.v, a->n | a->e), a->n);
        store(a, OP_ATTEND, map2(a, OP_MUL, mixed, map2(a, OP_DIV, number(a, 1), sum)));
    }
    if (makes(a, OP_ATTEND_LSE))
        store(a, OP_ATTEND_LSE, map2(a, OP_ADD, top, map1(a, OP_LOG, sum)));
}

static void lower_backward(Attend *a) {
    TileId weight = map1(a, OP_EXP, map2(a, OP_SUB, scores(a), operand(a, a->in.lse, 0)));
    TileId g = operand(a, a->in.gradient, a->m | a->e), slope = {0};
    DimSet rows = a->m | a->serial;
    if (makes(a, OP_ATTEND_DQ) || makes(a, OP_ATTEND_DK)) {
        TileId up = dot(a, g, operand(a, a->in.v, a->n | a->e), a->e);
        slope = map2(a, OP_MUL, weight, map2(a, OP_SUB, up, operand(a, a->in.delta, 0)));
        slope = map2(a, OP_MUL, slope, number(a, a->value->attr.number));
    }
    if (makes(a, OP_ATTEND_DQ))
        store(a, OP_ATTEND_DQ, dot(a, slope, operand(a, a->in.k, a->n | a->d), a->n));
    if (makes(a, OP_ATTEND_DK))
        store(a, OP_ATTEND_DK, dot(a, slope, operand(a, a->in.q, a->m | a->d), rows));
    if (makes(a, OP_ATTEND_DV)) store(a, OP_ATTEND_DV, dot(a, weight, g, rows));
}

// ---- programs

static ValueId result_of(const Lower *w) {
    for (uint32_t i = 0; i < w->region->value_count; i++)
        if (graph_value(w->graph, w->region->values[i])->op == OP_ATTEND)
            return w->region->values[i];
    return (ValueId){0};
}

static TileKernel lower_program(Lower *w, unsigned wanted, int64_t parts) {
    const Value *value = lower_member(w);
    Attend a = {.w = w,
                .value = value,
                .in = attend_operands(w->graph, value),
                .wanted = wanted,
                .parts = parts};
    a.result = result_of(w);
    a.rows = rows_axis(&a);
    add_axes(&a);
    build_dims(&a);
    set_tiles(&a);
    start(&a);
    if (a.in.gradient.i)
        lower_backward(&a);
    else
        lower_forward(&a);
    return (TileKernel){.program = tile_share(w->arena, w->program),
                        .bindings = w->bindings.ptr};
}

static void lower_in_parts(Lower *w, unsigned wanted, TileKernels *out) {
    int64_t parts = w->schedule->parts, *bytes = arena_array(w->arena, int64_t, ATTEND_PARTS);
    ValueId result = result_of(w);
    for (uint32_t i = 0; i < ATTEND_PARTS; i++)
        bytes[i] = attend_part_bytes(w->graph, result, i, parts);
    out->kernels[out->kernel_count++] = lower_program(w, wanted | bit(OP_ATTEND_LSE), parts);
    out->kernels[out->kernel_count++] = attend_parts_join(w, result, parts);
    out->partial_bytes = bytes;
    out->partial_count = ATTEND_PARTS;
}

TileKernels *lower_attend(Lower *w) {
    unsigned wanted = 0, of_queries = bit(OP_ATTEND_DQ);
    for (uint32_t i = 0; i < w->region->output_count; i++)
        wanted |= bit(lower_output_op(w, w->region->outputs[i]));
    TileKernels *out = arena_new(w->arena, TileKernels);
    out->kernels = arena_array(w->arena, TileKernel, 2);
    if (wanted & bit(OP_ATTEND) && w->schedule->parts > 1) {
        lower_in_parts(w, wanted, out);
        return out;
    }
    if (!w->schedule->split || !(wanted & of_queries) || wanted == of_queries) {
        out->kernels[out->kernel_count++] = lower_program(w, wanted, 1);
        return out;
    }
    Lower second;
    lower_init(&second, w);
    w->program->name = str_printf(w->arena, "%.*s.q", STR_ARG(w->region->name));
    second.program->name = str_printf(w->arena, "%.*s.kv", STR_ARG(w->region->name));
    out->kernels[out->kernel_count++] = lower_program(w, of_queries, 1);
    out->kernels[out->kernel_count++] = lower_program(&second, wanted & ~of_queries, 1);
    return out;
}
