// nvrtc.c: CUDA C++ -> cubin or PTX by NVRTC, which is opened when it is first needed; strata
// itself is built and runs without it.
#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/library.h"
#include "codegen/cuda/cuda.h"

#define NVRTC_MISSING                                                                      \
    "no kernel can be compiled for CUDA: %s (install the CUDA toolkit, run tools/deps.sh " \
    "cuda, or set STRATA_NVRTC to the library)"

enum { PATH_CAP = 1024 };

typedef struct NvrtcProgram NvrtcProgram;
enum { NVRTC_OK = 0, NVRTC_INVALID_OPTION = 5, NVRTC_COMPILATION = 6 };  // nvrtcResult

typedef struct {
#define NVRTC_FUNCTION(name, symbol, ...) int (*name)(__VA_ARGS__);
#include "codegen/cuda/nvrtc.def"
#undef NVRTC_FUNCTION
} NvrtcTable;

// ---- finding it

// Opened at most once in a process and never closed: it has threads and caches of its own.
static struct {
    pthread_once_t once;
    bool found;
    NvrtcTable table;
    int major, minor;
    char reason[PATH_CAP];  // why it was not found
} nvrtc = {.once = PTHREAD_ONCE_INIT};

// Where tools/deps.sh puts it.
static void cache_pattern(char *out, size_t cap) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool own = cache && *cache;
    snprintf(out, cap, "%s%s/strata/nvrtc/libnvrtc.so*",
             own    ? cache
             : home ? home
                    : "",
             own ? "" : "/.cache");
}

// NVRTC opens its builtins by their name alone, which its own run path makes known; a sanitizer
// that opens in its place does not know them. What is open already is found.
static void builtins_open(void) {
    Dl_info info;
    void *address;
    memcpy(&address, &nvrtc.table.version, sizeof address);
    if (!dladdr(address, &info) || !strrchr(info.dli_fname, '/')) return;
    int folder = (int)(strrchr(info.dli_fname, '/') - info.dli_fname);
    char pattern[PATH_CAP];
    snprintf(pattern, sizeof pattern, "%.*s/libnvrtc-builtins.so*", folder, info.dli_fname);
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) return;
    for (size_t k = 0; k < found.gl_pathc; k++)
        (void)dlopen(found.gl_pathv[k], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
}

static void nvrtc_open(void) {
    char cache[PATH_CAP];
    cache_pattern(cache, sizeof cache);
    const char *const places[] = {"libnvrtc.so.13",
                                  "libnvrtc.so.12",
                                  "libnvrtc.so",
                                  "/usr/local/cuda*/lib64/libnvrtc.so*",
                                  "/usr/lib/x86_64-linux-gnu/libnvrtc.so*",
                                  cache};
    static const char *const symbols[] = {
#define NVRTC_FUNCTION(name, symbol, ...) symbol,
#include "codegen/cuda/nvrtc.def"
#undef NVRTC_FUNCTION
    };
    const LibrarySpec spec = {.variable = "STRATA_NVRTC",
                              .file = "libnvrtc.so*",
                              .places = places,
                              .place_count = sizeof places / sizeof *places,
                              .symbols = symbols,
                              .symbol_count = sizeof symbols / sizeof *symbols};
    _Static_assert(sizeof symbols == sizeof(NvrtcTable), "a pointer for each symbol");
    const char *lacks, *named = getenv(spec.variable);
    nvrtc.found = library_open(&spec, &nvrtc.table, &lacks) &&
                  nvrtc.table.version(&nvrtc.major, &nvrtc.minor) == NVRTC_OK;
    if (nvrtc.found)
        builtins_open();
    else if (named && *named)
        snprintf(nvrtc.reason, sizeof nvrtc.reason, "STRATA_NVRTC=%s is no NVRTC", named);
    else
        snprintf(nvrtc.reason, sizeof nvrtc.reason, "libnvrtc.so was not found");
}

bool nvrtc_available(Diag *diag) {
    pthread_once(&nvrtc.once, nvrtc_open);
    if (nvrtc.found) return true;
    return diag_fail(diag, FAIL_ENVIRONMENT, NVRTC_MISSING, nvrtc.reason);
}

Str nvrtc_version(Arena *arena) {
    pthread_once(&nvrtc.once, nvrtc_open);
    if (!nvrtc.found) return STR("");
    return str_printf(arena, "%d.%d", nvrtc.major, nvrtc.minor);
}

// ---- a program

typedef struct {
    Diag *diag;
    Arena *arena;
    NvrtcProgram *program;
    const char *arch;  // "sm_90a"
    char *log;
    bool roomy;  // fewer blocks a multiprocessor, for registers that were spilled
} Compilation;

static bool log_read(Compilation *c) {
    size_t bytes = 0;
    bool ok = nvrtc.table.log_size(c->program, &bytes) == NVRTC_OK;
    c->log = arena_array(c->arena, char, bytes + 1);
    return ok && nvrtc.table.log(c->program, c->log) == NVRTC_OK;
}

// The first line of the log that has an error, which begins with the model's line where the
// program says #line.
static Str first_error(const char *log) {
    const char *at = strstr(log, "error");
    if (!at) return STR("there is no reason in its log");
    while (at > log && at[-1] != '\n')
        at--;
    return (Str){at, strcspn(at, "\n")};
}

static bool program_fail(Compilation *c, int result) {
    const char *log = c->log ? c->log : "";
    if (result == NVRTC_INVALID_OPTION) {
        return diag_fail(c->diag, FAIL_ENVIRONMENT, "NVRTC %d.%d does not compile for %s",
                         nvrtc.major, nvrtc.minor, c->arch);
    }
    if (result != NVRTC_COMPILATION) {
        return diag_fail(c->diag, FAIL_ENVIRONMENT, "NVRTC %d.%d failed with code %d %s",
                         nvrtc.major, nvrtc.minor, result, log);
    }
    Str line = first_error(log);
    diag_fail(c->diag, FAIL_INPUT, "strata's CUDA code does not compile: %.*s", STR_ARG(line));
    diag_note(c->diag, (Span){0}, "the whole log of NVRTC:\n%s", log);
    return false;
}

// One attempt with or without --minimal, which spares the parsing of headers but is younger
// than the rest.
static int program_compile(Compilation *c, const char *text, bool minimal) {
    const char *texts[] = {cuda_prelude().ptr, cuda_stream_library().ptr, cuda_wgmma().ptr,
                           cuda_chunk_library().ptr};
    const char *names[] = {"prelude.cuh", "stream.cuh", "wgmma.cuh", "chunk.cuh"};
    char arch[64];
    snprintf(arch, sizeof arch, "--gpu-architecture=%s", c->arch);
    const char *options[6] = {arch, "--std=c++17", "--ptxas-options=-v"};
    int count = 3;
    if (c->roomy) options[count++] = "--define-macro=ROOMY";
    if (minimal) options[count++] = "--minimal";
    int result = nvrtc.table.create(&c->program, text, "kernel.cu", 4, texts, names);
    if (result != NVRTC_OK) return result;
    result = nvrtc.table.compile(c->program, count, options);
    if (!log_read(c)) c->log = NULL;
    return result;
}

// ensures: on true, c->program is compiled and c->log is its log; close with program_close
static bool program_open(Compilation *c, Str text, IsaLevel arch) {
    ASSERT(level_is_cuda(arch));
    if (!nvrtc_available(c->diag)) return false;
    c->arch = isa_level_text(arch);
    const char *copy = arena_strndup(c->arena, text.ptr, text.len);
    int result = program_compile(c, copy, true);
    if (result == NVRTC_INVALID_OPTION) {
        nvrtc.table.destroy(&c->program);
        result = program_compile(c, copy, false);
    }
    if (result == NVRTC_OK && c->log) return true;
    program_fail(c, result);
    if (c->program) nvrtc.table.destroy(&c->program);
    return false;
}

typedef int GetSize(NvrtcProgram *program, size_t *bytes);
typedef int GetBytes(NvrtcProgram *program, char *out);

static bool program_result(Compilation *c, GetSize *size, GetBytes *get, Str *out) {
    size_t bytes = 0;
    int result = size(c->program, &bytes);
    char *data = arena_array(c->arena, char, bytes + 1);
    if (result == NVRTC_OK) result = get(c->program, data);
    nvrtc.table.destroy(&c->program);
    *out = (Str){data, bytes};
    return (result == NVRTC_OK && bytes) || program_fail(c, result);
}

// ---- what ptxas says

// "    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads": the number before a
// text, summed over all its places.
static uint32_t sum_before(const char *log, const char *text) {
    unsigned long sum = 0;
    for (const char *at = strstr(log, text); at; at = strstr(at + 1, text)) {
        const char *number = at;
        while (number > log && number[-1] >= '0' && number[-1] <= '9')
            number--;
        sum += strtoul(number, NULL, 10);
    }
    return (uint32_t)sum;
}

// Warnings that a kernel runs slower than it was written to, line by line.
static Str slow_notes(Arena *arena, const char *log) {
    static const char *const codes[] = {"C7504", "C7510", "C7519", "C7520"};
    StrBuf notes = {0};
    for (const char *line = log; *line; line += strspn(line, "\n")) {
        size_t length = strcspn(line, "\n");
        bool slow = false;
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
            const char *at = strstr(line, codes[i]);
            slow |= at && at < line + length;
        }
        if (slow) strbuf_addf(&notes, "%s%.*s", notes.len ? "\n" : "", (int)length, line);
        line += length;
    }
    Str copy = str_copy(arena, strbuf_view(&notes));
    strbuf_release(&notes);
    return copy;
}

static void log_facts(Arena *arena, const char *log, CudaCode *out) {
    const char *used = strstr(log, "Used ");
    out->registers = used ? (uint32_t)strtoul(used + strlen("Used "), NULL, 10) : 0;
    out->stack_bytes = sum_before(log, " bytes stack frame");
    out->spill_bytes =
        sum_before(log, " bytes spill stores") + sum_before(log, " bytes spill loads");
    out->shared_bytes = sum_before(log, " bytes smem");
    out->notes = slow_notes(arena, log);
}

static bool compile_once(Compilation *c, Str text, IsaLevel arch, CudaCode *out) {
    *out = (CudaCode){0};
    if (!program_open(c, text, arch)) return false;
    if (!program_result(c, nvrtc.table.cubin_size, nvrtc.table.cubin, &out->cubin))
        return false;
    log_facts(c->arena, c->log, out);
    return true;
}

bool nvrtc_compile(Diag *diag, Arena *arena, Str text, IsaLevel arch, CudaCode *out) {
    double before = clock_thread_seconds();
    Compilation c = {.diag = diag, .arena = arena};
    if (!compile_once(&c, text, arch, out)) return false;
    if (out->spill_bytes) {  // perhaps for one more block on a multiprocessor
        CudaCode roomy;
        c.roomy = true;
        if (!compile_once(&c, text, arch, &roomy)) return false;
        if (roomy.spill_bytes < out->spill_bytes) *out = roomy;
    }
    out->seconds = clock_thread_seconds() - before;
    return true;
}

bool nvrtc_ptx(Diag *diag, Arena *arena, Str text, IsaLevel arch, Str *out) {
    *out = (Str){0};
    Compilation c = {.diag = diag, .arena = arena};
    if (!program_open(&c, text, arch)) return false;
    if (!program_result(&c, nvrtc.table.ptx_size, nvrtc.table.ptx, out)) return false;
    out->len--;  // the NUL is counted
    return true;
}
