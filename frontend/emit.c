// emit.c: appending values to the graph. The callers have checked what a user can get wrong and
// say it in the language's words; the check here is the last line of defence, so that no input
// reaches a BUG.
#include "frontend/elaborate.h"

// Products of extents must stay exact in the passes that count bytes.
static bool elements_within_limit(Elaboration *e, ValueId v, Span span) {
    const Value *value = graph_value(e->graph, v);
    double elements = 1;
    for (uint32_t i = 0; i < value->rank; i++) {
        int64_t extent = graph_axis_at(e->graph, value->axes[i])->extent;
        if (extent != EXTENT_UNKNOWN) elements *= (double)extent;
    }
    if (elements <= ELABORATE_MAX_ELEMENTS) return true;
    Str is = elaborate_describe(e, datum_tensor(v));
    elaborate_error(e, span, "the tensor is too large: %.*s", STR_ARG(is));
    return false;
}

Operator operation(GraphOp op, Span span) { return (Operator){op, op_text(op), span}; }

Datum emit(Elaboration *e, Operator how, const ValueId *in, uint32_t count,
           const GraphAttr *attr) {
    GraphAttr attributes = attr != NULL ? *attr : (GraphAttr){0};
    if (e->stopped) return POISON;
    if (e->graph->values.len > ELABORATE_MAX_VALUES) {
        elaborate_error(e, how.span, "the model has more than %d operations",
                        ELABORATE_MAX_VALUES);
        e->stopped = true;
        return POISON;
    }
    const char *why = graph_rule_violation(e->graph, how.op, (Operands){in, count}, attributes);
    if (why != NULL) return elaborate_error(e, how.span, "%s: %s", op_text(how.op), why);
    ValueId v = graph_add(e->graph, how.op, (Operands){in, count}, attributes, how.span);
    return elements_within_limit(e, v, how.span) ? datum_tensor(v) : POISON;
}

Datum emit_unary(Elaboration *e, GraphOp op, Datum x, Span span) {
    if (x.kind != DATUM_TENSOR) return POISON;
    return emit(e, operation(op, span), &x.tensor, 1, NULL);
}

Datum emit_along(Elaboration *e, Operator how, Datum x, AxisId along, int64_t amount) {
    if (x.kind != DATUM_TENSOR) return POISON;
    GraphAttr attr = {.along = &along, .along_count = 1, .amount = amount};
    return emit(e, how, &x.tensor, 1, &attr);
}

Datum emit_reduce(Elaboration *e, GraphOp op, Datum x, const AxisSet *along, Span span) {
    if (x.kind != DATUM_TENSOR) return POISON;
    if (along->count == 0) return x;
    GraphAttr attr = {.along = along->items, .along_count = (uint8_t)along->count};
    return emit(e, operation(op, span), &x.tensor, 1, &attr);
}

Datum emit_rename(Elaboration *e, Datum x, AxisId from, AxisId to, Span span) {
    if (x.kind != DATUM_TENSOR) return POISON;
    GraphAttr attr = {.along = &from, .along_count = 1, .to = &to, .to_count = 1};
    return emit(e, operation(OP_RENAME, span), &x.tensor, 1, &attr);
}

Datum emit_broadcast(Elaboration *e, Datum x, const AxisSet *extra, Span span) {
    if (x.kind != DATUM_TENSOR) return POISON;
    const Value *value = graph_value(e->graph, x.tensor);
    AxisId axes[GRAPH_MAX_RANK];
    uint32_t rank = value->rank;
    for (uint32_t i = 0; i < rank; i++)
        axes[i] = value->axes[i];
    for (uint32_t i = 0; i < extra->count; i++) {
        if (graph_has_axis(value, extra->items[i])) continue;
        if (rank == GRAPH_MAX_RANK) {
            return elaborate_error(e, span, "more than %d axes", GRAPH_MAX_RANK);
        }
        axes[rank++] = extra->items[i];
    }
    if (rank == value->rank) return x;
    GraphAttr attr = {.to = axes, .to_count = (uint8_t)rank};
    return emit(e, operation(OP_BROADCAST, span), &x.tensor, 1, &attr);
}

Datum emit_contract(Elaboration *e, Datum x, Datum y, const AxisSet *along, Span span) {
    x = emit_cast(e, x, DTYPE_F32, span);
    y = emit_cast(e, y, DTYPE_F32, span);
    if (x.kind != DATUM_TENSOR || y.kind != DATUM_TENSOR) return POISON;
    GraphAttr attr = {.along = along->items, .along_count = (uint8_t)along->count};
    return emit(e, operation(OP_CONTRACT, span), (ValueId[]){x.tensor, y.tensor}, 2, &attr);
}

Datum emit_cast(Elaboration *e, Datum x, DType type, Span span) {
    if (x.kind != DATUM_TENSOR) return POISON;
    if (graph_value(e->graph, x.tensor)->type == type) return x;
    return emit(e, operation(OP_CAST, span), &x.tensor, 1, &(GraphAttr){.type = type});
}

Datum emit_iota(Elaboration *e, AxisId axis, Span span) {
    return emit(e, operation(OP_IOTA, span), NULL, 0,
                &(GraphAttr){.along = &axis, .along_count = 1});
}

Datum emit_order(Elaboration *e, Datum x, const AxisId *axes, uint32_t rank, Span span) {
    if (x.kind != DATUM_TENSOR) return POISON;
    const Value *value = graph_value(e->graph, x.tensor);
    bool same = value->rank == rank;
    for (uint32_t i = 0; i < rank && same; i++)
        same = value->axes[i].i == axes[i].i;
    if (same) return x;
    GraphAttr attr = {.to = axes, .to_count = (uint8_t)rank};
    return emit(e, operation(OP_TRANSPOSE, span), &x.tensor, 1, &attr);
}
