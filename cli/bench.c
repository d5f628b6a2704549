// bench.c: timing an entry. Kernels are timed inside whole runs, so that each finds the caches
// as it will find them in use; a kernel that runs in many layers is one line.
#include "cli/bench.h"

#include <math.h>
#include <stdlib.h>

#include "autotune/library.h"
#include "base/clock.h"
#include "base/rng.h"
#include "cli/pipeline.h"
#include "runtime/names.h"

enum { WARM_UP = 2, LEAST_RUNS = 5 };

// ---- inputs

// Scalars of the optimiser are chosen so that parameters stay as they are.
static double input_value(const PlanTensor *t, int64_t i) {
    if (str_eq(t->name, STR(NAME_LR))) return 0;
    if (str_eq(t->name, STR(NAME_STEP)) || str_eq(t->name, STR(NAME_CLIP))) return 1;
    // Half of the context has been read, and all of the chunk is to be.
    if (str_eq(t->name, STR(NAME_POSITION))) return floor(0.5 * (double)t->index_below);
    if (str_eq(t->name, STR(NAME_COUNT))) return PREFILL_CHUNK;
    if (t->index_below) return floor(rng_uniform(1, (uint64_t)i) * (double)t->index_below);
    return dtype_is_float(t->type) ? rng_normal(1, (uint64_t)i) : 0;
}

static void fill_inputs(Session *s) {
    const Plan *plan = session_plan(s);
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        if (t->kind != TENSOR_INPUT) continue;
        int64_t n = plan_tensor_count(t);
        void *data = session_write(s, i);
        for (int64_t k = 0; k < n; k++)
            dtype_set(t->type, data, k, input_value(t, k));
    }
}

// ---- steps

static double step_flops(const Plan *plan, const PlanStep *step) {
    if (step->kind == STEP_GEMM) return gemm_flops(&step->gemm);
    return step->kind == STEP_LAUNCH ? plan->kernels[step->kernel].flops : 0;
}

static double step_f32_flops(const Plan *plan, const PlanStep *step) {
    return step->kind == STEP_LAUNCH ? plan->kernels[step->kernel].f32_flops
                                     : step_flops(plan, step);
}

static double step_bytes(const Plan *plan, const PlanEntry *entry, const PlanStep *step) {
    switch (step->kind) {
    case STEP_LAUNCH: return plan->kernels[step->kernel].bytes;
    case STEP_GEMM: return gemm_bytes(&step->gemm);
    case STEP_CLEAR: return (double)entry->buffers[step->args[0]].bytes;
    case STEP_COPY: return 2 * (double)entry->buffers[step->args[1]].bytes;
    }
    return 0;
}

static Str step_name(Arena *arena, const Plan *plan, const PlanStep *step) {
    const PlanGemm *g = &step->gemm;
    switch (step->kind) {
    case STEP_LAUNCH: return plan->kernels[step->kernel].name;
    case STEP_GEMM:
        return str_printf(arena, "library %lldx%lldx%lld", (long long)g->m, (long long)g->n,
                          (long long)g->k);
    case STEP_CLEAR: return STR("clear");
    case STEP_COPY: return STR("copy");
    }
    return (Str){0};
}

// kernel_of[i]: the line of step i.
static void list_kernels(Arena *arena, const BenchRequest *request, Bench *out,
                         uint32_t *kernel_of) {
    const Plan *plan = session_plan(request->session);
    const PlanEntry *entry = request->entry;
    Map lines = {0};
    out->kernels = arena_array(arena, BenchKernel, entry->step_count);
    for (uint32_t i = 0; i < entry->step_count; i++) {
        const PlanStep *step = &entry->steps[i];
        Str name = step_name(arena, plan, step);
        uint64_t at = out->kernel_count;
        if (!map_get(&lines, name, &at)) {
            map_set(arena, &lines, name, at);
            out->kernels[out->kernel_count++] = (BenchKernel){.name = name};
        }
        BenchKernel *k = &out->kernels[at];
        k->launches++;
        if (step->kind == STEP_LAUNCH)
            k->registers = plan->kernels[step->kernel].launch.registers;
        double bytes = step_bytes(plan, entry, step);
        k->flops += step_flops(plan, step);
        k->bytes += bytes;
        k->floor_ns += floor_ns(&request->peaks, step_f32_flops(plan, step), bytes);
        kernel_of[i] = (uint32_t)at;
    }
}

static int longer_first(const void *a, const void *b) {
    const BenchKernel *x = a, *y = b;
    return (x->ns.median < y->ns.median) - (x->ns.median > y->ns.median);
}

// ---- runs

typedef struct {
    double *whole;    // per run
    double *kernels;  // (kernel, run)
} Samples;

static void note_run(const Session *s, const uint32_t *kernel_of, uint32_t run, int64_t ns,
                     const Samples *out) {
    uint32_t count;
    const int64_t *steps = session_step_ns(s, &count);
    out->whole[run] = (double)ns;
    for (uint32_t i = 0; i < count; i++)
        out->kernels[(size_t)kernel_of[i] * MEASURE_SAMPLES_MAX + run] += (double)steps[i];
}

bool bench_entry(Diag *diag, Arena *arena, const BenchRequest *request, Bench *out) {
    Session *s = request->session;
    const PlanEntry *entry = request->entry;
    *out = (Bench){0};
    uint32_t *kernel_of = arena_array(arena, uint32_t, entry->step_count);
    list_kernels(arena, request, out, kernel_of);
    Samples samples = {arena_array(arena, double, MEASURE_SAMPLES_MAX),
                       arena_array(arena, double, out->kernel_count *MEASURE_SAMPLES_MAX)};
    session_init(s, 0);
    fill_inputs(s);
    for (uint32_t i = 0; i < WARM_UP; i++)
        if (!session_run(diag, s, entry)) return false;
    session_profile(s, true);
    double end = clock_seconds() + request->seconds;
    while (out->runs < MEASURE_SAMPLES_MAX &&
           (out->runs < LEAST_RUNS || clock_seconds() < end)) {
        int64_t start = clock_ns();
        if (!session_run(diag, s, entry)) return false;
        note_run(s, kernel_of, out->runs, clock_ns() - start, &samples);
        out->runs++;
    }
    session_profile(s, false);
    out->ns = interval_of(samples.whole, out->runs);
    for (uint32_t i = 0; i < out->kernel_count; i++) {
        BenchKernel *k = &out->kernels[i];
        k->ns = interval_of(samples.kernels + (size_t)i * MEASURE_SAMPLES_MAX, out->runs);
        out->flops += k->flops;
        out->bytes += k->bytes;
        out->floor_ns += k->floor_ns;
    }
    if (out->kernel_count)
        qsort(out->kernels, out->kernel_count, sizeof *out->kernels, longer_first);
    return true;
}
