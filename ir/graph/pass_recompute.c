// pass_recompute.c: which values of the forward part the backward part computes again.
//
// A value that both parts read is either kept, or computed again from others that are kept. The
// choice that moves the fewest bytes is a minimum cut, in which a value v is two nodes:
//
//     source --again(v)--> in(v) --keep(v)--> out(v) --never--> sink   if the backward part
//                            ^                  |                      reads v
//            out(operand) ---+ never            +--never--> in(user)   if the user can be
//                                                                      computed again
//
// v is kept if in(v) stays with the source and out(v) with the sink. It is computed again if
// both stay with the sink; the edges from its operands allow that only if these are kept or
// computed again too.
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "ir/graph/min_cut.h"
#include "ir/graph/passes.h"
#include "ir/graph/region.h"

// Costs are in sixteenths of a byte moved. A device does 10 to 20 f32 operations in the time
// that a byte takes from memory, so an operation costs about one sixteenth. That is one of many
// that go on at once. Scalars of a row are computed one by one, or by all threads of the row:
// if each waits for the one before and there is no end to them, nothing hides that.
enum { COST_BYTE = 16, COST_OPERATION = 1, COST_CHAINED_OPERATION = 32, LONG_CHAIN = 64 };
static const double MOST_HELD_COST = 1e6;

enum { NODE_SOURCE, NODE_SINK, NODE_FIRST };

typedef struct {
    const Graph *g;
    Arena scratch;
    double held_cost;
    bool *forward;        // per value: the loss needs it
    bool *read_backward;  // forward, and read by a value that is not
    bool *stored;         // forward, and in memory anyway: some kernel reads or writes it there
    bool *stored_again;   // if the backward part made it, it would have to write it to memory
    bool *chained;        // forward, in a long chain of scalars
    bool *link;           // made again, it would only be held for others that are held
    bool *again;          // the answer
} Recompute;

static bool is_leaf(GraphOp op) { return op == OP_PARAM || op == OP_STATE || op == OP_INPUT; }

static bool is_generated(GraphOp op) { return op == OP_CONST || op == OP_IOTA; }

// Has a kernel of its own, between memory and memory.
static bool is_own_kernel(GraphOp op) {
    if (op_stands_alone(op)) return true;
    switch ((int)op) {
    case OP_CONTRACT:
    case OP_GATHER:
    case OP_SCATTER:
    case OP_PAD:
    case OP_PUT:
    case OP_ROLL:
    case OP_SHIFT:
    case OP_WINDOW:
    case OP_UNWINDOW: return true;
    default: return false;
    }
}

// What makes no data of its own: an addressing of the operand, or of several laid side by side.
static bool is_addressing(GraphOp op) {
    return op_is_view(op) || op == OP_STACK || op == OP_CONCAT;
}

static int64_t value_bytes(const Graph *g, ValueId v) {
    return graph_elements(g, v) * (int64_t)dtype_bytes(graph_value(g, v)->type);
}

static bool *mark_forward(const Graph *g, Arena *arena) {
    bool *forward = arena_array(arena, bool, g->values.len);
    ValueId loss = graph_output_find(g, STR("loss"));
    forward[loss.i] = loss.i != 0;
    for (uint32_t i = loss.i; i > 0; i--) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; forward[i] && k < v->arity; k++)
            forward[v->in[k].i] = true;
    }
    // The kernel of an attention makes them by the way, of the same operands.
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        if (v->op != OP_ATTEND_LSE && v->op != OP_LINEAR_ERROR) continue;
        forward[i] = true;
        for (uint32_t k = 0; k < v->arity; k++)
            forward[i] &= forward[v->in[k].i];
    }
    return forward;
}

static void mark_uses(Recompute *r) {
    const Graph *g = r->g;
    const ValueHome *homes = value_homes(g, &r->scratch);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        if (r->forward[i] && is_leaf(v->op)) r->stored[i] = true;
        for (uint32_t k = 0; homes[i] != HOME_NONE && k < v->arity; k++) {
            uint32_t x = v->in[k].i;
            if (!r->forward[x]) continue;
            if (!r->forward[i]) r->read_backward[x] = true;
            if (is_own_kernel(v->op) && !r->forward[i]) r->stored_again[x] = true;
        }
    }
    // What is read through an addressing is its operand.
    for (uint32_t i = g->values.len - 1; i > 0; i--) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; is_addressing(v->op) && k < v->arity; k++)
            r->stored_again[v->in[k].i] |= r->stored_again[i];
    }
}

static bool has_any(const Graph *g, ValueId v, const AxisId *axes, uint32_t count) {
    for (uint32_t k = 0; k < count; k++)
        if (graph_has_axis(graph_value(g, v), axes[k])) return true;
    return false;
}

// Neither v nor what it is made of has cols.
static bool is_scalar(const Graph *g, const Region *region, ValueId v) {
    const Value *value = graph_value(g, v);
    bool wide = region->col_count == 0 || has_any(g, v, region->cols, region->col_count);
    for (uint32_t k = 0; k < value->arity; k++)
        wide = wide || has_any(g, value->in[k], region->cols, region->col_count);
    return !wide;
}

// Marks the scalars that lie on a path of at least LONG_CHAIN of them.
static void mark_chained(Recompute *r, const bool *scalar) {
    const Graph *g = r->g;
    uint32_t *up = arena_array(&r->scratch, uint32_t, g->values.len),
             *down = arena_array(&r->scratch, uint32_t, g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        if (!scalar[i] && !op_is_view(v->op)) continue;
        for (uint32_t k = 0; k < v->arity; k++)
            if (up[v->in[k].i] > up[i]) up[i] = up[v->in[k].i];
        up[i] += scalar[i];
    }
    for (uint32_t i = g->values.len - 1; i > 0; i--) {
        const Value *v = graph_value(g, (ValueId){i});
        if (!scalar[i] && !op_is_view(v->op)) continue;
        r->chained[i] = scalar[i] && up[i] + down[i] >= LONG_CHAIN;
        for (uint32_t k = 0; k < v->arity; k++)
            if (down[i] + scalar[i] > down[v->in[k].i]) down[v->in[k].i] = down[i] + scalar[i];
    }
}

// What some kernel of the forward part reads is in memory anyway.
static void mark_stored(Recompute *r) {
    GraphOutput loss = {STR("loss"), graph_output_find(r->g, STR("loss"))};
    if (!loss.value.i) return;
    Graph forward = *r->g;  // the same values, but only those that the loss needs matter
    memset(&forward.outputs, 0, sizeof forward.outputs);
    memset(&forward.updates, 0, sizeof forward.updates);
    vec_push(&r->scratch, &forward.outputs, loss);
    const Regions *regions = pass_fuse(&forward, &r->scratch);
    bool *scalar = arena_array(&r->scratch, bool, r->g->values.len);
    for (uint32_t i = 0; i < regions->count; i++) {
        const Region *region = &regions->regions[i];
        for (uint32_t k = 0; k < region->input_count; k++)
            r->stored[region->inputs[k].i] = true;
        for (uint32_t k = 0; k < region->value_count; k++)
            scalar[region->values[k].i] = is_scalar(r->g, region, region->values[k]);
    }
    for (uint32_t i = 1; i < r->g->values.len; i++)
        if (regions->laid_in[i].i) r->stored[i] = true;
    mark_chained(r, scalar);
}

// Reading it, holding it, and writing it if that would not be done anyway.
static int64_t cost_to_keep(const Recompute *r, ValueId v) {
    GraphOp op = graph_value(r->g, v)->op;
    if (is_generated(op)) return 0;
    if (op_is_view(op)) return CUT_NEVER;  // its operand is what can be kept
    double held = is_leaf(op) ? 0 : r->held_cost, written = r->stored[v.i] ? 0 : 1;
    return (int64_t)ceil((double)(value_bytes(r->g, v) * COST_BYTE) * (1 + held + written));
}

static int64_t cost_to_compute(const Recompute *r, ValueId v) {
    const Value *value = graph_value(r->g, v);
    if (is_generated(value->op)) return 0;
    if (is_leaf(value->op) || value->op == OP_CONTRACT || value->op == OP_SCATTER ||
        value->op == OP_KEEP || op_stands_alone(value->op))
        return CUT_NEVER;
    if (r->link[v.i]) return CUT_NEVER;
    if (is_addressing(value->op)) return 0;
    int64_t elements = graph_elements(r->g, v);
    for (uint32_t k = 0; k < value->arity; k++) {
        int64_t read = graph_elements(r->g, value->in[k]);
        if (read > elements && value->op != OP_GATHER) elements = read;
    }
    int64_t operation = r->chained[v.i] ? COST_CHAINED_OPERATION : COST_OPERATION;
    int64_t cost = elements * (int64_t)ceil(op_flops(value->op)) * operation;
    bool through_memory = is_own_kernel(value->op) || r->stored_again[v.i];
    return cost + (through_memory ? value_bytes(r->g, v) * 2 * COST_BYTE : 0);
}

static void choose(Recompute *r) {
    const Graph *g = r->g;
    CutNet net;
    cut_init(&net, &r->scratch, NODE_FIRST + 2 * g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        if (!r->forward[i]) continue;
        const Value *v = graph_value(g, (ValueId){i});
        uint32_t in = NODE_FIRST + 2 * i, out = in + 1;
        int64_t again = cost_to_compute(r, (ValueId){i});
        cut_edge(&net, NODE_SOURCE, in, again);
        cut_edge(&net, in, out, cost_to_keep(r, (ValueId){i}));
        if (r->read_backward[i]) cut_edge(&net, out, NODE_SINK, CUT_NEVER);
        for (uint32_t k = 0; again != CUT_NEVER && k < v->arity; k++)
            cut_edge(&net, NODE_FIRST + 2 * v->in[k].i + 1, in, CUT_NEVER);
    }
    const bool *side = cut_sink_side(&net, NODE_SOURCE, NODE_SINK);
    for (uint32_t i = 1; i < g->values.len; i++)
        r->again[i] = r->forward[i] && side[NODE_FIRST + 2 * i];
}

static void recompute_init(Recompute *r, const Graph *g, double held_cost) {
    *r = (Recompute){.g = g, .held_cost = held_cost};
    arena_init(&r->scratch);
    r->forward = mark_forward(g, &r->scratch);
    r->read_backward = arena_array(&r->scratch, bool, g->values.len);
    r->stored = arena_array(&r->scratch, bool, g->values.len);
    r->stored_again = arena_array(&r->scratch, bool, g->values.len);
    r->chained = arena_array(&r->scratch, bool, g->values.len);
    r->link = arena_array(&r->scratch, bool, g->values.len);
    r->again = arena_array(&r->scratch, bool, g->values.len);
    mark_uses(r);
    mark_stored(r);
}

// ---- the new graph

typedef struct {
    const Recompute *r;
    Arena *scratch;
    Graph *to;
    // Per value of the old graph: its copy, and that for the backward part.
    ValueId *first, *second;
    uint32_t *stack;  // values that wait for their operands' second copies
} Rebuild;

static ValueId value_copy(const Rebuild *b, uint32_t v, bool backward) {
    const Value *value = graph_value(b->r->g, (ValueId){v});
    if (is_leaf(value->op)) return b->to->leaf_values.ptr[value->attr.leaf];
    ArenaMark mark = arena_mark(b->scratch);
    ValueId *in = arena_array(b->scratch, ValueId, value->arity);
    for (uint32_t k = 0; k < value->arity; k++) {
        uint32_t x = value->in[k].i;
        in[k] = backward && b->r->again[x] ? b->second[x] : b->first[x];
    }
    ValueId copy = graph_again(b->to, value, in);
    arena_rewind(b->scratch, mark);
    return copy;
}

// Is v a gathered row in parts, of which the table has as many?
static bool splits_gathered(const Rebuild *b, const Value *v) {
    if (v->op != OP_SPLIT || !b->r->again[v->in[0].i]) return false;
    const Value *rows = graph_value(b->r->g, v->in[0]);
    return rows->op == OP_GATHER &&
           !graph_has_axis(graph_value(b->r->g, rows->in[1]), v->attr.along[0]);
}

// Gathered in parts by whoever reads them, with no kernel before it.
static ValueId gather_parts(const Rebuild *b, const Value *v) {
    const Value *rows = graph_value(b->r->g, v->in[0]);
    ValueId in[2];
    for (uint32_t k = 0; k < 2; k++)
        in[k] = b->r->again[rows->in[k].i] ? b->second[rows->in[k].i] : b->first[rows->in[k].i];
    in[0] = graph_add(b->to, OP_SPLIT, (Operands){in, 1}, v->attr, v->span);
    return graph_add(b->to, OP_GATHER, (Operands){in, 2}, rows->attr, rows->span);
}

// An operand of v that has no second copy yet but needs one; 0: none.
static uint32_t operand_missing(const Rebuild *b, uint32_t v) {
    const Value *value = graph_value(b->r->g, (ValueId){v});
    for (uint32_t k = 0; k < value->arity; k++) {
        uint32_t x = value->in[k].i;
        if (b->r->again[x] && b->second[x].i == 0) return x;
    }
    return 0;
}

// Just before v, which is of the backward part: what it needs computed again.
static void make_second_copies(Rebuild *b, uint32_t v) {
    uint32_t depth = 0;
    b->stack[depth++] = v;
    while (depth > 0) {
        uint32_t top = b->stack[depth - 1], missing = operand_missing(b, top);
        if (missing != 0) {
            b->stack[depth++] = missing;
            continue;
        }
        const Value *made = graph_value(b->r->g, (ValueId){top});
        if (top != v)
            b->second[top] =
                splits_gathered(b, made) ? gather_parts(b, made) : value_copy(b, top, true);
        depth--;
    }
}

// `second`: per value of the old graph, its copy for the backward part.
static Graph *rebuild(Recompute *r, Arena *arena, ValueId *second) {
    const Graph *g = r->g;
    Rebuild b = {
        .r = r, .scratch = &r->scratch, .to = graph_copy_header(g, arena), .second = second};
    b.first = arena_array(&r->scratch, ValueId, g->values.len);
    b.stack = arena_array(&r->scratch, uint32_t, g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        if (!r->forward[i]) make_second_copies(&b, i);
        b.first[i] = value_copy(&b, i, !r->forward[i]);
    }
    vec_each (const GraphOutput, o, &g->outputs) {
        graph_output(b.to, o->name, b.first[o->value.i]);
    }
    vec_each (const GraphUpdate, u, &g->updates) {
        graph_update(b.to, u->leaf, b.first[u->value.i]);
    }
    return b.to;
}

// ---- chains in memory

// Per value: does the backward part make it again and have it in memory?
static bool *mark_held(Recompute *r, Arena *arena) {
    uint32_t n = r->g->values.len;
    ValueId *second = arena_array(arena, ValueId, n);
    const Graph *to = rebuild(r, arena, second);
    const Regions *regions = pass_fuse(to, arena);
    bool *stored = arena_array(arena, bool, to->values.len),
         *held = arena_array(arena, bool, n);
    for (uint32_t i = 0; i < regions->count; i++)
        for (uint32_t k = 0; k < regions->regions[i].input_count; k++)
            stored[regions->regions[i].inputs[k].i] = true;
    for (uint32_t i = 1; i < n; i++)
        held[i] = stored[second[i].i] || regions->laid_in[second[i].i].i;
    return held;
}

static void at_least(uint32_t *x, uint32_t least) {
    if (*x < least) *x = least;
}

// The forward part's order is not the one in which the backward part needs things: of a chain
// of values in memory, each made of the one before, all are there when the last is needed. Of
// a layer that is a short while; but a chain through many layers had better be kept. True if
// the choice has such a chain, whose values are then marked.
static bool mark_links(Recompute *r) {
    enum { LONGEST = 7, LAST = 2 };
    Arena arena;
    arena_init(&arena);
    const bool *held = mark_held(r, &arena);
    uint32_t n = r->g->values.len, *before = arena_array(&arena, uint32_t, n),
             *behind = arena_array(&arena, uint32_t, n);  // in the longest chain through v
    bool any = false;
    for (uint32_t i = 1; i < n; i++) {
        const Value *v = graph_value(r->g, (ValueId){i});
        for (uint32_t k = 0; r->again[i] && k < v->arity; k++)
            at_least(&before[i], before[v->in[k].i] + held[v->in[k].i]);
    }
    for (uint32_t i = n - 1; i > 0; i--) {
        const Value *v = graph_value(r->g, (ValueId){i});
        for (uint32_t k = 0; r->again[i] && k < v->arity; k++)
            at_least(&behind[v->in[k].i], behind[i] + held[i]);
        bool link = held[i] && behind[i] >= LAST && before[i] + 1 + behind[i] > LONGEST;
        if (link) r->link[i] = any = true;
    }
    arena_release(&arena);
    return any;
}

Graph *pass_recompute(const Graph *g, Arena *arena, double held_cost) {
    ASSERT(held_cost >= 0 && held_cost <= MOST_HELD_COST);
    Recompute r;
    recompute_init(&r, g, held_cost);
    do
        choose(&r);
    while (mark_links(&r));
    Graph *to = rebuild(&r, arena, arena_array(&r.scratch, ValueId, g->values.len));
    arena_release(&r.scratch);
    return to;
}

// Does v stand for other values in memory? Widening is part of loading them.
static bool is_form(const Graph *g, const Value *v) {
    return is_addressing(v->op) ||
           (v->op == OP_CAST && graph_value(g, v->in[0])->type == DTYPE_BF16);
}

// A parameter rounded is no activation.
static bool is_parameter(const Graph *g, const Value *v) {
    while (v->op == OP_CAST || op_is_view(v->op))
        v = graph_value(g, v->in[0]);
    return v->op == OP_PARAM;
}

int64_t graph_kept_bytes(const Graph *g) {
    Recompute r;
    recompute_init(&r, g, 0);
    int64_t bytes = 0;
    for (uint32_t i = g->values.len - 1; i > 0; i--) {
        const Value *v = graph_value(g, (ValueId){i});
        bool made = !is_leaf(v->op) && !is_generated(v->op) && !is_parameter(g, v);
        if (!r.read_backward[i] || !made) continue;
        if (!is_form(g, v)) bytes += value_bytes(g, (ValueId){i});
        for (uint32_t k = 0; is_form(g, v) && k < v->arity; k++)
            r.read_backward[v->in[k].i] = true;
    }
    arena_release(&r.scratch);
    return bytes;
}

int64_t graph_least_kept_bytes(const Graph *g) {
    Arena scratch;
    arena_init(&scratch);
    int64_t bytes = graph_kept_bytes(pass_recompute(g, &scratch, MOST_HELD_COST));
    arena_release(&scratch);
    return bytes;
}
