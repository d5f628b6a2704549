// nccl.c: finding NCCL.
#include "runtime/cuda/nccl.h"

#include <pthread.h>
#include <string.h>

#include "base/library.h"

static const char *const symbols[] = {
#define NCCL_FUNCTION(symbol) #symbol,
#include "runtime/cuda/nccl.def"
#undef NCCL_FUNCTION
};
enum { SYMBOLS = sizeof symbols / sizeof *symbols };

// Opened at most once in a process and never closed: it has threads of its own.
static struct {
    pthread_once_t once;
    bool found;
    const char *lacks;
    void *functions[SYMBOLS];  // the first is ncclGetVersion
} nccl = {.once = PTHREAD_ONCE_INIT};

static void nccl_find(void) {
    static const char *const places[] = {"libnccl.so.2", "/usr/local/cuda*/lib64/libnccl.so.2"};
    static const LibrarySpec spec = {.variable = "STRATA_NCCL",
                                     .file = "libnccl.so.2",
                                     .places = places,
                                     .place_count = sizeof places / sizeof *places,
                                     .symbols = symbols,
                                     .symbol_count = SYMBOLS};
    nccl.found = library_open(&spec, nccl.functions, &nccl.lacks);
}

bool nccl_version(Diag *diag, Arena *arena, Str *out) {
    pthread_once(&nccl.once, nccl_find);
    if (!nccl.found && nccl.lacks)
        return diag_fail(diag, FAIL_ENVIRONMENT,
                         "GPUs cannot work together: NCCL is older than 2.7, it has no %s",
                         nccl.lacks);
    if (!nccl.found)
        return diag_fail(
            diag, FAIL_ENVIRONMENT,
            "GPUs cannot work together: libnccl.so.2 was not found (install NCCL or "
            "set STRATA_NCCL)");
    int (*get)(int *version);
    memcpy(&get, &nccl.functions[0], sizeof get);
    int version = 0, error = get(&version);
    if (error)
        return diag_fail(diag, FAIL_ENVIRONMENT,
                         "GPUs cannot work together: NCCL fails with error %d", error);
    *out = str_printf(arena, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    return true;
}
