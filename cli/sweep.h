// sweep.h: the same measurements of several variants of a model.
#pragma once

#include "autotune/measure.h"
#include "cli/machine.h"
#include "cli/report.h"
#include "cli/seed_mean.h"
#include "cli/training.h"

typedef enum {
    METRIC_STEP,
    METRIC_PREFILL,
    METRIC_DECODE,
    METRIC_MEMORY,
    METRIC_TRAFFIC,
    METRIC_LOSS,
    METRIC_COUNT
} Metric;

// One variant and what was measured of it.
typedef struct {
    Str label;  // "block=4", or the name of another model's file
    Str model;
    SettingList settings;  // those of the command line, then those varied
    const Setting *varied;
    uint32_t varied_count;
    int64_t parameters;
    Interval step_ms, prefill_ms, decode_ms;
    double memory_bytes, traffic_bytes;  // of a training step
    SeedMean loss, eval_loss;
    // The last of the two that there is, less the first variant's, seed by seed: equal seeds
    // have equal batches, so this says more than the losses' own intervals.
    SeedMean against_first;
    Vec(double) losses, eval_losses;      // of each seed
    Vec(double) curve_steps, curve_loss;  // mean over the seeds
} SweepPoint;

typedef struct {
    Cli *cli;
    bool wanted[METRIC_COUNT];
    int64_t steps;
    Machine machine;
    SweepPoint *points;
    uint32_t count, done;
} Sweep;

// Measures points[s->done].
MUST_USE bool sweep_measure(Sweep *s);

// What a metric but the loss costs, and the loss that it is traded for (on held-out data if
// there is any).
double sweep_cost(const SweepPoint *p, Metric metric);
double sweep_loss(const SweepPoint *p);
// That loss with the interval of its difference to the first variant.
Interval sweep_loss_bar(const SweepPoint *p);
// No variant costs no more and has no greater loss, but for an equal one.
bool sweep_on_front(const Sweep *s, uint32_t at, Metric metric);
const char *metric_name(Metric metric);

void sweep_json(const Sweep *s, JsonWriter *w);
void sweep_text(const Sweep *s, StrBuf *out);
// Pictures of the loss against each cost that was measured, with the Pareto front.
void sweep_fronts(const Sweep *s, Report *r);
// results.json, and report.html with its pictures.
MUST_USE bool sweep_results_write(Sweep *s);
MUST_USE bool sweep_report_write(Sweep *s, Str *path);
