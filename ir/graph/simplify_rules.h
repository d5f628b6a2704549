// simplify_rules.h: what the rewrite rules of pass_simplify share. Private to pass_simplify.c
// and simplify_*.c.
#pragma once

#include "ir/graph/graph.h"

typedef struct {
    Graph *g;        // being built; values that no root needs are dropped at the end
    Map seen;        // key of a value's operation, operands and attributes -> its id
    uint32_t depth;  // of rewrites within rewrites
} Simplifier;

// A value about to be made. Operands are values of the new graph, simplified already.
typedef struct {
    GraphOp op;
    DType type;
    uint8_t rank;
    uint32_t arity;
    AxisId axes[GRAPH_MAX_RANK];
    ValueId *in;
    GraphAttr attr;
    Span span;
} Term;

// Requirements for a rule:
//   1. It returns a value that equals the term, or {0} if it does not apply. It reads operands
//   only through
//      simplify_value and makes values only through simplify_*; nothing is changed in place.
//   2. Type and set of axes are the term's. Their order may differ: the driver then transposes.
//   3. It terminates: each rule leaves fewer or cheaper operations, fewer axes below a
//   reduction, broadcasts nearer to
//      the results, or constants nearer to the right; no rule undoes another. The driver stops
//      at a depth that no terminating set of rules reaches.
//   4. It holds for infinities and NaN in the operands (so x * 0 and x - x stay), save that
//   rounding and the sign of
//      zero may differ.
//   5. It keeps gradients: the pass may run before pass_differentiate (so operands of min and
//   max keep their order).
//   6. It has a test in tests/ir/test_simplify.c, or where that is made which it is for.
typedef ValueId (*SimplifyRule)(Simplifier *s, const Term *t);

typedef struct {
    GraphOp op;  // OP_NONE: every elementwise operation
    SimplifyRule apply;
} SimplifyRow;

// Tried in this order; each ends with a row whose rule is NULL.
extern const SimplifyRow simplify_view_rows[];
extern const SimplifyRow simplify_algebra_rows[];
extern const SimplifyRow simplify_sum_rows[];

// A copy: the array of values moves when one is made.
Value simplify_value(const Simplifier *s, ValueId v);
bool simplify_constant(const Simplifier *s, ValueId v, double *out);  // also a broadcast one
bool simplify_axes_equal(const AxisId *a, uint32_t a_count, const AxisId *b, uint32_t b_count);
bool simplify_axes_within(const Value *inner,
                          const Value *outer);  // every axis of inner is in outer
ValueId simplify_unbroadcast(const Simplifier *s, ValueId v);  // what v repeats

ValueId simplify_make(Simplifier *s, const Term *t);  // of op, in, arity, attr, span
ValueId simplify_unary(Simplifier *s, const Term *at, GraphOp op, ValueId x);
ValueId simplify_binary(Simplifier *s, const Term *at, GraphOp op, ValueId x, ValueId y);
ValueId simplify_move(Simplifier *s, const Term *at, GraphOp op, ValueId x, GraphAttr attr);
ValueId simplify_number(Simplifier *s, const Term *at, double number, DType type);
ValueId simplify_rename(Simplifier *s, const Term *at, ValueId x, AxisId from, AxisId to);
// x with exactly these axes, of which its own are a part.
ValueId simplify_fit(Simplifier *s, const Term *at, ValueId x, const AxisId *axes,
                     uint32_t rank);
