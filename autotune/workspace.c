// workspace.c: inputs by counting, so that every process draws the same.
#include "autotune/workspace.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "autotune/histogram.h"
#include "base/check.h"
#include "base/rng.h"
#include "ir/graph/grouped.h"
#include "ir/graph/linear.h"

enum { ALIGN = 64, FEW = 4 };

WorkspaceTensor *workspace_find(const Workspace *w, ValueId value) {
    for (uint32_t i = 0; i < w->tensor_count; i++)
        if (w->tensors[i].value.i == value.i) return &w->tensors[i];
    return NULL;
}

// Row numbers must lie in the tensor that they pick from to show anything.
static int64_t index_bound(const TileProgram *p, uint32_t arg) {
    int64_t below = FEW;
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *op = &p->ops.ptr[i];
        if (op->kind != TILE_GATHER && op->kind != TILE_SCATTER) continue;
        const TileOp *index = tile_op(p, op->in[0]);
        if (index->kind == TILE_LOAD && index->access.arg == arg) below = op->index_count;
    }
    return below;
}

static void add_tensors(Arena *arena, const TileKernel *kernel, Workspace *w) {
    const TileProgram *p = kernel->program;
    Vec(WorkspaceTensor) all = {w->tensors, w->tensor_count, w->tensor_count};
    for (uint32_t i = 0; i < p->args.len; i++) {
        const TileArg *arg = &p->args.ptr[i];
        if (kernel->bindings[i].kind != BIND_VALUE) continue;
        WorkspaceTensor *known = workspace_find(w, kernel->bindings[i].value);
        if (known) {
            known->written = known->written || arg->written;
            continue;
        }
        WorkspaceTensor t = {.value = kernel->bindings[i].value,
                             .type = arg->type,
                             .elements = arg->elements,
                             .written = arg->written,
                             .below = index_bound(p, i),
                             .low = -1,
                             .high = 1};
        vec_push(arena, &all, t);
        w->tensors = all.ptr;
        w->tensor_count = all.len;
    }
}

// Decays forget, keys have length 1, strengths are at most 1.
static void bound_recurrence(Workspace *w, const Graph *g, const Value *v) {
    LinearOperands l = linear_operands(g, v);
    double key = sqrt(3 / (double)graph_extent(g, l.width));
    const struct {
        ValueId value;
        double low, high;
    } bounds[] = {{l.k, -key, key}, {l.decay, -0.5, 0}, {l.beta, 0, 1}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        if (!bounds[i].value.i) continue;
        WorkspaceTensor *t = workspace_find(w, value_layout(g, bounds[i].value).base);
        if (t == NULL) continue;
        t->low = bounds[i].low;
        t->high = bounds[i].high;
    }
}

// Lists of rows and where groups end.
static bool is_grouping(const Workspace *w, const WorkspaceTensor *t, uint32_t *list) {
    const Graph *g = w->regions->graph;
    if (w->region->kind != REGION_GROUPED) return false;
    const Value *c = graph_value(g, w->region->contract);
    for (*list = GROUPED_X_ROWS; *list < GROUPED_OPERANDS; (*list)++)
        if (c->in[*list].i == t->value.i) return true;
    return false;
}

static size_t tensor_bytes(const WorkspaceTensor *t) {
    return (size_t)t->elements * dtype_bytes(t->type);
}

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

bool workspace_has_skewed(const Workspace *w) {
    bool some = false;
    for (uint32_t i = 0; i < w->tensor_count; i++)
        some = some || w->tensors[i].skewed;
    return some;
}

int64_t workspace_bytes(const Workspace *w) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < w->tensor_count; i++)
        bytes += tensor_bytes(&w->tensors[i]);
    return (int64_t)bytes;
}

bool workspace_open(Diag *diag, Arena *arena, const Regions *regions, const Region *region,
                    Workspace *out) {
    Schedule none = schedule_none();
    TileKernels *kernels = region_to_tile(regions, region, &none, arena);
    *out = (Workspace){.regions = regions, .region = region};
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        add_tensors(arena, &kernels->kernels[i], out);
    for (uint32_t i = 0; i < region->value_count; i++) {
        const Value *v = graph_value(regions->graph, region->values[i]);
        if (op_is_linear(v->op)) bound_recurrence(out, regions->graph, v);
    }
    size_t bytes = ALIGN;
    uint32_t list;
    for (uint32_t i = 0; i < out->tensor_count; i++)
        bytes += (is_grouping(out, &out->tensors[i], &list) ? 2 : 1) *
                 aligned(tensor_bytes(&out->tensors[i]));
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return diag_fail(diag, FAIL_ENVIRONMENT, "not enough memory to tune '%.*s': %.1f MiB",
                         STR_ARG(region->name), (double)bytes / (1 << 20));
    madvise(memory, bytes, MADV_HUGEPAGE);
    out->mapping = memory;
    out->mapped = bytes;
    unsigned char *at = memory;
    for (uint32_t i = 0; i < out->tensor_count; i++) {
        WorkspaceTensor *t = &out->tensors[i];
        t->data = at;
        at += aligned(tensor_bytes(t));
        if (!is_grouping(out, t, &list)) continue;
        t->skewed = at;
        at += aligned(tensor_bytes(t));
    }
    return true;
}

void workspace_close(Workspace *w) {
    if (w->mapping) munmap(w->mapping, w->mapped);
    *w = (Workspace){0};
}

static double draw(const WorkspaceTensor *t, uint64_t seed, int64_t i, bool positive) {
    double x = rng_uniform(seed, (uint64_t)i);
    if (t->type == DTYPE_BOOL) return x < 0.5;
    if (!dtype_is_float(t->type)) return (double)(int64_t)(x * (double)t->below);
    bool usual = t->low == -1 && t->high == 1;
    return usual && positive ? x + 0.5 : t->low + (t->high - t->low) * x;
}

static void fill_grouping(const Workspace *w, const WorkspaceTensor *t, uint32_t list) {
    const Graph *g = w->regions->graph;
    const Value *c = graph_value(g, w->region->contract);
    histogram_fill(g, c, list, HISTOGRAM_UNIFORM, t->data);
    histogram_fill(g, c, list, HISTOGRAM_ZIPF, t->skewed);
}

void workspace_fill(Workspace *w, bool positive) {
    for (uint32_t k = 0; k < w->tensor_count; k++) {
        const WorkspaceTensor *t = &w->tensors[k];
        uint32_t list;
        if (is_grouping(w, t, &list)) {
            fill_grouping(w, t, list);
            continue;
        }
        if (t->written) continue;
        for (int64_t i = 0; i < t->elements; i++)
            dtype_set(t->type, t->data, i, draw(t, k, i, positive));
    }
}

void workspace_spoil(Workspace *w) {
    for (uint32_t k = 0; k < w->tensor_count; k++)
        if (w->tensors[k].written)
            memset(w->tensors[k].data, 0xff, tensor_bytes(&w->tensors[k]));
}
