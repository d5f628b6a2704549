// lower_row.c: a row region as a STREAM program.
//
// Rows are grid dimensions; rows that a member sums over are serial ones, shared out in `parts`
// whose sums a second program adds up in a fixed order. Without any reduction, rows and cols
// that lie densely become one tiled dimension.
#include "base/check.h"
#include "base/integer.h"
#include "ir/tile/lower.h"

enum {
    DEFAULT_PARTS = 16,
    DEFAULT_TILE = 4096,
    LEAST_SERIAL = 4096,
    SCATTER_TILE = 64,
    FAR_BYTES = 8 << 20,         // more than the second-level caches hold
    GONE_BYTES = 64 << 20,       // of so much hardly any is near when the next kernel begins
    LONG_ROW_BYTES = 256 << 10,  // this one and the next stay in such a cache
    AHEAD_BYTES = 8 << 10,       // at least so much is on its way
};

static bool is_reduce(GraphOp op) { return op == OP_REDUCE_SUM || op == OP_REDUCE_MAX; }

// Is v a sum (or maximum) over rows?
static bool sums_rows(const Lower *w, const Value *v) {
    const Region *r = w->region;
    for (uint32_t i = 0; is_reduce(v->op) && i < v->attr.along_count; i++)
        if (!axis_in(r->unrolled, r->unrolled_count, v->attr.along[i]) &&
            !axis_in(r->cols, r->col_count, v->attr.along[i]))
            return true;
    return false;
}

static bool is_serial(const Lower *w, AxisId axis) {
    for (uint32_t i = 0; i < w->region->value_count; i++) {
        const Value *v = graph_value(w->graph, w->region->values[i]);
        if (sums_rows(w, v) && axis_in(v->attr.along, v->attr.along_count, axis)) return true;
    }
    return false;
}

static bool has_reduction(const Lower *w) {
    for (uint32_t i = 0; i < w->region->value_count; i++) {
        GraphOp op = graph_value(w->graph, w->region->values[i])->op;
        if (is_reduce(op) || op == OP_SOFTMAX || op == OP_LOGSUMEXP) return true;
    }
    return false;
}

static void visit_axes(Lower *w, const Value *v, TileRole role) {
    const Region *r = w->region;
    for (int i = 0; i < v->rank; i++) {
        AxisId axis = v->axes[i];
        if (axis_in(r->unrolled, r->unrolled_count, axis) ||
            axis_in(r->cols, r->col_count, axis))
            continue;
        if ((role == DIM_SERIAL) == is_serial(w, axis)) nest_add(w, axis, role);
    }
}

static const Value *widest(Lower *w) {
    const Value *best = NULL;
    for (uint32_t i = 0; i < w->region->value_count; i++) {
        const Value *v = graph_value(w->graph, w->region->values[i]);
        if (is_reduce(v->op) || v->op == OP_LOGSUMEXP) v = graph_value(w->graph, v->in[0]);
        if (!best || v->rank > best->rank) best = v;
    }
    return best;
}

// Axes in the storage order of the widest value, then whatever others there are.
static void add_rows(Lower *w, TileRole role) {
    visit_axes(w, widest(w), role);
    for (uint32_t i = 0; i < w->region->value_count; i++) {
        const Value *v = graph_value(w->graph, w->region->values[i]);
        visit_axes(
            w, is_reduce(v->op) || v->op == OP_LOGSUMEXP ? graph_value(w->graph, v->in[0]) : v,
            role);
    }
}

static int64_t extent_of(const Lower *w, TileRole role) {
    int64_t n = 1;
    for (uint32_t i = 0; i < w->nest.axis_count; i++)
        if (w->nest.axes[i].role == role) n *= w->nest.axes[i].extent;
    return n;
}

// Without reductions all that lies densely is one dimension, and any tiling of it will do.
static void flatten(Lower *w) {
    for (uint32_t i = w->nest.axis_count; i-- > 1;) {
        w->nest.axes[i - 1].role = DIM_COL;
        if (nest_joined(w, i - 1)) continue;
        w->nest.axes[i - 1].role = DIM_GRID;
        return;
    }
}

// Cols that no one stride walks: the outer ones are summed serially.
static void split_cols(Lower *w) {
    uint32_t n = w->nest.axis_count;
    bool apart = false;
    for (uint32_t i = n; i-- > 1;) {
        if (w->nest.axes[i - 1].role != DIM_COL) return;
        apart = apart || !nest_joined(w, i - 1);
        if (apart) w->nest.axes[i - 1].role = DIM_SERIAL;
    }
}

// Where an output has no cols one task must have them all.
void lower_tile_cols(Lower *w) {
    int col = tile_dim_of(w->program, DIM_COL);
    if (col < 0) return;
    for (uint32_t i = 1; i < w->program->ops.len; i++) {
        const TileOp *op = &w->program->ops.ptr[i];
        if (op->kind == TILE_STORE && !(op->dims >> col & 1)) return;
    }
    TileDim *dim = &w->program->dims[col];
    int64_t tile = w->schedule->tile > 0 ? w->schedule->tile : DEFAULT_TILE;
    dim->tile = tile < dim->extent ? tile : dim->extent;
}

static bool is_read(const Lower *w, ValueId v) {
    for (uint32_t i = 0; i < w->regions->count; i++) {
        const Region *r = &w->regions->regions[i];
        for (uint32_t k = 0; k < r->input_count; k++)
            if (r->inputs[k].i == v.i) return true;
    }
    return false;
}

static bool is_update(const Lower *w, ValueId v) {
    vec_each (const GraphUpdate, update, &w->graph->updates)
        if (update->value.i == v.i) return true;
    return false;
}

static int64_t output_bytes(const Lower *w, uint32_t i) {
    ValueId v = w->region->outputs[i];
    return graph_elements(w->graph, v) * (int64_t)dtype_bytes(graph_value(w->graph, v)->type);
}

// Large results that leave the caches before anyone reads them need not pass through them.
// Updates take the place of what was read.
static bool bypasses_cache(const Lower *w) {
    const Region *r = w->region;
    if (w->schedule->nt >= 0) return w->schedule->nt > 0;
    int64_t all = 0, leaving = 0;
    for (uint32_t i = 0; i < r->output_count; i++)
        all += output_bytes(w, i);
    if (all < FAR_BYTES) return false;
    bool gone = all >= GONE_BYTES;
    for (uint32_t i = 0; i < r->output_count; i++)
        if (!is_update(w, r->outputs[i]) && (gone || !is_read(w, r->outputs[i])))
            leaving += output_bytes(w, i);
    return leaving > all / 16 * 15;
}

// Between the passes over a row memory would be idle, and the hardware begins anew with every
// row of every array: unless the rows that come next are asked for while this one is computed.
static int64_t rows_ahead(const Lower *w) {
    const TileProgram *p = w->program;
    int col = tile_dim_of(p, DIM_COL);
    if (w->schedule->prefetch >= 0) return w->schedule->prefetch;
    if (col < 0 || !has_reduction(w)) return 0;
    int64_t row = 0, all = 0;
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *op = &p->ops.ptr[i];
        bool rows = (op->dims & ~(1U << col)) != 0;
        if (op->kind != TILE_LOAD || op->access.stride[col] != 1 || !rows) continue;
        const TileArg *arg = &p->args.ptr[op->access.arg];
        row += p->dims[col].tile * (int64_t)dtype_bytes(arg->type);
        all += arg->elements * (int64_t)dtype_bytes(arg->type);
    }
    bool worthwhile = all >= FAR_BYTES && row <= LONG_ROW_BYTES;
    return worthwhile ? ceil_div(AHEAD_BYTES, row) : 0;
}

static void set_knobs(Lower *w) {
    const Schedule *s = w->schedule, none = schedule_none();
    if (s->unroll != none.unroll) tile_knob_set(w->program, "unroll", s->unroll);
    if (s->keep != none.keep) tile_knob_set(w->program, "keep", s->keep);
    if (bypasses_cache(w)) tile_knob_set(w->program, "nt", 1);
    if (rows_ahead(w) > 0) tile_knob_set(w->program, "prefetch", rows_ahead(w));
    if (s->threads > 0) tile_knob_set(w->program, "threads", s->threads);
    if (s->rows > 0) tile_knob_set(w->program, "rows", s->rows);
    if (s->width > 0) tile_knob_set(w->program, "width", s->width);
    if (s->blocks > 0) tile_knob_set(w->program, "blocks", s->blocks);
    if (s->ring != none.ring) tile_knob_set(w->program, "ring", s->ring);
    if (s->registers > 0) tile_knob_set(w->program, "registers", s->registers);
}

static TileKernel finish(Lower *w) {
    TileKernel k = {.program = w->program, .bindings = w->bindings.ptr};
    return k;
}

// The second program of a sum in parts: result = sum over parts of the partial results.
static TileKernel sum_parts(Lower *w, ValueId v, uint32_t partial) {
    const Value *value = graph_value(w->graph, v);
    int64_t elements = graph_elements(w->graph, v), parts = w->parts;
    w->program = tile_new(
        w->arena, str_printf(w->arena, "%.*s.parts", STR_ARG(w->region->name)), TILE_STREAM);
    memset(&w->bindings, 0, sizeof w->bindings);
    uint32_t from = lower_argument(w, (TileBinding){.kind = BIND_PARTIAL, .partial = partial},
                                   value->type, elements * parts);
    uint32_t to =
        lower_argument(w, (TileBinding){.kind = BIND_VALUE, .value = v}, value->type, elements);
    TileAccess read = tile_access(from), write = tile_access(to);
    uint32_t over;
    if (elements == 1) {
        over = tile_dim(w->program, STR("c"), parts, parts, DIM_COL);
        read.stride[over] = 1;
    } else {
        over = tile_dim(w->program, STR("s0"), parts, parts, DIM_SERIAL);
        uint32_t col =
            tile_dim(w->program, STR("c"), elements, elements < 256 ? elements : 256, DIM_COL);
        read.stride[over] = elements;
        read.stride[col] = write.stride[col] = 1;
    }
    TileId sum = tile_reduce(w->program, value->op, tile_load(w->program, read, value->span),
                             (DimSet)(1u << over), value->span);
    tile_store(w->program, write, sum, value->span);
    return finish(w);
}

static TileKernels *kernels_new(Lower *w, uint32_t count, uint32_t partials) {
    TileKernels *out = arena_new(w->arena, TileKernels);
    out->kernels = arena_array(w->arena, TileKernel, count);
    out->partial_bytes = arena_array(w->arena, int64_t, partials);
    return out;
}

static TileKernels *emit(Lower *w) {
    const Region *r = w->region;
    TileKernels *out = kernels_new(w, 1 + r->output_count, r->output_count);
    int64_t *partial_bytes = arena_array(w->arena, int64_t, r->output_count);
    for (uint32_t i = 0; i < r->output_count; i++) {
        const Value *v = graph_value(w->graph, r->outputs[i]);
        bool in_parts = w->part_dim >= 0 && sums_rows(w, v);
        lower_store(w, r->outputs[i], in_parts ? (int)out->partial_count : -1);
        if (in_parts)
            partial_bytes[out->partial_count++] = graph_elements(w->graph, r->outputs[i]) *
                                                  w->parts * (int64_t)dtype_bytes(v->type);
    }
    out->partial_bytes = partial_bytes;
    w->program = tile_share(w->arena, w->program);
    set_knobs(w);
    out->kernels[out->kernel_count++] = finish(w);
    for (uint32_t i = 0, partial = 0; w->part_dim >= 0 && i < r->output_count; i++)
        if (sums_rows(w, graph_value(w->graph, r->outputs[i])))
            out->kernels[out->kernel_count++] = sum_parts(w, r->outputs[i], partial++);
    return out;
}

// Rows are added one after another, so that no two tasks meet in an element; tasks share out
// the cols. Rows that are placed do not meet: they are tasks as well.
static TileKernels *lower_scatter(Lower *w) {
    ValueId v = w->region->outputs[0];
    const Value *value = graph_value(w->graph, v);
    bool adds = value->op == OP_SCATTER;
    ValueId from_value = value->in[adds ? 0 : 1], index_value = value->in[adds ? 1 : 2];
    const Value *x = graph_value(w->graph, from_value),
                *index = graph_value(w->graph, index_value);
    int target = 0;  // the axis of the result that the index picks from
    while (graph_has_axis(x, value->axes[target]))
        target++;
    int col = x->rank - 1;
    if (col >= 0 &&
        (graph_has_axis(index, x->axes[col]) || !graph_has_axis(value, x->axes[col])))
        col = -1;
    for (int i = 0; i < x->rank; i++)
        if (i != col) nest_add(w, x->axes[i], adds ? DIM_SERIAL : DIM_GRID);
    if (col >= 0) nest_add(w, x->axes[col], DIM_COL);
    nest_collect(w);
    nest_build(w);
    if (tile_dim_of(w->program, DIM_COL) >= 0) {
        TileDim *dim = &w->program->dims[tile_dim_of(w->program, DIM_COL)];
        dim->tile = dim->extent < SCATTER_TILE ? dim->extent : SCATTER_TILE;
    }
    TileRows rows = {.index = lower_value(w, index_value, (Point){{0}}),
                     .stride = 1,
                     .count = graph_extent(w->graph, value->axes[target])};
    TileId from = lower_value(w, from_value, (Point){{0}});
    for (int i = value->rank - 1; i > target; i--)
        rows.stride *= graph_extent(w->graph, value->axes[i]);
    NestStrides strides = dense_strides(w, v);
    TileAccess access = tile_access(
        lower_argument(w, (TileBinding){.value = v}, value->type, graph_elements(w->graph, v)));
    nest_strides(w, &strides, &access);
    (adds ? tile_scatter_add : tile_scatter_put)(w->program, access, rows, from, value->span);
    TileKernels *out = kernels_new(w, 1, 0);
    out->kernels[out->kernel_count++] = finish(w);
    out->kernels[0].clear_first = true;
    if (!adds) out->kernels[0].starts_as = value->in[0];
    return out;
}

// Merging axes that do not lie densely is a copy: it walks the axes before they are merged.
static TileKernels *lower_merge(Lower *w) {
    ValueId v = w->region->outputs[0];
    const Value *value = graph_value(w->graph, v), *x = graph_value(w->graph, value->in[0]);
    for (int i = 0; i < x->rank; i++)
        nest_add(w, x->axes[i], i + 1 < x->rank ? DIM_GRID : DIM_COL);
    NestStrides read = operand_strides(w, v, 0), write = dense_strides(w, v);
    int64_t stride = 1;
    for (int i = value->rank - 1; value->axes[i].i != value->attr.to[0].i; i--)
        stride *= graph_extent(w->graph, value->axes[i]);
    for (int i = value->attr.along_count - 1; i >= 0; i--) {
        NestAxis *at = nest_find(w, value->attr.along[i]);
        if (at) write.stride[at - w->nest.axes] = stride;
        stride *= graph_extent(w->graph, value->attr.along[i]);
    }
    vec_push(w->arena, &w->nest.accesses, read);
    vec_push(w->arena, &w->nest.accesses, write);
    nest_build(w);
    TileAccess access = tile_access(
        lower_argument(w, (TileBinding){.value = v}, value->type, graph_elements(w->graph, v)));
    nest_strides(w, &write, &access);
    w->member[v.i] = false;  // its operand is loaded, not it
    tile_store(w->program, access, lower_value(w, value->in[0], (Point){{0}}), value->span);
    TileKernels *out = kernels_new(w, 1, 0);
    out->kernels[out->kernel_count++] = finish(w);
    return out;
}

TileKernels *lower_row(Lower *w) {
    const Region *r = w->region;
    const Value *first = graph_value(w->graph, r->values[0]);
    if (first->op == OP_SCATTER || first->op == OP_PLACE) return lower_scatter(w);
    if (first->op == OP_MERGE && w->regions->homes[r->values[0].i] == HOME_COMPUTED)
        return lower_merge(w);
    add_rows(w, DIM_GRID);
    add_rows(w, DIM_SERIAL);
    for (uint32_t i = 0; i < r->col_count; i++)
        nest_add(w, r->cols[i], DIM_COL);
    nest_collect(w);
    bool reduces = has_reduction(w);
    int64_t rows = extent_of(w, DIM_GRID), serial = extent_of(w, DIM_SERIAL),
            cols = extent_of(w, DIM_COL);
    if (reduces)
        split_cols(w);
    else
        flatten(w);
    int64_t parts = w->schedule->parts > 0 ? w->schedule->parts : DEFAULT_PARTS;
    w->parts = rows < parts && serial * cols >= LEAST_SERIAL ? parts : 1;
    nest_build(w);
    TileKernels *kernels = emit(w);
    if (!reduces) lower_tile_cols(w);
    return kernels;
}
