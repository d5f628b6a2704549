// peaks.c: fused multiply-adds without memory, and reading without arithmetic, on all threads
// at once. The best of a few runs counts: whatever disturbs one only makes it slower.
#include "autotune/peaks.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "autotune/cuda_peaks.h"
#include "base/clock.h"

enum {
    READ_TRIES = 60,
    FMA_TRIES = 20,
    FMA_ROUNDS = 100000,
    CHAINS = 10,
    WINDOWS = 8,
    CACHE_LINE = 64,
    READ_ALIGN = 2048,
    PIECES = 32
};

// ---- arithmetic: ten independent chains hide the latency of four or five cycles on two units.
// They start differently, or the compiler would see that they are one.

#define FMA_LOOP(name, features, Vector, set, store, lanes, fma)                       \
    FAST_ON(features) static double name(int64_t rounds) {                             \
        Vector x = set(0.999F), y = set(0.001F), a = set(1), b = set(2), c = set(3),   \
               d = set(4), e = set(5), f = set(6), g = set(7), h = set(8), i = set(9), \
               j = set(10);                                                            \
        for (int64_t r = 0; r < rounds; r++) {                                         \
            a = fma(a, x, y), b = fma(b, x, y), c = fma(c, x, y), d = fma(d, x, y);    \
            e = fma(e, x, y), f = fma(f, x, y), g = fma(g, x, y), h = fma(h, x, y);    \
            i = fma(i, x, y), j = fma(j, x, y);                                        \
        }                                                                              \
        a = fma(a, b, c), d = fma(d, e, f), g = fma(g, h, i), a = fma(a, d, g);        \
        float out[lanes];                                                              \
        store(out, fma(a, x, j));                                                      \
        return (double)out[0];                                                         \
    }
#define MULTIPLY_ADD_SSE(a, x, y) _mm_add_ps(_mm_mul_ps(a, x), y)
FMA_LOOP(fma_portable, "sse2", __m128, _mm_set1_ps, _mm_storeu_ps, 4, MULTIPLY_ADD_SSE)
FMA_LOOP(fma_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_storeu_ps, 8, _mm256_fmadd_ps)
FMA_LOOP(fma_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_storeu_ps, 16, _mm512_fmadd_ps)

typedef double FmaFn(int64_t rounds);
static FmaFn *const fma_loops[] = {fma_portable, fma_avx2, fma_avx512, fma_avx512};
static const int fma_lanes[] = {4, 8, 16, 16};

// ---- reading: several runs of addresses at once, each asked for some bytes before. One run
// leaves the memory idle at its ends of pages; how much is best to ask for depends on the
// processor.

typedef struct {
    size_t runs, ahead;
} ReadForm;
static const ReadForm read_forms[PEAK_READ_FORMS] = {{1, 0}, {4, 4096}, {8, 2048}};

// Four chains; `bytes` is a multiple of READ_ALIGN.
#define READ_LOOP(name, features, Vector, load, both)                                       \
    FAST_ON(features) static uint64_t name(const char *data, size_t bytes, ReadForm form) { \
        size_t run = bytes / form.runs;                                                     \
        const Vector *x = (const void *)data;                                               \
        Vector a = load(x), b = a, c = a, d = a;                                            \
        for (size_t i = 0; i < run; i += 4 * sizeof a)                                      \
            for (const char *at = data + i; at < data + bytes; at += run) {                 \
                for (size_t k = 0; form.ahead > 0 && k < 4 * sizeof a; k += CACHE_LINE)     \
                    _mm_prefetch(at + form.ahead + k, _MM_HINT_T1);                         \
                x = (const void *)at;                                                       \
                a = both(a, load(x)), b = both(b, load(x + 1));                             \
                c = both(c, load(x + 2)), d = both(d, load(x + 3));                         \
            }                                                                               \
        a = both(both(a, b), both(c, d));                                                   \
        uint64_t out;                                                                       \
        memcpy(&out, &a, sizeof out);                                                       \
        return out;                                                                         \
    }
READ_LOOP(read_portable, "sse2", __m128i, _mm_load_si128, _mm_xor_si128)
READ_LOOP(read_avx2, "avx2", __m256i, _mm256_load_si256, _mm256_xor_si256)
READ_LOOP(read_avx512, "avx512f", __m512i, _mm512_load_si512, _mm512_xor_si512)

typedef uint64_t ReadFn(const char *data, size_t bytes, ReadForm form);
static ReadFn *const read_loops[] = {read_portable, read_avx2, read_avx512, read_avx512};

typedef struct {
    IsaLevel level;
    const char *data;
    size_t each;  // bytes of a piece
    ReadForm form;
    _Atomic uint64_t kept;  // so that no result is unused
} PeakJob;

static void run_fma(void *context, int64_t begin, int64_t end, uint32_t thread) {
    PeakJob *job = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        job->kept += fma_loops[job->level](FMA_ROUNDS) > 2;
}

static void run_read(void *context, int64_t begin, int64_t end, uint32_t thread) {
    PeakJob *job = context;
    (void)thread;
    job->kept += read_loops[job->level](job->data + (size_t)begin * job->each,
                                        (size_t)(end - begin) * job->each, job->form);
}

static double seconds_of(Pool *pool, int64_t pieces, PoolFn *fn, PeakJob *job) {
    double start = clock_seconds();
    pool_run(pool, pieces, fn, job);
    return clock_seconds() - start;
}

double peak_read_seconds(Pool *pool, IsaLevel level, int form, const void *data, size_t bytes) {
    PeakJob job = {.level = level, .data = data, .form = read_forms[form]};
    job.each = bytes / PIECES / READ_ALIGN * READ_ALIGN;
    double rest = (double)bytes / (double)(job.each * PIECES);
    return seconds_of(pool, PIECES, run_read, &job) * rest;
}

static double measure_fma(Pool *pool, PeakJob *job) {
    int64_t pieces = 8 * (int64_t)pool_threads(pool);
    double flops = 2.0 * CHAINS * fma_lanes[job->level] * FMA_ROUNDS * (double)pieces;
    double best = seconds_of(pool, pieces, run_fma, job);
    for (int i = 1; i < FMA_TRIES; i++)
        best = fmin(best, seconds_of(pool, pieces, run_fma, job));
    return flops / best;
}

// ---- reading: from memory, and from data small enough for a cache

static size_t cache_bytes(int name, size_t otherwise) {
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : otherwise;
}

static size_t l2_size(void) { return cache_bytes(_SC_LEVEL2_CACHE_SIZE, (size_t)1 << 20); }
static size_t l3_size(void) { return cache_bytes(_SC_LEVEL3_CACHE_SIZE, (size_t)16 << 20); }

// Several times the last cache, so that it holds little of it from one pass to the next.
static size_t buffer_bytes(void) {
    const size_t least = (size_t)64 << 20, most = (size_t)384 << 20;
    size_t wanted = l3_size() * 4;
    return wanted < least ? least : wanted > most ? most : wanted;
}

// Bytes a second, reading pieces of `each` bytes: all of one window, then of the next.
typedef struct {
    size_t each;
    uint32_t pieces, windows;
} ReadPlan;

// The best of all forms and tries.
static double best_read(Pool *pool, PeakJob *job, const char *data, ReadPlan plan) {
    const double least_seconds = 0.03;
    double best = HUGE_VAL;
    size_t window = plan.each * plan.pieces;
    job->each = plan.each;
    double start = clock_seconds();
    for (uint32_t i = 0; i < READ_TRIES || clock_seconds() - start < least_seconds; i++) {
        job->data = data + (size_t)(i % plan.windows) * window;
        job->form = read_forms[i % PEAK_READ_FORMS];
        best = fmin(best, seconds_of(pool, plan.pieces, run_read, job));
    }
    return (double)window / best;
}

static size_t lines(size_t bytes) { return bytes / READ_ALIGN * READ_ALIGN; }

static void read_all(Pool *pool, PeakJob *job, const char *data, MachinePeaks *out) {
    uint32_t threads = pool_threads(pool);
    size_t most = buffer_bytes();
    ReadPlan memory = {lines(most / WINDOWS / PIECES), PIECES, WINDOWS};
    out->read_bytes = best_read(pool, job, data, memory);
    // More than the second caches hold, and less than the third.
    size_t l3 =
        4 * l2_size() * threads < l3_size() / 2 ? 4 * l2_size() * threads : l3_size() / 2;
    ReadPlan third = {lines((l3 < most ? l3 : most) / PIECES), PIECES, 1};
    out->l3_bytes = fmax(best_read(pool, job, data, third), out->read_bytes);
    // One piece a thread: with luck each reads its own again.
    ReadPlan second = {lines(l2_size() / 2), threads, 1};
    if (second.each * threads > most) second.each = lines(most / threads);
    out->l2_bytes = fmax(best_read(pool, job, data, second), out->l3_bytes);
}

static bool measure_read(Diag *diag, Pool *pool, PeakJob *job, MachinePeaks *out) {
    size_t bytes = buffer_bytes();
    char *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return diag_fail(diag, FAIL_ENVIRONMENT,
                         "not enough memory to measure its bandwidth: %.0f MiB",
                         (double)bytes / (1 << 20));
    madvise(data, bytes, MADV_HUGEPAGE);
    memset(data, 1, bytes);
    read_all(pool, job, data, out);
    munmap(data, bytes);
    return true;
}

bool machine_peaks_measure(Diag *diag, Database *db, const TuneContext *context,
                           MachinePeaks *out) {
    Pool *pool;
    if (!pool_open(diag, context->threads, &pool)) return false;
    PeakJob job = {.level = context->level};
    out->flops = measure_fma(pool, &job);
    bool ok = measure_read(diag, pool, &job, out);
    pool_close(pool);
    if (!ok || !db) return ok;
    database_peaks_add(db, context, out);
    MachinePeaks kept;
    if (database_peaks_find(db, context, &kept)) *out = kept;
    return true;
}

bool machine_peaks(Diag *diag, Database *db, const TuneContext *context, MachinePeaks *out) {
    if (level_is_cuda(context->level)) {
        if (!db || !database_peaks_find(db, context, out))
            *out = cuda_peaks_sheet(context->level);
        return true;
    }
    if (db && database_peaks_find(db, context, out)) return true;
    return machine_peaks_measure(diag, db, context, out);
}

// Data that fit in a cache may be there already.
static double read_bytes(const MachinePeaks *peaks, double bytes) {
    if (peaks->l2_bytes > 0 && bytes <= (double)l2_size()) return peaks->l2_bytes;
    if (peaks->l3_bytes > 0 && bytes <= (double)l3_size()) return peaks->l3_bytes;
    return peaks->read_bytes;
}

double floor_ns(const MachinePeaks *peaks, double f32_flops, double bytes) {
    return 1e9 * fmax(f32_flops / peaks->flops, bytes / read_bytes(peaks, bytes));
}
