// bench_gemm.c: speed of generated contractions beside oneDNN and the measured peak, as a
// Markdown table. Operands are f32 or bf16; sums and results are f32. Without --type, all is
// done for both. Operands and results lie in huge pages, as a session's data does.
//
//     bench_gemm [--type T] [--threads N] [--m M] [--layout L] [--tune TRIALS]
//         the tables, or the rows of them that are asked for, with the schedules of the prior,
//         or the tuner's where those do not surely reach ENOUGH of oneDNN
//     bench_gemm [--type T] THREADS M N K LAYOUT [SCHEDULE...]
//         one shape; LAYOUT is NN, NT or TN
//
// What counts for a shape is the median ratio, by one rule for all. The prior's schedule is
// measured until its 95 % interval lies on one side of ENOUGH, is 2 % wide, or MOST_SECONDS are
// over. Unless the interval lies above, the tuner tries TRIALS schedules, or as many as
// TUNING_SECONDS allow, and its best is measured likewise, up to MOST_TUNINGS times, with more
// trials each. What then has the best median is measured once more, and that alone counts: a
// choice made of several measurements favours the lucky ones.
//
// How two programs are compared says turns.h: in turns, with threads bound alike, while nobody
// else's threads spin. One thread is timed by its own clock, which stands still while others
// have the CPU; two by the wall clock.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "autotune/database.h"
#include "autotune/prior.h"
#include "autotune/tune.h"
#include "base/clock.h"
#include "base/rng.h"
#include "ir/graph/passes.h"
#include "runtime/cpu/pool.h"
#include "runtime/object.h"
#include "tests/bench/fma.h"
#include "tests/bench/onednn.h"
#include "tests/bench/turns.h"

enum { CHECKS = 100, LINE = 64, MOST_TUNINGS = 3, MOST_SHAPES = 3 * 4 * 4 * 4 };

#define ENOUGH         0.95
#define LEAST_SECONDS  0.05
#define MOST_SECONDS   4.0
#define TUNING_SECONDS 15.0

// Longer calls are not warmed up before each measurement: their operands outgrow the caches.
#define FLOPS_LONG 1e9

typedef struct {
    Arena arena;
    Diag diag;
    Pool *pool;
    uint32_t threads;
    double peak;     // flops a second of all threads
    cpu_set_t cpus;  // that this process may use
    Database *db;    // of the tuner
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
    graph_output(g, STR("y"), graph_add(g, OP_CONTRACT, (Operands){in, 2}, attr, (Span){0}));
    return pass_fuse(g, arena);
}

enum { MOST_KERNELS = 2, MOST_ARGS = 4 };

// One after the other: of a contraction in parts the second adds them up.
typedef struct {
    Object objects[MOST_KERNELS];
    int64_t tasks[MOST_KERNELS];
    void *args[MOST_KERNELS][MOST_ARGS];  // in the order of the kernel
    uint32_t count;
    double compile_ms;
} Kernels;

static void *argument_of(const Graph *g, const TileBinding *binding, void *partial,
                         void *const data[PRODUCT_ARRAYS]) {
    if (binding->kind == BIND_PARTIAL) return partial;
    uint32_t value = binding->value.i;
    return data[value == g->leaf_values.ptr[0].i   ? 0
                : value == g->leaf_values.ptr[1].i ? 1
                                                   : 2];
}

static Kernels kernels_new(Bench *b, const Regions *regions, const Schedule *s,
                           void *const data[PRODUCT_ARRAYS]) {
    const TileKernels *tile = region_to_tile(regions, &regions->regions[0], s, &b->arena);
    EmitOptions options = {.level = cpu_level_here()};
    Kernels k = {.count = tile->kernel_count};
    void *partial = NULL;
    if (tile->partial_count)
        partial = arena_alloc(&b->arena, (size_t)tile->partial_bytes[0] + LINE, 1);
    partial = (char *)partial + (LINE - (uintptr_t)partial % LINE) % LINE;
    double start = clock_seconds();
    for (uint32_t i = 0; i < k.count; i++) {
        const TileProgram *p = tile->kernels[i].program;
        EmittedKernel code;
        if (!emit_kernel(&b->diag, &b->arena, p, options, &code))
            fail(b, "a kernel cannot be compiled");
        k.tasks[i] = code.tasks;
        if (!object_load(&b->diag, STR("gemm"), code.object, &k.objects[i]) ||
            !pool_reserve(&b->diag, b->pool, code.scratch_bytes))
            fail(b, "a kernel cannot be loaded");
        for (uint32_t j = 0; j < p->args.len; j++)
            k.args[i][j] =
                argument_of(regions->graph, &tile->kernels[i].bindings[j], partial, data);
    }
    k.compile_ms = (clock_seconds() - start) * 1e3;
    return k;
}

static void kernels_unload(Kernels *k) {
    for (uint32_t i = 0; i < k->count; i++)
        object_unload(&k->objects[i]);
}

// One thread is timed by its own clock, which stands still while others have the CPU.
static double seconds(const Bench *b) {
    if (b->threads > 1) return clock_seconds();
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double kernels_time(Bench *b, const Kernels *k) {
    double start = seconds(b);
    for (uint32_t i = 0; i < k->count; i++)
        pool_run_kernel(b->pool, k->objects[i].entry, k->args[i], k->tasks[i]);
    return seconds(b) - start;
}

// ---- peak and oneDNN

static double peak_measure(Bench *b) {
    static const double flops = 3e8;
    double best = HUGE_VAL;
    for (int i = 0; i < 20; i++) {
        double start = seconds(b);
        fma_run(b->pool, flops);
        best = fmin(best, seconds(b) - start);
    }
    return flops / best;
}

static double library_time(const Bench *b, Product *p) {
    double start = seconds(b);
    return product_run(p) ? seconds(b) - start : HUGE_VAL;
}

// ---- one shape

static double shape_flops(const Shape *s) {
    return 2.0 * (double)s->m * (double)s->n * (double)s->k;
}

static int by_value(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

// Of the kind that a session keeps its data in: untouched when huge pages are asked for,
// because pages that are there already stay small. They live as long as the process.
static void *pages(Bench *b, size_t bytes) {
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) fail(b, "no memory");
    madvise(data, bytes, MADV_HUGEPAGE);
    return data;
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
    Bench *bench;
    const Kernels *kernels;  // or
    Product *product;
} Side;

static double side_seconds(void *context) {
    const Side *side = context;
    return side->kernels ? kernels_time(side->bench, side->kernels)
                         : library_time(side->bench, side->product);
}

static Outcome both_measure(Bench *b, const Kernels *kernels, Product *product, double least) {
    Side ours = {.bench = b, .kernels = kernels}, library = {.bench = b, .product = product};
    const Contender contenders[] = {{side_seconds, &ours}, {side_seconds, &library}};
    TurnOptions options = {.threads = b->threads,
                           .is_long = shape_flops(&product->shape) > FLOPS_LONG,
                           .question = ENOUGH,
                           .least = least,
                           .most = MOST_SECONDS};
    threads_place(&b->cpus, b->threads - 1);
    return turns_measure(contenders, &options);
}

// One schedule of one shape.
typedef struct {
    Schedule schedule;
    double compile_ms;
    Outcome out;
} Entry;

static void ratio_print(const Ratio *r) {
    printf(" %.2f | %.2f to %.2f |", r->median, r->low, r->high);
}

// The one that counts comes behind the prior's; NULL: that is it.
static void row_print(const Bench *b, const Shape *s, const Entry *e, const Entry *tuned) {
    StrBuf text = {0};
    schedule_print(&e->schedule, &text);
    const Outcome *out = &e->out;
    double flops = shape_flops(s);
    printf("| %u | %s | %lld x %lld x %lld | %c%c | %.1f | %.1f |", b->threads,
           dtype_text(s->type), (long long)s->m, (long long)s->n, (long long)s->k,
           s->turned_a ? 'T' : 'N', s->turned_b ? 'T' : 'N', flops / out->least[0] * 1e-9,
           flops / out->least[1] * 1e-9);
    ratio_print(&out->ratio);
    printf(" %.2f | %.0f | %s |", flops / out->least[0] / b->peak, e->compile_ms,
           text.ptr ? text.ptr : "");
    strbuf_release(&text);
    if (tuned != NULL) {
        schedule_print(&tuned->schedule, &text);
        ratio_print(&tuned->out.ratio);
        printf(" %s |", text.ptr ? text.ptr : "");
        strbuf_release(&text);
    }
    putchar('\n');
    fflush(stdout);
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

static void schedule_measure(Bench *b, const Shape *s, Data *data, Entry *e, double least) {
    ArenaMark mark = arena_mark(&b->arena);
    Kernels kernels = kernels_new(b, contraction(&b->arena, s), &e->schedule, data->ours);
    kernels_time(b, &kernels);
    result_check(b, s, data->ours);
    Product product;
    if (product_open(&product, s, data->library) && product_run(&product))
        results_compare(b, s, data->ours[PRODUCT_Y], data->library[PRODUCT_Y]);
    e->compile_ms = kernels.compile_ms;
    e->out = both_measure(b, &kernels, &product, least);
    product_close(&product);
    kernels_unload(&kernels);
    arena_rewind(&b->arena, mark);
}

static Schedule schedule_of_prior(Bench *b, const Shape *s) {
    ArenaMark mark = arena_mark(&b->arena);
    Regions *regions = contraction(&b->arena, s);
    Schedule schedule =
        schedule_prior(regions, &regions->regions[0], cpu_level_here(), b->threads);
    arena_rewind(&b->arena, mark);
    return schedule;
}

// ---- tuning

// The fastest of all trials that is generated code; the prior's if time was too short for any.
static Schedule fastest(Bench *b, const PlanRequest *plan, const Regions *regions,
                        Schedule otherwise) {
    Trial *trials;
    TuneContext context = {cpu_name_here(&b->arena), plan->target.level, plan->run_threads,
                           emitter_version(&b->arena, plan->target.level)};
    uint32_t best = 0, count = database_trials(b->db, &b->arena,
                                               region_hash(regions, &regions->regions[0]),
                                               tune_context_hash(&context), &trials);
    double least = HUGE_VAL;
    for (uint32_t i = 0; i < count; i++) {
        if (trials[i].status != TRIAL_OK || trials[i].schedule.library) continue;
        if (trials[i].median >= least) continue;
        best = i;
        least = trials[i].median;
    }
    return least < HUGE_VAL ? trials[best].schedule : otherwise;
}

// Trials of earlier calls count as well, and are not made again.
static Schedule schedule_of_tuner(Bench *b, const Shape *s, uint32_t most) {
    ArenaMark mark = arena_mark(&b->arena);
    Regions *regions = contraction(&b->arena, s);
    PlanRequestEntry entry = {STR("gemm"), regions->graph};
    PlanRequest plan = {
        .model = STR("gemm"),
        .target = {.level = cpu_level_here(), .threads = b->threads, .db = b->db},
        .run_threads = b->threads,
        .entries = &entry,
        .entry_count = 1};
    TuneRequest request = {.request = &plan,
                           .seconds = TUNING_SECONDS,
                           .trials = most,
                           .measure = measure_defaults()};
    TuneReport report;
    // The tuner's process chooses its own CPUs, from all.
    (void)sched_setaffinity(0, sizeof b->cpus, &b->cpus);
    if (!tune(&b->diag, &b->arena, &request, &report)) fail(b, "tuning failed");
    Schedule schedule = fastest(b, &plan, regions, schedule_of_prior(b, s));
    arena_rewind(&b->arena, mark);
    return schedule;
}

// ---- tables

static void bench_start(Bench *b, uint32_t threads) {
    *b = (Bench){.threads = threads};
    if (sched_getaffinity(0, sizeof b->cpus, &b->cpus)) CPU_ZERO(&b->cpus);
    diag_init(&b->diag, &b->arena);
    if (!pool_open(&b->diag, threads, &b->pool)) fail(b, "no threads");
    if (!database_open(&b->diag, (Str){0}, &b->db)) fail(b, "no database");
    onednn_threads((int)threads);
    threads_place(&b->cpus, threads - 1);
    b->peak = peak_measure(b);
}

static void bench_end(Bench *b) {
    (void)sched_setaffinity(0, sizeof b->cpus, &b->cpus);
    database_close(b->db);
    pool_close(b->pool);
    arena_release(&b->arena);
}

static void heading(const Bench *b, DType type, bool tuned) {
    printf("\n%s, %u threads, peak in f32 %.0f Gflop/s\n\n", dtype_text(type), b->threads,
           b->peak * 1e-9);
    if (type == DTYPE_BF16 && !__builtin_cpu_supports("avx512bf16"))
        printf("This processor has no bf16 instructions: oneDNN's bf16 is slower than its f32 "
               "on large shapes, so compare with its f32 as well.\n\n");
    printf("| threads | type | M x N x K | layout | ours Gflop/s | oneDNN Gflop/s | ratio "
           "| 95 %% interval | of peak | compile ms | schedule |%s\n"
           "|---|---|---|---|---|---|---|---|---|---|---|%s\n",
           tuned ? " tuned ratio | 95 % interval | tuned schedule |" : "",
           tuned ? "---|---|---|" : "");
}

// Which rows of the tables are wanted, and how.
typedef struct {
    DType types[2];
    int type_count;
    int64_t threads, m;  // 0: all
    int64_t trials;      // of the tuner; 0: no tuning
    const char *layout;  // NULL: all
} Request;

static const char *const layouts[] = {"NN", "NT", "TN"};

static Shape shape_of(DType type, const int64_t extents[3], const char *layout) {
    return (Shape){extents[0],       extents[1],       extents[2],
                   layout[0] == 'T', layout[1] == 'T', type};
}

typedef struct {
    Shape shape;
    Ratio prior, counts;
} Result;

// The best of what the tuner finds and what is there.
static void tuned_measure(Bench *b, const Shape *s, Data *data, int64_t trials, Entry *best) {
    for (int i = 0; i < MOST_TUNINGS && best->out.ratio.low < ENOUGH; i++) {
        Entry tuned = {.schedule = schedule_of_tuner(b, s, (uint32_t)trials)};
        if (memcmp(&tuned.schedule, &best->schedule, sizeof tuned.schedule) == 0) continue;
        schedule_measure(b, s, data, &tuned, LEAST_SECONDS);
        if (tuned.out.ratio.median > best->out.ratio.median) *best = tuned;
    }
}

static Result shape_run(Bench *b, const Shape *s, Data *data, int64_t trials) {
    Entry prior = {.schedule = schedule_of_prior(b, s)};
    schedule_measure(b, s, data, &prior, LEAST_SECONDS);
    bool again = trials > 0 && prior.out.ratio.low < ENOUGH;
    Entry counts = prior;
    if (again) {
        tuned_measure(b, s, data, trials, &counts);
        schedule_measure(b, s, data, &counts, LEAST_SECONDS);
    }
    row_print(b, s, &prior, again ? &counts : NULL);
    return (Result){*s, prior.out.ratio, counts.out.ratio};
}

static void ratios_print(const char *what, double *ratios, int count) {
    int good = 0;
    for (int i = 0; i < count; i++)
        good += ratios[i] >= ENOUGH;
    qsort(ratios, (size_t)count, sizeof *ratios, by_value);
    printf("%s: ratio to oneDNN over %d shapes: worst %.2f, tenth %.2f, median %.2f; %d of at "
           "least %.2f\n",
           what, count, ratios[0], ratios[count / 10], ratios[count / 2], good, ENOUGH);
}

static void results_print(const Result *results, int count, bool tuned) {
    double prior[MOST_SHAPES], counts[MOST_SHAPES];
    for (int i = 0; i < count; i++) {
        prior[i] = results[i].prior.median;
        counts[i] = results[i].counts.median;
    }
    ratios_print("schedules of the prior", prior, count);
    if (tuned)
        ratios_print("\nthe tuner's where those do not surely reach that", counts, count);
    for (int i = 0; i < count; i++) {
        const Shape *s = &results[i].shape;
        const Ratio *r = &results[i].counts;
        if (r->median < ENOUGH)
            printf("\nbelow: %lld x %lld x %lld %c%c, %.2f (%.2f to %.2f)\n", (long long)s->m,
                   (long long)s->n, (long long)s->k, s->turned_a ? 'T' : 'N',
                   s->turned_b ? 'T' : 'N', r->median, r->low, r->high);
    }
}

static void rule_print(int64_t trials) {
    printf(
        "Ratios are medians of rounds in turns, which are made until the 95 %% interval lies "
        "on one side of %.2f or is 2 %% wide, for at most %.0f s.\n",
        ENOUGH, MOST_SECONDS);
    if (trials > 0)
        printf("Unless the interval of the prior's schedule lies above, the tuner tries %lld "
               "more schedules for at most %.0f s, up to %d times; the best is then measured "
               "anew, and that counts.\n",
               (long long)trials, TUNING_SECONDS, MOST_TUNINGS);
}

static void table(const Request *request, DType type, uint32_t threads) {
    static const int64_t rows[] = {1, 8, 256, 2048}, sides[] = {256, 512, 1024, 2048};
    Result results[MOST_SHAPES];
    int count = 0;
    if (request->threads && request->threads != threads) return;
    Bench b;
    bench_start(&b, threads);
    heading(&b, type, request->trials > 0);
    Data data = data_new(&b, &(Shape){2048, 2048, 2048, .type = type});
    for (int layout = 0; layout < 3; layout++)
        for (int i = 0; i < 4 * 4 * 4; i++) {
            int64_t extents[] = {rows[i / 16], sides[i / 4 % 4], sides[i % 4]};
            if (request->m && request->m != extents[0]) continue;
            if (request->layout && strcmp(request->layout, layouts[layout]) != 0) continue;
            Shape s = shape_of(type, extents, layouts[layout]);
            results[count++] = shape_run(&b, &s, &data, request->trials);
        }
    printf("\n%s, %u threads, ", dtype_text(type), threads);
    if (count > 0) results_print(results, count, request->trials > 0);
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
    int64_t extents[] = {number(argv[1]), number(argv[2]), number(argv[3])};
    Shape s = shape_of(type, extents, argv[4]);
    Data data = data_new(&b, &s);
    heading(&b, type, false);
    for (int i = argc == 5 ? 4 : 5; i < argc; i++) {
        Entry e = {.schedule = schedule_none()};
        if (i == 4)
            e.schedule = schedule_of_prior(&b, &s);
        else if (!schedule_read(str_of(argv[i]), &e.schedule))
            fail(&b, "no schedule");
        schedule_measure(&b, &s, &data, &e, 0.3);
        row_print(&b, &s, &e, NULL);
    }
    bench_end(&b);
}

// Takes options from the front of the arguments; false: one that is none.
static bool request_read(Request *r, int *argc, char ***argv) {
    *r = (Request){.types = {DTYPE_F32, DTYPE_BF16}, .type_count = 2};
    for (; *argc >= 2 && (*argv)[0][0] == '-'; *argc -= 2, *argv += 2) {
        const char *option = (*argv)[0], *value = (*argv)[1];
        if (strcmp(option, "--type") == 0) {
            r->type_count = 1;
            if (!dtype_parse(str_of(value), &r->types[0])) return false;
            if (r->types[0] != DTYPE_F32 && r->types[0] != DTYPE_BF16) return false;
        } else if (strcmp(option, "--threads") == 0) {
            r->threads = number(value);
        } else if (strcmp(option, "--m") == 0) {
            r->m = number(value);
        } else if (strcmp(option, "--tune") == 0) {
            r->trials = number(value);
        } else if (strcmp(option, "--layout") == 0) {
            r->layout = value;
        } else {
            return false;
        }
    }
    return *argc == 0 || *argc >= 5;
}

int main(int argc, char **argv) {
    Request request;
    argc--, argv++;
    if (!request_read(&request, &argc, &argv)) {
        fputs("usage: bench_gemm [--type f32|bf16] [--threads N] [--m M] [--layout NN|NT|TN]\n"
              "                  [--tune TRIALS]\n"
              "       bench_gemm [--type f32|bf16] THREADS M N K LAYOUT [SCHEDULE...]\n",
              stderr);
        return 2;
    }
    if (argc == 0) rule_print(request.trials);
    for (int i = 0; i < request.type_count; i++) {
        DType type = request.types[i];
        if (argc > 0)
            one(type, argc, argv);
        else
            table(&request, type, 1), table(&request, type, 2);
    }
    return 0;
}
