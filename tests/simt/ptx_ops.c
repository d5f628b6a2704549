// ptx_ops.c: what the rows of ptx.def do, by the calls of the machine that the models in
// prelude.cuh use, or in their own words where those have C++ instead. Semantics: PTX ISA 8.0
// and later.
#include <ctype.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/dtype.h"
#include "tests/simt/ptx.h"

static uint32_t word(const Ptx *p, uint32_t arg) { return (uint32_t)p->args[arg].value; }

static void *pointer(const Ptx *p, uint32_t arg) {
    void *at;
    memcpy(&at, &p->args[arg].value, sizeof at);
    return at;
}

// ---- numbers

// To the nearest, ties to even; not a number is always the same one.
static uint32_t bf16_bits(float x) { return isnan(x) ? 0x7fff : bf16_of(x); }

static void op_f32_of_f16(Ptx *p) { ptx_set_float(p, 0, f16_to((uint16_t)word(p, 1))); }
static void op_f32_of_bf16(Ptx *p) { ptx_set_float(p, 0, bf16_to((uint16_t)word(p, 1))); }
static void op_move(Ptx *p) { ptx_set(p, 0, word(p, 1)); }
static void op_bf16_of_f32(Ptx *p) { ptx_set(p, 0, bf16_bits(ptx_float(p, 1))); }
static void op_bf16_cut(Ptx *p) {
    ptx_set(p, 0, isnan(ptx_float(p, 1)) ? 0x7fff : word(p, 1) >> 16);
}
static void op_f16_of_f32(Ptx *p) { ptx_set(p, 0, f16_of(ptx_float(p, 1))); }
// The first source becomes the upper half.
static void op_bf16_pair(Ptx *p) {
    ptx_set(p, 0, bf16_bits(ptx_float(p, 1)) << 16 | bf16_bits(ptx_float(p, 2)));
}
static void op_f16_pair(Ptx *p) {
    ptx_set(p, 0, (uint32_t)f16_of(ptx_float(p, 1)) << 16 | f16_of(ptx_float(p, 2)));
}
// To the nearest, ties away from 0.
static void op_tf32_of_f32(Ptx *p) {
    uint32_t bits = word(p, 1);
    ptx_set(p, 0, isfinite(ptx_float(p, 1)) ? (bits + 0x1000U) & ~0x1fffU : bits);
}
static float flush(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }
static void op_exp2(Ptx *p) { ptx_set_float(p, 0, flush(exp2f(flush(ptx_float(p, 1))))); }
static void op_log2(Ptx *p) { ptx_set_float(p, 0, log2f(flush(ptx_float(p, 1)))); }
// Each of four digits of the selector names a byte of both sources, or, with 8 more, its sign.
static void op_permute(Ptx *p) {
    uint64_t bytes = (uint64_t)word(p, 2) << 32 | word(p, 1);
    uint32_t result = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t digit = word(p, 3) >> 4 * i & 15, byte = bytes >> 8 * (digit & 7) & 255;
        if (digit & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    ptx_set(p, 0, result);
}
static void op_compare(Ptx *p) { ptx_set(p, 0, (word(p, 1) == word(p, 2)) == p->variant); }

// ---- memory

static void op_load(Ptx *p) {
    const unsigned char *from = pointer(p, p->variant);
    call_access(p->m, from, 4 * p->variant, false);
    for (uint32_t i = 0; i < p->variant; i++) {
        uint32_t value;
        memcpy(&value, from + (size_t)4 * i, sizeof value);
        ptx_set(p, i, value);
    }
}
static void op_store(Ptx *p) {
    unsigned char *to = pointer(p, 0);
    call_access(p->m, to, 4 * p->variant, true);
    for (uint32_t i = 0; i < p->variant; i++) {
        uint32_t value = word(p, 1 + i);
        memcpy(to + (size_t)4 * i, &value, sizeof value);
    }
}
static void op_barrier_sync(Ptx *p) { call_barrier_sync(p->m, word(p, 0), word(p, 1)); }

// ---- sm_80

static void op_copy_async(Ptx *p) {
    uint32_t size = word(p, 2);
    if (size != 16 && (p->variant || (size != 4 && size != 8)))
        ptx_fail(p, "there is no cp.async of so many bytes");
    call_copy_async(p->m, word(p, 0), pointer(p, 1), size, word(p, 3));
}
static void op_copy_async_commit(Ptx *p) { call_copy_async_commit(p->m); }
static void op_copy_async_wait(Ptx *p) { call_copy_async_wait(p->m, word(p, 0)); }
static void op_matrix_load(Ptx *p) {
    uint32_t r[4];
    call_matrix_load(p->m, r, word(p, 4), p->variant);
    for (uint32_t i = 0; i < 4; i++)
        ptx_set(p, i, r[i]);
}
// d, a, b, c.
static void op_mma(Ptx *p) {
    uint32_t a[4];
    float sums[4];
    for (uint32_t i = 0; i < 4; i++) {
        a[i] = word(p, 4 + i);
        sums[i] = ptx_float(p, 10 + i);
    }
    static void (*const calls[])(Machine *, float *, const uint32_t *, uint32_t,
                                 uint32_t) = {call_mma_bf16, call_mma_f16, call_mma_tf32};
    calls[p->variant](p->m, sums, a, word(p, 8), word(p, 9));
    for (uint32_t i = 0; i < 4; i++)
        ptx_set_float(p, i, sums[i]);
}

// ---- sm_90: barriers

static void op_barrier_init(Ptx *p) { call_barrier_init(p->m, word(p, 0), word(p, 1)); }
static void op_barrier_init_done(Ptx *p) { call_barrier_init_done(p->m); }
static void op_barrier_expect(Ptx *p) {
    call_barrier_arrive(p->m, word(p, 1), SIMT_OWN, word(p, 2));
}
static void op_address_in(Ptx *p) {
    if (!p->args[0].local) ptx_fail(p, "the model has no address of another block outside");
    ptx_set(p, 0, word(p, 1));
    p->args[0].local->block = word(p, 2);
}
static void op_barrier_arrive(Ptx *p) {
    const PtxArg *barrier = &p->args[1];
    uint32_t block = barrier->local ? barrier->local->block : SIMT_OWN;
    if (block != SIMT_OWN && !p->variant) ptx_fail(p, "an address of another block");
    call_barrier_arrive(p->m, word(p, 1), block, 0);
}
// One that is not complete yet may say so: it does the first time, and waits the second.
static void op_barrier_try(Ptx *p) {
    bool passes = p->tried || barrier_passed(p->m, word(p, 1), word(p, 2));
    if (passes) call_barrier_wait(p->m, word(p, 1), word(p, 2));
    p->tried = true;
    ptx_set(p, 0, passes);
}
static void op_copy_async_arrive(Ptx *p) { call_copy_async_arrive(p->m, word(p, 0)); }
static void op_async_fence(Ptx *p) { call_async_fence(p->m); }

// ---- sm_90: the copy engine

static void op_bulk_load(Ptx *p) {
    call_bulk_load(p->m, word(p, 0), pointer(p, 1), word(p, 2), word(p, 3));
}
static void op_bulk_store(Ptx *p) {
    call_bulk_store(p->m, pointer(p, 0), word(p, 1), word(p, 2));
}
static void op_bulk_commit(Ptx *p) { call_bulk_commit(p->m); }
static void op_bulk_wait(Ptx *p) { call_bulk_wait(p->m, word(p, 0), p->variant); }
static void op_map_prefetch(Ptx *p) { call_tensor_map_check(p->m, pointer(p, 0)); }
// The map and, after it, the coordinates.
static SimtBox box(const Ptx *p, uint32_t first) {
    SimtBox b = {.map = pointer(p, first), .rank = p->variant};
    for (uint32_t i = 0; i < b.rank; i++)
        b.at[i] = (int32_t)word(p, first + 1 + i);
    return b;
}
static void op_tensor_load(Ptx *p) {
    uint32_t rank = p->variant;
    call_tensor_load(p->m, word(p, 0), box(p, 1), word(p, 2 + rank), 0);
}
static void op_tensor_load_shared(Ptx *p) {
    uint32_t rank = p->variant;
    call_tensor_load(p->m, word(p, 0), box(p, 1), word(p, 2 + rank), word(p, 3 + rank));
}
static void op_tensor_store(Ptx *p) {
    call_tensor_store(p->m, box(p, 0), word(p, 1 + p->variant));
}

// ---- sm_90: clusters, matrices

static void op_special(Ptx *p) {
    bool thread = str_eq(p->args[1].name, STR("tid.x"));
    if (!thread && !str_eq(p->args[1].name, STR("cluster_ctarank")))
        ptx_fail(p, "an unknown special register");
    ptx_set(p, 0, thread ? p->m->running->index : call_cluster_rank(p->m));
}
// The model's threads arrive when they wait.
static void op_cluster_arrive(Ptx *p) {
    if (p->cluster_arrived) ptx_fail(p, "a second arrival");
    p->cluster_arrived = true;
}
static void op_cluster_wait(Ptx *p) {
    if (!p->cluster_arrived) ptx_fail(p, "a wait without an arrival");
    p->cluster_arrived = false;
    call_cluster_sync(p->m);
}
static void op_matrix_store(Ptx *p) {
    const uint32_t r[4] = {word(p, 1), word(p, 2), word(p, 3), word(p, 4)};
    call_matrix_store(p->m, word(p, 0), r);
}

// ---- sm_90a

static void op_registers_set(Ptx *p) { call_registers_set(p->m, word(p, 0), p->variant); }
static void op_wgmma_fence(Ptx *p) { call_wgmma_fence(p->m); }
static void op_wgmma_commit(Ptx *p) { call_wgmma_commit(p->m); }
static void op_wgmma_wait(Ptx *p) { call_wgmma_wait(p->m, word(p, 0)); }
// The machine keeps sums in arrays: their registers must be one, in order.
static void op_wgmma(Ptx *p) {
    uint32_t sums = p->arg_count - 7;  // a, b, add, two signs, two ways to lie
    const PtxArg *rest = &p->args[sums];
    float *d = ptx_address(&p->args[0]);
    if (sums != p->number / 2) ptx_fail(p, "registers and columns do not agree");
    for (uint32_t i = 0; i < sums; i++)
        if (ptx_address(&p->args[i]) != d + i)
            ptx_fail(p, "registers of sums are out of order");
    if (rest[3].value != 1 || rest[4].value != 1) ptx_fail(p, "the model has no other sign");
    if (rest[5].value > 1 || rest[6].value > 1) ptx_fail(p, "a tile lies in way 0 or 1");
    call_wgmma(p->m, d,
               (SimtProduct){.a = rest[0].value,
                             .b = rest[1].value,
                             .columns = p->number,
                             .f16 = p->variant,
                             .across_a = rest[5].value,
                             .across_b = rest[6].value,
                             .add = rest[2].value});
}

// ---- rows

typedef struct {
    const char *opcode, *operands;
    void (*run)(Ptx *p);
    uint32_t variant;
} PtxRow;
static const PtxRow rows[] = {
#define PTX_ROW(opcode, operands, function, variant) {opcode, operands, op_##function, variant},
#include "tests/simt/ptx.def"
};

static bool opcode_fits(Ptx *p, const char *expected) {
    const char *at = p->opcode.ptr, *end = at + p->opcode.len;
    for (; *expected; expected++) {
        if (*expected != '#') {
            if (at == end || *at++ != *expected) return false;
            continue;
        }
        for (p->number = 0; at < end && isdigit((unsigned char)*at); at++)
            p->number = p->number * 10 + (uint32_t)(*at - '0');
    }
    return at == end;
}

static bool arg_fits(const PtxArg *a, char expected) {
    bool reads = a->local ? a->local->set : !a->operand || a->operand->written != '=';
    bool writes = a->local || (a->operand && a->operand->written);
    if (isupper((unsigned char)expected))
        return writes && a->kind == tolower((unsigned char)expected);
    return reads && (a->kind == expected || (expected == 'r' && a->kind == 'i'));
}

static bool is_bracket(char c) { return c && strchr("{}[]", c); }

static bool operands_fit(const Ptx *p, const char *expected) {
    const char *at = p->shape;
    const PtxArg *arg = p->args;
    for (; *expected; expected++) {
        if (*expected == '*') continue;
        do {
            bool same = is_bracket(*expected)
                            ? *at == *expected
                            : *at && !is_bracket(*at) && arg_fits(arg++, *expected);
            if (!same) return false;
            at++;
        } while (expected[1] == '*' && *at && !is_bracket(*at));
    }
    return !*at;
}

void ptx_execute(Ptx *p) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!opcode_fits(p, rows[i].opcode)) continue;
        if (!operands_fit(p, rows[i].operands)) ptx_fail(p, "operands that it does not take");
        p->variant = rows[i].variant;
        rows[i].run(p);
        return;
    }
    ptx_fail(p, "an unknown instruction");
}
