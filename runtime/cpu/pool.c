// pool.c: threads that share out [0, n).
//
// A job is announced by one line of memory that the caller alone writes:
//
//     | number, shares, pieces of each | what is to be done |
//
// and each thread has a line of its own, which says how far its share of it is:
//
//     | number, pieces begun | number of the job that the thread is working on |
//
// A piece belongs to whoever adds one to those begun. A share that is still at an earlier
// number has none begun yet, so nothing is reset between jobs; at a later one the job is over.
// The caller goes on when all pieces are begun and nobody works on any. A worker that slept
// through a job therefore delays nobody: in the shares of an old job it finds nothing that it
// could begin, whatever it has read of what is to be done.
#include "runtime/cpu/pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/integer.h"
#include "runtime/cpu/cpu.h"

enum {
    PIECES_BITS = 5,  // below a number: of pieces, and of shares
    SHARES_BITS = 11,
    COUNT_BITS = PIECES_BITS + SHARES_BITS,
    THREADS_MAX = 1024,
    // Pieces per thread: enough to even out, few enough to cost nothing. A job with many tasks
    // has more: it lasts long, and what its tasks cost may differ (rows of groups).
    PIECES = 4,
    PIECES_MOST = 16,
    PIECE_TASKS = 64,  // at least, of pieces that are further ones
    PAUSES = 64,
    SPIN_LEAST_NS = 50000,
    SPIN_FIRST_NS = 200000,
    SPIN_MOST_NS = 1000000,
    CACHE_LINE = 64,
    AHEAD_LINES = 2,         // asked for at once: a job may come in between
    AHEAD_MOST = 256 << 10,  // per thread: a part of its second-level cache
    HUGE_PAGE = 1 << 21,
};

// On a line of its own.
typedef struct {
    _Alignas(CACHE_LINE) _Atomic uint64_t begun;
    _Atomic uint64_t working;  // 0: on none
} Share;

// Either fn or kernel.
typedef struct {
    uint64_t number;  // with shares and pieces
    PoolFn *fn;
    void *context;
    KernelFn *kernel;
    void *const *args;
    int64_t n;
} Job;

// The same where workers see it.
typedef struct {
    _Alignas(CACHE_LINE) _Atomic uint64_t number;
    PoolFn *_Atomic fn;
    void *_Atomic context;
    KernelFn *_Atomic kernel;
    void *const *_Atomic args;
    _Atomic int64_t n;
} Announcement;

_Static_assert(sizeof(Announcement) == CACHE_LINE, "one transfer tells all");
_Static_assert(PIECES_MOST < 1 << PIECES_BITS && THREADS_MAX < 1 << SHARES_BITS, "they fit");

// How far a thread is with its part of what is read ahead.
typedef struct {
    const unsigned char *data;
    size_t done;
} Asked;

typedef struct {
    Pool *pool;
    uint32_t index;
    pthread_t thread;
    Asked asked;
} Worker;

// Where workers may run: anywhere but on the caller's CPU.
typedef struct {
    cpu_set_t all;  // that the process may use; none: unknown, so workers stay as they are
    int caller;     // -1: not known yet
} Cpus;

struct Pool {
    Announcement announced;
    _Alignas(CACHE_LINE) _Atomic uint32_t bell;  // sleepers wait for it to change
    _Atomic uint32_t sleepers;
    _Atomic bool quit;
    // What a coming job reads, a part for each thread. The two may not match for a moment: they
    // are only asked for.
    _Alignas(CACHE_LINE) const unsigned char *_Atomic ahead;
    _Atomic size_t ahead_part;
    // Workers only read this.
    _Alignas(CACHE_LINE) unsigned char *scratch;
    size_t scratch_bytes;  // per thread
    void *scratch_map;     // what `scratch` lies in
    size_t scratch_mapped;
    size_t mapped;  // of this struct and what follows it
    Worker *workers;
    Share *shares;
    uint32_t threads;
    // The caller's alone.
    _Alignas(CACHE_LINE) bool busy;
    Cpus cpus;
};

static void pause_cpu(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_ia32_pause();
#endif
}

static void sleep_on(_Atomic uint32_t *word, uint32_t seen) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void wake_all(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

// floor(n * part / parts) without overflow.
static int64_t cut(int64_t n, uint32_t part, uint32_t parts) {
    return n / parts * part + n % parts * part / parts;
}

static uint32_t pieces_for(int64_t share) {
    int64_t pieces = share / PIECE_TASKS;
    if (share < PIECES) return (uint32_t)share;
    if (pieces <= PIECES) return PIECES;
    return pieces < PIECES_MOST ? (uint32_t)pieces : PIECES_MOST;
}

// Results too small for a normal number become 0 while kernels run: computing them exactly
// costs some hundred cycles each, and tails of a softmax and old moments are full of them.
enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x40 };

static void run_kernel(const Pool *pool, const Job *job, const int64_t tasks[2],
                       uint32_t thread) {
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
    job->kernel(job->args, tasks[0], tasks[1], pool_scratch(pool, thread));
    _mm_setcsr(before);
}

// Threads that the job is cut for.
static uint32_t shares_of(uint64_t number) {
    return (uint32_t)(number >> PIECES_BITS) % (1U << SHARES_BITS);
}

static uint32_t pieces_of(uint64_t number) { return (uint32_t)number % (1U << PIECES_BITS); }

static void run_piece(const Pool *pool, const Job *job, uint32_t part, uint32_t thread) {
    uint32_t parts = shares_of(job->number) * pieces_of(job->number);
    int64_t tasks[2] = {cut(job->n, part, parts), cut(job->n, part + 1, parts)};
    if (tasks[0] == tasks[1]) return;
    if (job->kernel) {
        run_kernel(pool, job, tasks, thread);
        return;
    }
    ASSERT(job->fn);
    job->fn(job->context, tasks[0], tasks[1], thread);
}

// Begins a piece of the share; false if there are no more, or the job is over.
static bool piece_begin(Share *share, uint64_t number, uint32_t *piece) {
    uint64_t first = number >> COUNT_BITS << COUNT_BITS, end = first + pieces_of(number);
    uint64_t begun = atomic_load_explicit(&share->begun, memory_order_acquire);
    for (;;) {
        uint64_t next = begun < first ? first : begun;
        if (next >= end) return false;
        if (!atomic_compare_exchange_weak_explicit(&share->begun, &begun, next + 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        *piece = (uint32_t)(next - first);
        return true;
    }
}

static void run_shares(Pool *pool, const Job *job, uint32_t thread) {
    uint32_t shares = shares_of(job->number), pieces = pieces_of(job->number), piece;
    for (uint32_t i = 0; i < shares; i++) {
        uint32_t share = (thread + i) % shares;
        while (piece_begin(&pool->shares[share], job->number, &piece))
            run_piece(pool, job, share * pieces + piece, thread);
    }
}

// Works on the job that is announced, unless this worker has seen it.
static bool take_part(Pool *pool, uint32_t thread, uint64_t *seen) {
    Announcement *a = &pool->announced;
    Job job = {.number = atomic_load_explicit(&a->number, memory_order_acquire)};
    if (job.number == *seen) return false;
    *seen = job.number;
    job.fn = atomic_load_explicit(&a->fn, memory_order_relaxed);
    job.context = atomic_load_explicit(&a->context, memory_order_relaxed);
    job.kernel = atomic_load_explicit(&a->kernel, memory_order_relaxed);
    job.args = atomic_load_explicit(&a->args, memory_order_relaxed);
    job.n = atomic_load_explicit(&a->n, memory_order_relaxed);
    _Atomic uint64_t *working = &pool->shares[thread].working;
    atomic_store_explicit(working, job.number, memory_order_relaxed);
    run_shares(pool, &job, thread);
    atomic_store_explicit(working, 0, memory_order_release);
    return true;
}

// Asks for the next lines of the thread's part; false when there are no more. Memory that is no
// longer there may be asked for.
static bool ask_ahead(Pool *pool, uint32_t thread, Asked *asked) {
    const unsigned char *data = atomic_load_explicit(&pool->ahead, memory_order_relaxed);
    size_t part = atomic_load_explicit(&pool->ahead_part, memory_order_relaxed);
    if (data != asked->data) *asked = (Asked){.data = data};
    size_t most = part < AHEAD_MOST ? part : AHEAD_MOST;
    if (!data || asked->done >= most) return false;
    const unsigned char *at = data + thread * part + asked->done;
    for (size_t i = 0; i < AHEAD_LINES; i++)
        __builtin_prefetch(at + i * CACHE_LINE, 0, 2);
    asked->done += (size_t)AHEAD_LINES * CACHE_LINE;
    return true;
}

static bool is_news(Pool *pool, uint64_t seen) {
    return atomic_load_explicit(&pool->announced.number, memory_order_acquire) != seen;
}

// Waits for another job than `seen`: spins for a while, then sleeps. A sleep that turns out
// short was a mistake, so the next one starts later; after a long one less is wasted on
// spinning.
static void wait_for_news(Worker *self, uint64_t seen, int64_t *patience) {
    Pool *pool = self->pool;
    int64_t start = clock_ns();
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (is_news(pool, seen)) return;
            if (!ask_ahead(pool, self->index, &self->asked)) pause_cpu();
        }
    } while (clock_ns() - start < *patience);
    int64_t asleep = clock_ns();
    atomic_fetch_add(&pool->sleepers, 1);
    for (;;) {
        uint32_t rung = atomic_load(&pool->bell);
        if (atomic_load(&pool->announced.number) != seen) break;
        sleep_on(&pool->bell, rung);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    bool was_short = clock_ns() - asleep < SPIN_MOST_NS;
    int64_t next = was_short ? *patience * 2 : *patience / 2;
    *patience = next < SPIN_LEAST_NS  ? SPIN_LEAST_NS
                : next > SPIN_MOST_NS ? SPIN_MOST_NS
                                      : next;
}

static void *worker_main(void *argument) {
    Worker *self = argument;
    Pool *pool = self->pool;
    uint64_t seen = 0;
    int64_t patience = SPIN_FIRST_NS;
    for (;;) {
        wait_for_news(self, seen, &patience);
        if (atomic_load_explicit(&pool->quit, memory_order_relaxed)) return NULL;
        take_part(pool, self->index, &seen);
    }
}

// The sleepers' side adds itself before it looks for news, this side tells them before it looks
// for sleepers: one of the two sees the other.
static void announce(Pool *pool, uint64_t number) {
    atomic_store(&pool->announced.number, number);
    if (!atomic_load(&pool->sleepers)) return;
    atomic_fetch_add(&pool->bell, 1);
    wake_all(&pool->bell);
}

static uint64_t next_number(const Pool *pool) {
    uint64_t last = atomic_load_explicit(&pool->announced.number, memory_order_relaxed);
    return ((last >> COUNT_BITS) + 1) << COUNT_BITS;
}

// On a busy machine the scheduler puts a thread that is woken on the CPU of the one that woke
// it. There the worker would wait for the caller's time to run out: milliseconds.
static void workers_keep_off(Pool *pool) {
    Cpus *cpus = &pool->cpus;
    int caller = sched_getcpu();
    if (caller == cpus->caller || caller < 0) return;
    cpus->caller = caller;
    cpu_set_t others = cpus->all;
    if (caller < CPU_SETSIZE) CPU_CLR((size_t)caller, &others);
    if (CPU_COUNT(&others) + 1 < (int)pool->threads) return;
    for (uint32_t i = 1; i < pool->threads; i++)
        pthread_setaffinity_np(pool->workers[i].thread, sizeof others, &others);
}

static void wait_for_workers(Pool *pool, uint64_t number) {
    uint32_t turns = 0;
    for (uint32_t i = 1; i < pool->threads; i++) {
        const Share *share = &pool->shares[i];
        while (atomic_load_explicit(&share->working, memory_order_acquire) == number) {
            if (!ask_ahead(pool, 0, &pool->workers[0].asked)) pause_cpu();
            // It may have lost its CPU to another process.
            if (++turns % 1024 == 0) sched_yield();
        }
    }
}

// The rest of the job is there.
static void job_run(Pool *pool, Job job) {
    Announcement *a = &pool->announced;
    ASSERT(!pool->busy);
    pool->busy = true;
    uint32_t shares = job.n < pool->threads ? (uint32_t)job.n : pool->threads;
    uint32_t pieces = pieces_for(ceil_div(job.n, shares));
    job.number = next_number(pool) + (shares << PIECES_BITS) + pieces;
    atomic_store_explicit(&a->fn, job.fn, memory_order_relaxed);
    atomic_store_explicit(&a->context, job.context, memory_order_relaxed);
    atomic_store_explicit(&a->kernel, job.kernel, memory_order_relaxed);
    atomic_store_explicit(&a->args, job.args, memory_order_relaxed);
    atomic_store_explicit(&a->n, job.n, memory_order_relaxed);
    workers_keep_off(pool);
    announce(pool, job.number);
    run_shares(pool, &job, 0);
    wait_for_workers(pool, job.number);
    pool->busy = false;
}

void pool_run(Pool *pool, int64_t n, PoolFn *fn, void *context) {
    if (n <= 0) return;
    if (pool->threads == 1 || n == 1)
        fn(context, 0, n, 0);
    else
        job_run(pool, (Job){.n = n, .fn = fn, .context = context});
}

void pool_read_ahead(Pool *pool, const void *data, size_t bytes) {
    // Threads that look at it need not fetch what they have.
    if (atomic_load_explicit(&pool->ahead, memory_order_relaxed) == data) return;
    atomic_store_explicit(&pool->ahead_part, bytes / pool->threads, memory_order_relaxed);
    atomic_store_explicit(&pool->ahead, data, memory_order_relaxed);
}

void pool_run_kernel(Pool *pool, KernelFn *fn, void *const *args, int64_t tasks) {
    if (tasks <= 0) return;
    if (pool->threads == 1 || tasks == 1)
        pool_run_alone(pool, fn, args, tasks);
    else
        job_run(pool, (Job){.n = tasks, .kernel = fn, .args = args});
}

void pool_run_alone(Pool *pool, KernelFn *fn, void *const *args, int64_t tasks) {
    Job job = {.kernel = fn, .args = args};
    run_kernel(pool, &job, (const int64_t[]){0, tasks}, 0);
}

static void *map_memory(size_t bytes) {
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

bool pool_reserve(Diag *diag, Pool *pool, int64_t bytes) {
    ASSERT(!pool->busy);
    if (bytes <= 0 || (size_t)bytes <= pool->scratch_bytes) return true;
    if (bytes > INT64_MAX / THREADS_MAX / 2)
        return diag_fail(diag, FAIL_INPUT, "scratch of %lld bytes is too large",
                         (long long)bytes);
    // A page between two threads' scratch keeps their lines and prefetches apart.
    size_t each = ((size_t)bytes + 4095) / 4096 * 4096 + 4096, all = each * pool->threads;
    size_t mapped = (all + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE + HUGE_PAGE;
    unsigned char *map = map_memory(mapped);
    if (!map) {
        return diag_fail(diag, FAIL_ENVIRONMENT, "not enough memory for scratch of %zu bytes",
                         all);
    }
    if (pool->scratch) munmap(pool->scratch_map, pool->scratch_mapped);
    pool->scratch_map = map;
    pool->scratch_mapped = mapped;
    pool->scratch = map + (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
    pool->scratch_bytes = each;
    // Copies of operands are walked in many orders.
    madvise(pool->scratch, mapped - HUGE_PAGE, MADV_HUGEPAGE);
    return true;
}

void *pool_scratch(const Pool *pool, uint32_t thread) {
    ASSERT_HOT(thread < pool->threads);
    return pool->scratch ? pool->scratch + thread * pool->scratch_bytes : NULL;
}

uint32_t pool_threads(const Pool *pool) { return pool->threads; }

static Pool *pool_allocate(uint32_t threads) {
    size_t bytes = sizeof(Pool) + threads * (sizeof(Share) + sizeof(Worker));
    unsigned char *memory = map_memory(bytes);
    if (!memory) return NULL;
    void *pool_place = memory, *shares = memory + sizeof(Pool);
    void *workers = memory + sizeof(Pool) + threads * sizeof(Share);
    Pool *pool = pool_place;
    pool->mapped = bytes;
    pool->shares = shares;
    pool->workers = workers;
    return pool;
}

bool pool_open(Diag *diag, uint32_t threads, Pool **out) {
    uint32_t most = cpu_count();
    if (most > THREADS_MAX) most = THREADS_MAX;
    if (!threads || threads > most) threads = most;
    Pool *pool = pool_allocate(threads);
    *out = NULL;
    if (!pool) return diag_fail(diag, FAIL_ENVIRONMENT, "not enough memory for threads");
    pool->threads = 1;
    pool->cpus.caller = -1;
    if (sched_getaffinity(0, sizeof pool->cpus.all, &pool->cpus.all)) CPU_ZERO(&pool->cpus.all);
    for (uint32_t i = 1; i < threads; i++) {
        Worker *w = &pool->workers[i];
        *w = (Worker){.pool = pool, .index = i};
        int error = pthread_create(&w->thread, NULL, worker_main, w);
        if (error) {
            pool_close(pool);
            return diag_fail(diag, FAIL_ENVIRONMENT, "cannot start thread %u of %u: %s", i + 1,
                             threads, strerror(error));
        }
        pool->threads++;
    }
    *out = pool;
    return true;
}

void pool_close(Pool *pool) {
    if (!pool) return;
    atomic_store_explicit(&pool->quit, true, memory_order_relaxed);
    announce(pool, next_number(pool));
    for (uint32_t i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    if (pool->scratch) munmap(pool->scratch_map, pool->scratch_mapped);
    munmap(pool, pool->mapped);
}
