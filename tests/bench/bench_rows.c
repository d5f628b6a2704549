// bench_rows.c: speed of generated row kernels (attention over depth, norms, softmax, AdamW)
// beside the speed at which this machine reads memory.
//
//     bench_rows [--json] [--threads N] [--seconds S] [--only NAME]
//
// fraction = (least traffic / read bandwidth) / time. Least traffic: every leaf read once,
// every output and update written once. The bandwidth is that of a plain sum over as many
// bytes, by as many threads, measured in turns with the kernels; of each the median counts.
// Every case is first compared with the reference evaluator, with few rows.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "autotune/graph_to_plan.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "ir/graph/evaluate.h"
#include "ir/graph/passes.h"
#include "runtime/cpu/pool.h"
#include "runtime/device.h"

enum { SOURCES = 8, REPEATS_MOST = 200, CHECK_ROWS = 16, LANES = 16 };

typedef struct {
    Graph *g;
    AxisId rows, cols;
} Model;

typedef struct {
    const char *name;
    void (*build)(Model *m);
    int64_t rows, cols;
} Case;

// ---- models

static ValueId leaf(Model *m, GraphOp kind, const char *name, uint32_t rank) {
    AxisId axes[2] = {m->rows, m->cols};
    Leaf l = {.kind = kind,
              .path = str_of(name),
              .type = DTYPE_F32,
              .rank = (uint8_t)rank,
              .axes = rank == 2 ? axes : &m->cols,
              .trained = kind == OP_PARAM};
    return graph_leaf(m->g, &l);
}

static ValueId two(Model *m, GraphOp op, ValueId x, ValueId y) {
    return graph_binary(m->g, op, x, y, (Span){0});
}
static ValueId one(Model *m, GraphOp op, ValueId x) {
    return graph_unary(m->g, op, x, (Span){0});
}
static ValueId number(Model *m, double x) { return graph_const(m->g, x, (Span){0}); }
static ValueId scaled(Model *m, double by, ValueId x) {
    return two(m, OP_MUL, x, number(m, by));
}
static ValueId sum(Model *m, ValueId x, AxisId axis) {
    return graph_reduce(m->g, OP_REDUCE_SUM, x, &axis, 1, (Span){0});
}
static ValueId softmax(Model *m, ValueId x, AxisId axis) {
    GraphAttr attr = {.along = &axis, .along_count = 1};
    return graph_add(m->g, OP_SOFTMAX, &x, 1, attr, (Span){0});
}

static ValueId unit_rms(Model *m, ValueId x) {
    double share = 1.0 / (double)graph_extent(m->g, m->cols);
    ValueId mean = scaled(m, share, sum(m, two(m, OP_MUL, x, x), m->cols));
    return two(m, OP_MUL, x, one(m, OP_RSQRT, two(m, OP_ADD, mean, number(m, 1e-6))));
}

static ValueId attn_res(Model *m, ValueId *sources) {
    static const char *const names[SOURCES] = {"v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"};
    for (int i = 0; i < SOURCES; i++)
        sources[i] = leaf(m, OP_INPUT, names[i], 2);
    ValueId key = two(m, OP_MUL, leaf(m, OP_PARAM, "query", 1), leaf(m, OP_PARAM, "gain", 1));
    AxisId depth = graph_axis(m->g, STR("depth"), SOURCES, false);
    GraphAttr attr = {.to = &depth, .to_count = 1};
    ValueId v = graph_add(m->g, OP_STACK, sources, SOURCES, attr, (Span){0});
    ValueId scores = sum(m, two(m, OP_MUL, unit_rms(m, v), key), m->cols);
    return sum(m, two(m, OP_MUL, v, softmax(m, scores, depth)), depth);
}

// Outputs the gradients of sum(y * g), where g is an input, with respect to all other leaves.
static void output_gradients(Model *m, ValueId y) {
    Graph *g = m->g;
    uint32_t count = g->leaves.len;
    ValueId loss = two(m, OP_MUL, y, leaf(m, OP_INPUT, "g", 2));
    AxisId both[2] = {m->rows, m->cols};
    loss = graph_reduce(g, OP_REDUCE_SUM, loss, both, 2, (Span){0});
    ValueId wrt[SOURCES + 2], grads[SOURCES + 2];
    for (uint32_t i = 0; i < count; i++)
        wrt[i] = g->leaf_values.ptr[i];
    pass_differentiate(g, loss, wrt, count, grads);
    for (uint32_t i = 0; i < count; i++)
        graph_output(g, str_printf(g->arena, "d%.*s", STR_ARG(g->leaves.ptr[i].path)),
                     grads[i]);
}

static void attn_forward(Model *m) {
    ValueId sources[SOURCES];
    graph_output(m->g, STR("h"), attn_res(m, sources));
}

static void attn_norm_forward(Model *m) {
    ValueId sources[SOURCES], h = attn_res(m, sources);
    graph_output(m->g, STR("h"),
                 two(m, OP_MUL, unit_rms(m, h), leaf(m, OP_PARAM, "norm_gain", 1)));
}

static void attn_backward(Model *m) {
    ValueId sources[SOURCES];
    output_gradients(m, attn_res(m, sources));
}

static ValueId norm(Model *m) {
    return two(m, OP_MUL, unit_rms(m, leaf(m, OP_INPUT, "x", 2)), leaf(m, OP_PARAM, "gain", 1));
}
static void norm_forward(Model *m) { graph_output(m->g, STR("y"), norm(m)); }
static void norm_backward(Model *m) { output_gradients(m, norm(m)); }

static void softmax_forward(Model *m) {
    graph_output(m->g, STR("y"), softmax(m, leaf(m, OP_INPUT, "x", 2), m->cols));
}

// One step of AdamW over rows x cols parameters.
static void adamw(Model *m) {
    ValueId p = leaf(m, OP_PARAM, "p", 2), mean = leaf(m, OP_STATE, "m", 2),
            square = leaf(m, OP_STATE, "v", 2), g = leaf(m, OP_INPUT, "g", 2),
            rate = leaf(m, OP_INPUT, "lr", 0), step = leaf(m, OP_INPUT, "step", 0);
    ValueId m1 = two(m, OP_ADD, scaled(m, 0.9, mean), scaled(m, 0.1, g));
    ValueId v1 = two(m, OP_ADD, scaled(m, 0.95, square), scaled(m, 0.05, two(m, OP_MUL, g, g)));
    ValueId rest[2];
    for (int i = 0; i < 2; i++)
        rest[i] =
            two(m, OP_SUB, number(m, 1), two(m, OP_POW, number(m, i == 0 ? 0.9 : 0.95), step));
    ValueId mh = two(m, OP_DIV, m1, rest[0]), vh = two(m, OP_DIV, v1, rest[1]);
    ValueId move = two(m, OP_DIV, mh, two(m, OP_ADD, one(m, OP_SQRT, vh), number(m, 1e-8)));
    move = two(m, OP_MUL, two(m, OP_ADD, move, scaled(m, 0.1, p)), rate);
    graph_update(m->g, 0, two(m, OP_SUB, p, move));
    graph_update(m->g, 1, m1);
    graph_update(m->g, 2, v1);
}

static const Case cases[] = {
    {"attn_res forward", attn_forward, 4096, 1024},
    {"attn_res + rms_norm forward", attn_norm_forward, 4096, 1024},
    {"attn_res backward", attn_backward, 4096, 1024},
    {"attn_res forward, narrow", attn_forward, 16384, 256},
    {"attn_res backward, narrow", attn_backward, 16384, 256},
    {"rms_norm forward", norm_forward, 16384, 1024},
    {"rms_norm backward", norm_backward, 16384, 1024},
    {"rms_norm forward, narrow", norm_forward, 65536, 256},
    {"rms_norm backward, narrow", norm_backward, 65536, 256},
    {"softmax", softmax_forward, 16384, 1024},
    {"softmax, narrow", softmax_forward, 65536, 256},
    {"adamw", adamw, 8192, 1024},
    {"rms_norm forward, near", norm_forward, 2048, 256},
    {"rms_norm backward, near", norm_backward, 2048, 256},
    {"softmax, near", softmax_forward, 8192, 256},
};

// ---- running

typedef struct {
    Arena arena;
    Diag diag;
    uint32_t threads;
    double budget;  // seconds a case
    Pool *pool;     // of the plain sum
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

static TensorKind kind_of(GraphOp op) {
    return op == OP_PARAM ? TENSOR_PARAM : op == OP_STATE ? TENSOR_STATE : TENSOR_INPUT;
}

// Of the CPU, where reading and writing are in one place.
static float *tensor(const Ready *r, TensorKind kind, Str name) {
    int at = plan_tensor_find(r->plan, kind, name);
    return at < 0 ? NULL : session_write(r->session, (uint32_t)at);
}

static float *leaf_data(const Ready *r, uint32_t i) {
    const Leaf *l = &r->graph->leaves.ptr[i];
    return tensor(r, kind_of(l->kind), l->path);
}

// Scalars and states (second moments) are positive.
static void fill(Ready *r, Evaluation *reference) {
    const Graph *g = r->graph;
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        const Leaf *l = &g->leaves.ptr[i];
        int64_t n = graph_elements(g, g->leaf_values.ptr[i]);
        float *x = leaf_data(r, i);
        double *copy = reference ? evaluation_leaf(reference, i) : NULL;
        for (int64_t k = 0; k < n; k++) {
            double u = rng_uniform(i + 1, (uint64_t)k);
            x[k] = (float)(l->kind == OP_STATE || l->rank == 0 ? u + 0.1 : 2 * u - 1);
            if (copy) copy[k] = (double)x[k];
        }
    }
}

static Ready ready_new(Bench *b, const Case *c, int64_t rows) {
    Model m = {.g = graph_new(&b->arena, STR("rows"))};
    m.rows = graph_axis(m.g, STR("T"), rows, false);
    m.cols = graph_axis(m.g, STR("d"), c->cols, false);
    c->build(&m);
    Ready r = {.graph = pass_simplify(m.g, &b->arena)};
    PlanRequestEntry entry = {STR("run"), r.graph};
    PlanRequest request = {.model = STR("rows"),
                           .target = {.level = cpu_level_here(), .threads = b->threads},
                           .run_threads = b->threads,
                           .entries = &entry,
                           .entry_count = 1};
    must(b, graph_to_plan(&b->diag, &b->arena, &request, &r.plan));
    must(b, session_open(&b->diag, r.plan, b->threads, &r.session));
    r.bytes = least_bytes(r.graph);
    r.kernels = r.plan->entries[0].step_count;
    return r;
}

static void run(Bench *b, const Ready *r) {
    must(b, session_run(&b->diag, r->session, &r->plan->entries[0]));
}

static void compare(const char *name, const double *expected, const float *got, int64_t n) {
    double largest = 0, error = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(expected[i]));
        error = fmax(error, fabs(expected[i] - (double)got[i]));
    }
    if (error <= 1e-5 * largest) return;
    fprintf(stderr, "bench_rows: %s: wrong result\n", name);
    exit(1);
}

static void check(Bench *b, const Case *c) {
    Ready r = ready_new(b, c, CHECK_ROWS);
    Evaluation reference;
    evaluation_init(&reference, r.graph, &b->arena);
    fill(&r, &reference);
    run(b, &r);
    const Graph *g = r.graph;
    for (uint32_t i = 0; i < g->outputs.len; i++) {
        ValueId v = g->outputs.ptr[i].value;
        compare(c->name, evaluation_value(&reference, v),
                tensor(&r, TENSOR_OUTPUT, g->outputs.ptr[i].name), graph_elements(g, v));
    }
    for (uint32_t i = 0; i < g->updates.len; i++) {
        ValueId v = g->updates.ptr[i].value;
        compare(c->name, evaluation_value(&reference, v), leaf_data(&r, g->updates.ptr[i].leaf),
                graph_elements(g, v));
    }
    session_close(r.session);
}

// ---- the plain sum

typedef float Vector __attribute__((vector_size(LANES * 4)));
enum { SUMS = 8, BLOCK = 4096 * SUMS };  // bytes a piece

typedef struct {
    Vector *data;
    float *out;  // keeps the sums from being dropped
} SumJob;

static void sum_blocks(void *context, int64_t begin, int64_t end, uint32_t thread) {
    const SumJob *job = context;
    const Vector *x = job->data + begin * (BLOCK / (int64_t)sizeof(Vector));
    int64_t n = (end - begin) * (BLOCK / (int64_t)sizeof(Vector));
    Vector sums[SUMS] = {{0}};
    for (int64_t i = 0; i < n; i += SUMS)
#pragma GCC unroll 8
        for (int k = 0; k < SUMS; k++)
            sums[k] += x[i + k];
    for (int k = 1; k < SUMS; k++)
        sums[0] += sums[k];
    job->out[thread * LANES] += sums[0][0];
}

// In huge pages, as a session's memory.
static Vector *memory_new(size_t bytes) {
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
static double sum_time(Bench *b, SumJob *job, int64_t blocks) {
    pool_run(b->pool, blocks, sum_blocks, job);
    double start = clock_seconds();
    pool_run(b->pool, blocks, sum_blocks, job);
    return clock_seconds() - start;
}

static double kernel_time(Bench *b, const Ready *r) {
    run(b, r);
    double start = clock_seconds();
    run(b, r);
    return clock_seconds() - start;
}

static Outcome measure(Bench *b, const Case *c) {
    static double times[REPEATS_MOST], sums[REPEATS_MOST];
    double start = clock_seconds();
    Ready r = ready_new(b, c, c->rows);
    Outcome out = {.bytes = r.bytes, .kernels = r.kernels, .compile = clock_seconds() - start};
    fill(&r, NULL);
    int64_t blocks = r.bytes / BLOCK;
    float parts[64 * LANES] = {0};
    SumJob job = {memory_new((size_t)r.bytes), parts};
    double end = clock_seconds() + b->budget;
    while (out.runs < 7 || (clock_seconds() < end && out.runs < REPEATS_MOST)) {
        sums[out.runs] = sum_time(b, &job, blocks);
        times[out.runs++] = kernel_time(b, &r);
    }
    double bytes = (double)r.bytes;
    out.time = median(times, out.runs);
    out.time_least = times[0];
    out.bandwidth = (double)(blocks * BLOCK) / median(sums, out.runs);
    out.bandwidth_most = (double)(blocks * BLOCK) / sums[0];
    out.fraction = bytes / out.bandwidth / out.time;
    munmap(job.data, (size_t)r.bytes);
    session_close(r.session);
    return out;
}

// ---- reports

static void row_print(const Case *c, const Outcome *o) {
    printf("| %s | %lld x %lld | %u | %.1f | %.3f | %.3f | %.1f | %.1f | %.2f | %.2f |\n",
           c->name, (long long)c->rows, (long long)c->cols, o->kernels,
           (double)o->bytes / 1048576, o->time * 1e3, o->time_least * 1e3,
           (double)o->bytes / o->time * 1e-9, o->bandwidth * 1e-9, o->fraction,
           (double)o->bytes / o->bandwidth_most / o->time_least);
    fflush(stdout);
}

static void row_json(JsonWriter *w, const Case *c, const Outcome *o) {
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
    if (strcmp(name, "--only") != 0) return false;
    o->only = value;
    return true;
}

static Options options_read(Bench *b, int argc, char **argv) {
    Options o = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (i + 1 < argc && option_set(&o, b, argv[i], argv[i + 1]))
            i++;
        else
            exit((fprintf(stderr, "usage: bench_rows [--json] [--threads N] [--seconds S] "
                                  "[--only NAME]\n"),
                  2));
    }
    return o;
}

int main(int argc, char **argv) {
    Bench b = {.threads = 2, .budget = 1};
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
            "%u threads\n\n| case | rows x cols | launches | MiB | ms | least ms | GB/s |"
            " read GB/s | fraction | of least |\n|---|---|---|---|---|---|---|---|---|---|\n",
            b.threads);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (o.only && !strstr(cases[i].name, o.only)) continue;
        check(&b, &cases[i]);
        Outcome out = measure(&b, &cases[i]);
        if (o.json)
            row_json(&w, &cases[i], &out);
        else
            row_print(&cases[i], &out);
    }
    json_end(&w);
    json_end(&w);
    if (o.json) printf("%s\n", text.ptr);
    strbuf_release(&text);
    pool_close(b.pool);
    arena_release(&b.arena);
    return 0;
}
