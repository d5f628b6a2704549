// plan_verify.c: every index, offset and size of a plan is in range, so that running it touches
// only its own memory (what machine code does is between it and its arguments). Names are
// distinct and printable.
#include "runtime/plan_verify.h"

#include <math.h>

#include "base/map.h"
#include "runtime/init.h"
#include "runtime/plan.h"

// Limits that keep every later product inside 63 bits.
#define BYTES_MAX  ((int64_t)1 << 46)
#define EXTENT_MAX ((int64_t)1 << 31)
#define STRIDE_MAX ((int64_t)1 << 40)
#define BATCH_MAX  ((int64_t)1 << 20)

typedef struct {
    Diag *diag;
    Str path;
    const Plan *plan;
    Arena scratch;
} Verifier;

// Where in the plan something is: "tensor 3", "step 7 of entry 0".
typedef struct {
    const char *noun;
    uint32_t index;
    const char *outer;  // NULL: none
    uint32_t outer_index;
} Place;

static bool wrong(const Verifier *v, Place at, const char *what) {
    if (at.outer) {
        return diag_file_error(v->diag, FAIL_INPUT, v->path, "bad plan: %s %u of %s %u: %s",
                               at.noun, at.index, at.outer, at.outer_index, what);
    }
    return diag_file_error(v->diag, FAIL_INPUT, v->path, "bad plan: %s %u: %s", at.noun,
                           at.index, what);
}

static bool is_name(Str s) {
    if (!s.len || s.len > 4096) return false;
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f) return false;
    }
    return true;
}

// Adds a name to a set; false if it was there.
static bool add_name(Verifier *v, Map *set, Str name) {
    if (map_get(set, name, NULL)) return false;
    map_set(&v->scratch, set, name, 1);
    return true;
}

static bool check_shape(const Verifier *v, Place at, const PlanTensor *t) {
    if (t->rank > PLAN_RANK_MAX) return wrong(v, at, "too many axes");
    if (t->batch_count > t->rank || t->input_count > t->rank - t->batch_count)
        return wrong(v, at, "more batch and input axes than axes");
    int64_t bytes = (int64_t)dtype_bytes(t->type);
    for (uint32_t i = 0; i < t->rank; i++) {
        if (!is_name(t->axes[i])) return wrong(v, at, "an axis has a bad name");
        if (t->shape[i] < 1 || t->shape[i] > BYTES_MAX / bytes)
            return wrong(v, at, "an extent is out of range");
        bytes *= t->shape[i];
    }
    return true;
}

static bool check_init(const Verifier *v, Place at, const PlanTensor *t) {
    const PlanInit *init = &t->init;
    if (init->kind >= DRAW_COUNT || init->transform >= MAP_COUNT)
        return wrong(v, at, "its initialiser is unknown");
    if (!isfinite(init->a) || !isfinite(init->b))
        return wrong(v, at, "its initialiser is not finite");
    if (init->kind == DRAW_LOG_UNIFORM && (init->a <= 0 || init->b <= 0))
        return wrong(v, at, "its initialiser needs positive bounds");
    if (init->kind == DRAW_IDENTITY && t->rank < 2)
        return wrong(v, at, "its initialiser needs two axes");
    if (init->kind == DRAW_UNIT && t->rank < 1)
        return wrong(v, at, "its initialiser needs an axis");
    return true;
}

static bool check_tensor(Verifier *v, uint32_t index, Map *names) {
    const PlanTensor *t = &v->plan->tensors[index];
    Place at = {.noun = "tensor", .index = index};
    if ((unsigned)t->kind > TENSOR_OUTPUT || (unsigned)t->type >= DTYPE_COUNT)
        return wrong(v, at, "its kind or type is unknown");
    if (!is_name(t->name)) return wrong(v, at, "it has a bad name");
    // Parameters and states share one name space: that of safetensors files.
    Map *set = &names[t->kind == TENSOR_STATE ? TENSOR_PARAM : t->kind];
    if (!add_name(v, set, t->name)) return wrong(v, at, "its name occurs twice");
    if (!check_shape(v, at, t)) return false;
    if (t->index_below < 0 || (t->index_below && dtype_is_float(t->type)))
        return wrong(v, at, "its index range is not possible");
    for (uint32_t i = 0; i < t->tag_count; i++) {
        if (!is_name(t->tags[i])) return wrong(v, at, "a tag has a bad name");
    }
    bool has_init = t->kind == TENSOR_PARAM || t->kind == TENSOR_STATE;
    return !has_init || check_init(v, at, t);
}

static bool check_kernel(const Verifier *v, uint32_t index) {
    const PlanKernel *k = &v->plan->kernels[index];
    Place at = {.noun = "kernel", .index = index};
    if (!is_name(k->name)) return wrong(v, at, "it has a bad name");
    if (!k->object.len) return wrong(v, at, "it has no code");
    if (k->tasks < 0) return wrong(v, at, "its number of tasks is negative");
    if (k->scratch_bytes < 0 || k->scratch_bytes > STRIDE_MAX)
        return wrong(v, at, "its scratch size is out of range");
    if (!hash_eq(k->hash, hash_bytes(k->object.ptr, k->object.len)))
        return wrong(v, at, "its code does not have its hash");
    if (!plan_is_cuda(v->plan)) {
        bool launched = k->launch.blocks || k->launch.threads || k->launch.map_count;
        return !launched || wrong(v, at, "it has a grid of blocks but runs on the CPU");
    }
    const char *what = launch_wrong(&k->launch);
    return !what || wrong(v, at, what);
}

static bool check_buffer(const Verifier *v, const PlanEntry *e, Place at) {
    const PlanBuffer *b = &e->buffers[at.index];
    int64_t whole = 0;
    switch (b->kind) {
    case BUFFER_TENSOR:
        if (b->index >= v->plan->tensor_count) return wrong(v, at, "it names no tensor");
        whole = plan_tensor_bytes(&v->plan->tensors[b->index]);
        break;
    case BUFFER_ARENA: whole = e->arena_bytes; break;
    case BUFFER_CONSTANT: whole = (int64_t)v->plan->constants.len; break;
    }
    if (b->offset < 0 || b->bytes < 0 || b->offset > whole || b->bytes > whole - b->offset)
        return wrong(v, at, "it reaches past its memory");
    return true;
}

static bool in_range(int64_t x, int64_t least, int64_t most) { return x >= least && x <= most; }

// One operand of a contraction: rows x columns with a leading dimension, over two batch axes.
typedef struct {
    int64_t rows, columns, leading;
    const int64_t *stride;
    const PlanBuffer *buffer;
    DType type;
} GemmOperand;

static bool operand_fits(const PlanGemm *g, GemmOperand o) {
    if (!in_range(o.leading, 1, EXTENT_MAX) || o.leading < o.columns) return false;
    int64_t end = (o.rows - 1) * o.leading + o.columns;
    for (int i = 0; i < 2; i++) {
        if (!in_range(o.stride[i], 0, STRIDE_MAX)) return false;
        end += (g->batch[i] - 1) * o.stride[i];
    }
    return end <= o.buffer->bytes / (int64_t)dtype_bytes(o.type);
}

static bool gemm_types_known(const Plan *plan, const PlanGemm *g) {
    if (g->type_ab == DTYPE_F32) return g->type_c == DTYPE_F32;
    if (!plan_is_cuda(plan) || (g->type_ab != DTYPE_BF16 && g->type_ab != DTYPE_F16))
        return false;
    return g->type_c == g->type_ab || g->type_c == DTYPE_F32;
}

static bool check_gemm(const Verifier *v, const PlanEntry *e, const PlanStep *step, Place at) {
    const PlanGemm *g = &step->gemm;
    bool sane = in_range(g->m, 1, EXTENT_MAX / 2) && in_range(g->n, 1, EXTENT_MAX / 2) &&
                in_range(g->k, 1, EXTENT_MAX / 2) && in_range(g->batch[0], 1, BATCH_MAX) &&
                in_range(g->batch[1], 1, BATCH_MAX);
    if (!sane) return wrong(v, at, "an extent of its contraction is out of range");
    if (!gemm_types_known(v->plan, g))
        return wrong(v, at, "its contraction has elements that its target does not multiply");
    GemmOperand operands[3] = {
        {g->transpose_a ? g->k : g->m, g->transpose_a ? g->m : g->k, g->lda, g->stride_a,
         &e->buffers[step->args[0]], g->type_ab},
        {g->transpose_b ? g->n : g->k, g->transpose_b ? g->k : g->n, g->ldb, g->stride_b,
         &e->buffers[step->args[1]], g->type_ab},
        {g->m, g->n, g->ldc, g->stride_c, &e->buffers[step->args[2]], g->type_c},
    };
    for (int i = 0; i < 3; i++) {
        if (!operand_fits(g, operands[i]))
            return wrong(v, at, "an operand of its contraction reaches past its buffer");
    }
    return true;
}

// A copy runs in parallel pieces, so its two ends are the same place or apart.
static bool check_copy(const Verifier *v, const PlanEntry *e, const PlanStep *step, Place at) {
    if (step->arg_count != 2) return wrong(v, at, "it needs two buffers");
    const PlanBuffer *from = &e->buffers[step->args[0]], *to = &e->buffers[step->args[1]];
    if (from->bytes < to->bytes) return wrong(v, at, "it copies more than there is");
    bool same_memory =
        from->kind == to->kind && (from->kind != BUFFER_TENSOR || from->index == to->index);
    int64_t distance = from->offset - to->offset;
    bool overlap = distance && distance < to->bytes && -distance < to->bytes;
    return !(same_memory && overlap) || wrong(v, at, "its ends overlap");
}

static bool check_launch(const Verifier *v, const PlanEntry *e, const PlanStep *step,
                         Place at) {
    if (step->kernel >= v->plan->kernel_count) return wrong(v, at, "it names no kernel");
    const char *what = launch_args_wrong(&v->plan->kernels[step->kernel].launch, e, step);
    return !what || wrong(v, at, what);
}

static bool check_step(const Verifier *v, const PlanEntry *e, Place at) {
    const PlanStep *step = &e->steps[at.index];
    for (uint32_t i = 0; i < step->arg_count; i++) {
        if (step->args[i] >= e->buffer_count) return wrong(v, at, "it names no buffer");
    }
    switch (step->kind) {
    case STEP_LAUNCH: return check_launch(v, e, step, at);
    case STEP_CLEAR: return step->arg_count == 1 || wrong(v, at, "it needs one buffer");
    case STEP_COPY: return check_copy(v, e, step, at);
    case STEP_GEMM:
        if (step->arg_count != 3) return wrong(v, at, "it needs three buffers");
        return check_gemm(v, e, step, at);
    }
    return wrong(v, at, "its kind is unknown");
}

static bool check_entry(Verifier *v, uint32_t index, Map *names) {
    const PlanEntry *e = &v->plan->entries[index];
    Place at = {.noun = "entry", .index = index};
    if (!is_name(e->name)) return wrong(v, at, "it has a bad name");
    if (!add_name(v, names, e->name)) return wrong(v, at, "its name occurs twice");
    if (!in_range(e->arena_bytes, 0, BYTES_MAX))
        return wrong(v, at, "its arena size is out of range");
    for (uint32_t i = 0; i < e->buffer_count; i++) {
        if (!check_buffer(v, e, (Place){"buffer", i, "entry", index})) return false;
    }
    for (uint32_t i = 0; i < e->step_count; i++) {
        if (!check_step(v, e, (Place){"step", i, "entry", index})) return false;
    }
    return true;
}

static bool check_all(Verifier *v) {
    const Plan *plan = v->plan;
    Map tensor_names[TENSOR_OUTPUT + 1] = {0}, entry_names = {0}, extent_names = {0};
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        const PlanExtent *e = &plan->extents[i];
        Place at = {.noun = "extent", .index = i};
        if (!is_name(e->name) || !add_name(v, &extent_names, e->name))
            return wrong(v, at, "it has a bad name");
        if (!in_range(e->extent, 1, EXTENT_MAX)) return wrong(v, at, "it is out of range");
    }
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        if (!check_tensor(v, i, tensor_names)) return false;
    }
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        if (!check_kernel(v, i)) return false;
    }
    for (uint32_t i = 0; i < plan->entry_count; i++) {
        if (!check_entry(v, i, &entry_names)) return false;
    }
    return true;
}

bool plan_verify(Diag *diag, Str path, const Plan *plan) {
    Verifier v = {.diag = diag, .path = path, .plan = plan};
    bool ok = check_all(&v);
    arena_release(&v.scratch);
    return ok;
}
