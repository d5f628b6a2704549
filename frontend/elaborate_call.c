// elaborate_call.c: functions and calls.
#include "frontend/builtins.h"
#include "frontend/elaborate.h"
#include "frontend/suggest.h"

// ---- closures

static bool block_has_leaves(const AstBlock *block) {
    for (uint32_t i = 0; i < block->count; i++) {
        const AstStmt *s = block->items[i];
        if (s->kind == AST_STMT_PARAM || s->kind == AST_STMT_STATE) return true;
        if (s->kind == AST_STMT_FOR && block_has_leaves(&s->loop.body)) return true;
        if (s->kind != AST_STMT_IF) continue;
        for (uint32_t k = 0; k < s->branch.count; k++) {
            if (block_has_leaves(&s->branch.arms[k].body)) return true;
        }
        if (s->branch.has_otherwise && block_has_leaves(&s->branch.otherwise)) return true;
    }
    return false;
}

Datum elaborate_closure(Elaboration *e, const AstFn *fn, Str name) {
    Closure *c = arena_new(e->arena, Closure);
    *c = (Closure){.fn = fn, .name = name, .scope = e->scope};
    c->has_leaves = fn->value == NULL && block_has_leaves(&fn->body);
    return (Datum){.kind = DATUM_FUNCTION, .function = c};
}

// ---- binding arguments

static bool argument_named(Elaboration *e, const Closure *f, Operand arg, Str name,
                           Datum *bound) {
    Suggestion hint;
    suggestion_init(&hint, name);
    for (uint32_t p = 0; p < f->fn->param_count; p++) {
        suggestion_offer(&hint, f->fn->params[p].name.text);
        if (!str_eq(f->fn->params[p].name.text, name)) continue;
        if (bound[p].kind == DATUM_ABSENT) {
            bound[p] = arg.v;
            return true;
        }
        elaborate_error(e, arg.at, "argument '%.*s' of %.*s is given twice", STR_ARG(name),
                        STR_ARG(f->name));
        return false;
    }
    elaborate_error(e, arg.at, "%.*s has no argument '%.*s'", STR_ARG(f->name), STR_ARG(name));
    if (hint.best.len > 0) {
        diag_note(e->diag, arg.at, "did you mean '%.*s'?", STR_ARG(hint.best));
    }
    diag_note(e->diag, f->fn->head, "%.*s is declared here", STR_ARG(f->name));
    return false;
}

typedef struct {
    const Operand *args;
    const Str *names;
    uint32_t count;
    Span span;
} CallArgs;

static bool arguments_match(Elaboration *e, const Closure *f, CallArgs call, Datum *bound) {
    bool good = true;
    for (uint32_t i = 0; i < call.count; i++) {
        if (call.names[i].len > 0) {
            good = argument_named(e, f, call.args[i], call.names[i], bound) && good;
        } else if (i < f->fn->param_count) {
            bound[i] = call.args[i].v;
        } else {
            elaborate_error(e, call.args[i].at, "one argument too many: %.*s takes %u",
                            STR_ARG(f->name), f->fn->param_count);
            diag_note(e->diag, f->fn->head, "%.*s is declared here", STR_ARG(f->name));
            return false;
        }
    }
    for (uint32_t p = 0; p < f->fn->param_count && good; p++) {
        if (bound[p].kind != DATUM_ABSENT || f->fn->params[p].fallback != NULL) continue;
        Str name = f->fn->params[p].name.text;
        elaborate_error(e, call.span, "the call of %.*s lacks argument '%.*s'",
                        STR_ARG(f->name), STR_ARG(name));
        diag_note(e->diag, f->fn->head, "%.*s is declared here", STR_ARG(f->name));
        good = false;
    }
    return good;
}

// ---- the body

// An axis cannot leave the call that declares it: outside nobody could name it.
static bool result_axes_stay(Elaboration *e, const Closure *f, const Frame *frame, Span span) {
    if (frame->result.kind != DATUM_TENSOR) return true;
    const Value *v = graph_value(e->graph, frame->result.tensor);
    for (uint32_t i = 0; i < v->rank; i++) {
        AxisId a = v->axes[i];
        if (a.i >= e->origins.len || e->origins.ptr[a.i].frame != frame) continue;
        Str is = elaborate_describe(e, frame->result);
        elaborate_error(
            e, span, "the result of %.*s has axis %.*s, which only %.*s itself can name",
            STR_ARG(f->name), STR_ARG(graph_axis_at(e->graph, a)->name), STR_ARG(f->name));
        diag_note(e->diag, span, "the result is %.*s", STR_ARG(is));
        axis_note(e, a);
        return false;
    }
    return true;
}

static Datum run_body(Elaboration *e, const Closure *f, Datum *bound, Span span) {
    Frame *frame = arena_new(e->arena, Frame);
    *frame = (Frame){.is_optimizer = f->is_optimizer, .result = NONE};
    Frame *caller = e->frame;
    Scope *around = e->scope;
    e->frame = frame;
    e->scope = scope_new(e->arena, f->scope, frame);
    for (uint32_t p = 0; p < f->fn->param_count; p++) {
        const AstParameter *param = &f->fn->params[p];
        Datum v = bound[p];
        if (v.kind == DATUM_ABSENT)
            v = elaborate_named_expr(e, param->fallback, param->name.text);
        scope_bind(e->arena, e->scope, param->name.text, v, param->name.span);
    }
    if (f->fn->value != NULL) {
        frame->result = elaborate_named_expr(e, f->fn->value, f->name);
    } else {
        elaborate_statements(e, &f->fn->body);
    }
    e->frame = caller;
    e->scope = around;
    return result_axes_stay(e, f, frame, span) ? frame->result : POISON;
}

static Datum apply(Elaboration *e, const Closure *f, CallArgs call) {
    Datum *bound = arena_array(e->arena, Datum, f->fn->param_count);
    if (!arguments_match(e, f, call, bound)) return POISON;
    if (e->calls >= ELABORATE_MAX_CALLS) {
        elaborate_error(e, call.span, "calls nest more than %d deep", ELABORATE_MAX_CALLS);
        e->stopped = true;
        return POISON;
    }
    uint32_t errors = e->diag->error_count;
    e->calls++;
    Datum result = run_body(e, f, bound, call.span);
    e->calls--;
    if (e->diag->error_count > errors && e->trace_left > 0) {
        e->trace_left--;
        diag_note(e->diag, call.span, "in this call of %.*s", STR_ARG(f->name));
    }
    return result;
}

Datum elaborate_apply(Elaboration *e, const Closure *f, const Operand *args, const Str *names,
                      uint32_t count) {
    return apply(e, f, (CallArgs){args, names, count, f->fn->head});
}

// ---- calls

static Datum call_in_scope(Elaboration *e, const Closure *f, CallArgs call, Str scope) {
    if (scope.len == 0) return apply(e, f, call);
    PathScope *around = e->path;
    PathScope inner = {.prefix = path_join(e->arena, around->prefix, scope)};
    e->path = &inner;
    Datum result = apply(e, f, call);
    e->path = around;
    return result;
}

Datum elaborate_call(Elaboration *e, const AstExpr *expr, const AstScopeName *scope) {
    Operand callee = elaborate_operand(e, expr->call.callee);
    if (callee.v.kind == DATUM_BUILTIN) return builtin_call(e, callee.v.builtin, expr);
    uint32_t count = expr->call.count;
    Operand *args = arena_array(e->arena, Operand, count);
    Str *names = arena_array(e->arena, Str, count);
    bool good = callee.v.kind == DATUM_FUNCTION;
    for (uint32_t i = 0; i < count; i++) {
        const AstArg *arg = &expr->call.args[i];
        names[i] = arg->name.text;
        args[i] = elaborate_operand(e, arg->value);
    }
    if (!good && !datum_is_poison(callee.v)) {
        Str is = elaborate_describe(e, callee.v);
        elaborate_error(e, callee.at, "only functions can be called, this is %.*s",
                        STR_ARG(is));
    }
    Str name = {0};
    if (!good || (scope != NULL && !elaborate_scope_name(e, scope, &name))) return POISON;
    const Closure *f = callee.v.function;
    if (scope == NULL && f->has_leaves && !f->is_optimizer) {
        name = path_unique(e->arena, e->path, f->name);
    }
    return call_in_scope(e, f, (CallArgs){args, names, count, expr->span}, name);
}
