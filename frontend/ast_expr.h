// ast_expr.h: the expressions of the syntax tree. Included by ast.h, which says what holds for
// all of it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/str.h"

// Blocks and expressions together: no path from a declaration to a leaf has more nodes than
// this.
#define AST_MAX_HEIGHT 400

typedef struct AstExpr AstExpr;
typedef struct AstFn AstFn;

// A word as written, with its place. len 0: absent.
typedef struct {
    Str text;
    Span span;
} AstName;

typedef enum {
#define AST_EXPR(kind, text) AST_EXPR_##kind,
#include "frontend/ast.def"
    AST_EXPR_COUNT
} AstExprKind;

typedef enum {
#define AST_UNARY(kind, text) AST_UNARY_##kind,
#include "frontend/ast.def"
} AstUnaryOp;

typedef enum {
#define AST_BINARY(kind, token, text, precedence) AST_BINARY_##kind,
#include "frontend/ast.def"
} AstBinaryOp;

// One argument of a call: positional (name absent) or `name = value`. Positional ones come
// first and the names are distinct. The value may be an ARROW: rename(x, n -> m).
typedef struct {
    AstName name;
    AstExpr *value;
} AstArg;

// One `name: value` of a record. The names of one record are distinct.
typedef struct {
    AstName name;
    AstExpr *value;
} AstField;

// One item between the brackets of x[...]: a list position or record key (axis NULL; then it is
// the only item), or `axis: value`. The value may be a RANGE with open ends: vs[1..].
typedef struct {
    AstExpr *axis;
    AstExpr *value;
} AstIndex;

// The name of a scope, after `as`: a word or "string" (text), or an expression in parentheses
// that gives a string (expr; text is absent). Both absent: no `as` was written.
typedef struct {
    AstName text;
    bool quoted;  // written as a "string"
    AstExpr *expr;
} AstScopeName;

struct AstExpr {
    AstExprKind kind;
    uint32_t height;  // nodes on the longest path down, this one included
    Span span;        // all of the expression, but not the parentheses around it
    union {
        struct {  // `inf` is a number as well, not an integer
            double value;
            int64_t integer;  // when is_integer: written without point or exponent
            bool is_integer;
        } number;
        Str string;  // escapes resolved, NUL-terminated
        bool boolean;
        Str name;
        struct {
            AstUnaryOp op;
            AstExpr *x;
        } unary;
        struct {
            AstBinaryOp op;
            Span op_span;
            AstExpr *a, *b;
        } binary;
        struct {
            AstExpr *first, *end;  // first .. end; NULL where open, which only an index can be
        } range;
        struct {
            AstExpr *from, *to;  // from -> to; only as an argument of a call
        } arrow;
        struct {
            AstExpr *cond, *then, *otherwise;
        } cond;
        AstFn *lambda;  // name absent
        struct {
            AstExpr **items;
            uint32_t count;
        } list;
        struct {
            AstField *fields;
            uint32_t count;
        } record;
        struct {
            AstExpr *base;
            AstField *fields;
            uint32_t count;
        } with;
        struct {
            AstExpr *base;
            AstName name;
        } field;
        struct {
            AstExpr *base;
            AstIndex *items;
            uint32_t count;  // at least 1
        } index;
        struct {
            AstExpr *callee;
            AstArg *args;
            uint32_t count;
        } call;
        struct {
            AstExpr *value;
            AstScopeName name;
        } scope;
    };
};

const char *ast_expr_text(AstExprKind kind);  // "call", for messages
const char *ast_unary_text(AstUnaryOp op);    // "-", "not "
const char *ast_binary_text(AstBinaryOp op);  // "+"
int ast_binary_precedence(AstBinaryOp op);    // see ast.def
