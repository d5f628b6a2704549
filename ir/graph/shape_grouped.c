// shape_grouped.c: the order of groups and grouped contractions.
#include "ir/graph/grouped.h"
#include "ir/graph/shape_step.h"

static int64_t extent_of(const ShapeQuery *q, AxisId a) {
    return graph_axis_at(q->g, a)->extent;
}

static const Value *operand(const ShapeQuery *q, uint32_t k) {
    return graph_value(q->g, q->in[k]);
}

// ---- order

const char *shape_group_order(ShapeQuery *q) {
    const Value *x = operand(q, 0);
    if (q->attr.along_count != 1 || q->attr.to_count < 1)
        return shape_violation(q, "needs the axis of groups, and that of rows last in 'to'");
    if (x->type != DTYPE_I32) return shape_violation(q, "needs i32, got %s", shape_text(q, x));
    AxisId rows = q->attr.to[q->attr.to_count - 1];
    int64_t extent = 1;
    for (uint32_t i = 0; i < x->rank; i++)
        extent *= extent_of(q, x->axes[i]);
    if (extent_of(q, rows) != extent)
        return shape_violation(q, "%lld rows of %s", (long long)extent_of(q, rows),
                               shape_text(q, x));
    for (uint32_t i = 0; i + 1 < q->attr.to_count; i++)
        if (!graph_has_axis(x, q->attr.to[i]) || axis_in(q->attr.to, i, q->attr.to[i]))
            return shape_violation(q, "'to' needs axes of %s, each once", shape_text(q, x));
    q->axes[0] = rows;
    q->rank = 1;
    q->type = DTYPE_I32;
    return NULL;
}

// ---- contractions

static void take(AxisId *list, uint8_t *count, AxisId a) { list[(*count)++] = a; }

// The last axes of v that are in the list.
static void take_last(const Value *v, const AxisId *list, uint32_t count, AxisId *out,
                      uint8_t *out_count) {
    uint32_t first = v->rank;
    while (first > 0 && axis_in(list, count, v->axes[first - 1]))
        first--;
    for (uint32_t i = first; i < v->rank; i++)
        take(out, out_count, v->axes[i]);
}

static GroupedAxes axes_of(const Graph *g, GraphOp op, const ValueId *in, const GraphAttr *a) {
    GroupedAxes s = {.rows = graph_value(g, in[GROUPED_X_ROWS])->axes[0],
                     .groups = a->along[a->along_count - 1]};
    const Value *y = graph_value(g, in[GROUPED_Y]);
    if (op == OP_CONTRACT_AT) {
        take_last(graph_value(g, in[GROUPED_X]), a->along, a->along_count, s.inner,
                  &s.inner_count);
        for (uint32_t i = 0; i < a->to_count; i++)
            if (graph_has_axis(y, a->to[i])) take(s.outer, &s.outer_count, a->to[i]);
    } else {
        take_last(graph_value(g, in[GROUPED_X]), a->to, a->to_count, s.inner, &s.inner_count);
        take_last(y, a->to, a->to_count, s.outer, &s.outer_count);
    }
    return s;
}

GroupedAxes grouped_axes(const Graph *g, const Value *v) {
    return axes_of(g, v->op, v->in, &v->attr);
}

GroupedRows grouped_rows(const Graph *g, const Value *v) {
    if (v->op != OP_CONTRACT_AT) return (GroupedRows){0};
    return (GroupedRows){v->axes, v->rank - (uint32_t)grouped_axes(g, v).outer_count};
}

static const char *need_list(const ShapeQuery *q, uint32_t k, AxisId along) {
    const Value *x = operand(q, k);
    bool fits = x->rank == 1 && x->axes[0].i == along.i && x->type == DTYPE_I32;
    return fits ? NULL : shape_violation(q, "%s is no list of rows", shape_text(q, x));
}

static const char *need_product(const ShapeQuery *q, uint32_t k) {
    const Value *x = operand(q, k);
    bool fits = x->type == DTYPE_F32 || x->type == DTYPE_BF16;
    return fits ? NULL : shape_violation(q, "needs f32, got %s", shape_text(q, x));
}

static const char *need_grouped(const ShapeQuery *q) {
    const Value *rows = operand(q, GROUPED_X_ROWS);
    bool once = q->attr.to_count <= GRAPH_MAX_RANK;
    for (uint32_t i = 0; once && i < q->attr.to_count; i++)
        once = !axis_in(q->attr.to, i, q->attr.to[i]);
    if (!once) return shape_violation(q, "'to' needs up to %d axes, each once", GRAPH_MAX_RANK);
    if (q->attr.along_count < 1 || rows->rank != 1)
        return shape_violation(q, "needs the axis of groups and lists of rows");
    const char *why = need_list(q, GROUPED_X_ROWS, rows->axes[0]);
    if (!why) why = need_list(q, GROUPED_Y_ROWS, rows->axes[0]);
    if (!why) why = need_list(q, GROUPED_ENDS, q->attr.along[q->attr.along_count - 1]);
    if (!why) why = need_product(q, GROUPED_X);
    return why ? why : need_product(q, GROUPED_Y);
}

// `all` are the axes of matrices: each once, and of one of the three kinds.
static const char *need_matrices(const ShapeQuery *q, const GroupedAxes *s, const AxisId *all,
                                 uint32_t count) {
    bool fits = count == 1U + s->inner_count + s->outer_count && axis_in(all, count, s->groups);
    for (uint32_t i = 0; fits && i < s->inner_count; i++)
        fits = axis_in(all, count, s->inner[i]) &&
               !axis_in(s->outer, s->outer_count, s->inner[i]) && s->inner[i].i != s->groups.i;
    for (uint32_t i = 0; fits && i < s->outer_count; i++)
        fits = axis_in(all, count, s->outer[i]) && s->outer[i].i != s->groups.i;
    return fits ? NULL
                : shape_violation(q, "the matrices of %s and %s do not fit",
                                  shape_text(q, operand(q, GROUPED_X)),
                                  shape_text(q, operand(q, GROUPED_Y)));
}

static void answer(ShapeQuery *q) {
    for (uint32_t i = 0; i < q->attr.to_count; i++)
        q->axes[i] = q->attr.to[i];
    q->rank = q->attr.to_count;
}

const char *shape_contract_at(ShapeQuery *q) {
    const char *why = need_grouped(q);
    if (why) return why;
    GroupedAxes s = axes_of(q->g, q->op, q->in, &q->attr);
    const Value *y = operand(q, GROUPED_Y);
    why = need_matrices(q, &s, y->axes, y->rank);
    if (!why && s.inner_count + 1 != q->attr.along_count)
        why = shape_violation(q, "%s does not end in what is summed",
                              shape_text(q, operand(q, GROUPED_X)));
    for (uint32_t i = 0; !why && i < s.outer_count; i++)
        if (q->attr.to[q->attr.to_count - s.outer_count + i].i != s.outer[i].i)
            why = shape_violation(q, "'to' does not end in the axes of the matrices");
    answer(q);
    return why;
}

const char *shape_contract_into(ShapeQuery *q) {
    const char *why = need_grouped(q);
    if (why) return why;
    GroupedAxes s = axes_of(q->g, q->op, q->in, &q->attr);
    answer(q);
    return need_matrices(q, &s, q->attr.to, q->attr.to_count);
}
