// Every operation of the reference evaluator against numbers worked out by hand.
#include <math.h>

#include "tests/ir/graph_bench.h"
#include "tests/test.h"

static int setup(void **state) {
    GraphBench *b = test_malloc(sizeof *b);
    bench_init(b);
    *state = b;
    return 0;
}

static int teardown(void **state) {
    bench_release(*state);
    test_free(*state);
    return 0;
}

static GraphAttr along1(const AxisId *along) {
    return (GraphAttr){.along = along, .along_count = 1};
}

static GraphAttr from_to(const AxisId *along, const AxisId *to, int64_t amount) {
    return (GraphAttr){
        .along = along, .along_count = 1, .to = to, .to_count = 1, .amount = amount};
}

static void test_leaves(void **state) {
    GraphBench *b = *state;
    AxisId n = bench_axis(b, "n", 3), one = bench_axis(b, "one", 1);
    EXPECT(b, graph_const(b->g, 2.5, (Span){0}), 2.5);
    EXPECT(b, graph_const_i32(b->g, -7, (Span){0}), -7);
    EXPECT(b, graph_add(b->g, OP_IOTA, (Operands){0}, along1(&n), (Span){0}), 0, 1, 2);
    EXPECT(b, graph_add(b->g, OP_IOTA, (Operands){0}, along1(&one), (Span){0}), 0);
    EXPECT(b, bench_leaf(b, DTYPE_F32, AXES(n, one), (double[]){4, 5, 6}), 4, 5, 6);
    EXPECT(b, bench_scalar(b, -0.5), -0.5);
}

static void test_unary(void **state) {
    GraphBench *b = *state;
    AxisId n = bench_axis(b, "n", 4);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(n), (double[]){-2.5, 0, 0.25, 4});
    EXPECT(b, bench_unary(b, OP_NEG, x), 2.5, 0, -0.25, -4);
    EXPECT(b, bench_unary(b, OP_ABS, x), 2.5, 0, 0.25, 4);
    EXPECT(b, bench_unary(b, OP_SIGN, x), -1, 0, 1, 1);
    EXPECT(b, bench_unary(b, OP_FLOOR, x), -3, 0, 0, 4);
    EXPECT(b, bench_unary(b, OP_DETACH, x), -2.5, 0, 0.25, 4);
    EXPECT(b, bench_unary(b, OP_SQRT, x), (double)NAN, 0, 0.5, 2);
    EXPECT(b, bench_unary(b, OP_RSQRT, x), (double)NAN, HUGE_VAL, 2, 0.5);
    EXPECT(b, bench_unary(b, OP_LOG, x), (double)NAN, -HUGE_VAL, -1.3862943611198906,
           1.3862943611198906);
    EXPECT(b, bench_unary(b, OP_EXP, x), 0.0820849986238988, 1, 1.2840254166877414,
           54.598150033144239);
    EXPECT(b, bench_unary(b, OP_TANH, x), -0.98661429815143029, 0, 0.24491866240370913,
           0.99932929973906704);
    EXPECT(b, bench_unary(b, OP_SIGMOID, x), 0.07585818002124355, 0.5, 0.56217650088579807,
           0.98201379003790845);
    EXPECT(b, bench_unary(b, OP_SIN, x), -0.59847214410395649, 0, 0.24740395925452294,
           -0.7568024953079283);
    EXPECT(b, bench_unary(b, OP_COS, x), -0.80114361554693371, 1, 0.96891242171064478,
           -0.65364362086361194);
    EXPECT(b, bench_unary(b, OP_ERF, x), -0.99959304798255504, 0, 0.27632639016823696,
           0.99999998458274209);
}

static void test_sigmoid_saturates(void **state) {
    GraphBench *b = *state;
    AxisId n = bench_axis(b, "n", 2);
    EXPECT(
        b,
        bench_unary(b, OP_SIGMOID, bench_leaf(b, DTYPE_F32, AXES(n), (double[]){-1000, 1000})),
        0, 1);
}

static void test_cast(void **state) {
    GraphBench *b = *state;
    AxisId n = bench_axis(b, "n", 4);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(n), (double[]){-2.5, 0, 0.25, 4});
    EXPECT(b, graph_cast(b->g, x, DTYPE_I32, (Span){0}), -2, 0, 0, 4);
    ValueId flag = bench_binary(b, OP_LT, graph_const(b->g, 0, (Span){0}), x);
    EXPECT(b, graph_cast(b->g, flag, DTYPE_F32, (Span){0}), 0, 0, 1, 1);
    EXPECT(b, graph_cast(b->g, flag, DTYPE_I32, (Span){0}), 0, 0, 1, 1);
}

static void test_binary(void **state) {
    GraphBench *b = *state;
    AxisId n = bench_axis(b, "n", 3);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(n), (double[]){1, 2, 3});
    ValueId y = bench_leaf(b, DTYPE_F32, AXES(n), (double[]){4, 2, -1});
    EXPECT(b, bench_binary(b, OP_ADD, x, y), 5, 4, 2);
    EXPECT(b, bench_binary(b, OP_SUB, x, y), -3, 0, 4);
    EXPECT(b, bench_binary(b, OP_MUL, x, y), 4, 4, -3);
    EXPECT(b, bench_binary(b, OP_DIV, x, y), 0.25, 1, -3);
    EXPECT(b, bench_binary(b, OP_POW, x, y), 1, 4, 1.0 / 3);
    EXPECT(b, bench_binary(b, OP_MIN, x, y), 1, 2, -1);
    EXPECT(b, bench_binary(b, OP_MAX, x, y), 4, 2, 3);
    EXPECT(b, bench_binary(b, OP_EQ, x, y), 0, 1, 0);
    EXPECT(b, bench_binary(b, OP_NE, x, y), 1, 0, 1);
    EXPECT(b, bench_binary(b, OP_LT, x, y), 1, 0, 0);
    EXPECT(b, bench_binary(b, OP_LE, x, y), 1, 1, 0);
}

static void test_logic(void **state) {
    GraphBench *b = *state;
    AxisId n = bench_axis(b, "n", 4);
    ValueId x = bench_leaf(b, DTYPE_BOOL, AXES(n), (double[]){0, 0, 1, 1});
    ValueId y = bench_leaf(b, DTYPE_BOOL, AXES(n), (double[]){0, 1, 0, 1});
    EXPECT(b, bench_binary(b, OP_AND, x, y), 0, 0, 0, 1);
    EXPECT(b, bench_binary(b, OP_OR, x, y), 0, 1, 1, 1);
    EXPECT(b, bench_unary(b, OP_NOT, x), 1, 1, 0, 0);
    // The branch not taken may be anything.
    ValueId bad = bench_unary(b, OP_LOG, graph_const(b->g, -1, (Span){0}));
    ValueId z = bench_leaf(b, DTYPE_F32, AXES(n), (double[]){1, 2, 3, 4});
    ValueId r = graph_add(b->g, OP_WHERE, (Operands){(ValueId[]){y, z, bad}, 3}, (GraphAttr){0},
                          (Span){0});
    EXPECT(b, r, (double)NAN, 2, (double)NAN, 4);
}

static void test_elementwise_aligns_by_axis(void **state) {
    GraphBench *b = *state;
    AxisId p = bench_axis(b, "p", 2), q = bench_axis(b, "q", 3);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(p, q), (double[]){0, 1, 2, 3, 4, 5});
    ValueId turned = bench_leaf(b, DTYPE_F32, AXES(q, p), (double[]){0, 10, 20, 30, 40, 50});
    ValueId by_p = bench_leaf(b, DTYPE_F32, AXES(p), (double[]){100, 200});
    ValueId by_q = bench_leaf(b, DTYPE_F32, AXES(q), (double[]){7, 8, 9});
    EXPECT(b, bench_binary(b, OP_ADD, x, turned), 0, 21, 42, 13, 34, 55);
    EXPECT(b, bench_binary(b, OP_ADD, turned, x), 0, 13, 21, 34, 42, 55);
    EXPECT(b, bench_binary(b, OP_ADD, x, by_p), 100, 101, 102, 203, 204, 205);
    EXPECT(b, bench_binary(b, OP_SUB, by_q, x), 7, 7, 7, 4, 4, 4);
    EXPECT(b, bench_binary(b, OP_MUL, x, bench_scalar(b, 2)), 0, 2, 4, 6, 8, 10);
    EXPECT(b, bench_binary(b, OP_MUL, bench_scalar(b, 3), bench_scalar(b, 2)), 6);
}

static void test_rank_four(void **state) {
    GraphBench *b = *state;
    AxisId p = bench_axis(b, "p", 2), one = bench_axis(b, "one", 1), q = bench_axis(b, "q", 2),
           r = bench_axis(b, "r", 2);
    ValueId x =
        bench_leaf(b, DTYPE_F32, AXES(p, one, q, r), (double[]){0, 1, 2, 3, 4, 5, 6, 7});
    ValueId y = bench_leaf(b, DTYPE_F32, AXES(r, p), (double[]){10, 20, 30, 40});
    EXPECT(b, bench_binary(b, OP_ADD, x, y), 10, 31, 12, 33, 24, 45, 26, 47);
    EXPECT(b, bench_reduce(b, OP_REDUCE_SUM, x, AXES(q, p)), 12, 16);
    EXPECT(b, bench_reduce(b, OP_REDUCE_SUM, x, AXES(one)), 0, 1, 2, 3, 4, 5, 6, 7);
}

static void test_reductions(void **state) {
    GraphBench *b = *state;
    AxisId p = bench_axis(b, "p", 2), q = bench_axis(b, "q", 3);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(p, q), (double[]){0, 1, -2, -3, -4, -5});
    EXPECT(b, bench_reduce(b, OP_REDUCE_SUM, x, AXES(q)), -1, -12);
    EXPECT(b, bench_reduce(b, OP_REDUCE_SUM, x, AXES(p)), -3, -3, -7);
    EXPECT(b, bench_reduce(b, OP_REDUCE_SUM, x, AXES(p, q)), -13);
    EXPECT(b, bench_reduce(b, OP_REDUCE_MAX, x, AXES(q)), 1, -3);
    EXPECT(b, bench_reduce(b, OP_REDUCE_MAX, x, AXES(q, p)), 1);
}

static void test_softmax(void **state) {
    GraphBench *b = *state;
    AxisId p = bench_axis(b, "p", 2), q = bench_axis(b, "q", 2), one = bench_axis(b, "one", 1);
    double l3 = log(3);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(p, q), (double[]){1000, 1000 + l3, -1000, -1000});
    EXPECT(b, bench_reduce(b, OP_LOGSUMEXP, x, AXES(q)), 1000 + log(4), -1000 + log(2));
    ValueId soft = bench_move(b, OP_SOFTMAX, x, along1(&q));
    const double *r = bench_value(b, soft);
    assert_true(fabs(r[0] - 0.25) < 1e-12 && fabs(r[1] - 0.75) < 1e-12);
    assert_true(r[2] == 0.5 && r[3] == 0.5);
    EXPECT(
        b,
        bench_move(b, OP_SOFTMAX, x, (GraphAttr){.along = (AxisId[]){p, q}, .along_count = 2}),
        r[0], r[1], 0, 0);
    ValueId alone = bench_leaf(b, DTYPE_F32, AXES(p, one), (double[]){1e300, -1e300});
    EXPECT(b, bench_move(b, OP_SOFTMAX, alone, along1(&one)), 1, 1);
    ValueId masked = bench_leaf(b, DTYPE_F32, AXES(p), (double[]){-HUGE_VAL, 2});
    EXPECT(b, bench_move(b, OP_SOFTMAX, masked, along1(&p)), 0, 1);
    EXPECT(b, bench_reduce(b, OP_LOGSUMEXP, masked, AXES(p)), 2);
    ValueId nothing = bench_leaf(b, DTYPE_F32, AXES(p), (double[]){-HUGE_VAL, -HUGE_VAL});
    EXPECT(b, bench_reduce(b, OP_LOGSUMEXP, nothing, AXES(p)), -HUGE_VAL);
}

static void test_contract(void **state) {
    GraphBench *b = *state;
    AxisId m = bench_axis(b, "m", 2), k = bench_axis(b, "k", 3), n = bench_axis(b, "n", 2);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(m, k), (double[]){1, 2, 3, 4, 5, 6});
    ValueId y = bench_leaf(b, DTYPE_F32, AXES(k, n), (double[]){1, 0, 0, 1, 2, 2});
    ValueId r = bench_contract(b, x, y, AXES(k));
    EXPECT(b, r, 7, 8, 16, 17);
    bench_expect_axes(b, r, AXES(m, n));
    EXPECT(b, bench_contract(b, y, x, AXES(k)), 7, 16, 8, 17);
    // k is in both and kept: a batch axis.
    EXPECT(b,
           bench_contract(b, x,
                          bench_leaf(b, DTYPE_F32, AXES(m, k), (double[]){1, 1, 1, 2, 2, 2}),
                          AXES(m)),
           9, 12, 15);
    // Everything is contracted.
    EXPECT(b, bench_contract(b, x, x, AXES(k, m)), 91);
}

static void test_contract_batched(void **state) {
    GraphBench *b = *state;
    AxisId h = bench_axis(b, "h", 2), m = bench_axis(b, "m", 2), k = bench_axis(b, "k", 2),
           n = bench_axis(b, "n", 5);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(m, h, k), (double[]){1, 2, 3, 4, 5, 6, 7, 8});
    double data[20];
    for (int i = 0; i < 20; i++)
        data[i] = i;
    ValueId y = bench_leaf(b, DTYPE_F32, AXES(h, n, k), data),
            r = bench_contract(b, x, y, AXES(k));
    bench_expect_axes(b, r, AXES(m, h, n));
    const double *got = bench_value(b, r);
    for (int i = 0; i < 20; i++) {
        int im = i / 10, ih = i / 5 % 2, in = i % 5;
        double expected = 0;
        for (int ik = 0; ik < 2; ik++)
            expected += (im * 4 + ih * 2 + ik + 1) * data[(ih * 5 + in) * 2 + ik];
        assert_true(got[i] == expected);
    }
}

static void test_broadcast_rename_transpose(void **state) {
    GraphBench *b = *state;
    AxisId p = bench_axis(b, "p", 2), q = bench_axis(b, "q", 3), s = bench_axis(b, "s", 3);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(p, q), (double[]){0, 1, 2, 3, 4, 5});
    ValueId by_q = bench_leaf(b, DTYPE_F32, AXES(q), (double[]){7, 8, 9});
    EXPECT(
        b,
        bench_move(b, OP_BROADCAST, by_q, (GraphAttr){.to = (AxisId[]){q, p}, .to_count = 2}),
        7, 7, 8, 8, 9, 9);
    EXPECT(
        b,
        bench_move(b, OP_BROADCAST, bench_scalar(b, 5), (GraphAttr){.to = &p, .to_count = 1}),
        5, 5);
    ValueId turned =
        bench_move(b, OP_TRANSPOSE, x, (GraphAttr){.to = (AxisId[]){q, p}, .to_count = 2});
    EXPECT(b, turned, 0, 3, 1, 4, 2, 5);
    bench_expect_axes(b, turned, AXES(q, p));
    ValueId renamed = bench_move(b, OP_RENAME, x, from_to(&q, &s, 0));
    EXPECT(b, renamed, 0, 1, 2, 3, 4, 5);
    bench_expect_axes(b, renamed, AXES(p, s));
}

static void test_split_merge(void **state) {
    GraphBench *b = *state;
    AxisId n = bench_axis(b, "n", 6), p = bench_axis(b, "p", 2), q = bench_axis(b, "q", 3),
           m = bench_axis(b, "m", 2), pm = bench_axis(b, "pm", 4);
    double data[12];
    for (int i = 0; i < 12; i++)
        data[i] = i;
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(n, m), data);
    ValueId split = bench_move(
        b, OP_SPLIT, x,
        (GraphAttr){.along = &n, .along_count = 1, .to = (AxisId[]){p, q}, .to_count = 2});
    bench_expect_axes(b, split, AXES(p, q, m));
    bench_expect(b, split, data, 12);
    ValueId y = bench_leaf(b, DTYPE_F32, AXES(p, m, q), data);
    ValueId merged = bench_move(
        b, OP_MERGE, y,
        (GraphAttr){.along = (AxisId[]){p, m}, .along_count = 2, .to = &pm, .to_count = 1});
    bench_expect_axes(b, merged, AXES(pm, q));
    bench_expect(b, merged, data, 12);
}

static void test_slice_pad(void **state) {
    GraphBench *b = *state;
    AxisId p = bench_axis(b, "p", 2), q = bench_axis(b, "q", 3), two = bench_axis(b, "two", 2),
           five = bench_axis(b, "five", 5), one = bench_axis(b, "one", 1);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(q, p), (double[]){1, 2, 3, 4, 5, 6});
    EXPECT(b, bench_move(b, OP_SLICE, x, from_to(&q, &two, 1)), 3, 4, 5, 6);
    EXPECT(b, bench_move(b, OP_SLICE, x, from_to(&q, &one, 2)), 5, 6);
    EXPECT(b, bench_move(b, OP_PAD, x, from_to(&q, &five, 1)), 0, 0, 1, 2, 3, 4, 5, 6, 0, 0);
    EXPECT(b, bench_move(b, OP_PAD, x, from_to(&q, &five, 0)), 1, 2, 3, 4, 5, 6, 0, 0, 0, 0);
}

static void test_take_put_stack_concat(void **state) {
    GraphBench *b = *state;
    AxisId p = bench_axis(b, "p", 2), q = bench_axis(b, "q", 3), d = bench_axis(b, "d", 2),
           c = bench_axis(b, "c", 5);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(p, q), (double[]){1, 2, 3, 4, 5, 6});
    GraphAttr take = along1(&q);
    take.amount = 1;
    EXPECT(b, bench_move(b, OP_TAKE, x, take), 2, 5);
    ValueId y = bench_leaf(b, DTYPE_F32, AXES(p), (double[]){7, 8});
    GraphAttr put = {.to = &q, .to_count = 1, .amount = 2};
    EXPECT(b, bench_move(b, OP_PUT, y, put), 0, 0, 0, 0, 7, 8);
    GraphAttr stack = {.to = &d, .to_count = 1};
    ValueId z = bench_leaf(b, DTYPE_F32, AXES(p), (double[]){9, 10});
    EXPECT(b, graph_add(b->g, OP_STACK, (Operands){(ValueId[]){y, z}, 2}, stack, (Span){0}), 7,
           8, 9, 10);
    AxisId one = bench_axis(b, "one", 1);
    EXPECT(b,
           graph_add(b->g, OP_STACK, (Operands){&y, 1}, (GraphAttr){.to = &one, .to_count = 1},
                     (Span){0}),
           7, 8);
    ValueId w = bench_leaf(b, DTYPE_F32, AXES(p, d), (double[]){-1, -2, -3, -4});
    GraphAttr concat = {.along = (AxisId[]){q, d}, .along_count = 2, .to = &c, .to_count = 1};
    EXPECT(b, graph_add(b->g, OP_CONCAT, (Operands){(ValueId[]){x, w}, 2}, concat, (Span){0}),
           1, 2, 3, -1, -2, 4, 5, 6, -3, -4);
}

static void test_roll_shift(void **state) {
    GraphBench *b = *state;
    AxisId n = bench_axis(b, "n", 4);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(n), (double[]){1, 2, 3, 4});
    GraphAttr attr = along1(&n);
    static const struct {
        int64_t amount;
        double roll[4], shift[4];
    } rows[] = {
        {0, {1, 2, 3, 4}, {1, 2, 3, 4}},  {1, {2, 3, 4, 1}, {0, 1, 2, 3}},
        {-1, {4, 1, 2, 3}, {2, 3, 4, 0}}, {4, {1, 2, 3, 4}, {0, 0, 0, 0}},
        {-9, {4, 1, 2, 3}, {0, 0, 0, 0}}, {3, {4, 1, 2, 3}, {0, 0, 0, 1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        attr.amount = rows[i].amount;
        bench_expect(b, bench_move(b, OP_ROLL, x, attr), rows[i].roll, 4);
        bench_expect(b, bench_move(b, OP_SHIFT, x, attr), rows[i].shift, 4);
    }
}

static void test_window(void **state) {
    GraphBench *b = *state;
    AxisId t = bench_axis(b, "t", 3), k = bench_axis(b, "k", 2), c = bench_axis(b, "c", 2),
           wide = bench_axis(b, "w", 5);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(t, c), (double[]){1, 10, 2, 20, 3, 30});
    ValueId w = bench_move(b, OP_WINDOW, x, from_to(&t, &k, 0));
    bench_expect_axes(b, w, AXES(t, c, k));
    EXPECT(b, w, 0, 1, 0, 10, 1, 2, 10, 20, 2, 3, 20, 30);
    ValueId y = bench_leaf(b, DTYPE_F32, AXES(t), (double[]){1, 2, 3});
    EXPECT(b, bench_move(b, OP_WINDOW, y, from_to(&t, &wide, 0)), 0, 0, 0, 0, 1, 0, 0, 0, 1, 2,
           0, 0, 1, 2, 3);
    // r[t] = x[t + 1, 0] + x[t, 1]
    ValueId z = bench_leaf(b, DTYPE_F32, AXES(t, k), (double[]){1, 2, 3, 4, 5, 6});
    GraphAttr attr = {.along = (AxisId[]){t, k}, .along_count = 2};
    EXPECT(b, bench_move(b, OP_UNWINDOW, z, attr), 5, 9, 6);
}

static ValueId looked_up(GraphBench *b, GraphOp op, ValueId x, ValueId index, GraphAttr attr) {
    return graph_add(b->g, op, (Operands){(ValueId[]){x, index}, 2}, attr, (Span){0});
}

static void test_gather(void **state) {
    GraphBench *b = *state;
    AxisId v = bench_axis(b, "v", 3), d = bench_axis(b, "d", 2), t = bench_axis(b, "t", 5);
    ValueId table = bench_leaf(b, DTYPE_F32, AXES(v, d), (double[]){1, 2, 3, 4, 5, 6});
    ValueId index = bench_leaf(b, DTYPE_I32, AXES(t), (double[]){2, 0, 2, -1, 3});
    ValueId r = looked_up(b, OP_GATHER, table, index, along1(&v));
    bench_expect_axes(b, r, AXES(t, d));
    EXPECT(b, r, 5, 6, 1, 2, 5, 6, 0, 0, 0, 0);
    // Aligned: one element of each row.
    ValueId logits = bench_leaf(b, DTYPE_F32, AXES(d, v), (double[]){1, 2, 3, 4, 5, 6});
    ValueId target = bench_leaf(b, DTYPE_I32, AXES(d), (double[]){2, 0});
    EXPECT(b, looked_up(b, OP_GATHER, logits, target, along1(&v)), 3, 4);
    ValueId scalar = bench_leaf(b, DTYPE_I32, NULL, 0, (double[]){1});
    EXPECT(b, looked_up(b, OP_GATHER, table, scalar, along1(&v)), 3, 4);
}

static void test_scatter(void **state) {
    GraphBench *b = *state;
    AxisId v = bench_axis(b, "v", 3), d = bench_axis(b, "d", 2), t = bench_axis(b, "t", 5);
    ValueId index = bench_leaf(b, DTYPE_I32, AXES(t), (double[]){2, 0, 2, -1, 3});
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(t, d), (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
    GraphAttr attr = {.to = (AxisId[]){v, d}, .to_count = 2};
    EXPECT(b, looked_up(b, OP_SCATTER, x, index, attr), 3, 4, 0, 0, 6, 8);
    attr.to = (AxisId[]){d, v};
    EXPECT(b, looked_up(b, OP_SCATTER, x, index, attr), 3, 0, 6, 4, 0, 8);
}

static void test_place(void **state) {
    GraphBench *b = *state;
    AxisId v = bench_axis(b, "v", 3), d = bench_axis(b, "d", 2), t = bench_axis(b, "t", 3);
    ValueId x = bench_leaf(b, DTYPE_F32, AXES(d, v), (double[]){1, 2, 3, 4, 5, 6});
    ValueId index = bench_leaf(b, DTYPE_I32, AXES(t), (double[]){2, -1, 0});
    ValueId y = bench_leaf(b, DTYPE_F32, AXES(t, d), (double[]){10, 20, 30, 40, 50, 60});
    ValueId r = graph_add(b->g, OP_PLACE, (Operands){(ValueId[]){x, y, index}, 3}, along1(&v),
                          (Span){0});
    bench_expect_axes(b, r, AXES(d, v));
    EXPECT(b, r, 50, 2, 10, 60, 5, 20);
}

static void test_only_what_is_needed_is_computed(void **state) {
    GraphBench *b = *state;
    ValueId x = bench_scalar(b, 2), unused = bench_unary(b, OP_EXP, x),
            y = bench_unary(b, OP_NEG, x);
    Evaluation e = bench_evaluation(b);
    assert_true(evaluation_value(&e, y)[0] == -2);
    assert_null(e.data[unused.i]);
    assert_ptr_equal(evaluation_value(&e, y), e.data[y.i]);
}

static void test_deep_graph(void **state) {
    GraphBench *b = *state;
    ValueId one = graph_const(b->g, 1, (Span){0}), x = bench_scalar(b, 0);
    for (int i = 0; i < 100000; i++)
        x = bench_binary(b, OP_ADD, x, one);
    EXPECT(b, x, 100000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_leaves),
        TEST(test_unary),
        TEST(test_sigmoid_saturates),
        TEST(test_cast),
        TEST(test_binary),
        TEST(test_logic),
        TEST(test_elementwise_aligns_by_axis),
        TEST(test_rank_four),
        TEST(test_reductions),
        TEST(test_softmax),
        TEST(test_contract),
        TEST(test_contract_batched),
        TEST(test_broadcast_rename_transpose),
        TEST(test_split_merge),
        TEST(test_slice_pad),
        TEST(test_take_put_stack_concat),
        TEST(test_roll_shift),
        TEST(test_window),
        TEST(test_gather),
        TEST(test_scatter),
        TEST(test_place),
        TEST(test_only_what_is_needed_is_computed),
        TEST(test_deep_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
