// graph_bench.h: a small graph with data for its leaves, for tests that look at numbers.
#pragma once

#include "ir/graph/evaluate.h"
#include "ir/graph/graph.h"

typedef struct {
    Arena arena;
    Graph *g;
    Vec(double *) data;  // per leaf
    uint64_t seed;       // of the next random leaf
    const char *label;   // of the case being tested, for messages; may be NULL
} GraphBench;

#define AXES(...) ((AxisId[]){__VA_ARGS__}), (sizeof((AxisId[]){__VA_ARGS__}) / sizeof(AxisId))

void bench_init(GraphBench *b);
void bench_release(GraphBench *b);

AxisId bench_axis(GraphBench *b, const char *name, int64_t extent);
// A parameter (f32) or input (i32, bool) with these elements.
ValueId bench_leaf(GraphBench *b, DType type, const AxisId *axes, size_t rank,
                   const double *data);
// A scalar parameter.
ValueId bench_scalar(GraphBench *b, double x);
// A parameter, uniform in [low, high).
ValueId bench_random(GraphBench *b, const AxisId *axes, size_t rank, double low, double high);
// An i32 input, uniform over the integers of [low, high).
ValueId bench_index(GraphBench *b, const AxisId *axes, size_t rank, int64_t low, int64_t high);

ValueId bench_unary(GraphBench *b, GraphOp op, ValueId x);
ValueId bench_binary(GraphBench *b, GraphOp op, ValueId x, ValueId y);
ValueId bench_reduce(GraphBench *b, GraphOp op, ValueId x, const AxisId *along, size_t count);
ValueId bench_contract(GraphBench *b, ValueId x, ValueId y, const AxisId *along, size_t count);
// Sum of all elements; of a scalar, itself.
ValueId bench_total(GraphBench *b, ValueId x);
// One operand, any attributes.
ValueId bench_move(GraphBench *b, GraphOp op, ValueId x, GraphAttr attr);

// A fresh evaluation with every leaf given; elements live until the bench's arena is rewound.
Evaluation bench_evaluation(GraphBench *b);
const double *bench_value(GraphBench *b, ValueId v);
// Fails the test unless v has exactly these elements (to 1e-14, relative; NaN equals NaN).
void bench_expect(GraphBench *b, ValueId v, const double *expected, int64_t count);
#define EXPECT(b, v, ...)                           \
    bench_expect((b), (v), (double[]){__VA_ARGS__}, \
                 (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)))
// Fails the test unless v has exactly these axes in this order.
void bench_expect_axes(GraphBench *b, ValueId v, const AxisId *axes, size_t rank);
// Fails the test with the diagnostics unless g is a legal graph.
void bench_verify(GraphBench *b, const Graph *g);
