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

// The mean time of one run of the entry, with one row.
static bool measure_entry(Sweep *s, const Model *model, EntryKind kind, Interval *out) {
    Plan *plan;
    Session *session = NULL;
    Bench bench;
    bool good =
        cli_plan(s->cli, model, (EntryKinds){&kind, 1}, cli_bindings(s->cli, 1), &plan) &&
        session_open(&s->cli->diag, plan, s->cli->options.threads, &session) &&
        time_entry(s, session, kind, &bench);
    session_close(session);
    if (good) *out = in_ms(bench.ns);
    return good;
}

// ---- loss

typedef struct {
    Sweep *sweep;
    const SweepPoint *point;
    Progress progress;
    bool started;
    Vec(double) steps, loss;
    double eval_loss;
} Watch;

static void note_step(void *context, const TrainStep *step) {
    Watch *w = context;
    Arena *arena = &w->sweep->cli->arena;
    vec_push(arena, &w->steps, (double)step->step);
    vec_push(arena, &w->loss, step->loss);
    w->eval_loss = step->eval_loss;
    if (!w->started) progress_begin(&w->progress, "training", "steps", 0);
    w->started = true;
    progress_show(&w->progress, (double)step->step, (double)step->steps, "%.*s, loss %.4f",
                  STR_ARG(w->point->label), step->loss);
}

static double tail_mean(const Watch *w) {
    uint32_t n = w->loss.len, last = (uint32_t)ceil(n * tail_share);
    double sum = 0;
    for (uint32_t i = n - last; i < n; i++)
        sum += w->loss.ptr[i];
    return last ? sum / last : (double)NAN;
}

static Str run_directory(const Sweep *s, const SweepPoint *p, uint64_t seed) {
    Arena *arena = &s->cli->arena;
    Str out = s->cli->options.output;
    if (s->cli->options.seeds == 1)
        return str_printf(arena, "%.*s/%.*s", STR_ARG(out), STR_ARG(p->label));
    return str_printf(arena, "%.*s/%.*s/seed-%llu", STR_ARG(out), STR_ARG(p->label),
                      (unsigned long long)seed);
}

static bool run_seed(Sweep *s, Session *session, Watch *w, uint64_t seed) {
    Cli *cli = s->cli;
    TrainOptions options;
    TrainResult result;
    if (!training_options(cli, s->steps, &options)) return false;
    options.seed = seed;
    options.out = run_directory(s, w->point, seed);
    options.keep = 1;
    options.stop = interrupt_catch();
    options.progress = note_step;
    options.context = w;
    bool good = train_run(&cli->diag, &cli->arena, session, &options, &result);
    progress_end(&w->progress);
    if (good && result.interrupted)
        return diag_fail(&cli->diag, FAIL_INTERRUPTED,
                         "interrupted; results.json has the variants measured so far");
    return good;
}

static void add_curve(const Sweep *s, SweepPoint *p, const Watch *w) {
    Arena *arena = &s->cli->arena;
    for (uint32_t i = 0; i < w->loss.len; i++) {
        if (i == p->curve_loss.len) {
            vec_push(arena, &p->curve_steps, w->steps.ptr[i]);
            vec_push(arena, &p->curve_loss, 0);
        }
        p->curve_loss.ptr[i] += w->loss.ptr[i] / (double)s->cli->options.seeds;
    }
}

static SeedMean difference(const Sweep *s, const SweepPoint *p) {
    const SweepPoint *first = &s->points[0];
    bool held_out = !isnan(p->eval_loss.mean);
    const double *x = held_out ? p->eval_losses.ptr : p->losses.ptr,
                 *y = held_out ? first->eval_losses.ptr : first->losses.ptr;
    double *d = arena_array(&s->cli->arena, double, p->losses.len);
    for (uint32_t i = 0; i < p->losses.len; i++)
        d[i] = x[i] - y[i];
    return seed_mean(d, p->losses.len);
}

static bool measure_loss(Sweep *s, Session *session, SweepPoint *p) {
    const Options *o = &s->cli->options;
    for (uint64_t seed = o->seed; seed < o->seed + (uint64_t)o->seeds; seed++) {
        Watch w = {.sweep = s, .point = p, .progress = {.quiet = o->verbosity < 0}};
        w.eval_loss = NAN;
        if (!run_seed(s, session, &w, seed)) return false;
        vec_push(&s->cli->arena, &p->losses, tail_mean(&w));
        vec_push(&s->cli->arena, &p->eval_losses, w.eval_loss);
        add_curve(s, p, &w);
    }
    p->loss = seed_mean(p->losses.ptr, p->losses.len);
    p->eval_loss = seed_mean(p->eval_losses.ptr, p->eval_losses.len);
    p->against_first = difference(s, p);
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
    p->loss = p->eval_loss = p->against_first = seed_mean(NULL, 0);
    cli_say(s->cli, "variant %u of %u: %.*s", s->done + 1, s->count, STR_ARG(p->label));
    Model model;
    if (!model_load(&s->cli->diag, &s->cli->arena, p->model,
                    (Settings){p->settings.ptr, p->settings.len}, &model) ||
        (s->wanted[METRIC_PREFILL] && !measure_entry(s, &model, ENTRY_INFER, &p->prefill_ms)) ||
        (s->wanted[METRIC_DECODE] && !measure_entry(s, &model, ENTRY_DECODE, &p->decode_ms)))
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
