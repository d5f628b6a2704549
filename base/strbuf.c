// strbuf.c: text under construction.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

// Room for n more bytes and the NUL.
static void reserve(StrBuf *b, size_t n) {
    if (n > SIZE_MAX / 4 - b->len) check_out_of_memory(n);
    size_t need = b->len + n + 1;
    if (need <= b->cap) return;
    size_t cap = b->cap * 2 < 64 ? 64 : b->cap * 2;
    if (cap < need) cap = need;
    char *grown = realloc(b->ptr, cap);
    if (!grown) check_out_of_memory(cap);
    b->ptr = grown;
    b->cap = cap;
}

void strbuf_release(StrBuf *b) {
    free(b->ptr);
    *b = (StrBuf){0};
}

void strbuf_clear(StrBuf *b) {
    b->len = 0;
    if (b->ptr) b->ptr[0] = 0;
}

void strbuf_add(StrBuf *b, Str s) {
    reserve(b, s.len);
    if (s.len) memcpy(b->ptr + b->len, s.ptr, s.len);
    b->len += s.len;
    b->ptr[b->len] = 0;
}

void strbuf_addz(StrBuf *b, const char *z) { strbuf_add(b, str_of(z)); }

void strbuf_addc(StrBuf *b, char c) { strbuf_add(b, (Str){&c, 1}); }

void strbuf_addf(StrBuf *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    strbuf_addv(b, fmt, args);
    va_end(args);
}

void strbuf_addv(StrBuf *b, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    reserve(b, 0);
    size_t room = b->cap - b->len;
    int n = vsnprintf(b->ptr + b->len, room, fmt, args);
    if (n < 0) BUG("bad format '%s'", fmt);
    if ((size_t)n >= room) {
        reserve(b, (size_t)n);
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    b->len += (size_t)n;
}

Str strbuf_view(const StrBuf *b) { return (Str){b->ptr ? b->ptr : "", b->len}; }

void strbuf_add_double(StrBuf *b, double x) {
    if (isnan(x)) {
        strbuf_addz(b, "nan");
        return;
    }
    if (isinf(x)) {
        strbuf_addz(b, x < 0 ? "-inf" : "inf");
        return;
    }
    // 15 digits always survive decimal -> double -> decimal, and %g drops the zeros at their
    // end, so the shortest text is among these three.
    for (int digits = 15; digits <= 17; digits++) {
        char text[40];
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (digits == 17 || strtod(text, NULL) == x) {
            strbuf_addz(b, text);
            return;
        }
    }
}
