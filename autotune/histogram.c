// histogram.c: rows are drawn, counted and listed group after group, as the model's own kernels
// would have it.
#include "autotune/histogram.h"

#include "base/rng.h"
#include "ir/graph/grouped.h"

enum { SEED = 31 };

// ends[k]: the part of all rows that the groups up to k have, of which the last is 1.
static void shares_of(Histogram histogram, int64_t groups, double *ends) {
    double sum = 0;
    for (int64_t k = 0; k < groups; k++)
        ends[k] = sum += histogram == HISTOGRAM_ZIPF ? 1 / (double)(k + 1) : 1;
    for (int64_t k = 0; k < groups; k++)
        ends[k] /= sum;
}

static int64_t draw(const double *ends, int64_t groups, int64_t row) {
    double x = rng_uniform(SEED, (uint64_t)row);
    int64_t low = 0, high = groups - 1;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (x < ends[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// Number of a row on those axes of its index that the list counts.
static int64_t place_of(const Graph *g, const Value *list, int64_t row) {
    const Value *index = graph_value(g, list->in[0]);
    int64_t place = 0;
    for (uint32_t k = 0; k + 1 < list->attr.to_count; k++) {
        AxisId axis = list->attr.to[k];
        int64_t stride = 1, extent = graph_extent(g, axis);
        for (int i = index->rank - 1; index->axes[i].i != axis.i; i--)
            stride *= graph_extent(g, index->axes[i]);
        place = place * extent + row / stride % extent;
    }
    return place;
}

void histogram_fill(const Graph *g, const Value *c, uint32_t list, Histogram histogram,
                    int32_t *out) {
    GroupedAxes axes = grouped_axes(g, c);
    const Value *v = graph_value(g, c->in[list]);
    int64_t rows = graph_extent(g, axes.rows), groups = graph_extent(g, axes.groups);
    Arena scratch = {0};
    double *shares = arena_array(&scratch, double, groups);
    int64_t *next = arena_array(&scratch, int64_t, groups + 1);
    shares_of(histogram, groups, shares);
    for (int64_t i = 0; i < rows; i++)
        next[draw(shares, groups, i) + 1]++;
    for (int64_t k = 0; k < groups; k++) {
        next[k + 1] += next[k];
        if (list == GROUPED_ENDS) out[k] = (int32_t)next[k + 1];
    }
    for (int64_t i = 0; i < rows && list != GROUPED_ENDS; i++)
        out[next[draw(shares, groups, i)]++] =
            (int32_t)(v->op == OP_GROUP_ORDER ? place_of(g, v, i) : i);
    arena_release(&scratch);
}
