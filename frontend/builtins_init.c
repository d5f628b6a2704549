// builtins_init.c: how parameters start.
#include <math.h>

#include "frontend/builtins.h"

static Datum positive(BuiltinCall *c, uint32_t i, double x) {
    if (x > 0) return NONE;
    return elaborate_error(c->e, c->arg[i].at, "%s must be above 0, this is %.17g",
                           call_arg_text(c, i), x);
}

Datum builtin_normal(BuiltinCall *c) {
    double a = 0;
    if (!call_number(c, 0, 0, &a) || datum_is_poison(positive(c, 0, a))) return POISON;
    return datum_init((Init){.kind = INIT_NORMAL, .a = a});
}

// uniform(bound) is uniform(-bound, bound).
Datum builtin_uniform(BuiltinCall *c) {
    double a = 0, b = 0;
    if (!call_number(c, 0, 0, &a) || !call_number(c, 1, 0, &b)) return POISON;
    if (!call_given(c, 1)) {
        if (datum_is_poison(positive(c, 0, a))) return POISON;
        return datum_init((Init){.kind = INIT_UNIFORM, .a = -a, .b = a});
    }
    if (b > a) return datum_init((Init){.kind = INIT_UNIFORM, .a = a, .b = b});
    return elaborate_error(c->e, c->arg[1].at,
                           "uniform goes from the smaller number to the larger");
}

Datum builtin_log_uniform(BuiltinCall *c) {
    double a = 0, b = 0;
    if (!call_number(c, 0, 0, &a) || !call_number(c, 1, 0, &b)) return POISON;
    if (datum_is_poison(positive(c, 0, a))) return POISON;
    if (b > a) return datum_init((Init){.kind = INIT_LOG_UNIFORM, .a = a, .b = b});
    return elaborate_error(c->e, c->arg[1].at,
                           "log_uniform goes from the smaller number to the larger");
}

Datum builtin_orthogonal(BuiltinCall *c) {
    double a = 0;
    return call_number(c, 0, 1, &a) ? datum_init((Init){.kind = INIT_ORTHOGONAL, .a = a})
                                    : POISON;
}

Datum builtin_identity(BuiltinCall *c) {
    double a = 0;
    return call_number(c, 0, 1, &a) ? datum_init((Init){.kind = INIT_IDENTITY, .a = a})
                                    : POISON;
}

Datum builtin_unit(BuiltinCall *c) {
    int64_t position = 0;
    double scale = 0;
    if (!want_integer(c->e, c->arg[0], call_arg_text(c, 0), &position)) return POISON;
    if (!call_number(c, 1, 1, &scale)) return POISON;
    return datum_init((Init){.kind = INIT_UNIT, .a = (double)position, .b = scale});
}

// y with softplus(y) = x: log(exp(x) - 1), written so that a large x does not overflow.
Datum builtin_softplus_inverse(BuiltinCall *c) {
    if (c->arg[0].v.kind != DATUM_INIT) {
        double x = 0;
        if (!call_number(c, 0, 0, &x) || datum_is_poison(positive(c, 0, x))) return POISON;
        return datum_number(x + log(-expm1(-x)));
    }
    Init init = c->arg[0].v.init;
    if (init.transform != INIT_AS_IS) {
        return elaborate_error(c->e, c->span, "an initialiser takes one transformation");
    }
    init.transform = INIT_SOFTPLUS_INVERSE;
    return datum_init(init);
}
