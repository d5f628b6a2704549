// test_session.c: plans run: launches, copies, clears and contractions, on any number of
// threads; bad inputs, machines and code are refused with their names.
#include <math.h>

#include "base/io.h"
#include "runtime/cpu/cpu.h"
#include "runtime/device.h"
#include "tests/test.h"

enum { N = 100, M_ROWS = 300, M_COLUMNS = 270, M_INNER = 33 };

typedef struct {
    Arena arena;
    Diag diag;
    Plan plan;
    Session *session;
} Fixture;

static const int64_t vector_shape[] = {N}, token_shape[] = {2, 20};
static const int64_t a_shape[] = {2, M_ROWS, M_INNER}, b_shape[] = {M_COLUMNS, M_INNER},
                     c_shape[] = {2, M_ROWS, M_COLUMNS};
static const Str axes[] = {{"B", 1}, {"T", 1}, {"d", 1}};

static PlanTensor tensor(TensorKind kind, Str name, uint32_t rank, const int64_t *shape) {
    return (PlanTensor){.kind = kind, .name = name, .rank = rank, .shape = shape, .axes = axes};
}

static void fill_tensors(Fixture *f) {
    Plan *plan = &f->plan;
    plan->tensor_count = 6;
    plan->tensors = arena_array(&f->arena, PlanTensor, 6);
    plan->tensors[0] = tensor(TENSOR_INPUT, STR("x"), 1, vector_shape);
    plan->tensors[1] = tensor(TENSOR_OUTPUT, STR("y"), 1, vector_shape);
    plan->tensors[2] = tensor(TENSOR_INPUT, STR("tokens"), 2, token_shape);
    plan->tensors[2].type = DTYPE_I32;
    plan->tensors[2].index_below = 256;
    plan->tensors[3] = tensor(TENSOR_PARAM, STR("a"), 3, a_shape);
    plan->tensors[3].init = (PlanInit){.kind = 1, .a = 1};
    plan->tensors[4] = tensor(TENSOR_STATE, STR("b"), 2, b_shape);
    plan->tensors[4].init = (PlanInit){.kind = 2, .a = 1};
    plan->tensors[5] = tensor(TENSOR_OUTPUT, STR("c"), 3, c_shape);
}

static void fill_kernels(Fixture *f) {
    Str object;
    assert_true(io_read(&f->diag, &f->arena, str_of(OBJECT_SCALE), &object));
    f->plan.kernel_count = 2;
    f->plan.kernels = arena_array(&f->arena, PlanKernel, 2);
    for (int i = 0; i < 2; i++) {
        f->plan.kernels[i] = (PlanKernel){.name = STR("scale"),
                                          .object = object,
                                          .hash = hash_bytes(object.ptr, object.len),
                                          .tasks = N,
                                          .scratch_bytes = 128};
    }
}

static PlanBuffer buffer(BufferKind kind, uint32_t index, int64_t offset, int64_t bytes) {
    return (PlanBuffer){.kind = kind, .index = index, .offset = offset, .bytes = bytes};
}

static PlanStep step(StepKind kind, const uint32_t *args, uint32_t count) {
    return (PlanStep){.kind = kind, .args = args, .arg_count = count};
}

// x -> arena -> arena + 512 -> y, with y[0..1] from the constants, y[2..3] cleared.
static void fill_scale(Fixture *f, PlanEntry *e) {
    static const uint32_t args[] = {0, 1, 1, 2, 2, 3, 4, 5, 6};
    e->name = STR("scale");
    e->arena_bytes = 1024;
    e->buffer_count = 7;
    e->buffers = arena_array(&f->arena, PlanBuffer, 7);
    e->buffers[0] = buffer(BUFFER_TENSOR, 0, 0, (int64_t)N * 4);
    e->buffers[1] = buffer(BUFFER_ARENA, 0, 0, (int64_t)N * 4);
    e->buffers[2] = buffer(BUFFER_ARENA, 0, 512, (int64_t)N * 4);
    e->buffers[3] = buffer(BUFFER_TENSOR, 1, 0, (int64_t)N * 4);
    e->buffers[4] = buffer(BUFFER_CONSTANT, 0, 4, 8);
    e->buffers[5] = buffer(BUFFER_TENSOR, 1, 0, 8);
    e->buffers[6] = buffer(BUFFER_TENSOR, 1, 8, 8);
    e->step_count = 5;
    e->steps = arena_array(&f->arena, PlanStep, 5);
    e->steps[0] = step(STEP_LAUNCH, args, 2);
    e->steps[1] = step(STEP_LAUNCH, args + 2, 2);
    e->steps[1].kernel = 1;
    e->steps[2] = step(STEP_COPY, args + 4, 2);
    e->steps[3] = step(STEP_COPY, args + 6, 2);
    e->steps[4] = step(STEP_CLEAR, args + 8, 1);
}

// c[i] = a[i] b^T for both i; tokens are read as well, so that they are checked.
static void fill_product(Fixture *f, PlanEntry *e) {
    static const uint32_t args[] = {0, 1, 2};
    e->name = STR("product");
    e->buffer_count = 4;
    e->buffers = arena_array(&f->arena, PlanBuffer, 4);
    e->buffers[0] = buffer(BUFFER_TENSOR, 3, 0, (int64_t)2 * M_ROWS * M_INNER * 4);
    e->buffers[1] = buffer(BUFFER_TENSOR, 4, 0, (int64_t)M_COLUMNS * M_INNER * 4);
    e->buffers[2] = buffer(BUFFER_TENSOR, 5, 0, (int64_t)2 * M_ROWS * M_COLUMNS * 4);
    e->buffers[3] = buffer(BUFFER_TENSOR, 2, 0, 160);
    e->step_count = 1;
    e->steps = arena_array(&f->arena, PlanStep, 1);
    e->steps[0] = step(STEP_GEMM, args, 3);
    e->steps[0].gemm = (PlanGemm){.m = M_ROWS,
                                  .n = M_COLUMNS,
                                  .k = M_INNER,
                                  .lda = M_INNER,
                                  .ldb = M_INNER,
                                  .ldc = M_COLUMNS,
                                  .batch = {2, 1},
                                  .stride_a = {(int64_t)M_ROWS * M_INNER, 0},
                                  .stride_c = {(int64_t)M_ROWS * M_COLUMNS, 0},
                                  .transpose_b = true};
}

static int setup(void **state) {
    static const float constants[] = {1, 2, 3, 4};
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    f->plan.model = STR("m");
    f->plan.target = STR("cpu");
    f->plan.constants = (Str){(const char *)constants, sizeof constants};
    fill_tensors(f);
    fill_kernels(f);
    f->plan.entry_count = 2;
    f->plan.entries = arena_array(&f->arena, PlanEntry, 2);
    fill_scale(f, &f->plan.entries[0]);
    fill_product(f, &f->plan.entries[1]);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    session_close(f->session);
    arena_release(&f->arena);
    test_free(f);
    return 0;
}

static void open_session(Fixture *f, uint32_t threads) {
    assert_true(session_open(&f->diag, &f->plan, threads, &f->session));
}

static float scaled(float x, int i) {
    const float weight[] = {1, 2, 0.5F, -1};
    return weight[i % 4] * x + (float)i;
}

static void runs_steps_in_order(void **state) {
    Fixture *f = *state;
    open_session(f, 0);
    float *x = session_write(f->session, 0);
    for (int i = 0; i < N; i++)
        x[i] = (float)(i * i);
    for (int run = 0; run < 3; run++)
        assert_true(session_run(&f->diag, f->session, plan_entry(&f->plan, "scale")));
    const float *y = session_read(&f->diag, f->session, 1);
    assert_true(y[0] == 2 && y[1] == 3 && y[2] == 0 && y[3] == 0);
    for (int i = 4; i < N; i++)
        assert_true(y[i] == scaled(scaled(x[i], i), i));
}

static void aligns_tensors(void **state) {
    Fixture *f = *state;
    open_session(f, 1);
    for (uint32_t i = 0; i < f->plan.tensor_count; i++)
        assert_int_equal((uintptr_t)session_write(f->session, i) % 64, 0);
    assert_ptr_equal(session_plan(f->session), &f->plan);
}

// A sum of k products of values below 4 and 1 is off by at most k roundings of partial sums.
static void multiplies_matrices(void **state) {
    Fixture *f = *state;
    open_session(f, 0);
    session_init(f->session, 5);
    assert_true(session_run(&f->diag, f->session, plan_entry(&f->plan, "product")));
    const float *a = session_read(&f->diag, f->session, 3);  // (2, M_ROWS, M_INNER)
    const float *b = session_read(&f->diag, f->session, 4);  // (M_COLUMNS, M_INNER)
    const float *c = session_read(&f->diag, f->session, 5);  // (2, M_ROWS, M_COLUMNS)
    for (int i = 0; i < 2 * M_ROWS; i++) {
        for (int j = 0; j < M_COLUMNS; j++) {
            double sum = 0, size = 0;
            for (int k = 0; k < M_INNER; k++) {
                double product = (double)a[i * M_INNER + k] * (double)b[j * M_INNER + k];
                sum += product;
                size += fabs(product);
            }
            assert_true(fabs((double)c[i * M_COLUMNS + j] - sum) <= M_INNER * 0x1p-24 * size);
        }
    }
}

static void gives_the_same_on_any_number_of_threads(void **state) {
    Fixture *f = *state;
    size_t bytes = (size_t)plan_tensor_bytes(&f->plan.tensors[5]);
    void *first = arena_alloc(&f->arena, bytes, 1);
    for (uint32_t threads = 1; threads <= cpu_count() && threads <= 4; threads++) {
        open_session(f, threads);
        session_init(f->session, 5);
        assert_true(session_run(&f->diag, f->session, plan_entry(&f->plan, "product")));
        if (threads == 1) memcpy(first, session_read(&f->diag, f->session, 5), bytes);
        assert_memory_equal(first, session_read(&f->diag, f->session, 5), bytes);
        session_close(f->session);
        f->session = NULL;
    }
}

static void names_the_place_of_a_bad_input(void **state) {
    Fixture *f = *state;
    open_session(f, 1);
    int32_t *tokens = session_write(f->session, 2);
    tokens[37] = 256;
    assert_true(session_run(&f->diag, f->session, plan_entry(&f->plan, "scale")));
    assert_false(session_run(&f->diag, f->session, plan_entry(&f->plan, "product")));
    assert_diag(&f->diag, "strata: error: tokens[B=1, T=17] is 256; it must be in [0, 256)\n");
}

static void refuses_negative_tokens(void **state) {
    Fixture *f = *state;
    open_session(f, 1);
    int32_t *tokens = session_write(f->session, 2);
    tokens[0] = -1;
    assert_false(session_run(&f->diag, f->session, plan_entry(&f->plan, "product")));
    assert_diag(&f->diag, "strata: error: tokens[B=0, T=0] is -1; it must be in [0, 256)\n");
}

static void measures_steps(void **state) {
    Fixture *f = *state;
    open_session(f, 1);
    uint32_t count = 9;
    assert_null(session_step_ns(f->session, &count));
    assert_int_equal(count, 0);
    session_profile(f->session, true);
    assert_true(session_run(&f->diag, f->session, plan_entry(&f->plan, "product")));
    const int64_t *ns = session_step_ns(f->session, &count);
    assert_int_equal(count, 1);
    assert_true(ns[0] > 0);
}

static void check_refused(Fixture *f, const char *message, Fail fail) {
    assert_false(session_open(&f->diag, &f->plan, 1, &f->session));
    assert_null(f->session);
    assert_diag_has(&f->diag, message);
    assert_int_equal(f->diag.fail, fail);
}

static void refuses_another_target(void **state) {
    Fixture *f = *state;
    f->plan.target = STR("tpu");
    check_refused(f, "the plan is for tpu, which is unknown here", FAIL_ENVIRONMENT);
}

static void refuses_unknown_features(void **state) {
    Fixture *f = *state;
    f->plan.cpu_features = STR("avx4096");
    check_refused(f, "the plan's code needs avx4096 and this machine has", FAIL_ENVIRONMENT);
}

static void refuses_bad_code(void **state) {
    Fixture *f = *state;
    f->plan.kernels[1].object = STR("junk");
    f->plan.kernels[1].hash = hash_bytes("junk", 4);
    check_refused(f, "kernel 'scale': bad object code", FAIL_INPUT);
}

static void refuses_a_bad_plan(void **state) {
    Fixture *f = *state;
    f->plan.entries[0].arena_bytes = 500;
    check_refused(f, "bad plan: buffer 2 of entry 0: it reaches past its memory", FAIL_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_steps_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(aligns_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(multiplies_matrices, setup, teardown),
        cmocka_unit_test_setup_teardown(gives_the_same_on_any_number_of_threads, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(names_the_place_of_a_bad_input, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_negative_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(measures_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_another_target, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_unknown_features, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_code, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_bad_plan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
