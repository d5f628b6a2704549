// plan_memory.c: which step touches what, updates in place, and offsets in the arena.
#include "autotune/plan_memory.h"

#include "base/check.h"

bool draft_step_reads(const DraftStep *step, uint32_t arg) {
    if (step->kind == STEP_COPY) return arg == 0;
    return step->kind == STEP_LAUNCH && step->program->args.ptr[arg].read;
}

bool draft_step_writes(const DraftStep *step, uint32_t arg) {
    if (step->kind == STEP_COPY) return arg == 1;
    return step->kind == STEP_CLEAR || step->program->args.ptr[arg].written;
}

static bool is_tensor(const Draft *d, uint32_t memory, uint32_t tensor) {
    return d->memory.ptr[memory].kind == BUFFER_TENSOR &&
           d->memory.ptr[memory].tensor == tensor;
}

// Does the step read the tensor in another way than element by element where it writes
// `memory`?
static bool reads_elsewhere(const Draft *d, const DraftStep *step, uint32_t memory,
                            uint32_t tensor) {
    for (uint32_t i = 0; i < step->arg_count; i++) {
        if (!is_tensor(d, step->args[i], tensor) || !draft_step_reads(step, i)) continue;
        for (uint32_t k = 0; k < step->arg_count; k++)
            if (step->args[k] == memory && draft_step_writes(step, k) &&
                (step->kind != STEP_LAUNCH || !tile_in_place(step->program, i, k)))
                return true;
    }
    return false;
}

static bool touches(const DraftStep *step, uint32_t memory, bool writes) {
    for (uint32_t i = 0; i < step->arg_count; i++)
        if (step->args[i] == memory &&
            (writes ? draft_step_writes(step, i) : draft_step_reads(step, i)))
            return true;
    return false;
}

bool draft_update_in_place(Draft *d, uint32_t value_memory, uint32_t tensor) {
    Memory *m = &d->memory.ptr[value_memory];
    if (m->kind != BUFFER_ARENA) return false;
    bool written = false;
    for (uint32_t s = 0; s < d->steps.len; s++) {
        const DraftStep *step = &d->steps.ptr[s];
        if (reads_elsewhere(d, step, value_memory, tensor)) return false;
        bool writes = touches(step, value_memory, true);
        for (uint32_t i = 0; i < step->arg_count; i++) {
            if (!is_tensor(d, step->args[i], tensor)) continue;
            if (written || draft_step_writes(step, i)) return false;
        }
        written = written || writes;
    }
    m->kind = BUFFER_TENSOR;
    m->tensor = tensor;
    return true;
}
