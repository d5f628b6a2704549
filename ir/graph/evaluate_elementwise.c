// evaluate_elementwise.c: reference of leaves and of operations that work element by element.
#include <math.h>

#include "base/check.h"
#include "ir/graph/evaluate.h"
#include "ir/graph/evaluate_step.h"

void evaluate_constant(const EvaluateStep *s) { s->out[0] = s->value->attr.number; }

void evaluate_iota(const EvaluateStep *s) {
    int64_t n = graph_extent(s->graph, s->value->axes[0]);
    for (int64_t i = 0; i < n; i++)
        s->out[i] = (double)i;
}

void evaluate_leaf(const EvaluateStep *s) {
    const Leaf *leaf = &s->graph->leaves.ptr[s->value->attr.leaf];
    BUG("leaf '%.*s' was not given to the evaluation", STR_ARG(leaf->path));
}

static double evaluate_cast(double x, DType type) {
    if (type == DTYPE_BOOL) return x != 0;
    if (type == DTYPE_BF16) return (double)bf16_to(bf16_of((float)x));
    return dtype_is_float(type) ? x : trunc(x);
}

static double evaluate_unary(const Value *v, double x) {
    switch ((int)v->op) {
    case OP_NEG: return -x;
    case OP_ABS: return fabs(x);
    case OP_SIGN: return (x > 0) - (x < 0);
    case OP_EXP: return exp(x);
    case OP_LOG: return log(x);
    case OP_SQRT: return sqrt(x);
    case OP_RSQRT: return 1 / sqrt(x);
    case OP_TANH: return tanh(x);
    case OP_SIGMOID: return 1 / (1 + exp(-x));
    case OP_SIN: return sin(x);
    case OP_COS: return cos(x);
    case OP_ERF: return erf(x);
    case OP_FLOOR: return floor(x);
    case OP_NOT: return x == 0;
    case OP_CAST: return evaluate_cast(x, v->type);
    case OP_DETACH:
    case OP_KEEP: return x;
    default: BUG("'%s' is not a unary operation", op_text(v->op));
    }
}

static double evaluate_binary(const Value *v, double x, double y) {
    switch ((int)v->op) {
    case OP_ADD: return x + y;
    case OP_SUB: return x - y;
    case OP_MUL: return x * y;
    case OP_DIV: return x / y;
    case OP_POW: return pow(x, y);
    case OP_MIN: return x <= y ? x : y;
    case OP_MAX: return x >= y ? x : y;
    case OP_EQ: return x == y;
    case OP_NE: return x != y;
    case OP_LT: return x < y;
    case OP_LE: return x <= y;
    case OP_AND: return x != 0 && y != 0;
    case OP_OR: return x != 0 || y != 0;
    default: BUG("'%s' is not a binary operation", op_text(v->op));
    }
}

static double evaluate_element(const Value *v, const double x[3]) {
    if (v->arity == 1) return evaluate_unary(v, x[0]);
    if (v->arity == 2) return evaluate_binary(v, x[0], x[1]);
    ASSERT(v->op == OP_WHERE);
    return x[0] != 0 ? x[1] : x[2];
}

void evaluate_elementwise(const EvaluateStep *s) {
    const Value *v = s->value;
    ASSERT(v->arity <= 3);
    Nest n;
    nest_init(&n, s->graph, v, NULL, 0);
    for (uint32_t k = 0; k < v->arity; k++)
        nest_array(&n, step_operand(s, k));
    uint32_t out = nest_array(&n, v), last = n.rank - 1;
    NestCursor c = nest_begin(&n);
    do {
        for (int64_t i = 0; i < n.extent[last]; i++) {
            double x[3] = {0};
            for (uint32_t k = 0; k < v->arity; k++)
                x[k] = s->in[k][c.offset[k] + i * n.stride[k][last]];
            s->out[c.offset[out] + i * n.stride[out][last]] = evaluate_element(v, x);
        }
    } while (nest_next(&n, &c));
}

double evaluate_scalar(GraphOp op, DType type, const double x[3]) {
    Value v = {.op = op, .type = type, .arity = (uint32_t)op_arity(op)};
    return evaluate_element(&v, x);
}
