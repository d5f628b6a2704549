// test_session_cuda.c: sessions on a GPU, on the fake driver of fake_cuda.h: what is called in
// which order, what is transferred, and what is said when something fails.
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/cuda/cublaslt.h"
#include "runtime/device.h"
#include "tests/runtime/fake_cuda.h"
#include "tests/test.h"

enum { N = 100, M_ROWS = 6, M_COLUMNS = 5, M_INNER = 7, OUTER = 2, INNER = 3 };
enum { A_ONE = M_ROWS * M_INNER, C_ONE = M_ROWS * M_COLUMNS };  // elements of one matrix

// Tensors of the plan.
enum { X, Y, TOKENS, A, B, C, MATRIX, TENSORS };
enum { SCALE, PRODUCT, MAPPED, ENTRIES };

typedef struct {
    Arena arena;
    Diag diag;
    Plan plan;
    Session *session;
} Fixture;

static const int64_t vector_shape[] = {N}, token_shape[] = {2, 20}, matrix_shape[] = {4, 32};
static const int64_t a_shape[] = {OUTER, INNER, M_ROWS, M_INNER},
                     b_shape[] = {M_COLUMNS, M_INNER},
                     c_shape[] = {OUTER, INNER, M_ROWS, M_COLUMNS};
static const Str axes[] = {{"B", 1}, {"T", 1}, {"d", 1}, {"e", 1}};

static PlanTensor tensor(TensorKind kind, Str name, uint32_t rank, const int64_t *shape) {
    return (PlanTensor){.kind = kind, .name = name, .rank = rank, .shape = shape, .axes = axes};
}

static void fill_tensors(Fixture *f) {
    PlanTensor *t = f->plan.tensors = arena_array(&f->arena, PlanTensor, TENSORS);
    f->plan.tensor_count = TENSORS;
    t[X] = tensor(TENSOR_INPUT, STR("x"), 1, vector_shape);
    t[Y] = tensor(TENSOR_OUTPUT, STR("y"), 1, vector_shape);
    t[TOKENS] = tensor(TENSOR_INPUT, STR("tokens"), 2, token_shape);
    t[TOKENS].type = DTYPE_I32;
    t[TOKENS].index_below = 256;
    t[A] = tensor(TENSOR_PARAM, STR("a"), 4, a_shape);
    t[A].init = (PlanInit){.kind = 1, .a = 1};
    t[B] = tensor(TENSOR_STATE, STR("b"), 2, b_shape);
    t[B].init = (PlanInit){.kind = 2, .a = 1};
    t[C] = tensor(TENSOR_OUTPUT, STR("c"), 4, c_shape);
    t[MATRIX] = tensor(TENSOR_PARAM, STR("matrix"), 2, matrix_shape);
    t[MATRIX].init = (PlanInit){.kind = 1, .a = 1};
}

static PlanKernel kernel(Fixture *f, const char *params, int tasks, Launch launch) {
    Str object = str_printf(&f->arena, "fake-cubin %s %d %d %s", params, tasks,
                            launch.cluster == 4 ? 4 : 0, OBJECT_SCALE);
    return (PlanKernel){.name = STR("scale"),
                        .object = object,
                        .hash = hash_bytes(object.ptr, object.len),
                        .launch = launch};
}

static void fill_kernels(Fixture *f) {
    f->plan.kernel_count = 3;
    PlanKernel *k = f->plan.kernels = arena_array(&f->arena, PlanKernel, 3);
    k[0] = kernel(f, "pp", N, (Launch){.blocks = 1, .threads = N, .cluster = 1});
    k[1] = kernel(f, "pp", N,
                  (Launch){.blocks = 4, .threads = 128, .cluster = 2, .shared_bytes = 100000});
    // The map is of argument 0 from its second row on: (3, 32), boxes of (2, 16).
    k[2] = kernel(f, "ppm", 96, (Launch){.blocks = 4, .threads = 128, .cluster = 4});
    k[2].launch.map_count = 1;
    k[2].launch.maps[0] = (TensorMapSpec){.arg = 0,
                                          .offset = 32,
                                          .type = DTYPE_F32,
                                          .rank = 2,
                                          .extent = {32, 3},
                                          .stride = {1, 32},
                                          .box = {16, 2},
                                          .swizzle = 64};
}

static PlanBuffer buffer(BufferKind kind, uint32_t index, int64_t offset, int64_t bytes) {
    return (PlanBuffer){.kind = kind, .index = index, .offset = offset, .bytes = bytes};
}

static PlanStep step(StepKind kind, const uint32_t *args, uint32_t count, uint32_t line) {
    return (PlanStep){.kind = kind, .args = args, .arg_count = count, .line = line};
}

// x -> arena -> arena + 512 -> y, with y[0..1] from the constants, y[2..3] cleared.
static void fill_scale(Fixture *f, PlanEntry *e) {
    static const uint32_t args[] = {0, 1, 1, 2, 2, 3, 4, 5, 6};
    e->name = STR("scale");
    e->arena_bytes = 1024;
    e->buffer_count = 7;
    e->buffers = arena_array(&f->arena, PlanBuffer, 7);
    e->buffers[0] = buffer(BUFFER_TENSOR, X, 0, (int64_t)N * 4);
    e->buffers[1] = buffer(BUFFER_ARENA, 0, 0, (int64_t)N * 4);
    e->buffers[2] = buffer(BUFFER_ARENA, 0, 512, (int64_t)N * 4);
    e->buffers[3] = buffer(BUFFER_TENSOR, Y, 0, (int64_t)N * 4);
    e->buffers[4] = buffer(BUFFER_CONSTANT, 0, 4, 8);
    e->buffers[5] = buffer(BUFFER_TENSOR, Y, 0, 8);
    e->buffers[6] = buffer(BUFFER_TENSOR, Y, 8, 8);
    e->step_count = 5;
    e->steps = arena_array(&f->arena, PlanStep, 5);
    e->steps[0] = step(STEP_LAUNCH, args, 2, 11);
    e->steps[1] = step(STEP_LAUNCH, args + 2, 2, 12);
    e->steps[1].kernel = 1;
    e->steps[2] = step(STEP_COPY, args + 4, 2, 13);
    e->steps[3] = step(STEP_COPY, args + 6, 2, 13);
    e->steps[4] = step(STEP_CLEAR, args + 8, 1, 14);
}

// c[i, j] = a[i, j] b^T for all i and j; tokens are read as well, so that they are checked.
static void fill_product(Fixture *f, PlanEntry *e) {
    static const uint32_t args[] = {0, 1, 2};
    e->name = STR("product");
    e->buffer_count = 4;
    e->buffers = arena_array(&f->arena, PlanBuffer, 4);
    for (uint32_t i = 0; i < 3; i++)
        e->buffers[i] =
            buffer(BUFFER_TENSOR, A + i, 0, plan_tensor_bytes(&f->plan.tensors[A + i]));
    e->buffers[3] = buffer(BUFFER_TENSOR, TOKENS, 0, 160);
    e->step_count = 1;
    e->steps = arena_array(&f->arena, PlanStep, 1);
    e->steps[0] = step(STEP_GEMM, args, 3, 20);
    e->steps[0].gemm = (PlanGemm){.m = M_ROWS,
                                  .n = M_COLUMNS,
                                  .k = M_INNER,
                                  .lda = M_INNER,
                                  .ldb = M_INNER,
                                  .ldc = M_COLUMNS,
                                  .batch = {OUTER, INNER},
                                  .stride_a = {(int64_t)INNER * A_ONE, A_ONE},
                                  .stride_c = {(int64_t)INNER * C_ONE, C_ONE},
                                  .transpose_b = true};
}

// The kernel does not use its map.
static void fill_mapped(Fixture *f, PlanEntry *e) {
    static const uint32_t args[] = {0, 1};
    e->name = STR("mapped");
    e->arena_bytes = 1024;
    e->buffer_count = 2;
    e->buffers = arena_array(&f->arena, PlanBuffer, 2);
    e->buffers[0] = buffer(BUFFER_TENSOR, MATRIX, 0, 512);
    e->buffers[1] = buffer(BUFFER_ARENA, 0, 0, 512);
    e->step_count = 1;
    e->steps = arena_array(&f->arena, PlanStep, 1);
    e->steps[0] = step(STEP_LAUNCH, args, 2, 30);
    e->steps[0].kernel = 2;
}

static int setup(void **state) {
    static const float constants[] = {1, 2, 3, 4};
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    f->plan.model = STR("m");
    f->plan.target = STR("cuda:sm_90a");
    f->plan.constants = (Str){(const char *)constants, sizeof constants};
    fill_tensors(f);
    fill_kernels(f);
    f->plan.entry_count = ENTRIES;
    f->plan.entries = arena_array(&f->arena, PlanEntry, ENTRIES);
    fill_scale(f, &f->plan.entries[SCALE]);
    fill_product(f, &f->plan.entries[PRODUCT]);
    fill_mapped(f, &f->plan.entries[MAPPED]);
    fake_cuda_set_device(1, 9, 0);
    fake_cuda_set_memory((size_t)1 << 30);
    fake_cuda_fail(NULL, 0, 0);
    unsetenv("STRATA_CUDA_SYNC");
    *state = f;
    return 0;
}

// Whatever a test does, everything is released.
static int teardown(void **state) {
    Fixture *f = *state;
    session_close(f->session);
    arena_release(&f->arena);
    test_free(f);
    return fake_cuda_live();
}

static void open_session(Fixture *f) {
    bool ok = session_open(&f->diag, &f->plan, 1, &f->session);
    assert_diag(&f->diag, "");
    assert_true(ok);
    fake_cuda_clear();
}

static void run(Fixture *f, int entry) {
    bool ok = session_run(&f->diag, f->session, &f->plan.entries[entry]);
    assert_diag(&f->diag, "");
    assert_true(ok);
}

static float scaled(float x, int i) {
    const float weight[] = {1, 2, 0.5F, -1};
    return weight[i % 4] * x + (float)i;
}

static void write_x(Fixture *f, float factor) {
    float *x = session_write(f->session, X);
    for (int i = 0; i < N; i++)
        x[i] = factor * (float)i;
}

static void check_y(Fixture *f, float factor) {
    const float *y = session_read(&f->diag, f->session, Y);
    assert_true(y[0] == 2 && y[1] == 3 && y[2] == 0 && y[3] == 0);
    for (int i = 4; i < N; i++)
        assert_true(y[i] == scaled(scaled(factor * (float)i, i), i));
}

// ---- running

static void captures_once_and_replays(void **state) {
    Fixture *f = *state;
    open_session(f);
    write_x(f, 1);
    run(f, SCALE);
    assert_string_equal(fake_cuda_log(), "upload 400\n"
                                         "capture\n"
                                         "launch 1 x 100 shared 0 cluster 0\n"
                                         "launch 4 x 128 shared 100000 cluster 2\n"
                                         "end of capture\n"
                                         "graph\n"
                                         "wait\n");
    check_y(f, 1);
    fake_cuda_clear();
    run(f, SCALE);
    assert_string_equal(fake_cuda_log(), "graph\nwait\n");
    write_x(f, 2);
    run(f, SCALE);
    check_y(f, 2);
}

static void transfers_only_what_is_asked_for(void **state) {
    Fixture *f = *state;
    open_session(f);
    session_init(f->session, 5);
    write_x(f, 1);
    run(f, SCALE);
    fake_cuda_clear();
    assert_non_null(session_read(&f->diag, f->session, X));
    assert_string_equal(fake_cuda_log(), "");  // inputs stay as they were written
    const float *part = session_read_part(&f->diag, f->session, Y, 40, 8);
    assert_true(part[0] == scaled(scaled(10, 10), 10));
    assert_string_equal(fake_cuda_log(), "download 8\nwait\n");
    fake_cuda_clear();
    check_y(f, 1);
    check_y(f, 1);
    assert_string_equal(fake_cuda_log(), "download 400\nwait\n");
    // Parameters go over before the first entry that uses them.
    run(f, PRODUCT);
    fake_cuda_clear();
    run(f, PRODUCT);
    assert_string_equal(fake_cuda_log(), "graph\nwait\n");
    const float *a = session_read(&f->diag, f->session, A);
    assert_string_equal(fake_cuda_log(), "graph\nwait\ndownload 1008\nwait\n");
    assert_true(a[0] != 0);
}

static void opens_in_order(void **state) {
    Fixture *f = *state;
    fake_cuda_clear();
    assert_true(session_open(&f->diag, &f->plan, 1, &f->session));
    // Tensors (512, 512, 256, 1024, 256, 768, 512), constants, arena and workspace.
    assert_string_equal(fake_cuda_log(), "cuMemAlloc_v2 33559552\n"
                                         "upload 16\n"
                                         "wait\n"
                                         "module\n"
                                         "attribute 8 = 100000\n"
                                         "module\n"
                                         "choose 5 x 6 x 7 aligned 256 256 256\n"
                                         "map type 7 swizzle 2: 32 box 16 3 by 128 box 2\n");
    fake_cuda_clear();
}

static void clusters_of_the_code_are_not_given_again(void **state) {
    Fixture *f = *state;
    open_session(f);
    run(f, MAPPED);
    assert_non_null(strstr(fake_cuda_log(), "launch 4 x 128 shared 0 cluster 0\n"));
}

static void large_clusters_are_allowed(void **state) {
    Fixture *f = *state;
    f->plan.kernels[1].launch.cluster = 16;
    f->plan.kernels[1].launch.blocks = 32;
    fake_cuda_clear();
    assert_true(session_open(&f->diag, &f->plan, 1, &f->session));
    assert_non_null(strstr(fake_cuda_log(), "attribute 14 = 1\n"));
    run(f, SCALE);
    assert_non_null(strstr(fake_cuda_log(), "launch 32 x 128 shared 100000 cluster 16\n"));
}

// ---- contractions

// A sum of k products of values below 4 and 1, rounded once to the type of c.
static void check_product(Fixture *f) {
    const PlanTensor *t = f->plan.tensors;
    const PlanGemm *g = &f->plan.entries[PRODUCT].steps[0].gemm;
    const void *a = session_read(&f->diag, f->session, A);
    const void *b = session_read(&f->diag, f->session, B);
    const void *c = session_read(&f->diag, f->session, C);
    double epsilon = t[C].type == DTYPE_BF16 ? 0x1p-8 : 0x1p-24;
    for (int o = 0; o < OUTER * INNER; o++)
        for (int i = 0; i < M_ROWS; i++)
            for (int j = 0; j < M_COLUMNS; j++) {
                double sum = 0;
                int64_t at_a = o / INNER * g->stride_a[0] + o % INNER * g->stride_a[1];
                int64_t at_c = o / INNER * g->stride_c[0] + o % INNER * g->stride_c[1];
                for (int k = 0; k < M_INNER; k++)
                    sum +=
                        dtype_get(t[A].type, a,
                                  at_a + (g->transpose_a ? k * M_ROWS + i : i * M_INNER + k)) *
                        dtype_get(t[B].type, b, (int64_t)j * M_INNER + k);
                double got = dtype_get(t[C].type, c, at_c + (int64_t)i * M_COLUMNS + j);
                assert_true(fabs(got - sum) <= epsilon * fabs(sum) + 1e-12);
            }
}

static void multiplies(void **state) {
    Fixture *f = *state;
    open_session(f);
    session_init(f->session, 5);
    run(f, PRODUCT);
    check_product(f);
    assert_null(strstr(fake_cuda_log(), "multiply\nmultiply\n"));  // both batch axes at once
}

static void multiplies_transposed(void **state) {
    Fixture *f = *state;
    f->plan.entries[PRODUCT].steps[0].gemm.transpose_a = true;
    f->plan.entries[PRODUCT].steps[0].gemm.lda = M_ROWS;
    open_session(f);
    session_init(f->session, 5);
    run(f, PRODUCT);
    check_product(f);
}

// The outer batch axis runs inside of the inner one, so that they are not one axis.
static void multiplies_over_two_axes(void **state) {
    Fixture *f = *state;
    PlanGemm *g = &f->plan.entries[PRODUCT].steps[0].gemm;
    g->stride_a[0] = A_ONE;
    g->stride_a[1] = (int64_t)OUTER * A_ONE;
    open_session(f);
    session_init(f->session, 5);
    run(f, PRODUCT);
    check_product(f);
    assert_non_null(strstr(fake_cuda_log(), "multiply\nmultiply\n"));
}

static void multiplies_bf16(void **state) {
    Fixture *f = *state;
    f->plan.tensors[A].type = f->plan.tensors[B].type = f->plan.tensors[C].type = DTYPE_BF16;
    PlanGemm *g = &f->plan.entries[PRODUCT].steps[0].gemm;
    g->type_ab = g->type_c = DTYPE_BF16;
    for (int i = 0; i < 3; i++)
        f->plan.entries[PRODUCT].buffers[i].bytes /= 2;
    open_session(f);
    session_init(f->session, 5);
    run(f, PRODUCT);
    check_product(f);
}

// ---- timing

static void times_every_step(void **state) {
    Fixture *f = *state;
    open_session(f);
    write_x(f, 1);
    session_profile(f->session, true);
    run(f, SCALE);
    run(f, SCALE);
    uint32_t count;
    const int64_t *ns = session_step_ns(f->session, &count);
    assert_int_equal(count, 5);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(ns[i], 250000);  // the fake clock's tick from one event to the next
    session_profile(f->session, false);
    run(f, SCALE);
    check_y(f, 1);
}

// ---- failures

static void check_refused(Fixture *f, const char *message, Fail fail) {
    assert_false(session_open(&f->diag, &f->plan, 1, &f->session));
    assert_null(f->session);
    assert_diag_has(&f->diag, message);
    assert_int_equal(f->diag.fail, fail);
    assert_int_equal(fake_cuda_live(), 0);
}

static void says_what_is_missing(void **state) {
    Fixture *f = *state;
    fake_cuda_set_device(0, 0, 0);
    check_refused(f, "there is no GPU here", FAIL_ENVIRONMENT);
    diag_init(&f->diag, &f->arena);
    fake_cuda_set_device(2, 8, 6);
    check_refused(
        f,
        "the plan's code is for sm_90a and the GPU here (Fake 0) is sm_80; compile it "
        "again for that",
        FAIL_ENVIRONMENT);
    diag_init(&f->diag, &f->arena);
    fake_cuda_set_device(1, 9, 0);
    fake_cuda_set_memory((size_t)32 << 20);
    check_refused(f,
                  "not enough memory on the GPU Fake 0: the plan needs 32.0 MiB, and 32.0 of "
                  "32.0 are free",
                  FAIL_ENVIRONMENT);
}

static void refuses_bad_code(void **state) {
    Fixture *f = *state;
    f->plan.kernels[1].object = STR("junk");
    f->plan.kernels[1].hash = hash_bytes("junk", 4);
    check_refused(f, "kernel 'scale' cannot be loaded: CUDA_ERROR_FAKE (made to fail)",
                  FAIL_ENVIRONMENT);
}

static void refuses_other_clusters_than_the_code_has(void **state) {
    Fixture *f = *state;
    f->plan.kernels[2] =
        kernel(f, "ppm", 96, (Launch){.blocks = 4, .threads = 1, .cluster = 4});
    f->plan.kernels[2].launch.cluster = 2;
    check_refused(f, "kernel 'scale' is for clusters of 4 blocks and not of 2", FAIL_INPUT);
}

static void names_the_kernel_that_does_not_launch(void **state) {
    Fixture *f = *state;
    open_session(f);
    write_x(f, 1);
    fake_cuda_fail("cuLaunchKernelEx", 1, 1);
    assert_false(session_run(&f->diag, f->session, &f->plan.entries[SCALE]));
    assert_diag(&f->diag, "strata: error: kernel 'scale' of model 'm' (line 12) could not be "
                          "launched: CUDA_ERROR_FAKE (made to fail)\n");
    diag_init(&f->diag, &f->arena);
    run(f, SCALE);
    check_y(f, 1);
}

static void names_the_kernel_that_fails_when_asked(void **state) {
    Fixture *f = *state;
    open_session(f);
    fake_cuda_fail("cuStreamSynchronize", 0, 700);
    assert_false(session_run(&f->diag, f->session, &f->plan.entries[SCALE]));
    assert_diag(&f->diag, "strata: error: 'scale' of model 'm' failed on the GPU (with "
                          "STRATA_CUDA_SYNC=1 the kernel is named): CUDA_ERROR_FAKE (made to "
                          "fail)\n");
    diag_init(&f->diag, &f->arena);
    session_close(f->session);
    setenv("STRATA_CUDA_SYNC", "1", 1);
    open_session(f);
    write_x(f, 1);
    run(f, SCALE);
    check_y(f, 1);
    fake_cuda_fail("cuStreamSynchronize", 1, 700);
    assert_false(session_run(&f->diag, f->session, &f->plan.entries[SCALE]));
    assert_diag(&f->diag, "strata: error: kernel 'scale' of model 'm' (line 12) failed: "
                          "CUDA_ERROR_FAKE (made to fail)\n");
}

static bool use_everything(Fixture *f) {
    if (!session_open(&f->diag, &f->plan, 1, &f->session)) return false;
    session_init(f->session, 5);
    write_x(f, 1);
    for (int entry = 0; entry < ENTRIES; entry++) {
        for (int profile = 0; profile < 2; profile++) {
            session_profile(f->session, profile);
            if (!session_run(&f->diag, f->session, &f->plan.entries[entry])) return false;
        }
    }
    return session_read(&f->diag, f->session, Y) && session_read(&f->diag, f->session, A);
}

// Whichever call fails, there is one error, and nothing is left behind.
static void survives_every_failure(void **state) {
    Fixture *f = *state;
    int call = 0;
    for (bool done = false; !done; call++) {
        fake_cuda_fail(NULL, call, 999);
        done = use_everything(f);
        assert_int_equal(f->diag.error_count, done ? 0 : 1);
        if (!done) assert_int_equal(f->diag.fail, FAIL_ENVIRONMENT);
        session_close(f->session);
        f->session = NULL;
        assert_int_equal(fake_cuda_live(), 0);
        diag_init(&f->diag, &f->arena);
    }
    assert_true(call > 50);
}

static void checks_inputs(void **state) {
    Fixture *f = *state;
    open_session(f);
    int32_t *tokens = session_write(f->session, TOKENS);
    tokens[37] = 256;
    assert_false(session_run(&f->diag, f->session, &f->plan.entries[PRODUCT]));
    assert_diag(&f->diag, "strata: error: tokens[B=1, T=17] is 256; it must be in [0, 256)\n");
}

// ---- the driver

static void lists_devices(void **state) {
    Fixture *f = *state;
    CudaDevice *devices;
    uint32_t count;
    const CudaDriver *cu = cuda_driver(&f->diag);
    fake_cuda_set_device(2, 10, 0);
    assert_true(cuda_devices(&f->diag, &f->arena, cu, &devices, &count));
    assert_int_equal(count, 2);
    assert_string_equal(devices[1].name, "Fake 1");
    assert_int_equal(devices[1].processors, 132);
    assert_str(cuda_device_arch(&f->arena, &devices[1]), "sm_100a");
    assert_false(cuda_device_runs(&devices[1], STR("sm_90a")));
    devices[1].major = 7;
    devices[1].minor = 5;
    assert_str(cuda_device_arch(&f->arena, &devices[1]), "sm_75");
    assert_str(cuda_driver_version(&f->arena, cu), "13.0");
    fake_cuda_set_device(0, 0, 0);
    assert_true(cuda_devices(&f->diag, &f->arena, cu, &devices, &count));
    assert_int_equal(count, 0);
}

// A machine without CUDA, in a process of its own: libraries are looked for once.
static int without_cuda(Fixture *f) {
    setenv("STRATA_LIBCUDA", "/nowhere/libcuda.so.1", 1);
    setenv("STRATA_CUBLASLT", "/nowhere/libcublasLt.so", 1);
    StrBuf text = {0};
    bool ok = session_open(&f->diag, &f->plan, 1, &f->session);
    diag_render(&f->diag, &text);
    bool said = text.ptr && strstr(text.ptr, "no GPU can be used: there is no CUDA driver");
    bool right = !ok && said && f->diag.fail == FAIL_ENVIRONMENT && !cuda_driver(NULL) &&
                 !cublaslt_available();
    strbuf_release(&text);
    return right ? 0 : 1;
}

static void says_that_there_is_no_driver(void **state) {
    Fixture *f = *state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(without_cuda(f));
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        // First, while no driver is open in this process.
        CASE(says_that_there_is_no_driver),
        CASE(opens_in_order),
        CASE(captures_once_and_replays),
        CASE(transfers_only_what_is_asked_for),
        CASE(clusters_of_the_code_are_not_given_again),
        CASE(large_clusters_are_allowed),
        CASE(multiplies),
        CASE(multiplies_transposed),
        CASE(multiplies_over_two_axes),
        CASE(multiplies_bf16),
        CASE(times_every_step),
        CASE(says_what_is_missing),
        CASE(refuses_bad_code),
        CASE(refuses_other_clusters_than_the_code_has),
        CASE(names_the_kernel_that_does_not_launch),
        CASE(names_the_kernel_that_fails_when_asked),
        CASE(survives_every_failure),
        CASE(checks_inputs),
        CASE(lists_devices),
    };
    return cmocka_run_group_tests_name("session_cuda", tests, NULL, NULL);
}
