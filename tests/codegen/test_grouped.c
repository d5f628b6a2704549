// Grouped contractions and the order of their rows against the tile interpreter, at all levels.
#include "tests/codegen/kernel_bench.h"
#include "tests/test.h"

enum { GROUPS = 4, ROWS = 150, TOKENS = 50 };

// Groups of 40, none, 103 and 2 rows; five rows are of no group.
static const int32_t ends[GROUPS] = {40, 40, 143, 145};

// Lists are permutations; of tokens each stands in them three times.
static void prepare(const TileProgram *p, void *const *args) {
    for (uint32_t i = 0; i < p->args.len; i++) {
        int32_t *list = args[i];
        if (str_eq(p->args.ptr[i].name, STR("ends"))) memcpy(list, ends, sizeof ends);
        for (int32_t j = 0; j < ROWS; j++) {
            if (str_eq(p->args.ptr[i].name, STR("rows"))) list[j] = j * 7 % ROWS;
            if (str_eq(p->args.ptr[i].name, STR("tokens"))) list[j] = j * 7 % TOKENS;
        }
    }
}

// The rows of a group, walked along dimension r.
#define HEAD                                                               \
    "  arg ends: i32[4]\n  arg tokens: i32[150]\n  arg rows: i32[150]\n"   \
    "  arg x: f32[%d]\n  arg w: f32[%d]\n  arg y: f32[%d]\n"               \
    "%s  %%1 = load ends[g - 1] if 1 <= g < 4 : i32 (g)\n"                 \
    "  %%2 = load ends[g] : i32 (g)\n  %%3 = map sub %%2, %%1 : i32 (g)\n" \
    "  limit %%3 over (r) : i32 (g)\n  %%5 = index r : i32 (r)\n"          \
    "  %%6 = map add %%1, %%5 : i32 (g, r)\n"                              \
    "  %%7 = map lt %%6, %%2 : bool (g, r)\n  %%8 = const -1 : i32 ()\n"   \
    "  %%9 = gather tokens[0] at %%6*1 of 150 : i32 (g, r)\n"              \
    "  %%10 = map where %%7, %%9, %%8 : i32 (g, r)\n"                      \
    "  %%11 = gather rows[0] at %%6*1 of 150 : i32 (g, r)\n"               \
    "  %%12 = map where %%7, %%11, %%8 : i32 (g, r)\n"

static void check(const char *text) {
    TileBench b;
    bench_open(&b);
    KernelCheck usual = kernel_check_usual();
    usual.prepare = prepare;
    usual.tolerance = 2e-5;  // sums of at most 103 products of numbers below 2
    kernel_check_text(&b, text, usual);
    bench_close(&b);
}

// y[row] = x[token of the row] . w[group]
static void check_at(int m_tile, int d, int c, const char *knobs) {
    StrBuf text = {0};
    strbuf_addf(&text,
                "tile at loop\n  grid g = 4\n  m r = 150 tile %d\n  n c = %d\n  k d = %d\n" HEAD
                "  %%13 = gather x[d] at %%10*%d of 50 : f32 (g, r, d)\n"
                "  %%14 = load w[g*%d + d*%d + c] : f32 (g, c, d)\n"
                "  %%15 = dot %%13, %%14 over (d) : f32 (g, r, c)\n"
                "  scatter_put y[c] at %%12*%d of 150 = %%15 : f32 (g, r, c)\n",
                m_tile, c, d, TOKENS * d, GROUPS * d * c, ROWS * c, knobs, d, d * c, c, c);
    check(text.ptr);
    strbuf_release(&text);
}

// z[row] = a[row] * scale[row] * sigmoid of what y[row] is, and y, in one kernel.
static void check_epilogue(int d, int c, const char *knobs) {
    StrBuf text = {0}, more = {0};
    strbuf_addf(&more, "  arg a: f32[%d]\n  arg scale: f32[150]\n  arg z: f32[%d]\n%s",
                ROWS * c, ROWS * c, knobs);
    strbuf_addf(&text,
                "tile at loop\n  grid g = 4\n  m r = 150 tile 48\n  n c = %d\n  k d = %d\n" HEAD
                "  %%13 = gather x[d] at %%10*%d of 50 : f32 (g, r, d)\n"
                "  %%14 = load w[g*%d + d*%d + c] : f32 (g, c, d)\n"
                "  %%15 = dot %%13, %%14 over (d) : f32 (g, r, c)\n"
                "  %%16 = gather a[c] at %%12*%d of 150 : f32 (g, r, c)\n"
                "  %%17 = gather scale[0] at %%12*1 of 150 : f32 (g, r)\n"
                "  %%18 = map sigmoid %%15 : f32 (g, r, c)\n"
                "  %%19 = map mul %%16, %%18 : f32 (g, r, c)\n"
                "  %%20 = map mul %%17, %%19 : f32 (g, r, c)\n"
                "  scatter_put y[c] at %%12*%d of 150 = %%15 : f32 (g, r, c)\n"
                "  scatter_put z[c] at %%12*%d of 150 = %%20 : f32 (g, r, c)\n",
                c, d, TOKENS * d, GROUPS * d * c, ROWS * c, more.ptr, d, d * c, c, c, c, c);
    check(text.ptr);
    strbuf_release(&more);
    strbuf_release(&text);
}

// y[group] = sum over its rows of x[token of the row] outer w[row]
static void check_into(int k_tile, int d, int c, const char *knobs) {
    StrBuf text = {0};
    strbuf_addf(
        &text,
        "tile into loop\n  grid g = 4\n  m d = %d\n  n c = %d\n  k r = 150 tile %d\n" HEAD
        "  %%13 = gather x[d] at %%10*%d of 50 : f32 (g, d, r)\n"
        "  %%14 = gather w[c] at %%12*%d of 150 : f32 (g, c, r)\n"
        "  %%15 = dot %%13, %%14 over (r) : f32 (g, d, c)\n"
        "  store y[g*%d + d*%d + c] = %%15 : f32 (g, d, c)\n",
        d, c, k_tile, TOKENS * d, ROWS * c, GROUPS * d * c, knobs, d, c, d * c, c);
    check(text.ptr);
    strbuf_release(&text);
}

static void test_at(void **state) {
    (void)state;
    kernel_need_compiler();
    check_at(150, 33, 70, "");
    check_at(48, 33, 64, "  knob pack_b = 1\n");
    check_at(7, 5, 3, "  knob mr = 4\n  knob nv = 1\n");
    check_at(64, 128, 1, "");
}

static void test_epilogue(void **state) {
    (void)state;
    kernel_need_compiler();
    check_epilogue(33, 70, "");
    check_epilogue(16, 64, "  knob mr = 4\n  knob nv = 2\n");
    check_epilogue(8, 1, "");
}

static void test_into(void **state) {
    (void)state;
    kernel_need_compiler();
    check_into(150, 33, 70, "");
    check_into(40, 16, 64, "");
    check_into(16, 7, 5, "  knob ku = 4\n");
}

// Keys outside of [0, 6) are of no group; values are positions on an inner axis of three.
static void test_order(void **state) {
    (void)state;
    kernel_need_compiler();
    TileBench b;
    bench_open(&b);
    KernelCheck usual = kernel_check_usual();
    usual.low = -2;
    usual.high = 8;
    static const char *const positions[] = {"r", "r % 50", "r / 3"};
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
        StrBuf text = {0};
        strbuf_addf(&text,
                    "tile order stream\n  serial r = 150\n  arg keys: i32[150]\n"
                    "  arg list: i32[150]\n  %%1 = load keys[r] : i32 (r)\n"
                    "  %%2 = index %s : i32 (r)\n"
                    "  sort list[r] = %%2 by %%1 of 6 : i32 (r)\n",
                    positions[i]);
        kernel_check_text(&b, text.ptr, usual);
        strbuf_release(&text);
    }
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at),
        cmocka_unit_test(test_epilogue),
        cmocka_unit_test(test_into),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
