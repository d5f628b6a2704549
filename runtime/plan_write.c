// plan_write.c: a plan as the bytes of an artifact file. Field by field, so that neither the
// compiler's padding nor this machine's byte order reaches the file; the same plan always gives
// the same bytes.
#include <string.h>

#include "base/check.h"
#include "base/io.h"
#include "runtime/plan.h"
#include "runtime/plan_format.h"

static void put_u8(StrBuf *out, uint32_t x) { strbuf_addc(out, (char)(unsigned char)x); }

static void put_u32(StrBuf *out, uint32_t x) {
    char b[4];
    for (int i = 0; i < 4; i++)
        b[i] = (char)(unsigned char)(x >> 8 * i);
    strbuf_add(out, (Str){b, sizeof b});
}

static void put_u64(StrBuf *out, uint64_t x) {
    put_u32(out, (uint32_t)x);
    put_u32(out, (uint32_t)(x >> 32));
}

static void put_i64(StrBuf *out, int64_t x) { put_u64(out, (uint64_t)x); }

static void put_f64(StrBuf *out, double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_u64(out, bits);
}

static void put_str(StrBuf *out, Str s) {
    ASSERT(s.len <= UINT32_MAX);
    put_u32(out, (uint32_t)s.len);
    strbuf_add(out, s);
}

static void put_tensor(StrBuf *out, const PlanTensor *t) {
    put_u8(out, t->kind);
    put_u8(out, t->type);
    put_u8(out, t->trained);
    put_str(out, t->name);
    put_u32(out, t->rank);
    for (uint32_t i = 0; i < t->rank; i++) {
        put_str(out, t->axes[i]);
        put_i64(out, t->shape[i]);
    }
    put_u32(out, t->batch_count);
    put_u32(out, t->input_count);
    put_i64(out, t->index_below);
    put_u8(out, t->init.kind);
    put_u8(out, t->init.transform);
    put_f64(out, t->init.a);
    put_f64(out, t->init.b);
    put_u32(out, t->tag_count);
    for (uint32_t i = 0; i < t->tag_count; i++)
        put_str(out, t->tags[i]);
}

static void put_manifest(StrBuf *out, const Plan *plan) {
    put_str(out, plan->model);
    put_str(out, plan->target);
    put_str(out, plan->cpu_features);
    put_u32(out, plan->extent_count);
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        put_str(out, plan->extents[i].name);
        put_i64(out, plan->extents[i].extent);
    }
    put_u32(out, plan->tensor_count);
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        put_tensor(out, &plan->tensors[i]);
}

static void put_launch(StrBuf *out, const Launch *l) {
    const uint32_t sizes[] = {l->blocks, l->threads, l->cluster, l->shared_bytes, l->registers};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        put_u32(out, sizes[i]);
    put_u32(out, l->map_count);
    for (uint32_t i = 0; i < l->map_count; i++) {
        const TensorMapSpec *map = &l->maps[i];
        put_u32(out, map->arg);
        put_i64(out, map->offset);
        put_u8(out, map->type);
        put_u32(out, map->swizzle);
        put_u32(out, map->rank);
        for (uint32_t k = 0; k < map->rank; k++) {
            put_i64(out, map->extent[k]);
            put_i64(out, map->stride[k]);
            put_u32(out, map->box[k]);
        }
    }
}

static void put_kernels(StrBuf *out, const Plan *plan) {
    put_u32(out, plan->kernel_count);
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        const PlanKernel *k = &plan->kernels[i];
        put_str(out, k->name);
        put_u64(out, k->object.len);
        put_u64(out, k->hash.lo);
        put_u64(out, k->hash.hi);
        put_i64(out, k->tasks);
        put_i64(out, k->scratch_bytes);
        put_f64(out, k->flops);
        put_f64(out, k->bytes);
        put_f64(out, k->f32_flops);
        put_launch(out, &k->launch);
    }
}

static void put_gemm(StrBuf *out, const PlanGemm *g) {
    const int64_t sizes[] = {g->m, g->n, g->k, g->lda, g->ldb, g->ldc};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        put_i64(out, sizes[i]);
    for (int i = 0; i < 2; i++) {
        put_i64(out, g->batch[i]);
        put_i64(out, g->stride_a[i]);
        put_i64(out, g->stride_b[i]);
        put_i64(out, g->stride_c[i]);
    }
    put_u8(out, g->transpose_a);
    put_u8(out, g->transpose_b);
    put_u8(out, g->type_ab);
    put_u8(out, g->type_c);
}

static void put_step(StrBuf *out, const PlanStep *step) {
    put_u8(out, step->kind);
    put_u32(out, step->kernel);
    put_u32(out, step->line);
    put_u32(out, step->arg_count);
    for (uint32_t i = 0; i < step->arg_count; i++)
        put_u32(out, step->args[i]);
    if (step->kind == STEP_GEMM) put_gemm(out, &step->gemm);
}

static void put_entries(StrBuf *out, const Plan *plan) {
    put_u32(out, plan->entry_count);
    for (uint32_t i = 0; i < plan->entry_count; i++) {
        const PlanEntry *e = &plan->entries[i];
        put_str(out, e->name);
        put_i64(out, e->arena_bytes);
        put_u32(out, e->buffer_count);
        for (uint32_t k = 0; k < e->buffer_count; k++) {
            put_u8(out, e->buffers[k].kind);
            put_u32(out, e->buffers[k].index);
            put_i64(out, e->buffers[k].offset);
            put_i64(out, e->buffers[k].bytes);
        }
        put_u32(out, e->step_count);
        for (uint32_t k = 0; k < e->step_count; k++)
            put_step(out, &e->steps[k]);
    }
}

static void put_code(StrBuf *out, const Plan *plan) {
    for (uint32_t i = 0; i < plan->kernel_count; i++)
        strbuf_add(out, plan->kernels[i].object);
}

static void put_constants(StrBuf *out, const Plan *plan) { strbuf_add(out, plan->constants); }

static void pad_to(StrBuf *out, size_t align) {
    while (out->len % align)
        strbuf_addc(out, 0);
}

void plan_encode(const Plan *plan, StrBuf *out) {
    static void (*const put[SECTION_COUNT])(StrBuf *, const Plan *) = {
        [SECTION_MANIFEST] = put_manifest,   [SECTION_KERNELS] = put_kernels,
        [SECTION_ENTRIES] = put_entries,     [SECTION_CODE] = put_code,
        [SECTION_CONSTANTS] = put_constants,
    };
    StrBuf body = {0}, checked = {0};
    uint64_t start[SECTION_COUNT], bytes[SECTION_COUNT];
    for (int i = 0; i < SECTION_COUNT; i++) {
        pad_to(&body, PLAN_ALIGN);
        start[i] = PLAN_HEADER + body.len;
        put[i](&body, plan);
        bytes[i] = PLAN_HEADER + body.len - start[i];
    }
    put_u64(&checked, PLAN_HEADER + body.len);
    for (int i = 0; i < SECTION_COUNT; i++) {
        put_u64(&checked, start[i]);
        put_u64(&checked, bytes[i]);
    }
    while (checked.len < PLAN_HEADER - PLAN_CHECKED_FROM)
        strbuf_addc(&checked, 0);
    strbuf_add(&checked, strbuf_view(&body));
    Hash sum = hash_bytes(checked.ptr, checked.len);
    strbuf_clear(out);
    strbuf_add(out, STR(PLAN_MAGIC));
    put_u32(out, PLAN_VERSION);
    put_u32(out, 0);
    put_u64(out, sum.lo);
    put_u64(out, sum.hi);
    strbuf_add(out, strbuf_view(&checked));
    strbuf_release(&body);
    strbuf_release(&checked);
}

bool plan_write(Diag *diag, const Plan *plan, Str path) {
    StrBuf bytes = {0};
    plan_encode(plan, &bytes);
    bool ok = io_write(diag, path, bytes.ptr, bytes.len);
    strbuf_release(&bytes);
    return ok;
}
