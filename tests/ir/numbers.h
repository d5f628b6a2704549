// numbers.h: numbers to test graphs with: what leaves are filled with, and how far results may
// be from the reference evaluator's.
#pragma once

#include "ir/graph/evaluate.h"

// Element i of a leaf: an index below its axis' extent; positive, if it is a state or a
// scalar; else normal with the deviation.
double number_of_leaf(const Graph *g, uint32_t leaf, double deviation, int64_t i);

// Computes `values` and what they need as evaluation_value does, but as if each operation were
// done in the format of its type: results and the terms of sums are moved at random by about
// as much as rounding and the order of a sum move them. What has been computed or given stays
// as it is.
void evaluation_rounded(Evaluation *e, const ValueId *values, uint32_t count, uint64_t seed);

// The most that an element of `v` is off in any of several such evaluations. It grows with the
// terms of sums and with what is lost where they cancel.
enum { ROUNDED_COUNT = 4 };
double deviation_of(const Evaluation *reference, Evaluation *rounded, ValueId v);

// What deviations are multiplied by: kernels and evaluations are each off by rounding, and the
// largest of few deviations varies by as much again.
#define DEVIATIONS 4
