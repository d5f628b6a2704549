// sweep_front.c: loss against what it costs, with the Pareto front.
#include <math.h>

#include "cli/report.h"
#include "cli/sweep.h"

const char *metric_name(Metric metric) {
    static const char *const names[METRIC_COUNT] = {"step",   "prefill", "decode",
                                                    "memory", "traffic", "loss"};
    return names[metric];
}

double sweep_cost(const SweepPoint *p, Metric metric) {
    double mib = 1.0 / (1 << 20);
    switch (metric) {
    case METRIC_STEP: return p->step_ms.median;
    case METRIC_PREFILL: return p->prefill_ms.median;
    case METRIC_DECODE: return p->decode_ms.median;
    case METRIC_MEMORY: return p->memory_bytes * mib;
    case METRIC_TRAFFIC: return p->traffic_bytes * mib;
    case METRIC_LOSS:
    case METRIC_COUNT: break;
    }
    return NAN;
}

double sweep_loss(const SweepPoint *p) {
    return isnan(p->eval_loss.mean) ? p->loss.mean : p->eval_loss.mean;
}

Interval sweep_loss_bar(const SweepPoint *p) {
    const SeedMean *d = &p->against_first;
    double loss = sweep_loss(p);
    return (Interval){loss, loss + d->low - d->mean, loss + d->high - d->mean};
}

bool sweep_on_front(const Sweep *s, uint32_t at, Metric metric) {
    double cost = sweep_cost(&s->points[at], metric), loss = sweep_loss(&s->points[at]);
    for (uint32_t i = 0; i < s->done; i++) {
        double c = sweep_cost(&s->points[i], metric), l = sweep_loss(&s->points[i]);
        if (c <= cost && l <= loss && (c < cost || l < loss)) return false;
    }
    return true;
}

// ---- pictures

typedef struct {
    double *x, *y, *low, *high;
    Str *names;
    uint32_t count;
} Cloud;

static Cloud cloud_new(Arena *arena, uint32_t most) {
    return (Cloud){.x = arena_array(arena, double, most),
                   .y = arena_array(arena, double, most),
                   .low = arena_array(arena, double, most),
                   .high = arena_array(arena, double, most),
                   .names = arena_array(arena, Str, most)};
}

// Keeps the cloud in the order of x, so that a line through it is the front.
static void cloud_add(Cloud *c, const SweepPoint *p, double x) {
    uint32_t at = c->count++;
    for (; at > 0 && c->x[at - 1] > x; at--) {
        c->x[at] = c->x[at - 1], c->y[at] = c->y[at - 1], c->low[at] = c->low[at - 1];
        c->high[at] = c->high[at - 1], c->names[at] = c->names[at - 1];
    }
    Interval loss = sweep_loss_bar(p);
    c->x[at] = x, c->y[at] = loss.median, c->low[at] = loss.low, c->high[at] = loss.high;
    c->names[at] = p->label;
}

static PlotSeries series_of(const Cloud *c, Str name, bool spread) {
    return (PlotSeries){.name = name,
                        .x = c->x,
                        .y = c->y,
                        .low = spread ? c->low : NULL,
                        .high = spread ? c->high : NULL,
                        .names = c->names,
                        .count = c->count};
}

static void add_picture(const Sweep *s, Report *r, Metric metric, Str x_label) {
    enum { WIDTH = 560, HEIGHT = 380 };
    Cloud front = cloud_new(r->arena, s->done), rest = cloud_new(r->arena, s->done);
    for (uint32_t i = 0; i < s->done; i++)
        cloud_add(sweep_on_front(s, i, metric) ? &front : &rest, &s->points[i],
                  sweep_cost(&s->points[i], metric));
    bool spread = s->cli->options.seeds > 1;
    PlotSeries series[] = {series_of(&rest, STR("dominated"), spread),
                           series_of(&front, STR("Pareto front"), spread),
                           {.x = front.x, .y = front.y, .count = front.count}};
    Plot plot = {.kind = PLOT_POINTS,
                 .title = str_printf(r->arena, "loss against %s", metric_name(metric)),
                 .x_label = x_label,
                 .y_label = STR("loss"),
                 .series = series,
                 .series_count = 3,
                 .width = WIDTH,
                 .height = HEIGHT};
    report_picture(r, arena_printf(r->arena, "front_%s", metric_name(metric)), &plot);
}

void sweep_fronts(const Sweep *s, Report *r) {
    static const char *const labels[METRIC_LOSS] = {"ms a training step", "ms a prefill",
                                                    "ms a token", "MiB of memory",
                                                    "MiB of traffic a step"};
    report_heading(r, "Loss against cost");
    report_text(r, "On the Pareto front are the variants that no other beats: none is cheaper "
                   "without a greater loss, or better without a greater cost.");
    report_pictures(r);
    for (uint32_t m = 0; m < METRIC_LOSS; m++)
        if (s->wanted[m]) add_picture(s, r, m, str_of(labels[m]));
    report_pictures_end(r);
}
