// sweep_report.c: a sweep as a page: what was varied, the table, the trade-off in pictures,
// loss curves, how tuning went.
#include <math.h>

#include "cli/report.h"
#include "cli/sweep.h"
#include "cli/tuning_history.h"

enum { WIDTH = 560, HEIGHT = 340 };

static Str in_bytes(Arena *arena, double bytes) {
    StrBuf text = {0};
    text_bytes(&text, bytes);
    Str copy = str_copy(arena, strbuf_view(&text));
    strbuf_release(&text);
    return copy;
}

static Str interval_text(Arena *arena, const Interval *x) {
    return str_printf(arena, "%.2f (%.2f to %.2f)", x->median, x->low, x->high);
}

static Str loss_text(Arena *arena, const SeedMean *x) {
    if (isnan(x->mean)) return STR("");
    if (!(x->low < x->high)) return str_printf(arena, "%.4f", x->mean);
    return str_printf(arena, "%.4f (%.4f to %.4f)", x->mean, x->low, x->high);
}

static void add_table(const Sweep *s, Report *r) {
    Arena *arena = r->arena;
    bool held_out = s->cli->options.eval_data.len && s->wanted[METRIC_LOSS];
    Str cells[METRIC_COUNT + 4];
    static const char *const heads[METRIC_COUNT] = {"ms a step (95 %)",  "ms prefill (95 %)",
                                                    "ms a token (95 %)", "memory",
                                                    "traffic a step",    "loss"};
    uint32_t n = 0;
    cells[n++] = STR("variant");
    cells[n++] = STR("parameters");
    for (uint32_t m = 0; m < METRIC_COUNT; m++)
        if (s->wanted[m]) cells[n++] = str_of(heads[m]);
    if (held_out) cells[n++] = STR("held-out loss");
    bool paired = s->cli->options.seeds > 1 && s->wanted[METRIC_LOSS];
    if (paired) cells[n++] = STR("against the first (95 %)");
    report_table(r);
    report_row(r, cells, n, true);
    for (uint32_t i = 0; i < s->done; i++) {
        const SweepPoint *p = &s->points[i];
        n = 0;
        cells[n++] = p->label;
        cells[n++] = str_printf(arena, "%lld", (long long)p->parameters);
        if (s->wanted[METRIC_STEP]) cells[n++] = interval_text(arena, &p->step_ms);
        if (s->wanted[METRIC_PREFILL]) cells[n++] = interval_text(arena, &p->prefill_ms);
        if (s->wanted[METRIC_DECODE]) cells[n++] = interval_text(arena, &p->decode_ms);
        if (s->wanted[METRIC_MEMORY]) cells[n++] = in_bytes(arena, p->memory_bytes);
        if (s->wanted[METRIC_TRAFFIC]) cells[n++] = in_bytes(arena, p->traffic_bytes);
        if (s->wanted[METRIC_LOSS]) cells[n++] = loss_text(arena, &p->loss);
        if (held_out) cells[n++] = loss_text(arena, &p->eval_loss);
        if (paired) cells[n++] = loss_text(arena, &p->against_first);
        report_row(r, cells, n, false);
    }
    report_table_end(r);
}

// ---- the trade-off

typedef struct {
    const char *name, *title, *unit;
    Metric metric;
    PlotKind kind;
} Panel;

static const Panel panels[] = {
    {"loss", "loss after training", "loss", METRIC_LOSS, PLOT_DOTS},
    {"step", "time of a training step", "ms", METRIC_STEP, PLOT_BARS},
    {"prefill", "time of a prefill", "ms", METRIC_PREFILL, PLOT_BARS},
    {"decode", "time of a token", "ms", METRIC_DECODE, PLOT_BARS},
    {"memory", "memory of a training step", "MiB", METRIC_MEMORY, PLOT_BARS},
    {"traffic", "traffic of a training step", "MiB", METRIC_TRAFFIC, PLOT_BARS},
};

static Interval panel_value(const SweepPoint *p, Metric metric) {
    if (metric == METRIC_STEP) return p->step_ms;
    if (metric == METRIC_PREFILL) return p->prefill_ms;
    if (metric == METRIC_DECODE) return p->decode_ms;
    if (metric == METRIC_LOSS) return sweep_loss_bar(p);
    double x = sweep_cost(p, metric);
    return (Interval){x, x, x};
}

static void add_panel(const Sweep *s, Report *r, const Panel *panel) {
    double *values = arena_array(r->arena, double, 3 * s->done);
    Str *ticks = arena_array(r->arena, Str, s->done);
    bool spread = false;
    for (uint32_t i = 0; i < s->done; i++) {
        Interval x = panel_value(&s->points[i], panel->metric);
        values[i] = x.median;
        values[s->done + i] = x.low;
        values[2 * (size_t)s->done + i] = x.high;
        spread |= x.low < x.high;
        ticks[i] = s->points[i].label;
    }
    bool held_out = panel->metric == METRIC_LOSS && s->cli->options.eval_data.len;
    PlotSeries series = {.y = values, .count = s->done};
    if (spread) series.low = values + s->done, series.high = values + 2 * (size_t)s->done;
    Plot plot = {.kind = panel->kind,
                 .title = held_out ? STR("held-out loss after training") : str_of(panel->title),
                 .y_label = str_of(panel->unit),
                 .series = &series,
                 .series_count = 1,
                 .ticks = ticks,
                 .tick_count = s->done,
                 .width = WIDTH,
                 .height = HEIGHT};
    report_picture(r, panel->name, &plot);
}

// ---- curves

// Means over equal stretches: a curve of single batches hides what it is about, and so does the
// fall from nothing at its start.
static PlotSeries smooth(Arena *arena, const SweepPoint *p) {
    enum { BUCKETS = 60 };
    uint32_t skipped = p->curve_loss.len / 8, n = p->curve_loss.len - skipped,
             buckets = n < BUCKETS ? n : BUCKETS;
    double *x = arena_array(arena, double, buckets), *y = arena_array(arena, double, buckets);
    for (uint32_t b = 0; b < buckets; b++) {
        uint32_t from = skipped + (uint32_t)((uint64_t)b * n / buckets),
                 to = skipped + (uint32_t)((uint64_t)(b + 1) * n / buckets);
        for (uint32_t i = from; i < to; i++) {
            x[b] += p->curve_steps.ptr[i] / (to - from);
            y[b] += p->curve_loss.ptr[i] / (to - from);
        }
    }
    return (PlotSeries){.name = p->label, .x = x, .y = y, .count = buckets};
}

static void add_curves(const Sweep *s, Report *r) {
    PlotSeries *series = arena_array(r->arena, PlotSeries, s->done);
    for (uint32_t i = 0; i < s->done; i++)
        series[i] = smooth(r->arena, &s->points[i]);
    report_heading(r, "Loss curves");
    Plot plot = {.kind = PLOT_LINES,
                 .title = STR("training loss, after the first eighth"),
                 .x_label = STR("step"),
                 .y_label = STR("loss"),
                 .series = series,
                 .series_count = s->done,
                 .width = 2 * WIDTH,
                 .height = HEIGHT + 60};
    report_picture(r, "curves", &plot);
}

static void add_tuning(Sweep *s, Report *r) {
    const SweepPoint *p = &s->points[0];
    Model model;
    Graph *g;
    if (!model_load(r->diag, r->arena, p->model, (Settings){p->settings.ptr, p->settings.len},
                    &model) ||
        !cli_graph(s->cli, &model, ENTRY_TRAIN, cli_bindings(s->cli, TRAIN_BATCH), &g))
        return;
    TuningHistory h = tuning_history(s->cli, s->machine.hash, g);
    if (h.count < 2) return;
    report_heading(r, "Tuning");
    report_text(
        r,
        "%u trials on this machine for %.*s: its tuned kernels together went from %.2f ms "
        "to %.2f ms a step.",
        h.count, STR_ARG(p->label), h.ms[0], h.ms[h.count - 1]);
    PlotSeries series = {.y = h.ms, .count = h.count};
    Plot plot = {.kind = PLOT_LINES,
                 .title = STR("kernels of a training step, best schedules known"),
                 .x_label = STR("trial"),
                 .y_label = STR("ms a step"),
                 .series = &series,
                 .series_count = 1,
                 .width = 2 * WIDTH,
                 .height = HEIGHT};
    report_picture(r, "tuning", &plot);
}

bool sweep_report_write(Sweep *s, Str *path) {
    Cli *cli = s->cli;
    const Options *o = &cli->options;
    Report r;
    report_begin(&r, &cli->diag, &cli->arena, o->output,
                 str_printf(&cli->arena, "Sweep of %.*s", STR_ARG(o->model)));
    report_text(&r, "On %.*s. Times are medians with 95 %% intervals.",
                STR_ARG(machine_text(&cli->arena, &s->machine)));
    if (s->wanted[METRIC_LOSS])
        report_text(
            &r,
            "Each variant was trained for %lld steps with %lld seed%s from %llu on; with a seed "
            "all had the same batches. The loss of a run is the mean over the last tenth of its "
            "steps. In pictures, bars are 95 %% intervals of the difference to the first "
            "variant, seed by seed.",
            (long long)s->steps, (long long)o->seeds, o->seeds > 1 ? "s" : "",
            (unsigned long long)o->seed);
    add_table(s, &r);
    report_heading(&r, "Measurements");
    report_pictures(&r);
    for (size_t i = 0; i < sizeof panels / sizeof *panels; i++)
        if (s->wanted[panels[i].metric]) add_panel(s, &r, &panels[i]);
    report_pictures_end(&r);
    if (s->wanted[METRIC_LOSS]) {
        sweep_fronts(s, &r);
        add_curves(s, &r);
    }
    // A point has parameters counted if its training step was compiled.
    if (s->points[0].parameters) add_tuning(s, &r);
    return report_finish(&r, path);
}
