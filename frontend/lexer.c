// lexer.c: one token a call, by its first character.
#include "frontend/lexer.h"

#include <math.h>
#include <string.h>

static const char *const texts[] = {
#define TOKEN(kind, text) [TOKEN_##kind] = (text),
#include "frontend/tokens.def"
};

const char *token_text(TokenKind kind) { return texts[kind]; }

bool token_is_keyword(TokenKind kind) { return kind >= TOKEN_IMPORT; }

bool token_is_word(TokenKind kind) { return kind == TOKEN_NAME || token_is_keyword(kind); }

void lexer_init(Lexer *lexer, Diag *diag, uint32_t file) {
    *lexer = (Lexer){.diag = diag, .file = file, .text = diag_source(diag, file)->text};
    if (str_starts(lexer->text, STR("\xEF\xBB\xBF")))
        lexer->at = 3;  // a byte order mark says nothing
}

// Locale-free classes: a source means the same everywhere.
static bool is_digit(int c) { return c >= '0' && c <= '9'; }

static bool is_name_start(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(int c) { return is_name_start(c) || is_digit(c); }

// The byte n after the current one; -1 after the end, so that a NUL is a byte like any other.
static int byte_at(const Lexer *l, uint32_t n) {
    return l->at + (size_t)n < l->text.len ? (unsigned char)l->text.ptr[l->at + n] : -1;
}

static Span span_from(const Lexer *l, uint32_t start) { return (Span){l->file, start, l->at}; }

static Str text_from(const Lexer *l, uint32_t start) {
    return (Str){l->text.ptr + start, l->at - start};
}

// Bytes of the well-formed UTF-8 sequence here (RFC 3629, section 4); 0 if it is not one.
static uint32_t utf8_length(const Lexer *l) {
    const int c = byte_at(l, 0), next = byte_at(l, 1);
    if (c < 0x80) return c >= 0 ? 1 : 0;
    if (c < 0xC2 || c > 0xF4) return 0;
    const uint32_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    const int low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    const int high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (next < low || next > high) return 0;
    for (uint32_t i = 2; i < n; i++)
        if ((byte_at(l, i) & ~0x3F) != 0x80) return 0;
    return n;
}

static void utf8_error(Lexer *l) {
    if (!l->utf8_reported)
        diag_error(l->diag, (Span){l->file, l->at, l->at + 1}, "byte 0x%02x is not UTF-8 text",
                   (unsigned)byte_at(l, 0));
    l->utf8_reported = true;
}

// Consumes one character of a comment or a string, where any text may stand but no control
// characters.
static void skip_text(Lexer *l) {
    const uint32_t start = l->at, n = utf8_length(l);
    const int c = byte_at(l, 0);
    if (n == 0) utf8_error(l);
    l->at += n ? n : 1;
    if (n == 1 && (c < 0x20 || c == 0x7F) && c != '\t' && c != '\r')
        diag_error(l->diag, span_from(l, start), "control character 0x%02x in the text",
                   (unsigned)c);
}

static bool skip_blanks(Lexer *l) {
    bool newline = l->at == 0 || (l->at == 3 && str_starts(l->text, STR("\xEF\xBB\xBF")));
    for (;; l->at++) {
        if (byte_at(l, 0) == '#')
            while (byte_at(l, 0) >= 0 && byte_at(l, 0) != '\n')
                skip_text(l);
        const int c = byte_at(l, 0);
        if (c == '\n') newline = true;
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return newline;
    }
}

static TokenKind lex_word(Lexer *l) {
    const uint32_t start = l->at;
    while (is_name(byte_at(l, 0)))
        l->at++;
    const Str word = text_from(l, start);
    for (int kind = TOKEN_IMPORT; kind < TOKEN_COUNT; kind++)
        if (str_eq(word, str_of(texts[kind]))) return (TokenKind)kind;
    return TOKEN_NAME;
}

static void skip_digits(Lexer *l) {
    while (is_digit(byte_at(l, 0)))
        l->at++;
}

// number = digits [ "." digits ] [ ("e" | "E") [ "+" | "-" ] digits ]
// A point counts only before a digit: 0..n is a range.
static TokenKind lex_number(Lexer *l) {
    const uint32_t start = l->at;
    skip_digits(l);
    if (byte_at(l, 0) == '.' && is_digit(byte_at(l, 1))) {
        l->at++;
        skip_digits(l);
    }
    const int e = byte_at(l, 0);
    if (e == 'e' || e == 'E') {
        const uint32_t sign = byte_at(l, 1) == '+' || byte_at(l, 1) == '-' ? 2 : 1;
        if (is_digit(byte_at(l, sign))) l->at += sign;
        skip_digits(l);
    }
    if (is_name(byte_at(l, 0))) {
        while (is_name(byte_at(l, 0)))
            l->at++;
        diag_error(l->diag, span_from(l, start), "malformed number");
        return TOKEN_NUMBER;
    }
    double value;
    int64_t integer;
    const Str text = text_from(l, start);
    if (lexer_number(text, &value, &integer)) return TOKEN_NUMBER;
    if (!memchr(text.ptr, '.', text.len) && !memchr(text.ptr, 'e', text.len) &&
        !memchr(text.ptr, 'E', text.len))
        diag_error(l->diag, span_from(l, start), "integer does not fit in 64 bits");
    else if (!isfinite(value))
        diag_error(l->diag, span_from(l, start), "number is too large for a double");
    return TOKEN_NUMBER;
}

bool lexer_number(Str text, double *value, int64_t *integer) {
    *integer = 0;
    if (str_to_int64(text, integer)) {
        *value = (double)*integer;
        return true;
    }
    if (!str_to_double(text, value)) *value = (double)INFINITY;
    return false;
}

// The byte that an escape stands for; 0 if there is no such escape.
static char escape_value(int c) {
    switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case '"': return '"';
    case '\\': return '\\';
    default: return 0;
    }
}

// string = '"' { character | "\" ( "n" | "t" | '"' | "\" ) } '"', on one line.
static TokenKind lex_string(Lexer *l) {
    const uint32_t start = l->at++;
    for (;;) {
        const int c = byte_at(l, 0);
        if (c < 0 || c == '\n') {
            diag_error(l->diag, span_from(l, start), "the string does not end on its line");
            return TOKEN_INVALID;
        }
        if (c == '"') break;
        if (c == '\\' && escape_value(byte_at(l, 1))) {
            l->at += 2;
        } else if (c == '\\') {
            const uint32_t at = l->at++;
            diag_error(l->diag, span_from(l, at),
                       "unknown escape: a string knows \\n, \\t, \\\" and \\\\");
        } else {
            skip_text(l);
        }
    }
    l->at++;
    return TOKEN_STRING;
}

Str lexer_string(Arena *arena, Str text) {
    char *out = arena_array(arena, char, text.len + 1);
    size_t n = 0;
    for (size_t i = 1; i < text.len && text.ptr[i] != '"'; i++) {
        if (text.ptr[i] != '\\') {
            out[n++] = text.ptr[i];
            continue;
        }
        if (i + 1 == text.len) break;
        const char value = escape_value(text.ptr[i + 1]);
        if (value) out[n++] = value;
        if (value) i++;
    }
    return (Str){out, n};
}

static bool lex_punct(Lexer *l, TokenKind *kind) {
    const Str rest = {l->text.ptr + l->at, l->text.len - l->at};
    for (int k = TOKEN_ARROW; k < TOKEN_IMPORT; k++) {
        if (!str_starts(rest, str_of(texts[k]))) continue;
        l->at += (uint32_t)strlen(texts[k]);
        *kind = (TokenKind)k;
        return true;
    }
    return false;
}

static void stray_error(Lexer *l, uint32_t start, uint32_t n) {
    const Str text = {l->text.ptr + start, n};
    const Span span = {l->file, start, start + n};
    const int c = (unsigned char)text.ptr[0];
    if (n > 1) {
        diag_error(l->diag, span, "unexpected '%.*s'", STR_ARG(text));
        diag_note(l->diag, span, "names are made of ASCII letters, digits and '_'");
        return;
    }
    if (c < 0x20 || c == 0x7F)
        diag_error(l->diag, span, "control character 0x%02x in the text", (unsigned)c);
    else
        diag_error(l->diag, span, "unexpected character '%c'", c);
    if (c == '!') diag_note(l->diag, span, "negation is spelled 'not'");
    if (c == '&' || c == '|') diag_note(l->diag, span, "logic is spelled 'and', 'or', 'not'");
    if (c == '\'') diag_note(l->diag, span, "strings are written in double quotes");
}

// One character that begins no token. The first of a line is reported: those after it come from
// the same mistake more often than not.
static TokenKind lex_stray(Lexer *l) {
    const uint32_t start = l->at, n = utf8_length(l);
    if (n == 0)
        utf8_error(l);
    else if (!l->stray_reported)
        stray_error(l, start, n);
    l->stray_reported = true;
    l->at += n ? n : 1;
    return TOKEN_INVALID;
}

Token lexer_next(Lexer *l) {
    const bool newline = skip_blanks(l);
    const int c = byte_at(l, 0);
    if (c < 0 || diag_full(l->diag)) {
        l->at = (uint32_t)l->text.len;
        return (Token){TOKEN_END, newline, l->at, l->at};
    }
    if (newline) l->stray_reported = false;
    const uint32_t start = l->at;
    TokenKind kind;
    if (is_name_start(c))
        kind = lex_word(l);
    else if (is_digit(c))
        kind = lex_number(l);
    else if (c == '"')
        kind = lex_string(l);
    else if (!lex_punct(l, &kind))
        kind = lex_stray(l);
    return (Token){kind, newline, start, l->at};
}
