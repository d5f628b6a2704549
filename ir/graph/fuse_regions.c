// fuse_regions.c: from the groups that pass_fuse has grown to regions: what each reads, what it
// stores, and their order.
#include "ir/graph/fuse_groups.h"

// The member of a row group of which root v takes a point of an unrolled axis, or has all
// elements in their order: its kernel has them at hand and stores them. {0}: v is no such root.
static ValueId stored_with(Fuse *f, uint32_t v) {
    if (!f->roots[v] || f->homes[v] != HOME_VIEW) return (ValueId){0};
    if (value_is_whole(f->graph, (ValueId){v})) v = f->base[v].i;
    while (f->homes[v] == HOME_VIEW) {
        const Value *view = &f->graph->values.ptr[v];
        if (view->op != OP_TAKE || !f->unrolled[view->attr.along[0].i]) return (ValueId){0};
        v = view->in[0].i;
    }
    if (f->homes[v] != HOME_COMPUTED) return (ValueId){0};
    const Group *group = fuse_group(f, (ValueId){v});
    GraphOp op = f->graph->values.ptr[v].op;
    // A sum over rows may be one of partial sums.
    bool plain = op != OP_REDUCE_SUM && op != OP_REDUCE_MAX;
    return plain && !group->sealed && !group->contract.i ? (ValueId){v} : (ValueId){0};
}

// A stack along an unrolled axis makes nothing: a row kernel that reads it point by point has
// the operands instead, as if the stack were its own.
static bool is_free_stack(const Fuse *f, uint32_t v) {
    const Value *value = &f->graph->values.ptr[v];
    return value->op == OP_STACK && f->homes[v] == HOME_COMPUTED &&
           f->unrolled[value->attr.to[0].i];
}

// Operand k of v, where it is a free stack, through views, whose operands v's kernel can read
// instead. {0}: it is none.
static ValueId stack_read_apart(Fuse *f, uint32_t v, uint32_t k) {
    const Group *group = fuse_group(f, (ValueId){v});
    if (group->sealed || group->contract.i || fuse_edge_refused(f, v, k)) return (ValueId){0};
    ValueId x = fuse_through_views(f, f->graph->values.ptr[v].in[k]);
    return is_free_stack(f, x.i) ? x : (ValueId){0};
}

// Must free stack s, of which v is a view or which it is, be in memory?
static bool stack_is_stored(Fuse *f, uint32_t s, uint32_t v) {
    if (f->roots[v] && !stored_with(f, v).i) return true;
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->homes[user] == HOME_VIEW && stack_is_stored(f, s, user)) return true;
        if (f->homes[user] != HOME_COMPUTED) continue;
        const Value *value = &f->graph->values.ptr[user];
        for (uint32_t k = 0; k < value->arity; k++)
            if (value->in[k].i == v && stack_read_apart(f, user, k).i != s) return true;
    }
    return false;
}

// Does another kernel than `group`'s read v, through whatever views and free stacks?
static bool read_by_others(Fuse *f, uint32_t v, const Group *group) {
    if (f->roots[v] && !is_free_stack(f, v) && !stored_with(f, v).i) return true;
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        bool through = f->homes[user] == HOME_VIEW || is_free_stack(f, user);
        if (through && read_by_others(f, user, group)) return true;
        if (f->homes[user] != HOME_COMPUTED || fuse_group(f, (ValueId){user}) == group)
            continue;
        if (!through || stack_is_stored(f, user, user)) return true;
    }
    return false;
}

static bool has_root(const Fuse *f, uint32_t v) {
    bool root = f->roots[v];
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++)
        root = root || (f->homes[f->users[u]] == HOME_VIEW && has_root(f, f->users[u]));
    return root;
}

// Could operand k of a stack lie in the stack's memory? Each operand must be there just once,
// and be aligned as memory of its own is.
static bool can_lie_in_stack(const Fuse *f, const Value *stack, uint32_t k) {
    ValueId x = stack->in[k];
    int64_t bytes =
        graph_elements(f->graph, x) * (int64_t)dtype_bytes(graph_value(f->graph, x)->type);
    bool alone = f->homes[x.i] == HOME_COMPUTED && !is_free_stack(f, x.i) && !f->roots[x.i] &&
                 !f->laid_in[x.i].i && bytes % REGION_ALIGNMENT == 0;
    for (uint32_t i = 0; i < k; i++)
        alone = alone && stack->in[i].i != x.i;
    return alone;
}

// A stack that must be in memory is made of its operands, side by side, where it can be.
static void lay_stack(Fuse *f, uint32_t s) {
    const Value *stack = &f->graph->values.ptr[s];
    bool can = stack_is_stored(f, s, s) && !has_root(f, s);
    for (uint32_t k = 0; k < stack->arity; k++)
        can = can && can_lie_in_stack(f, stack, k);
    for (uint32_t k = 0; can && k < stack->arity; k++)
        f->laid_in[stack->in[k].i] = (ValueId){s};
}

static bool is_kept(Fuse *f, uint32_t v, const Group *group) {
    if (!is_free_stack(f, v)) return f->laid_in[v].i || read_by_others(f, v, group);
    return stack_is_stored(f, v, v) && f->laid_in[f->graph->values.ptr[v].in[0].i].i != v;
}

static bool is_among(const ValueId *values, uint32_t count, ValueId v) {
    for (uint32_t i = 0; i < count; i++)
        if (values[i].i == v.i) return true;
    return false;
}

typedef Vec(ValueId) ValueList;

static void add_operands(Fuse *f, const Region *r, const Group *group, ValueId v,
                         ValueList *inputs) {
    const Value *value = graph_value(f->graph, v);
    for (uint32_t k = 0; k < value->arity; k++) {
        ValueId x = value->in[k], base = f->base[x.i];
        if (f->homes[x.i] == HOME_INLINE) {
            add_operands(f, r, group, x, inputs);
            continue;
        }
        bool inside =
            group && f->homes[base.i] == HOME_COMPUTED &&
            (fuse_group(f, base) == group || is_among(r->values, r->value_count, base));
        if (!inside && !is_among(inputs->ptr, inputs->len, base))
            vec_push(f->arena, inputs, base);
    }
}

// Of the first operand that is a parameter, or a parameter's form in bf16.
static Str parameter_name(const Fuse *f, const Value *value) {
    for (uint32_t i = 0; i < value->arity; i++) {
        ValueId base = f->base[value->in[i].i];
        if (graph_value(f->graph, base)->op == OP_CAST)
            base = f->base[graph_value(f->graph, base)->in[0].i];
        if (graph_value(f->graph, base)->op == OP_PARAM)
            return graph_leaf_of(f->graph, base)->path;
    }
    return (Str){0};
}

// The dearest member names the region.
static Str region_name(Fuse *f, const Region *r) {
    GraphOp dearest = OP_NONE;
    double flops = -1;
    for (uint32_t i = 0; i < r->value_count; i++) {
        GraphOp op = graph_value(f->graph, r->values[i])->op;
        double weight = op_flops(op) + (op_is_elementwise(op) ? 0 : 20);
        if (weight > flops) {
            flops = weight;
            dearest = op;
        }
    }
    bool is_cast = r->value_count == 1 && dearest == OP_CAST;
    ValueId namer = r->contract.i ? r->contract : r->values[0];
    Str parameter =
        r->contract.i || is_cast ? parameter_name(f, graph_value(f->graph, namer)) : (Str){0};
    uint32_t number = f->region_count;
    if (parameter.len)
        return str_printf(f->arena, "%s.%.*s.%u", op_text(dearest), STR_ARG(parameter), number);
    return str_printf(f->arena, "%s.%u", op_text(dearest), number);
}

static void finish_region(Fuse *f, Region *r, const Group *group) {
    ValueList inputs = {0};
    for (uint32_t i = 0; i < r->value_count; i++)
        add_operands(f, r, group, r->values[i], &inputs);
    r->inputs = inputs.ptr;
    r->input_count = inputs.len;
    r->name = region_name(f, r);
    f->regions[f->region_count++] = *r;
}

// Views of v that are stored with it, after the `count` values in `out` (NULL: only counted).
static uint32_t add_root_views(Fuse *f, uint32_t v, ValueId *out, uint32_t count) {
    for (uint32_t u = f->users_at[v]; u < f->users_at[v + 1]; u++) {
        uint32_t user = f->users[u];
        if (f->homes[user] != HOME_VIEW) continue;
        if (stored_with(f, user).i) {
            if (out) out[count] = (ValueId){user};
            count++;
        }
        count = add_root_views(f, user, out, count);
    }
    return count;
}

static void region_outputs(Fuse *f, Region *r, const Group *group) {
    uint32_t most = r->value_count;
    for (uint32_t i = 0; i < r->value_count; i++)
        most = add_root_views(f, r->values[i].i, NULL, most);
    ValueId *outputs = arena_array(f->arena, ValueId, most);
    for (uint32_t i = 0; i < r->value_count; i++) {
        uint32_t v = r->values[i].i;
        if (fuse_group(f, r->values[i]) != group) continue;
        if (is_kept(f, v, group)) outputs[r->output_count++] = r->values[i];
        r->output_count = add_root_views(f, v, outputs, r->output_count);
    }
    r->outputs = outputs;
}

// Members are the group's values, and the stacks of other groups that they read point by point;
// in graph order.
static void region_members(Fuse *f, Region *r, const Group *group) {
    Vec(ValueId) values = {0};
    for (uint32_t v = group->first; v; v = f->next[v])
        vec_push(f->arena, &values, (ValueId){v});
    for (uint32_t i = 0; i < values.len; i++)
        for (uint32_t k = 0; k < graph_value(f->graph, values.ptr[i])->arity; k++) {
            ValueId stack = stack_read_apart(f, values.ptr[i].i, k);
            if (stack.i && !is_among(values.ptr, values.len, stack))
                vec_push(f->arena, &values, stack);
        }
    for (uint32_t i = group->size; i < values.len; i++)
        for (uint32_t k = i; k > 0 && values.ptr[k - 1].i > values.ptr[k].i; k--) {
            ValueId earlier = values.ptr[k];
            values.ptr[k] = values.ptr[k - 1];
            values.ptr[k - 1] = earlier;
        }
    r->values = values.ptr;
    r->value_count = values.len;
}

static void region_of_group(Fuse *f, Group *group) {
    GraphOp first = f->graph->values.ptr[group->first].op;
    Region r = {.kind = op_is_attend(first)       ? REGION_ATTEND
                        : op_is_linear(first)     ? REGION_LINEAR
                        : first == OP_GROUP_ORDER ? REGION_ORDER
                        : !group->contract.i      ? REGION_ROW
                        : op_is_grouped(graph_value(f->graph, group->contract)->op)
                            ? REGION_GROUPED
                            : REGION_CONTRACT,
                .contract = group->contract};
    region_members(f, &r, group);
    region_outputs(f, &r, group);
    if (r.output_count == 0) return;  // a stack that nobody needs in memory
    r.cols = group->cols.axes;
    r.col_count = group->cols.count;
    AxisId *unrolled = arena_array(f->arena, AxisId, f->axis_count);
    for (uint32_t a = 1; a < f->axis_count; a++)
        if (axis_set_has(group->space, a) && group_unrolls(f, group, (AxisId){a}))
            unrolled[r.unrolled_count++] = (AxisId){a};
    r.unrolled = unrolled;
    finish_region(f, &r, group);
}

// An output or update that is a view, or written out where it is used, gets memory of its own
// by a copy.
static void region_of_root(Fuse *f, ValueId v) {
    const Value *value = graph_value(f->graph, v);
    ValueId *one = arena_new(f->arena, ValueId);
    *one = v;
    Region r = {
        .kind = REGION_ROW, .values = one, .value_count = 1, .outputs = one, .output_count = 1};
    r.cols = value->rank ? &value->axes[value->rank - 1] : NULL;
    r.col_count = value->rank ? 1 : 0;
    finish_region(f, &r, NULL);
}

// Groups in an order in which every group comes after those that feed it: depth first from the
// roots' side.
typedef struct {
    uint32_t group, member, operand;
} Visit;

// The next group that must come before `visit`'s, or NULL when all have been placed.
static Group *next_needed(Fuse *f, Visit *visit, const uint8_t *placed) {
    while (visit->member) {
        const Value *v = &f->graph->values.ptr[visit->member];
        if (visit->operand == v->arity) {
            visit->member = f->next[visit->member];
            visit->operand = 0;
            continue;
        }
        ValueId base = f->base[v->in[visit->operand++].i];
        if (f->homes[base.i] != HOME_COMPUTED) continue;
        Group *needed = fuse_group(f, base);
        if (needed->id != visit->group && !placed[needed->id]) return needed;
    }
    return NULL;
}

static void order_from(Fuse *f, Group *start, uint8_t *placed, Visit *stack) {
    uint32_t depth = 0;
    stack[depth++] = (Visit){start->id, start->first, 0};
    placed[start->id] = 1;
    while (depth > 0) {
        Group *needed = next_needed(f, &stack[depth - 1], placed);
        if (needed) {
            placed[needed->id] = 1;
            stack[depth++] = (Visit){needed->id, needed->first, 0};
        } else {
            region_of_group(f, &f->groups[stack[--depth].group]);
        }
    }
}

// Every group but those that make nothing in memory becomes a region.
void fuse_emit_regions(Fuse *f) {
    uint32_t n = f->graph->values.len;
    uint8_t *placed = arena_array(f->arena, uint8_t, n);
    Visit *stack = arena_array(f->arena, Visit, n);
    for (uint32_t v = 1; v < n; v++)
        if (is_free_stack(f, v)) lay_stack(f, v);
    uint32_t root_count = f->graph->outputs.len + f->graph->updates.len;
    f->regions = arena_array(f->arena, Region, n + root_count);
    for (uint32_t v = 1; v < n; v++) {
        if (f->homes[v] != HOME_COMPUTED) continue;
        Group *group = fuse_group(f, (ValueId){v});
        if (!placed[group->id]) order_from(f, group, placed, stack);
    }
    for (uint32_t v = 1; v < n; v++)
        if (f->roots[v] && (f->homes[v] == HOME_VIEW || f->homes[v] == HOME_INLINE) &&
            !stored_with(f, v).i)
            region_of_root(f, (ValueId){v});
}
