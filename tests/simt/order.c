// order.c: what happened before what. Every thread has a clock, and so has every kind of
// asynchronous work; a thread's view holds, of every clock, the last event that is known to
// have happened before. Views pass through barriers: who arrives adds its view, who leaves
// takes it on (vector clocks). Two accesses of which neither is in the other's view are a race,
// whatever the schedule.
//
// Slots of a view: the cluster's threads, ENGINE_SLOTS operations of the copy engine and of
// wgmma, and the threads' own copies (cp.async). A second half of equal length says which of
// the events are also visible to the copy engine and to wgmma (async_fence).
//
// Most kernels of rows only ever meet in __syncthreads. Then all threads of a block share one
// view, and a meeting costs a few operations a thread; a view of its own is made for a thread
// that learns something elsewhere.
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "tests/simt/machine.h"

#define VIEWS_BYTES ((size_t)1 << 30)  // of address space

static uint32_t threads_of(const Machine *m) { return m->launch.cluster * m->launch.threads; }
static uint32_t copy_slot(const Machine *m, const Thread *t) {
    return threads_of(m) + ENGINE_SLOTS + t->slot;
}
static uint32_t slots_of(const Machine *m) { return 2 * threads_of(m) + ENGINE_SLOTS; }

static size_t view_bytes(const Machine *m) {
    return (size_t)2 * slots_of(m) * sizeof(uint32_t);
}

void view_clear(Machine *m, uint32_t *view) { memset(view, 0, view_bytes(m)); }

uint32_t *view_new(Machine *m) {
    size_t bytes = view_bytes(m);
    ASSERT(m->views_used + bytes <= VIEWS_BYTES);
    uint32_t *view = (uint32_t *)(void *)(m->views + m->views_used);
    m->views_used += bytes;
    view_clear(m, view);
    return view;
}

void order_init(Machine *m) {
    if (slots_of(m) > EPOCH_SLOTS)
        machine_fail(m, "clusters of %u threads are too large", threads_of(m));
    m->views = mmap(NULL, VIEWS_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT(m->views != MAP_FAILED);
}

void order_start(Machine *m) {
    m->views_used = 0;
    m->slots_used = threads_of(m);
    m->fenced = false;
    m->engine_next = 0;
    memset(m->engine, 0, sizeof m->engine);
    for (uint32_t b = 0; b < m->launch.cluster; b++) {
        Block *block = &m->blocks[b];
        block->shared_view[0] = view_new(m);
        block->shared_view[1] = view_new(m);
        for (uint32_t i = 0; i < m->launch.threads; i++) {
            Thread *t = &block->threads[i];
            t->clock = 1;
            t->copy_clock = t->copies_seen = 0;
            t->view = NULL;
            t->own_view = false;
        }
    }
}

// ---- views

static const uint32_t *view_of(const Thread *t) {
    return t->own_view ? t->view : t->block->shared_view[t->block->meetings[0].completed & 1];
}

static uint32_t *view_own(Machine *m, Thread *t) {
    if (t->own_view) return t->view;
    const uint32_t *shared = view_of(t);
    if (!t->view) t->view = view_new(m);
    memcpy(t->view, shared, view_bytes(m));
    t->own_view = true;
    return t->view;
}

// Clocks are below 2^19: signed comparisons, which every vector unit has.
static void join_half(int32_t *restrict to, const int32_t *restrict from, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        to[i] = from[i] > to[i] ? from[i] : to[i];
}

static void join(const Machine *m, uint32_t *to, const uint32_t *from) {
    uint32_t slots = slots_of(m);
    join_half((int32_t *)to, (const int32_t *)from, m->slots_used);
    if (m->fenced)
        join_half((int32_t *)(to + slots), (const int32_t *)(from + slots), m->slots_used);
}

// What the thread knows of itself, and the next event.
static void add_own(const Machine *m, Thread *t, uint32_t *to) {
    to[t->slot] = t->clock++;
    uint32_t *copies = &to[copy_slot(m, t)];
    if (*copies < t->copies_seen) *copies = t->copies_seen;
}

void view_release(Machine *m, Thread *t, uint32_t *to) {
    join(m, to, view_of(t));
    add_own(m, t, to);
}

void view_acquire(Machine *m, Thread *t, const uint32_t *from) {
    if (from) join(m, view_own(m, t), from);
}

void view_release_block(Machine *m, Thread *t) {
    Block *block = t->block;
    uint64_t round = block->meetings[0].completed;
    uint32_t *next = block->shared_view[(round + 1) & 1];
    if (!block->meetings[0].arrived) memcpy(next, block->shared_view[round & 1], view_bytes(m));
    if (t->own_view) join(m, next, t->view);
    add_own(m, t, next);
}

void view_acquire_block(Thread *t) { t->own_view = false; }

void view_fence(Machine *m, Thread *t) {
    uint32_t *view = view_own(m, t), slots = slots_of(m);
    m->fenced = true;
    memcpy(view + slots, view, m->slots_used * sizeof *view);
    view[slots + t->slot] = t->clock++;
    view[slots + copy_slot(m, t)] = t->copies_seen;
}

void view_mark(uint32_t *view, uint32_t epoch) {
    uint32_t *at = &view[epoch >> EPOCH_CLOCK_BITS], clock = epoch & EPOCH_CLOCK_MASK;
    if (*at < clock) *at = clock;
}

void view_learn(Machine *m, Thread *t, uint32_t epoch) { view_mark(view_own(m, t), epoch); }

// ---- events

static uint32_t epoch_make(Machine *m, uint32_t slot, uint32_t clock) {
    if (clock > EPOCH_CLOCK_MASK)
        machine_fail(m, "the kernel is too long for its races to be found");
    return slot << EPOCH_CLOCK_BITS | clock;
}

uint32_t epoch_thread(Machine *m, const Thread *t) { return epoch_make(m, t->slot, t->clock); }

uint32_t epoch_copy(Machine *m, const Thread *t) {
    m->slots_used = slots_of(m);
    return epoch_make(m, copy_slot(m, t), t->copy_clock);
}

uint32_t epoch_engine(Machine *m, const Thread *t) {
    uint32_t threads = threads_of(m), slot = m->engine_next++ % ENGINE_SLOTS;
    if (m->slots_used == threads) m->slots_used = threads + ENGINE_SLOTS;
    m->engine[slot].owner = t->slot;
    return epoch_make(m, threads + slot, ++m->engine[slot].clock);
}

static bool is_engine(const Machine *m, uint32_t slot) {
    return slot - threads_of(m) < ENGINE_SLOTS;
}

// Is the event before what the thread does now, directly (or, with `async`, through the copy
// engine or wgmma on its behalf)?
static bool happened(const Machine *m, const Thread *t, uint32_t epoch, bool async) {
    uint32_t slot = epoch >> EPOCH_CLOCK_BITS, clock = epoch & EPOCH_CLOCK_MASK;
    if (async && !is_engine(m, slot)) return view_of(t)[slots_of(m) + slot] >= clock;
    if (slot == t->slot) return true;
    if (slot == copy_slot(m, t) && clock <= t->copies_seen) return true;
    return view_of(t)[slot] >= clock;
}

bool view_has(const Machine *m, const Thread *t, uint32_t epoch, bool async) {
    return happened(m, t, epoch, async);
}

// ---- accesses

NORETURN static void fail_race(Machine *m, Access a, Access other, Str where, size_t at) {
    uint32_t slot = other.epoch >> EPOCH_CLOCK_BITS, threads = threads_of(m);
    char who[64];
    if (slot < threads)
        snprintf(who, sizeof who, "thread %u of block %u", slot % m->launch.threads,
                 m->blocks[slot / m->launch.threads].index);
    else
        snprintf(who, sizeof who,
                 is_engine(m, slot) ? "the copy engine or wgmma" : "a copy_async");
    bool async = a.kind & ACCESS_ASYNC,
         fence = async && happened(m, m->running, other.epoch, false);
    machine_fail(m, "%s: %s%s byte %zu of %.*s, which %s %s, with no %s in between",
                 fence ? "missing fence" : "race", async ? "asynchronously " : "",
                 a.kind & ACCESS_WRITE ? "writes" : "reads", at, STR_ARG(where), who,
                 other.kind & ACCESS_WRITE ? "has written" : "reads",
                 fence ? "async_fence" : "barrier or wait");
}

void shared_access(Machine *m, Block *block, Access a, uint32_t address, uint32_t bytes) {
    // Cells hold two bytes: of single bytes only the place is checked.
    if (bytes == 1) return;
    const Thread *t = m->running;
    uint32_t first = (address - SHARED_BASE) / 2, known = 0;
    uint32_t reader = (a.epoch >> EPOCH_CLOCK_BITS) / WARP % CELL_READERS;
    for (uint32_t i = first; i < first + bytes / 2; i++) {
        Cell *c = &block->cells[i];
        if (c->write && c->write != known) {
            known = c->write;
            if (!happened(m, t, known, a.kind & ACCESS_ASYNC))
                fail_race(m, a, (Access){ACCESS_WRITE, known}, STR("shared memory"),
                          2 * (size_t)i);
        }
        if (!(a.kind & ACCESS_WRITE)) {
            c->reads[reader] = a.epoch;
            continue;
        }
        for (uint32_t r = 0; r < CELL_READERS; r++) {
            if (c->reads[r] && !happened(m, t, c->reads[r], false))
                fail_race(m, a, (Access){ACCESS_READ, c->reads[r]}, STR("shared memory"),
                          2 * (size_t)i);
            c->reads[r] = 0;
        }
        c->write = a.epoch;
    }
}

// Of other clusters nothing is known: they may run at the same time.
static bool known_here(const Machine *m, AccessKind kind, uint32_t epoch, uint32_t cluster) {
    if (cluster != m->cluster_number) return false;
    uint32_t slot = epoch >> EPOCH_CLOCK_BITS;
    // A thread's stores may write the same place with the same values, in any order.
    if (kind == (ACCESS_ASYNC | ACCESS_WRITE) && is_engine(m, slot) &&
        m->engine[slot - threads_of(m)].owner == m->running->slot)
        return true;
    return happened(m, m->running, epoch, false);
}

void argument_access(Machine *m, const Argument *arg, Access a, size_t at, uint32_t bytes) {
    if (bytes == 1) return;
    uint32_t reader = (a.epoch >> EPOCH_CLOCK_BITS) / WARP % 2;
    for (size_t i = at / 2; i < at / 2 + bytes / 2; i++) {
        GlobalCell *c = &arg->cells[i];
        if (c->write && !known_here(m, a.kind, c->write, c->write_cluster))
            fail_race(m, a, (Access){ACCESS_WRITE, c->write}, arg->name, 2 * i);
        if (!(a.kind & ACCESS_WRITE)) {
            if (c->read_cluster != m->cluster_number) {
                c->several = c->read_cluster != 0;
                c->reads[0] = c->reads[1] = 0;
            }
            c->reads[reader] = a.epoch;
            c->read_cluster = m->cluster_number;
            continue;
        }
        for (uint32_t r = 0; r < 2; r++)
            if (c->reads[r] &&
                (c->several || !known_here(m, a.kind, c->reads[r], c->read_cluster)))
                fail_race(m, a, (Access){ACCESS_READ, c->reads[r]}, arg->name, 2 * i);
        *c = (GlobalCell){.write = a.epoch, .write_cluster = m->cluster_number};
    }
}
