// device_simt.c: tests/simt/simt.h on a GPU. A test of kernels that is linked with this file,
// and not with the emulation, runs them on the card: each becomes a plan of one kernel, and the
// real session runs it. Twice, from the same values: the bits must be the same. Each argument
// has bytes behind it that nothing may touch.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "runtime/cpu/cpu.h"
#include "runtime/cuda/driver.h"
#include "runtime/device.h"
#include "tests/gpu/gpu.h"
#include "tests/simt/simt.h"

enum { GUARD_BYTES = 256, GUARD = 0xa5, THREADS_MAX = 32, ARGS_MAX = 32 };

typedef struct {
    Arena arena;
    Diag diag;
    CudaCode code;
    bool ok;
} Compiled;

struct Simt {
    const CudaKernel *kernels;
    Compiled *compiled;
    uint32_t count;
    IsaLevel level;
    atomic_uint next;    // kernel to compile
    CuContext *context;  // held, because making it anew takes longer than most tests
};

bool simt_available(void) {
    IsaLevel level;
    if (!gpu_level(&level)) return false;
#ifdef STRATA_GPU_SM90A
    if (level == CUDA_SM90A) return true;
    fputs("skipped: these kernels are for sm_90a alone\n", stderr);
    return false;
#else
    return true;
#endif
}

const char *simt_schedule_text(SimtSchedule s) {
    (void)s;
    return "the GPU's own order";
}

// ---- building

static void *compile(void *context) {
    Simt *simt = context;
    for (uint32_t i = atomic_fetch_add(&simt->next, 1); i < simt->count;
         i = atomic_fetch_add(&simt->next, 1)) {
        Compiled *c = &simt->compiled[i];
        diag_init(&c->diag, &c->arena);
        c->ok =
            nvrtc_compile(&c->diag, &c->arena, simt->kernels[i].text, simt->level, &c->code);
    }
    return NULL;
}

static void compile_all(Simt *simt) {
    pthread_t threads[THREADS_MAX];
    uint32_t started = 0, wanted = cpu_count();
    if (wanted > THREADS_MAX) wanted = THREADS_MAX;
    while (started + 1 < wanted && !pthread_create(&threads[started], NULL, compile, simt))
        started++;
    compile(simt);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

bool simt_build(Diag *diag, Arena *arena, const CudaKernel *kernels, uint32_t count,
                Simt **out) {
    const CudaDriver *cu = cuda_driver(diag);
    Simt *simt = arena_new(arena, Simt);
    simt->kernels = kernels;
    simt->count = count;
    simt->compiled = arena_array(arena, Compiled, count);
    if (!cu || !gpu_level(&simt->level)) return false;
    compile_all(simt);
    for (uint32_t i = 0; i < count; i++) {
        Compiled *c = &simt->compiled[i];
        if (c->ok) continue;
        StrBuf text = {0};
        diag_render(&c->diag, &text);
        diag_fail(diag, FAIL_INPUT, "%s\n%.*s", text.ptr, STR_ARG(kernels[i].text));
        strbuf_release(&text);
    }
    if (diag->error_count || cu->context_retain(&simt->context, 0)) {
        simt_close(simt);
        return false;
    }
    *out = simt;
    return true;
}

void simt_close(Simt *simt) {
    for (uint32_t i = 0; i < simt->count; i++)
        arena_release(&simt->compiled[i].arena);
    if (simt->context) cuda_driver(NULL)->context_release(0);
}

// ---- a plan of one kernel

typedef struct {
    Arena arena;
    PlanTensor tensors[ARGS_MAX];
    PlanBuffer buffers[ARGS_MAX];
    uint32_t steps_args[ARGS_MAX];
    const SimtArg *first[ARGS_MAX];  // of each tensor: the argument that brought it
    PlanKernel kernel;
    PlanStep step;
    PlanEntry entry;
    Plan plan;
} OneKernel;

// Arguments at the same address are one tensor.
static uint32_t tensor_of(OneKernel *k, const SimtArg *arg) {
    static const Str axis = {"byte", 4};
    uint32_t n = k->plan.tensor_count;
    for (uint32_t i = 0; i < n; i++)
        if (k->first[i]->data == arg->data) return i;
    int64_t *shape = arena_new(&k->arena, int64_t);
    *shape = (int64_t)arg->bytes + GUARD_BYTES;
    k->first[n] = arg;
    k->tensors[n] = (PlanTensor){.kind = TENSOR_STATE,
                                 .name = str_printf(&k->arena, "argument %u", n),
                                 .type = DTYPE_U8,
                                 .rank = 1,
                                 .shape = shape,
                                 .axes = &axis};
    k->plan.tensor_count++;
    return n;
}

static void plan_of(OneKernel *k, const Simt *simt, uint32_t kernel, SimtArgs args) {
    ASSERT(args.len <= ARGS_MAX);
    Str cubin = simt->compiled[kernel].code.cubin;
    k->kernel = (PlanKernel){.name = STR("kernel"),
                             .object = cubin,
                             .hash = hash_bytes(cubin.ptr, cubin.len),
                             .tasks = 1,
                             .launch = simt->kernels[kernel].launch};
    k->step = (PlanStep){STEP_LAUNCH, .args = k->steps_args, .arg_count = args.len};
    k->entry = (PlanEntry){.name = STR("kernel"),
                           .steps = &k->step,
                           .step_count = 1,
                           .buffers = k->buffers,
                           .buffer_count = args.len};
    k->plan = (Plan){.model = STR("test"),
                     .target = str_printf(&k->arena, "cuda:%s", isa_level_text(simt->level)),
                     .tensors = k->tensors,
                     .kernels = &k->kernel,
                     .kernel_count = 1,
                     .entries = &k->entry,
                     .entry_count = 1};
    for (uint32_t i = 0; i < args.len; i++) {
        const SimtArg *arg = &args.ptr[i];
        k->steps_args[i] = i;
        k->buffers[i] = (PlanBuffer){BUFFER_TENSOR, tensor_of(k, arg), 0, (int64_t)arg->bytes};
    }
}

// ---- running

static bool run_once(Diag *diag, OneKernel *k, Session *s, unsigned char *const *results) {
    for (uint32_t i = 0; i < k->plan.tensor_count; i++) {
        unsigned char *to = session_write(s, i);
        memcpy(to, k->first[i]->data, k->first[i]->bytes);
        memset(to + k->first[i]->bytes, GUARD, GUARD_BYTES);
    }
    if (!session_run(diag, s, &k->entry)) return false;
    for (uint32_t i = 0; i < k->plan.tensor_count; i++) {
        const SimtArg *arg = k->first[i];
        const unsigned char *from = session_read(diag, s, i);
        if (!from) return false;
        memcpy(results[i], from, arg->bytes);
        for (int at = 0; at < GUARD_BYTES; at++)
            if (from[arg->bytes + (size_t)at] != GUARD)
                return diag_fail(diag, FAIL_INPUT, "%s: byte %d behind it was written",
                                 arg->name, at);
    }
    return true;
}

static bool run_twice(Diag *diag, OneKernel *k, Session *s) {
    unsigned char *results[2][ARGS_MAX];
    for (int n = 0; n < 2; n++) {
        for (uint32_t i = 0; i < k->plan.tensor_count; i++)
            results[n][i] = arena_array(&k->arena, unsigned char, k->first[i]->bytes + 1);
        if (!run_once(diag, k, s, results[n])) return false;
    }
    for (uint32_t i = 0; i < k->plan.tensor_count; i++) {
        const SimtArg *arg = k->first[i];
        if (memcmp(results[0][i], results[1][i], arg->bytes) != 0)
            return diag_fail(diag, FAIL_INPUT, "%s: two runs give different bits", arg->name);
        memcpy(arg->data, results[0][i], arg->bytes);
    }
    return true;
}

bool simt_check(Diag *diag, const Simt *simt, uint32_t kernel, SimtArgs args) {
    OneKernel k = {0};
    Session *s;
    plan_of(&k, simt, kernel, args);
    bool ok = session_open(diag, &k.plan, 1, &s);
    if (ok) {
        ok = run_twice(diag, &k, s);
        session_close(s);
    }
    arena_release(&k.arena);
    return ok;
}

bool simt_launch(Diag *diag, const Simt *simt, uint32_t kernel, SimtArgs args,
                 SimtSchedule schedule) {
    (void)schedule;
    return simt_check(diag, simt, kernel, args);
}
