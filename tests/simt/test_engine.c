// test_engine.c: the models of what sm_90 has: barriers that count bytes, the copy engine,
// products by a warpgroup, clusters.
#include "tests/simt/simt_bench.h"

// y[i] = 2 x[i], rows of 256 bytes through a ring of 3 stages: one warp loads, another
// computes, and its results leave in bulk.
static const char ring[] =
    TEXT(enum {STAGES = 3, STEPS = 10}; KERNEL(64) kernel(float *y, const float *x) {
        DYNAMIC_SHARED(shared);
        const u32 at = shared_address(shared);
        const u32 full = at + 2 * STAGES * 256;
        const u32 empty = full + 8 * STAGES;
        if (threadIdx.x == 0) {
            for (int i = 0; i < STAGES; i++) {
                barrier_init(full + 8 * i, 1);
                barrier_init(empty + 8 * i, 1);
            }
            barrier_init_done();
        }
        __syncthreads();
        u32 stage = 0;
        u32 parity = threadIdx.x < 32;
        for (int k = 0; k < STEPS; k++) {
            if (threadIdx.x == 0) {
                barrier_wait(empty + 8 * stage, parity);
                barrier_expect(full + 8 * stage, 256);
                bulk_load(at + stage * 256, x + 64 * k, 256, full + 8 * stage);
            } else if (threadIdx.x >= 32) {
                const float *from = (const float *)(shared + stage * 256);
                float *to = (float *)(shared + (STAGES + stage) * 256);
                const int lane = threadIdx.x % 32;
                barrier_wait(full + 8 * stage, parity);
                if (lane == 0) bulk_wait_read<STAGES - 1>();
                __syncwarp();
                to[lane] = 2 * from[lane];
                to[lane + 32] = 2 * from[lane + 32];
                async_fence();
                __syncwarp();
                if (lane == 0) {
                    barrier_arrive(empty + 8 * stage);
                    bulk_store(y + 64 * k, at + (STAGES + stage) * 256, 256);
                    bulk_commit();
                }
            }
            if (++stage == STAGES) {
                stage = 0;
                parity ^= 1;
            }
        }
        if (threadIdx.x == 32) bulk_wait<0>();
    });

static void rows_pass_through_a_ring(void **state) {
    float x[640], y[640] = {0};
    for (size_t i = 0; i < 640; i++)
        x[i] = small_number(i);
    SimtArg args[] = {{"y", y, sizeof y}, {"x", x, sizeof x}};
    run_text(*state, ring, (Launch){.blocks = 1, .threads = 64, .shared_bytes = 2048}, args, 2);
    for (size_t i = 0; i < 640; i++)
        assert_float_equal(y[i], 2 * x[i], 0);
}

// A box of 3 dimensions that hangs over every edge, swizzled by SPAN bytes: `raw` is shared
// memory as it is, and the box goes back to `y`, where it lay.
static const char box[] = TEXT(
    KERNEL(32) kernel(bf16 * y, u16 *raw, const bf16 *x, MAP_ARGUMENT from, MAP_ARGUMENT to) {
        DYNAMIC_SHARED(shared);
        const u32 at = shared_address(shared);
        if (threadIdx.x == 0) {
            barrier_init(at + 4096, 1);
            barrier_init_done();
            barrier_expect(at + 4096, 2048);
            tensor_load(at, &from, at + 4096, -4, 7, 1);
        }
        __syncwarp();
        barrier_wait(at + 4096, 0);
        for (int i = threadIdx.x; i < 1024; i += 32)
            raw[i] = ((const u16 *)shared)[i];
        __syncwarp();
        if (threadIdx.x == 0) {
            tensor_store(&to, at, -4, 7, 1);
            bulk_commit();
            bulk_wait<0>();
        }
    });

// Where PTX says that 16 bytes of a row lie: chunk c of line l is at c ^ l % (SPAN / 16), where
// lines of 32 and 64 bytes are counted by 128.
static size_t swizzled(size_t byte, size_t span) {
    size_t line = byte / 128, chunk = byte / 16 % 8;
    return span == 0 ? byte : line * 128 + (chunk ^ line % (span / 16)) * 16 + byte % 16;
}

static void boxes_are_swizzled(void **state) {
    static const uint32_t spans[] = {0, 32, 64, 128};
    for (int s = 0; s < 4; s++) {
        enum { X = 40, Y = 10, Z = 3 };
        uint16_t x[X * Y * Z], y[X * Y * Z] = {0}, raw[1024];
        for (size_t i = 0; i < X * Y * Z; i++)
            x[i] = (uint16_t)(i + 1);
        // 16 bytes (8 elements) at least; the box holds 1024 elements.
        uint32_t width = spans[s] ? spans[s] / 2 : 64;
        TensorMapSpec map = {.arg = 2,
                             .type = DTYPE_BF16,
                             .rank = 3,
                             .extent = {X, Y, Z},
                             .stride = {1, X, X * Y},
                             .box = {width, 512 / width, 2},
                             .swizzle = spans[s]};
        TensorMapSpec back = map;
        back.arg = 0;
        Launch launch = {.blocks = 1, .threads = 32, .shared_bytes = 5120, .map_count = 2};
        launch.maps[0] = map;
        launch.maps[1] = back;
        SimtArg args[] = {{"y", y, sizeof y}, {"raw", raw, sizeof raw}, {"x", x, sizeof x}};
        run_text(*state, box, launch, args, 3);
        for (size_t i = 0; i < 1024; i++) {
            int64_t at[3] = {(int64_t)(i % width) - 4, (int64_t)(i / width % (512 / width)) + 7,
                             (int64_t)(i / 512) + 1};
            bool inside = at[0] >= 0 && at[0] < X && at[1] < Y && at[2] < Z;
            size_t place = inside ? (size_t)(at[0] + X * at[1] + X * Y * at[2]) : 0;
            assert_int_equal(raw[swizzled(2 * i, spans[s]) / 2], inside ? x[place] : 0);
            if (inside) assert_int_equal(y[place], x[place]);
        }
    }
}

// d[64 x 64] = a[64 x 64] b[64 x 64] from tiles that the copy engine swizzles by 128 bytes, all
// four ways that they can lie; twice, so that sums are added to.
static const char warpgroup[] = TEXT(
    template <int ACROSS_A, int ACROSS_B> DEVICE void multiply(float *y, u32 a, u32 b) {
        float sums[32];
        u64 tile_a = ACROSS_A ? wgmma_tile_across_k(a, 8192) : wgmma_tile_along_k(a);
        u64 tile_b = ACROSS_B ? wgmma_tile_across_k(b, 8192) : wgmma_tile_along_k(b);
        wgmma_hold(sums);
        wgmma_fence();
        for (int j = 0; j < 8; j++)
            wgmma_bf16<64, ACROSS_A, ACROSS_B>(sums, tile_a + j % 4 * (ACROSS_A ? 128 : 2),
                                               tile_b + j % 4 * (ACROSS_B ? 128 : 2), j > 0);
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_hold(sums);
        const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
        for (int i = 0; i < 32; i++)
            y[(row + i % 4 / 2 * 8) * 64 + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i];
    } KERNEL(128) kernel(float *y, const bf16 *a, const bf16 *at, const bf16 *b, const bf16 *bt,
                         MAP_ARGUMENT map_a, MAP_ARGUMENT map_at, MAP_ARGUMENT map_b,
                         MAP_ARGUMENT map_bt) {
        DYNAMIC_SHARED(shared);
        const u32 tiles = shared_address(shared);
        const u32 full = tiles + 4 * 8192;
        if (threadIdx.x == 0) {
            barrier_init(full, 1);
            barrier_init_done();
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            barrier_expect(full, 4 * 8192);
            tensor_load(tiles, &map_a, full, 0, 0);
            tensor_load(tiles + 8192, &map_at, full, 0, 0);
            tensor_load(tiles + 2 * 8192, &map_b, full, 0, 0);
            tensor_load(tiles + 3 * 8192, &map_bt, full, 0, 0);
        }
        barrier_wait(full, 0);
        multiply<0, 0>(y, tiles, tiles + 3 * 8192);
        multiply<1, 0>(y + 4096, tiles + 8192, tiles + 3 * 8192);
        multiply<0, 1>(y + 2 * 4096, tiles, tiles + 2 * 8192);
        multiply<1, 1>(y + 3 * 4096, tiles + 8192, tiles + 2 * 8192);
    });

static void warpgroups_multiply(void **state) {
    static uint16_t a[4096], at[4096], b[4096], bt[4096];
    static float y[4][4096];
    fill_bf16(a, 4096, 1);
    fill_bf16(b, 4096, 5000);
    for (size_t i = 0; i < 4096; i++) {
        at[i % 64 * 64 + i / 64] = a[i];
        bt[i % 64 * 64 + i / 64] = b[i];
    }
    Launch launch = {.blocks = 1, .threads = 128, .shared_bytes = 33792, .map_count = 4};
    for (uint32_t i = 0; i < 4; i++)
        launch.maps[i] = (TensorMapSpec){.arg = i + 1,
                                         .type = DTYPE_BF16,
                                         .rank = 2,
                                         .extent = {64, 64},
                                         .stride = {1, 64},
                                         .box = {64, 64},
                                         .swizzle = 128};
    SimtArg args[] = {{"y", y, sizeof y},
                      {"a", a, sizeof a},
                      {"at", at, sizeof at},
                      {"b", b, sizeof b},
                      {"bt", bt, sizeof bt}};
    run_text(*state, warpgroup, launch, args, 5);
    for (size_t i = 0; i < 4096; i++) {
        float sum = 0;
        for (size_t k = 0; k < 64; k++)
            sum += 2 * bf16_to(a[i / 64 * 64 + k]) * bf16_to(b[k * 64 + i % 64]);
        for (int way = 0; way < 4; way++)
            assert_float_equal(y[way][i], sum, 0);
    }
}

// Each block of a pair loads half of every row for both; each stage is free again when both
// have read it.
static const char cluster[] =
    TEXT(CLUSTER(2) KERNEL(64) kernel(float *y, const float *x, MAP_ARGUMENT map) {
        DYNAMIC_SHARED(shared);
        const u32 at = shared_address(shared);
        const u32 full = at + 2048;
        const u32 empty = full + 16;
        const u32 rank = cluster_rank();
        if (threadIdx.x == 0) {
            for (int i = 0; i < 2; i++) {
                barrier_init(full + 8 * i, 1);
                barrier_init(empty + 8 * i, 2);
            }
            barrier_init_done();
        }
        cluster_sync();
        const int pair = blockIdx.x / 2 * 8;
        for (int k = 0; k < 8; k++) {
            const u32 stage = k % 2;
            const u32 parity = k / 2 % 2;
            if (threadIdx.x == 0) {
                barrier_wait(empty + 8 * stage, parity ^ 1);
                barrier_expect(full + 8 * stage, 256);
                tensor_load_shared(at + stage * 1024 + rank * 128, &map, full + 8 * stage, 3,
                                   rank * 32, pair + k);
            }
            __syncwarp();
            if (threadIdx.x >= 32) {
                const int lane = threadIdx.x % 32;
                const float *row = (const float *)(shared + stage * 1024);
                barrier_wait(full + 8 * stage, parity);
                const float sum = row[lane] + row[lane + 32];
                __syncwarp();
                if (lane < 2) barrier_arrive_at(empty + 8 * stage, lane);
                y[(blockIdx.x * 8 + k) * 32 + lane] = sum;
            }
        }
        cluster_sync();
    });

static void clusters_share_loads(void **state) {
    static float x[2 * 8 * 64], y[4 * 8 * 32];
    for (size_t i = 0; i < 1024; i++)
        x[i] = small_number(i);
    Launch launch = {
        .blocks = 4, .threads = 64, .cluster = 2, .shared_bytes = 2080, .map_count = 1};
    launch.maps[0] = (TensorMapSpec){.arg = 1,
                                     .type = DTYPE_F32,
                                     .rank = 2,
                                     .extent = {64, 16},
                                     .stride = {1, 64},
                                     .box = {32, 1}};
    SimtArg args[] = {{"y", y, sizeof y}, {"x", x, sizeof x}};
    run_text(*state, cluster, launch, args, 2);
    for (size_t block = 0; block < 4; block++)
        for (size_t i = 0; i < 256; i++) {
            const float *row = x + (block / 2 * 8 + i / 32) * 64;
            assert_float_equal(y[block * 256 + i], row[i % 32] + row[i % 32 + 32], 0);
        }
}

int main(void) {
    if (!simt_available()) {
        print_message("skipped: no C++ compiler\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_pass_through_a_ring),
        cmocka_unit_test(boxes_are_swizzled),
        cmocka_unit_test(warpgroups_multiply),
        cmocka_unit_test(clusters_share_loads),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
