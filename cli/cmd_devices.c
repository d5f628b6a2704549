// cmd_devices.c: what can be targeted here.
#include "cli/machine.h"
#include "codegen/cuda/cuda.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver.h"
#include "runtime/gemm.h"

// GPUs, and what code for them is compiled with; empty texts: it is not there.
typedef struct {
    CudaDevice *devices;
    uint32_t count;
    Str driver, nvrtc;
} Gpus;

static bool find_gpus(Cli *cli, Gpus *out) {
    *out = (Gpus){.nvrtc = nvrtc_version(&cli->arena)};
    const CudaDriver *cu = cuda_driver(NULL);
    if (!cu) return true;
    out->driver = cuda_driver_version(&cli->arena, cu);
    return cuda_devices(&cli->diag, &cli->arena, cu, &out->devices, &out->count);
}

static void add_text(JsonWriter *w, const char *key, Str text) {
    json_key(w, key);
    json_string(w, text);
}

static void print_gpu_json(Cli *cli, const Gpus *gpus, const CudaDevice *d) {
    JsonWriter *w = &cli->json;
    json_object(w);
    Str arch = cuda_device_arch(&cli->arena, d);
    add_text(w, "target", str_printf(&cli->arena, "cuda:%.*s", STR_ARG(arch)));
    add_text(w, "name", str_of(d->name));
    json_key(w, "processors");
    json_int(w, d->processors);
    json_key(w, "memory_bytes");
    json_int(w, (int64_t)d->memory_bytes);
    add_text(w, "driver", gpus->driver);
    add_text(w, "nvrtc", gpus->nvrtc);
    json_key(w, "library");
    json_bool(w, cublaslt_available());
    json_end(w);
}

static void print_gpus(Cli *cli, const Gpus *gpus) {
    Str compiler = gpus->nvrtc.len ? str_printf(&cli->arena, "NVRTC %.*s", STR_ARG(gpus->nvrtc))
                                   : STR("no NVRTC, so nothing can be compiled for it");
    if (!gpus->count) strbuf_addf(&cli->out, "cuda no GPU here; %.*s\n", STR_ARG(compiler));
    for (uint32_t i = 0; i < gpus->count; i++) {
        const CudaDevice *d = &gpus->devices[i];
        Str arch = cuda_device_arch(&cli->arena, d);
        strbuf_addf(&cli->out, "cuda %s, %.*s, %d processors, %.1f GiB\n", d->name,
                    STR_ARG(arch), d->processors, (double)d->memory_bytes / (1 << 30));
        strbuf_addf(&cli->out,
                    "     driver for CUDA %.*s; %.*s; library for contractions: %s\n",
                    STR_ARG(gpus->driver), STR_ARG(compiler),
                    cublaslt_available() ? "cuBLASLt" : "none");
    }
}

static void print_json(Cli *cli, const TuneContext *c, const MachinePeaks *p,
                       const Gpus *gpus) {
    JsonWriter *w = &cli->json;
    json_object(w);
    json_key(w, "devices");
    json_array(w);
    json_object(w);
    json_key(w, "target");
    json_string(w, STR("cpu"));
    json_key(w, "name");
    json_string(w, c->cpu);
    json_key(w, "features");
    json_string(w, str_of(isa_level_text(c->level)));
    json_key(w, "threads");
    json_int(w, c->threads);
    json_key(w, "flops_per_second");
    json_number(w, p->flops);
    json_key(w, "read_bytes_per_second");
    json_number(w, p->read_bytes);
    json_key(w, "emitter");
    json_string(w, c->emitter);
    json_key(w, "library");
    json_bool(w, gemm_available());
    json_end(w);
    for (uint32_t i = 0; i < gpus->count; i++)
        print_gpu_json(cli, gpus, &gpus->devices[i]);
    json_end(w);
    json_end(w);
}

bool cmd_devices(Cli *cli) {
    TuneContext c = machine_context(cli);
    MachinePeaks p;
    Gpus gpus;
    if (!machine_measure(cli, &c, &p) || !find_gpus(cli, &gpus)) return false;
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
