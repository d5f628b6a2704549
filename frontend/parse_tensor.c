// parse_tensor.c: axis lists, and the statements that declare tensors: param, state, input.
#include "frontend/parser.h"

typedef Vec(AstAxis) AxisVec;

// axis = [ NAME "=" ] expr
static bool parse_axis(Parser *p, AxisVec *out) {
    const uint32_t start = parser_peek(p, 0).start;
    AstAxis axis = {0};
    if (parser_starts(p, TOKEN_NAME) && parser_peek(p, 1).kind == TOKEN_ASSIGN) {
        axis.name = parser_word(p);
        parser_take(p);
    }
    axis.value = parse_expr(p);
    if (!axis.value) return false;
    axis.span = parser_span_from(p, start);
    vec_push(p->arena, out, axis);
    return true;
}

// axis_list = axis { "," axis }
static bool parse_axis_list(Parser *p, AxisVec *out) {
    do
        if (!parse_axis(p, out)) return false;
    while (parser_eat(p, TOKEN_COMMA));
    return true;
}

static bool axes_unfinished(Parser *p, const Bracket *b, const AstAxes *axes) {
    parser_unexpected(p, axes->is_map ? "',' or ']'" : "',', '->' or ']'");
    parser_note_open(p, b->open);
    return false;
}

// axes = "[" [ [ axis_list ";" ] axis_list [ "->" axis_list ] ] "]"
static bool parse_axes(Parser *p, AstAxes *out) {
    Bracket b;
    AxisVec items = {0};
    const uint32_t start = parser_peek(p, 0).start;
    if (!parser_open(p, TOKEN_LBRACKET, &b)) return false;
    if (!parser_starts(p, TOKEN_RBRACKET) && !parse_axis_list(p, &items)) return false;
    if (items.len > 0 && parser_eat(p, TOKEN_SEMICOLON)) {
        out->batch_count = items.len;
        if (!parse_axis_list(p, &items)) return false;
    }
    if (items.len > 0 && parser_eat(p, TOKEN_ARROW)) {
        out->is_map = true;
        out->input_count = items.len - out->batch_count;
        if (!parse_axis_list(p, &items)) return false;
    }
    if (!parser_starts(p, TOKEN_RBRACKET)) return axes_unfinished(p, &b, out);
    out->items = items.ptr;
    out->count = items.len;
    if (!parser_close(p, &b)) return false;
    out->span = parser_span_from(p, start);
    return true;
}

// tags = { "tag" NAME }
static bool parse_tags(Parser *p, AstTensor *t) {
    Vec(AstName) tags = {0};
    while (parser_eat(p, TOKEN_TAG)) {
        AstName tag;
        if (!parser_name(p, "the name of a tag", &tag)) return false;
        vec_push(p->arena, &tags, tag);
    }
    t->tags = tags.ptr;
    t->tag_count = tags.len;
    return true;
}

// tensor = NAME [ axes ] ( [ "=" expr ] tags | ":" expr )
static bool parse_tensor(Parser *p, AstStmtKind kind, AstTensor *t) {
    *t = (AstTensor){0};
    const uint32_t start = parser_peek(p, 0).start;
    if (!parser_name(p, "a name", &t->name)) return false;
    if (parser_at(p, TOKEN_LBRACKET) && !parse_axes(p, &t->axes)) return false;
    if (kind == AST_STMT_INPUT) {
        if (!parser_eat(p, TOKEN_COLON))
            return parser_unexpected(p, "':' and the type of the input");
        t->type = parse_expr(p);
        if (!t->type) return false;
    } else if (parser_eat(p, TOKEN_ASSIGN)) {
        t->init = parse_expr(p);
        if (!t->init) return false;
    }
    if (kind == AST_STMT_PARAM && !parse_tags(p, t)) return false;
    t->span = parser_span_from(p, start);
    return true;
}

// tensors = ( "param" | "state" | "input" ) tensor { "," tensor }
AstStmt *parse_tensors(Parser *p, AstStmt *s) {
    Vec(AstTensor) items = {0};
    parser_take(p);
    do {
        AstTensor tensor;
        if (!parse_tensor(p, s->kind, &tensor)) return NULL;
        vec_push(p->arena, &items, tensor);
    } while (parser_eat(p, TOKEN_COMMA));
    s->tensors.items = items.ptr;
    s->tensors.count = items.len;
    return s;
}
