// simplify_algebra.c: rewrites of elementwise operations: constants, signs, powers, choices.
#include <math.h>

#include "base/check.h"
#include "ir/graph/evaluate.h"
#include "ir/graph/simplify_rules.h"

static ValueId none(void) { return (ValueId){0}; }

static Value value_of(const Simplifier *s, const Term *t, uint32_t i) {
    return simplify_value(s, t->in[i]);
}

static bool constant_at(const Simplifier *s, const Term *t, uint32_t i, double *out) {
    return simplify_constant(s, t->in[i], out);
}

static bool is_constant(const Simplifier *s, const Term *t, uint32_t i, double number) {
    double c = 0;
    return constant_at(s, t, i, &c) && c == number;
}

// In the range where f32 keeps all its digits, reciprocals included.
static bool is_tame(double x) { return fabs(x) > 1e-30 && fabs(x) < 1e30; }

// ---- constants

// op c, d -> the number, if f32 or i32 holds it
static ValueId fold(Simplifier *s, const Term *t) {
    double x[3] = {0};
    for (uint32_t i = 0; i < t->arity; i++) {
        Value v = value_of(s, t, i);
        if (v.op != OP_CONST) return none();
        x[i] = v.attr.number;
    }
    double r = evaluate_scalar(t->op, t->type, x);
    bool fits = t->type == DTYPE_I32 ? r >= INT32_MIN && r <= INT32_MAX
                                     : r == 0.0 || t->type == DTYPE_BOOL || is_tame(r);
    return fits ? simplify_number(s, t, r, t->type) : none();
}

// (x + c) + d -> x + (c + d);  (x * c) * d -> x * (c * d)
static ValueId chain(Simplifier *s, const Term *t) {
    double outer = 0, inner = 0;
    Value x = value_of(s, t, 0);
    if (x.op != t->op || !constant_at(s, t, 1, &outer) ||
        !simplify_constant(s, x.in[1], &inner))
        return none();
    double both = t->op == OP_ADD ? inner + outer : inner * outer;
    bool fits = t->type == DTYPE_I32 ? fabs(both) <= INT32_MAX : both == 0.0 || is_tame(both);
    if (!fits || (t->op == OP_MUL && both == 0.0)) return none();
    return simplify_binary(s, t, t->op, x.in[0], simplify_number(s, t, both, t->type));
}

// ---- sums

// x + 0 -> x;  x - 0 -> x
static ValueId add_zero(Simplifier *s, const Term *t) {
    return is_constant(s, t, 1, 0.0) ? t->in[0] : none();
}

// 0 + x -> x, where the 0 repeats over axes that x lacks
static ValueId zero_add(Simplifier *s, const Term *t) {
    return is_constant(s, t, 0, 0.0) ? t->in[1] : none();
}

// x + (-y) -> x - y;  (-x) + y -> y - x
static ValueId add_negative(Simplifier *s, const Term *t) {
    Value x = value_of(s, t, 0), y = value_of(s, t, 1);
    if (y.op == OP_NEG) return simplify_binary(s, t, OP_SUB, t->in[0], y.in[0]);
    if (x.op == OP_NEG) return simplify_binary(s, t, OP_SUB, t->in[1], x.in[0]);
    return none();
}

// x - (-y) -> x + y;  0 - x -> -x;  x - c -> x + (-c)
static ValueId sub_to_add(Simplifier *s, const Term *t) {
    double c = 0;
    Value y = value_of(s, t, 1);
    if (y.op == OP_NEG) return simplify_binary(s, t, OP_ADD, t->in[0], y.in[0]);
    if (is_constant(s, t, 0, 0.0)) return simplify_unary(s, t, OP_NEG, t->in[1]);
    // -INT32_MIN is no i32.
    if (!constant_at(s, t, 1, &c) || (t->type == DTYPE_I32 && c == INT32_MIN)) return none();
    return simplify_binary(s, t, OP_ADD, t->in[0], simplify_number(s, t, -c, t->type));
}

// -(-x) -> x;  -(x - y) -> y - x;  -(x * c) -> x * -c
static ValueId neg_inwards(Simplifier *s, const Term *t) {
    double c = 0;
    Value x = value_of(s, t, 0);
    if (x.op == OP_NEG) return x.in[0];
    if (x.op == OP_SUB) return simplify_binary(s, t, OP_SUB, x.in[1], x.in[0]);
    if (x.op != OP_MUL || !simplify_constant(s, x.in[1], &c) || t->type != DTYPE_F32)
        return none();
    return simplify_binary(s, t, OP_MUL, x.in[0], simplify_number(s, t, -c, t->type));
}

// ---- products

// x * 1 -> x;  x * -1 -> -x.  x * 0 stays: x may be infinite.
static ValueId mul_one(Simplifier *s, const Term *t) {
    for (uint32_t i = 0; i < 2; i++) {
        if (is_constant(s, t, i, 1.0)) return t->in[1 - i];
        if (is_constant(s, t, i, -1.0)) return simplify_unary(s, t, OP_NEG, t->in[1 - i]);
    }
    return none();
}

// (-x) * (-y) -> x * y;  (-x) * c -> x * -c
static ValueId mul_negative(Simplifier *s, const Term *t) {
    double c = 0;
    Value x = value_of(s, t, 0), y = value_of(s, t, 1);
    if (x.op != OP_NEG || t->type != DTYPE_F32) return none();
    if (y.op == OP_NEG) return simplify_binary(s, t, OP_MUL, x.in[0], y.in[0]);
    if (!constant_at(s, t, 1, &c)) return none();
    return simplify_binary(s, t, OP_MUL, x.in[0], simplify_number(s, t, -c, t->type));
}

// x * (y * z) -> (x * y) * z, where only z has all axes of the result
static ValueId mul_narrow_first(Simplifier *s, const Term *t) {
    for (uint32_t i = 0; i < 4; i++) {
        ValueId x = t->in[i & 1];
        Value product = value_of(s, t, 1 - (i & 1));
        if (product.op != OP_MUL) continue;
        ValueId y = product.in[i >> 1], z = product.in[1 - (i >> 1)];
        Value narrow = simplify_value(s, x), other = simplify_value(s, y);
        bool fits =
            simplify_axes_within(&narrow, &other) || simplify_axes_within(&other, &narrow);
        if (!fits || narrow.rank == t->rank || other.rank == t->rank ||
            simplify_value(s, z).rank != t->rank)
            continue;
        return simplify_binary(s, t, OP_MUL, simplify_binary(s, t, OP_MUL, x, y), z);
    }
    return none();
}

// x / c -> x * (1 / c);  x / sqrt y -> x * rsqrt y;  1 / rsqrt y -> sqrt y
static ValueId div_to_mul(Simplifier *s, const Term *t) {
    double c = 0;
    Value y = value_of(s, t, 1);
    if (constant_at(s, t, 1, &c) && is_tame(c))
        return simplify_binary(s, t, OP_MUL, t->in[0], simplify_number(s, t, 1.0 / c, t->type));
    if (y.op == OP_SQRT)
        return simplify_binary(s, t, OP_MUL, t->in[0], simplify_unary(s, t, OP_RSQRT, y.in[0]));
    if (y.op == OP_RSQRT && is_constant(s, t, 0, 1.0))
        return simplify_unary(s, t, OP_SQRT, y.in[0]);
    return none();
}

// pow x of 0, 1, 2, 3, -1, -2, 1/2, -1/2 -> products, quotients, roots
static ValueId pow_constant(Simplifier *s, const Term *t) {
    double n = 0;
    ValueId x = t->in[0];
    if (!constant_at(s, t, 1, &n)) return none();
    if (n == 0.0) return simplify_number(s, t, 1.0, t->type);
    if (n == 1.0) return x;
    if (n == 2.0) return simplify_binary(s, t, OP_MUL, x, x);
    if (n == 3.0) return simplify_binary(s, t, OP_MUL, simplify_binary(s, t, OP_MUL, x, x), x);
    if (n == -1.0) return simplify_binary(s, t, OP_DIV, simplify_number(s, t, 1.0, t->type), x);
    if (n == -2.0) {
        ValueId one = simplify_number(s, t, 1.0, t->type);
        return simplify_binary(s, t, OP_DIV, one, simplify_binary(s, t, OP_MUL, x, x));
    }
    if (n == 0.5) return simplify_unary(s, t, OP_SQRT, x);
    return n == -0.5 ? simplify_unary(s, t, OP_RSQRT, x) : none();
}

// ---- functions

// log (exp x) -> x;  log (softmax x) -> x - logsumexp x
static ValueId log_of(Simplifier *s, const Term *t) {
    Value x = value_of(s, t, 0);
    if (x.op == OP_EXP) return x.in[0];
    if (x.op != OP_SOFTMAX) return none();
    ValueId sum = simplify_move(s, t, OP_LOGSUMEXP, x.in[0], x.attr);
    return simplify_binary(s, t, OP_SUB, x.in[0], sum);
}

// abs (-x) -> abs x;  cos (-x) -> cos x
static ValueId even_of_negative(Simplifier *s, const Term *t) {
    Value x = value_of(s, t, 0);
    return x.op == OP_NEG ? simplify_unary(s, t, t->op, x.in[0]) : none();
}

// f (f x) -> f x
static ValueId same_twice(Simplifier *s, const Term *t) {
    return value_of(s, t, 0).op == t->op ? t->in[0] : none();
}

// not (not x) -> x
static ValueId not_not(Simplifier *s, const Term *t) {
    Value x = value_of(s, t, 0);
    return x.op == OP_NOT ? x.in[0] : none();
}

// cast to its own type -> x;  cast (cast b) of a bool -> cast b
static ValueId cast_once(Simplifier *s, const Term *t) {
    Value x = value_of(s, t, 0);
    if (x.type == t->type) return t->in[0];
    if (x.op != OP_CAST || simplify_value(s, x.in[0]).type != DTYPE_BOOL) return none();
    return simplify_move(s, t, OP_CAST, x.in[0], t->attr);
}

// ---- choices

// min x x -> x, also of max, and, or
static ValueId both_same(Simplifier *s, const Term *t) {
    (void)s;
    return t->in[0].i == t->in[1].i ? t->in[0] : none();
}

// and x true -> x;  and x false -> false;  or likewise
static ValueId logic_constant(Simplifier *s, const Term *t) {
    double c = 0;
    for (uint32_t i = 0; i < 2; i++) {
        if (!constant_at(s, t, i, &c)) continue;
        bool neutral = (c != 0.0) == (t->op == OP_AND);
        return neutral ? t->in[1 - i] : simplify_number(s, t, c, DTYPE_BOOL);
    }
    return none();
}

// where c x x -> x;  where true x y -> x;  where (not c) x y -> where c y x
static ValueId where_known(Simplifier *s, const Term *t) {
    double c = 0;
    Value condition = value_of(s, t, 0);
    if (t->in[1].i == t->in[2].i) return t->in[1];
    if (constant_at(s, t, 0, &c)) return t->in[c != 0.0 ? 1 : 2];
    if (condition.op != OP_NOT) return none();
    Term swapped = *t;
    swapped.in = (ValueId[]){condition.in[0], t->in[2], t->in[1]};
    return simplify_make(s, &swapped);
}

const SimplifyRow simplify_algebra_rows[] = {
    {OP_NONE, fold},
    {OP_ADD, add_zero},
    {OP_ADD, zero_add},
    {OP_ADD, add_negative},
    {OP_ADD, chain},
    {OP_SUB, add_zero},
    {OP_SUB, sub_to_add},
    {OP_NEG, neg_inwards},
    {OP_MUL, mul_one},
    {OP_MUL, mul_negative},
    {OP_MUL, chain},
    {OP_MUL, mul_narrow_first},
    {OP_DIV, div_to_mul},
    {OP_POW, pow_constant},
    {OP_LOG, log_of},
    {OP_ABS, even_of_negative},
    {OP_COS, even_of_negative},
    {OP_ABS, same_twice},
    {OP_FLOOR, same_twice},
    {OP_DETACH, same_twice},
    {OP_KEEP, same_twice},
    {OP_NOT, not_not},
    {OP_CAST, cast_once},
    {OP_MIN, both_same},
    {OP_MAX, both_same},
    {OP_AND, both_same},
    {OP_OR, both_same},
    {OP_AND, logic_constant},
    {OP_OR, logic_constant},
    {OP_WHERE, where_known},
    {OP_NONE, NULL},
};
