// bench_gemm.c: speed of generated contractions beside oneDNN and the measured peak, as a
// Markdown table. Kernels are called in turns; the least and the median time of each are kept.
//
//     bench_gemm                           the table, with the schedules of the prior
//     bench_gemm THREADS M N K LAYOUT [SCHEDULE...]    one shape; LAYOUT is NN, NT or TN
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "autotune/prior.h"
#include "base/clock.h"
#include "base/rng.h"
#include "ir/graph/passes.h"
#include "runtime/cpu/pool.h"
#include "runtime/object.h"

#ifdef STRATA_HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>
#endif

enum { LANES_MOST = 16, REPEATS_MOST = 400 };

typedef struct {
    int64_t m, n, k;
    bool turned_a, turned_b;  // stored as (k, m) and as (n, k)
} Shape;

typedef struct {
    Arena arena;
    Diag diag;
    Pool *pool;
    uint32_t threads;
    double peak;  // flops a second of all threads
} Bench;

static void fail(const Bench *b, const char *what) {
    StrBuf text = {0};
    diag_render(&b->diag, &text);
    fprintf(stderr, "bench_gemm: %s\n%s", what, text.ptr ? text.ptr : "");
    strbuf_release(&text);
    exit(1);
}

// ---- the generated kernel

static ValueId matrix(Graph *g, const char *name, AxisId row, AxisId col) {
    AxisId axes[] = {row, col};
    Leaf leaf = {
        .kind = OP_PARAM, .path = str_of(name), .type = DTYPE_F32, .rank = 2, .axes = axes};
    return graph_leaf(g, &leaf);
}

static Regions *contraction(Arena *arena, const Shape *s) {
    Graph *g = graph_new(arena, STR("gemm"));
    AxisId m = graph_axis(g, STR("m"), s->m, false), n = graph_axis(g, STR("n"), s->n, false);
    AxisId k = graph_axis(g, STR("k"), s->k, false);
    ValueId in[] = {s->turned_a ? matrix(g, "a", k, m) : matrix(g, "a", m, k),
                    s->turned_b ? matrix(g, "b", n, k) : matrix(g, "b", k, n)};
    GraphAttr attr = {.along = &k, .along_count = 1};
    graph_output(g, STR("y"), graph_add(g, OP_CONTRACT, in, 2, attr, (Span){0}));
    return pass_fuse(g, arena);
}

typedef struct {
    Object object;
    int64_t tasks;
    double compile_ms;
    void *args[3];  // in the order of the kernel
} Kernel;

static Kernel kernel_new(Bench *b, const Regions *regions, const Schedule *s, void *data[3]) {
    const Region *region = &regions->regions[0];
    TileKernels *kernels = region_to_tile(regions, region, s, &b->arena);
    const TileKernel *tile = &kernels->kernels[0];
    EmitOptions options = {.level = cpu_level_here()};
    EmittedKernel code;
    double start = clock_seconds();
    if (!emit_kernel(&b->diag, &b->arena, tile->program, options, &code))
        fail(b, "a kernel cannot be compiled");
    Kernel k = {.tasks = code.tasks, .compile_ms = (clock_seconds() - start) * 1e3};
    if (!object_load(&b->diag, STR("gemm"), code.object, &k.object) ||
        !pool_reserve(&b->diag, b->pool, code.scratch_bytes))
        fail(b, "a kernel cannot be loaded");
    const Graph *g = regions->graph;
    for (uint32_t i = 0; i < tile->program->args.len; i++) {
        ValueId v = tile->bindings[i].value;
        int which = v.i == g->leaf_values.ptr[0].i ? 0 : v.i == g->leaf_values.ptr[1].i ? 1 : 2;
        k.args[i] = data[which];
    }
    return k;
}

// One thread is timed by its own clock, which stands still while others have the CPU.
static double seconds(const Bench *b) {
    if (b->threads > 1) return clock_seconds();
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double kernel_time(Bench *b, const Kernel *k) {
    double start = seconds(b);
    pool_run_kernel(b->pool, k->object.entry, k->args, k->tasks);
    return seconds(b) - start;
}

// ---- peak and library

typedef float Vector __attribute__((vector_size(LANES_MOST * 4)));
enum { CHAINS = 12 };

static void peak_run(void *context, int64_t begin, int64_t end, uint32_t thread) {
    float *out = context;
    Vector sum[CHAINS], x = {0}, y = {0};
    for (int i = 0; i < LANES_MOST; i++)
        x[i] = 0.5F + (float)begin, y[i] = 0.25F;
    for (int i = 0; i < CHAINS; i++)
        sum[i] = x;
    for (int64_t i = begin * 100000; i < end * 100000; i++)
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++)
            sum[j] = sum[j] * x + y;
    for (int j = 1; j < CHAINS; j++)
        sum[0] += sum[j];
    out[thread * 64] = sum[0][0];
}

static double peak_measure(Bench *b) {
    float out[64 * 64];
    double best = HUGE_VAL;
    for (int i = 0; i < 20; i++) {
        double start = seconds(b);
        pool_run(b->pool, 8, peak_run, out);
        best = fmin(best, seconds(b) - start);
    }
    return 8 * 100000.0 * CHAINS * LANES_MOST * 2 / best;
}

#ifdef STRATA_HAVE_DNNL
// oneDNN's threads are OpenMP's, whose library it brings along.
static void library_threads(int count) {
    void *all = dlopen(NULL, RTLD_NOW),
         *symbol = all ? dlsym(all, "omp_set_num_threads") : NULL;
    void (*set)(int) = NULL;
    memcpy(&set, &symbol, sizeof set);
    if (set != NULL) set(count);
}

static double library_time(const Bench *b, const Shape *s, void *data[3]) {
    double start = seconds(b);
    dnnl_status_t status = dnnl_sgemm(s->turned_a ? 'T' : 'N', s->turned_b ? 'T' : 'N', s->m,
                                      s->n, s->k, 1, data[0], s->turned_a ? s->m : s->k,
                                      data[1], s->turned_b ? s->k : s->n, 0, data[2], s->n);
    return status == dnnl_success ? seconds(b) - start : HUGE_VAL;
}
#endif

// ---- one shape

typedef struct {
    double least, median;
} Times;

static int by_value(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static Times times_of(double *samples, int count) {
    qsort(samples, (size_t)count, sizeof *samples, by_value);
    return (Times){samples[0], samples[count / 2]};
}

static float *numbers(Bench *b, int64_t count, uint64_t seed) {
    char *raw = arena_alloc(&b->arena, (size_t)count * 4 + 4096, 1);
    float *x = (void *)(raw + (4096 - (uintptr_t)raw % 4096));
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)rng_uniform(seed, (uint64_t)i) - 0.5F;
    return x;
}

static void result_check(Bench *b, const Shape *s, void *data[3]) {
    const float *x = data[0], *y = data[1], *z = data[2];
    for (uint64_t i = 0; i < 300; i++) {
        int64_t m = (int64_t)(rng_u64(9, 2 * i) % (uint64_t)s->m);
        int64_t n = (int64_t)(rng_u64(9, 2 * i + 1) % (uint64_t)s->n);
        double sum = 0;
        for (int64_t k = 0; k < s->k; k++)
            sum += (double)x[s->turned_a ? k * s->m + m : m * s->k + k] *
                   (double)y[s->turned_b ? n * s->k + k : k * s->n + n];
        if (fabs(sum - (double)z[m * s->n + n]) > 1e-5 * (double)s->k) fail(b, "wrong result");
    }
}

typedef struct {
    Times ours, library;
    double compile_ms;
} Outcome;

static Outcome shape_run(Bench *b, const Shape *s, const Schedule *wanted, double budget) {
    ArenaMark mark = arena_mark(&b->arena);
    void *data[] = {numbers(b, s->m * s->k, 1), numbers(b, s->k * s->n, 2),
                    numbers(b, s->m * s->n, 3)};
    Regions *regions = contraction(&b->arena, s);
    Schedule schedule =
        wanted ? *wanted
               : schedule_prior(regions, &regions->regions[0], cpu_level_here(), b->threads);
    Kernel kernel = kernel_new(b, regions, &schedule, data);
    kernel_time(b, &kernel);
    result_check(b, s, data);
    static double ours[REPEATS_MOST], library[REPEATS_MOST];
    int count = 0;
    double end = clock_seconds() + budget;
    while (count < 7 || (clock_seconds() < end && count < REPEATS_MOST)) {
        library[count] = HUGE_VAL;
#ifdef STRATA_HAVE_DNNL
        library_time(b, s, data);
        library[count] = library_time(b, s, data);
#endif
        kernel_time(b, &kernel);
        ours[count++] = kernel_time(b, &kernel);
    }
    Outcome out = {times_of(ours, count), times_of(library, count), kernel.compile_ms};
    StrBuf text = {0};
    schedule_print(&schedule, &text);
    double flops = 2.0 * (double)s->m * (double)s->n * (double)s->k;
    printf(
        "| %u | %lld x %lld x %lld | %c%c | %.1f | %.1f | %.2f | %.2f | %.2f | %.0f | %s |\n",
        b->threads, (long long)s->m, (long long)s->n, (long long)s->k, s->turned_a ? 'T' : 'N',
        s->turned_b ? 'T' : 'N', flops / out.ours.least * 1e-9,
        flops / out.library.least * 1e-9, out.library.least / out.ours.least,
        out.library.median / out.ours.median, flops / out.ours.least / b->peak, out.compile_ms,
        text.ptr ? text.ptr : "");
    fflush(stdout);
    strbuf_release(&text);
    object_unload(&kernel.object);
    arena_rewind(&b->arena, mark);
    return out;
}

static void bench_start(Bench *b, uint32_t threads) {
    *b = (Bench){.threads = threads};
    diag_init(&b->diag, &b->arena);
    if (!pool_open(&b->diag, threads, &b->pool)) fail(b, "no threads");
#ifdef STRATA_HAVE_DNNL
    library_threads((int)threads);
#endif
    b->peak = peak_measure(b);
}

static void heading(const Bench *b) {
    printf("\n%u threads, peak %.0f Gflop/s\n\n", b->threads, b->peak * 1e-9);
    printf(
        "| threads | M x N x K | layout | ours Gflop/s | oneDNN Gflop/s | ratio of least |"
        " ratio of medians | of peak | compile ms | schedule |\n|---|---|---|---|---|---|---|---|---|---|\n");
}

static void table(uint32_t threads) {
    static const int64_t rows[] = {1, 8, 256, 2048}, sides[] = {256, 512, 1024, 2048};
    static double ratios[1024];
    int count = 0;
    Bench b;
    bench_start(&b, threads);
    heading(&b);
    for (int layout = 0; layout < 3; layout++)
        for (int m = 0; m < 4; m++)
            for (int n = 0; n < 4; n++)
                for (int k = 0; k < 4; k++) {
                    Shape s = {rows[m], sides[n], sides[k], layout == 2, layout == 1};
                    Outcome out = shape_run(&b, &s, NULL, 0.1);
                    ratios[count++] = out.library.median / out.ours.median;
                }
    qsort(ratios, (size_t)count, sizeof *ratios, by_value);
    printf("\nratio of medians to oneDNN over %d shapes: worst %.2f, tenth %.2f, median %.2f\n",
           count, ratios[0], ratios[count / 10], ratios[count / 2]);
    pool_close(b.pool);
    arena_release(&b.arena);
}

static int64_t number(const char *text) {
    int64_t x = 0;
    if (str_to_int64(str_of(text), &x) && x > 0) return x;
    fprintf(stderr, "bench_gemm: '%s' is no extent\n", text);
    exit(2);
}

static int one(int argc, char **argv) {
    Bench b;
    bench_start(&b, (uint32_t)number(argv[1]));
    Shape s = {number(argv[2]), number(argv[3]), number(argv[4]), argv[5][0] == 'T',
               argv[5][1] == 'T'};
    heading(&b);
    if (argc == 6) shape_run(&b, &s, NULL, 0.3);
    for (int i = 6; i < argc; i++) {
        Schedule schedule;
        if (!schedule_read(str_of(argv[i]), &schedule)) fail(&b, "no schedule");
        shape_run(&b, &s, &schedule, 0.3);
    }
    pool_close(b.pool);
    arena_release(&b.arena);
    return 0;
}

int main(int argc, char **argv) {
    if (argc >= 6) return one(argc, argv);
    table(1);
    table(2);
    return 0;
}
