// loop_ws_plan.c: see loop_ws.h. A contraction is for LOOP_WS if the copy engine can fetch both
// operands as they lie: dense along k or along m or n, everything else in steps of 16 bytes.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/cuda/loop_ws.h"

enum { STEP = 8 };  // elements of 16 bits in the 16 bytes that strides are multiples of

typedef struct {
    int64_t extent, stride;
} TensorAxis;

static bool refuse(const CudaWriter *w, const char *reason) {
    return diag_fail(w->diag, FAIL_ENVIRONMENT, "kernel '%.*s' is not for wgmma: %s",
                     STR_ARG(w->p->name), reason);
}

// ---- tensors

static bool strides_well(const TensorAxis *axis) {
    return axis->extent == 1 || (axis->stride > 0 && axis->stride % STEP == 0);
}

// Adds a dimension of the program, as part of the last one of the map if it lies inside it.
static const char *tensor_extend(WsTensor *t, int d, const TensorAxis *axis) {
    TensorMapSpec *map = &t->map;
    if (!strides_well(axis)) return "an outer stride is no multiple of 16 bytes";
    bool inside = map->rank > 2 && map->stride[map->rank - 1] == axis->stride * axis->extent;
    if (!inside) {
        if (map->rank == WS_MAX_RANK) return "an access has too many outer dimensions";
        map->extent[map->rank++] = 1;
    }
    map->extent[map->rank - 1] *= axis->extent;
    map->stride[map->rank - 1] = axis->stride;
    t->part_of[d] = map->rank - 1;
    return NULL;
}

// With axes[0] dense, or of extent 1. A grid dimension that does not move the access is none of
// the tensor's, so heads that share keys need no copies. k: NULL for a result.
static const char *tensor_find(const TileProgram *p, const TileAccess *access,
                               const TensorAxis axes[2], const WsSteps *k, WsTensor *out) {
    *out = (WsTensor){.map = {.arg = access->arg,
                              .offset = access->offset,
                              .type = p->args.ptr[access->arg].type,
                              .rank = 2,
                              .extent = {axes[0].extent, axes[1].extent},
                              .stride = {1, axes[1].stride},
                              .swizzle = 128}};
    if (axes[1].extent == 1) out->map.stride[1] = round_up(axes[0].extent, STEP);
    if (access->offset % STEP != 0) return "an access begins between multiples of 16 bytes";
    for (int d = 0; d < (int)p->dim_count; d++) {
        bool outer = k && d == k->outer_dim;
        TensorAxis axis = {outer ? k->outer : p->dims[d].extent, access->stride[d]};
        if (!outer && p->dims[d].role != DIM_GRID) continue;
        if (axis.extent == 1 || axis.stride == 0) continue;
        const char *reason = tensor_extend(out, d, &axis);
        if (reason) return reason;
    }
    return NULL;
}

static bool lies_around(const TileProgram *p, const TileAccess *access, int outer, int inner) {
    return access->stride[outer] == access->stride[inner] * p->dims[inner].extent;
}

// The k dimensions as one that both operands walk evenly, or as two such, one inside the other.
static bool steps_find(const TileProgram *p, const TileAccess *a, const TileAccess *b,
                       WsSteps *out) {
    *out = (WsSteps){.inner = 1, .outer = 1, .inner_dim = -1, .outer_dim = -1};
    int last = -1;
    for (int d = (int)p->dim_count - 1; d >= 0 && p->dims[d].role == DIM_K; d--) {
        if (p->dims[d].extent == 1) continue;
        bool joined = last < 0 || (lies_around(p, a, d, last) && lies_around(p, b, d, last));
        if (!joined && out->outer_dim >= 0) return false;
        bool inner = joined && out->outer_dim < 0;
        *(inner ? &out->inner : &out->outer) *= p->dims[d].extent;
        if (inner && last < 0) out->inner_dim = d;
        if (!inner && out->outer_dim < 0) out->outer_dim = d;
        last = d;
    }
    return true;
}

static const char *operand_check(const TileProgram *p, const TileOp *op) {
    if (op->kind != TILE_LOAD) return "an operand is computed";
    if (op->access.guard[0].dim >= 0 || op->access.guard[1].dim >= 0)
        return "an operand has guards";
    DType type = p->args.ptr[op->access.arg].type;
    if (type != DTYPE_BF16 && type != DTYPE_F16) return "an operand is not bf16 or f16";
    return NULL;
}

static const char *operand_find(const TileProgram *p, const TileAccess *access, int rows_dim,
                                const WsSteps *steps, WsOperand *out) {
    TensorAxis rows = {p->dims[rows_dim].extent, access->stride[rows_dim]};
    TensorAxis k = {steps->inner, steps->inner_dim < 0 ? 1 : access->stride[steps->inner_dim]};
    bool dense_k = k.extent == 1 || k.stride == 1;
    bool dense_rows = rows.extent == 1 || rows.stride == 1;
    out->across = !(dense_k && strides_well(&rows));
    if (out->across && !(dense_rows && strides_well(&k)))
        return "an operand is dense neither along k nor across it";
    TensorAxis axes[2] = {out->across ? rows : k, out->across ? k : rows};
    return tensor_find(p, access, axes, steps, &out->tensor);
}

// ---- results

static bool stands_at_point(const Ws *s, const TileOp *op) {
    return (op->dims >> s->m & 1) && (op->dims >> s->n & 1);
}

// Counts the stores, and the bytes that each point loads and stores.
static uint32_t stores_count(Ws *s, const TileOp **last) {
    const TileProgram *p = s->w->p;
    uint32_t count = 0;
    vec_each (const TileOp, op, &p->ops) {
        bool store = op->kind == TILE_STORE;
        bool load = op->kind == TILE_LOAD || op->kind == TILE_GATHER;
        if (!store && !(load && stands_at_point(s, op))) continue;
        s->shape.point_bytes += (int)dtype_bytes(p->args.ptr[op->access.arg].type);
        if (!store) continue;
        *last = op;
        count++;
    }
    return count;
}

// Does the value need an element for each m and n? Threads load those widely only if they store
// widely as well.
static bool loads_by_point(const Ws *s, TileId v) {
    const TileOp *op = tile_op(s->w->p, v);
    bool some = (op->kind == TILE_LOAD || op->kind == TILE_GATHER) && stands_at_point(s, op);
    for (uint32_t i = 0; i < op->arity && op->kind != TILE_DOT; i++)
        some = some || loads_by_point(s, op->in[i]);
    return some;
}

// Tensor copies can store the one result if it is of 16 bits and dense along n.
static void result_find(Ws *s) {
    const TileProgram *p = s->w->p;
    const TileOp *store = NULL;
    if (stores_count(s, &store) != 1) return;
    DType type = p->args.ptr[store->access.arg].type;
    if (type != DTYPE_BF16 && type != DTYPE_F16) return;
    TensorAxis axes[2] = {{p->dims[s->n].extent, store->access.stride[s->n]},
                          {p->dims[s->m].extent, store->access.stride[s->m]}};
    if ((axes[0].extent > 1 && axes[0].stride != 1) || !strides_well(&axes[1])) return;
    if (tensor_find(p, &store->access, axes, NULL, &s->result) != NULL) return;
    if (loads_by_point(s, store->in[0])) return;
    s->shape.stageable = true;
    s->stored = store->in[0];
}

// ---- the whole

static WsTiles wanted_tiles(const TileProgram *p) {
    return (WsTiles){.bm = (int)tile_knob(p, "bm", 0),
                     .bn = (int)tile_knob(p, "bn", 0),
                     .stages = (int)tile_knob(p, "stages", 0),
                     .consumers = (int)tile_knob(p, "consumers", 0),
                     .turns = (int)tile_knob(p, "turns", 0),
                     .cluster = (int)tile_knob(p, "cluster", 0),
                     .order = (int)tile_knob(p, "order", 0)};
}

static void boxes_set(Ws *s) {
    const WsTiles *t = &s->tiles;
    TensorMapSpec *maps[] = {&s->a.tensor.map, &s->b.tensor.map, &s->result.map};
    for (int i = 0; i < 3; i++)
        for (uint32_t d = 0; d < maps[i]->rank; d++)
            maps[i]->box[d] = d == 0 ? WS_TILE_K : 1;
    s->a.tensor.map.box[1] = s->a.across ? WS_TILE_K : (uint32_t)t->bm;
    s->b.tensor.map.box[1] = (uint32_t)((s->b.across ? WS_TILE_K : t->bn) / t->cluster);
    s->result.map.box[1] = WS_SLICE;
}

static const char *tiles_choose(Ws *s) {
    WsTiles wanted = wanted_tiles(s->w->p);
    if (ws_choices(&s->shape, &wanted, &s->tiles, 1) == 0) return "no tiles are legal";
    int64_t rows = s->shape.m / s->tiles.bm + 1, columns = s->shape.n / s->tiles.bn + 1;
    if ((double)s->shape.points * (double)rows * (double)columns > INT32_MAX / 2)
        return "there are too many tiles";
    s->staged = ws_staged(&s->shape, &s->tiles);
    boxes_set(s);
    return NULL;
}

static const char *operands_find(Ws *s, const WsSteps *steps) {
    const TileProgram *p = s->w->p;
    const TileOp *dot = tile_op(p, s->dot);
    s->steps = *steps;
    const char *reason = operand_find(p, &tile_op(p, dot->in[0])->access, s->m, steps, &s->a);
    if (reason) return reason;
    return operand_find(p, &tile_op(p, dot->in[1])->access, s->n, steps, &s->b);
}

static const char *rows_check(const TileProgram *p) {
    vec_each (const TileOp, op, &p->ops)
        if (op->kind == TILE_LIMIT || op->kind == TILE_SCATTER) return "rows are grouped";
    return NULL;
}

static const char *shape_find(Ws *s) {
    const TileProgram *p = s->w->p;
    const TileOp *dot = tile_op(p, s->dot), *a = tile_op(p, dot->in[0]),
                 *b = tile_op(p, dot->in[1]);
    const char *reason = rows_check(p);
    if (!reason) reason = operand_check(p, a);
    if (!reason) reason = operand_check(p, b);
    if (reason) return reason;
    if (!steps_find(p, &a->access, &b->access, &s->steps))
        return "the k dimensions do not lie one inside the other";
    // Of two k the longer is better inside, where a step is 64 of it.
    WsSteps found = s->steps,
            turned = {found.outer, found.inner, found.outer_dim, found.inner_dim};
    bool turn = turned.inner > found.inner && operands_find(s, &turned) == NULL;
    reason = turn ? NULL : operands_find(s, &found);
    if (reason) return reason;
    s->type = s->a.tensor.map.type;
    if (s->b.tensor.map.type != s->type) return "the operands are of different types";
    s->shape =
        (WsShape){.points = 1,
                  .m = p->dims[s->m].extent,
                  .n = p->dims[s->n].extent,
                  .k = s->steps.outer > 1 ? s->steps.outer * round_up(s->steps.inner, WS_TILE_K)
                                          : s->steps.inner,
                  .across_b = s->b.across};
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_GRID) s->shape.points *= p->dims[d].extent;
    if (s->shape.k > INT32_MAX / 2 || s->shape.m > INT32_MAX / 2 || s->shape.n > INT32_MAX / 2)
        return "an extent is too large";
    result_find(s);
    return NULL;
}

bool ws_plan(CudaWriter *w, Ws *out) {
    ASSERT(w->p->skeleton == TILE_LOOP);
    *out = (Ws){.w = w, .m = tile_dim_of(w->p, DIM_M), .n = tile_dim_of(w->p, DIM_N)};
    for (uint32_t i = 1; i < w->p->ops.len; i++)
        if (w->p->ops.ptr[i].kind == TILE_DOT) out->dot = (TileId){i};
    const char *reason = shape_find(out);
    if (!reason) reason = tiles_choose(out);
    return !reason || refuse(w, reason);
}
