// align.c: operators on numbers and tensors. Tensors align by axis: one operand's axes must
// contain the other's.
#include <math.h>

#include "frontend/elaborate.h"

// ---- alignment

static bool axes_contain(const Value *outer, const Value *inner) {
    for (uint32_t i = 0; i < inner->rank; i++) {
        if (!graph_has_axis(outer, inner->axes[i])) return false;
    }
    return true;
}

bool align_contains(const Elaboration *e, ValueId outer, ValueId inner) {
    return axes_contain(graph_value(e->graph, outer), graph_value(e->graph, inner));
}

// "m and k": the axes of x that y lacks.
static Str axes_lacking(Elaboration *e, ValueId x, ValueId y) {
    const Value *a = graph_value(e->graph, x), *b = graph_value(e->graph, y);
    StrBuf text = {0};
    for (uint32_t i = 0; i < a->rank; i++) {
        if (graph_has_axis(b, a->axes[i])) continue;
        if (text.len > 0) strbuf_addz(&text, ", ");
        strbuf_add(&text, graph_axis_at(e->graph, a->axes[i])->name);
    }
    Str copy = str_copy(e->arena, strbuf_view(&text));
    strbuf_release(&text);
    return copy;
}

bool align_check(Elaboration *e, Operator op, Operand a, Operand b) {
    if (a.v.kind != DATUM_TENSOR || b.v.kind != DATUM_TENSOR) return false;
    ValueId x = a.v.tensor, y = b.v.tensor;
    if (align_contains(e, x, y) || align_contains(e, y, x)) return true;
    elaborate_error(e, op.span, "the operands of '%s' do not align", op.text);
    Str left = elaborate_describe(e, a.v), right = elaborate_describe(e, b.v);
    Str more_left = axes_lacking(e, x, y), more_right = axes_lacking(e, y, x);
    diag_note(e->diag, a.at, "one side is %.*s; it lacks %.*s", STR_ARG(left),
              STR_ARG(more_right));
    diag_note(e->diag, b.at, "the other is %.*s; it lacks %.*s", STR_ARG(right),
              STR_ARG(more_left));
    if (op.op == OP_MUL) {
        diag_note(e->diag, op.span,
                  "every pair is outer(a, b); over a shared axis it is sum(a * b, axis)");
    } else {
        diag_note(e->diag, op.span, "broadcast(x, axes) gives one side the axes it lacks");
    }
    return false;
}

// ---- arithmetic

static double fold(GraphOp op, double a, double b) {
    if (op == OP_ADD) return a + b;
    if (op == OP_SUB) return a - b;
    if (op == OP_MUL) return a * b;
    if (op == OP_DIV) return a / b;
    if (op == OP_POW) return pow(a, b);
    return op == OP_MIN ? fmin(a, b) : fmax(a, b);
}

static bool is_scalar(Datum d) { return d.kind == DATUM_NUMBER || d.kind == DATUM_AXIS; }

// Whole numbers become i32 constants beside an i32 tensor, so that integers stay integers.
static Datum operand_tensor(Elaboration *e, Operator op, Operand x, bool integer) {
    if (x.v.kind == DATUM_TENSOR) {
        if (graph_value(e->graph, x.v.tensor)->type == DTYPE_BOOL) {
            return elaborate_error(e, x.at,
                                   "'%s' needs numbers, this is a tensor of booleans; "
                                   "where(c, 1, 0) makes numbers of them",
                                   op.text);
        }
        return integer ? x.v : emit_cast(e, x.v, DTYPE_F32, x.at);
    }
    double number = 0;
    if (!want_number(e, x, "the operand", &number)) return POISON;
    if (integer) return datum_tensor(graph_const_i32(e->graph, (int64_t)number, x.at));
    return datum_tensor(graph_const(e->graph, number, x.at));
}

static bool stays_integer(const Elaboration *e, Operand x) {
    if (x.v.kind == DATUM_TENSOR) {
        return graph_value(e->graph, x.v.tensor)->type == DTYPE_I32;
    }
    return datum_is_int32(x.v);
}

static Datum fold_scalars(Elaboration *e, Operator op, Operand a, Operand b) {
    double x = 0, y = 0;
    if (!want_number(e, a, "the operand", &x) || !want_number(e, b, "the operand", &y)) {
        return POISON;
    }
    if (op.op == OP_DIV && y == 0) return elaborate_error(e, op.span, "division by zero");
    return datum_number(fold(op.op, x, y));
}

static bool operand_is_numeric(Elaboration *e, Operator op, Operand x) {
    if (is_scalar(x.v) || x.v.kind == DATUM_TENSOR) return true;
    Str is = elaborate_describe(e, x.v);
    elaborate_error(e, x.at, "'%s' needs numbers or tensors, this is %.*s", op.text,
                    STR_ARG(is));
    return false;
}

Datum elaborate_arithmetic(Elaboration *e, Operator op, Operand a, Operand b) {
    if (datum_is_poison(a.v) || datum_is_poison(b.v)) return POISON;
    if (!operand_is_numeric(e, op, a) || !operand_is_numeric(e, op, b)) return POISON;
    if (is_scalar(a.v) && is_scalar(b.v)) {
        bool both_axes = a.v.kind == DATUM_AXIS && b.v.kind == DATUM_AXIS;
        if (op.op == OP_ADD && both_axes) return axis_sum(e, a.v.axis, b.v.axis, op.span);
        return fold_scalars(e, op, a, b);
    }
    bool integer =
        op.op != OP_DIV && op.op != OP_POW && stays_integer(e, a) && stays_integer(e, b);
    a.v = operand_tensor(e, op, a, integer);
    b.v = operand_tensor(e, op, b, integer);
    if (!align_check(e, op, a, b)) return POISON;
    return emit(e, op, (ValueId[]){a.v.tensor, b.v.tensor}, 2, NULL);
}

Datum elaborate_negate(Elaboration *e, Operand x, Span span) {
    if (datum_is_poison(x.v)) return POISON;
    if (!operand_is_numeric(e, (Operator){OP_NEG, "-", span}, x)) return POISON;
    if (x.v.kind == DATUM_TENSOR) {
        Datum v = operand_tensor(e, (Operator){OP_NEG, "-", span}, x, stays_integer(e, x));
        return emit_unary(e, OP_NEG, v, span);
    }
    double number = 0;
    return want_number(e, x, "the operand", &number) ? datum_number(-number) : POISON;
}

// ---- comparison

static bool compare_numbers(AstBinaryOp op, double a, double b) {
    if (op == AST_BINARY_EQ) return a == b;
    if (op == AST_BINARY_NE) return a != b;
    if (op == AST_BINARY_LT) return a < b;
    if (op == AST_BINARY_LE) return a <= b;
    return op == AST_BINARY_GT ? a > b : a >= b;
}

// Equality of values that are no numbers: of the same kind and the same; lists are compared by
// element.
static bool datum_equal(Datum a, Datum b) {
    if (a.kind != b.kind) return false;
    if (a.kind == DATUM_BOOL) return a.boolean == b.boolean;
    if (a.kind == DATUM_STRING) return str_eq(a.string, b.string);
    if (a.kind == DATUM_AXIS) return a.axis.i == b.axis.i;
    if (a.kind == DATUM_NUMBER) return a.number == b.number;
    if (a.kind == DATUM_TENSOR) return a.tensor.i == b.tensor.i;
    if (a.kind != DATUM_LIST) return a.kind == DATUM_NONE;
    bool same = a.list->count == b.list->count;
    for (uint32_t i = 0; i < a.list->count && same; i++) {
        same = datum_equal(a.list->items[i], b.list->items[i]);
    }
    return same;
}

static Datum compare_tensors(Elaboration *e, AstBinaryOp op, Span span, Operand a, Operand b) {
    if (op == AST_BINARY_GT || op == AST_BINARY_GE) {
        Operand swap = a;
        a = b;
        b = swap;
    }
    static const GraphOp ops[] = {
        [AST_BINARY_EQ] = OP_EQ, [AST_BINARY_NE] = OP_NE, [AST_BINARY_LT] = OP_LT,
        [AST_BINARY_GT] = OP_LT, [AST_BINARY_LE] = OP_LE, [AST_BINARY_GE] = OP_LE};
    Operator how = {ops[op], ast_binary_text(op), span};
    bool integer = stays_integer(e, a) && stays_integer(e, b);
    a.v = operand_tensor(e, how, a, integer);
    b.v = operand_tensor(e, how, b, integer);
    if (!align_check(e, how, a, b)) return POISON;
    return emit(e, how, (ValueId[]){a.v.tensor, b.v.tensor}, 2, NULL);
}

Datum elaborate_compare(Elaboration *e, AstBinaryOp op, Span span, Operand a, Operand b) {
    if (datum_is_poison(a.v) || datum_is_poison(b.v)) return POISON;
    bool numeric_a = is_scalar(a.v) || a.v.kind == DATUM_TENSOR;
    bool numeric_b = is_scalar(b.v) || b.v.kind == DATUM_TENSOR;
    bool tensors = a.v.kind == DATUM_TENSOR || b.v.kind == DATUM_TENSOR;
    if (numeric_a && numeric_b && tensors) return compare_tensors(e, op, span, a, b);
    bool equality = op == AST_BINARY_EQ || op == AST_BINARY_NE;
    bool both_axes = a.v.kind == DATUM_AXIS && b.v.kind == DATUM_AXIS;
    if (numeric_a && numeric_b && !(equality && both_axes)) {
        double x = 0, y = 0;
        if (!want_number(e, a, "the operand", &x) || !want_number(e, b, "the operand", &y)) {
            return POISON;
        }
        return datum_bool(compare_numbers(op, x, y));
    }
    if (equality) return datum_bool(datum_equal(a.v, b.v) == (op == AST_BINARY_EQ));
    Operator how = {OP_LT, ast_binary_text(op), span};
    if (operand_is_numeric(e, how, a)) operand_is_numeric(e, how, b);
    return POISON;
}
