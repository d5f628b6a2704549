// fuzz_elaborate.c: any text that parses gives errors, which can be shown, or a graph that
// keeps its rules.
#include <stdint.h>

#include "base/check.h"
#include "frontend/ast_to_graph.h"
#include "frontend/source_to_ast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    StrBuf text = {0};
    AstModule *module = NULL;
    Elaboration *e = NULL;
    const uint32_t file = diag_source_add(&diag, STR("input"), (Str){(const char *)data, size});
    bool ok = source_to_ast(&diag, &arena, file, &module);
    if (ok) {
        const AstProgram program = {.modules = &module, .module_count = 1, .root = module};
        ok = ast_to_graph(&diag, &arena, &program, (Settings){0}, &e);
    }
    if (ok) {
        ok = graph_verify(&diag, elaboration_graph(e));
        ASSERT(ok);
        graph_print(elaboration_graph(e), &text);
    } else {
        ASSERT(diag.error_count > 0);
        diag_render(&diag, &text);
    }
    ASSERT(text.len > 0);
    strbuf_release(&text);
    arena_release(&arena);
    return 0;
}
