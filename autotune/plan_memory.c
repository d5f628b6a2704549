// plan_memory.c: which step touches what, updates in place, and offsets in the arena.
#include "autotune/plan_memory.h"

#include "base/check.h"
#include "ir/graph/pass_memory.h"

bool draft_step_reads(const DraftStep *step, uint32_t arg) {
    if (step->kind == STEP_COPY) return arg == 0;
    if (step->kind == STEP_GEMM) return arg < 2;
    return step->kind == STEP_LAUNCH && step->program->args.ptr[arg].read;
}

bool draft_step_writes(const DraftStep *step, uint32_t arg) {
    if (step->kind == STEP_COPY) return arg == 1;
    if (step->kind == STEP_GEMM) return arg == 2;
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

// ---- placement: the planner's buffers are the draft's pieces of memory, under the same
// numbers

static uint32_t whole_of(const Draft *d, uint32_t memory) {
    uint32_t whole = d->memory.ptr[memory].whole;
    return whole ? whole - 1 : memory;
}

static uint32_t list_of(const Draft *d, const DraftStep *step, bool writes, uint32_t *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < step->arg_count; i++)
        if (writes ? draft_step_writes(step, i) : draft_step_reads(step, i))
            out[n++] = whole_of(d, step->args[i]);
    return n;
}

static bool could_share(const Draft *d, const DraftStep *step, uint32_t from, uint32_t to) {
    const Memory *a = &d->memory.ptr[step->args[from]], *b = &d->memory.ptr[step->args[to]];
    return a->kind == BUFFER_ARENA && b->kind == BUFFER_ARENA && a->bytes == b->bytes &&
           !a->whole && !b->whole && draft_step_reads(step, from) &&
           draft_step_writes(step, to) && tile_in_place(step->program, from, to);
}

static uint32_t in_place_pairs(const Draft *d, const DraftStep *step, MemoryInPlace *out) {
    uint32_t n = 0;
    for (uint32_t from = 0; from < step->arg_count; from++)
        for (uint32_t to = 0; step->kind == STEP_LAUNCH && to < step->arg_count; to++)
            if (could_share(d, step, from, to))
                out[n++] = (MemoryInPlace){step->args[from], step->args[to]};
    return n;
}

// Kernels that walk many large buffers side by side (the weights of many sources, one array
// each) would use the same few sets of the caches for all, if their sizes are powers of two.
static int64_t room_bytes(int64_t bytes) {
    enum { LARGE = 128 << 10, APART = 4096 + 64 };
    return bytes < LARGE ? bytes : bytes + APART;
}

void draft_place(Draft *d) {
    MemoryBuffer *buffers = arena_array(d->arena, MemoryBuffer, d->memory.len);
    MemoryStep *steps = arena_array(d->arena, MemoryStep, d->steps.len);
    for (uint32_t i = 0; i < d->memory.len; i++)
        buffers[i] = (MemoryBuffer){room_bytes(d->memory.ptr[i].bytes),
                                    d->memory.ptr[i].kind != BUFFER_ARENA};
    for (uint32_t i = 0; i < d->steps.len; i++) {
        const DraftStep *step = &d->steps.ptr[i];
        uint32_t *reads = arena_array(d->arena, uint32_t, step->arg_count),
                 *writes = arena_array(d->arena, uint32_t, step->arg_count);
        MemoryInPlace *pairs =
            arena_array(d->arena, MemoryInPlace, step->arg_count * step->arg_count);
        steps[i] = (MemoryStep){.reads = reads, .writes = writes, .in_place = pairs};
        steps[i].read_count = list_of(d, step, false, reads);
        steps[i].write_count = list_of(d, step, true, writes);
        steps[i].in_place_count = in_place_pairs(d, step, pairs);
    }
    MemoryProblem problem = {.buffers = buffers,
                             .buffer_count = d->memory.len,
                             .steps = steps,
                             .step_count = d->steps.len};
    MemoryPlan *plan = pass_memory(&problem, d->arena);
    const char *violation = memory_violation(&problem, plan, d->arena);
    if (violation) BUG("memory plan: %s", violation);
    for (uint32_t i = 0; i < d->memory.len; i++) {
        Memory *m = &d->memory.ptr[i];
        int64_t at = plan->offset[whole_of(d, i)], within = m->whole ? m->offset : 0;
        if (m->kind == BUFFER_ARENA) m->offset = at == MEMORY_NOWHERE ? 0 : at + within;
    }
    d->arena_bytes = plan->bytes;
}
