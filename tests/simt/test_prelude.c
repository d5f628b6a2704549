// test_prelude.c: the text of codegen/cuda/prelude.cuh and wgmma.cuh itself runs on the
// machine: hand-written kernels give the right numbers with it, and bugs planted in it are
// noticed, at least one in each asm statement.
#include <string.h>

#include "base/io.h"
#include "tests/simt/planted.h"
#include "tests/simt/ptx_text.h"
#include "tests/test.h"

static PtxTexts texts_read(Arena *arena) {
    Diag diag;
    diag_init(&diag, arena);
    PtxTexts texts;
    if (!io_read(&diag, arena, STR("codegen/cuda/prelude.cuh"), &texts.prelude) ||
        !io_read(&diag, arena, STR("codegen/cuda/wgmma.cuh"), &texts.wgmma))
        assert_diag(&diag, "");
    return texts;
}

static void kernels_are_right(void **state) {
    (void)state;
    static const char *const names[] = {
#define CASE(upper, lower) #lower,
        SIMT_CASES(CASE)
#undef CASE
    };
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    PtxTexts texts = texts_read(&arena);
    texts = (PtxTexts){ptx_text(&arena, texts.prelude), ptx_text(&arena, texts.wgmma)};
    SimtCase cases[SIMT_CASE_COUNT];
    CudaKernel kernels[SIMT_CASE_COUNT];
    for (uint32_t i = 0; i < SIMT_CASE_COUNT; i++) {
        cases[i] = simt_case(&arena, (SimtCaseName)i);
        kernels[i] = cases[i].kernel;
        kernels[i].text = ptx_kernel(&arena, kernels[i].text, &texts);
    }
    Simt *simt;
    if (!simt_build_plain(&diag, &arena, kernels, SIMT_CASE_COUNT, &simt))
        assert_diag(&diag, "");
    for (uint32_t i = 0; i < SIMT_CASE_COUNT; i++) {
        SimtCase *c = &cases[i];
        if (!simt_check(&diag, simt, i, (SimtArgs){c->args, c->count})) assert_diag(&diag, "");
        if (!c->right(c)) fail_msg("%s gives wrong numbers", names[i]);
    }
    simt_close(simt);
    arena_release(&arena);
}

// ---- bugs

#define PLANT(kernel, place, from, to, report)                 \
    {                                                          \
        CASE_##kernel, place, { from, to, report, NULL, NULL } \
    }

static const Planted in_numbers[] = {
    PLANT(NUMBERS, "f32_of(f16 x)", "cvt.f32.f16", "cvt.f32.bf16", "wrong"),
    PLANT(NUMBERS, "bf16_of(float x)", "cvt.rn", "cvt.rz", "wrong"),
    PLANT(NUMBERS, "f16 f16_of(float x)", "rn.f16", "rn.bf16", "wrong"),
    PLANT(NUMBERS, "f16 f16_of(float x)", "\"=h\"", "\"=r\"", "constraint"),
    PLANT(NUMBERS, "bf16_half_again", "0x1044", "0x0144", "wrong"),
    PLANT(NUMBERS, "bf16_half_again", "0x3244", "0x2344", "wrong"),
    PLANT(NUMBERS, "bf16_half_again", "%1, 0,", "0, %1,", "wrong"),
    PLANT(NUMBERS, "u32 bf16_pair", "\"f\"(high), \"f\"(low)", "\"f\"(low), \"f\"(high)",
          "wrong"),
    PLANT(NUMBERS, "u32 f16_pair", "%0, %1, %2", "%0, %2, %1", "wrong"),
    PLANT(NUMBERS, "u32 f16_pair", "cvt.rn.f16x2", "cvt.rn.bf16x2", "wrong"),
    PLANT(NUMBERS, "exp2_of", "ex2", "lg2", "wrong"),
    PLANT(ROWS, "load16(", "%0,%1,%2,%3", "%0,%1,%2,%2", NULL),
    PLANT(ROWS, "bf16_high(u32", "0xffff0000U", "0x7fff0000U", "wrong"),
    PLANT(NUMBERS, "load16_once(", "%0,%1,%2,%3", "%1,%0,%2,%3", "wrong"),
    PLANT(NUMBERS, "store16(", "{%1,%2,%3,%4}", "{%1,%3,%2,%4}", "wrong"),
    PLANT(NUMBERS, "store16_once(", "v4.u32 [%0], {%1,%2,%3,%4}", "v2.u32 [%0], {%1,%2}",
          "wrong"),
};

static const Planted in_threads[] = {
    PLANT(ROLES, "named_barrier_sync", "%0, %1", "%1, %0", NULL),
    PLANT(ROLES, "copy_async16", "16, %2", "16, 16", "wrong"),
    PLANT(ROLES, "copy_async16", "16, %2", "8, %2", "so many bytes"),
    PLANT(COPIES, "copy_async4", "[%1], 4", "[%1], 8", NULL),
    PLANT(COPIES, "copy_async_commit", "cp.async.commit", "cp.async.bulk.commit", "race"),
    PLANT(COPIES, "copy_async_wait", "\"n\"(N)", "\"n\"(N + 1)", "race"),
    PLANT(PRODUCT, "matrix_load_x4(", "%0,%1,%2,%3", "%0,%2,%1,%3", "wrong"),
    PLANT(PRODUCT, "matrix_load_x4(", ".x4.shared", ".x4.trans.shared", "wrong"),
    PLANT(PRODUCT, "matrix_load_x4_turned", ".trans", "", "wrong"),
    PLANT(PRODUCT, "mma_bf16", "{%4,%5,%6,%7}", "{%4,%6,%5,%7}", "wrong"),
    PLANT(PRODUCT, "mma_bf16", "{%8,%9}", "{%9,%8}", "wrong"),
    PLANT(PRODUCT, "mma_bf16", "{%0,%1,%2,%3};", "{%0,%2,%1,%3};", "wrong"),
    PLANT(PRODUCT, "mma_bf16", "bf16.bf16", "f16.f16", "wrong"),
    PLANT(PRODUCT, "mma_bf16", "row.col", "row.row", "unknown"),
    PLANT(PRODUCT, "mma_bf16", "\"+f\"(d[1]), \"+f\"(d[2])", "\"+f\"(d[2]), \"+f\"(d[1])",
          "wrong"),
    PLANT(ROLES, "mma_f16", "f16.f16", "bf16.bf16", "wrong"),
    PLANT(ROLES, "mma_f16", "{%0,%1,%2,%3};", "{%0,%2,%1,%3};", "wrong"),
    PLANT(ROLES, "mma_f16", "\"r\"(b0), \"r\"(b1)", "\"r\"(b1), \"r\"(b0)", "wrong"),
    PLANT(TF32, "tf32_of", "cvt.rna.tf32.f32", "mov.b32", "wrong"),
    PLANT(TF32, "mma_tf32", "{%4,%5,%6,%7}", "{%4,%6,%5,%7}", "wrong"),
    PLANT(TF32, "mma_tf32", "{%0,%1,%2,%3};", "{%0,%1,%3,%2};", "wrong"),
};

static const Planted in_barriers[] = {
    PLANT(RING, "barrier_init(", "\"r\"(arrivals)", "\"r\"(arrivals + 1)", "deadlock"),
    PLANT(RING, "barrier_init_done", "fence.mbarrier_init.release.cluster;", "",
          "missing fence"),
    PLANT(RING, "barrier_expect", "arrive.expect_tx.shared::cta.b64 _, [%0], %1",
          "arrive.shared::cta.b64 _, [%0]", "race"),
    PLANT(RING, "barrier_expect", "\"r\"(bytes)", "\"r\"(bytes - 16)", NULL),
    PLANT(RING, "barrier_arrive(", "mbarrier.arrive.shared::cta.b64 _, [%0];", "", "deadlock"),
    PLANT(CLUSTER, "barrier_arrive_at", "there, %0, %1", "there, %1, %0", NULL),
    PLANT(CLUSTER, "barrier_arrive_at", "[there]", "[%0]", NULL),
    PLANT(CLUSTER, "barrier_arrive_at", "arrive.release.cluster.shared::cluster.b64",
          "arrive.shared::cta.b64", "another block"),
    PLANT(RING, "barrier_wait", "@done", "@!done", NULL),
    PLANT(RING, "barrier_wait", "bra AGAIN_%=;", "", "race"),
    PLANT(RING, "barrier_wait", "bra DONE_%=;", "bra AGAIN_%=;", "does not end"),
    PLANT(RING, "barrier_wait", "\"r\"(parity)", "\"r\"(parity ^ 1)", NULL),
    PLANT(ROLES, "copy_async_arrive", "cp.async.mbarrier.arrive.noinc", "mbarrier.arrive",
          "operands"),
    PLANT(ROLES, "copy_async_arrive", ".noinc", "", "unknown"),
    PLANT(ROLES, "copy_async_arrive", "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0]",
          "mbarrier.arrive.shared::cta.b64 _, [%0]", "race"),
    PLANT(RING, "async_fence", "fence.proxy.async.shared::cta;", "", "fence"),
    PLANT(CLUSTER, "cluster_rank", "%%cluster_ctarank", "%%tid.x", NULL),
    PLANT(CLUSTER, "cluster_sync", "barrier.cluster.wait.acquire.aligned;", "",
          "without its wait"),
    PLANT(CLUSTER, "cluster_sync",
          "barrier.cluster.arrive.release.aligned;\\nbarrier.cluster.wait.acquire.aligned;", "",
          NULL),
};

// Places of overloads are their instructions.
static const Planted in_the_engine[] = {
    PLANT(RING, "bulk_load", "\"r\"(bytes)", "\"r\"(bytes - 16)", "deadlock"),
    PLANT(RING, "bulk_load", "[%0], [%1], %2, [%3]", "[%3], [%1], %2, [%0]", NULL),
    PLANT(RING, "bulk_store", "\"r\"(bytes)", "\"r\"(bytes / 2)", "wrong"),
    PLANT(RING, "bulk_commit", "async.bulk.commit", "async.commit", NULL),
    PLANT(RING, "bulk_wait_read", "\"n\"(N)", "\"n\"(N + 1)", "race"),
    PLANT(BOX_128, "bulk_wait()", "async.bulk.wait", "async.wait", "a thread ends"),
    PLANT(PLANES, "tensor_map_prefetch", "\"l\"(map)", "\"l\"((u64)map + 64)", NULL),
    PLANT(LINES, "tensor_load(u32", "{%3, %4}", "{%4, %3}", NULL),
    PLANT(LINES, "tensor_load(u32", "{%3, %4}], [%2]", "{%3, %4}], [%0]", NULL),
    PLANT(BOX_128, "3d.shared::cluster", "{%3, %4, %5}", "{%4, %3, %5}", "wrong"),
    PLANT(PLANES, "4d.shared::cluster", "{%3, %4, %5, %6}", "{%3, %4, %6, %5}", "wrong"),
    PLANT(CLUSTER, "tensor_load_shared(u32", "{%4, %5}", "{%5, %4}", NULL),
    PLANT(CLUSTER, "tensor_load_shared(u32", "\"h\"(blocks)", "\"h\"((u16)1)", NULL),
    PLANT(PLANES, "multicast::cluster [%0], [%1, {%4, %5, %6}]", "%5, %6", "%6, %5", NULL),
    PLANT(PLANES, "multicast::cluster [%0], [%1, {%4, %5, %6, %7}]", "%6, %7", "%7, %6",
          "wrong"),
    PLANT(LINES, "tensor_store(", "{%2, %3}", "{%3, %2}", NULL),
    PLANT(BOX_128, "3d.global.shared", "{%2, %3, %4}", "{%3, %2, %4}", "wrong"),
    PLANT(PLANES, "4d.global.shared", "{%2, %3, %4, %5}", "{%2, %3, %5, %4}", "wrong"),
    PLANT(ROLES, "matrix_store_x4", "{%1,%2,%3,%4}", "{%1,%3,%2,%4}", "wrong"),
};

static const Planted in_warpgroups[] = {
    PLANT(ROLES, "registers_shrink", ".dec", ".inc", "the other way"),
    PLANT(ROLES, "registers_grow", ".inc", ".dec", "the other way"),
    PLANT(WARPGROUP, "wgmma_fence", "wgmma.fence.sync.aligned;", "", "wgmma_fence"),
    PLANT(WARPGROUP, "wgmma_commit", "wgmma.commit_group.sync.aligned;", "", NULL),
    PLANT(WARPGROUP, "wgmma_wait", "\"n\"(N)", "\"n\"(N + 1)", NULL),
    PLANT(WARPGROUP, "wgmma_tile_along_k", "64ULL << 32", "32ULL << 32", NULL),
    PLANT(WARPGROUP, "wgmma_tile_along_k", "1ULL << 62", "2ULL << 62", NULL),
    PLANT(WARPGROUP, "wgmma_tile_across_k", "64ULL << 32", "128ULL << 32", NULL),
    PLANT(WARPGROUP, "define WGMMA_DEFINE(", "setp.ne", "setp.eq", "wrong"),
    PLANT(WARPGROUP, "define WGMMA_DEFINE(", "across_a \", \" across_b",
          "across_b \", \" across_a", "wrong"),
    PLANT(WARPGROUP, "define WGMMA_DEFINE(", "\"l\"(tile_a), \"l\"(tile_b)",
          "\"l\"(tile_b), \"l\"(tile_a)", NULL),
    PLANT(WARPGROUP, "define WGMMA_DEFINE(", "#type \".\" #type", "\"f16.f16\"", "wrong"),
    PLANT(WARPGROUP, "define WGMMA_TEXT7", "%25,%26", "%26,%25", "out of order"),
    PLANT(WARPGROUP, "define WGMMA_D7", "WGMMA_4(24)", "WGMMA_4(20)", "out of order"),
    PLANT(WARPGROUP, "define WGMMA_ROW64", "\"%32\", \"%33\"", "\"%33\", \"%32\"", NULL),
    PLANT(WARPGROUP, "define WGMMA_ROW64", "\"%35\", \"%36\"", "\"%36\", \"%35\"", "wrong"),
    PLANT(WARPGROUP, "define WGMMA_ROW64", "WGMMA_TEXT8", "WGMMA_TEXT7", "do not agree"),
};

#define COUNT(array) (uint32_t)(sizeof(array) / sizeof *(array))
static const struct {
    const Planted *ptr;
    uint32_t count;
} all_planted[] = {
    {in_numbers, COUNT(in_numbers)},       {in_threads, COUNT(in_threads)},
    {in_barriers, COUNT(in_barriers)},     {in_the_engine, COUNT(in_the_engine)},
    {in_warpgroups, COUNT(in_warpgroups)},
};

// The text of the two that has the place of a bug, from the place on.
static const char *place_of(const PtxTexts *texts, const Planted *planted) {
    const char *place = strstr(texts->prelude.ptr, planted->place);
    if (!place) place = strstr(texts->wgmma.ptr, planted->place);
    if (!place) fail_msg("there is no '%s'", planted->place);
    return place;
}

// Both texts with the bug, as calls of ptx().
static PtxTexts plant(Arena *arena, PtxTexts texts, const Planted *planted) {
    const char *place = place_of(&texts, planted);
    bool in_prelude =
        place >= texts.prelude.ptr && place < texts.prelude.ptr + texts.prelude.len;
    Str *text = in_prelude ? &texts.prelude : &texts.wgmma;
    Str rest = mutation_apply(arena, str_of(place), &planted->mutation);
    *text = str_printf(arena, "%.*s%.*s", (int)(place - text->ptr), text->ptr, STR_ARG(rest));
    return (PtxTexts){ptx_text(arena, texts.prelude), ptx_text(arena, texts.wgmma)};
}

static void expect_noticed(const Planted *planted, uint32_t count) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    PtxTexts texts = texts_read(&arena);
    CudaKernel *kernels = arena_alloc(&arena, count, sizeof *kernels);
    for (uint32_t i = 0; i < count; i++) {
        PtxTexts changed = plant(&arena, texts, &planted[i]);
        kernels[i] = simt_case(&arena, planted[i].kernel).kernel;
        kernels[i].text = ptx_kernel(&arena, kernels[i].text, &changed);
    }
    Simt *simt;
    if (!simt_build_plain(&diag, &arena, kernels, count, &simt)) assert_diag(&diag, "");
    planted_run(simt, planted, count);
    arena_release(&arena);
}

static void bugs_are_noticed(void **state) {
    (void)state;
    for (uint32_t i = 0; i < COUNT(all_planted); i++)
        expect_noticed(all_planted[i].ptr, all_planted[i].count);
}

static bool has_bug(const PtxTexts *texts, Str statement) {
    for (uint32_t i = 0; i < COUNT(all_planted); i++)
        for (uint32_t j = 0; j < all_planted[i].count; j++) {
            const Planted *planted = &all_planted[i].ptr[j];
            const char *at = strstr(place_of(texts, planted), planted->mutation.from);
            if (at >= statement.ptr && at < statement.ptr + statement.len) return true;
        }
    return false;
}

// Those without an instruction are for the compiler alone. Returns how many others there are.
static uint32_t statements_check(const PtxTexts *texts, Str text) {
    uint32_t count = 0;
    size_t from = 0;
    for (Str s; (s = asm_next(text, from)).len; from = (size_t)(s.ptr - text.ptr) + s.len) {
        if (str_starts(s, STR("asm volatile(\"\""))) continue;
        if (!has_bug(texts, s)) fail_msg("no bug is planted in\n%.*s", STR_ARG(s));
        count++;
    }
    return count;
}

static void all_statements_have_bugs(void **state) {
    (void)state;
    Arena arena = {0};
    PtxTexts texts = texts_read(&arena);
    assert_true(statements_check(&texts, texts.prelude) > 50);
    assert_int_equal(statements_check(&texts, texts.wgmma), 1);
    arena_release(&arena);
}

int main(void) {
    if (!simt_available()) {
        print_message("skipped: no C++ compiler\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_right),
        cmocka_unit_test(all_statements_have_bugs),
        cmocka_unit_test(bugs_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
