// test.h: cmocka with the headers that it wants before it, and what many tests need.
#pragma once

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
// clang-format on

#include "base/diag.h"

// For tests of what reports.
typedef struct {
    Arena arena;
    Diag diag;
} DiagFixture;

static inline int diag_setup(void **state) {
    DiagFixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    *state = f;
    return 0;
}

static inline int diag_teardown(void **state) {
    DiagFixture *f = *state;
    arena_release(&f->arena);
    test_free(f);
    return 0;
}

// The rendered diagnostics must be exactly `text`.
static inline void assert_diag(const Diag *diag, const char *text) {
    StrBuf out = {0};
    diag_render(diag, &out);
    assert_string_equal(out.ptr ? out.ptr : "", text);
    strbuf_release(&out);
}

// The rendered diagnostics must contain `text`.
static inline void assert_diag_has(const Diag *diag, const char *text) {
    StrBuf out = {0};
    diag_render(diag, &out);
    if (!out.ptr || !strstr(out.ptr, text)) {
        print_error("expected '%s' in:\n%s", text, out.ptr ? out.ptr : "nothing");
        fail();
    }
    strbuf_release(&out);
}

// The views must hold the same bytes.
static inline void assert_str(Str got, const char *expected) {
    if (!str_eq(got, str_of(expected))) {
        print_error("expected '%s', got '%.*s'\n", expected, STR_ARG(got));
        fail();
    }
}
