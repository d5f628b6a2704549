// model_io.c: a language model's batch and results, by name.
#include "runtime/model_io.h"

#include "base/check.h"
#include "runtime/names.h"

// Token ids of files are uint16 at most.
enum { VOCAB_MAX = 1 << 16 };

static const PlanTensor *batch_tensor(Diag *diag, const Plan *plan, const char *name,
                                      uint32_t *index) {
    int found = plan_tensor_find(plan, TENSOR_INPUT, str_of(name));
    const PlanTensor *t = found < 0 ? NULL : &plan->tensors[found];
    if (!t || t->rank != 2 || dtype_is_float(t->type)) {
        diag_fail(diag, FAIL_INPUT, "model '%.*s' has no input %s[B, T] of integers",
                  STR_ARG(plan->model), name);
        return NULL;
    }
    *index = (uint32_t)found;
    return t;
}

bool model_io_find_tokens(Diag *diag, const Plan *plan, const char *name, ModelIo *out) {
    *out = (ModelIo){0};
    const PlanTensor *tokens = batch_tensor(diag, plan, name, &out->tokens);
    if (!tokens) return false;
    out->rows = tokens->shape[0];
    out->context = tokens->shape[1];
    out->type = tokens->type;
    out->vocab = tokens->index_below ? tokens->index_below : VOCAB_MAX;
    return true;
}

bool model_io_find(Diag *diag, const Plan *plan, bool targets, ModelIo *out) {
    if (!model_io_find_tokens(diag, plan, NAME_TOKENS, out)) return false;
    if (!targets) return true;
    const PlanTensor *t = batch_tensor(diag, plan, NAME_TARGETS, &out->targets);
    if (!t) return false;
    if (t->type != out->type || t->shape[0] != out->rows || t->shape[1] != out->context) {
        return diag_fail(diag, FAIL_INPUT,
                         "inputs " NAME_TOKENS " and " NAME_TARGETS
                         " of model '%.*s' differ in axes or type",
                         STR_ARG(plan->model));
    }
    if (t->index_below && t->index_below < out->vocab) out->vocab = t->index_below;
    return true;
}

Batch model_io_batch(Session *s, const ModelIo *io) {
    return (Batch){.rows = io->rows,
                   .context = io->context,
                   .type = io->type,
                   .tokens = session_write(s, io->tokens),
                   .targets = session_write(s, io->targets)};
}

bool model_io_entry(Diag *diag, const Plan *plan, const char *name, const PlanEntry **out) {
    *out = plan_entry(plan, name);
    return *out || diag_fail(diag, FAIL_INPUT,
                             "model '%.*s' was compiled without '%s', which this needs",
                             STR_ARG(plan->model), name);
}

int model_io_scalar(const Plan *plan, TensorKind kind, const char *name) {
    int found = plan_tensor_find(plan, kind, str_of(name));
    return found >= 0 && plan_tensor_count(&plan->tensors[found]) == 1 ? found : -1;
}

bool model_io_read(Diag *diag, Session *s, uint32_t tensor, double *out) {
    const Plan *plan = session_plan(s);
    ASSERT(tensor < plan->tensor_count);
    DType type = plan->tensors[tensor].type;
    const void *data = session_read_part(diag, s, tensor, 0, dtype_bytes(type));
    if (data) *out = dtype_get(type, data, 0);
    return data != NULL;
}
