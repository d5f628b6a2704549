// run.c: one evaluation, from file to file.
#include "runtime/run.h"

#include "runtime/checkpoint.h"
#include "runtime/model_io.h"
#include "runtime/names.h"

static bool load_inputs(Diag *diag, Arena *scratch, Session *s, const RunOptions *options,
                        const PlanEntry *entry) {
    LoadKinds kinds = {.required = LOAD(TENSOR_INPUT), .entry = entry};
    TensorFile file = {.path = STR("inputs")};
    if (!options->inputs.len) return safetensors_load_into(diag, &file, s, kinds);
    if (!safetensors_open(diag, scratch, options->inputs, &file)) return false;
    bool ok = safetensors_load_into(diag, &file, s, kinds);
    safetensors_close(&file);
    return ok;
}

// Outputs and states have names of their own, and the file has but one name space.
static bool same_name(Diag *diag, const RunOptions *options, Str name) {
    return diag_file_error(diag, FAIL_INPUT, options->out,
                           "'%.*s' is an output and a state; one file cannot hold both",
                           STR_ARG(name));
}

static bool add_result(Diag *diag, Session *s, uint32_t tensor, TensorFile *file) {
    const void *data = session_read(diag, s, tensor);
    if (!data) return false;
    file->tensors[file->tensor_count++] = stored_of(&session_plan(s)->tensors[tensor], data);
    return true;
}

static bool write_results(Diag *diag, Arena *scratch, Session *s, const RunOptions *options,
                          const PlanEntry *entry) {
    const Plan *plan = session_plan(s);
    TensorFile file = {.path = options->out};
    file.tensors = arena_array(scratch, StoredTensor, plan->tensor_count);
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        bool given = t->kind == TENSOR_OUTPUT && plan_entry_uses(entry, i);
        bool cache = str_starts(t->name, STR(NAME_CACHE_PREFIX));
        bool state = options->states && t->kind == TENSOR_STATE && !cache;
        if (state && plan_tensor_find(plan, TENSOR_OUTPUT, t->name) >= 0)
            return same_name(diag, options, t->name);
        if ((given || state) && !add_result(diag, s, i, &file)) return false;
    }
    return safetensors_write(diag, &file);
}

bool run_entry(Diag *diag, Session *s, const RunOptions *options) {
    const PlanEntry *entry;
    if (!model_io_entry(diag, session_plan(s), options->entry, &entry)) return false;
    if (options->params.len && !params_load(diag, s, options->params)) return false;
    Arena scratch = {0};
    bool ok = load_inputs(diag, &scratch, s, options, entry) && session_run(diag, s, entry);
    if (ok && options->out.len) ok = write_results(diag, &scratch, s, options, entry);
    arena_release(&scratch);
    return ok;
}
