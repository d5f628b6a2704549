// elaborate_expr.c: expressions other than calls and indexing.
#include <math.h>

#include "base/check.h"
#include "frontend/builtins.h"
#include "frontend/elaborate.h"
#include "frontend/suggest.h"

Operand elaborate_operand(Elaboration *e, const AstExpr *expr) {
    return (Operand){elaborate_expr(e, expr), expr->span};
}

Datum elaborate_named_expr(Elaboration *e, const AstExpr *expr, Str name) {
    if (expr->kind == AST_EXPR_LAMBDA) return elaborate_closure(e, expr->lambda, name);
    return elaborate_expr(e, expr);
}

// ---- names

static Datum name_unknown(Elaboration *e, Str name, Span span) {
    Suggestion hint;
    suggestion_init(&hint, name);
    for (Scope *s = e->scope; s != NULL; s = s->parent) {
        vec_each (Binding, b, &s->bindings)
            suggestion_offer(&hint, b->name);
    }
    builtins_suggest(&hint);
    elaborate_error(e, span, "'%.*s' is not in scope", STR_ARG(name));
    if (hint.best.len > 0) {
        diag_note(e->diag, span, "did you mean '%.*s'?", STR_ARG(hint.best));
    }
    return POISON;
}

static bool name_find(Elaboration *e, Str name, Datum *out) {
    Binding *b = scope_find(e->scope, name);
    if (b != NULL) *out = b->value;
    return b != NULL || builtin_find(e, name, out);
}

static Datum elaborate_name(Elaboration *e, const AstExpr *expr) {
    Datum value = POISON;
    if (name_find(e, expr->name, &value)) return value;
    return name_unknown(e, expr->name, expr->span);
}

Datum elaborate_new_name(Elaboration *e, const AstExpr *expr) {
    if (expr->kind == AST_EXPR_NAME) {
        Binding *b = scope_find(e->scope, expr->name);
        if (b != NULL) return b->value;
        return (Datum){.kind = DATUM_NEW_NAME, .string = expr->name};
    }
    if (expr->kind != AST_EXPR_LIST) return elaborate_expr(e, expr);
    if (!elaborate_enter(e, expr->span)) return POISON;
    Datum *items = arena_array(e->arena, Datum, expr->list.count);
    for (uint32_t i = 0; i < expr->list.count; i++) {
        items[i] = elaborate_new_name(e, expr->list.items[i]);
    }
    elaborate_leave(e);
    return datum_list(e->arena, items, expr->list.count);
}

// ---- operators

static Datum not_of(Elaboration *e, Operand x, Span span) {
    if (x.v.kind == DATUM_TENSOR && graph_value(e->graph, x.v.tensor)->type == DTYPE_BOOL) {
        return emit_unary(e, OP_NOT, x.v, span);
    }
    bool value = false;
    return want_bool(e, x, "the operand of 'not'", &value) ? datum_bool(!value) : POISON;
}

static Datum elaborate_unary(Elaboration *e, const AstExpr *expr) {
    Operand x = elaborate_operand(e, expr->unary.x);
    switch (expr->unary.op) {
    case AST_UNARY_NEG: return elaborate_negate(e, x, expr->span);
    case AST_UNARY_NOT: return not_of(e, x, expr->span);
    }
    return POISON;
}

// The right side is elaborated only if the left does not decide.
static Datum elaborate_logic(Elaboration *e, const AstExpr *expr) {
    bool is_and = expr->binary.op == AST_BINARY_AND;
    const char *what = is_and ? "an operand of 'and'" : "an operand of 'or'";
    Operand a = elaborate_operand(e, expr->binary.a);
    if (a.v.kind == DATUM_BOOL && a.v.boolean != is_and) return a.v;
    Operand b = elaborate_operand(e, expr->binary.b);
    if (datum_is_poison(a.v) || datum_is_poison(b.v)) return POISON;
    if (a.v.kind == DATUM_TENSOR && b.v.kind == DATUM_TENSOR) {
        Operator op = {is_and ? OP_AND : OP_OR, is_and ? "and" : "or", expr->span};
        if (!align_check(e, op, a, b)) return POISON;
        return emit(e, op, (ValueId[]){a.v.tensor, b.v.tensor}, 2, NULL);
    }
    bool x = false, y = false;
    if (!want_bool(e, a, what, &x) || !want_bool(e, b, what, &y)) return POISON;
    return datum_bool(y);
}

static Datum list_join(Elaboration *e, const DatumList *a, const DatumList *b, Span span) {
    if (!elaborate_step(e, span, (uint64_t)a->count + b->count)) return POISON;
    Datum *items = arena_array(e->arena, Datum, a->count + b->count);
    for (uint32_t i = 0; i < a->count; i++)
        items[i] = a->items[i];
    for (uint32_t i = 0; i < b->count; i++)
        items[a->count + i] = b->items[i];
    DatumList *list = arena_new(e->arena, DatumList);
    *list = (DatumList){.items = items, .count = a->count + b->count};
    return (Datum){.kind = DATUM_LIST, .list = list};
}

static Datum string_join(Elaboration *e, Str a, Str b, Span span) {
    if (!elaborate_step(e, span, a.len + b.len)) return POISON;
    return datum_string(str_printf(e->arena, "%.*s%.*s", STR_ARG(a), STR_ARG(b)));
}

static Datum modulo(Elaboration *e, const AstExpr *expr, Operand a, Operand b) {
    double x = 0, y = 0;
    if (!want_number(e, a, "an operand of '%'", &x)) return POISON;
    if (!want_number(e, b, "an operand of '%'", &y)) return POISON;
    if (y == 0) return elaborate_error(e, expr->span, "division by zero");
    return datum_number(x - y * floor(x / y));
}

static Datum elaborate_binary(Elaboration *e, const AstExpr *expr) {
    AstBinaryOp op = expr->binary.op;
    if (op == AST_BINARY_AND || op == AST_BINARY_OR) return elaborate_logic(e, expr);
    Operand a = elaborate_operand(e, expr->binary.a);
    Operand b = elaborate_operand(e, expr->binary.b);
    if (datum_is_poison(a.v) || datum_is_poison(b.v)) return POISON;
    if (op == AST_BINARY_ADD && a.v.kind == DATUM_LIST && b.v.kind == DATUM_LIST) {
        return list_join(e, a.v.list, b.v.list, expr->span);
    }
    if (op == AST_BINARY_ADD && a.v.kind == DATUM_STRING && b.v.kind == DATUM_STRING) {
        return string_join(e, a.v.string, b.v.string, expr->span);
    }
    Operator how = {OP_NONE, ast_binary_text(op), expr->span};
    switch (op) {
    case AST_BINARY_ADD: how.op = OP_ADD; break;
    case AST_BINARY_SUB: how.op = OP_SUB; break;
    case AST_BINARY_MUL: how.op = OP_MUL; break;
    case AST_BINARY_DIV: how.op = OP_DIV; break;
    case AST_BINARY_POW: how.op = OP_POW; break;
    case AST_BINARY_MOD: return modulo(e, expr, a, b);
    case AST_BINARY_AND:
    case AST_BINARY_OR:
    case AST_BINARY_EQ:
    case AST_BINARY_NE:
    case AST_BINARY_LT:
    case AST_BINARY_LE:
    case AST_BINARY_GT:
    case AST_BINARY_GE: return elaborate_compare(e, op, expr->span, a, b);
    }
    return elaborate_arithmetic(e, how, a, b);
}

// ---- lists, records, conditionals

static Datum elaborate_range(Elaboration *e, const AstExpr *expr) {
    int64_t first = 0, end = 0;
    // The parser leaves a range open only as an index, which does not come here.
    ASSERT(expr->range.first != NULL && expr->range.end != NULL);
    Operand a = elaborate_operand(e, expr->range.first);
    Operand b = elaborate_operand(e, expr->range.end);
    if (!want_integer(e, a, "the start of a range", &first)) return POISON;
    if (!want_integer(e, b, "the end of a range", &end)) return POISON;
    int64_t count = end > first ? end - first : 0;
    if (count > 1000000) {
        return elaborate_error(e, expr->span, "a range of more than 1000000 numbers");
    }
    if (!elaborate_step(e, expr->span, (uint64_t)count)) return POISON;
    Datum *items = arena_array(e->arena, Datum, count);
    for (int64_t i = 0; i < count; i++)
        items[i] = datum_number((double)(first + i));
    DatumList *list = arena_new(e->arena, DatumList);
    *list = (DatumList){.items = items, .count = (uint32_t)count};
    return (Datum){.kind = DATUM_LIST, .list = list};
}

static Datum elaborate_list(Elaboration *e, const AstExpr *expr) {
    Datum *items = arena_array(e->arena, Datum, expr->list.count);
    for (uint32_t i = 0; i < expr->list.count; i++) {
        items[i] = elaborate_expr(e, expr->list.items[i]);
    }
    return datum_list(e->arena, items, expr->list.count);
}

static Datum record_make(Elaboration *e, const Str *names, const Datum *values,
                         uint32_t count) {
    DatumRecord *record = arena_new(e->arena, DatumRecord);
    *record = (DatumRecord){.names = names, .values = values, .count = count};
    return (Datum){.kind = DATUM_RECORD, .record = record};
}

static Datum elaborate_record(Elaboration *e, const AstExpr *expr) {
    uint32_t count = expr->record.count;
    Str *names = arena_array(e->arena, Str, count);
    Datum *values = arena_array(e->arena, Datum, count);
    for (uint32_t i = 0; i < count; i++) {
        const AstField *f = &expr->record.fields[i];
        names[i] = f->name.text;
        values[i] = elaborate_named_expr(e, f->value, f->name.text);
    }
    return record_make(e, names, values, count);
}

static Datum field_unknown(Elaboration *e, const DatumRecord *record, Str name, Span span) {
    Suggestion hint;
    suggestion_init(&hint, name);
    StrBuf all = {0};
    for (uint32_t i = 0; i < record->count; i++) {
        suggestion_offer(&hint, record->names[i]);
        strbuf_addf(&all, "%s%.*s", i > 0 ? ", " : "", STR_ARG(record->names[i]));
    }
    elaborate_error(e, span, "the record has no field '%.*s'", STR_ARG(name));
    if (hint.best.len > 0) {
        diag_note(e->diag, span, "did you mean '%.*s'?", STR_ARG(hint.best));
    } else {
        diag_note(e->diag, span, "it has %.*s", STR_ARG(strbuf_view(&all)));
    }
    strbuf_release(&all);
    return POISON;
}

static bool want_record(Elaboration *e, Operand x, const char *what) {
    if (x.v.kind == DATUM_RECORD) return true;
    if (datum_is_poison(x.v)) return false;
    Str is = elaborate_describe(e, x.v);
    elaborate_error(e, x.at, "%s needs a record, this is %.*s", what, STR_ARG(is));
    return false;
}

static Datum elaborate_with(Elaboration *e, const AstExpr *expr) {
    Operand base = elaborate_operand(e, expr->with.base);
    if (!want_record(e, base, "'with'")) return POISON;
    uint32_t count = base.v.record->count;
    Datum *values = arena_array(e->arena, Datum, count);
    for (uint32_t i = 0; i < count; i++)
        values[i] = base.v.record->values[i];
    for (uint32_t k = 0; k < expr->with.count; k++) {
        const AstField *f = &expr->with.fields[k];
        Datum value = elaborate_named_expr(e, f->value, f->name.text);
        const Datum *old = datum_field(base.v.record, f->name.text);
        if (old == NULL) return field_unknown(e, base.v.record, f->name.text, f->name.span);
        values[old - base.v.record->values] = value;
    }
    return record_make(e, base.v.record->names, values, count);
}

static Datum elaborate_field(Elaboration *e, const AstExpr *expr) {
    Operand base = elaborate_operand(e, expr->field.base);
    if (!want_record(e, base, "a field")) return POISON;
    const Datum *value = datum_field(base.v.record, expr->field.name.text);
    if (value != NULL) return *value;
    return field_unknown(e, base.v.record, expr->field.name.text, expr->field.name.span);
}

static Datum elaborate_cond(Elaboration *e, const AstExpr *expr) {
    bool chosen = false;
    Operand cond = elaborate_operand(e, expr->cond.cond);
    if (!want_bool(e, cond, "the condition", &chosen)) return POISON;
    return elaborate_expr(e, chosen ? expr->cond.then : expr->cond.otherwise);
}

// ---- scopes of paths

static bool path_text_legal(Str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && c != '_' && c != '-') return false;
    }
    return s.len > 0;
}

bool elaborate_scope_name(Elaboration *e, const AstScopeName *scope, Str *out) {
    *out = scope->text.text;
    Span span = scope->text.span;
    if (scope->expr != NULL) {
        Operand name = elaborate_operand(e, scope->expr);
        if (datum_is_poison(name.v)) return false;
        span = name.at;
        if (name.v.kind != DATUM_STRING) {
            Str is = elaborate_describe(e, name.v);
            elaborate_error(e, span, "the name of a scope is a string, this is %.*s",
                            STR_ARG(is));
            return false;
        }
        *out = name.v.string;
    }
    if (path_text_legal(*out)) return true;
    elaborate_error(e, span, "the name of a scope has letters, digits, '_' and '-' only");
    return false;
}

static Datum elaborate_scope(Elaboration *e, const AstExpr *expr) {
    const AstExpr *value = expr->scope.value;
    if (value->kind == AST_EXPR_CALL) return elaborate_call(e, value, &expr->scope.name);
    Str name = {0};
    if (!elaborate_scope_name(e, &expr->scope.name, &name)) return POISON;
    PathScope *around = e->path;
    PathScope inner = {.prefix = path_join(e->arena, around->prefix, name)};
    e->path = &inner;
    Datum result = elaborate_expr(e, value);
    e->path = around;
    return result;
}

// ---- dispatch

static Datum elaborate_kind(Elaboration *e, const AstExpr *expr) {
    switch (expr->kind) {
    case AST_EXPR_NUMBER: return datum_number(expr->number.value);
    case AST_EXPR_STRING: return datum_string(expr->string);
    case AST_EXPR_BOOL: return datum_bool(expr->boolean);
    case AST_EXPR_NONE: return NONE;
    case AST_EXPR_NAME: return elaborate_name(e, expr);
    case AST_EXPR_UNARY: return elaborate_unary(e, expr);
    case AST_EXPR_BINARY: return elaborate_binary(e, expr);
    case AST_EXPR_RANGE: return elaborate_range(e, expr);
    case AST_EXPR_ARROW:
        return elaborate_error(e, expr->span,
                               "'->' has a meaning only in rename, split, merge, "
                               "slice and concat");
    case AST_EXPR_IF: return elaborate_cond(e, expr);
    case AST_EXPR_LAMBDA: return elaborate_closure(e, expr->lambda, STR("fn"));
    case AST_EXPR_LIST: return elaborate_list(e, expr);
    case AST_EXPR_RECORD: return elaborate_record(e, expr);
    case AST_EXPR_WITH: return elaborate_with(e, expr);
    case AST_EXPR_FIELD: return elaborate_field(e, expr);
    case AST_EXPR_INDEX: return elaborate_index(e, expr);
    case AST_EXPR_CALL: return elaborate_call(e, expr, NULL);
    case AST_EXPR_SCOPE: return elaborate_scope(e, expr);
    case AST_EXPR_COUNT: break;
    }
    return POISON;
}

Datum elaborate_expr(Elaboration *e, const AstExpr *expr) {
    if (!elaborate_enter(e, expr->span)) return POISON;
    Datum value = elaborate_kind(e, expr);
    elaborate_leave(e);
    return value;
}
