// bench_step.c: runs one entry of an artifact, step by step, for a driver that alternates
// between several programs.
//
//     bench_step X.sta ENTRY [THREADS]
//
// Prints a line of JSON when it is warm; then, for each line on stdin, runs the entry once and
// prints its seconds. Ends with its input. tests/peers/worker.py speaks the same protocol.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "runtime/device.h"
#include "runtime/names.h"

enum { WARM_UP = 4 };

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

static bool step(Diag *diag, Session *s, const PlanEntry *entry, double *seconds) {
    double start = clock_seconds();
    if (!session_run(diag, s, entry)) return false;
    *seconds = clock_seconds() - start;
    return true;
}

static bool serve(Diag *diag, Session *s, const PlanEntry *entry) {
    double seconds;
    for (int i = 0; i < WARM_UP; i++)
        if (!step(diag, s, entry, &seconds)) return false;
    puts("{\"peer\": \"strata\"}");
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        if (!step(diag, s, entry, &seconds)) return false;
        printf("%.9f\n", seconds);
        fflush(stdout);
    }
    return true;
}

int main(int argc, char **argv) {
    int64_t threads = 2;
    if (argc < 3 || argc > 4 ||
        (argc > 3 && (!str_to_int64(str_of(argv[3]), &threads) || threads < 1))) {
        fputs("usage: bench_step X.sta ENTRY [THREADS]\n", stderr);
        return 2;
    }
    Arena arena;
    Diag diag;
    arena_init(&arena);
    diag_init(&diag, &arena);
    Plan *plan;
    Session *s;
    if (!plan_read(&diag, &arena, str_of(argv[1]), &plan)) return fail(&diag);
    const PlanEntry *entry = plan_entry(plan, argv[2]);
    if (!entry) {
        fprintf(stderr, "bench_step: %s has no entry '%s'\n", argv[1], argv[2]);
        return 1;
    }
    if (!session_open(&diag, plan, (uint32_t)threads, &s)) return fail(&diag);
    session_init(s, 1);
    fill_inputs(s);
    bool good = serve(&diag, s, entry);
    session_close(s);
    int rc = good ? 0 : fail(&diag);
    arena_release(&arena);
    return rc;
}
