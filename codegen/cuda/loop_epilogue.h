// loop_epilogue.h: what follows the dot of a LOOP program, on sums that lie in registers. The
// same for all skeletons: the accumulators of mma and of wgmma, or sums that went through
// shared memory.
#pragma once

#include "codegen/cuda/writer.h"

// A thread has `rows` x `runs` runs of `width` neighbours along n. The expressions are C of
// type int (`sum`: float) in the variables i (row), j (run) and e (element of the run); all are
// constants once the loops are unrolled. A run begins at a multiple of width.
//     mma.sync, 4 x 8 fragments:  rows 8, runs 8, width 2
//         m "row + i / 2 * 16 + i % 2 * 8"   n "col + j * 8"   sum "sums[i / 2][j][i % 2 * 2 +
//         e]"
//     wgmma m64n256:              rows 2, runs 32, width 2
//         m "row + i * 8"                    n "col + j * 8"   sum "sums[j * 4 + i * 2 + e]"
typedef struct {
    int rows, runs, width;
    Str m, n, sum;
    CudaPoint at;           // the grid dimensions; m and n are set here
    bool m_whole, n_whole;  // no tile ends beyond the extent
    Str into;  // where the value of the only store is put, like `sum`; empty: it is stored
} CudaSums;

// Prints maps, loads and stores. Every value of a point is computed before its first store. Put
// it in a scope of its own: names of values are declared there. `i`, `j`, `e`, `m` and `n` are
// used inside.
void cuda_epilogue(CudaWriter *w, const CudaSums *sums);
