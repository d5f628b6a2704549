// test_mutate.c: bugs are planted in the kernels of tests/simt/kernels, and each must be
// noticed: by a report of the machine, or by wrong numbers.
#include "tests/simt/planted.h"
#include "tests/test.h"

// Where, the text and what becomes of it, the report that is expected.
#define PLANT(kernel, from, to, report) PLANT_TWO(kernel, from, to, report, NULL, NULL)
#define PLANT_TWO(kernel, from, to, report, and_from, and_to)       \
    {                                                               \
        CASE_##kernel, NULL, { from, to, report, and_from, and_to } \
    }

static const Planted in_threads[] = {
    PLANT(ROWS, "__syncthreads();", "", "race"),
    PLANT(ROWS, "__syncthreads();", "__syncwarp();", "race"),
    PLANT(ROWS, "__syncthreads();", "if (threadIdx.x < 128) __syncthreads();", NULL),
    PLANT(ROWS, "__syncthreads();", "named_barrier_sync(1, 128);", "race"),
    PLANT(ROWS, "sum, d)", "sum, d / 2)", "wrong"),
    PLANT(ROWS, "sum += __shfl", "if (threadIdx.x % 2) sum += __shfl", "deadlock"),
    PLANT(ROWS, "sum += __shfl", "if (threadIdx.x % 2) __syncwarp(); else sum += __shfl",
          "diverg"),
    PLANT(ROWS, "__shfl_xor_sync(~0U", "__shfl_xor_sync(0xffffU", "no part"),
    PLANT(ROWS, "blockIdx.x * 2048", "(blockIdx.x + 1) * 2048", "which has"),
    PLANT(ROWS, "blockIdx.x * 2048", "((int)blockIdx.x - 1) * 2048", "which has"),
    PLANT(ROWS, "threadIdx.x * 8", "threadIdx.x * 7", "no multiple"),
    PLANT(ROWS, "if (threadIdx.x == 0) y", "y", "race"),
    PLANT(ROWS, "y[blockIdx.x]", "y[0]", "race"),
    PLANT(ROWS, "parts[threadIdx.x / 32]", "parts[threadIdx.x / 16]", NULL),
    PLANT(COPIES, "wait<STAGES - 2>", "wait<STAGES - 1>", "race"),
    PLANT(COPIES, "__syncthreads();", "", "race"),
    PLANT(COPIES, "__syncthreads();", "__syncwarp();", "race"),
    PLANT(COPIES, "if (next < STEPS)", "", "which has"),
    PLANT(COPIES, "next % STAGES", "(next + 1) % STAGES", "race"),
    PLANT(COPIES, "x + next * 64 + i, 4", "x + next * 64 + i, 2", "wrong"),
    PLANT(PRODUCT, "copy_async_wait<0>();", "", "race"),
    PLANT(PRODUCT, "copy_async_commit();", "", "race"),
    PLANT(PRODUCT, "__syncwarp();", "", "race"),
    PLANT(PRODUCT, "w[2 * half], w[2 * half + 1]", "w[2 * half + 1], w[2 * half]", "wrong"),
    PLANT(PRODUCT, "matrix_load_x4_turned(w", "matrix_load_x4(w", "wrong"),
    PLANT(PRODUCT, "matrix_load_x4(v", "matrix_load_x4_turned(v", "wrong"),
    PLANT(PRODUCT, "lane % 8 + lane / 16 * 8", "lane % 16", "wrong"),
    PLANT(PRODUCT, "i % 32 * 8, 16)", "i % 32 * 8, 8)", "wrong"),
    PLANT(PRODUCT, "lane / 8 % 2 * 16", "lane / 8 % 2 * 8", "no multiple"),
    PLANT(PRODUCT, "matrix_load_x4(x", "if (lane < 16) matrix_load_x4(x", "diverg"),
    PLANT(TF32, "x[i] = tf32_of(a[(g + i % 2 * 8) * 16 + k + t + i / 2 * 4])",
          "x[i] = __float_as_uint(a[(g + i % 2 * 8) * 16 + k + t + i / 2 * 4])", "wrong"),
    PLANT(TF32, "i % 2 * 8) * 16 + k + t + i / 2 * 4", "i / 2 * 8) * 16 + k + t + i % 2 * 4",
          "wrong"),
    PLANT(TF32, "k + t + 4) * 16", "k + t + 1) * 16", "wrong"),
    PLANT(TF32, "mma_tf32(d", "if (lane < 31) mma_tf32(d", NULL),
};

static const Planted in_the_engine[] = {
    PLANT(RING, "__syncthreads();", "", "race"),
    PLANT(RING, "barrier_init_done();", "", "missing fence"),
    PLANT(RING, "barrier_init(full + 8 * i, 1)", "barrier_init(full + 8 * i, 2)", "deadlock"),
    PLANT(RING, "barrier_init(empty + 8 * i, 1)", "barrier_init(empty + 8 * i, 3)", "deadlock"),
    PLANT(RING, "parity = threadIdx.x < 32", "parity = threadIdx.x >= 32", NULL),
    PLANT(RING, "parity ^= 1", "parity ^= 0", NULL),
    PLANT(RING, "barrier_wait(empty + 8 * stage, parity);", "", "race"),
    PLANT(RING, "barrier_wait(full + 8 * stage, parity);", "", "race"),
    PLANT(RING, "expect(full + 8 * stage, 256)", "expect(full + 8 * stage, 240)", NULL),
    PLANT(RING, "expect(full + 8 * stage, 256)", "expect(full + 8 * stage, 272)", "deadlock"),
    PLANT(RING, "barrier_arrive(empty + 8 * stage);", "", "deadlock"),
    PLANT(RING, "to[lane] = 2",
          "if (lane == 0) barrier_arrive(empty + 8 * stage); to[lane] = 2", NULL),
    PLANT_TWO(RING, "to[lane] = 2",
              "if (lane == 0) barrier_arrive(empty + 8 * stage); to[lane] = 2", "race",
              "                barrier_arrive(empty + 8 * stage);\n", ""),
    PLANT(RING, "async_fence();", "", "missing fence"),
    PLANT(RING, "async_fence();", "if (lane) async_fence();", "missing fence"),
    PLANT(RING, "async_fence();\n            __syncwarp();", "async_fence();", "race"),
    PLANT(RING, "bulk_wait_read<STAGES - 1>();", "bulk_wait_read<STAGES>();", "race"),
    PLANT(RING, "if (threadIdx.x == 32) bulk_wait<0>();", "", "a thread ends"),
    PLANT(RING, "bulk_commit();", "", NULL),
    PLANT(RING, "bulk_load(at + stage * 256", "bulk_load(at", "race"),
    PLANT(RING, "x + 64 * k", "x + 64 * (k + 1)", "which has"),
    PLANT(RING, "bulk_store(y + 64 * k", "bulk_store(y + 32 * k", NULL),
    PLANT(RING, "bulk_store(y + 64 * k", "bulk_store(y + 64 * k + 1", "no multiple"),
    PLANT(RING, "empty = full + 8 * STAGES", "empty = full + 8", "second time"),
    PLANT(RING, "full = at + 2 * STAGES * 256", "full = at + 1024", NULL),
    PLANT(BOX_128, "expect(at + 4096, 2048)", "expect(at + 4096, 2032)", "deadlock"),
    PLANT(BOX_128, "barrier_wait(at + 4096, 0);", "", NULL),
    PLANT(BOX_128, "barrier_wait(at + 4096, 0);", "barrier_wait(at + 4096, 1);", NULL),
    PLANT(BOX_128, "at + 4096, -4, -2, 1", "at + 4096, 4, -2, 1", "wrong"),
    PLANT(BOX_128, "at + 4096, -4, -2, 1", "at + 4096, -4, -2", "coordinates"),
    PLANT(BOX_128, "tensor_store(&to, at, -4", "tensor_store(&to, at, -3", "wrong"),
    PLANT(BOX_128, "tensor_load(at, &from", "tensor_load(at + 64, &from", "no multiple"),
    PLANT(BOX_128, "tensor_load(at, &from", "tensor_load(at + 128, &from", NULL),
    PLANT(BOX_128, "bulk_wait<0>();", "", "a thread ends"),
};

static const Planted in_warpgroups[] = {
    PLANT(WARPGROUP, "(ACROSS_A ? 128 : 2)", "(ACROSS_A ? 128 : 4)", NULL),
    PLANT(WARPGROUP, "(ACROSS_B ? 128 : 2)", "(ACROSS_B ? 64 : 2)", "wrong"),
    PLANT(WARPGROUP, "ACROSS_B>(sums", "0>(sums", NULL),
    PLANT(WARPGROUP, "wgmma_fence();", "", "wgmma_fence"),
    PLANT(WARPGROUP, "wgmma_commit();", "", NULL),
    PLANT(WARPGROUP, "wgmma_wait<0>();", "wgmma_wait<1>();", NULL),
    PLANT(WARPGROUP, "wgmma_commit();", "wgmma_commit(); sums[3] = 1;", "sums are written"),
    PLANT_TWO(WARPGROUP, "wgmma_commit();", "wgmma_commit(); const float early = sums[3];",
              "wrong", "= sums[i]", "= i == 3 ? early : sums[i]"),
    PLANT(WARPGROUP, "j > 0)", "j > 1)", "wrong"),
    PLANT(WARPGROUP, "barrier_wait(full, 0);", "", "race"),
    PLANT(WARPGROUP, "barrier_wait(full, 0);", "if (threadIdx.x < 96) barrier_wait(full, 0);",
          "race"),
    PLANT(WARPGROUP, "for (int j = 0; j < 8; j++)",
          "if (threadIdx.x < 96) for (int j = 0; j < 8; j++)", "deadlock"),
    PLANT(WARPGROUP, "2 * 8192, &map_b,", "2 * 8192, &map_bt,", "wrong"),
    PLANT(WARPGROUP, "tiles = shared_address(shared)", "tiles = shared_address(shared) + 256",
          "multiple"),
    PLANT(CLUSTER, "if (lane < 2) barrier_arrive_at(empty + 8 * stage, lane);",
          "if (lane == 0) barrier_arrive(empty + 8 * stage);", "deadlock"),
    PLANT(CLUSTER, "arrive_at(empty + 8 * stage, lane)", "arrive_at(empty + 8 * stage, 0)",
          NULL),
    PLANT(CLUSTER, "barrier_init(empty + 8 * i, 2)", "barrier_init(empty + 8 * i, 1)", NULL),
    PLANT(CLUSTER, "cluster_sync();\n    const", "__syncthreads();\n    const", NULL),
    PLANT(CLUSTER, "    cluster_sync();\n}", "}", NULL),
    PLANT(CLUSTER, "full + 8 * stage, 3,", "full + 8 * stage, 1,", NULL),
    PLANT(CLUSTER, "expect(full + 8 * stage, 256)", "expect(full + 8 * stage, 128)", NULL),
    PLANT(CLUSTER, "rank * 128, &map", "0, &map", "race"),
    PLANT_TWO(
        CLUSTER,
        "            __syncwarp();\n            if (lane < 2) barrier_arrive_at(empty + 8 * stage, lane);",
        "", NULL, "const float sum",
        "if (lane < 2) barrier_arrive_at(empty + 8 * stage, lane); const float sum"),
    PLANT(CLUSTER, "            __syncwarp();\n            if (lane < 2)",
          "            if (lane < 2)", "race"),
};

static void expect_noticed(const Planted *planted, uint32_t count) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    CudaKernel *kernels = arena_alloc(&arena, count, sizeof *kernels);
    for (uint32_t i = 0; i < count; i++) {
        kernels[i] = simt_case(&arena, planted[i].kernel).kernel;
        kernels[i].text = mutation_apply(&arena, kernels[i].text, &planted[i].mutation);
    }
    Simt *simt;
    if (!simt_build(&diag, &arena, kernels, count, &simt)) assert_diag(&diag, "");
    planted_run(simt, planted, count);
    arena_release(&arena);
}

#define COUNT(array) (uint32_t)(sizeof(array) / sizeof *(array))

static void bugs_in_threads(void **state) {
    (void)state;
    expect_noticed(in_threads, COUNT(in_threads));
}

static void bugs_in_the_engine(void **state) {
    (void)state;
    expect_noticed(in_the_engine, COUNT(in_the_engine));
}

static void bugs_in_warpgroups(void **state) {
    (void)state;
    expect_noticed(in_warpgroups, COUNT(in_warpgroups));
}

// The machine moves what a map says; where that is wrong, so are the numbers.
static void bugs_in_maps(void **state) {
    (void)state;
    Arena arena = {0};
    for (uint32_t i = 0; i < 3; i++) {
        Diag diag;
        diag_init(&diag, &arena);
        SimtCase c = simt_case(&arena, CASE_BOX_64);
        TensorMapSpec *map = &c.kernel.launch.maps[0];
        if (i == 0) map->swizzle = 128;
        if (i == 1) map->stride[1] += 8;
        if (i == 2) map->extent[1]++;
        Simt *simt;
        if (!simt_build(&diag, &arena, &c.kernel, 1, &simt)) assert_diag(&diag, "");
        SimtArgs args = {c.args, c.count};
        assert_false(simt_check(&diag, simt, 0, args) && c.right(&c));
        simt_close(simt);
    }
    arena_release(&arena);
}

int main(void) {
    if (!simt_available()) {
        print_message("skipped: no C++ compiler\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bugs_in_threads),
        cmocka_unit_test(bugs_in_the_engine),
        cmocka_unit_test(bugs_in_warpgroups),
        cmocka_unit_test(bugs_in_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
