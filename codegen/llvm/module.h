// module.h: what the loadable module libstrata_llvm.so offers to codegen/emitter.c: one
// function that returns a table. The module is linked with its own copy of base and ir; it
// shares no state with its loader but what it is given.
#pragma once

#include "codegen/emitter.h"

// Changes whenever this struct or a struct that crosses the border does, so that a module of
// another build is refused.
#define EMITTER_ABI   4U
#define EMITTER_ENTRY "strata_llvm_module"

typedef struct {
    uint32_t abi;
    bool (*kernel)(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options,
                   EmittedKernel *out);
    bool (*text)(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options, Str *out);
} EmitterModule;

const EmitterModule *strata_llvm_module(void);
