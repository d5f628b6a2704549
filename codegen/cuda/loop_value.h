// loop_value.h: values of a LOOP program in the registers of a thread. A thread computes runs:
// a few neighbours along one dimension at once, so that their loads and stores are wide.
#pragma once

#include "codegen/cuda/writer.h"

// What is known at a place in the text.
typedef struct {
    CudaWriter *w;
    Str *known;    // by operation: a C expression of its value; empty: not computed
    bool rounded;  // what is printed is rounded to 16 bits: functions may be less than accurate
} Values;

Values values_new(CudaWriter *w);           // constants are known everywhere
Values values_inside(const Values *outer);  // what is learnt there stays there

// Operations that `v` is made of, v included, are set in `wanted` (by operation); what the dot
// is made of only if v itself comes before it.
void values_mark(const TileProgram *p, TileId v, bool *wanted);

typedef struct {
    int along;        // the dimension of the run; -1: a single point
    int width;        // elements of a run; `e` counts them in the text
    CudaPoint first;  // of element 0
    Str only;         // a condition on e that must hold for an element; empty: none
    bool wide;        // runs begin at multiples of width and do not end early
    Str slot;         // where in their arrays kept values go: "e", "i"; empty: scalars
    bool raw;         // words loaded at once stay as they are, in element i of arrays
} Run;

// Prints the operations that `which` marks, each for all elements of the run. Operands are
// known or marked as well. Afterwards those in `kept` are known: in arrays (values_declare), or
// with no slot as scalars of the scope.
void values_print(Values *v, const Run *run, const bool *which, const bool *kept);
// Arrays of the kept values of the run's slot: "float exp_7_run[4];"
void values_declare(CudaWriter *w, const bool *which, const bool *kept, int slots);
// Element `e` of a value that values_print kept with a slot.
Str values_kept(CudaWriter *w, TileId v, int e);
// Stores a value that values_print kept with a slot, the whole run at once.
void values_store_wide(const Values *v, const TileOp *store, const Run *run);
// Which of the operations are loaded for the whole run at once.
const bool *values_word_loads(const Values *v, const Run *run, const bool *which);
// Declares their arrays, for raw runs: "Words<4> x_5_words[2];"
void values_declare_words(CudaWriter *w, const bool *wide, int width, int slots);

// Can `width` neighbours along the dimension be loaded or stored at once, at every multiple of
// width? Arguments begin at multiples of 16 bytes.
bool access_is_wide(const TileProgram *p, const TileOp *op, int along, int width);

static inline DimSet dim_set(int dim) { return (DimSet)(dim < 0 ? 0U : 1U << dim); }
