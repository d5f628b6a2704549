// session_simt.c: runtime/device.h for plans whose kernels are text (nvrtc_text.c): steps are
// run one by one on the CPU, each launch under the next of the twelve schedules. Every argument
// is just as large as its buffer, so what a kernel reads or writes beside it is noticed.
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "runtime/device.h"
#include "runtime/init.h"
#include "tests/simt/simt.h"

struct Session {
    Arena arena;
    const Plan *plan;
    Simt *simt;
    unsigned char **tensors, *work, *constants;
    uint32_t launches;
};

bool session_open(Diag *diag, const Plan *plan, uint32_t threads, Session **out) {
    (void)threads;
    *out = NULL;
    if (!plan_verify(diag, plan->model, plan)) return false;
    Arena arena = {0};
    Session *s = arena_new(&arena, Session);
    *s = (Session){.arena = arena, .plan = plan};
    s->tensors = arena_array(&s->arena, unsigned char *, plan->tensor_count);
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        s->tensors[i] =
            arena_array(&s->arena, unsigned char, (size_t)plan_tensor_bytes(&plan->tensors[i]));
    int64_t work = 0;
    for (uint32_t i = 0; i < plan->entry_count; i++)
        if (plan->entries[i].arena_bytes > work) work = plan->entries[i].arena_bytes;
    s->work = arena_array(&s->arena, unsigned char, (size_t)work);
    // A copy: kernels' arguments may be written.
    Str constants = plan->constants;
    s->constants = (unsigned char *)arena_strndup(&s->arena, constants.ptr, constants.len);
    CudaKernel *kernels = arena_array(&s->arena, CudaKernel, plan->kernel_count);
    for (uint32_t i = 0; i < plan->kernel_count; i++)
        kernels[i] =
            (CudaKernel){.text = plan->kernels[i].object, .launch = plan->kernels[i].launch};
    if (!simt_build(diag, &s->arena, kernels, plan->kernel_count, &s->simt)) {
        session_close(s);
        return false;
    }
    *out = s;
    return true;
}

void session_close(Session *s) {
    if (!s) return;
    if (s->simt) simt_close(s->simt);
    Arena arena = s->arena;
    arena_release(&arena);
}

const Plan *session_plan(const Session *s) { return s->plan; }

const void *session_read(Diag *diag, Session *s, uint32_t tensor) {
    (void)diag;
    return s->tensors[tensor];
}

const void *session_read_part(Diag *diag, Session *s, uint32_t tensor, size_t offset,
                              size_t bytes) {
    (void)diag, (void)offset, (void)bytes;
    return s->tensors[tensor];
}

void *session_write(Session *s, uint32_t tensor) { return s->tensors[tensor]; }

void session_init(Session *s, uint64_t seed) {
    for (uint32_t i = 0; i < s->plan->tensor_count; i++)
        init_tensor(&s->plan->tensors[i], seed, s->tensors[i]);
}

static unsigned char *address_of(const Session *s, const PlanBuffer *b) {
    switch (b->kind) {
    case BUFFER_TENSOR: return s->tensors[b->index] + b->offset;
    case BUFFER_ARENA: return s->work + b->offset;
    case BUFFER_CONSTANT: return s->constants + b->offset;
    }
    BUG("buffer %d", (int)b->kind);
}

static bool launch(Diag *diag, Session *s, const PlanEntry *entry, const PlanStep *step) {
    ArenaMark mark = arena_mark(&s->arena);
    SimtArg *list = arena_array(&s->arena, SimtArg, step->arg_count);
    for (uint32_t i = 0; i < step->arg_count; i++) {
        const PlanBuffer *b = &entry->buffers[step->args[i]];
        list[i] = (SimtArg){str_printf(&s->arena, "argument %u", i).ptr, address_of(s, b),
                            (size_t)b->bytes};
    }
    uint32_t n = s->launches++;
    SimtSchedule schedule = {(SimtOrder)(n % SIMT_ORDERS),
                             (SimtCompletion)(n / SIMT_ORDERS % SIMT_COMPLETIONS), n};
    SimtArgs args = {list, step->arg_count};
    bool ok = simt_launch(diag, s->simt, step->kernel, args, schedule);
    arena_rewind(&s->arena, mark);
    return ok;
}

bool session_run(Diag *diag, Session *s, const PlanEntry *entry) {
    for (uint32_t i = 0; i < entry->step_count; i++) {
        const PlanStep *step = &entry->steps[i];
        const PlanBuffer *to = &entry->buffers[step->args[step->arg_count - 1]];
        switch (step->kind) {
        case STEP_LAUNCH:
            if (!launch(diag, s, entry, step))
                return diag_fail(diag, FAIL_INPUT, "in step %u, kernel '%.*s'", i,
                                 STR_ARG(s->plan->kernels[step->kernel].name));
            break;
        case STEP_CLEAR: memset(address_of(s, to), 0, (size_t)to->bytes); break;
        case STEP_COPY:
            memmove(address_of(s, to), address_of(s, &entry->buffers[step->args[0]]),
                    (size_t)to->bytes);
            break;
        case STEP_GEMM: BUG("no library's call was asked for");
        }
    }
    return true;
}

void session_profile(Session *s, bool on) { (void)s, (void)on; }

const int64_t *session_step_ns(const Session *s, uint32_t *count) {
    (void)s;
    *count = 0;
    return NULL;
}
