// memory.c: every access of a kernel through a pointer is checked: it must lie in shared
// memory, in an argument or on the thread's own stack, and be aligned.
#include "base/check.h"
#include "base/dtype.h"
#include "tests/simt/machine.h"

static bool within(const unsigned char *p, uint32_t bytes, const unsigned char *from,
                   size_t size) {
    return from && p >= from && (size_t)(p - from) <= size &&
           size - (size_t)(p - from) >= bytes;
}

// How far from the nearest argument: most wrong addresses are near one.
NORETURN static void fail_access(Machine *m, const unsigned char *p, uint32_t bytes,
                                 bool write) {
    const char *verb = write ? "writes" : "reads";
    const Argument *near = NULL;
    int64_t best = INT64_MAX, offset = 0;
    for (uint32_t i = 0; i < m->argument_count; i++) {
        const Argument *a = &m->arguments[i];
        int64_t at = p - a->data, size = (int64_t)a->bytes;
        int64_t distance = at < 0 ? -at : at > size ? at - size : 0;
        if (distance >= best) continue;
        best = distance;
        near = a;
        offset = at;
    }
    int64_t in_shared = p - m->running->block->dynamic;
    if (in_shared > -65536 && in_shared < SHARED_MAX + 65536)
        machine_fail(m, "%s %u bytes at byte %lld of dynamic shared memory, which has %u", verb,
                     bytes, (long long)in_shared, m->launch.shared_bytes);
    if (near)
        machine_fail(m, "%s %u bytes at byte %lld of '%.*s', which has %zu", verb, bytes,
                     (long long)offset, STR_ARG(near->name), near->bytes);
    machine_fail(m, "%s %u bytes at %p, where nothing lies", verb, bytes, (const void *)p);
}

static void check_aligned(Machine *m, const void *p, uint32_t bytes, bool write) {
    if (bytes <= 16 && (bytes & (bytes - 1)) == 0 && (uintptr_t)p % bytes)
        machine_fail(m, "%s %u bytes at an address that is no multiple of it",
                     write ? "writes" : "reads", bytes);
}

static const Argument *argument_find(const Machine *m, const unsigned char *p, uint32_t bytes) {
    for (uint32_t i = 0; i < m->argument_count; i++)
        if (within(p, bytes, m->arguments[i].data, m->arguments[i].bytes))
            return &m->arguments[i];
    return NULL;
}

static const Argument *argument_get(Machine *m, const unsigned char *p, uint32_t bytes,
                                    bool write) {
    const Argument *arg = argument_find(m, p, bytes);
    if (!arg) fail_access(m, p, bytes, write);
    return arg;
}

void global_check(Machine *m, const void *at, uint32_t bytes, bool write) {
    argument_get(m, at, bytes, write);
}

void global_access(Machine *m, Access a, const void *at, uint32_t bytes) {
    const unsigned char *p = at;
    const Argument *arg = argument_get(m, p, bytes, a.kind & ACCESS_WRITE);
    argument_access(m, arg, a, (size_t)(p - arg->data), bytes);
}

void call_access(Machine *m, const void *at, uint32_t bytes, bool write) {
    const unsigned char *p = at;
    const Thread *t = m->running;
    if (within(p, bytes, t->stack, STACK_BYTES)) return;
    if (within(p, bytes, (const unsigned char *)m->link, sizeof *m->link)) return;
    Access a = {write ? ACCESS_WRITE : ACCESS_READ, epoch_thread(m, t)};
    uint32_t shared = 0;
    check_aligned(m, p, bytes, write);
    if (within(p, bytes, t->block->dynamic, m->launch.shared_bytes))
        shared = m->dynamic_at + (uint32_t)(p - t->block->dynamic);
    else if (within(p, bytes, m->entry->shared, m->static_bytes))
        shared = SHARED_BASE + (uint32_t)(p - m->entry->shared);
    if (shared)
        shared_access(m, t->block, a, shared, bytes);
    else
        global_access(m, a, p, bytes);
}

void *call_dynamic_shared(Machine *m) { return m->running->block->dynamic; }

uint32_t call_shared_address(Machine *m, const void *at) {
    const unsigned char *p = at;
    const Block *block = m->running->block;
    if (within(p, 0, block->dynamic, m->launch.shared_bytes))
        return m->dynamic_at + (uint32_t)(p - block->dynamic);
    if (within(p, 0, m->entry->shared, m->static_bytes))
        return SHARED_BASE + (uint32_t)(p - m->entry->shared);
    machine_fail(m, "the shared address of something that lies elsewhere");
}

unsigned char *shared_at(Machine *m, Block *block, uint32_t address, uint32_t bytes) {
    uint32_t at = address - SHARED_BASE;
    if (address >= SHARED_BASE && at <= m->static_bytes && m->static_bytes - at >= bytes)
        return (m->resident == block ? m->entry->shared : block->statics) + at;
    at = address - m->dynamic_at;
    if (address >= m->dynamic_at && at <= m->launch.shared_bytes &&
        m->launch.shared_bytes - at >= bytes)
        return block->dynamic + at;
    machine_fail(m, "%u bytes at shared address %u, which ends at %u", bytes, address,
                 m->shared_end);
}

float call_f16_to(Machine *m, uint16_t bits) {
    (void)m;
    return f16_to(bits);
}

uint16_t call_f16_of(Machine *m, float x) {
    (void)m;
    return f16_of(x);
}

void call_async_fence(Machine *m) { view_fence(m, m->running); }
