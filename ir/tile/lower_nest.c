// lower_nest.c: the loops of a region: which axes there are, and which of them are one
// dimension in memory.
#include "base/check.h"
#include "ir/tile/lower.h"

void nest_add(Lower *w, AxisId axis, TileRole role) {
    int64_t extent = graph_extent(w->graph, axis);
    if (extent == 1 || nest_find(w, axis)) return;  // an index that is always 0 needs no loop
    ASSERT(w->nest.axis_count < NEST_MAX_AXES);
    w->nest.axes[w->nest.axis_count++] =
        (NestAxis){.axis = axis, .role = role, .extent = extent};
}

NestAxis *nest_find(Lower *w, AxisId axis) {
    if (!axis.i) return NULL;
    for (uint32_t i = 0; i < w->nest.axis_count; i++)
        if (w->nest.axes[i].axis.i == axis.i) return &w->nest.axes[i];
    return NULL;
}

// The nest's axis along which v walks axis `a` of its operand k: the same, but for operations
// that replace it; none where an index picks the place.
static AxisId walked_along(const Value *v, uint32_t k, AxisId a) {
    switch ((int)v->op) {
    case OP_PAD: return a.i == v->attr.along[0].i ? v->attr.to[0] : a;
    case OP_CONCAT: return a.i == v->attr.along[k].i ? v->attr.to[0] : a;
    case OP_GATHER: return k == 0 && a.i == v->attr.along[0].i ? (AxisId){0} : a;
    default: return a;
    }
}

static NestStrides strides_of(Lower *w, const Value *v, uint32_t k, ValueId x,
                              const ValueLayout *layout) {
    const Value *value = graph_value(w->graph, x);
    NestStrides s = {{0}};
    for (int i = 0; i < value->rank; i++) {
        AxisId axis = v ? walked_along(v, k, value->axes[i]) : value->axes[i];
        NestAxis *at = nest_find(w, axis);
        if (at) s.stride[at - w->nest.axes] += layout->stride[i];
    }
    return s;
}

NestStrides operand_strides(Lower *w, ValueId v, uint32_t k) {
    const Value *value = graph_value(w->graph, v);
    ValueLayout layout = value_layout(w->graph, value->in[k]);
    return strides_of(w, value, k, value->in[k], &layout);
}

NestStrides value_strides(Lower *w, ValueId v) {
    ValueLayout layout = value_layout(w->graph, v);
    return strides_of(w, NULL, 0, v, &layout);
}

NestStrides dense_strides(Lower *w, ValueId v) {
    const Value *value = graph_value(w->graph, v);
    ValueLayout layout = {.base = v};
    int64_t stride = 1;
    for (int i = value->rank - 1; i >= 0; i--) {
        layout.stride[i] = stride;
        stride *= graph_extent(w->graph, value->axes[i]);
    }
    return strides_of(w, NULL, 0, v, &layout);
}

static void mark_indexed(Lower *w, AxisId axis) {
    NestAxis *at = nest_find(w, axis);
    if (at) at->indexed = true;
}

// Positions and parameters inside expressions that are written out in place.
static void mark_inline(Lower *w, ValueId v) {
    const Value *value = graph_value(w->graph, v);
    if (value->op == OP_IOTA) mark_indexed(w, value->attr.along[0]);
    for (uint32_t k = 0; k < value->arity; k++) {
        if (w->regions->homes[value->in[k].i] == HOME_INLINE)
            mark_inline(w, value->in[k]);
        else
            vec_push(w->arena, &w->nest.accesses, operand_strides(w, v, k));
    }
}

static void mark_guards(Lower *w, const Value *v) {
    switch ((int)v->op) {
    case OP_ROLL:
    case OP_SHIFT:
    case OP_WINDOW:
    case OP_UNWINDOW: mark_indexed(w, v->attr.along[0]); break;
    case OP_PAD:
    case OP_CONCAT: mark_indexed(w, v->attr.to[0]); break;
    default: break;
    }
}

void nest_collect(Lower *w) {
    for (uint32_t i = 0; i < w->region->value_count; i++) {
        ValueId v = w->region->values[i];
        const Value *value = graph_value(w->graph, v);
        mark_guards(w, value);
        if (w->regions->homes[v.i] == HOME_VIEW) {
            vec_push(w->arena, &w->nest.accesses, value_strides(w, v));
            continue;
        }
        if (w->regions->homes[v.i] == HOME_INLINE) mark_inline(w, v);
        uint32_t read = w->sums_parts && value->op == OP_CONTRACT ? 0 : value->arity;
        for (uint32_t k = 0; k < read; k++) {
            if (w->regions->homes[value->in[k].i] == HOME_INLINE)
                mark_inline(w, value->in[k]);
            else if (!w->member[value_layout(w->graph, value->in[k]).base.i])
                vec_push(w->arena, &w->nest.accesses, operand_strides(w, v, k));
        }
    }
    for (uint32_t i = 0; i < w->region->output_count; i++)
        vec_push(w->arena, &w->nest.accesses,
                 dense_strides(w, lower_stored(w, w->region->outputs[i])));
}

// Does every access walk axis i and then i + 1 as if they were one?
bool nest_joined(const Lower *w, uint32_t i) {
    const NestAxis *a = &w->nest.axes[i], *b = a + 1;
    if (a->role != b->role) return false;
    if ((a->indexed || b->indexed) && a->role != DIM_GRID) return false;
    for (uint32_t k = 0; k < w->nest.accesses.len; k++) {
        const int64_t *stride = w->nest.accesses.ptr[k].stride;
        if (stride[i] != stride[i + 1] * b->extent) return false;
    }
    return true;
}

void nest_sort(Lower *w) {
    Nest sorted = {.axis_count = w->nest.axis_count, .accesses = w->nest.accesses};
    uint32_t from[NEST_MAX_AXES], n = 0;
    for (int role = DIM_GRID; role <= DIM_K; role++)
        for (uint32_t i = 0; i < w->nest.axis_count; i++)
            if ((int)w->nest.axes[i].role == role) from[n++] = i;
    for (uint32_t i = 0; i < n; i++)
        sorted.axes[i] = w->nest.axes[from[i]];
    for (uint32_t k = 0; k < w->nest.accesses.len; k++) {
        NestStrides old = w->nest.accesses.ptr[k];
        for (uint32_t i = 0; i < n; i++)
            sorted.accesses.ptr[k].stride[i] = old.stride[from[i]];
    }
    w->nest = sorted;
}

// The axes from `begin` on that are one dimension.
static uint32_t run_end(const Lower *w, uint32_t begin, int64_t *extent) {
    uint32_t end = begin + 1;
    *extent = w->nest.axes[begin].extent;
    while (end < w->nest.axis_count && nest_joined(w, end - 1))
        *extent *= w->nest.axes[end++].extent;
    return end;
}

static bool is_split(const Lower *w, const NestAxis *at) {
    return w->split_axis.i ? at->axis.i == w->split_axis.i : at->role == w->split_role;
}

// Makes the grid dimension of parts, which divide the outermost dimension with split_role (or
// split_axis) among the axes from i on. Returns the first axis of that, or the count of axes if
// there are no parts.
static uint32_t parts_add(Lower *w, uint32_t i) {
    const Nest *nest = &w->nest;
    while (i < nest->axis_count && !is_split(w, &nest->axes[i]))
        i++;
    int64_t extent = 1, parts = w->parts;
    uint32_t end = i < nest->axis_count ? run_end(w, i, &extent) : i;
    if (parts > extent) parts = extent;
    for (uint32_t k = i; k < end; k++)
        if (nest->axes[k].indexed) parts = 1;
    while (parts > 1 && extent % parts)
        parts--;
    w->parts = parts > 1 ? parts : 1;
    if (w->parts == 1) return nest->axis_count;
    w->part_dim = (int)tile_dim(w->program, STR("p"), w->parts, 1, DIM_GRID);
    return i;
}

void nest_build(Lower *w) {
    static const char *const names[] = {[DIM_GRID] = "g", [DIM_SERIAL] = "s", [DIM_COL] = "c",
                                        [DIM_M] = "m",    [DIM_N] = "n",      [DIM_K] = "k"};
    Nest *nest = &w->nest;
    uint32_t made[DIM_K + 1] = {0}, split = nest->axis_count;
    bool grid_done = false;
    for (uint32_t i = 0; i < nest->axis_count;) {
        int64_t extent;
        uint32_t end = run_end(w, i, &extent);
        TileRole role = nest->axes[i].role;
        if (role != DIM_GRID && !grid_done) {
            split = parts_add(w, i);
            grid_done = true;
        }
        bool numbered = role == DIM_GRID || role == DIM_SERIAL || role == DIM_K;
        Str name = numbered ? str_printf(w->arena, "%s%u", names[role], made[role]++)
                            : str_of(names[role]);
        if (i == split) extent /= w->parts;
        uint32_t dim = tile_dim(w->program, name, extent, role == DIM_GRID ? 1 : extent, role);
        if (i == split) w->split_dim = (int)dim;
        int64_t div = 1;
        for (uint32_t k = end; k-- > i; div *= nest->axes[k].extent) {
            nest->axes[k].dim = (int)dim;
            nest->axes[k].div = div;
        }
        i = end;
    }
}

void nest_strides(const Lower *w, const NestStrides *by_axis, TileAccess *access) {
    for (uint32_t i = 0; i < w->nest.axis_count; i++)
        if (w->nest.axes[i].div == 1) access->stride[w->nest.axes[i].dim] = by_axis->stride[i];
    if (w->skip) access->offset += w->skip * access->stride[tile_dim_of(w->program, DIM_M)];
    if (w->part_dim >= 0)
        access->stride[w->part_dim] =
            access->stride[w->split_dim] * w->program->dims[w->split_dim].extent;
}
