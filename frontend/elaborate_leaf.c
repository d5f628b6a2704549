// elaborate_leaf.c: what comes from outside the computation: axes, parameters, states, inputs;
// and updates.
#include "frontend/elaborate.h"

typedef struct {
    AxisSet axes;
    uint32_t batch_count, input_count;
} LeafAxes;

// ---- axes

// `name = value`: an axis of that extent, or a second role of an axis.
static Datum make_axis(Elaboration *e, AstName name, Operand value) {
    if (value.v.kind == DATUM_AXIS) {
        return datum_axis(axis_role(e, name.text, value.v.axis, name.span));
    }
    double number = 0;
    int64_t extent = 0;
    if (!want_number(e, value, "the extent of an axis", &number)) return POISON;
    if (!extent_check(e, number, value.at, &extent)) return POISON;
    return datum_axis(axis_declare(e, name.text, extent, name.span));
}

void elaborate_dim(Elaboration *e, const AstBinding *b) {
    Operand value = elaborate_operand(e, b->value);
    if (e->scope == e->model_scope) {
        value.v = setting_apply(e, b->name.text, value.v, b->name.span);
    }
    elaborate_declare(e, b->name, make_axis(e, b->name, value));
}

// In an input, a name that nobody has declared is an axis whose extent the data give.
static bool is_runtime_axis(Elaboration *e, const AstAxis *item) {
    return item->name.text.len == 0 && item->value->kind == AST_EXPR_NAME &&
           scope_find(e->scope, item->value->name) == NULL;
}

static Datum item_axes(Elaboration *e, const AstAxis *item, bool input) {
    if (item->name.text.len > 0) {
        Datum axis = make_axis(e, item->name, elaborate_operand(e, item->value));
        elaborate_declare(e, item->name, axis);
        return axis;
    }
    if (!input || !is_runtime_axis(e, item)) return elaborate_expr(e, item->value);
    Datum axis = datum_axis(axis_declare_runtime(e, item->value->name, item->span));
    scope_bind(e->arena, e->model_scope, item->value->name, axis, item->span);
    return axis;
}

static bool leaf_axes(Elaboration *e, const AstAxes *written, bool input, LeafAxes *out) {
    *out = (LeafAxes){0};
    bool good = true;
    Datum *items = arena_array(e->arena, Datum, written->count);
    for (uint32_t i = 0; i < written->count; i++) {
        items[i] = item_axes(e, &written->items[i], input);
        AxisSet set = {0};
        Operand item = {items[i], written->items[i].span};
        good = want_axes(e, item, "what is between brackets", &set) && good;
        if (i < written->batch_count) {
            out->batch_count += set.count;
        } else if (written->is_map && i < written->batch_count + written->input_count) {
            out->input_count += set.count;
        }
    }
    Operand all = {datum_list(e->arena, items, written->count), written->span};
    return good && want_axes(e, all, "what is between brackets", &out->axes);
}

// ---- initial values

static bool unit_fits(Elaboration *e, const LeafAxes *axes, Init init, Span span) {
    if (axes->axes.count == 0) {
        elaborate_error(e, span, "unit needs an axis");
        return false;
    }
    AxisId last = axes->axes.items[axes->axes.count - 1];
    if (init.a >= 0 && init.a < (double)graph_extent(e->graph, last)) return true;
    Str is = elaborate_describe(e, datum_axis(last));
    elaborate_error(e, span, "position %.0f is outside %.*s", init.a, STR_ARG(is));
    axis_note(e, last);
    return false;
}

static bool init_fits(Elaboration *e, const LeafAxes *axes, Init init, Span span) {
    bool needs_map = init.kind == INIT_FAN_IN || init.kind == INIT_ORTHOGONAL;
    if (needs_map && axes->input_count == 0) {
        elaborate_error(e, span, "%s is for a map: param w[inputs -> outputs]",
                        init.kind == INIT_FAN_IN ? "fan_in" : "orthogonal");
        return false;
    }
    if (init.kind == INIT_IDENTITY && axes->axes.count < 2) {
        elaborate_error(e, span, "identity needs two axes");
        return false;
    }
    return init.kind != INIT_UNIT || unit_fits(e, axes, init, span);
}

static bool leaf_init(Elaboration *e, const AstTensor *t, const LeafAxes *axes, Init *out) {
    Operand x = elaborate_operand(e, t->init);
    if (datum_is_poison(x.v)) return false;
    if (x.v.kind == DATUM_BUILTIN &&
        str_eq(t->init->kind == AST_EXPR_NAME ? t->init->name : STR(""), STR("orthogonal"))) {
        x.v = datum_init((Init){.kind = INIT_ORTHOGONAL, .a = 1});
    }
    if (x.v.kind == DATUM_INIT) {
        *out = x.v.init;
        return init_fits(e, axes, *out, x.at);
    }
    double number = 0;
    if (!want_number(e, x, "an initial value", &number)) return false;
    *out = (Init){.kind = INIT_CONSTANT, .a = number};
    return true;
}

// ---- leaves

static bool path_is_free(Elaboration *e, Str path, Span span) {
    uint64_t index = 0;
    if (!map_get(&e->graph->leaf_paths, path, &index)) return true;
    Span first = e->graph->leaves.ptr[index].span;
    elaborate_error(e, span, "there is a '%.*s' already", STR_ARG(path));
    diag_note(e->diag, first, "the first is declared here; name calls and loops with 'as'");
    return false;
}

static bool elements_fit(Elaboration *e, const LeafAxes *axes, Span span) {
    double elements = 1;
    for (uint32_t i = 0; i < axes->axes.count; i++) {
        int64_t extent = graph_axis_at(e->graph, axes->axes.items[i])->extent;
        if (extent != EXTENT_UNKNOWN) elements *= (double)extent;
    }
    if (elements <= ELABORATE_MAX_ELEMENTS) return true;
    elaborate_error(e, span, "the tensor is too large: %.3g elements", elements);
    return false;
}

// Poison still declares the name, so that its uses are not reported as well.
static void add_leaf(Elaboration *e, const AstTensor *t, const LeafAxes *axes, Leaf leaf) {
    Datum value = POISON;
    if (path_is_free(e, leaf.path, t->name.span) && elements_fit(e, axes, t->span)) {
        leaf.axes = axes->axes.items;
        leaf.rank = (uint8_t)axes->axes.count;
        leaf.batch_count = (uint8_t)axes->batch_count;
        leaf.input_count = (uint8_t)axes->input_count;
        leaf.span = t->span;
        value = datum_tensor(graph_leaf(e->graph, &leaf));
    }
    elaborate_declare(e, t->name, value);
}

static bool runtime_extents_absent(Elaboration *e, const AstTensor *t, const LeafAxes *axes) {
    for (uint32_t i = 0; i < axes->axes.count; i++) {
        AxisId a = axes->axes.items[i];
        if (!graph_axis_at(e->graph, a)->runtime) continue;
        elaborate_error(e, t->axes.span,
                        "'%.*s' cannot have axis %.*s, whose extent comes with the inputs",
                        STR_ARG(t->name.text), STR_ARG(graph_axis_at(e->graph, a)->name));
        axis_note(e, a);
        return false;
    }
    return true;
}

void elaborate_param(Elaboration *e, const AstTensor *t) {
    LeafAxes axes = {0};
    Init init = {.kind = INIT_FAN_IN};
    bool good = leaf_axes(e, &t->axes, false, &axes) && runtime_extents_absent(e, t, &axes);
    if (good && e->frame->is_optimizer) {
        elaborate_error(e, t->span, "an optimizer declares states, not parameters");
        good = false;
    }
    if (good && t->init != NULL) good = leaf_init(e, t, &axes, &init);
    if (good && t->init == NULL && axes.input_count == 0) {
        elaborate_error(e, t->span, "param '%.*s' is no map and needs an initial value",
                        STR_ARG(t->name.text));
        good = false;
    }
    if (!good) {
        elaborate_declare(e, t->name, POISON);
        return;
    }
    Str *tags = arena_array(e->arena, Str, t->tag_count);
    for (uint32_t i = 0; i < t->tag_count; i++)
        tags[i] = t->tags[i].text;
    Leaf leaf = {.kind = OP_PARAM, .type = DTYPE_F32, .init = init, .trained = true};
    leaf.path = path_join(e->arena, e->path->prefix, t->name.text);
    leaf.tags = tags;
    leaf.tag_count = t->tag_count;
    add_leaf(e, t, &axes, leaf);
}

void elaborate_state(Elaboration *e, const AstTensor *t) {
    LeafAxes axes = {0};
    Init init = {.kind = INIT_CONSTANT};
    bool good = leaf_axes(e, &t->axes, false, &axes) && runtime_extents_absent(e, t, &axes);
    if (good && t->init != NULL) good = leaf_init(e, t, &axes, &init);
    if (!good) {
        elaborate_declare(e, t->name, POISON);
        return;
    }
    Leaf leaf = {.kind = OP_STATE, .type = DTYPE_F32, .init = init};
    leaf.path = path_join(e->arena, e->path->prefix, t->name.text);
    add_leaf(e, t, &axes, leaf);
}

// f32, i32, or index(axis), also spelt token(axis): integers below the axis's extent.
static bool input_type(Elaboration *e, const AstExpr *type, Leaf *leaf) {
    bool named = type != NULL && type->kind == AST_EXPR_NAME;
    if (named && str_eq(type->name, STR("f32"))) return true;
    if (named && str_eq(type->name, STR("i32"))) {
        leaf->type = DTYPE_I32;
        return true;
    }
    bool call = type != NULL && type->kind == AST_EXPR_CALL && type->call.count == 1 &&
                type->call.callee->kind == AST_EXPR_NAME;
    if (call && (str_eq(type->call.callee->name, STR("index")) ||
                 str_eq(type->call.callee->name, STR("token")))) {
        leaf->type = DTYPE_I32;
        Operand axis = elaborate_operand(e, type->call.args[0].value);
        return want_axis(e, axis, "the argument of index", &leaf->index_of);
    }
    elaborate_error(e, type != NULL ? type->span : leaf->span,
                    "the type of an input is f32, i32 or index(axis)");
    return false;
}

void elaborate_input(Elaboration *e, const AstTensor *t) {
    LeafAxes axes = {0};
    Leaf leaf = {.kind = OP_INPUT, .type = DTYPE_F32, .path = t->name.text, .span = t->span};
    bool good = leaf_axes(e, &t->axes, true, &axes);
    good = input_type(e, t->type, &leaf) && good;
    if (!good) {
        elaborate_declare(e, t->name, POISON);
        return;
    }
    add_leaf(e, t, &axes, leaf);
}

// ---- update

// The leaf that a name stands for, if it may be updated.
static bool updated_leaf(Elaboration *e, const AstBinding *b, uint32_t *leaf) {
    Binding *target = scope_find(e->scope, b->name.text);
    if (target == NULL) {
        elaborate_error(e, b->name.span, "'%.*s' is not in scope", STR_ARG(b->name.text));
        return false;
    }
    if (datum_is_poison(target->value)) return false;
    GraphOp op = OP_NONE;
    if (target->value.kind == DATUM_TENSOR) {
        op = graph_value(e->graph, target->value.tensor)->op;
    }
    if (op == OP_STATE || (op == OP_PARAM && e->frame->is_optimizer)) {
        *leaf = graph_value(e->graph, target->value.tensor)->attr.leaf;
        return true;
    }
    Span first = target->span;
    elaborate_error(e, b->name.span, "'%.*s' is not a state, so it cannot be updated",
                    STR_ARG(b->name.text));
    diag_note(e->diag, first,
              op == OP_PARAM ? "a parameter is updated by the optimizer alone"
                             : "it is declared here");
    return false;
}

static bool update_is_first(Elaboration *e, uint32_t leaf, Span span) {
    vec_each (UpdatedLeaf, u, &e->updated) {
        if (u->leaf != leaf) continue;
        Str path = e->graph->leaves.ptr[leaf].path;
        elaborate_error(e, span, "'%.*s' is updated twice", STR_ARG(path));
        diag_note(e->diag, u->span, "the first update is here");
        return false;
    }
    vec_push(e->arena, &e->updated, (UpdatedLeaf){leaf, span});
    return true;
}

void elaborate_update(Elaboration *e, const AstBinding *b, Span span) {
    Operand x = elaborate_operand(e, b->value);
    uint32_t index = 0;
    ValueId v = {0};
    if (!updated_leaf(e, b, &index) || !want_tensor(e, x, "the new value", &v)) return;
    if (!update_is_first(e, index, span)) return;
    Leaf leaf = e->graph->leaves.ptr[index];
    const Value *value = graph_value(e->graph, v);
    AxisSet all = {.count = leaf.rank};
    for (uint32_t i = 0; i < leaf.rank; i++)
        all.items[i] = leaf.axes[i];
    for (uint32_t i = 0; i < value->rank; i++) {
        if (graph_has_axis(graph_value(e->graph, e->graph->leaf_values.ptr[index]),
                           value->axes[i])) {
            continue;
        }
        Str is = elaborate_describe(e, datum_tensor(v));
        Str want = elaborate_describe(e, datum_tensor(e->graph->leaf_values.ptr[index]));
        elaborate_error(e, x.at, "the new value of '%.*s' has axes that it lacks",
                        STR_ARG(b->name.text));
        diag_note(e->diag, x.at, "the new value is %.*s", STR_ARG(is));
        diag_note(e->diag, leaf.span, "'%.*s' is %.*s", STR_ARG(b->name.text), STR_ARG(want));
        return;
    }
    Datum cast = emit_cast(e, datum_tensor(v), leaf.type, span);
    Datum wide = emit_broadcast(e, cast, &all, span);
    Datum ordered = emit_order(e, wide, leaf.axes, leaf.rank, span);
    if (ordered.kind == DATUM_TENSOR) graph_update(e->graph, index, ordered.tensor);
}
