// Grouped contractions and the order of their rows against the tile interpreter, at all levels.
#include "tests/codegen/grouped_case.h"
#include "tests/codegen/kernel_bench.h"
#include "tests/test.h"

typedef Str (*CaseText)(Arena *arena, const GroupedCase *c);

static void check_text(TileBench *b, const char *text) {
    KernelCheck usual = kernel_check_usual();
    usual.prepare = grouped_prepare;
    usual.tolerance = 2e-5;  // sums of at most 103 products of numbers below 2
    kernel_check_text(b, text, usual);
}

static void check(CaseText text_of, GroupedCase c) {
    TileBench b;
    bench_open(&b);
    check_text(&b, text_of(&b.arena, &c).ptr);
    bench_close(&b);
}

// Of bf16, with sums that are not rounded to it.
static void check_sums(CaseText text_of, GroupedCase c) {
    static const char rounded[] = "arg y: bf16";
    TileBench b;
    bench_open(&b);
    const char *text = text_of(&b.arena, &c).ptr, *at = strstr(text, rounded);
    assert_non_null(at);
    Str sums = str_printf(&b.arena, "%.*sarg y: f32%s", (int)(at - text), text,
                          at + sizeof rounded - 1);
    check_text(&b, sums.ptr);
    bench_close(&b);
}

static void test_at(void **state) {
    (void)state;
    kernel_need_compiler();
    check(grouped_at_text, (GroupedCase){150, 33, 70, "", "f32"});
    check(grouped_at_text, (GroupedCase){48, 33, 64, "  knob pack_b = 1\n", "f32"});
    check(grouped_at_text, (GroupedCase){7, 5, 3, "  knob mr = 4\n  knob nv = 1\n", "f32"});
    check(grouped_at_text, (GroupedCase){64, 128, 1, "", "f32"});
    // Panels that blocks ask for, of cols that are copied; rows that are copied, not gathered.
    const char *const panels = "  knob pack_b = 1\n  knob nv = 1\n  knob mr = 4\n";
    check(grouped_at_text, (GroupedCase){150, 33, 70, panels, "f32"});
    check(grouped_turned_text, (GroupedCase){150, 33, 70, panels, "f32"});
    check(grouped_at_text, (GroupedCase){150, 33, 70, "  knob pack_a = 1\n", "f32"});
    check(grouped_at_text, (GroupedCase){150, 33, 70, "", "bf16"});
}

// Two neighbouring k at once, where the level can; of test_into they are rows that are picked.
static void test_pairs(void **state) {
    (void)state;
    kernel_need_compiler();
    static const char *const knobs[] = {"", "  knob pack_b = 1\n  knob nv = 1\n  knob mr = 4\n",
                                        "  knob pack_a = 1\n  knob ku = 4\n"};
    for (int i = 0; i < 6; i++) {
        GroupedCase c = {i & 1 ? 150 : 48, i & 1 ? 34 : 33, 70, knobs[i % 3], "bf16"};
        check_sums(grouped_at_text, c);
        check_sums(grouped_turned_text, c);
        c.tile = i & 1 ? 152 : 41;
        check_sums(grouped_into_text, c);
    }
}

static void test_epilogue(void **state) {
    (void)state;
    kernel_need_compiler();
    check(grouped_epilogue_text, (GroupedCase){48, 33, 70, "", "f32"});
    check(grouped_epilogue_text,
          (GroupedCase){48, 16, 64, "  knob mr = 4\n  knob nv = 2\n", "f32"});
    check(grouped_epilogue_text, (GroupedCase){48, 8, 1, "", "f32"});
}

static void test_into(void **state) {
    (void)state;
    kernel_need_compiler();
    check(grouped_into_text, (GroupedCase){150, 33, 70, "", "f32"});
    check(grouped_into_text, (GroupedCase){40, 16, 64, "", "f32"});
    check(grouped_into_text, (GroupedCase){16, 7, 5, "  knob ku = 4\n", "f32"});
    check(grouped_into_text,
          (GroupedCase){64, 70, 40, "  knob nv = 1\n  knob mr = 6\n", "f32"});
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
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++)
        kernel_check_text(&b, grouped_order_text(&b.arena, 150, 6, positions[i]).ptr, usual);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at),       cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_epilogue), cmocka_unit_test(test_into),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
