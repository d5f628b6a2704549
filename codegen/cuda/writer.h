// writer.h: printing CUDA C++: lines with indentation, names of values, expressions and
// accesses at one point of the loops. The skeletons (stream.c, loop_*.c) decide where and how
// often.
#pragma once

#include "codegen/cuda/cuda.h"

typedef struct {
    Diag *diag;
    const Diag *lines;  // where spans are looked up for #line; NULL: no #line
    Arena *arena;
    const TileProgram *p;
    IsaLevel arch;
    StrBuf text;
    bool silent;  // nothing is printed: what is needed is measured
    int indent;
    Str own;  // whose arrays of values are printed: the end of their names; empty: nobody's
    // Once somebody asked; a STREAM is written several times.
    Str parameters, *args;
    Launch launch;
    Vec(CudaConversion) conversions;
} CudaWriter;

void cuda_line(CudaWriter *w, const char *format, ...) PRINTF_LIKE(2, 3);
void cuda_open(CudaWriter *w, const char *format, ...) PRINTF_LIKE(2, 3);  // the line and " {"
void cuda_close(CudaWriter *w);                                            // "}"
// A comment that says in the words of docs/tile_ir.md what follows, and #line of its span.
void cuda_comment(CudaWriter *w, const TileOp *op);

// Notes what the text that is being written does to the layout of a value: see CudaConversion.
void cuda_convert(CudaWriter *w, TileId v, Str how, int64_t copies, int64_t bytes);

// ---- types and names
const char *cuda_element(DType type);     // in memory: "float", "bf16", "int", "u8" (bool)
const char *cuda_value_type(DType type);  // of a value: "float", "int", "bool"
// Unique, after the operation: "sum_3", "exp_7", of a load the argument: "x_12". Nothing else
// may end in "_" and a number.
Str cuda_name(CudaWriter *w, TileId v);
Str cuda_arg(CudaWriter *w, uint32_t arg);  // "x_ptr": unique, after the argument
Str cuda_dim(CudaWriter *w, uint32_t dim);  // "t": unique among dimensions, for a longer name
// Exact: the shortest decimal number that is read back as the same float; +-INFINITY, NAN.
// Negative ones stand in parentheses.
Str cuda_number(CudaWriter *w, double x, DType type);
// "float *__restrict__ y_ptr, const bf16 *x_ptr": restrict only where in-place use is
// impossible.
Str cuda_parameters(CudaWriter *w);

// ---- at one point: at[i] is a C expression (int) of the index of dims[i]; empty: not fixed
typedef struct {
    Str at[TILE_MAX_DIMS];
} CudaPoint;

Str cuda_offset(CudaWriter *w, const TileAccess *access,
                const CudaPoint *at);  // elements; i64 where it must be
Str cuda_guard(CudaWriter *w, const TileAccess *access,
               const CudaPoint *at);  // a condition; empty: always true
Str cuda_index(CudaWriter *w, const TileOp *op, const CudaPoint *at);  // of a TILE_INDEX
// The guards, and that the row number of a GATHER or SCATTER_ADD is in range; empty: always
// true.
Str cuda_access_condition(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str row);
// Where the element is, guards or not: "x_ptr + (m*512 + k)".
Str cuda_address(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str row);
// An expression of the value type; a guarded-out load is 0. `row` is the row number of a
// GATHER.
Str cuda_load(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str row);
void cuda_store(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str value);
typedef struct {
    Str row, value;
    Str only;  // a further condition; empty: none
} CudaScatter;
void cuda_scatter(CudaWriter *w, const TileOp *op, const CudaPoint *at,
                  const CudaScatter *what);
// An element in memory as a value, and a value as an element.
Str cuda_widen(CudaWriter *w, DType type, Str element);
Str cuda_narrow(CudaWriter *w, DType type, Str value);
// fn over operands that are C expressions (names or literals), as an expression to assign: it
// is not in parentheses. expf, logf, ... are the accurate ones.
Str cuda_map(CudaWriter *w, const TileOp *op, const Str *operands);

// ---- skeletons: each prints the whole kernel and sets w->launch. False: it has no such form
// here (diag says why).
MUST_USE bool cuda_stream(CudaWriter *w);  // stream.c: rows in registers
MUST_USE bool cuda_order(CudaWriter *w);   // order.c: a stable sort of rows by groups
MUST_USE bool
cuda_loop_cp(CudaWriter *w);  // loop_cp.c: cp.async ring, mma.sync; FMA where elements are f32
MUST_USE bool
cuda_attend(CudaWriter *w);  // attend.c: attention and its gradients, scores in registers
MUST_USE bool cuda_chunk(CudaWriter *w);  // chunk.c: recurrences, chunk by chunk
MUST_USE bool
cuda_loop_ws(CudaWriter *w);  // loop_ws.c: sm_90a: TMA, mbarriers, wgmma, warpgroups
