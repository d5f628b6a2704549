// test_schedule.c: learning rates against their closed forms, at the ends and between.
#include <math.h>

#include "runtime/schedule.h"
#include "tests/test.h"

// A few roundings of numbers around 1.
static void assert_close(double got, double expected) {
    assert_true(fabs(got - expected) <= 1e-14);
}

static void warms_up(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < LR_KIND_COUNT; kind++) {
        LrSchedule s = {.kind = (LrKind)kind, .lr = 2, .warmup = 4, .steps = 100, .decay = 10};
        for (int64_t step = 1; step <= 4; step++)
            assert_close(lr_schedule_at(&s, step), 2 * (double)step / 4);
    }
}

static void stays_constant(void **state) {
    (void)state;
    LrSchedule s = {.kind = LR_CONSTANT, .lr = 0.7};
    assert_true(lr_schedule_at(&s, 1) == 0.7);
    assert_true(lr_schedule_at(&s, 1000000) == 0.7);
}

static void follows_a_cosine(void **state) {
    (void)state;
    LrSchedule s = {.kind = LR_COSINE, .lr = 1, .floor = 0.1, .warmup = 20, .steps = 120};
    for (int64_t step = 20; step <= 120; step++) {
        double t = (double)(step - 20) / 100;
        assert_close(lr_schedule_at(&s, step), 0.1 + 0.9 * 0.5 * (1 + cos(acos(-1) * t)));
    }
    assert_close(lr_schedule_at(&s, 70), 0.55);
    assert_true(lr_schedule_at(&s, 120) == 0.1);
    assert_true(lr_schedule_at(&s, 500) == 0.1);
}

static void is_stable_and_then_decays(void **state) {
    (void)state;
    LrSchedule line = {
        .kind = LR_WSD, .lr = 1, .floor = 0.2, .warmup = 5, .steps = 100, .decay = 40};
    LrSchedule root = line;
    root.kind = LR_WSD_SQRT;
    for (int64_t step = 5; step <= 60; step++) {
        assert_true(lr_schedule_at(&line, step) == 1);
        assert_true(lr_schedule_at(&root, step) == 1);
    }
    for (int64_t step = 60; step <= 100; step++) {
        double t = (double)(step - 60) / 40;
        assert_close(lr_schedule_at(&line, step), 0.2 + 0.8 * (1 - t));
        assert_close(lr_schedule_at(&root, step), 0.2 + 0.8 * (1 - sqrt(t)));
    }
    assert_true(lr_schedule_at(&line, 101) == 0.2);
}

static void may_not_decay_at_all(void **state) {
    (void)state;
    LrSchedule s = {.kind = LR_WSD, .lr = 1, .steps = 10};
    for (int64_t step = 1; step < 20; step++)
        assert_true(lr_schedule_at(&s, step) == 1);
}

// The warm-up may fill the whole run.
static void may_only_warm_up(void **state) {
    (void)state;
    LrSchedule s = {.kind = LR_COSINE, .lr = 1, .floor = 0.5, .warmup = 10, .steps = 10};
    assert_close(lr_schedule_at(&s, 9), 0.9);
    assert_true(lr_schedule_at(&s, 10) == 0.5);
}

static void prints_and_reads_kinds(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < LR_KIND_COUNT; kind++) {
        LrKind read = LR_KIND_COUNT;
        assert_true(lr_kind_parse(str_of(lr_kind_text((LrKind)kind)), &read));
        assert_int_equal(read, kind);
    }
    assert_false(lr_kind_parse(STR("sine"), &(LrKind){0}));
}

static void check_printed(LrSchedule s, const char *text) {
    StrBuf out = {0};
    lr_schedule_print(&s, &out);
    assert_string_equal(out.ptr, text);
    strbuf_release(&out);
}

static void prints_what_matters(void **state) {
    (void)state;
    LrSchedule s = {.lr = 0.001, .floor = 1e-4, .warmup = 10, .steps = 100, .decay = 30};
    check_printed(s, "constant lr=0.001 warmup=10");
    s.kind = LR_COSINE;
    check_printed(s, "cosine lr=0.001 floor=0.0001 warmup=10 steps=100");
    s.kind = LR_WSD_SQRT;
    s.warmup = 0;
    check_printed(s, "wsd-sqrt lr=0.001 floor=0.0001 steps=100 decay=30");
}

static void check_refused(DiagFixture *f, LrSchedule s, const char *message) {
    diag_init(&f->diag, &f->arena);
    assert_false(lr_schedule_check(&f->diag, &s));
    assert_diag_has(&f->diag, message);
    assert_int_equal(f->diag.fail, FAIL_USAGE);
}

static void refuses_what_makes_no_sense(void **state) {
    DiagFixture *f = *state;
    LrSchedule good = {
        .kind = LR_WSD, .lr = 1, .floor = 0.1, .warmup = 3, .steps = 10, .decay = 7};
    assert_true(lr_schedule_check(&f->diag, &good));
    LrSchedule s = good;
    s.lr = (double)NAN;
    check_refused(f, s, "a learning rate of nan is not possible");
    s.lr = -1;
    check_refused(f, s, "a learning rate of -1 is not possible");
    s = good;
    s.floor = 2;
    check_refused(f, s, "the last learning rate is 2; it must be in [0, 1]");
    s = good;
    s.warmup = -1;
    check_refused(f, s, "a warm-up of -1 steps is not possible");
    s.warmup = 11;
    check_refused(f, s, "a warm-up of 11 steps does not fit 10 steps");
    s = good;
    s.decay = 8;
    check_refused(f, s, "a decay of 8 steps does not fit 7 steps after the warm-up");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warms_up),
        cmocka_unit_test(stays_constant),
        cmocka_unit_test(follows_a_cosine),
        cmocka_unit_test(is_stable_and_then_decays),
        cmocka_unit_test(may_not_decay_at_all),
        cmocka_unit_test(may_only_warm_up),
        cmocka_unit_test(prints_and_reads_kinds),
        cmocka_unit_test(prints_what_matters),
        cmocka_unit_test_setup_teardown(refuses_what_makes_no_sense, diag_setup, diag_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
