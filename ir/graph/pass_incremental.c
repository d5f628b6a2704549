// pass_incremental.c: a graph over all positions of a sequence becomes one over a chunk of
// them, given what the positions before it have left in states.
//
// Most operations work position by position: they are copied, and the axis of positions has
// the chunk's extent. Operations that look back get a state (incremental_state.c). What depends
// on positions alone is computed for all of them when compiling, and looked up. Anything else
// along the axis is refused: a later token could change it.
//
// Each row of a batch is at a position of its own. A value that depends on positions so gets
// the axis of rows, in front of its own axes.
#include "base/check.h"
#include "ir/graph/attend.h"
#include "ir/graph/incremental.h"

bool incremental_is_time(const Incremental *p, AxisId a) {
    return a.i == p->time.i ||
           (a.i < p->g->axes.len && a.i > 0 && graph_axis_at(p->g, a)->same_as.i == p->time.i);
}

static uint32_t count_times(const Incremental *p, const AxisId *axes, uint32_t count) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += incremental_is_time(p, axes[i]);
    return n;
}

// ---- which operations

static bool refused(const Incremental *p, const Value *v, const char *reason) {
    return diag_error(p->diag, v->span, "'%s' cannot be computed token by token: %s",
                      op_text(v->op), reason);
}

static bool shifts_back(const Value *v) {
    return v->op == OP_WINDOW || (v->op == OP_SHIFT && v->attr.amount >= 0);
}

static const char *attend_refused(const Incremental *p, const Value *v) {
    const AxisId *along = v->attr.along;
    if (v->op != OP_ATTEND && v->op != OP_ATTEND_LSE) return "it is part of a gradient";
    bool queries = incremental_is_time(p, along[1]), keys = incremental_is_time(p, along[2]);
    if (!keys && !queries) return NULL;
    if (!keys)
        return v->attr.band.lo == BAND_LEAST && v->attr.band.hi == BAND_MOST
                   ? NULL
                   : "its mask compares positions with another axis";
    if (!queries) return "it attends to all positions at once";
    if (v->op == OP_ATTEND_LSE) return "the sums of an attention over positions are wanted";
    return v->attr.band.lo >= 0 ? NULL : "it attends to later positions (causal = false)";
}

static const char *linear_refused(const Incremental *p, const Value *v) {
    if (v->op != OP_LINEAR && v->op != OP_LINEAR_STATE) return "it is part of a gradient";
    if (!incremental_is_time(p, v->attr.along[1])) return NULL;
    return v->op == OP_LINEAR ? NULL : "it takes all positions together";
}

// Why v, which has or reads an axis of positions, cannot be made of a chunk; NULL: it can.
static const char *time_refused(const Incremental *p, const Value *v) {
    const GraphAttr *attr = &v->attr;
    uint32_t along = count_times(p, attr->along, attr->along_count),
             to = count_times(p, attr->to, attr->to_count);
    if (op_is_attend(v->op)) return attend_refused(p, v);
    if (op_is_linear(v->op)) return linear_refused(p, v);
    if (count_times(p, v->axes, v->rank) > 1) return "it pairs positions with positions";
    switch ((int)v->op) {
    case OP_BROADCAST:
    case OP_TRANSPOSE: return NULL;
    case OP_RENAME: return along == to ? NULL : "it gives positions another meaning";
    case OP_SHIFT: return !along || shifts_back(v) ? NULL : "it reads later positions";
    case OP_WINDOW: return to ? "it makes positions of taps" : NULL;
    case OP_UNWINDOW: return along ? "it reads later positions" : NULL;
    case OP_GATHER: return along ? "it may read any position" : NULL;
    case OP_SCATTER:
        return to == count_times(p, graph_value(p->g, v->in[0])->axes,
                                 graph_value(p->g, v->in[0])->rank)
                   ? NULL
                   : "it adds over positions";
    case OP_REDUCE_SUM:
    case OP_REDUCE_MAX:
    case OP_LOGSUMEXP:
    case OP_SOFTMAX:
    case OP_CONTRACT: return along ? "it takes all positions together" : NULL;
    default: return along || to ? "it moves positions" : NULL;
    }
}

static const char *rows_refused(const Incremental *p, const Value *v) {
    bool moves = axis_in(v->attr.along, v->attr.along_count, p->rows);
    return moves && p->rows.i
               ? "it mixes the rows of a batch, which are at positions of their own"
               : NULL;
}

static bool check_all(Incremental *p) {
    bool good = true;
    for (uint32_t i = 1; i < p->g->values.len; i++) {
        const Value *v = graph_value(p->g, (ValueId){i});
        if (!p->needed[i]) continue;
        const char *why =
            p->pure[i] && count_times(p, v->axes, v->rank) < 2 ? NULL : time_refused(p, v);
        if (!why) why = rows_refused(p, v);
        if (why) good = refused(p, v, why);
    }
    return good;
}

// ---- values of the new graph

static bool has(const Graph *g, ValueId x, AxisId axis) {
    return axis.i && graph_has_axis(graph_value(g, x), axis);
}

ValueId incremental_renamed(Incremental *p, ValueId x, AxisId from, AxisId to, Span span) {
    if (from.i == to.i) return x;
    GraphAttr attr = {.along = &from, .to = &to, .along_count = 1, .to_count = 1};
    return graph_add(p->to, OP_RENAME, (Operands){&x, 1}, attr, span);
}

ValueId incremental_shaped(Incremental *p, ValueId x, const AxisId *axes, uint32_t rank,
                           Span span) {
    const Value *v = graph_value(p->to, x);
    bool same = v->rank == rank;
    for (uint32_t i = 0; same && i < rank; i++)
        same = v->axes[i].i == axes[i].i;
    if (same) return x;
    GraphAttr attr = {.to = axes, .to_count = (uint8_t)rank};
    return graph_add(p->to, v->rank == rank ? OP_TRANSPOSE : OP_BROADCAST, (Operands){&x, 1},
                     attr, span);
}

// `axes`, behind rows if x has got that axis. Returns the rank.
static uint32_t axes_with_rows(const Incremental *p, bool rows, const AxisId *axes,
                               uint32_t rank, AxisId out[GRAPH_MAX_RANK + 1]) {
    uint32_t n = 0;
    if (rows && !axis_in(axes, rank, p->rows)) out[n++] = p->rows;
    for (uint32_t i = 0; i < rank; i++)
        out[n++] = axes[i];
    return n;
}

static ValueId settled(Incremental *p, ValueId x, const Value *old, bool rows) {
    AxisId axes[GRAPH_MAX_RANK + 1];
    uint32_t rank = axes_with_rows(p, rows, old->axes, old->rank, axes);
    return incremental_shaped(p, x, axes, rank, old->span);
}

// The rows of `table` at the chunk's positions.
static ValueId looked_up(Incremental *p, ValueId v) {
    const Value *old = graph_value(p->g, v);
    AxisId role = {0};
    for (uint32_t i = 0; i < old->rank; i++)
        if (incremental_is_time(p, old->axes[i])) role = old->axes[i];
    if (!role.i) return p->table[v.i];
    ValueId index = incremental_renamed(p, p->index, p->time, role, old->span);
    if (old->op == OP_IOTA) return index;
    ValueId in[2] = {p->table[v.i], index};
    GraphAttr attr = {.along = &p->context, .along_count = 1};
    return settled(p, graph_add(p->to, OP_GATHER, (Operands){in, 2}, attr, old->span), old,
                   true);
}

ValueId incremental_use(Incremental *p, ValueId v) {
    if (!p->map[v.i].i) p->map[v.i] = looked_up(p, v);
    return p->map[v.i];
}

// The same list with the axis of all positions for any role of the time.
static const AxisId *over_context(Incremental *p, const AxisId *axes, uint32_t count) {
    AxisId *out = arena_array(&p->scratch, AxisId, count);
    for (uint32_t i = 0; i < count; i++)
        out[i] = incremental_is_time(p, axes[i]) ? p->context : axes[i];
    return out;
}

static ValueId copied_to_table(Incremental *p, const Value *v) {
    ValueId *in = arena_array(&p->scratch, ValueId, v->arity);
    GraphAttr attr = v->attr;
    attr.along = over_context(p, v->attr.along, v->attr.along_count);
    attr.to = over_context(p, v->attr.to, v->attr.to_count);
    for (uint32_t k = 0; k < v->arity; k++)
        in[k] = p->table[v->in[k].i];
    if (v->op == OP_RENAME && attr.along[0].i == attr.to[0].i) return in[0];
    return graph_add(p->to, v->op, (Operands){in, v->arity}, attr, v->span);
}

// Operations that need an operand with all axes of the others, or all axes alike.
static bool aligns(GraphOp op) {
    return op_is_elementwise(op) || op == OP_CONCAT || op == OP_STACK || op_is_attend(op) ||
           op_is_linear(op);
}

static ValueId copied(Incremental *p, const Value *v) {
    ValueId *in = arena_array(&p->scratch, ValueId, v->arity);
    bool rows = false;
    for (uint32_t k = 0; k < v->arity; k++) {
        in[k] = incremental_use(p, v->in[k]);
        rows = rows || has(p->to, in[k], p->rows);
    }
    uint32_t most = 0;
    for (uint32_t k = 1; k < v->arity; k++)
        if (graph_value(p->g, v->in[k])->rank > graph_value(p->g, v->in[most])->rank) most = k;
    for (uint32_t k = 0; rows && aligns(v->op) && k < v->arity; k++)
        if (k == most || !op_is_elementwise(v->op))
            in[k] = settled(p, in[k], graph_value(p->g, v->in[k]), true);
    GraphAttr attr = v->attr;
    AxisId to[GRAPH_MAX_RANK + 1];
    if (v->op == OP_BROADCAST || v->op == OP_TRANSPOSE) {
        attr.to_count = (uint8_t)axes_with_rows(p, rows, v->attr.to, v->attr.to_count, to);
        attr.to = to;
    }
    return settled(p, graph_add(p->to, v->op, (Operands){in, v->arity}, attr, v->span), v,
                   rows);
}

static ValueId made(Incremental *p, const Value *v) {
    bool along = count_times(p, v->attr.along, v->attr.along_count) > 0;
    ValueId x;
    if (v->op == OP_ATTEND && incremental_is_time(p, v->attr.along[2]))
        x = incremental_attend(p, v);
    else if (v->op == OP_LINEAR && along)
        x = incremental_linear(p, v);
    else if (along && shifts_back(v))
        x = incremental_window(p, v);
    else
        return copied(p, v);
    return settled(p, x, v, true);
}

// ---- the whole

static void find_needed(Incremental *p) {
    const Graph *g = p->g;
    vec_each (const GraphOutput, o, &g->outputs)
        p->needed[o->value.i] = true;
    for (uint32_t i = g->values.len - 1; i > 0; i--) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; p->needed[i] && k < v->arity; k++)
            p->needed[v->in[k].i] = true;
    }
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        p->pure[i] = v->op != OP_PARAM && v->op != OP_STATE && v->op != OP_INPUT;
        for (uint32_t k = 0; k < v->arity; k++)
            p->pure[i] = p->pure[i] && p->pure[v->in[k].i];
    }
}

static bool find_axes(Incremental *p) {
    vec_each (const Leaf, leaf, &p->g->leaves) {
        if (leaf->kind != OP_INPUT || leaf->rank != 2 || leaf->type != DTYPE_I32) continue;
        if (!str_eq(leaf->path, p->request->tokens)) continue;
        p->rows = leaf->axes[0];
        p->time = leaf->axes[1];
        return true;
    }
    return diag_fail(p->diag, FAIL_INPUT,
                     "model '%.*s' cannot be computed token by token: it has no input %.*s of "
                     "integers over rows and positions",
                     STR_ARG(p->g->name), STR_ARG(p->request->tokens));
}

static ValueId add(Incremental *p, GraphOp op, ValueId x, ValueId y) {
    return graph_binary(p->to, op, x, y, (Span){0});
}

static ValueId spread(Incremental *p, ValueId x) {
    return incremental_shaped(p, x, (AxisId[]){p->rows, p->time}, 2, (Span){0});
}

static void add_positions(Incremental *p) {
    Graph *to = p->to;
    Leaf leaf = {.kind = OP_INPUT, .type = DTYPE_I32, .rank = 1, .axes = &p->rows};
    leaf.path = p->request->position;
    leaf.index_of = p->context;
    p->position = graph_leaf(to, &leaf);
    leaf.path = p->request->count;
    leaf.index_of = (AxisId){0};
    p->count = graph_leaf(to, &leaf);
    GraphAttr along = {.along = &p->time, .along_count = 1};
    ValueId i = spread(p, graph_add(to, OP_IOTA, (Operands){0}, along, (Span){0}));
    p->index = add(p, OP_ADD, i, p->position);
    ValueId none = spread(p, graph_const_i32(to, -1, (Span){0})),
            is_token = add(p, OP_LT, i, spread(p, p->count));
    p->slot = graph_add(to, OP_WHERE, (Operands){(ValueId[]){is_token, p->index, none}, 3},
                        (GraphAttr){0}, (Span){0});
}

// Inputs over positions are given chunk by chunk, under a name of their own.
static void add_leaf(Incremental *p, ValueId v) {
    Leaf leaf = *graph_leaf_of(p->g, v);
    bool own = leaf.kind == OP_INPUT && count_times(p, leaf.axes, leaf.rank) > 0;
    if (own)
        leaf.path = str_printf(&p->scratch, "%.*s%.*s", STR_ARG(p->request->prefix),
                               STR_ARG(leaf.path));
    p->map[v.i] = graph_leaf(p->to, &leaf);
}

static void rebuild(Incremental *p) {
    const Graph *g = p->g;
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        if (v->op == OP_PARAM || (p->needed[i] && (v->op == OP_STATE || v->op == OP_INPUT)))
            add_leaf(p, (ValueId){i});
        else if (p->needed[i] && p->pure[i])
            p->table[i] = copied_to_table(p, v);
        else if (p->needed[i])
            p->map[i] = made(p, v);
    }
    vec_each (const GraphOutput, o, &g->outputs)
        graph_output(
            p->to,
            str_printf(p->to->arena, "%.*s%.*s", STR_ARG(p->request->prefix), STR_ARG(o->name)),
            incremental_use(p, o->value));
}

static Graph *new_graph(Incremental *p, Arena *arena) {
    Graph *to = graph_new(arena, p->g->name);
    for (uint32_t i = 1; i < p->g->axes.len; i++) {
        const Axis *axis = &p->g->axes.ptr[i];
        AxisId a = graph_axis(to, axis->name, axis->extent, axis->runtime);
        to->axes.ptr[a.i].same_as = axis->same_as;
    }
    p->context = graph_axis(to, STR("context"), graph_extent(p->g, p->time), false);
    int64_t all = graph_extent(p->g, p->time);
    p->chunk = p->request->chunk < all ? p->request->chunk : all;
    graph_bind(to, p->time, p->chunk);
    bool fewer = p->request->live > 0 && p->request->live < all;
    p->live = fewer ? graph_axis(to, STR("live"), p->request->live, false) : p->context;
    return to;
}

Graph *pass_incremental(Diag *diag, Arena *arena, const Graph *g,
                        const IncrementalRequest *request) {
    Incremental p = {.diag = diag, .g = g, .request = request};
    ASSERT(g->updates.len == 0);
    arena_init(&p.scratch);
    uint32_t n = g->values.len;
    p.needed = arena_array(&p.scratch, bool, n);
    p.pure = arena_array(&p.scratch, bool, n);
    p.table = arena_array(&p.scratch, ValueId, n);
    p.map = arena_array(&p.scratch, ValueId, n);
    p.kept = arena_array(&p.scratch, ValueId, n);
    find_needed(&p);
    if (find_axes(&p) && check_all(&p)) {
        p.to = new_graph(&p, arena);
        add_positions(&p);
        rebuild(&p);
    }
    arena_release(&p.scratch);
    return p.to;
}
