// str.h: string views, and a growing text buffer.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

// A view: not NUL-terminated, not owned.
typedef struct {
    const char *ptr;
    size_t len;
} Str;

#define STR(literal) ((Str){"" literal, sizeof(literal) - 1})
#define STR_ARG(s)   (int)(s).len, (s).ptr  // for "%.*s"

Str str_of(const char *z);  // view of a NUL-terminated string; NULL gives the empty view
bool str_eq(Str a, Str b);
int str_cmp(Str a, Str b);  // memcmp order, shorter first
bool str_starts(Str s, Str prefix);
bool str_ends(Str s, Str suffix);
Str str_copy(Arena *arena, Str s);  // NUL-terminated copy
Str str_printf(Arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool str_to_double(Str s, double *out);  // whole string must be a finite or inf/nan number
bool str_to_int64(Str s, int64_t *out);  // whole string, base 10

// Text under construction. Owns malloc'ed memory; release it. `ptr` is always NUL-terminated
// once written to.
typedef struct {
    char *ptr;
    size_t len, cap;
} StrBuf;

void strbuf_release(StrBuf *b);
void strbuf_clear(StrBuf *b);
void strbuf_add(StrBuf *b, Str s);
void strbuf_addz(StrBuf *b, const char *z);
void strbuf_addc(StrBuf *b, char c);
void strbuf_addf(StrBuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_addv(StrBuf *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
Str strbuf_view(const StrBuf *b);
// Shortest decimal text that reads back as the same double; "inf", "-inf", "nan".
void strbuf_add_double(StrBuf *b, double x);
