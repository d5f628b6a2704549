// bench_nvrtc.c: how long NVRTC takes for the kernels of a training step of each model, and for
// those with the longest text: attention over depth with many sources and queries, and Kimi
// delta attention. A kernel's time is that of its thread on the CPU. Prints Markdown.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/models/cuda_kernels.h"

enum { ALONE = 3 };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// With nothing beside it, and the least of a few times: what else the machine does only adds.
static double seconds_alone(CompiledKernel *kernel) {
    double least = HUGE_VAL;
    for (int i = 0; i < ALONE; i++) {
        cuda_kernel_compile(kernel);
        least = fmin(least, kernel->seconds);
    }
    return least;
}

// The longest such time, of the kernels that took at least half of `longest` before.
static double longest_alone(CudaKernels *k, double longest) {
    double most = 0;
    for (uint32_t i = 0; i < k->kernels.len; i++)
        if (k->kernels.ptr[i].seconds >= longest / 2)
            most = fmax(most, seconds_alone(&k->kernels.ptr[i]));
    return most;
}

static void print_row(const char *path, IsaLevel arch, CudaKernels *k, double seconds) {
    double *times = arena_array(&k->arena, double, k->kernels.len);
    uint32_t spilling = 0, failed = 0;
    for (uint32_t i = 0; i < k->kernels.len; i++) {
        const CompiledKernel *kernel = &k->kernels.ptr[i];
        times[i] = kernel->seconds;
        failed += kernel->failure[0] != 0;
        spilling += kernel->code.spill_bytes > 0;
        if (kernel->code.spill_bytes)
            fprintf(stderr, "%s: %.*s spills %u bytes\n", path, STR_ARG(kernel->program->name),
                    kernel->code.spill_bytes);
    }
    qsort(times, k->kernels.len, sizeof *times, by_value);
    double longest = times[k->kernels.len - 1];
    printf("| %s | %s | %u | %.2f | %.2f | %.2f | %.1f | %u | %u |\n", path,
           isa_level_text(arch), k->kernels.len, times[k->kernels.len / 2], longest,
           longest_alone(k, longest), seconds, spilling, failed);
}

#define SET(name, value)                                           \
    {                                                              \
        {(name), sizeof(name) - 1}, { (value), sizeof(value) - 1 } \
    }

typedef struct {
    const char *label, *path;
    EntryKind kind;
    DType storage;
    Settings settings;
    int64_t sequences, tokens;
} Case;

static bool measure(const Case *c, IsaLevel arch) {
    const Binding bindings[] = {{STR("T"), c->tokens}, {STR("B"), c->sequences}};
    CudaModel m = {.path = c->path,
                   .kind = c->kind,
                   .settings = c->settings,
                   .bindings = {bindings, c->sequences > 0 ? 2 : 1},
                   .arch = arch,
                   .storage = c->storage};
    CudaKernels k;
    cuda_kernels_init(&k);
    bool ok = cuda_kernels_add(&k, &m);
    double start = clock_seconds();
    if (ok) cuda_kernels_compile(&k);
    if (ok) print_row(c->label, arch, &k, clock_seconds() - start);
    cuda_kernels_release(&k);
    return ok;
}

int main(void) {
    static const char depth[] = "tests/bench/depth_block_bf16.strata";
    static const char kimi[] = "models/kimi_linear.strata";
    static const Setting tiny[] = {SET("size", "tiny")};
    static const Setting pairs[] = {SET("n", "16"), SET("s", "8"), SET("d", "4096")};
    const Settings none = {0}, small = {tiny, 1}, narrow = {pairs, 2}, wide = {pairs, 3};
    const Case cases[] = {
        {"prenorm", "models/prenorm.strata", ENTRY_TRAIN, DTYPE_BF16, none, 8, 256},
        {"attnres_full", "models/attnres_full.strata", ENTRY_TRAIN, DTYPE_BF16, none, 8, 256},
        {"attnres_block", "models/attnres_block.strata", ENTRY_TRAIN, DTYPE_BF16, none, 8, 256},
        {"kimi_linear, tiny", kimi, ENTRY_TRAIN, DTYPE_BF16, small, 8, 256},
        {"kimi_linear, tiny, f32", kimi, ENTRY_TRAIN, DTYPE_F32, small, 8, 256},
        {"depth, 16 x 8, d 1024", depth, ENTRY_GRAD, DTYPE_BF16, narrow, 0, 8192},
        {"depth, 16 x 8, d 4096", depth, ENTRY_GRAD, DTYPE_BF16, wide, 0, 8192},
    };
    Arena arena = {0};
    Str version = nvrtc_version(&arena);
    if (!version.len) {
        puts("\nNot measured: there is no NVRTC.");
        return 0;
    }
    printf(
        "\nNVRTC %.*s, two threads. Models in bf16 unless it says f32, B 8, T 256; depth: "
        "tests/bench/depth_block_bf16.strata, sources x queries, T 8192. Seconds; of a kernel "
        "those of its thread; alone: the longest of the slow kernels, compiled again with nothing "
        "beside them, the least of %d times.\n\n"
        "| model | for | kernels | median | longest | alone | all | spilling | failed |\n"
        "|---|---|---|---|---|---|---|---|---|\n",
        STR_ARG(version), ALONE);
    bool ok = true;
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            ok = measure(&cases[i], (IsaLevel)arch) && ok;
    arena_release(&arena);
    return ok ? 0 : 1;
}
