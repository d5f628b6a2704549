// test_tile.c: building and reading tile programs; schedules.
#include "base/rng.h"
#include "ir/tile/schedule.h"
#include "ir/tile/tile_access.h"
#include "tests/ir/tile_bench.h"

static const Span nowhere = {0};

static void assert_number(double got, double expected) {
    if (got != expected) fail_msg("expected %g, got %g", expected, got);
}

static void test_building_gives_the_text(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    TileProgram *p = tile_new(&b.arena, STR("t"), TILE_STREAM);
    uint32_t g = tile_dim(p, STR("g"), 4, 1, DIM_GRID),
             c = tile_dim(p, STR("c"), 8, 8, DIM_COL);
    uint32_t x = tile_arg(p, STR("x"), DTYPE_BF16, 32), y = tile_arg(p, STR("y"), DTYPE_F32, 4);
    uint32_t z = tile_arg(p, STR("z"), DTYPE_F32, 8);
    TileAccess at_x = tile_access(x), at_y = tile_access(y), at_z = tile_access(z);
    at_x.stride[g] = 8;
    at_x.stride[c] = 1;
    at_x.guard[0] =
        (TileGuard){.dim = (int8_t)c, .div = 1, .mod = 8, .shift = -1, .lo = 0, .hi = 8};
    at_y.stride[g] = 1;
    at_z.stride[c] = 1;
    TileId load = tile_load(p, at_x, nowhere);
    TileId index = tile_index(p, (TileGuard){.dim = (int8_t)c, .div = 2, .mod = 3}, nowhere);
    TileId row = tile_gather(p, at_z, (TileRows){index, 2, 3}, nowhere);
    TileId two = tile_const(p, 2, DTYPE_F32);
    TileId both = tile_map(p, OP_ADD, DTYPE_F32, (TileId[]){load, row}, nowhere);
    TileId sum = tile_reduce(p, OP_REDUCE_SUM, both, (DimSet)(1U << c), nowhere);
    TileId twice = tile_map(p, OP_MUL, DTYPE_F32, (TileId[]){two, sum}, nowhere);
    tile_store(p, at_y, twice, nowhere);
    StrBuf out = {0};
    tile_print(p, &out);
    assert_string_equal(out.ptr, "tile t stream\n"
                                 "  grid g = 4\n"
                                 "  col c = 8\n"
                                 "  arg x: bf16[32]\n"
                                 "  arg y: f32[4]\n"
                                 "  arg z: f32[8]\n"
                                 "  %1 = load x[g*8 + c] if 0 <= c - 1 < 8 : f32 (g, c)\n"
                                 "  %2 = index c / 2 % 3 : i32 (c)\n"
                                 "  %3 = gather z[c] at %2*2 of 3 : f32 (c)\n"
                                 "  %4 = const 2 : f32 ()\n"
                                 "  %5 = map add %1, %3 : f32 (g, c)\n"
                                 "  %6 = reduce_sum %5 over (c) : f32 (g)\n"
                                 "  %7 = map mul %4, %6 : f32 (g)\n"
                                 "  store y[g] = %7 : f32 (g)\n");
    strbuf_release(&out);
    assert_true(p->args.ptr[x].read && !p->args.ptr[x].written);
    assert_true(!p->args.ptr[y].read && p->args.ptr[y].written);
    bench_close(&b);
}

static void test_names_become_legal_and_unique(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    TileProgram *p = tile_new(&b.arena, STR("rms norm"), TILE_STREAM);
    tile_dim(p, STR("T"), 4, 1, DIM_GRID);
    tile_dim(p, STR("T"), 4, 1, DIM_GRID);
    tile_arg(p, STR("layers.3.w"), DTYPE_F32, 1);
    tile_arg(p, STR("3"), DTYPE_F32, 1);
    tile_arg(p, STR(""), DTYPE_F32, 1);
    assert_str(p->name, "_rms_norm");
    assert_str(p->dims[1].name, "T.1");
    assert_str(p->args.ptr[0].name, "layers.3.w");
    assert_str(p->args.ptr[1].name, "_3");
    assert_str(p->args.ptr[2].name, "_");
    bench_close(&b);
}

static void test_tasks(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    assert_int_equal(tile_task_count(bench_read(&b, tile_text_rms_norm)), 3);
    assert_int_equal(tile_task_count(bench_read(&b, tile_text_contraction)), 2 * 3);
    TileProgram *p =
        bench_read(&b, "tile t stream\ngrid g = 5\nserial s = 7\ncol c = 9 tile 4\n");
    assert_int_equal(tile_task_count(p), 5 * 3);
    assert_int_equal(tile_dim_of(p, DIM_COL), 2);
    assert_int_equal(tile_dim_of(p, DIM_M), -1);
    assert_int_equal(tile_knob(p, "mr", 3), 3);
    bench_close(&b);
}

static void test_flops(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    double points = 7 * 5;
    double expected = 2 * points * 9 + (op_flops(OP_SIGMOID) + 1) * points;
    assert_number(tile_flops(bench_read(&b, tile_text_contraction)), expected);
    double norm = 15 + 15 + 3 + 3 + 3 * op_flops(OP_RSQRT) + 15 + 15;
    assert_number(tile_flops(bench_read(&b, tile_text_rms_norm)), norm);
    bench_close(&b);
}

static double bytes_of(const char *ops) {
    TileBench b;
    bench_open(&b);
    const char *head = "tile t stream\ngrid g = 4\ncol c = 8\narg x: f32[100]\narg j: i32[4]\n";
    double bytes = tile_bytes(bench_read(&b, arena_printf(&b.arena, "%s%s", head, ops)));
    bench_close(&b);
    return bytes;
}

static void test_bytes(void **state) {
    (void)state;
    assert_number(bytes_of("%1 = load x[g*8 + c] : f32 (g, c)"), 32 * 4);
    assert_number(bytes_of("%1 = load x[g*2 + c] : f32 (g, c)"), 14 * 4);
    assert_number(bytes_of("%1 = load x[c*3 + 7] : f32 (c)"), 8 * 4);
    assert_number(bytes_of("%1 = load x[c] : f32 (c)\n%2 = load x[c] : f32 (c)"), 8 * 4);
    assert_number(bytes_of("%1 = load x[c] : f32 (c)\n%2 = load x[c + 1] : f32 (c)"), 9 * 4);
    assert_number(bytes_of("%1 = load x[c] if 2 <= c < 5 : f32 (c)"), 3 * 4);
    assert_number(bytes_of("%1 = load x[c] if 9 <= c < 12 : f32 (c)"), 0);
    assert_number(
        bytes_of("%1 = load j[g] : i32 (g)\n%2 = gather x[c] at %1*8 of 12 : f32 (g, c)"),
        4 * 4 + 32 * 4);
}

static bool in_place(const char *ops, uint32_t in, uint32_t out) {
    TileBench b;
    bench_open(&b);
    const char *head = "tile t stream\ngrid g = 4\ncol c = 8\n"
                       "arg x: f32[160]\narg y: f32[160]\narg z: bf16[40]\narg j: i32[32]\n";
    TileProgram *p = bench_read(&b, arena_printf(&b.arena, "%s%s", head, ops));
    bool yes = tile_in_place(p, in, out);
    bench_close(&b);
    return yes;
}

static void test_in_place(void **state) {
    (void)state;
    const char *plain =
        "%1 = load x[g*8 + c] : f32 (g, c)\nstore y[g*8 + c] = %1 : f32 (g, c)\n"
        "store z[g*8 + c] = %1 : f32 (g, c)\n";
    assert_true(in_place(plain, 0, 1));
    assert_false(in_place(plain, 0, 2));  // another size of element
    assert_false(in_place(
        "%1 = load x[g*8 + c + 1] : f32 (g, c)\nstore y[g*8 + c] = %1 : f32 (g, c)", 0, 1));
    assert_false(in_place(
        "%1 = load x[g + c*4] : f32 (g, c)\nstore y[g*8 + c] = %1 : f32 (g, c)", 0, 1));
    assert_false(in_place("%1 = load x[g*8 + c] if 0 <= c < 8 : f32 (g, c)\n"
                          "store y[g*8 + c] = %1 : f32 (g, c)",
                          0, 1));
    assert_false(
        in_place("%1 = load x[g*8 + c] : f32 (g, c)\n%2 = load x[c] : f32 (c)\n"
                 "%3 = map add %1, %2 : f32 (g, c)\nstore y[g*8 + c] = %3 : f32 (g, c)",
                 0, 1));
    assert_false(in_place(
        "%1 = load j[g*8 + c] : i32 (g, c)\n%2 = gather x[0] at %1*1 of 32 : f32 (g, c)\n"
        "store y[g*8 + c] = %2 : f32 (g, c)",
        0, 1));
    // A row's sum is read again in a later pass over the row; the store waits for that.
    assert_true(
        in_place("%1 = load x[g*8 + c] : f32 (g, c)\n%2 = reduce_sum %1 over (c) : f32 (g)\n"
                 "%3 = load x[g*8 + c] : f32 (g, c)\n%4 = map div %3, %2 : f32 (g, c)\n"
                 "store y[g*8 + c] = %4 : f32 (g, c)",
                 0, 1));
}

// Rows that move up by one, as a window does: what is read at another place of the same point
// is written there, and at no other point.
static void test_in_place_apart(void **state) {
    (void)state;
    const struct {
        int g, c, apart;
        bool is_in_place;
    } cases[] = {
        // The next row; further on in the row; the same across.
        {8, 1, 8, false},
        {8, 1, 4, false},
        {1, 4, 4, false},
        // Between elements; where a row, or the part of it that is touched, ends; in the next
        // one.
        {16, 2, 3, true},
        {16, 1, 8, true},
        {16, 1, 9, false},
        // Beyond all of them, with strides too mixed to tell otherwise.
        {1, 4, 40, true},
        {2, 3, 100, true},
        {2, 3, 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int g = cases[i].g, c = cases[i].c, apart = cases[i].apart;
        char ops[400];
        snprintf(ops, sizeof ops,
                 "%%1 = load x[g*%d + c*%d] : f32 (g, c)\n"
                 "%%2 = load x[g*%d + c*%d + %d] : f32 (g, c)\n"
                 "store y[g*%d + c*%d] = %%2 : f32 (g, c)\n"
                 "store y[g*%d + c*%d + %d] = %%1 : f32 (g, c)\n",
                 g, c, g, c, apart, g, c, g, c, apart);
        assert_int_equal(in_place(ops, 0, 1), cases[i].is_in_place);
    }
}

// Ranges against every index.
static void test_equal_operations_become_one(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    const TileProgram *p =
        bench_program(&b, "tile t stream\n  grid g = 4\n  col c = 8\n"
                          "  arg x: f32[32]\n  arg y: f32[32]\n  arg z: f32[32]\n"
                          "  %1 = load x[g*8 + c] : f32 (g, c)\n"
                          "  %2 = const 2 : f32 ()\n"
                          "  %3 = map mul %1, %2 : f32 (g, c)\n"
                          "  store y[g*8 + c] = %3 : f32 (g, c)\n"
                          "  %5 = load x[g*8 + c] : f32 (g, c)\n"
                          "  %6 = const 2 : f32 ()\n"
                          "  %7 = map mul %5, %6 : f32 (g, c)\n"
                          "  %8 = load x[g*8 + c] if 0 <= c < 4 : f32 (g, c)\n"
                          "  %9 = map add %7, %8 : f32 (g, c)\n"
                          "  store z[g*8 + c] = %9 : f32 (g, c)\n");
    StrBuf out = {0};
    tile_print(tile_share(&b.arena, p), &out);
    assert_non_null(strstr(out.ptr, "  store y[g*8 + c] = %3 : f32 (g, c)\n"
                                    "  %5 = load x[g*8 + c] if 0 <= c < 4 : f32 (g, c)\n"
                                    "  %6 = map add %3, %5 : f32 (g, c)\n"
                                    "  store z[g*8 + c] = %6 : f32 (g, c)\n"));
    strbuf_release(&out);
    bench_close(&b);
}

static void test_guard_ranges(void **state) {
    (void)state;
    for (int64_t extent = 1; extent <= 13; extent++)
        for (int64_t code = 0; code < (int64_t)3 * 4 * 5 * 5 * 5; code++) {
            TileDim dim = {.extent = extent};
            TileGuard g = {
                .div = 1 + code % 3, .mod = 1 + code / 3 % 4, .shift = code / 12 % 5 - 2};
            g.lo = code / 60 % 5 - 2;
            g.hi = g.lo + code / 300 % 5;
            int64_t first = extent, last = -1;
            for (int64_t i = 0; i < extent; i++) {
                int64_t at = i / g.div % g.mod + g.shift;
                if (at < g.lo || at >= g.hi) continue;
                if (first == extent) first = i;
                last = i;
            }
            TileRange range = tile_guard_range(&dim, &g);
            if (last < 0)
                assert_true(range.first > range.last);
            else
                assert_true(range.first == first && range.last == last);
        }
}

// Small stores whose elements can be listed: `hits` counts how often each is stored.
static TileOp store_random(const TileProgram *p, uint64_t seed, int hits[512]) {
    TileOp op = {.kind = TILE_STORE, .dims = 7, .access = tile_access(0)};
    op.access.offset = 256 + (int64_t)(rng_u64(seed / 4, 9) % 12) * (int64_t)(seed % 4);
    for (uint32_t d = 0; d < 3; d++)
        op.access.stride[d] = (int64_t)(rng_u64(seed / 4, d) % 25) - 12;
    for (int64_t i = 0; i < p->dims[0].extent; i++)
        for (int64_t j = 0; j < p->dims[1].extent; j++)
            for (int64_t k = 0; k < p->dims[2].extent; k++)
                hits[op.access.offset + i * op.access.stride[0] + j * op.access.stride[1] +
                     k * op.access.stride[2]]++;
    return op;
}

static int most_hits(const int hits[512]) {
    int most = 0;
    for (int i = 0; i < 512; i++)
        most = hits[i] > most ? hits[i] : most;
    return most;
}

// Injective and disjoint accesses against lists of their elements. A store that is not of mixed
// radix may be refused.
static void test_injective_and_disjoint(void **state) {
    (void)state;
    TileProgram p = {.dim_count = 3, .dims = {{.extent = 3}, {.extent = 2}, {.extent = 4}}};
    int injective = 0, disjoint = 0, overlapping = 0;
    for (uint64_t seed = 0; seed < 80000; seed += 4) {
        int a_hits[512] = {0}, both_hits[512] = {0};
        TileOp a = store_random(&p, seed, a_hits);
        bool a_once = tile_access_injective(&p, &a, a.dims);
        if (a_once) assert_int_equal(most_hits(a_hits), 1);
        injective += a_once;
        if (!a_once) continue;
        (void)store_random(&p, seed, both_hits);
        TileOp b = store_random(&p, seed + 1 + seed / 4 % 3, both_hits);
        bool apart = tile_accesses_disjoint(&p, &a, &b);
        assert_int_equal(apart, most_hits(both_hits) == 1);
        disjoint += apart;
        overlapping += !apart;
    }
    assert_true(injective > 100 && disjoint > 50 && overlapping > 50);
}

static void test_schedule(void **state) {
    (void)state;
    Schedule s = schedule_none(), t = schedule_none();
    assert_int_equal(s.pack_a, -1);
    StrBuf out = {0};
    schedule_print(&s, &out);
    assert_int_equal(out.len, 0);
    s.mr = 6;
    s.pack_a = 0;
    s.nt = 1;
    schedule_print(&s, &out);
    assert_string_equal(out.ptr, "mr=6 pack_a=0 nt=1");
    assert_true(schedule_read(strbuf_view(&out), &t));
    assert_memory_equal(&s, &t, sizeof s);
    strbuf_release(&out);
    assert_true(schedule_read(STR(""), &t));
    assert_int_equal(t.mr, 0);
    const char *wrong[] = {
        "mr", "mr=", "=6", "xx=1", "mr=1 mr=2", "mr=x", "mr=99999999999", "mr=1,nv=2"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        t.mr = 77;
        assert_false(schedule_read(str_of(wrong[i]), &t));
        assert_int_equal(t.mr, 77);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_building_gives_the_text),
        cmocka_unit_test(test_names_become_legal_and_unique),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_flops),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_in_place_apart),
        cmocka_unit_test(test_equal_operations_become_one),
        cmocka_unit_test(test_guard_ranges),
        cmocka_unit_test(test_injective_and_disjoint),
        cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
