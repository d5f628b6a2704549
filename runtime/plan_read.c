// plan_read.c: an artifact file as a plan. Nothing in the file is believed: a reader that would
// pass the end of its section gives zeros and remembers, counts must fit in what is left, and
// plan_verify judges the result.
#include <string.h>

#include "base/io.h"
#include "runtime/plan.h"
#include "runtime/plan_format.h"

typedef struct {
    Arena *arena;
    const unsigned char *at;
    size_t left;
    const char *wrong;  // the first thing that was wrong, or NULL
} Reader;

static void fail_read(Reader *r, const char *what) {
    if (!r->wrong) r->wrong = what;
    r->left = 0;
}

static const unsigned char *take(Reader *r, size_t n) {
    if (n > r->left) {
        fail_read(r, "it ends inside a field");
        return NULL;
    }
    const unsigned char *at = r->at;
    r->at += n;
    r->left -= n;
    return at;
}

static uint32_t get_u8(Reader *r) {
    const unsigned char *b = take(r, 1);
    return b ? *b : 0;
}

static uint64_t decode_u64(const unsigned char *b, int bytes) {
    uint64_t x = 0;
    for (int i = 0; i < bytes; i++)
        x |= (uint64_t)b[i] << 8 * i;
    return x;
}

static uint32_t get_u32(Reader *r) {
    const unsigned char *b = take(r, 4);
    return b ? (uint32_t)decode_u64(b, 4) : 0;
}

static uint64_t get_u64(Reader *r) {
    const unsigned char *b = take(r, 8);
    return b ? decode_u64(b, 8) : 0;
}

static int64_t get_i64(Reader *r) { return (int64_t)get_u64(r); }

static double get_f64(Reader *r) {
    uint64_t bits = get_u64(r);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static Str get_str(Reader *r) {
    uint32_t len = get_u32(r);
    const unsigned char *b = take(r, len);
    return b && len ? (Str){(const char *)b, len} : (Str){"", 0};
}

static bool get_bool(Reader *r) {
    uint32_t x = get_u8(r);
    if (x > 1) fail_read(r, "a flag is neither 0 nor 1");
    return x == 1;
}

// A number below `limit`, for enumerations.
static uint32_t get_below(Reader *r, uint32_t limit) {
    uint32_t x = get_u8(r);
    if (x < limit) return x;
    fail_read(r, "a kind is unknown");
    return 0;
}

static uint32_t get_count(Reader *r, size_t least_bytes) {
    uint32_t n = get_u32(r);
    if (n <= r->left / least_bytes) return n;
    fail_read(r, "a count is larger than the file");
    return 0;
}

static Str *get_strings(Reader *r, uint32_t *count) {
    *count = get_count(r, LEAST_STRING);
    Str *list = arena_array(r->arena, Str, *count);
    for (uint32_t i = 0; i < *count; i++)
        list[i] = get_str(r);
    return list;
}

static void get_axes(Reader *r, PlanTensor *t) {
    t->rank = get_count(r, LEAST_EXTENT);
    Str *axes = arena_array(r->arena, Str, t->rank);
    int64_t *shape = arena_array(r->arena, int64_t, t->rank);
    for (uint32_t i = 0; i < t->rank; i++) {
        axes[i] = get_str(r);
        shape[i] = get_i64(r);
    }
    t->axes = axes;
    t->shape = shape;
}

static void get_tensor(Reader *r, PlanTensor *t) {
    t->kind = (TensorKind)get_below(r, TENSOR_OUTPUT + 1);
    t->type = (DType)get_below(r, DTYPE_COUNT);
    t->trained = get_bool(r);
    t->name = get_str(r);
    get_axes(r, t);
    t->batch_count = get_u32(r);
    t->input_count = get_u32(r);
    t->index_below = get_i64(r);
    t->init.kind = (uint8_t)get_u8(r);
    t->init.transform = (uint8_t)get_u8(r);
    t->init.a = get_f64(r);
    t->init.b = get_f64(r);
    t->tags = get_strings(r, &t->tag_count);
}

static void get_manifest(Reader *r, Plan *plan) {
    plan->model = get_str(r);
    plan->target = get_str(r);
    plan->cpu_features = get_str(r);
    plan->extent_count = get_count(r, LEAST_EXTENT);
    plan->extents = arena_array(r->arena, PlanExtent, plan->extent_count);
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        plan->extents[i].name = get_str(r);
        plan->extents[i].extent = get_i64(r);
    }
    plan->tensor_count = get_count(r, LEAST_TENSOR);
    plan->tensors = arena_array(r->arena, PlanTensor, plan->tensor_count);
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        get_tensor(r, &plan->tensors[i]);
}

static void get_map(Reader *r, TensorMapSpec *map) {
    map->arg = get_u32(r);
    map->offset = get_i64(r);
    map->type = (DType)get_below(r, DTYPE_COUNT);
    map->swizzle = get_u32(r);
    map->rank = get_u32(r);
    if (map->rank > TENSOR_MAP_RANK) {
        fail_read(r, "a tensor map has too many axes");
        map->rank = 0;
    }
    for (uint32_t k = 0; k < map->rank; k++) {
        map->extent[k] = get_i64(r);
        map->stride[k] = get_i64(r);
        map->box[k] = get_u32(r);
    }
}

static void get_launch(Reader *r, Launch *l) {
    uint32_t *const sizes[] = {&l->blocks, &l->threads, &l->cluster, &l->shared_bytes,
                               &l->registers};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        *sizes[i] = get_u32(r);
    l->map_count = get_count(r, LEAST_MAP);
    if (l->map_count > LAUNCH_MAX_MAPS) {
        fail_read(r, "a kernel has too many tensor maps");
        l->map_count = 0;
    }
    for (uint32_t i = 0; i < l->map_count; i++)
        get_map(r, &l->maps[i]);
}

// Objects get their lengths here and their bytes from get_code.
static void get_kernels(Reader *r, Plan *plan) {
    plan->kernel_count = get_count(r, LEAST_KERNEL);
    plan->kernels = arena_array(r->arena, PlanKernel, plan->kernel_count);
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        PlanKernel *k = &plan->kernels[i];
        k->name = get_str(r);
        k->object.len = get_u64(r);
        k->hash.lo = get_u64(r);
        k->hash.hi = get_u64(r);
        k->tasks = get_i64(r);
        k->scratch_bytes = get_i64(r);
        k->flops = get_f64(r);
        k->bytes = get_f64(r);
        k->f32_flops = get_f64(r);
        get_launch(r, &k->launch);
    }
}

static void get_code(Reader *r, Plan *plan) {
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        Str *object = &plan->kernels[i].object;
        object->ptr = (const char *)take(r, object->len);
        if (!object->ptr) *object = (Str){"", 0};
    }
}

static void get_gemm(Reader *r, PlanGemm *g) {
    int64_t *const sizes[] = {&g->m, &g->n, &g->k, &g->lda, &g->ldb, &g->ldc};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        *sizes[i] = get_i64(r);
    for (int i = 0; i < 2; i++) {
        g->batch[i] = get_i64(r);
        g->stride_a[i] = get_i64(r);
        g->stride_b[i] = get_i64(r);
        g->stride_c[i] = get_i64(r);
    }
    g->transpose_a = get_bool(r);
    g->transpose_b = get_bool(r);
    g->type_ab = (DType)get_below(r, DTYPE_COUNT);
    g->type_c = (DType)get_below(r, DTYPE_COUNT);
}

static void get_step(Reader *r, PlanStep *step) {
    step->kind = (StepKind)get_below(r, STEP_GEMM + 1);
    step->kernel = get_u32(r);
    step->line = get_u32(r);
    step->arg_count = get_count(r, 4);
    uint32_t *args = arena_array(r->arena, uint32_t, step->arg_count);
    for (uint32_t i = 0; i < step->arg_count; i++)
        args[i] = get_u32(r);
    step->args = args;
    if (step->kind == STEP_GEMM) get_gemm(r, &step->gemm);
}

static void get_entry(Reader *r, PlanEntry *e) {
    e->name = get_str(r);
    e->arena_bytes = get_i64(r);
    e->buffer_count = get_count(r, LEAST_BUFFER);
    e->buffers = arena_array(r->arena, PlanBuffer, e->buffer_count);
    for (uint32_t k = 0; k < e->buffer_count; k++) {
        PlanBuffer *b = &e->buffers[k];
        b->kind = (BufferKind)get_below(r, BUFFER_CONSTANT + 1);
        b->index = get_u32(r);
        b->offset = get_i64(r);
        b->bytes = get_i64(r);
    }
    e->step_count = get_count(r, LEAST_STEP);
    e->steps = arena_array(r->arena, PlanStep, e->step_count);
    for (uint32_t k = 0; k < e->step_count; k++)
        get_step(r, &e->steps[k]);
}

static void get_entries(Reader *r, Plan *plan) {
    plan->entry_count = get_count(r, LEAST_ENTRY);
    plan->entries = arena_array(r->arena, PlanEntry, plan->entry_count);
    for (uint32_t i = 0; i < plan->entry_count; i++)
        get_entry(r, &plan->entries[i]);
}

static void get_constants(Reader *r, Plan *plan) {
    size_t len = r->left;
    const unsigned char *data = take(r, len);
    plan->constants = (Str){len ? (const char *)data : "", len};
}

static bool damaged(Diag *diag, Str path, const char *what) {
    return diag_file_error(diag, FAIL_INPUT, path, "damaged artifact: %s", what);
}

// ensures: the file has a header of this version and is what was written
static bool check_header(Diag *diag, Str path, Str bytes) {
    const unsigned char *b = (const unsigned char *)bytes.ptr;
    if (!str_starts(bytes, STR(PLAN_MAGIC)))
        return diag_file_error(diag, FAIL_INPUT, path, "not an artifact made by strata");
    if (bytes.len < PLAN_HEADER) return damaged(diag, path, "it is cut short");
    uint32_t version = (uint32_t)decode_u64(b + 8, 4);
    if (version != PLAN_VERSION) {
        return diag_file_error(diag, FAIL_INPUT, path,
                               "artifact of version %u; this strata reads version %d", version,
                               PLAN_VERSION);
    }
    if (decode_u64(b + 12, 4)) return damaged(diag, path, "a reserved field is not zero");
    uint64_t size = decode_u64(b + PLAN_CHECKED_FROM, 8);
    if (bytes.len < size) return damaged(diag, path, "it is cut short");
    Hash stored = {.lo = decode_u64(b + 16, 8), .hi = decode_u64(b + 24, 8)};
    Hash actual = hash_bytes(b + PLAN_CHECKED_FROM, bytes.len - PLAN_CHECKED_FROM);
    if (bytes.len != size || !hash_eq(stored, actual))
        return damaged(diag, path, "its checksum does not match");
    return true;
}

// Sections lie one after another, each aligned.
static bool section_at(Str bytes, int section, uint64_t *end, Reader *out) {
    const unsigned char *b = (const unsigned char *)bytes.ptr;
    const unsigned char *entry = b + PLAN_TABLE_AT + (size_t)section * PLAN_SECTION_ENTRY;
    uint64_t start = decode_u64(entry, 8), size = decode_u64(entry + 8, 8);
    uint64_t expected = (*end + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
    if (start != expected || start > bytes.len || size > bytes.len - start) return false;
    out->at = b + start;
    out->left = size;
    *end = start + size;
    return true;
}

_Static_assert(PLAN_TABLE_AT + SECTION_COUNT * PLAN_SECTION_ENTRY <= PLAN_HEADER,
               "the table fits in the header");

bool plan_decode(Diag *diag, Arena *arena, Str path, Str bytes, Plan **out) {
    static void (*const get[SECTION_COUNT])(Reader *, Plan *) = {
        [SECTION_MANIFEST] = get_manifest,   [SECTION_KERNELS] = get_kernels,
        [SECTION_ENTRIES] = get_entries,     [SECTION_CODE] = get_code,
        [SECTION_CONSTANTS] = get_constants,
    };
    if (!check_header(diag, path, bytes)) return false;
    Plan *plan = arena_new(arena, Plan);
    uint64_t end = PLAN_HEADER;
    for (int i = 0; i < SECTION_COUNT; i++) {
        Reader r = {.arena = arena};
        if (!section_at(bytes, i, &end, &r))
            return damaged(diag, path, "a section is out of range");
        get[i](&r, plan);
        if (!r.wrong && r.left) r.wrong = "a section is longer than its contents";
        if (r.wrong) return damaged(diag, path, r.wrong);
    }
    if (end != bytes.len)
        return damaged(diag, path, "there is something after the last section");
    if (!plan_verify(diag, path, plan)) return false;
    *out = plan;
    return true;
}

bool plan_read(Diag *diag, Arena *arena, Str path, Plan **out) {
    Str bytes;
    return io_read(diag, arena, path, &bytes) && plan_decode(diag, arena, path, bytes, out);
}
