// check.c: expected values by interpreting, and the comparison.
#include "autotune/check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/rng.h"
#include "ir/tile/tile_access.h"

enum {
    SAMPLE_TILE = 8,
    SAMPLE_COLS = 64,
    SAMPLE_CHUNK = 16,
    LEAST_TASKS = 4,
    LEAST_WALKS = 2,  // a task of a CHUNK program goes through all tokens
    MOST_TASKS = 4096
};

// ---- cost

// Points that the interpreter visits for one task. The inner loop of a dot is quick.
static double task_points(const TileProgram *p) {
    const double dot_share = 0.25;
    double points = 0;
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *op = &p->ops.ptr[i];
        DimSet dims = op->dims;
        if (op->kind == TILE_REDUCE || op->kind == TILE_DOT) dims |= op->over;
        double here = op->kind == TILE_DOT ? dot_share : 1;
        for (uint32_t d = 0; d < p->dim_count; d++) {
            const TileDim *dim = &p->dims[d];
            if (!(dims >> d & 1)) continue;
            if (dim->role == DIM_SERIAL || dim->role == DIM_K)
                here *= (double)dim->extent;
            else if (dim->role != DIM_GRID)
                here *= (double)dim->tile;
        }
        points += here;
    }
    return p->skeleton == TILE_CHUNK ? points * (double)tile_walked(p) : points;
}

// Cols may be cut where nothing is reduced over them and every store has them.
static bool cols_can_be_cut(const TileProgram *p, uint32_t col) {
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *op = &p->ops.ptr[i];
        if (op->kind == TILE_REDUCE && op->over >> col & 1) return false;
        if (tile_op_writes(op->kind) && !(op->dims >> col & 1)) return false;
    }
    return true;
}

// Nothing is summed over m and n, but in attention.
static bool tile_can_be_cut(const TileProgram *p, uint32_t dim) {
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (p->ops.ptr[i].over >> dim & 1) return false;
    return true;
}

static void cut_small(TileProgram *p) {
    for (uint32_t d = 0; d < p->dim_count; d++) {
        TileDim *dim = &p->dims[d];
        int64_t tile = dim->tile;
        bool loop = dim->role == DIM_M || dim->role == DIM_N;
        if (p->skeleton == TILE_CHUNK) continue;
        if (loop && tile_can_be_cut(p, d)) tile = SAMPLE_TILE;
        if (dim->role == DIM_COL && cols_can_be_cut(p, d)) tile = SAMPLE_COLS;
        dim->tile = tile < dim->extent ? tile : dim->extent;
    }
}

// ---- running

// A task somewhere: in every dimension the first, the last or any.
static int64_t draw_task(const TileProgram *p, uint64_t number) {
    int64_t task = 0;
    for (uint32_t d = 0; d < p->dim_count; d++) {
        int64_t tiles = tile_dim_tiles(p, d);
        uint64_t x = rng_u64(d + 1, number);
        int64_t at = x % 4 == 0   ? 0
                     : x % 4 == 1 ? tiles - 1
                                  : (int64_t)(x / 4 % (uint64_t)tiles);
        task = task * tiles + at;
    }
    return task;
}

static int by_number(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// Each task once: a scatter adds.
static void run_sample(Arena *arena, const TileProgram *p, void *const *args, double points) {
    TileProgram small = *p;
    cut_small(&small);
    int64_t tasks = tile_task_count(&small);
    double wanted = points / task_points(&small);
    int64_t count = wanted > MOST_TASKS ? MOST_TASKS : (int64_t)wanted;
    int64_t least = p->skeleton == TILE_CHUNK ? LEAST_WALKS : LEAST_TASKS;
    if (count < least) count = least;
    int64_t *chosen = arena_array(arena, int64_t, count);
    chosen[0] = 0;
    chosen[1] = tasks - 1;
    for (int64_t i = 2; i < count; i++)
        chosen[i] = draw_task(&small, (uint64_t)i);
    qsort(chosen, (size_t)count, sizeof *chosen, by_number);
    for (int64_t i = 0; i < count; i++)
        if (i == 0 || chosen[i] != chosen[i - 1]) tile_interpret_task(&small, args, chosen[i]);
}

static void *kernel_arg(Reference *r, const Workspace *w, void *const *partials,
                        const TileBinding *binding) {
    if (binding->kind == BIND_PARTIAL) return partials[binding->partial];
    for (uint32_t i = 0; i < r->tensor_count; i++)
        if (r->tensors[i].tensor->value.i == binding->value.i) return r->tensors[i].expected;
    return workspace_find(w, binding->value)->data;
}

static void run_reference(Reference *r, Arena *arena, const Workspace *w,
                          const TileKernels *kernels, double points) {
    void **partials = arena_array(arena, void *, kernels->partial_count);
    for (uint32_t i = 0; i < kernels->partial_count; i++)
        partials[i] = arena_alloc(arena, (size_t)kernels->partial_bytes[i], 1);
    double all = 0;
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        all += task_points(kernels->kernels[i].program) *
               (double)tile_task_count(kernels->kernels[i].program);
    // A program that reads partial sums needs all that the first one wrote; one that reads
    // states those of its own tasks, which are the same.
    bool own = kernels->kernels[0].program->skeleton == TILE_CHUNK;
    r->whole = all <= points || (kernels->partial_count > 0 && !own);
    for (uint32_t k = 0; k < kernels->kernel_count; k++) {
        const TileKernel *kernel = &kernels->kernels[k];
        void **args = arena_array(arena, void *, kernel->program->args.len);
        for (uint32_t i = 0; i < kernel->program->args.len; i++)
            args[i] = kernel_arg(r, w, partials, &kernel->bindings[i]);
        if (r->whole)
            tile_interpret(kernel->program, args);
        else
            run_sample(arena, kernel->program, args, points);
    }
}

// ---- what is known

static size_t element_bytes(const ReferenceTensor *t) { return dtype_bytes(t->tensor->type); }

// Bytes that no result consists of. A scatter adds to what is there, so it starts from zeros.
static void mark_unknown(ReferenceTensor *t, bool zero) {
    size_t bytes = (size_t)t->tensor->elements * element_bytes(t);
    memset(t->expected, zero ? 0 : 0xfd, bytes);
}

static bool element_marked(const ReferenceTensor *t, int64_t i, bool zero) {
    const unsigned char *at = (const unsigned char *)t->expected + (size_t)i * element_bytes(t);
    for (size_t b = 0; b < element_bytes(t); b++)
        if (at[b] != (zero ? 0 : 0xfd)) return false;
    return true;
}

// False: too little of it is a number to judge by.
static bool find_known(Reference *r, bool zero) {
    int64_t known = 0, finite = 0;
    for (uint32_t k = 0; k < r->tensor_count; k++) {
        ReferenceTensor *t = &r->tensors[k];
        t->scale = 0;
        for (int64_t i = 0; i < t->tensor->elements; i++) {
            t->known[i] = r->whole || !element_marked(t, i, zero);
            if (!t->known[i]) continue;
            double x = fabs(dtype_get(t->tensor->type, t->expected, i));
            known++;
            finite += isfinite(x) != 0;
            if (isfinite(x) && x > t->scale) t->scale = x;
        }
    }
    return finite * 100 >= known * 99;
}

static double epsilon_of(DType type) {
    if (type == DTYPE_BF16) return 1.0 / 256;
    if (type == DTYPE_F16) return 1.0 / 2048;
    return (double)FLT_EPSILON;
}

static void describe(Reference *r, const TileKernels *kernels) {
    for (uint32_t k = 0; k < kernels->kernel_count; k++) {
        const TileProgram *p = kernels->kernels[k].program;
        for (uint32_t i = 1; i < p->ops.len; i++) {
            const TileOp *op = &p->ops.ptr[i];
            double terms =
                op->kind == TILE_DOT || op->kind == TILE_REDUCE ? tile_points(p, op->over) : 1;
            if (op->kind == TILE_SCATTER)
                for (uint32_t d = 0; d < p->dim_count; d++)
                    if (p->dims[d].role == DIM_SERIAL) terms *= (double)p->dims[d].extent;
            if (terms > r->terms) r->terms = terms;
            if (op->kind == TILE_LOAD && p->skeleton == TILE_ATTEND)
                r->rounding = fmax(r->rounding, epsilon_of(p->args.ptr[op->access.arg].type));
            if (op->kind != TILE_MAP) continue;
            r->steps++;
            r->jumps = r->jumps || op->type == DTYPE_BOOL || op->fn == OP_FLOOR ||
                       op->fn == OP_SIGN || op->fn == OP_CAST;
        }
    }
}

static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

static bool allocate(Diag *diag, Arena *arena, const Workspace *w, Reference *r) {
    size_t bytes = 64;
    r->tensors = arena_array(arena, ReferenceTensor, w->tensor_count);
    for (uint32_t i = 0; i < w->tensor_count; i++) {
        if (!w->tensors[i].written) continue;
        ReferenceTensor *t = &r->tensors[r->tensor_count++];
        t->tensor = &w->tensors[i];
        bytes += aligned((size_t)t->tensor->elements * (element_bytes(t) + 1));
    }
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return diag_fail(diag, FAIL_ENVIRONMENT, "not enough memory for a reference: %.1f MiB",
                         (double)bytes / (1 << 20));
    r->mapping = memory;
    r->mapped = bytes;
    unsigned char *at = memory;
    for (uint32_t i = 0; i < r->tensor_count; i++) {
        ReferenceTensor *t = &r->tensors[i];
        size_t data = (size_t)t->tensor->elements * element_bytes(t);
        t->expected = at;
        t->known = at + data;
        at += aligned(data + (size_t)t->tensor->elements);
    }
    return true;
}

bool reference_open(Diag *diag, Arena *arena, Workspace *w, double points, Reference *out) {
    *out = (Reference){.terms = 1, .steps = 4};
    if (!allocate(diag, arena, w, out)) return false;
    // Programs whose tasks are small and can stand alone, where that is possible.
    Schedule whole = schedule_none();
    whole.parts = 1;
    whole.split = 1;
    whole.chunk = SAMPLE_CHUNK;
    TileKernels *kernels = region_to_tile(w->regions, w->region, &whole, arena);
    describe(out, kernels);
    bool zero = false;
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        zero = zero || kernels->kernels[i].clear_first;
    for (int positive = 0; positive < 2; positive++) {
        workspace_fill(w, positive != 0);
        for (uint32_t i = 0; i < out->tensor_count; i++)
            mark_unknown(&out->tensors[i], zero);
        run_reference(out, arena, w, kernels, points);
        if (find_known(out, zero)) break;
    }
    return true;
}

void reference_close(Reference *r) {
    if (r->mapping) munmap(r->mapping, r->mapped);
    *r = (Reference){0};
}

// ---- comparing

// The step between neighbours, of f32 two: as far apart may one number be that is rounded
// twice, from a little above and from a little below.
static double step_at(DType type, double x) {
    int exponent;
    frexp(x, &exponent);
    return x == 0 ? 0 : ldexp(epsilon_of(type), exponent);
}

// Sums round once a term, in random directions; what is summed may be as large as the largest
// result and cancel. Every further operation rounds a few times. Storing rounds what is
// expected and what came. GPUs round the weights of attention to the type of what they weight.
static double tolerance(const Reference *r, const ReferenceTensor *t, double expected) {
    double compute = (double)FLT_EPSILON * (4 * sqrt(r->terms) + 4 * r->steps) + r->rounding;
    const double least = 1e-30;  // kernels flush denormals
    return compute * (fabs(expected) + t->scale) + step_at(t->tensor->type, expected) + least;
}

static bool agrees(const Reference *r, const ReferenceTensor *t, double got, double expected) {
    if (isnan(expected)) return isnan(got);
    if (isinf(expected)) return got == expected;
    if (!dtype_is_float(t->tensor->type)) return got == expected;
    return fabs(got - expected) <= tolerance(r, t, expected);
}

bool reference_check(const Reference *r, char *why, size_t why_bytes) {
    const int64_t one_in = 10000;
    for (uint32_t k = 0; k < r->tensor_count; k++) {
        const ReferenceTensor *t = &r->tensors[k];
        int64_t wrong = 0, checked = 0;
        for (int64_t i = 0; i < t->tensor->elements; i++) {
            if (!t->known[i]) continue;
            double got = dtype_get(t->tensor->type, t->tensor->data, i),
                   expected = dtype_get(t->tensor->type, t->expected, i);
            checked++;
            if (agrees(r, t, got, expected)) continue;
            if (!wrong++)
                snprintf(why, why_bytes, "output %u, element %lld: %.9g instead of %.9g", k,
                         (long long)i, got, expected);
        }
        if (wrong > (r->jumps ? checked / one_in : 0)) return false;
    }
    return true;
}

void reference_complete(Reference *r) {
    if (r->whole || r->completed) return;
    for (uint32_t k = 0; k < r->tensor_count; k++) {
        ReferenceTensor *t = &r->tensors[k];
        for (int64_t i = 0; i < t->tensor->elements; i++) {
            if (t->known[i]) continue;
            double x = dtype_get(t->tensor->type, t->tensor->data, i);
            dtype_set(t->tensor->type, t->expected, i, x);
            t->known[i] = 1;
            if (isfinite(x) && fabs(x) > t->scale) t->scale = fabs(x);
        }
    }
    r->completed = true;
}

Hash reference_output_hash(const Reference *r) {
    Hash hash = {0};
    for (uint32_t k = 0; k < r->tensor_count; k++) {
        const WorkspaceTensor *t = r->tensors[k].tensor;
        hash = hash_mix(hash, hash_bytes(t->data, (size_t)t->elements * dtype_bytes(t->type)));
    }
    return hash;
}
