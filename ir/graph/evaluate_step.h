// evaluate_step.h: what the parts of the reference evaluator share: one operation to compute,
// and a loop nest whose axes are found by name in any number of arrays. Private to evaluate*.c.
#pragma once

#include "ir/graph/graph.h"

typedef struct {
    const Graph *graph;
    const Value *value;
    const double *const *in;  // elements of each operand
    double *out;              // zeroed
    Arena *scratch;           // rewound after the step
} EvaluateStep;

// One function per `evaluate` name in ops.def.
void evaluate_constant(const EvaluateStep *s);
void evaluate_iota(const EvaluateStep *s);
void evaluate_leaf(const EvaluateStep *s);
void evaluate_elementwise(const EvaluateStep *s);
void evaluate_reduce(const EvaluateStep *s);
void evaluate_logsumexp(const EvaluateStep *s);
void evaluate_softmax(const EvaluateStep *s);
void evaluate_contract(const EvaluateStep *s);
void evaluate_attend(const EvaluateStep *s);
void evaluate_linear(const EvaluateStep *s);
void evaluate_group_order(const EvaluateStep *s);
void evaluate_grouped(const EvaluateStep *s);
void evaluate_move(const EvaluateStep *s);
void evaluate_unwindow(const EvaluateStep *s);
void evaluate_gather(const EvaluateStep *s);
void evaluate_scatter(const EvaluateStep *s);
void evaluate_place(const EvaluateStep *s);

const Value *step_operand(const EvaluateStep *s, uint32_t k);

// A contraction walks its result's axes and those summed away.
#define NEST_MAX_RANK   (2 * GRAPH_MAX_RANK)
#define NEST_MAX_ARRAYS 9

// A nest of loops, outermost first, over up to NEST_MAX_ARRAYS arrays.
typedef struct {
    const Graph *graph;
    uint32_t rank, arrays;  // rank is at least 1: a nest without axes has one of extent 1
    AxisId axis[NEST_MAX_RANK];
    int64_t extent[NEST_MAX_RANK];
    int64_t stride[NEST_MAX_ARRAYS][NEST_MAX_RANK];  // 0 where the array lacks the axis
    int64_t start[NEST_MAX_ARRAYS];
} Nest;

// A place in all loops but the innermost, and each array's offset there. Zeroed by nest_begin.
typedef struct {
    int64_t index[NEST_MAX_RANK];
    int64_t offset[NEST_MAX_ARRAYS];
} NestCursor;

// The axes of a value, then `more`.
void nest_init(Nest *n, const Graph *g, const Value *axes_of, const AxisId *more,
               uint32_t more_count);
// Adds an array with the axes of `v`; returns its number.
uint32_t nest_array(Nest *n, const Value *v);
NestCursor nest_begin(const Nest *n);
// To the next place; false when all have been visited.
//     NestCursor c = nest_begin(&n);
//     do { loop over n.extent[n.rank - 1] } while (nest_next(&n, &c));
bool nest_next(const Nest *n, NestCursor *c);

// Distance of neighbours along an axis in a row-major value; 0 if it lacks the axis.
int64_t value_stride(const Graph *g, const Value *v, AxisId a);
