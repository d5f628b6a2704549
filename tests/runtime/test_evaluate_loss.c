// test_evaluate_loss.c: the mean loss over windows is that of a plain loop, whether or not the
// windows fill the batches.
#include <math.h>

#include "runtime/evaluate_loss.h"
#include "tests/runtime/tiny_model.h"

static void open_data(Tiny *f, Str path, Dataset *data) {
    DatasetOptions options = {
        .paths = &path, .path_count = 1, .vocab = TINY_VOCAB, .context = TINY_T};
    assert_true(dataset_open(&f->diag, &f->arena, &options, data));
}

// The mean over the first `windows` windows, in double.
static double expected_loss(Tiny *f, const Dataset *data, int64_t windows) {
    const float *w = session_read(&f->diag, f->session, TINY_W);
    double sum = 0;
    for (int64_t i = 0; i < windows; i++) {
        int64_t start = i * TINY_T, last = data->count - 1 - TINY_T;
        start = start < last ? start : last;
        for (int64_t t = 0; t < TINY_T; t++) {
            double e = (double)w[dataset_token(data, start + t)] -
                       (double)dataset_token(data, start + t + 1) / 64;
            sum += e * e;
        }
    }
    return sum / (double)(windows * TINY_T);
}

// Sums of B * T positive floats, and a difference of such sums.
static void assert_loss(double got, double expected) {
    assert_true(fabs(got - expected) <= 4.0 * TINY_B * TINY_T * 0x1p-23 * expected);
}

static void averages_all_windows(void **state) {
    Tiny *f = *state;
    session_init(f->session, 1);
    for (size_t bytes = TINY_T + 1; bytes < (size_t)10 * TINY_T; bytes += 3) {
        Dataset data;
        EvaluateOptions options = {0};
        EvaluateResult result;
        open_data(f, tiny_text(f, "text", bytes), &data);
        assert_true(evaluate_loss(&f->diag, f->session, &data, &options, &result));
        int64_t windows = dataset_window_count(&data, TINY_T);
        assert_int_equal(result.windows, windows);
        assert_int_equal(result.tokens, windows * TINY_T);
        assert_loss(result.loss, expected_loss(f, &data, windows));
        assert_true(result.bits_per_byte == result.loss / log(2));
        assert_true(result.tokens_per_second > 0);
        dataset_close(&data);
    }
}

static void limits_the_windows(void **state) {
    Tiny *f = *state;
    Dataset data;
    EvaluateOptions options = {.window_max = TINY_B + 1};
    EvaluateResult result;
    session_init(f->session, 1);
    open_data(f, tiny_text(f, "text", (size_t)20 * TINY_T), &data);
    assert_true(evaluate_loss(&f->diag, f->session, &data, &options, &result));
    assert_int_equal(result.windows, 2 * TINY_B);
    assert_loss(result.loss, expected_loss(f, &data, result.windows));
    dataset_close(&data);
}

static void measures_bytes_only_of_text(void **state) {
    Tiny *f = *state;
    Str path = tiny_path(f, "ids.bin");
    const char ids[] = "\1\0\2\0\3\0\4\0\5\0\6\0\7";
    Dataset data;
    EvaluateOptions options = {0};
    EvaluateResult result;
    assert_true(io_write(&f->diag, path, ids, sizeof ids));
    open_data(f, path, &data);
    assert_true(evaluate_loss(&f->diag, f->session, &data, &options, &result));
    assert_true(isnan(result.bits_per_byte));
    dataset_close(&data);
}

static void note_progress(void *context, int64_t done, int64_t windows) {
    int64_t *last = context;
    assert_true(done > *last && done <= windows);
    *last = done;
}

static void tells_progress_and_stops(void **state) {
    Tiny *f = *state;
    Dataset data;
    int64_t last = 0;
    volatile sig_atomic_t stop = 0;
    EvaluateOptions options = {.progress = note_progress, .context = &last, .stop = &stop};
    EvaluateResult result;
    open_data(f, tiny_text(f, "text", (size_t)10 * TINY_T), &data);
    assert_true(evaluate_loss(&f->diag, f->session, &data, &options, &result));
    assert_int_equal(last, 10);
    stop = 1;
    assert_false(evaluate_loss(&f->diag, f->session, &data, &options, &result));
    assert_int_equal(f->diag.fail, FAIL_INTERRUPTED);
    dataset_close(&data);
}

static void check_refused(Tiny *f, const char *message) {
    Session *session;
    Dataset data;
    EvaluateOptions options = {0};
    open_data(f, tiny_text(f, "text", (size_t)10 * TINY_T), &data);
    assert_true(session_open(&f->diag, f->plan, 1, &session));
    assert_false(evaluate_loss(&f->diag, session, &data, &options, &(EvaluateResult){0}));
    assert_diag_has(&f->diag, message);
    assert_int_equal(f->diag.fail, FAIL_INPUT);
    session_close(session);
    dataset_close(&data);
    tiny_forget(f);
}

static void names_what_the_model_lacks(void **state) {
    Tiny *f = *state;
    f->plan->tensors[TINY_LOSS].name = STR("lost");
    check_refused(f, "model 'tiny' has no loss");
    f->plan->tensors[TINY_TARGETS].index_below = 0;
    f->plan->tensors[TINY_TARGETS].type = DTYPE_F32;
    check_refused(f, "model 'tiny' has no input targets[B, T] of integers");
    f->plan->entries[3].name = STR("evil");
    check_refused(f, "model 'tiny' was compiled without 'eval', which this needs");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(averages_all_windows, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(limits_the_windows, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(measures_bytes_only_of_text, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(tells_progress_and_stops, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(names_what_the_model_lacks, tiny_setup, tiny_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
