// gpu.c: see gpu.h.
#include "tests/gpu/gpu.h"

#include <stdio.h>

#include "codegen/cuda/cuda.h"
#include "runtime/cuda/driver.h"

static bool find_level(Diag *diag, Arena *arena, IsaLevel *out) {
    CudaDevice *devices;
    uint32_t count;
    const CudaDriver *cu = cuda_driver(diag);
    if (!cu || !cuda_devices(diag, arena, cu, &devices, &count)) return false;
    if (!count) return diag_fail(diag, FAIL_ENVIRONMENT, "there is no GPU here");
    Str arch = cuda_device_arch(arena, &devices[0]);
    if (!isa_level_parse(arch, out) || !level_is_cuda(*out))
        return diag_fail(diag, FAIL_ENVIRONMENT, "no kernel is compiled for %.*s (%s)",
                         STR_ARG(arch), devices[0].name);
    return nvrtc_version(arena).len || diag_fail(diag, FAIL_ENVIRONMENT, "there is no NVRTC");
}

bool gpu_level(IsaLevel *out) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    bool ok = find_level(&diag, &arena, out);
    StrBuf text = {0};
    if (!ok) diag_render(&diag, &text);
    if (!ok) fprintf(stderr, "skipped: %s", text.ptr);
    strbuf_release(&text);
    arena_release(&arena);
    return ok;
}
