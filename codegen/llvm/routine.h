// routine.h: code that a kernel needs at several places, as a function of its own inside the
// module: what was emitted once is called again where all that it depends on is the same.
#pragma once

#include "base/str.h"
#include "codegen/llvm/builder.h"

enum { ROUTINE_MOST_ARGS = 13 };

// What the caller goes on with when the routine has been emitted.
typedef struct {
    IrValue function;
    IrBlock entry, at;
    LLVMDIBuilderRef debug;
    LLVMMetadataRef line;
} Routine;

// Calls the routine that `key` and the constant numbers among args name; a NULL is one. True:
// it is not there yet. Then the insertion point is in it, args are its parameters where they
// were no numbers, its body is due, and routine_end after it. The body uses nothing of the
// kernel but args, takes no scratch memory, and returns nothing.
MUST_USE bool routine_begin(Builder *b, Routine *r, Str key, IrValue *args, uint32_t count);
void routine_end(Builder *b, const Routine *r);
