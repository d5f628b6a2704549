// source_to_ast.h: one source text to its syntax tree.
#pragma once

#include "frontend/ast.h"

// The file is registered in diag. The tree lives in the arena and points into the source's
// text. False: diag has the errors, up to DIAG_MAX_ERRORS of them.
MUST_USE bool source_to_ast(Diag *diag, Arena *arena, uint32_t file, AstModule **out);
