// ast_print_expr.c: expressions, with the parentheses that their precedence asks for and no
// more.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "frontend/ast_print.h"

// How tightly an expression holds together, on the scale of ast.def.
enum {
    HOLDS_OPEN = 0,  // if, fn: reach as far to the right as they can
    HOLDS_NOT = 3,
    HOLDS_COMPARISON = 4,
    HOLDS_RANGE = 5,
    HOLDS_MINUS = 8,
    HOLDS_POWER = 9,
    HOLDS_SCOPE = 10,
    HOLDS_POSTFIX = 11,
    HOLDS_PRIMARY = 12,
};

static int holds(const AstExpr *e) {
    switch (e->kind) {
    case AST_EXPR_IF:
    case AST_EXPR_LAMBDA:
    case AST_EXPR_ARROW: return HOLDS_OPEN;
    case AST_EXPR_UNARY: return e->unary.op == AST_UNARY_NOT ? HOLDS_NOT : HOLDS_MINUS;
    case AST_EXPR_BINARY: return ast_binary_precedence(e->binary.op);
    case AST_EXPR_RANGE: return HOLDS_RANGE;
    case AST_EXPR_SCOPE: return HOLDS_SCOPE;
    case AST_EXPR_WITH:
    case AST_EXPR_FIELD:
    case AST_EXPR_INDEX:
    case AST_EXPR_CALL: return HOLDS_POSTFIX;
    case AST_EXPR_NUMBER:
    case AST_EXPR_STRING:
    case AST_EXPR_BOOL:
    case AST_EXPR_NONE:
    case AST_EXPR_NAME:
    case AST_EXPR_LIST:
    case AST_EXPR_RECORD:
    case AST_EXPR_COUNT: break;
    }
    return HOLDS_PRIMARY;
}

static void print_parenthesised(AstPrinter *p, const AstExpr *e) {
    strbuf_addc(p->out, '(');
    print_expr(p, e);
    strbuf_addc(p->out, ')');
}

static void print_at_least(AstPrinter *p, const AstExpr *e, int lowest) {
    if (holds(e) < lowest)
        print_parenthesised(p, e);
    else
        print_expr(p, e);
}

// What a postfix follows. A record there could be read as a block where a statement begins.
static void print_base(AstPrinter *p, const AstExpr *e) {
    if (e->kind == AST_EXPR_RECORD)
        print_parenthesised(p, e);
    else
        print_at_least(p, e, HOLDS_POSTFIX);
}

static void print_number(AstPrinter *p, const AstExpr *e) {
    if (e->number.is_integer) {
        strbuf_addf(p->out, "%" PRId64, e->number.integer);
        return;
    }
    const size_t start = p->out->len;
    strbuf_add_double(p->out, e->number.value);
    // It must not read back as an integer.
    if (isfinite(e->number.value) && !strpbrk(p->out->ptr + start, ".e"))
        strbuf_addz(p->out, ".0");
}

static void print_string(AstPrinter *p, Str s) {
    strbuf_addc(p->out, '"');
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '\n': strbuf_addz(p->out, "\\n"); break;
        case '\t': strbuf_addz(p->out, "\\t"); break;
        case '"': strbuf_addz(p->out, "\\\""); break;
        case '\\': strbuf_addz(p->out, "\\\\"); break;
        default: strbuf_addc(p->out, s.ptr[i]);
        }
    }
    strbuf_addc(p->out, '"');
}

static void print_binary(AstPrinter *p, const AstExpr *e) {
    const int own = ast_binary_precedence(e->binary.op);
    const bool power = e->binary.op == AST_BINARY_POW;
    const bool chains = !power && own != HOLDS_COMPARISON;
    print_at_least(p, e->binary.a, chains ? own : own + 1);
    strbuf_addf(p->out, " %s ", ast_binary_text(e->binary.op));
    // The right side of a power is a unary: it may begin with a minus, or be another power.
    print_at_least(p, e->binary.b, power ? HOLDS_MINUS : own + 1);
}

static void print_range(AstPrinter *p, const AstExpr *e) {
    const bool closed = e->range.first && e->range.end;
    if (e->range.first) print_at_least(p, e->range.first, HOLDS_RANGE + 1);
    strbuf_addz(p->out, closed ? " .. " : "..");
    if (e->range.end) print_at_least(p, e->range.end, HOLDS_RANGE + 1);
}

static void print_conditional(AstPrinter *p, const AstExpr *e) {
    strbuf_addz(p->out, "if ");
    print_expr(p, e->cond.cond);
    strbuf_addz(p->out, " then ");
    print_expr(p, e->cond.then);
    strbuf_addz(p->out, " else ");
    print_expr(p, e->cond.otherwise);
}

static void print_list(AstPrinter *p, const AstExpr *e) {
    strbuf_addc(p->out, '[');
    for (uint32_t i = 0; i < e->list.count; i++) {
        if (i > 0) strbuf_addz(p->out, ", ");
        print_expr(p, e->list.items[i]);
    }
    strbuf_addc(p->out, ']');
}

// Short records stand on one line; one with a function or a record in it has a line a field.
static bool fields_are_plain(const AstField *fields, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (fields[i].value->kind == AST_EXPR_LAMBDA ||
            fields[i].value->kind == AST_EXPR_RECORD)
            return false;
    return true;
}

static void print_fields(AstPrinter *p, const AstField *fields, uint32_t count) {
    if (count == 0) {
        strbuf_addz(p->out, "{}");
        return;
    }
    const bool plain = fields_are_plain(fields, count);
    strbuf_addz(p->out, plain ? "{ " : "{");
    p->indent++;
    for (uint32_t i = 0; i < count; i++) {
        if (!plain) print_line(p);
        print_word(p, fields[i].name.text);
        strbuf_addz(p->out, ": ");
        print_expr(p, fields[i].value);
        if (i + 1 < count) strbuf_addz(p->out, plain ? ", " : ",");
    }
    p->indent--;
    if (!plain) print_line(p);
    strbuf_addz(p->out, plain ? " }" : "}");
}

static void print_index(AstPrinter *p, const AstExpr *e) {
    print_base(p, e->index.base);
    strbuf_addc(p->out, '[');
    for (uint32_t i = 0; i < e->index.count; i++) {
        const AstIndex *item = &e->index.items[i];
        if (i > 0) strbuf_addz(p->out, ", ");
        if (item->axis) {
            print_expr(p, item->axis);
            strbuf_addz(p->out, ": ");
        }
        print_expr(p, item->value);
    }
    strbuf_addc(p->out, ']');
}

static void print_call(AstPrinter *p, const AstExpr *e) {
    print_base(p, e->call.callee);
    strbuf_addc(p->out, '(');
    for (uint32_t i = 0; i < e->call.count; i++) {
        const AstArg *arg = &e->call.args[i];
        if (i > 0) strbuf_addz(p->out, ", ");
        if (arg->name.text.len > 0) {
            print_word(p, arg->name.text);
            strbuf_addz(p->out, " = ");
        }
        print_expr(p, arg->value);
    }
    strbuf_addc(p->out, ')');
}

void print_scope_name(AstPrinter *p, const AstScopeName *name) {
    if (!name->expr && name->text.text.len == 0) return;
    strbuf_addz(p->out, " as ");
    if (name->expr)
        print_parenthesised(p, name->expr);
    else if (name->quoted)
        print_string(p, name->text.text);
    else
        print_word(p, name->text.text);
}

static void print_scope(AstPrinter *p, const AstExpr *e) {
    print_at_least(p, e->scope.value, HOLDS_POSTFIX);
    print_scope_name(p, &e->scope.name);
}

// Is there an `as` outside all brackets, where print_expr writes one?
static bool shows_scope(const AstExpr *e) {
    switch (e->kind) {
    case AST_EXPR_SCOPE: return true;
    case AST_EXPR_UNARY: return shows_scope(e->unary.x);
    case AST_EXPR_BINARY: return shows_scope(e->binary.a) || shows_scope(e->binary.b);
    case AST_EXPR_RANGE: return shows_scope(e->range.first) || shows_scope(e->range.end);
    case AST_EXPR_IF:
        return shows_scope(e->cond.cond) || shows_scope(e->cond.then) ||
               shows_scope(e->cond.otherwise);
    case AST_EXPR_LAMBDA: return true;  // its value may have one
    default: return false;
    }
}

void print_loop_list(AstPrinter *p, const AstExpr *e) {
    if (shows_scope(e))
        print_parenthesised(p, e);
    else
        print_expr(p, e);
}

void print_expr(AstPrinter *p, const AstExpr *e) {
    switch (e->kind) {
    case AST_EXPR_NUMBER: print_number(p, e); break;
    case AST_EXPR_STRING: print_string(p, e->string); break;
    case AST_EXPR_BOOL: strbuf_addz(p->out, e->boolean ? "true" : "false"); break;
    case AST_EXPR_NONE: strbuf_addz(p->out, "none"); break;
    case AST_EXPR_NAME: print_word(p, e->name); break;
    case AST_EXPR_UNARY:
        strbuf_addz(p->out, ast_unary_text(e->unary.op));
        print_at_least(p, e->unary.x, holds(e));
        break;
    case AST_EXPR_BINARY: print_binary(p, e); break;
    case AST_EXPR_RANGE: print_range(p, e); break;
    case AST_EXPR_ARROW:
        print_expr(p, e->arrow.from);
        strbuf_addz(p->out, " -> ");
        print_expr(p, e->arrow.to);
        break;
    case AST_EXPR_IF: print_conditional(p, e); break;
    case AST_EXPR_LAMBDA: print_fn(p, e->lambda); break;
    case AST_EXPR_LIST: print_list(p, e); break;
    case AST_EXPR_RECORD: print_fields(p, e->record.fields, e->record.count); break;
    case AST_EXPR_WITH:
        print_base(p, e->with.base);
        strbuf_addz(p->out, " with ");
        print_fields(p, e->with.fields, e->with.count);
        break;
    case AST_EXPR_FIELD:
        print_base(p, e->field.base);
        strbuf_addc(p->out, '.');
        print_word(p, e->field.name.text);
        break;
    case AST_EXPR_INDEX: print_index(p, e); break;
    case AST_EXPR_CALL: print_call(p, e); break;
    case AST_EXPR_SCOPE: print_scope(p, e); break;
    case AST_EXPR_COUNT: break;
    }
}

void ast_print_expr(const AstExpr *expr, StrBuf *out) {
    AstPrinter p = {.out = out};
    print_expr(&p, expr);
}
