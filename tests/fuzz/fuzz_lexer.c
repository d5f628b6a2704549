// fuzz_lexer.c: any bytes are tokens that follow one another inside the text.
#include <stdint.h>

#include "base/check.h"
#include "frontend/lexer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(Arena *arena, Token t, Str text) {
    double value;
    int64_t integer;
    if (t.kind == TOKEN_NUMBER) lexer_number(text, &value, &integer);
    if (t.kind == TOKEN_STRING) ASSERT(lexer_string(arena, text).len < text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Lexer lexer;
    lexer_init(&lexer, &diag,
               diag_source_add(&diag, STR("input"), (Str){(const char *)data, size}));
    for (uint32_t end = 0;;) {
        const Token t = lexer_next(&lexer);
        ASSERT(t.start >= end && t.end >= t.start && t.end <= size);
        if (t.kind == TOKEN_END) break;
        ASSERT(t.end > t.start);
        check_value(&arena, t, (Str){lexer.text.ptr + t.start, t.end - t.start});
        end = t.end;
    }
    ASSERT(lexer_next(&lexer).kind == TOKEN_END);
    arena_release(&arena);
    return 0;
}
