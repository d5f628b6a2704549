// elaborate_index.c: x[...] on lists, records and tensors.
#include "frontend/elaborate.h"

// ---- lists

static bool list_position(Elaboration *e, const AstExpr *expr, uint32_t count, int64_t *out) {
    Operand at = elaborate_operand(e, expr);
    if (!want_integer(e, at, "a position in a list", out)) return false;
    if (*out < 0) *out += count;
    if (*out >= 0 && *out <= count) return true;
    elaborate_error(e, expr->span, "position %lld is outside a list of %u", (long long)*out,
                    count);
    return false;
}

static Datum list_slice(Elaboration *e, const DatumList *list, const AstExpr *range) {
    int64_t first = 0, end = list->count;
    if (range->range.first != NULL &&
        !list_position(e, range->range.first, list->count, &first)) {
        return POISON;
    }
    if (range->range.end != NULL && !list_position(e, range->range.end, list->count, &end)) {
        return POISON;
    }
    if (end < first) end = first;
    return datum_list(e->arena, list->items + first, (uint32_t)(end - first));
}

static Datum list_index(Elaboration *e, const DatumList *list, const AstExpr *at) {
    if (!elaborate_step(e, at->span, list->count)) return POISON;
    if (at->kind == AST_EXPR_RANGE) return list_slice(e, list, at);
    int64_t i = 0;
    if (!list_position(e, at, list->count, &i)) return POISON;
    if (i < list->count) return list->items[i];
    return elaborate_error(e, at->span, "position %lld is outside a list of %u", (long long)i,
                           list->count);
}

static Datum record_index(Elaboration *e, const DatumRecord *record, const AstExpr *expr) {
    Operand key = elaborate_operand(e, expr);
    if (datum_is_poison(key.v)) return POISON;
    if (key.v.kind != DATUM_STRING) {
        Str is = elaborate_describe(e, key.v);
        return elaborate_error(e, key.at, "a record is indexed by a string, this is %.*s",
                               STR_ARG(is));
    }
    const Datum *value = datum_field(record, key.v.string);
    if (value != NULL) return *value;
    StrBuf all = {0};
    for (uint32_t i = 0; i < record->count; i++) {
        strbuf_addf(&all, "%s%.*s", i > 0 ? ", " : "", STR_ARG(record->names[i]));
    }
    elaborate_error(e, key.at, "the record has no field '%.*s'", STR_ARG(key.v.string));
    diag_note(e->diag, key.at, "it has %.*s", STR_ARG(strbuf_view(&all)));
    strbuf_release(&all);
    return POISON;
}

// ---- tensors

static Datum tensor_take(Elaboration *e, Datum x, AxisId axis, Operand at) {
    int64_t i = 0;
    if (!want_integer(e, at, "a position on an axis", &i)) return POISON;
    const Axis *a = graph_axis_at(e->graph, axis);
    bool known = a->extent != EXTENT_UNKNOWN;
    if (i < 0 && known) i += a->extent;
    if (i < 0 || (known && i >= a->extent)) {
        elaborate_error(e, at.at, "position %lld is outside axis %.*s", (long long)i,
                        STR_ARG(a->name));
        axis_note(e, axis);
        return POISON;
    }
    return emit_along(e, operation(OP_TAKE, at.at), x, axis, i);
}

static Datum tensor_gather(Elaboration *e, Datum x, AxisId axis, Operand at) {
    const Value *index = graph_value(e->graph, at.v.tensor);
    if (index->type != DTYPE_I32) {
        Str is = elaborate_describe(e, at.v);
        return elaborate_error(e, at.at, "an index is a tensor of integers, this is %.*s",
                               STR_ARG(is));
    }
    if (graph_has_axis(index, axis)) {
        return elaborate_error(e, at.at, "the index itself has axis %.*s",
                               STR_ARG(graph_axis_at(e->graph, axis)->name));
    }
    GraphAttr attr = {.along = &axis, .along_count = 1};
    return emit(e, operation(OP_GATHER, at.at), (ValueId[]){x.tensor, at.v.tensor}, 2, &attr);
}

static Datum tensor_index(Elaboration *e, Operand x, const AstIndex *item) {
    if (item->axis == NULL) {
        return elaborate_error(e, item->value->span,
                               "the index of a tensor names its axis: x[axis: i]");
    }
    AxisId axis = {0};
    Operand named = elaborate_operand(e, item->axis);
    if (item->value->kind == AST_EXPR_RANGE) {
        return elaborate_error(e, item->value->span,
                               "a part of an axis is another axis: slice(x, n -> m, first)");
    }
    Operand at = elaborate_operand(e, item->value);
    if (!want_axis(e, named, "what is before the colon", &axis)) return POISON;
    if (datum_is_poison(at.v) || !want_axis_of(e, x, axis, named.at)) return POISON;
    if (at.v.kind == DATUM_TENSOR) return tensor_gather(e, x.v, axis, at);
    return tensor_take(e, x.v, axis, at);
}

Datum elaborate_index(Elaboration *e, const AstExpr *expr) {
    Operand base = elaborate_operand(e, expr->index.base);
    const AstIndex *first = &expr->index.items[0];
    if (base.v.kind == DATUM_POISON) return POISON;
    if (base.v.kind == DATUM_LIST && first->axis == NULL) {
        return list_index(e, base.v.list, first->value);
    }
    if (base.v.kind == DATUM_RECORD && first->axis == NULL) {
        return record_index(e, base.v.record, first->value);
    }
    if (base.v.kind != DATUM_TENSOR) {
        Str is = elaborate_describe(e, base.v);
        return elaborate_error(e, expr->span, "%.*s cannot be indexed like this", STR_ARG(is));
    }
    for (uint32_t i = 0; i < expr->index.count && base.v.kind == DATUM_TENSOR; i++) {
        base.v = tensor_index(e, base, &expr->index.items[i]);
    }
    return base.v;
}
