// pool.h: threads that share out [0, n). The caller is thread 0; workers spin for a while
// between jobs, then sleep. Every thread first runs its own contiguous part, in a few pieces,
// then takes pieces that others have not begun. Which thread runs what is not fixed, so a job's
// result must not depend on how [0, n) is cut.
#pragma once

#include "runtime/plan.h"

typedef struct Pool Pool;
typedef void PoolFn(void *context, int64_t begin, int64_t end, uint32_t thread);

// threads 0: as many as this process may use CPUs; never more than that.
MUST_USE bool pool_open(Diag *diag, uint32_t threads, Pool **out);
void pool_close(Pool *pool);  // NULL is fine
uint32_t pool_threads(const Pool *pool);

// Returns when all of [0, n) is done. One job at a time, from the thread that opened the pool,
// not from inside a job.
void pool_run(Pool *pool, int64_t n, PoolFn *fn, void *context);
// The same for a kernel, each thread with its own scratch.
void pool_run_kernel(Pool *pool, KernelFn *fn, void *const *args, int64_t tasks);

// The same by the caller alone, for what is too small to be shared out.
void pool_run_alone(Pool *pool, KernelFn *fn, void *const *args, int64_t tasks);

// What a coming job reads, each thread an equal part of it; none: NULL. Threads that have
// nothing to do ask for the beginning of theirs. It is a hint: nothing is accessed.
void pool_read_ahead(Pool *pool, const void *data, size_t bytes);

// Scratch memory of at least `bytes` per thread, 64-byte aligned; grows, never shrinks. What it
// held is lost.
MUST_USE bool pool_reserve(Diag *diag, Pool *pool, int64_t bytes);
void *pool_scratch(const Pool *pool, uint32_t thread);  // NULL before the first pool_reserve
