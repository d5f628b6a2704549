// test_cuda_tune.c: tuning for a GPU on the fake driver of tests/runtime/fake_cuda.h. The
// database already has the code of every candidate, so nothing is compiled: either code that
// the compiler called slow, or planted kernels (objects/planted.c).
#include <math.h>

#include "autotune/cuda_candidate.h"
#include "autotune/cuda_compile.h"
#include "autotune/cuda_peaks.h"
#include "autotune/peaks.h"
#include "autotune/space.h"
#include "autotune/tune.h"
#include "autotune/tune_context.h"
#include "codegen/cuda/cuda.h"
#include "ir/graph/passes.h"
#include "tests/autotune/objects/planted.h"
#include "tests/autotune/plan_fixture.h"
#include "tests/runtime/fake_cuda.h"
#include "tests/test.h"

static const IsaLevel level = CUDA_SM90A;

// x / |x|, row by row.
static Graph *model(PlanFixture *f) {
    Graph *g = graph_new(&f->arena, STR("rows"));
    AxisId t = graph_axis(g, STR("t"), 40, false), d = graph_axis(g, STR("d"), 256, false);
    Leaf leaf = {.kind = OP_PARAM,
                 .path = STR("x"),
                 .type = DTYPE_F32,
                 .rank = 2,
                 .axes = (AxisId[]){t, d}};
    ValueId x = graph_leaf(g, &leaf), square = graph_binary(g, OP_MUL, x, x, (Span){0});
    ValueId sum = graph_sum(g, square, &d, 1, (Span){0});
    ValueId scale = graph_unary(g, OP_RSQRT, sum, (Span){0});
    GraphAttr to = {.to = (AxisId[]){t, d}, .to_count = 2};
    scale = graph_add(g, OP_BROADCAST, (Operands){&scale, 1}, to, (Span){0});
    graph_output(g, STR("y"), graph_binary(g, OP_MUL, x, scale, (Span){0}));
    return g;
}

// y = 2 x + 1, which the planted kernels compute.
static Graph *planted_model(PlanFixture *f) {
    Graph *g = graph_new(&f->arena, STR("planted"));
    AxisId n = graph_axis(g, STR("n"), PLANTED_COUNT, false);
    Leaf leaf = {.kind = OP_INPUT, .path = STR("x"), .type = DTYPE_F32, .rank = 1, .axes = &n};
    ValueId x = graph_leaf(g, &leaf);
    ValueId twice = graph_binary(g, OP_MUL, x, graph_const(g, 2, (Span){0}), (Span){0});
    graph_output(g, STR("y"),
                 graph_binary(g, OP_ADD, twice, graph_const(g, 1, (Span){0}), (Span){0}));
    return pass_simplify(g, &f->arena);
}

static int setup(void **state) {
    PlanFixture *f = test_calloc(1, sizeof *f);
    plan_fixture_open(f, level);
    f->entry.graph = model(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    PlanFixture *f = *state;
    plan_fixture_close(f);
    test_free(f);
    return 0;
}

// Code that is in the database is not compiled, so it may be anything.
static void plant(PlanFixture *f, const Regions *regions, const Schedule *s,
                  const EmittedKernel *code) {
    TileKernels *kernels = region_to_tile(regions, &regions->regions[0], s, &f->arena);
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        CudaKernel text;
        assert_true(cuda_emit(&f->diag, &f->arena, kernels->kernels[i].program,
                              (EmitOptions){.level = level}, &text));
        Hash key = cuda_code_key(text.text, level, emitter_version(&f->arena, level));
        database_code_add(f->db, key, code);
    }
}

static void slow_code_is_not_run(void **state) {
    PlanFixture *f = *state;
    Regions *regions = pass_fuse(f->entry.graph, &f->arena);
    Schedules space = schedule_space(regions, &regions->regions[0], level, 1, &f->arena);
    assert_true(space.len >= 4);
    for (uint32_t i = 0; i < space.len; i++) {
        bool spills = i % 2 == 1;  // the first would get another shape
        EmittedKernel code = {.object = STR("no code"),
                              .launch.registers = 255,
                              .spill_bytes = spills ? 48 : 0,
                              .notes = spills ? STR("") : STR("C7510: wgmma is serialized")};
        plant(f, regions, &space.ptr[i], &code);
    }
    TuneRequest request = {.request = &f->plan, .measure = measure_defaults()};
    TuneReport report;
    assert_true(tune(&f->diag, &f->arena, &request, &report));
    assert_int_equal(report.trials, space.len);
    assert_int_equal(report.failures, space.len);
    assert_int_equal(report.regions_done, 1);
    assert_true(report.best_ns == 0);
    DatabaseRegion *rows;
    assert_int_equal(database_regions(f->db, &f->arena, &rows), 1);
    Trial *trials;
    assert_int_equal(
        database_trials(f->db, &f->arena, rows[0].region, rows[0].context, &trials), space.len);
    uint32_t spilled = 0;
    for (uint32_t i = 0; i < space.len; i++) {
        bool spills = trials[i].status == TRIAL_SPILLS;
        Str note = spills ? STR("255 registers, 48 bytes of spills")
                          : STR("C7510: wgmma is serialized");
        assert_true(spills || trials[i].status == TRIAL_SERIALISED);
        assert_true(str_eq(trials[i].note, note));
        assert_true(
            database_poisoned(f->db, rows[0].region, rows[0].context, &trials[i].schedule));
        spilled += spills;
    }
    assert_true(spilled > 0 && spilled < space.len);
    assert_true(database_verify(&f->diag, f->db));
    // Nothing is left to try, and the plan has the emitter's own choice.
    assert_true(tune(&f->diag, &f->arena, &request, &report));
    assert_int_equal(report.trials, 0);
    Plan *plan;
    assert_true(graph_to_plan(&f->diag, &f->arena, &f->plan, &plan));
    assert_int_equal(plan->kernels[0].launch.registers, 255);
}

static EmittedKernel planted(PlanFixture *f, const char *object) {
    return (EmittedKernel){.object = str_printf(&f->arena, "fake-cubin pp 1 0 %s", object),
                           .launch.registers = 32};
}

// The prior's kernel is slow, the next two are not even right, the others are fast.
static void best_is_found_and_used(void **state) {
    PlanFixture *f = *state;
    static const char *const objects[] = {OBJECT_SLOW, OBJECT_WRONG, OBJECT_CRASH};
    static const TrialStatus expected[] = {TRIAL_OK, TRIAL_WRONG, TRIAL_CRASH};
    f->entry.graph = planted_model(f);
    Regions *regions = pass_fuse(f->entry.graph, &f->arena);
    assert_int_equal(regions->count, 1);
    Schedules space = schedule_space(regions, &regions->regions[0], level, 1, &f->arena);
    assert_true(space.len >= 5);
    // Equal texts have equal code: the last is planted first, so that the first counts.
    for (uint32_t i = space.len; i-- > 0;) {
        EmittedKernel code = planted(f, i < 3 ? objects[i] : OBJECT_RIGHT);
        plant(f, regions, &space.ptr[i], &code);
    }
    TuneRequest request = {.request = &f->plan,
                           .measure = {.seconds = 0, .least_pairs = 5, .give_up = 1.5}};
    TuneReport report;
    request.trials = 3;
    assert_true(tune(&f->diag, &f->arena, &request, &report));
    assert_int_equal(report.trials, 3);
    request.trials = 0;
    assert_true(tune(&f->diag, &f->arena, &request, &report));
    assert_int_equal(report.trials, space.len - 3);
    assert_int_equal(report.regions_done, 1);
    assert_true(report.best_ns > 0 && report.best_ns < report.prior_ns);
    DatabaseRegion *rows;
    assert_int_equal(database_regions(f->db, &f->arena, &rows), 1);
    Trial *trials;
    assert_int_equal(
        database_trials(f->db, &f->arena, rows[0].region, rows[0].context, &trials), space.len);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(trials[i].status, expected[i]);
    assert_true(str_eq(trials[0].note, STR("32 registers")));
    Plan *plan;
    assert_true(graph_to_plan(&f->diag, &f->arena, &f->plan, &plan));
    Str right = planted(f, OBJECT_RIGHT).object;
    assert_true(str_eq(plan->kernels[0].object, right));
}

// Every second set of tensors has the skewed data, and a call runs as many of the one as of the
// other.
static void skewed_data_are_timed_too(void **state) {
    PlanFixture *f = *state;
    Regions *regions = pass_fuse(planted_model(f), &f->arena);
    Schedule schedule = schedule_none();
    Candidate candidate;
    EmittedKernel code = planted(f, OBJECT_RIGHT);
    assert_true(
        candidate_lower(regions, &regions->regions[0], &schedule, &f->arena, &candidate));
    CudaKernel text;
    const TileProgram *program = candidate.kernels->kernels[0].program;
    assert_true(cuda_emit(&f->diag, &f->arena, program, (EmitOptions){.level = level}, &text));
    code.launch = text.launch;
    candidate.code = &code;
    Workspace w;
    assert_true(workspace_open(&f->diag, &f->arena, regions, &regions->regions[0], &w));
    workspace_fill(&w, false);
    uint32_t x = w.tensors[0].written ? 1 : 0;
    assert_false(workspace_has_skewed(&w));
    w.tensors[x].skewed = arena_alloc(&f->arena, PLANTED_COUNT * sizeof(float), 4);
    memset(w.tensors[x].skewed, 0, PLANTED_COUNT * sizeof(float));
    LoadedCandidate c = {
        .candidate = &candidate, .level = level, .least_ns = 1e6 / 3, .diag = &f->diag};
    assert_true(candidate_load(&f->diag, &f->arena, &w, &c));
    assert_int_equal(c.runs, 4);
    for (uint32_t set = 0; set < 4; set++) {
        const void *got = session_read(&f->diag, c.cuda->session, set * w.tensor_count + x);
        const void *wanted = set % 2 ? w.tensors[x].skewed : w.tensors[x].data;
        assert_memory_equal(got, wanted, PLANTED_COUNT * sizeof(float));
    }
    candidate_run(&c);
    assert_false(c.failed);
    candidate_unload(&c);
    workspace_close(&w);
}

// A copy of 256 MiB takes a quarter of a millisecond on the fake.
static void bandwidth_is_measured_once(void **state) {
    PlanFixture *f = *state;
    CudaAnswer gpu;
    assert_true(cuda_look(&f->diag, &f->arena, STR("sm_90a"), &gpu));
    TuneContext context = tune_context(&f->arena, level, 1, &gpu);
    database_context_add(f->db, &context);
    MachinePeaks sheet = cuda_peaks_sheet(level), peaks;
    fake_cuda_set_memory(1 << 20);
    peaks = cuda_peaks_measured(f->db, &context, &gpu.device);
    assert_true(peaks.read_bytes == sheet.read_bytes && peaks.flops == sheet.flops);
    fake_cuda_set_memory((size_t)1 << 30);
    for (int failing = 0; failing < 8; failing++) {
        fake_cuda_fail(NULL, failing, 999);
        peaks = cuda_peaks_measured(f->db, &context, &gpu.device);
        assert_true(peaks.read_bytes == sheet.read_bytes);
        assert_int_equal(fake_cuda_live(), 0);
    }
    peaks = cuda_peaks_measured(f->db, &context, &gpu.device);
    assert_true(fabs(peaks.read_bytes / (512 * 0x1p20 / 0.25e-3) - 1) < 1e-6);
    assert_true(peaks.flops == sheet.flops);
    fake_cuda_clear();
    MachinePeaks again = cuda_peaks_measured(f->db, &context, &gpu.device);
    assert_true(again.read_bytes == peaks.read_bytes);
    assert_string_equal(fake_cuda_log(), "");
    assert_true(machine_peaks(&f->diag, f->db, &context, &again));
    assert_true(again.read_bytes == peaks.read_bytes);
    assert_int_equal(fake_cuda_live(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slow_code_is_not_run, setup, teardown),
        cmocka_unit_test_setup_teardown(best_is_found_and_used, setup, teardown),
        cmocka_unit_test_setup_teardown(skewed_data_are_timed_too, setup, teardown),
        cmocka_unit_test_setup_teardown(bandwidth_is_measured_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
