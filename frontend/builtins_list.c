// builtins_list.c: questions about parameters, and lists.
#include "frontend/builtins.h"

// ---- parameters

static const Leaf *call_leaf(BuiltinCall *c) {
    Elaboration *e = c->e;
    if (c->arg[0].v.kind == DATUM_TENSOR) {
        GraphOp op = graph_value(e->graph, c->arg[0].v.tensor)->op;
        if (op == OP_PARAM || op == OP_STATE)
            return graph_leaf_of(e->graph, c->arg[0].v.tensor);
    }
    Str is = elaborate_describe(e, c->arg[0].v);
    elaborate_error(e, c->arg[0].at, "%s must be a parameter or state, this is %.*s",
                    call_arg_text(c, 0), STR_ARG(is));
    return NULL;
}

Datum builtin_inputs(BuiltinCall *c) {
    const Leaf *leaf = call_leaf(c);
    if (leaf == NULL) return POISON;
    if (leaf->input_count == 0) return datum_axes(c->e->arena, NULL, 0);
    return datum_axes(c->e->arena, leaf->axes + leaf->batch_count, leaf->input_count);
}

Datum builtin_outputs(BuiltinCall *c) {
    const Leaf *leaf = call_leaf(c);
    if (leaf == NULL) return POISON;
    uint32_t before = leaf->batch_count + leaf->input_count;
    if (leaf->rank == before) return datum_axes(c->e->arena, NULL, 0);
    return datum_axes(c->e->arena, leaf->axes + before, leaf->rank - before);
}

Datum builtin_is_map(BuiltinCall *c) {
    const Leaf *leaf = call_leaf(c);
    return leaf != NULL ? datum_bool(leaf->input_count > 0) : POISON;
}

Datum builtin_tagged(BuiltinCall *c) {
    const Leaf *leaf = call_leaf(c);
    const AstExpr *tag = c->expr[1];
    if (leaf == NULL) return POISON;
    if (tag->kind != AST_EXPR_NAME) return elaborate_error(c->e, tag->span, "a tag is a word");
    for (uint32_t i = 0; i < leaf->tag_count; i++) {
        if (str_eq(leaf->tags[i], tag->name)) return datum_bool(true);
    }
    return datum_bool(false);
}

// ---- lists

static const DatumList *call_list(BuiltinCall *c) {
    if (c->arg[0].v.kind == DATUM_LIST) return c->arg[0].v.list;
    Str is = elaborate_describe(c->e, c->arg[0].v);
    elaborate_error(c->e, c->arg[0].at, "%s must be a list, this is %.*s", call_arg_text(c, 0),
                    STR_ARG(is));
    return NULL;
}

Datum builtin_len(BuiltinCall *c) {
    const DatumList *list = call_list(c);
    return list != NULL ? datum_number(list->count) : POISON;
}

// The last `count` elements, or all if there are fewer.
Datum builtin_last(BuiltinCall *c) {
    const DatumList *list = call_list(c);
    int64_t count = 0;
    if (list == NULL || !want_integer(c->e, c->arg[1], call_arg_text(c, 1), &count))
        return POISON;
    if (count < 0)
        return elaborate_error(c->e, c->arg[1].at, "%s is below 0", call_arg_text(c, 1));
    if (!elaborate_step(c->e, c->span, list->count)) return POISON;
    uint32_t kept = count < list->count ? (uint32_t)count : list->count;
    return datum_list(c->e->arena, list->items + (list->count - kept), kept);
}

Datum builtin_some(BuiltinCall *c) {
    return datum_list(c->e->arena, &c->arg[0].v, c->arg[0].v.kind == DATUM_NONE ? 0 : 1);
}
