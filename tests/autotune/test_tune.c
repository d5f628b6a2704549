// test_tune.c: tuning a small model: what is measured is stored, used, and not measured again.
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autotune/moves.h"
#include "autotune/space.h"
#include "autotune/tune.h"
#include "ir/graph/passes.h"
#include "tests/autotune/plan_fixture.h"
#include "tests/test.h"

typedef struct {
    PlanFixture base;
    TuneRequest request;
    volatile sig_atomic_t stop;
    uint32_t stop_after, told;
} Fixture;

static ValueId leaf(Graph *g, const char *name, const AxisId *axes, int rank) {
    Leaf l = {.kind = OP_PARAM,
              .path = str_of(name),
              .type = DTYPE_F32,
              .rank = (uint8_t)rank,
              .axes = axes};
    return graph_leaf(g, &l);
}

// y = sum(relu(x w1) w2), and x's squares summed: products and a row kernel.
static Graph *model(Fixture *f) {
    Graph *g = graph_new(&f->base.arena, STR("tiny"));
    AxisId t = graph_axis(g, STR("t"), 12, false), d = graph_axis(g, STR("d"), 24, false),
           h = graph_axis(g, STR("h"), 40, false), e = graph_axis(g, STR("e"), 24, false);
    ValueId x = leaf(g, "x", (AxisId[]){t, d}, 2), w1 = leaf(g, "w1", (AxisId[]){d, h}, 2),
            w2 = leaf(g, "w2", (AxisId[]){h, e}, 2);
    GraphAttr over_d = {.along = &d, .along_count = 1},
              over_h = {.along = &h, .along_count = 1};
    ValueId a = graph_add(g, OP_CONTRACT, (Operands){(ValueId[]){x, w1}, 2}, over_d, (Span){0});
    ValueId y = graph_add(g, OP_CONTRACT,
                          (Operands){(ValueId[]){graph_unary(g, OP_TANH, a, (Span){0}), w2}, 2},
                          over_h, (Span){0});
    graph_output(g, STR("y"), y);
    ValueId squares = graph_binary(g, OP_MUL, x, x, (Span){0});
    graph_output(g, STR("norm"), graph_sum(g, squares, &d, 1, (Span){0}));
    return pass_simplify(g, &f->base.arena);
}

static void progress(void *context, const TuneProgress *p) {
    Fixture *f = context;
    f->told++;
    assert_int_equal(p->trials, f->told);
    assert_true(p->regions >= 3);
    if (f->stop_after && p->trials >= f->stop_after) f->stop = 1;
}

static TuneContext context_of(Fixture *f) {
    return (TuneContext){cpu_name_here(&f->base.arena), f->base.plan.target.level,
                         f->base.plan.run_threads,
                         emitter_version(&f->base.arena, f->base.plan.target.level)};
}

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    plan_fixture_open(&f->base, cpu_level_here());
    f->base.entry.graph = model(f);
    f->request = (TuneRequest){.request = &f->base.plan,
                               .check_points = 1e6,
                               .measure = {.seconds = 0, .least_pairs = 5, .give_up = 1.5},
                               .stop = &f->stop,
                               .progress = progress,
                               .progress_context = f};
    // Measuring the machine takes longer than all else here.
    TuneContext context = context_of(f);
    database_peaks_add(f->base.db, &context, &(MachinePeaks){1e11, 1e10, 1e10, 1e10});
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    plan_fixture_close(&f->base);
    test_free(f);
    return 0;
}

static void need_compiler(Fixture *f) {
    if (str_eq(emitter_version(&f->base.arena, cpu_level_here()), STR("none"))) skip();
}

static TuneReport run(Fixture *f, uint32_t trials) {
    TuneReport report;
    f->told = 0;
    f->stop = 0;
    f->request.trials = trials;
    if (!tune(&f->base.diag, &f->base.arena, &f->request, &report)) {
        assert_diag(&f->base.diag, "");
        fail();
    }
    return report;
}

static void budget_in_trials_is_kept(void **state) {
    Fixture *f = *state;
    need_compiler(f);
    TuneReport report = run(f, 5);
    assert_int_equal(report.trials, 5);
    assert_int_equal(database_counts(f->base.db).trials, 5);
    assert_int_equal(f->told, 5);
    assert_false(report.interrupted);
    assert_int_equal(report.unsaved, 0);
    assert_true(database_verify(&f->base.diag, f->base.db));
}

static void no_schedule_was_tried_twice(Fixture *f) {
    DatabaseRegion *regions;
    uint32_t count = database_regions(f->base.db, &f->base.arena, &regions);
    assert_true(count >= 3);
    for (uint32_t r = 0; r < count; r++) {
        Trial *trials;
        uint32_t n = database_trials(f->base.db, &f->base.arena, regions[r].region,
                                     regions[r].context, &trials);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < i; j++)
                assert_memory_not_equal(&trials[i].schedule, &trials[j].schedule,
                                        sizeof(Schedule));
    }
}

// In pieces or at once: in the end all has been tried once, and then nothing is left to do.
static void tuning_resumes(void **state) {
    Fixture *f = *state;
    need_compiler(f);
    TuneReport first = run(f, 3), second = run(f, 4), rest = run(f, 0);
    int64_t all = first.trials + second.trials + rest.trials;
    assert_int_equal(database_counts(f->base.db).trials, all);
    assert_int_equal(rest.regions_done, rest.regions);
    assert_int_equal(rest.failures, 0);
    assert_true(rest.best_ns > 0 && rest.least_ns > 0);
    TuneReport nothing = run(f, 0);
    assert_int_equal(nothing.trials, 0);
    assert_int_equal(nothing.regions_done, nothing.regions);
    assert_true(nothing.best_ns == rest.best_ns);
    no_schedule_was_tried_twice(f);
    assert_true(database_verify(&f->base.diag, f->base.db));
}

static void best_schedule_is_used(void **state) {
    Fixture *f = *state;
    need_compiler(f);
    Regions *regions = pass_fuse(f->base.entry.graph, &f->base.arena);
    const Region *region = &regions->regions[0];
    Schedules space =
        schedule_space(regions, region, f->base.plan.target.level, 1, &f->base.arena);
    assert_true(space.len > 1);
    TuneContext context = context_of(f);
    for (uint32_t i = 0; i < 2; i++) {
        Trial t = {.region = region_hash(regions, region),
                   .context = tune_context_hash(&context),
                   .schedule = space.ptr[i],
                   .rank = i,
                   .status = TRIAL_OK,
                   .median = i ? 50 : 100,
                   .low = i ? 49 : 99,
                   .high = i ? 51 : 101};
        assert_true(database_trial_add(f->base.db, &t));
    }
    ScheduleChooser chooser;
    schedule_chooser_init(&chooser, &f->base.arena, &f->base.plan);
    Schedule chosen = schedule_choose(&chooser, regions, region);
    assert_memory_equal(&chosen, &space.ptr[1], sizeof chosen);
    f->base.plan.run_threads = 2;  // another context: nothing is known there
    schedule_chooser_init(&chooser, &f->base.arena, &f->base.plan);
    chosen = schedule_choose(&chooser, regions, region);
    Schedule prior = schedule_prior(regions, region, f->base.plan.target.level, 2);
    assert_memory_equal(&chosen, &prior, sizeof chosen);
}

static void poisoned_schedules_are_left_out(void **state) {
    Fixture *f = *state;
    need_compiler(f);
    Regions *regions = pass_fuse(f->base.entry.graph, &f->base.arena);
    const Region *region = &regions->regions[0];
    Schedule prior = schedule_prior(regions, region, f->base.plan.target.level, 1);
    TuneContext context = context_of(f);
    Trial t = {.region = region_hash(regions, region),
               .context = tune_context_hash(&context),
               .schedule = prior,
               .status = TRIAL_CRASH};
    assert_true(database_trial_add(f->base.db, &t));
    run(f, 20);
    Trial *trials;
    uint32_t n = database_trials(f->base.db, &f->base.arena, t.region, t.context, &trials);
    assert_true(n > 1);
    for (uint32_t i = 1; i < n; i++)
        assert_memory_not_equal(&trials[i].schedule, &prior, sizeof prior);
}

static void interrupt_keeps_what_was_measured(void **state) {
    Fixture *f = *state;
    need_compiler(f);
    f->stop_after = 2;
    TuneReport report = run(f, 0);
    assert_true(report.interrupted);
    assert_true(report.trials >= 2);
    assert_int_equal(database_counts(f->base.db).trials, report.trials);
    f->stop_after = 0;
    assert_int_equal(run(f, 3).trials, 3);
    assert_int_equal(database_counts(f->base.db).trials, report.trials + 3);
}

// In another process, which then waits for its end.
NORETURN static void claim_all(Fixture *f, Str file, int ready) {
    Database *db;
    bool ok = database_open(&f->base.diag, file, &db);
    Regions *regions = pass_fuse(f->base.entry.graph, &f->base.arena);
    TuneContext context = context_of(f);
    for (uint32_t i = 0; ok && i < regions->count; i++)
        ok = database_claim(
            db,
            hash_mix(region_hash(regions, &regions->regions[i]), tune_context_hash(&context)),
            1000);
    unsigned char byte = ok;
    if (write(ready, &byte, 1) != 1) _exit(1);
    for (;;)
        pause();
}

// Another process may hold its claims for a while; this one does what is left, here nothing.
static void claimed_regions_are_left_to_their_owner(void **state) {
    Fixture *f = *state;
    need_compiler(f);
    char directory[] = "/tmp/strata_tune_XXXXXX";
    assert_non_null(mkdtemp(directory));
    database_close(f->base.db);
    Str file = str_printf(&f->base.arena, "%s/tune.db", directory);
    assert_true(database_open(&f->base.diag, file, &f->base.db));
    f->base.plan.target.db = f->base.db;
    TuneContext context = context_of(f);
    database_peaks_add(f->base.db, &context, &(MachinePeaks){1e11, 1e10, 1e10, 1e10});
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) claim_all(f, file, ready[1]);
    unsigned char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    TuneReport report = run(f, 0);
    assert_int_equal(report.trials, 0);
    assert_int_equal(report.regions_busy, report.regions);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(system(arena_printf(&f->base.arena, "rm -rf %s", directory)), 0);
}

static void moves_change_one_knob(void **state) {
    (void)state;
    Schedule from = schedule_none(), moves[MOVES_MAX];
    from.mr = 6;
    from.nc = 64;
    from.parts = 3;
    uint32_t count = schedule_moves(REGION_CONTRACT, &from, moves);
    assert_true(count > 4);
    for (uint32_t i = 0; i < count; i++) {
        int32_t a[sizeof from / sizeof(int32_t)], b[sizeof from / sizeof(int32_t)];
        memcpy(a, &from, sizeof from);
        memcpy(b, &moves[i], sizeof from);
        int different = 0;
        for (size_t k = 0; k < sizeof a / sizeof *a; k++)
            different += a[k] != b[k];
        assert_int_equal(different, 1);
        assert_int_equal(moves[i].parts, 3);
    }
    from.library = 1;
    assert_int_equal(schedule_moves(REGION_CONTRACT, &from, moves), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(budget_in_trials_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(tuning_resumes, setup, teardown),
        cmocka_unit_test_setup_teardown(best_schedule_is_used, setup, teardown),
        cmocka_unit_test_setup_teardown(poisoned_schedules_are_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(interrupt_keeps_what_was_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(claimed_regions_are_left_to_their_owner, setup,
                                        teardown),
        cmocka_unit_test(moves_change_one_knob),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
