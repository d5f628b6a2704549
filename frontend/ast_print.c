// ast_print.c: declarations and statements, one a line.
#include "frontend/ast_print.h"

void print_line(AstPrinter *p) {
    strbuf_addc(p->out, '\n');
    for (uint32_t i = 0; i < p->indent; i++)
        strbuf_addz(p->out, "    ");
}

void print_word(AstPrinter *p, Str text) { strbuf_add(p->out, text); }

static void print_bindings(AstPrinter *p, const AstBinding *items, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) strbuf_addz(p->out, ", ");
        print_word(p, items[i].name.text);
        strbuf_addz(p->out, " = ");
        print_expr(p, items[i].value);
    }
}

// ---- Tensors ----

static const char *axis_separator(const AstAxes *axes, uint32_t i) {
    if (i == 0) return "";
    if (i == axes->batch_count) return "; ";
    return axes->is_map && i == axes->batch_count + axes->input_count ? " -> " : ", ";
}

static void print_axes(AstPrinter *p, const AstAxes *axes) {
    if (axes->span.file == 0) return;
    strbuf_addc(p->out, '[');
    for (uint32_t i = 0; i < axes->count; i++) {
        const AstAxis *axis = &axes->items[i];
        strbuf_addz(p->out, axis_separator(axes, i));
        if (axis->name.text.len > 0) {
            print_word(p, axis->name.text);
            strbuf_addz(p->out, " = ");
        }
        print_expr(p, axis->value);
    }
    strbuf_addc(p->out, ']');
}

static void print_tensor(AstPrinter *p, const AstTensor *t) {
    print_word(p, t->name.text);
    print_axes(p, &t->axes);
    if (t->type) {
        strbuf_addz(p->out, ": ");
        print_expr(p, t->type);
    }
    if (t->init) {
        strbuf_addz(p->out, " = ");
        print_expr(p, t->init);
    }
    for (uint32_t i = 0; i < t->tag_count; i++) {
        strbuf_addz(p->out, " tag ");
        print_word(p, t->tags[i].text);
    }
}

static void print_tensors(AstPrinter *p, const AstStmt *s) {
    for (uint32_t i = 0; i < s->tensors.count; i++) {
        if (i > 0) strbuf_addz(p->out, ", ");
        print_tensor(p, &s->tensors.items[i]);
    }
}

// ---- Other statements ----

static void print_outputs(AstPrinter *p, const AstStmt *s) {
    for (uint32_t i = 0; i < s->outputs.count; i++) {
        const AstOutput *o = &s->outputs.items[i];
        const bool own_name =
            o->value->kind == AST_EXPR_NAME && str_eq(o->value->name, o->name.text);
        if (i > 0) strbuf_addz(p->out, ", ");
        if (!own_name && o->name.text.len > 0) {
            print_word(p, o->name.text);
            strbuf_addz(p->out, " = ");
        }
        print_expr(p, o->value);
    }
}

static void print_for(AstPrinter *p, const AstStmt *s) {
    strbuf_addz(p->out, "for ");
    print_word(p, s->loop.var.text);
    strbuf_addz(p->out, " in ");
    print_loop_list(p, s->loop.list);
    print_scope_name(p, &s->loop.scope);
    strbuf_addc(p->out, ' ');
    print_block(p, &s->loop.body);
}

static void print_if(AstPrinter *p, const AstStmt *s) {
    for (uint32_t i = 0; i < s->branch.count; i++) {
        strbuf_addz(p->out, i > 0 ? " else if " : "if ");
        print_expr(p, s->branch.arms[i].cond);
        strbuf_addc(p->out, ' ');
        print_block(p, &s->branch.arms[i].body);
    }
    if (!s->branch.has_otherwise) return;
    strbuf_addz(p->out, " else ");
    print_block(p, &s->branch.otherwise);
}

static void print_sizes(AstPrinter *p, const AstStmt *s) {
    strbuf_addz(p->out, "sizes {");
    p->indent++;
    for (uint32_t i = 0; i < s->sizes.count; i++) {
        const AstSize *size = &s->sizes.items[i];
        print_line(p);
        print_word(p, size->name.text);
        strbuf_addz(p->out, size->count > 0 ? " { " : " {");
        print_bindings(p, size->items, size->count);
        strbuf_addz(p->out, size->count > 0 ? " }" : "}");
    }
    p->indent--;
    if (s->sizes.count > 0) print_line(p);
    strbuf_addc(p->out, '}');
}

static void print_stmt(AstPrinter *p, const AstStmt *s) {
    switch (s->kind) {
    case AST_STMT_DIM:
    case AST_STMT_LET:
        strbuf_addf(p->out, "%s ", ast_stmt_text(s->kind));
        print_bindings(p, s->bind.items, s->bind.count);
        break;
    case AST_STMT_UPDATE:
        strbuf_addz(p->out, "update ");
        print_bindings(p, &s->assign, 1);
        break;
    case AST_STMT_ASSIGN: print_bindings(p, &s->assign, 1); break;
    case AST_STMT_PARAM:
    case AST_STMT_STATE:
    case AST_STMT_INPUT:
        strbuf_addf(p->out, "%s ", ast_stmt_text(s->kind));
        print_tensors(p, s);
        break;
    case AST_STMT_OUTPUT:
    case AST_STMT_REPORT:
        strbuf_addf(p->out, "%s ", ast_stmt_text(s->kind));
        print_outputs(p, s);
        break;
    case AST_STMT_LOSS:
    case AST_STMT_RETURN:
        strbuf_addf(p->out, "%s ", ast_stmt_text(s->kind));
        print_expr(p, s->value);
        break;
    case AST_STMT_EXPR: print_expr(p, s->value); break;
    case AST_STMT_FOR: print_for(p, s); break;
    case AST_STMT_IF: print_if(p, s); break;
    case AST_STMT_FN: print_fn(p, s->fn); break;
    case AST_STMT_SIZES: print_sizes(p, s); break;
    case AST_STMT_COUNT: break;
    }
}

void print_block(AstPrinter *p, const AstBlock *block) {
    strbuf_addc(p->out, '{');
    p->indent++;
    for (uint32_t i = 0; i < block->count; i++) {
        print_line(p);
        print_stmt(p, block->items[i]);
    }
    p->indent--;
    if (block->count > 0) print_line(p);
    strbuf_addc(p->out, '}');
}

// ---- Declarations ----

static void print_fn_rest(AstPrinter *p, const AstFn *fn) {
    strbuf_addc(p->out, '(');
    for (uint32_t i = 0; i < fn->param_count; i++) {
        if (i > 0) strbuf_addz(p->out, ", ");
        print_word(p, fn->params[i].name.text);
        if (!fn->params[i].fallback) continue;
        strbuf_addz(p->out, " = ");
        print_expr(p, fn->params[i].fallback);
    }
    strbuf_addz(p->out, fn->value ? ") = " : ") ");
    if (fn->value)
        print_expr(p, fn->value);
    else
        print_block(p, &fn->body);
}

void print_fn(AstPrinter *p, const AstFn *fn) {
    strbuf_addz(p->out, fn->name.text.len > 0 ? "fn " : "fn");
    print_word(p, fn->name.text);
    print_fn_rest(p, fn);
}

static void print_decl(AstPrinter *p, const AstDecl *d) {
    switch (d->kind) {
    case AST_DECL_IMPORT:
        strbuf_addz(p->out, "import ");
        print_word(p, d->import.path);
        break;
    case AST_DECL_FN: print_fn(p, d->fn); break;
    case AST_DECL_OPTIMIZER:
        strbuf_addz(p->out, "optimizer ");
        print_word(p, d->fn->name.text);
        print_fn_rest(p, d->fn);
        break;
    case AST_DECL_MODEL:
        strbuf_addz(p->out, "model ");
        print_word(p, d->model->name.text);
        strbuf_addc(p->out, ' ');
        print_block(p, &d->model->body);
        break;
    }
    strbuf_addc(p->out, '\n');
}

void ast_print(const AstModule *module, StrBuf *out) {
    AstPrinter p = {.out = out};
    for (uint32_t i = 0; i < module->decl_count; i++) {
        const AstDecl *d = &module->decls[i];
        const bool import_run =
            i > 0 && d->kind == AST_DECL_IMPORT && module->decls[i - 1].kind == AST_DECL_IMPORT;
        if (i > 0 && !import_run) strbuf_addc(out, '\n');
        print_decl(&p, d);
    }
}
