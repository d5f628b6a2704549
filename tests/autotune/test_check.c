// test_check.c: what the interpreter expects passes, and an element that is off does not, for
// regions of each kind, interpreted whole and by samples.
#include <math.h>

#include "autotune/check.h"
#include "ir/graph/linear.h"
#include "ir/graph/passes.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    Graph *g;
    Regions *regions;
    Workspace workspace;
    Reference reference;
    char why[200];
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    f->g = graph_new(&f->arena, STR("check"));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    reference_close(&f->reference);
    workspace_close(&f->workspace);
    arena_release(&f->arena);
    test_free(f);
    return 0;
}

static AxisId axis(Fixture *f, const char *name, int64_t n) {
    return graph_axis(f->g, str_of(name), n, false);
}

static ValueId input(Fixture *f, const char *name, DType type, const AxisId *axes, int rank) {
    Leaf leaf = {.kind = OP_INPUT,
                 .path = str_of(name),
                 .type = type,
                 .rank = (uint8_t)rank,
                 .axes = axes};
    return graph_leaf(f->g, &leaf);
}

static void begin(Fixture *f, ValueId output, double points) {
    graph_output(f->g, STR("y"), output);
    f->regions = pass_fuse(pass_simplify(f->g, &f->arena), &f->arena);
    const Region *last = &f->regions->regions[f->regions->count - 1];
    assert_true(workspace_open(&f->diag, &f->arena, f->regions, last, &f->workspace));
    assert_true(reference_open(&f->diag, &f->arena, &f->workspace, points, &f->reference));
    assert_int_equal(f->reference.whole, points > 0);
}

static bool passes(Fixture *f) { return reference_check(&f->reference, f->why, sizeof f->why); }

static ReferenceTensor *output(Fixture *f) {
    assert_int_equal(f->reference.tensor_count, 1);
    return &f->reference.tensors[0];
}

// Runs the region by the interpreter, as a kernel would.
static void run(Fixture *f) {
    Schedule none = schedule_none();
    const Region *last = &f->regions->regions[f->regions->count - 1];
    TileKernels *kernels = region_to_tile(f->regions, last, &none, &f->arena);
    void **partials = arena_array(&f->arena, void *, kernels->partial_count);
    for (uint32_t i = 0; i < kernels->partial_count; i++)
        partials[i] = arena_alloc(&f->arena, (size_t)kernels->partial_bytes[i], 1);
    workspace_spoil(&f->workspace);
    for (uint32_t k = 0; k < kernels->kernel_count; k++) {
        const TileKernel *kernel = &kernels->kernels[k];
        void *args[16];
        for (uint32_t i = 0; i < kernel->program->args.len; i++) {
            const TileBinding *b = &kernel->bindings[i];
            args[i] = b->kind == BIND_PARTIAL ? partials[b->partial]
                                              : workspace_find(&f->workspace, b->value)->data;
            const TileArg *arg = &kernel->program->args.ptr[i];
            if (kernel->clear_first && arg->written)
                memset(args[i], 0, (size_t)arg->elements * dtype_bytes(arg->type));
        }
        tile_interpret(kernel->program, args);
    }
}

// Off by more than rounding explains, anywhere that is known: found, and named.
static void expect_strict(Fixture *f) {
    assert_false(passes(f));
    run(f);
    assert_true(passes(f));
    ReferenceTensor *t = output(f);
    int64_t n = t->tensor->elements, known = 0;
    for (int64_t i = 0; i < n; i += 1 + n / 97) {
        double right = dtype_get(t->tensor->type, t->tensor->data, i);
        dtype_set(t->tensor->type, t->tensor->data, i, right + 0.01 * (fabs(right) + t->scale));
        known += t->known[i] != 0;
        assert_int_equal(passes(f), !t->known[i]);
        dtype_set(t->tensor->type, t->tensor->data, i, right);
    }
    // The corners are always known.
    assert_true(t->known[0] && t->known[n - 1]);
    assert_true(known > 0);
}

static ValueId row_norm(Fixture *f) {
    AxisId axes[] = {axis(f, "t", 40), axis(f, "d", 33)};
    ValueId x = input(f, "x", DTYPE_F32, axes, 2);
    ValueId squares = graph_binary(f->g, OP_MUL, x, x, (Span){0});
    ValueId sum = graph_sum(f->g, squares, &axes[1], 1, (Span){0});
    return graph_binary(f->g, OP_MUL, x, graph_unary(f->g, OP_RSQRT, sum, (Span){0}),
                        (Span){0});
}

static void rows_whole(void **state) {
    begin(*state, row_norm(*state), 1e9);
    expect_strict(*state);
}

static void rows_sampled(void **state) {
    begin(*state, row_norm(*state), 0);
    expect_strict(*state);
}

static ValueId product(Fixture *f) {
    AxisId m = axis(f, "m", 45), n = axis(f, "n", 37), k = axis(f, "k", 19);
    ValueId a = input(f, "a", DTYPE_F32, (AxisId[]){m, k}, 2),
            b = input(f, "b", DTYPE_F32, (AxisId[]){k, n}, 2);
    GraphAttr attr = {.along = &k, .along_count = 1};
    return graph_add(f->g, OP_CONTRACT, (Operands){(ValueId[]){a, b}, 2}, attr, (Span){0});
}

static void product_whole(void **state) {
    begin(*state, product(*state), 1e9);
    expect_strict(*state);
}

static void product_sampled(void **state) {
    Fixture *f = *state;
    begin(f, product(f), 0);
    expect_strict(f);
    // What passed fills the gaps; then no element is free.
    run(f);
    reference_complete(&f->reference);
    ReferenceTensor *t = output(f);
    for (int64_t i = 0; i < t->tensor->elements; i++)
        assert_true(t->known[i]);
    assert_true(passes(f));
    float *y = t->tensor->data;
    y[20 * 37 + 18] += 1;
    assert_false(passes(f));
}

static void sum_over_rows(void **state) {
    Fixture *f = *state;
    AxisId axes[] = {axis(f, "t", 6000), axis(f, "d", 20)};
    ValueId x = input(f, "x", DTYPE_F32, axes, 2);
    begin(f, graph_sum(f->g, x, &axes[0], 1, (Span){0}), 0);
    expect_strict(f);
}

// The delta rule over long sequences stays bounded, by the inputs that are drawn. Of gradients
// the first program keeps states, of those heads that the second one looks at.
static ValueId recurrence(Fixture *f, GraphOp op) {
    AxisId h = axis(f, "h", 9), t = axis(f, "t", 90), d = axis(f, "d", 5), e = axis(f, "e", 3);
    AxisId keys[] = {h, t, d}, values[] = {h, t, e}, along[] = {d, t};
    ValueId in[] = {input(f, "q", DTYPE_F32, keys, 3),   input(f, "k", DTYPE_F32, keys, 3),
                    input(f, "v", DTYPE_F32, values, 3), input(f, "g", DTYPE_F32, keys, 3),
                    input(f, "b", DTYPE_F32, keys, 2),   input(f, "u", DTYPE_F32, values, 3),
                    input(f, "y", DTYPE_F32, values, 3)};
    GraphAttr attr = {.along = along,
                      .along_count = 2,
                      .number = 1,
                      .amount =
                          LINEAR_HAS_QUERY | LINEAR_HAS_DECAY | LINEAR_HAS_BETA | LINEAR_DELTA};
    return graph_add(f->g, op, (Operands){in, op == OP_LINEAR ? 5 : 7}, attr, (Span){0});
}

static void recurrence_sampled(void **state) {
    Fixture *f = *state;
    begin(f, recurrence(f, OP_LINEAR), 0);
    expect_strict(f);
    assert_true(output(f)->scale < 100);
}

static void recurrence_slopes(void **state) {
    begin(*state, recurrence(*state, OP_LINEAR_DK), 0);
    expect_strict(*state);
}

// Adds to what is there: the reference starts from zeros, and each task counts once.
static void scatter(void **state) {
    Fixture *f = *state;
    AxisId t = axis(f, "t", 50), d = axis(f, "d", 200), v = axis(f, "v", 7);
    ValueId x = input(f, "x", DTYPE_F32, (AxisId[]){t, d}, 2),
            index = input(f, "i", DTYPE_I32, (AxisId[]){t}, 1);
    GraphAttr attr = {.to = (AxisId[]){v, d}, .to_count = 2};
    begin(f, graph_add(f->g, OP_SCATTER, (Operands){(ValueId[]){x, index}, 2}, attr, (Span){0}),
          0);
    run(f);
    assert_true(passes(f));
    float *y = output(f)->tensor->data;
    y[0] += 1;
    assert_false(passes(f));
}

// Roots of signed inputs are no numbers: then the inputs are drawn positive.
static void undefined_inputs_are_avoided(void **state) {
    Fixture *f = *state;
    AxisId n = axis(f, "n", 100);
    ValueId x = input(f, "x", DTYPE_F32, &n, 1);
    begin(f, graph_unary(f->g, OP_LOG, x, (Span){0}), 1e9);
    run(f);
    assert_true(passes(f));
    assert_true(isfinite(output(f)->scale));
    const float *got = output(f)->tensor->data;
    for (int i = 0; i < 100; i++)
        assert_true(isfinite(got[i]));
}

// What lies between two numbers of bf16 may be rounded to either, and to none beyond them.
static void halves_round_either_way(void **state) {
    Fixture *f = *state;
    AxisId n = axis(f, "n", 300);
    ValueId x = input(f, "x", DTYPE_F32, &n, 1), y32 = graph_unary(f->g, OP_EXP, x, (Span){0});
    begin(f, graph_cast(f->g, y32, DTYPE_BF16, (Span){0}), 1e9);
    run(f);
    uint16_t *y = output(f)->tensor->data;
    for (int i = 0; i < 300; i++) {
        y[i]++;
        assert_true(passes(f));
        y[i] -= 2;
        assert_true(passes(f));
        y[i] += 3;
        assert_false(passes(f));
        y[i] -= 2;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_sampled, setup, teardown),
        cmocka_unit_test_setup_teardown(product_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(product_sampled, setup, teardown),
        cmocka_unit_test_setup_teardown(sum_over_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(recurrence_sampled, setup, teardown),
        cmocka_unit_test_setup_teardown(recurrence_slopes, setup, teardown),
        cmocka_unit_test_setup_teardown(scatter, setup, teardown),
        cmocka_unit_test_setup_teardown(undefined_inputs_are_avoided, setup, teardown),
        cmocka_unit_test_setup_teardown(halves_round_either_way, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
