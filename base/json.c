// json.c: writing JSON, and finding keys in what was read.
#include "base/json.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

enum { DEPTH_MAX = sizeof((JsonWriter){0}.closer) };

void json_init(JsonWriter *w, StrBuf *out, bool indent) {
    *w = (JsonWriter){.out = out, .indent = indent};
}

static void new_line(JsonWriter *w) {
    if (w->indent) strbuf_addf(w->out, "\n%*s", (int)(2 * w->depth), "");
}

// What goes before a value or a key: a comma unless it is the first of its level.
static void separate(JsonWriter *w) {
    if (!w->depth) return;
    if (!w->first[w->depth - 1]) strbuf_addc(w->out, ',');
    w->first[w->depth - 1] = false;
    new_line(w);
}

static void before_value(JsonWriter *w) {
    bool in_object = w->depth && w->closer[w->depth - 1] == '}';
    ASSERT(in_object == w->after_key);
    if (!w->after_key) separate(w);
    w->after_key = false;
}

static void open_level(JsonWriter *w, char opener, char closer) {
    before_value(w);
    ASSERT(w->depth < DEPTH_MAX);
    strbuf_addc(w->out, opener);
    w->closer[w->depth] = closer;
    w->first[w->depth++] = true;
}

void json_object(JsonWriter *w) { open_level(w, '{', '}'); }
void json_array(JsonWriter *w) { open_level(w, '[', ']'); }

void json_end(JsonWriter *w) {
    ASSERT(w->depth && !w->after_key);
    w->depth--;
    if (!w->first[w->depth]) new_line(w);
    strbuf_addc(w->out, w->closer[w->depth]);
}

// Length of the well-formed UTF-8 sequence at s, 0 if there is none.
static size_t sequence_length(Str s) {
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xc2 ? 0
               : p[0] < 0xe0 ? 2
               : p[0] < 0xf0 ? 3
               : p[0] < 0xf5 ? 4
                             : 0;
    if (!n || n > s.len) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    bool bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
               (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return bad ? 0 : n;
}

static void add_escaped(StrBuf *out, char c) {
    const char *names = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *name = names; *name; name += 2) {
        if (*name != c) continue;
        strbuf_addc(out, '\\');
        strbuf_addc(out, name[1]);
        return;
    }
    strbuf_addf(out, "\\u%04x", (unsigned)(unsigned char)c);
}

// Bytes that are no UTF-8 become U+FFFD: the output must stay JSON whatever a file is called.
static void add_quoted(StrBuf *out, Str s) {
    strbuf_addc(out, '"');
    while (s.len) {
        size_t n = sequence_length(s);
        if (!n)
            strbuf_addz(out, "\xef\xbf\xbd");
        else if (n == 1 && ((unsigned char)*s.ptr < 0x20 || *s.ptr == '"' || *s.ptr == '\\'))
            add_escaped(out, *s.ptr);
        else
            strbuf_add(out, (Str){s.ptr, n});
        n += n == 0;
        s = (Str){s.ptr + n, s.len - n};
    }
    strbuf_addc(out, '"');
}

void json_key(JsonWriter *w, const char *key) { json_key_str(w, str_of(key)); }

void json_key_str(JsonWriter *w, Str key) {
    ASSERT(w->depth && w->closer[w->depth - 1] == '}' && !w->after_key);
    separate(w);
    add_quoted(w->out, key);
    strbuf_addz(w->out, w->indent ? ": " : ":");
    w->after_key = true;
}

void json_string(JsonWriter *w, Str s) {
    before_value(w);
    add_quoted(w->out, s);
}

void json_number(JsonWriter *w, double x) {
    before_value(w);
    // Without the point a reader takes minus zero for the integer 0.
    if (x == 0 && signbit(x))
        strbuf_addz(w->out, "-0.0");
    else if (isfinite(x))
        strbuf_add_double(w->out, x);
    else
        strbuf_addz(w->out, "null");
}

void json_int(JsonWriter *w, int64_t x) {
    before_value(w);
    strbuf_addf(w->out, "%lld", (long long)x);
}

void json_bool(JsonWriter *w, bool x) {
    before_value(w);
    strbuf_addz(w->out, x ? "true" : "false");
}

void json_null(JsonWriter *w) {
    before_value(w);
    strbuf_addz(w->out, "null");
}

void json_raw(JsonWriter *w, Str text) {
    before_value(w);
    strbuf_add(w->out, text);
}

const Json *json_get(const Json *object, const char *key) {
    if (!object || object->kind != JSON_OBJECT) return NULL;
    for (uint32_t i = 0; i < object->count; i++) {
        if (str_eq(object->keys[i], str_of(key))) return &object->items[i];
    }
    return NULL;
}
