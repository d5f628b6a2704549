// bench_nvrtc.c: how long NVRTC takes for the kernels of a training step of each model, at the
// size of the demo, on two threads. Prints Markdown.
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/models/cuda_kernels.h"

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(const char *path, IsaLevel arch, CudaKernels *k, double seconds) {
    double *times = arena_array(&k->arena, double, k->kernels.len);
    uint32_t spilling = 0, failed = 0;
    for (uint32_t i = 0; i < k->kernels.len; i++) {
        const CompiledKernel *kernel = &k->kernels.ptr[i];
        times[i] = kernel->code.seconds;
        failed += kernel->failure[0] != 0;
        spilling += kernel->code.spill_bytes > 0;
        if (kernel->code.spill_bytes)
            fprintf(stderr, "%s: %.*s spills %u bytes\n", path, STR_ARG(kernel->program->name),
                    kernel->code.spill_bytes);
    }
    qsort(times, k->kernels.len, sizeof *times, by_value);
    printf("| %s | %s | %u | %.2f | %.2f | %.1f | %u | %u |\n", path, isa_level_text(arch),
           k->kernels.len, times[k->kernels.len / 2], times[k->kernels.len - 1], seconds,
           spilling, failed);
}

static bool measure(const char *path, IsaLevel arch) {
    const Binding bindings[] = {{STR("B"), 8}, {STR("T"), 256}};
    CudaModel m = {.path = path,
                   .kind = ENTRY_TRAIN,
                   .bindings = {bindings, 2},
                   .arch = arch,
                   .storage = DTYPE_BF16};
    CudaKernels k;
    cuda_kernels_init(&k);
    bool ok = cuda_kernels_add(&k, &m);
    double start = clock_seconds();
    if (ok) cuda_kernels_compile(&k);
    if (ok) print_row(path, arch, &k, clock_seconds() - start);
    cuda_kernels_release(&k);
    return ok;
}

int main(void) {
    static const char *const models[] = {"models/prenorm.strata", "models/attnres_full.strata",
                                         "models/attnres_block.strata"};
    Arena arena = {0};
    Str version = nvrtc_version(&arena);
    if (!version.len) {
        puts("\nNot measured: there is no NVRTC.");
        return 0;
    }
    printf("\nNVRTC %.*s, two threads, bf16, B 8, T 256; seconds.\n\n"
           "| model | for | kernels | median | longest | all | spilling | failed |\n"
           "|---|---|---|---|---|---|---|---|\n",
           STR_ARG(version));
    bool ok = true;
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++)
        for (size_t i = 0; i < sizeof models / sizeof *models; i++)
            ok = measure(models[i], (IsaLevel)arch) && ok;
    arena_release(&arena);
    return ok ? 0 : 1;
}
