// pool.c: threads that share out [0, n).
//
// A job is announced in one word, `gate`:
//
//     | generation (20 bits) | open | workers inside (11 bits) |
//
// A worker that sees an open gate of a new generation enters by adding one to it, runs pieces
// and leaves by taking one off. The caller opens the gate, runs pieces as well, closes it when
// none are left and waits until nobody is inside. A worker that slept through a job therefore
// delays nobody, and a job's description only changes while no worker can read it.
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
#include "runtime/cpu/cpu.h"

enum {
    GATE_INSIDE = (1 << 11) - 1,
    GATE_OPEN = 1 << 11,
    GATE_GENERATION = 1 << 12,
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
    AHEAD_LINES = 16,        // asked for at once: some hundred ns
    AHEAD_MOST = 256 << 10,  // per thread: a part of its second-level cache
    HUGE_PAGE = 1 << 21,
};

// One thread's share of the job: pieces not yet begun are [next, pieces). On a line of its own.
typedef struct {
    _Alignas(CACHE_LINE) _Atomic uint32_t next;
} Share;

typedef struct {
    PoolFn *fn;
    void *context;
    int64_t n;
    uint32_t shares;  // threads that the job is cut for
    uint32_t pieces;  // of each share
} Job;

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
    _Alignas(CACHE_LINE) _Atomic uint32_t gate;
    _Alignas(CACHE_LINE) _Atomic uint32_t bell;  // changes with every job; sleepers wait on it
    _Atomic uint32_t sleepers;
    _Atomic bool quit;
    // What a coming job reads. The two may not match for a moment: they are only asked for.
    const unsigned char *_Atomic ahead;
    _Atomic size_t ahead_bytes;
    bool busy;
    unsigned char *scratch;
    size_t scratch_bytes;  // per thread
    void *scratch_map;     // what `scratch` lies in
    size_t scratch_mapped;
    size_t mapped;  // of this struct and what follows it
    Worker *workers;
    _Alignas(CACHE_LINE) Job job;
    Share *shares;
    uint32_t threads;
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

static uint32_t pieces_of(int64_t share) {
    int64_t pieces = share / PIECE_TASKS;
    if (pieces <= PIECES) return PIECES;
    return pieces < PIECES_MOST ? (uint32_t)pieces : PIECES_MOST;
}

static void run_piece(const Job *job, uint32_t share, uint32_t piece, uint32_t thread) {
    uint32_t parts = job->shares * job->pieces, part = share * job->pieces + piece;
    int64_t begin = cut(job->n, part, parts), end = cut(job->n, part + 1, parts);
    if (begin < end) job->fn(job->context, begin, end, thread);
}

static void run_share(Pool *pool, uint32_t share, uint32_t thread) {
    _Atomic uint32_t *next = &pool->shares[share].next;
    uint32_t pieces = pool->job.pieces;
    // Reading first keeps the line shared once a share is used up.
    while (atomic_load_explicit(next, memory_order_relaxed) < pieces) {
        uint32_t piece = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
        if (piece < pieces) run_piece(&pool->job, share, piece, thread);
    }
}

static void run_shares(Pool *pool, uint32_t thread) {
    uint32_t count = pool->job.shares;
    for (uint32_t i = 0; i < count; i++)
        run_share(pool, (thread + i) % count, thread);
}

// Enters, works and leaves if there is a job that this worker has not seen.
static bool take_part(Pool *pool, uint32_t thread, uint32_t *seen) {
    uint32_t gate = atomic_load_explicit(&pool->gate, memory_order_acquire);
    while (gate & GATE_OPEN && gate / GATE_GENERATION != *seen) {
        if (!atomic_compare_exchange_weak_explicit(&pool->gate, &gate, gate + 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        *seen = gate / GATE_GENERATION;
        run_shares(pool, thread);
        atomic_fetch_sub_explicit(&pool->gate, 1, memory_order_release);
        return true;
    }
    return false;
}

// Asks for the next lines of the thread's part; false when there are no more. Memory that is no
// longer there may be asked for.
static bool ask_ahead(Pool *pool, uint32_t thread, Asked *asked) {
    const unsigned char *data = atomic_load_explicit(&pool->ahead, memory_order_relaxed);
    size_t bytes = atomic_load_explicit(&pool->ahead_bytes, memory_order_relaxed);
    if (data != asked->data) *asked = (Asked){.data = data};
    size_t part = bytes / pool->threads, most = part < AHEAD_MOST ? part : AHEAD_MOST;
    if (!data || asked->done >= most) return false;
    const unsigned char *at = data + thread * part + asked->done;
    for (int i = 0; i < AHEAD_LINES; i++)
        __builtin_prefetch(at + i * CACHE_LINE, 0, 2);
    asked->done += AHEAD_LINES * CACHE_LINE;
    return true;
}

// Waits for the bell to change from `rung`: spins for a while, then sleeps. A sleep that turns
// out short was a mistake, so the next one starts later; after a long one less is wasted on
// spinning.
static void wait_for_bell(Worker *self, uint32_t rung, int64_t *patience) {
    Pool *pool = self->pool;
    int64_t start = clock_ns();
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (atomic_load_explicit(&pool->bell, memory_order_acquire) != rung) return;
            if (!ask_ahead(pool, self->index, &self->asked)) pause_cpu();
        }
    } while (clock_ns() - start < *patience);
    int64_t asleep = clock_ns();
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->bell) == rung)
        sleep_on(&pool->bell, rung);
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
    uint32_t seen = 0;
    int64_t patience = SPIN_FIRST_NS;
    while (!atomic_load_explicit(&pool->quit, memory_order_acquire)) {
        uint32_t rung = atomic_load_explicit(&pool->bell, memory_order_acquire);
        bool quit = atomic_load_explicit(&pool->quit, memory_order_acquire);
        if (!quit && !take_part(pool, self->index, &seen)) wait_for_bell(self, rung, &patience);
    }
    return NULL;
}

// The sleepers' side adds itself before it looks at the bell, this side rings before it looks
// for sleepers: one of the two sees the other.
static void ring(Pool *pool) {
    atomic_fetch_add(&pool->bell, 1);
    if (atomic_load(&pool->sleepers)) wake_all(&pool->bell);
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

static void wait_until_empty(Pool *pool) {
    for (uint32_t i = 1; atomic_load_explicit(&pool->gate, memory_order_acquire) & GATE_INSIDE;
         i++) {
        if (!ask_ahead(pool, 0, &pool->workers[0].asked)) pause_cpu();
        // Somebody inside may have lost its CPU to another process.
        if (i % 1024 == 0) sched_yield();
    }
}

void pool_run(Pool *pool, int64_t n, PoolFn *fn, void *context) {
    if (n <= 0) return;
    ASSERT(!pool->busy);
    if (pool->threads == 1 || n == 1) {
        fn(context, 0, n, 0);
        return;
    }
    pool->busy = true;
    uint32_t shares = n < pool->threads ? (uint32_t)n : pool->threads;
    pool->job = (Job){.fn = fn, .context = context, .n = n, .shares = shares};
    pool->job.pieces = pieces_of(n / shares);
    for (uint32_t i = 0; i < shares; i++)
        atomic_store_explicit(&pool->shares[i].next, 0, memory_order_relaxed);
    uint32_t generation = atomic_load_explicit(&pool->gate, memory_order_relaxed);
    generation = (generation & ~(uint32_t)(GATE_GENERATION - 1)) + GATE_GENERATION;
    atomic_store_explicit(&pool->gate, generation | GATE_OPEN, memory_order_release);
    workers_keep_off(pool);
    ring(pool);
    run_shares(pool, 0);
    atomic_fetch_and_explicit(&pool->gate, ~(uint32_t)GATE_OPEN, memory_order_acq_rel);
    wait_until_empty(pool);
    pool->busy = false;
}

void pool_read_ahead(Pool *pool, const void *data, size_t bytes) {
    atomic_store_explicit(&pool->ahead_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&pool->ahead, data, memory_order_relaxed);
}

typedef struct {
    Pool *pool;
    KernelFn *fn;
    void *const *args;
} KernelJob;

// Results too small for a normal number become 0 while kernels run: computing them exactly
// costs some hundred cycles each, and tails of a softmax and old moments are full of them.
enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x40 };

static void run_kernel_part(void *context, int64_t begin, int64_t end, uint32_t thread) {
    const KernelJob *job = context;
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
    job->fn(job->args, begin, end, pool_scratch(job->pool, thread));
    _mm_setcsr(before);
}

void pool_run_kernel(Pool *pool, KernelFn *fn, void *const *args, int64_t tasks) {
    KernelJob job = {.pool = pool, .fn = fn, .args = args};
    pool_run(pool, tasks, run_kernel_part, &job);
}

void pool_run_alone(Pool *pool, KernelFn *fn, void *const *args, int64_t tasks) {
    KernelJob job = {.pool = pool, .fn = fn, .args = args};
    run_kernel_part(&job, 0, tasks, 0);
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
    atomic_store_explicit(&pool->quit, true, memory_order_release);
    ring(pool);
    for (uint32_t i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    if (pool->scratch) munmap(pool->scratch_map, pool->scratch_mapped);
    munmap(pool, pool->mapped);
}
