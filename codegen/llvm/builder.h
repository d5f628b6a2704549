// builder.h: short names for building LLVM IR through LLVM-C. One Builder makes one kernel
// function.
//
// Everything works at any number of lanes: lanes == 1 means a plain scalar, never a vector of
// one. Integer arithmetic on addresses is i64 and does not overflow. Extents are constants of
// the kernel, so most bounds are constants too.
#pragma once

#include <llvm-c/Core.h>

#include "codegen/emitter.h"

typedef LLVMValueRef IrValue;
typedef LLVMTypeRef IrType;
typedef LLVMBasicBlockRef IrBlock;

#define BUILD_MAX_LANES 64

const char *cpu_llvm_name(IsaLevel level);      // "x86-64-v4"
const char *cpu_llvm_features(IsaLevel level);  // beyond those: "+avx512bf16"

typedef struct {
    Diag *diag;
    Arena *arena;
    const TileProgram *program;
    IsaLevel level;
    int lanes;  // f32 lanes of a native vector: 4, 8 or 16
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef at;  // insertion point
    IrType i1, i8, i16, i32, i64, f32, ptr;
    // The kernel: void kernel(ptr args, i64 begin, i64 end, ptr scratch).
    IrValue function, begin, end, scratch;
    IrBlock entry;          // allocas go to its start
    IrValue *args;          // pointer of each argument, loaded in the entry block
    int64_t scratch_bytes;  // handed out by build_scratch
    IrValue zeros;          // 128 zero bytes in read-only memory: a vector of any type
    // The line table; debug is NULL: there is none.
    const Diag *lines;
    LLVMDIBuilderRef debug;
    LLVMMetadataRef kernel, line;
} Builder;

// Opens the function "kernel" for the program and loads its argument pointers; the insertion
// point is in its body. The name of the program must outlive the builder.
void builder_init(Builder *b, Diag *diag, Arena *arena, const TileProgram *p,
                  EmitOptions options);
void builder_finish(Builder *b);   // returns from the kernel
void builder_release(Builder *b);  // disposes of module and context

// ---- lines (lines.c). All of it does nothing where no line table is wanted.
void lines_open(Builder *b, const Diag *lines);  // once the function is there; NULL: no table
void lines_close(Builder *b);                    // before the module is used
// What is built from here on belongs to the span's line, if it has one.
void build_line(Builder *b, Span span);

// ---- types and constants
IrType type_vector(IrType element, int lanes);  // the element itself for one lane
int type_lanes(IrType type);
IrType type_of(const Builder *b, DType t,
               int lanes);  // of a value: F32 float, I32 i32, BOOL i1
IrValue build_i64(const Builder *b, int64_t x);
IrValue build_i32(const Builder *b, int64_t x, int lanes);
IrValue build_f32(const Builder *b, double x, int lanes);
IrValue build_bits(const Builder *b, uint32_t bits, int lanes);  // i32 splat of a bit pattern
IrValue build_lane_ids(const Builder *b, int64_t step,
                       int lanes);  // i32 <0, step, 2 step, ...>
IrValue build_mask_first(const Builder *b, int count,
                         int lanes);  // i1 constant: lanes below count
IrValue build_splat(Builder *b, IrValue scalar,
                    int lanes);  // of a scalar; a vector is returned as it is

// ---- addresses: i64; multiplications by 0 and 1 and additions of 0 leave no instruction
IrValue build_iadd(Builder *b, IrValue x, IrValue y);
IrValue build_imul(Builder *b, IrValue x, int64_t factor);
IrValue build_gep(Builder *b, IrType element, IrValue base,
                  IrValue index);  // base + index elements
IrValue build_gep_bytes(Builder *b, IrValue base, int64_t bytes);

// ---- arithmetic, any lanes. Products and sums may be fused where the level has FMA.
IrValue build_fadd(Builder *b, IrValue x, IrValue y);
IrValue build_fsub(Builder *b, IrValue x, IrValue y);
IrValue build_fmul(Builder *b, IrValue x, IrValue y);
IrValue build_fdiv(Builder *b, IrValue x, IrValue y);
IrValue build_fneg(Builder *b, IrValue x);
IrValue build_fabs(Builder *b, IrValue x);
IrValue build_sqrt(Builder *b, IrValue x);
IrValue build_fma(Builder *b, IrValue x, IrValue y,
                  IrValue z);  // x * y + z; fused where the level has FMA
// sum + x * y for the pairs of bf16 in each lane, where the level has it; all are f32 vectors.
IrValue build_dot_pairs(Builder *b, IrValue x, IrValue y, IrValue sum);
IrValue build_fmax(Builder *b, IrValue x, IrValue y);  // x > y ? x : y
IrValue build_fmin(Builder *b, IrValue x, IrValue y);  // x < y ? x : y
IrValue build_fcmp(Builder *b, LLVMRealPredicate how, IrValue x, IrValue y);
IrValue build_icmp(Builder *b, LLVMIntPredicate how, IrValue x, IrValue y);
IrValue build_select(Builder *b, IrValue condition, IrValue x, IrValue y);
IrValue build_bitcast(Builder *b, IrValue x, IrType type);
IrValue build_extract(Builder *b, IrValue vector, int lane);
IrValue build_insert(Builder *b, IrValue vector, IrValue x, int lane);
// One value from all lanes, by halving: the order of summation depends on the lanes only.
IrValue build_lanes_sum(Builder *b, IrValue x);
IrValue build_lanes_max(Builder *b, IrValue x);
// Lane i of the result is the sum of the lanes of x[i]: of `count` vectors, a power of two that
// is at most their lanes. Overwrites x.
IrValue build_lanes_sums(Builder *b, IrValue *x, int count);
// Lanes of x, then of y, by number.
IrValue build_shuffle(Builder *b, IrValue x, IrValue y, const int *lane, int count);

// A square of lanes x lanes: x[i] lane j becomes x[j] lane i.
void build_transpose(Builder *b, IrValue *x, int lanes);

// ---- memory. Alignment in bytes. mask NULL: all lanes; masked-off lanes read 0 and touch no
// memory.
IrValue build_load(Builder *b, IrType type, IrValue pointer, unsigned align);
IrValue build_store(Builder *b, IrValue x, IrValue pointer,
                    unsigned align);  // returns the instruction
IrValue build_load_masked(Builder *b, IrType type, IrValue pointer, unsigned align,
                          IrValue mask);
void build_store_masked(Builder *b, IrValue x, IrValue pointer, unsigned align, IrValue mask);
IrValue build_gather(Builder *b, IrType type, IrValue pointers, unsigned align, IrValue mask);
void build_scatter(Builder *b, IrValue x, IrValue pointers, unsigned align, IrValue mask);
void build_nontemporal(Builder *b,
                       IrValue store);  // takes effect if the store is aligned to its own size
void build_prefetch(Builder *b, IrValue pointer, bool write,
                    int locality);  // locality 3: L1, 2: L2
// Loads and stores are not moved across it, so that what is loaded waits in no register.
void build_fence(Builder *b, IrValue value);
// What is loaded before it is loaded anew behind it, instead of waiting in a register.
void build_forget(Builder *b);
// A variable in registers: SROA turns loads and stores of it into SSA values.
IrValue build_variable(Builder *b, IrType type);
// Offset in the thread's scratch memory of `bytes` bytes, 64-byte aligned, reserved for the
// whole kernel.
IrValue build_scratch(Builder *b, int64_t bytes);

// Any intrinsic: overloads are the types that its name leaves open.
typedef struct {
    const char *name;
    IrType overloads[3];
    unsigned overload_count;
} Intrinsic;
IrValue build_intrinsic(Builder *b, Intrinsic which, IrValue *args, unsigned count);

// ---- control
#define LOOP_MAX_CARRIED 64
// A bottom-tested loop: for (index = from; index < to; index += step). carried[] holds the
// values at the start of an iteration; the caller replaces them by their next values before
// loop_end, and after loop_end they are the final ones.
typedef struct {
    IrValue index;  // i64
    IrValue carried[LOOP_MAX_CARRIED];
    uint32_t count;
    // private
    IrValue to, first[LOOP_MAX_CARRIED], phi[LOOP_MAX_CARRIED];
    int64_t step;
    IrBlock before, head, after;
} Loop;
void loop_begin(Builder *b, Loop *loop, IrValue from, IrValue to,
                int64_t step);  // set count and carried[] first
void loop_end(Builder *b, Loop *loop);

IrBlock build_block(Builder *b, const char *name);
void build_at(Builder *b, IrBlock block);
// if (condition) { ... } without a value.
typedef struct {
    IrBlock after;
} Branch;
Branch branch_begin(Builder *b, IrValue condition);
void branch_end(Builder *b, Branch branch);
