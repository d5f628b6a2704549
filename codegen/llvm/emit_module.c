// emit_module.c: one tile program -> one LLVM module -> one relocatable object, or its text.
// Everything lives in a context of its own, so calls run at once on any number of threads.
#include <elf.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>

#include "base/check.h"
#include "codegen/llvm/module.h"
#include "codegen/llvm/skeleton.h"

// The IR is made of explicit vectors and needs little: variables become values (sroa),
// addresses and loads that two operations share are made once (early-cse).
#define PASSES "sroa,early-cse"

// Between passes over a row STREAM computes many scalars alike, such as the weights of sources.
static const char *passes_of(const TileProgram *p) {
    return p->skeleton == TILE_STREAM ? "function(" PASSES ",slp-vectorizer)"
                                      : "function(" PASSES ")";
}

typedef struct {
    Builder builder;
    LLVMTargetMachineRef machine;
} Emission;

static void targets_init(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
}

// LLVM would print errors and exit: they become errors of the kernel's diag instead.
static void llvm_diagnose(LLVMDiagnosticInfoRef info, void *context) {
    Builder *b = context;
    if (LLVMGetDiagInfoSeverity(info) != LLVMDSError) return;
    char *text = LLVMGetDiagInfoDescription(info);
    diag_fail(b->diag, FAIL_ENVIRONMENT, "LLVM could not compile kernel '%.*s': %s",
              STR_ARG(b->program->name), text);
    LLVMDisposeMessage(text);
}

static LLVMTargetMachineRef machine_new(IsaLevel level) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, targets_init);
    static const char triple[] = "x86_64-unknown-linux-gnu";
    LLVMTargetRef target;
    char *error = NULL;
    if (LLVMGetTargetFromTriple(triple, &target, &error))
        BUG("LLVM has no x86 target: %s", error);
    return LLVMCreateTargetMachine(target, triple, cpu_llvm_name(level),
                                   cpu_llvm_features(level), LLVMCodeGenLevelDefault,
                                   LLVMRelocPIC, LLVMCodeModelDefault);
}

static void module_target(Emission *e) {
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(e->machine);
    LLVMSetModuleDataLayout(e->builder.module, layout);
    LLVMDisposeTargetData(layout);
    char *triple = LLVMGetTargetMachineTriple(e->machine);
    LLVMSetTarget(e->builder.module, triple);
    LLVMDisposeMessage(triple);
}

static void module_optimise(Emission *e) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    const char *passes = passes_of(e->builder.program);
    LLVMErrorRef error = LLVMRunPasses(e->builder.module, passes, e->machine, options);
    if (error != NULL) BUG("LLVM passes: %s", LLVMGetErrorMessage(error));
    LLVMDisposePassBuilderOptions(options);
}

static bool program_sorts(const TileProgram *p) {
    return p->ops.ptr[p->ops.len - 1].kind == TILE_SORT;
}

static bool skeleton_emit(Builder *b) {
    switch (b->program->skeleton) {
    case TILE_STREAM: return program_sorts(b->program) ? order_emit(b) : stream_emit(b);
    case TILE_LOOP: return loop_emit(b);
    case TILE_ATTEND: return attend_emit(b);
    case TILE_CHUNK: return chunk_emit(b);
    }
    BUG("skeleton %d", (int)b->program->skeleton);
}

// Builds, checks and optimises the module. emission_close is due in any case.
static bool emission_open(Emission *e, Diag *diag, Arena *arena, const TileProgram *p,
                          EmitOptions options) {
    e->machine = machine_new(options.level);
    builder_init(&e->builder, diag, arena, p, options);
    LLVMContextSetDiagnosticHandler(e->builder.context, llvm_diagnose, &e->builder);
    module_target(e);
    if (!skeleton_emit(&e->builder)) return false;
    builder_finish(&e->builder);
    char *error = NULL;
    if (LLVMVerifyModule(e->builder.module, LLVMReturnStatusAction, &error)) {
        LLVMDumpModule(e->builder.module);
        BUG("kernel '%.*s' is not valid LLVM IR: %s", STR_ARG(p->name), error);
    }
    LLVMDisposeMessage(error);
    module_optimise(e);
    return true;
}

static void emission_close(Emission *e) {
    builder_release(&e->builder);
    LLVMDisposeTargetMachine(e->machine);
}

static bool emission_code(Emission *e, LLVMCodeGenFileType type, Str *out) {
    uint32_t errors = e->builder.diag->error_count;
    LLVMMemoryBufferRef buffer = NULL;
    char *error = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(e->machine, e->builder.module, type, &error,
                                            &buffer))
        BUG("LLVM code generation: %s", error);
    Str code = {LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer)};
    *out = str_copy(e->builder.arena, code);
    LLVMDisposeMemoryBuffer(buffer);
    return e->builder.diag->error_count == errors;
}

// A kernel is loaded without a linker: a call of memcpy or expf that LLVM slipped in is a bug
// of ours.
static void object_check(Str name, Str object) {
    const Elf64_Ehdr *header = (const void *)object.ptr;
    const Elf64_Shdr *sections = (const void *)(object.ptr + header->e_shoff);
    for (uint32_t s = 0; s < header->e_shnum; s++) {
        if (sections[s].sh_type != SHT_SYMTAB) continue;
        const Elf64_Sym *symbols = (const void *)(object.ptr + sections[s].sh_offset);
        const char *names = object.ptr + sections[sections[s].sh_link].sh_offset;
        for (size_t i = 1; i < sections[s].sh_size / sizeof *symbols; i++)
            if (symbols[i].st_shndx == SHN_UNDEF)
                BUG("kernel '%.*s' needs '%s'", STR_ARG(name), names + symbols[i].st_name);
    }
}

static bool module_kernel(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options,
                          EmittedKernel *out) {
    Emission e;
    bool ok = emission_open(&e, diag, arena, p, options) &&
              emission_code(&e, LLVMObjectFile, &out->object);
    if (ok) {
        object_check(p->name, out->object);
        out->scratch_bytes = e.builder.scratch_bytes;
        out->tasks = tile_task_count(p);
    }
    emission_close(&e);
    return ok;
}

static bool module_text(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options,
                        Str *out) {
    Emission e;
    bool ok = emission_open(&e, diag, arena, p, options);
    if (ok && options.assembly) {
        ok = emission_code(&e, LLVMAssemblyFile, out);
    } else if (ok) {
        char *text = LLVMPrintModuleToString(e.builder.module);
        *out = str_copy(arena, str_of(text));
        LLVMDisposeMessage(text);
    }
    emission_close(&e);
    return ok;
}

const EmitterModule *strata_llvm_module(void) {
    static const EmitterModule table = {EMITTER_ABI, module_kernel, module_text};
    return &table;
}
