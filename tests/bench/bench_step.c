// bench_step.c: runs one entry of an artifact, step by step, for a driver that alternates
// between several programs.
//
//     bench_step X.sta ENTRY [THREADS [KERNELS]]
//
// Prints a line of JSON when it is warm; then, for each line on stdin, runs the entry once and
// prints its seconds. Ends with its input. tests/peers/worker.py speaks the same protocol.
// KERNELS are beginnings of names, separated by commas; then only their kernels' time counts,
// as the device measures it, and the JSON says what they compute and move. "largest" is the
// kernel with the most operations, "all" every kernel. With "each" the whole run counts, and
// behind its seconds stand those of each kernel. "read" runs none: a step then reads as many
// bytes as the entry has parameters and states, which is the floor of decoding on a CPU.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/peaks.h"
#include "base/clock.h"
#include "base/rng.h"
#include "codegen/emitter.h"
#include "runtime/cpu/pool.h"
#include "runtime/device.h"
#include "runtime/names.h"
#include "runtime/session.h"

enum { WARM_UP = 4 };
static const double LONG = 1;  // seconds, after which there was enough of it

typedef struct {
    Diag diag;
    Session *session;
    const PlanEntry *entry;
    bool *counted;  // of each step; NULL: the whole run counts
    bool says_each;
    double flops, bytes;
    uint32_t kernels;
    // To read instead of running; NULL: run.
    Pool *pool;
    Mapping data;
    int form;
} Bench;

static int fail(const Diag *diag) {
    StrBuf text = {0};
    diag_render(diag, &text);
    fprintf(stderr, "bench_step: %s\n", text.ptr ? text.ptr : "failed");
    strbuf_release(&text);
    return 1;
}

static double input_value(const PlanTensor *t, int64_t i) {
    if (str_eq(t->name, STR(NAME_LR))) return 1e-3;
    if (str_eq(t->name, STR(NAME_STEP))) return 1;
    if (str_eq(t->name, STR(NAME_CLIP))) return INFINITY;
    // A token in the middle of its context.
    if (str_eq(t->name, STR(NAME_POSITION))) return floor(0.5 * (double)t->index_below);
    if (str_eq(t->name, STR(NAME_COUNT))) return 1;
    if (t->index_below) return (double)(rng_u64(1, (uint64_t)i) % (uint64_t)t->index_below);
    return rng_normal(1, (uint64_t)i);
}

static void fill_inputs(Session *s) {
    const Plan *plan = session_plan(s);
    for (uint32_t n = 0; n < plan->tensor_count; n++) {
        const PlanTensor *t = &plan->tensors[n];
        if (t->kind != TENSOR_INPUT) continue;
        void *data = session_write(s, n);
        for (int64_t i = 0, count = plan_tensor_count(t); i < count; i++)
            dtype_set(t->type, data, i, input_value(t, i));
    }
}

// ---- which kernels count

static bool begins_as_one(Str name, const char *list) {
    while (*list) {
        size_t n = strcspn(list, ",");
        if (n && str_starts(name, (Str){list, n})) return true;
        list += n + (list[n] == ',');
    }
    return false;
}

static double step_flops(const Plan *plan, const PlanStep *step) {
    const PlanGemm *g = &step->gemm;
    if (step->kind == STEP_LAUNCH) return plan->kernels[step->kernel].flops;
    if (step->kind != STEP_GEMM) return 0;
    return 2.0 * (double)g->m * (double)g->n * (double)g->k *
           (double)(g->batch[0] * g->batch[1]);
}

static void count_step(Bench *b, uint32_t i) {
    const Plan *plan = session_plan(b->session);
    const PlanStep *step = &b->entry->steps[i];
    b->counted[i] = true;
    b->kernels++;
    b->flops += step_flops(plan, step);
    if (step->kind == STEP_LAUNCH) b->bytes += plan->kernels[step->kernel].bytes;
}

static bool choose_steps(Bench *b, Arena *arena, const char *kernels) {
    const Plan *plan = session_plan(b->session);
    b->counted = arena_array(arena, bool, b->entry->step_count);
    uint32_t largest = 0;
    for (uint32_t i = 0; i < b->entry->step_count; i++) {
        const PlanStep *step = &b->entry->steps[i];
        if (step_flops(plan, step) > step_flops(plan, &b->entry->steps[largest])) largest = i;
        bool named = step->kind == STEP_LAUNCH &&
                     begins_as_one(plan->kernels[step->kernel].name, kernels);
        if (named || strcmp(kernels, "all") == 0) count_step(b, i);
    }
    if (strcmp(kernels, "largest") == 0) count_step(b, largest);
    session_profile(b->session, true);
    return b->kernels || diag_fail(&b->diag, FAIL_INPUT, "no kernel is called '%s'", kernels);
}

// ---- reading

// Parameters and states of the entry, each once.
static size_t kept_bytes(const Bench *b) {
    const Plan *plan = session_plan(b->session);
    size_t bytes = 0;
    for (uint32_t n = 0; n < plan->tensor_count; n++) {
        const PlanTensor *t = &plan->tensors[n];
        bool used = false;
        for (uint32_t i = 0; i < b->entry->buffer_count; i++) {
            const PlanBuffer *buffer = &b->entry->buffers[i];
            used = used || (buffer->kind == BUFFER_TENSOR && buffer->index == n);
        }
        if (used && (t->kind == TENSOR_PARAM || t->kind == TENSOR_STATE))
            bytes += (size_t)plan_tensor_bytes(t);
    }
    return bytes;
}

static double read_seconds(const Bench *b, int form) {
    return peak_read_seconds(b->pool, cpu_level_here(), form, b->data.data, b->data.bytes);
}

// Which way of reading is fastest depends on the machine.
static bool choose_reading(Bench *b, uint32_t threads) {
    enum { TRIES = 5 };
    size_t bytes = kept_bytes(b);
    if (!pool_open(&b->diag, threads, &b->pool)) return false;
    if (!mapping_open(&b->diag, bytes, &b->data)) return false;
    memset(b->data.data, 1, bytes);
    b->bytes = (double)bytes;
    double best = INFINITY;
    for (int i = 0; i < TRIES * PEAK_READ_FORMS; i++) {
        double seconds = read_seconds(b, i % PEAK_READ_FORMS);
        if (seconds >= best) continue;
        best = seconds;
        b->form = i % PEAK_READ_FORMS;
    }
    return true;
}

// ---- running

static bool step(Bench *b, double *seconds) {
    if (b->pool) {
        *seconds = read_seconds(b, b->form);
        return true;
    }
    double start = clock_seconds();
    if (!session_run(&b->diag, b->session, b->entry)) return false;
    *seconds = clock_seconds() - start;
    if (!b->counted) return true;
    uint32_t count;
    const int64_t *ns = session_step_ns(b->session, &count);
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        if (b->counted[i]) sum += ns[i];
    *seconds = (double)sum * 1e-9;
    return true;
}

static void say_each(const Bench *b) {
    uint32_t count;
    const int64_t *ns = session_step_ns(b->session, &count);
    for (uint32_t i = 0; i < count; i++)
        printf(" %.9f", (double)ns[i] * 1e-9);
}

static bool serve(Bench *b) {
    double seconds, spent = 0;
    for (int i = 0; i < WARM_UP && spent < LONG; i++, spent += seconds)
        if (!step(b, &seconds)) return false;
    printf("{\"peer\": \"strata\", \"steps\": %u, \"kernels\": %u, \"flops\": %.0f, "
           "\"bytes\": %.0f}\n",
           b->entry->step_count, b->kernels, b->flops, b->bytes);
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        if (!step(b, &seconds)) return false;
        printf("%.9f", seconds);
        if (b->says_each) say_each(b);
        printf("\n");
        fflush(stdout);
    }
    return true;
}

int main(int argc, char **argv) {
    int64_t threads = 2;
    if (argc < 3 || argc > 5 ||
        (argc > 3 && (!str_to_int64(str_of(argv[3]), &threads) || threads < 1))) {
        fputs("usage: bench_step X.sta ENTRY [THREADS [KERNELS]]\n", stderr);
        return 2;
    }
    Arena arena;
    Bench b = {0};
    arena_init(&arena);
    diag_init(&b.diag, &arena);
    Plan *plan;
    if (!plan_read(&b.diag, &arena, str_of(argv[1]), &plan)) return fail(&b.diag);
    b.entry = plan_entry(plan, argv[2]);
    if (!b.entry) {
        fprintf(stderr, "bench_step: %s has no entry '%s'\n", argv[1], argv[2]);
        return 1;
    }
    if (!session_open(&b.diag, plan, (uint32_t)threads, &b.session)) return fail(&b.diag);
    session_init(b.session, 1);
    fill_inputs(b.session);
    bool reads = argc == 5 && strcmp(argv[4], "read") == 0, good = true;
    b.says_each = argc == 5 && strcmp(argv[4], "each") == 0;
    if (b.says_each)
        session_profile(b.session, true);
    else if (reads)
        good = choose_reading(&b, (uint32_t)threads);
    else if (argc == 5)
        good = choose_steps(&b, &arena, argv[4]);
    good = good && serve(&b);
    session_close(b.session);
    pool_close(b.pool);
    mapping_close(&b.data);
    int rc = good ? 0 : fail(&b.diag);
    arena_release(&arena);
    return rc;
}
