// shape_rules.c: the shape rules named in ops.def, one small function each.
//
// Requirements for a rule:
//   1. It reads q->in, q->arity and q->attr and nothing else; operand ids, arity, the ids in
//   the attribute lists, and
//      that the lists it does not use are empty, have been checked before it runs.
//   2. It fills q->axes, q->rank and q->type and returns NULL, or returns shape_violation(...)
//   with both sides in the text.
//   3. Extents that are not known yet are no violation, except where the result cannot be
//   checked without them
//      (split, merge, concat, stack). The verifier asks again once they are bound.
#include "ir/graph/shape_rules.h"

#include <stdarg.h>

#include "base/check.h"
#include "ir/graph/shape_step.h"

// ---- attributes of each rule, then of each operation

enum {
    ATTRS_constant = ATTR_NUMBER | ATTR_TYPE,
    ATTRS_iota = ATTR_ALONG,
    ATTRS_leaf = ATTR_LEAF,
    ATTRS_elementwise = 0,
    ATTRS_cast = ATTR_TYPE,
    ATTRS_compare = 0,
    ATTRS_where = 0,
    ATTRS_reduce = ATTR_ALONG,
    ATTRS_softmax = ATTR_ALONG,
    ATTRS_contract = ATTR_ALONG,
    ATTRS_broadcast = ATTR_TO,
    ATTRS_rename = ATTR_ALONG | ATTR_TO,
    ATTRS_transpose = ATTR_TO,
    ATTRS_split = ATTR_ALONG | ATTR_TO,
    ATTRS_merge = ATTR_ALONG | ATTR_TO,
    ATTRS_slice = ATTR_ALONG | ATTR_TO | ATTR_AMOUNT,
    ATTRS_pad = ATTR_ALONG | ATTR_TO | ATTR_AMOUNT,
    ATTRS_take = ATTR_ALONG | ATTR_AMOUNT,
    ATTRS_put = ATTR_TO | ATTR_AMOUNT,
    ATTRS_same = ATTR_ALONG | ATTR_AMOUNT,
    ATTRS_window = ATTR_ALONG | ATTR_TO,
    ATTRS_unwindow = ATTR_ALONG,
    ATTRS_concat = ATTR_ALONG | ATTR_TO,
    ATTRS_stack = ATTR_TO,
    ATTRS_gather = ATTR_ALONG,
    ATTRS_scatter = ATTR_TO,
    ATTRS_place = ATTR_ALONG,
    ATTRS_attend = ATTR_ALONG | ATTR_NUMBER | ATTR_BAND,
    ATTRS_linear = ATTR_ALONG | ATTR_NUMBER | ATTR_AMOUNT,
    ATTRS_group_order = ATTR_ALONG | ATTR_TO,
    ATTRS_contract_at = ATTR_ALONG | ATTR_TO,
    ATTRS_contract_into = ATTR_ALONG | ATTR_TO,
};

static const uint8_t op_attr_masks[OP_COUNT] = {
#define GRAPH_OP(NAME, text, arity, shape, ...) [OP_##NAME] = ATTRS_##shape,
#include "ir/graph/ops.def"
#undef GRAPH_OP
};

unsigned op_attrs(GraphOp op) { return op_attr_masks[op]; }

// ---- helpers

const char *shape_violation(const ShapeQuery *q, const char *fmt, ...) {
    StrBuf text = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    const char *kept = arena_strndup(q->g->arena, text.ptr, text.len);
    strbuf_release(&text);
    return kept;
}

static const Value *operand(const ShapeQuery *q, uint32_t i) {
    return graph_value(q->g, q->in[i]);
}

static const char *axis_name(const ShapeQuery *q, AxisId a) {
    Str name = graph_axis_at(q->g, a)->name;
    return arena_strndup(q->g->arena, name.ptr, name.len);
}

static int64_t extent_of(const ShapeQuery *q, AxisId a) {
    return graph_axis_at(q->g, a)->extent;
}

const char *shape_text(const ShapeQuery *q, const Value *v) {
    StrBuf text = {0};
    strbuf_addf(&text, "%s[", dtype_text(v->type));
    for (uint32_t i = 0; i < v->rank; i++) {
        const Axis *a = graph_axis_at(q->g, v->axes[i]);
        strbuf_addf(&text, "%s%.*s=", i ? ", " : "", STR_ARG(a->name));
        if (a->extent == EXTENT_UNKNOWN)
            strbuf_addc(&text, '?');
        else
            strbuf_addf(&text, "%lld", (long long)a->extent);
    }
    strbuf_addc(&text, ']');
    const char *kept = arena_strndup(q->g->arena, text.ptr, text.len);
    strbuf_release(&text);
    return kept;
}

static int list_position(const AxisId *list, uint32_t count, AxisId a) {
    for (uint32_t i = 0; i < count; i++)
        if (list[i].i == a.i) return (int)i;
    return -1;
}

static const char *add_axis(ShapeQuery *q, AxisId a) {
    if (q->rank == GRAPH_MAX_RANK)
        return shape_violation(q, "the result has more than %d axes", GRAPH_MAX_RANK);
    q->axes[q->rank++] = a;
    return NULL;
}

void take_shape(ShapeQuery *q, const Value *v) {
    q->rank = v->rank;
    for (uint32_t i = 0; i < v->rank; i++)
        q->axes[i] = v->axes[i];
    q->type = v->type;
}

static void remove_axis(ShapeQuery *q, int at) {
    for (int i = at; i + 1 < q->rank; i++)
        q->axes[i] = q->axes[i + 1];
    q->rank--;
}

// Lists of fixed length: along has `along` axes that x has, to has `to` axes that are new to x.
const char *need_counts(const ShapeQuery *q, uint32_t along, uint32_t to) {
    if (q->attr.along_count != along)
        return shape_violation(q, "'along' needs %u axes, got %u", along, q->attr.along_count);
    if (q->attr.to_count != to)
        return shape_violation(q, "'to' needs %u axes, got %u", to, q->attr.to_count);
    return NULL;
}

const char *need_axes(const ShapeQuery *q, const Value *x, const AxisId *list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!graph_has_axis(x, list[i]))
            return shape_violation(q, "axis '%s' is not in %s", axis_name(q, list[i]),
                                   shape_text(q, x));
    return NULL;
}

const char *need_new(const ShapeQuery *q, const Value *x, const AxisId *list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (graph_has_axis(x, list[i]))
            return shape_violation(q, "axis '%s' is already in %s", axis_name(q, list[i]),
                                   shape_text(q, x));
    return NULL;
}

static const char *need_known(const ShapeQuery *q, const AxisId *list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (extent_of(q, list[i]) == EXTENT_UNKNOWN)
            return shape_violation(q, "the extent of axis '%s' must be known here",
                                   axis_name(q, list[i]));
    return NULL;
}

const char *need_distinct(const ShapeQuery *q, const AxisId *list, uint32_t count,
                          const char *name) {
    for (uint32_t i = 0; i < count; i++)
        if (list_position(list, i, list[i]) >= 0)
            return shape_violation(q, "axis '%s' is twice in '%s'", axis_name(q, list[i]),
                                   name);
    return NULL;
}

const char *need_type(const ShapeQuery *q, const Value *x, DType type) {
    if (x->type == type) return NULL;
    return shape_violation(q, "needs %s, got %s", dtype_text(type), shape_text(q, x));
}

static const char *need_number(const ShapeQuery *q, const Value *x) {
    if (x->type == DTYPE_F32 || x->type == DTYPE_I32) return NULL;
    return shape_violation(q, "needs f32 or i32, got %s", shape_text(q, x));
}

static const char *need_same_type(const ShapeQuery *q, const Value *x, const Value *y) {
    if (x->type == y->type) return NULL;
    return shape_violation(q, "types differ: %s and %s", shape_text(q, x), shape_text(q, y));
}

// Product of extents, all known; -1 on overflow.
static int64_t extent_product(const ShapeQuery *q, const AxisId *list, uint32_t count) {
    int64_t product = 1;
    for (uint32_t i = 0; i < count; i++) {
        int64_t extent = extent_of(q, list[i]);
        if (product > INT64_MAX / extent) return -1;
        product *= extent;
    }
    return product;
}

// Both extents, if both are known.
static bool both_known(const ShapeQuery *q, AxisId a, AxisId b, int64_t extents[2]) {
    extents[0] = extent_of(q, a);
    extents[1] = extent_of(q, b);
    return extents[0] != EXTENT_UNKNOWN && extents[1] != EXTENT_UNKNOWN;
}

// along[0] of the one operand, in place, becomes to[0]. The same axis is allowed: nothing
// changes then.
static const char *replace_axis(ShapeQuery *q) {
    const char *why = need_counts(q, 1, 1);
    const Value *x = operand(q, 0);
    if (!why) why = need_axes(q, x, q->attr.along, 1);
    if (why) return why;
    if (q->attr.to[0].i != q->attr.along[0].i && (why = need_new(q, x, q->attr.to, 1)))
        return why;
    take_shape(q, x);
    q->axes[graph_axis_position(x, q->attr.along[0])] = q->attr.to[0];
    return NULL;
}

// ---- leaves

static bool value_type_legal(DType type) {
    return type == DTYPE_F32 || type == DTYPE_I32 || type == DTYPE_BOOL || type == DTYPE_BF16;
}

static const char *shape_constant(ShapeQuery *q) {
    if (!value_type_legal(q->attr.type))
        return shape_violation(q, "no value can be %s", dtype_text(q->attr.type));
    double n = q->attr.number;
    if (q->attr.type == DTYPE_I32 &&
        !(n >= INT32_MIN && n <= INT32_MAX && n == (double)(int32_t)n))
        return shape_violation(q, "%g is no i32", n);
    if (q->attr.type == DTYPE_BOOL && n != 0.0 && n != 1.0)
        return shape_violation(q, "%g is no bool", n);
    q->type = q->attr.type;
    return NULL;
}

static const char *shape_iota(ShapeQuery *q) {
    const char *why = need_counts(q, 1, 0);
    if (why) return why;
    q->type = DTYPE_I32;
    return add_axis(q, q->attr.along[0]);
}

static const char *shape_leaf(ShapeQuery *q) {
    if (q->attr.leaf >= q->g->leaves.len)
        return shape_violation(q, "there is no leaf %u", q->attr.leaf);
    const Leaf *leaf = &q->g->leaves.ptr[q->attr.leaf];
    if (leaf->kind != q->op)
        return shape_violation(q, "leaf '%.*s' is declared as %s", STR_ARG(leaf->path),
                               op_text(leaf->kind));
    q->type = leaf->type;
    for (uint32_t i = 0; i < leaf->rank; i++)
        q->axes[i] = leaf->axes[i];
    q->rank = leaf->rank;
    return NULL;
}

// ---- elementwise

// Axes of the operand of highest rank, which must contain those of the others.
static const char *align(ShapeQuery *q) {
    const Value *widest = operand(q, 0);
    for (uint32_t i = 1; i < q->arity; i++)
        if (operand(q, i)->rank > widest->rank) widest = operand(q, i);
    for (uint32_t i = 0; i < q->arity; i++) {
        const Value *x = operand(q, i);
        for (uint32_t k = 0; k < x->rank; k++)
            if (!graph_has_axis(widest, x->axes[k]))
                return shape_violation(q, "operands do not align: axis '%s' of %s is not in %s",
                                       axis_name(q, x->axes[k]), shape_text(q, x),
                                       shape_text(q, widest));
    }
    q->rank = widest->rank;
    for (uint32_t i = 0; i < widest->rank; i++)
        q->axes[i] = widest->axes[i];
    return NULL;
}

typedef enum { TYPES_ANY, TYPES_NUMBER, TYPES_F32, TYPES_BOOL } ElementwiseTypes;

static ElementwiseTypes elementwise_types(GraphOp op) {
    if (op == OP_DETACH || op == OP_KEEP) return TYPES_ANY;
    if (op == OP_NOT || op == OP_AND || op == OP_OR) return TYPES_BOOL;
    if (op == OP_NEG || op == OP_ABS || op == OP_SIGN || op == OP_ADD || op == OP_SUB ||
        op == OP_MUL || op == OP_MIN || op == OP_MAX)
        return TYPES_NUMBER;
    return TYPES_F32;
}

static const char *shape_elementwise(ShapeQuery *q) {
    const char *why = NULL;
    for (uint32_t i = 0; i < q->arity && !why; i++) {
        const Value *x = operand(q, i);
        switch (elementwise_types(q->op)) {
        case TYPES_ANY: break;
        case TYPES_NUMBER: why = need_number(q, x); break;
        case TYPES_F32: why = need_type(q, x, DTYPE_F32); break;
        case TYPES_BOOL: why = need_type(q, x, DTYPE_BOOL); break;
        }
        if (!why) why = need_same_type(q, operand(q, 0), x);
    }
    q->type = operand(q, 0)->type;
    return why ? why : align(q);
}

static const char *shape_cast(ShapeQuery *q) {
    if (!value_type_legal(q->attr.type))
        return shape_violation(q, "no value can be %s", dtype_text(q->attr.type));
    take_shape(q, operand(q, 0));
    q->type = q->attr.type;
    return NULL;
}

static const char *shape_compare(ShapeQuery *q) {
    const char *why = need_same_type(q, operand(q, 0), operand(q, 1));
    bool order = q->op == OP_LT || q->op == OP_LE;
    if (!why && order) why = need_number(q, operand(q, 0));
    q->type = DTYPE_BOOL;
    return why ? why : align(q);
}

static const char *shape_where(ShapeQuery *q) {
    const char *why = need_type(q, operand(q, 0), DTYPE_BOOL);
    if (!why) why = need_same_type(q, operand(q, 1), operand(q, 2));
    q->type = operand(q, 1)->type;
    return why ? why : align(q);
}

// ---- reductions

static const char *need_reduction(const ShapeQuery *q, const Value *x) {
    if (q->attr.along_count == 0) return shape_violation(q, "'along' needs an axis");
    const char *why = need_distinct(q, q->attr.along, q->attr.along_count, "along");
    if (!why) why = need_axes(q, x, q->attr.along, q->attr.along_count);
    return why;
}

static const char *shape_reduce(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    const char *why = q->op == OP_LOGSUMEXP ? need_type(q, x, DTYPE_F32) : need_number(q, x);
    if (!why) why = need_reduction(q, x);
    if (why) return why;
    q->type = x->type;
    for (uint32_t i = 0; i < x->rank; i++)
        if (list_position(q->attr.along, q->attr.along_count, x->axes[i]) < 0)
            q->axes[q->rank++] = x->axes[i];
    return NULL;
}

static const char *shape_softmax(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    const char *why = need_type(q, x, DTYPE_F32);
    take_shape(q, x);
    return why ? why : need_reduction(q, x);
}

// An empty `along` is an outer product; pass_simplify writes it as a product.
static const char *shape_contract(ShapeQuery *q) {
    const Value *x = operand(q, 0), *y = operand(q, 1);
    for (uint32_t i = 0; i < 2; i++) {
        const char *why = NULL;
        if (operand(q, i)->type != DTYPE_BF16) why = need_type(q, operand(q, i), DTYPE_F32);
        if (!why) why = need_axes(q, operand(q, i), q->attr.along, q->attr.along_count);
        if (why) return why;
    }
    const char *why = need_distinct(q, q->attr.along, q->attr.along_count, "along");
    q->type = DTYPE_F32;
    for (uint32_t i = 0; i < x->rank && !why; i++)
        if (list_position(q->attr.along, q->attr.along_count, x->axes[i]) < 0)
            why = add_axis(q, x->axes[i]);
    for (uint32_t i = 0; i < y->rank && !why; i++)
        if (!graph_has_axis(x, y->axes[i])) why = add_axis(q, y->axes[i]);
    return why;
}

// ---- movement

static const char *shape_broadcast(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    const char *why = need_distinct(q, q->attr.to, q->attr.to_count, "to");
    for (uint32_t i = 0; i < x->rank && !why; i++)
        if (list_position(q->attr.to, q->attr.to_count, x->axes[i]) < 0)
            why = shape_violation(q, "axis '%s' of %s is not in 'to'", axis_name(q, x->axes[i]),
                                  shape_text(q, x));
    for (uint32_t i = 0; i < q->attr.to_count && !why; i++)
        why = add_axis(q, q->attr.to[i]);
    q->type = x->type;
    return why;
}

static const char *shape_rename(ShapeQuery *q) {
    const char *why = replace_axis(q);
    if (why) return why;
    int64_t e[2];
    if (both_known(q, q->attr.along[0], q->attr.to[0], e) && e[0] != e[1])
        return shape_violation(q, "extents differ: '%s' has %lld, '%s' has %lld",
                               axis_name(q, q->attr.along[0]), (long long)e[0],
                               axis_name(q, q->attr.to[0]), (long long)e[1]);
    return NULL;
}

static const char *shape_transpose(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    if (q->attr.to_count != x->rank)
        return shape_violation(q, "'to' has %u axes, %s has %u", q->attr.to_count,
                               shape_text(q, x), x->rank);
    const char *why = need_distinct(q, q->attr.to, q->attr.to_count, "to");
    if (!why) why = need_axes(q, x, q->attr.to, q->attr.to_count);
    for (uint32_t i = 0; i < q->attr.to_count && !why; i++)
        why = add_axis(q, q->attr.to[i]);
    q->type = x->type;
    return why;
}

// The many axes of a split or merge against the one.
static const char *need_product(const ShapeQuery *q, const AxisId *many, uint32_t count,
                                AxisId one) {
    const char *why = need_known(q, many, count);
    if (!why) why = need_known(q, &one, 1);
    if (why) return why;
    int64_t product = extent_product(q, many, count);
    if (product == extent_of(q, one)) return NULL;
    return shape_violation(q, "axis '%s' has extent %lld, the product of the others is %lld",
                           axis_name(q, one), (long long)extent_of(q, one), (long long)product);
}

static const char *shape_split(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    if (q->attr.to_count == 0) return shape_violation(q, "'to' needs an axis");
    const char *why = need_counts(q, 1, q->attr.to_count);
    if (!why) why = need_axes(q, x, q->attr.along, 1);
    if (!why) why = need_distinct(q, q->attr.to, q->attr.to_count, "to");
    if (!why) why = need_new(q, x, q->attr.to, q->attr.to_count);
    if (!why) why = need_product(q, q->attr.to, q->attr.to_count, q->attr.along[0]);
    q->type = x->type;
    for (uint32_t i = 0; i < x->rank && !why; i++) {
        if (x->axes[i].i != q->attr.along[0].i) {
            why = add_axis(q, x->axes[i]);
            continue;
        }
        for (uint32_t k = 0; k < q->attr.to_count && !why; k++)
            why = add_axis(q, q->attr.to[k]);
    }
    return why;
}

static const char *shape_merge(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    if (q->attr.along_count == 0) return shape_violation(q, "'along' needs an axis");
    const char *why = need_counts(q, q->attr.along_count, 1);
    if (!why) why = need_reduction(q, x);
    if (!why) why = need_new(q, x, q->attr.to, 1);
    if (!why) why = need_product(q, q->attr.along, q->attr.along_count, q->attr.to[0]);
    if (why) return why;
    q->type = x->type;
    for (uint32_t i = 0; i < x->rank; i++) {
        int at = list_position(q->attr.along, q->attr.along_count, x->axes[i]);
        if (at <= 0) q->axes[q->rank++] = at == 0 ? q->attr.to[0] : x->axes[i];
    }
    return NULL;
}

// The short axis at `amount` within the long one.
static const char *need_within(const ShapeQuery *q, AxisId small, AxisId large) {
    if (q->attr.amount < 0)
        return shape_violation(q, "'amount' is negative: %lld", (long long)q->attr.amount);
    int64_t e[2];
    if (!both_known(q, small, large, e)) return NULL;
    if (e[0] <= e[1] && q->attr.amount <= e[1] - e[0]) return NULL;
    return shape_violation(q, "%lld elements of '%s' from %lld do not fit the %lld of '%s'",
                           (long long)e[0], axis_name(q, small), (long long)q->attr.amount,
                           (long long)e[1], axis_name(q, large));
}

static const char *shape_slice(ShapeQuery *q) {
    const char *why = replace_axis(q);
    return why ? why : need_within(q, q->attr.to[0], q->attr.along[0]);
}

static const char *shape_pad(ShapeQuery *q) {
    const char *why = replace_axis(q);
    return why ? why : need_within(q, q->attr.along[0], q->attr.to[0]);
}

static const char *need_index(const ShapeQuery *q, AxisId a) {
    int64_t extent = extent_of(q, a);
    if (q->attr.amount >= 0 && (extent == EXTENT_UNKNOWN || q->attr.amount < extent))
        return NULL;
    return shape_violation(q, "index %lld is outside axis '%s' of extent %lld",
                           (long long)q->attr.amount, axis_name(q, a), (long long)extent);
}

static const char *shape_take(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    const char *why = need_counts(q, 1, 0);
    if (!why) why = need_axes(q, x, q->attr.along, 1);
    if (!why) why = need_index(q, q->attr.along[0]);
    if (why) return why;
    take_shape(q, x);
    remove_axis(q, graph_axis_position(x, q->attr.along[0]));
    return NULL;
}

// to[0] comes first, then the axes of x.
static const char *prepend_axis(ShapeQuery *q, const Value *x) {
    const char *why = need_new(q, x, q->attr.to, 1);
    if (!why) why = add_axis(q, q->attr.to[0]);
    for (uint32_t i = 0; i < x->rank && !why; i++)
        why = add_axis(q, x->axes[i]);
    q->type = x->type;
    return why;
}

static const char *shape_put(ShapeQuery *q) {
    const char *why = need_counts(q, 0, 1);
    if (!why) why = need_index(q, q->attr.to[0]);
    return why ? why : prepend_axis(q, operand(q, 0));
}

static const char *shape_same(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    take_shape(q, x);
    const char *why = need_counts(q, 1, 0);
    return why ? why : need_axes(q, x, q->attr.along, 1);
}

static const char *shape_window(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    const char *why = need_counts(q, 1, 1);
    if (!why) why = need_axes(q, x, q->attr.along, 1);
    if (!why) why = need_new(q, x, q->attr.to, 1);
    take_shape(q, x);
    return why ? why : add_axis(q, q->attr.to[0]);
}

static const char *shape_unwindow(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    const char *why = need_counts(q, 2, 0);
    if (!why) why = need_number(q, x);
    if (!why) why = need_reduction(q, x);
    if (why) return why;
    take_shape(q, x);
    remove_axis(q, graph_axis_position(x, q->attr.along[1]));
    return NULL;
}

// Axes of operand i, in order, with `from` (if any) standing for `to`, must be those already in
// q.
static const char *need_same_axes(const ShapeQuery *q, const Value *x, AxisId from, AxisId to) {
    bool same = x->rank == q->rank && x->type == q->type;
    for (uint32_t k = 0; k < x->rank && same; k++) {
        AxisId a = x->axes[k].i == from.i ? to : x->axes[k];
        same = a.i == q->axes[k].i;
    }
    return same ? NULL
                : shape_violation(q, "%s and %s differ", shape_text(q, operand(q, 0)),
                                  shape_text(q, x));
}

static const char *shape_concat(ShapeQuery *q) {
    if (q->attr.along_count != q->arity)
        return shape_violation(q, "'along' needs one axis for each of %u operands, got %u",
                               q->arity, q->attr.along_count);
    const char *why = need_counts(q, q->arity, 1);
    AxisId to = why ? (AxisId){0} : q->attr.to[0];
    int64_t total = 0;
    for (uint32_t i = 0; i < q->arity && !why; i++) {
        const Value *x = operand(q, i);
        AxisId along = q->attr.along[i];
        why = need_axes(q, x, &along, 1);
        if (!why && along.i != to.i) why = need_new(q, x, &to, 1);
        if (!why && i == 0) {
            take_shape(q, x);
            q->axes[graph_axis_position(x, along)] = to;
        }
        if (!why) why = need_same_axes(q, x, along, to);
        if (!why && along.i != to.i) why = need_known(q, &along, 1);
        // Saturating: the sum of 255 large extents must not wrap round to a legal one.
        if (!why)
            total = extent_of(q, along) > INT64_MAX - total ? INT64_MAX
                                                            : total + extent_of(q, along);
    }
    if (!why && total != extent_of(q, to)) {
        why = need_known(q, &to, 1);
        if (!why)
            why = shape_violation(q, "axis '%s' has extent %lld, the operands together %lld",
                                  axis_name(q, to), (long long)extent_of(q, to),
                                  (long long)total);
    }
    return why;
}

static const char *shape_stack(ShapeQuery *q) {
    const char *why = need_counts(q, 0, 1);
    if (!why) why = need_known(q, q->attr.to, 1);
    if (why) return why;
    if (extent_of(q, q->attr.to[0]) != q->arity)
        return shape_violation(q, "axis '%s' has extent %lld for %u operands",
                               axis_name(q, q->attr.to[0]),
                               (long long)extent_of(q, q->attr.to[0]), q->arity);
    take_shape(q, operand(q, 0));
    for (uint32_t i = 1; i < q->arity && !why; i++)
        why = need_same_axes(q, operand(q, i), (AxisId){0}, (AxisId){0});
    q->rank = 0;
    return why ? why : prepend_axis(q, operand(q, 0));
}

// ---- indexing

static const char *shape_gather(ShapeQuery *q) {
    const Value *x = operand(q, 0), *y = operand(q, 1);
    const char *why = need_counts(q, 1, 0);
    if (!why) why = need_type(q, y, DTYPE_I32);
    if (!why) why = need_axes(q, x, q->attr.along, 1);
    if (!why) why = need_new(q, y, q->attr.along, 1);
    if (why) return why;
    take_shape(q, y);
    q->type = x->type;
    for (uint32_t i = 0; i < x->rank && !why; i++)
        if (x->axes[i].i != q->attr.along[0].i && !graph_has_axis(y, x->axes[i]))
            why = add_axis(q, x->axes[i]);
    return why;
}

// The indexed axis is the one axis of `to` that x lacks; an axis of x that is not in `to` is
// summed and must be y's.
static const char *shape_scatter(ShapeQuery *q) {
    const Value *x = operand(q, 0), *y = operand(q, 1);
    const char *why = need_number(q, x);
    if (!why) why = need_type(q, y, DTYPE_I32);
    if (!why) why = need_axes(q, x, y->axes, y->rank);
    if (!why) why = need_distinct(q, q->attr.to, q->attr.to_count, "to");
    uint32_t absent = 0;
    for (uint32_t i = 0; i < q->attr.to_count && !why; i++) {
        absent += !graph_has_axis(x, q->attr.to[i]);
        why = add_axis(q, q->attr.to[i]);
    }
    if (!why && absent != 1)
        why = shape_violation(q, "'to' needs one axis that %s lacks, has %u", shape_text(q, x),
                              absent);
    for (uint32_t i = 0; i < x->rank && !why; i++)
        if (list_position(q->attr.to, q->attr.to_count, x->axes[i]) < 0)
            why = need_axes(q, y, &x->axes[i], 1);
    q->type = x->type;
    return why;
}

// The axes of y are those of the index, and x's but for the one that the index picks from.
static const char *shape_place(ShapeQuery *q) {
    const Value *x = operand(q, 0), *y = operand(q, 1), *index = operand(q, 2);
    const char *why = need_counts(q, 1, 0);
    if (!why) why = need_type(q, index, DTYPE_I32);
    if (!why) why = need_type(q, y, x->type);
    if (!why) why = need_axes(q, x, q->attr.along, 1);
    if (!why) why = need_new(q, y, q->attr.along, 1);
    if (!why) why = need_axes(q, y, index->axes, index->rank);
    for (uint32_t i = 0; i < x->rank && !why; i++)
        if (x->axes[i].i != q->attr.along[0].i) why = need_axes(q, y, &x->axes[i], 1);
    for (uint32_t i = 0; i < y->rank && !why; i++)
        if (!graph_has_axis(x, y->axes[i])) why = need_axes(q, index, &y->axes[i], 1);
    take_shape(q, x);
    return why;
}

// ---- dispatch

static const char *check_list(const ShapeQuery *q, const AxisId *list, uint32_t count,
                              bool used) {
    if (!used && count) return shape_violation(q, "'%s' takes no such axes", op_text(q->op));
    for (uint32_t i = 0; i < count; i++)
        if (list[i].i == 0 || list[i].i >= q->g->axes.len)
            return shape_violation(q, "there is no axis %u", list[i].i);
    return NULL;
}

const char *shape_infer(ShapeQuery *q) {
    q->rank = 0;
    q->type = DTYPE_F32;
    if (q->op <= OP_NONE || q->op >= OP_COUNT)
        return shape_violation(q, "there is no operation %d", (int)q->op);
    int arity = op_arity(q->op);
    if (arity < 0 ? q->arity == 0 : q->arity != (uint32_t)arity)
        return shape_violation(q, "'%s' takes %s%d operands, got %u", op_text(q->op),
                               arity < 0 ? "at least " : "", arity < 0 ? 1 : arity, q->arity);
    for (uint32_t i = 0; i < q->arity; i++)
        if (q->in[i].i == 0 || q->in[i].i >= q->g->values.len)
            return shape_violation(q, "there is no value %u", q->in[i].i);
    const char *why =
        check_list(q, q->attr.along, q->attr.along_count, op_attrs(q->op) & ATTR_ALONG);
    if (!why) why = check_list(q, q->attr.to, q->attr.to_count, op_attrs(q->op) & ATTR_TO);
    if (why) return why;
    switch (q->op) {
    case OP_NONE:
    case OP_COUNT: break;
#define GRAPH_OP(NAME, text, arity, shape, ...) \
    case OP_##NAME:                             \
        return shape_##shape(q);
#include "ir/graph/ops.def"
#undef GRAPH_OP
    }
    BUG("operation %d has no shape rule", (int)q->op);
}
