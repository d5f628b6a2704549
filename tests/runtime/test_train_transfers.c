// test_train_transfers.c: what a training step on a GPU moves: its inputs and scalars, and it
// waits once; parameters and states move only for a checkpoint.
#include "tests/runtime/fake_cuda.h"
#include "tests/runtime/tiny_model.h"

// After each step: the log of the next one begins empty.
static void check_step(void *context, const TrainStep *step) {
    static const char each[] = "upload 4\n"  // learning rate, step, clip
                               "upload 4\n"
                               "upload 4\n"
                               "graph\n"
                               "download 4\n"  // loss, report, gradient norm
                               "download 4\n"
                               "download 4\n"
                               "wait\n";
    (void)context;
    const char *log = fake_cuda_log();
    size_t batch = (size_t)TINY_B * TINY_T * sizeof(int32_t);
    char expected[512];
    snprintf(expected, sizeof expected, "upload %zu\nupload %zu\n%s", batch, batch, each);
    // The first step brings parameters and is captured; the last one is saved.
    if (step->step > 1 && step->step < step->steps) assert_string_equal(log, expected);
    fake_cuda_clear();
}

static void moves_inputs_and_scalars(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500);
    TrainOptions o = tiny_options(&data, tiny_path(f, "run"));
    o.progress = check_step;
    TrainResult result;
    bool ok = train_run(&f->diag, &f->arena, f->session, &o, &result);
    assert_diag(&f->diag, "");
    assert_true(ok);
    assert_int_equal(result.last.step, 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(moves_inputs_and_scalars, tiny_setup, tiny_teardown),
    };
    return cmocka_run_group_tests_name("train_transfers", tests, NULL, NULL);
}
