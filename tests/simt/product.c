// product.c: wgmma: products of tiles in shared memory by a warpgroup, read out of shared
// memory by the bits of their descriptors. PTX ISA, "Asynchronous Warpgroup Level Matrix
// Instructions".
//
// A thread's sums are hidden from the moment it begins a product until it has waited for it:
// what it would read in between is NaN, and what it would write is noticed.
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "tests/simt/machine.h"

#define ROWS        64
#define COLUMNS_MAX 256
#define DEPTH       16
#define HIDDEN      0xffffffffU  // bits of a sum that is under way: NaN

// ---- descriptors

typedef struct {
    uint32_t start, leading, stride, span;  // bytes; span: of a row, which the swizzle permutes
} Operand;

static Operand operand_of(Machine *m, uint64_t descriptor) {
    static const uint32_t spans[] = {0, 128, 64, 32};
    Operand t = {.start = (uint32_t)(descriptor & 0x3fff) << 4,
                 .leading = (uint32_t)(descriptor >> 16 & 0x3fff) << 4,
                 .stride = (uint32_t)(descriptor >> 32 & 0x3fff) << 4,
                 .span = spans[descriptor >> 62]};
    if (!t.span) machine_fail(m, "wgmma of a tile without a swizzle");
    // Only a step along k, within a row, may lie between the start and the swizzle's pattern.
    if (t.start % (8 * t.span) >= t.span)
        machine_fail(m, "wgmma of a tile at %u, no multiple of %u", t.start, 8 * t.span);
    if (descriptor >> 49 & 7) machine_fail(m, "wgmma of a tile with a base offset");
    return t;
}

// Element (i, k), where i counts along m or n. Rows run along k, 8 of them every `stride`; or
// they run along m or n, 8 values of k every `stride`, the next row's worth of i at `leading`.
static uint32_t operand_at(const Operand *t, bool across, uint32_t i, uint32_t k) {
    if (!across) return t->start + i / 8 * t->stride + i % 8 * t->span + 2 * k;
    uint32_t width = t->span / 2;
    return t->start + i / width * t->leading + k / 8 * t->stride + k % 8 * t->span +
           2 * (i % width);
}

static void operand_read(Machine *m, Block *block, const SimtProduct *p, bool b, float *out) {
    Operand t = operand_of(m, b ? p->b : p->a);
    uint32_t count = b ? p->columns : ROWS;
    for (uint32_t k = 0; k < DEPTH; k++)
        for (uint32_t i = 0; i < count; i++) {
            uint32_t at = operand_at(&t, b ? p->across_b : p->across_a, i, k);
            uint16_t bits;
            memcpy(&bits, shared_at(m, block, swizzle(at, t.span), 2), 2);
            out[k * count + i] = p->f16 ? f16_to(bits) : bf16_to(bits);
        }
}

// Swizzles leave 16 bytes together: 8 values of k, or of m or n.
static void operand_access(Machine *m, const SimtProduct *p, bool b, uint32_t epoch) {
    const Thread *t = m->running;
    Operand o = operand_of(m, b ? p->b : p->a);
    bool across = b ? p->across_b : p->across_a;
    uint32_t count = b ? p->columns : ROWS;
    for (uint32_t i = 0; i < count; i += across ? 8 : 1)
        for (uint32_t k = 0; k < DEPTH; k += across ? 1 : 8) {
            uint32_t at = swizzle(operand_at(&o, across, i, k), o.span);
            shared_at(m, t->block, at, 16);
            shared_access(m, t->block, (Access){ACCESS_ASYNC, epoch}, at, 16);
        }
}

// ---- sums

static Accumulator *accumulator_find(Thread *t, const float *d) {
    for (uint32_t i = 0; i < ACCUMULATORS; i++)
        if (t->accumulators[i].d == d) return &t->accumulators[i];
    return NULL;
}

static uint32_t accumulator_take(Machine *m, Thread *t, float *d, uint32_t count) {
    Accumulator *a = accumulator_find(t, d);
    if (a && a->count != count) machine_fail(m, "wgmma of two widths into the same sums");
    if (!a) {
        if (!t->product_fence) machine_fail(m, "wgmma without wgmma_fence before it");
        a = accumulator_find(t, NULL);
        if (!a) machine_fail(m, "wgmma into more than %u arrays of sums", ACCUMULATORS);
        a->d = d;
        a->count = count;
        memcpy(a->sums, d, count * sizeof *d);
        memset(d, 0xff, count * sizeof *d);
    }
    a->last = t->products;
    return (uint32_t)(a - t->accumulators);
}

static void accumulators_give_back(Machine *m, Thread *t, uint64_t done) {
    for (uint32_t i = 0; i < ACCUMULATORS; i++) {
        Accumulator *a = &t->accumulators[i];
        if (!a->d || a->last >= done) continue;
        for (uint32_t j = 0; j < a->count; j++) {
            uint32_t bits;
            memcpy(&bits, &a->d[j], sizeof bits);
            if (bits != HIDDEN) machine_fail(m, "sums are written while wgmma adds to them");
        }
        memcpy(a->d, a->sums, a->count * sizeof *a->d);
        a->d = NULL;
        t->product_fence = false;
    }
}

// ---- products

static void product_run(Machine *m, Block *block, Warpgroup *g, Thread *threads) {
    const Product *op = &g->ops[g->done % PRODUCTS_MAX];
    const SimtProduct *p = &op->product;
    float a[DEPTH * ROWS], b[DEPTH * COLUMNS_MAX], row[COLUMNS_MAX];
    uint32_t columns = p->columns;
    operand_read(m, block, p, false, a);
    operand_read(m, block, p, true, b);
    for (uint32_t r = 0; r < ROWS; r++) {
        memset(row, 0, sizeof row);
        for (uint32_t k = 0; k < DEPTH; k++)
            for (uint32_t c = 0; c < columns; c++)
                row[c] += a[k * ROWS + r] * b[k * columns + c];
        // Row 16 w + l / 4 + 8 h lies in lanes 4 (l / 4) to 4 (l / 4) + 3 of warp w.
        uint32_t first = r / 16 * WARP + r % 8 * 4, half = r % 16 / 8;
        for (uint32_t c = 0; c < columns; c++) {
            uint32_t t = first + c % 8 / 2;
            float *sum =
                &threads[t].accumulators[op->taking[t]].sums[c / 8 * 4 + half * 2 + c % 2];
            *sum = (p->add ? *sum : 0) + row[c];
        }
    }
    g->done++;
}

static bool same_product(const SimtProduct *x, const SimtProduct *y) {
    return x->a == y->a && x->b == y->b && x->columns == y->columns && x->f16 == y->f16 &&
           x->across_a == y->across_a && x->across_b == y->across_b && x->add == y->add;
}

static bool ready(const Warpgroup *g) {
    return g->done < g->begun && g->ops[g->done % PRODUCTS_MAX].begun == GROUP;
}

void call_wgmma(Machine *m, float *d, SimtProduct product) {
    Thread *t = m->running;
    Block *block = t->block;
    uint32_t first = t->index / GROUP * GROUP;
    if (first + GROUP > m->launch.threads) machine_fail(m, "wgmma by less than a warpgroup");
    if (product.columns % 8 || product.columns > COLUMNS_MAX)
        machine_fail(m, "wgmma of %u columns", product.columns);
    Warpgroup *g = &block->groups[t->index / GROUP];
    uint64_t number = t->products;
    if (number == g->begun) {
        if (g->begun - g->done == PRODUCTS_MAX)
            machine_fail(m, "more than %u wgmma under way", PRODUCTS_MAX);
        g->ops[g->begun++ % PRODUCTS_MAX] = (Product){
            .product = product, .group = t->product_group, .epoch = epoch_engine(m, t)};
    }
    Product *op = &g->ops[number % PRODUCTS_MAX];
    if (!same_product(&op->product, &product) || op->group != t->product_group)
        machine_fail(m, "divergence: threads of a warpgroup begin different wgmma");
    // Each warp must know that the operands are there.
    if (t->index % WARP == 0) {
        operand_access(m, &product, false, op->epoch);
        operand_access(m, &product, true, op->epoch);
    }
    op->taking[t->index % GROUP] = accumulator_take(m, t, d, product.columns / 2);
    op->begun++;
    g->changes++;
    t->products++;
    bool now = m->schedule.completion == SIMT_EAGER ||
               (m->schedule.completion == SIMT_ANY_TIME && machine_random(m, 2));
    while (now && ready(g))
        product_run(m, block, g, &block->threads[first]);
}

void call_wgmma_fence(Machine *m) { m->running->product_fence = true; }
void call_wgmma_commit(Machine *m) { m->running->product_group++; }

void call_wgmma_wait(Machine *m, uint32_t groups) {
    Thread *t = m->running;
    uint32_t first = t->index / GROUP * GROUP;
    if (first + GROUP > m->launch.threads)
        machine_fail(m, "wgmma_wait by less than a warpgroup");
    Block *block = t->block;
    Warpgroup *g = &block->groups[t->index / GROUP];
    Thread *threads = &block->threads[first];
    while (g->done < t->products &&
           g->ops[g->done % PRODUCTS_MAX].group + groups < t->product_group) {
        uint64_t changes = g->changes;
        if (ready(g))
            product_run(m, block, g, threads);
        else
            machine_wait(m, &g->changes, changes, "wgmma_wait");
    }
    // What is done early is given back only when it has been waited for.
    uint64_t waited = t->products;
    while (waited > 0 && waited + PRODUCTS_MAX > t->products &&
           g->ops[(waited - 1) % PRODUCTS_MAX].group + groups >= t->product_group)
        waited--;
    for (; t->products_known < waited; t->products_known++)
        view_learn(m, t, g->ops[t->products_known % PRODUCTS_MAX].epoch);
    accumulators_give_back(m, t, waited);
}

void thread_end_products(Machine *m, Thread *t) {
    for (uint32_t i = 0; i < ACCUMULATORS; i++)
        if (t->accumulators[i].d)
            machine_fail(m, "a thread ends while its wgmma are under way");
}

// ---- registers

// A warp gives registers back to the block, or waits until it can have more.
void call_registers_set(Machine *m, uint32_t count, bool grow) {
    Thread *t = m->running;
    Block *block = t->block;
    uint32_t *has = &block->registers[t->index / WARP], before = *has;
    char nothing = 0;
    if (count % 8 || count < 24 || count > 256)
        machine_fail(m, "setmaxnreg to %u registers", count);
    warp_exchange(m, "setmaxnreg", 0xffffffffU, &nothing, 1);
    if (t->index % WARP == 0) {
        if (grow ? count < before : count > before)
            machine_fail(m, "setmaxnreg from %u to %u registers is the other way", before,
                         count);
        while (grow && block->registers_free < (uint64_t)(count - before) * WARP)
            machine_wait(m, &block->registers_changes, block->registers_changes, "setmaxnreg");
        block->registers_free += (uint64_t)before * WARP;
        block->registers_free -= (uint64_t)count * WARP;
        block->registers_changes++;
        *has = count;
    }
    warp_exchange(m, "setmaxnreg", 0xffffffffU, &nothing, 1);
}
