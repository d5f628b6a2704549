// ptx_text.h: kernels on the very text of codegen/cuda/prelude.cuh and wgmma.cuh, for
// simt_build_plain: its asm statements become calls of ptx() (ptx.cuh), by their letters alone:
//     asm volatile("TEXT %0, %1;" : "=r"(y) : "l"(p) : "memory");
//     ptx("TEXT %0, %1;" , ptx_write("=r", y) , ptx_read("l", p) );
#pragma once

#include "base/str.h"

// The next asm statement at or after `from`, up to its ')'. Empty: there is none.
Str asm_next(Str text, size_t from);
// With asm statements as calls, and constraints in macros too.
Str ptx_text(Arena *arena, Str text);
// What a kernel includes, in its place, as ptx_text has it.
typedef struct {
    Str prelude, wgmma;
} PtxTexts;
Str ptx_kernel(Arena *arena, Str kernel, const PtxTexts *texts);
