// mutate.h: bugs planted in the text of kernels.
#pragma once

#include "base/diag.h"

// The first occurrence of `from` becomes `to`; then, if not NULL, that of `and_from` `and_to`.
typedef struct {
    const char *from, *to;
    const char *report;  // what the machine must say; "wrong": nothing, but numbers are wrong;
                         // NULL: either
    const char *and_from, *and_to;
} Mutation;

// Fails the test if the text has no such place.
Str mutation_apply(Arena *arena, Str text, const Mutation *mutation);
// Says what was missed, or what was reported instead. passed: the machine had nothing to
// report; right: nor are numbers wrong.
bool mutation_noticed(const Mutation *mutation, const Diag *diag, bool passed, bool right);
