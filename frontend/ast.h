// ast.h: the syntax tree of a module, as written. Names are not resolved and nothing is
// evaluated. Every node lives in the arena given to source_to_ast, and so do the Str texts;
// every node knows its place.
//
//     AstProgram -- AstModule -- AstDecl -- AstFn    -- AstBlock -- AstStmt -- AstExpr
//                                        \- AstModel -/
//
// The parser bounds the height of the tree (AST_MAX_HEIGHT), so that a walk over it may
// recurse.
#pragma once

#include "frontend/ast_expr.h"

typedef struct AstStmt AstStmt;
typedef struct AstModule AstModule;

// Statements in source order. The span includes the braces.
typedef struct {
    AstStmt **items;
    uint32_t count;
    Span span;
} AstBlock;

// ---- Statements ----

typedef enum {
#define AST_STMT(kind, text) AST_STMT_##kind,
#include "frontend/ast.def"
    AST_STMT_COUNT
} AstStmtKind;

// `name = value`.
typedef struct {
    AstName name;
    AstExpr *value;
} AstBinding;

// One item of an axis list: an expression that names an axis or several (`d`, `dk + dr`,
// `axes(p)`), or a fresh axis `name = value` of that extent.
typedef struct {
    AstName name;  // absent, or the fresh axis
    AstExpr *value;
    Span span;
} AstAxis;

// [batch...; inputs... -> outputs...]: items in source order. The first batch_count are before
// the `;`. Of the rest, the first input_count are before the arrow if is_map; without an arrow
// input_count is 0.
typedef struct {
    AstAxis *items;
    uint32_t count, batch_count, input_count;
    bool is_map;
    Span span;  // with the brackets; file 0 when no brackets were written, and then count is 0
} AstAxes;

// One tensor of a param, state or input statement.
typedef struct {
    AstName name;
    AstAxes axes;
    AstExpr *init;  // param, state: NULL if not written. input: NULL
    AstExpr *type;  // input: the expression after the colon. param, state: NULL
    AstName *tags;  // param only
    uint32_t tag_count;
    Span span;
} AstTensor;

// One output or report. `output y` has the name y and the value NAME y. A report of another
// expression than a name (`report sum(x, d)`) has no name.
typedef struct {
    AstName name;
    AstExpr *value;
} AstOutput;

typedef struct {
    AstExpr *cond;
    AstBlock body;
} AstArm;

// One named setting: tiny { d = 128, layers = 4 }.
typedef struct {
    AstName name;
    AstBinding *items;
    uint32_t count;
    Span span;
} AstSize;

struct AstStmt {
    AstStmtKind kind;
    Span span;
    union {
        struct {  // DIM, LET
            AstBinding *items;
            uint32_t count;
        } bind;
        AstBinding assign;  // ASSIGN, UPDATE
        struct {            // PARAM, STATE, INPUT
            AstTensor *items;
            uint32_t count;
        } tensors;
        struct {  // OUTPUT, REPORT
            AstOutput *items;
            uint32_t count;
        } outputs;
        AstExpr *value;  // LOSS, RETURN, EXPR; EXPR is a CALL, or a SCOPE around one
        struct {         // FOR: for var in list as scope { body }
            AstName var;
            AstExpr *list;  // often a RANGE
            AstScopeName scope;
            AstBlock body;
        } loop;
        struct {  // IF: if, else if ..., else
            AstArm *arms;
            uint32_t count;  // at least 1
            AstBlock otherwise;
            bool has_otherwise;
        } branch;
        AstFn *fn;  // FN: a named function inside a block
        struct {    // SIZES: only directly in a model
            AstSize *items;
            uint32_t count;
        } sizes;
    };
};

// ---- Declarations ----

typedef struct {
    AstName name;
    AstExpr *fallback;  // the default value; NULL if the argument is required
} AstParameter;

// A function: declared, nested, lambda, or optimizer. Either `= value` or `{ body }`. Parameter
// names are distinct, and those with a default come last.
struct AstFn {
    AstName name;  // absent for a lambda
    AstParameter *params;
    uint32_t param_count;
    AstExpr *value;  // NULL if the function has a body
    AstBlock body;
    Span span;  // from `fn` or `optimizer` to the end
    Span head;  // without value or body: the place for "declared here"
};

typedef struct {
    AstName name;
    AstBlock body;
    Span span;
} AstModel;

typedef struct {
    Str path;                 // "std.norm"
    const AstModule *module;  // set by modules_load
    Span span;                // of the path
} AstImport;

typedef enum { AST_DECL_IMPORT, AST_DECL_FN, AST_DECL_OPTIMIZER, AST_DECL_MODEL } AstDeclKind;

typedef struct {
    AstDeclKind kind;
    Span span;
    union {
        AstImport import;
        AstFn *fn;  // FN, OPTIMIZER
        AstModel *model;
    };
} AstDecl;

// One file.
struct AstModule {
    uint32_t file;
    Str name;  // "std.norm"; for the root module the path of its file. Set by modules_load
    AstDecl *decls;
    uint32_t decl_count;
};

// Modules in the order in which they can be used: each after those that it imports. The last is
// the root.
typedef struct {
    AstModule **modules;
    uint32_t module_count;
    const AstModule *root;
} AstProgram;

const char *ast_stmt_text(AstStmtKind kind);  // "param"

// Canonical source text: one statement a line, four spaces a level, only the parentheses that
// are needed, no comments. Parsing it gives a tree that prints the same (text that is nested up
// to the parser's limit may gain parentheses that are beyond it).
void ast_print(const AstModule *module, StrBuf *out);
void ast_print_expr(const AstExpr *expr, StrBuf *out);
