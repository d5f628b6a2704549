// parse_primary.c: literals, names, brackets, functions and conditionals as values.
#include <math.h>

#include "frontend/parser.h"

// ---- Records ----

// field = WORD ":" expr
static bool parse_one_field(Parser *p, AstField *out) {
    if (!token_is_word(parser_peek(p, 0).kind))
        return parser_unexpected(p, "the name of a field or '}'");
    out->name = parser_word(p);
    if (!parser_expect(p, TOKEN_COLON)) return false;
    out->value = parse_expr(p);
    return out->value;
}

// fields = "{" [ field { "," field } [ "," ] ] "}"
bool parse_fields(Parser *p, AstField **fields, uint32_t *count) {
    Vec(AstField) items = {0};
    Map seen = {0};
    Bracket b;
    if (!parser_open(p, TOKEN_LBRACE, &b)) return false;
    for (bool more = !parser_starts(p, TOKEN_RBRACE); more;) {
        AstField field = {0};
        if (!parse_one_field(p, &field)) return false;
        if (!parser_name_is_new(p, &seen, field.name, "field")) return false;
        if (!parser_more(p, &b, &more)) return false;
        vec_push(p->arena, &items, field);
    }
    *fields = items.ptr;
    *count = items.len;
    return parser_close(p, &b);
}

static AstExpr *parse_record(Parser *p, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_RECORD);
    if (!parse_fields(p, &e->record.fields, &e->record.count)) return NULL;
    return parser_expr_done(p, e, start);
}

// ---- Calls ----

// value = expr [ "->" expr ]
static AstExpr *parse_arg_value(Parser *p) {
    const uint32_t start = parser_peek(p, 0).start;
    AstExpr *from = parse_expr(p);
    if (!from || !parser_eat(p, TOKEN_ARROW)) return from;
    AstExpr *e = parser_expr(p, AST_EXPR_ARROW);
    e->arrow.from = from;
    e->arrow.to = parse_expr(p);
    return e->arrow.to ? parser_expr_done(p, e, start) : NULL;
}

// arg = [ WORD "=" ] value
static bool parse_arg(Parser *p, AstArg *out) {
    *out = (AstArg){0};
    if (token_is_word(parser_peek(p, 0).kind) && parser_peek(p, 1).kind == TOKEN_ASSIGN) {
        out->name = parser_word(p);
        parser_take(p);
    }
    out->value = parse_arg_value(p);
    return out->value;
}

// Positional arguments come first, names are given once.
static bool arg_fits(Parser *p, Map *seen, const AstArg *last, const AstArg *arg) {
    if (arg->name.text.len > 0) return parser_name_is_new(p, seen, arg->name, "argument");
    if (!last || last->name.text.len == 0) return true;
    diag_error(p->diag, arg->value->span, "positional argument after a named one");
    diag_note(p->diag, last->name.span, "'%.*s' is named here", STR_ARG(last->name.text));
    return false;
}

// args = "(" [ arg { "," arg } [ "," ] ] ")"
bool parse_args(Parser *p, AstExpr *call) {
    Vec(AstArg) args = {0};
    Map seen = {0};
    Bracket b;
    if (!parser_open(p, TOKEN_LPAREN, &b)) return false;
    for (bool more = !parser_starts(p, TOKEN_RPAREN); more;) {
        AstArg arg;
        if (!parse_arg(p, &arg)) return false;
        const AstArg *last = args.len ? &args.ptr[args.len - 1] : NULL;
        if (!arg_fits(p, &seen, last, &arg) || !parser_more(p, &b, &more)) return false;
        vec_push(p->arena, &args, arg);
    }
    call->call.args = args.ptr;
    call->call.count = args.len;
    return parser_close(p, &b);
}

// ---- The rest ----

static AstExpr *parse_number(Parser *p, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_NUMBER);
    const Str text = parser_token_text(p, parser_take(p));
    e->number.is_integer = lexer_number(text, &e->number.value, &e->number.integer);
    return parser_expr_done(p, e, start);
}

static AstExpr *parse_string(Parser *p, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_STRING);
    e->string = lexer_string(p->arena, parser_token_text(p, parser_take(p)));
    return parser_expr_done(p, e, start);
}

static AstExpr *parse_name(Parser *p, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_NAME);
    e->name = parser_token_text(p, parser_take(p));
    return parser_expr_done(p, e, start);
}

// true, false, none, inf
static AstExpr *parse_constant(Parser *p, uint32_t start) {
    const TokenKind kind = parser_take(p).kind;
    AstExpr *e = parser_expr(p, kind == TOKEN_NONE  ? AST_EXPR_NONE
                                : kind == TOKEN_INF ? AST_EXPR_NUMBER
                                                    : AST_EXPR_BOOL);
    if (kind == TOKEN_INF) e->number.value = (double)INFINITY;
    if (kind == TOKEN_TRUE) e->boolean = true;
    return parser_expr_done(p, e, start);
}

// list = "[" [ expr { "," expr } [ "," ] ] "]"
static AstExpr *parse_list(Parser *p, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_LIST);
    Vec(AstExpr *) items = {0};
    Bracket b;
    if (!parser_open(p, TOKEN_LBRACKET, &b)) return NULL;
    for (bool more = !parser_starts(p, TOKEN_RBRACKET); more;) {
        AstExpr *item = parse_expr(p);
        if (!item || !parser_more(p, &b, &more)) return NULL;
        vec_push(p->arena, &items, item);
    }
    e->list.items = items.ptr;
    e->list.count = items.len;
    return parser_close(p, &b) ? parser_expr_done(p, e, start) : NULL;
}

static AstExpr *parse_parenthesised(Parser *p) {
    Bracket b;
    if (!parser_open(p, TOKEN_LPAREN, &b)) return NULL;
    AstExpr *e = parse_expr(p);
    return e && parser_close(p, &b) ? e : NULL;
}

// conditional = "if" expr "then" expr "else" expr
// `then` and `else` may begin a line: no statement does.
static AstExpr *parse_conditional(Parser *p, uint32_t start) {
    const Token word = parser_take(p);
    AstExpr *e = parser_expr(p, AST_EXPR_IF);
    e->cond.cond = parse_expr(p);
    if (!e->cond.cond) return NULL;
    if (!parser_starts(p, TOKEN_THEN)) {
        parser_unexpected(p, "'then'");
        return NULL;
    }
    parser_take(p);
    e->cond.then = parse_expr(p);
    if (!e->cond.then) return NULL;
    if (!parser_starts(p, TOKEN_ELSE)) {
        parser_unexpected(p, "'else'");
        diag_note(p->diag, parser_token_span(p, word), "an if that gives a value has an else");
        return NULL;
    }
    parser_take(p);
    e->cond.otherwise = parse_expr(p);
    return e->cond.otherwise ? parser_expr_done(p, e, start) : NULL;
}

// lambda = "fn" parameters ( "=" expr | block )
static AstExpr *parse_lambda(Parser *p, uint32_t start) {
    parser_take(p);
    AstExpr *e = parser_expr(p, AST_EXPR_LAMBDA);
    const uint32_t outside = p->tallest;
    p->tallest = 0;
    e->lambda = parse_fn_rest(p, (AstName){0}, start);
    e->height = p->tallest;
    if (outside > p->tallest) p->tallest = outside;
    return e->lambda ? parser_expr_done(p, e, start) : NULL;
}

// primary = NUMBER | STRING | NAME | "true" | "false" | "none" | "inf"
//         | "(" expr ")" | list | record | conditional | lambda
AstExpr *parse_primary(Parser *p) {
    const Token t = parser_peek(p, 0);
    switch ((int)t.kind) {
    case TOKEN_NUMBER: return parse_number(p, t.start);
    case TOKEN_STRING: return parse_string(p, t.start);
    case TOKEN_NAME: return parse_name(p, t.start);
    case TOKEN_TRUE:
    case TOKEN_FALSE:
    case TOKEN_NONE:
    case TOKEN_INF: return parse_constant(p, t.start);
    case TOKEN_LPAREN: return parse_parenthesised(p);
    case TOKEN_LBRACKET: return parse_list(p, t.start);
    case TOKEN_LBRACE: return parse_record(p, t.start);
    case TOKEN_IF: return parse_conditional(p, t.start);
    case TOKEN_FN: return parse_lambda(p, t.start);
    case TOKEN_NOT:
        diag_error(p->diag, parser_token_span(p, t),
                   "'not' after an operator needs parentheses");
        return NULL;
    default: parser_unexpected(p, "an expression"); return NULL;
    }
}
