// ast_print.h: private to ast_print.c and ast_print_expr.c.
#pragma once

#include "frontend/ast.h"

typedef struct {
    StrBuf *out;
    uint32_t indent;  // levels
} AstPrinter;

void print_line(AstPrinter *p);  // ends the line and indents the next
void print_word(AstPrinter *p, Str text);
void print_expr(AstPrinter *p, const AstExpr *e);
void print_scope_name(AstPrinter *p, const AstScopeName *name);  // " as NAME", or nothing
void print_loop_list(AstPrinter *p, const AstExpr *e);   // where an `as` would be the loop's
void print_fn(AstPrinter *p, const AstFn *fn);           // from the name on
void print_block(AstPrinter *p, const AstBlock *block);  // with its braces
