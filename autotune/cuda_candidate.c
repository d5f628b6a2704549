// cuda_candidate.c: the plan of a candidate.
//
//     tensors   set 0: x y ...   set 1: x y ...   ...
//     entries   "once": set 0    "copy": inputs of set 0 to the others    "time": set 0, 1, ...
//
// Where groups of rows may be skewed, they are in sets 1, 3, ...
#include "autotune/cuda_candidate.h"

#include <string.h>

#include "base/check.h"
#include "base/vec.h"

enum { ENTRY_ONCE, ENTRY_COPY, ENTRY_TIME, ENTRIES };
enum { RUNS_MAX = 256, LAUNCH_NS = 2000, TIME_NS = 1000000, PARTIAL_ALIGN = 256 };
// Together more than any L2 cache.
static const double rotated_bytes = 128 << 20;

typedef struct {
    Arena *arena;
    const Workspace *w;
    const LoadedCandidate *c;
    Plan *plan;
    uint32_t sets;
    Vec(PlanBuffer) buffers;  // of every entry: a tensor each, then partial sums
    int64_t partials;         // bytes
} Maker;

static int64_t tensor_bytes(const WorkspaceTensor *t) {
    return t->elements * (int64_t)dtype_bytes(t->type);
}

static void make_memory(Maker *m) {
    static const Str axis = {"n", 1};
    const TileKernels *kernels = m->c->candidate->kernels;
    uint32_t each = m->w->tensor_count;
    m->plan->tensor_count = m->sets * each;
    m->plan->tensors = arena_array(m->arena, PlanTensor, m->plan->tensor_count);
    for (uint32_t i = 0; i < m->plan->tensor_count; i++) {
        const WorkspaceTensor *t = &m->w->tensors[i % each];
        m->plan->tensors[i] = (PlanTensor){.kind = TENSOR_STATE,
                                           .name = str_printf(m->arena, "t%u", i),
                                           .type = t->type,
                                           .rank = 1,
                                           .shape = &t->elements,
                                           .axes = &axis};
        PlanBuffer buffer = {.kind = BUFFER_TENSOR, .index = i, .bytes = tensor_bytes(t)};
        vec_push(m->arena, &m->buffers, buffer);
    }
    for (uint32_t i = 0; i < kernels->partial_count; i++) {
        PlanBuffer buffer = {
            .kind = BUFFER_ARENA, .offset = m->partials, .bytes = kernels->partial_bytes[i]};
        vec_push(m->arena, &m->buffers, buffer);
        m->partials += (buffer.bytes + PARTIAL_ALIGN - 1) / PARTIAL_ALIGN * PARTIAL_ALIGN;
    }
}

static void make_kernels(Maker *m) {
    const Candidate *c = m->c->candidate;
    if (!c->code) return;
    m->plan->kernel_count = c->kernels->kernel_count;
    m->plan->kernels = arena_array(m->arena, PlanKernel, c->kernels->kernel_count);
    for (uint32_t k = 0; k < c->kernels->kernel_count; k++)
        m->plan->kernels[k] =
            (PlanKernel){.name = c->kernels->kernels[k].program->name,
                         .object = c->code[k].object,
                         .hash = hash_bytes(c->code[k].object.ptr, c->code[k].object.len),
                         .tasks = c->code[k].tasks,
                         .launch = c->code[k].launch};
}

typedef Vec(PlanStep) Steps;

static void add_step(const Maker *m, Steps *steps, PlanStep step, const uint32_t *args) {
    uint32_t *copy = arena_array(m->arena, uint32_t, step.arg_count);
    memcpy(copy, args, step.arg_count * sizeof *args);
    step.args = copy;
    vec_push(m->arena, steps, step);
}

static uint32_t buffer_of(const Maker *m, const TileBinding *binding, uint32_t set) {
    uint32_t each = m->w->tensor_count;
    if (binding->kind == BIND_PARTIAL) return m->sets * each + binding->partial;
    return set * each + (uint32_t)(workspace_find(m->w, binding->value) - m->w->tensors);
}

static void add_run(const Maker *m, uint32_t set, Steps *steps) {
    const Candidate *c = m->c->candidate;
    for (uint32_t k = 0; k < c->kernels->kernel_count; k++) {
        const TileKernel *kernel = &c->kernels->kernels[k];
        uint32_t count = kernel->program->args.len,
                 *args = arena_array(m->arena, uint32_t, count);
        for (uint32_t i = 0; i < count; i++) {
            args[i] = buffer_of(m, &kernel->bindings[i], set);
            if (kernel->clear_first && kernel->program->args.ptr[i].written)
                add_step(m, steps, (PlanStep){.kind = STEP_CLEAR, .arg_count = 1}, &args[i]);
        }
        if (c->code) {
            add_step(m, steps, (PlanStep){.kind = STEP_LAUNCH, .kernel = k, .arg_count = count},
                     args);
            continue;
        }
        const uint32_t abc[] = {args[c->operands[0]], args[c->operands[1]],
                                args[c->operands[2]]};
        add_step(m, steps, (PlanStep){.kind = STEP_GEMM, .gemm = c->gemm, .arg_count = 3}, abc);
    }
}

// The skewed data of tensor i of the plan; NULL: it has the same as in set 0.
static void *skewed_data(const Workspace *w, uint32_t i) {
    ASSERT(w->tensor_count > 0);
    bool odd = i / w->tensor_count % 2 != 0;
    return odd ? w->tensors[i % w->tensor_count].skewed : NULL;
}

static void add_copies(const Maker *m, Steps *steps) {
    uint32_t each = m->w->tensor_count;
    for (uint32_t i = each; i < m->sets * each; i++)
        if (!m->w->tensors[i % each].written && !skewed_data(m->w, i))
            add_step(m, steps, (PlanStep){.kind = STEP_COPY, .arg_count = 2},
                     (uint32_t[]){i % each, i});
}

static void make_entries(Maker *m) {
    static const char *const names[] = {"once", "copy", "time"};
    m->plan->entry_count = ENTRIES;
    m->plan->entries = arena_array(m->arena, PlanEntry, ENTRIES);
    for (uint32_t e = 0; e < ENTRIES; e++) {
        Steps steps = {0};
        if (e == ENTRY_COPY) add_copies(m, &steps);
        for (uint32_t i = 0; e == ENTRY_TIME && i < m->c->runs; i++)
            add_run(m, i % m->sets, &steps);
        if (e == ENTRY_ONCE) add_run(m, 0, &steps);
        m->plan->entries[e] = (PlanEntry){.name = str_of(names[e]),
                                          .steps = steps.ptr,
                                          .step_count = steps.len,
                                          .buffers = m->buffers.ptr,
                                          .buffer_count = m->buffers.len,
                                          .arena_bytes = m->partials};
    }
}

// By the region's floor, so that all its candidates are run equally often.
static void choose_counts(Maker *m, LoadedCandidate *c) {
    double least = c->least_ns > LAUNCH_NS ? c->least_ns : LAUNCH_NS;
    c->runs = (uint32_t)(TIME_NS / least);
    if (c->runs < 1) c->runs = 1;
    if (c->runs > RUNS_MAX) c->runs = RUNS_MAX;
    double sets = rotated_bytes / (double)(workspace_bytes(m->w) + 1);
    m->sets = sets >= c->runs ? c->runs : 1 + (uint32_t)sets;
    if (m->sets > c->runs) m->sets = c->runs;
    if (!workspace_has_skewed(m->w)) return;
    c->runs += c->runs % 2;
    m->sets += m->sets % 2;
}

static void write_tensor(const LoadedCandidate *c, uint32_t i, const void *data) {
    const Workspace *w = c->cuda->workspace;
    memcpy(session_write(c->cuda->session, i), data,
           (size_t)tensor_bytes(&w->tensors[i % w->tensor_count]));
}

bool cuda_candidate_load(Diag *diag, Arena *arena, const Workspace *w, LoadedCandidate *c) {
    Maker m = {.arena = arena, .w = w, .c = c, .plan = arena_new(arena, Plan)};
    *m.plan = (Plan){.model = STR("candidate"),
                     .target = str_printf(arena, "cuda:%s", isa_level_text(c->level))};
    choose_counts(&m, c);
    make_memory(&m);
    make_kernels(&m);
    make_entries(&m);
    c->cuda = arena_new(arena, CudaCandidate);
    *c->cuda = (CudaCandidate){.plan = m.plan, .workspace = w};
    if (!session_open(diag, m.plan, 1, &c->cuda->session)) return false;
    for (uint32_t i = 0; i < w->tensor_count; i++)
        if (!w->tensors[i].written) write_tensor(c, i, w->tensors[i].data);
    for (uint32_t i = 0; i < m.plan->tensor_count; i++)
        if (skewed_data(w, i)) write_tensor(c, i, skewed_data(w, i));
    if (session_run(diag, c->cuda->session, &m.plan->entries[ENTRY_COPY])) return true;
    cuda_candidate_unload(c);
    return false;
}

void cuda_candidate_unload(LoadedCandidate *c) {
    session_close(c->cuda->session);
    c->cuda->session = NULL;
}

bool cuda_candidate_once(Diag *diag, const LoadedCandidate *c) {
    const CudaCandidate *cuda = c->cuda;
    const Workspace *w = cuda->workspace;
    for (uint32_t i = 0; i < w->tensor_count; i++)
        if (w->tensors[i].written) write_tensor(c, i, w->tensors[i].data);
    if (!session_run(diag, cuda->session, &cuda->plan->entries[ENTRY_ONCE])) return false;
    for (uint32_t i = 0; i < w->tensor_count; i++) {
        if (!w->tensors[i].written) continue;
        const void *data = session_read(diag, cuda->session, i);
        if (!data) return false;
        memcpy(w->tensors[i].data, data, (size_t)tensor_bytes(&w->tensors[i]));
    }
    return true;
}

bool cuda_candidate_time(Diag *diag, const LoadedCandidate *c) {
    return session_run(diag, c->cuda->session, &c->cuda->plan->entries[ENTRY_TIME]);
}
