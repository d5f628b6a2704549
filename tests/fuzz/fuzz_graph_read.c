// fuzz_graph_read.c: any bytes either give a verified graph, which prints and reads back the
// same and can be simplified, or an error.
#include <stdint.h>

#include "base/check.h"
#include "ir/graph/passes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(Diag *diag, Arena *arena, const Graph *g) {
    StrBuf once = {0}, twice = {0};
    Graph *again = NULL;
    graph_print(g, &once);
    ASSERT(graph_read(diag, arena, diag_source_add(diag, STR("again"), strbuf_view(&once)),
                      &again));
    graph_print(again, &twice);
    ASSERT(str_eq(strbuf_view(&once), strbuf_view(&twice)));
    strbuf_release(&once);
    strbuf_release(&twice);
    ASSERT(graph_verify(diag, pass_simplify(g, arena)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    uint32_t file = diag_source_add(&diag, STR("input"), (Str){(const char *)data, size});
    Graph *g = NULL;
    if (graph_read(&diag, &arena, file, &g))
        check(&diag, &arena, g);
    else
        ASSERT(diag.error_count == 1);
    arena_release(&arena);
    return 0;
}
