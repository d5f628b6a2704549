// bench_rows.c: speed of generated row kernels (attention over depth, norms, softmax, AdamW)
// beside the speed at which this machine reads memory.
//
//     bench_rows [--json] [--steps] [--threads N] [--seconds S] [--part N] [--only NAME]
//
// fraction = (least traffic / read bandwidth) / time. Least traffic: every leaf read once,
// every output and update written once; where rows go from kernel to kernel, the sum of that
// over the kernels. The bandwidth is that of reading as many bytes by as many threads, in the
// best of a few forms (autotune/peaks.c), measured in turns with the kernels; of each the
// median counts. Bytes that are written past the caches cost less than bytes read, so a kernel
// that writes much may have more than 1. With --part only one Nth of the rows. Every case is
// first compared with the reference evaluator, with few rows.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "autotune/graph_to_plan.h"
#include "autotune/peaks.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "ir/graph/evaluate.h"
#include "runtime/cpu/pool.h"
#include "runtime/device.h"
#include "tests/bench/row_cases.h"

enum { REPEATS_MOST = 200, CHECK_ROWS = 16 };

// ---- running

typedef struct {
    Arena arena;
    Diag diag;
    uint32_t threads;
    double budget;  // seconds a case
    int64_t part;   // of the rows: one so many
    bool steps;     // print each kernel's time
    Pool *pool;     // of plain reading
} Bench;

static void must(Bench *b, bool ok) {
    if (ok) return;
    StrBuf text = {0};
    diag_render(&b->diag, &text);
    fprintf(stderr, "bench_rows: %s", text.ptr ? text.ptr : "failed\n");
    exit(1);
}

typedef struct {
    Graph *graph;
    Plan *plan;
    Session *session;
    int64_t bytes;  // least traffic
    uint32_t kernels;
} Ready;

static int64_t bytes_of(const Graph *g, ValueId v) {
    return graph_elements(g, v) * (int64_t)dtype_bytes(graph_value(g, v)->type);
}

static int64_t least_bytes(const Graph *g) {
    int64_t bytes = 0;
    for (uint32_t i = 0; i < g->leaves.len; i++)
        bytes += bytes_of(g, g->leaf_values.ptr[i]);
    for (uint32_t i = 0; i < g->outputs.len; i++)
        bytes += bytes_of(g, g->outputs.ptr[i].value);
    for (uint32_t i = 0; i < g->updates.len; i++)
        bytes += bytes_of(g, g->updates.ptr[i].value);
    return bytes;
}

// Of every kernel what it reads and writes, each element once.
static int64_t kernels_bytes(const Plan *plan) {
    double bytes = 0;
    for (uint32_t i = 0; i < plan->entries[0].step_count; i++) {
        const PlanStep *step = &plan->entries[0].steps[i];
        if (step->kind == STEP_LAUNCH) bytes += (double)plan->kernels[step->kernel].bytes;
    }
    return (int64_t)bytes;
}

static TensorKind kind_of(GraphOp op) {
    return op == OP_PARAM ? TENSOR_PARAM : op == OP_STATE ? TENSOR_STATE : TENSOR_INPUT;
}

// Of the CPU, where reading and writing are in one place.
static void *tensor(const Ready *r, TensorKind kind, Str name) {
    int at = plan_tensor_find(r->plan, kind, name);
    return at < 0 ? NULL : session_write(r->session, (uint32_t)at);
}

static void *leaf_data(const Ready *r, uint32_t i) {
    const Leaf *l = &r->graph->leaves.ptr[i];
    return tensor(r, kind_of(l->kind), l->path);
}

// Scalars and states (second moments) are positive.
static void fill(Ready *r, Evaluation *reference) {
    const Graph *g = r->graph;
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        const Leaf *l = &g->leaves.ptr[i];
        int64_t n = graph_elements(g, g->leaf_values.ptr[i]);
        void *x = leaf_data(r, i);
        double *copy = reference ? evaluation_leaf(reference, i) : NULL;
        for (int64_t k = 0; k < n; k++) {
            double u = rng_uniform(i + 1, (uint64_t)k);
            dtype_set(l->type, x, k, l->kind == OP_STATE || l->rank == 0 ? u + 0.1 : 2 * u - 1);
            if (copy) copy[k] = dtype_get(l->type, x, k);
        }
    }
}

static Ready ready_new(Bench *b, uint32_t number, int64_t rows) {
    RowGraph made = row_graph(&b->arena, number, rows);
    Ready r = {.graph = made.graph};
    PlanRequestEntry entry = {STR("run"), r.graph};
    PlanRequest request = {.model = STR("rows"),
                           .target = {.level = cpu_level_here(), .threads = b->threads},
                           .run_threads = b->threads,
                           .entries = &entry,
                           .entry_count = 1};
    must(b, graph_to_plan(&b->diag, &b->arena, &request, &r.plan));
    must(b, session_open(&b->diag, r.plan, b->threads, &r.session));
    r.bytes = made.several_kernels ? kernels_bytes(r.plan) : least_bytes(r.graph);
    r.kernels = r.plan->entries[0].step_count;
    return r;
}

static void run(Bench *b, const Ready *r) {
    must(b, session_run(&b->diag, r->session, &r->plan->entries[0]));
}

typedef struct {
    const double *expected;
    const void *got;
    DType type;
    int64_t count;
    double tolerance;  // of the largest element
} Comparison;

static void compare(const char *name, const Comparison *c) {
    double largest = 0, error = 0;
    for (int64_t i = 0; i < c->count; i++) {
        largest = fmax(largest, fabs(c->expected[i]));
        error = fmax(error, fabs(c->expected[i] - dtype_get(c->type, c->got, i)));
    }
    if (error <= c->tolerance * largest) return;
    fprintf(stderr, "bench_rows: %s: wrong result\n", name);
    exit(1);
}

static void check(Bench *b, uint32_t number) {
    const RowCase *about = row_case(number);
    Ready r = ready_new(b, number, CHECK_ROWS);
    Evaluation reference;
    evaluation_init(&reference, r.graph, &b->arena);
    fill(&r, &reference);
    run(b, &r);
    const Graph *g = r.graph;
    // Numbers in bf16 have 8 bits; a few roundings follow one another.
    Comparison c = {.tolerance = about->storage == DTYPE_BF16 ? 0.02 : 1e-5};
    for (uint32_t i = 0; i < g->outputs.len; i++) {
        ValueId v = g->outputs.ptr[i].value;
        c.expected = evaluation_value(&reference, v);
        c.got = tensor(&r, TENSOR_OUTPUT, g->outputs.ptr[i].name);
        c.type = graph_value(g, v)->type;
        c.count = graph_elements(g, v);
        compare(about->name, &c);
    }
    for (uint32_t i = 0; i < g->updates.len; i++) {
        ValueId v = g->updates.ptr[i].value;
        c.expected = evaluation_value(&reference, v);
        c.got = leaf_data(&r, g->updates.ptr[i].leaf);
        c.type = graph_value(g, v)->type;
        c.count = graph_elements(g, v);
        compare(about->name, &c);
    }
    session_close(r.session);
}

// ---- plain reading

// In huge pages, as a session's memory.
static void *memory_new(size_t bytes) {
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) exit((perror("bench_rows"), 1));
    madvise(data, bytes, MADV_HUGEPAGE);
    memset(data, 1, bytes);
    return data;
}

// ---- one case

typedef struct {
    double time, time_least, bandwidth, bandwidth_most, fraction, compile;
    int64_t bytes;
    uint32_t kernels;
    int runs;
} Outcome;

static int by_value(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

// The second of two runs is timed: by then the other pool's threads sleep.
static double read_time(Bench *b, int form, const void *data, size_t bytes) {
    peak_read_seconds(b->pool, cpu_level_here(), form, data, bytes);
    return peak_read_seconds(b->pool, cpu_level_here(), form, data, bytes);
}

static double kernel_time(Bench *b, const Ready *r) {
    run(b, r);
    double start = clock_seconds();
    run(b, r);
    return clock_seconds() - start;
}

// Of the quickest of a few runs; on stderr.
static void steps_print(Bench *b, const Ready *r) {
    enum { RUNS = 7 };
    uint32_t count = 0;
    const int64_t *ns = NULL;
    session_profile(r->session, true);
    run(b, r);
    ns = session_step_ns(r->session, &count);
    int64_t *least = arena_array(&b->arena, int64_t, count);
    memcpy(least, ns, count * sizeof *least);
    for (int k = 1; k < RUNS; k++) {
        run(b, r);
        ns = session_step_ns(r->session, &count);
        for (uint32_t i = 0; i < count; i++)
            least[i] = ns[i] < least[i] ? ns[i] : least[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        const PlanStep *step = &r->plan->entries[0].steps[i];
        if (step->kind != STEP_LAUNCH) continue;
        const PlanKernel *k = &r->plan->kernels[step->kernel];
        fprintf(stderr, "%-32.*s %8.3f ms %7.1f MiB %6.1f GB/s\n", STR_ARG(k->name),
                (double)least[i] * 1e-6, (double)k->bytes / 1048576,
                (double)k->bytes / (double)least[i]);
    }
}

static Outcome measure(Bench *b, uint32_t number) {
    static double times[REPEATS_MOST], reads[PEAK_READ_FORMS][REPEATS_MOST];
    double start = clock_seconds();
    Ready r = ready_new(b, number, row_case(number)->rows / b->part);
    Outcome out = {.bytes = r.bytes, .kernels = r.kernels, .compile = clock_seconds() - start};
    fill(&r, NULL);
    size_t bytes = (size_t)r.bytes;
    void *data = memory_new(bytes);
    double end = clock_seconds() + b->budget;
    while (out.runs < 7 || (clock_seconds() < end && out.runs < REPEATS_MOST)) {
        for (int form = 0; form < PEAK_READ_FORMS; form++)
            reads[form][out.runs] = read_time(b, form, data, bytes);
        times[out.runs++] = kernel_time(b, &r);
    }
    if (b->steps) steps_print(b, &r);
    out.time = median(times, out.runs);
    out.time_least = times[0];
    for (int form = 0; form < PEAK_READ_FORMS; form++) {
        out.bandwidth = fmax(out.bandwidth, (double)bytes / median(reads[form], out.runs));
        out.bandwidth_most = fmax(out.bandwidth_most, (double)bytes / reads[form][0]);
    }
    out.fraction = (double)bytes / out.bandwidth / out.time;
    munmap(data, bytes);
    session_close(r.session);
    return out;
}

// ---- reports

static void row_print(const RowCase *c, const Outcome *o) {
    printf("| %s | %lld x %lld | %u | %.1f | %.3f | %.3f | %.1f | %.1f | %.2f | %.2f |\n",
           c->name, (long long)c->rows, (long long)c->cols, o->kernels,
           (double)o->bytes / 1048576, o->time * 1e3, o->time_least * 1e3,
           (double)o->bytes / o->time * 1e-9, o->bandwidth * 1e-9, o->fraction,
           (double)o->bytes / o->bandwidth_most / o->time_least);
    fflush(stdout);
}

static void row_json(JsonWriter *w, const RowCase *c, const Outcome *o) {
    json_object(w);
    json_key(w, "name"), json_string(w, str_of(c->name));
    json_key(w, "rows"), json_int(w, c->rows);
    json_key(w, "cols"), json_int(w, c->cols);
    json_key(w, "launches"), json_int(w, o->kernels);
    json_key(w, "bytes"), json_int(w, o->bytes);
    json_key(w, "runs"), json_int(w, o->runs);
    json_key(w, "seconds_median"), json_number(w, o->time);
    json_key(w, "seconds_least"), json_number(w, o->time_least);
    json_key(w, "read_bytes_per_second"), json_number(w, o->bandwidth);
    json_key(w, "fraction"), json_number(w, o->fraction);
    json_end(w);
}

typedef struct {
    bool json;
    const char *only;
} Options;

static bool option_set(Options *o, Bench *b, const char *name, const char *value) {
    int64_t threads;
    if (strcmp(name, "--threads") == 0) {
        if (!str_to_int64(str_of(value), &threads) || threads < 1) return false;
        b->threads = (uint32_t)threads;
        return true;
    }
    if (strcmp(name, "--seconds") == 0) return str_to_double(str_of(value), &b->budget);
    if (strcmp(name, "--part") == 0)
        return str_to_int64(str_of(value), &b->part) && b->part > 0;
    if (strcmp(name, "--only") != 0) return false;
    o->only = value;
    return true;
}

static Options options_read(Bench *b, int argc, char **argv) {
    Options o = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (strcmp(argv[i], "--steps") == 0)
            b->steps = true;
        else if (i + 1 < argc && option_set(&o, b, argv[i], argv[i + 1]))
            i++;
        else
            exit((fprintf(stderr,
                          "usage: bench_rows [--json] [--steps] [--threads N] [--seconds S] "
                          "[--only NAME]\n"),
                  2));
    }
    return o;
}

int main(int argc, char **argv) {
    Bench b = {.threads = 2, .budget = 1, .part = 1};
    diag_init(&b.diag, &b.arena);
    Options o = options_read(&b, argc, argv);
    must(&b, pool_open(&b.diag, b.threads, &b.pool));
    StrBuf text = {0};
    JsonWriter w;
    json_init(&w, &text, true);
    json_object(&w);
    json_key(&w, "threads"), json_int(&w, b.threads);
    json_key(&w, "rows"), json_array(&w);
    if (!o.json)
        printf(
            "%u threads; both: forward and backward, each kernel's traffic counts. What is "
            "written past the caches costs\nless than what is read, so a fraction can be "
            "above 1.\n\n| case | rows x cols | launches | MiB | ms | least ms | GB/s |"
            " read GB/s | fraction | of least |\n|---|---|---|---|---|---|---|---|---|---|\n",
            b.threads);
    for (uint32_t i = 0; row_case(i); i++) {
        if (o.only && !strstr(row_case(i)->name, o.only)) continue;
        check(&b, i);
        Outcome out = measure(&b, i);
        if (o.json)
            row_json(&w, row_case(i), &out);
        else
            row_print(row_case(i), &out);
    }
    json_end(&w);
    json_end(&w);
    if (o.json) printf("%s\n", text.ptr);
    strbuf_release(&text);
    pool_close(b.pool);
    arena_release(&b.arena);
    return 0;
}
