// cmd_devices.c: what can be targeted here.
#include <stdio.h>

#include "autotune/cuda_peaks.h"
#include "autotune/tune_context.h"
#include "cli/machine.h"
#include "codegen/cuda/cuda.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/nccl.h"
#include "runtime/gemm.h"

// What is opened at run time for GPUs.
typedef struct {
    const char *name;
    Str version;
    Str missing;  // why it cannot be used; empty: it can
} Library;

enum { LIBRARIES = 4 };

typedef struct {
    CudaDevice *devices;
    MachinePeaks *peaks;  // of each; 0 where no code can be made for it
    uint32_t count;
    Library libraries[LIBRARIES];
} Gpus;

static bool driver_version(Diag *diag, Arena *arena, Str *out) {
    const CudaDriver *cu = cuda_driver(diag);
    if (cu) *out = cuda_driver_version(arena, cu);
    return cu != NULL;
}

static bool compiler_version(Diag *diag, Arena *arena, Str *out) {
    *out = nvrtc_version(arena);
    return nvrtc_available(diag);
}

static void find_libraries(Cli *cli, Library *out) {
    static const struct {
        const char *name;
        bool (*version)(Diag *diag, Arena *arena, Str *out);
    } all[LIBRARIES] = {{"CUDA driver", driver_version},
                        {"NVRTC", compiler_version},
                        {"cuBLASLt", cublaslt_version},
                        {"NCCL", nccl_version}};
    for (uint32_t i = 0; i < LIBRARIES; i++) {
        Diag why;
        diag_init(&why, &cli->arena);
        out[i] = (Library){.name = all[i].name};
        if (!all[i].version(&why, &cli->arena, &out[i].version))
            out[i].missing = why.items[0].message;
    }
}

static MachinePeaks peaks_of(Cli *cli, const CudaDevice *device, Str driver) {
    IsaLevel level;
    CudaAnswer gpu = {.device = *device};
    snprintf(gpu.driver, sizeof gpu.driver, "%.*s", STR_ARG(driver));
    if (!isa_level_parse(cuda_device_arch(&cli->arena, device), &level))
        return (MachinePeaks){0};
    TuneContext context = tune_context(&cli->arena, level, 1, &gpu);
    if (cli->db) database_context_add(cli->db, &context);
    return cuda_peaks_measured(cli->db, &context, device);
}

static bool find_gpus(Cli *cli, Gpus *out) {
    *out = (Gpus){0};
    find_libraries(cli, out->libraries);
    const CudaDriver *cu = cuda_driver(NULL);
    if (!cu) return true;
    if (!cuda_devices(&cli->diag, &cli->arena, cu, &out->devices, &out->count)) return false;
    out->peaks = arena_array(&cli->arena, MachinePeaks, out->count);
    for (uint32_t i = 0; i < out->count; i++)
        out->peaks[i] = peaks_of(cli, &out->devices[i], cuda_driver_version(&cli->arena, cu));
    return true;
}

// ---- text

static void print_gpus(Cli *cli, const Gpus *gpus) {
    if (!gpus->count) strbuf_addz(&cli->out, "cuda no GPU here\n");
    for (uint32_t i = 0; i < gpus->count; i++) {
        const CudaDevice *d = &gpus->devices[i];
        Str arch = cuda_device_arch(&cli->arena, d);
        strbuf_addf(&cli->out, "cuda %s, %.*s, %d processors, %.1f GiB\n", d->name,
                    STR_ARG(arch), d->processors, (double)d->memory_bytes / (1 << 30));
        const MachinePeaks *p = &gpus->peaks[i];
        if (p->flops > 0)
            strbuf_addf(&cli->out,
                        "     peaks: %.1f TFLOP/s in bf16 by its sheet, %.1f GB/s %s\n",
                        p->flops * 1e-12, p->read_bytes * 1e-9,
                        p->l2_bytes > 0 ? "measured" : "by its sheet");
    }
    for (uint32_t i = 0; i < LIBRARIES; i++) {
        const Library *l = &gpus->libraries[i];
        if (l->missing.len)
            strbuf_addf(&cli->out, "     %s missing: %.*s\n", l->name, STR_ARG(l->missing));
        else
            strbuf_addf(&cli->out, "     %s %.*s\n", l->name, STR_ARG(l->version));
    }
}

// ---- JSON

static void add_text(JsonWriter *w, const char *key, Str text) {
    json_key(w, key);
    json_string(w, text);
}

static void write_cpu(JsonWriter *w, const TuneContext *c, const MachinePeaks *p) {
    json_object(w);
    add_text(w, "target", STR("cpu"));
    add_text(w, "name", c->cpu);
    add_text(w, "features", str_of(isa_level_text(c->level)));
    json_key(w, "threads");
    json_int(w, c->threads);
    json_key(w, "flops_per_second");
    json_number(w, p->flops);
    json_key(w, "read_bytes_per_second");
    json_number(w, p->read_bytes);
    add_text(w, "emitter", c->emitter);
    json_key(w, "library");
    json_bool(w, gemm_available());
    json_end(w);
}

static void write_gpu(Cli *cli, const CudaDevice *d, const MachinePeaks *p) {
    JsonWriter *w = &cli->json;
    json_object(w);
    Str arch = cuda_device_arch(&cli->arena, d);
    add_text(w, "target", str_printf(&cli->arena, "cuda:%.*s", STR_ARG(arch)));
    add_text(w, "name", str_of(d->name));
    json_key(w, "processors");
    json_int(w, d->processors);
    json_key(w, "memory_bytes");
    json_int(w, (int64_t)d->memory_bytes);
    if (p->flops > 0) {
        json_key(w, "flops_per_second");
        json_number(w, p->flops);
        json_key(w, "read_bytes_per_second");
        json_number(w, p->read_bytes);
    }
    json_end(w);
}

static void print_json(Cli *cli, const TuneContext *c, const MachinePeaks *p,
                       const Gpus *gpus) {
    JsonWriter *w = &cli->json;
    json_object(w);
    json_key(w, "devices");
    json_array(w);
    write_cpu(w, c, p);
    for (uint32_t i = 0; i < gpus->count; i++)
        write_gpu(cli, &gpus->devices[i], &gpus->peaks[i]);
    json_end(w);
    json_key(w, "libraries");
    json_array(w);
    for (uint32_t i = 0; i < LIBRARIES; i++) {
        const Library *l = &gpus->libraries[i];
        json_object(w);
        add_text(w, "name", str_of(l->name));
        add_text(w, l->missing.len ? "missing" : "version",
                 l->missing.len ? l->missing : l->version);
        json_end(w);
    }
    json_end(w);
    json_end(w);
}

bool cmd_devices(Cli *cli) {
    Machine machine;
    Gpus gpus;
    if (!machine_find(cli, cpu_level_here(), &machine) || !find_gpus(cli, &gpus)) return false;
    TuneContext c = machine.context;
    MachinePeaks p = machine.peaks;
    if (cli->options.json) {
        print_json(cli, &c, &p, &gpus);
        return true;
    }
    strbuf_addf(&cli->out, "cpu  %.*s, %s, %u threads\n", STR_ARG(c.cpu),
                isa_level_text(c.level), c.threads);
    strbuf_addf(&cli->out, "     measured peaks: %.1f GFLOP/s in f32, %.1f GB/s read\n",
                p.flops * 1e-9, p.read_bytes * 1e-9);
    strbuf_addf(&cli->out, "     emitter %.*s; library for contractions: %s\n",
                STR_ARG(c.emitter), gemm_available() ? "oneDNN" : "none");
    print_gpus(cli, &gpus);
    return true;
}
