// matrix.c: ldmatrix, stmatrix, mma.m16n8k16 and, of tf32, m16n8k8. Layouts: PTX ISA, "Matrix
// Fragments for mma.m16n8k16 with floating point type", the same for m16n8k8, and the tables of
// ldmatrix and stmatrix.
#include <string.h>

#include "base/dtype.h"
#include "tests/simt/machine.h"

#define ALL_LANES 0xffffffffU

static uint32_t word_at(const unsigned char *p, size_t index) {
    uint32_t v;
    memcpy(&v, p + 4 * index, sizeof v);
    return v;
}

static float half_of(uint32_t pair, uint32_t which, bool f16) {
    if (f16) return f16_to((uint16_t)(pair >> 16 * which));
    uint32_t bits = which ? pair & 0xffff0000U : pair << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void call_matrix_load(Machine *m, uint32_t *r, uint32_t at, bool turned) {
    Block *block = m->running->block;
    if (at % 16) machine_fail(m, "matrix_load_x4 of a row at %u, no multiple of 16", at);
    shared_at(m, block, at, 16);
    shared_access(m, block, (Access){ACCESS_READ, epoch_thread(m, m->running)}, at, 16);
    const unsigned char(*rows)[EXCHANGE_BYTES] =
        warp_exchange(m, "matrix_load_x4", ALL_LANES, &at, sizeof at);
    uint32_t lane = m->running->index % WARP;
    for (uint32_t i = 0; i < 4; i++) {
        r[i] = 0;
        for (uint32_t e = 0; e < 2; e++) {
            uint32_t row = lane / 4, column = 2 * (lane % 4) + e;
            uint32_t from = turned ? column : row, element = turned ? row : column;
            uint16_t bits;
            memcpy(&bits,
                   shared_at(m, block, word_at(rows[8 * i + from], 0), 16) +
                       (size_t)2 * element,
                   2);
            r[i] |= (uint32_t)bits << 16 * e;
        }
    }
}

// Lane 8 i + row writes row `row` of matrix i, whose elements the lanes 4 row to 4 row + 3
// have.
void call_matrix_store(Machine *m, uint32_t at, const uint32_t *r) {
    if (at % 16) machine_fail(m, "matrix_store_x4 of a row at %u, no multiple of 16", at);
    Thread *t = m->running;
    unsigned char *to = shared_at(m, t->block, at, 16);
    shared_access(m, t->block, (Access){ACCESS_WRITE, epoch_thread(m, t)}, at, 16);
    const unsigned char(*all)[EXCHANGE_BYTES] =
        warp_exchange(m, "matrix_store_x4", ALL_LANES, r, 4 * sizeof *r);
    size_t lane = t->index % WARP;
    for (size_t i = 0; i < 4; i++) {
        uint32_t word = word_at(all[4 * (lane % 8) + i], lane / 8);
        memcpy(to + 4 * i, &word, sizeof word);
    }
}

// A lane gives a[4], b0 and b1. Element (row, k) of A lies in register row / 8 + 2 (k / 8) of
// lane 4 (row % 8) + k % 8 / 2; element (k, column) of B in register k / 8 of lane
// 4 column + k % 8 / 2.
static void mma(Machine *m, float *d, const uint32_t mine[6], bool f16) {
    const unsigned char(*all)[EXCHANGE_BYTES] =
        warp_exchange(m, f16 ? "mma_f16" : "mma_bf16", ALL_LANES, mine, 6 * sizeof *mine);
    uint32_t lane = m->running->index % WARP;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        float sum = 0;
        for (uint32_t k = 0; k < 16; k++) {
            uint32_t pair = k % 8 / 2;
            uint32_t x = word_at(all[4 * (row % 8) + pair], row / 8 + 2 * (k / 8));
            uint32_t y = word_at(all[4 * column + pair], 4 + k / 8);
            sum += half_of(x, k % 2, f16) * half_of(y, k % 2, f16);
        }
        d[i] += sum;
    }
}

void call_mma_bf16(Machine *m, float *d, const uint32_t *a, uint32_t b0, uint32_t b1) {
    mma(m, d, (const uint32_t[]){a[0], a[1], a[2], a[3], b0, b1}, false);
}

void call_mma_f16(Machine *m, float *d, const uint32_t *a, uint32_t b0, uint32_t b1) {
    mma(m, d, (const uint32_t[]){a[0], a[1], a[2], a[3], b0, b1}, true);
}

// The tensor cores read no more than the upper 19 bits.
static float tf32_at(const unsigned char *p, size_t index) {
    uint32_t bits = word_at(p, index) & ~0x1fffU;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// Element (row, k) of A lies in register row / 8 + 2 (k / 4) of lane 4 (row % 8) + k % 4;
// element (k, column) of B in register k / 4 of lane 4 column + k % 4.
void call_mma_tf32(Machine *m, float *d, const uint32_t *a, uint32_t b0, uint32_t b1) {
    uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    const unsigned char(*all)[EXCHANGE_BYTES] =
        warp_exchange(m, "mma_tf32", ALL_LANES, mine, sizeof mine);
    uint32_t lane = m->running->index % WARP;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        float sum = 0;
        for (uint32_t k = 0; k < 8; k++)
            sum += tf32_at(all[4 * (row % 8) + k % 4], row / 8 + 2 * (k / 4)) *
                   tf32_at(all[4 * column + k % 4], 4 + k / 4);
        d[i] += sum;
    }
}
