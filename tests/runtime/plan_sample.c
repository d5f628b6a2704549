// plan_sample.c: a small plan with one of everything.
#include "tests/runtime/plan_sample.h"

#include <string.h>

#include "base/check.h"
#include "runtime/plan_format.h"

static const int64_t token_shape[] = {2, 3}, weight_shape[] = {5, 4};
static const Str token_axes[] = {{"B", 1}, {"T", 1}}, weight_axes[] = {{"vocab", 5}, {"d", 1}};
static const Str tags[] = {{"decay", 5}, {"matrix", 6}};
static const uint32_t args[] = {0, 1, 2, 3};

static void fill_tensors(Arena *arena, Plan *plan) {
    plan->tensor_count = 4;
    plan->tensors = arena_array(arena, PlanTensor, 4);
    plan->tensors[0] = (PlanTensor){.kind = TENSOR_INPUT,
                                    .name = STR("tokens"),
                                    .type = DTYPE_I32,
                                    .rank = 2,
                                    .shape = token_shape,
                                    .axes = token_axes,
                                    .index_below = 5};
    plan->tensors[1] = (PlanTensor){.kind = TENSOR_PARAM,
                                    .name = STR("embed"),
                                    .type = DTYPE_F32,
                                    .rank = 2,
                                    .shape = weight_shape,
                                    .axes = weight_axes,
                                    .input_count = 1,
                                    .init = {.kind = 1, .transform = 0, .a = 0.02},
                                    .tags = tags,
                                    .tag_count = 2,
                                    .trained = true};
    plan->tensors[2] = (PlanTensor){.kind = TENSOR_STATE, .name = STR("bias")};
    plan->tensors[3] = (PlanTensor){.kind = TENSOR_OUTPUT, .name = STR("loss")};
}

static void fill_kernels(Arena *arena, Plan *plan) {
    static const char *const objects[] = {"first object", "second object, longer"};
    plan->kernel_count = 2;
    plan->kernels = arena_array(arena, PlanKernel, 2);
    for (int i = 0; i < 2; i++) {
        Str object = str_of(objects[i]);
        plan->kernels[i] = (PlanKernel){.name = str_printf(arena, "row.%d", i),
                                        .object = object,
                                        .hash = hash_bytes(object.ptr, object.len),
                                        .tasks = 7 + i,
                                        .scratch_bytes = 640,
                                        .flops = 1e6,
                                        .bytes = 2.5e5,
                                        .f32_flops = 5e5};
    }
}

static void fill_entry(Arena *arena, PlanEntry *e) {
    e->name = STR("train");
    e->arena_bytes = 4096;
    e->buffer_count = 4;
    e->buffers = arena_array(arena, PlanBuffer, 4);
    e->buffers[0] = (PlanBuffer){.kind = BUFFER_TENSOR, .index = 1, .offset = 16, .bytes = 64};
    e->buffers[1] = (PlanBuffer){.kind = BUFFER_ARENA, .offset = 64, .bytes = 64};
    e->buffers[2] = (PlanBuffer){.kind = BUFFER_ARENA, .offset = 128, .bytes = 64};
    e->buffers[3] = (PlanBuffer){.kind = BUFFER_CONSTANT, .offset = 0, .bytes = 8};
    e->step_count = 4;
    e->steps = arena_array(arena, PlanStep, 4);
    e->steps[0] =
        (PlanStep){.kind = STEP_LAUNCH, .kernel = 1, .args = args, .arg_count = 4, .line = 12};
    e->steps[1] = (PlanStep){.kind = STEP_CLEAR, .args = args + 1, .arg_count = 1};
    e->steps[2] = (PlanStep){.kind = STEP_COPY, .args = args + 1, .arg_count = 2};
    e->steps[3] = (PlanStep){.kind = STEP_GEMM,
                             .args = args,
                             .arg_count = 3,
                             .gemm = {.m = 2,
                                      .n = 3,
                                      .k = 4,
                                      .lda = 4,
                                      .ldb = 4,
                                      .ldc = 3,
                                      .batch = {2, 1},
                                      .stride_a = {8, 0},
                                      .stride_b = {0, 0},
                                      .stride_c = {6, 0},
                                      .transpose_b = true}};
}

Plan *plan_sample(Arena *arena) {
    Plan *plan = arena_new(arena, Plan);
    plan->model = STR("lm");
    plan->target = STR("cpu");
    plan->cpu_features = STR("sse2");
    plan->extent_count = 2;
    plan->extents = arena_array(arena, PlanExtent, 2);
    plan->extents[0] = (PlanExtent){STR("B"), 2};
    plan->extents[1] = (PlanExtent){STR("T"), 3};
    fill_tensors(arena, plan);
    fill_kernels(arena, plan);
    plan->entry_count = 1;
    plan->entries = arena_array(arena, PlanEntry, 1);
    fill_entry(arena, &plan->entries[0]);
    plan->constants = STR("\x01\x02\x03\x04\x05\x06\x07\x08 and more");
    return plan;
}

Plan *plan_sample_cuda(Arena *arena) {
    Plan *plan = plan_sample(arena);
    plan->target = STR("cuda:sm_90a");
    plan->cpu_features = STR("");
    plan->kernels[0].launch = (Launch){.blocks = 7, .threads = 128, .cluster = 1};
    plan->kernels[1].launch = (Launch){.blocks = 264,
                                       .threads = 384,
                                       .cluster = 2,
                                       .shared_bytes = 200000,
                                       .registers = 168,
                                       .map_count = 1};
    // The 64 bytes at argument 1.
    plan->kernels[1].launch.maps[0] = (TensorMapSpec){.arg = 1,
                                                      .type = DTYPE_F32,
                                                      .rank = 2,
                                                      .extent = {4, 4},
                                                      .stride = {1, 4},
                                                      .box = {4, 2},
                                                      .swizzle = 32};
    plan->entries[0].steps[3].gemm.type_ab = DTYPE_BF16;
    return plan;
}

static void store_u64(unsigned char *at, uint64_t x) {
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)(x >> 8 * i);
}

void plan_sample_seal(unsigned char *bytes, size_t n) {
    ASSERT(n >= PLAN_HEADER);
    store_u64(bytes + PLAN_CHECKED_FROM, n);
    Hash sum = hash_bytes(bytes + PLAN_CHECKED_FROM, n - PLAN_CHECKED_FROM);
    store_u64(bytes + 16, sum.lo);
    store_u64(bytes + 24, sum.hi);
}
