// elaborate.c: what all parts of the elaborator share: reporting, limits, and coercion of
// values.
#include "frontend/elaborate.h"

#include <math.h>

// ---- reporting and limits

Datum elaborate_error(Elaboration *e, Span span, const char *fmt, ...) {
    StrBuf text = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    diag_error(e->diag, span, "%.*s", STR_ARG(strbuf_view(&text)));
    strbuf_release(&text);
    e->trace_left = 3;
    if (diag_full(e->diag)) e->stopped = true;
    return POISON;
}

Str elaborate_describe(Elaboration *e, Datum d) {
    return datum_describe(e->graph, e->arena, d);
}

bool elaborate_step(Elaboration *e, Span span, uint64_t amount) {
    if (e->stopped) return false;
    e->steps += amount;
    if (e->steps <= ELABORATE_MAX_STEPS) return true;
    elaborate_error(e, span, "the model takes more than %d steps to elaborate",
                    ELABORATE_MAX_STEPS);
    e->stopped = true;
    return false;
}

bool elaborate_enter(Elaboration *e, Span span) {
    if (!elaborate_step(e, span, 1)) return false;
    if (e->depth < ELABORATE_MAX_DEPTH) {
        e->depth++;
        return true;
    }
    elaborate_error(e, span, "expressions, blocks and calls nest too deep");
    e->stopped = true;
    return false;
}

void elaborate_leave(Elaboration *e) { e->depth--; }

// ---- coercion

static bool wanted(Elaboration *e, Operand x, const char *what, const char *kind) {
    if (datum_is_poison(x.v)) return false;
    Str is = elaborate_describe(e, x.v);
    if (x.v.kind == DATUM_NEW_NAME) {
        elaborate_error(e, x.at, "'%.*s' is not in scope", STR_ARG(x.v.string));
    } else {
        elaborate_error(e, x.at, "%s must be %s, this is %.*s", what, kind, STR_ARG(is));
    }
    return false;
}

bool want_number(Elaboration *e, Operand x, const char *what, double *out) {
    if (x.v.kind == DATUM_NUMBER) {
        *out = x.v.number;
        return true;
    }
    if (x.v.kind != DATUM_AXIS) return wanted(e, x, what, "a number");
    const Axis *axis = graph_axis_at(e->graph, x.v.axis);
    if (axis->extent == EXTENT_UNKNOWN) {
        elaborate_error(e, x.at, "the extent of %.*s is known only at run time",
                        STR_ARG(axis->name));
        axis_note(e, x.v.axis);
        return false;
    }
    *out = (double)axis->extent;
    return true;
}

bool want_integer(Elaboration *e, Operand x, const char *what, int64_t *out) {
    double number = 0;
    if (!want_number(e, x, what, &number)) return false;
    if (!datum_is_integer(datum_number(number))) {
        elaborate_error(e, x.at, "%s must be a whole number, this is %.17g", what, number);
        return false;
    }
    *out = (int64_t)number;
    return true;
}

bool want_bool(Elaboration *e, Operand x, const char *what, bool *out) {
    if (x.v.kind == DATUM_BOOL) {
        *out = x.v.boolean;
        return true;
    }
    if (!wanted(e, x, what, "true or false") && x.v.kind == DATUM_TENSOR) {
        diag_note(
            e->diag, x.at,
            "conditions are decided while elaborating; where(c, x, y) chooses by element");
    }
    return false;
}

bool want_tensor(Elaboration *e, Operand x, const char *what, ValueId *out) {
    if (x.v.kind == DATUM_TENSOR) {
        *out = x.v.tensor;
        return true;
    }
    if (x.v.kind != DATUM_NUMBER && x.v.kind != DATUM_AXIS) {
        return wanted(e, x, what, "a tensor");
    }
    double number = 0;
    if (!want_number(e, x, what, &number)) return false;
    *out = graph_const(e->graph, number, x.at);
    return true;
}

bool want_axis(Elaboration *e, Operand x, const char *what, AxisId *out) {
    if (x.v.kind == DATUM_LIST && x.v.list->count == 1) x.v = x.v.list->items[0];
    if (x.v.kind == DATUM_AXIS) {
        *out = x.v.axis;
        return true;
    }
    return wanted(e, x, what, "an axis");
}

static bool axes_collect(Elaboration *e, Operand x, const char *what, AxisSet *out) {
    if (x.v.kind == DATUM_LIST) {
        for (uint32_t i = 0; i < x.v.list->count; i++) {
            if (!axes_collect(e, (Operand){x.v.list->items[i], x.at}, what, out)) return false;
        }
        return true;
    }
    if (x.v.kind != DATUM_AXIS) return wanted(e, x, what, "an axis or a list of axes");
    for (uint32_t i = 0; i < out->count; i++) {
        if (out->items[i].i != x.v.axis.i) continue;
        Str name = graph_axis_at(e->graph, x.v.axis)->name;
        elaborate_error(e, x.at, "axis %.*s is given twice", STR_ARG(name));
        return false;
    }
    if (out->count == GRAPH_MAX_RANK) {
        elaborate_error(e, x.at, "more than %d axes", GRAPH_MAX_RANK);
        return false;
    }
    out->items[out->count++] = x.v.axis;
    return true;
}

bool want_axes(Elaboration *e, Operand x, const char *what, AxisSet *out) {
    out->count = 0;
    return axes_collect(e, x, what, out);
}

bool want_axis_of(Elaboration *e, Operand tensor, AxisId axis, Span at) {
    if (tensor.v.kind != DATUM_TENSOR) return false;
    if (graph_has_axis(graph_value(e->graph, tensor.v.tensor), axis)) return true;
    Str is = elaborate_describe(e, tensor.v);
    Str name = graph_axis_at(e->graph, axis)->name;
    elaborate_error(e, at, "the tensor has no axis %.*s", STR_ARG(name));
    diag_note(e->diag, tensor.at, "it is %.*s", STR_ARG(is));
    axis_note(e, axis);
    return false;
}
