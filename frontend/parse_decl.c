// parse_decl.c: what stands at the top level of a file, and functions wherever they stand.
#include "frontend/parser.h"

// parameter = NAME [ "=" expr ]
static bool parse_parameter(Parser *p, AstParameter *out) {
    *out = (AstParameter){0};
    if (!parser_name(p, "the name of a parameter or ')'", &out->name)) return false;
    if (!parser_eat(p, TOKEN_ASSIGN)) return true;
    out->fallback = parse_expr(p);
    return out->fallback;
}

static bool parameter_fits(Parser *p, Map *seen, const AstParameter *last,
                           AstParameter *param) {
    if (!parser_name_is_new(p, seen, param->name, "parameter")) return false;
    if (!last || !last->fallback || param->fallback) return true;
    diag_error(p->diag, param->name.span, "parameter '%.*s' needs a default",
               STR_ARG(param->name.text));
    diag_note(p->diag, last->name.span, "since '%.*s' before it has one",
              STR_ARG(last->name.text));
    return false;
}

// parameters = "(" [ parameter { "," parameter } [ "," ] ] ")"
static bool parse_parameters(Parser *p, AstFn *fn) {
    Vec(AstParameter) params = {0};
    Map seen = {0};
    Bracket b;
    if (!parser_open(p, TOKEN_LPAREN, &b)) return false;
    for (bool more = !parser_starts(p, TOKEN_RPAREN); more;) {
        AstParameter param;
        const AstParameter *last = params.len ? &params.ptr[params.len - 1] : NULL;
        if (!parse_parameter(p, &param)) return false;
        if (!parameter_fits(p, &seen, last, &param) || !parser_more(p, &b, &more)) return false;
        vec_push(p->arena, &params, param);
    }
    fn->params = params.ptr;
    fn->param_count = params.len;
    return parser_close(p, &b);
}

// fn_rest = parameters ( "=" expr | block )
AstFn *parse_fn_rest(Parser *p, AstName name, uint32_t start) {
    AstFn *fn = arena_new(p->arena, AstFn);
    fn->name = name;
    if (!parse_parameters(p, fn)) return NULL;
    fn->head = parser_span_from(p, start);
    if (parser_eat(p, TOKEN_ASSIGN)) {
        fn->value = parse_expr(p);
        if (!fn->value) return NULL;
    } else if (!parser_starts(p, TOKEN_LBRACE)) {
        parser_unexpected(p, "'=' or '{'");
        return NULL;
    } else if (!parse_block(p, &fn->body)) {
        return NULL;
    }
    fn->span = parser_span_from(p, start);
    return fn;
}

// fn = "fn" NAME fn_rest
static bool parse_fn(Parser *p, AstDecl *d) {
    AstName name;
    const Token word = parser_take(p);
    if (!parser_name(p, "the name of the function", &name)) return false;
    d->fn = parse_fn_rest(p, name, word.start);
    return d->fn;
}

// optimizer = "optimizer" NAME parameters block
static bool parse_optimizer(Parser *p, AstDecl *d) {
    AstName name;
    const Token word = parser_take(p);
    if (!parser_name(p, "the name of the optimizer", &name)) return false;
    d->fn = parse_fn_rest(p, name, word.start);
    if (!d->fn || !d->fn->value) return d->fn;
    return diag_error(p->diag, d->fn->head, "an optimizer has a body in braces");
}

// model = "model" NAME block
static bool parse_model(Parser *p, AstDecl *d) {
    d->model = arena_new(p->arena, AstModel);
    const Token word = parser_take(p);
    if (!parser_name(p, "the name of the model", &d->model->name)) return false;
    if (!parse_model_block(p, &d->model->body)) return false;
    d->model->span = parser_span_from(p, word.start);
    return true;
}

// import = "import" NAME { "." NAME }
static bool parse_import(Parser *p, AstDecl *d) {
    AstName part;
    StrBuf path = {0};
    parser_take(p);
    const uint32_t start = parser_peek(p, 0).start;
    bool ok = parser_name(p, "the name of a module", &part);
    while (ok) {
        strbuf_add(&path, part.text);
        if (!parser_eat(p, TOKEN_DOT)) break;
        strbuf_addc(&path, '.');
        ok = parser_name(p, "the name of a module after '.'", &part);
    }
    d->import.path = str_copy(p->arena, strbuf_view(&path));
    d->import.span = parser_span_from(p, start);
    strbuf_release(&path);
    return ok;
}

static bool decl_ended(Parser *p) {
    const Token t = parser_peek(p, 0);
    if (t.newline_before || t.kind == TOKEN_END || t.kind == TOKEN_SEMICOLON) return true;
    return parser_unexpected_token(p, "the end of the line");
}

// decl = import | fn | optimizer | model
static bool parse_decl(Parser *p, AstDecl *d) {
    static const struct {
        TokenKind word;
        AstDeclKind kind;
        bool (*parse)(Parser *p, AstDecl *d);
    } rules[] = {
        {TOKEN_IMPORT, AST_DECL_IMPORT, parse_import},
        {TOKEN_FN, AST_DECL_FN, parse_fn},
        {TOKEN_OPTIMIZER, AST_DECL_OPTIMIZER, parse_optimizer},
        {TOKEN_MODEL, AST_DECL_MODEL, parse_model},
    };
    const uint32_t start = parser_peek(p, 0).start;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!parser_starts(p, rules[i].word)) continue;
        *d = (AstDecl){.kind = rules[i].kind};
        if (!rules[i].parse(p, d)) return false;
        d->span = parser_span_from(p, start);
        return decl_ended(p);
    }
    return parser_unexpected_token(p, "'import', 'fn', 'optimizer' or 'model'");
}

// module = { ";" | decl }
AstModule *parse_module(Parser *p) {
    AstModule *module = arena_new(p->arena, AstModule);
    Vec(AstDecl) decls = {0};
    const ParserContext in = p->in;
    while (!parser_starts(p, TOKEN_END)) {
        AstDecl decl;
        const uint32_t start = p->at;
        if (parser_starts(p, TOKEN_SEMICOLON)) {
            parser_take(p);
        } else if (parse_decl(p, &decl)) {
            vec_push(p->arena, &decls, decl);
        } else {
            p->in = in;
            parser_recover_decl(p, start);
        }
    }
    module->file = p->file;
    module->decls = decls.ptr;
    module->decl_count = decls.len;
    return module;
}
