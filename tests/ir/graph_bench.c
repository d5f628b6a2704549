#include "tests/ir/graph_bench.h"

#include <math.h>

#include "base/rng.h"
#include "tests/test.h"

void bench_init(GraphBench *b) {
    *b = (GraphBench){0};
    arena_init(&b->arena);
    b->g = graph_new(&b->arena, STR("bench"));
}

void bench_release(GraphBench *b) { arena_release(&b->arena); }

AxisId bench_axis(GraphBench *b, const char *name, int64_t extent) {
    return graph_axis(b->g, str_of(name), extent, false);
}

static double *leaf_add(GraphBench *b, DType type, const AxisId *axes, size_t rank,
                        ValueId *v) {
    Leaf leaf = {.kind = type == DTYPE_F32 ? OP_PARAM : OP_INPUT, .type = type, .axes = axes};
    leaf.rank = (uint8_t)rank;
    leaf.path = str_printf(&b->arena, "leaf%u", b->data.len);
    leaf.trained = type == DTYPE_F32;
    *v = graph_leaf(b->g, &leaf);
    double *data = arena_array(&b->arena, double, graph_elements(b->g, *v));
    vec_push(&b->arena, &b->data, data);
    return data;
}

ValueId bench_leaf(GraphBench *b, DType type, const AxisId *axes, size_t rank,
                   const double *data) {
    ValueId v;
    double *to = leaf_add(b, type, axes, rank, &v);
    memcpy(to, data, (size_t)graph_elements(b->g, v) * sizeof *to);
    return v;
}

ValueId bench_scalar(GraphBench *b, double x) { return bench_leaf(b, DTYPE_F32, NULL, 0, &x); }

ValueId bench_random(GraphBench *b, const AxisId *axes, size_t rank, double low, double high) {
    ValueId v;
    double *to = leaf_add(b, DTYPE_F32, axes, rank, &v);
    int64_t n = graph_elements(b->g, v);
    for (int64_t i = 0; i < n; i++)
        to[i] = low + (high - low) * rng_uniform(b->seed, (uint64_t)i);
    b->seed++;
    return v;
}

ValueId bench_index(GraphBench *b, const AxisId *axes, size_t rank, int64_t low, int64_t high) {
    ValueId v;
    double *to = leaf_add(b, DTYPE_I32, axes, rank, &v);
    int64_t n = graph_elements(b->g, v);
    for (int64_t i = 0; i < n; i++)
        to[i] = floor((double)low + (double)(high - low) * rng_uniform(b->seed, (uint64_t)i));
    b->seed++;
    return v;
}

ValueId bench_unary(GraphBench *b, GraphOp op, ValueId x) {
    return graph_unary(b->g, op, x, (Span){0});
}

ValueId bench_binary(GraphBench *b, GraphOp op, ValueId x, ValueId y) {
    return graph_binary(b->g, op, x, y, (Span){0});
}

ValueId bench_reduce(GraphBench *b, GraphOp op, ValueId x, const AxisId *along, size_t count) {
    GraphAttr attr = {.along = along, .along_count = (uint8_t)count};
    return graph_add(b->g, op, (Operands){&x, 1}, attr, (Span){0});
}

ValueId bench_contract(GraphBench *b, ValueId x, ValueId y, const AxisId *along, size_t count) {
    GraphAttr attr = {.along = along, .along_count = (uint8_t)count};
    return graph_add(b->g, OP_CONTRACT, (Operands){(ValueId[]){x, y}, 2}, attr, (Span){0});
}

ValueId bench_move(GraphBench *b, GraphOp op, ValueId x, GraphAttr attr) {
    return graph_add(b->g, op, (Operands){&x, 1}, attr, (Span){0});
}

ValueId bench_total(GraphBench *b, ValueId x) {
    const Value *v = graph_value(b->g, x);
    return v->rank == 0 ? x : bench_reduce(b, OP_REDUCE_SUM, x, v->axes, v->rank);
}

Evaluation bench_evaluation(GraphBench *b) {
    Evaluation e;
    evaluation_init(&e, b->g, &b->arena);
    for (uint32_t i = 0; i < b->data.len; i++) {
        size_t n = (size_t)graph_elements(b->g, b->g->leaf_values.ptr[i]);
        memcpy(evaluation_leaf(&e, i), b->data.ptr[i], n * sizeof(double));
    }
    return e;
}

const double *bench_value(GraphBench *b, ValueId v) {
    Evaluation e = bench_evaluation(b);
    return evaluation_value(&e, v);
}

void bench_expect(GraphBench *b, ValueId v, const double *expected, int64_t count) {
    assert_int_equal(graph_elements(b->g, v), count);
    const double *got = bench_value(b, v);
    for (int64_t i = 0; i < count; i++) {
        if (isnan(expected[i]) && isnan(got[i])) continue;
        if (got[i] == expected[i]) continue;
        if (fabs(got[i] - expected[i]) <= 1e-14 * (1 + fabs(expected[i]))) continue;
        fail_msg("'%s': element %lld is %.17g, expected %.17g",
                 op_text(graph_value(b->g, v)->op), (long long)i, got[i], expected[i]);
    }
}

void bench_expect_axes(GraphBench *b, ValueId v, const AxisId *axes, size_t rank) {
    const Value *value = graph_value(b->g, v);
    assert_int_equal(value->rank, rank);
    for (size_t i = 0; i < rank; i++)
        assert_int_equal(value->axes[i].i, axes[i].i);
}

void bench_verify(GraphBench *b, const Graph *g) {
    Diag diag;
    diag_init(&diag, &b->arena);
    bool ok = graph_verify(&diag, g);
    assert_diag(&diag, "");
    assert_true(ok);
}
