// test_diag.c: places, and the exact text of rendered diagnostics.
#include "tests/test.h"

// The place of the first occurrence of `part` in a source.
static Span span_of(const Diag *diag, uint32_t file, const char *part) {
    const Source *source = diag_source(diag, file);
    const char *at = strstr(source->text.ptr, part);
    assert_non_null(at);
    uint32_t start = (uint32_t)(at - source->text.ptr);
    return (Span){.file = file, .start = start, .end = start + (uint32_t)strlen(part)};
}

static void assert_place(const Diag *diag, Span span, uint32_t line, uint32_t column) {
    uint32_t got_line, got_column;
    diag_line_column(diag, span, &got_line, &got_column);
    assert_int_equal(got_line, line);
    assert_int_equal(got_column, column);
}

static void lines_and_columns(void **state) {
    Diag *diag = &((DiagFixture *)*state)->diag;
    uint32_t file = diag_source_add(diag, STR("a.strata"),
                                    STR("ab\n\nc\xc3\xa9"
                                        "d\n"));
    assert_int_equal(file, 1);
    assert_int_equal(diag_source_add(diag, STR("empty.strata"), STR("")), 2);
    assert_place(diag, (Span){file, 0, 1}, 1, 1);
    assert_place(diag, (Span){file, 2, 3}, 1, 3);
    assert_place(diag, (Span){file, 3, 3}, 2, 1);
    assert_place(diag, (Span){file, 7, 8}, 3, 3);
    assert_place(diag, (Span){file, 9, 9}, 4, 1);
    assert_place(diag, (Span){file, 99, 99}, 4, 1);
    assert_place(diag, (Span){2, 0, 0}, 1, 1);
}

static void an_error_with_a_note(void **state) {
    Diag *diag = &((DiagFixture *)*state)->diag;
    StrBuf text = {0};
    for (int i = 1; i < 41; i++)
        strbuf_addc(&text, '\n');
    strbuf_addz(&text, "    scores = q * t\n");
    uint32_t file = diag_source_add(diag, STR("attn.strata"), strbuf_view(&text));
    strbuf_release(&text);
    Span place = span_of(diag, file, "q * t");
    assert_false(diag_error(diag, place, "elementwise operands do not %s", "align"));
    diag_note(diag, place, "left is f32[B=8, T=256, d=64]");
    assert_diag(diag, "attn.strata:41:14: error: elementwise operands do not align\n"
                      "   41 |     scores = q * t\n"
                      "      |              ^~~~~\n"
                      "attn.strata:41:14: note: left is f32[B=8, T=256, d=64]\n");
    assert_int_equal(diag->error_count, 1);
    assert_int_equal(diag->fail, FAIL_INPUT);
}

static void a_note_elsewhere_shows_its_line(void **state) {
    Diag *diag = &((DiagFixture *)*state)->diag;
    uint32_t file = diag_source_add(diag, STR("m"), STR("let a = 1\nlet a = 2\n"));
    diag_error(diag, (Span){file, 14, 15}, "'a' is already defined");
    diag_note(diag, (Span){file, 4, 5}, "first defined here");
    diag_warning(diag, (Span){file, 4, 5}, "'a' is not used");
    assert_diag(diag, "m:2:5: error: 'a' is already defined\n"
                      "   2 | let a = 2\n"
                      "     |     ^\n"
                      "m:1:5: note: first defined here\n"
                      "   1 | let a = 1\n"
                      "     |     ^\n"
                      "m:1:5: warning: 'a' is not used\n"
                      "   1 | let a = 1\n"
                      "     |     ^\n");
}

static void odd_lines_are_rendered(void **state) {
    Diag *diag = &((DiagFixture *)*state)->diag;
    uint32_t file = diag_source_add(diag, STR("m"),
                                    STR("\tx\ty = f(\r\n  z)\n\x1b[31m\xc3\xa9\xc3\xa9 bad"));
    diag_error(diag, span_of(diag, file, "y = f(\r\n  z)"), "many lines");
    diag_error(diag, span_of(diag, file, "\tx\ty"), "tabs");
    diag_error(diag, span_of(diag, file, "bad"), "characters");
    diag_error(diag, (Span){file, 1000, 1001}, "past the end");
    assert_diag(diag, "m:1:4: error: many lines\n"
                      "   1 |     x   y = f(\n"
                      "     |         ^~~~~~\n"
                      "m:1:1: error: tabs\n"
                      "   1 |     x   y = f(\n"
                      "     | ^~~~~~~~~\n"
                      "m:3:9: error: characters\n"
                      "   3 | ?[31m\xc3\xa9\xc3\xa9 bad\n"
                      "     |         ^~~\n"
                      "m:3:12: error: past the end\n"
                      "   3 | ?[31m\xc3\xa9\xc3\xa9 bad\n"
                      "     |            ^\n");
}

static void an_empty_source_has_a_place(void **state) {
    Diag *diag = &((DiagFixture *)*state)->diag;
    uint32_t file = diag_source_add(diag, STR("m"), STR(""));
    diag_error(diag, (Span){file, 0, 0}, "no model");
    assert_diag(diag, "m:1:1: error: no model\n   1 | \n     | ^\n");
}

static void failures_without_a_source(void **state) {
    Diag *diag = &((DiagFixture *)*state)->diag;
    assert_false(
        diag_file_error(diag, FAIL_ENVIRONMENT, STR("out/p.sta"), "cannot write: %s", "full"));
    assert_false(diag_fail(diag, FAIL_USAGE, "no command"));
    assert_diag(diag, "out/p.sta: error: cannot write: full\nstrata: error: no command\n");
    assert_int_equal(diag->fail, FAIL_ENVIRONMENT);
}

static void errors_beyond_the_limit_are_counted(void **state) {
    Diag *diag = &((DiagFixture *)*state)->diag;
    uint32_t file = diag_source_add(diag, STR("m"), STR("x\n"));
    for (int i = 0; i < DIAG_MAX_ERRORS + 3; i++) {
        assert_int_equal(diag_full(diag), i >= DIAG_MAX_ERRORS);
        diag_error(diag, (Span){file, 0, 1}, "error %d", i);
        diag_note(diag, (Span){file, 0, 1}, "note %d", i);
    }
    assert_int_equal(diag->error_count, DIAG_MAX_ERRORS + 3);
    assert_int_equal(diag->item_count, 2 * DIAG_MAX_ERRORS);
    assert_diag_has(
        diag, "m:1:1: note: note 19\nstrata: note: too many errors; 3 more are not shown\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_and_columns, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(an_error_with_a_note, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(a_note_elsewhere_shows_its_line, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(odd_lines_are_rendered, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(an_empty_source_has_a_place, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(failures_without_a_source, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(errors_beyond_the_limit_are_counted, diag_setup,
                                        diag_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
