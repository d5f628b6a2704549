// cost.c: counting.
#include "cli/cost.h"

#include "base/check.h"
#include "ir/graph/attend.h"
#include "ir/graph/grouped.h"
#include "ir/graph/linear.h"
#include "runtime/names.h"

static int64_t fixed_elements(const Graph *g, const AxisId *axes, uint32_t rank) {
    int64_t n = 1;
    for (uint32_t i = 0; i < rank; i++)
        if (!graph_axis_at(g, axes[i])->runtime) n *= graph_axis_at(g, axes[i])->extent;
    return n;
}

GraphHoldings graph_holdings(const Graph *g) {
    GraphHoldings h = {0};
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        const Leaf *leaf = &g->leaves.ptr[i];
        int64_t n = fixed_elements(g, leaf->axes, leaf->rank),
                bytes = n * (int64_t)dtype_bytes(leaf->type);
        if (leaf->kind == OP_STATE) h.state_bytes += bytes;
        if (leaf->kind != OP_PARAM) continue;
        h.parameters += n;
        h.parameter_bytes += bytes;
        if (leaf->trained) h.trained += n;
    }
    return h;
}

GraphKept graph_kept(const Graph *g) {
    GraphKept kept = {0};
    const Leaf *position = NULL;
    vec_each (const Leaf, leaf, &g->leaves)
        if (str_eq(leaf->path, STR(NAME_POSITION))) position = leaf;
    ASSERT(position);
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        const Leaf *leaf = &g->leaves.ptr[i];
        if (leaf->kind != OP_STATE || !axis_in(leaf->axes, leaf->rank, position->axes[0]))
            continue;
        bool of_token = axis_in(leaf->axes, leaf->rank, position->index_of);
        int64_t n = graph_elements(g, g->leaf_values.ptr[i]) /
                    graph_extent(g, position->axes[0]) * (int64_t)dtype_bytes(leaf->type);
        if (of_token) kept.token += n / graph_extent(g, position->index_of);
        if (!of_token) kept.row += n;
    }
    return kept;
}

// The products of attention, at the pairs of its band: scores from q and k again in every
// gradient, and what is made of them.
static double attend_flops(const Graph *g, const Value *v) {
    const Value *q = graph_value(g, v->in[0]), *k = graph_value(g, v->in[1]);
    AxisId width = v->attr.along[0];
    double pairs = attend_pairs(g, v);
    for (uint32_t i = 0; i < q->rank; i++)
        if (q->axes[i].i != width.i && q->axes[i].i != v->attr.along[1].i)
            pairs *= (double)graph_extent(g, q->axes[i]);
    double d = (double)graph_extent(g, width), terms = d;
    if (v->op == OP_ATTEND_DQ || v->op == OP_ATTEND_DK) terms += d;
    if (v->op != OP_ATTEND_LSE)
        terms += (double)graph_extent(g, attend_value_axis(k, graph_value(g, v->in[2]), width));
    return op_flops(OP_CONTRACT) * pairs * terms;
}

// The arithmetic of the recurrence: passes over a state for each token and sequence. The
// gradient of v pays for making the states again and for walking their gradients; errors come
// by the way.
static double linear_flops(const Graph *g, const Value *v) {
    LinearOperands l = linear_operands(g, v);
    bool delta = v->attr.amount & LINEAR_DELTA;
    double product = op_flops(OP_CONTRACT), passes = 0, decay = l.decay.i ? 1 : 0;
    double walk = product * (delta ? 2 : 1) + decay;
    switch ((int)v->op) {
    case OP_LINEAR: passes = walk + product; break;
    case OP_LINEAR_STATE: passes = walk; break;
    case OP_LINEAR_DK: passes = product * (delta ? 2 : 1); break;
    case OP_LINEAR_DV: passes = walk + 2 * product + decay; break;
    case OP_LINEAR_DQ:
    case OP_LINEAR_DDECAY: passes = product; break;
    default: break;
    }
    return passes * (double)graph_elements(g, l.v) * (double)graph_extent(g, l.width);
}

// Each row meets the matrix of its group alone.
static double grouped_flops(const Graph *g, const Value *v) {
    GroupedAxes s = grouped_axes(g, v);
    double points = (double)graph_extent(g, s.rows);
    for (uint32_t i = 0; i < s.inner_count; i++)
        points *= (double)graph_extent(g, s.inner[i]);
    for (uint32_t i = 0; i < s.outer_count; i++)
        points *= (double)graph_extent(g, s.outer[i]);
    return op_flops(v->op) * points;
}

// Reductions and contractions are counted by what they read: the points of all axes involved.
double value_flops(const Graph *g, ValueId id) {
    const Value *v = graph_value(g, id);
    if (op_is_attend(v->op)) return attend_flops(g, v);
    if (op_is_linear(v->op)) return linear_flops(g, v);
    if (op_is_grouped(v->op)) return grouped_flops(g, v);
    double points = op_flops(v->op);
    if (!(points > 0)) return 0;
    for (uint32_t i = 0; i < v->rank; i++)
        points *= (double)graph_extent(g, v->axes[i]);
    for (uint32_t i = 0; i < v->attr.along_count; i++)
        if (!graph_has_axis(v, v->attr.along[i]))
            points *= (double)graph_extent(g, v->attr.along[i]);
    return points;
}

double graph_flops(const Graph *g) {
    double sum = 0;
    for (uint32_t i = 1; i < g->values.len; i++)
        sum += value_flops(g, (ValueId){i});
    return sum;
}

int64_t graph_tokens(const Graph *g) {
    int64_t n = 1;
    for (uint32_t a = 1; a < g->axes.len; a++) {
        const Axis *axis = &g->axes.ptr[a];
        if (axis->runtime && !axis->same_as.i) n *= axis->extent;
    }
    return n;
}

// The part of each parameter that a token's rows meet: all of it, if anything but grouped
// contractions uses it.
static double *active_shares(const Graph *g, Arena *arena) {
    double *share = arena_array(arena, double, g->leaves.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; k < v->arity; k++) {
            const Value *x = graph_value(g, v->in[k]);
            if (x->op != OP_PARAM) continue;
            double part = 1;
            if (v->op == OP_CONTRACT_AT && k == GROUPED_Y) {
                GroupedAxes s = grouped_axes(g, v);
                part = (double)graph_extent(g, s.rows) / (double)graph_tokens(g) /
                       (double)graph_extent(g, s.groups);
            }
            if (part > share[x->attr.leaf]) share[x->attr.leaf] = part < 1 ? part : 1;
        }
    }
    return share;
}

ActiveParameters graph_active(const Graph *g, Arena *arena) {
    ActiveParameters active = {0, 0};
    const double *share = active_shares(g, arena);
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        const Leaf *leaf = &g->leaves.ptr[i];
        bool embeds = false;
        for (uint32_t t = 0; t < leaf->tag_count; t++)
            embeds = embeds || str_eq(leaf->tags[t], STR("embedding"));
        double count = share[i] * (double)graph_elements(g, g->leaf_values.ptr[i]);
        active.all += count;
        if (!embeds) active.without_embeddings += count;
    }
    return active;
}

static double value_bytes(const Graph *g, ValueId v) {
    return (double)graph_elements(g, v) * (double)dtype_bytes(graph_value(g, v)->type);
}

static bool multiplies_bf16(const Graph *g, ValueId id) {
    const Value *v = graph_value(g, id);
    return (op_is_contraction(v->op) || op_is_attend(v->op)) &&
           graph_value(g, v->in[0])->type == DTYPE_BF16 &&
           graph_value(g, v->in[1])->type == DTYPE_BF16;
}

RegionCost region_cost(const Regions *regions, const Region *region) {
    const Graph *g = regions->graph;
    RegionCost cost = {0};
    for (uint32_t i = 0; i < region->value_count; i++) {
        double flops = value_flops(g, region->values[i]);
        cost.flops += flops;
        if (multiplies_bf16(g, region->values[i])) cost.pair_flops += flops;
    }
    for (uint32_t i = 0; i < region->input_count; i++)
        cost.bytes += value_bytes(g, region->inputs[i]);
    for (uint32_t i = 0; i < region->output_count; i++)
        cost.bytes += value_bytes(g, region->outputs[i]);
    return cost;
}
