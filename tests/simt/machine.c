// machine.c: one launch: clusters one after the other, the threads of a cluster in turns.
#include "tests/simt/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

#define GUARD_BYTES 4096

// ---- failures

static void report_add(Report *report, size_t *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void report_add(Report *report, size_t *at, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(report->text + *at, REPORT_BYTES - *at, fmt, args);
    va_end(args);
    if (n > 0) *at += (size_t)n;
    if (*at >= REPORT_BYTES) *at = REPORT_BYTES - 1;
}

void machine_fail(Machine *m, const char *fmt, ...) {
    size_t at = 0;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(m->report->text, REPORT_BYTES, fmt, args);
    va_end(args);
    at = n < 0 ? 0 : (size_t)n < REPORT_BYTES ? (size_t)n : REPORT_BYTES - 1;
    if (m->running)
        report_add(m->report, &at, " (thread %u of block %u)", m->running->index,
                   m->running->block->index);
    _exit(1);
}

static bool waits(const Wait *w) { return *w->counter == w->seen; }
static bool ended(const Machine *m, const Wait *w) {
    return w->counter == &m->never && w->seen == 0;
}
static Wait nothing(const Machine *m) { return (Wait){&m->never, 1, "nothing"}; }
static Thread *thread_at(const Machine *m, uint32_t slot) {
    return &m->blocks[slot / m->launch.threads].threads[slot % m->launch.threads];
}

// Names where threads wait, neighbours at the same place together.
NORETURN static void fail_deadlock(Machine *m) {
    size_t at = 0;
    report_add(m->report, &at, "deadlock");
    uint32_t threads = m->launch.threads, count = m->launch.cluster * threads;
    for (uint32_t t = 0, end; t < count; t = end) {
        end = t + 1;
        const Wait *w = &m->waits[t];
        while (end % threads && m->waits[end].counter == w->counter)
            end++;
        if (ended(m, w)) continue;
        report_add(m->report, &at, "; block %u, threads %u to %u: %s",
                   m->blocks[t / threads].index, t % threads, (end - 1) % threads, w->what);
    }
    _exit(1);
}

// ---- turns

uint32_t machine_random(Machine *m, uint32_t below) {
    // xorshift64*; the high bits are the good ones.
    m->random ^= m->random >> 12;
    m->random ^= m->random << 25;
    m->random ^= m->random >> 27;
    return (uint32_t)(m->random * 0x2545f4914f6cdd1dULL >> 33) % below;
}

void machine_wait(Machine *m, const uint64_t *counter, uint64_t seen, const char *what) {
    Thread *t = m->running;
    Wait *w = &m->waits[t->slot];
    *w = (Wait){counter, seen, what};
    while (waits(w))
        fiber_switch(&t->fiber, &m->scheduler);
    *w = nothing(m);
}

// Static shared memory is one place in the object: each block's bytes are there while it runs.
static void make_resident(Machine *m, Block *block) {
    if (m->resident == block || !m->static_bytes) return;
    if (m->resident) memcpy(m->resident->statics, m->entry->shared, m->static_bytes);
    memcpy(m->entry->shared, block->statics, m->static_bytes);
    m->resident = block;
}

static void run_thread(Machine *m, Thread *t) {
    make_resident(m, t->block);
    uint32_t b = t->block->index;
    SimtPlace *place = &m->link->place;
    place->thread = (SimtDim){t->index, 0, 0};
    place->block = (SimtDim){b, 0, 0};
    m->report->place = *place;
    m->running = t;
    fiber_switch(&m->scheduler, &t->fiber);
    m->running = NULL;
}

static void thread_main(void *argument) {
    Thread *t = argument;
    Machine *m = t->block->machine;
    m->entry->run();
    thread_end_copies(m, t);
    thread_end_stores(m, t);
    thread_end_products(m, t);
    m->waits[t->slot] = (Wait){&m->never, 0, "nothing"};
    m->live--;
    t->block->live--;
    fiber_switch(&t->fiber, &m->scheduler);
    BUG("a thread ran on after its end");
}

static void shuffle_turns(Machine *m, uint32_t count) {
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = machine_random(m, i + 1);
        uint32_t slot = m->turns[i];
        m->turns[i] = m->turns[j];
        m->turns[j] = slot;
    }
}

// One round; false: nobody could run.
static bool run_round(Machine *m, uint32_t count) {
    bool ran = false;
    SimtOrder order = m->schedule.order;
    if (order == SIMT_RANDOM) shuffle_turns(m, count);
    for (uint32_t i = 0; i < count; i++) {
        // The first warp that can run does so, again and again.
        if (order == SIMT_STARVE && ran && i % WARP == 0) return true;
        uint32_t slot = m->turns[order == SIMT_REVERSE ? count - 1 - i : i];
        if (waits(&m->waits[slot])) continue;
        run_thread(m, thread_at(m, slot));
        ran = true;
    }
    return ran;
}

// ---- set-up

static void *map_memory(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT(p != MAP_FAILED);
    return p;
}

static size_t cells_bytes(const Machine *m) {
    return ((m->shared_end - SHARED_BASE) / 2 + 1) * sizeof(Cell);
}

static void blocks_init(Machine *m) {
    uint32_t cluster = m->launch.cluster, threads = m->launch.threads;
    uint32_t warps = (threads + WARP - 1) / WARP;
    unsigned char *stacks = map_memory((size_t)cluster * threads * STACK_BYTES);
    m->blocks = map_memory(cluster * sizeof *m->blocks);
    m->turns = map_memory((size_t)cluster * threads * sizeof *m->turns);
    m->waits = map_memory((size_t)cluster * threads * sizeof *m->waits);
    for (uint32_t b = 0; b < cluster; b++) {
        Block *block = &m->blocks[b];
        block->machine = m;
        block->rank = b;
        block->threads = map_memory(threads * sizeof *block->threads);
        block->warps = map_memory(warps * sizeof *block->warps);
        block->groups = map_memory(threads / GROUP * sizeof *block->groups + 1);
        block->cells = map_memory(cells_bytes(m));
        block->dynamic = map_memory(m->launch.shared_bytes + 1);
        block->statics = map_memory(m->static_bytes + 1);
        for (uint32_t t = 0; t < threads; t++) {
            size_t place = (size_t)b * threads + t;
            block->threads[t].stack = stacks + place * STACK_BYTES;
            // The lowest page catches a stack that is too deep.
            int rc = mprotect(block->threads[t].stack, GUARD_BYTES, PROT_NONE);
            ASSERT(rc == 0);
            block->threads[t].block = block;
            block->threads[t].index = t;
            block->threads[t].accumulators = map_memory(ACCUMULATORS * sizeof(Accumulator));
            block->threads[t].slot = (uint32_t)place;
        }
    }
}

// Shared memory starts full of NaN.
static void block_start(Machine *m, Block *block, uint32_t index) {
    block->index = index;
    block->live = m->launch.threads;
    memset(block->dynamic, 0xff, m->launch.shared_bytes);
    memset(block->statics, 0xff, m->static_bytes);
    memset(block->meetings, 0, sizeof block->meetings);
    uint32_t warps = (m->launch.threads + WARP - 1) / WARP;
    for (uint32_t w = 0; w < warps; w++)
        memset(block->warps[w].masks, 0, sizeof block->warps[w].masks);
    memset(block->groups, 0, m->launch.threads / GROUP * sizeof *block->groups);
    memset(block->cells, 0, cells_bytes(m));
    block->barrier_count = 0;
    ASSERT(warps > 0);
    uint32_t registers = REGISTERS / (warps * WARP) / 8 * 8;
    if (registers > 255) registers = 255;
    for (uint32_t w = 0; w < warps; w++)
        block->registers[w] = registers;
    block->registers_free = REGISTERS - registers * warps * WARP;
    for (uint32_t t = 0; t < m->launch.threads; t++) {
        Thread *thread = &block->threads[t];
        m->waits[thread->slot] = nothing(m);
        thread->copies.first = thread->copies.count = thread->copies.group = 0;
        thread->store_group = thread->product_group = 0;
        thread->products = thread->products_known = 0;
        thread->stores.count = 0;
        thread->product_fence = false;
        fiber_init(&thread->fiber, thread->stack + GUARD_BYTES, STACK_BYTES - GUARD_BYTES,
                   thread_main, thread);
    }
}

static void run_cluster(Machine *m, uint32_t first) {
    uint32_t cluster = m->launch.cluster, count = cluster * m->launch.threads;
    for (uint32_t b = 0; b < cluster; b++)
        block_start(m, &m->blocks[b], first + b);
    m->resident = NULL;
    order_start(m);
    m->live = count;
    for (uint32_t i = 0; i < count; i++)
        m->turns[i] = i;
    memset(&m->cluster_meeting, 0, sizeof m->cluster_meeting);
    while (m->live) {
        bool any = m->schedule.completion == SIMT_ANY_TIME && !machine_random(m, 4);
        if (any) transfer_step(m);
        if (run_round(m, count) || any) continue;
        // Nobody can run: what is under way must come to its end now.
        if (!transfer_step(m) && !copy_step(m)) fail_deadlock(m);
    }
    transfer_finish(m);
}

static void check_launch(Machine *m) {
    const Launch *l = &m->launch;
    if (!l->blocks || !l->threads || l->threads > 1024)
        machine_fail(m, "the launch has %u blocks of %u threads", l->blocks, l->threads);
    if (!l->cluster || l->cluster > 8 || l->blocks % l->cluster)
        machine_fail(m, "%u blocks do not make clusters of %u", l->blocks, l->cluster);
    if (m->static_bytes > 48 << 10)
        machine_fail(m, "%u bytes of static shared memory are more than 48 KiB",
                     m->static_bytes);
    if (m->shared_end - SHARED_BASE > SHARED_MAX)
        machine_fail(m, "%u bytes of shared memory are more than a block has",
                     m->shared_end - SHARED_BASE);
}

void machine_run(Machine *m) {
    m->random = 0x9e3779b97f4a7c15ULL * (m->schedule.seed + 1) | 1;
    m->static_bytes = (uint32_t)(m->entry->shared_end - m->entry->shared);
    // Dynamic shared memory follows the static one, at the alignment that the prelude declares.
    m->dynamic_at = (SHARED_BASE + m->static_bytes + 1023) / 1024 * 1024;
    m->shared_end = m->dynamic_at + m->launch.shared_bytes;
    m->report->schedule = m->schedule;
    m->link->place.threads = (SimtDim){m->launch.threads, 1, 1};
    m->link->place.blocks = (SimtDim){m->launch.blocks, 1, 1};
    check_launch(m);
    if (!m->blocks) {
        order_init(m);
        blocks_init(m);
    }
    m->cluster_number = 0;
    for (uint32_t first = 0; first < m->launch.blocks; first += m->launch.cluster) {
        m->cluster_number++;
        run_cluster(m, first);
    }
}
