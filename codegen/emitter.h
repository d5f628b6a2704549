// emitter.h: tile program -> machine code, behind one function so that LLVM stays
// out of the start path: the implementation is a shared module, loaded when the first kernel
// must be compiled.
#pragma once

#include "base/launch.h"
#include "ir/tile/tile.h"

// What code is made for.
typedef enum {
    CPU_PORTABLE,
    CPU_AVX2,
    CPU_AVX512,
    CPU_AVX512BF16,  // and products of pairs of bf16
    CUDA_SM80,
    CUDA_SM90A,
    CUDA_SM100A
} IsaLevel;
// "portable", "avx2", "avx512", "avx512bf16", "sm_80", "sm_90a", "sm_100a"
const char *isa_level_text(IsaLevel level);
// Vectors of 16 f32 and as many masks.
static inline bool level_is_avx512(IsaLevel level) {
    return level == CPU_AVX512 || level == CPU_AVX512BF16;
}
static inline bool level_is_cuda(IsaLevel level) { return level >= CUDA_SM80; }
bool isa_level_parse(Str text, IsaLevel *out);
IsaLevel cpu_level_here(void);    // best that this machine has
Str cpu_name_here(Arena *arena);  // "Intel(R) Xeon(R) ... "

typedef struct {
    IsaLevel level;
    const Diag *lines;  // the model's sources, for a line table or #line; NULL: none
    bool assembly;      // what emit_text gives; else LLVM IR
} EmitOptions;

typedef struct {
    Str object;  // relocatable ELF, one function "kernel" of type KernelFn (runtime/plan.h); no
                 // undefined symbols. For CUDA: a cubin with one kernel "kernel"
    int64_t scratch_bytes;  // per thread; of a GPU, what does not fit its registers
    int64_t tasks;
    Launch launch;         // of a CUDA kernel; zero otherwise
    uint32_t spill_bytes;  // of a CUDA kernel: see CudaCode
    Str notes;             // of a CUDA kernel: see CudaCode
} EmittedKernel;

// Version of the emitter for a level and of the compiler behind it (LLVM, NVRTC), part of every
// cache key.
Str emitter_version(Arena *arena, IsaLevel level);
// False: no LLVM on this machine (FAIL_ENVIRONMENT, naming the package), or the program has no
// code for this level. Thread-safe: any number of calls at once, each with its own arena and
// diag.
MUST_USE bool emit_kernel(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options,
                          EmittedKernel *out);
// The textual forms for `show`: LLVM IR or assembly.
MUST_USE bool emit_text(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options,
                        Str *out);
