// builtins_sublayer.c: marks of what a sublayer reads and gives. They change no value: the
// graph is the same with and without them.
#include "frontend/builtins.h"

static Sublayer *sublayer_named(Elaboration *e, Str name) {
    vec_each (Sublayer, s, &e->sublayers) {
        if (str_eq(s->name, name)) return s;
    }
    vec_push(e->arena, &e->sublayers, (Sublayer){.name = name});
    return &e->sublayers.ptr[e->sublayers.len - 1];
}

// Without a name of its own the sublayer is called like the scope.
static bool sublayer_name(BuiltinCall *c, Str *out) {
    Operand label = c->arg[1];
    *out = c->e->path->prefix;
    if (label.v.kind == DATUM_STRING) {
        *out = path_join(c->e->arena, *out, label.v.string);
    } else if (label.v.kind != DATUM_ABSENT) {
        Str is = elaborate_describe(c->e, label.v);
        elaborate_error(c->e, label.at, "the name of a sublayer is a string, this is %.*s",
                        STR_ARG(is));
        return false;
    }
    if (out->len) return true;
    elaborate_error(c->e, c->span, "a sublayer outside of every scope needs a name");
    return false;
}

static Datum mark(BuiltinCall *c, bool output) {
    ValueId x = {0};
    Str name = {0};
    if (!call_tensor(c, 0, &x) || !sublayer_name(c, &name)) return POISON;
    Sublayer *s = sublayer_named(c->e, name);
    ValueId *place = output ? &s->output : &s->input;
    if (place->i)
        return elaborate_error(c->e, c->span, "sublayer '%.*s' has an %s already",
                               STR_ARG(name), output ? "output" : "input");
    *place = x;
    return datum_tensor(x);
}

Datum builtin_sublayer_input(BuiltinCall *c) { return mark(c, false); }
Datum builtin_sublayer_output(BuiltinCall *c) { return mark(c, true); }
