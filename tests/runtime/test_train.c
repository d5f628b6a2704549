// test_train.c: the training loop on the tiny model, against a plain loop in this file; what a
// run leaves in its directory; resuming; what stops a run.
#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "runtime/checkpoint.h"
#include "runtime/dataset.h"
#include "tests/runtime/tiny_model.h"

static bool train(Tiny *f, const TrainOptions *options, TrainResult *result) {
    return train_run(&f->diag, &f->arena, f->session, options, result);
}

static void train_well(Tiny *f, const TrainOptions *options, TrainResult *result) {
    bool ok = train(f, options, result);
    assert_diag(&f->diag, "");
    assert_true(ok);
}

// ---- metrics

typedef struct {
    const Json *lines[64];
    uint32_t count;
} Lines;

static Lines read_lines(Tiny *f, Str directory) {
    Lines lines = {0};
    Str path = str_printf(&f->arena, "%.*s/metrics.jsonl", STR_ARG(directory));
    Str text = tiny_read(f, path);
    while (text.len) {
        const char *end = memchr(text.ptr, '\n', text.len);
        assert_non_null(end);
        Json *json;
        Str line = {text.ptr, (size_t)(end - text.ptr)};
        assert_true(json_parse(&f->diag, &f->arena, path, line, &json));
        lines.lines[lines.count++] = json;
        text = (Str){end + 1, text.len - line.len - 1};
    }
    return lines;
}

static double number(const Json *line, const char *key) {
    const Json *value = json_get(line, key);
    return value ? value->number : (double)NAN;
}

static bool same_number(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

// The same lines but for the times.
static void assert_same_metrics(Tiny *f, Str left, Str right) {
    static const char *const keys[] = {"step",      "tokens",      "loss",      "bits_per_byte",
                                       "grad_norm", "report.loss", "eval_loss", "lr"};
    Lines a = read_lines(f, left), b = read_lines(f, right);
    assert_int_equal(a.count, b.count);
    for (uint32_t i = 0; i < a.count; i++) {
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            assert_true(same_number(number(a.lines[i], keys[k]), number(b.lines[i], keys[k])));
    }
}

static void assert_same_file(Tiny *f, Str left, Str right) {
    Str a = tiny_read(f, left), b = tiny_read(f, right);
    assert_true(str_eq(a, b));
}

// Both runs end with the same parameters, states and metrics.
static void assert_same_run(Tiny *f, const char *left, const char *right, int64_t step) {
    Str a = tiny_path(f, left), b = tiny_path(f, right);
    assert_same_metrics(f, a, b);
    assert_same_file(f, str_printf(&f->arena, "%.*s/params.safetensors", STR_ARG(a)),
                     str_printf(&f->arena, "%.*s/params.safetensors", STR_ARG(b)));
    assert_same_file(f, checkpoint_path(&f->arena, a, step),
                     checkpoint_path(&f->arena, b, step));
}

// ---- against a plain loop

typedef struct {
    double w[TINY_VOCAB], momentum[TINY_VOCAB], loss, norm;
} Plain;

static void plain_step(Plain *p, const TrainOptions *o, const Dataset *data, int64_t step) {
    int32_t tokens[TINY_B * TINY_T], targets[TINY_B * TINY_T];
    double grad[TINY_VOCAB] = {0}, lr = lr_schedule_at(&o->schedule, step), sum = 0;
    uint32_t micro = o->accumulate ? o->accumulate : 1;
    Batch batch = {TINY_B, TINY_T, DTYPE_I32, tokens, targets};
    p->loss = 0;
    for (uint32_t m = 0; m < micro; m++) {
        dataset_sample(data, (SampleKey){o->seed, (uint64_t)step, (uint64_t)m * TINY_B},
                       &batch);
        for (int i = 0; i < TINY_B * TINY_T; i++) {
            double e = p->w[tokens[i]] - targets[i] / 64.0;
            p->loss += e * e / (TINY_B * TINY_T * micro);
            grad[tokens[i]] += 2 * e / (TINY_B * TINY_T * micro);
        }
    }
    for (int v = 0; v < TINY_VOCAB; v++)
        sum += grad[v] * grad[v];
    p->norm = sqrt(sum);
    double scale = p->norm > o->clip ? o->clip / p->norm : 1;
    for (int v = 0; v < TINY_VOCAB; v++) {
        p->momentum[v] = (step > 1 ? 0.9 : 0) * p->momentum[v] + scale * grad[v];
        p->w[v] -= lr * p->momentum[v];
    }
}

static void check_against_plain_loop(Tiny *f, const TrainOptions *o) {
    Dataset data;
    DatasetOptions open = {
        .paths = o->data, .path_count = 1, .vocab = TINY_VOCAB, .context = TINY_T};
    assert_true(dataset_open(&f->diag, &f->arena, &open, &data));
    session_init(f->session, o->seed);
    const float *w = session_read(&f->diag, f->session, TINY_W);
    Plain plain = {0};
    for (int v = 0; v < TINY_VOCAB; v++)
        plain.w[v] = (double)w[v];
    TrainResult result;
    train_well(f, o, &result);
    Lines lines = read_lines(f, o->out);
    assert_int_equal(lines.count, o->steps);
    for (int64_t step = 1; step <= o->steps; step++) {
        const Json *line = lines.lines[step - 1];
        plain_step(&plain, o, &data, step);
        assert_true(number(line, "step") == (double)step);
        assert_true(number(line, "lr") == lr_schedule_at(&o->schedule, step));
        // A dozen steps of float arithmetic on numbers of about 1.
        assert_true(fabs(number(line, "loss") - plain.loss) <= 1e-5);
        assert_true(fabs(number(line, "grad_norm") - plain.norm) <= 1e-5);
        assert_true(fabs(number(line, "report.loss") - plain.loss) <= 1e-5);
    }
    for (int v = 0; v < TINY_VOCAB; v++)
        assert_true(fabs((double)w[v] - plain.w[v]) <= 1e-5);
    dataset_close(&data);
}

static void trains_like_a_plain_loop(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500);
    TrainOptions o = tiny_options(&data, tiny_path(f, "run"));
    check_against_plain_loop(f, &o);
}

static void accumulates_and_clips_like_a_plain_loop(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500);
    TrainOptions o = tiny_options(&data, tiny_path(f, "run"));
    o.accumulate = 3;
    o.clip = 0.05;
    check_against_plain_loop(f, &o);
    assert_true(*(const float *)session_read(&f->diag, f->session, TINY_SEEN) ==
                12 * 3 * TINY_B * TINY_T);
}

// ---- what is left behind

static void note_step(void *context, const TrainStep *step) {
    TrainStep *last = context;
    assert_int_equal(step->step, last->step + 1);
    *last = *step;
}

static void leaves_metrics_and_checkpoints(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500), held = tiny_text(f, "held", 61);
    TrainOptions o = tiny_options(&data, tiny_path(f, "deep/er/run"));
    TrainStep last = {0};
    TrainResult result;
    o.eval_data = &held;
    o.eval_count = 1;
    o.eval_every = 5;
    o.checkpoint_every = 4;
    o.progress = note_step;
    o.context = &last;
    train_well(f, &o, &result);
    assert_int_equal(last.step, 12);
    assert_int_equal(last.tokens, 12 * TINY_B * TINY_T);
    assert_true(last.loss == result.last.loss);
    assert_int_equal(result.first_step, 1);
    Lines lines = read_lines(f, o.out);
    assert_int_equal(lines.count, 12);
    for (uint32_t i = 0; i < lines.count; i++) {
        const Json *line = lines.lines[i];
        int64_t step = i + 1;
        bool evaluated = step == 5 || step == 10 || step == 12;
        assert_true(isnan(number(line, "eval_loss")) == !evaluated);
        assert_true(number(line, "tokens") == (double)(step * TINY_B * TINY_T));
        assert_true(fabs(number(line, "bits_per_byte") * log(2) - number(line, "loss")) < 1e-9);
        assert_true(number(line, "ms") > 0 && number(line, "tokens_per_second") > 0);
    }
    assert_true(number(lines.lines[11], "eval_loss") < number(lines.lines[4], "eval_loss"));
    assert_true(io_exists(checkpoint_path(&f->arena, o.out, 8)));
    assert_false(io_exists(checkpoint_path(&f->arena, o.out, 4)));
    assert_true(str_eq(result.checkpoint, checkpoint_path(&f->arena, o.out, 12)));
    assert_true(params_load(&f->diag, f->session, result.params));
    assert_diag(&f->diag, "");
}

// ---- resuming

static TrainOptions evaluated_options(const Str *data, const Str *held, Str out) {
    TrainOptions o = tiny_options(data, out);
    o.eval_data = held;
    o.eval_count = 1;
    o.eval_every = 3;
    o.checkpoint_every = 2;
    return o;
}

typedef struct {
    volatile sig_atomic_t stop;
    int64_t at;
} StopAt;

static void stop_at(void *context, const TrainStep *step) {
    StopAt *s = context;
    if (step->step == s->at) s->stop = 1;
}

// Interrupts a run after each of its steps in turn, until it is done.
static void resumes_bit_for_bit(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500), held = tiny_text(f, "held", 61);
    for (uint32_t accumulate = 1; accumulate <= 2; accumulate++) {
        const char *whole = accumulate == 1 ? "whole" : "whole2",
                   *parts = accumulate == 1 ? "parts" : "parts2";
        TrainOptions o = evaluated_options(&data, &held, tiny_path(f, whole));
        TrainResult result;
        o.accumulate = accumulate;
        train_well(f, &o, &result);
        o.out = tiny_path(f, parts);
        o.progress = stop_at;
        for (int64_t at = 1; at <= 12; at += 1 + at % 3) {
            StopAt stop = {.at = at};
            o.stop = &stop.stop;
            o.context = &stop;
            train_well(f, &o, &result);
            assert_true(result.interrupted == (at < 12));
            assert_int_equal(result.last.step, at);
            o.resume = o.out;
        }
        o.stop = NULL;
        o.progress = NULL;
        train_well(f, &o, &result);
        assert_false(result.interrupted);
        assert_same_run(f, whole, parts, 12);
    }
}

static void resumes_into_another_directory(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500), held = tiny_text(f, "held", 61);
    TrainOptions o = evaluated_options(&data, &held, tiny_path(f, "whole"));
    TrainResult result;
    o.keep = 20;
    train_well(f, &o, &result);
    o.resume = checkpoint_path(&f->arena, o.out, 6);
    o.out = tiny_path(f, "copy");
    train_well(f, &o, &result);
    assert_int_equal(result.first_step, 7);
    assert_same_run(f, "whole", "copy", 12);
    // Back in time in the same directory: later steps are done again.
    for (int i = 0; i < 2; i++) {
        o.out = i ? o.resume : (Str){0};
        train_well(f, &o, &result);
        assert_int_equal(result.first_step, 7);
        assert_same_run(f, "whole", "copy", 12);
    }
}

// A done run is only asked for more steps, or for its parameters again.
static void goes_on_after_the_end(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500), params;
    TrainOptions o = tiny_options(&data, tiny_path(f, "run"));
    TrainResult result;
    o.schedule = (LrSchedule){.lr = 0.3};
    train_well(f, &o, &result);
    params = result.params;
    Str before = tiny_read(f, params);
    assert_int_equal(unlink(params.ptr), 0);
    o.resume = o.out;
    train_well(f, &o, &result);
    assert_int_equal(result.first_step, 13);
    assert_int_equal(result.last.step, 12);
    assert_true(str_eq(before, tiny_read(f, params)));
    o.steps = 20;
    train_well(f, &o, &result);
    o.resume = (Str){0};
    o.out = tiny_path(f, "long");
    train_well(f, &o, &result);
    assert_same_run(f, "run", "long", 20);
    o.steps = 19;
    o.resume = o.out;
    assert_false(train(f, &o, &result));
    assert_diag_has(&f->diag, "20 steps are done already, more than the 19 asked for");
    assert_int_equal(f->diag.fail, FAIL_USAGE);
}

// Whatever follows the last checkpoint in the metrics is cut off, half lines too.
static void cuts_metrics_that_are_ahead(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500), held = tiny_text(f, "held", 61);
    TrainOptions o = evaluated_options(&data, &held, tiny_path(f, "run"));
    TrainResult result;
    StopAt stop = {.at = 6};
    o.stop = &stop.stop;
    o.progress = stop_at;
    o.context = &stop;
    train_well(f, &o, &result);
    FILE *file = fopen(result.metrics.ptr, "ab");
    assert_non_null(file);
    fputs("{\"step\":7,\"loss\":99}\n{\"step\":8,\"lo", file);
    assert_int_equal(fclose(file), 0);
    o.stop = NULL;
    o.resume = o.out;
    train_well(f, &o, &result);
    o.resume = (Str){0};
    o.out = tiny_path(f, "whole");
    train_well(f, &o, &result);
    assert_same_run(f, "run", "whole", 12);
}

static void check_refused(Tiny *f, const TrainOptions *o, const char *message, Fail fail) {
    TrainResult result;
    tiny_forget(f);
    assert_false(train(f, o, &result));
    assert_diag_has(&f->diag, message);
    assert_int_equal(f->diag.fail, fail);
}

static void refuses_what_would_change_the_run(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500), other = tiny_text(f, "other", 501);
    TrainOptions o = tiny_options(&data, tiny_path(f, "run"));
    TrainResult result;
    train_well(f, &o, &result);
    check_refused(f, &o, "it holds a training run: go on with --resume", FAIL_USAGE);
    o.resume = o.out;
    TrainOptions changed = o;
    changed.seed = 8;
    check_refused(f, &changed, "the run has seed 7 and cannot go on with 8", FAIL_INPUT);
    changed = o;
    changed.accumulate = 2;
    check_refused(f, &changed, "the run has accumulate 1 and cannot go on with 2", FAIL_INPUT);
    changed = o;
    changed.data = &other;
    check_refused(f, &changed, "the run has data 500 tokens, ", FAIL_INPUT);
    changed = o;
    changed.resume = tiny_path(f, "nowhere");
    check_refused(f, &changed, "nowhere: error: cannot read", FAIL_INPUT);
}

// ---- what stops a run

static void keeps_the_last_checkpoint_when_it_diverges(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500), found;
    TrainOptions o = tiny_options(&data, tiny_path(f, "run"));
    o.schedule = (LrSchedule){.lr = 1e15};
    o.checkpoint_every = 1;
    check_refused(f, &o, "strata: error: step 3: the loss is infinite (learning rate 1e+15)",
                  FAIL_INPUT);
    assert_diag_has(&f->diag, "note: the last checkpoint is");
    assert_true(checkpoint_find(&f->diag, &f->arena, o.out, &found));
    assert_true(str_eq(found, checkpoint_path(&f->arena, o.out, 2)));
    assert_int_equal(read_lines(f, o.out).count, 2);
    assert_false(io_exists(str_printf(&f->arena, "%.*s/params.safetensors", STR_ARG(o.out))));
}

static void refuses_bad_options(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500), missing = tiny_path(f, "missing");
    TrainOptions good = tiny_options(&data, tiny_path(f, "run")), o = good;
    o.steps = 0;
    check_refused(f, &o, "training for 0 steps is not possible", FAIL_USAGE);
    o = good;
    o.clip = -1;
    check_refused(f, &o, "a largest gradient norm of -1 is not possible", FAIL_USAGE);
    o = good;
    o.out = (Str){0};
    check_refused(f, &o, "no directory is given for the results", FAIL_USAGE);
    o = good;
    o.schedule.lr = (double)NAN;
    check_refused(f, &o, "a learning rate of nan is not possible", FAIL_USAGE);
    o = good;
    o.data = &missing;
    check_refused(f, &o, "missing: error: cannot read", FAIL_INPUT);
    o = good;
    o.out = str_printf(&f->arena, "%.*s/under", STR_ARG(data));
    check_refused(f, &o, "cannot make the directory", FAIL_ENVIRONMENT);
    assert_false(io_exists(good.out));
}

static void names_the_missing_entry(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500);
    TrainOptions o = tiny_options(&data, tiny_path(f, "run"));
    f->plan->entries[0].name = STR("strain");
    check_refused(f, &o, "model 'tiny' was compiled without 'train', which this needs",
                  FAIL_INPUT);
}

// Two sessions of one process stand for two processes: the lock belongs to the open file.
static bool second_run(Tiny *f, const TrainOptions *o) {
    Diag diag;
    Session *session;
    TrainResult result;
    diag_init(&diag, &f->arena);
    assert_true(session_open(&diag, f->plan, 1, &session));
    bool ok = train_run(&diag, &f->arena, session, o, &result);
    assert_diag_has(&diag, "another process is training in this directory");
    session_close(session);
    return ok;
}

typedef struct {
    Tiny *f;
    TrainOptions again;
} Nested;

static void try_again(void *context, const TrainStep *step) {
    Nested *nested = context;
    if (step->step == 5) assert_false(second_run(nested->f, &nested->again));
}

static void lets_one_process_train(void **state) {
    Tiny *f = *state;
    Str data = tiny_text(f, "text", 500);
    TrainOptions o = tiny_options(&data, tiny_path(f, "run"));
    TrainResult result;
    Nested nested = {.f = f, .again = o};
    nested.again.resume = o.out;
    o.progress = try_again;
    o.context = &nested;
    train_well(f, &o, &result);
    assert_int_equal(read_lines(f, o.out).count, 12);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tiny_setup, tiny_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(trains_like_a_plain_loop),
        TEST(accumulates_and_clips_like_a_plain_loop),
        TEST(leaves_metrics_and_checkpoints),
        TEST(resumes_bit_for_bit),
        TEST(resumes_into_another_directory),
        TEST(goes_on_after_the_end),
        TEST(cuts_metrics_that_are_ahead),
        TEST(refuses_what_would_change_the_run),
        TEST(keeps_the_last_checkpoint_when_it_diverges),
        TEST(refuses_bad_options),
        TEST(names_the_missing_entry),
        TEST(lets_one_process_train),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
