// bench.c: runs an entry again and again, every other time with the clock on each step.
#include "autotune/bench.h"

#include "autotune/library.h"
#include "autotune/peaks.h"
#include "base/check.h"
#include "base/clock.h"

enum { WARM_UP = 2, LEAST_RUNS = 5, MOST_RUNS = MEASURE_SAMPLES_MAX };

typedef struct {
    const BenchRequest *request;
    double *whole;  // (runs)
    double *steps;  // (steps, MOST_RUNS)
    uint32_t runs;
} Samples;

static bool stopped(const BenchRequest *r) { return r->stop && *r->stop; }

// One run as it is, one with the steps timed.
static bool run_pair(Diag *diag, Samples *s) {
    const BenchRequest *r = s->request;
    session_profile(r->session, false);
    int64_t start = clock_ns();
    if (!session_run(diag, r->session, r->entry)) return false;
    s->whole[s->runs] = (double)(clock_ns() - start);
    session_profile(r->session, true);
    bool ok = session_run(diag, r->session, r->entry);
    session_profile(r->session, false);
    if (!ok) return false;
    uint32_t count;
    const int64_t *step_ns = session_step_ns(r->session, &count);
    for (uint32_t i = 0; i < count; i++)
        s->steps[(size_t)i * MOST_RUNS + s->runs] = (double)step_ns[i];
    s->runs++;
    return true;
}

static bool sample(Diag *diag, Samples *s) {
    for (int i = 0; i < WARM_UP && !stopped(s->request); i++)
        if (!session_run(diag, s->request->session, s->request->entry)) return false;
    double end = clock_seconds() + s->request->seconds;
    while (s->runs < MOST_RUNS && (s->runs < LEAST_RUNS || clock_seconds() < end)) {
        if (stopped(s->request)) break;
        if (!run_pair(diag, s)) return false;
    }
    return s->runs > 0 || diag_fail(diag, FAIL_INTERRUPTED, "interrupted");
}

// What the step must do at least.
static BenchStep describe(const BenchRequest *r, const PlanStep *step) {
    const Plan *plan = session_plan(r->session);
    BenchStep out = {.kind = step->kind, .line = step->line};
    double f32_flops = 0;
    switch (step->kind) {
    case STEP_LAUNCH:
        out.name = plan->kernels[step->kernel].name;
        out.flops = plan->kernels[step->kernel].flops;
        f32_flops = plan->kernels[step->kernel].f32_flops;
        out.bytes = plan->kernels[step->kernel].bytes;
        break;
    case STEP_CLEAR:
        out.name = STR("clear");
        out.bytes = (double)r->entry->buffers[step->args[0]].bytes;
        break;
    case STEP_COPY:
        out.name = STR("copy");
        out.bytes = 2 * (double)r->entry->buffers[step->args[1]].bytes;
        break;
    case STEP_GEMM:
        out.name = STR("gemm");
        out.flops = f32_flops = gemm_flops(&step->gemm);
        out.bytes = gemm_bytes(&step->gemm);
        break;
    }
    out.least_ns = floor_ns(&r->peaks, f32_flops, out.bytes);
    return out;
}

bool bench_plan(Diag *diag, Arena *arena, const BenchRequest *request, BenchReport *out) {
    uint32_t count = request->entry->step_count;
    Samples s = {.request = request,
                 .whole = arena_array(arena, double, MOST_RUNS),
                 .steps = arena_array(arena, double, (size_t)count *MOST_RUNS)};
    *out = (BenchReport){.step_count = count};
    if (!sample(diag, &s)) return false;
    out->runs = s.runs;
    out->whole = interval_of(s.whole, s.runs);
    out->steps = arena_array(arena, BenchStep, count);
    for (uint32_t i = 0; i < count; i++) {
        BenchStep *step = &out->steps[i];
        *step = describe(request, &request->entry->steps[i]);
        step->time = interval_of(&s.steps[(size_t)i * MOST_RUNS], s.runs);
        out->flops += step->flops;
        out->bytes += step->bytes;
        out->least_ns += step->least_ns;
    }
    return true;
}
