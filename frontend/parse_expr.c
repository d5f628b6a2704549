// parse_expr.c: operators and what follows an operand; by precedence climbing, with the
// precedences of ast.def.
#include "frontend/parser.h"

enum {
    PRECEDENCE_LOWEST = 1,
    PRECEDENCE_NOT = 3,
    PRECEDENCE_COMPARISON = 4,
    PRECEDENCE_RANGE = 5,
};

static AstExpr *parse_binary(Parser *p, int lowest);
static AstExpr *parse_unary(Parser *p);

AstExpr *parser_expr(Parser *p, AstExprKind kind) {
    AstExpr *e = arena_new(p->arena, AstExpr);
    e->kind = kind;
    return e;
}

static uint32_t higher(uint32_t height, const AstExpr *e) {
    return e && e->height > height ? e->height : height;
}

static uint32_t fields_height(const AstField *fields, uint32_t count) {
    uint32_t h = 0;
    for (uint32_t i = 0; i < count; i++)
        h = higher(h, fields[i].value);
    return h;
}

static uint32_t list_height(const AstExpr *e) {
    uint32_t h = 0;
    for (uint32_t i = 0; i < e->list.count; i++)
        h = higher(h, e->list.items[i]);
    return h;
}

static uint32_t index_height(const AstExpr *e) {
    uint32_t h = e->index.base->height;
    for (uint32_t i = 0; i < e->index.count; i++)
        h = higher(higher(h, e->index.items[i].axis), e->index.items[i].value);
    return h;
}

static uint32_t call_height(const AstExpr *e) {
    uint32_t h = e->call.callee->height;
    for (uint32_t i = 0; i < e->call.count; i++)
        h = higher(h, e->call.args[i].value);
    return h;
}

// Of the highest child.
static uint32_t children_height(const AstExpr *e) {
    switch (e->kind) {
    case AST_EXPR_NUMBER:
    case AST_EXPR_STRING:
    case AST_EXPR_BOOL:
    case AST_EXPR_NONE:
    case AST_EXPR_NAME: return 0;
    case AST_EXPR_UNARY: return e->unary.x->height;
    case AST_EXPR_BINARY: return higher(e->binary.a->height, e->binary.b);
    case AST_EXPR_RANGE: return higher(higher(0, e->range.first), e->range.end);
    case AST_EXPR_ARROW: return higher(e->arrow.from->height, e->arrow.to);
    case AST_EXPR_IF:
        return higher(higher(e->cond.cond->height, e->cond.then), e->cond.otherwise);
    case AST_EXPR_LAMBDA: return e->height;  // set by parse_primary from the function's body
    case AST_EXPR_LIST: return list_height(e);
    case AST_EXPR_RECORD: return fields_height(e->record.fields, e->record.count);
    case AST_EXPR_WITH:
        return higher(fields_height(e->with.fields, e->with.count), e->with.base);
    case AST_EXPR_FIELD: return e->field.base->height;
    case AST_EXPR_INDEX: return index_height(e);
    case AST_EXPR_CALL: return call_height(e);
    case AST_EXPR_SCOPE: return higher(e->scope.value->height, e->scope.name.expr);
    case AST_EXPR_COUNT: break;
    }
    return 0;
}

AstExpr *parser_expr_done(Parser *p, AstExpr *e, uint32_t start) {
    e->span = parser_span_from(p, start);
    e->height = 1 + children_height(e);
    return parser_height(p, e->height, e->span) ? e : NULL;
}

// ---- What follows an operand ----

// scope_name = NAME | STRING | "(" expr ")"
bool parse_scope_name(Parser *p, AstScopeName *out) {
    *out = (AstScopeName){0};
    if (parser_at(p, TOKEN_NAME)) {
        out->text = parser_word(p);
        return true;
    }
    if (parser_at(p, TOKEN_STRING)) {
        const Token t = parser_take(p);
        out->text.text = lexer_string(p->arena, parser_token_text(p, t));
        out->text.span = parser_token_span(p, t);
        out->quoted = true;
        if (out->text.text.len > 0) return true;
        return diag_error(p->diag, out->text.span, "a scope's name cannot be empty");
    }
    if (!parser_at(p, TOKEN_LPAREN))
        return parser_unexpected(p, "a name, a string or '(' after 'as'");
    Bracket b;
    if (!parser_open(p, TOKEN_LPAREN, &b)) return false;
    out->expr = parse_expr(p);
    return out->expr && parser_close(p, &b);
}

// index_item = expr | expr ":" expr, where a position may also be a range with open ends: "..",
// expr ".."
static bool parse_index_value(Parser *p, AstExpr **out) {
    const uint32_t start = parser_peek(p, 0).start;
    AstExpr *first = NULL;
    if (!parser_eat(p, TOKEN_RANGE)) {
        *out = first = parse_expr(p);
        if (!first || !parser_eat(p, TOKEN_RANGE)) return first;
    }
    AstExpr *range = parser_expr(p, AST_EXPR_RANGE);
    range->range.first = first;
    if (!parser_starts(p, TOKEN_RBRACKET) && !parser_starts(p, TOKEN_COMMA)) {
        range->range.end = parse_binary(p, PRECEDENCE_RANGE + 1);
        if (!range->range.end) return false;
    }
    *out = parser_expr_done(p, range, start);
    return true;
}

static bool parse_index_item(Parser *p, AstIndex *out) {
    *out = (AstIndex){0};
    if (!parse_index_value(p, &out->value)) return false;
    if (!parser_eat(p, TOKEN_COLON)) return true;
    out->axis = out->value;
    if (out->axis->kind == AST_EXPR_RANGE)
        return diag_error(p->diag, out->axis->span, "an axis stands before ':', not a range");
    return parse_index_value(p, &out->value);
}

// index = "[" index_item { "," index_item } "]"
static AstExpr *parse_index(Parser *p, AstExpr *base, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_INDEX);
    e->index.base = base;
    Vec(AstIndex) items = {0};
    Bracket b;
    if (!parser_open(p, TOKEN_LBRACKET, &b)) return NULL;
    const AstExpr *plain = NULL;
    for (bool more = true; more;) {
        AstIndex item;
        if (!parse_index_item(p, &item) || !parser_more(p, &b, &more)) return NULL;
        if (!item.axis) plain = item.value;
        vec_push(p->arena, &items, item);
    }
    if (!parser_close(p, &b)) return NULL;
    if (plain && items.len > 1) {
        diag_error(p->diag, plain->span, "a position among several must name its axis");
        diag_note(p->diag, plain->span, "write axis: position");
        return NULL;
    }
    e->index.items = items.ptr;
    e->index.count = items.len;
    return parser_expr_done(p, e, start);
}

static AstExpr *parse_call(Parser *p, AstExpr *callee, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_CALL);
    e->call.callee = callee;
    return parse_args(p, e) ? parser_expr_done(p, e, start) : NULL;
}

static AstExpr *parse_field(Parser *p, AstExpr *base, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_FIELD);
    e->field.base = base;
    parser_take(p);
    if (!parser_at(p, parser_peek(p, 0).kind) || !token_is_word(parser_peek(p, 0).kind)) {
        parser_unexpected(p, "the name of a field after '.'");
        return NULL;
    }
    e->field.name = parser_word(p);
    return parser_expr_done(p, e, start);
}

static AstExpr *parse_with(Parser *p, AstExpr *base, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_WITH);
    e->with.base = base;
    parser_take(p);
    if (!parse_fields(p, &e->with.fields, &e->with.count)) return NULL;
    return parser_expr_done(p, e, start);
}

static AstExpr *parse_scope(Parser *p, AstExpr *value, uint32_t start) {
    AstExpr *e = parser_expr(p, AST_EXPR_SCOPE);
    e->scope.value = value;
    parser_take(p);
    return parse_scope_name(p, &e->scope.name) ? parser_expr_done(p, e, start) : NULL;
}

// postfix = primary { "(" args ")" | index | "." WORD | "with" fields } [ "as" scope_name ]
static AstExpr *parse_postfix(Parser *p) {
    const uint32_t start = parser_peek(p, 0).start;
    AstExpr *e = parse_primary(p);
    while (e) {
        if (parser_at(p, TOKEN_LPAREN))
            e = parse_call(p, e, start);
        else if (parser_at(p, TOKEN_LBRACKET))
            e = parse_index(p, e, start);
        else if (parser_at(p, TOKEN_DOT))
            e = parse_field(p, e, start);
        else if (parser_at(p, TOKEN_WITH))
            e = parse_with(p, e, start);
        else
            break;
    }
    if (e && !p->in.no_scope && parser_at(p, TOKEN_AS)) return parse_scope(p, e, start);
    return e;
}

// ---- Operators ----

static bool binary_at(Parser *p, AstBinaryOp *op) {
#define AST_BINARY(kind, token, text, precedence) \
    if (parser_at(p, TOKEN_##token)) {            \
        *op = AST_BINARY_##kind;                  \
        return true;                              \
    }
#include "frontend/ast.def"
    return false;
}

static AstExpr *binary_new(Parser *p, AstBinaryOp op, AstExpr *a) {
    AstExpr *e = parser_expr(p, AST_EXPR_BINARY);
    e->binary.op = op;
    e->binary.a = a;
    e->binary.op_span = parser_token_span(p, parser_take(p));
    return e;
}

// power = postfix [ "^" unary ]
static AstExpr *parse_power(Parser *p) {
    const uint32_t start = parser_peek(p, 0).start;
    AstExpr *base = parse_postfix(p);
    if (!base || !parser_at(p, TOKEN_CARET)) return base;
    AstExpr *e = binary_new(p, AST_BINARY_POW, base);
    e->binary.b = parse_unary(p);
    return e->binary.b ? parser_expr_done(p, e, start) : NULL;
}

static AstExpr *parse_prefix(Parser *p, AstUnaryOp op) {
    const uint32_t start = parser_take(p).start;
    AstExpr *e = parser_expr(p, AST_EXPR_UNARY);
    e->unary.op = op;
    e->unary.x = op == AST_UNARY_NOT ? parse_binary(p, PRECEDENCE_NOT) : parse_unary(p);
    return e->unary.x ? parser_expr_done(p, e, start) : NULL;
}

// unary = "-" unary | power
static AstExpr *parse_unary(Parser *p) {
    if (!parser_enter(p)) return NULL;
    AstExpr *e =
        parser_starts(p, TOKEN_MINUS) ? parse_prefix(p, AST_UNARY_NEG) : parse_power(p);
    parser_leave(p);
    return e;
}

// operand = { "not" } unary. It is looser than what stands before it, unless that is `and`,
// `or` or nothing: parse_primary reports the others.
static AstExpr *parse_operand(Parser *p, int lowest) {
    if (!parser_starts(p, TOKEN_NOT) || lowest > PRECEDENCE_NOT) return parse_unary(p);
    if (!parser_enter(p)) return NULL;
    AstExpr *e = parse_prefix(p, AST_UNARY_NOT);
    parser_leave(p);
    return e;
}

static AstExpr *no_chain(Parser *p, const char *what, const char *note) {
    const Span at = parser_token_span(p, parser_peek(p, 0));
    diag_error(p->diag, at, "%s do not chain", what);
    diag_note(p->diag, at, "%s", note);
    return NULL;
}

// range = sum [ ".." sum ]. An open end, which only an index has, is left to parse_index_value.
static AstExpr *parse_range(Parser *p, AstExpr *first, uint32_t start) {
    parser_take(p);
    AstExpr *e = parser_expr(p, AST_EXPR_RANGE);
    e->range.first = first;
    e->range.end = parse_binary(p, PRECEDENCE_RANGE + 1);
    if (!e->range.end) return NULL;
    if (parser_at(p, TOKEN_RANGE)) return no_chain(p, "ranges", "a range is first .. end");
    return parser_expr_done(p, e, start);
}

static bool range_at(Parser *p) {
    if (!parser_at(p, TOKEN_RANGE)) return false;
    const TokenKind next = parser_peek(p, 1).kind;
    return next != TOKEN_RBRACKET && next != TOKEN_COMMA;
}

static AstExpr *parse_rest(Parser *p, AstExpr *a, AstBinaryOp op, uint32_t start) {
    const int precedence = ast_binary_precedence(op);
    AstExpr *e = binary_new(p, op, a);
    e->binary.b = parse_binary(p, precedence + 1);
    if (!e->binary.b) return NULL;
    AstBinaryOp next;
    if (precedence == PRECEDENCE_COMPARISON && binary_at(p, &next) &&
        ast_binary_precedence(next) == PRECEDENCE_COMPARISON)
        return no_chain(p, "comparisons", "write 'a < b and b < c'");
    return parser_expr_done(p, e, start);
}

// binary = operand { OPERATOR operand }, for operators of precedence `lowest` and higher.
static AstExpr *parse_binary(Parser *p, int lowest) {
    const uint32_t start = parser_peek(p, 0).start;
    AstExpr *e = parse_operand(p, lowest);
    AstBinaryOp op;
    while (e) {
        if (lowest <= PRECEDENCE_RANGE && range_at(p))
            e = parse_range(p, e, start);
        else if (binary_at(p, &op) && ast_binary_precedence(op) >= lowest)
            e = parse_rest(p, e, op, start);
        else
            break;
    }
    return e;
}

AstExpr *parse_expr(Parser *p) { return parse_binary(p, PRECEDENCE_LOWEST); }
