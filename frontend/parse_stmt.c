// parse_stmt.c: statements and blocks. The loop over statements is where the parser recovers.
#include <string.h>

#include "frontend/parser.h"

// binding = NAME "=" expr
static bool parse_binding(Parser *p, AstBinding *out) {
    if (!parser_name(p, "a name", &out->name)) return false;
    if (!parser_expect(p, TOKEN_ASSIGN)) return false;
    out->value = parse_expr(p);
    return out->value;
}

// bindings = ( "dim" | "let" ) binding { "," binding }
static AstStmt *parse_bindings(Parser *p, AstStmt *s) {
    Vec(AstBinding) items = {0};
    parser_take(p);
    do {
        AstBinding binding;
        if (!parse_binding(p, &binding)) return NULL;
        vec_push(p->arena, &items, binding);
    } while (parser_eat(p, TOKEN_COMMA));
    s->bind.items = items.ptr;
    s->bind.count = items.len;
    return s;
}

// update = "update" binding
static AstStmt *parse_update(Parser *p, AstStmt *s) {
    parser_take(p);
    return parse_binding(p, &s->assign) ? s : NULL;
}

// output = NAME [ "=" expr ]         report = output | expr
static bool parse_output(Parser *p, AstStmtKind kind, AstOutput *out) {
    *out = (AstOutput){0};
    const bool named = parser_starts(p, TOKEN_NAME) && parser_peek(p, 1).kind == TOKEN_ASSIGN;
    if (named) {
        out->name = parser_word(p);
        parser_take(p);
    } else if (kind == AST_STMT_OUTPUT && !parser_starts(p, TOKEN_NAME)) {
        return parser_name(p, "the name of the output", &out->name);
    }
    out->value = parse_expr(p);
    if (!out->value || named) return out->value;
    if (out->value->kind == AST_EXPR_NAME) {
        out->name = (AstName){out->value->name, out->value->span};
    } else if (kind == AST_STMT_OUTPUT) {
        diag_error(p->diag, out->value->span, "an output needs a name");
        diag_note(p->diag, out->value->span, "write output NAME = EXPRESSION");
        return false;
    }
    return true;
}

// outputs = "output" output { "," output } | "report" report { "," report }
static AstStmt *parse_outputs(Parser *p, AstStmt *s) {
    Vec(AstOutput) items = {0};
    parser_take(p);
    do {
        AstOutput output;
        if (!parse_output(p, s->kind, &output)) return NULL;
        vec_push(p->arena, &items, output);
    } while (parser_eat(p, TOKEN_COMMA));
    s->outputs.items = items.ptr;
    s->outputs.count = items.len;
    return s;
}

// loss = "loss" expr       return = "return" expr
static AstStmt *parse_value(Parser *p, AstStmt *s) {
    parser_take(p);
    s->value = parse_expr(p);
    return s->value ? s : NULL;
}

// for = "for" NAME "in" expr [ "as" scope_name ] block
static AstStmt *parse_for(Parser *p, AstStmt *s) {
    parser_take(p);
    if (!parser_name(p, "the name of the loop variable", &s->loop.var)) return NULL;
    if (!parser_expect(p, TOKEN_IN)) return NULL;
    const bool outside = p->in.no_scope;
    p->in.no_scope = true;
    s->loop.list = parse_expr(p);
    p->in.no_scope = outside;
    if (!s->loop.list) return NULL;
    if (parser_eat(p, TOKEN_AS) && !parse_scope_name(p, &s->loop.scope)) return NULL;
    return parse_block(p, &s->loop.body) ? s : NULL;
}

// The token at hand is `if`.
static bool parse_arm(Parser *p, AstArm *arm) {
    const Token word = parser_take(p);
    arm->cond = parse_expr(p);
    if (!arm->cond) return false;
    if (!parser_starts(p, TOKEN_THEN)) return parse_block(p, &arm->body);
    parser_unexpected(p, "'{'");
    diag_note(p->diag, parser_token_span(p, word),
              "an if that begins a statement takes blocks");
    return false;
}

// if = "if" expr block { "else" "if" expr block } [ "else" block ]
static AstStmt *parse_if(Parser *p, AstStmt *s) {
    Vec(AstArm) arms = {0};
    for (;;) {
        AstArm arm = {0};
        if (!parse_arm(p, &arm)) return NULL;
        vec_push(p->arena, &arms, arm);
        if (!parser_starts(p, TOKEN_ELSE)) break;
        parser_take(p);
        if (parser_starts(p, TOKEN_IF)) continue;
        s->branch.has_otherwise = true;
        if (!parse_block(p, &s->branch.otherwise)) return NULL;
        break;
    }
    s->branch.arms = arms.ptr;
    s->branch.count = arms.len;
    return s;
}

// fn = "fn" NAME parameters ( "=" expr | block )
static AstStmt *parse_nested_fn(Parser *p, AstStmt *s) {
    const Token word = parser_take(p);
    AstName name;
    if (!parser_name(p, "the name of the function", &name)) return NULL;
    s->fn = parse_fn_rest(p, name, word.start);
    return s->fn ? s : NULL;
}

// ---- Sizes ----

// Items end with a comma or with their line.
static bool parse_size_items(Parser *p, AstSize *size, const Bracket *b) {
    Vec(AstBinding) items = {0};
    p->in.newlines = true;
    while (!parser_starts(p, TOKEN_RBRACE)) {
        AstBinding binding;
        if (!parse_binding(p, &binding)) return false;
        vec_push(p->arena, &items, binding);
        const bool ended = parser_eat(p, TOKEN_COMMA) || parser_starts(p, TOKEN_RBRACE) ||
                           parser_peek(p, 0).newline_before;
        if (ended && !parser_starts(p, TOKEN_END)) continue;
        parser_unexpected(p, "',' or '}'");
        parser_note_open(p, b->open);
        return false;
    }
    p->in.newlines = false;
    size->items = items.ptr;
    size->count = items.len;
    return true;
}

// size = NAME "{" { binding ( "," | NEWLINE ) } "}"
static bool parse_size(Parser *p, AstSize *size) {
    *size = (AstSize){0};
    const uint32_t start = parser_peek(p, 0).start;
    if (!parser_name(p, "the name of a size or '}'", &size->name)) return false;
    Bracket b;
    if (!parser_open(p, TOKEN_LBRACE, &b)) return false;
    if (!parse_size_items(p, size, &b) || !parser_close(p, &b)) return false;
    size->span = parser_span_from(p, start);
    return true;
}

// sizes = "sizes" "{" { size } "}"
static AstStmt *parse_sizes(Parser *p, AstStmt *s) {
    const Token word = parser_take(p);
    if (!p->in.sizes_allowed) {
        diag_error(p->diag, parser_token_span(p, word), "sizes belong directly in a model");
        return NULL;
    }
    Vec(AstSize) items = {0};
    Bracket b;
    if (!parser_open(p, TOKEN_LBRACE, &b)) return NULL;
    while (!parser_starts(p, TOKEN_RBRACE)) {
        AstSize size;
        if (!parse_size(p, &size)) return NULL;
        vec_push(p->arena, &items, size);
    }
    s->sizes.items = items.ptr;
    s->sizes.count = items.len;
    return parser_close(p, &b) ? s : NULL;
}

// ---- Assignments and calls ----

// What to say where a statement should begin: after another one on the same line, it is more
// likely that an operator is missing.
static const char *statement_expected(Parser *p) {
    const bool first = p->at == 0 || parser_peek(p, 0).newline_before ||
                       p->tokens.ptr[p->at - 1].kind == TOKEN_LBRACE ||
                       p->tokens.ptr[p->at - 1].kind == TOKEN_SEMICOLON;
    return first ? "a statement" : "an operator or the end of the statement";
}

static bool is_call(const AstExpr *e) {
    return e->kind == AST_EXPR_CALL || (e->kind == AST_EXPR_SCOPE && is_call(e->scope.value));
}

static AstStmt *unused_value(Parser *p, const AstExpr *e, const char *expected) {
    if (parser_at(p, TOKEN_ASSIGN)) {
        diag_error(p->diag, e->span, "only a name can be assigned to");
    } else if (expected[1] == 'n') {
        diag_error(p->diag, e->span, "expected %s", expected);
    } else {
        diag_error(p->diag, e->span, "the value of this expression is not used");
        if (strchr("-([", p->text.ptr[e->span.start]))
            diag_note(p->diag, e->span,
                      "to go on with an expression, end the line before with the operator");
    }
    return NULL;
}

// simple = NAME "=" expr | call
// A value that nothing uses is a mistake: most often a line that was meant to go on with the
// one before.
static AstStmt *parse_simple(Parser *p, AstStmt *s) {
    if (parser_starts(p, TOKEN_NAME) && parser_peek(p, 1).kind == TOKEN_ASSIGN &&
        !parser_peek(p, 1).newline_before) {
        s->kind = AST_STMT_ASSIGN;
        return parse_binding(p, &s->assign) ? s : NULL;
    }
    const char *expected = statement_expected(p);
    switch ((int)parser_peek(p, 0).kind) {
    case TOKEN_NAME:
    case TOKEN_NUMBER:
    case TOKEN_STRING:
    case TOKEN_LPAREN:
    case TOKEN_LBRACKET:
    case TOKEN_NOT:
    case TOKEN_MINUS: break;
    default: parser_unexpected_token(p, expected); return NULL;
    }
    s->kind = AST_STMT_EXPR;
    s->value = parse_expr(p);
    if (!s->value) return NULL;
    return is_call(s->value) ? s : unused_value(p, s->value, expected);
}

// ---- Blocks ----

static AstStmt *parse_stmt_rule(Parser *p, AstStmt *s) {
    static const struct {
        TokenKind word;
        AstStmtKind kind;
        AstStmt *(*parse)(Parser *p, AstStmt *s);
    } rules[] = {
        {TOKEN_DIM, AST_STMT_DIM, parse_bindings},
        {TOKEN_LET, AST_STMT_LET, parse_bindings},
        {TOKEN_PARAM, AST_STMT_PARAM, parse_tensors},
        {TOKEN_STATE, AST_STMT_STATE, parse_tensors},
        {TOKEN_INPUT, AST_STMT_INPUT, parse_tensors},
        {TOKEN_OUTPUT, AST_STMT_OUTPUT, parse_outputs},
        {TOKEN_REPORT, AST_STMT_REPORT, parse_outputs},
        {TOKEN_LOSS, AST_STMT_LOSS, parse_value},
        {TOKEN_RETURN, AST_STMT_RETURN, parse_value},
        {TOKEN_UPDATE, AST_STMT_UPDATE, parse_update},
        {TOKEN_FOR, AST_STMT_FOR, parse_for},
        {TOKEN_IF, AST_STMT_IF, parse_if},
        {TOKEN_SIZES, AST_STMT_SIZES, parse_sizes},
        {TOKEN_FN, AST_STMT_FN, parse_nested_fn},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!parser_starts(p, rules[i].word)) continue;
        s->kind = rules[i].kind;
        return rules[i].parse(p, s);
    }
    return parse_simple(p, s);
}

// stmt = bindings | tensors | outputs | loss | return | update | for | if | sizes | fn | simple
static AstStmt *parse_stmt(Parser *p) {
    const uint32_t start = parser_peek(p, 0).start;
    AstStmt *s = parse_stmt_rule(p, arena_new(p->arena, AstStmt));
    if (s) s->span = parser_span_from(p, start);
    return s;
}

// block_end: '}'; or where it must have been forgotten
static bool block_ends(Parser *p) {
    const TokenKind kind = parser_peek(p, 0).kind;
    return kind == TOKEN_RBRACE || kind == TOKEN_END || token_ends_blocks(kind);
}

// { ";" | stmt } up to the end of the block.
static void parse_stmts(Parser *p, AstBlock *out) {
    Vec(AstStmt *) items = {0};
    while (!block_ends(p)) {
        if (parser_starts(p, TOKEN_SEMICOLON)) {
            parser_take(p);
            continue;
        }
        const ParserContext in = p->in;
        const uint32_t start = p->at;
        AstStmt *s = parse_stmt(p);
        if (s) {
            vec_push(p->arena, &items, s);
            continue;
        }
        p->in = in;
        parser_recover_stmt(p, start);
    }
    out->items = items.ptr;
    out->count = items.len;
}

static bool unclosed_block(Parser *p, Token open) {
    if (p->unclosed_at != p->at) {
        parser_unexpected_token(p, "'}'");
        parser_note_open(p, open);
    }
    p->unclosed_at = p->at;
    return false;
}

// block = "{" { ";" | stmt } "}"
// The brace may begin a line: no statement does.
static bool parse_braces(Parser *p, bool sizes_allowed, AstBlock *out) {
    const Token open = parser_peek(p, 0);
    if (open.kind != TOKEN_LBRACE) return parser_unexpected(p, "'{'");
    const ParserContext outside = p->in;
    const uint32_t tallest = p->tallest;
    if (!parser_enter(p)) return false;
    parser_take(p);
    p->in.newlines = true;
    p->in.no_scope = false;
    p->in.sizes_allowed = sizes_allowed;
    p->tallest = 0;
    parse_stmts(p, out);
    const uint32_t height = p->tallest + 1;
    p->tallest = tallest;
    p->in = outside;
    if (!parser_starts(p, TOKEN_RBRACE)) return unclosed_block(p, open);
    parser_take(p);
    out->span = parser_span_from(p, open.start);
    return parser_height(p, height, parser_token_span(p, open));
}

bool parse_block(Parser *p, AstBlock *out) { return parse_braces(p, false, out); }

bool parse_model_block(Parser *p, AstBlock *out) { return parse_braces(p, true, out); }
