// lower_value.c: values of a region as tile operations, one for each point of the unrolled
// axes.
#include <math.h>

#include "base/check.h"
#include "base/integer.h"
#include "ir/graph/grouped.h"
#include "ir/tile/lower.h"

static int unrolled_position(const Lower *w, AxisId axis) {
    for (uint32_t i = 0; i < w->region->unrolled_count; i++)
        if (w->region->unrolled[i].i == axis.i) return (int)i;
    return -1;
}

bool point_next(const Lower *w, const Value *v, Point *at) {
    for (int i = v->rank - 1; i >= 0; i--) {
        int u = unrolled_position(w, v->axes[i]);
        if (u < 0) continue;
        if (++at->index[u] < graph_extent(w->graph, v->axes[i])) return true;
        at->index[u] = 0;
    }
    return false;
}

static size_t point_number(const Lower *w, const Value *v, Point at, size_t *count) {
    size_t number = 0, total = 1;
    for (int i = 0; i < v->rank; i++) {
        int u = unrolled_position(w, v->axes[i]);
        if (u < 0) continue;
        size_t extent = (size_t)graph_extent(w->graph, v->axes[i]);
        number = number * extent + (size_t)at.index[u];
        total *= extent;
    }
    *count = total;
    return number;
}

uint32_t lower_argument(Lower *w, TileBinding binding, DType type, int64_t elements) {
    for (uint32_t i = 0; i < w->bindings.len; i++) {
        const TileBinding *b = &w->bindings.ptr[i];
        if (b->kind == binding.kind && b->value.i == binding.value.i &&
            b->partial == binding.partial)
            return i;
    }
    vec_push(w->arena, &w->bindings, binding);
    return tile_arg(w->program, str_printf(w->arena, "a%u", w->bindings.len - 1), type,
                    elements);
}

// First element of x as laid out, at the point of the unrolled axes.
static int64_t offset_at(const Lower *w, ValueId x, const ValueLayout *layout, Point at) {
    const Value *v = graph_value(w->graph, x);
    int64_t offset = layout->offset;
    for (int i = 0; i < v->rank; i++) {
        int u = unrolled_position(w, v->axes[i]);
        if (u >= 0) offset += at.index[u] * layout->stride[i];
    }
    return offset;
}

static TileAccess access_of(Lower *w, ValueId x, const NestStrides *strides, Point at) {
    ValueLayout layout = value_layout(w->graph, x);
    const Value *base = graph_value(w->graph, layout.base);
    TileBinding binding = {.kind = BIND_VALUE, .value = layout.base};
    TileAccess access = tile_access(
        lower_argument(w, binding, base->type, graph_elements(w->graph, layout.base)));
    access.offset = offset_at(w, x, &layout, at);
    nest_strides(w, strides, &access);
    return access;
}

static TileId load(Lower *w, ValueId x, Point at) {
    NestStrides strides = value_strides(w, x);
    TileAccess access = access_of(w, x, &strides, at);
    Span span = graph_value(w->graph, x)->span;
    int64_t stride = 0;
    if (w->row.i && !grouped_row_stride(w->graph, &w->rows, x, &stride))
        BUG("an epilogue's operand without a place for each row");
    return stride == 0 ? tile_load(w->program, access, span)
                       : tile_gather(w->program, access,
                                     (TileRows){w->row, stride, w->row_count}, span);
}

static TileId number(Lower *w, double x, DType type) { return tile_const(w->program, x, type); }

static TileId map2(Lower *w, GraphOp fn, TileId x, TileId y, Span span) {
    TileId in[2] = {x, y};
    return tile_map(w->program, fn, tile_op(w->program, x)->type, in, span);
}

static TileId map1(Lower *w, GraphOp fn, TileId x, Span span) {
    return tile_map(w->program, fn, tile_op(w->program, x)->type, &x, span);
}

// The point at index 0 of the axis: where an access adds what it reads along the axis by
// itself.
static Point without_axis(const Lower *w, AxisId axis, Point at) {
    int u = unrolled_position(w, axis);
    if (u >= 0) at.index[u] = 0;
    return at;
}

// ---- reads at other points

// Index i in [lo, hi) of v along `walked` reads index i + shift of its operand k along `own`;
// others read 0.
typedef struct {
    ValueId v;
    uint32_t k;
    AxisId walked, own;
    int64_t shift, lo, hi;
} Shifted;

static Shifted shifted(const Lower *w, ValueId v, int64_t shift) {
    AxisId axis = graph_value(w->graph, v)->attr.along[0];
    return (Shifted){.v = v, .walked = axis, .own = axis, .shift = shift};
}

static TileId load_shifted(Lower *w, Shifted s, Point at) {
    const Value *value = graph_value(w->graph, s.v), *x = graph_value(w->graph, value->in[s.k]);
    const NestAxis *nest = nest_find(w, s.walked);
    int unrolled = unrolled_position(w, s.walked);
    int64_t index = unrolled < 0 ? 0 : at.index[unrolled];  // known, unless the axis has a loop
    if (!nest && (index < s.lo || index >= s.hi)) return number(w, 0, x->type);
    NestStrides strides = operand_strides(w, s.v, s.k);
    at = without_axis(w, s.own, at);
    TileAccess access = access_of(w, value->in[s.k], &strides, at);
    ValueLayout layout = value_layout(w->graph, value->in[s.k]);
    access.offset += (index + s.shift) * layout.stride[graph_axis_position(x, s.own)];
    if (nest)
        access.guard[0] = (TileGuard){.dim = (int8_t)nest->dim,
                                      .div = nest->div,
                                      .mod = nest->extent,
                                      .lo = s.lo,
                                      .hi = s.hi};
    return tile_load(w->program, access, value->span);
}

// For all i where both exist.
static TileId load_moved(Lower *w, Shifted s, Point at) {
    int64_t extent = graph_extent(w->graph, s.own), length = graph_extent(w->graph, s.walked);
    s.lo = int_max(0, -s.shift);
    s.hi = int_min(length, extent - s.shift);
    return load_shifted(w, s, at);
}

static TileId lower_roll(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v);
    AxisId axis = value->attr.along[0];
    int64_t n = graph_extent(w->graph, axis), by = ((value->attr.amount % n) + n) % n;
    if (by == 0) return load(w, value->in[0], at);
    Shifted head = shifted(w, v, by), tail = shifted(w, v, by - n);
    head.hi = tail.lo = n - by;
    tail.hi = n;
    TileId x = load_shifted(w, head, at), y = load_shifted(w, tail, at);  // one of them is 0
    return map2(w, OP_ADD, x, y, value->span);
}

static TileId lower_window(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v);
    AxisId taps = value->attr.to[0];
    int64_t tap = at.index[unrolled_position(w, taps)];
    return load_moved(w, shifted(w, v, tap - (graph_extent(w->graph, taps) - 1)), at);
}

static TileId lower_unwindow(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v);
    AxisId taps = value->attr.along[1];
    int64_t count = graph_extent(w->graph, taps);
    TileId sum = {0};
    for (int32_t k = 0; k < count; k++) {
        at.index[unrolled_position(w, taps)] = k;
        TileId x = load_moved(w, shifted(w, v, count - 1 - k), at);
        sum = sum.i ? map2(w, OP_ADD, sum, x, value->span) : x;
    }
    return sum;
}

static TileId lower_concat(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v);
    TileId sum = {0};
    int64_t start = 0;
    for (uint32_t k = 0; k < value->arity; k++) {
        Shifted part = {v, k, value->attr.to[0], value->attr.along[k], .shift = -start};
        TileId x = load_moved(w, part, at);
        sum = sum.i ? map2(w, OP_ADD, sum, x, value->span) : x;
        start += graph_extent(w->graph, value->attr.along[k]);
    }
    return sum;
}

static TileId lower_gather(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v), *x = graph_value(w->graph, value->in[0]);
    AxisId axis = value->attr.along[0];
    TileId index = lower_value(w, value->in[1], at);
    NestStrides strides = operand_strides(w, v, 0);
    TileAccess access = access_of(w, value->in[0], &strides, without_axis(w, axis, at));
    int64_t stride = value_layout(w->graph, value->in[0]).stride[graph_axis_position(x, axis)];
    return tile_gather(w->program, access,
                       (TileRows){index, stride, graph_extent(w->graph, axis)}, value->span);
}

// Stands x at more dimensions without changing it: what is stored or summed along a dimension
// must stand at it.
static TileId widen(Lower *w, TileId x, DimSet wanted, Span span) {
    DimSet missing = (DimSet)(wanted & ~tile_op(w->program, x)->dims);
    for (uint32_t d = 0; missing >> d; d++) {
        if (!(missing >> d & 1)) continue;
        TileGuard index = {.dim = (int8_t)d, .div = 1, .mod = w->program->dims[d].extent};
        TileId bounds[2] = {number(w, 0, DTYPE_I32), tile_index(w->program, index, span)};
        TileId in[3] = {tile_map(w->program, OP_LE, DTYPE_BOOL, bounds, span), x, x};
        x = tile_map(w->program, OP_WHERE, tile_op(w->program, x)->type, in, span);
    }
    return x;
}

static DimSet dims_moved(const TileAccess *access) {
    DimSet set = 0;
    for (uint32_t d = 0; d < TILE_MAX_DIMS; d++)
        if (access->stride[d]) set |= (DimSet)(1u << d);
    return set;
}

// ---- reductions

// The program's dimensions that the reduction runs over; unrolled axes and those of extent 1
// have none.
static DimSet dims_along(Lower *w, const Value *v) {
    DimSet set = 0;
    for (uint32_t i = 0; i < v->attr.along_count; i++) {
        const NestAxis *at = nest_find(w, v->attr.along[i]);
        if (at) set |= (DimSet)(1u << at->dim);
    }
    return set;
}

// Steps `at` through the unrolled axes among v's `along`; false after the last.
static bool next_along(const Lower *w, const Value *v, Point *at) {
    for (int i = v->attr.along_count - 1; i >= 0; i--) {
        int u = unrolled_position(w, v->attr.along[i]);
        if (u < 0) continue;
        if (++at->index[u] < graph_extent(w->graph, v->attr.along[i])) return true;
        at->index[u] = 0;
    }
    return false;
}

static Point start_along(const Lower *w, const Value *v, Point at) {
    for (uint32_t i = 0; i < v->attr.along_count; i++) {
        int u = unrolled_position(w, v->attr.along[i]);
        if (u >= 0) at.index[u] = 0;
    }
    return at;
}

// fn over all points of `along` of pre(x): first over unrolled points, then over dimensions.
// pre subtracts `less` and takes the exponential, if less is given.
static TileId reduce_along(Lower *w, const Value *v, GraphOp fn, TileId less, Point at) {
    GraphOp combine = fn == OP_REDUCE_SUM ? OP_ADD : OP_MAX;
    TileId all = {0};
    at = start_along(w, v, at);
    do {
        TileId x = lower_value(w, v->in[0], at);
        if (less.i) x = map1(w, OP_EXP, map2(w, OP_SUB, x, less, v->span), v->span);
        all = all.i ? map2(w, combine, all, x, v->span) : x;
    } while (next_along(w, v, &at));
    DimSet over = dims_along(w, v);
    return over ? tile_reduce(w->program, fn, widen(w, all, over, v->span), over, v->span)
                : all;
}

static TileId lower_logsumexp(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v);
    TileId top = reduce_along(w, value, OP_REDUCE_MAX, (TileId){0}, at);
    return map2(w, OP_ADD, top,
                map1(w, OP_LOG, reduce_along(w, value, OP_REDUCE_SUM, top, at), value->span),
                value->span);
}

// All points of one softmax share the maximum and the sum: they are emitted together into the
// memo.
static void lower_softmax(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v);
    TileId top = reduce_along(w, value, OP_REDUCE_MAX, (TileId){0}, at), sum = {0};
    size_t count;
    Point p = start_along(w, value, at);
    do {
        TileId x = lower_value(w, value->in[0], p);
        TileId e = map1(w, OP_EXP, map2(w, OP_SUB, x, top, value->span), value->span);
        w->memo[v.i][point_number(w, value, p, &count)] = e;
        sum = sum.i ? map2(w, OP_ADD, sum, e, value->span) : e;
    } while (next_along(w, value, &p));
    DimSet over = dims_along(w, value);
    if (over)
        sum = tile_reduce(w->program, OP_REDUCE_SUM, widen(w, sum, over, value->span), over,
                          value->span);
    TileId scale = map2(w, OP_DIV, number(w, 1, DTYPE_F32), sum, value->span);
    p = start_along(w, value, at);
    do {
        TileId *slot = &w->memo[v.i][point_number(w, value, p, &count)];
        *slot = map2(w, OP_MUL, *slot, scale, value->span);
    } while (next_along(w, value, &p));
}

// ---- dispatch

static TileId lower_iota(Lower *w, const Value *v, Point at) {
    int u = unrolled_position(w, v->attr.along[0]);
    if (u >= 0) return number(w, at.index[u], DTYPE_I32);
    const NestAxis *nest = nest_find(w, v->attr.along[0]);
    if (!nest) return number(w, 0, DTYPE_I32);
    TileGuard index = {.dim = (int8_t)nest->dim, .div = nest->div, .mod = nest->extent};
    return tile_index(w->program, index, v->span);
}

static TileId lower_elementwise(Lower *w, const Value *v, Point at) {
    TileId in[3];
    for (uint32_t k = 0; k < v->arity; k++)
        in[k] = lower_value(w, v->in[k], at);
    // Values in registers are f32: memory rounds what it is given.
    bool stays_f32 = v->op == OP_CAST && dtype_is_float(v->type) &&
                     dtype_is_float(graph_value(w->graph, v->in[0])->type);
    if (v->op == OP_DETACH || v->op == OP_KEEP || stays_f32) return in[0];
    return tile_map(w->program, v->op, v->type, in, v->span);
}

static TileId lower_op(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v);
    if (op_is_elementwise(value->op)) return lower_elementwise(w, value, at);
    switch ((int)value->op) {
    case OP_CONST: return number(w, value->attr.number, value->type);
    case OP_IOTA: return lower_iota(w, value, at);
    case OP_REDUCE_SUM:
    case OP_REDUCE_MAX: return reduce_along(w, value, value->op, (TileId){0}, at);
    case OP_LOGSUMEXP: return lower_logsumexp(w, v, at);
    case OP_CONTRACT:
    case OP_CONTRACT_AT:
    case OP_CONTRACT_INTO: return w->dot;
    case OP_BROADCAST:
    case OP_TRANSPOSE: return lower_value(w, value->in[0], at);
    case OP_TAKE:
        at.index[unrolled_position(w, value->attr.along[0])] = (int32_t)value->attr.amount;
        return lower_value(w, value->in[0], at);
    case OP_STACK:
        return lower_value(w, value->in[at.index[unrolled_position(w, value->attr.to[0])]], at);
    case OP_PUT:
        if (at.index[unrolled_position(w, value->attr.to[0])] == value->attr.amount)
            return lower_value(w, value->in[0], at);
        return number(w, 0, value->type);
    case OP_PAD:
        return load_moved(w,
                          (Shifted){v, 0, value->attr.to[0], value->attr.along[0],
                                    .shift = -value->attr.amount},
                          at);
    case OP_SHIFT: return load_moved(w, shifted(w, v, -value->attr.amount), at);
    case OP_ROLL: return lower_roll(w, v, at);
    case OP_WINDOW: return lower_window(w, v, at);
    case OP_UNWINDOW: return lower_unwindow(w, v, at);
    case OP_CONCAT: return lower_concat(w, v, at);
    case OP_GATHER: return lower_gather(w, v, at);
    default: BUG("no lowering for '%s' here", op_text(value->op));
    }
}

// A view of a member is the member itself (pass_fuse admits no other); a view of something in
// memory is a load.
static bool is_loaded(const Lower *w, ValueId v) {
    ValueHome home = w->regions->homes[v.i];
    if (home == HOME_INLINE) return false;
    if (home == HOME_VIEW) return !w->member[value_layout(w->graph, v).base.i];
    return !w->member[v.i];
}

TileId lower_value(Lower *w, ValueId v, Point at) {
    const Value *value = graph_value(w->graph, v);
    size_t count, n = point_number(w, value, at, &count);
    if (!w->memo[v.i]) w->memo[v.i] = arena_array(w->scratch, TileId, count);
    if (w->memo[v.i][n].i) return w->memo[v.i][n];
    if (is_loaded(w, v)) {
        w->memo[v.i][n] = load(w, v, at);
    } else if (value->op == OP_SOFTMAX) {
        lower_softmax(w, v, at);
    } else {
        TileId made = lower_op(w, v, at);
        w->memo[v.i][n] = made;
    }
    return w->memo[v.i][n];
}

ValueId lower_stored(const Lower *w, ValueId v) {
    ValueId base = value_layout(w->graph, v).base;
    return w->member[base.i] && value_is_whole(w->graph, v) ? base : v;
}

void lower_store(Lower *w, ValueId v, int part) {
    ValueId to = v;
    v = lower_stored(w, v);
    const Value *value = graph_value(w->graph, v);
    NestStrides strides = dense_strides(w, v);
    int64_t elements = graph_elements(w->graph, v), stride = 1;
    ValueLayout dense = {.base = v};
    for (int i = value->rank - 1; i >= 0; i--) {
        dense.stride[i] = stride;
        stride *= graph_extent(w->graph, value->axes[i]);
    }
    TileBinding binding = {.kind = part >= 0 ? BIND_PARTIAL : BIND_VALUE,
                           .value = part >= 0 ? (ValueId){0} : to,
                           .partial = part >= 0 ? (uint32_t)part : 0};
    uint32_t arg =
        lower_argument(w, binding, value->type, part >= 0 ? elements * w->parts : elements);
    Point at = {{0}};
    do {
        TileAccess access = tile_access(arg);
        access.offset = offset_at(w, v, &dense, at);
        nest_strides(w, &strides, &access);
        if (part >= 0) access.stride[w->part_dim] = elements;
        TileId x = widen(w, lower_value(w, v, at), dims_moved(&access), value->span);
        tile_store(w->program, access, x, value->span);
    } while (point_next(w, value, &at));
}

const Value *lower_member(const Lower *w) {
    const Value *best = graph_value(w->graph, w->region->values[0]);
    for (uint32_t i = 1; i < w->region->value_count; i++) {
        const Value *v = graph_value(w->graph, w->region->values[i]);
        if (v->arity > best->arity) best = v;
    }
    return best;
}

TileId lower_operand(Lower *w, ValueId v, DimSet dims, Span span) {
    TileProgram *p = w->program;
    TileId x = lower_value(w, v, (Point){{0}});
    TileAccess access = tile_op(p, x)->access;
    DimSet missing = (DimSet)(dims & ~tile_op(p, x)->dims);
    if (!missing) return x;
    for (uint32_t d = 0, guard = 0; d < p->dim_count; d++)
        if (missing >> d & 1)
            access.guard[guard++] = (TileGuard){
                .dim = (int8_t)d, .div = 1, .mod = p->dims[d].extent, .hi = p->dims[d].extent};
    return tile_load(p, access, span);
}

GraphOp lower_output_op(const Lower *w, ValueId v) {
    const Value *value = graph_value(w->graph, v);
    if (value->op == OP_CAST) value = graph_value(w->graph, value->in[0]);
    ASSERT(op_stands_alone(value->op));
    return value->op;
}

void lower_store_op(Lower *w, GraphOp op, TileId x) {
    for (uint32_t i = 0; i < w->region->output_count; i++) {
        ValueId v = w->region->outputs[i];
        if (lower_output_op(w, v) != op) continue;
        w->memo[v.i] = arena_array(w->scratch, TileId, 1);
        w->memo[v.i][0] = x;
        lower_store(w, v, -1);
    }
}
