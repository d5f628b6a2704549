// parser.c: the token cursor, what it reports, and recovery.
#include "frontend/parser.h"

#include <stdio.h>

Token parser_peek(Parser *p, uint32_t ahead) {
    while (p->at + ahead >= p->tokens.len)
        vec_push(p->arena, &p->tokens, lexer_next(&p->lexer));
    return p->tokens.ptr[p->at + ahead];
}

Token parser_take(Parser *p) {
    const Token t = parser_peek(p, 0);
    if (t.kind != TOKEN_END) {
        p->at++;
        p->end = t.end;
    }
    return t;
}

Str parser_token_text(const Parser *p, Token t) {
    return (Str){p->text.ptr + t.start, t.end - t.start};
}

Span parser_token_span(const Parser *p, Token t) { return (Span){p->file, t.start, t.end}; }

Span parser_span_from(const Parser *p, uint32_t start) {
    return (Span){p->file, start, p->end > start ? p->end : start};
}

bool parser_starts(Parser *p, TokenKind kind) { return parser_peek(p, 0).kind == kind; }

static bool statement_ended(Parser *p) {
    const Token t = parser_peek(p, 0);
    return p->in.newlines && t.newline_before && t.kind != TOKEN_END;
}

bool parser_at(Parser *p, TokenKind kind) {
    return parser_starts(p, kind) && !statement_ended(p);
}

bool parser_eat(Parser *p, TokenKind kind) {
    if (!parser_at(p, kind)) return false;
    parser_take(p);
    return true;
}

// ---- Messages ----

// Long names and numbers are cut: the source line shows them in full.
static Str found_text(Parser *p, Token t) {
    const Str text = parser_token_text(p, t);
    const int shown = text.len > 40 ? 40 : (int)text.len;
    const char *more = text.len > 40 ? "..." : "";
    if (t.kind == TOKEN_END) return STR("end of file");
    if (t.kind == TOKEN_STRING) return STR("a string");
    const char *what = t.kind == TOKEN_NAME       ? "name "
                       : t.kind == TOKEN_NUMBER   ? "number "
                       : token_is_keyword(t.kind) ? "keyword "
                                                  : "";
    return str_printf(p->arena, "%s'%.*s%s'", what, shown, text.ptr, more);
}

bool parser_unexpected_token(Parser *p, const char *what) {
    const Token t = parser_peek(p, 0);
    if (t.kind == TOKEN_INVALID) return false;
    // The end of the file is shown where the text ends, not on an empty line after it.
    const Span end = {p->file, p->end, p->end};
    const Span at = t.kind == TOKEN_END ? end : parser_token_span(p, t);
    return diag_error(p->diag, at, "expected %s, found %.*s", what, STR_ARG(found_text(p, t)));
}

bool parser_unexpected(Parser *p, const char *what) {
    if (!statement_ended(p)) return parser_unexpected_token(p, what);
    return diag_error(p->diag, (Span){p->file, p->end, p->end},
                      "expected %s, found end of line", what);
}

bool parser_expect(Parser *p, TokenKind kind) {
    if (parser_eat(p, kind)) return true;
    char what[32];
    snprintf(what, sizeof what, kind <= TOKEN_STRING ? "%s" : "'%s'", token_text(kind));
    return parser_unexpected(p, what);
}

AstName parser_word(Parser *p) {
    const Token t = parser_take(p);
    return (AstName){parser_token_text(p, t), parser_token_span(p, t)};
}

bool parser_name(Parser *p, const char *what, AstName *out) {
    if (!parser_starts(p, TOKEN_NAME)) {
        const Token t = parser_peek(p, 0);
        parser_unexpected(p, what);
        if (token_is_keyword(t.kind) && !statement_ended(p))
            diag_note(p->diag, parser_token_span(p, t), "keywords cannot be names");
        return false;
    }
    *out = parser_word(p);
    return true;
}

bool parser_name_is_new(Parser *p, Map *seen, AstName name, const char *what) {
    uint64_t first;
    if (!map_get(seen, name.text, &first)) {
        map_set(p->arena, seen, name.text, name.span.start);
        return true;
    }
    diag_error(p->diag, name.span, "%s '%.*s' is given twice", what, STR_ARG(name.text));
    const uint32_t start = (uint32_t)first;
    diag_note(p->diag, (Span){p->file, start, start + (uint32_t)name.text.len}, "first here");
    return false;
}

// ---- Limits ----

bool parser_enter(Parser *p) {
    if (p->in.nesting == PARSER_MAX_NESTING)
        return diag_error(p->diag, parser_token_span(p, parser_peek(p, 0)),
                          "nested more than %d levels deep", PARSER_MAX_NESTING);
    p->in.nesting++;
    return true;
}

void parser_leave(Parser *p) { p->in.nesting--; }

bool parser_height(Parser *p, uint32_t height, Span span) {
    if (height > p->tallest) p->tallest = height;
    if (height <= AST_MAX_HEIGHT) return true;
    p->tallest = 0;  // reported once, not again for what is around it
    return diag_error(p->diag, span, "more than %d operations and blocks inside one another",
                      AST_MAX_HEIGHT);
}

// ---- Brackets ----

bool parser_open(Parser *p, TokenKind open, Bracket *out) {
    if (!parser_starts(p, open)) return parser_expect(p, open);
    *out = (Bracket){parser_take(p), (TokenKind)(open + 1), p->in};
    p->in.newlines = p->in.no_scope = false;
    return true;
}

_Static_assert(TOKEN_RPAREN == TOKEN_LPAREN + 1, "parser_open finds the closing bracket");
_Static_assert(TOKEN_RBRACKET == TOKEN_LBRACKET + 1, "parser_open finds the closing bracket");
_Static_assert(TOKEN_RBRACE == TOKEN_LBRACE + 1, "parser_open finds the closing bracket");

void parser_note_open(Parser *p, Token open) {
    diag_note(p->diag, parser_token_span(p, open), "'%s' opened here", token_text(open.kind));
}

bool parser_close(Parser *p, const Bracket *b) {
    if (!parser_expect(p, b->close)) {
        parser_note_open(p, b->open);
        return false;
    }
    p->in = b->outside;
    return true;
}

bool parser_more(Parser *p, const Bracket *b, bool *more) {
    *more = parser_eat(p, TOKEN_COMMA) && !parser_starts(p, b->close);
    if (*more || parser_starts(p, b->close)) return true;
    char what[16];
    snprintf(what, sizeof what, "',' or '%s'", token_text(b->close));
    parser_unexpected(p, what);
    parser_note_open(p, b->open);
    return false;
}

// ---- Recovery ----

// After these the next line goes on with the same statement.
static bool continues(TokenKind kind) {
    switch ((int)kind) {
    case TOKEN_COMMA:
    case TOKEN_COLON:
    case TOKEN_ASSIGN:
    case TOKEN_ARROW:
    case TOKEN_RANGE:
    case TOKEN_EQ:
    case TOKEN_NE:
    case TOKEN_LE:
    case TOKEN_GE:
    case TOKEN_LT:
    case TOKEN_GT:
    case TOKEN_PLUS:
    case TOKEN_MINUS:
    case TOKEN_STAR:
    case TOKEN_SLASH:
    case TOKEN_PERCENT:
    case TOKEN_CARET:
    case TOKEN_THEN:
    case TOKEN_ELSE:
    case TOKEN_AND:
    case TOKEN_OR:
    case TOKEN_NOT: return true;
    default: return false;
    }
}

// Words that begin a statement and stand nowhere else.
static bool begins_statement(TokenKind kind) { return kind >= TOKEN_DIM && kind <= TOKEN_FOR; }

_Static_assert(TOKEN_FOR - TOKEN_DIM == 11, "begins_statement names a run of tokens.def");

bool token_ends_blocks(TokenKind kind) {
    return kind == TOKEN_MODEL || kind == TOKEN_IMPORT || kind == TOKEN_OPTIMIZER;
}

// Brackets open since the start of what failed. Round and square ones count only within the
// innermost braces.
typedef struct {
    uint32_t braces, brackets;
    uint32_t records;  // of the braces, those that were open at the failure: a block would not
                       // fail inside
    bool past;         // the token that failed
} Open;

static void open_count(Open *open, TokenKind kind) {
    if (kind == TOKEN_LBRACE) open->braces++;
    if (kind == TOKEN_RBRACE && open->braces > 0) open->braces--;
    if (kind == TOKEN_LBRACE || kind == TOKEN_RBRACE) open->brackets = 0;
    if (kind == TOKEN_LPAREN || kind == TOKEN_LBRACKET) open->brackets++;
    if ((kind == TOKEN_RPAREN || kind == TOKEN_RBRACKET) && open->brackets > 0)
        open->brackets--;
    if (!open->past || open->records > open->braces) open->records = open->braces;
}

// A line that begins with a statement's keyword ends brackets and records, so that one that is
// never closed costs one statement.
static bool next_stmt_at(Parser *p, Open open) {
    const Token t = parser_peek(p, 0);
    if (t.newline_before && token_ends_blocks(t.kind)) return true;
    if (t.newline_before && begins_statement(t.kind) && open.braces == open.records)
        return true;
    if (open.braces > 0) return false;
    if (t.kind == TOKEN_RBRACE) return true;
    const bool ended = t.newline_before && !continues(p->tokens.ptr[p->at - 1].kind);
    return open.brackets == 0 && (ended || (open.past && begins_statement(t.kind)));
}

// A function may stand in a block, so braces decide, but one at the left margin is taken to be
// outside.
static bool next_decl_at(Parser *p, Open open) {
    const Token t = parser_peek(p, 0);
    if (!t.newline_before) return false;
    const bool margin = t.start == 0 || p->text.ptr[t.start - 1] == '\n';
    return token_ends_blocks(t.kind) || (t.kind == TOKEN_FN && (open.braces == 0 || margin));
}

static void recover(Parser *p, uint32_t start, bool (*next_at)(Parser *p, Open open)) {
    const uint32_t failed = p->at;
    Open open = {0};
    for (p->at = start; !parser_starts(p, TOKEN_END); p->at++) {
        open.past = p->at > failed;
        if (p->at > start && p->at >= failed && next_at(p, open)) break;
        open_count(&open, parser_peek(p, 0).kind);
    }
    if (p->at > 0) p->end = p->tokens.ptr[p->at - 1].end;
}

void parser_recover_stmt(Parser *p, uint32_t start) { recover(p, start, next_stmt_at); }

void parser_recover_decl(Parser *p, uint32_t start) { recover(p, start, next_decl_at); }
