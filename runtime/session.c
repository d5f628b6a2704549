// session.c: a plan on this machine's CPU. Opening sets everything up:
//
//     memory: | tensor | tensor | ... | constants |        arena: | the largest entry's |
//     each entry: pointers to the arguments of all its steps, one after another
//
// Running an entry then allocates nothing and looks nothing up.
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/map.h"
#include "runtime/cpu/cpu.h"
#include "runtime/cpu/pool.h"
#include "runtime/device.h"
#include "runtime/gemm.h"
#include "runtime/init.h"
#include "runtime/object.h"

enum { ALIGN = 64, COPY_BLOCK = 1 << 16 };

typedef struct {
    void ***args;      // of each step
    uint32_t *inputs;  // tensors with restricted values that the entry reads
    uint32_t input_count;
    int64_t *step_ns;
} SessionEntry;

typedef struct {
    unsigned char *data;
    size_t bytes;
} Mapping;

struct Session {
    Arena arena;
    const Plan *plan;
    Pool *pool;
    Mapping memory, work;
    void **tensors;
    unsigned char *constants;
    Object *objects;  // distinct ones
    uint32_t object_count;
    KernelFn **kernels;
    SessionEntry *entries;
    bool profile;
    uint32_t last;  // entry + 1 of the last run that was profiled; 0: none
};

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

static bool check_machine(Diag *diag, const Plan *plan) {
    if (!str_eq(plan->target, STR("cpu"))) {
        return diag_fail(diag, FAIL_ENVIRONMENT,
                         "the plan is for %.*s; this strata runs cpu only",
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

static bool map_zeroed(Diag *diag, size_t bytes, Mapping *out) {
    *out = (Mapping){0};
    if (!bytes) return true;
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        return diag_fail(diag, FAIL_ENVIRONMENT, "not enough memory: the plan needs %.1f MiB",
                         (double)bytes / (1 << 20));
    }
    // Only advice: without huge pages everything still works.
    madvise(data, bytes, MADV_HUGEPAGE);
    *out = (Mapping){.data = data, .bytes = bytes};
    return true;
}

static bool allocate(Diag *diag, Session *s) {
    const Plan *plan = s->plan;
    s->tensors = arena_array(&s->arena, void *, plan->tensor_count);
    size_t bytes = 0, work = 0;
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        bytes += aligned((size_t)plan_tensor_bytes(&plan->tensors[i]));
    for (uint32_t i = 0; i < plan->entry_count; i++) {
        size_t arena = aligned((size_t)plan->entries[i].arena_bytes);
        work = arena > work ? arena : work;
    }
    if (!map_zeroed(diag, bytes + aligned(plan->constants.len), &s->memory)) return false;
    if (!map_zeroed(diag, work, &s->work)) return false;
    unsigned char *at = s->memory.data;
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        s->tensors[i] = at;
        at += aligned((size_t)plan_tensor_bytes(&plan->tensors[i]));
    }
    s->constants = at;
    if (at && plan->constants.len) memcpy(at, plan->constants.ptr, plan->constants.len);
    return true;
}

// Kernels with the same code share one copy of it.
static bool load_kernels(Diag *diag, Session *s) {
    const Plan *plan = s->plan;
    Map seen = {0};
    s->objects = arena_array(&s->arena, Object, plan->kernel_count);
    s->kernels = arena_array(&s->arena, KernelFn *, plan->kernel_count);
    int64_t scratch = 0;
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        const PlanKernel *k = &plan->kernels[i];
        scratch = k->scratch_bytes > scratch ? k->scratch_bytes : scratch;
        Str key = {(const char *)&k->hash, sizeof k->hash};
        uint64_t index;
        if (!map_get(&seen, key, &index)) {
            index = s->object_count;
            if (!object_load(diag, k->name, k->object, &s->objects[index])) return false;
            s->object_count++;
            map_set(&s->arena, &seen, key, index);
        }
        s->kernels[i] = s->objects[index].entry;
    }
    return pool_reserve(diag, s->pool, scratch);
}

static void *buffer_address(const Session *s, const PlanBuffer *b) {
    unsigned char *base = NULL;
    switch (b->kind) {
    case BUFFER_TENSOR: base = s->tensors[b->index]; break;
    case BUFFER_ARENA: base = s->work.data; break;
    case BUFFER_CONSTANT: base = s->constants; break;
    }
    return base ? base + b->offset : NULL;
}

static void find_inputs(Session *s, const PlanEntry *e, SessionEntry *out) {
    const Plan *plan = s->plan;
    bool *read = arena_array(&s->arena, bool, plan->tensor_count);
    for (uint32_t i = 0; i < e->buffer_count; i++) {
        if (e->buffers[i].kind == BUFFER_TENSOR) read[e->buffers[i].index] = true;
    }
    out->inputs = arena_array(&s->arena, uint32_t, plan->tensor_count);
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        if (read[i] && t->kind == TENSOR_INPUT && t->index_below)
            out->inputs[out->input_count++] = i;
    }
}

static void bind_entry(Session *s, const PlanEntry *e, SessionEntry *out) {
    out->args = arena_array(&s->arena, void **, e->step_count);
    out->step_ns = arena_array(&s->arena, int64_t, e->step_count);
    for (uint32_t i = 0; i < e->step_count; i++) {
        const PlanStep *step = &e->steps[i];
        out->args[i] = arena_array(&s->arena, void *, step->arg_count);
        for (uint32_t k = 0; k < step->arg_count; k++)
            out->args[i][k] = buffer_address(s, &e->buffers[step->args[k]]);
    }
    find_inputs(s, e, out);
}

bool session_open(Diag *diag, const Plan *plan, uint32_t threads, Session **out) {
    *out = NULL;
    if (!plan_verify(diag, plan->model, plan) || !check_machine(diag, plan)) return false;
    Arena arena = {0};
    Session *s = arena_new(&arena, Session);
    *s = (Session){.arena = arena, .plan = plan};
    bool ok = pool_open(diag, threads, &s->pool) && allocate(diag, s) && load_kernels(diag, s);
    if (!ok) {
        session_close(s);
        return false;
    }
    s->entries = arena_array(&s->arena, SessionEntry, plan->entry_count);
    for (uint32_t i = 0; i < plan->entry_count; i++)
        bind_entry(s, &plan->entries[i], &s->entries[i]);
    *out = s;
    return true;
}

void session_close(Session *s) {
    if (!s) return;
    for (uint32_t i = 0; i < s->object_count; i++)
        object_unload(&s->objects[i]);
    if (s->memory.data) munmap(s->memory.data, s->memory.bytes);
    if (s->work.data) munmap(s->work.data, s->work.bytes);
    pool_close(s->pool);
    // The session lies in its own arena.
    Arena arena = s->arena;
    arena_release(&arena);
}

const Plan *session_plan(const Session *s) { return s->plan; }

void *session_tensor(Session *s, uint32_t tensor) {
    ASSERT(tensor < s->plan->tensor_count);
    return s->tensors[tensor];
}

typedef struct {
    Session *session;
    uint64_t seed;
} InitJob;

static void init_tensors(void *context, int64_t begin, int64_t end, uint32_t thread) {
    const InitJob *job = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const PlanTensor *t = &job->session->plan->tensors[i];
        if (t->kind == TENSOR_PARAM || t->kind == TENSOR_STATE)
            init_tensor(t, job->seed, job->session->tensors[i]);
    }
}

void session_init(Session *s, uint64_t seed) {
    InitJob job = {.session = s, .seed = seed};
    pool_run(s->pool, s->plan->tensor_count, init_tensors, &job);
}

static bool check_input(Diag *diag, const PlanTensor *t, const void *data) {
    int64_t count = plan_tensor_count(t);
    for (int64_t i = 0; i < count; i++) {
        double x = dtype_get(t->type, data, i);
        if (x >= 0 && x < (double)t->index_below) continue;
        StrBuf place = {0};
        plan_tensor_position(t, i, &place);
        diag_fail(diag, FAIL_INPUT, "%s is %.0f; it must be in [0, %lld)", place.ptr, x,
                  (long long)t->index_below);
        strbuf_release(&place);
        return false;
    }
    return true;
}

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
    pool_run(s->pool, (job.bytes + COPY_BLOCK - 1) / COPY_BLOCK, copy_blocks, &job);
}

static void run_step(Session *s, const PlanEntry *e, const PlanStep *step, void **args) {
    switch (step->kind) {
    case STEP_LAUNCH:
        pool_run_kernel(s->pool, s->kernels[step->kernel], args,
                        s->plan->kernels[step->kernel].tasks);
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

bool session_run(Diag *diag, Session *s, const PlanEntry *entry) {
    uint32_t index = (uint32_t)(entry - s->plan->entries);
    ASSERT(index < s->plan->entry_count);
    SessionEntry *bound = &s->entries[index];
    for (uint32_t i = 0; i < bound->input_count; i++) {
        uint32_t input = bound->inputs[i];
        if (!check_input(diag, &s->plan->tensors[input], s->tensors[input])) return false;
    }
    int64_t before = s->profile ? clock_ns() : 0;
    for (uint32_t i = 0; i < entry->step_count; i++) {
        run_step(s, entry, &entry->steps[i], bound->args[i]);
        if (!s->profile) continue;
        int64_t now = clock_ns();
        bound->step_ns[i] = now - before;
        before = now;
    }
    if (s->profile) s->last = index + 1;
    return true;
}

void session_profile(Session *s, bool on) { s->profile = on; }

const int64_t *session_step_ns(const Session *s, uint32_t *count) {
    *count = s->last ? s->plan->entries[s->last - 1].step_count : 0;
    return s->last ? s->entries[s->last - 1].step_ns : NULL;
}
