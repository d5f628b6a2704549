// copy.c: cp.async: copies that a thread asks for and later waits for, group by group.
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/simt/machine.h"

static void copy_run(Machine *m, Thread *t) {
    CopyQueue *q = &t->copies;
    Copy c = q->ops[q->first++];
    if (q->first == q->count) q->first = q->count = 0;
    if (!c.size) {
        barrier_arrive_copies(m, t->block, c.to, c.epoch);
        return;
    }
    unsigned char *to = shared_at(m, t->block, c.to, c.size);
    memcpy(to, c.from, c.bytes);
    memset(to + c.bytes, 0, c.size - c.bytes);
}

static void copy_push(CopyQueue *q, Copy c) {
    if (q->count == q->cap) {
        q->cap = q->cap ? 2 * q->cap : 16;
        q->ops = realloc(q->ops, q->cap * sizeof *q->ops);
        ASSERT(q->ops);
    }
    q->ops[q->count++] = c;
}

void call_copy_async(Machine *m, uint32_t to, const void *from, uint32_t size, uint32_t bytes) {
    Thread *t = m->running;
    if (bytes > size) machine_fail(m, "copy_async%u of %u bytes", size, bytes);
    if (to % size || (bytes && (uintptr_t)from % size))
        machine_fail(m, "copy_async%u between addresses that are no multiples of it", size);
    shared_at(m, t->block, to, size);
    t->copy_clock++;
    uint32_t epoch = epoch_copy(m, t);
    shared_access(m, t->block, (Access){ACCESS_WRITE, epoch}, to, size);
    // Hardware reads nothing where nothing is asked for.
    if (bytes) global_access(m, (Access){ACCESS_READ, epoch}, from, bytes);
    copy_push(&t->copies, (Copy){.to = to,
                                 .size = size,
                                 .bytes = bytes,
                                 .group = t->copies.group,
                                 .epoch = epoch,
                                 .from = from});
    bool now = m->schedule.completion == SIMT_EAGER ||
               (m->schedule.completion == SIMT_ANY_TIME && machine_random(m, 2));
    while (now && t->copies.count)
        copy_run(m, t);
}

void call_copy_async_commit(Machine *m) {
    Thread *t = m->running;
    t->copies.ends[t->copies.group++ % COPY_GROUPS] = t->copy_clock;
}

void call_copy_async_wait(Machine *m, uint32_t groups) {
    Thread *t = m->running;
    CopyQueue *q = &t->copies;
    while (q->count && q->ops[q->first].group + groups < q->group)
        copy_run(m, t);
    if (groups >= COPY_GROUPS) machine_fail(m, "copy_async_wait for all but %u groups", groups);
    if (q->group > groups) t->copies_seen = q->ends[(q->group - groups - 1) % COPY_GROUPS];
}

void call_copy_async_arrive(Machine *m, uint32_t at) {
    Thread *t = m->running;
    barrier_check(m, t->block, at, false);
    copy_push(&t->copies,
              (Copy){.to = at, .group = t->copies.group, .epoch = epoch_copy(m, t)});
    if (m->schedule.completion == SIMT_EAGER)
        while (t->copies.count)
            copy_run(m, t);
}

static bool has_arrival(const CopyQueue *q) {
    for (uint32_t i = q->first; i < q->count; i++)
        if (!q->ops[i].size) return true;
    return false;
}

bool copy_step(Machine *m) {
    uint32_t count = m->launch.cluster * m->launch.threads;
    for (uint32_t i = 0; i < count; i++) {
        Thread *t = &m->blocks[i / m->launch.threads].threads[i % m->launch.threads];
        if (!has_arrival(&t->copies)) continue;
        while (t->copies.ops[t->copies.first].size)
            copy_run(m, t);
        copy_run(m, t);
        return true;
    }
    return false;
}

// Copies that an arrival follows may outlive their thread: somebody waits at the barrier.
void thread_end_copies(Machine *m, Thread *t) {
    const CopyQueue *q = &t->copies;
    if (q->count && q->ops[q->count - 1].size)
        machine_fail(m, "a thread ends while its copies are under way");
}
