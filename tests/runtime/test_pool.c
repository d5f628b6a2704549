// test_pool.c: every task runs exactly once, whatever the number of threads and the pauses
// between jobs.
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/cpu/cpu.h"
#include "runtime/cpu/pool.h"
#include "tests/test.h"

enum { TASKS_MAX = 5000 };

typedef struct {
    Arena arena;
    Diag diag;
    Pool *pool;
    _Atomic int runs[TASKS_MAX];
    int plain[TASKS_MAX];  // written without atomics: a data race would show
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    *state = f;
    return !pool_open(&f->diag, 0, &f->pool);
}

static int teardown(void **state) {
    Fixture *f = *state;
    pool_close(f->pool);
    arena_release(&f->arena);
    test_free(f);
    return 0;
}

static void count_runs(void *context, int64_t begin, int64_t end, uint32_t thread) {
    Fixture *f = context;
    if (thread >= pool_threads(f->pool)) return;
    for (int64_t i = begin; i < end; i++) {
        atomic_fetch_add_explicit(&f->runs[i], 1, memory_order_relaxed);
        f->plain[i]++;
    }
}

static void check_runs(Fixture *f, int64_t n, int expected) {
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(atomic_load(&f->runs[i]), expected);
        assert_int_equal(f->plain[i], expected);
        atomic_store(&f->runs[i], 0);
        f->plain[i] = 0;
    }
}

static void runs_each_task_once(void **state) {
    Fixture *f = *state;
    const int64_t sizes[] = {0, 1, 2, 3, 5, 7, 8, 9, 31, 64, 100, 1000, TASKS_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pool_run(f->pool, sizes[i], count_runs, f);
        check_runs(f, sizes[i], 1);
    }
}

static void runs_many_jobs_back_to_back(void **state) {
    Fixture *f = *state;
    for (int job = 0; job < 20000; job++)
        pool_run(f->pool, 16, count_runs, f);
    check_runs(f, 16, 20000);
}

static void wakes_sleepers(void **state) {
    Fixture *f = *state;
    for (int job = 0; job < 40; job++) {
        pool_run(f->pool, 64, count_runs, f);
        usleep(job % 2 ? 3000 : 100);
    }
    check_runs(f, 64, 40);
}

// Waits until some other thread has run a task of the same job.
static void wait_for_company(void *context, int64_t begin, int64_t end, uint32_t thread) {
    _Atomic uint32_t *who = context;
    (void)begin, (void)end;
    atomic_fetch_or(who, 1U << (thread % 32));
    for (int i = 0; i < 2000 && !(atomic_load(who) & ~(1U << (thread % 32))); i++)
        usleep(1000);
}

static void uses_more_than_one_thread(void **state) {
    Fixture *f = *state;
    if (pool_threads(f->pool) < 2) skip();
    _Atomic uint32_t who = 0;
    pool_run(f->pool, 2, wait_for_company, &who);
    uint32_t seen = atomic_load(&who);
    assert_true((seen & (seen - 1)) != 0);
}

static void never_exceeds_the_cpus(void **state) {
    Fixture *f = *state;
    Pool *pool;
    assert_int_equal(pool_threads(f->pool), cpu_count());
    assert_true(pool_open(&f->diag, 1, &pool));
    assert_int_equal(pool_threads(pool), 1);
    pool_close(pool);
    assert_true(pool_open(&f->diag, 100000, &pool));
    assert_int_equal(pool_threads(pool), cpu_count());
    pool_close(pool);
    pool_close(NULL);
}

static void gives_each_thread_its_scratch(void **state) {
    Fixture *f = *state;
    assert_null(pool_scratch(f->pool, 0));
    assert_true(pool_reserve(&f->diag, f->pool, 100));
    for (uint32_t t = 0; t < pool_threads(f->pool); t++) {
        unsigned char *scratch = pool_scratch(f->pool, t);
        assert_int_equal((uintptr_t)scratch % 64, 0);
        memset(scratch, (int)t, 100);
    }
    for (uint32_t t = 0; t < pool_threads(f->pool); t++) {
        unsigned char *scratch = pool_scratch(f->pool, t);
        assert_int_equal(scratch[0], t);
        assert_int_equal(scratch[99], t);
    }
    void *before = pool_scratch(f->pool, 0);
    assert_true(pool_reserve(&f->diag, f->pool, 50));
    assert_ptr_equal(pool_scratch(f->pool, 0), before);
    assert_true(pool_reserve(&f->diag, f->pool, 1 << 20));
    memset(pool_scratch(f->pool, pool_threads(f->pool) - 1), 1, 1 << 20);
    assert_false(pool_reserve(&f->diag, f->pool, INT64_MAX));
}

static void square(void *const *args, int64_t begin, int64_t end, void *scratch) {
    const int *in = args[0];
    int *out = args[1], *close = scratch;
    for (int64_t i = begin; i < end; i++) {
        *close = in[i] * in[i];
        out[i] = *close;
    }
}

static void runs_kernels(void **state) {
    Fixture *f = *state;
    int in[300], out[300] = {0};
    for (int i = 0; i < 300; i++)
        in[i] = i;
    void *args[2] = {in, out};
    assert_true(pool_reserve(&f->diag, f->pool, (int64_t)sizeof(int)));
    pool_run_kernel(f->pool, square, args, 300);
    for (int i = 0; i < 300; i++)
        assert_int_equal(out[i], i * i);
}

static void note_thread(void *const *args, int64_t begin, int64_t end, void *scratch) {
    Fixture *f = args[0];
    bool is_caller = scratch == pool_scratch(f->pool, 0);
    for (int64_t i = begin; i < end; i++)
        f->plain[i] += is_caller ? 1 : 2;
}

static void runs_alone_what_is_not_shared_out(void **state) {
    Fixture *f = *state;
    void *args[1] = {f};
    assert_true(pool_reserve(&f->diag, f->pool, 64));
    pool_run_alone(f->pool, note_thread, args, 300);
    for (int i = 0; i < 300; i++)
        assert_int_equal(f->plain[i], 1);
}

// Memory may be gone when a thread finds the time to ask for it.
static void reads_ahead_without_access(void **state) {
    enum { BYTES = 1 << 20 };
    Fixture *f = *state;
    void *closed = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(closed != MAP_FAILED);
    for (int job = 0; job < 100; job++) {
        pool_read_ahead(f->pool, job % 2 ? closed : NULL, job % 2 ? BYTES : 0);
        pool_run(f->pool, 64, count_runs, f);
    }
    pool_read_ahead(f->pool, closed, BYTES);
    munmap(closed, BYTES);
    usleep(1000);
    pool_run(f->pool, 64, count_runs, f);
    check_runs(f, 64, 101);
}

static void names_features_in_order(void **state) {
    (void)state;
    assert_true(cpu_features_rank(cpu_features()) >= 0);
    assert_true(cpu_features_rank(STR("avx512bf16")) > cpu_features_rank(STR("avx512")));
    assert_true(cpu_features_rank(STR("avx512")) > cpu_features_rank(STR("avx2")));
    assert_int_equal(cpu_features_rank(STR("mmx")), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_each_task_once, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_many_jobs_back_to_back, setup, teardown),
        cmocka_unit_test_setup_teardown(wakes_sleepers, setup, teardown),
        cmocka_unit_test_setup_teardown(uses_more_than_one_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(never_exceeds_the_cpus, setup, teardown),
        cmocka_unit_test_setup_teardown(gives_each_thread_its_scratch, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_kernels, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_alone_what_is_not_shared_out, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_ahead_without_access, setup, teardown),
        cmocka_unit_test(names_features_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
