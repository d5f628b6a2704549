// axes.c: declaring axes. An axis is known by its number; its name is for people.
#include "frontend/elaborate.h"

static void origin_set(Elaboration *e, AxisId a, AxisOrigin origin) {
    while (e->origins.len <= a.i)
        vec_push(e->arena, &e->origins, (AxisOrigin){0});
    e->origins.ptr[a.i] = origin;
}

AxisId axis_declare(Elaboration *e, Str name, int64_t extent, Span span) {
    AxisId a = graph_axis(e->graph, name, extent, false);
    origin_set(e, a, (AxisOrigin){.span = span, .frame = e->frame});
    return a;
}

AxisId axis_declare_runtime(Elaboration *e, Str name, Span span) {
    int64_t extent = EXTENT_UNKNOWN;
    (void)setting_extent(e, name, &extent);
    AxisId a = graph_axis(e->graph, name, extent, true);
    origin_set(e, a, (AxisOrigin){.span = span, .frame = e->frame});
    return a;
}

static AxisId role_of(Elaboration *e, Str name, AxisId of) {
    Axis source = *graph_axis_at(e->graph, of);
    AxisId a = graph_axis(e->graph, name, source.extent, source.runtime);
    // graph_bind follows one step, so that a role of a role names the first.
    if (source.runtime) {
        e->graph->axes.ptr[a.i].same_as = source.same_as.i != 0 ? source.same_as : of;
    }
    return a;
}

AxisId axis_role(Elaboration *e, Str name, AxisId of, Span span) {
    AxisId a = role_of(e, name, of);
    origin_set(e, a, (AxisOrigin){.span = span, .frame = e->frame});
    return a;
}

AxisId axis_internal(Elaboration *e, Str name, AxisId of) { return role_of(e, name, of); }

bool extent_known(const Elaboration *e, AxisId a) {
    return graph_axis_at(e->graph, a)->extent != EXTENT_UNKNOWN;
}

static AxisId first_role(const Elaboration *e, AxisId a) {
    AxisId of = graph_axis_at(e->graph, a)->same_as;
    return of.i != 0 ? of : a;
}

bool extents_match(const Elaboration *e, AxisId a, AxisId b) {
    if (first_role(e, a).i == first_role(e, b).i) return true;
    return extent_known(e, a) &&
           graph_axis_at(e->graph, a)->extent == graph_axis_at(e->graph, b)->extent;
}

bool extent_check(Elaboration *e, double x, Span span, int64_t *out) {
    if (x >= 1 && x <= ELABORATE_MAX_EXTENT && x == (double)(int64_t)x) {
        *out = (int64_t)x;
        return true;
    }
    elaborate_error(e, span,
                    "the extent of an axis must be a whole number from 1 to %d, this is %.17g",
                    ELABORATE_MAX_EXTENT, x);
    return false;
}

Datum axis_sum(Elaboration *e, AxisId a, AxisId b, Span span) {
    vec_each (AxisSum, s, &e->sums) {
        if (s->a.i == a.i && s->b.i == b.i) return datum_axis(s->sum);
    }
    double x = 0, y = 0;
    int64_t extent = 0;
    if (!want_number(e, (Operand){datum_axis(a), span}, "an extent", &x) ||
        !want_number(e, (Operand){datum_axis(b), span}, "an extent", &y) ||
        !extent_check(e, x + y, span, &extent)) {
        return POISON;
    }
    Str name = str_printf(e->arena, "%.*s_%.*s", STR_ARG(graph_axis_at(e->graph, a)->name),
                          STR_ARG(graph_axis_at(e->graph, b)->name));
    AxisSum made = {.a = a, .b = b, .sum = graph_axis(e->graph, name, extent, false)};
    origin_set(e, made.sum, (AxisOrigin){.span = span});
    vec_push(e->arena, &e->sums, made);
    return datum_axis(made.sum);
}

void axis_note(Elaboration *e, AxisId a) {
    if (a.i >= e->origins.len || e->origins.ptr[a.i].span.file == 0) return;
    diag_note(e->diag, e->origins.ptr[a.i].span, "%.*s is declared here",
              STR_ARG(graph_axis_at(e->graph, a)->name));
}
