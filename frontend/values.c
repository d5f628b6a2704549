// values.c: making and describing elaboration-time values.
#include "frontend/values.h"

#include <math.h>

Datum datum_number(double x) { return (Datum){.kind = DATUM_NUMBER, .number = x}; }
Datum datum_bool(bool x) { return (Datum){.kind = DATUM_BOOL, .boolean = x}; }
Datum datum_string(Str s) { return (Datum){.kind = DATUM_STRING, .string = s}; }
Datum datum_axis(AxisId a) { return (Datum){.kind = DATUM_AXIS, .axis = a}; }
Datum datum_tensor(ValueId v) { return (Datum){.kind = DATUM_TENSOR, .tensor = v}; }
Datum datum_init(Init init) { return (Datum){.kind = DATUM_INIT, .init = init}; }

Datum datum_list(Arena *arena, const Datum *items, uint32_t count) {
    DatumList *list = arena_new(arena, DatumList);
    Datum *copy = arena_array(arena, Datum, count);
    if (count > 0) memcpy(copy, items, count * sizeof(Datum));
    *list = (DatumList){.items = copy, .count = count};
    return (Datum){.kind = DATUM_LIST, .list = list};
}

Datum datum_axes(Arena *arena, const AxisId *axes, uint32_t count) {
    Datum *items = arena_array(arena, Datum, count);
    for (uint32_t i = 0; i < count; i++)
        items[i] = datum_axis(axes[i]);
    DatumList *list = arena_new(arena, DatumList);
    *list = (DatumList){.items = items, .count = count};
    return (Datum){.kind = DATUM_LIST, .list = list};
}

bool datum_is_poison(Datum d) {
    if (d.kind == DATUM_POISON) return true;
    if (d.kind != DATUM_LIST) return false;
    for (uint32_t i = 0; i < d.list->count; i++) {
        if (d.list->items[i].kind == DATUM_POISON) return true;
    }
    return false;
}

bool datum_is_integer(Datum d) {
    return d.kind == DATUM_NUMBER && fabs(d.number) < 9007199254740992.0 &&
           d.number == floor(d.number);
}

bool datum_is_int32(Datum d) { return datum_is_integer(d) && fabs(d.number) <= 2147483647.0; }

const Datum *datum_field(const DatumRecord *record, Str name) {
    for (uint32_t i = 0; i < record->count; i++) {
        if (str_eq(record->names[i], name)) return &record->values[i];
    }
    return NULL;
}

const char *datum_kind_text(Datum d) {
    switch (d.kind) {
    case DATUM_ABSENT: return "nothing";
    case DATUM_POISON: return "an erroneous value";
    case DATUM_NONE: return "none";
    case DATUM_NUMBER: return "a number";
    case DATUM_BOOL: return "a boolean";
    case DATUM_STRING: return "a string";
    case DATUM_AXIS: return "an axis";
    case DATUM_TENSOR: return "a tensor";
    case DATUM_LIST: return "a list";
    case DATUM_RECORD: return "a record";
    case DATUM_FUNCTION: return "a function";
    case DATUM_BUILTIN: return "a built-in function";
    case DATUM_INIT: return "an initialiser";
    case DATUM_ARROW: return "a pair of axes";
    case DATUM_NEW_NAME: return "an unknown name";
    }
    return "a value";
}

void describe_axis(const Graph *g, AxisId a, StrBuf *out) {
    const Axis *axis = graph_axis_at(g, a);
    strbuf_add(out, axis->name);
    if (axis->extent != EXTENT_UNKNOWN) strbuf_addf(out, "=%lld", (long long)axis->extent);
}

void describe_tensor(const Graph *g, ValueId v, StrBuf *out) {
    const Value *value = graph_value(g, v);
    strbuf_addz(out, dtype_text(value->type));
    if (value->rank == 0) {
        strbuf_addz(out, " without axes");
        return;
    }
    strbuf_addc(out, '[');
    for (uint32_t i = 0; i < value->rank; i++) {
        if (i > 0) strbuf_addz(out, ", ");
        describe_axis(g, value->axes[i], out);
    }
    strbuf_addc(out, ']');
}

Str datum_describe(const Graph *g, Arena *arena, Datum d) {
    StrBuf text = {0};
    if (d.kind == DATUM_TENSOR) {
        describe_tensor(g, d.tensor, &text);
    } else if (d.kind == DATUM_AXIS) {
        strbuf_addz(&text, "axis ");
        describe_axis(g, d.axis, &text);
    } else if (d.kind == DATUM_NUMBER) {
        strbuf_addz(&text, "the number ");
        strbuf_add_double(&text, d.number);
    } else if (d.kind == DATUM_STRING) {
        strbuf_addf(&text, "the string \"%.*s\"", STR_ARG(d.string));
    } else if (d.kind == DATUM_LIST) {
        strbuf_addf(&text, "a list of %u", d.list->count);
    } else {
        strbuf_addz(&text, datum_kind_text(d));
    }
    Str copy = str_copy(arena, strbuf_view(&text));
    strbuf_release(&text);
    return copy;
}
