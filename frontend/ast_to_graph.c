// ast_to_graph.c: the steps from a program to the graph of its model, and from an optimiser's
// name to updates.
#include "frontend/ast_to_graph.h"

#include "base/check.h"
#include "frontend/elaborate.h"
#include "frontend/settings.h"
#include "frontend/suggest.h"

// ---- modules

static Scope *module_scope(const Elaboration *e, const AstModule *module) {
    vec_each (ModuleScope, m, &e->modules) {
        if (m->module == module) return m->scope;
    }
    return NULL;
}

static bool same_function(Datum a, Datum b) {
    return a.kind == DATUM_FUNCTION && b.kind == DATUM_FUNCTION &&
           a.function->fn == b.function->fn;
}

// Only what a module declares itself can be imported from it, not what it imports.
static void import_names(Elaboration *e, Scope *into, const AstImport *import) {
    Scope *from = import->module != NULL ? module_scope(e, import->module) : NULL;
    if (from == NULL) return;
    vec_each (Binding, b, &from->bindings) {
        if (b->value.kind != DATUM_FUNCTION || b->value.function->scope != from) continue;
        Binding *old = scope_find_here(into, b->name);
        if (old == NULL) {
            scope_bind(e->arena, into, b->name, b->value, b->span);
        } else if (!same_function(old->value, b->value)) {
            Span first = old->span;
            elaborate_error(e, import->span, "'%.*s' is imported twice", STR_ARG(b->name));
            diag_note(e->diag, first, "one is declared here");
            diag_note(e->diag, b->span, "the other is declared here");
        }
    }
}

static void declare_function(Elaboration *e, Scope *scope, const AstDecl *decl) {
    AstName name = decl->fn->name;
    e->scope = scope;
    Datum f = elaborate_closure(e, decl->fn, name.text);
    Closure *closure = arena_new(e->arena, Closure);
    *closure = *f.function;
    closure->is_optimizer = decl->kind == AST_DECL_OPTIMIZER;
    f.function = closure;
    Binding *old = scope_find_here(scope, name.text);
    if (old == NULL) {
        scope_bind(e->arena, scope, name.text, f, name.span);
    } else if (old->value.function->scope != scope) {
        *old = (Binding){
            .name = name.text, .value = f, .span = name.span};  // hides an imported one
    } else {
        Span first = old->span;
        elaborate_error(e, name.span, "'%.*s' is declared twice", STR_ARG(name.text));
        diag_note(e->diag, first, "the first declaration is here");
    }
}

static void declare_module(Elaboration *e, const AstModule *module) {
    Scope *scope = scope_new(e->arena, NULL, NULL);
    for (uint32_t i = 0; i < module->decl_count; i++) {
        const AstDecl *decl = &module->decls[i];
        if (decl->kind == AST_DECL_IMPORT) import_names(e, scope, &decl->import);
    }
    for (uint32_t i = 0; i < module->decl_count; i++) {
        const AstDecl *decl = &module->decls[i];
        if (decl->kind == AST_DECL_FN || decl->kind == AST_DECL_OPTIMIZER)
            declare_function(e, scope, decl);
    }
    vec_push(e->arena, &e->modules, (ModuleScope){module, scope});
}

static bool model_find(Elaboration *e) {
    const AstModule *root = e->program->root;
    for (uint32_t i = 0; i < root->decl_count; i++) {
        const AstDecl *decl = &root->decls[i];
        if (decl->kind != AST_DECL_MODEL) continue;
        if (e->model != NULL) {
            elaborate_error(e, decl->model->name.span,
                            "a file has one model, this is the second");
            diag_note(e->diag, e->model->name.span, "the first is here");
            return false;
        }
        e->model = decl->model;
    }
    if (e->model != NULL) return true;
    elaborate_error(e, (Span){.file = root->file}, "the file declares no model");
    return false;
}

// ---- the model

static void elaborate_model(Elaboration *e, Settings settings) {
    Frame *frame = arena_new(e->arena, Frame);
    *frame = (Frame){.is_model = true, .result = NONE};
    e->frame = frame;
    e->path = arena_new(e->arena, PathScope);
    e->scope = module_scope(e, e->program->root);
    if (!settings_begin(e, settings)) return;
    e->model_scope = scope_new(e->arena, e->scope, frame);
    e->scope = e->model_scope;
    elaborate_statements(e, &e->model->body);
    if (e->further_loss.i) elaborate_further_loss(e);
    e->frame = NULL;
}

bool ast_to_graph(Diag *diag, Arena *arena, const AstProgram *program, Settings settings,
                  Elaboration **out) {
    uint32_t errors = diag->error_count;
    Elaboration *e = arena_new(arena, Elaboration);
    *e = (Elaboration){.diag = diag, .arena = arena, .program = program};
    e->graph = graph_new(arena, STR("model"));
    for (uint32_t i = 0; i < program->module_count; i++)
        declare_module(e, program->modules[i]);
    if (!model_find(e)) return false;
    e->graph->name = str_copy(arena, e->model->name.text);
    elaborate_model(e, settings);
    if (diag->error_count == errors) settings_finish(e);
    *out = e;
    return diag->error_count == errors;
}

Graph *elaboration_graph(const Elaboration *e) { return e->graph; }

Sublayers elaboration_sublayers(const Elaboration *e) {
    return (Sublayers){e->sublayers.ptr, e->sublayers.len};
}

// ---- optimisers

// The optimiser of that name in the root module, then in any other.
static const Closure *optimizer_find(Elaboration *e, Str name) {
    Suggestion hint;
    suggestion_init(&hint, name);
    for (uint32_t i = e->modules.len; i-- > 0;) {
        vec_each (Binding, b, &e->modules.ptr[i].scope->bindings) {
            if (b->value.kind != DATUM_FUNCTION || !b->value.function->is_optimizer) continue;
            if (str_eq(b->name, name)) return b->value.function;
            suggestion_offer(&hint, b->name);
        }
    }
    diag_fail(e->diag, FAIL_USAGE, "no module of the model declares an optimizer '%.*s'",
              STR_ARG(name));
    if (hint.best.len > 0) {
        diag_note(e->diag, e->model->name.span, "did you mean '%.*s'?", STR_ARG(hint.best));
    }
    return NULL;
}

static bool signature_fits(Elaboration *e, const Closure *f) {
    static const char *const wanted[] = {"p", "g", "lr", "step"};
    bool fits = f->fn->param_count >= 4;
    for (uint32_t i = 0; i < 4 && fits; i++) {
        fits = str_eq(f->fn->params[i].name.text, str_of(wanted[i]));
    }
    if (!fits) {
        elaborate_error(e, f->fn->head,
                        "the first arguments of an optimizer are p, g, lr and step");
    }
    return fits;
}

// A setting is a number, or true or false.
static bool override_parse(Elaboration *e, const Setting *s, Operand *out) {
    *out = (Operand){.v = datum_bool(false)};
    if (setting_parse(e->arena, s->value, datum_number(0), &out->v)) return true;
    if (setting_parse(e->arena, s->value, datum_bool(false), &out->v)) return true;
    return diag_fail(e->diag, FAIL_USAGE,
                     "%.*s=%.*s: an optimizer's setting is a number, true or false",
                     STR_ARG(s->name), STR_ARG(s->value));
}

static bool override_known(Elaboration *e, const Closure *f, const Setting *s) {
    Suggestion hint;
    suggestion_init(&hint, s->name);
    for (uint32_t i = 4; i < f->fn->param_count; i++) {
        if (str_eq(f->fn->params[i].name.text, s->name)) return true;
        suggestion_offer(&hint, f->fn->params[i].name.text);
    }
    diag_fail(e->diag, FAIL_USAGE, "optimizer %.*s has no setting '%.*s'", STR_ARG(f->name),
              STR_ARG(s->name));
    if (hint.best.len > 0)
        diag_note(e->diag, f->fn->head, "did you mean '%.*s'?", STR_ARG(hint.best));
    return false;
}

static bool optimize_one(Elaboration *e, const Closure *f, const OptimizerRequest *r,
                         uint32_t i) {
    uint32_t count = 4 + r->overrides.count;
    Operand *args = arena_array(e->arena, Operand, count);
    Str *names = arena_array(e->arena, Str, count);
    const Leaf *leaf = &e->graph->leaves.ptr[r->leaves[i]];
    ValueId given[4] = {e->graph->leaf_values.ptr[r->leaves[i]], r->grads[i], r->lr, r->step};
    for (uint32_t k = 0; k < 4; k++)
        args[k] = (Operand){datum_tensor(given[k]), leaf->span};
    for (uint32_t k = 0; k < r->overrides.count; k++) {
        names[4 + k] = r->overrides.items[k].name;
        if (!override_parse(e, &r->overrides.items[k], &args[4 + k])) return false;
    }
    Str path = leaf->path;
    PathScope scope = {.prefix = path_join(e->arena, STR("optim"), path)};
    uint32_t errors = e->diag->error_count, updates = e->graph->updates.len;
    PathScope *outer = e->path;
    e->path = &scope;
    (void)elaborate_apply(e, f, args, names, count);
    e->path = outer;
    if (e->diag->error_count > errors) return false;
    for (uint32_t u = updates; u < e->graph->updates.len; u++) {
        if (e->graph->updates.ptr[u].leaf == r->leaves[i]) return true;
    }
    elaborate_error(e, f->fn->head, "optimizer %.*s does not update %.*s", STR_ARG(f->name),
                    STR_ARG(path));
    return false;
}

bool elaborate_optimizer(Elaboration *e, Graph *graph, const OptimizerRequest *request) {
    // The graph may be a rewritten one, in which axes have other numbers.
    e->graph = graph;
    e->optimizes = true;
    e->origins.len = 0;
    e->sums.len = 0;
    e->key_axes = (Map){0};
    e->steps = 0;
    const Closure *f = optimizer_find(e, request->name);
    if (f == NULL || !signature_fits(e, f)) return false;
    for (uint32_t k = 0; k < request->overrides.count; k++) {
        if (!override_known(e, f, &request->overrides.items[k])) return false;
    }
    for (uint32_t i = 0; i < request->count; i++) {
        // One wrong line in an optimiser is wrong for every parameter: it is reported once.
        if (!optimize_one(e, f, request, i)) return false;
    }
    return true;
}
