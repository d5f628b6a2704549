// layout.c: where values are found in memory: views as addressing of another value, and what is
// computed at all.
#include "base/check.h"
#include "ir/graph/grouped.h"
#include "ir/graph/region.h"

static ValueLayout layout_dense(const Graph *g, ValueId v) {
    ValueLayout l = {.base = v};
    const Value *value = graph_value(g, v);
    int64_t stride = 1;
    for (int i = value->rank - 1; i >= 0; i--) {
        l.stride[i] = stride;
        stride *= graph_extent(g, value->axes[i]);
    }
    return l;
}

// Row-major strides of the axes that `axis` (with stride `stride`) is split into.
static int64_t split_stride(const Graph *g, const Value *v, AxisId axis, int64_t stride) {
    for (int i = v->attr.to_count - 1; i >= 0; i--) {
        if (v->attr.to[i].i == axis.i) return stride;
        stride *= graph_extent(g, v->attr.to[i]);
    }
    BUG("axis is not part of the split");
}

// Can the merged axes be walked with one stride? Then it is that of the innermost.
static bool merge_stride(const Graph *g, const Value *v, const Value *from,
                         const ValueLayout *l, int64_t *stride) {
    const GraphAttr *a = &v->attr;
    *stride = l->stride[graph_axis_position(from, a->along[a->along_count - 1])];
    int64_t expected = *stride;
    for (int i = a->along_count - 1; i >= 0; i--) {
        int64_t extent = graph_extent(g, a->along[i]);
        if (extent > 1 && l->stride[graph_axis_position(from, a->along[i])] != expected)
            return false;
        expected *= extent;
    }
    return true;
}

static bool layout_through(const Graph *g, const Value *v, const ValueLayout *from,
                           ValueLayout *out) {
    const Value *x = graph_value(g, v->in[0]);
    *out = (ValueLayout){.base = from->base, .offset = from->offset};
    int64_t merged = 0;
    if (v->op == OP_MERGE && !merge_stride(g, v, x, from, &merged)) return false;
    if (v->op == OP_SLICE || v->op == OP_TAKE)
        out->offset += v->attr.amount * from->stride[graph_axis_position(x, v->attr.along[0])];
    for (int i = 0; i < v->rank; i++) {
        AxisId axis = v->axes[i];
        bool fresh = axis_in(v->attr.to, v->attr.to_count, axis) && v->op != OP_BROADCAST &&
                     v->op != OP_TRANSPOSE;
        if (!fresh) {
            int at = graph_axis_position(x, axis);
            out->stride[i] = at < 0 ? 0 : from->stride[at];
        } else if (v->op == OP_SPLIT) {
            out->stride[i] = split_stride(
                g, v, axis, from->stride[graph_axis_position(x, v->attr.along[0])]);
        } else if (v->op == OP_MERGE) {
            out->stride[i] = merged;
        } else {  // RENAME, SLICE
            out->stride[i] = from->stride[graph_axis_position(x, v->attr.along[0])];
        }
    }
    return true;
}

// Widening what is stored in 16 bits is part of loading it.
static bool is_view(const Graph *g, const Value *v) {
    return op_is_view(v->op) ||
           (v->op == OP_CAST && graph_value(g, v->in[0])->type == DTYPE_BF16);
}

ValueLayout value_layout(const Graph *g, ValueId v) {
    const Value *value = graph_value(g, v);
    if (!is_view(g, value)) return layout_dense(g, v);
    ValueLayout from = value_layout(g, value->in[0]), out;
    return layout_through(g, value, &from, &out) ? out : layout_dense(g, v);
}

bool value_is_whole(const Graph *g, ValueId v) {
    ValueLayout layout = value_layout(g, v), dense = layout_dense(g, v);
    bool whole = graph_elements(g, v) == graph_elements(g, layout.base) &&
                 graph_value(g, v)->type == graph_value(g, layout.base)->type;
    for (uint32_t i = 0; whole && i < graph_value(g, v)->rank; i++)
        whole = layout.stride[i] == dense.stride[i];
    return whole;
}

bool grouped_row_stride(const Graph *g, const GroupedRows *rows, ValueId x, int64_t *stride) {
    const Value *v = graph_value(g, x);
    ValueLayout layout = value_layout(g, x);
    int64_t expected = *stride = -1;
    for (uint32_t i = rows->count; i-- > 0;) {
        int64_t extent = graph_extent(g, rows->axes[i]);
        int64_t own = graph_has_axis(v, rows->axes[i])
                          ? layout.stride[graph_axis_position(v, rows->axes[i])]
                          : 0;
        if (extent == 1) continue;
        if (expected < 0) *stride = expected = own;
        if (own != expected) return false;
        expected *= extent;
    }
    if (*stride < 0) *stride = 0;
    return true;
}

static bool costly(GraphOp op) { return op_flops(op) > 2; }

// Views that an expression can stand for: of a constant expression at the same point.
static bool transparent_view(GraphOp op) { return op == OP_BROADCAST || op == OP_TRANSPOSE; }

// Operations that read operand k from memory, so that no expression stands for it: attention,
// and what addresses other points.
static bool reads_memory(GraphOp op, uint32_t k) {
    switch ((int)op) {
    case OP_CONTRACT:
    case OP_CONCAT:
    case OP_PAD:
    case OP_ROLL:
    case OP_SHIFT:
    case OP_WINDOW:
    case OP_UNWINDOW:
    case OP_SCATTER: return true;
    case OP_GATHER: return k == 0;
    case OP_PLACE: return k < 2;
    default: return op_stands_alone(op) || (op_is_view(op) && !transparent_view(op));
    }
}

static void mark_read(const Graph *g, const Value *v, bool *read) {
    for (uint32_t k = 0; k < v->arity; k++) {
        if (!reads_memory(v->op, k)) continue;
        ValueId x = v->in[k];
        for (; is_view(g, graph_value(g, x)); x = graph_value(g, x)->in[0])
            read[x.i] = true;
        read[x.i] = true;
    }
}

// A value that depends on no leaf is written where it is used if that costs next to nothing (a
// mask, a scalar), else it is computed once, when compiling.
static ValueHome home_of_constant(const Value *v, const ValueHome *homes) {
    if (v->op == OP_CONST || v->op == OP_IOTA) return HOME_INLINE;
    bool transparent = op_is_elementwise(v->op) || transparent_view(v->op);
    if (!transparent || costly(v->op)) return HOME_CONSTANT;
    for (uint32_t i = 0; i < v->arity; i++)
        if (homes[v->in[i].i] != HOME_INLINE) return HOME_CONSTANT;
    return HOME_INLINE;
}

// Is x a parameter that is no map, or a view of one? Such have about a row of elements.
static bool is_small_parameter(const Graph *g, ValueId x) {
    ValueId base = value_layout(g, x).base;
    return graph_value(g, base)->op == OP_PARAM && graph_leaf_of(g, base)->input_count == 0;
}

// So is one of few small parameters alone, as the query of an attention over depth times its
// gain: a kernel of its own would cost more. `parameters` counts those of inline values.
static bool is_inline_of_parameters(const Graph *g, const Value *v, const ValueHome *homes,
                                    uint32_t *parameters) {
    bool cheap =
        transparent_view(v->op) || (op_is_elementwise(v->op) && v->type == DTYPE_F32 &&
                                    (v->rank == 0 || (v->rank <= 2 && !costly(v->op))));
    uint32_t count = 0;
    for (uint32_t k = 0; k < v->arity && cheap; k++) {
        ValueId x = v->in[k];
        bool direct = !transparent_view(v->op) && is_small_parameter(g, x);
        cheap = homes[x.i] == HOME_INLINE || direct;
        count += direct ? 1 : parameters[x.i];
    }
    parameters[v - g->values.ptr] = count;
    return cheap && count <= 4;
}

ValueHome *value_homes(const Graph *g, Arena *arena) {
    uint32_t n = g->values.len;
    ValueHome *homes = arena_array(arena, ValueHome, n);
    bool *needed = arena_array(arena, bool, n), *read = arena_array(arena, bool, n),
         *constant = arena_array(arena, bool, n);
    uint32_t *parameters = arena_array(arena, uint32_t, n);
    for (uint32_t i = 0; i < g->outputs.len; i++)
        needed[g->outputs.ptr[i].value.i] = true;
    for (uint32_t i = 0; i < g->updates.len; i++)
        needed[g->updates.ptr[i].value.i] = true;
    for (uint32_t i = n - 1; i > 0; i--) {
        const Value *v = &g->values.ptr[i];
        for (uint32_t k = 0; needed[i] && k < v->arity; k++)
            needed[v->in[k].i] = true;
        if (needed[i]) mark_read(g, v, read);
    }
    for (uint32_t i = 1; i < n; i++) {
        const Value *v = &g->values.ptr[i];
        bool leaf = v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT;
        constant[i] = !leaf;
        for (uint32_t k = 0; k < v->arity; k++)
            constant[i] = constant[i] && constant[v->in[k].i];
        if (leaf)
            homes[i] = HOME_LEAF;
        else if (!needed[i])
            homes[i] = HOME_NONE;
        else if (constant[i])
            homes[i] = read[i] ? HOME_CONSTANT : home_of_constant(v, homes);
        else if (!read[i] && is_inline_of_parameters(g, v, homes, parameters))
            homes[i] = HOME_INLINE;
        else
            homes[i] = is_view(g, v) && value_layout(g, (ValueId){i}).base.i != i
                           ? HOME_VIEW
                           : HOME_COMPUTED;
    }
    return homes;
}
