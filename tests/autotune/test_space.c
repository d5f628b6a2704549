// test_space.c: the schedules of a region are different, legal and right, and the prior's comes
// first.
#include "autotune/space.h"
#include "ir/graph/linear.h"
#include "ir/graph/passes.h"
#include "tests/codegen/kernel_bench.h"

enum { MOST = 60 };

typedef struct {
    TileBench bench;
    Graph *graph;
    Regions *regions;
} Fixture;

static AxisId axis(Fixture *f, const char *name, int64_t extent) {
    return graph_axis(f->graph, str_of(name), extent, false);
}

static ValueId param(Fixture *f, const char *name, AxisId x, AxisId y) {
    AxisId axes[] = {x, y};
    Leaf leaf = {
        .kind = OP_PARAM, .path = str_of(name), .type = DTYPE_F32, .rank = 2, .axes = axes};
    return graph_leaf(f->graph, &leaf);
}

static void fixture_open(Fixture *f) {
    bench_open(&f->bench);
    f->graph = graph_new(&f->bench.arena, STR("space"));
}

static void fixture_fuse(Fixture *f, ValueId output) {
    graph_output(f->graph, STR("y"), output);
    f->regions = pass_fuse(f->graph, &f->bench.arena);
    assert_int_equal(f->regions->count, 1);
}

// sigmoid(a . b), stored as (m, k) or (k, m), and as (k, n) or (n, k).
static void contraction_of(Fixture *f, const int64_t extents[3], bool turned_a, bool turned_b) {
    fixture_open(f);
    AxisId m = axis(f, "m", extents[0]), n = axis(f, "n", extents[1]),
           k = axis(f, "k", extents[2]);
    ValueId in[] = {turned_a ? param(f, "a", k, m) : param(f, "a", m, k),
                    turned_b ? param(f, "b", n, k) : param(f, "b", k, n)};
    GraphAttr attr = {.along = &k, .along_count = 1};
    ValueId y = graph_add(f->graph, OP_CONTRACT, (Operands){in, 2}, attr, (Span){0});
    fixture_fuse(f, graph_unary(f->graph, OP_SIGMOID, y, (Span){0}));
}

static void contraction(Fixture *f, int64_t rows, bool turned_a, bool turned_b) {
    contraction_of(f, (const int64_t[]){rows, 70, 90}, turned_a, turned_b);
}

static void rms(Fixture *f) {
    fixture_open(f);
    AxisId t = axis(f, "t", 40), d = axis(f, "d", 300);
    ValueId x = param(f, "x", t, d);
    ValueId square = graph_binary(f->graph, OP_MUL, x, x, (Span){0});
    ValueId sum = graph_sum(f->graph, square, &d, 1, (Span){0});
    ValueId scale = graph_unary(f->graph, OP_RSQRT, sum, (Span){0});
    GraphAttr to = {.to = (AxisId[]){t, d}, .to_count = 2};
    scale = graph_add(f->graph, OP_BROADCAST, (Operands){&scale, 1}, to, (Span){0});
    fixture_fuse(f, graph_binary(f->graph, OP_MUL, x, scale, (Span){0}));
}

// Attention over 40 positions, or its gradients.
static void attention(Fixture *f, bool gradients) {
    fixture_open(f);
    AxisId h = axis(f, "h", 3), t = axis(f, "t", 40), s = axis(f, "s", 40), d = axis(f, "d", 8),
           e = axis(f, "e", 5), along[3] = {d, t, s};
    const AxisId axes[6][3] = {{h, t, d}, {h, s, d}, {h, s, e}, {h, t, e}, {h, t}, {h, t}};
    static const char *const names[] = {"q", "k", "v", "g", "lse", "delta"};
    ValueId in[6];
    for (uint32_t i = 0; i < 6; i++) {
        Leaf leaf = {.kind = OP_INPUT,
                     .path = str_of(names[i]),
                     .type = DTYPE_F32,
                     .rank = i < 4 ? 3 : 2,
                     .axes = axes[i]};
        in[i] = graph_leaf(f->graph, &leaf);
    }
    GraphAttr attr = {.along = along, .along_count = 3, .number = 0.4, .band = {0, BAND_MOST}};
    if (gradients)
        graph_output(f->graph, STR("dk"),
                     graph_add(f->graph, OP_ATTEND_DK, (Operands){in, 6}, attr, (Span){0}));
    fixture_fuse(f, graph_add(f->graph, gradients ? OP_ATTEND_DQ : OP_ATTEND,
                              (Operands){in, gradients ? 6 : 3}, attr, (Span){0}));
}

static const Region *region_of(const Fixture *f) { return &f->regions->regions[0]; }

static const TileKernels *programs(Fixture *f, const Schedule *s) {
    return region_to_tile(f->regions, region_of(f), s, &f->bench.arena);
}

static Hash programs_hash(Fixture *f, const Schedule *s) {
    const TileKernels *kernels = programs(f, s);
    Hash hash = {0};
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        hash = hash_mix(hash, tile_hash(kernels->kernels[i].program));
    return hash;
}

static bool schedule_same(const Schedule *x, const Schedule *y) {
    StrBuf a = {0}, b = {0};
    schedule_print(x, &a);
    schedule_print(y, &b);
    bool same = str_eq(strbuf_view(&a), strbuf_view(&b));
    strbuf_release(&a);
    strbuf_release(&b);
    return same;
}

static void check_legal(Fixture *f, IsaLevel level, uint32_t threads) {
    Hash hashes[MOST];
    Schedules all = schedule_space(f->regions, region_of(f), level, threads, &f->bench.arena);
    assert_in_range(all.len, 2, MOST);
    Schedule prior = schedule_prior(f->regions, region_of(f), level, threads);
    assert_true(schedule_same(&all.ptr[0], &prior));
    for (uint32_t i = 0; i < all.len; i++) {
        // Of rows the order of summation stays; k may be cut for the threads.
        if (all.ptr[i].parts != schedule_none().parts) {
            assert_int_equal(region_of(f)->kind, REGION_CONTRACT);
            assert_int_equal(all.ptr[i].parts, threads);
        }
        const TileKernels *kernels = programs(f, &all.ptr[i]);
        for (uint32_t k = 0; k < kernels->kernel_count; k++)
            assert_true(tile_verify(&f->bench.diag, kernels->kernels[k].program));
        hashes[i] = programs_hash(f, &all.ptr[i]);
        for (uint32_t k = 0; k < i; k++)
            assert_false(hash_eq(hashes[i], hashes[k]));
    }
}

static void test_legal(void **state) {
    (void)state;
    static const int64_t rows[] = {1, 8, 70};
    for (int i = 0; i < 12; i++) {
        Fixture f;
        contraction(&f, rows[i / 4], i & 1, i & 2);
        check_legal(&f, CPU_PORTABLE, 1);
        check_legal(&f, CPU_AVX2, 2);
        check_legal(&f, CPU_AVX512, 6);
        bench_close(&f.bench);
    }
    Fixture f;
    rms(&f);
    check_legal(&f, CPU_AVX512, 2);
    check_legal(&f, CPU_AVX512BF16, 2);
    bench_close(&f.bench);
    for (int gradients = 0; gradients < 2; gradients++) {
        attention(&f, gradients);
        check_legal(&f, CPU_AVX512, gradients ? 1 : 4);
        bench_close(&f.bench);
    }
}

static void test_right(void **state) {
    (void)state;
    kernel_need_compiler();
    KernelCheck check = kernel_check_usual();
    check.tolerance = 90 * 0x1p-23 * 4;
    for (int i = 0; i < 7; i++) {
        Fixture f;
        if (i < 4)
            contraction(&f, i & 2 ? 7 : 50, i & 1, i & 2);
        else if (i < 6)
            attention(&f, i == 5);
        else
            rms(&f);
        Schedules all =
            schedule_space(f.regions, region_of(&f), cpu_level_here(), 2, &f.bench.arena);
        // Every seventh: compiling takes a while.
        for (uint32_t k = 0; k < all.len; k += 7) {
            const TileKernels *kernels = programs(&f, &all.ptr[k]);
            for (uint32_t j = 0; j < kernels->kernel_count; j++)
                kernel_check(&f.bench, kernels->kernels[j].program, check);
        }
        bench_close(&f.bench);
    }
}

// Of very few rows whose cols lie across k; but not of so little work that one thread does it.
static void test_k_in_parts(void **state) {
    (void)state;
    static const struct {
        int64_t extents[3];
        uint32_t threads;
        bool turned;
        int32_t parts;
    } cases[] = {{{1, 512, 1024}, 2, false, 2},  {{1, 512, 1024}, 1, false, 0},
                 {{1, 512, 1024}, 2, true, 0},   {{1, 256, 512}, 2, false, 2},
                 {{1, 32, 128}, 2, false, 0},    {{1, 768, 200}, 2, false, 2},
                 {{64, 512, 1024}, 2, false, 0}, {{1, 512, 1023}, 2, false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Fixture f;
        contraction_of(&f, cases[i].extents, false, cases[i].turned);
        Schedule prior = schedule_prior(f.regions, region_of(&f), CPU_AVX512, cases[i].threads);
        assert_int_equal(prior.parts, cases[i].parts);
        assert_int_equal(programs(&f, &prior)->kernel_count, cases[i].parts ? 2 : 1);
        bench_close(&f.bench);
    }
}

// Threads are not equally fast for long: long tasks are several for each.
static void test_long_tasks(void **state) {
    (void)state;
    static const struct {
        int64_t extents[3];
        uint32_t threads;
        int64_t least, most;
    } cases[] = {{{2048, 1024, 512}, 1, 1, 1},
                 {{2048, 1024, 512}, 2, 4, 16},
                 {{256, 256, 256}, 2, 2, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Fixture f;
        contraction_of(&f, cases[i].extents, false, true);
        Schedule prior = schedule_prior(f.regions, region_of(&f), CPU_AVX512, cases[i].threads);
        assert_in_range(tile_task_count(programs(&f, &prior)->kernels[0].program),
                        cases[i].least, cases[i].most);
        bench_close(&f.bench);
    }
}

// One head; the space's first schedule.
static Schedule recurrence_prior(int64_t tokens, IsaLevel level, uint32_t threads) {
    Fixture f;
    fixture_open(&f);
    AxisId t = axis(&f, "t", tokens), d = axis(&f, "d", 128), e = axis(&f, "e", 128);
    ValueId in[] = {param(&f, "q", t, d), param(&f, "k", t, d), param(&f, "v", t, e)};
    GraphAttr attr = {.along = (AxisId[]){d, t},
                      .along_count = 2,
                      .number = 1,
                      .amount = LINEAR_HAS_QUERY | LINEAR_DELTA};
    fixture_fuse(&f, graph_add(f.graph, OP_LINEAR, (Operands){in, 3}, attr, (Span){0}));
    Schedules all =
        schedule_space(f.regions, &f.regions->regions[0], level, threads, &f.bench.arena);
    assert_true(all.len > 0);
    Schedule first = all.ptr[0];
    bench_close(&f.bench);
    return first;
}

// Threads without a head of their own share columns; many of them segments, if those are long.
static void test_heads_are_shared(void **state) {
    (void)state;
    static const struct {
        int64_t tokens;
        IsaLevel level;
        uint32_t threads;
        int32_t parts, segments;
    } cases[] = {
        {4096, CPU_AVX2, 1, 0, 0}, {4096, CPU_AVX2, 4, 4, 0},    {4096, CPU_AVX2, 8, 0, 8},
        {256, CPU_AVX2, 8, 8, 0},  {8192, CUDA_SM90A, 1, 0, 32},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Schedule s = recurrence_prior(cases[i].tokens, cases[i].level, cases[i].threads);
        assert_int_equal(s.parts, cases[i].parts);
        assert_int_equal(s.segments, cases[i].segments);
    }
    assert_int_equal(recurrence_prior(64, CUDA_SM90A, 1).segments, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_legal),
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_k_in_parts),
        cmocka_unit_test(test_long_tasks),
        cmocka_unit_test(test_heads_are_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
