// Fusion and lowering: graphs run region by region through the tile interpreter must agree with
// the evaluator.
#include <math.h>

#include "base/launch.h"
#include "ir/graph/passes.h"
#include "tests/ir/run_regions.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Graph *g;
} Fixture;

static void fixture(Fixture *f) {
    arena_init(&f->arena);
    f->g = graph_new(&f->arena, STR("test"));
}

static AxisId axis(Fixture *f, const char *name, int64_t n) {
    return graph_axis(f->g, str_of(name), n, false);
}

static ValueId leaf(Fixture *f, GraphOp kind, const char *name, uint32_t rank,
                    const AxisId *axes) {
    Leaf l = {.kind = kind,
              .path = str_of(name),
              .type = DTYPE_F32,
              .rank = (uint8_t)rank,
              .axes = axes,
              .trained = kind == OP_PARAM};
    return graph_leaf(f->g, &l);
}

static ValueId mul(Fixture *f, ValueId x, ValueId y) {
    return graph_binary(f->g, OP_MUL, x, y, (Span){0});
}
static ValueId add(Fixture *f, ValueId x, ValueId y) {
    return graph_binary(f->g, OP_ADD, x, y, (Span){0});
}
static ValueId sum(Fixture *f, ValueId x, AxisId a) {
    return graph_sum(f->g, x, &a, 1, (Span){0});
}
static ValueId num(Fixture *f, double x) { return graph_const(f->g, x, (Span){0}); }
static ValueId op_along(Fixture *f, GraphOp op, ValueId x, AxisId a) {
    GraphAttr attr = {.along = &a, .along_count = 1};
    return graph_add(f->g, op, (Operands){&x, 1}, attr, (Span){0});
}
typedef struct {
    AxisId along, to;  // to: what it makes, if it makes one
    int64_t amount;
} Move;
static ValueId moved(Fixture *f, GraphOp op, ValueId x, Move m) {
    GraphAttr attr = {.along = &m.along,
                      .along_count = 1,
                      .to = &m.to,
                      .to_count = m.to.i ? 1 : 0,
                      .amount = m.amount};
    return graph_add(f->g, op, (Operands){&x, 1}, attr, (Span){0});
}
static ValueId stack(Fixture *f, const ValueId *in, uint32_t n, AxisId to) {
    GraphAttr attr = {.to = &to, .to_count = 1};
    return graph_add(f->g, OP_STACK, (Operands){in, n}, attr, (Span){0});
}
static ValueId contract(Fixture *f, ValueId x, ValueId y, const AxisId *along, uint32_t n) {
    ValueId in[2] = {x, y};
    GraphAttr attr = {.along = along, .along_count = (uint8_t)n};
    return graph_add(f->g, OP_CONTRACT, (Operands){in, 2}, attr, (Span){0});
}
static ValueId gather(Fixture *f, ValueId x, AxisId a, ValueId index) {
    ValueId in[2] = {x, index};
    GraphAttr attr = {.along = &a, .along_count = 1};
    return graph_add(f->g, OP_GATHER, (Operands){in, 2}, attr, (Span){0});
}
static ValueId unit_rms(Fixture *f, ValueId x, AxisId d) {
    ValueId mean = mul(f, sum(f, mul(f, x, x), d), num(f, 1.0 / (double)graph_extent(f->g, d)));
    return mul(f, x, graph_unary(f->g, OP_RSQRT, add(f, mean, num(f, 1e-6)), (Span){0}));
}
static ValueId attn_res(Fixture *f, const ValueId *sources, uint32_t n, ValueId query,
                        ValueId gain) {
    AxisId depth = axis(f, "depth", n), d = graph_value(f->g, gain)->axes[0];
    ValueId v = stack(f, sources, n, depth);
    ValueId s = sum(f, mul(f, mul(f, unit_rms(f, v, d), gain), query), d);
    return sum(f, mul(f, v, op_along(f, OP_SOFTMAX, s, depth)), depth);
}

static void output(Fixture *f, const char *name, ValueId v) {
    graph_output(f->g, str_of(name), v);
}

// Loss = sum of squares of v; outputs the gradients of all parameters.
static void output_gradients(Fixture *f, ValueId v) {
    const Value *value = graph_value(f->g, v);
    ValueId loss = graph_sum(f->g, mul(f, v, v), value->axes, value->rank, (Span){0});
    ValueId wrt[16], grads[16];
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->g->leaves.len; i++)
        if (f->g->leaves.ptr[i].kind == OP_PARAM) wrt[n++] = f->g->leaf_values.ptr[i];
    pass_differentiate(f->g, loss, wrt, n, grads);
    output(f, "loss", loss);
    for (uint32_t i = 0; i < n; i++)
        graph_output(
            f->g,
            str_printf(&f->arena, "grad.%.*s", STR_ARG(graph_leaf_of(f->g, wrt[i])->path)),
            grads[i]);
}

// Storage is f32, arithmetic of the interpreter is f64: the error is that of a few roundings of
// intermediate values.
#define TOLERANCE 2e-5

static void finish(Fixture *f) {
    Graph *g = pass_simplify(f->g, &f->arena);
    Schedule s = schedule_none();
    run_regions_check(g, &s, TOLERANCE);
    s.parts = 4;
    s.tile = 16;
    s.mc = 5;
    s.nc = 7;
    s.kc = 3;
    run_regions_check(g, &s, TOLERANCE);
    arena_release(&f->arena);
}

static uint32_t region_count(Fixture *f) {
    Arena arena = {0};
    arena_init(&arena);
    uint32_t n = pass_fuse(pass_simplify(f->g, &arena), &arena)->count;
    arena_release(&arena);
    return n;
}

static void test_elementwise(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId a = axis(&f, "a", 7), b = axis(&f, "b", 33);
    ValueId x = leaf(&f, OP_INPUT, "x", 2, (AxisId[]){a, b}),
            y = leaf(&f, OP_INPUT, "y", 1, &b);
    output(&f, "z", graph_unary(f.g, OP_TANH, add(&f, mul(&f, x, y), num(&f, 3)), (Span){0}));
    assert_int_equal(region_count(&f), 1);
    finish(&f);
}

static void test_rms_norm_is_one_kernel(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 3), t = axis(&f, "T", 5), d = axis(&f, "d", 20);
    ValueId x = leaf(&f, OP_INPUT, "x", 3, (AxisId[]){b, t, d}),
            r = leaf(&f, OP_INPUT, "r", 3, (AxisId[]){b, t, d});
    ValueId gain = leaf(&f, OP_PARAM, "gain", 1, &d);
    ValueId h = add(&f, x, r);
    output(&f, "h", h);
    output(&f, "y", mul(&f, unit_rms(&f, h, d), gain));
    assert_int_equal(region_count(&f), 1);
    finish(&f);
}

static void test_rms_norm_gradient(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 3), t = axis(&f, "T", 16), d = axis(&f, "d", 20);
    ValueId x = leaf(&f, OP_PARAM, "x", 3, (AxisId[]){b, t, d}),
            gain = leaf(&f, OP_PARAM, "gain", 1, &d);
    output_gradients(&f,
                     graph_unary(f.g, OP_TANH, mul(&f, unit_rms(&f, x, d), gain), (Span){0}));
    finish(&f);
}

// A norm over two axes, and a sum over rows of what it gives. Axes that are one in memory are
// walked as one; of a factor for each point of the outer one alone they are not.
static void test_row_sum_behind_a_wide_norm(void **state) {
    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        Fixture f;
        fixture(&f);
        AxisId t = axis(&f, "T", 6), r = axis(&f, "r", 3), e = axis(&f, "e", 5);
        ValueId x = leaf(&f, OP_INPUT, "x", 3, (AxisId[]){t, r, e}),
                factor = leaf(&f, OP_PARAM, "factor", 1, &r);
        if (apart) x = graph_unary(f.g, OP_TANH, mul(&f, x, factor), (Span){0});
        ValueId square = graph_sum(f.g, mul(&f, x, x), (AxisId[]){r, e}, 2, (Span){0});
        ValueId normed = mul(&f, x, graph_unary(f.g, OP_RSQRT, square, (Span){0}));
        output(&f, "normed", normed);
        output(&f, "sums", sum(&f, normed, t));
        assert_int_equal(region_count(&f), 1 + apart);
        finish(&f);
    }
}

static void test_attn_res_with_its_norm(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 2), t = axis(&f, "T", 5), d = axis(&f, "d", 24);
    ValueId v[3], query = leaf(&f, OP_PARAM, "q", 1, &d), gain = leaf(&f, OP_PARAM, "g", 1, &d);
    for (int i = 0; i < 3; i++)
        v[i] = leaf(&f, OP_PARAM, arena_printf(&f.arena, "v%d", i), 3, (AxisId[]){b, t, d});
    ValueId h = attn_res(&f, v, 3, query, gain);
    output(&f, "h", unit_rms(&f, h, d));
    assert_int_equal(region_count(&f), 1);  // query * gain, of d elements, is part of it
    finish(&f);
}

// The heads of an attention over depth, each with weights of its own, meet in the norm.
static void test_attn_res_in_heads(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 2), t = axis(&f, "T", 5), d = axis(&f, "d", 24),
           h = axis(&f, "h", 4), c = axis(&f, "c", 6), depth = axis(&f, "depth", 3);
    ValueId v[3], query = leaf(&f, OP_PARAM, "q", 2, (AxisId[]){h, c}),
                  gain = leaf(&f, OP_PARAM, "g", 1, &d);
    for (int i = 0; i < 3; i++)
        v[i] = leaf(&f, OP_PARAM, arena_printf(&f.arena, "v%d", i), 3, (AxisId[]){b, t, d});
    GraphAttr split = {.along = &d, .along_count = 1, .to = (AxisId[]){h, c}, .to_count = 2},
              merge = {.along = (AxisId[]){h, c}, .along_count = 2, .to = &d, .to_count = 1};
    ValueId all = stack(&f, v, 3, depth),
            x = graph_add(f.g, OP_SPLIT, (Operands){&all, 1}, split, (Span){0}),
            p = op_along(&f, OP_SOFTMAX, sum(&f, mul(&f, unit_rms(&f, x, c), query), c), depth),
            y = sum(&f, mul(&f, x, p), depth);
    y = mul(&f, unit_rms(&f, graph_add(f.g, OP_MERGE, (Operands){&y, 1}, merge, (Span){0}), d),
            gain);
    output(&f, "y", graph_unary(f.g, OP_TANH, y, (Span){0}));
    assert_int_equal(region_count(&f), 1);
    output_gradients(&f, y);
    finish(&f);
}

static void test_attn_res_gradient(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 2), t = axis(&f, "T", 8), d = axis(&f, "d", 24);
    ValueId v[3], query = leaf(&f, OP_PARAM, "q", 1, &d), gain = leaf(&f, OP_PARAM, "g", 1, &d);
    for (int i = 0; i < 3; i++)
        v[i] = leaf(&f, OP_PARAM, arena_printf(&f.arena, "v%d", i), 3, (AxisId[]){b, t, d});
    output_gradients(&f, attn_res(&f, v, 3, query, gain));
    finish(&f);
}

static ValueId many_leaf(Fixture *f, GraphOp kind, int i, uint32_t rank, const AxisId *axes) {
    return leaf(f, kind, arena_printf(&f->arena, "x%d", i), rank, axes);
}

static uint32_t most_pointers(const Regions *r) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        uint32_t pointers = r->regions[i].input_count + r->regions[i].output_count;
        most = pointers > most ? pointers : most;
    }
    return most;
}

// A mix of many sources is one kernel, and so is what follows for their gradients.
static void test_deep_attn_res(void **state) {
    (void)state;
    enum { SOURCES = 64 };
    Fixture f;
    fixture(&f);
    AxisId t = axis(&f, "T", 2), d = axis(&f, "d", 8);
    ValueId v[SOURCES + 2], grads[SOURCES + 2];
    for (int i = 0; i < SOURCES + 2; i++)
        v[i] = many_leaf(&f, OP_PARAM, i, i < SOURCES ? 2 : 1,
                         i < SOURCES ? (AxisId[]){t, d} : &d);
    ValueId h = attn_res(&f, v, SOURCES, v[SOURCES], v[SOURCES + 1]);
    output(&f, "h", h);
    assert_int_equal(region_count(&f), 1);
    ValueId loss = graph_sum(f.g, mul(&f, h, h), (AxisId[]){t, d}, 2, (Span){0});
    pass_differentiate(f.g, loss, v, SOURCES + 2, grads);
    for (int i = 0; i < SOURCES; i++)
        output(&f, arena_printf(&f.arena, "g%d", i), grads[i]);
    Graph *g = pass_simplify(f.g, &f.arena);
    assert_true(most_pointers(pass_fuse(g, &f.arena)) > 2 * SOURCES);
    Schedule none = schedule_none();
    run_regions_check(g, &none, TOLERANCE);
    arena_release(&f.arena);
}

// A sum of more vectors than a kernel can be given is made by as few kernels as possible.
static void test_operands_are_limited(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId d = axis(&f, "d", 4);
    ValueId total = {0};
    for (int i = 0; i < 2 * LAUNCH_MAX_POINTERS - 4; i++) {
        ValueId x = many_leaf(&f, OP_PARAM, i, 1, &d);
        total = total.i ? add(&f, total, x) : x;
    }
    output(&f, "total", total);
    Graph *g = pass_simplify(f.g, &f.arena);
    const Regions *r = pass_fuse(g, &f.arena);
    assert_int_equal(r->count, 2);
    assert_int_equal(most_pointers(r), LAUNCH_MAX_POINTERS);
    Schedule none = schedule_none();
    run_regions_check(g, &none, TOLERANCE);
    arena_release(&f.arena);
}

// Vectors and numbers that are scaled by one number share kernels, but each has few of them.
static void test_small_updates_share_kernels(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId d = axis(&f, "d", 4), e = axis(&f, "e", 6);
    ValueId scale = graph_unary(f.g, OP_SQRT, leaf(&f, OP_INPUT, "s", 0, NULL), (Span){0});
    for (int i = 0; i < 240; i++)
        output(&f, arena_printf(&f.arena, "y%d", i),
               mul(&f, many_leaf(&f, OP_PARAM, i, i % 3 > 0, i % 3 == 1 ? &d : &e), scale));
    Graph *g = pass_simplify(f.g, &f.arena);
    const Regions *r = pass_fuse(g, &f.arena);
    assert_true(most_pointers(r) <= 192);
    assert_int_equal(r->count, 4);
    Schedule none = schedule_none();
    run_regions_check(g, &none, TOLERANCE);
    arena_release(&f.arena);
}

// What is taken from a small axis, point by point, is computed where it is used.
static void test_points_of_a_small_axis(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId t = axis(&f, "T", 3), d = axis(&f, "d", 4), m = axis(&f, "m", 2);
    ValueId x = leaf(&f, OP_PARAM, "x", 2, (AxisId[]){t, d}),
            w = leaf(&f, OP_PARAM, "w", 2, (AxisId[]){t, m});
    w = graph_unary(f.g, OP_TANH, w, (Span){0});
    for (int i = 0; i < 2; i++)
        x = mul(&f, x, moved(&f, OP_TAKE, w, (Move){m, .amount = i}));
    output(&f, "y", x);
    assert_int_equal(region_count(&f), 1);
    finish(&f);
}

static const Region *region_with_output(const Regions *r, ValueId v) {
    for (uint32_t i = 0; i < r->count; i++)
        for (uint32_t k = 0; k < r->regions[i].output_count; k++)
            if (r->regions[i].outputs[k].i == v.i) return &r->regions[i];
    return NULL;
}

// A gradient of a stacked source is stored by the kernel that computes all of them.
static void test_points_are_stored_where_they_are_made(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 2), t = axis(&f, "T", 8), d = axis(&f, "d", 24);
    ValueId v[3], query = leaf(&f, OP_PARAM, "q", 1, &d), gain = leaf(&f, OP_PARAM, "g", 1, &d);
    for (int i = 0; i < 3; i++)
        v[i] = leaf(&f, OP_PARAM, arena_printf(&f.arena, "v%d", i), 3, (AxisId[]){b, t, d});
    output_gradients(&f, attn_res(&f, v, 3, query, gain));
    Graph *g = pass_simplify(f.g, &f.arena);
    const Regions *r = pass_fuse(g, &f.arena);
    const Region *first = region_with_output(r, graph_output_find(g, STR("grad.v0")));
    assert_non_null(first);
    assert_ptr_equal(first, region_with_output(r, graph_output_find(g, STR("grad.v1"))));
    assert_ptr_equal(first, region_with_output(r, graph_output_find(g, STR("grad.v2"))));
    arena_release(&f.arena);
}

// The normalised x is needed twice, before the second contraction and for the gradient of
// scale, and made twice; the kernel of the first place writes only what it is there for.
static void test_value_made_again_is_not_stored(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId t = axis(&f, "T", 64), c = axis(&f, "c", 8), d = axis(&f, "d", 256),
           e = axis(&f, "e", 40);
    ValueId tokens = leaf(&f, OP_INPUT, "x", 2, (AxisId[]){t, c}),
            embed = leaf(&f, OP_PARAM, "embed", 2, (AxisId[]){c, d}),
            scale = leaf(&f, OP_PARAM, "scale", 1, &d),
            head = leaf(&f, OP_PARAM, "head", 2, (AxisId[]){d, e});
    ValueId x = contract(&f, tokens, embed, &c, 1);
    ValueId y = contract(&f, mul(&f, unit_rms(&f, x, d), scale), head, &d, 1);
    output_gradients(&f, graph_unary(f.g, OP_TANH, y, (Span){0}));
    Graph *g = pass_recompute(pass_simplify(f.g, &f.arena), &f.arena, 1);
    const Regions *r = pass_fuse(g, &f.arena);
    uint32_t first = 0;
    while (r->regions[first].kind != REGION_ROW)
        first++;
    uint32_t wide = 0;
    for (uint32_t k = 0; k < r->regions[first].output_count; k++)
        wide += graph_value(g, r->regions[first].outputs[k])->rank == 2;
    assert_int_equal(wide, 1);
    Schedule s = schedule_none();
    run_regions_check(g, &s, TOLERANCE);
    arena_release(&f.arena);
}

static void test_attention(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 2), t = axis(&f, "T", 9), s = axis(&f, "S", 9),
           h = axis(&f, "h", 3), k = axis(&f, "k", 8), d = axis(&f, "d", 12);
    ValueId x = leaf(&f, OP_PARAM, "x", 3, (AxisId[]){b, t, d});
    ValueId w[3];
    for (int i = 0; i < 3; i++)
        w[i] = leaf(&f, OP_PARAM, arena_printf(&f.arena, "w%d", i), 3, (AxisId[]){d, h, k});
    ValueId wo = leaf(&f, OP_PARAM, "wo", 3, (AxisId[]){h, k, d});
    ValueId q = contract(&f, x, w[0], &d, 1),
            key = moved(&f, OP_RENAME, contract(&f, x, w[1], &d, 1), (Move){t, s, 0});
    ValueId v = moved(&f, OP_RENAME, contract(&f, x, w[2], &d, 1), (Move){t, s, 0});
    q = add(&f, q,
            moved(&f, OP_ROLL, q, (Move){k, .amount = 4}));  // as a rotary embedding does
    ValueId scores = mul(&f, contract(&f, q, key, &k, 1), num(&f, 0.3));
    GraphAttr at = {.along = &t, .along_count = 1}, as = {.along = &s, .along_count = 1};
    ValueId it = graph_add(f.g, OP_IOTA, (Operands){0}, at, (Span){0}),
            is = graph_add(f.g, OP_IOTA, (Operands){0}, as, (Span){0});
    AxisId ts[2] = {t, s};
    GraphAttr both = {.to = ts, .to_count = 2};
    ValueId mask = graph_binary(
        f.g, OP_LE, graph_add(f.g, OP_BROADCAST, (Operands){&is, 1}, both, (Span){0}), it,
        (Span){0});
    ValueId where[3] = {mask, scores, num(&f, -HUGE_VAL)};
    ValueId p =
        op_along(&f, OP_SOFTMAX,
                 graph_add(f.g, OP_WHERE, (Operands){where, 3}, (GraphAttr){0}, (Span){0}), s);
    ValueId y = contract(&f, contract(&f, p, v, &s, 1), wo, (AxisId[]){h, k}, 2);
    output_gradients(&f, add(&f, x, y));
    finish(&f);
}

static void test_cross_entropy(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 4), t = axis(&f, "T", 6), d = axis(&f, "d", 10),
           v = axis(&f, "vocab", 37);
    Leaf tokens = {.kind = OP_INPUT,
                   .path = STR("tokens"),
                   .type = DTYPE_I32,
                   .rank = 2,
                   .axes = (AxisId[]){b, t},
                   .index_of = v};
    ValueId ids = graph_leaf(f.g, &tokens);
    ValueId embed = leaf(&f, OP_PARAM, "embed", 2, (AxisId[]){v, d}),
            head = leaf(&f, OP_PARAM, "head", 2, (AxisId[]){d, v});
    ValueId logits = contract(&f, gather(&f, embed, v, ids), head, &d, 1);
    ValueId ce = graph_binary(f.g, OP_SUB, op_along(&f, OP_LOGSUMEXP, logits, v),
                              gather(&f, logits, v, ids), (Span){0});
    output(&f, "logits", logits);
    output_gradients(&f, ce);
    finish(&f);
}

static void test_swiglu_epilogue(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 4), t = axis(&f, "T", 6), d = axis(&f, "d", 10),
           ff = axis(&f, "ff", 28);
    ValueId x = leaf(&f, OP_INPUT, "x", 3, (AxisId[]){b, t, d});
    ValueId w1 = leaf(&f, OP_PARAM, "w1", 2, (AxisId[]){d, ff}),
            w3 = leaf(&f, OP_PARAM, "w3", 2, (AxisId[]){d, ff});
    ValueId gate = contract(&f, x, w1, &d, 1), up = contract(&f, x, w3, &d, 1);
    output(&f, "y", mul(&f, mul(&f, gate, graph_unary(f.g, OP_SIGMOID, gate, (Span){0})), up));
    assert_int_equal(region_count(&f), 2);
    finish(&f);
}

static void test_prologue(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId t = axis(&f, "T", 9), d = axis(&f, "d", 10), ff = axis(&f, "ff", 28);
    ValueId x = leaf(&f, OP_INPUT, "x", 2, (AxisId[]){t, d});
    ValueId scale = leaf(&f, OP_PARAM, "scale", 1, &d);
    ValueId w = leaf(&f, OP_PARAM, "w", 2, (AxisId[]){d, ff});
    ValueId a = graph_unary(f.g, OP_TANH, mul(&f, x, scale), (Span){0});
    ValueId b = graph_unary(f.g, OP_EXP, w, (Span){0});
    output(&f, "y", graph_unary(f.g, OP_SIGMOID, contract(&f, a, b, &d, 1), (Span){0}));
    assert_int_equal(region_count(&f), 1);
    finish(&f);
}

// A contraction in parts is two programs: sums of as many equal parts of its outermost k as the
// schedule wants at most, then their sum and the epilogue.
static void test_contraction_in_parts(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId h = axis(&f, "h", 2), t = axis(&f, "T", 30), c = axis(&f, "c", 3),
           d = axis(&f, "d", 8), e = axis(&f, "e", 5);
    ValueId x = leaf(&f, OP_INPUT, "x", 4, (AxisId[]){t, h, d, c}),
            y = leaf(&f, OP_INPUT, "y", 4, (AxisId[]){t, e, h, c}),
            gate = leaf(&f, OP_INPUT, "gate", 3, (AxisId[]){e, h, d});
    ValueId r = contract(&f, graph_unary(f.g, OP_TANH, x, (Span){0}), y, (AxisId[]){t, c}, 2);
    output(&f, "r", mul(&f, graph_unary(f.g, OP_SIGMOID, r, (Span){0}), gate));
    Graph *g = pass_simplify(f.g, &f.arena);
    const Regions *regions = pass_fuse(g, &f.arena);
    assert_int_equal(regions->count, 1);
    Schedule s = schedule_none();
    for (s.parts = 0; s.parts < 33; s.parts += 8) {
        run_regions_check(g, &s, TOLERANCE);
        const TileKernels *k = region_to_tile(regions, &regions->regions[0], &s, &f.arena);
        assert_int_equal(k->kernel_count, s.parts ? 2 : 1);
        assert_int_equal(k->partial_count, s.parts ? 1 : 0);
        if (!s.parts) continue;
        static const int64_t parts[] = {0, 6, 15, 15, 30};
        assert_int_equal(k->partial_bytes[0], parts[s.parts / 8] * 2 * 8 * 5 * 4);
        assert_int_equal(k->kernels[0].program->dims[1].extent, parts[s.parts / 8]);
        assert_int_equal(k->kernels[1].program->skeleton, TILE_STREAM);
    }
    arena_release(&f.arena);
}

static void test_movement(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 3), t = axis(&f, "T", 11), c = axis(&f, "c", 6),
           tap = axis(&f, "tap", 4), wide = axis(&f, "wide", 17);
    AxisId c2 = axis(&f, "c2", 2), c3 = axis(&f, "c3", 3), bt = axis(&f, "bt", 33),
           part = axis(&f, "part", 5), both = axis(&f, "both", 11);
    ValueId x = leaf(&f, OP_PARAM, "x", 3, (AxisId[]){b, t, c}),
            y = graph_unary(f.g, OP_EXP, x, (Span){0});
    output(&f, "window", moved(&f, OP_WINDOW, y, (Move){t, tap, 0}));
    output(&f, "shift", moved(&f, OP_SHIFT, y, (Move){t, .amount = 2}));
    output(&f, "back", moved(&f, OP_SHIFT, y, (Move){t, .amount = -3}));
    output(&f, "pad", moved(&f, OP_PAD, y, (Move){t, wide, 4}));
    output(&f, "slice",
           graph_unary(f.g, OP_NEG, moved(&f, OP_SLICE, y, (Move){t, part, 3}), (Span){0}));
    output(&f, "take", moved(&f, OP_TAKE, y, (Move){c, .amount = 3}));
    output(&f, "roll", moved(&f, OP_ROLL, y, (Move){c, .amount = -2}));
    GraphAttr split = {.along = &c, .along_count = 1, .to = (AxisId[]){c2, c3}, .to_count = 2};
    ValueId s = graph_add(f.g, OP_SPLIT, (Operands){&y, 1}, split, (Span){0});
    output(&f, "split", graph_unary(f.g, OP_SQRT, s, (Span){0}));
    GraphAttr merge = {.along = (AxisId[]){t, b}, .along_count = 2, .to = &bt, .to_count = 1};
    output(&f, "merge",
           graph_unary(f.g, OP_NEG,
                       graph_add(f.g, OP_MERGE, (Operands){&y, 1}, merge, (Span){0}),
                       (Span){0}));
    AxisId six = axis(&f, "six", 6);
    ValueId halves[2] = {moved(&f, OP_SLICE, y, (Move){t, part, 0}),
                         moved(&f, OP_SLICE, y, (Move){t, six, 5})};
    GraphAttr concat = {
        .along = (AxisId[]){part, six}, .along_count = 2, .to = &both, .to_count = 1};
    output(&f, "concat", graph_add(f.g, OP_CONCAT, (Operands){halves, 2}, concat, (Span){0}));
    finish(&f);
}

// m is small, and unrolled where values are stacked. What moves along it meets the stack, and
// so its points; a contraction has a loop over it.
static void test_movement_along_an_unrolled_axis(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 5), k = axis(&f, "k", 7), m = axis(&f, "m", 3),
           n = axis(&f, "n", 2), two = axis(&f, "two", 2), one = axis(&f, "one", 1);
    ValueId x = leaf(&f, OP_PARAM, "x", 2, (AxisId[]){b, k}),
            w = leaf(&f, OP_PARAM, "w", 3, (AxisId[]){k, m, n}),
            v = leaf(&f, OP_PARAM, "v", 1, (AxisId[]){b}),
            p = leaf(&f, OP_PARAM, "p", 2, (AxisId[]){b, two}),
            q = leaf(&f, OP_PARAM, "q", 2, (AxisId[]){b, one}),
            r = leaf(&f, OP_PARAM, "r", 2, (AxisId[]){b, m});
    Leaf index = {.kind = OP_INPUT, .path = STR("i"), .type = DTYPE_I32, .rank = 1, .axes = &b};
    index.index_of = m;
    ValueId y = contract(&f, x, w, &k, 1);
    output(&f, "contract", y);
    output(&f, "taken",
           mul(&f, moved(&f, OP_TAKE, y, (Move){m, .amount = 1}),
               moved(&f, OP_TAKE, mul(&f, y, y), (Move){m, .amount = 2})));
    ValueId points = stack(&f, (ValueId[]){v, mul(&f, v, v), add(&f, v, v)}, 3, m);
    GraphAttr concat = {
        .along = (AxisId[]){two, one}, .along_count = 2, .to = &m, .to_count = 1};
    output(&f, "pad", mul(&f, points, moved(&f, OP_PAD, p, (Move){two, m, 1})));
    output(&f, "shift", mul(&f, points, moved(&f, OP_SHIFT, r, (Move){m, .amount = -1})));
    output(&f, "roll", mul(&f, points, moved(&f, OP_ROLL, r, (Move){m, .amount = 2})));
    output(&f, "gather", mul(&f, points, gather(&f, r, m, graph_leaf(f.g, &index))));
    output(&f, "concat",
           mul(&f, points,
               graph_add(f.g, OP_CONCAT, (Operands){(ValueId[]){p, q}, 2}, concat, (Span){0})));
    finish(&f);
}

// What is made of parameters and small is no kernel, however often it is used; what reads it at
// other points finds it in memory.
static void test_parameters_meet_where_they_are_used(void **state) {
    (void)state;
    for (int moved_too = 0; moved_too < 2; moved_too++) {
        Fixture f;
        fixture(&f);
        AxisId b = axis(&f, "B", 5), d = axis(&f, "d", 9);
        ValueId x = leaf(&f, OP_INPUT, "x", 2, (AxisId[]){b, d}),
                q = leaf(&f, OP_PARAM, "q", 1, &d), g = leaf(&f, OP_PARAM, "g", 1, &d),
                s = leaf(&f, OP_PARAM, "s", 0, NULL);
        ValueId u = mul(&f, q, g), z = graph_unary(f.g, OP_SIGMOID, s, (Span){0});
        ValueId h = mul(&f, sum(&f, mul(&f, x, u), d), z);
        output(&f, "h", h);
        output(&f, "x", mul(&f, unit_rms(&f, x, d), u));
        output(&f, "u", u);
        output(&f, "squares", sum(&f, mul(&f, u, u), d));
        assert_int_equal(region_count(&f), 4);
        Leaf index = {.kind = OP_INPUT, .path = STR("i"), .type = DTYPE_I32, .rank = 1};
        index.axes = &b;
        index.index_of = d;
        if (moved_too) {
            output(&f, "roll", mul(&f, x, moved(&f, OP_ROLL, u, (Move){d, .amount = 2})));
            output(&f, "gather", gather(&f, u, d, graph_leaf(f.g, &index)));
        }
        finish(&f);
    }
}

// More small axes than a value can have, and more than a kernel takes.
static void test_many_unrolled_axes(void **state) {
    (void)state;
    for (int64_t count = 14; count <= 150; count += 136) {
        Fixture f;
        fixture(&f);
        AxisId d = axis(&f, "d", 5);
        ValueId x = leaf(&f, OP_PARAM, "x", 1, &d), total = x;
        for (int64_t i = 0; i < count; i++) {
            AxisId a = axis(&f, "a", 2);
            ValueId pair[2] = {x, mul(&f, total, num(&f, 0.5))};
            ValueId v = stack(&f, pair, 2, a);
            total = sum(&f, mul(&f, v, op_along(&f, OP_SOFTMAX, v, a)), a);
        }
        output(&f, "total", total);
        assert_int_equal(region_count(&f), count <= REGION_MAX_UNROLLED ? 1 : 2);
        finish(&f);
    }
}

// A stack that a contraction reads lies in memory as its operands, if they can lie there: each
// computed, once in it, and a multiple of the alignment long.
static void test_stacks_in_memory(void **state) {
    (void)state;
    static const struct {
        int64_t rows;
        bool twice, leaf, laid;
    } cases[] = {{4, false, false, true},
                 {3, false, false, false},
                 {4, true, false, false},
                 {4, false, true, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Fixture f;
        fixture(&f);
        AxisId t = axis(&f, "t", cases[i].rows), d = axis(&f, "d", 4), n = axis(&f, "n", 2),
               k = axis(&f, "k", 3);
        ValueId x = leaf(&f, OP_PARAM, "x", 2, (AxisId[]){t, d});
        ValueId w = leaf(&f, OP_PARAM, "w", 3, (AxisId[]){n, d, k});
        ValueId first = op_along(&f, OP_SOFTMAX, x, d), second = mul(&f, first, num(&f, 0.5));
        ValueId pair[2] = {cases[i].leaf ? x : first, cases[i].twice ? first : second};
        ValueId v = stack(&f, pair, 2, n), product[2] = {v, w};
        AxisId along[2] = {n, d};
        GraphAttr attr = {.along = along, .along_count = 2};
        output(&f, "product",
               graph_add(f.g, OP_CONTRACT, (Operands){product, 2}, attr, (Span){0}));
        output(&f, "mix", sum(&f, mul(&f, v, v), n));
        const Regions *regions = pass_fuse(f.g, &f.arena);
        assert_int_equal(regions->laid_in[pair[1].i].i == v.i, cases[i].laid);
        bool stored = false;
        for (uint32_t r = 0; r < regions->count; r++)
            for (uint32_t o = 0; o < regions->regions[r].output_count; o++)
                stored = stored || regions->regions[r].outputs[o].i == v.i;
        assert_int_equal(stored, !cases[i].laid);
        finish(&f);
    }
}

static void test_movement_gradients(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId b = axis(&f, "B", 3), t = axis(&f, "T", 11), c = axis(&f, "c", 6),
           tap = axis(&f, "tap", 4);
    ValueId x = leaf(&f, OP_PARAM, "x", 3, (AxisId[]){b, t, c}),
            w = leaf(&f, OP_PARAM, "w", 2, (AxisId[]){c, tap});
    ValueId y = sum(&f, mul(&f, moved(&f, OP_WINDOW, x, (Move){t, tap, 0}), w), tap);
    y = add(&f, y,
            moved(&f, OP_SHIFT, moved(&f, OP_ROLL, x, (Move){c, .amount = 2}),
                  (Move){t, .amount = 1}));
    output_gradients(&f, y);
    finish(&f);
}

static void test_views_as_outputs(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId a = axis(&f, "a", 4), b = axis(&f, "b", 5), c = axis(&f, "c", 5);
    ValueId x = leaf(&f, OP_INPUT, "x", 2, (AxisId[]){a, b});
    GraphAttr swap = {.to = (AxisId[]){b, a}, .to_count = 2},
              iota = {.along = &a, .along_count = 1};
    output(&f, "transposed", graph_add(f.g, OP_TRANSPOSE, (Operands){&x, 1}, swap, (Span){0}));
    output(&f, "renamed", moved(&f, OP_RENAME, x, (Move){b, c, 0}));
    output(&f, "position",
           graph_cast(f.g, graph_add(f.g, OP_IOTA, (Operands){0}, iota, (Span){0}), DTYPE_F32,
                      (Span){0}));
    GraphAttr wide = {.to = (AxisId[]){a, b}, .to_count = 2};
    ValueId zero = num(&f, 0);
    output(&f, "zeros", graph_add(f.g, OP_BROADCAST, (Operands){&zero, 1}, wide, (Span){0}));
    output(&f, "all", graph_sum(f.g, x, (AxisId[]){a, b}, 2, (Span){0}));
    output(&f, "largest",
           graph_add(f.g, OP_REDUCE_MAX, (Operands){&x, 1},
                     (GraphAttr){.along = &a, .along_count = 1}, (Span){0}));
    finish(&f);
}

// What addresses points of a constant needs it in memory.
static void test_views_of_constants(void **state) {
    (void)state;
    Fixture f;
    fixture(&f);
    AxisId a = axis(&f, "a", 4), d = axis(&f, "d", 6), h = axis(&f, "h", 2),
           c = axis(&f, "c", 3);
    ValueId x = leaf(&f, OP_INPUT, "x", 3, (AxisId[]){a, h, c});
    GraphAttr wide = {.to = (AxisId[]){a, d}, .to_count = 2},
              heads = {.along = &d, .along_count = 1, .to = (AxisId[]){h, c}, .to_count = 2};
    ValueId three = num(&f, 3);
    three = graph_add(f.g, OP_BROADCAST, (Operands){&three, 1}, wide, (Span){0});
    three = graph_add(f.g, OP_SPLIT, (Operands){&three, 1}, heads, (Span){0});
    output(&f, "scaled", mul(&f, x, three));
    GraphAttr iota = {.along = &d, .along_count = 1};
    ValueId position = graph_add(f.g, OP_IOTA, (Operands){0}, iota, (Span){0});
    position = add(&f, graph_cast(f.g, position, DTYPE_F32, (Span){0}), num(&f, 1));
    output(&f, "weighted", mul(&f, x, moved(&f, OP_SLICE, position, (Move){d, c, 2})));
    finish(&f);
}

// Do the stores of a softmax of 4 KiB rows, which another kernel may read?
static int64_t stores_bypass(int64_t rows, bool read) {
    Fixture f;
    fixture(&f);
    AxisId t = axis(&f, "T", rows), d = axis(&f, "d", 1024), e = axis(&f, "e", 8);
    ValueId x = leaf(&f, OP_INPUT, "x", 2, (AxisId[]){t, d}),
            w = leaf(&f, OP_PARAM, "w", 2, (AxisId[]){d, e}),
            y = op_along(&f, OP_SOFTMAX, x, d);
    output(&f, "y", y);
    if (read) output(&f, "z", contract(&f, y, w, &d, 1));
    Graph *g = pass_simplify(f.g, &f.arena);
    const Regions *regions = pass_fuse(g, &f.arena);
    Schedule s = schedule_none();
    const TileKernels *k = region_to_tile(regions, &regions->regions[0], &s, &f.arena);
    int64_t nt = tile_knob(k->kernels[0].program, "nt", 0);
    arena_release(&f.arena);
    return nt;
}

static void test_large_results_bypass_the_cache(void **state) {
    (void)state;
    assert_int_equal(stores_bypass(1024, false), 0);
    assert_int_equal(stores_bypass(4096, false), 1);
    assert_int_equal(stores_bypass(4096, true), 0);
    assert_int_equal(stores_bypass(16384, true), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_rms_norm_is_one_kernel),
        cmocka_unit_test(test_rms_norm_gradient),
        cmocka_unit_test(test_row_sum_behind_a_wide_norm),
        cmocka_unit_test(test_attn_res_with_its_norm),
        cmocka_unit_test(test_attn_res_in_heads),
        cmocka_unit_test(test_attn_res_gradient),
        cmocka_unit_test(test_deep_attn_res),
        cmocka_unit_test(test_operands_are_limited),
        cmocka_unit_test(test_small_updates_share_kernels),
        cmocka_unit_test(test_points_of_a_small_axis),
        cmocka_unit_test(test_points_are_stored_where_they_are_made),
        cmocka_unit_test(test_value_made_again_is_not_stored),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_swiglu_epilogue),
        cmocka_unit_test(test_prologue),
        cmocka_unit_test(test_contraction_in_parts),
        cmocka_unit_test(test_large_results_bypass_the_cache),
        cmocka_unit_test(test_movement),
        cmocka_unit_test(test_movement_along_an_unrolled_axis),
        cmocka_unit_test(test_parameters_meet_where_they_are_used),
        cmocka_unit_test(test_many_unrolled_axes),
        cmocka_unit_test(test_stacks_in_memory),
        cmocka_unit_test(test_movement_gradients),
        cmocka_unit_test(test_views_as_outputs),
        cmocka_unit_test(test_views_of_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
