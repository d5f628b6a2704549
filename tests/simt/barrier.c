// barrier.c: threads that wait for each other.
#include "tests/simt/machine.h"

// Every thread must come to __syncthreads, as CUDA says, though a GPU lets those off that
// ended.
static void meet(Machine *m, Meeting *b, uint32_t expected, const char *what) {
    if (b->arrived && b->expected != expected)
        machine_fail(m, "%s with %u threads, where others came with %u", what, expected,
                     b->expected);
    b->expected = expected;
    uint64_t round = b->completed;
    if (++b->arrived == expected) {
        b->arrived = 0;
        b->completed++;
    } else {
        machine_wait(m, &b->completed, round, what);
    }
}

void call_block_sync(Machine *m) {
    meet(m, &m->running->block->meetings[0], m->launch.threads, "__syncthreads");
}

void call_barrier_sync(Machine *m, uint32_t id, uint32_t threads) {
    if (id >= NAMED_BARRIERS || !threads || threads % WARP || threads > m->launch.threads)
        machine_fail(m, "named barrier %u of %u threads", id, threads);
    meet(m, &m->running->block->meetings[id], threads, "named_barrier_sync");
}
