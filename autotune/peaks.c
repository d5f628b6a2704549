// peaks.c: fused multiply-adds without memory, and reading without arithmetic, on all threads
// at once. The best of a few runs counts: whatever disturbs one only makes it slower.
#include "autotune/peaks.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { TRIES = 20, FMA_ROUNDS = 100000, CHAINS = 10, CACHE_LINE = 64, WINDOWS = 8 };

// ---- arithmetic: ten independent chains hide the latency of four or five cycles on two units.
// They start differently, or the compiler would see that they are one.

#if defined(__x86_64__)
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
static FmaFn *const fma_loops[] = {fma_portable, fma_avx2, fma_avx512};
static const int fma_lanes[] = {4, 8, 16};

FAST_ON("sse2") static uint64_t read_line_sums(const unsigned char *data, size_t bytes) {
    __m128i a = _mm_setzero_si128(), b = a, c = a, d = a;
    for (size_t i = 0; i + CACHE_LINE <= bytes; i += CACHE_LINE) {
        const void *line = data + i;
        const __m128i *part = line;
        a = _mm_xor_si128(a, _mm_load_si128(part));
        b = _mm_xor_si128(b, _mm_load_si128(part + 1));
        c = _mm_xor_si128(c, _mm_load_si128(part + 2));
        d = _mm_xor_si128(d, _mm_load_si128(part + 3));
    }
    a = _mm_xor_si128(_mm_xor_si128(a, b), _mm_xor_si128(c, d));
    return (uint64_t)_mm_cvtsi128_si64(a);
}
#endif

typedef struct {
    CpuLevel level;
    const unsigned char *data;
    size_t each;            // bytes of a piece
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
    job->kept += read_line_sums(job->data + (size_t)begin * job->each,
                                (size_t)(end - begin) * job->each);
}

static double seconds_of(Pool *pool, int64_t pieces, PoolFn *fn, PeakJob *job) {
    double start = clock_seconds();
    pool_run(pool, pieces, fn, job);
    return clock_seconds() - start;
}

static double least(double a, double b) { return a < b ? a : b; }

static double measure_fma(Pool *pool, PeakJob *job) {
    int64_t pieces = 8 * (int64_t)pool_threads(pool);
    double flops = 2.0 * CHAINS * fma_lanes[job->level] * FMA_ROUNDS * (double)pieces;
    double best = seconds_of(pool, pieces, run_fma, job);
    for (int i = 1; i < TRIES; i++)
        best = least(best, seconds_of(pool, pieces, run_fma, job));
    return flops / best;
}

// Several times the last cache, so that it holds little of it from one run to the next.
static size_t buffer_bytes(void) {
    const size_t least = (size_t)64 << 20, most = (size_t)512 << 20;
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t wanted = cache > 0 ? (size_t)cache * 4 : least;
    return wanted < least ? least : wanted > most ? most : wanted;
}

// One window after the other: when the first comes again, the rest has taken its place in the
// caches.
static bool measure_read(Diag *diag, Pool *pool, PeakJob *job, double *out) {
    enum { PIECES = 32 };
    size_t each = buffer_bytes() / WINDOWS / PIECES / CACHE_LINE * CACHE_LINE,
           window = each * PIECES, bytes = window * WINDOWS;
    unsigned char *data =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return diag_fail(diag, FAIL_ENVIRONMENT,
                         "not enough memory to measure its bandwidth: %.0f MiB",
                         (double)bytes / (1 << 20));
    madvise(data, bytes, MADV_HUGEPAGE);
    memset(data, 1, bytes);
    job->each = each;
    double best = HUGE_VAL;
    for (int i = 0; i < TRIES; i++) {
        job->data = data + (size_t)(i % WINDOWS) * window;
        best = least(best, seconds_of(pool, PIECES, run_read, job));
    }
    munmap(data, bytes);
    *out = (double)window / best;
    return true;
}

bool machine_peaks_measure(Diag *diag, Database *db, const TuneContext *context,
                           MachinePeaks *out) {
    Pool *pool;
    if (!pool_open(diag, context->threads, &pool)) return false;
    PeakJob job = {.level = context->level};
    out->flops = measure_fma(pool, &job);
    bool ok = measure_read(diag, pool, &job, &out->read_bytes);
    pool_close(pool);
    if (!ok || !db) return ok;
    database_peaks_add(db, context, out);
    MachinePeaks kept;
    if (database_peaks_find(db, context, &kept)) *out = kept;
    return true;
}

bool machine_peaks(Diag *diag, Database *db, const TuneContext *context, MachinePeaks *out) {
    if (db && database_peaks_find(db, context, out)) return true;
    return machine_peaks_measure(diag, db, context, out);
}

double floor_ns(const MachinePeaks *peaks, double flops, double bytes) {
    double compute = flops / peaks->flops, move = bytes / peaks->read_bytes;
    return 1e9 * (compute > move ? compute : move);
}
