// evaluate.h: the reference evaluator. Plain loops in double precision; the oracle of every test and of the tuner.
#pragma once

#include "ir/graph/graph.h"

typedef struct {
    const Graph *graph;
    Arena *arena;
    double **data;  // per value, row-major in its axes; NULL until computed or given
} Evaluation;

void evaluation_init(Evaluation *e, const Graph *g, Arena *arena);  // every axis must be bound
// Room for a leaf's elements, to be filled by the caller.
double *evaluation_leaf(Evaluation *e, uint32_t leaf);
// Computes `v` and what it needs; returns its elements. Leaves must have been given.
const double *evaluation_value(Evaluation *e, ValueId v);
