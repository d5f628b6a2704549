// evaluate_grouped.c: reference of the order of groups and of grouped contractions.
#include "ir/graph/evaluate_step.h"
#include "ir/graph/grouped.h"

// ---- order

// Place on the axes `to` of the i-th element of x.
static int64_t place_of(const EvaluateStep *s, int64_t i) {
    const Value *x = step_operand(s, 0);
    const GraphAttr *attr = &s->value->attr;
    int64_t place = 0, stride = 1;
    for (int k = (int)attr->to_count - 2; k >= 0; k--) {
        int64_t extent = graph_extent(s->graph, attr->to[k]);
        place += i / value_stride(s->graph, x, attr->to[k]) % extent * stride;
        stride *= extent;
    }
    return place;
}

void evaluate_group_order(const EvaluateStep *s) {
    int64_t rows = graph_elements(s->graph, s->value->in[0]), filled = 0;
    int64_t groups = graph_extent(s->graph, s->value->attr.along[0]);
    const double *index = s->in[0];
    for (int64_t group = 0; group <= groups; group++)
        for (int64_t i = 0; i < rows; i++) {
            bool inside = index[i] >= 0 && index[i] < (double)groups;
            if (inside ? index[i] == (double)group : group == groups)
                s->out[filled++] = (double)place_of(s, i);
        }
}

// ---- contractions

static int64_t extent_of(const Graph *g, const AxisId *axes, uint32_t count) {
    int64_t extent = 1;
    for (uint32_t i = 0; i < count; i++)
        extent *= graph_extent(g, axes[i]);
    return extent;
}

// Offset in v of the i-th place on these axes.
static int64_t offset_of(const Graph *g, const Value *v, const AxisId *axes, uint32_t count,
                         int64_t i) {
    int64_t offset = 0;
    for (uint32_t k = count; k-- > 0; i /= graph_extent(g, axes[k]))
        offset += i % graph_extent(g, axes[k]) * value_stride(g, v, axes[k]);
    return offset;
}

typedef struct {
    const EvaluateStep *s;
    GroupedAxes axes;
    const Value *matrices;  // y of CONTRACT_AT, r of CONTRACT_INTO
    int64_t inner, outer;
} Grouped;

static int64_t matrix_offset(const Grouped *c, int64_t inner, int64_t outer) {
    const Graph *g = c->s->graph;
    return offset_of(g, c->matrices, c->axes.inner, c->axes.inner_count, inner) +
           offset_of(g, c->matrices, c->axes.outer, c->axes.outer_count, outer);
}

// One row with the matrix that begins at `matrix`.
static void row_at(const Grouped *c, int64_t x_row, int64_t r_row, int64_t matrix) {
    const EvaluateStep *s = c->s;
    for (int64_t o = 0; o < c->outer; o++) {
        double sum = 0;
        for (int64_t i = 0; i < c->inner; i++)
            sum += s->in[GROUPED_X][x_row * c->inner + i] *
                   s->in[GROUPED_Y][matrix + matrix_offset(c, i, o)];
        s->out[r_row * c->outer + o] = sum;
    }
}

static void row_into(const Grouped *c, int64_t x_row, int64_t y_row, int64_t matrix) {
    const EvaluateStep *s = c->s;
    for (int64_t i = 0; i < c->inner; i++)
        for (int64_t o = 0; o < c->outer; o++)
            s->out[matrix + matrix_offset(c, i, o)] +=
                s->in[GROUPED_X][x_row * c->inner + i] * s->in[GROUPED_Y][y_row * c->outer + o];
}

void evaluate_grouped(const EvaluateStep *s) {
    bool at = s->value->op == OP_CONTRACT_AT;
    Grouped c = {.s = s,
                 .axes = grouped_axes(s->graph, s->value),
                 .matrices = at ? step_operand(s, GROUPED_Y) : s->value};
    c.inner = extent_of(s->graph, c.axes.inner, c.axes.inner_count);
    c.outer = extent_of(s->graph, c.axes.outer, c.axes.outer_count);
    int64_t groups = graph_extent(s->graph, c.axes.groups);
    int64_t matrix = value_stride(s->graph, c.matrices, c.axes.groups), j = 0;
    for (int64_t group = 0; group < groups; group++)
        for (; j < (int64_t)s->in[GROUPED_ENDS][group]; j++) {
            int64_t x_row = (int64_t)s->in[GROUPED_X_ROWS][j];
            int64_t y_row = (int64_t)s->in[GROUPED_Y_ROWS][j];
            (at ? row_at : row_into)(&c, x_row, y_row, group * matrix);
        }
}
