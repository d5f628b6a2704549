// test_str.c: views, numbers in text, text under construction, and the clock.
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "tests/test.h"

static void views_compare(void **state) {
    (void)state;
    assert_true(str_eq(STR("abc"), str_of("abc")));
    assert_true(str_eq(str_of(NULL), STR("")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_true(str_cmp(STR("ab"), STR("abc")) < 0);
    assert_true(str_cmp(STR("b"), STR("abc")) > 0);
    assert_int_equal(str_cmp(STR("x"), STR("x")), 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_true(str_starts(STR("model.strata"), STR("model")));
    assert_false(str_starts(STR("mod"), STR("model")));
    assert_true(str_ends(STR("model.strata"), STR(".strata")));
    assert_false(str_ends(STR("strata"), STR(".strata")));
    assert_true(str_ends(STR("x"), STR("")));
}

static void copies_are_terminated(void **state) {
    (void)state;
    Arena arena = {0};
    Str copy = str_copy(&arena, (Str){"abcdef", 4});
    assert_string_equal(copy.ptr, "abcd");
    assert_str(str_printf(&arena, "%d %s", 5, "x"), "5 x");
    assert_string_equal(str_copy(&arena, (Str){0}).ptr, "");
    arena_release(&arena);
}

static void doubles_are_read_whole(void **state) {
    (void)state;
    const char *good[] = {
        "0",      "-1.5",
        "+2",     "1e-3",
        ".5",     "5.",
        "inf",    "-inf",
        "1e-320", "0.0000000000000000000000000000000000000000000000000000000000000001"};
    const double expected[] = {
        0, -1.5, 2, 1e-3, .5, 5, (double)INFINITY, -(double)INFINITY, 1e-320, 1e-64};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double x = -7;
        assert_true(str_to_double(str_of(good[i]), &x));
        assert_true(x == expected[i]);
    }
    double x = -7;
    assert_true(str_to_double(STR("nan"), &x) && isnan(x));
    const char *bad[] = {"",     "-",     "abc", "1x", " 1",     "1 ",
                         "0x10", "1e400", "--1", "1e", "nan(3)", "e5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        x = -7;
        assert_false(str_to_double(str_of(bad[i]), &x));
        assert_true(x == -7);
    }
    assert_false(str_to_double((Str){"1\0002", 3}, &x));
}

static void integers_are_read_whole(void **state) {
    (void)state;
    int64_t x = 0;
    assert_true(str_to_int64(STR("9223372036854775807"), &x) && x == INT64_MAX);
    assert_true(str_to_int64(STR("-9223372036854775808"), &x) && x == INT64_MIN);
    assert_true(str_to_int64(STR("+007"), &x) && x == 7);
    const char *bad[] = {"",   "-",  "1.0", "9223372036854775808",    "-9223372036854775809",
                         " 1", "1 ", "0x1", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_to_int64(str_of(bad[i]), &x));
}

static void text_grows(void **state) {
    (void)state;
    StrBuf b = {0};
    assert_string_equal(strbuf_view(&b).ptr, "");
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&b, "%d,", i);
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_true(str_ends(strbuf_view(&b), STR("998,999,")));
    strbuf_clear(&b);
    strbuf_addz(&b, "a");
    strbuf_addc(&b, 'b');
    strbuf_add(&b, STR("cd"));
    assert_string_equal(b.ptr, "abcd");
    strbuf_release(&b);
    assert_null(b.ptr);
}

static void double_text(double x, const char *expected) {
    StrBuf b = {0};
    strbuf_add_double(&b, x);
    assert_string_equal(b.ptr, expected);
    strbuf_release(&b);
}

static void doubles_print_shortest(void **state) {
    (void)state;
    double_text(0.1, "0.1");
    double_text(1.0, "1");
    double_text(-0.0, "-0");
    double_text(1.0 / 3.0, "0.3333333333333333");
    double_text(0.1 + 0.2, "0.30000000000000004");
    double_text(5e-324, "4.94065645841247e-324");
    double_text((double)INFINITY, "inf");
    double_text(-(double)INFINITY, "-inf");
    double_text((double)NAN, "nan");
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t bits = rng_u64(1, i);
        double x;
        memcpy(&x, &bits, sizeof x);
        if (!isfinite(x)) continue;
        StrBuf b = {0};
        strbuf_add_double(&b, x);
        double back = 0;
        assert_true(str_to_double(strbuf_view(&b), &back) && back == x);
        strbuf_release(&b);
    }
}

static void the_clock_does_not_go_back(void **state) {
    (void)state;
    int64_t last = clock_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_ns();
        assert_true(now >= last);
        last = now;
    }
    assert_true(fabs(clock_seconds() - (double)last * 1e-9) < 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare),
        cmocka_unit_test(copies_are_terminated),
        cmocka_unit_test(doubles_are_read_whole),
        cmocka_unit_test(integers_are_read_whole),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(doubles_print_shortest),
        cmocka_unit_test(the_clock_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
