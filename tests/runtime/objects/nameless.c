// nameless.c: has code, but no function "kernel".
#include "tests/runtime/objects/kernels.h"

void colonel(void *const *args);

void colonel(void *const *args) { (void)args; }
