// plan.h: what the runtime runs: tensors, memory, code and a flat list of steps. Plain data, no
// pointers to the compiler; written to and read from artifacts (.sta) by plan_write and
// plan_read.
#pragma once

#include "base/diag.h"
#include "base/dtype.h"
#include "base/hash.h"
#include "base/launch.h"

#define PLAN_RANK_MAX 16

// ---- what the user sees by name
typedef enum { TENSOR_PARAM, TENSOR_STATE, TENSOR_INPUT, TENSOR_OUTPUT } TensorKind;

typedef struct {
    uint8_t kind, transform;  // InitKind, InitTransform of ir/graph/graph.h, same numbers
    double a, b;
} PlanInit;

typedef struct {
    TensorKind kind;
    Str name;  // path of a parameter or state; name of an input or output
    DType type;
    uint32_t rank, batch_count,
        input_count;  // axes = batch, then inputs, then outputs of the map (parameters)
    const int64_t *shape;
    const Str *axes;      // names
    int64_t index_below;  // integer inputs: values are in [0, index_below); 0: unrestricted
    PlanInit init;
    const Str *tags;
    uint32_t tag_count;
    bool trained;  // optimised by gradient
} PlanTensor;

// ---- memory: every buffer that a step touches
typedef enum {
    BUFFER_TENSOR,    // tensors[index], from `offset`
    BUFFER_ARENA,     // `offset` in the entry's arena
    BUFFER_CONSTANT,  // `offset` in the plan's constant data
} BufferKind;
typedef struct {
    BufferKind kind;
    uint32_t index;
    int64_t offset, bytes;
} PlanBuffer;

// ---- code
typedef struct {
    Str name;               // "rms_norm.3"
    Str object;             // an ELF file with the symbol "kernel": relocatable; or a cubin
    Hash hash;              // of object
    int64_t tasks;          // run over [0, tasks)
    int64_t scratch_bytes;  // close memory per thread, 64-byte aligned
    double flops, bytes;
    double f32_flops;  // as many as take this long in f32: half, if they multiply pairs of bf16
    Launch launch;     // of a cubin; zero on the CPU
} PlanKernel;

// The machine code's calling convention on the CPU. Runs tasks [begin, end).
typedef void KernelFn(void *const *args, int64_t begin, int64_t end, void *scratch);

typedef enum {
    STEP_LAUNCH,  // kernel over its tasks; args are buffers
    STEP_CLEAR,   // buffer args[0] becomes zero bytes
    STEP_COPY,    // args[0] to args[1], args[1].bytes
    STEP_GEMM,    // library contraction: args a, b, c; see PlanGemm
} StepKind;
typedef struct {
    int64_t m, n, k, lda, ldb, ldc;  // row-major c[m,n] = op(a) op(b)
    int64_t batch[2], stride_a[2], stride_b[2], stride_c[2];
    bool transpose_a, transpose_b;
    // Elements. All f32 on the CPU; on CUDA a and b may be bf16 or f16, and c like them or f32.
    DType type_ab, type_c;
} PlanGemm;
typedef struct {
    StepKind kind;
    uint32_t kernel;
    const uint32_t *args;  // buffers
    uint32_t arg_count;
    PlanGemm gemm;
    uint32_t line;  // in the model's source; 0: unknown
} PlanStep;

// One entry is one thing that can be run: "forward", "train", ...
typedef struct {
    Str name;
    PlanStep *steps;
    uint32_t step_count;
    PlanBuffer *buffers;
    uint32_t buffer_count;
    int64_t arena_bytes;
} PlanEntry;

// A run-time axis and the extent this plan was made for.
typedef struct {
    Str name;
    int64_t extent;
} PlanExtent;

typedef struct {
    Str model, target;  // "lm"; "cpu", "cuda:sm_80", "cuda:sm_90a" or "cuda:sm_100a"
    Str cpu_features;   // what CPU code needs: "avx512bf16", "avx512", "avx2", "sse2"
    PlanExtent *extents;
    uint32_t extent_count;
    PlanTensor *tensors;
    uint32_t tensor_count;
    PlanKernel *kernels;
    uint32_t kernel_count;
    PlanEntry *entries;
    uint32_t entry_count;
    Str constants;  // 64-byte aligned data
} Plan;

bool plan_is_cuda(const Plan *plan);                                // by its target
const PlanEntry *plan_entry(const Plan *plan, const char *name);    // NULL if absent
bool plan_entry_uses(const PlanEntry *e, uint32_t tensor);          // reads or writes it
int plan_tensor_find(const Plan *plan, TensorKind kind, Str name);  // -1 if absent
int64_t extents_product(const int64_t *extents, uint32_t rank);
int64_t plan_tensor_count(const PlanTensor *t);  // elements
int64_t plan_tensor_bytes(const PlanTensor *t);
// "tokens[B=3, T=17]": element i by its axes.
void plan_tensor_position(const PlanTensor *t, int64_t i, StrBuf *out);

// ---- artifact file. Little-endian; a header with magic, version and checksum, then sections
// (docs/plan_format.md).
MUST_USE bool plan_write(Diag *diag, const Plan *plan, Str path);
void plan_encode(const Plan *plan, StrBuf *out);  // the file's bytes
// Everything is checked: sizes, offsets, indices, names, checksum. The plan's data lives in the
// arena.
MUST_USE bool plan_read(Diag *diag, Arena *arena, Str path, Plan **out);
// The same from memory. The plan points into `bytes`, which must live as long; `path` is for
// messages.
MUST_USE bool plan_decode(Diag *diag, Arena *arena, Str path, Str bytes, Plan **out);
// Every index and offset of a plan is in range.
MUST_USE bool plan_verify(Diag *diag, Str path, const Plan *plan);
void plan_print(const Plan *plan, StrBuf *out);
