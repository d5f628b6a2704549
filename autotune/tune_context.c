// tune_context.c: see tune_context.h.
#include "autotune/tune_context.h"

TuneContext tune_context(Arena *arena, IsaLevel level, uint32_t threads,
                         const CudaAnswer *gpu) {
    TuneContext out = {.level = level, .emitter = emitter_version(arena, level)};
    if (!level_is_cuda(level)) {
        out.cpu = cpu_name_here(arena);
        out.threads = threads;
        return out;
    }
    out.threads = 1;
    out.cpu = gpu ? str_printf(arena, "%s, driver for CUDA %s", gpu->device.name, gpu->driver)
                  : STR("no GPU");
    return out;
}
