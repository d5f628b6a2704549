// sweep.h: the same measurements of several variants of a model.
#pragma once

#include "autotune/measure.h"
#include "cli/machine.h"
#include "cli/training.h"

typedef enum {
    METRIC_STEP,
    METRIC_PREFILL,
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
    Interval step_ms, prefill_ms;
    double memory_bytes, traffic_bytes;  // of a training step
    double loss, eval_loss;              // NAN: not measured
    Vec(double) curve_steps, curve_loss;
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

void sweep_json(const Sweep *s, JsonWriter *w);
void sweep_text(const Sweep *s, StrBuf *out);
// results.json, and report.html with its pictures.
MUST_USE bool sweep_results_write(Sweep *s);
MUST_USE bool sweep_report_write(Sweep *s, Str *path);
