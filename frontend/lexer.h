// lexer.h: the bytes of a source as tokens. The grammar of tokens is in docs/language.md,
// section "Lexical".
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"

typedef enum {
#define TOKEN(kind, text) TOKEN_##kind,
#include "frontend/tokens.def"
    TOKEN_COUNT
} TokenKind;

// Bytes [start, end) of the source. The kind alone does not say whether a statement ends before
// the token: that depends on the brackets around it, so the lexer reports the newline and the
// parser decides.
typedef struct {
    TokenKind kind;
    bool newline_before;  // first token of its line, or of the file
    uint32_t start, end;
} Token;

typedef struct {
    Diag *diag;
    uint32_t file;
    Str text;
    uint32_t at;
    bool utf8_reported;   // a text in another encoding gets one error, not one a letter
    bool stray_reported;  // on this line
} Lexer;

// The file must be registered in diag and live as long as the lexer.
void lexer_init(Lexer *lexer, Diag *diag, uint32_t file);

// The next token; END for ever after the last, or as soon as diag is full. What is no token, or
// a string without an end, is reported and comes as INVALID: whoever meets it need not report
// it again. A malformed number or escape is reported and comes as a token of its kind, so that
// parsing goes on.
Token lexer_next(Lexer *lexer);

// The value of a NUMBER token's text. Returns whether it was written as an integer; both values
// are set then. A malformed one, already reported, gives zero.
bool lexer_number(Str text, double *value, int64_t *integer);

// The value of a STRING token's text, escapes resolved. Malformed escapes, already reported,
// are dropped.
Str lexer_string(Arena *arena, Str text);

bool token_is_word(TokenKind kind);  // a name or a keyword
bool token_is_keyword(TokenKind kind);
const char *token_text(TokenKind kind);  // "(", "import", "a name"
