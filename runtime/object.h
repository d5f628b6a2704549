// object.h: machine code from memory: a relocatable x86-64 ELF object becomes a callable
// function, without LLVM. Objects come from artifacts and tuning databases that may be damaged,
// so nothing in them is trusted to be in range.
#pragma once

#include "runtime/plan.h"

typedef struct {
    KernelFn *entry;  // the function of the symbol "kernel"
    void *base;       // mapping, read and execute only
    size_t bytes;
    struct ObjectFile *file;  // what debuggers see of it; NULL: nothing
} Object;

// `name` is the kernel's name, for messages. The object refers to nothing outside itself: an
// undefined symbol is an error. Its bytes are copied and may go away afterwards.
MUST_USE bool object_load(Diag *diag, Str name, Str object, Object *out);
void object_unload(Object *object);  // safe on a zeroed Object
