// str.c: string views.
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

Str str_of(const char *z) { return z ? (Str){z, strlen(z)} : (Str){0}; }

bool str_eq(Str a, Str b) { return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len)); }

int str_cmp(Str a, Str b) {
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool str_starts(Str s, Str prefix) {
    return s.len >= prefix.len && str_eq((Str){s.ptr, prefix.len}, prefix);
}

bool str_ends(Str s, Str suffix) {
    return s.len >= suffix.len &&
           str_eq((Str){s.ptr + (s.len - suffix.len), suffix.len}, suffix);
}

Str str_copy(Arena *arena, Str s) { return (Str){arena_strndup(arena, s.ptr, s.len), s.len}; }

Str str_printf(Arena *arena, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    char few[256];
    int n = vsnprintf(few, sizeof few, fmt, args);
    if (n < 0) BUG("bad format '%s'", fmt);
    char *text = arena_alloc(arena, (size_t)n + 1, 1);
    if ((size_t)n < sizeof few)
        memcpy(text, few, (size_t)n);
    else
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return (Str){text, (size_t)n};
}

// strtod also takes leading blanks and hexadecimal, which are no numbers of ours.
static bool number_shaped(Str s) {
    if (!s.len || memchr(s.ptr, 0, s.len)) return false;
    size_t first = s.ptr[0] == '-' || s.ptr[0] == '+';
    if (first == s.len) return false;
    if (!strchr("0123456789.inIN", s.ptr[first])) return false;
    return !memchr(s.ptr, 'x', s.len) && !memchr(s.ptr, 'X', s.len) &&
           !memchr(s.ptr, '(', s.len);
}

bool str_to_double(Str s, double *out) {
    char small[64];
    if (!number_shaped(s)) return false;
    char *text = s.len < sizeof small ? small : malloc(s.len + 1);
    if (!text) check_out_of_memory(s.len + 1);
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    char *end = NULL;
    errno = 0;
    double x = strtod(text, &end);
    bool ok = end == text + s.len && !(errno == ERANGE && isinf(x));
    if (text != small) free(text);
    if (ok) *out = x;
    return ok;
}

bool str_to_int64(Str s, int64_t *out) {
    size_t i = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    bool negative = i && s.ptr[0] == '-';
    if (i == s.len) return false;
    // Counted downwards, since the least number has no positive twin.
    int64_t x = 0;
    for (; i < s.len; i++) {
        int digit = s.ptr[i] - '0';
        if (digit < 0 || digit > 9) return false;
        if (x < (INT64_MIN + digit) / 10) return false;
        x = x * 10 - digit;
    }
    if (!negative && x == INT64_MIN) return false;
    *out = negative ? x : -x;
    return true;
}
