// lower_grouped.c: grouped contractions as LOOP programs, and the order of their rows. Point p
// of the rows of group g is number start[g] + p in the lists; there are as many as the group
// has rows.
//
//     CONTRACT_AT    m: rows     r[rows of r, n] = sum over k of x[rows of x, k] * y[g, k, n]
//     CONTRACT_INTO  k: rows     r[g, m, n] = sum over rows of x[rows of x, m] * y[rows of y,
//     n]
#include "base/check.h"
#include "ir/graph/grouped.h"
#include "ir/tile/lower.h"

typedef struct {
    Lower *w;
    const Value *value;
    GroupedAxes axes;
    int group, rows;  // dimensions; group -1: there is only one
    TileId place, live,
        there;  // of a row in the lists; does it belong to the group? is it stored?
} Grouped;

// ---- the nest

static void add_axes(Lower *w, const AxisId *axes, uint32_t count, TileRole role) {
    for (uint32_t i = 0; i < count; i++)
        nest_add(w, axes[i], role);
}

static void build_dims(Grouped *c) {
    Lower *w = c->w;
    bool at = c->value->op == OP_CONTRACT_AT;
    nest_add(w, c->axes.groups, DIM_GRID);
    add_axes(w, c->axes.inner, c->axes.inner_count, at ? DIM_K : DIM_M);
    add_axes(w, c->axes.outer, c->axes.outer_count, DIM_N);
    NestAxis rows = {.role = at ? DIM_M : DIM_K,
                     .extent = graph_extent(w->graph, c->axes.rows)};
    w->nest.axes[w->nest.axis_count++] = rows;
    nest_collect(w);
    contract_nest_build(w);
    const NestAxis *group = nest_find(w, c->axes.groups);
    c->group = group ? group->dim : -1;
    c->rows = tile_dim_of(w->program, rows.role);
}

// ---- rows

static TileId number(Grouped *c, double x) { return tile_const(c->w->program, x, DTYPE_I32); }

static TileId map(Grouped *c, GraphOp fn, DType type, TileId x, TileId y) {
    return tile_map(c->w->program, fn, type, (TileId[]){x, y}, c->value->span);
}

static TileAccess list_access(Grouped *c, uint32_t k) {
    Lower *w = c->w;
    ValueId list = c->value->in[k];
    TileBinding binding = {.kind = BIND_VALUE, .value = list};
    return tile_access(lower_argument(w, binding, DTYPE_I32, graph_elements(w->graph, list)));
}

// End of the rows of the group that comes `before` groups earlier.
static TileId end_of(Grouped *c, int64_t before) {
    TileProgram *p = c->w->program;
    TileAccess access = list_access(c, GROUPED_ENDS);
    if (c->group < 0) return before ? number(c, 0) : tile_load(p, access, c->value->span);
    int64_t groups = p->dims[c->group].extent;
    access.stride[c->group] = 1;
    access.offset = -before;
    if (before)
        access.guard[0] = (TileGuard){
            .dim = (int8_t)c->group, .div = 1, .mod = groups, .lo = before, .hi = groups};
    return tile_load(p, access, c->value->span);
}

// The rows of no group come behind those of the last one in the lists. CONTRACT_AT gives them
// to it, with zeros for x.
static TileId last_end_of(Grouped *c, TileId end) {
    TileProgram *p = c->w->program;
    int64_t rows = p->dims[c->rows].extent;
    if (c->value->op != OP_CONTRACT_AT) return end;
    if (c->group < 0) return number(c, (double)rows);
    int64_t groups = p->dims[c->group].extent;
    TileGuard index = {.dim = (int8_t)c->group, .div = 1, .mod = groups};
    TileId in[3] = {map(c, OP_LT, DTYPE_BOOL, tile_index(p, index, c->value->span),
                        number(c, (double)(groups - 1))),
                    end, number(c, (double)rows)};
    return tile_map(p, OP_WHERE, DTYPE_I32, in, c->value->span);
}

static void build_rows(Grouped *c) {
    TileProgram *p = c->w->program;
    TileId start = end_of(c, 1), end = end_of(c, 0), last = last_end_of(c, end);
    tile_limit(p, map(c, OP_SUB, DTYPE_I32, last, start), (DimSet)(1U << c->rows),
               c->value->span);
    TileGuard index = {.dim = (int8_t)c->rows, .div = 1, .mod = p->dims[c->rows].extent};
    c->place = map(c, OP_ADD, DTYPE_I32, start, tile_index(p, index, c->value->span));
    c->live = map(c, OP_LT, DTYPE_BOOL, c->place, end);
    c->there = map(c, OP_LT, DTYPE_BOOL, c->place, last);
}

// The row number in operand k; -1 where there is no row.
static TileId row_number(Grouped *c, uint32_t k, TileId there) {
    TileProgram *p = c->w->program;
    int64_t count = graph_extent(c->w->graph, c->axes.rows);
    TileId row =
        tile_gather(p, list_access(c, k), (TileRows){c->place, 1, count}, c->value->span);
    TileId in[3] = {there, row, number(c, -1)};
    return tile_map(p, OP_WHERE, DTYPE_I32, in, c->value->span);
}

// ---- operands

// What numbers the rows of x: all axes but the last `own`.
static int64_t row_stride(const Graph *g, ValueId x, uint32_t own) {
    const Value *v = graph_value(g, x);
    GroupedRows rows = {v->axes, v->rank - own};
    int64_t stride;
    if (!grouped_row_stride(g, &rows, x, &stride)) BUG("rows that are apart");
    return stride;
}

static int64_t row_count(const Graph *g, const AxisId *axes, uint32_t rank) {
    int64_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= graph_extent(g, axes[i]);
    return count;
}

// Operand k, whose last `own` axes are those of a row.
static TileId operand_rows(Grouped *c, uint32_t k, uint32_t own, TileId row) {
    Lower *w = c->w;
    ValueId v = c->value->in[k];
    const Value *x = graph_value(w->graph, v);
    ValueLayout layout = value_layout(w->graph, v);
    DType type = graph_value(w->graph, layout.base)->type;
    TileBinding binding = {.kind = BIND_VALUE, .value = layout.base};
    TileAccess access =
        tile_access(lower_argument(w, binding, type, graph_elements(w->graph, layout.base)));
    access.offset = layout.offset;
    NestStrides strides = value_strides(w, v);
    nest_strides(w, &strides, &access);
    return tile_gather(w->program, access,
                       (TileRows){row, row_stride(w->graph, v, own),
                                  row_count(w->graph, x->axes, x->rank - own)},
                       c->value->span);
}

// ---- programs

static void store_rows(Lower *w, ValueId v) {
    const Value *r = graph_value(w->graph, v);
    TileBinding binding = {.kind = BIND_VALUE, .value = v};
    TileAccess access =
        tile_access(lower_argument(w, binding, r->type, graph_elements(w->graph, v)));
    NestStrides strides = dense_strides(w, v);
    nest_strides(w, &strides, &access);
    int64_t width = graph_elements(w->graph, v) / w->row_count;
    tile_scatter_put(w->program, access, (TileRows){w->row, width, w->row_count},
                     lower_value(w, v, (Point){{0}}), r->span);
}

TileKernels *lower_grouped(Lower *w) {
    Grouped c = {.w = w, .value = graph_value(w->graph, w->region->contract)};
    c.axes = grouped_axes(w->graph, c.value);
    bool at = c.value->op == OP_CONTRACT_AT;
    build_dims(&c);
    build_rows(&c);
    TileId x_row = row_number(&c, GROUPED_X_ROWS, c.live),
           y_row = row_number(&c, GROUPED_Y_ROWS, c.there);
    TileId x = operand_rows(&c, GROUPED_X, c.axes.inner_count, x_row);
    TileId y = at ? lower_value(w, c.value->in[GROUPED_Y], (Point){{0}})
                  : operand_rows(&c, GROUPED_Y, c.axes.outer_count, y_row);
    w->dot = contract_dot(w, x, y, c.value->span);
    if (at) w->row = y_row;
    w->rows = grouped_rows(w->graph, c.value);
    w->row_count = row_count(w->graph, w->rows.axes, w->rows.count);
    for (uint32_t i = 0; i < w->region->output_count; i++) {
        if (at)
            store_rows(w, w->region->outputs[i]);
        else
            lower_store(w, w->region->outputs[i], -1);
    }
    TileKernels *out = arena_new(w->arena, TileKernels);
    out->kernels = arena_new(w->arena, TileKernel);
    out->kernels[out->kernel_count++] =
        (TileKernel){.program = w->program, .bindings = w->bindings.ptr};
    return out;
}

// ---- order

// Place of row r of the index on the axes that number the wanted rows, which are neighbours
// among its own.
static TileGuard place_of(const Lower *w, const Value *order, int rows) {
    const Value *index = graph_value(w->graph, order->in[0]);
    TileGuard g = {.dim = (int8_t)rows, .div = 1, .mod = 1};
    uint32_t count = order->attr.to_count - 1U, last = index->rank;
    for (uint32_t i = 0; i < count; i++)
        g.mod *= graph_extent(w->graph, order->attr.to[i]);
    while (count > 0 && last > 0 && index->axes[last - 1].i != order->attr.to[count - 1].i)
        g.div *= graph_extent(w->graph, index->axes[--last]);
    if (count == 0) g.div = w->program->dims[rows].extent;
    for (uint32_t i = 0; i < count; i++)
        ASSERT(index->axes[last - count + i].i == order->attr.to[i].i);
    return g;
}

TileKernels *lower_order(Lower *w) {
    const Value *v = graph_value(w->graph, w->region->values[0]);
    TileProgram *p = w->program;
    int64_t rows = graph_elements(w->graph, w->region->values[0]);
    int dim = (int)tile_dim(p, STR("r"), rows, rows, DIM_SERIAL);
    ValueLayout layout = value_layout(w->graph, v->in[0]);
    TileBinding index = {.kind = BIND_VALUE, .value = layout.base},
                list = {.kind = BIND_VALUE, .value = w->region->values[0]};
    TileAccess read =
        tile_access(lower_argument(w, index, DTYPE_I32, graph_elements(w->graph, layout.base)));
    read.offset = layout.offset;
    read.stride[dim] = row_stride(w->graph, v->in[0], 0);
    TileAccess write = tile_access(lower_argument(w, list, DTYPE_I32, rows));
    write.stride[dim] = 1;
    TileSorted sorted = {.groups = graph_extent(w->graph, v->attr.along[0])};
    sorted.x = tile_index(p, place_of(w, v, dim), v->span);
    sorted.key = tile_load(p, read, v->span);
    tile_sort(p, write, sorted, v->span);
    TileKernels *out = arena_new(w->arena, TileKernels);
    out->kernels = arena_new(w->arena, TileKernel);
    out->kernels[out->kernel_count++] = (TileKernel){.program = p, .bindings = w->bindings.ptr};
    return out;
}
