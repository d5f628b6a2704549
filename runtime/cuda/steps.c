// steps.c: the steps of an entry on a GPU. At open every step gets its addresses, parameters
// and tensor maps; at the first run all steps are captured into one graph, and every run
// launches that graph. For profiling there is a second one with an event around each step.
#include <string.h>

#include "base/check.h"
#include "runtime/cuda/state.h"

// ---- what is said when a step fails

// "kernel 'rms_norm.3' of model 'lm' (line 12)"
static void add_place(const Session *s, const PlanStep *step, StrBuf *out) {
    switch (step->kind) {
    case STEP_LAUNCH:
        strbuf_addf(out, "kernel '%.*s'", STR_ARG(s->plan->kernels[step->kernel].name));
        break;
    case STEP_CLEAR: strbuf_addz(out, "a clear"); break;
    case STEP_COPY: strbuf_addz(out, "a copy"); break;
    case STEP_GEMM: strbuf_addz(out, "a contraction by cuBLASLt"); break;
    }
    strbuf_addf(out, " of model '%.*s'", STR_ARG(s->plan->model));
    if (step->line) strbuf_addf(out, " (line %u)", step->line);
}

static bool step_fail(Diag *diag, const Session *s, const PlanStep *step, int error,
                      const char *what) {
    const CudaState *cuda = s->state;
    StrBuf place = {0};
    add_place(s, step, &place);
    cuda_fail(diag, cuda->cu, error, "%s %s", place.ptr, what);
    strbuf_release(&place);
    return false;
}

// ---- binding

static CuAddress buffer_address(const CudaState *cuda, const PlanBuffer *b) {
    CuAddress base = 0;
    switch (b->kind) {
    case BUFFER_TENSOR: base = cuda->tensors[b->index]; break;
    case BUFFER_ARENA: base = cuda->arena; break;
    case BUFFER_CONSTANT: base = cuda->constants; break;
    }
    return base + (uint64_t)b->offset;
}

// CUtensorMapDataType
static int map_type(DType type) {
    switch (type) {
    case DTYPE_U8:
    case DTYPE_BOOL: return 0;
    case DTYPE_U16: return 1;
    case DTYPE_I32: return 3;
    case DTYPE_I64: return 5;
    case DTYPE_F16: return 6;
    case DTYPE_F32: return 7;
    case DTYPE_F64: return 8;
    case DTYPE_BF16: return 9;
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)type);
}

static int map_encode(const CudaState *cuda, const TensorMapSpec *spec, CuAddress arg,
                      CuTensorMap *out) {
    enum { NO_INTERLEAVE = 0, PROMOTE_256_BYTES = 3, FILL_ZERO = 0 };
    uint64_t extents[TENSOR_MAP_RANK], strides[TENSOR_MAP_RANK];
    uint32_t ones[TENSOR_MAP_RANK];
    uint64_t bytes = dtype_bytes(spec->type);
    for (uint32_t i = 0; i < spec->rank; i++) {
        extents[i] = (uint64_t)spec->extent[i];
        strides[i] = (uint64_t)spec->stride[i] * bytes;
        ones[i] = 1;
    }
    int swizzle = spec->swizzle == 128 ? 3 : (int)(spec->swizzle / 32);
    uintptr_t at = (uintptr_t)(arg + (uint64_t)spec->offset * bytes);
    void *address;
    memcpy(&address, &at, sizeof address);
    // The stride of the innermost axis is not given.
    return cuda->cu->tensor_map(out, map_type(spec->type), spec->rank, address, extents,
                                strides + 1, spec->box, ones, NO_INTERLEAVE, swizzle,
                                PROMOTE_256_BYTES, FILL_ZERO);
}

// Parameters are the arguments in order, then the tensor maps by value.
static bool bind_launch(Diag *diag, Session *s, const PlanStep *step, CudaStep *out) {
    const CudaState *cuda = s->state;
    const Launch *launch = &s->plan->kernels[step->kernel].launch;
    out->params = arena_array(&s->arena, void *, step->arg_count + launch->map_count);
    for (uint32_t i = 0; i < step->arg_count; i++)
        out->params[i] = &out->args[i];
    for (uint32_t i = 0; i < launch->map_count; i++) {
        const TensorMapSpec *spec = &launch->maps[i];
        CuTensorMap map;
        int error = map_encode(cuda, spec, out->args[spec->arg], &map);
        if (error)
            return step_fail(diag, s, step, error, "has a tensor map that cannot be encoded");
        // Only encoding needs the alignment that an arena does not give.
        void *kept = arena_alloc(&s->arena, 1, sizeof map);
        memcpy(kept, &map, sizeof map);
        out->params[step->arg_count + i] = kept;
    }
    return true;
}

static bool bind_step(Diag *diag, Session *s, const PlanEntry *e, const PlanStep *step,
                      CudaStep *out) {
    const CudaState *cuda = s->state;
    out->args = arena_array(&s->arena, CuAddress, step->arg_count);
    for (uint32_t i = 0; i < step->arg_count; i++)
        out->args[i] = buffer_address(cuda, &e->buffers[step->args[i]]);
    if (step->kind == STEP_LAUNCH) return bind_launch(diag, s, step, out);
    if (step->kind != STEP_GEMM) return true;
    CublasltOperands operands = {out->args[0], out->args[1], out->args[2], cuda->workspace};
    return cublaslt_prepare(diag, cuda->lt, &step->gemm, operands, &out->gemm);
}

bool cuda_entry_bind(Diag *diag, Session *s, uint32_t entry) {
    CudaState *cuda = s->state;
    const PlanEntry *e = &s->plan->entries[entry];
    CudaEntry *out = &cuda->entries[entry];
    out->steps = arena_array(&s->arena, CudaStep, e->step_count);
    for (uint32_t i = 0; i < e->step_count; i++)
        if (!bind_step(diag, s, e, &e->steps[i], &out->steps[i])) return false;
    return true;
}

void cuda_entry_release(Session *s, uint32_t entry) {
    CudaState *cuda = s->state;
    CudaEntry *e = &cuda->entries[entry];
    if (e->graph) cuda->cu->graph_exec_free(e->graph);
    if (e->timed) cuda->cu->graph_exec_free(e->timed);
    for (uint32_t i = 0; e->events && i <= s->plan->entries[entry].step_count; i++)
        if (e->events[i]) cuda->cu->event_free(e->events[i]);
}

// ---- one step on the stream

static int launch_kernel(const CudaState *cuda, const Launch *l, const CudaFunction *f,
                         void **params) {
    CuLaunchAttribute cluster = {.id = CU_LAUNCH_CLUSTER};
    const uint32_t size[] = {l->cluster, 1, 1};
    memcpy(cluster.value, size, sizeof size);
    CuLaunchConfig config = {.grid = {l->blocks, 1, 1},
                             .block = {l->threads, 1, 1},
                             .shared_bytes = l->shared_bytes,
                             .stream = cuda->stream,
                             .attributes = f->set_cluster ? &cluster : NULL,
                             .attribute_count = f->set_cluster};
    return cuda->cu->launch(&config, f->function, params, NULL);
}

static bool issue_step(Diag *diag, const Session *s, uint32_t entry, uint32_t index) {
    const CudaState *cuda = s->state;
    const PlanEntry *e = &s->plan->entries[entry];
    const PlanStep *step = &e->steps[index];
    const CudaStep *bound = &cuda->entries[entry].steps[index];
    const CuAddress *args = bound->args;
    size_t bytes;
    int error = 0;
    switch (step->kind) {
    case STEP_LAUNCH:
        error = launch_kernel(cuda, &s->plan->kernels[step->kernel].launch,
                              &cuda->functions[step->kernel], bound->params);
        break;
    case STEP_CLEAR:
        bytes = (size_t)e->buffers[step->args[0]].bytes;
        if (bytes) error = cuda->cu->fill(args[0], 0, bytes, cuda->stream);
        break;
    case STEP_COPY:
        bytes = (size_t)e->buffers[step->args[1]].bytes;
        if (bytes && args[0] != args[1])
            error = cuda->cu->copy(args[1], args[0], bytes, cuda->stream);
        break;
    case STEP_GEMM:
        error = cublaslt_run(bound->gemm, cuda->stream);
        if (!error) break;
        return diag_fail(diag, FAIL_ENVIRONMENT,
                         "a contraction by cuBLASLt (line %u) could not be launched: error %d",
                         step->line, error);
    }
    return !error || step_fail(diag, s, step, error, "could not be launched");
}

// ---- graphs

static bool issue_all(Diag *diag, const Session *s, uint32_t entry, CuEvent *const *events) {
    const CudaState *cuda = s->state;
    uint32_t count = s->plan->entries[entry].step_count;
    for (uint32_t i = 0; i <= count; i++) {
        int error =
            events ? cuda->cu->event_record(events[i], cuda->stream, CU_EVENT_RECORD_EXTERNAL)
                   : 0;
        if (error) return cuda_fail(diag, cuda->cu, error, "an event cannot be recorded");
        if (i < count && !issue_step(diag, s, entry, i)) return false;
    }
    return true;
}

// Other threads may use the driver meanwhile, and a library may load code: hence relaxed.
static bool capture(Diag *diag, const Session *s, uint32_t entry, CuEvent *const *events,
                    CuGraphExec **out) {
    const CudaState *cuda = s->state;
    const CudaDriver *cu = cuda->cu;
    CuGraph *graph = NULL;
    int error = cu->capture_begin(cuda->stream, CU_CAPTURE_RELAXED);
    if (error) return cuda_fail(diag, cu, error, "a graph cannot be captured");
    bool ok = issue_all(diag, s, entry, events);
    // Also after a failure, so that the stream can be used again.
    error = cu->capture_end(cuda->stream, &graph);
    if (ok && error) ok = cuda_fail(diag, cu, error, "a graph cannot be captured");
    if (ok) {
        error = cu->graph_instantiate(out, graph, 0);
        if (error) {
            *out = NULL;
            ok = cuda_fail(diag, cu, error, "a graph cannot be instantiated");
        }
    }
    if (graph) cu->graph_free(graph);
    return ok;
}

static bool make_events(Diag *diag, Session *s, uint32_t entry) {
    CudaState *cuda = s->state;
    uint32_t count = s->plan->entries[entry].step_count + 1;
    CuEvent **events = arena_array(&s->arena, CuEvent *, count);
    cuda->entries[entry].events = events;
    for (uint32_t i = 0; i < count; i++) {
        int error = cuda->cu->event_new(&events[i], 0);
        if (error) return cuda_fail(diag, cuda->cu, error, "an event cannot be made");
    }
    return true;
}

// Losses and other scalars are read after nearly every run: they come along, so that reading
// them waits for nothing.
static int fetch_scalars(Session *s, uint32_t entry) {
    const CudaState *cuda = s->state;
    const SessionEntry *e = &s->entries[entry];
    int error = 0;
    for (uint32_t i = 0; i < e->tensor_count && !error; i++) {
        uint32_t tensor = e->tensors[i];
        const PlanTensor *t = &s->plan->tensors[tensor];
        if (t->kind != TENSOR_OUTPUT || t->rank) continue;
        error = cuda->cu->download(s->host[tensor], cuda->tensors[tensor], dtype_bytes(t->type),
                                   cuda->stream);
        s->value[tensor] = VALUE_BOTH;
    }
    return error;
}

static bool launch_graph(Diag *diag, Session *s, uint32_t entry, CuGraphExec *graph) {
    const CudaState *cuda = s->state;
    const PlanEntry *e = &s->plan->entries[entry];
    int error = cuda->cu->graph_launch(graph, cuda->stream);
    if (!error) error = fetch_scalars(s, entry);
    if (!error) error = cuda->cu->stream_wait(cuda->stream);
    return !error || cuda_fail(diag, cuda->cu, error,
                               "'%.*s' of model '%.*s' failed on the GPU (with "
                               "STRATA_CUDA_SYNC=1 the kernel is named)",
                               STR_ARG(e->name), STR_ARG(s->plan->model));
}

// ---- a run

static bool run_timed(Diag *diag, Session *s, uint32_t entry) {
    CudaState *cuda = s->state;
    CudaEntry *e = &cuda->entries[entry];
    if (!e->events && !make_events(diag, s, entry)) return false;
    if (!e->timed && !capture(diag, s, entry, e->events, &e->timed)) return false;
    if (!launch_graph(diag, s, entry, e->timed)) return false;
    CuEvent *const *events = e->events;
    ASSERT(events);
    for (uint32_t i = 0; i < s->plan->entries[entry].step_count; i++) {
        float ms = 0;
        int error = cuda->cu->event_elapsed(&ms, events[i], events[i + 1]);
        if (error) return cuda_fail(diag, cuda->cu, error, "a step cannot be timed");
        s->entries[entry].step_ns[i] = (int64_t)((double)ms * 1e6);
    }
    return true;
}

static bool run_carefully(Diag *diag, const Session *s, uint32_t entry) {
    const CudaState *cuda = s->state;
    const PlanEntry *e = &s->plan->entries[entry];
    for (uint32_t i = 0; i < e->step_count; i++) {
        if (!issue_step(diag, s, entry, i)) return false;
        int error = cuda->cu->stream_wait(cuda->stream);
        if (error) return step_fail(diag, s, &e->steps[i], error, "failed");
    }
    return true;
}

bool cuda_entry_run(Diag *diag, Session *s, uint32_t entry) {
    CudaState *cuda = s->state;
    CudaEntry *e = &cuda->entries[entry];
    int error = cuda->cu->context_use(cuda->context);
    if (error) return cuda_fail(diag, cuda->cu, error, "the GPU cannot be used");
    if (!s->plan->entries[entry].step_count) return true;
    if (s->profile) return run_timed(diag, s, entry);
    if (cuda->careful) return run_carefully(diag, s, entry);
    if (!e->graph && !capture(diag, s, entry, NULL, &e->graph)) return false;
    return launch_graph(diag, s, entry, e->graph);
}
