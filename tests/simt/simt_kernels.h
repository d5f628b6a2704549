// simt_kernels.h: the hand-written kernels of tests/simt/kernels, each with arguments and a
// test of its results. Together they use everything that prelude.cuh has.
#pragma once

#include "tests/simt/simt.h"

#define SIMT_CASES(CASE)       \
    CASE(ROWS, rows)           \
    CASE(COPIES, copies)       \
    CASE(PRODUCT, product)     \
    CASE(TF32, tf32)           \
    CASE(RING, ring)           \
    CASE(BOX_0, box_0)         \
    CASE(BOX_32, box_32)       \
    CASE(BOX_64, box_64)       \
    CASE(BOX_128, box_128)     \
    CASE(WARPGROUP, warpgroup) \
    CASE(CLUSTER, cluster)     \
    CASE(NUMBERS, numbers)     \
    CASE(ROLES, roles)         \
    CASE(LINES, lines)         \
    CASE(PLANES, planes)       \
    CASE(WIDTHS, widths)

typedef enum {
#define CASE(upper, lower) CASE_##upper,
    SIMT_CASES(CASE)
#undef CASE
} SimtCaseName;
#define SIMT_CASE_COUNT (CASE_WIDTHS + 1)

typedef struct SimtCase SimtCase;
struct SimtCase {
    const char *file;
    CudaKernel kernel;
    SimtArg args[8];
    uint32_t count;
    bool (*right)(const SimtCase *c);  // are the results what they should be?
};

// With fresh arguments.
SimtCase simt_case(Arena *arena, SimtCaseName name);
