// size_expr.h: whole numbers as sums and products of numbers and names: "h * (dk + dr)".
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef struct {
    Str name;
    int64_t value;
    bool ambiguous;  // several values: an error when it is used
} SizeName;

// Names that are not among the items are looked up further out.
typedef struct Sizes Sizes;
struct Sizes {
    const SizeName *items;
    uint32_t count;
    const Sizes *outer;  // may be NULL
};

// False: `why` says what is wrong (in the arena). A value is never negative.
bool size_evaluate(Arena *arena, Str text, const Sizes *sizes, int64_t *out, Str *why);
bool size_is_name(Str text);  // a letter or _, then those and digits
