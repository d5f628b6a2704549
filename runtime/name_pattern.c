// name_pattern.c: matching by backtracking over *, of which patterns have few.
#include "runtime/name_pattern.h"

#include <string.h>

enum { DIGITS_MAX = 15 };

static Str tail(Str s, size_t n) { return (Str){s.ptr + n, s.len - n}; }

// What stands between the braces that `s` begins with; len 0 if there is no '}'.
static Str braced(Str s) {
    const char *end = memchr(s.ptr, '}', s.len);
    return end ? (Str){s.ptr + 1, (size_t)(end - s.ptr) - 1} : (Str){0};
}

bool pattern_check(Str pattern, Str *why) {
    uint32_t count = 0;
    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.ptr[i] != '{') continue;
        Str name = braced(tail(pattern, i));
        *why = STR("braces hold one name, such as {i}");
        if (!size_is_name(name)) return false;
        *why = STR("there are too many placeholders");
        if (++count > PLACEHOLDERS_MAX) return false;
        i += name.len + 1;
    }
    return true;
}

// The number that text begins with, written without needless zeros; 0 characters: none.
static size_t leading_number(Str text, int64_t *out) {
    size_t n = 0;
    *out = 0;
    while (n < text.len && n < DIGITS_MAX && text.ptr[n] >= '0' && text.ptr[n] <= '9')
        *out = *out * 10 + (text.ptr[n++] - '0');
    return n > 1 && text.ptr[0] == '0' ? 0 : n;
}

static bool bind(Placeholders *p, Str name, int64_t value) {
    for (uint32_t i = 0; i < p->count; i++) {
        if (str_eq(p->items[i].name, name)) return p->items[i].value == value;
    }
    p->items[p->count++] = (SizeName){.name = name, .value = value};
    return true;
}

static bool match_rest(Str pattern, Str text, Placeholders *p) {
    while (pattern.len) {
        size_t taken = 1, matched = 1;
        if (pattern.ptr[0] == '*') {
            uint32_t count = p->count;
            for (size_t n = 0; n <= text.len; n++, p->count = count)
                if (match_rest(tail(pattern, 1), tail(text, n), p)) return true;
            return false;
        }
        if (pattern.ptr[0] == '{') {
            Str name = braced(pattern);
            int64_t value;
            matched = leading_number(text, &value);
            taken = name.len + 2;
            if (!matched || !bind(p, name, value)) return false;
        } else if (!text.len || text.ptr[0] != pattern.ptr[0]) {
            return false;
        }
        pattern = tail(pattern, taken);
        text = tail(text, matched);
    }
    return !text.len;
}

bool pattern_match(Str pattern, Str text, Placeholders *out) {
    *out = (Placeholders){0};
    return match_rest(pattern, text, out);
}

bool pattern_expand(Arena *arena, Str pattern, const Sizes *sizes, Str *out, Str *why) {
    StrBuf text = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < pattern.len; i++) {
        if (pattern.ptr[i] != '{') {
            strbuf_addc(&text, pattern.ptr[i]);
            continue;
        }
        Str inner = braced(tail(pattern, i));
        int64_t value = 0;
        ok = size_evaluate(arena, inner, sizes, &value, why);
        strbuf_addf(&text, "%lld", (long long)value);
        i += inner.len + 1;
    }
    *out = str_copy(arena, strbuf_view(&text));
    strbuf_release(&text);
    return ok;
}
