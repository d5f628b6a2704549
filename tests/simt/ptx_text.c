// ptx_text.c: see ptx_text.h.
#include "tests/simt/ptx_text.h"

#include <ctype.h>
#include <string.h>

#include "base/check.h"

static char char_at(Str text, size_t i) {
    if (i >= text.len) return 0;
    return text.ptr[i];
}

static Str slice(Str text, size_t from, size_t to) { return (Str){text.ptr + from, to - from}; }

// Comments and strings are one token each, everything else a letter.
static size_t token_end(Str text, size_t i) {
    if (char_at(text, i) == '/' && char_at(text, i + 1) == '/') {
        while (i < text.len && text.ptr[i] != '\n')
            i++;
        return i;
    }
    if (char_at(text, i) != '"') return i + 1;
    for (i++; i < text.len && text.ptr[i] != '"'; i++)
        if (text.ptr[i] == '\\') i++;
    return i + 1;
}

static bool word_is(Str text, size_t i, Str word) {
    return str_starts(slice(text, i, text.len), word) &&
           !isalnum((unsigned char)char_at(text, i + word.len));
}

Str asm_next(Str text, size_t from) {
    size_t start = from;
    while (start < text.len && !word_is(text, start, STR("asm")))
        start = token_end(text, start);
    uint32_t depth = 0;
    for (size_t i = start; i < text.len; i = token_end(text, i)) {
        if (text.ptr[i] == '(') depth++;
        if (text.ptr[i] == ')' && --depth == 0) return slice(text, start, i + 1);
    }
    return (Str){text.ptr + text.len, 0};
}

// "=r"( and the like; 0: none.
static size_t constraint_length(Str text, size_t i) {
    bool written = char_at(text, i + 1) == '=' || char_at(text, i + 1) == '+';
    size_t length = written ? 4 : 3;
    bool is = char_at(text, i) == '"' &&
              islower((unsigned char)char_at(text, i + length - 2)) &&
              char_at(text, i + length - 1) == '"' && char_at(text, i + length) == '(';
    return is ? length : 0;
}

// One token; returns its end.
static size_t token_add(StrBuf *out, Str text, size_t i) {
    size_t length = constraint_length(text, i), end = token_end(text, i);
    if (length == 0) {
        strbuf_add(out, slice(text, i, end < text.len ? end : text.len));
        return end;
    }
    strbuf_addz(out, length == 4 ? "ptx_write" : "ptx_read");
    strbuf_addf(out, "(%.*s, ", (int)length, text.ptr + i);
    return i + length + 1;
}

// Colons become commas where something follows; what comes after the third goes.
static void statement_add(StrBuf *out, Str text) {
    uint32_t depth = 0, colons = 0;
    bool pending = false;
    strbuf_addz(out, "ptx");
    for (size_t i = (size_t)((const char *)memchr(text.ptr, '(', text.len) - text.ptr);
         i < text.len;) {
        char c = text.ptr[i];
        bool space = isspace((unsigned char)c) || c == '\\';
        if (c == ':' && depth == 1) {
            colons++;
            pending = true;
            i++;
            continue;
        }
        bool dropped = colons >= 3 && !space && i + 1 < text.len;
        if (pending && !space && !dropped && i + 1 < text.len) {
            strbuf_addz(out, ", ");
            pending = false;
        }
        size_t constraint = constraint_length(text, i);
        if (c == '(' || constraint) depth++;
        if (c == ')') depth--;
        i = dropped ? token_end(text, i) : token_add(out, text, i);
    }
}

Str ptx_text(Arena *arena, Str text) {
    StrBuf out = {0};
    for (size_t i = 0; i < text.len;) {
        Str statement = asm_next(text, i);
        size_t start = (size_t)(statement.ptr - text.ptr);
        while (i < start)
            i = token_add(&out, text, i);
        if (statement.len) statement_add(&out, statement);
        i = start + statement.len;
    }
    Str copy = str_copy(arena, strbuf_view(&out));
    strbuf_release(&out);
    return copy;
}

// nvcc's dynamic shared memory is a declaration that no C++ compiler has.
static const char dynamic_shared[] =
    "#undef DYNAMIC_SHARED\n"
    "#define DYNAMIC_SHARED(name) u8 *const name = (u8 *)SIMT(dynamic_shared)\n";

Str ptx_kernel(Arena *arena, Str kernel, const PtxTexts *texts) {
    Str prelude = STR("#include \"prelude.cuh\"\n"), wgmma = STR("#include \"wgmma.cuh\"\n");
    StrBuf out = {0};
    for (size_t i = 0; i < kernel.len;) {
        Str rest = slice(kernel, i, kernel.len);
        if (str_starts(rest, prelude)) {
            strbuf_add(&out, texts->prelude);
            strbuf_addz(&out, dynamic_shared);
            i += prelude.len;
        } else if (str_starts(rest, wgmma)) {
            strbuf_add(&out, texts->wgmma);
            i += wgmma.len;
        } else {
            strbuf_addc(&out, kernel.ptr[i++]);
        }
    }
    Str copy = str_copy(arena, strbuf_view(&out));
    strbuf_release(&out);
    return copy;
}
