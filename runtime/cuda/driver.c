// driver.c: finding the CUDA driver and its devices.
#include "runtime/cuda/driver.h"

#include <pthread.h>
#include <stdio.h>

#include "base/library.h"

enum { REASON_CAP = 512 };

// Opened at most once in a process and never closed: a driver does not survive that.
static struct {
    pthread_once_t once;
    bool ready;
    CudaDriver table;
    char reason[REASON_CAP];
} driver = {.once = PTHREAD_ONCE_INIT};

static void driver_open(void) {
    // Containers and WSL keep it outside the loader's list.
    static const char *const places[] = {"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1",
                                         "/usr/lib/wsl/lib/libcuda.so.1"};
    static const char *const symbols[] = {
#define DRIVER_FUNCTION(name, symbol, ...) #symbol,
#include "runtime/cuda/driver.def"
#undef DRIVER_FUNCTION
    };
    static const LibrarySpec spec = {.variable = "STRATA_LIBCUDA",
                                     .file = "libcuda.so.1",
                                     .places = places,
                                     .place_count = sizeof places / sizeof *places,
                                     .symbols = symbols,
                                     .symbol_count = sizeof symbols / sizeof *symbols};
    _Static_assert(sizeof symbols == sizeof(CudaDriver), "a pointer for each symbol");
    const char *lacks;
    if (!library_open(&spec, &driver.table, &lacks)) {
        if (lacks)
            snprintf(driver.reason, REASON_CAP,
                     "the CUDA driver is older than CUDA 12.0: it has no %s", lacks);
        else
            snprintf(driver.reason, REASON_CAP, "there is no CUDA driver (libcuda.so.1)");
        return;
    }
    int error = driver.table.init(0);
    const char *text = NULL;
    driver.ready = error == 0;
    if (driver.ready) return;
    driver.table.error_text(error, &text);
    snprintf(driver.reason, REASON_CAP, "the CUDA driver does not start: %s",
             text ? text : "unknown error");
}

const CudaDriver *cuda_driver(Diag *diag) {
    pthread_once(&driver.once, driver_open);
    if (driver.ready) return &driver.table;
    if (diag) diag_fail(diag, FAIL_ENVIRONMENT, "no GPU can be used: %s", driver.reason);
    return NULL;
}

bool cuda_fail(Diag *diag, const CudaDriver *cu, int error, const char *fmt, ...) {
    const char *name = NULL, *text = NULL;
    cu->error_name(error, &name);
    cu->error_text(error, &text);
    StrBuf what = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&what, fmt, args);
    va_end(args);
    diag_fail(diag, FAIL_ENVIRONMENT, "%s: %s (%s)", what.ptr, name ? name : "CUDA error",
              text ? text : "no text");
    strbuf_release(&what);
    return false;
}

static int device_describe(const CudaDriver *cu, int index, CudaDevice *out) {
    *out = (CudaDevice){.index = index};
    int error = cu->device_name(out->name, sizeof out->name, index);
    if (!error) error = cu->device_attribute(&out->major, CU_DEVICE_MAJOR, index);
    if (!error) error = cu->device_attribute(&out->minor, CU_DEVICE_MINOR, index);
    if (!error) error = cu->device_attribute(&out->processors, CU_DEVICE_PROCESSORS, index);
    if (!error) error = cu->device_attribute(&out->shared_bytes, CU_DEVICE_SHARED_BYTES, index);
    if (!error) error = cu->device_memory(&out->memory_bytes, index);
    return error;
}

bool cuda_devices(Diag *diag, Arena *arena, const CudaDriver *cu, CudaDevice **out,
                  uint32_t *count) {
    int found = 0;
    *count = 0;
    int error = cu->device_count(&found);
    if (error == CU_NO_DEVICE) return true;
    if (error) return cuda_fail(diag, cu, error, "the GPUs cannot be counted");
    *out = arena_array(arena, CudaDevice, found);
    for (int i = 0; i < found; i++) {
        error = device_describe(cu, i, &(*out)[i]);
        if (error) return cuda_fail(diag, cu, error, "GPU %d cannot be described", i);
    }
    *count = (uint32_t)found;
    return true;
}

Str cuda_device_arch(Arena *arena, const CudaDevice *device) {
    static const char *const archs[] = {"sm_80", "sm_90a", "sm_100a"};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (cuda_device_runs(device, str_of(archs[i]))) return str_of(archs[i]);
    return str_printf(arena, "sm_%d%d", device->major, device->minor);
}

// Machine code runs on later minor versions of its capability, and that of "a" architectures
// on their own alone.
bool cuda_device_runs(const CudaDevice *device, Str arch) {
    if (str_eq(arch, STR("sm_80"))) return device->major == 8;
    if (str_eq(arch, STR("sm_90a"))) return device->major == 9 && device->minor == 0;
    if (str_eq(arch, STR("sm_100a"))) return device->major == 10 && device->minor == 0;
    return false;
}

Str cuda_driver_version(Arena *arena, const CudaDriver *cu) {
    int version = 0;
    if (cu->version(&version)) return STR("unknown");
    return str_printf(arena, "%d.%d", version / 1000, version % 1000 / 10);
}
