// size_expr.c: recursive descent over text that comes from files.
#include "runtime/size_expr.h"

#include <ctype.h>

enum { DEPTH_MAX = 32 };
static const int64_t value_max = INT64_C(1) << 53;

typedef struct {
    Arena *arena;
    Str rest;
    const Sizes *sizes;
    uint32_t depth;
    Str why;
} Reader;

static bool fail(Reader *r, Str why) {
    r->why = why;
    return false;
}

static void advance(Reader *r, size_t n) { r->rest = (Str){r->rest.ptr + n, r->rest.len - n}; }

static char next_char(Reader *r) {
    while (r->rest.len && *r->rest.ptr == ' ')
        advance(r, 1);
    if (r->rest.len == 0) return '\0';
    return *r->rest.ptr;
}

static bool is_letter(char c) { return isalpha((unsigned char)c) || c == '_'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool size_is_name(Str text) {
    bool ok = text.len && is_letter(text.ptr[0]);
    for (size_t i = 1; i < text.len; i++)
        ok = ok && (is_letter(text.ptr[i]) || is_digit(text.ptr[i]));
    return ok;
}

static bool look_up(Reader *r, Str name, int64_t *out) {
    for (const Sizes *s = r->sizes; s; s = s->outer) {
        for (uint32_t i = 0; i < s->count; i++) {
            const SizeName *found = &s->items[i];
            if (!str_eq(found->name, name)) continue;
            if (found->ambiguous)
                return fail(r, str_printf(r->arena,
                                          "axes named '%.*s' have several extents in the model",
                                          STR_ARG(name)));
            *out = found->value;
            return true;
        }
    }
    return fail(r, str_printf(r->arena, "nothing is named '%.*s'", STR_ARG(name)));
}

static bool read_number(Reader *r, int64_t *out) {
    *out = 0;
    for (; r->rest.len && is_digit(*r->rest.ptr); advance(r, 1)) {
        *out = *out * 10 + (*r->rest.ptr - '0');
        if (*out > value_max) return fail(r, STR("it is too large"));
    }
    return true;
}

static bool read_sum(Reader *r, int64_t *out);

// atom = number | name | "(" sum ")"
static bool read_atom(Reader *r, int64_t *out) {
    char c = next_char(r);
    if (is_digit(c)) return read_number(r, out);
    if (is_letter(c)) {
        size_t n = 1;
        while (n < r->rest.len && (is_letter(r->rest.ptr[n]) || is_digit(r->rest.ptr[n])))
            n++;
        Str name = {r->rest.ptr, n};
        advance(r, n);
        return look_up(r, name, out);
    }
    if (c != '(' || ++r->depth > DEPTH_MAX)
        return fail(r, STR("expected a number, a name or '('"));
    advance(r, 1);
    if (!read_sum(r, out)) return false;
    if (next_char(r) != ')') return fail(r, STR("a ')' is missing"));
    advance(r, 1);
    r->depth--;
    return true;
}

// product = atom {"*" atom}
static bool read_product(Reader *r, int64_t *out) {
    if (!read_atom(r, out)) return false;
    while (next_char(r) == '*') {
        int64_t factor;
        advance(r, 1);
        if (!read_atom(r, &factor)) return false;
        if (factor && *out > value_max / factor) return fail(r, STR("it is too large"));
        *out *= factor;
    }
    return true;
}

// sum = product {("+" | "-") product}
static bool read_sum(Reader *r, int64_t *out) {
    if (!read_product(r, out)) return false;
    for (char c = next_char(r); c == '+' || c == '-'; c = next_char(r)) {
        int64_t term;
        advance(r, 1);
        if (!read_product(r, &term)) return false;
        *out += c == '+' ? term : -term;
        if (*out > value_max) return fail(r, STR("it is too large"));
        if (*out < 0) return fail(r, STR("it is negative"));
    }
    return true;
}

bool size_evaluate(Arena *arena, Str text, const Sizes *sizes, int64_t *out, Str *why) {
    Reader r = {.arena = arena, .rest = text, .sizes = sizes};
    bool ok = read_sum(&r, out) && (!next_char(&r) || fail(&r, STR("something follows it")));
    *why = r.why;
    return ok;
}
