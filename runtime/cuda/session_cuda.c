// session_cuda.c: a plan on a GPU. Opening sets everything up:
//
//     on the GPU:  | tensor | tensor | ... | constants | the largest arena | workspace |
//     on the host: | tensor | tensor | ...   and pinned: small inputs and outputs
//
// Running an entry (steps.c) then allocates nothing and looks nothing up.
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/map.h"
#include "runtime/cuda/state.h"

// Rows of tensors and tiles start at whole lines of the L2 cache's sectors.
enum { ALIGN = 256, PINNED_MAX = 16 << 20 };

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

// ---- the device

static Str plan_arch(const Plan *plan) {
    size_t prefix = strlen("cuda:");
    return (Str){plan->target.ptr + prefix, plan->target.len - prefix};
}

// The first GPU that runs the plan's code.
static bool find_device(Diag *diag, Session *s, CudaState *cuda) {
    CudaDevice *devices = NULL;
    uint32_t count;
    Str arch = plan_arch(s->plan);
    cuda->cu = cuda_driver(diag);
    if (!cuda->cu || !cuda_devices(diag, &s->arena, cuda->cu, &devices, &count)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!cuda_device_runs(&devices[i], arch)) continue;
        cuda->device = devices[i];
        return true;
    }
    if (!count) return diag_fail(diag, FAIL_ENVIRONMENT, "there is no GPU here");
    Str have = cuda_device_arch(&s->arena, &devices[0]);
    return diag_fail(
        diag, FAIL_ENVIRONMENT,
        "the plan's code is for %.*s and the GPU here (%s) is %.*s; compile it again for that",
        STR_ARG(arch), devices[0].name, STR_ARG(have));
}

static bool use_device(Diag *diag, CudaState *cuda) {
    const CudaDriver *cu = cuda->cu;
    int error = cu->context_retain(&cuda->context, cuda->device.index);
    if (error) cuda->context = NULL;
    if (!error) error = cu->context_use(cuda->context);
    if (!error) error = cu->stream_new(&cuda->stream, CU_STREAM_NON_BLOCKING);
    return !error || cuda_fail(diag, cu, error, "the GPU %s cannot be used", cuda->device.name);
}

// ---- memory

static bool has_gemm(const Plan *plan) {
    for (uint32_t i = 0; i < plan->entry_count; i++)
        for (uint32_t k = 0; k < plan->entries[i].step_count; k++)
            if (plan->entries[i].steps[k].kind == STEP_GEMM) return true;
    return false;
}

static bool no_memory(Diag *diag, const CudaState *cuda, size_t bytes) {
    size_t unused = 0, whole = 0;
    cuda->cu->memory_info(&unused, &whole);
    return diag_fail(
        diag, FAIL_ENVIRONMENT,
        "not enough memory on the GPU %s: the plan needs %.1f MiB, and %.1f of %.1f are free",
        cuda->device.name, (double)bytes / (1 << 20), (double)unused / (1 << 20),
        (double)whole / (1 << 20));
}

static bool allocate(Diag *diag, Session *s, CudaState *cuda) {
    const Plan *plan = s->plan;
    const CudaDriver *cu = cuda->cu;
    size_t constants = aligned(plan->constants.len), arena = aligned(session_arena_bytes(plan)),
           bytes = constants + arena + (has_gemm(plan) ? CUBLASLT_WORKSPACE : 0);
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        bytes += aligned((size_t)plan_tensor_bytes(&plan->tensors[i]));
    if (!bytes) return true;
    int error = cu->memory_new(&cuda->memory, bytes);
    if (error == CU_OUT_OF_MEMORY) return no_memory(diag, cuda, bytes);
    CuAddress at = cuda->memory;
    cuda->tensors = arena_array(&s->arena, CuAddress, plan->tensor_count);
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        cuda->tensors[i] = at;
        at += aligned((size_t)plan_tensor_bytes(&plan->tensors[i]));
    }
    cuda->constants = at;
    cuda->arena = at + constants;
    cuda->workspace = cuda->arena + arena;
    if (!error) error = cu->fill(cuda->memory, 0, cuda->workspace - cuda->memory, cuda->stream);
    if (!error && plan->constants.len)
        error =
            cu->upload(cuda->constants, plan->constants.ptr, plan->constants.len, cuda->stream);
    if (!error) error = cu->stream_wait(cuda->stream);
    return !error || cuda_fail(diag, cu, error, "memory on the GPU cannot be set up");
}

static bool is_pinned(const PlanTensor *t) {
    bool moves = t->kind == TENSOR_INPUT || t->kind == TENSOR_OUTPUT;
    return moves && plan_tensor_bytes(t) <= PINNED_MAX;
}

// What moves in every run lies in pinned memory, from which it is copied fastest.
static bool allocate_host(Diag *diag, Session *s, CudaState *cuda) {
    const Plan *plan = s->plan;
    size_t bytes[2] = {0};
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        bytes[is_pinned(t)] += session_aligned((size_t)plan_tensor_bytes(t));
    }
    if (!mapping_open(diag, bytes[0], &cuda->host)) return false;
    int error = bytes[1] ? cuda->cu->pinned_new(&cuda->pinned, bytes[1], 0) : 0;
    if (error)
        return cuda_fail(diag, cuda->cu, error, "memory for inputs and outputs cannot be had");
    if (bytes[1]) memset(cuda->pinned, 0, bytes[1]);
    unsigned char *at[2] = {cuda->host.data, cuda->pinned};
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        s->host[i] = at[is_pinned(t)];
        at[is_pinned(t)] += session_aligned((size_t)plan_tensor_bytes(t));
    }
    return true;
}

static bool cuda_upload(Diag *diag, Session *s, uint32_t tensor) {
    const CudaState *cuda = s->state;
    const PlanTensor *t = &s->plan->tensors[tensor];
    int error = cuda->cu->context_use(cuda->context);
    if (!error)
        error = cuda->cu->upload(cuda->tensors[tensor], s->host[tensor],
                                 (size_t)plan_tensor_bytes(t), cuda->stream);
    return !error || cuda_fail(diag, cuda->cu, error, "'%.*s' cannot be copied to the GPU",
                               STR_ARG(t->name));
}

static bool cuda_download(Diag *diag, Session *s, uint32_t tensor, size_t offset,
                          size_t bytes) {
    const CudaState *cuda = s->state;
    unsigned char *to = s->host[tensor];
    int error = cuda->cu->context_use(cuda->context);
    if (!error)
        error = cuda->cu->download(to + offset, cuda->tensors[tensor] + offset, bytes,
                                   cuda->stream);
    if (!error) error = cuda->cu->stream_wait(cuda->stream);
    return !error || cuda_fail(diag, cuda->cu, error, "'%.*s' cannot be copied from the GPU",
                               STR_ARG(s->plan->tensors[tensor].name));
}

// ---- code

static bool set_shared(Diag *diag, const CudaState *cuda, const PlanKernel *k, CuFunction *f) {
    uint32_t bytes = k->launch.shared_bytes;
    if (bytes > (uint32_t)cuda->device.shared_bytes) {
        return diag_fail(
            diag, FAIL_ENVIRONMENT,
            "kernel '%.*s' needs %u bytes of shared memory, and a block on %s has %d",
            STR_ARG(k->name), bytes, cuda->device.name, cuda->device.shared_bytes);
    }
    // Another kernel with the same code may have asked for more.
    int most = 0, error = cuda->cu->function_attribute(&most, CU_FUNCTION_DYNAMIC_SHARED, f);
    if (!error && (int)bytes > most)
        error = cuda->cu->function_set_attribute(f, CU_FUNCTION_DYNAMIC_SHARED, (int)bytes);
    return !error || cuda_fail(diag, cuda->cu, error,
                               "kernel '%.*s' cannot have %u bytes of shared memory",
                               STR_ARG(k->name), bytes);
}

// A size of clusters that is compiled in must not be given again.
static bool set_cluster(Diag *diag, const CudaState *cuda, const PlanKernel *k,
                        CudaFunction *out) {
    enum { PORTABLE = 8 };
    uint32_t cluster = k->launch.cluster;
    if (cluster == 1) return true;
    int compiled = 0, error = 0;
    if (cluster > PORTABLE)
        error = cuda->cu->function_set_attribute(out->function, CU_FUNCTION_LARGE_CLUSTERS, 1);
    if (!error)
        error =
            cuda->cu->function_attribute(&compiled, CU_FUNCTION_CLUSTER_WIDTH, out->function);
    if (error)
        return cuda_fail(diag, cuda->cu, error, "kernel '%.*s' cannot run in clusters of %u",
                         STR_ARG(k->name), cluster);
    if (compiled && compiled != (int)cluster) {
        return diag_fail(diag, FAIL_INPUT,
                         "kernel '%.*s' is for clusters of %d blocks and not of %u",
                         STR_ARG(k->name), compiled, cluster);
    }
    out->set_cluster = !compiled;
    return true;
}

static bool load_module(Diag *diag, Session *s, CudaState *cuda, const PlanKernel *k) {
    ArenaMark mark = arena_mark(&s->arena);
    // A copy is aligned and ends with a NUL, which the driver wants and an artifact lacks.
    const char *image = arena_strndup(&s->arena, k->object.ptr, k->object.len);
    CuModule **module = &cuda->modules[cuda->module_count];
    int error = cuda->cu->module_load(module, image);
    arena_rewind(&s->arena, mark);
    if (error)
        return cuda_fail(diag, cuda->cu, error, "kernel '%.*s' cannot be loaded",
                         STR_ARG(k->name));
    cuda->module_count++;
    return true;
}

// Kernels with the same code share a module.
static bool load_kernels(Diag *diag, Session *s, CudaState *cuda) {
    const Plan *plan = s->plan;
    Map seen = {0};
    cuda->modules = arena_array(&s->arena, CuModule *, plan->kernel_count);
    cuda->functions = arena_array(&s->arena, CudaFunction, plan->kernel_count);
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        const PlanKernel *k = &plan->kernels[i];
        CudaFunction *f = &cuda->functions[i];
        Str key = {(const char *)&k->hash, sizeof k->hash};
        uint64_t index = cuda->module_count;
        if (!map_get(&seen, key, &index)) {
            if (!load_module(diag, s, cuda, k)) return false;
            map_set(&s->arena, &seen, key, index);
        }
        int error = cuda->cu->module_function(&f->function, cuda->modules[index], "kernel");
        if (error)
            return cuda_fail(diag, cuda->cu, error, "kernel '%.*s' cannot be loaded",
                             STR_ARG(k->name));
        if (!set_shared(diag, cuda, k, f->function) || !set_cluster(diag, cuda, k, f))
            return false;
    }
    return true;
}

// ---- open and close

static bool cuda_open(Diag *diag, Session *s) {
    const Plan *plan = s->plan;
    const char *sync = getenv("STRATA_CUDA_SYNC");
    CudaState *cuda = arena_new(&s->arena, CudaState);
    s->state = cuda;
    cuda->careful = sync && strcmp(sync, "1") == 0;
    cuda->entries = arena_array(&s->arena, CudaEntry, plan->entry_count);
    if (!find_device(diag, s, cuda) || !use_device(diag, cuda)) return false;
    if (!allocate(diag, s, cuda) || !allocate_host(diag, s, cuda)) return false;
    if (!load_kernels(diag, s, cuda)) return false;
    if (has_gemm(plan) && !cublaslt_open(diag, &s->arena, &cuda->lt)) return false;
    for (uint32_t i = 0; i < plan->entry_count; i++)
        if (!cuda_entry_bind(diag, s, i)) return false;
    return true;
}

static void cuda_close(Session *s) {
    CudaState *cuda = s->state;
    if (!cuda || !cuda->context) return;
    const CudaDriver *cu = cuda->cu;
    cu->context_use(cuda->context);
    for (uint32_t i = 0; i < s->plan->entry_count; i++)
        cuda_entry_release(s, i);
    cublaslt_close(cuda->lt);
    for (uint32_t i = 0; i < cuda->module_count; i++)
        cu->module_unload(cuda->modules[i]);
    if (cuda->pinned) cu->pinned_free(cuda->pinned);
    mapping_close(&cuda->host);
    if (cuda->memory) cu->memory_free(cuda->memory);
    if (cuda->stream) cu->stream_free(cuda->stream);
    cu->context_release(cuda->device.index);
}

const Backend backend_cuda = {.open = cuda_open,
                              .close = cuda_close,
                              .upload = cuda_upload,
                              .download = cuda_download,
                              .run = cuda_entry_run};
