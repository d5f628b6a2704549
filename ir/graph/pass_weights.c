// pass_weights.c: parameters that a graph reads in bf16 alone are kept in bf16. A plan that
// trains nothing needs no f32 master of them, and no kernel that makes their bf16 form anew in
// every run.
#include "ir/graph/passes.h"

static bool is_low_form(const Value *v) { return v->op == OP_CAST && v->type == DTYPE_BF16; }

// Operands come before their users. What nobody needs reads nothing.
static const bool *needed_values(const Graph *g, Arena *arena) {
    bool *needed = arena_array(arena, bool, g->values.len);
    vec_each (const GraphOutput, o, &g->outputs)
        needed[o->value.i] = true;
    vec_each (const GraphUpdate, u, &g->updates)
        needed[u->value.i] = true;
    for (uint32_t i = (uint32_t)g->values.len; i-- > 1;) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; needed[i] && k < v->arity; k++)
            needed[v->in[k].i] = true;
    }
    return needed;
}

void weights_find(const Graph *g, WeightUse *use) {
    Arena scratch;
    arena_init(&scratch);
    const bool *needed = needed_values(g, &scratch);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; needed[i] && k < v->arity; k++) {
            const Value *x = graph_value(g, v->in[k]);
            if (x->op != OP_PARAM || x->type != DTYPE_F32) continue;
            use[x->attr.leaf].low = use[x->attr.leaf].low || is_low_form(v);
            use[x->attr.leaf].high = use[x->attr.leaf].high || !is_low_form(v);
        }
    }
    vec_each (const GraphOutput, o, &g->outputs) {
        const Value *v = graph_value(g, o->value);
        if (v->op == OP_PARAM) use[v->attr.leaf].high = true;
    }
    vec_each (const GraphUpdate, u, &g->updates)
        use[u->leaf].high = true;
    arena_release(&scratch);
}

Graph *pass_weights(const Graph *g, Arena *arena, const WeightUse *use) {
    Graph *to = graph_copy_header(g, arena);
    Arena scratch;
    arena_init(&scratch);
    ValueId *map = arena_array(&scratch, ValueId, g->values.len);
    const bool *needed = needed_values(g, &scratch);
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        if (g->leaves.ptr[i].kind != OP_PARAM || !use[i].low || use[i].high) continue;
        to->leaves.ptr[i].type = DTYPE_BF16;
        to->values.ptr[to->leaf_values.ptr[i].i].type = DTYPE_BF16;
    }
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        bool leaf = v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT;
        if (!needed[i] && !leaf) continue;
        ValueId *in = arena_array(&scratch, ValueId, v->arity);
        for (uint32_t k = 0; k < v->arity; k++)
            in[k] = map[v->in[k].i];
        bool is_weight = is_low_form(v) && graph_value(to, in[0])->op == OP_PARAM &&
                         graph_value(to, in[0])->type == DTYPE_BF16;
        map[i] = leaf        ? to->leaf_values.ptr[v->attr.leaf]
                 : is_weight ? in[0]
                             : graph_again(to, v, in);
    }
    vec_each (const GraphOutput, o, &g->outputs)
        graph_output(to, o->name, map[o->value.i]);
    vec_each (const GraphUpdate, u, &g->updates)
        graph_update(to, u->leaf, map[u->value.i]);
    arena_release(&scratch);
    return to;
}
