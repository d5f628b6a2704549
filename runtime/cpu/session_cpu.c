// session_cpu.c: a plan on this machine's CPU. Opening sets everything up:
//
//     memory: | tensor | tensor | ... | constants |        arena: | the largest entry's |
//     each entry: pointers to the arguments of all its steps, one after another
//
// Running an entry then allocates nothing and looks nothing up.
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/integer.h"
#include "base/map.h"
#include "runtime/cpu/cpu.h"
#include "runtime/gemm.h"
#include "runtime/object.h"
#include "runtime/session.h"

enum { COPY_BLOCK = 1 << 16 };

typedef struct {
    const void *data;
    size_t bytes;
} Ahead;

typedef struct {
    Mapping memory, work;
    unsigned char *constants;
    Object *objects;  // distinct ones
    uint32_t object_count;
    KernelFn **kernels;
    void ****args;  // of each entry, of each step
    Ahead **ahead;  // of each entry, of each step: what the next one reads that reads much
} CpuState;

// ---- opening

static bool check_machine(Diag *diag, const Plan *plan) {
    if (!str_eq(plan->target, STR("cpu"))) {
        return diag_fail(diag, FAIL_ENVIRONMENT, "the plan is for %.*s, which is unknown here",
                         STR_ARG(plan->target));
    }
    Str have = cpu_features(), need = plan->cpu_features.len ? plan->cpu_features : STR("sse2");
    int rank = cpu_features_rank(need);
    if (rank >= 0 && rank <= cpu_features_rank(have)) return true;
    return diag_fail(
        diag, FAIL_ENVIRONMENT,
        "the plan's code needs %.*s and this machine has %.*s; compile it again here",
        STR_ARG(need), STR_ARG(have));
}

// Large tensors are mostly multiples of what one way of a cache holds. Kernels that walk many
// of them side by side would use the same few sets for all, and lose rows before they are read.
static size_t tensor_room(const PlanTensor *t) {
    enum { LARGE = 128 << 10, APART = 4096 + SESSION_ALIGN };
    size_t bytes = session_aligned((size_t)plan_tensor_bytes(t));
    return bytes < LARGE ? bytes : bytes + APART;
}

static bool allocate(Diag *diag, Session *s, CpuState *cpu) {
    const Plan *plan = s->plan;
    size_t bytes = session_aligned(plan->constants.len);
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        bytes += tensor_room(&plan->tensors[i]);
    if (!mapping_open(diag, bytes, &cpu->memory)) return false;
    if (!mapping_open(diag, session_arena_bytes(plan), &cpu->work)) return false;
    unsigned char *at = cpu->memory.data;
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        s->host[i] = at;
        at += tensor_room(&plan->tensors[i]);
    }
    cpu->constants = at;
    if (at && plan->constants.len) memcpy(at, plan->constants.ptr, plan->constants.len);
    return true;
}

// Kernels with the same code share one copy of it.
static bool load_kernels(Diag *diag, Session *s, CpuState *cpu) {
    const Plan *plan = s->plan;
    Map seen = {0};
    cpu->objects = arena_array(&s->arena, Object, plan->kernel_count);
    cpu->kernels = arena_array(&s->arena, KernelFn *, plan->kernel_count);
    int64_t scratch = 0;
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        const PlanKernel *k = &plan->kernels[i];
        scratch = k->scratch_bytes > scratch ? k->scratch_bytes : scratch;
        Str key = {(const char *)&k->hash, sizeof k->hash};
        uint64_t index;
        if (!map_get(&seen, key, &index)) {
            index = cpu->object_count;
            if (!object_load(diag, k->name, k->object, &cpu->objects[index])) return false;
            cpu->object_count++;
            map_set(&s->arena, &seen, key, index);
        }
        cpu->kernels[i] = cpu->objects[index].entry;
    }
    return pool_reserve(diag, s->pool, scratch);
}

static void *buffer_address(const Session *s, const CpuState *cpu, const PlanBuffer *b) {
    unsigned char *base = NULL;
    switch (b->kind) {
    case BUFFER_TENSOR: base = s->host[b->index]; break;
    case BUFFER_ARENA: base = cpu->work.data; break;
    case BUFFER_CONSTANT: base = cpu->constants; break;
    }
    return base ? base + b->offset : NULL;
}

static void ***bind_entry(Session *s, const CpuState *cpu, const PlanEntry *e) {
    void ***args = arena_array(&s->arena, void **, e->step_count);
    for (uint32_t i = 0; i < e->step_count; i++) {
        const PlanStep *step = &e->steps[i];
        args[i] = arena_array(&s->arena, void *, step->arg_count);
        for (uint32_t k = 0; k < step->arg_count; k++)
            args[i][k] = buffer_address(s, cpu, &e->buffers[step->args[k]]);
    }
    return args;
}

// The largest tensor that the step reads as a whole: weights, mostly.
static Ahead step_reads(const Session *s, const CpuState *cpu, const PlanEntry *e,
                        const PlanStep *step) {
    enum { LEAST = 32 << 10 };
    Ahead best = {NULL, LEAST - 1};
    if (step->kind != STEP_LAUNCH) return best;
    const PlanKernel *kernel = &s->plan->kernels[step->kernel];
    for (uint32_t k = 0; k < step->arg_count; k++) {
        const PlanBuffer *b = &e->buffers[step->args[k]];
        if (b->kind == BUFFER_TENSOR && (size_t)b->bytes > best.bytes &&
            (double)b->bytes <= kernel->bytes)
            best = (Ahead){buffer_address(s, cpu, b), (size_t)b->bytes};
    }
    return best;
}

static Ahead *look_ahead(Session *s, const CpuState *cpu, const PlanEntry *e) {
    Ahead *ahead = arena_array(&s->arena, Ahead, e->step_count), next = {NULL, 0};
    for (uint32_t i = e->step_count; i-- > 0;) {
        ahead[i] = next;
        Ahead reads = step_reads(s, cpu, e, &e->steps[i]);
        if (reads.data) next = reads;
    }
    return ahead;
}

static bool cpu_open(Diag *diag, Session *s) {
    CpuState *cpu = arena_new(&s->arena, CpuState);
    s->state = cpu;
    if (!check_machine(diag, s->plan) || !allocate(diag, s, cpu) || !load_kernels(diag, s, cpu))
        return false;
    cpu->args = arena_array(&s->arena, void ***, s->plan->entry_count);
    cpu->ahead = arena_array(&s->arena, Ahead *, s->plan->entry_count);
    for (uint32_t i = 0; i < s->plan->entry_count; i++) {
        cpu->args[i] = bind_entry(s, cpu, &s->plan->entries[i]);
        cpu->ahead[i] = look_ahead(s, cpu, &s->plan->entries[i]);
    }
    return true;
}

static void cpu_close(Session *s) {
    CpuState *cpu = s->state;
    if (!cpu) return;
    for (uint32_t i = 0; i < cpu->object_count; i++)
        object_unload(&cpu->objects[i]);
    mapping_close(&cpu->memory);
    mapping_close(&cpu->work);
}

// ---- running

typedef struct {
    unsigned char *to;
    const unsigned char *from;  // NULL: zeros
    int64_t bytes;
} CopyJob;

static void copy_blocks(void *context, int64_t begin, int64_t end, uint32_t thread) {
    const CopyJob *job = context;
    (void)thread;
    int64_t start = begin * COPY_BLOCK, stop = end * COPY_BLOCK;
    if (stop > job->bytes) stop = job->bytes;
    size_t n = (size_t)(stop - start);
    if (job->from)
        memmove(job->to + start, job->from + start, n);
    else
        memset(job->to + start, 0, n);
}

static void copy(Session *s, CopyJob job) {
    pool_run(s->pool, ceil_div(job.bytes, COPY_BLOCK), copy_blocks, &job);
}

// Is sharing the kernel out more work than the kernel?
static bool is_tiny(const PlanKernel *k) {
    enum { MOST = 48 << 10 };
    return k->flops + k->bytes <= MOST;
}

static void run_kernel(Session *s, const PlanKernel *k, KernelFn *fn, void **args) {
    if (is_tiny(k))
        pool_run_alone(s->pool, fn, args, k->tasks);
    else
        pool_run_kernel(s->pool, fn, args, k->tasks);
}

static void run_step(Session *s, const PlanEntry *e, const PlanStep *step, void **args) {
    const CpuState *cpu = s->state;
    switch (step->kind) {
    case STEP_LAUNCH:
        run_kernel(s, &s->plan->kernels[step->kernel], cpu->kernels[step->kernel], args);
        break;
    case STEP_CLEAR:
        copy(s, (CopyJob){.to = args[0], .bytes = e->buffers[step->args[0]].bytes});
        break;
    case STEP_COPY:
        if (args[0] == args[1]) break;
        copy(s, (CopyJob){
                    .to = args[1], .from = args[0], .bytes = e->buffers[step->args[1]].bytes});
        break;
    case STEP_GEMM: gemm_run(s->pool, &step->gemm, args[0], args[1], args[2]); break;
    }
}

static bool cpu_run(Diag *diag, Session *s, uint32_t entry) {
    (void)diag;
    const CpuState *cpu = s->state;
    const PlanEntry *e = &s->plan->entries[entry];
    int64_t before = s->profile ? clock_ns() : 0;
    for (uint32_t i = 0; i < e->step_count; i++) {
        const Ahead *ahead = &cpu->ahead[entry][i];
        pool_read_ahead(s->pool, ahead->data, ahead->bytes);
        run_step(s, e, &e->steps[i], cpu->args[entry][i]);
        if (!s->profile) continue;
        int64_t now = clock_ns();
        s->entries[entry].step_ns[i] = now - before;
        before = now;
    }
    return true;
}

const Backend backend_cpu = {.open = cpu_open, .close = cpu_close, .run = cpu_run};
