// evaluate.h: the reference evaluator. Plain loops in double precision; the oracle of every
// test and of the tuner. Integers and booleans are whole numbers in doubles. Nothing is rounded
// to a value's type: overflow of i32 and the rounding of f32 and bf16 are not modelled.
#pragma once

#include "ir/graph/graph.h"

typedef struct {
    const Graph *graph;
    Arena *arena;
    uint32_t count;  // values of the graph when init was called; later ones are unknown here
    double **data;   // per value, row-major in its axes; NULL until computed or given
    bool *needed;    // per value, of the request being computed
} Evaluation;

void evaluation_init(Evaluation *e, const Graph *g, Arena *arena);  // every axis must be bound
// Room for a leaf's elements, to be filled by the caller.
double *evaluation_leaf(Evaluation *e, uint32_t leaf);
// Computes `v` and what it needs; returns its elements. Leaves must have been given.
const double *evaluation_value(Evaluation *e, ValueId v);

// An elementwise operation with a result of `type`, on one element of each operand.
double evaluate_scalar(GraphOp op, DType type, const double x[3]);
