// test_bench.c: a plan whose product is a library call computes the same, and a bench looks at
// each of its steps.
#include <math.h>

#include "autotune/bench.h"
#include "autotune/library.h"
#include "ir/graph/passes.h"
#include "runtime/gemm.h"
#include "tests/autotune/plan_fixture.h"
#include "tests/test.h"

enum { T = 12, D = 24, H = 40 };

static ValueId leaf(Graph *g, const char *name, const AxisId *axes) {
    Leaf l = {
        .kind = OP_PARAM, .path = str_of(name), .type = DTYPE_F32, .rank = 2, .axes = axes};
    l.init = (Init){.kind = INIT_NORMAL, .a = 1};
    return graph_leaf(g, &l);
}

// y = sum(x w), z = tanh(x)
static int setup(void **state) {
    PlanFixture *f = test_calloc(1, sizeof *f);
    plan_fixture_open(f, cpu_level_here());
    Graph *g = graph_new(&f->arena, STR("tiny"));
    AxisId t = graph_axis(g, STR("t"), T, false), d = graph_axis(g, STR("d"), D, false),
           h = graph_axis(g, STR("h"), H, false);
    ValueId x = leaf(g, "x", (AxisId[]){t, d}), w = leaf(g, "w", (AxisId[]){d, h});
    GraphAttr over_d = {.along = &d, .along_count = 1};
    graph_output(
        g, STR("y"),
        graph_add(g, OP_CONTRACT, (Operands){(ValueId[]){x, w}, 2}, over_d, (Span){0}));
    graph_output(g, STR("z"), graph_unary(g, OP_TANH, x, (Span){0}));
    f->entry.graph = pass_simplify(g, &f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    PlanFixture *f = *state;
    plan_fixture_close(f);
    test_free(f);
    return 0;
}

static Session *open_plan(PlanFixture *f, uint32_t gemms) {
    Plan *plan;
    Session *session = NULL;
    bool ok = graph_to_plan(&f->diag, &f->arena, &f->plan, &plan) &&
              session_open(&f->diag, plan, 1, &session);
    assert_diag(&f->diag, "");
    assert_true(ok);
    uint32_t found = 0;
    for (uint32_t i = 0; i < plan->entries[0].step_count; i++)
        found += plan->entries[0].steps[i].kind == STEP_GEMM;
    assert_int_equal(found, gemms);
    session_init(session, 7);
    return session;
}

static const float *run_y(PlanFixture *f, Session *s) {
    assert_true(session_run(&f->diag, s, &session_plan(s)->entries[0]));
    int y = plan_tensor_find(session_plan(s), TENSOR_OUTPUT, STR("y"));
    assert_true(y >= 0);
    return session_read(&f->diag, s, (uint32_t)y);
}

// Makes the library's call the best known schedule of the product.
static void prefer_library(PlanFixture *f) {
    Regions *regions = pass_fuse(f->entry.graph, &f->arena);
    TuneContext context = {cpu_name_here(&f->arena), f->plan.target.level, 1,
                           emitter_version(&f->arena, f->plan.target.level)};
    for (uint32_t i = 0; i < regions->count; i++) {
        const Region *region = &regions->regions[i];
        if (region->kind != REGION_CONTRACT) continue;
        Trial t = {.region = region_hash(regions, region),
                   .context = tune_context_hash(&context),
                   .schedule = schedule_none(),
                   .median = 10,
                   .low = 9,
                   .high = 11};
        t.schedule.library = 1;
        assert_true(database_trial_add(f->db, &t));
    }
}

static void need(PlanFixture *f, bool library) {
    if (str_eq(emitter_version(&f->arena, cpu_level_here()), STR("none"))) skip();
    if (library && !gemm_available()) skip();
}

static void library_calls_give_the_same(void **state) {
    PlanFixture *f = *state;
    need(f, true);
    Session *generated = open_plan(f, 0);
    prefer_library(f);
    Session *library = open_plan(f, 1);
    const float *a = run_y(f, generated), *b = run_y(f, library);
    // Sums of D products of normal numbers, in any order.
    double tolerance = 4 * 1.2e-7 * D;
    for (int i = 0; i < T * H; i++)
        assert_true(fabs((double)a[i] - (double)b[i]) <= tolerance * (1 + fabs((double)a[i])));
    session_close(generated);
    session_close(library);
}

static void bench_looks_at_every_step(void **state) {
    PlanFixture *f = *state;
    need(f, false);
    if (gemm_available()) prefer_library(f);
    Session *s = open_plan(f, gemm_available());
    BenchRequest request = {
        .session = s, .entry = &session_plan(s)->entries[0], .peaks = {1e9, 1e9}, .seconds = 0};
    BenchReport report;
    assert_true(bench_plan(&f->diag, &f->arena, &request, &report));
    assert_int_equal(report.step_count, request.entry->step_count);
    assert_true(report.runs >= 5);
    assert_true(report.whole.median > 0 && report.whole.low <= report.whole.high);
    double product = 2.0 * T * D * H;
    bool found = false;
    for (uint32_t i = 0; i < report.step_count; i++) {
        const BenchStep *step = &report.steps[i];
        assert_true(step->time.low <= step->time.median &&
                    step->time.median <= step->time.high);
        assert_true(step->name.len > 0 && step->bytes > 0);
        found = found || step->flops == product;
    }
    assert_true(found);
    assert_true(report.flops >= product);
    // At one operation a nanosecond.
    assert_true(report.least_ns >= product);
    session_close(s);
}

static void interrupted_bench_says_so(void **state) {
    PlanFixture *f = *state;
    need(f, false);
    Session *s = open_plan(f, 0);
    volatile sig_atomic_t stop = 1;
    BenchRequest request = {.session = s,
                            .entry = &session_plan(s)->entries[0],
                            .peaks = {1e9, 1e9},
                            .stop = &stop};
    BenchReport report;
    assert_false(bench_plan(&f->diag, &f->arena, &request, &report));
    assert_int_equal(f->diag.fail, FAIL_INTERRUPTED);
    session_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(library_calls_give_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(bench_looks_at_every_step, setup, teardown),
        cmocka_unit_test_setup_teardown(interrupted_bench_says_so, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
