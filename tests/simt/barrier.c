// barrier.c: threads that wait for each other, and barriers in shared memory (mbarrier) that
// wait for arrivals and bytes. PTX ISA, "Asynchronous Barrier".
#include <string.h>

#include "tests/simt/machine.h"

void meet(Machine *m, Meeting *b, uint32_t expected, const char *what) {
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

// Every thread must come to __syncthreads, as CUDA says, though a GPU lets those off that
// ended.
void call_block_sync(Machine *m) {
    meet(m, &m->running->block->meetings[0], m->launch.threads, "__syncthreads");
}

void call_barrier_sync(Machine *m, uint32_t id, uint32_t threads) {
    if (id >= NAMED_BARRIERS || !threads || threads % WARP || threads > m->launch.threads)
        machine_fail(m, "named barrier %u of %u threads", id, threads);
    meet(m, &m->running->block->meetings[id], threads, "named_barrier_sync");
}

uint32_t call_cluster_rank(Machine *m) { return m->running->block->rank; }

void call_cluster_sync(Machine *m) {
    meet(m, &m->cluster_meeting, m->launch.cluster * m->launch.threads, "cluster_sync");
}

// ---- mbarrier

// What a barrier's eight bytes hold while it is one: ordinary writes there are noticed.
static const unsigned char barrier_mark[8] = "mbarrie";

static Barrier *barrier_find(Machine *m, Block *block, uint32_t address) {
    unsigned char *bytes = shared_at(m, block, address, 8);
    for (uint32_t i = 0; i < block->barrier_count; i++) {
        if (block->barriers[i].address != address) continue;
        if (memcmp(bytes, barrier_mark, 8) != 0)
            machine_fail(m, "the barrier at %u has been overwritten", address);
        return &block->barriers[i];
    }
    return NULL;
}

static Barrier *barrier_get(Machine *m, Block *block, uint32_t address) {
    Barrier *b = barrier_find(m, block, address);
    if (!b) machine_fail(m, "there is no barrier at shared address %u", address);
    return b;
}

void call_barrier_init(Machine *m, uint32_t at, uint32_t arrivals) {
    Block *block = m->running->block;
    if (at % 8 || !arrivals || arrivals > 0xfffff)
        machine_fail(m, "barrier_init at %u for %u arrivals", at, arrivals);
    Barrier *b = barrier_find(m, block, at);
    if (b) machine_fail(m, "the barrier at %u is initialised a second time", at);
    if (block->barrier_count == BARRIERS_MAX)
        machine_fail(m, "more than %u barriers", BARRIERS_MAX);
    b = &block->barriers[block->barrier_count++];
    *b = (Barrier){.address = at, .expected = arrivals, .pending = arrivals};
    memcpy(shared_at(m, block, at, 8), barrier_mark, 8);
}

void call_barrier_init_done(Machine *m) { (void)m; }

void barrier_count(Machine *m, Block *block, uint32_t address, uint32_t arrivals,
                   int64_t bytes) {
    if (!block->live) machine_fail(m, "an arrival at a barrier of a block that has ended");
    Barrier *b = barrier_get(m, block, address);
    if (b->pending < arrivals)
        machine_fail(m, "more than %u arrivals in a phase of the barrier at %u", b->expected,
                     address);
    b->pending -= arrivals;
    b->bytes -= bytes;
    if (b->pending || b->bytes) return;
    b->pending = b->expected;
    b->phase++;
}

void call_barrier_arrive(Machine *m, uint32_t at, uint32_t rank, uint32_t expected_bytes) {
    Block *block = m->running->block;
    if (rank != SIMT_OWN && rank >= m->launch.cluster)
        machine_fail(m, "an arrival in block %u of a cluster of %u", rank, m->launch.cluster);
    if (rank != SIMT_OWN) block = &m->blocks[rank];
    // The bytes must be expected before the arrival, which may end the phase.
    barrier_get(m, block, at)->bytes += expected_bytes;
    barrier_count(m, block, at, 1, 0);
}

void call_barrier_wait(Machine *m, uint32_t at, uint32_t parity) {
    if (parity > 1) machine_fail(m, "barrier_wait for parity %u", parity);
    const Barrier *b = barrier_get(m, m->running->block, at);
    // As on the GPU, only the parity is compared: who is two phases late waits on.
    while ((b->phase & 1) == parity)
        machine_wait(m, &b->phase, b->phase, "barrier_wait");
}
