// plan_print.c: a plan as text, for `strata show --stage plan`. Buffers are printed where they
// are used.
#include "runtime/plan.h"

static const char *const kind_text[] = {
    [TENSOR_PARAM] = "param",
    [TENSOR_STATE] = "state",
    [TENSOR_INPUT] = "input",
    [TENSOR_OUTPUT] = "output",
};

static void print_tensor(const PlanTensor *t, StrBuf *out) {
    strbuf_addf(out, "%s %.*s : %s", kind_text[t->kind], STR_ARG(t->name), dtype_text(t->type));
    for (uint32_t i = 0; i < t->rank; i++) {
        strbuf_addf(out, "%s%.*s=%lld", i ? ", " : "[", STR_ARG(t->axes[i]),
                    (long long)t->shape[i]);
    }
    strbuf_addz(out, t->rank ? "]" : "");
    if (t->index_below) strbuf_addf(out, " below %lld", (long long)t->index_below);
    if (t->trained) strbuf_addz(out, " trained");
    for (uint32_t i = 0; i < t->tag_count; i++)
        strbuf_addf(out, " #%.*s", STR_ARG(t->tags[i]));
    strbuf_addc(out, '\n');
}

// "embed", "embed+128", "arena+4096", "constant+0"; then its bytes.
static void print_buffer(const Plan *plan, const PlanBuffer *b, StrBuf *out) {
    switch (b->kind) {
    case BUFFER_TENSOR:
        strbuf_addf(out, "%.*s", STR_ARG(plan->tensors[b->index].name));
        if (b->offset) strbuf_addf(out, "+%lld", (long long)b->offset);
        break;
    case BUFFER_ARENA: strbuf_addf(out, "arena+%lld", (long long)b->offset); break;
    case BUFFER_CONSTANT: strbuf_addf(out, "constant+%lld", (long long)b->offset); break;
    }
    strbuf_addf(out, ":%lld", (long long)b->bytes);
}

// The grid, and what the copy engine reads, each axis as extent*stride.
static void print_launch(const Launch *l, StrBuf *out) {
    strbuf_addf(out, "  blocks %u of %u threads, clusters of %u, shared %u, registers %u\n",
                l->blocks, l->threads, l->cluster, l->shared_bytes, l->registers);
    for (uint32_t i = 0; i < l->map_count; i++) {
        const TensorMapSpec *map = &l->maps[i];
        strbuf_addf(out, "  map of %u+%lld %s[", map->arg, (long long)map->offset,
                    dtype_text(map->type));
        for (uint32_t k = 0; k < map->rank; k++) {
            strbuf_addf(out, "%s%lld*%lld", k ? ", " : "", (long long)map->extent[k],
                        (long long)map->stride[k]);
        }
        strbuf_addz(out, "] box");
        for (uint32_t k = 0; k < map->rank; k++)
            strbuf_addf(out, " %u", map->box[k]);
        strbuf_addf(out, " swizzle %u\n", map->swizzle);
    }
}

static void print_step(const Plan *plan, const PlanEntry *e, const PlanStep *step,
                       StrBuf *out) {
    const PlanGemm *g = &step->gemm;
    switch (step->kind) {
    case STEP_LAUNCH:
        strbuf_addf(out, "  launch %.*s", STR_ARG(plan->kernels[step->kernel].name));
        break;
    case STEP_CLEAR: strbuf_addz(out, "  clear"); break;
    case STEP_COPY: strbuf_addz(out, "  copy"); break;
    case STEP_GEMM:
        strbuf_addf(out, "  gemm m=%lld n=%lld k=%lld%s%s batch=%lld,%lld", (long long)g->m,
                    (long long)g->n, (long long)g->k, g->transpose_a ? " ta" : "",
                    g->transpose_b ? " tb" : "", (long long)g->batch[0],
                    (long long)g->batch[1]);
        if (g->type_ab != DTYPE_F32)
            strbuf_addf(out, " %s to %s", dtype_text(g->type_ab), dtype_text(g->type_c));
        break;
    }
    for (uint32_t i = 0; i < step->arg_count; i++) {
        strbuf_addz(out, i ? ", " : " (");
        print_buffer(plan, &e->buffers[step->args[i]], out);
    }
    strbuf_addz(out, step->arg_count ? ")" : "");
    if (step->line) strbuf_addf(out, " line %u", step->line);
    strbuf_addc(out, '\n');
}

void plan_print(const Plan *plan, StrBuf *out) {
    strbuf_addf(out, "plan %.*s for %.*s", STR_ARG(plan->model), STR_ARG(plan->target));
    if (plan->cpu_features.len) strbuf_addf(out, " with %.*s", STR_ARG(plan->cpu_features));
    strbuf_addc(out, '\n');
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        strbuf_addf(out, "extent %.*s = %lld\n", STR_ARG(plan->extents[i].name),
                    (long long)plan->extents[i].extent);
    }
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        print_tensor(&plan->tensors[i], out);
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        const PlanKernel *k = &plan->kernels[i];
        strbuf_addf(
            out, "kernel %.*s : tasks %lld, scratch %lld, code %zu, flops %.0f, bytes %.0f\n",
            STR_ARG(k->name), (long long)k->tasks, (long long)k->scratch_bytes, k->object.len,
            k->flops, k->bytes);
        if (plan_is_cuda(plan)) print_launch(&k->launch, out);
    }
    if (plan->constants.len) strbuf_addf(out, "constants %zu\n", plan->constants.len);
    for (uint32_t i = 0; i < plan->entry_count; i++) {
        const PlanEntry *e = &plan->entries[i];
        strbuf_addf(out, "entry %.*s : arena %lld\n", STR_ARG(e->name),
                    (long long)e->arena_bytes);
        for (uint32_t k = 0; k < e->step_count; k++)
            print_step(plan, e, &e->steps[k], out);
    }
}
