// barrier.c: threads that wait for each other, and barriers in shared memory (mbarrier) that
// wait for arrivals and bytes. PTX ISA, "Asynchronous Barrier".
#include <string.h>

#include "tests/simt/machine.h"

// One view of each round: of the last, which threads may still have to take on, and of this
// one.
static uint32_t *meeting_view(Machine *m, Meeting *b, uint64_t round) {
    uint32_t **view = &b->view[round & 1];
    if (!*view) *view = view_new(m);
    return *view;
}

static void arrive_and_wait(Machine *m, Meeting *b, uint32_t expected, const char *what) {
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

static void meet(Machine *m, Meeting *b, uint32_t expected, const char *what) {
    uint32_t *view = meeting_view(m, b, b->completed);
    if (!b->arrived) view_clear(m, view);
    view_release(m, m->running, view);
    arrive_and_wait(m, b, expected, what);
    view_acquire(m, m->running, view);
}

// Every thread must come to __syncthreads, as CUDA says, though a GPU lets those off that
// ended.
void call_block_sync(Machine *m) {
    Thread *t = m->running;
    view_release_block(m, t);
    arrive_and_wait(m, &t->block->meetings[0], m->launch.threads, "__syncthreads");
    view_acquire_block(t);
}

void call_barrier_sync(Machine *m, uint32_t id, uint32_t threads) {
    if (!id || id >= NAMED_BARRIERS || !threads || threads % WARP ||
        threads > m->launch.threads)
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
    if (!block->live) machine_fail(m, "use of a barrier of a block that has ended");
    Barrier *b = barrier_find(m, block, address);
    if (!b) machine_fail(m, "there is no barrier at shared address %u", address);
    return b;
}

void barrier_check(Machine *m, Block *block, uint32_t address, bool async) {
    const Barrier *b = barrier_get(m, block, address);
    if (!view_has(m, m->running, b->made, false))
        machine_fail(m, "race: no barrier lies between barrier_init at %u and this use",
                     address);
    if (async && !view_has(m, m->running, b->made, true))
        machine_fail(m, "missing fence: no barrier_init_done after barrier_init at %u",
                     address);
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
    *b = (Barrier){.address = at,
                   .expected = arrivals,
                   .pending = arrivals,
                   .view = {view_new(m), view_new(m)},
                   .made = epoch_thread(m, m->running)};
    memcpy(shared_at(m, block, at, 8), barrier_mark, 8);
}

void call_barrier_init_done(Machine *m) { view_fence(m, m->running); }

static void barrier_step(Machine *m, Barrier *b) {
    if (b->pending || b->bytes) return;
    b->pending = b->expected;
    b->phase++;
    view_clear(m, b->view[b->phase & 1]);
}

void barrier_complete(Machine *m, Block *block, uint32_t address, uint32_t bytes,
                      uint32_t epoch) {
    Barrier *b = barrier_get(m, block, address);
    view_mark(b->view[b->phase & 1], epoch);
    b->bytes -= bytes;
    barrier_step(m, b);
}

static void barrier_arrival(Machine *m, Barrier *b) {
    if (!b->pending)
        machine_fail(m, "more than %u arrivals in a phase of the barrier at %u", b->expected,
                     b->address);
    b->pending--;
    barrier_step(m, b);
}

void barrier_arrive_copies(Machine *m, Block *block, uint32_t address, uint32_t epoch) {
    Barrier *b = barrier_get(m, block, address);
    view_mark(b->view[b->phase & 1], epoch);
    barrier_arrival(m, b);
}

void call_barrier_arrive(Machine *m, uint32_t at, uint32_t rank, uint32_t expected_bytes) {
    Block *block = m->running->block;
    if (rank != SIMT_OWN && rank >= m->launch.cluster)
        machine_fail(m, "an arrival in block %u of a cluster of %u", rank, m->launch.cluster);
    if (rank != SIMT_OWN) block = &m->blocks[rank];
    barrier_check(m, block, at, false);
    Barrier *b = barrier_get(m, block, at);
    view_release(m, m->running, b->view[b->phase & 1]);
    // The bytes must be expected before the arrival, which may end the phase.
    b->bytes += expected_bytes;
    barrier_arrival(m, b);
}

bool barrier_passed(Machine *m, uint32_t at, uint32_t parity) {
    barrier_check(m, m->running->block, at, false);
    return (barrier_get(m, m->running->block, at)->phase & 1) != parity;
}

void call_barrier_wait(Machine *m, uint32_t at, uint32_t parity) {
    if (parity > 1) machine_fail(m, "barrier_wait for parity %u", parity);
    barrier_check(m, m->running->block, at, false);
    const Barrier *b = barrier_get(m, m->running->block, at);
    // As on the GPU, only the parity is compared: who is two phases late waits on.
    while ((b->phase & 1) == parity)
        machine_wait(m, &b->phase, b->phase, "barrier_wait");
    view_acquire(m, m->running, b->view[parity]);
}
