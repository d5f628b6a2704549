// train.c: the training loop.
//
// Order after a step: its line in metrics.jsonl, then, if due, the metrics to disk and a
// checkpoint. Killed at any moment, the metrics therefore reach at least as far as the last
// checkpoint, and resuming cuts off what is beyond it.
#include "runtime/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "runtime/checkpoint.h"
#include "runtime/evaluate_loss.h"
#include "runtime/metrics.h"
#include "runtime/names.h"

enum { SETTING_COUNT = 7, KEEP_DEFAULT = 2, MOST_REPORTED = 4096 };

// A "report.*" that is one number or a list.
typedef struct {
    uint32_t tensor;
    const PlanTensor *of;
    double *sums;  // over the micro-batches of a step
    int64_t count;
} Report;

typedef struct {
    Diag *diag;
    Arena *arena;
    Session *session;
    const Plan *plan;
    const TrainOptions *options;
    TrainResult *result;
    Str out;
    uint32_t micro_batches;
    ModelIo io;
    Dataset data, eval_data;
    const PlanEntry *train;         // or "accumulate"
    const PlanEntry *apply;         // NULL without accumulation
    uint32_t loss;                  // tensor
    int grad_norm, lr, step, clip;  // tensors; -1: the plan has none
    Report *reports;
    uint32_t report_count;
    Metrics metrics;
    CheckpointSetting settings[SETTING_COUNT];
    int64_t done, tokens, saved;  // steps done, tokens seen, step of the last checkpoint
} Trainer;

// ---- what the plan has

static bool find_entries(Trainer *t) {
    const PlanEntry *unused;
    bool accumulates = t->micro_batches > 1;
    const char *name = accumulates ? ENTRY_NAME_ACCUMULATE : ENTRY_NAME_TRAIN;
    if (!model_io_entry(t->diag, t->plan, name, &t->train)) return false;
    if (accumulates && !model_io_entry(t->diag, t->plan, ENTRY_NAME_APPLY, &t->apply))
        return false;
    return !t->options->eval_count ||
           model_io_entry(t->diag, t->plan, ENTRY_NAME_EVAL, &unused);
}

static bool find_tensors(Trainer *t) {
    if (!model_io_find(t->diag, t->plan, true, &t->io)) return false;
    int loss = model_io_scalar(t->plan, TENSOR_OUTPUT, NAME_LOSS);
    if (loss < 0) {
        return diag_fail(t->diag, FAIL_INPUT, "model '%.*s' has no loss to train",
                         STR_ARG(t->plan->model));
    }
    t->loss = (uint32_t)loss;
    t->grad_norm = model_io_scalar(t->plan, TENSOR_OUTPUT, NAME_GRAD_NORM);
    t->lr = model_io_scalar(t->plan, TENSOR_INPUT, NAME_LR);
    t->step = model_io_scalar(t->plan, TENSOR_INPUT, NAME_STEP);
    t->clip = model_io_scalar(t->plan, TENSOR_INPUT, NAME_CLIP);
    t->reports = arena_array(t->arena, Report, t->plan->tensor_count);
    for (uint32_t i = 0; i < t->plan->tensor_count; i++) {
        const PlanTensor *p = &t->plan->tensors[i];
        int64_t count = plan_tensor_count(p);
        bool report = p->kind == TENSOR_OUTPUT &&
                      str_starts(p->name, STR(NAME_REPORT_PREFIX)) && p->rank <= 1 &&
                      count <= MOST_REPORTED && plan_entry_uses(t->train, i);
        if (report)
            t->reports[t->report_count++] =
                (Report){i, p, arena_array(t->arena, double, (size_t)count), count};
    }
    return true;
}

static bool open_data(Trainer *t) {
    const TrainOptions *o = t->options;
    DatasetOptions data = {.paths = o->data,
                           .path_count = o->data_count,
                           .vocab = t->io.vocab,
                           .context = t->io.context};
    if (!dataset_open(t->diag, t->arena, &data, &t->data)) return false;
    data.paths = o->eval_data;
    data.path_count = o->eval_count;
    return !o->eval_count || dataset_open(t->diag, t->arena, &data, &t->eval_data);
}

static bool check_options(Trainer *t) {
    const TrainOptions *o = t->options;
    if (o->steps < 1)
        return diag_fail(t->diag, FAIL_USAGE, "training for %lld steps is not possible",
                         (long long)o->steps);
    if (isnan(o->clip) || o->clip < 0)
        return diag_fail(t->diag, FAIL_USAGE, "a largest gradient norm of %g is not possible",
                         o->clip);
    if (o->eval_every < 0 || o->checkpoint_every < 0)
        return diag_fail(t->diag, FAIL_USAGE, "an interval of steps is negative");
    if (!o->out.len && !o->resume.len)
        return diag_fail(t->diag, FAIL_USAGE, "no directory is given for the results");
    return lr_schedule_check(t->diag, &o->schedule);
}

// ---- what must be the same when a run is resumed

static void add_setting(Trainer *t, uint32_t *count, CheckpointSetting setting) {
    ASSERT(*count < SETTING_COUNT);
    t->settings[(*count)++] = setting;
}

static Str strict_number(Trainer *t, int64_t x) {
    return str_printf(t->arena, "%lld", (long long)x);
}

static Str data_text(Trainer *t) {
    Hash total = {0};
    for (uint32_t i = 0; i < t->data.file_count; i++) {
        const FileMap *map = &t->data.files[i].map;
        total = hash_mix(total, hash_bytes(map->data, map->size));
    }
    char text[HASH_TEXT];
    hash_text(total, text);
    return str_printf(t->arena, "%lld tokens, %s", (long long)t->data.count, text);
}

static void describe_run(Trainer *t) {
    uint32_t n = 0;
    StrBuf schedule = {0}, clip = {0};
    lr_schedule_print(&t->options->schedule, &schedule);
    strbuf_add_double(&clip, t->options->clip > 0 ? t->options->clip : HUGE_VAL);
    add_setting(t, &n, (CheckpointSetting){"batch", strict_number(t, t->io.rows), true});
    add_setting(t, &n, (CheckpointSetting){"context", strict_number(t, t->io.context), true});
    add_setting(t, &n,
                (CheckpointSetting){"accumulate", strict_number(t, t->micro_batches), true});
    add_setting(t, &n, (CheckpointSetting){"data", data_text(t), true});
    add_setting(
        t, &n,
        (CheckpointSetting){"schedule", str_copy(t->arena, strbuf_view(&schedule)), false});
    add_setting(t, &n,
                (CheckpointSetting){"clip", str_copy(t->arena, strbuf_view(&clip)), false});
    add_setting(t, &n, (CheckpointSetting){"optimizer", t->options->optimizer, false});
    strbuf_release(&schedule);
    strbuf_release(&clip);
}

static Checkpoint checkpoint_of(const Trainer *t) {
    return (Checkpoint){.step = t->done,
                        .tokens = t->tokens,
                        .seed = t->options->seed,
                        .settings = t->settings,
                        .setting_count = SETTING_COUNT};
}

// ---- start

static Str directory_of(Str file) {
    size_t n = file.len;
    while (n && file.ptr[n - 1] != '/')
        n--;
    if (!n) return STR(".");
    return (Str){file.ptr, n > 1 ? n - 1 : 1};
}

static bool same_directory(Trainer *t, Str a, Str b) {
    struct stat left, right;
    return stat(arena_strndup(t->arena, a.ptr, a.len), &left) == 0 &&
           stat(arena_strndup(t->arena, b.ptr, b.len), &right) == 0 &&
           left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

static bool open_new_directory(Trainer *t) {
    if (!io_make_directories(t->diag, t->out)) return false;
    if (!io_exists(str_printf(t->arena, "%.*s/latest", STR_ARG(t->out)))) return true;
    return diag_file_error(t->diag, FAIL_USAGE, t->out,
                           "it holds a training run: go on with --resume %.*s or give another "
                           "directory",
                           STR_ARG(t->out));
}

// The metrics so far go along to another directory.
static bool copy_metrics(Trainer *t, Str from) {
    Str text, source = str_printf(t->arena, "%.*s/metrics.jsonl", STR_ARG(from));
    if (!io_exists(source)) return true;
    if (!io_read(t->diag, t->arena, source, &text)) return false;
    return io_write(t->diag, str_printf(t->arena, "%.*s/metrics.jsonl", STR_ARG(t->out)),
                    text.ptr, text.len);
}

static bool resume(Trainer *t) {
    Str file;
    if (!checkpoint_find(t->diag, t->arena, t->options->resume, &file)) return false;
    Str from = directory_of(file);
    bool elsewhere = t->options->out.len && !str_eq(t->options->out, t->options->resume);
    t->out = elsewhere ? t->options->out : from;
    Checkpoint c = checkpoint_of(t);
    if (!checkpoint_load(t->diag, t->session, file, &c)) return false;
    if (c.step > t->options->steps) {
        return diag_file_error(t->diag, FAIL_USAGE, file,
                               "%lld steps are done already, more than the %lld asked for",
                               (long long)c.step, (long long)t->options->steps);
    }
    t->done = c.step;
    t->tokens = c.tokens;
    if (same_directory(t, from, t->out)) {
        t->saved = c.step;
        t->result->checkpoint = file;
        return true;
    }
    return open_new_directory(t) && copy_metrics(t, from);
}

static bool save(Trainer *t) {
    if (t->saved == t->done) return true;
    Checkpoint c = checkpoint_of(t);
    if (!metrics_sync(t->diag, &t->metrics)) return false;
    if (!checkpoint_write(t->diag, t->session, t->out, &c)) return false;
    t->saved = t->done;
    t->result->checkpoint = checkpoint_path(t->arena, t->out, t->done);
    checkpoint_prune(t->out, t->done, t->options->keep ? t->options->keep : KEEP_DEFAULT);
    return true;
}

static bool start(Trainer *t) {
    t->saved = -1;
    t->out = t->options->out;
    describe_run(t);
    session_init(t->session, t->options->seed);
    if (!(t->options->resume.len ? resume(t) : open_new_directory(t))) return false;
    if (!metrics_open(t->diag, t->arena, t->out, t->done, &t->metrics)) return false;
    t->result->metrics = str_of(t->metrics.path);
    t->result->first_step = t->done + 1;
    t->result->last = (TrainStep){.step = t->done,
                                  .steps = t->options->steps,
                                  .tokens = t->tokens,
                                  .loss = (double)NAN,
                                  .eval_loss = (double)NAN};
    // A run has a checkpoint from the start, so that it can be resumed whenever it is killed.
    return save(t);
}

// ---- a step

static void set_input(Trainer *t, int tensor, double value) {
    if (tensor < 0) return;
    DType type = t->plan->tensors[tensor].type;
    dtype_set(type, session_write(t->session, (uint32_t)tensor), 0, value);
}

static bool not_finite(Trainer *t, const char *what, double value) {
    diag_fail(t->diag, FAIL_INPUT, "step %lld: the %s is %s (learning rate %g)",
              (long long)t->done + 1, what, isnan(value) ? "NaN" : "infinite",
              lr_schedule_at(&t->options->schedule, t->done + 1));
    diag_note(t->diag, (Span){0}, "the last checkpoint is %.*s",
              STR_ARG(t->result->checkpoint));
    return false;
}

static void clear_reports(Trainer *t) {
    for (uint32_t i = 0; i < t->report_count; i++)
        memset(t->reports[i].sums, 0, (size_t)t->reports[i].count * sizeof(double));
}

static bool add_reports(Trainer *t) {
    for (uint32_t i = 0; i < t->report_count; i++) {
        const Report *r = &t->reports[i];
        const void *data = session_read_part(t->diag, t->session, r->tensor, 0,
                                             (size_t)plan_tensor_bytes(r->of));
        if (!data) return false;
        for (int64_t k = 0; k < r->count; k++)
            r->sums[k] += dtype_get(r->of->type, data, k);
    }
    return true;
}

static bool run_micro_batches(Trainer *t, double *loss) {
    SampleKey key = {.seed = t->options->seed, .step = (uint64_t)t->done + 1};
    clear_reports(t);
    for (uint32_t micro = 0; micro < t->micro_batches; micro++) {
        key.first_row = (uint64_t)micro * (uint64_t)t->io.rows;
        Batch batch = model_io_batch(t->session, &t->io);
        dataset_sample(&t->data, key, &batch);
        if (!session_run(t->diag, t->session, t->train)) return false;
        double x;
        if (!model_io_read(t->diag, t->session, t->loss, &x)) return false;
        if (!isfinite(x)) return not_finite(t, "loss", x);
        *loss += x / t->micro_batches;
        if (!add_reports(t)) return false;
    }
    return true;
}

static bool run_step(Trainer *t, TrainStep *out) {
    int64_t before = clock_ns();
    int64_t step = t->done + 1, tokens = t->io.rows * t->io.context * t->micro_batches;
    *out = (TrainStep){.step = step,
                       .steps = t->options->steps,
                       .tokens = t->tokens + tokens,
                       .lr = lr_schedule_at(&t->options->schedule, step),
                       .grad_norm = (double)NAN,
                       .eval_loss = (double)NAN,
                       .eval_bits_per_byte = (double)NAN};
    set_input(t, t->lr, out->lr);
    set_input(t, t->step, (double)step);
    set_input(t, t->clip, t->options->clip > 0 ? t->options->clip : HUGE_VAL);
    if (!run_micro_batches(t, &out->loss)) return false;
    if (t->apply && !session_run(t->diag, t->session, t->apply)) return false;
    if (t->grad_norm >= 0) {
        if (!model_io_read(t->diag, t->session, (uint32_t)t->grad_norm, &out->grad_norm))
            return false;
        if (!isfinite(out->grad_norm)) return not_finite(t, "gradient norm", out->grad_norm);
    }
    out->bits_per_byte = loss_bits_per_byte(&t->data, out->loss);
    out->ms = (double)(clock_ns() - before) * 1e-6;
    out->tokens_per_second = (double)tokens / out->ms * 1e3;
    return true;
}

static bool is_due(const Trainer *t, int64_t every, int64_t step) {
    return step == t->options->steps || (every && step % every == 0);
}

static bool evaluate(Trainer *t, TrainStep *step) {
    EvaluateOptions options = {.window_max = t->options->eval_windows};
    EvaluateResult result;
    if (!evaluate_loss(t->diag, t->session, &t->eval_data, &options, &result)) return false;
    step->eval_loss = result.loss;
    step->eval_bits_per_byte = result.bits_per_byte;
    return true;
}

static void add_number(JsonWriter *w, const char *key, double x) {
    if (isnan(x)) return;
    json_key(w, key);
    json_number(w, x);
}

static bool log_step(Trainer *t, const TrainStep *step) {
    StrBuf line = {0};
    JsonWriter w;
    json_init(&w, &line, false);
    json_object(&w);
    json_key(&w, "step");
    json_int(&w, step->step);
    json_key(&w, "tokens");
    json_int(&w, step->tokens);
    add_number(&w, "loss", step->loss);
    add_number(&w, "bits_per_byte", step->bits_per_byte);
    add_number(&w, "lr", step->lr);
    add_number(&w, "grad_norm", step->grad_norm);
    for (uint32_t i = 0; i < t->report_count; i++) {
        const Report *r = &t->reports[i];
        json_key_str(&w, r->of->name);
        if (r->of->rank > 0) json_array(&w);
        for (int64_t k = 0; k < r->count; k++)
            json_number(&w, r->sums[k] / t->micro_batches);
        if (r->of->rank > 0) json_end(&w);
    }
    add_number(&w, "tokens_per_second", step->tokens_per_second);
    add_number(&w, "ms", step->ms);
    add_number(&w, "eval_loss", step->eval_loss);
    add_number(&w, "eval_bits_per_byte", step->eval_bits_per_byte);
    json_end(&w);
    bool ok = metrics_add(t->diag, &t->metrics, strbuf_view(&line));
    strbuf_release(&line);
    return ok;
}

static bool do_step(Trainer *t) {
    TrainStep step;
    const TrainOptions *o = t->options;
    if (!run_step(t, &step)) return false;
    if (o->eval_count && is_due(t, o->eval_every, step.step) && !evaluate(t, &step))
        return false;
    t->done = step.step;
    t->tokens = step.tokens;
    t->result->last = step;
    if (!log_step(t, &step)) return false;
    if (is_due(t, o->checkpoint_every, step.step) && !save(t)) return false;
    if (o->progress) o->progress(o->context, &step);
    return true;
}

// ---- the whole

static bool run(Trainer *t) {
    while (t->done < t->options->steps) {
        t->result->interrupted = t->options->stop && *t->options->stop;
        if (t->result->interrupted) return save(t);
        if (!do_step(t)) return false;
    }
    t->result->params = str_printf(t->arena, "%.*s/params.safetensors", STR_ARG(t->out));
    return save(t) && checkpoint_write_params(t->diag, t->session, t->result->params);
}

bool train_run(Diag *diag, Arena *arena, Session *s, const TrainOptions *options,
               TrainResult *out) {
    *out = (TrainResult){0};
    Trainer t = {.diag = diag,
                 .arena = arena,
                 .session = s,
                 .plan = session_plan(s),
                 .options = options,
                 .result = out,
                 .micro_batches = options->accumulate ? options->accumulate : 1};
    double before = clock_seconds();
    bool ok = check_options(&t) && find_entries(&t) && find_tensors(&t) && open_data(&t) &&
              start(&t) && run(&t);
    out->seconds = clock_seconds() - before;
    metrics_close(&t.metrics);
    dataset_close(&t.data);
    dataset_close(&t.eval_data);
    return ok;
}
