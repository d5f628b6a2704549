// cmd_tune.c: tuning the kernels of a model for this machine.
#include "autotune/tune.h"
#include "cli/interrupt.h"
#include "cli/machine.h"
#include "runtime/names.h"

typedef struct {
    Progress progress;
    int64_t budget;  // trials; 0: by time
} Watch;

static void show(void *context, const TuneProgress *p) {
    Watch *w = context;
    StrBuf text = {0};
    if (p->best_ns > 0) {
        strbuf_addf(&text, "%.*s ", STR_ARG(p->region));
        text_duration(&text, p->best_ns * 1e-9);
        strbuf_addz(&text, ", floor ");
        text_duration(&text, p->least_ns * 1e-9);
        strbuf_addz(&text, ", ");
    }
    if (!w->budget) {
        text_duration(&text, p->seconds_left);
        strbuf_addz(&text, " left, ");
    }
    strbuf_addf(&text, "%u of %u regions done", p->regions_done, p->regions);
    progress_show(&w->progress, p->trials, (double)w->budget, "%s", text.ptr);
    strbuf_release(&text);
}

static void key_number(JsonWriter *w, const char *key, double x) {
    json_key(w, key);
    json_number(w, x);
}

static void report(Cli *cli, const TuneReport *r) {
    if (cli->options.json) {
        JsonWriter *w = &cli->json;
        json_object(w);
        key_number(w, "regions", r->regions);
        key_number(w, "regions_done", r->regions_done);
        key_number(w, "trials", r->trials);
        key_number(w, "failures", r->failures);
        key_number(w, "prior_ns", r->prior_ns);
        key_number(w, "best_ns", r->best_ns);
        key_number(w, "floor_ns", r->least_ns);
        json_key(w, "interrupted");
        json_bool(w, r->interrupted);
        json_key(w, "database");
        json_string(w, database_path(cli->db));
        json_end(w);
        return;
    }
    StrBuf *out = &cli->out;
    strbuf_addf(out, "%u trials (%u failed), %u of %u regions done\nkernels ", r->trials,
                r->failures, r->regions_done, r->regions);
    text_duration(out, r->prior_ns * 1e-9);
    strbuf_addz(out, " untuned, ");
    text_duration(out, r->best_ns * 1e-9);
    strbuf_addz(out, " tuned, floor ");
    text_duration(out, r->least_ns * 1e-9);
    strbuf_addf(out, "\nkept in %.*s\n", STR_ARG(database_path(cli->db)));
}

// A training step where the model can be trained, else a forward pass.
static bool tuned_graph(Cli *cli, const Model *model, PlanRequestEntry *out) {
    Graph *g;
    if (!cli_elaborate(cli, model, &g)) return false;
    bool train = cli->options.training ||
                 (!cli->options.prefill && graph_output_find(g, STR(NAME_LOSS)).i);
    EntryKind kind = train ? ENTRY_TRAIN : ENTRY_FORWARD;
    if (!cli_graph(cli, model, kind, cli_bindings(cli, train ? TRAIN_BATCH : 1), &g))
        return false;
    *out = (PlanRequestEntry){str_of(entry_name(kind)), g};
    return true;
}

static void warn(Cli *cli, const TuneReport *r) {
    if (r->regions_busy)
        cli_say(cli, "another process is tuning %u regions; they were left to it",
                r->regions_busy);
    if (r->unsaved)
        diag_warning(&cli->diag, (Span){0}, "%llu trials could not be saved in %.*s",
                     (unsigned long long)r->unsaved, STR_ARG(database_path(cli->db)));
}

bool cmd_tune(Cli *cli) {
    const Options *o = &cli->options;
    Model model;
    PlanRequestEntry entry;
    if (!cli_model(cli, &model) || !tuned_graph(cli, &model, &entry) ||
        !cli_database(cli, true))
        return false;
    cli_flush(cli);
    PlanRequest request = {.model = entry.graph->name,
                           .target = cli_target(cli),
                           .run_threads = o->threads,
                           .entries = &entry,
                           .entry_count = 1};
    // The candidates' compilations are part of the trials, which are shown.
    request.target.progress = NULL;
    Watch watch = {.progress = {.quiet = o->verbosity < 0},
                   .budget = o->budget_trials > 0 ? o->budget_trials : 0};
    progress_begin(&watch.progress, "tuning", "trials", 0);
    TuneRequest t = {.request = &request,
                     .seconds = o->budget_seconds > 0 ? o->budget_seconds : 0,
                     .trials = (uint32_t)watch.budget,
                     .measure = measure_defaults(),
                     .stop = interrupt_catch(),
                     .progress = show,
                     .progress_context = &watch};
    TuneReport result;
    bool good = tune(&cli->diag, &cli->arena, &t, &result);
    progress_end(&watch.progress);
    if (!good) return false;
    warn(cli, &result);
    report(cli, &result);
    if (!result.interrupted) return true;
    return diag_fail(&cli->diag, FAIL_INTERRUPTED,
                     "interrupted; what was measured is kept, and tuning again goes on");
}
