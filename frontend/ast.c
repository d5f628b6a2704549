// ast.c: the tables behind ast.def.
#include "frontend/ast.h"

const char *ast_expr_text(AstExprKind kind) {
    static const char *const texts[] = {
#define AST_EXPR(name, text) [AST_EXPR_##name] = (text),
#include "frontend/ast.def"
    };
    return texts[kind];
}

const char *ast_stmt_text(AstStmtKind kind) {
    static const char *const texts[] = {
#define AST_STMT(name, text) [AST_STMT_##name] = (text),
#include "frontend/ast.def"
    };
    return texts[kind];
}

const char *ast_unary_text(AstUnaryOp op) {
    static const char *const texts[] = {
#define AST_UNARY(name, text) [AST_UNARY_##name] = (text),
#include "frontend/ast.def"
    };
    return texts[op];
}

const char *ast_binary_text(AstBinaryOp op) {
    static const char *const texts[] = {
#define AST_BINARY(name, token, text, precedence) [AST_BINARY_##name] = (text),
#include "frontend/ast.def"
    };
    return texts[op];
}

int ast_binary_precedence(AstBinaryOp op) {
    static const int precedences[] = {
#define AST_BINARY(name, token, text, precedence) [AST_BINARY_##name] = (precedence),
#include "frontend/ast.def"
    };
    return precedences[op];
}
