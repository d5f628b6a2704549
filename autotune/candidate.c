// candidate.c: from a schedule to something that runs, as graph_to_plan.c makes it a part of a
// plan.
#include "autotune/candidate.h"

#include <string.h>

#include "autotune/cuda_candidate.h"
#include "autotune/library.h"
#include "base/check.h"
#include "ir/tile/tile_access.h"
#include "runtime/gemm.h"

bool candidate_lower(const Regions *regions, const Region *region, const Schedule *schedule,
                     Arena *arena, Candidate *out) {
    *out = (Candidate){.schedule = *schedule};
    out->kernels = region_to_tile(regions, region, schedule, arena);
    if (!schedule->library) return true;
    return out->kernels->kernel_count == 1 &&
           library_gemm(out->kernels->kernels[0].program, &out->gemm, out->operands);
}

Hash candidate_hash(const Candidate *c) {
    if (c->schedule.library) return hash_bytes("library", 7);
    Hash hash = {0};
    for (uint32_t i = 0; i < c->kernels->kernel_count; i++)
        hash = hash_mix(hash, tile_hash(c->kernels->kernels[i].program));
    return hash;
}

static bool multiplies_pairs(const TileProgram *p, IsaLevel level) {
    if (level != CPU_AVX512BF16) return false;
    if (p->skeleton != TILE_LOOP && p->skeleton != TILE_ATTEND) return false;
    vec_each (const TileOp, op, &p->ops)
        if (op->kind == TILE_DOT && tile_dot_of_bf16(p, op)) return true;
    return false;
}

double program_f32_flops(const TileProgram *p, IsaLevel level) {
    return tile_flops(p) / (multiplies_pairs(p, level) ? 2 : 1);
}

double candidate_f32_flops(const Candidate *c, IsaLevel level) {
    double flops = 0;
    for (uint32_t i = 0; i < c->kernels->kernel_count; i++)
        flops += program_f32_flops(c->kernels->kernels[i].program, level);
    return flops;
}

double candidate_bytes(const Candidate *c) {
    double bytes = 0;
    for (uint32_t i = 0; i < c->kernels->kernel_count; i++)
        bytes += tile_bytes(c->kernels->kernels[i].program);
    return bytes;
}

// ---- loading

static size_t arg_bytes(const TileArg *arg) {
    return (size_t)arg->elements * dtype_bytes(arg->type);
}

// Storage that begins on a cache line, as it does in a plan.
static void *partial_new(Arena *arena, int64_t bytes) {
    enum { LINE = 64 };
    unsigned char *memory = arena_alloc(arena, (size_t)bytes + LINE, 1);
    return memory + (LINE - (uintptr_t)memory % LINE) % LINE;
}

static void ***bound(Arena *arena, const Workspace *w, const TileKernels *kernels,
                     bool skewed) {
    void **partials = arena_array(arena, void *, kernels->partial_count);
    for (uint32_t i = 0; i < kernels->partial_count; i++)
        partials[i] = partial_new(arena, kernels->partial_bytes[i]);
    void ***args = arena_array(arena, void **, kernels->kernel_count);
    for (uint32_t k = 0; k < kernels->kernel_count; k++) {
        const TileKernel *kernel = &kernels->kernels[k];
        args[k] = arena_array(arena, void *, kernel->program->args.len);
        for (uint32_t i = 0; i < kernel->program->args.len; i++) {
            const TileBinding *binding = &kernel->bindings[i];
            const WorkspaceTensor *t = workspace_find(w, binding->value);
            args[k][i] = binding->kind == BIND_PARTIAL ? partials[binding->partial]
                         : skewed && t->skewed         ? t->skewed
                                                       : t->data;
        }
    }
    return args;
}

bool candidate_load(Diag *diag, Arena *arena, const Workspace *w, LoadedCandidate *c) {
    const TileKernels *kernels = c->candidate->kernels;
    const EmittedKernel *code = c->candidate->code;
    c->runs = 1;
    if (level_is_cuda(c->level)) return cuda_candidate_load(diag, arena, w, c);
    c->objects = arena_array(arena, Object, kernels->kernel_count);
    c->args = bound(arena, w, kernels, false);
    c->skewed = workspace_has_skewed(w) ? bound(arena, w, kernels, true) : NULL;
    if (c->skewed) c->runs = 2;
    for (uint32_t k = 0; code && k < kernels->kernel_count; k++) {
        if (object_load(diag, kernels->kernels[k].program->name, code[k].object,
                        &c->objects[k]) &&
            pool_reserve(diag, c->pool, code[k].scratch_bytes))
            continue;
        candidate_unload(c);
        return false;
    }
    return true;
}

void candidate_unload(LoadedCandidate *c) {
    if (c->cuda) {
        cuda_candidate_unload(c);
        return;
    }
    for (uint32_t k = 0; c->candidate->code && k < c->candidate->kernels->kernel_count; k++)
        object_unload(&c->objects[k]);
}

// ---- running

static void clear_outputs(const TileKernel *kernel, void *const *args) {
    for (uint32_t i = 0; i < kernel->program->args.len; i++) {
        const TileArg *arg = &kernel->program->args.ptr[i];
        if (arg->written) memset(args[i], 0, arg_bytes(arg));
    }
}

static void run_on_cpu(const LoadedCandidate *l, void ***all_args) {
    const Candidate *c = l->candidate;
    for (uint32_t k = 0; k < c->kernels->kernel_count; k++) {
        const TileKernel *kernel = &c->kernels->kernels[k];
        void **args = all_args[k];
        if (kernel->clear_first) clear_outputs(kernel, args);
        if (c->code)
            pool_run_kernel(l->pool, l->objects[k].entry, args, c->code[k].tasks);
        else
            gemm_run(l->pool, &c->gemm, args[c->operands[0]], args[c->operands[1]],
                     args[c->operands[2]]);
    }
}

bool candidate_run_once(LoadedCandidate *c) {
    if (c->cuda)
        c->failed = c->failed || !cuda_candidate_once(c->diag, c);
    else
        run_on_cpu(c, c->args);
    return !c->failed;
}

void candidate_run(void *loaded) {
    LoadedCandidate *c = loaded;
    if (c->cuda) {
        c->failed = c->failed || !cuda_candidate_time(c->diag, c);
        return;
    }
    run_on_cpu(c, c->args);
    if (c->skewed) run_on_cpu(c, c->skewed);
}
