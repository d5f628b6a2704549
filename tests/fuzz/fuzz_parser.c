// fuzz_parser.c: any bytes either give errors, which can be shown, or a tree, whose canonical
// text is read back and prints the same.
#include <stdint.h>

#include "base/check.h"
#include "frontend/source_to_ast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The canonical text may have parentheses that the input did without, and they count as
// nesting.
static bool only_too_deep(const Diag *diag) {
    for (uint32_t i = 0; i < diag->item_count; i++)
        if (!str_starts(diag->items[i].message, STR("nested more than"))) return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    StrBuf once = {0}, twice = {0};
    AstModule *first, *second;
    const Str text = {(const char *)data, size};
    if (source_to_ast(&diag, &arena, diag_source_add(&diag, STR("input"), text), &first)) {
        ast_print(first, &once);
        const uint32_t again = diag_source_add(&diag, STR("again"), strbuf_view(&once));
        const bool ok = source_to_ast(&diag, &arena, again, &second);
        if (ok) ast_print(second, &twice);
        ASSERT(ok ? str_eq(strbuf_view(&once), strbuf_view(&twice)) : only_too_deep(&diag));
    } else {
        ASSERT(diag.error_count > 0);
        diag_render(&diag, &once);
        ASSERT(once.len > 0);
    }
    strbuf_release(&once);
    strbuf_release(&twice);
    arena_release(&arena);
    return 0;
}
