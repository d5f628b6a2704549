// cmd_train.c: training.
#include <math.h>

#include "cli/interrupt.h"
#include "cli/session.h"
#include "cli/training.h"

enum { STEPS = 1000 };

typedef struct {
    Cli *cli;
    Progress progress;
    bool started;
} Watch;

static void show_step(void *context, const TrainStep *s) {
    Watch *w = context;
    if (!w->started) progress_begin(&w->progress, "training", "steps", (double)s->step - 1);
    w->started = true;
    progress_show(&w->progress, (double)s->step, (double)s->steps, "loss %.4f, %.0f tokens/s",
                  s->loss, s->tokens_per_second);
    if (isnan(s->eval_loss)) return;
    progress_end(&w->progress);
    cli_say(w->cli, "step %lld: loss %.4f, held-out loss %.4f", (long long)s->step, s->loss,
            s->eval_loss);
}

static void number(JsonWriter *w, const char *key, double x) {
    if (isnan(x)) return;
    json_key(w, key);
    json_number(w, x);
}

static void text(JsonWriter *w, const char *key, Str s) {
    if (!s.len) return;
    json_key(w, key);
    json_string(w, s);
}

static void report(Cli *cli, const TrainResult *r) {
    const TrainStep *s = &r->last;
    if (!cli->options.json) {
        StrBuf *out = &cli->out;
        strbuf_addf(out, "step %lld: loss %.4f", (long long)s->step, s->loss);
        if (!isnan(s->bits_per_byte)) strbuf_addf(out, " (%.3f bits a byte)", s->bits_per_byte);
        if (!isnan(s->eval_loss)) strbuf_addf(out, ", held-out loss %.4f", s->eval_loss);
        if (!isnan(s->eval_bits_per_byte))
            strbuf_addf(out, " (%.3f bits a byte)", s->eval_bits_per_byte);
        strbuf_addz(out, ", ");
        text_duration(out, r->seconds);
        if (r->params.len) strbuf_addf(out, "\nparameters %.*s", STR_ARG(r->params));
        strbuf_addf(out, "\ncheckpoint %.*s\nmetrics    %.*s\n", STR_ARG(r->checkpoint),
                    STR_ARG(r->metrics));
        return;
    }
    JsonWriter *w = &cli->json;
    json_object(w);
    json_key(w, "step");
    json_int(w, s->step);
    json_key(w, "tokens");
    json_int(w, s->tokens);
    number(w, "loss", s->loss);
    number(w, "bits_per_byte", s->bits_per_byte);
    number(w, "eval_loss", s->eval_loss);
    number(w, "eval_bits_per_byte", s->eval_bits_per_byte);
    number(w, "seconds", r->seconds);
    json_key(w, "interrupted");
    json_bool(w, r->interrupted);
    text(w, "params", r->params);
    text(w, "checkpoint", r->checkpoint);
    text(w, "metrics", r->metrics);
    json_end(w);
}

static bool train(Cli *cli, Session *session, TrainResult *out) {
    const Options *o = &cli->options;
    int64_t steps = o->steps > 0 ? o->steps : STEPS;
    Watch watch = {.cli = cli, .progress = {.quiet = o->verbosity < 0}};
    TrainOptions t;
    if (!training_options(cli, steps, &t)) return false;
    t.out = o->out.len ? o->out : o->resume;
    t.resume = o->resume;
    t.checkpoint_every = o->checkpoint_every;
    t.keep = (uint32_t)o->keep;
    t.stop = interrupt_catch();
    t.progress = show_step;
    t.context = &watch;
    bool good = train_run(&cli->diag, &cli->arena, session, &t, out);
    progress_end(&watch.progress);
    return good;
}

bool cmd_train(Cli *cli) {
    const Options *o = &cli->options;
    if (!o->data.len) return cli_usage(cli, "train needs --data FILE");
    if (!o->out.len && !cli_need(cli, o->resume, "--out DIR or --resume DIR")) return false;
    EntryKind entries[3];
    uint32_t count = 0;
    entries[count++] = o->accumulate > 1 ? ENTRY_ACCUMULATE : ENTRY_TRAIN;
    if (o->accumulate > 1) entries[count++] = ENTRY_APPLY;
    if (o->eval_data.len) entries[count++] = ENTRY_EVAL;
    Loaded loaded;
    TrainResult result = {0};
    bool good = loaded_open(cli, (EntryKinds){entries, count}, TRAIN_BATCH, &loaded) &&
                train(cli, loaded.session, &result);
    session_close(loaded.session);
    if (!good) return false;
    report(cli, &result);
    if (!result.interrupted) return true;
    return diag_fail(&cli->diag, FAIL_INTERRUPTED,
                     "interrupted after step %lld, which is saved; --resume %.*s goes on",
                     (long long)result.last.step, STR_ARG(o->out.len ? o->out : o->resume));
}
