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
