// modules.h: a file and everything that it imports, each module parsed once.
//
// `import std.norm` means std/norm.strata in the first of these directories that has it: that
// of the importing file; the one in which the importing module itself was found under its name;
// the search list, in order.
#pragma once

#include "frontend/ast.h"

// Directories, in order.
typedef struct {
    const Str *items;
    uint32_t count;
} SearchPath;

// The root is the file at `path`. The program lives in the arena. False: diag has the errors of
// every file that could be read.
MUST_USE bool modules_load(Diag *diag, Arena *arena, Str path, SearchPath search,
                           AstProgram **out);
