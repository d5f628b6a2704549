// parser.h: private to parser.c and parse_*.c: the token cursor and the productions.
//
// A production that fails has reported why and returns NULL or false; its caller returns at
// once, up to the loop over statements (or declarations), which skips to the next one and goes
// on. Only those two loops recover.
//
// Newlines: a newline ends a statement, so while `newlines` is set, a token that begins a line
// does not continue what is being parsed. Inside ( ), [ ] and the braces of records newlines
// mean nothing; inside the braces of a block they mean something again. Where a token must
// follow (an operand, a name after a comma) newlines are not looked at.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/map.h"
#include "base/vec.h"
#include "frontend/ast.h"
#include "frontend/lexer.h"

// Expressions and blocks inside one another. The tree may be a little higher (AST_MAX_HEIGHT):
// chains of operators grow it without nesting.
#define PARSER_MAX_NESTING 200

// What the brackets and blocks around the current token say.
typedef struct {
    bool newlines;       // a newline ends what is being parsed
    bool no_scope;       // the head of a for, whose `as` is its own
    bool sizes_allowed;  // directly in a model
    uint32_t nesting;
} ParserContext;

typedef struct {
    Diag *diag;
    Arena *arena;  // of the tree
    uint32_t file;
    Str text;
    Lexer lexer;
    Vec(Token) tokens;  // those read so far: the past is kept for recovery, and one more is
                        // looked ahead
    uint32_t at;        // the current token
    uint32_t end;       // where the last consumed token ends
    ParserContext in;
    uint32_t
        tallest;  // height of the highest expression or block since the innermost block began
    uint32_t unclosed_at;  // the token where a '}' was last missed: the blocks around it miss
                           // theirs too
} Parser;

// ---- The cursor (parser.c) ----

Token parser_peek(Parser *p, uint32_t ahead);
Token parser_take(Parser *p);
Str parser_token_text(const Parser *p, Token t);
Span parser_token_span(const Parser *p, Token t);
Span parser_span_from(const Parser *p,
                      uint32_t start);  // to the end of the last consumed token

// Is the current token of this kind? parser_at: and does it continue the statement?
bool parser_starts(Parser *p, TokenKind kind);
bool parser_at(Parser *p, TokenKind kind);
bool parser_eat(Parser *p, TokenKind kind);

// Reports "expected WHAT, found ..." at the current token, or at the end of the line before it.
bool parser_unexpected(Parser *p, const char *what);
// The same between statements, where no line ends.
bool parser_unexpected_token(Parser *p, const char *what);
MUST_USE bool parser_expect(Parser *p, TokenKind kind);
MUST_USE bool parser_name(Parser *p, const char *what, AstName *out);  // a name, not a keyword
AstName parser_word(Parser *p);  // the current token, a word
// Of one record, call or parameter list; reports the second of the same name.
MUST_USE bool parser_name_is_new(Parser *p, Map *seen, AstName name, const char *what);

MUST_USE bool parser_enter(Parser *p);  // one level deeper; false: too deep
void parser_leave(Parser *p);
MUST_USE bool parser_height(Parser *p, uint32_t height,
                            Span span);  // records it; false: too high

// Brackets whose inside takes no notice of newlines, and lists in them. Whether an opening one
// may begin a line is for the caller to know.
typedef struct {
    Token open;
    TokenKind close;
    ParserContext outside;
} Bracket;

MUST_USE bool parser_open(Parser *p, TokenKind open, Bracket *out);
MUST_USE bool parser_close(Parser *p, const Bracket *b);
// After an item: is there another? A comma may stand after the last.
MUST_USE bool parser_more(Parser *p, const Bracket *b, bool *more);
void parser_note_open(Parser *p, Token open);

// After a failure in the statement or declaration that began at token `start`: skips to where
// the next one begins.
void parser_recover_stmt(Parser *p, uint32_t start);
void parser_recover_decl(Parser *p, uint32_t start);
// A model, import or optimizer stands in no block: whatever came before it is over.
bool token_ends_blocks(TokenKind kind);

// ---- Productions ----

AstExpr *parse_expr(Parser *p);                                    // parse_expr.c
AstExpr *parse_primary(Parser *p);                                 // parse_primary.c
bool parse_args(Parser *p, AstExpr *call);                         // parse_primary.c
bool parse_fields(Parser *p, AstField **fields, uint32_t *count);  // parse_primary.c
AstExpr *parser_expr(Parser *p, AstExprKind kind);                 // parse_expr.c: a new node
AstExpr *parser_expr_done(Parser *p, AstExpr *e,
                          uint32_t start);  // parse_expr.c: sets span and height
MUST_USE bool parse_scope_name(Parser *p, AstScopeName *out);  // parse_expr.c: after `as`
MUST_USE bool parse_block(Parser *p, AstBlock *out);           // parse_stmt.c
MUST_USE bool parse_model_block(Parser *p, AstBlock *out);     // parse_stmt.c
AstStmt *parse_tensors(Parser *p, AstStmt *s);  // parse_tensor.c: param, state, input
AstFn *parse_fn_rest(Parser *p, AstName name,
                     uint32_t start);  // parse_decl.c: from the parameters on
AstModule *parse_module(Parser *p);    // parse_decl.c
