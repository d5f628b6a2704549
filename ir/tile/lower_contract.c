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
        if (extent > best_extent || role == DIM_N) {
            best = i;
            best_end = end;
            best_extent = extent;
        }
        i = end;
    }
    for (uint32_t i = 0; i < n; i++)
        if ((i < best || i >= best_end) && axes[i].role == role) axes[i].role = DIM_GRID;
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

// ---- k in parts
//
//     partial[p, batch, m, n] = sum over part p of k
//     r = epilogue of the sum over p, in the order of p

// All of the result that lies densely is cols, the rest is rows.
static void add_result(Lower *w, ValueId v) {
    const Value *c = graph_value(w->graph, v);
    for (int i = 0; i < c->rank; i++)
        nest_add(w, c->axes[i], DIM_COL);
    nest_collect(w);
    vec_push(w->arena, &w->nest.accesses, dense_strides(w, v));
    Nest *nest = &w->nest;
    uint32_t first = nest->axis_count;
    while (first > 1 && nest_joined(w, first - 2))
        first--;
    for (uint32_t i = 0; i + 1 < first; i++)
        nest->axes[i].role = DIM_GRID;
    if (nest->axis_count == 0)
        nest->axes[nest->axis_count++] = (NestAxis){.role = DIM_COL, .extent = 1};
}

// The second program, of a contraction whose first one had w->parts parts.
static TileKernel sum_parts(const Lower *w) {
    ValueId v = w->region->contract;
    const Value *c = graph_value(w->graph, v);
    Lower sum;
    lower_init(&sum, w);
    Str name = str_printf(w->arena, "%.*s.parts", STR_ARG(w->region->name));
    sum.program = tile_new(w->arena, name, TILE_STREAM);
    sum.sums_parts = true;
    add_result(&sum, v);
    ASSERT(sum.nest.axis_count < NEST_MAX_AXES);
    sum.nest.axes[sum.nest.axis_count++] = (NestAxis){.role = DIM_SERIAL, .extent = w->parts};
    nest_sort(&sum);
    nest_build(&sum);
    int64_t elements = graph_elements(w->graph, v);
    TileBinding binding = {.kind = BIND_PARTIAL};
    TileAccess read = tile_access(lower_argument(&sum, binding, c->type, elements * w->parts));
    NestStrides strides = dense_strides(&sum, v);
    nest_strides(&sum, &strides, &read);
    int part = tile_dim_of(sum.program, DIM_SERIAL);
    read.stride[part] = elements;
    sum.dot = tile_reduce(sum.program, OP_REDUCE_SUM, tile_load(sum.program, read, c->span),
                          (DimSet)(1u << part), c->span);
    for (uint32_t i = 0; i < w->region->output_count; i++)
        lower_store(&sum, w->region->outputs[i], -1);
    lower_tile_cols(&sum);
    return (TileKernel){.program = sum.program, .bindings = sum.bindings.ptr};
}

// ---- the whole

void contract_nest_build(Lower *w) {
    keep_one_run(w, DIM_M);
    keep_one_run(w, DIM_N);
    add_missing(w);
    nest_sort(w);
    nest_build(w);
    set_tiles(w);
    set_knobs(w);
}

TileId contract_dot(const Lower *w, TileId x, TileId y, Span span) {
    return tile_dot(w->program, x, y, k_dims(w->program), span);
}

TileKernels *lower_contract(Lower *w) {
    const Value *c = graph_value(w->graph, w->region->contract);
    w->parts = w->schedule->parts > 1 ? w->schedule->parts : 1;
    w->split_role = DIM_K;
    add_axes(w, c);
    nest_collect(w);
    if (w->parts > 1)
        vec_push(w->arena, &w->nest.accesses, dense_strides(w, w->region->contract));
    contract_nest_build(w);
    Point origin = {{0}};
    TileId x = lower_value(w, c->in[0], origin), y = lower_value(w, c->in[1], origin);
    w->dot = contract_dot(w, x, y, c->span);
    bool in_parts = w->parts > 1;
    if (in_parts) lower_store(w, w->region->contract, 0);
    for (uint32_t i = 0; i < w->region->output_count && !in_parts; i++)
        lower_store(w, w->region->outputs[i], -1);
    TileKernels *out = arena_new(w->arena, TileKernels);
    out->kernels = arena_array(w->arena, TileKernel, 2);
    out->kernels[out->kernel_count++] =
        (TileKernel){.program = w->program, .bindings = w->bindings.ptr};
    if (!in_parts) return out;
    out->kernels[out->kernel_count++] = sum_parts(w);
    int64_t *bytes = arena_new(w->arena, int64_t);
    *bytes = graph_elements(w->graph, w->region->contract) * w->parts *
             (int64_t)dtype_bytes(c->type);
    out->partial_bytes = bytes;
    out->partial_count = 1;
    return out;
}
