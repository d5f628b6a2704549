// bench_gemm.c: speed of generated contractions beside oneDNN and the measured peak, as a
// Markdown table. Kernels are called in turns; the least and the median time of each are kept.
// Operands are f32 or bf16; sums and results are f32. Without --type, all is done for both.
//
//     bench_gemm [--type T]                the tables, with the schedules of the prior
//     bench_gemm [--type T] THREADS M N K LAYOUT [SCHEDULE...]    one shape; LAYOUT is NN, NT
//     or TN
#include <float.h>
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
#include "tests/bench/onednn.h"

enum { LANES_MOST = 16, REPEATS_MOST = 400, REPEATS_LEAST = 5, CHECKS = 100 };

// Longer calls are not warmed up before each measurement: their operands outgrow the caches.
#define FLOPS_LONG 1e9

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

static ValueId matrix(Graph *g, Str name, DType type, const AxisId axes[2]) {
    Leaf leaf = {.kind = OP_PARAM, .path = name, .type = type, .rank = 2, .axes = axes};
    return graph_leaf(g, &leaf);
}

static Regions *contraction(Arena *arena, const Shape *s) {
    Graph *g = graph_new(arena, STR("gemm"));
    AxisId m = graph_axis(g, STR("m"), s->m, false), n = graph_axis(g, STR("n"), s->n, false);
    AxisId k = graph_axis(g, STR("k"), s->k, false);
    const AxisId a[2][2] = {{m, k}, {k, m}}, b[2][2] = {{k, n}, {n, k}};
    ValueId in[] = {matrix(g, STR("a"), s->type, a[s->turned_a]),
                    matrix(g, STR("b"), s->type, b[s->turned_b])};
    GraphAttr attr = {.along = &k, .along_count = 1};
    graph_output(g, STR("y"), graph_add(g, OP_CONTRACT, in, 2, attr, (Span){0}));
    return pass_fuse(g, arena);
}

typedef struct {
    Object object;
    int64_t tasks;
    double compile_ms;
    void *args[PRODUCT_ARRAYS];  // in the order of the kernel
} Kernel;

static Kernel kernel_new(Bench *b, const Regions *regions, const Schedule *s,
                         void *const data[PRODUCT_ARRAYS]) {
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

// ---- peak and oneDNN

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

static double library_time(const Bench *b, Product *p) {
    double start = seconds(b);
    return product_run(p) ? seconds(b) - start : HUGE_VAL;
}

// ---- one shape

static double shape_flops(const Shape *s) {
    return 2.0 * (double)s->m * (double)s->n * (double)s->k;
}

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

static void *pages(Bench *b, size_t bytes) {
    char *raw = arena_alloc(&b->arena, bytes + 4096, 1);
    return raw + (4096 - (uintptr_t)raw % 4096);
}

static void *numbers(Bench *b, DType type, int64_t count, uint64_t seed) {
    void *x = pages(b, (size_t)count * dtype_bytes(type));
    for (int64_t i = 0; i < count; i++)
        dtype_set(type, x, i, rng_uniform(seed, (uint64_t)i) - 0.5);
    return x;
}

// Terms are random in (-1/4, 1/4), so that partial sums stay below sqrt(k); of their k
// roundings, independent and of half an epsilon each, the sum stays below sqrt(k) times that.
static double tolerance(const Shape *s) { return (double)s->k * (double)FLT_EPSILON; }

static void result_check(Bench *b, const Shape *s, void *const data[PRODUCT_ARRAYS]) {
    const void *x = data[PRODUCT_A], *y = data[PRODUCT_B];
    for (uint64_t i = 0; i < CHECKS; i++) {
        int64_t m = (int64_t)(rng_u64(9, 2 * i) % (uint64_t)s->m);
        int64_t n = (int64_t)(rng_u64(9, 2 * i + 1) % (uint64_t)s->n);
        double sum = 0;
        for (int64_t k = 0; k < s->k; k++)
            sum += dtype_get(s->type, x, s->turned_a ? k * s->m + m : m * s->k + k) *
                   dtype_get(s->type, y, s->turned_b ? n * s->k + k : k * s->n + n);
        double got = dtype_get(DTYPE_F32, data[PRODUCT_Y], m * s->n + n);
        if (!(fabs(sum - got) <= tolerance(s))) fail(b, "wrong result");
    }
}

static void results_compare(Bench *b, const Shape *s, const float *ours, const float *theirs) {
    for (int64_t i = 0; i < s->m * s->n; i++)
        if (!(fabs((double)ours[i] - (double)theirs[i]) <= 2 * tolerance(s)))
            fail(b, "oneDNN has another result");
}

typedef struct {
    Times ours, library;
    double compile_ms;
} Outcome;

// OpenMP's threads and those of the pool spin for a while after their work: whoever is measured
// next on the same cores waits until they sleep.
static void settle(const Bench *b) {
    enum { SPIN_NS = 25000000 };
    struct timespec spin = {.tv_nsec = SPIN_NS};
    if (b->threads > 1) nanosleep(&spin, NULL);
}

// Then it runs until its own threads are awake, which takes longer than a short call.
#define AWAKE_SECONDS 0.0005

static double library_turn(Bench *b, Product *product, bool is_long) {
    settle(b);
    double awake = clock_seconds() + (b->threads > 1 ? AWAKE_SECONDS : 0);
    bool warm = !is_long || b->threads > 1;
    while (warm) {
        library_time(b, product);
        warm = clock_seconds() < awake;
    }
    return library_time(b, product);
}

static double kernel_turn(Bench *b, const Kernel *kernel, bool is_long) {
    settle(b);
    double awake = clock_seconds() + (b->threads > 1 ? AWAKE_SECONDS : 0);
    bool warm = !is_long || b->threads > 1;
    while (warm) {
        kernel_time(b, kernel);
        warm = clock_seconds() < awake;
    }
    return kernel_time(b, kernel);
}

// Both in turns, for `budget` seconds.
static Outcome both_measure(Bench *b, const Kernel *kernel, Product *product, double budget) {
    static double ours[REPEATS_MOST], library[REPEATS_MOST];
    bool is_long = shape_flops(&product->shape) > FLOPS_LONG;
    int count = 0;
    double end = clock_seconds() + budget;
    while (count < REPEATS_LEAST || (clock_seconds() < end && count < REPEATS_MOST)) {
        library[count] = library_turn(b, product, is_long);
        ours[count++] = kernel_turn(b, kernel, is_long);
    }
    return (Outcome){times_of(ours, count), times_of(library, count), kernel->compile_ms};
}

static void row_print(const Bench *b, const Shape *s, const Outcome *out,
                      const Schedule *schedule) {
    StrBuf text = {0};
    schedule_print(schedule, &text);
    double flops = shape_flops(s);
    printf("| %u | %s | %lld x %lld x %lld | %c%c | %.1f | %.1f | %.2f | %.2f | %.2f | %.0f | "
           "%s |\n",
           b->threads, dtype_text(s->type), (long long)s->m, (long long)s->n, (long long)s->k,
           s->turned_a ? 'T' : 'N', s->turned_b ? 'T' : 'N', flops / out->ours.least * 1e-9,
           flops / out->library.least * 1e-9, out->library.least / out->ours.least,
           out->library.median / out->ours.median, flops / out->ours.least / b->peak,
           out->compile_ms, text.ptr ? text.ptr : "");
    fflush(stdout);
    strbuf_release(&text);
}

// Arrays for every shape up to these extents; a shape uses the beginnings of the operands.
typedef struct {
    void *ours[PRODUCT_ARRAYS], *library[PRODUCT_ARRAYS];  // of the same operands
} Data;

static Data data_new(Bench *b, const Shape *most) {
    Data d = {.ours = {[PRODUCT_A] = numbers(b, most->type, most->m * most->k, 1),
                       [PRODUCT_B] = numbers(b, most->type, most->k * most->n, 2),
                       [PRODUCT_Y] = pages(b, (size_t)(most->m * most->n) * 4)}};
    memcpy(d.library, d.ours, sizeof d.library);
    d.library[PRODUCT_Y] = pages(b, (size_t)(most->m * most->n) * 4);
    return d;
}

static Outcome shape_run(Bench *b, const Shape *s, Data *data, const Schedule *wanted,
                         double budget) {
    ArenaMark mark = arena_mark(&b->arena);
    Regions *regions = contraction(&b->arena, s);
    Schedule schedule =
        wanted ? *wanted
               : schedule_prior(regions, &regions->regions[0], cpu_level_here(), b->threads);
    Kernel kernel = kernel_new(b, regions, &schedule, data->ours);
    kernel_time(b, &kernel);
    result_check(b, s, data->ours);
    Product product;
    if (product_open(&product, s, data->library) && product_run(&product))
        results_compare(b, s, data->ours[PRODUCT_Y], data->library[PRODUCT_Y]);
    Outcome out = both_measure(b, &kernel, &product, budget);
    row_print(b, s, &out, &schedule);
    product_close(&product);
    object_unload(&kernel.object);
    arena_rewind(&b->arena, mark);
    return out;
}

static void bench_start(Bench *b, uint32_t threads) {
    *b = (Bench){.threads = threads};
    diag_init(&b->diag, &b->arena);
    if (!pool_open(&b->diag, threads, &b->pool)) fail(b, "no threads");
    onednn_threads((int)threads);
    b->peak = peak_measure(b);
}

static void bench_end(Bench *b) {
    pool_close(b->pool);
    arena_release(&b->arena);
}

static void heading(const Bench *b, DType type) {
    printf("\n%s, %u threads, peak in f32 %.0f Gflop/s\n\n", dtype_text(type), b->threads,
           b->peak * 1e-9);
    if (type == DTYPE_BF16 && !__builtin_cpu_supports("avx512bf16"))
        printf("This processor has no bf16 instructions: oneDNN's bf16 is slower than its f32 "
               "on large shapes, so compare with its f32 as well.\n\n");
    printf(
        "| threads | type | M x N x K | layout | ours Gflop/s | oneDNN Gflop/s | ratio of least |"
        " ratio of medians | of peak | compile ms | schedule |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
}

static void table(DType type, uint32_t threads) {
    static const int64_t rows[] = {1, 8, 256, 2048}, sides[] = {256, 512, 1024, 2048};
    static double ratios[1024];
    int count = 0;
    Bench b;
    bench_start(&b, threads);
    heading(&b, type);
    Data data = data_new(&b, &(Shape){2048, 2048, 2048, .type = type});
    for (int layout = 0; layout < 3; layout++)
        for (int i = 0; i < 4 * 4 * 4; i++) {
            Shape s = {rows[i / 16], sides[i / 4 % 4], sides[i % 4],
                       layout == 2,  layout == 1,      type};
            Outcome out = shape_run(&b, &s, &data, NULL, 0.05);
            ratios[count++] = out.library.median / out.ours.median;
        }
    qsort(ratios, (size_t)count, sizeof *ratios, by_value);
    printf(
        "\n%s, %u threads: ratio of medians to oneDNN over %d shapes: worst %.2f, tenth %.2f, "
        "median %.2f\n",
        dtype_text(type), threads, count, ratios[0], ratios[count / 10], ratios[count / 2]);
    bench_end(&b);
}

static int64_t number(const char *text) {
    int64_t x = 0;
    if (str_to_int64(str_of(text), &x) && x > 0) return x;
    fprintf(stderr, "bench_gemm: '%s' is no extent\n", text);
    exit(2);
}

// THREADS M N K LAYOUT [SCHEDULE...]
static void one(DType type, int argc, char **argv) {
    Bench b;
    bench_start(&b, (uint32_t)number(argv[0]));
    Shape s = {number(argv[1]),
               number(argv[2]),
               number(argv[3]),
               argv[4][0] == 'T',
               argv[4][0] && argv[4][1] == 'T',
               type};
    Data data = data_new(&b, &s);
    heading(&b, type);
    if (argc == 5) shape_run(&b, &s, &data, NULL, 0.3);
    for (int i = 5; i < argc; i++) {
        Schedule schedule;
        if (!schedule_read(str_of(argv[i]), &schedule)) fail(&b, "no schedule");
        shape_run(&b, &s, &data, &schedule, 0.3);
    }
    bench_end(&b);
}

int main(int argc, char **argv) {
    DType types[] = {DTYPE_F32, DTYPE_BF16}, only;
    int type_count = 2, at = 1;
    if (argc > 2 && strcmp(argv[1], "--type") == 0 && dtype_parse(str_of(argv[2]), &only) &&
        (only == DTYPE_F32 || only == DTYPE_BF16))
        types[0] = only, type_count = 1, at = 3;
    if (argc != at && argc < at + 5) {
        fputs("usage: bench_gemm [--type f32|bf16] [THREADS M N K LAYOUT [SCHEDULE...]]\n",
              stderr);
        return 2;
    }
    for (int i = 0; i < type_count; i++)
        if (argc > at)
            one(types[i], argc - at, argv + at);
        else
            table(types[i], 1), table(types[i], 2);
    return 0;
}
