// test_lexer.c: kinds, places and values of tokens, and what is reported about bytes that are
// none.
#include "frontend/lexer.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    Lexer lexer;
} Fixture;

static int setup(void **state) {
    static Fixture fixture;
    fixture = (Fixture){0};
    diag_init(&fixture.diag, &fixture.arena);
    *state = &fixture;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    arena_release(&f->arena);
    return 0;
}

static Lexer *lexer_over(Fixture *f, Str text) {
    lexer_init(&f->lexer, &f->diag, diag_source_add(&f->diag, STR("t"), text));
    return &f->lexer;
}

// All tokens as "text" separated by blanks, with | before each that begins a line.
static Str tokens_of(Fixture *f, Str text) {
    Lexer *l = lexer_over(f, text);
    StrBuf out = {0};
    for (Token t = lexer_next(l); t.kind != TOKEN_END; t = lexer_next(l)) {
        if (out.len > 0) strbuf_addc(&out, ' ');
        if (t.newline_before) strbuf_addc(&out, '|');
        strbuf_add(&out, (Str){l->text.ptr + t.start, t.end - t.start});
    }
    const Str copy = str_copy(&f->arena, strbuf_view(&out));
    strbuf_release(&out);
    return copy;
}

static void every_spelling_is_its_kind(void **state) {
    Fixture *f = *state;
    for (int kind = TOKEN_STRING + 1; kind < TOKEN_COUNT; kind++) {
        Lexer *l = lexer_over(f, str_of(token_text((TokenKind)kind)));
        assert_int_equal(lexer_next(l).kind, kind);
        assert_int_equal(lexer_next(l).kind, TOKEN_END);
        assert_int_equal(lexer_next(l).kind, TOKEN_END);
    }
    assert_int_equal(f->diag.error_count, 0);
}

static void words_are_whole(void **state) {
    Fixture *f = *state;
    Lexer *l = lexer_over(f, STR("form _ in1 _in INPUT lets T2"));
    for (int i = 0; i < 7; i++)
        assert_int_equal(lexer_next(l).kind, TOKEN_NAME);
    assert_int_equal(lexer_next(l).kind, TOKEN_END);
}

static void longest_punctuation_wins(void **state) {
    Fixture *f = *state;
    assert_str(tokens_of(f, STR("a->b==c=d..e.f<=g<h>=i>j!=k-l")),
               "|a -> b == c = d .. e . f <= g < h >= i > j != k - l");
    assert_str(tokens_of(f, STR("0..n 1.5..2 1..")), "|0 .. n 1.5 .. 2 1 ..");
}

static void lines_and_comments(void **state) {
    Fixture *f = *state;
    assert_str(tokens_of(f, STR("a b # c d\n# e\n\n  f\r\n\tg # h")), "|a b |f |g");
    assert_str(tokens_of(f, STR("")), "");
    assert_str(tokens_of(f, STR("# only")), "");
    assert_str(tokens_of(f, STR("\xEF\xBB\xBFmark")), "|mark");
    assert_int_equal(f->diag.error_count, 0);
}

static void numbers_have_values(void **state) {
    (void)state;
    double value;
    int64_t integer;
    assert_true(lexer_number(STR("9223372036854775807"), &value, &integer));
    assert_true(integer == INT64_MAX);
    assert_true(lexer_number(STR("0012"), &value, &integer));
    assert_true(integer == 12 && value == 12.0);
    assert_false(lexer_number(STR("1e-6"), &value, &integer));
    assert_true(value == 1e-6);
    assert_false(lexer_number(STR("2.5E+2"), &value, &integer));
    assert_true(value == 250.0);
}

static void strings_have_values(void **state) {
    Fixture *f = *state;
    assert_str(lexer_string(&f->arena, STR("\"\"")), "");
    assert_str(lexer_string(&f->arena, STR("\"a\\n\\t\\\"\\\\b\"")), "a\n\t\"\\b");
    assert_str(lexer_string(&f->arena, STR("\"bad \\q end\"")), "bad q end");
}

static void assert_error(const char *text, size_t n, const char *message) {
    Fixture f = {0};
    diag_init(&f.diag, &f.arena);
    tokens_of(&f, (Str){text, n});
    assert_int_equal(f.diag.error_count, 1);
    assert_diag_has(&f.diag, message);
    arena_release(&f.arena);
}

static void bad_bytes_are_reported(void **state) {
    (void)state;
    assert_error("a\0b", 3, "t:1:2: error: control character 0x00");
    assert_error("# \x7f", 3, "t:1:3: error: control character 0x7f");
    assert_error("\xff\xfe", 2, "byte 0xff is not UTF-8");
    assert_error("\"\xc0\x80\"", 4, "byte 0xc0 is not UTF-8");      // overlong NUL
    assert_error("\xed\xa0\x80", 3, "byte 0xed is not UTF-8");      // half of a surrogate pair
    assert_error("\xf4\x90\x80\x80", 4, "byte 0xf4 is not UTF-8");  // above U+10FFFF
    assert_error("\xe2\x82", 2, "byte 0xe2 is not UTF-8");          // cut off
    assert_error("\xe2\x82\xac", 3, "unexpected '\xe2\x82\xac'");
    assert_error("\"open", 5, "does not end on its line");
    assert_error("\"\\q\"", 4, "unknown escape");
    assert_error("1e+", 3, "malformed number");
}

static void lexing_stops_when_the_diagnostics_are_full(void **state) {
    Fixture *f = *state;
    StrBuf text = {0};
    for (int i = 0; i < 2 * DIAG_MAX_ERRORS; i++)
        strbuf_addz(&text, "1x\n");
    Lexer *l = lexer_over(f, strbuf_view(&text));
    strbuf_release(&text);
    int numbers = 0;
    while (lexer_next(l).kind == TOKEN_NUMBER)
        numbers++;
    assert_int_equal(numbers, DIAG_MAX_ERRORS);
    assert_int_equal(f->diag.error_count, DIAG_MAX_ERRORS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_spelling_is_its_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(words_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(longest_punctuation_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_and_comments, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_have_values, setup, teardown),
        cmocka_unit_test_setup_teardown(strings_have_values, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_bytes_are_reported, setup, teardown),
        cmocka_unit_test_setup_teardown(lexing_stops_when_the_diagnostics_are_full, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
