// plan.c: looking things up in a plan.
#include "runtime/plan.h"

#include "base/check.h"

bool plan_is_cuda(const Plan *plan) { return str_starts(plan->target, STR("cuda:")); }

const PlanEntry *plan_entry(const Plan *plan, const char *name) {
    for (uint32_t i = 0; i < plan->entry_count; i++) {
        if (str_eq(plan->entries[i].name, str_of(name))) return &plan->entries[i];
    }
    return NULL;
}

bool plan_entry_uses(const PlanEntry *e, uint32_t tensor) {
    for (uint32_t i = 0; i < e->buffer_count; i++) {
        if (e->buffers[i].kind == BUFFER_TENSOR && e->buffers[i].index == tensor) return true;
    }
    return false;
}

int plan_tensor_find(const Plan *plan, TensorKind kind, Str name) {
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        if (t->kind == kind && str_eq(t->name, name)) return (int)i;
    }
    return -1;
}

int64_t extents_product(const int64_t *extents, uint32_t rank) {
    int64_t product = 1;
    for (uint32_t i = 0; i < rank; i++)
        product *= extents[i];
    return product;
}

int64_t plan_tensor_count(const PlanTensor *t) { return extents_product(t->shape, t->rank); }

int64_t plan_tensor_bytes(const PlanTensor *t) {
    return plan_tensor_count(t) * (int64_t)dtype_bytes(t->type);
}

void plan_tensor_position(const PlanTensor *t, int64_t i, StrBuf *out) {
    ASSERT(t->rank <= PLAN_RANK_MAX);
    int64_t index[PLAN_RANK_MAX];
    for (uint32_t axis = t->rank; axis-- > 0; i /= t->shape[axis])
        index[axis] = i % t->shape[axis];
    strbuf_add(out, t->name);
    for (uint32_t axis = 0; axis < t->rank; axis++) {
        strbuf_addf(out, "%s%.*s=%lld", axis ? ", " : "[", STR_ARG(t->axes[axis]),
                    (long long)index[axis]);
    }
    if (t->rank) strbuf_addc(out, ']');
}
