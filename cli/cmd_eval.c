// cmd_eval.c: the loss on data.
#include <math.h>

#include "cli/interrupt.h"
#include "cli/session.h"
#include "runtime/checkpoint.h"
#include "runtime/evaluate_loss.h"

enum { BATCH = 8 };

static void show(void *context, int64_t done, int64_t windows) {
    progress_show(context, (double)done, (double)windows, "%s", "");
}

static bool evaluate(Cli *cli, Session *s, EvaluateResult *out) {
    ModelIo io;
    if (!model_io_find(&cli->diag, session_plan(s), true, &io)) return false;
    session_init(s, cli->options.seed);
    if (!params_load(&cli->diag, s, cli->options.params)) return false;
    DatasetOptions options = {.paths = cli->options.data.ptr,
                              .path_count = cli->options.data.len,
                              .vocab = io.vocab,
                              .context = io.context};
    Dataset data = {0};
    Progress progress = {.quiet = cli->options.verbosity < 0};
    progress_begin(&progress, "evaluating", "windows", 0);
    EvaluateOptions e = {.stop = interrupt_catch(), .progress = show, .context = &progress};
    bool good = dataset_open(&cli->diag, &cli->arena, &options, &data) &&
                evaluate_loss(&cli->diag, s, &data, &e, out);
    progress_end(&progress);
    dataset_close(&data);
    return good;
}

static void report(Cli *cli, const EvaluateResult *r) {
    if (!cli->options.json) {
        strbuf_addf(&cli->out, "loss %.4f", r->loss);
        if (!isnan(r->bits_per_byte))
            strbuf_addf(&cli->out, ", %.4f bits a byte", r->bits_per_byte);
        strbuf_addf(&cli->out, ", %lld tokens, %.0f tokens/s\n", (long long)r->tokens,
                    r->tokens_per_second);
        return;
    }
    JsonWriter *w = &cli->json;
    json_object(w);
    json_key(w, "loss");
    json_number(w, r->loss);
    json_key(w, "bits_per_byte");
    json_number(w, r->bits_per_byte);
    json_key(w, "tokens");
    json_int(w, r->tokens);
    json_key(w, "windows");
    json_int(w, r->windows);
    json_key(w, "tokens_per_second");
    json_number(w, r->tokens_per_second);
    json_key(w, "seconds");
    json_number(w, r->seconds);
    json_end(w);
}

bool cmd_eval(Cli *cli) {
    const Options *o = &cli->options;
    if (!cli_need(cli, o->params, "--params FILE")) return false;
    if (!o->data.len) return cli_usage(cli, "eval needs --data FILE");
    EntryKind entry = ENTRY_EVAL;
    Loaded loaded;
    EvaluateResult result;
    bool good = loaded_open(cli, (EntryKinds){&entry, 1}, BATCH, &loaded) &&
                evaluate(cli, loaded.session, &result);
    session_close(loaded.session);
    if (good) report(cli, &result);
    return good;
}
