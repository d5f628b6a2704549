// explain_code.c: see explain.h. A region may be several kernels, which are written anew.
#include "autotune/cuda_compile.h"
#include "cli/explain.h"

typedef struct {
    const TileKernel *tile;
    CudaCompiled cuda;  // its code from the database
} Written;

static bool write_kernel(const Explain *e, const TileKernel *tile, Diag *why, Written *out) {
    const TuneContext *c = &e->machine.context;
    const CudaCompiler compiler = {
        .level = c->level, .emitter = c->emitter, .db = e->cli->db, .known_only = true};
    out->tile = tile;
    return cuda_compile(why, &e->cli->arena, &compiler, tile->program, &out->cuda);
}

static Str conversion_value(const Explain *e, const Written *kernel, const CudaConversion *c) {
    if (c->arg < 0) return c->value;
    const TileBinding *binding = &kernel->tile->bindings[c->arg];
    return binding->kind == BIND_VALUE ? explain_value_name(e, binding->value) : c->value;
}

// ---- text

static void conversion_text(const Explain *e, const Written *kernel, const CudaConversion *c) {
    StrBuf *out = &e->cli->out;
    strbuf_addf(out, "    layout: %.*s %.*s: ", STR_ARG(conversion_value(e, kernel, c)),
                STR_ARG(c->how));
    if (c->bytes == 0) {
        strbuf_addz(out, "shuffles\n");
        return;
    }
    if (c->copies > 1) strbuf_addf(out, "%lld x ", (long long)c->copies);
    text_bytes(out, (double)c->bytes);
    strbuf_addz(out, " of shared memory\n");
}

static void kernel_text(const Explain *e, const Written *kernel) {
    StrBuf *out = &e->cli->out;
    const Launch *l = &kernel->cuda.kernel.launch;
    for (uint32_t i = 0; i < kernel->cuda.kernel.conversion_count; i++)
        conversion_text(e, kernel, &kernel->cuda.kernel.conversions[i]);
    strbuf_addf(out, "    code: %u blocks of %u threads, ", l->blocks, l->threads);
    if (kernel->cuda.known)
        strbuf_addf(out, "%u registers, %u bytes spilled\n", kernel->cuda.code.launch.registers,
                    kernel->cuda.code.spill_bytes);
    else
        strbuf_addz(out, "not compiled yet\n");
}

// ---- JSON

static void key_int(JsonWriter *w, const char *key, int64_t n) {
    json_key(w, key);
    json_int(w, n);
}

static void kernel_json(const Explain *e, const Written *kernel) {
    JsonWriter *w = &e->cli->json;
    json_object(w);
    key_int(w, "blocks", kernel->cuda.kernel.launch.blocks);
    key_int(w, "threads", kernel->cuda.kernel.launch.threads);
    key_int(w, "shared_bytes", kernel->cuda.kernel.launch.shared_bytes);
    if (kernel->cuda.known) {
        key_int(w, "registers", kernel->cuda.code.launch.registers);
        key_int(w, "spill_bytes", kernel->cuda.code.spill_bytes);
    }
    json_key(w, "layouts");
    json_array(w);
    for (uint32_t i = 0; i < kernel->cuda.kernel.conversion_count; i++) {
        const CudaConversion *c = &kernel->cuda.kernel.conversions[i];
        json_object(w);
        json_key(w, "value");
        json_string(w, conversion_value(e, kernel, c));
        json_key(w, "how");
        json_string(w, c->how);
        key_int(w, "copies", c->copies);
        key_int(w, "bytes", c->bytes);
        json_end(w);
    }
    json_end(w);
    json_end(w);
}

// ---- both

// Calls `show` for each kernel of the region. What has no form here is told by compiling it.
static void kernels_show(const Explain *e, const Kernel *k,
                         void (*show)(const Explain *e, const Written *kernel)) {
    Arena *arena = &e->cli->arena;
    ArenaMark mark = arena_mark(arena);
    const TileKernels *kernels = region_to_tile(e->regions, k->region, &k->schedule, arena);
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        Diag why;
        diag_init(&why, arena);
        Written kernel;
        if (write_kernel(e, &kernels->kernels[i], &why, &kernel)) show(e, &kernel);
    }
    arena_rewind(arena, mark);
}

void explain_code_text(const Explain *e, const Kernel *k) {
    if (k->schedule.library)
        strbuf_addz(&e->cli->out, "    code: cuBLASLt's\n");
    else
        kernels_show(e, k, kernel_text);
}

void explain_code_json(const Explain *e, const Kernel *k) {
    JsonWriter *w = &e->cli->json;
    json_key(w, "library");
    json_bool(w, k->schedule.library);
    json_key(w, "code");
    json_array(w);
    if (!k->schedule.library) kernels_show(e, k, kernel_json);
    json_end(w);
}
