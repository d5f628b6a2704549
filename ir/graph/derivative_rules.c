// derivative_rules.c: one function per `derivative` name in ops.def, in its order. For whoever
// adds a rule:
//  1. It gives the gradient of operand k with the operand's axes in the operand's order, as
//     graph values. {0} is zero.
//  2. Reductions come as early as they can: what an elementwise operand lacks is summed away
//     before it is multiplied
//     with anything that lacks the same axes.
//  3. A choice is differentiated by a choice (where), never by a product with 0 or 1: 0 * inf
//     is not 0.
//  4. It uses the result r instead of computing it again.
//  5. Gradients are f32, also of bf16 values.
//  6. It has a row in tests/ir/test_differentiate.c and in docs/graph_ir.md.
#include "ir/graph/derivative_rules.h"

#include <math.h>

#include "base/check.h"
#include "ir/graph/attend.h"
#include "ir/graph/grouped.h"
#include "ir/graph/linear.h"

typedef struct {
    Graph *g;
    ValueId v, grad;
    Value value;  // of v; a copy, since appending moves the array
} Derivation;

typedef ValueId (*DeriveFunction)(const Derivation *d, uint32_t k);

// ---- short forms

static ValueId none(void) { return (ValueId){0}; }

static Span span_of(const Derivation *d) { return d->value.span; }

static ValueId operand(const Derivation *d, uint32_t k) { return d->value.in[k]; }

static const Value *operand_value(const Derivation *d, uint32_t k) {
    return graph_value(d->g, operand(d, k));
}

static ValueId real(const Derivation *d, double number) {
    return graph_const(d->g, number, span_of(d));
}

static ValueId unary(const Derivation *d, GraphOp op, ValueId x) {
    return graph_unary(d->g, op, x, span_of(d));
}

static ValueId binary(const Derivation *d, GraphOp op, ValueId x, ValueId y) {
    return graph_binary(d->g, op, x, y, span_of(d));
}

static ValueId mul(const Derivation *d, ValueId x, ValueId y) {
    return binary(d, OP_MUL, x, y);
}

static ValueId sub(const Derivation *d, ValueId x, ValueId y) {
    return binary(d, OP_SUB, x, y);
}

static ValueId scaled(const Derivation *d, ValueId x, double factor) {
    return mul(d, x, real(d, factor));
}

static ValueId choice(const Derivation *d, ValueId condition, ValueId x, ValueId y) {
    return graph_add(d->g, OP_WHERE, (Operands){(ValueId[]){condition, x, y}, 3},
                     (GraphAttr){0}, span_of(d));
}

static ValueId moved(const Derivation *d, GraphOp op, ValueId x, GraphAttr attr) {
    return graph_add(d->g, op, (Operands){&x, 1}, attr, span_of(d));
}

static bool axes_equal(const Value *x, const Value *y) {
    if (x->rank != y->rank) return false;
    for (int i = 0; i < x->rank; i++)
        if (x->axes[i].i != y->axes[i].i) return false;
    return true;
}

// x in the storage order of operand k, which has the same axes.
static ValueId in_order_of(const Derivation *d, ValueId x, uint32_t k) {
    const Value *to = operand_value(d, k);
    if (axes_equal(graph_value(d->g, x), to)) return x;
    return moved(d, OP_TRANSPOSE, x, (GraphAttr){.to = to->axes, .to_count = to->rank});
}

// The axes of x that y lacks, in x's order; the count is returned.
static uint8_t axes_missing(const Value *x, const Value *y, AxisId missing[GRAPH_MAX_RANK]) {
    uint8_t count = 0;
    for (int i = 0; i < x->rank; i++)
        if (!graph_has_axis(y, x->axes[i])) missing[count++] = x->axes[i];
    return count;
}

// Sums x over the axes that operand k lacks: the adjoint of its broadcast in an elementwise
// operation.
static ValueId reduced_to(const Derivation *d, ValueId x, uint32_t k) {
    AxisId missing[GRAPH_MAX_RANK];
    uint8_t count = axes_missing(graph_value(d->g, x), operand_value(d, k), missing);
    if (count > 0) x = graph_sum(d->g, x, missing, count, span_of(d));
    return in_order_of(d, x, k);
}

static ValueId broadcast_to(const Derivation *d, ValueId x, const Value *to) {
    return moved(d, OP_BROADCAST, x, (GraphAttr){.to = to->axes, .to_count = to->rank});
}

// ---- elementwise

static ValueId derive_neg(const Derivation *d, uint32_t k) {
    (void)k;
    return unary(d, OP_NEG, d->grad);
}

// What takes two kernels forward takes two backward.
static ValueId derive_keep(const Derivation *d, uint32_t k) {
    (void)k;
    return unary(d, OP_KEEP, d->grad);
}

static ValueId derive_abs(const Derivation *d, uint32_t k) {
    return mul(d, d->grad, unary(d, OP_SIGN, operand(d, k)));
}

static ValueId derive_exp(const Derivation *d, uint32_t k) {
    (void)k;
    return mul(d, d->grad, d->v);
}

static ValueId derive_log(const Derivation *d, uint32_t k) {
    return binary(d, OP_DIV, d->grad, operand(d, k));
}

static ValueId derive_sqrt(const Derivation *d, uint32_t k) {
    (void)k;
    return binary(d, OP_DIV, scaled(d, d->grad, 0.5), d->v);
}

static ValueId derive_rsqrt(const Derivation *d, uint32_t k) {
    (void)k;
    ValueId cube = mul(d, mul(d, d->v, d->v), d->v);
    return mul(d, d->grad, scaled(d, cube, -0.5));
}

static ValueId derive_tanh(const Derivation *d, uint32_t k) {
    (void)k;
    return mul(d, d->grad, sub(d, real(d, 1), mul(d, d->v, d->v)));
}

static ValueId derive_sigmoid(const Derivation *d, uint32_t k) {
    (void)k;
    return mul(d, d->grad, mul(d, d->v, sub(d, real(d, 1), d->v)));
}

static ValueId derive_sin(const Derivation *d, uint32_t k) {
    return mul(d, d->grad, unary(d, OP_COS, operand(d, k)));
}

static ValueId derive_cos(const Derivation *d, uint32_t k) {
    return mul(d, d->grad, unary(d, OP_NEG, unary(d, OP_SIN, operand(d, k))));
}

static ValueId derive_erf(const Derivation *d, uint32_t k) {
    const double two_over_root_pi = 1.1283791670955126;
    ValueId x = operand(d, k), bell = unary(d, OP_EXP, unary(d, OP_NEG, mul(d, x, x)));
    return mul(d, d->grad, scaled(d, bell, two_over_root_pi));
}

static ValueId derive_cast(const Derivation *d, uint32_t k) {
    (void)k;
    return d->grad;
}

static ValueId derive_add(const Derivation *d, uint32_t k) { return reduced_to(d, d->grad, k); }

static ValueId derive_sub(const Derivation *d, uint32_t k) {
    ValueId x = reduced_to(d, d->grad, k);
    return k == 0 ? x : unary(d, OP_NEG, x);
}

// Of a square once: two equal terms would be added.
static ValueId derive_mul(const Derivation *d, uint32_t k) {
    if (operand(d, 0).i == operand(d, 1).i)
        return k == 0 ? mul(d, scaled(d, d->grad, 2), operand(d, 0)) : none();
    return reduced_to(d, mul(d, d->grad, operand(d, 1 - k)), k);
}

static ValueId derive_div(const Derivation *d, uint32_t k) {
    if (k == 0) return reduced_to(d, binary(d, OP_DIV, d->grad, operand(d, 1)), 0);
    ValueId sum = reduced_to(d, mul(d, d->grad, d->v), 1);
    const Value *x = operand_value(d, 0);
    bool reciprocal = x->op == OP_CONST && x->attr.number == 1;
    return unary(d, OP_NEG,
                 reciprocal ? mul(d, sum, d->v) : binary(d, OP_DIV, sum, operand(d, 1)));
}

// d x^n / dx for a constant n: no logarithm and no power that a product can say.
static ValueId derive_constant_power(const Derivation *d, double n) {
    ValueId x = operand(d, 0);
    if (n == 0) return none();
    if (n == 1) return d->grad;
    if (n == 2) return mul(d, d->grad, scaled(d, x, 2));
    return mul(d, d->grad, scaled(d, binary(d, OP_POW, x, real(d, n - 1)), n));
}

static ValueId derive_pow(const Derivation *d, uint32_t k) {
    ValueId x = operand(d, 0), n = operand(d, 1);
    if (k == 0 && operand_value(d, 1)->op == OP_CONST) {
        return derive_constant_power(d, operand_value(d, 1)->attr.number);
    }
    if (k == 0) {
        ValueId slope = mul(d, binary(d, OP_POW, x, sub(d, n, real(d, 1))), n);
        return reduced_to(d, mul(d, d->grad, slope), 0);
    }
    return reduced_to(d, mul(d, mul(d, d->grad, d->v), unary(d, OP_LOG, x)), 1);
}

// The gradient goes to y where `to_y` holds, else to x.
static ValueId derive_choice_of(const Derivation *d, ValueId to_y, uint32_t k) {
    ValueId zero = real(d, 0);
    ValueId x = k == 0 ? choice(d, to_y, zero, d->grad) : choice(d, to_y, d->grad, zero);
    return reduced_to(d, x, k);
}

static ValueId derive_min(const Derivation *d, uint32_t k) {
    return derive_choice_of(d, binary(d, OP_LT, operand(d, 1), operand(d, 0)), k);
}

static ValueId derive_max(const Derivation *d, uint32_t k) {
    return derive_choice_of(d, binary(d, OP_LT, operand(d, 0), operand(d, 1)), k);
}

static ValueId derive_where(const Derivation *d, uint32_t k) {
    ValueId zero = real(d, 0), condition = operand(d, 0);
    ValueId x =
        k == 1 ? choice(d, condition, d->grad, zero) : choice(d, condition, zero, d->grad);
    return reduced_to(d, x, k);
}

// ---- reductions

static ValueId derive_reduce_sum(const Derivation *d, uint32_t k) {
    return broadcast_to(d, d->grad, operand_value(d, k));
}

static ValueId derive_reduce_max(const Derivation *d, uint32_t k) {
    const GraphAttr *attr = &d->value.attr;
    ValueId greatest = binary(d, OP_EQ, operand(d, k), d->v);
    ValueId ones = graph_cast(d->g, greatest, DTYPE_F32, span_of(d));
    ValueId ties = graph_sum(d->g, ones, attr->along, attr->along_count, span_of(d));
    return choice(d, greatest, binary(d, OP_DIV, d->grad, ties), real(d, 0));
}

static ValueId derive_logsumexp(const Derivation *d, uint32_t k) {
    return mul(d, unary(d, OP_EXP, sub(d, operand(d, k), d->v)), d->grad);
}

static ValueId derive_softmax(const Derivation *d, uint32_t k) {
    (void)k;
    const GraphAttr *attr = &d->value.attr;
    ValueId product = mul(d, d->grad, d->v);
    ValueId mean = graph_sum(d->g, product, attr->along, attr->along_count, span_of(d));
    return mul(d, d->v, sub(d, d->grad, mean));
}

static ValueId as_f32(const Derivation *d, ValueId x) {
    bool is_f32 = graph_value(d->g, x)->type == DTYPE_F32;
    return is_f32 ? x : graph_cast(d->g, x, DTYPE_F32, span_of(d));
}

// The axes of contract(x, y) over `along`, in order.
static uint8_t contract_axes(const Value *x, const Value *y, const GraphAttr *along,
                             AxisId *out) {
    uint8_t kept =
        axes_missing(x, &(Value){.axes = along->along, .rank = along->along_count}, out);
    return (uint8_t)(kept + axes_missing(y, x, out + kept));
}

// With A the axes of the other operand that operand k lacks: contract(grad, other) over A. Both
// orders of the two give the operand's axes; that which gives its storage order is taken, or at
// least its last axis, so that rows stay rows. Without A it is an elementwise product.
static ValueId derive_contract(const Derivation *d, uint32_t k) {
    const Value x = *operand_value(d, k);
    ValueId other = operand(d, 1 - k);
    AxisId along[GRAPH_MAX_RANK];
    GraphAttr attr = {.along = along,
                      .along_count = axes_missing(graph_value(d->g, other), &x, along)};
    if (attr.along_count == 0) return mul(d, broadcast_to(d, d->grad, &x), as_f32(d, other));
    const Value *grad = graph_value(d->g, d->grad), *y = graph_value(d->g, other);
    AxisId one[2 * GRAPH_MAX_RANK], two[2 * GRAPH_MAX_RANK];
    uint8_t kept = contract_axes(grad, y, &attr, one);
    contract_axes(y, grad, &attr, two);
    bool as_is = axes_equal(&x, &(Value){.axes = one, .rank = kept});
    bool swapped = axes_equal(&x, &(Value){.axes = two, .rank = kept});
    if (!as_is && !swapped) as_is = kept > 0 && one[kept - 1].i == x.axes[x.rank - 1].i;
    ValueId in[2] = {as_is ? d->grad : other, as_is ? other : d->grad};
    return in_order_of(d, graph_add(d->g, OP_CONTRACT, (Operands){in, 2}, attr, span_of(d)), k);
}

// The weights are computed again from lse, the one number a row that is kept of them.
static ValueId derive_attend(const Derivation *d, uint32_t k) {
    const ValueId *more = d->value.in + attend_needs(OP_ATTEND);
    uint32_t count = d->value.arity - attend_needs(OP_ATTEND);
    ValueId in[9] = {operand(d, 0), operand(d, 1)};
    memcpy(in + 2, more, count * sizeof *more);
    ValueId lse =
        graph_add(d->g, OP_ATTEND_LSE, (Operands){in, 2 + count}, d->value.attr, span_of(d));
    ValueId delta = graph_sum(d->g, mul(d, d->grad, d->v), &d->value.axes[d->value.rank - 1], 1,
                              span_of(d));
    in[2] = operand(d, 2);
    in[3] = d->grad;
    in[4] = lse;
    in[5] = delta;
    memcpy(in + 6, more, count * sizeof *more);
    return graph_add(d->g, (GraphOp)(OP_ATTEND_DQ + k), (Operands){in, 6 + count},
                     d->value.attr, span_of(d));
}

// ---- linear attention

// The gradient's operation of operand k, which has those operands that `bits` say.
static GraphOp linear_gradient(int64_t bits, uint32_t k) {
    const bool there[] = {
        bits & LINEAR_HAS_QUERY,  true, true, bits & LINEAR_HAS_DECAY, bits & LINEAR_HAS_BETA,
        bits & LINEAR_HAS_INITIAL};
    int op = OP_LINEAR_DQ;
    while (!there[op - OP_LINEAR_DQ] || k-- > 0)
        op++;
    return (GraphOp)op;
}

// What the delta rule writes of, which the forward pass has solved for.
static ValueId linear_error(const Derivation *d) {
    GraphAttr attr = d->value.attr;
    uint32_t queries = attr.amount & LINEAR_HAS_QUERY ? 1 : 0;
    attr.amount &= ~(int64_t)LINEAR_HAS_QUERY;
    attr.number = 1;  // of no result: that of the final state's gradients is the same
    return graph_add(d->g, OP_LINEAR_ERROR,
                     (Operands){d->value.in + queries, d->value.arity - queries}, attr,
                     span_of(d));
}

static ValueId derive_linear(const Derivation *d, uint32_t k) {
    ValueId in[8];
    uint32_t arity = d->value.arity;
    for (uint32_t i = 0; i < arity; i++)
        in[i] = operand(d, i);
    if (d->value.attr.amount & LINEAR_DELTA) in[arity++] = linear_error(d);
    in[arity++] = d->grad;
    GraphOp op = linear_gradient(d->value.attr.amount, k);
    return reduced_to(d, graph_add(d->g, op, (Operands){in, arity}, d->value.attr, span_of(d)),
                      k);
}

// ---- grouped contractions

// x's gradient has all axes that number rows of r: what x lacks of them is summed.
static ValueId derive_grouped_x(const Derivation *d, const GroupedAxes *s) {
    AxisId along[GRAPH_MAX_RANK], to[GRAPH_MAX_RANK];
    GraphAttr attr = {.along = along, .to = to};
    for (uint32_t i = 0; i < s->outer_count; i++)
        along[attr.along_count++] = s->outer[i];
    along[attr.along_count++] = s->groups;
    for (int i = 0; i < d->value.rank - s->outer_count; i++)
        to[attr.to_count++] = d->value.axes[i];
    for (uint32_t i = 0; i < s->inner_count; i++)
        to[attr.to_count++] = s->inner[i];
    ValueId rows = operand(d, GROUPED_Y_ROWS);
    ValueId in[GROUPED_OPERANDS] = {d->grad, operand(d, GROUPED_Y), rows, rows,
                                    operand(d, GROUPED_ENDS)};
    return graph_add(d->g, OP_CONTRACT_AT, (Operands){in, GROUPED_OPERANDS}, attr, span_of(d));
}

static ValueId derive_contract_at(const Derivation *d, uint32_t k) {
    GroupedAxes s = grouped_axes(d->g, &d->value);
    if (k == GROUPED_X) return reduced_to(d, derive_grouped_x(d, &s), k);
    if (k != GROUPED_Y) return none();
    const Value *y = operand_value(d, k);
    GraphAttr attr = {.along = &s.groups, .along_count = 1, .to = y->axes, .to_count = y->rank};
    ValueId in[GROUPED_OPERANDS];
    for (uint32_t i = 0; i < GROUPED_OPERANDS; i++)
        in[i] = operand(d, i);
    in[GROUPED_Y] = d->grad;
    return graph_add(d->g, OP_CONTRACT_INTO, (Operands){in, GROUPED_OPERANDS}, attr,
                     span_of(d));
}

// ---- movement

static ValueId derive_broadcast(const Derivation *d, uint32_t k) {
    return reduced_to(d, d->grad, k);
}

// Movements that are undone by another with `along` and `to` exchanged.
static ValueId undone(const Derivation *d, GraphOp op, uint32_t k) {
    const GraphAttr *a = &d->value.attr;
    GraphAttr attr = {
        .along = a->to, .along_count = a->to_count, .to = a->along, .to_count = a->along_count};
    attr.amount = a->amount;
    return in_order_of(d, moved(d, op, d->grad, attr), k);
}

static ValueId derive_rename(const Derivation *d, uint32_t k) {
    return undone(d, OP_RENAME, k);
}

static ValueId derive_transpose(const Derivation *d, uint32_t k) {
    return in_order_of(d, d->grad, k);
}

static ValueId derive_split(const Derivation *d, uint32_t k) { return undone(d, OP_MERGE, k); }

static ValueId derive_merge(const Derivation *d, uint32_t k) { return undone(d, OP_SPLIT, k); }

static ValueId derive_slice(const Derivation *d, uint32_t k) { return undone(d, OP_PAD, k); }

static ValueId derive_pad(const Derivation *d, uint32_t k) { return undone(d, OP_SLICE, k); }

static ValueId derive_take(const Derivation *d, uint32_t k) { return undone(d, OP_PUT, k); }

static ValueId derive_put(const Derivation *d, uint32_t k) { return undone(d, OP_TAKE, k); }

static ValueId moved_back(const Derivation *d) {
    GraphAttr attr = d->value.attr;
    attr.amount = -attr.amount;
    return moved(d, d->value.op, d->grad, attr);
}

static ValueId derive_roll(const Derivation *d, uint32_t k) {
    (void)k;
    return moved_back(d);
}

static ValueId derive_shift(const Derivation *d, uint32_t k) {
    (void)k;
    return moved_back(d);
}

static ValueId derive_window(const Derivation *d, uint32_t k) {
    AxisId along[2] = {d->value.attr.along[0], d->value.attr.to[0]};
    return in_order_of(
        d, moved(d, OP_UNWINDOW, d->grad, (GraphAttr){.along = along, .along_count = 2}), k);
}

static ValueId derive_unwindow(const Derivation *d, uint32_t k) {
    const AxisId *along = d->value.attr.along;
    GraphAttr attr = {.along = along, .along_count = 1, .to = along + 1, .to_count = 1};
    return in_order_of(d, moved(d, OP_WINDOW, d->grad, attr), k);
}

static ValueId derive_concat(const Derivation *d, uint32_t k) {
    const GraphAttr *a = &d->value.attr;
    GraphAttr attr = {.along = a->to, .along_count = 1, .to = a->along + k, .to_count = 1};
    for (uint32_t i = 0; i < k; i++)
        attr.amount += graph_extent(d->g, a->along[i]);
    return in_order_of(d, moved(d, OP_SLICE, d->grad, attr), k);
}

static ValueId derive_stack(const Derivation *d, uint32_t k) {
    GraphAttr attr = {.along = d->value.attr.to, .along_count = 1, .amount = k};
    return in_order_of(d, moved(d, OP_TAKE, d->grad, attr), k);
}

// An index whose axes are all in x picks each element at most once: the adjoint is then
// elementwise. Else it scatters.
static ValueId derive_gather(const Derivation *d, uint32_t k) {
    const Value x = *operand_value(d, 0);
    const Value *index = operand_value(d, 1);
    GraphAttr attr = {.along = d->value.attr.along, .along_count = 1};
    AxisId missing[GRAPH_MAX_RANK];
    if (axes_missing(index, &x, missing) > 0) {
        ValueId in[2] = {d->grad, operand(d, 1)};
        GraphAttr to = {.to = x.axes, .to_count = x.rank};
        return graph_add(d->g, OP_SCATTER, (Operands){in, 2}, to, span_of(d));
    }
    ValueId iota = graph_add(d->g, OP_IOTA, (Operands){0}, attr, span_of(d));
    ValueId picked = binary(d, OP_EQ, broadcast_to(d, iota, &x), operand(d, 1));
    return in_order_of(d, choice(d, picked, d->grad, real(d, 0)), k);
}

static ValueId derive_scatter(const Derivation *d, uint32_t k) {
    AxisId looked_up[GRAPH_MAX_RANK];  // one: the axis that x lacks
    axes_missing(&d->value, operand_value(d, k), looked_up);
    GraphAttr attr = {.along = looked_up, .along_count = 1};
    ValueId in[2] = {d->grad, operand(d, 1)};
    return in_order_of(d, graph_add(d->g, OP_GATHER, (Operands){in, 2}, attr, span_of(d)), k);
}

// ---- table

#define derive_none NULL

static const DeriveFunction rules[OP_COUNT] = {
#define GRAPH_OP(NAME, text, arity, shape, derivative, evaluate, flops) \
    [OP_##NAME] = derive_##derivative,
#include "ir/graph/ops.def"
#undef GRAPH_OP
};

bool op_has_derivative(GraphOp op) { return rules[op] != NULL; }

ValueId derivative_of_operand(Graph *g, ValueId v, ValueId grad, uint32_t k) {
    Derivation d = {.g = g, .v = v, .grad = grad, .value = *graph_value(g, v)};
    ASSERT(rules[d.value.op] && k < d.value.arity &&
           axes_equal(graph_value(g, grad), &d.value));
    ValueId r = rules[d.value.op](&d, k);
    ASSERT(r.i == 0 || axes_equal(graph_value(g, r), operand_value(&d, k)));
    return r;
}
