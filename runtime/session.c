// session.c: a plan on a device, whichever it is: where the value of each tensor is, which
// inputs are checked, and what is transferred when. The back ends (cpu/session_cpu.c,
// cuda/session_cuda.c) own memory and run steps.
#include "runtime/session.h"

#include <sys/mman.h>

#include "base/check.h"
#include "runtime/init.h"

// ---- memory

size_t session_aligned(size_t bytes) {
    return (bytes + SESSION_ALIGN - 1) / SESSION_ALIGN * SESSION_ALIGN;
}

size_t session_arena_bytes(const Plan *p) {
    size_t most = 0;
    for (uint32_t i = 0; i < p->entry_count; i++) {
        size_t bytes = session_aligned((size_t)p->entries[i].arena_bytes);
        most = bytes > most ? bytes : most;
    }
    return most;
}

bool mapping_open(Diag *diag, size_t bytes, Mapping *out) {
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

void mapping_close(Mapping *m) {
    if (m->data) munmap(m->data, m->bytes);
    *m = (Mapping){0};
}

// ---- opening

static void describe_entry(Session *s, const PlanEntry *e, SessionEntry *out) {
    const Plan *plan = s->plan;
    bool *used = arena_array(&s->arena, bool, plan->tensor_count);
    for (uint32_t i = 0; i < e->buffer_count; i++) {
        if (e->buffers[i].kind == BUFFER_TENSOR) used[e->buffers[i].index] = true;
    }
    out->tensors = arena_array(&s->arena, uint32_t, plan->tensor_count);
    out->inputs = arena_array(&s->arena, uint32_t, plan->tensor_count);
    out->step_ns = arena_array(&s->arena, int64_t, e->step_count);
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        if (!used[i]) continue;
        out->tensors[out->tensor_count++] = i;
        if (t->kind == TENSOR_INPUT && t->index_below) out->inputs[out->input_count++] = i;
    }
}

bool session_open(Diag *diag, const Plan *plan, uint32_t threads, Session **out) {
    *out = NULL;
    if (!plan_verify(diag, plan->model, plan)) return false;
    Arena arena = {0};
    Session *s = arena_new(&arena, Session);
    *s = (Session){.arena = arena,
                   .plan = plan,
                   .backend = plan_is_cuda(plan) ? &backend_cuda : &backend_cpu};
    s->host = arena_array(&s->arena, void *, plan->tensor_count);
    s->value = arena_array(&s->arena, ValueSide, plan->tensor_count);
    s->entries = arena_array(&s->arena, SessionEntry, plan->entry_count);
    for (uint32_t i = 0; i < plan->entry_count; i++)
        describe_entry(s, &plan->entries[i], &s->entries[i]);
    if (pool_open(diag, threads, &s->pool) && s->backend->open(diag, s)) {
        *out = s;
        return true;
    }
    session_close(s);
    return false;
}

void session_close(Session *s) {
    if (!s) return;
    s->backend->close(s);
    pool_close(s->pool);
    // The session lies in its own arena.
    Arena arena = s->arena;
    arena_release(&arena);
}

const Plan *session_plan(const Session *s) { return s->plan; }

// ---- tensors

const void *session_read_part(Diag *diag, Session *s, uint32_t tensor, size_t offset,
                              size_t bytes) {
    ASSERT(tensor < s->plan->tensor_count);
    size_t whole = (size_t)plan_tensor_bytes(&s->plan->tensors[tensor]);
    ASSERT(offset <= whole && bytes <= whole - offset);
    if (s->value[tensor] == VALUE_DEVICE) {
        if (!s->backend->download(diag, s, tensor, offset, bytes)) return NULL;
        if (bytes == whole) s->value[tensor] = VALUE_BOTH;
    }
    return (const unsigned char *)s->host[tensor] + offset;
}

const void *session_read(Diag *diag, Session *s, uint32_t tensor) {
    ASSERT(tensor < s->plan->tensor_count);
    return session_read_part(diag, s, tensor, 0,
                             (size_t)plan_tensor_bytes(&s->plan->tensors[tensor]));
}

void *session_write(Session *s, uint32_t tensor) {
    ASSERT(tensor < s->plan->tensor_count);
    if (s->backend->upload) s->value[tensor] = VALUE_HOST;
    return s->host[tensor];
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
            init_tensor(t, job->seed, session_write(job->session, (uint32_t)i));
    }
}

void session_init(Session *s, uint64_t seed) {
    InitJob job = {.session = s, .seed = seed};
    pool_run(s->pool, s->plan->tensor_count, init_tensors, &job);
}

// ---- running

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

// Brings over what was written on the host. Nothing says which tensors an entry changes, so
// afterwards all but inputs count as changed.
static bool upload(Diag *diag, Session *s, const SessionEntry *e) {
    for (uint32_t i = 0; i < e->tensor_count; i++) {
        uint32_t tensor = e->tensors[i];
        if (s->value[tensor] == VALUE_HOST) {
            if (!s->backend->upload(diag, s, tensor)) return false;
            s->value[tensor] = VALUE_BOTH;
        }
        bool input = s->plan->tensors[tensor].kind == TENSOR_INPUT;
        if (!input) s->value[tensor] = VALUE_DEVICE;
    }
    return true;
}

bool session_run(Diag *diag, Session *s, const PlanEntry *entry) {
    uint32_t index = (uint32_t)(entry - s->plan->entries);
    ASSERT(index < s->plan->entry_count);
    const SessionEntry *e = &s->entries[index];
    for (uint32_t i = 0; i < e->input_count; i++) {
        uint32_t input = e->inputs[i];
        if (!check_input(diag, &s->plan->tensors[input], s->host[input])) return false;
    }
    if (s->backend->upload && !upload(diag, s, e)) return false;
    if (!s->backend->run(diag, s, index)) return false;
    if (s->profile) s->last = index + 1;
    return true;
}

void session_profile(Session *s, bool on) { s->profile = on; }

const int64_t *session_step_ns(const Session *s, uint32_t *count) {
    *count = s->last ? s->plan->entries[s->last - 1].step_count : 0;
    return s->last ? s->entries[s->last - 1].step_ns : NULL;
}
