// builtins.c: finding built-in functions, matching their arguments, and reading those in the
// functions.
#include "frontend/builtins.h"

#include <math.h>

static const Builtin table[] = {
#define BUILTIN_UNARY(text, operation, c_function) \
    {.name = (text),                               \
     .signature = "x",                             \
     .function = builtin_unary,                    \
     .op = OP_##operation,                         \
     .fold = (c_function)},
#include "frontend/builtins.def"
#define BUILTIN(text, arguments, c_function) \
    {.name = (text), .signature = (arguments), .function = (c_function)},
#include "frontend/builtins.def"
};

#define TABLE_COUNT (sizeof table / sizeof table[0])

bool builtin_find(Elaboration *e, Str name, Datum *out) {
    if (e->builtins.count == 0) {
        for (uint32_t i = 0; i < TABLE_COUNT; i++) {
            map_set(e->arena, &e->builtins, str_of(table[i].name), i);
        }
    }
    uint64_t index = 0;
    if (map_get(&e->builtins, name, &index)) {
        *out = (Datum){.kind = DATUM_BUILTIN, .builtin = &table[index]};
        return true;
    }
    if (str_eq(name, STR("fan_in"))) {
        *out = datum_init((Init){.kind = INIT_FAN_IN});
        return true;
    }
    if (!str_eq(name, STR("pi"))) return false;
    *out = datum_number(3.14159265358979323846);
    return true;
}

void builtins_suggest(Suggestion *hint) {
    for (uint32_t i = 0; i < TABLE_COUNT; i++)
        suggestion_offer(hint, str_of(table[i].name));
    suggestion_offer(hint, STR("fan_in"));
}

// ---- signatures

typedef struct {
    Str name;
    bool optional, new_name, raw, many;
} Parameter;

typedef struct {
    Parameter items[BUILTIN_MAX_ARGS];
    uint32_t count;
} Signature;

static Signature signature_of(const Builtin *b) {
    Signature s = {0};
    for (const char *at = b->signature; *at != '\0'; at++) {
        Parameter *p = &s.items[s.count > 0 ? s.count - 1 : 0];
        if (*at == ' ') continue;
        if (*at == '?') {
            p->optional = true;
        } else if (*at == '\'') {
            p->new_name = true;
        } else if (*at == '~') {
            p->raw = true;
        } else if (*at == '.') {
            p->many = true;
        } else {
            const char *start = at;
            while ((at[1] >= 'a' && at[1] <= 'z') || at[1] == '_')
                at++;
            s.items[s.count++].name = (Str){start, (size_t)(at - start) + 1};
        }
    }
    return s;
}

static int parameter_find(Elaboration *e, const Builtin *b, const Signature *s, AstName name) {
    Suggestion hint;
    suggestion_init(&hint, name.text);
    for (uint32_t i = 0; i < s->count; i++) {
        if (str_eq(s->items[i].name, name.text)) return (int)i;
        suggestion_offer(&hint, s->items[i].name);
    }
    elaborate_error(e, name.span, "%s has no argument '%.*s'", b->name, STR_ARG(name.text));
    if (hint.best.len > 0) {
        diag_note(e->diag, name.span, "did you mean '%.*s'?", STR_ARG(hint.best));
    }
    return -1;
}

static Datum arrow_of(Elaboration *e, const AstExpr *expr) {
    DatumArrow *arrow = arena_new(e->arena, DatumArrow);
    arrow->from = elaborate_expr(e, expr->arrow.from);
    arrow->to = elaborate_new_name(e, expr->arrow.to);
    if (datum_is_poison(arrow->from) || datum_is_poison(arrow->to)) return POISON;
    return (Datum){.kind = DATUM_ARROW, .arrow = arrow};
}

static Datum argument_value(Elaboration *e, const Parameter *p, const AstExpr *expr) {
    if (p->raw) return NONE;
    if (!p->new_name) return elaborate_expr(e, expr);
    return expr->kind == AST_EXPR_ARROW ? arrow_of(e, expr) : elaborate_new_name(e, expr);
}

// Which parameter the argument is for, or -1 after reporting.
static int argument_place(BuiltinCall *c, const Signature *s, const AstArg *arg, uint32_t i) {
    if (arg->name.text.len > 0) {
        int place = parameter_find(c->e, c->builtin, s, arg->name);
        if (place < 0 || c->expr[place] == NULL) return place;
        elaborate_error(c->e, arg->name.span, "argument '%.*s' of %s is given twice",
                        STR_ARG(arg->name.text), c->builtin->name);
        return -1;
    }
    bool many = s->count > 0 && s->items[s->count - 1].many;
    if (i < s->count || (many && i < BUILTIN_MAX_ARGS)) return (int)i;
    elaborate_error(c->e, arg->value->span, "one argument too many: %s takes %u",
                    c->builtin->name, many ? BUILTIN_MAX_ARGS : s->count);
    return -1;
}

static bool arguments_complete(BuiltinCall *c, const Signature *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->items[i].optional || c->expr[i] != NULL) continue;
        elaborate_error(c->e, c->span, "the call of %s lacks argument '%.*s'", c->builtin->name,
                        STR_ARG(s->items[i].name));
        return false;
    }
    return true;
}

Datum builtin_call(Elaboration *e, const Builtin *builtin, const AstExpr *call) {
    Signature s = signature_of(builtin);
    BuiltinCall c = {.e = e, .builtin = builtin, .span = call->span};
    bool good = true;
    for (uint32_t i = 0; i < call->call.count; i++) {
        const AstArg *arg = &call->call.args[i];
        int place = argument_place(&c, &s, arg, i);
        if (place < 0) {
            good = false;
            continue;
        }
        const Parameter *p =
            &s.items[(uint32_t)place < s.count ? (uint32_t)place : s.count - 1];
        c.expr[place] = arg->value;
        c.arg[place] = (Operand){argument_value(e, p, arg->value), arg->value->span};
        if ((uint32_t)place >= c.count) c.count = (uint32_t)place + 1;
    }
    if (!good || !arguments_complete(&c, &s) || call_poisoned(&c)) return POISON;
    // cppcheck-suppress returnDanglingLifetime ; a Datum does not point at the call
    return builtin->function(&c);
}

// ---- reading arguments

const char *call_arg_text(const BuiltinCall *c, uint32_t i) {
    Signature s = signature_of(c->builtin);
    if (i >= s.count) i = s.count - 1;
    return arena_printf(c->e->arena, "argument '%.*s' of %s", STR_ARG(s.items[i].name),
                        c->builtin->name);
}

bool call_given(const BuiltinCall *c, uint32_t i) { return c->arg[i].v.kind != DATUM_ABSENT; }

bool call_poisoned(const BuiltinCall *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (datum_is_poison(c->arg[i].v)) return true;
    }
    return false;
}

bool call_tensor(BuiltinCall *c, uint32_t i, ValueId *out) {
    return want_tensor(c->e, c->arg[i], call_arg_text(c, i), out);
}

bool call_f32(BuiltinCall *c, uint32_t i, Datum *out) {
    ValueId v = {0};
    if (!call_tensor(c, i, &v)) return false;
    if (graph_value(c->e->graph, v)->type == DTYPE_BOOL) {
        elaborate_error(c->e, c->arg[i].at, "%s must be a tensor of numbers, not of booleans",
                        call_arg_text(c, i));
        return false;
    }
    *out = emit_cast(c->e, datum_tensor(v), DTYPE_F32, c->arg[i].at);
    return out->kind == DATUM_TENSOR;
}

bool call_axis(BuiltinCall *c, uint32_t i, AxisId *out) {
    return want_axis(c->e, c->arg[i], call_arg_text(c, i), out);
}

bool call_axes(BuiltinCall *c, uint32_t i, AxisSet *out) {
    return want_axes(c->e, c->arg[i], call_arg_text(c, i), out);
}

bool call_number(BuiltinCall *c, uint32_t i, double fallback, double *out) {
    *out = fallback;
    return !call_given(c, i) || want_number(c->e, c->arg[i], call_arg_text(c, i), out);
}

bool call_bool(BuiltinCall *c, uint32_t i, bool fallback, bool *out) {
    *out = fallback;
    return !call_given(c, i) || want_bool(c->e, c->arg[i], call_arg_text(c, i), out);
}

bool call_has_axis(BuiltinCall *c, uint32_t i, AxisId axis, uint32_t at) {
    return want_axis_of(c->e, c->arg[i], axis, c->arg[at].at);
}

bool call_new_axis(BuiltinCall *c, Operand named, int64_t extent, AxisId *out) {
    Elaboration *e = c->e;
    if (named.v.kind == DATUM_LIST && named.v.list->count == 1)
        named.v = named.v.list->items[0];
    if (named.v.kind == DATUM_NEW_NAME) {
        if (extent < 1 || extent > ELABORATE_MAX_EXTENT) {
            elaborate_error(e, named.at, "axis %.*s would have extent %lld",
                            STR_ARG(named.v.string), (long long)extent);
            return false;
        }
        *out = axis_declare(e, named.v.string, extent, named.at);
        scope_bind(e->arena, e->scope, named.v.string, datum_axis(*out), named.at);
        return true;
    }
    if (!want_axis(e, named, "the new axis", out)) return false;
    const Axis *axis = graph_axis_at(e->graph, *out);
    if (axis->extent == extent) return true;
    elaborate_error(e, named.at, "axis %.*s has extent %lld, here it would have %lld",
                    STR_ARG(axis->name), (long long)axis->extent, (long long)extent);
    axis_note(e, *out);
    return false;
}
