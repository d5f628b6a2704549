// copy.c: cp.async: copies that a thread asks for and later waits for, group by group.
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/simt/machine.h"

static void copy_run(Machine *m, Thread *t) {
    CopyQueue *q = &t->copies;
    Copy c = q->ops[q->first++];
    if (q->first == q->count) q->first = q->count = 0;
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
    // Hardware reads nothing where nothing is asked for.
    if (bytes) global_check(m, from, bytes, false);
    copy_push(
        &t->copies,
        (Copy){.to = to, .size = size, .bytes = bytes, .group = t->copies.group, .from = from});
    bool now = m->schedule.completion == SIMT_EAGER ||
               (m->schedule.completion == SIMT_ANY_TIME && machine_random(m, 2));
    while (now && t->copies.count)
        copy_run(m, t);
}

void call_copy_async_commit(Machine *m) { m->running->copies.group++; }

void call_copy_async_wait(Machine *m, uint32_t groups) {
    Thread *t = m->running;
    CopyQueue *q = &t->copies;
    while (q->count && q->ops[q->first].group + groups < q->group)
        copy_run(m, t);
}

void thread_end_copies(Machine *m, Thread *t) {
    if (t->copies.count) machine_fail(m, "a thread ends while its copies are under way");
}
