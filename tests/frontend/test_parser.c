// test_parser.c: the shape and the places of trees. What texts are accepted and what is said
// about the others is in tests/golden.
#include "frontend/source_to_ast.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    uint32_t file;
} Fixture;

static int setup(void **state) {
    static Fixture fixture;
    fixture = (Fixture){0};
    diag_init(&fixture.diag, &fixture.arena);
    *state = &fixture;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    arena_release(&f->arena);
    return 0;
}

static AstModule *parsed(Fixture *f, const char *text) {
    AstModule *module = NULL;
    f->file = diag_source_add(&f->diag, STR("t"), str_of(text));
    if (!source_to_ast(&f->diag, &f->arena, f->file, &module)) assert_diag(&f->diag, "");
    return module;
}

// The value of a function that is only an expression.
static const AstExpr *parsed_expr(Fixture *f, const char *text) {
    const char *source = arena_printf(&f->arena, "fn f() = %s", text);
    return parsed(f, source)->decls[0].fn->value;
}

static AstStmt *parsed_stmt(Fixture *f, const char *text) {
    const char *source = arena_printf(&f->arena, "model m { %s }", text);
    const AstBlock *body = &parsed(f, source)->decls[0].model->body;
    assert_int_equal(body->count, 1);
    return body->items[0];
}

static void assert_span(Fixture *f, Span span, const char *text) {
    assert_int_equal(span.file, f->file);
    const Str source = diag_source(&f->diag, f->file)->text;
    assert_str((Str){source.ptr + span.start, span.end - span.start}, text);
}

// An expression with a pair of parentheses around each operation.
static void add_grouped(StrBuf *out, const AstExpr *e) {
    switch ((int)e->kind) {
    case AST_EXPR_UNARY:
        strbuf_addf(out, "(%s", ast_unary_text(e->unary.op));
        add_grouped(out, e->unary.x);
        strbuf_addc(out, ')');
        return;
    case AST_EXPR_BINARY:
        strbuf_addc(out, '(');
        add_grouped(out, e->binary.a);
        strbuf_addf(out, " %s ", ast_binary_text(e->binary.op));
        add_grouped(out, e->binary.b);
        strbuf_addc(out, ')');
        return;
    case AST_EXPR_RANGE:
        strbuf_addc(out, '(');
        add_grouped(out, e->range.first);
        strbuf_addz(out, " .. ");
        add_grouped(out, e->range.end);
        strbuf_addc(out, ')');
        return;
    default: ast_print_expr(e, out);
    }
}

static void assert_groups(Fixture *f, const char *text, const char *grouped) {
    StrBuf out = {0};
    add_grouped(&out, parsed_expr(f, text));
    assert_string_equal(out.ptr, grouped);
    strbuf_release(&out);
}

static void operators_group_by_precedence(void **state) {
    Fixture *f = *state;
    assert_groups(f, "a + b * c - d", "((a + (b * c)) - d)");
    assert_groups(f, "a - b - c", "((a - b) - c)");
    assert_groups(f, "a / b * c % d", "(((a / b) * c) % d)");
    assert_groups(f, "-a ^ b ^ -c", "(-(a ^ (b ^ (-c))))");
    assert_groups(f, "-a * b", "((-a) * b)");
    assert_groups(f, "a or b and not c == d + 1", "(a or (b and (not (c == (d + 1)))))");
    assert_groups(f, "not a and b", "((not a) and b)");
    assert_groups(f, "a + 1 .. b * 2", "((a + 1) .. (b * 2))");
    assert_groups(f, "x == 0 .. 3", "(x == (0 .. 3))");
    assert_groups(f, "a.b(c)[d] ^ 2", "(a.b(c)[d] ^ 2)");
    assert_groups(f, "a + f(x) as n * b", "(a + (f(x) as n * b))");
}

static void spans_cover_what_was_written(void **state) {
    Fixture *f = *state;
    const AstExpr *e = parsed_expr(f, "(a + b) * f(c, d = 2)[e: 1] as here");
    assert_span(f, e->span, "(a + b) * f(c, d = 2)[e: 1] as here");
    assert_span(f, e->binary.op_span, "*");
    assert_span(f, e->binary.a->span, "a + b");
    const AstExpr *scope = e->binary.b;
    assert_span(f, scope->span, "f(c, d = 2)[e: 1] as here");
    assert_span(f, scope->scope.name.text.span, "here");
    assert_span(f, scope->scope.value->index.base->span, "f(c, d = 2)");
    assert_span(f, scope->scope.value->index.base->call.args[1].name.span, "d");
}

static void functions_know_their_head(void **state) {
    Fixture *f = *state;
    const AstModule *m = parsed(f, "fn f(x, y = 2) {\n    return x\n}\nfn g() = fn(a) = a\n");
    assert_span(f, m->decls[0].fn->head, "fn f(x, y = 2)");
    assert_span(f, m->decls[0].fn->span, "fn f(x, y = 2) {\n    return x\n}");
    assert_span(f, m->decls[0].fn->body.items[0]->span, "return x");
    assert_null(m->decls[0].fn->params[0].fallback);
    assert_span(f, m->decls[0].fn->params[1].fallback->span, "2");
    assert_int_equal(m->decls[1].fn->value->kind, AST_EXPR_LAMBDA);
    assert_span(f, m->decls[1].fn->value->lambda->head, "fn(a)");
}

static void axes_keep_their_groups(void **state) {
    Fixture *f = *state;
    const AstStmt *s = parsed_stmt(f, "param w[e; d, n = 3 -> h, k, dv] = fan_in tag a tag b");
    const AstTensor *t = &s->tensors.items[0];
    assert_int_equal(t->axes.count, 6);
    assert_int_equal(t->axes.batch_count, 1);
    assert_int_equal(t->axes.input_count, 2);
    assert_true(t->axes.is_map);
    assert_str(t->axes.items[2].name.text, "n");
    assert_int_equal(t->axes.items[2].value->number.integer, 3);
    assert_int_equal(t->tag_count, 2);
    assert_str(t->tags[1].text, "b");
    t = &parsed_stmt(f, "param w[d, e]")->tensors.items[0];
    assert_false(t->axes.is_map);
    assert_int_equal(t->axes.input_count, 0);
    assert_null(t->init);
    assert_int_equal(parsed_stmt(f, "state s = 0")->tensors.items[0].axes.span.file, 0);
    assert_span(f, parsed_stmt(f, "input x[B] : f32")->tensors.items[0].axes.span, "[B]");
}

static void outputs_have_names_where_they_can(void **state) {
    Fixture *f = *state;
    const AstStmt *s = parsed_stmt(f, "report y, z = y, f(y)");
    assert_int_equal(s->outputs.count, 3);
    assert_str(s->outputs.items[0].name.text, "y");
    assert_str(s->outputs.items[1].name.text, "z");
    assert_int_equal(s->outputs.items[2].name.text.len, 0);
}

static void loops_own_their_scope(void **state) {
    Fixture *f = *state;
    const AstStmt *s = parsed_stmt(f, "for l in f(x) as layers { g(l) as inner }");
    assert_int_equal(s->loop.list->kind, AST_EXPR_CALL);
    assert_str(s->loop.scope.text.text, "layers");
    assert_int_equal(s->loop.body.items[0]->value->kind, AST_EXPR_SCOPE);
    s = parsed_stmt(f, "for l in g(f(x) as inner) as (\"l\" + \"s\") { }");
    assert_int_equal(s->loop.list->call.args[0].value->kind, AST_EXPR_SCOPE);
    assert_non_null(s->loop.scope.expr);
}

static void branches_are_flat(void **state) {
    Fixture *f = *state;
    const AstStmt *s = parsed_stmt(f, "if a { f() } else if b { } else if c { g() } else { }");
    assert_int_equal(s->branch.count, 3);
    assert_true(s->branch.has_otherwise);
    assert_int_equal(s->branch.arms[2].body.count, 1);
    assert_false(parsed_stmt(f, "if a { }")->branch.has_otherwise);
}

static void heights_are_bounded(void **state) {
    Fixture *f = *state;
    StrBuf text = {0};
    strbuf_addz(&text, "x");
    for (int i = 1; i < AST_MAX_HEIGHT - 100; i++)
        strbuf_addz(&text, " + x");
    const AstExpr *e = parsed_expr(f, text.ptr);
    assert_int_equal(e->height, AST_MAX_HEIGHT - 100);
    // A block around the sum is one level more than the sum.
    const char *lambda =
        arena_printf(&f->arena, "fn() { return fn() { return %s } }", text.ptr);
    assert_int_equal(parsed_expr(f, lambda)->height, AST_MAX_HEIGHT - 100 + 4);
    strbuf_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(operators_group_by_precedence, setup, teardown),
        cmocka_unit_test_setup_teardown(spans_cover_what_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_know_their_head, setup, teardown),
        cmocka_unit_test_setup_teardown(axes_keep_their_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(outputs_have_names_where_they_can, setup, teardown),
        cmocka_unit_test_setup_teardown(loops_own_their_scope, setup, teardown),
        cmocka_unit_test_setup_teardown(branches_are_flat, setup, teardown),
        cmocka_unit_test_setup_teardown(heights_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
