// test_json.c: what the writer writes, and what the reader takes and refuses.
#include <math.h>

#include "base/json.h"
#include "tests/test.h"

static void writes_compact_and_indented(void **state) {
    (void)state;
    for (int indent = 0; indent < 2; indent++) {
        StrBuf out = {0};
        JsonWriter w;
        json_init(&w, &out, indent);
        json_object(&w);
        json_key(&w, "loss");
        json_number(&w, 1.5);
        json_key_str(&w, STR("list"));
        json_array(&w);
        json_int(&w, INT64_MIN);
        json_bool(&w, true);
        json_null(&w);
        json_number(&w, (double)NAN);
        json_raw(&w, STR("[0]"));
        json_end(&w);
        json_key(&w, "none");
        json_object(&w);
        json_end(&w);
        json_end(&w);
        assert_string_equal(out.ptr, indent
                                         ? "{\n  \"loss\": 1.5,\n  \"list\": [\n"
                                           "    -9223372036854775808,\n    true,\n    null,\n"
                                           "    null,\n    [0]\n  ],\n  \"none\": {}\n}"
                                         : "{\"loss\":1.5,\"list\":[-9223372036854775808,true,"
                                           "null,null,[0]],\"none\":{}}");
        strbuf_release(&out);
    }
}

static void strings_are_escaped(void **state) {
    (void)state;
    StrBuf out = {0};
    JsonWriter w;
    json_init(&w, &out, false);
    json_array(&w);
    json_string(&w, STR("a\"b\\c\n\t\x01\x7f\xc3\xa9"));
    json_string(&w, STR("\xff|\xc3|\xed\xa0\x80|\xc0\x80"));
    json_string(&w, (Str){"a\0b", 3});
    json_end(&w);
    assert_string_equal(out.ptr,
                        "[\"a\\\"b\\\\c\\n\\t\\u0001\x7f\xc3\xa9\","
                        "\"\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|"
                        "\xef\xbf\xbd\xef\xbf\xbd\",\"a\\u0000b\"]");
    strbuf_release(&out);
}

static void a_tree_is_read(void **state) {
    (void)state;
    if (!json_available()) skip();
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Json *json = NULL;
    Str text = STR(
        "{\"z\": [1, -2.5, true, false, null, \"\\u00e9\"], \"a\": {}, \"m\": 9007199254740993}");
    assert_true(json_parse(&diag, &arena, STR("x.json"), text, &json));
    assert_int_equal(json->kind, JSON_OBJECT);
    assert_int_equal(json->count, 3);
    assert_str(json->keys[0], "z");
    assert_str(json->keys[1], "a");
    const Json *z = json_get(json, "z");
    assert_int_equal(z->kind, JSON_ARRAY);
    assert_int_equal(z->count, 6);
    assert_true(z->items[0].kind == JSON_INT && z->items[0].integer == 1 &&
                z->items[0].number == 1);
    assert_true(z->items[1].kind == JSON_NUMBER && z->items[1].number == -2.5);
    assert_true(z->items[2].kind == JSON_BOOL && z->items[2].boolean);
    assert_true(z->items[3].kind == JSON_BOOL && !z->items[3].boolean);
    assert_int_equal(z->items[4].kind, JSON_NULL);
    assert_str(z->items[5].string, "\xc3\xa9");
    assert_true(json_get(json, "m")->integer == 9007199254740993);
    assert_null(json_get(json, "missing"));
    assert_null(json_get(z, "missing"));
    assert_null(json_get(NULL, "missing"));
    arena_release(&arena);
}

static void refuse(const char *text, const char *reason) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Json *json = NULL;
    assert_false(json_parse(&diag, &arena, STR("x.json"), str_of(text), &json));
    assert_int_equal(diag.fail, FAIL_INPUT);
    assert_diag_has(&diag, "x.json: error: bad JSON");
    assert_diag_has(&diag, reason);
    arena_release(&arena);
}

static void bad_texts_are_refused(void **state) {
    (void)state;
    if (!json_available()) skip();
    refuse("", "line 1");
    refuse("{\"a\": 1,\n \"b\": }", "line 2");
    refuse("{\"a\": 1, \"a\": 2}", "duplicate");
    refuse("[1] 2", "end of file");
    refuse("\"\xff\"", "unable to decode byte 0xff");
    refuse("9223372036854775808", "too big integer");
    refuse("1e999", "overflow");
    refuse("nan", "line 1");
}

static void nesting_is_limited(void **state) {
    (void)state;
    if (!json_available()) skip();
    for (int depth = 64; depth <= 65; depth++) {
        Arena arena = {0};
        Diag diag;
        diag_init(&diag, &arena);
        StrBuf text = {0};
        for (int i = 0; i < depth; i++)
            strbuf_addc(&text, '[');
        for (int i = 0; i < depth; i++)
            strbuf_addc(&text, ']');
        Json *json = NULL;
        assert_int_equal(json_parse(&diag, &arena, STR("x"), strbuf_view(&text), &json),
                         depth == 64);
        strbuf_release(&text);
        arena_release(&arena);
    }
}

static void reading_tells_when_it_is_not_built_in(void **state) {
    (void)state;
    if (json_available()) skip();
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Json *json = NULL;
    assert_false(json_parse(&diag, &arena, STR("x"), STR("1"), &json));
    assert_int_equal(diag.fail, FAIL_ENVIRONMENT);
    assert_diag_has(&diag, "libjansson-dev");
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_compact_and_indented),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(a_tree_is_read),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(reading_tells_when_it_is_not_built_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
