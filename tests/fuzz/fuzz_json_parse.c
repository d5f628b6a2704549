// fuzz_json_parse.c: any bytes either give a tree, which can be written and read again, or one
// error.
#include <stdint.h>

#include "base/check.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_tree(JsonWriter *w, const Json *json) {
    switch (json->kind) {
    case JSON_NULL: json_null(w); return;
    case JSON_BOOL: json_bool(w, json->boolean); return;
    case JSON_NUMBER: json_number(w, json->number); return;
    case JSON_INT: json_int(w, json->integer); return;
    case JSON_STRING: json_string(w, json->string); return;
    case JSON_ARRAY: json_array(w); break;
    case JSON_OBJECT: json_object(w); break;
    }
    for (uint32_t i = 0; i < json->count; i++) {
        if (json->kind == JSON_OBJECT) json_key_str(w, json->keys[i]);
        write_tree(w, &json->items[i]);
    }
    json_end(w);
}

static void tree_text(const Json *json, StrBuf *out) {
    JsonWriter w;
    json_init(&w, out, false);
    write_tree(&w, json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Json *first = NULL, *second = NULL;
    StrBuf once = {0}, twice = {0};
    if (json_parse(&diag, &arena, STR("input"), (Str){(const char *)data, size}, &first)) {
        tree_text(first, &once);
        ASSERT(json_parse(&diag, &arena, STR("again"), strbuf_view(&once), &second));
        tree_text(second, &twice);
        ASSERT(str_eq(strbuf_view(&once), strbuf_view(&twice)));
    } else {
        ASSERT(diag.error_count == 1);
    }
    strbuf_release(&once);
    strbuf_release(&twice);
    arena_release(&arena);
    return 0;
}
