// graph_reader.h: graphs from text, for tests of what is done with them.
#pragma once

#include "ir/graph/graph.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
} GraphReader;

static inline void reader_init(GraphReader *r) {
    arena_init(&r->arena);
    diag_init(&r->diag, &r->arena);
}

static inline void reader_release(GraphReader *r) { arena_release(&r->arena); }

// The graph of `text`; the test fails with the diagnostics if it is not one.
static inline Graph *reader_graph(GraphReader *r, const char *text) {
    Graph *g = NULL;
    uint32_t file = diag_source_add(&r->diag, STR("test.graph"), str_of(text));
    bool ok = graph_read(&r->diag, &r->arena, file, &g);
    if (!ok) {
        StrBuf out = {0};
        diag_render(&r->diag, &out);
        print_error("%s", out.ptr);
        strbuf_release(&out);
    }
    assert_true(ok);
    return g;
}

static inline const char *reader_print(GraphReader *r, const Graph *g) {
    StrBuf out = {0};
    graph_print(g, &out);
    const char *text = arena_strndup(&r->arena, out.ptr, out.len);
    strbuf_release(&out);
    return text;
}
