// json.h: writing JSON without a library, reading it with one (jansson).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"

// jansson exports functions of these names; ours are linked under others.
#define json_object strata_json_object
#define json_array  strata_json_array
#define json_string strata_json_string
#define json_null   strata_json_null

// Writer. Commas and quoting are its business:
//     json_object(&w); json_key(&w, "loss"); json_number(&w, 1.5); json_end(&w);
typedef struct {
    StrBuf *out;
    uint32_t depth;
    char closer[64];  // '}' or ']' per level; deeper nesting is a bug
    bool first[64];
    bool after_key;
    bool indent;  // two spaces a level
} JsonWriter;

void json_init(JsonWriter *w, StrBuf *out, bool indent);
void json_object(JsonWriter *w);
void json_array(JsonWriter *w);
void json_end(JsonWriter *w);  // closes the innermost
void json_key(JsonWriter *w, const char *key);
void json_key_str(JsonWriter *w, Str key);
void json_string(JsonWriter *w, Str s);
void json_number(JsonWriter *w, double x);  // NaN and infinities become null
void json_int(JsonWriter *w, int64_t x);
void json_bool(JsonWriter *w, bool x);
void json_null(JsonWriter *w);
void json_raw(JsonWriter *w, Str text);  // already JSON

// Reader: a tree in the arena.
typedef enum {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_INT,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} JsonKind;
typedef struct Json Json;
struct Json {
    JsonKind kind;
    bool boolean;
    double number;  // also set for JSON_INT
    int64_t integer;
    Str string;
    uint32_t count;  // of an array or object
    Json *items;
    Str *keys;  // of an object, in file order
};

bool json_available(
    void);  // false: built without jansson, json_parse fails with FAIL_ENVIRONMENT
// `path` is for the message. Duplicate keys, trailing text, bad UTF-8 and nesting beyond 64 are
// errors.
MUST_USE bool json_parse(Diag *diag, Arena *arena, Str path, Str text, Json **out);
const Json *json_get(const Json *object, const char *key);  // NULL if absent or not an object
