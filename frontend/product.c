// product.c: sum(a * b * ..., axes). Here, and only here, factors need not align: the sum is a
// contraction. Factors are gathered into at most two groups; a factor joins a group that
// contains it or that it contains.
#include "frontend/elaborate.h"

typedef struct {
    Operand group[2];
    uint32_t count;
    double scale;
    Span span;
} Product;

static const Operator times = {.op = OP_MUL, .text = "*"};

static Operator operator_at(Operator op, Span span) {
    op.span = span;
    return op;
}

static bool alike(const Elaboration *e, Operand a, Operand b) {
    return align_contains(e, a.v.tensor, b.v.tensor) ||
           align_contains(e, b.v.tensor, a.v.tensor);
}

static bool product_add(Elaboration *e, Product *p, Operand x) {
    if (datum_is_poison(x.v)) return false;
    if (x.v.kind != DATUM_TENSOR) {
        double number = 0;
        if (!want_number(e, x, "a factor", &number)) return false;
        p->scale *= number;
        return true;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        if (!alike(e, p->group[i], x)) continue;
        p->group[i].v = elaborate_arithmetic(e, operator_at(times, p->span), p->group[i], x);
        p->group[i].at.end = x.at.end;
        return p->group[i].v.kind == DATUM_TENSOR;
    }
    if (p->count == 2) {
        elaborate_error(e, x.at,
                        "a product under a sum has at most two factors that do not align");
        for (uint32_t i = 0; i < 2; i++) {
            Str is = elaborate_describe(e, p->group[i].v);
            diag_note(e->diag, p->group[i].at, "one is %.*s", STR_ARG(is));
        }
        Str is = elaborate_describe(e, x.v);
        diag_note(e->diag, x.at, "this is %.*s; sum two of them first", STR_ARG(is));
        return false;
    }
    p->group[p->count++] = x;
    return true;
}

static bool product_divide(Elaboration *e, Product *p, Operand x) {
    if (datum_is_poison(x.v)) return false;
    if (x.v.kind != DATUM_TENSOR) {
        double number = 0;
        if (!want_number(e, x, "the divisor", &number)) return false;
        if (number == 0) elaborate_error(e, x.at, "division by zero");
        p->scale /= number;
        return number != 0;
    }
    Operator divide = {.op = OP_DIV, .text = "/", .span = p->span};
    uint32_t which = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        if (align_contains(e, p->group[i].v.tensor, x.v.tensor)) which = i;
    }
    if (p->count == 0) p->group[p->count++] = (Operand){datum_number(1), p->span};
    p->group[which].v = elaborate_arithmetic(e, divide, p->group[which], x);
    return p->group[which].v.kind == DATUM_TENSOR;
}

static bool product_collect(Elaboration *e, const AstExpr *expr, Product *p);

static bool product_of_kind(Elaboration *e, const AstExpr *expr, Product *p) {
    if (expr->kind == AST_EXPR_UNARY && expr->unary.op == AST_UNARY_NEG) {
        p->scale = -p->scale;
        return product_collect(e, expr->unary.x, p);
    }
    bool product = expr->kind == AST_EXPR_BINARY && expr->binary.op == AST_BINARY_MUL;
    bool quotient = expr->kind == AST_EXPR_BINARY && expr->binary.op == AST_BINARY_DIV;
    if (!product && !quotient) return product_add(e, p, elaborate_operand(e, expr));
    bool left = product_collect(e, expr->binary.a, p);
    // Both sides are elaborated even if one is wrong, to report the mistakes of both.
    if (product) return product_collect(e, expr->binary.b, p) && left;
    Operand divisor = elaborate_operand(e, expr->binary.b);
    return left && product_divide(e, p, divisor);
}

static bool product_collect(Elaboration *e, const AstExpr *expr, Product *p) {
    if (!elaborate_enter(e, expr->span)) return false;
    bool good = product_of_kind(e, expr, p);
    elaborate_leave(e);
    return good;
}

static bool product_has(const Elaboration *e, const Product *p, uint32_t i, AxisId a) {
    return graph_has_axis(graph_value(e->graph, p->group[i].v.tensor), a);
}

static Datum contract(Elaboration *e, Product *p, const AxisSet *axes, Span span) {
    AxisSet shared = {0}, own[2] = {{.count = 0}, {.count = 0}};
    for (uint32_t i = 0; i < axes->count; i++) {
        AxisId a = axes->items[i];
        bool in[2] = {product_has(e, p, 0, a), product_has(e, p, 1, a)};
        AxisSet *set = in[0] && in[1] ? &shared : &own[in[0] ? 0 : 1];
        set->items[set->count++] = a;
    }
    // Axes of one factor alone are summed there first; then the factors may align.
    Operand x = {emit_reduce(e, OP_REDUCE_SUM, p->group[0].v, &own[0], span), p->group[0].at};
    Operand y = {emit_reduce(e, OP_REDUCE_SUM, p->group[1].v, &own[1], span), p->group[1].at};
    if (datum_is_poison(x.v) || datum_is_poison(y.v)) return POISON;
    if (shared.count == 0 && alike(e, x, y)) {
        return elaborate_arithmetic(e, operator_at(times, p->span), x, y);
    }
    if (shared.count == 0) {
        align_check(e, operator_at(times, p->span), p->group[0], p->group[1]);
        return POISON;
    }
    return emit_contract(e, x.v, y.v, &shared, span);
}

static bool axes_present(Elaboration *e, const Product *p, const AxisSet *axes, Span span) {
    for (uint32_t i = 0; i < axes->count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < p->count; k++)
            found |= product_has(e, p, k, axes->items[i]);
        if (found) continue;
        Str name = graph_axis_at(e->graph, axes->items[i])->name;
        elaborate_error(e, span, "what is summed has no axis %.*s", STR_ARG(name));
        for (uint32_t k = 0; k < p->count; k++) {
            Str is = elaborate_describe(e, p->group[k].v);
            diag_note(e->diag, p->group[k].at, "%s is %.*s", p->count == 1 ? "it" : "a factor",
                      STR_ARG(is));
        }
        axis_note(e, axes->items[i]);
        return false;
    }
    return true;
}

Datum elaborate_sum_of_products(Elaboration *e, const AstExpr *expr, const AstExpr *over,
                                const char *what, AxisSet *axes) {
    Product p = {.scale = 1, .span = expr->span};
    bool good = product_collect(e, expr, &p);
    Operand named = elaborate_operand(e, over);
    if (!want_axes(e, named, what, axes) || !good) return POISON;
    Span span = over->span;
    if (p.count == 0) return elaborate_error(e, expr->span, "a sum is over a tensor");
    if (!axes_present(e, &p, axes, span)) return POISON;
    if (p.count == 2 && alike(e, p.group[0], p.group[1])) {
        Operator how = operator_at(times, p.span);
        p.group[0].v = elaborate_arithmetic(e, how, p.group[0], p.group[1]);
        p.count = 1;
    }
    if (p.group[0].v.kind != DATUM_TENSOR) return POISON;
    Datum sum = p.count == 1 ? emit_reduce(e, OP_REDUCE_SUM, p.group[0].v, axes, span)
                             : contract(e, &p, axes, span);
    if (p.scale == 1) return sum;
    Operand factor = {datum_number(p.scale), span};
    return elaborate_arithmetic(e, operator_at(times, span), (Operand){sum, span}, factor);
}
