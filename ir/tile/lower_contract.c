// lower_contract.c: a contraction with its epilogue as a LOOP program.
//
//     r[batch, m, n] = sum over k of x[batch, m, k] * y[batch, k, n]
// Axes of one role that do not lie densely leave m or n for the grid; those of k stay, outer
// before inner.
#include "base/check.h"
#include "ir/tile/lower.h"

enum { DEFAULT_MC = 128, DEFAULT_NC = 512, DEFAULT_KC = 2048 };

static void add_axes(Lower *w, const Value *c) {
    const Value *x = graph_value(w->graph, c->in[0]), *y = graph_value(w->graph, c->in[1]);
    for (int i = 0; i < x->rank; i++)
        if (!axis_in(c->attr.along, c->attr.along_count, x->axes[i]) &&
            graph_has_axis(y, x->axes[i]))
            nest_add(w, x->axes[i], DIM_GRID);
    for (int i = 0; i < x->rank; i++)
        if (!axis_in(c->attr.along, c->attr.along_count, x->axes[i]) &&
            !graph_has_axis(y, x->axes[i]))
            nest_add(w, x->axes[i], DIM_M);
    for (int i = 0; i < y->rank; i++)
        if (!axis_in(c->attr.along, c->attr.along_count, y->axes[i]) &&
            !graph_has_axis(x, y->axes[i]))
            nest_add(w, y->axes[i], DIM_N);
    for (int i = 0; i < x->rank; i++)
        if (axis_in(c->attr.along, c->attr.along_count, x->axes[i]))
            nest_add(w, x->axes[i], DIM_K);
}

// The loop nest has an m, an n and a k even where their extent is 1.
static void add_missing(Lower *w) {
    for (int role = DIM_M; role <= DIM_K; role++) {
        bool present = false;
        for (uint32_t i = 0; i < w->nest.axis_count; i++)
            present = present || (int)w->nest.axes[i].role == role;
        if (present) continue;
        ASSERT(w->nest.axis_count < NEST_MAX_AXES);
        w->nest.axes[w->nest.axis_count++] = (NestAxis){.role = (TileRole)role, .extent = 1};
    }
}

// Of the runs of joined axes with this role the longest keeps it; the others become grid
// dimensions. For n the last run is kept: it is the one that lies densely in the result.
static void keep_one_run(Lower *w, TileRole role) {
    NestAxis *axes = w->nest.axes;
    uint32_t n = w->nest.axis_count, best = n, best_end = n;
    int64_t best_extent = 0;
    for (uint32_t i = 0; i < n;) {
        if (axes[i].role != role) {
            i++;
            continue;
        }
        uint32_t end = i + 1;
        int64_t extent = axes[i].extent;
        while (end < n && nest_joined(w, end - 1))
            extent *= axes[end++].extent;
        if (extent > best_extent || role == DIM_N)
            best = i, best_end = end, best_extent = extent;
        i = end;
    }
    for (uint32_t i = 0; i < n; i++)
        if (axes[i].role == role && (i < best || i >= best_end)) axes[i].role = DIM_GRID;
}

// Grid axes first, in their order; strides of the recorded accesses follow.
static void sort_by_role(Lower *w) {
    Nest sorted = {.axis_count = w->nest.axis_count, .accesses = w->nest.accesses};
    uint32_t from[NEST_MAX_AXES], n = 0;
    for (int role = DIM_GRID; role <= DIM_K; role++)
        for (uint32_t i = 0; i < w->nest.axis_count; i++)
            if ((int)w->nest.axes[i].role == role) from[n++] = i;
    for (uint32_t i = 0; i < n; i++)
        sorted.axes[i] = w->nest.axes[from[i]];
    for (uint32_t k = 0; k < w->nest.accesses.len; k++) {
        NestStrides old = w->nest.accesses.ptr[k];
        for (uint32_t i = 0; i < n; i++)
            sorted.accesses.ptr[k].stride[i] = old.stride[from[i]];
    }
    w->nest = sorted;
}

static void set_tile(Lower *w, TileRole role, int64_t wanted, int64_t otherwise) {
    int at = tile_dim_of(w->program, role);
    if (at < 0) return;
    TileDim *dim = &w->program->dims[at];
    int64_t tile = wanted > 0 ? wanted : otherwise;
    dim->tile = tile < dim->extent ? tile : dim->extent;
}

static void set_tiles(Lower *w) {
    const Schedule *s = w->schedule;
    set_tile(w, DIM_M, s->mc, DEFAULT_MC);
    set_tile(w, DIM_N, s->nc, DEFAULT_NC);
    for (uint32_t i = 0; i < w->program->dim_count;
         i++)  // outer k dimensions go one by one, the innermost in tiles
        if (w->program->dims[i].role == DIM_K) w->program->dims[i].tile = 1;
    TileDim *k = &w->program->dims[w->program->dim_count - 1];
    if (k->role == DIM_K)
        k->tile = s->kc > 0 && s->kc < k->extent ? s->kc
                  : k->extent < DEFAULT_KC       ? k->extent
                                                 : DEFAULT_KC;
}

// Knobs that are not tile sizes travel with the program where the schedule sets them.
static void set_knobs(Lower *w) {
    const Schedule *s = w->schedule, none = schedule_none();
    const struct {
        const char *name;
        int32_t value, otherwise;
    } knobs[] = {
        {"mr", s->mr, none.mr},
        {"nv", s->nv, none.nv},
        {"ku", s->ku, none.ku},
        {"pack_a", s->pack_a, none.pack_a},
        {"pack_b", s->pack_b, none.pack_b},
        {"bm", s->bm, none.bm},
        {"bn", s->bn, none.bn},
        {"bk", s->bk, none.bk},
        {"stages", s->stages, none.stages},
        {"consumers", s->consumers, none.consumers},
        {"turns", s->turns, none.turns},
        {"cluster", s->cluster, none.cluster},
        {"warps_m", s->warps_m, none.warps_m},
        {"warps_n", s->warps_n, none.warps_n},
        {"warps_k", s->warps_k, none.warps_k},
        {"order", s->order, none.order},
        {"skeleton", s->skeleton, none.skeleton},
    };
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++)
        if (knobs[i].value != knobs[i].otherwise)
            tile_knob_set(w->program, knobs[i].name, knobs[i].value);
}

static DimSet k_dims(const TileProgram *p) {
    DimSet set = 0;
    for (uint32_t i = 0; i < p->dim_count; i++)
        if (p->dims[i].role == DIM_K) set |= (DimSet)(1u << i);
    return set;
}

TileKernels *lower_contract(Lower *w) {
    const Value *c = graph_value(w->graph, w->region->contract);
    add_axes(w, c);
    nest_collect(w);
    keep_one_run(w, DIM_M);
    keep_one_run(w, DIM_N);
    add_missing(w);
    sort_by_role(w);
    nest_build(w);
    set_tiles(w);
    set_knobs(w);
    Point origin = {{0}};
    TileId x = lower_value(w, c->in[0], origin), y = lower_value(w, c->in[1], origin);
    w->dot = tile_dot(w->program, x, y, k_dims(w->program), c->span);
    for (uint32_t i = 0; i < w->region->output_count; i++)
        lower_store(w, w->region->outputs[i], -1);
    TileKernels *out = arena_new(w->arena, TileKernels);
    out->kernels = arena_new(w->arena, TileKernel);
    out->kernels[0] = (TileKernel){.program = w->program, .bindings = w->bindings.ptr};
    out->kernel_count = 1;
    return out;
}
