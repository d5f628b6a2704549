// json_read.c: jansson's tree copied into the arena. This file is the only one that sees
// jansson.
#ifdef STRATA_HAVE_JANSSON
// Both headers have enumerators of these names. Here jansson's get others, and its macros that
// use them (json_is_object and the like) cannot be used below.
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY  JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_NULL   JANSSON_NULL
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_NULL
#endif

#include "base/json.h"

#ifdef STRATA_HAVE_JANSSON

enum { NESTING_MAX = 64 };

bool json_available(void) { return true; }

static bool convert(Arena *arena, json_t *from, uint32_t depth, Json *to);

static bool convert_array(Arena *arena, json_t *from, uint32_t depth, Json *to) {
    size_t count = json_array_size(from);
    *to = (Json){.kind = JSON_ARRAY, .count = (uint32_t)count};
    to->items = arena_array(arena, Json, count);
    for (size_t i = 0; i < count; i++) {
        if (!convert(arena, json_array_get(from, i), depth + 1, &to->items[i])) return false;
    }
    return true;
}

static bool convert_object(Arena *arena, json_t *from, uint32_t depth, Json *to) {
    size_t count = json_object_size(from), i = 0;
    *to = (Json){.kind = JSON_OBJECT, .count = (uint32_t)count};
    to->items = arena_array(arena, Json, count);
    to->keys = arena_array(arena, Str, count);
    const char *key;
    json_t *value;
    json_object_foreach(from, key, value) {
        to->keys[i] = str_copy(arena, str_of(key));
        if (!convert(arena, value, depth + 1, &to->items[i++])) return false;
    }
    return true;
}

// False only for too deep nesting.
static bool convert(Arena *arena, json_t *from, uint32_t depth, Json *to) {
    if (depth > NESTING_MAX) return false;
    switch (json_typeof(from)) {
    case JANSSON_OBJECT: return convert_object(arena, from, depth, to);
    case JANSSON_ARRAY: return convert_array(arena, from, depth, to);
    case JANSSON_STRING: {
        Str text = {json_string_value(from), json_string_length(from)};
        *to = (Json){.kind = JSON_STRING, .string = str_copy(arena, text)};
        return true;
    }
    case JSON_INTEGER: {
        int64_t x = json_integer_value(from);
        *to = (Json){.kind = JSON_INT, .integer = x, .number = (double)x};
        return true;
    }
    case JSON_REAL:
        *to = (Json){.kind = JSON_NUMBER, .number = json_real_value(from)};
        return true;
    case JSON_TRUE: *to = (Json){.kind = JSON_BOOL, .boolean = true}; return true;
    case JSON_FALSE: *to = (Json){.kind = JSON_BOOL}; return true;
    case JANSSON_NULL: *to = (Json){.kind = JSON_NULL}; return true;
    }
    return false;
}

bool json_parse(Diag *diag, Arena *arena, Str path, Str text, Json **out) {
    json_error_t error;
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *root = json_loadb(text.ptr ? text.ptr : "", text.len, flags, &error);
    if (!root) {
        return diag_file_error(diag, FAIL_INPUT, path, "bad JSON at line %d, column %d: %s",
                               error.line, error.column, error.text);
    }
    *out = arena_new(arena, Json);
    bool ok = convert(arena, root, 1, *out);
    json_decref(root);
    if (ok) return true;
    return diag_file_error(diag, FAIL_INPUT, path, "bad JSON: nested deeper than %d levels",
                           NESTING_MAX);
}

#else

bool json_available(void) { return false; }

bool json_parse(Diag *diag, Arena *arena, Str path, Str text, Json **out) {
    (void)arena, (void)path, (void)text, (void)out;
    return diag_fail(diag, FAIL_ENVIRONMENT,
                     "this strata was built without jansson and cannot read JSON; "
                     "install libjansson-dev and build again");
}

#endif
