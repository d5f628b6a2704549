// transfer.c: the copy engine of sm_90: rows of bytes and boxes of tensors. PTX ISA,
// "cp.async.bulk", "Tensors".
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/simt/machine.h"

static Transfer *transfer_push(TransferList *list, Transfer t) {
    if (list->count == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 16;
        list->ops = realloc(list->ops, list->cap * sizeof *list->ops);
        ASSERT(list->ops);
    }
    list->ops[list->count] = t;
    return &list->ops[list->count++];
}

static Transfer transfer_take(TransferList *list, uint32_t i) {
    Transfer t = list->ops[i];
    list->count--;
    memmove(&list->ops[i], &list->ops[i + 1], (list->count - i) * sizeof t);
    return t;
}

// ---- tensor maps

uint32_t swizzle(uint32_t address, uint32_t span) {
    // Sixteen-byte chunks of a row are permuted by the number of the 128-byte line.
    return span ? address ^ (address >> 3 & (span - 16)) : address;
}

// The maps of the launch, in whose first words are their number and a mark (simt.c).
static const TensorMapSpec *map_spec(Machine *m, const void *map, unsigned char **base) {
    uint64_t words[16];
    memcpy(words, map, sizeof words);
    if (words[0] != SIMT_MAP_MARK || words[1] >= m->launch.map_count)
        machine_fail(m, "a tensor map that is none");
    const TensorMapSpec *s = &m->launch.maps[words[1]];
    *base = m->arguments[s->arg].data + s->offset * (int64_t)dtype_bytes(s->type);
    return s;
}

void call_tensor_map_check(Machine *m, const void *map) {
    unsigned char *base;
    map_spec(m, map, &base);
}

static uint32_t box_bytes(const TensorMapSpec *s) {
    uint32_t bytes = (uint32_t)dtype_bytes(s->type);
    for (uint32_t d = 0; d < s->rank; d++)
        bytes *= s->box[d];
    return bytes;
}

// What is done with a part of a copy.
typedef enum { PART_CHECK, PART_LOAD, PART_STORE } Part;

// Bytes that lie side by side in global memory and, unless they are only checked, in `data`.
typedef struct {
    unsigned char *global, *data;
    uint32_t bytes;
} Run;

static void part_run(Machine *m, const Transfer *t, Part part, Run r) {
    bool load = t->barrier != 0;
    if (part == PART_CHECK)
        global_access(m,
                      load ? (Access){ACCESS_ASYNC, t->epoch}
                           : (Access){ACCESS_ASYNC | ACCESS_WRITE, t->write_epoch},
                      r.global, r.bytes);
    else if (part == PART_LOAD)
        memcpy(r.data, r.global, r.bytes);
    else
        memcpy(r.global, r.data, r.bytes);
}

// One row of a box, from its first element on: what lies outside of the tensor is read as 0 and
// not written.
static void row_run(Machine *m, const Transfer *t, Part part, int64_t offset,
                    unsigned char *data) {
    const TensorMapSpec *s = t->map;
    int64_t size = (int64_t)dtype_bytes(s->type), x = t->box.at[0];
    int64_t skip = x < 0 ? -x : 0, end = s->extent[0] - x;
    if (end > s->box[0]) end = s->box[0];
    if (skip >= end) return;
    part_run(m, t, part,
             (Run){.global = t->global + (offset + x + skip) * size,
                   .data = data + skip * size,
                   .bytes = (uint32_t)((end - skip) * size)});
}

// All of a copy: between the tensor or the rows in global memory and `data`, where elements lie
// side by side.
static void global_run(Machine *m, const Transfer *t, Part part, unsigned char *data) {
    const TensorMapSpec *s = t->map;
    if (!s) {
        part_run(m, t, part, (Run){t->global, data, t->bytes});
        return;
    }
    uint32_t at[TENSOR_MAP_RANK] = {0};
    uint32_t row = s->box[0] * (uint32_t)dtype_bytes(s->type);
    if (part == PART_LOAD) memset(data, 0, t->bytes);
    for (uint32_t i = 0; i < t->bytes; i += row) {
        bool inside = true;
        int64_t offset = 0;
        for (uint32_t d = 1; d < s->rank; d++) {
            int64_t x = (int64_t)t->box.at[d] + at[d];
            inside &= x >= 0 && x < s->extent[d];
            offset += x * s->stride[d];
        }
        if (inside) row_run(m, t, part, offset, data + i);
        for (uint32_t d = 1; d < s->rank && ++at[d] == s->box[d]; d++)
            at[d] = 0;
    }
}

static void shared_run(Machine *m, const Transfer *t, Part part, unsigned char *data) {
    uint32_t span = t->map ? t->map->swizzle : 0;
    Access access = {t->barrier ? ACCESS_ASYNC | ACCESS_WRITE : ACCESS_ASYNC, t->epoch};
    for (uint32_t i = 0; i < t->bytes; i += 16) {
        uint32_t at = swizzle(t->shared + i, span);
        unsigned char *here = shared_at(m, t->block, at, 16);
        if (part == PART_CHECK)
            shared_access(m, t->block, access, at, 16);
        else if (part == PART_LOAD)
            memcpy(here, data + i, 16);
        else
            memcpy(data + i, here, 16);
    }
}

static unsigned char *data_new(uint32_t bytes) {
    unsigned char *data = malloc(bytes);
    ASSERT(data);
    return data;
}

static void check_box(Machine *m, const Transfer *t) {
    if (t->map->rank != t->box.rank)
        machine_fail(m, "%u coordinates for a tensor map of rank %u", t->box.rank,
                     t->map->rank);
    if (t->shared % 128)
        machine_fail(m, "a box at shared address %u, no multiple of 128", t->shared);
}

// ---- loads

static void load_run(Machine *m, const Transfer *t) {
    unsigned char *data = data_new(t->bytes);
    global_run(m, t, PART_LOAD, data);
    shared_run(m, t, PART_LOAD, data);
    free(data);
    barrier_complete(m, t->block, t->barrier, t->bytes, t->epoch);
}

static bool now(Machine *m) {
    return m->schedule.completion == SIMT_EAGER ||
           (m->schedule.completion == SIMT_ANY_TIME && machine_random(m, 2));
}

static void load_begin(Machine *m, Transfer t) {
    if (!t.block->live) machine_fail(m, "a load into a block that has ended");
    t.epoch = epoch_engine(m, m->running);
    barrier_check(m, t.block, t.barrier, true);
    shared_run(m, &t, PART_CHECK, NULL);
    global_run(m, &t, PART_CHECK, NULL);
    transfer_push(&m->loads, t);
    if (now(m)) {
        t = transfer_take(&m->loads, m->loads.count - 1);
        load_run(m, &t);
    }
}

bool transfer_step(Machine *m) {
    if (!m->loads.count) return false;
    bool any = m->schedule.completion == SIMT_ANY_TIME;
    Transfer t = transfer_take(&m->loads, any ? machine_random(m, m->loads.count) : 0);
    load_run(m, &t);
    return true;
}

static void check_rows(Machine *m, const void *global, uint32_t shared, uint32_t bytes) {
    if ((uintptr_t)global % 16 || shared % 16 || bytes % 16 || !bytes)
        machine_fail(m, "a bulk copy of %u bytes, or an address, is no multiple of 16", bytes);
}

// A copy of the pointer that may be written through: only a store does.
static unsigned char *writable(const void *p) {
    unsigned char *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

void call_bulk_load(Machine *m, uint32_t to, const void *from, uint32_t bytes,
                    uint32_t barrier) {
    check_rows(m, from, to, bytes);
    load_begin(m, (Transfer){.block = m->running->block,
                             .shared = to,
                             .bytes = bytes,
                             .global = writable(from),
                             .barrier = barrier});
}

void call_tensor_load(Machine *m, uint32_t to, SimtBox from, uint32_t barrier,
                      uint32_t blocks) {
    Block *own = m->running->block;
    Transfer t = {.shared = to, .barrier = barrier, .box = from};
    t.map = map_spec(m, from.map, &t.global);
    t.bytes = box_bytes(t.map);
    check_box(m, &t);
    if (!blocks) blocks = 1U << own->rank;
    if (blocks >> m->launch.cluster)
        machine_fail(m, "a load for blocks %x of a cluster of %u", blocks, m->launch.cluster);
    for (uint32_t b = 0; b < m->launch.cluster; b++) {
        if (!(blocks >> b & 1)) continue;
        t.block = &m->blocks[b];
        load_begin(m, t);
    }
}

// ---- stores: read from shared memory first, written later

static void store_read(Machine *m, Transfer *t) {
    if (t->data || t->written) return;
    t->data = data_new(t->bytes);
    shared_run(m, t, PART_STORE, t->data);
}

static void store_write(Machine *m, Transfer *t) {
    if (t->written) return;
    store_read(m, t);
    global_run(m, t, PART_STORE, t->data);
    free(t->data);
    t->data = NULL;
    t->written = true;
}

static void store_begin(Machine *m, Transfer t) {
    t.block = m->running->block;
    t.group = m->running->store_group;
    t.epoch = epoch_engine(m, m->running);
    t.write_epoch = epoch_engine(m, m->running);
    shared_run(m, &t, PART_CHECK, NULL);
    global_run(m, &t, PART_CHECK, NULL);
    Transfer *op = transfer_push(&m->running->stores, t);
    if (now(m)) store_read(m, op);
    if (op->data && now(m)) store_write(m, op);
}

void call_bulk_store(Machine *m, void *to, uint32_t from, uint32_t bytes) {
    check_rows(m, to, from, bytes);
    store_begin(m, (Transfer){.shared = from, .bytes = bytes, .global = to});
}

void call_tensor_store(Machine *m, SimtBox to, uint32_t from) {
    Transfer t = {.shared = from, .box = to};
    t.map = map_spec(m, to.map, &t.global);
    t.bytes = box_bytes(t.map);
    check_box(m, &t);
    store_begin(m, t);
}

void call_bulk_commit(Machine *m) { m->running->store_group++; }

void call_bulk_wait(Machine *m, uint32_t groups, bool read) {
    Thread *t = m->running;
    TransferList *list = &t->stores;
    uint32_t i = 0;
    for (; i < list->count && list->ops[i].group + groups < t->store_group; i++) {
        Transfer *op = &list->ops[i];
        store_read(m, op);
        view_learn(m, t, op->epoch);
        if (read) continue;
        store_write(m, op);
        view_learn(m, t, op->write_epoch);
    }
    if (read || i == 0) return;
    list->count -= i;
    memmove(list->ops, list->ops + i, list->count * sizeof *list->ops);
}

void thread_end_stores(Machine *m, const Thread *t) {
    for (uint32_t i = 0; i < t->stores.count; i++)
        if (!view_has(m, t, t->stores.ops[i].epoch, false))
            machine_fail(m, "a thread ends while its stores read shared memory");
}

void transfer_finish(Machine *m) {
    if (m->loads.count) machine_fail(m, "blocks end while loads into them are under way");
    for (uint32_t b = 0; b < m->launch.cluster; b++)
        for (uint32_t t = 0; t < m->launch.threads; t++) {
            TransferList *list = &m->blocks[b].threads[t].stores;
            for (uint32_t i = 0; i < list->count; i++)
                store_write(m, &list->ops[i]);
            list->count = 0;
        }
}
