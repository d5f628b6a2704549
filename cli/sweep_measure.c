// sweep_measure.c: one variant: its plan, times, memory, and a short training run.
#include <math.h>

#include "cli/bench.h"
#include "cli/interrupt.h"
#include "cli/sweep.h"
#include "runtime/names.h"

enum { BENCH_SECONDS = 2 };

// The mean over this share of the last steps is the loss of a run: one batch says too little.
static const double tail_share = 0.1;

// ---- times, memory and traffic

static double plan_memory(const Plan *plan, const PlanEntry *entry) {
    double bytes = (double)entry->arena_bytes;
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        bytes += (double)plan_tensor_bytes(&plan->tensors[i]);
    return bytes;
}

static int64_t plan_parameters(const Plan *plan) {
    int64_t n = 0;
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        if (plan->tensors[i].kind == TENSOR_PARAM) n += plan_tensor_count(&plan->tensors[i]);
    return n;
}

static Interval in_ms(Interval ns) {
    return (Interval){ns.median * 1e-6, ns.low * 1e-6, ns.high * 1e-6};
}

static bool time_entry(Sweep *s, Session *session, EntryKind kind, Bench *out) {
    BenchRequest request = {session, plan_entry(session_plan(session), entry_name(kind)),
                            BENCH_SECONDS, s->machine.peaks};
    return bench_entry(&s->cli->diag, &s->cli->arena, &request, out);
}

static bool measure_prefill(Sweep *s, const Model *model, SweepPoint *p) {
    EntryKind kind = ENTRY_INFER;
    Plan *plan;
    Session *session = NULL;
    Bench bench;
    bool good =
        cli_plan(s->cli, model, (EntryKinds){&kind, 1}, cli_bindings(s->cli, 1), &plan) &&
        session_open(&s->cli->diag, plan, s->cli->options.threads, &session) &&
        time_entry(s, session, kind, &bench);
    session_close(session);
    if (good) p->prefill_ms = in_ms(bench.ns);
    return good;
}

// ---- loss

typedef struct {
    Sweep *sweep;
    SweepPoint *point;
    Progress progress;
    bool started;
} Watch;

static void note_step(void *context, const TrainStep *step) {
    Watch *w = context;
    Arena *arena = &w->sweep->cli->arena;
    vec_push(arena, &w->point->curve_steps, (double)step->step);
    vec_push(arena, &w->point->curve_loss, step->loss);
    w->point->eval_loss = step->eval_loss;
    if (!w->started) progress_begin(&w->progress, "training", "steps", 0);
    w->started = true;
    progress_show(&w->progress, (double)step->step, (double)step->steps, "%.*s, loss %.4f",
                  STR_ARG(w->point->label), step->loss);
}

static double tail_mean(const SweepPoint *p) {
    uint32_t n = p->curve_loss.len, last = (uint32_t)ceil(n * tail_share);
    double sum = 0;
    for (uint32_t i = n - last; i < n; i++)
        sum += p->curve_loss.ptr[i];
    return last ? sum / last : (double)NAN;
}

static bool measure_loss(Sweep *s, Session *session, SweepPoint *p) {
    Cli *cli = s->cli;
    Watch watch = {.sweep = s, .point = p, .progress = {.quiet = cli->options.verbosity < 0}};
    TrainOptions options;
    TrainResult result;
    if (!training_options(cli, s->steps, &options)) return false;
    options.out =
        str_printf(&cli->arena, "%.*s/%.*s", STR_ARG(cli->options.output), STR_ARG(p->label));
    options.keep = 1;
    options.stop = interrupt_catch();
    options.progress = note_step;
    options.context = &watch;
    bool good = train_run(&cli->diag, &cli->arena, session, &options, &result);
    progress_end(&watch.progress);
    if (!good) return false;
    if (result.interrupted)
        return diag_fail(&cli->diag, FAIL_INTERRUPTED,
                         "interrupted; results.json has the variants measured so far");
    p->loss = tail_mean(p);
    return true;
}

// ---- a point

static bool measure_training(Sweep *s, const Model *model, SweepPoint *p) {
    Cli *cli = s->cli;
    EntryKind kinds[] = {ENTRY_TRAIN, ENTRY_EVAL};
    uint32_t count = cli->options.eval_data.len && s->wanted[METRIC_LOSS] ? 2 : 1;
    Plan *plan;
    Session *session = NULL;
    Bench bench;
    if (!cli_plan(cli, model, (EntryKinds){kinds, count}, cli_bindings(cli, TRAIN_BATCH),
                  &plan) ||
        !session_open(&cli->diag, plan, cli->options.threads, &session))
        return false;
    bool good = time_entry(s, session, ENTRY_TRAIN, &bench);
    if (good) {
        p->parameters = plan_parameters(plan);
        p->step_ms = in_ms(bench.ns);
        p->traffic_bytes = bench.bytes;
        p->memory_bytes = plan_memory(plan, plan_entry(plan, ENTRY_NAME_TRAIN));
    }
    good = good && (!s->wanted[METRIC_LOSS] || measure_loss(s, session, p));
    session_close(session);
    return good;
}

bool sweep_measure(Sweep *s) {
    SweepPoint *p = &s->points[s->done];
    p->loss = p->eval_loss = NAN;
    cli_say(s->cli, "variant %u of %u: %.*s", s->done + 1, s->count, STR_ARG(p->label));
    Model model;
    if (!model_load(&s->cli->diag, &s->cli->arena, p->model,
                    (Settings){p->settings.ptr, p->settings.len}, &model) ||
        (s->wanted[METRIC_PREFILL] && !measure_prefill(s, &model, p)))
        return false;
    bool training = s->wanted[METRIC_STEP] || s->wanted[METRIC_MEMORY] ||
                    s->wanted[METRIC_TRAFFIC] || s->wanted[METRIC_LOSS];
    if (training && !measure_training(s, &model, p)) return false;
    if (*interrupt_catch())
        return diag_fail(&s->cli->diag, FAIL_INTERRUPTED,
                         "interrupted; results.json has the variants measured so far");
    s->done++;
    return true;
}
