// planted.h: kernels of tests/simt/kernels with a bug each.
#pragma once

#include "tests/simt/mutate.h"
#include "tests/simt/simt_kernels.h"

typedef struct {
    SimtCaseName kernel;
    const char *place;  // from where on `from` is looked for; NULL: from the beginning
    Mutation mutation;
} Planted;

// Runs the kernels, in the order of their bugs, and closes simt. Fails the test if a bug is not
// noticed.
void planted_run(Simt *simt, const Planted *planted, uint32_t count);
