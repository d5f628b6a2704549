// emitter.c: finds and loads the LLVM module on first use, and what can be said of the CPU
// without it.
#include "codegen/emitter.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/io.h"
#include "codegen/cuda/cuda.h"
#include "codegen/llvm/module.h"

#define MODULE_FILE "libstrata_llvm.so"
#define PATH_CAP    4096

static const char *const level_texts[] = {
    [CPU_PORTABLE] = "portable",     [CPU_AVX2] = "avx2",   [CPU_AVX512] = "avx512",
    [CPU_AVX512BF16] = "avx512bf16", [CUDA_SM80] = "sm_80", [CUDA_SM90A] = "sm_90a",
    [CUDA_SM100A] = "sm_100a"};

const char *isa_level_text(IsaLevel level) {
    ASSERT(level <= CUDA_SM100A);
    return level_texts[level];
}

bool isa_level_parse(Str text, IsaLevel *out) {
    for (int i = CPU_PORTABLE; i <= CUDA_SM100A; i++) {
        if (!str_eq(text, str_of(level_texts[i]))) continue;
        *out = (IsaLevel)i;
        return true;
    }
    return false;
}

IsaLevel cpu_level_here(void) {
#if defined(__x86_64__)
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    bool bf16 = v4 && __builtin_cpu_supports("avx512bf16");
    return bf16 ? CPU_AVX512BF16 : v4 ? CPU_AVX512 : v3 ? CPU_AVX2 : CPU_PORTABLE;
#else
    return CPU_PORTABLE;
#endif
}

Str cpu_name_here(Arena *arena) {
    FILE *info = fopen("/proc/cpuinfo", "r");
    if (info == NULL) return STR("unknown CPU");
    char line[256];
    Str name = STR("unknown CPU");
    while (fgets(line, sizeof line, info) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
        Str rest = str_of(colon + 1);
        while (rest.len > 0 && *rest.ptr == ' ')
            rest = (Str){rest.ptr + 1, rest.len - 1};
        while (rest.len > 0 && rest.ptr[rest.len - 1] == '\n')
            rest.len--;
        name = str_copy(arena, rest);
        break;
    }
    fclose(info);
    return name;
}

// ---- the module

// The first of the places where the module may be that has it: beside the executable, in
// ../lib/strata from there, and in the tree that this build came from. False: in none of them.
static bool module_find(char out[PATH_CAP]) {
    char self[PATH_CAP - 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) n = 0;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (slash != NULL) *slash = 0;
    snprintf(out, PATH_CAP, "%s/%s", self, MODULE_FILE);
    if (access(out, R_OK) == 0) return true;
    snprintf(out, PATH_CAP, "%s/../lib/strata/%s", self, MODULE_FILE);
    if (access(out, R_OK) == 0) return true;
    snprintf(out, PATH_CAP, "%s/%s", STRATA_MODULE_DIR, MODULE_FILE);
    return access(out, R_OK) == 0;
}

// Loaded at most once in a process and never unloaded, because LLVM does not survive unloading;
// so this is the one piece of state that no caller can own.
static struct {
    pthread_once_t once;
    const EmitterModule *table;  // NULL: could not be loaded, see `reason`
    char reason[PATH_CAP + 64];
} module = {.once = PTHREAD_ONCE_INIT};

static void module_load(void) {
    char path[PATH_CAP];
    if (!module_find(path)) {
        snprintf(module.reason, sizeof module.reason, "%s was not found beside the executable",
                 MODULE_FILE);
        return;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = handle == NULL ? NULL : dlsym(handle, EMITTER_ENTRY);
    if (symbol == NULL) {
        snprintf(module.reason, sizeof module.reason, "%s", dlerror());
        return;
    }
    const EmitterModule *(*entry)(void);
    memcpy(&entry, &symbol, sizeof entry);
    const EmitterModule *table = entry();
    if (table->abi == EMITTER_ABI)
        module.table = table;
    else
        snprintf(module.reason, sizeof module.reason, "%s is of another version of strata",
                 path);
}

static bool module_need(Diag *diag) {
    pthread_once(&module.once, module_load);
    if (module.table != NULL) return true;
    return diag_fail(
        diag, FAIL_ENVIRONMENT,
        "no kernel can be compiled for the CPU: %s (it needs LLVM 19: install libllvm19)",
        module.reason);
}

// The CUDA emitter's sources are hashed by the build.
static Str cuda_version(Arena *arena) {
    Str nvrtc = nvrtc_version(arena);
    return nvrtc.len
               ? str_printf(arena, "nvrtc %.*s, %s", STR_ARG(nvrtc), STRATA_CUDA_SOURCES_HASH)
               : STR("none");
}

Str emitter_version(Arena *arena, IsaLevel level) {
    if (level_is_cuda(level)) return cuda_version(arena);
    // The module's bytes stand for the emitter's source and for the LLVM that it was built
    // with; nothing has to be counted up by hand, and LLVM need not be loaded.
    char path[PATH_CAP], text[HASH_TEXT];
    if (!module_find(path)) return STR("none");
    Diag ignored;
    diag_init(&ignored, arena);
    FileMap map;
    if (!io_map(&ignored, str_of(path), &map)) return STR("none");
    hash_text(hash_bytes(map.data, map.size), text);
    io_unmap(&map);
    return str_copy(arena, str_of(text));
}

bool emit_kernel(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options,
                 EmittedKernel *out) {
    return module_need(diag) && module.table->kernel(diag, arena, p, options, out);
}

bool emit_text(Diag *diag, Arena *arena, const TileProgram *p, EmitOptions options, Str *out) {
    return module_need(diag) && module.table->text(diag, arena, p, options, out);
}
