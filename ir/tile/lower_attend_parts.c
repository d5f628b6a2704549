// lower_attend_parts.c: attention whose keys were dealt to parts: each has left rows r and the
// logarithms of their sums, and a STREAM program makes one of them:
//
//     top = max over p of lse[p]    w[p] = exp(lse[p] - top)
//     r = (sum over p of w[p] r[p]) / (sum over p of w[p])    lse = top + log(sum over p of
//     w[p])
#include "base/check.h"
#include "ir/graph/attend.h"
#include "ir/tile/lower.h"

// ---- where parts are

static AxisId values_of(const Value *v) { return v->axes[v->rank - 1]; }

static int64_t part_elements(const Graph *g, ValueId v, uint32_t which) {
    int64_t width = graph_extent(g, values_of(graph_value(g, v)));
    return graph_elements(g, v) / (which == ATTEND_PART_SUMS ? width : 1);
}

int64_t attend_part_bytes(const Graph *g, ValueId v, uint32_t which, int64_t parts) {
    return part_elements(g, v, which) * parts * (int64_t)dtype_bytes(DTYPE_F32);
}

TileAccess attend_part_access(Lower *w, ValueId v, uint32_t which, int64_t parts, int dim) {
    const AxisId values = values_of(graph_value(w->graph, v));
    int64_t elements = part_elements(w->graph, v, which);
    NestStrides strides = dense_strides(w, v);
    for (uint32_t i = 0; i < w->nest.axis_count && which == ATTEND_PART_SUMS; i++)
        if (w->nest.axes[i].axis.i == values.i)
            strides.stride[i] = 0;
        else
            strides.stride[i] /= graph_extent(w->graph, values);
    TileBinding binding = {.kind = BIND_PARTIAL, .partial = which};
    TileAccess access = tile_access(lower_argument(w, binding, DTYPE_F32, elements * parts));
    nest_strides(w, &strides, &access);
    access.stride[dim] = elements;
    return access;
}

// ---- the program

typedef struct {
    Lower w;
    ValueId v;
    int64_t parts;
    Span span;
} Join;

static TileId map1(Join *j, GraphOp fn, TileId x) {
    return tile_map(j->w.program, fn, DTYPE_F32, &x, j->span);
}

static TileId map2(Join *j, GraphOp fn, TileId x, TileId y) {
    return tile_map(j->w.program, fn, DTYPE_F32, (TileId[]){x, y}, j->span);
}

static TileId over_parts(Join *j, GraphOp fn, TileId x) {
    return tile_reduce(j->w.program, fn, x, tile_role_dims(j->w.program, DIM_SERIAL), j->span);
}

static TileId part(Join *j, uint32_t which) {
    int dim = tile_dim_of(j->w.program, DIM_SERIAL);
    TileAccess access = attend_part_access(&j->w, j->v, which, j->parts, dim);
    return tile_load(j->w.program, access, j->span);
}

// Rows of the result are points of the grid, whatever its order; their elements are cols.
static void nest_make(Join *j) {
    const Value *v = graph_value(j->w.graph, j->v);
    Nest *nest = &j->w.nest;
    for (uint32_t i = 0; i + 1U < v->rank; i++)
        nest_add(&j->w, v->axes[i], DIM_GRID);
    nest->axes[nest->axis_count++] =
        (NestAxis){.role = DIM_SERIAL, .extent = j->parts, .indexed = true};
    nest->axes[nest->axis_count++] =
        (NestAxis){.axis = values_of(v),
                   .role = DIM_COL,
                   .extent = graph_extent(j->w.graph, values_of(v))};
    nest_collect(&j->w);
    vec_push(j->w.arena, &nest->accesses, dense_strides(&j->w, j->v));
    nest_build(&j->w);
}

TileKernel attend_parts_join(const Lower *w, ValueId v, int64_t parts) {
    Join j = {.v = v, .parts = parts, .span = graph_value(w->graph, v)->span};
    lower_init(&j.w, w);
    Str name = str_printf(w->arena, "%.*s.parts", STR_ARG(w->region->name));
    j.w.program = tile_new(w->arena, name, TILE_STREAM);
    nest_make(&j);
    TileId lse = part(&j, ATTEND_PART_SUMS), top = over_parts(&j, OP_REDUCE_MAX, lse);
    TileId weight = map1(&j, OP_EXP, map2(&j, OP_SUB, lse, top));
    TileId sum = over_parts(&j, OP_REDUCE_SUM, weight);
    TileId rows =
        over_parts(&j, OP_REDUCE_SUM, map2(&j, OP_MUL, weight, part(&j, ATTEND_PART_ROWS)));
    lower_store_op(&j.w, OP_ATTEND, map2(&j, OP_DIV, rows, sum));
    lower_store_op(&j.w, OP_ATTEND_LSE, map2(&j, OP_ADD, top, map1(&j, OP_LOG, sum)));
    return (TileKernel){.program = tile_share(w->arena, j.w.program),
                        .bindings = j.w.bindings.ptr};
}
