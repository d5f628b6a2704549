// test_worker.c: candidates that are wrong, crash or hang cost themselves and nothing else.
// Their code is planted: y = 2 x + 1 compiled from objects/planted.c. With PLANTED_CUDA it is
// run by the fake driver of tests/runtime/fake_cuda.h.
#include <sys/wait.h>

#include "autotune/worker.h"
#include "base/io.h"
#include "ir/graph/passes.h"
#include "tests/autotune/objects/planted.h"
#include "tests/runtime/fake_cuda.h"
#include "tests/test.h"

enum { MOST = 6 };

typedef struct {
    Arena arena;
    Diag diag;
    Regions *regions;
    Workspace workspace;
    Reference reference;
    Candidate candidates[MOST];
    WorkerResult results[MOST], incumbent;
    bool done[MOST], incumbent_failed;
    volatile sig_atomic_t stop;
    uint32_t stop_after;  // results; 0: never
    double seconds;       // to measure a candidate; 0: only as often as it must be
    uint32_t count;
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    Graph *g = graph_new(&f->arena, STR("planted"));
    AxisId n = graph_axis(g, STR("n"), PLANTED_COUNT, false);
    Leaf leaf = {.kind = OP_INPUT, .path = STR("x"), .type = DTYPE_F32, .rank = 1, .axes = &n};
    ValueId x = graph_leaf(g, &leaf);
    ValueId twice = graph_binary(g, OP_MUL, x, graph_const(g, 2, (Span){0}), (Span){0});
    graph_output(g, STR("y"),
                 graph_binary(g, OP_ADD, twice, graph_const(g, 1, (Span){0}), (Span){0}));
    f->regions = pass_fuse(pass_simplify(g, &f->arena), &f->arena);
    assert_int_equal(f->regions->count, 1);
    const Region *region = &f->regions->regions[0];
    assert_true(workspace_open(&f->diag, &f->arena, f->regions, region, &f->workspace));
    assert_true(reference_open(&f->diag, &f->arena, &f->workspace, 1e6, &f->reference));
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

#ifdef PLANTED_CUDA
static const IsaLevel level = CUDA_SM90A;

static void plant_code(Fixture *f, const char *object, EmittedKernel *out) {
    out->object = str_printf(&f->arena, "fake-cubin pp 1 0 %s", object);
    out->launch = (Launch){.blocks = 1, .threads = 128, .cluster = 1};
}
#else
static const IsaLevel level = CPU_PORTABLE;

static void plant_code(Fixture *f, const char *object, EmittedKernel *out) {
    assert_true(io_read(&f->diag, &f->arena, str_of(object), &out->object));
}
#endif

static Candidate planted(Fixture *f, const char *object) {
    Schedule none = schedule_none();
    Candidate c;
    assert_true(candidate_lower(f->regions, &f->regions->regions[0], &none, &f->arena, &c));
    assert_int_equal(c.kernels->kernel_count, 1);
    assert_int_equal(c.kernels->kernels[0].program->args.len, 2);
    assert_true(c.kernels->kernels[0].program->args.ptr[0].written);
    EmittedKernel *code = arena_new(&f->arena, EmittedKernel);
    code->tasks = 1;
    plant_code(f, object, code);
    c.code = code;
    return c;
}

static void plant(Fixture *f, const char *object) {
    f->candidates[f->count++] = planted(f, object);
}

static void done(void *context, uint32_t number, const WorkerResult *result) {
    Fixture *f = context;
    if (number == WORKER_INCUMBENT) {
        f->incumbent = *result;
        f->incumbent_failed = true;
        return;
    }
    assert_true(number < f->count && !f->done[number]);
    f->results[number] = *result;
    f->done[number] = true;
    if (f->stop_after && number + 1 == f->stop_after) f->stop = 1;
}

static void run(Fixture *f, const Candidate *incumbent) {
    WorkerBatch batch = {.workspace = &f->workspace,
                         .reference = &f->reference,
                         .level = level,
                         .least_ns = 250000,  // of a GPU: four runs a sample
                         .threads = 1,
                         .incumbent = incumbent,
                         .incumbent_ns = 1000,
                         .candidates = f->candidates,
                         .count = f->count,
                         .measure = {f->seconds, .least_pairs = 7, .give_up = 1.5},
                         .patience = 1.5,
                         .stop = &f->stop,
                         .done = done,
                         .context = f};
    assert_true(worker_run(&f->diag, &batch));
    // No child is left behind.
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void right_kernels_are_timed(void **state) {
    Fixture *f = *state;
    plant(f, OBJECT_RIGHT);
    plant(f, OBJECT_RIGHT);
    run(f, NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(f->done[i]);
        // The second is the same code: it may only look slow on a very busy machine.
        assert_true(f->results[i].status == TRIAL_OK ||
                    (i && f->results[i].status == TRIAL_SLOW));
        assert_true(f->results[i].measured.count > 0);
        assert_true(f->results[i].measured.time.median > 0);
    }
    assert_true(hash_eq(f->results[0].output, f->results[1].output));
}

static void wrong_kernel_is_rejected(void **state) {
    Fixture *f = *state;
    plant(f, OBJECT_WRONG);
    plant(f, OBJECT_RIGHT);
    run(f, NULL);
    assert_int_equal(f->results[0].status, TRIAL_WRONG);
    assert_int_equal(f->results[0].measured.count, 0);
    assert_non_null(strstr(f->results[0].note, "element 999"));
    assert_int_equal(f->results[1].status, TRIAL_OK);
}

static void crash_costs_one_trial(void **state) {
    Fixture *f = *state;
    plant(f, OBJECT_RIGHT);
    plant(f, OBJECT_CRASH);
    plant(f, OBJECT_CRASH);
    plant(f, OBJECT_RIGHT);
    run(f, NULL);
    assert_int_equal(f->results[0].status, TRIAL_OK);
    assert_int_equal(f->results[1].status, TRIAL_CRASH);
    assert_int_equal(f->results[2].status, TRIAL_CRASH);
    assert_int_equal(f->results[3].status, TRIAL_OK);
}

static void hang_costs_one_trial(void **state) {
    Fixture *f = *state;
    plant(f, OBJECT_HANG);
    plant(f, OBJECT_RIGHT);
    run(f, NULL);
    assert_int_equal(f->results[0].status, TRIAL_TIMEOUT);
    assert_int_equal(f->results[1].status, TRIAL_OK);
}

static void slow_kernel_is_given_up(void **state) {
    Fixture *f = *state;
    Candidate incumbent = planted(f, OBJECT_RIGHT);
    plant(f, OBJECT_SLOW);
    f->seconds = 10;  // other work on the machine may hold up the incumbent now and then
    run(f, &incumbent);
    assert_int_equal(f->results[0].status, TRIAL_SLOW);
    // In the incumbent's recorded time, which is 1000 ns.
    assert_true(f->results[0].measured.time.low > 1500);
}

static void failing_incumbent_is_told_apart(void **state) {
    Fixture *f = *state;
    const char *const objects[] = {OBJECT_CRASH, OBJECT_WRONG};
    const TrialStatus expected[] = {TRIAL_CRASH, TRIAL_WRONG};
    plant(f, OBJECT_RIGHT);
    for (int i = 0; i < 2; i++) {
        Candidate incumbent = planted(f, objects[i]);
        f->incumbent_failed = false;
        run(f, &incumbent);
        assert_true(f->incumbent_failed);
        assert_int_equal(f->incumbent.status, expected[i]);
        assert_false(f->done[0]);
    }
}

#ifdef PLANTED_CUDA
// After an error of the driver a process cannot use the GPU any more: another one goes on.
static void failing_driver_costs_one_trial(void **state) {
    Fixture *f = *state;
    // The first that belongs to a run, in every process anew.
    static const struct {
        const char *function;
        int before;
    } calls[] = {{"cuStreamSynchronize", 2}, {"cuGraphLaunch", 1}, {"cuLaunchKernelEx", 0}};
    for (int i = 0; i < 3; i++) {
        f->count = 0;
        memset(f->done, 0, sizeof f->done);
        plant(f, OBJECT_RIGHT);
        plant(f, OBJECT_RIGHT);
        const int illegal_address = 700;
        fake_cuda_fail(calls[i].function, calls[i].before, illegal_address);
        run(f, NULL);
        fake_cuda_fail(NULL, 0, 0);
        assert_true(f->done[0] && f->done[1]);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(f->results[k].status, TRIAL_CRASH);
            assert_non_null(strstr(f->results[k].note, "CUDA_ERROR"));
        }
    }
}

static void code_that_cannot_be_loaded_is_refused(void **state) {
    Fixture *f = *state;
    plant(f, "/no/such/object");
    plant(f, OBJECT_RIGHT);
    run(f, NULL);
    assert_int_equal(f->results[0].status, TRIAL_REFUSED);
    assert_int_equal(f->results[1].status, TRIAL_OK);
}
#endif

static void interrupt_ends_it(void **state) {
    Fixture *f = *state;
    f->stop_after = 1;
    plant(f, OBJECT_RIGHT);
    plant(f, OBJECT_HANG);
    plant(f, OBJECT_RIGHT);
    run(f, NULL);
    assert_true(f->done[0]);
    assert_false(f->done[1] || f->done[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(right_kernels_are_timed, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_kernel_is_rejected, setup, teardown),
        cmocka_unit_test_setup_teardown(crash_costs_one_trial, setup, teardown),
        cmocka_unit_test_setup_teardown(hang_costs_one_trial, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_kernel_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(failing_incumbent_is_told_apart, setup, teardown),
#ifdef PLANTED_CUDA
        cmocka_unit_test_setup_teardown(failing_driver_costs_one_trial, setup, teardown),
        cmocka_unit_test_setup_teardown(code_that_cannot_be_loaded_is_refused, setup, teardown),
#endif
        cmocka_unit_test_setup_teardown(interrupt_ends_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
