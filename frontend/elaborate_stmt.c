// elaborate_stmt.c: statements and blocks.
#include "frontend/elaborate.h"

void elaborate_declare(Elaboration *e, AstName name, Datum value) {
    if (str_eq(name.text, STR("_"))) return;
    Binding *b = scope_find_here(e->scope, name.text);
    if (b == NULL) {
        scope_bind(e->arena, e->scope, name.text, value, name.span);
        return;
    }
    Span first = b->span;
    elaborate_error(e, name.span, "'%.*s' is declared twice", STR_ARG(name.text));
    diag_note(e->diag, first, "the first declaration is here; '%.*s = ...' assigns",
              STR_ARG(name.text));
}

static void elaborate_let(Elaboration *e, const AstBinding *b) {
    Datum value = elaborate_named_expr(e, b->value, b->name.text);
    if (e->scope == e->model_scope) {
        value = setting_apply(e, b->name.text, value, b->name.span);
    }
    elaborate_declare(e, b->name, value);
}

static void elaborate_assign(Elaboration *e, const AstBinding *b) {
    Datum value = elaborate_named_expr(e, b->value, b->name.text);
    Binding *target = scope_find(e->scope, b->name.text);
    if (target == NULL) {
        elaborate_error(e, b->name.span, "'%.*s' is not declared", STR_ARG(b->name.text));
        diag_note(e->diag, b->name.span, "'let %.*s = ...' declares it", STR_ARG(b->name.text));
        return;
    }
    Scope *scope = e->scope;
    while (scope_find_here(scope, b->name.text) == NULL)
        scope = scope->parent;
    if (scope->frame == e->frame) {
        target->value = value;
        return;
    }
    Span first = target->span;
    elaborate_error(e, b->name.span, "'%.*s' belongs to the code around this function",
                    STR_ARG(b->name.text));
    diag_note(e->diag, first, "it is declared here; a function changes only its own names");
}

// ---- for

static bool iteration_path(Elaboration *e, Str name, uint32_t i, Datum item, PathScope *out) {
    double label = datum_is_integer(item) ? item.number : i;
    Str step = str_printf(e->arena, "%.*s.%.0f", STR_ARG(name), label);
    *out = (PathScope){.prefix = path_join(e->arena, e->path->prefix, step)};
    return true;
}

static void elaborate_iteration(Elaboration *e, const AstStmt *s, Datum item) {
    Scope *around = e->scope;
    e->scope = scope_new(e->arena, around, e->frame);
    elaborate_declare(e, s->loop.var, item);
    elaborate_statements(e, &s->loop.body);
    e->scope = around;
}

static void elaborate_for(Elaboration *e, const AstStmt *s) {
    Operand list = elaborate_operand(e, s->loop.list);
    Str name = {0};
    bool named = s->loop.scope.text.text.len > 0 || s->loop.scope.expr != NULL;
    if (named && !elaborate_scope_name(e, &s->loop.scope, &name)) return;
    if (datum_is_poison(list.v)) return;
    if (list.v.kind != DATUM_LIST) {
        Str is = elaborate_describe(e, list.v);
        elaborate_error(e, list.at, "'for' goes over a range or a list, this is %.*s",
                        STR_ARG(is));
        return;
    }
    PathScope *around = e->path, inner = {0};
    for (uint32_t i = 0; i < list.v.list->count; i++) {
        if (e->frame->returned || !elaborate_step(e, s->span, 1)) break;
        Datum item = list.v.list->items[i];
        if (named && iteration_path(e, name, i, item, &inner)) e->path = &inner;
        elaborate_iteration(e, s, item);
        e->path = around;
    }
}

static void elaborate_if(Elaboration *e, const AstStmt *s) {
    for (uint32_t i = 0; i < s->branch.count; i++) {
        bool chosen = false;
        Operand cond = elaborate_operand(e, s->branch.arms[i].cond);
        if (!want_bool(e, cond, "the condition", &chosen)) return;
        if (!chosen) continue;
        elaborate_block(e, &s->branch.arms[i].body);
        return;
    }
    if (s->branch.has_otherwise) elaborate_block(e, &s->branch.otherwise);
}

// ---- output, loss, report, return

static bool in_model(Elaboration *e, const AstStmt *s) {
    if (e->frame->is_model) return true;
    elaborate_error(e, s->span, "'%s' belongs in the body of the model, not in a function",
                    ast_stmt_text(s->kind));
    return false;
}

static void add_output(Elaboration *e, Str name, Operand x, const char *what) {
    ValueId v = {0};
    if (!want_tensor(e, x, what, &v)) return;
    if (graph_output_find(e->graph, name).i != 0) {
        elaborate_error(e, x.at, "there is an output '%.*s' already", STR_ARG(name));
        return;
    }
    graph_output(e->graph, name, v);
}

static void elaborate_report(Elaboration *e, const AstOutput *o) {
    Operand x = elaborate_operand(e, o->value);
    // A report of an expression has no name of its own.
    Str name = o->name.text;
    if (name.len == 0) name = path_unique(e->arena, e->path, STR("value"));
    Str path = path_join(e->arena, e->path->prefix, name);
    add_output(e, path_join(e->arena, STR("report"), path), x, "a report");
}

// Of a function: a term that training minimises as well, and that no evaluation counts.
static void elaborate_loss(Elaboration *e, const AstStmt *s) {
    Operand x = elaborate_operand(e, s->value);
    ValueId v = {0};
    if (e->optimizes && !in_model(e, s)) return;
    if (!want_tensor(e, x, "the loss", &v)) return;
    const Value *value = graph_value(e->graph, v);
    if (value->rank > 0 || value->type != DTYPE_F32) {
        Str is = elaborate_describe(e, x.v);
        elaborate_error(e, x.at, "the loss must be one number, this is %.*s", STR_ARG(is));
        return;
    }
    if (e->frame->is_model)
        add_output(e, STR("loss"), x, "the loss");
    else
        e->further_loss =
            e->further_loss.i ? graph_binary(e->graph, OP_ADD, e->further_loss, v, s->span) : v;
}

void elaborate_further_loss(Elaboration *e) {
    Span at = graph_value(e->graph, e->further_loss)->span;
    add_output(e, STR("report.further_loss"), (Operand){datum_tensor(e->further_loss), at},
               "the loss");
}

static void elaborate_outputs(Elaboration *e, const AstStmt *s) {
    if (!in_model(e, s)) return;
    for (uint32_t i = 0; i < s->outputs.count; i++) {
        const AstOutput *o = &s->outputs.items[i];
        Operand x = elaborate_operand(e, o->value);
        add_output(e, o->name.text, x, "an output");
    }
}

static void elaborate_return(Elaboration *e, const AstStmt *s) {
    if (e->frame->is_model) {
        elaborate_error(e, s->span, "'return' outside of a function");
        return;
    }
    e->frame->result = s->value != NULL ? elaborate_expr(e, s->value) : NONE;
    e->frame->returned = true;
}

static void elaborate_tensors(Elaboration *e, const AstStmt *s) {
    if (s->kind == AST_STMT_INPUT && !in_model(e, s)) return;
    for (uint32_t i = 0; i < s->tensors.count; i++) {
        const AstTensor *t = &s->tensors.items[i];
        if (s->kind == AST_STMT_PARAM) elaborate_param(e, t);
        if (s->kind == AST_STMT_STATE) elaborate_state(e, t);
        if (s->kind == AST_STMT_INPUT) elaborate_input(e, t);
    }
}

static void elaborate_stmt(Elaboration *e, const AstStmt *s) {
    switch (s->kind) {
    case AST_STMT_DIM:
        for (uint32_t i = 0; i < s->bind.count; i++)
            elaborate_dim(e, &s->bind.items[i]);
        break;
    case AST_STMT_LET:
        for (uint32_t i = 0; i < s->bind.count; i++)
            elaborate_let(e, &s->bind.items[i]);
        break;
    case AST_STMT_ASSIGN: elaborate_assign(e, &s->assign); break;
    case AST_STMT_PARAM:
    case AST_STMT_STATE:
    case AST_STMT_INPUT: elaborate_tensors(e, s); break;
    case AST_STMT_OUTPUT: elaborate_outputs(e, s); break;
    case AST_STMT_LOSS: elaborate_loss(e, s); break;
    case AST_STMT_UPDATE: elaborate_update(e, &s->assign, s->span); break;
    case AST_STMT_REPORT:
        for (uint32_t i = 0; i < s->outputs.count; i++) {
            elaborate_report(e, &s->outputs.items[i]);
        }
        break;
    case AST_STMT_RETURN: elaborate_return(e, s); break;
    case AST_STMT_EXPR: (void)elaborate_expr(e, s->value); break;
    case AST_STMT_FOR: elaborate_for(e, s); break;
    case AST_STMT_IF: elaborate_if(e, s); break;
    case AST_STMT_FN:
        elaborate_declare(e, s->fn->name, elaborate_closure(e, s->fn, s->fn->name.text));
        break;
    case AST_STMT_SIZES:  // Read before the body is elaborated: settings.c.
    case AST_STMT_COUNT: break;
    }
}

void elaborate_statements(Elaboration *e, const AstBlock *block) {
    for (uint32_t i = 0; i < block->count; i++) {
        if (e->frame->returned || !elaborate_enter(e, block->items[i]->span)) return;
        elaborate_stmt(e, block->items[i]);
        elaborate_leave(e);
    }
}

void elaborate_block(Elaboration *e, const AstBlock *block) {
    Scope *around = e->scope;
    e->scope = scope_new(e->arena, around, e->frame);
    elaborate_statements(e, block);
    e->scope = around;
}
