// name_pattern.h: tensor names with whole numbers left open: "layers.{i}.w".
#pragma once

#include "runtime/size_expr.h"

enum { PLACEHOLDERS_MAX = 8 };

// What placeholders stand for.
typedef struct {
    SizeName items[PLACEHOLDERS_MAX];
    uint32_t count;
} Placeholders;

// {i} matches a number, the same wherever i stands; * matches any text. `out` gets the numbers.
bool pattern_match(Str pattern, Str text, Placeholders *out);
// False: a brace is not closed, what is in it is no name, or there are too many; says so.
bool pattern_check(Str pattern, Str *why);
// Puts values in: braces hold sizes (size_expr.h), such as {i + 1}.
bool pattern_expand(Arena *arena, Str pattern, const Sizes *sizes, Str *out, Str *why);
