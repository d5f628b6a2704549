// source_to_ast.c: lexer and parser run together: tokens are read as the parser asks for them.
#include "frontend/source_to_ast.h"

#include "frontend/parser.h"

bool source_to_ast(Diag *diag, Arena *arena, uint32_t file, AstModule **out) {
    const uint32_t errors = diag->error_count;
    Parser parser = {
        .diag = diag,
        .arena = arena,
        .file = file,
        .text = diag_source(diag, file)->text,
        .in = {.newlines = true},
        .unclosed_at = UINT32_MAX,
    };
    lexer_init(&parser.lexer, diag, file);
    AstModule *module = parse_module(&parser);
    if (diag->error_count > errors) return false;
    *out = module;
    return true;
}
