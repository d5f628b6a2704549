// attend_plan.c: ATTEND for CUDA: what the operations of a program are to the kernel.
#include "base/check.h"
#include "codegen/cuda/attend.h"

enum {
    FELT = 1 << 28,  // extents beyond this are none of an int's
    MOST_WIDTH = 1 << 14,
};

static bool refuse(const CudaAttend *a, const char *why) {
    return diag_fail(a->w->diag, FAIL_ENVIRONMENT, "kernel '%.*s': attention on GPUs needs %s",
                     STR_ARG(a->w->p->name), why);
}

static bool stands_at(const TileOp *op, int dim) { return (op->dims >> dim & 1) != 0; }

static DimSet k_dims(const TileProgram *p) {
    DimSet dims = 0;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_K) dims |= (DimSet)(1U << d);
    return dims;
}

static DimSet serial_dims(const TileProgram *p) {
    DimSet dims = 0;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_SERIAL) dims |= (DimSet)(1U << d);
    return dims;
}

static int only_dim(DimSet dims) {
    int d = 0;
    while (!(dims >> d & 1))
        d++;
    return d;
}

static int width_of(int64_t extent) {
    int width = 16;
    while (width < extent)
        width += width < 64 ? width : 64;
    return width;
}

// ---- tiles

// A guard that always holds only says where a value stands.
static bool is_plain(CudaWriter *w, const TileOp *op) {
    CudaPoint at = {{{0}}};
    for (uint32_t d = 0; d < w->p->dim_count; d++)
        at.at[d] = STR("i");
    return op->kind == TILE_LOAD && cuda_guard(w, &op->access, &at).len == 0;
}

// -1: it has no form.
static int tile_add(CudaAttend *a, TileId load, int dim) {
    const TileProgram *p = a->w->p;
    const TileOp *op = tile_op(p, load);
    bool own = dim == a->own;
    AttendTile *tiles = own ? a->own_tiles : a->other_tiles;
    int *count = own ? &a->own_count : &a->other_count;
    for (int i = 0; i < *count; i++)
        if (tiles[i].load.i == load.i) return i;
    if (*count == ATTEND_MOST || !is_plain(a->w, op)) return -1;
    if (own && (op->dims & serial_dims(p))) return -1;
    DType type = p->args.ptr[op->access.arg].type;
    if (a->type == DTYPE_COUNT) a->type = type;
    if (type != a->type || (type != DTYPE_BF16 && type != DTYPE_F16 && type != DTYPE_F32))
        return -1;
    AttendTile t = {.load = load, .dim = dim, .k = only_dim(op->dims & k_dims(p))};
    t.width = width_of(p->dims[t.k].extent);
    int chunk = attend_chunk(a);
    t.copied = p->dims[t.k].extent % chunk == 0 && access_is_wide(p, op, t.k, chunk);
    tiles[*count] = t;
    return (*count)++;
}

// Is what the sum reads of each point a part of the tile that another dot has?
static bool is_within(const CudaAttend *a, const AttendTile *t, TileId load, AttendSum *s) {
    const TileProgram *p = a->w->p;
    const TileAccess *whole = &tile_op(p, t->load)->access, *part = &tile_op(p, load)->access;
    if (part->arg != whole->arg || whole->stride[t->k] != 1 || part->stride[s->k] != 1)
        return false;
    for (int d = 0; d < (int)p->dim_count; d++)
        if (d != t->k && d != s->k && part->stride[d] != whole->stride[d]) return false;
    int64_t column = part->offset - whole->offset;
    if (column < 0 || column % attend_chunk(a) != 0 || column + s->width > t->width)
        return false;
    s->column = (int)column;
    return true;
}

static bool sum_tile(CudaAttend *a, TileId load, AttendSum *s) {
    const TileProgram *p = a->w->p;
    s->k = only_dim(tile_op(p, load)->dims & k_dims(p));
    s->width = width_of(p->dims[s->k].extent);
    for (int i = 0; i < a->other_count && is_plain(a->w, tile_op(p, load)); i++)
        if (is_within(a, &a->other_tiles[i], load, s)) s->other = i;
    if (s->other < 0) s->other = tile_add(a, load, a->other);
    return s->other >= 0;
}

static int weight_add(CudaAttend *a, TileId v) {
    for (int i = 0; i < a->weight_count; i++)
        if (a->weights[i].i == v.i) return i;
    a->weights[a->weight_count] = v;
    return a->weight_count++;
}

static bool dot_add(CudaAttend *a, uint32_t i) {
    const TileProgram *p = a->w->p;
    const TileOp *dot = &p->ops.ptr[i];
    if (a->score_count == ATTEND_MOST || a->sum_count == ATTEND_MOST)
        return refuse(a, "fewer dots");
    const char *operands = "the operands of its dots as they lie in memory, of one type";
    if (!(dot->over & k_dims(p))) {
        if (!(dot->over >> a->other & 1)) return refuse(a, "sums over one side");
        AttendSum s = {{i}, weight_add(a, dot->in[0]), -1, 0, 0, 0};
        bool found = sum_tile(a, dot->in[1], &s);
        a->sums[a->sum_count++] = s;
        return found || refuse(a, operands);
    }
    int first = stands_at(tile_op(p, dot->in[0]), a->own) ? 0 : 1;
    AttendScore s = {
        {i}, tile_add(a, dot->in[first], a->own), tile_add(a, dot->in[1 - first], a->other)};
    a->scores[a->score_count++] = s;
    return (s.own >= 0 && s.other >= 0) || refuse(a, operands);
}

// ---- the softmax

static bool is_map(const TileProgram *p, TileId v, GraphOp fn) {
    return tile_op(p, v)->kind == TILE_MAP && tile_op(p, v)->fn == fn;
}

// exp(score - top), added up, is what weights the other side.
static bool softmax_fits(CudaAttend *a) {
    const TileProgram *p = a->w->p;
    if (!a->top.i && !a->total.i) return true;
    if (!a->top.i || !a->total.i || a->weight_count > 1 || a->score_count != 1) return false;
    TileId weight = tile_op(p, a->total)->in[0], score = tile_op(p, a->top)->in[0];
    if (a->weight_count == 1 && a->weights[0].i != weight.i) return false;
    if (!is_map(p, weight, OP_EXP)) return false;
    TileId shifted = tile_op(p, weight)->in[0];
    if (!is_map(p, shifted, OP_SUB) || tile_op(p, shifted)->in[0].i != score.i ||
        tile_op(p, shifted)->in[1].i != a->top.i)
        return false;
    a->weight_count = 1;
    a->weights[0] = weight;
    const TileOp *product = tile_op(p, score);
    if (score.i == a->scores[0].dot.i) a->factor = 1;
    for (uint32_t k = 0; is_map(p, score, OP_MUL) && k < 2; k++) {
        const TileOp *number = tile_op(p, product->in[k]);
        bool scaled = product->in[1 - k].i == a->scores[0].dot.i;
        if (scaled && number->kind == TILE_CONST && number->number > 0)
            a->factor = number->number;
    }
    return true;
}

static bool reduce_add(CudaAttend *a, uint32_t i) {
    const TileOp *op = &a->w->p->ops.ptr[i];
    TileId *place = op->fn == OP_REDUCE_MAX ? &a->top : &a->total;
    if (place->i || op->over != (DimSet)(1U << a->other))
        return refuse(a, "a softmax over keys");
    place->i = i;
    return true;
}

static bool op_add(CudaAttend *a, uint32_t i) {
    const TileOp *op = &a->w->p->ops.ptr[i];
    DimSet dims = op->dims;
    if (op->kind == TILE_START) return true;
    if (op->kind == TILE_DOT) return dot_add(a, i);
    if (op->kind == TILE_REDUCE) return reduce_add(a, i);
    if (op->kind == TILE_STORE)
        return (stands_at(op, a->own) && !stands_at(op, a->other)) ||
               refuse(a, "its gradients in two programs (split = 1)");
    bool known = op->kind == TILE_LOAD || op->kind == TILE_INDEX || op->kind == TILE_CONST ||
                 op->kind == TILE_MAP;
    if (!known) return refuse(a, "no other operations");
    bool own = stands_at(op, a->own), other = stands_at(op, a->other);
    if (own && !other && (dims & serial_dims(a->w->p)))
        return refuse(a, "rows that no serial dimension moves");
    return !(own && other && (dims & k_dims(a->w->p))) || refuse(a, "no values of three");
}

// ---- shape

static void band_find(CudaAttend *a) {
    AttendShape *s = &a->shape;
    Band band = a->w->p->band;
    bool keys = a->w->p->dims[a->own].role == DIM_N;
    s->lo = !keys ? band.lo : band.hi == BAND_MOST ? BAND_LEAST : -band.hi;
    s->hi = !keys ? band.hi : band.lo == BAND_LEAST ? BAND_MOST : -band.lo;
    s->has_lo = a->start ? s->lo != BAND_LEAST : s->lo > 1 - s->other;
    s->has_hi = a->start ? s->hi != BAND_MOST : s->hi < s->own - 1;
    if (a->start) s->begin = s->other / 2;
}

static void shape_find(CudaAttend *a) {
    const TileProgram *p = a->w->p;
    AttendShape *s = &a->shape;
    *s = (AttendShape){.arch = a->w->arch,
                       .bytes = (int)dtype_bytes(a->type),
                       .points = 1,
                       .serial = 1,
                       .parts = a->dealt < 0 ? 1 : p->dims[a->dealt].extent,
                       .deal = p->deal,
                       .own = attend_extent(a, a->own),
                       .other = attend_extent(a, a->other),
                       .scores = a->score_count,
                       .weights = a->weight_count};
    for (uint32_t d = 0; d < p->dim_count; d++) {
        if (p->dims[d].role == DIM_GRID) s->points *= p->dims[d].extent;
        if (p->dims[d].role == DIM_SERIAL) s->serial *= p->dims[d].extent;
    }
    for (int i = 0; i < a->own_count; i++)
        s->own_width += a->own_tiles[i].width;
    for (int i = 0; i < a->other_count; i++)
        s->other_width += a->other_tiles[i].width;
    for (int i = 0; i < a->score_count; i++)
        s->score_width += a->own_tiles[a->scores[i].own].width;
    s->least_width = MOST_WIDTH;
    for (int i = 0; i < a->sum_count; i++) {
        s->sum_width += a->sums[i].width;
        if (a->sums[i].width < s->least_width) s->least_width = a->sums[i].width;
    }
}

static AttendTiles tiles_wanted(const CudaAttend *a) {
    const TileProgram *p = a->w->p;
    int bm = (int)tile_knob(p, "bm", 0), bn = (int)tile_knob(p, "bn", 0);
    bool keys = p->dims[a->own].role == DIM_N;
    int own = keys ? bn : bm, warps = (int)tile_knob(p, "warps_m", 0);
    return (AttendTiles){.own = own,
                         .other = keys ? bm : bn,
                         .rows = warps > 0 && own > 0 ? own / (16 * warps) : 0,
                         .columns = (int)tile_knob(p, "warps_n", 0),
                         .stages = (int)tile_knob(p, "stages", 0)};
}

static void places_choose(CudaAttend *a) {
    int bytes = (int)dtype_bytes(a->type), at = 0;
    for (int i = 0; i < a->own_count; i++) {
        a->own_tiles[i].offset = at;
        at += a->tiles.own * a->own_tiles[i].width * bytes;
    }
    at = 0;
    for (int i = 0; i < a->other_count; i++) {
        a->other_tiles[i].offset = at;
        at += a->tiles.other * a->other_tiles[i].width * bytes;
    }
}

static bool is_in_range(const CudaAttend *a) {
    const AttendShape *s = &a->shape;
    const double most = FELT;
    return (double)s->own < most && (double)s->other * (double)s->serial < most &&
           (double)s->points * (double)s->own < most;
}

// All but the sizes.
static bool program_plan(CudaWriter *w, CudaAttend *a) {
    const TileProgram *p = w->p;
    int m = tile_dim_of(p, DIM_M), n = tile_dim_of(p, DIM_N);
    *a = (CudaAttend){.w = w,
                      .own = m,
                      .other = n,
                      .type = DTYPE_COUNT,
                      .start = tile_start_of(p),
                      .dealt = tile_dealt_to(p)};
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (p->ops.ptr[i].kind == TILE_DOT && (p->ops.ptr[i].over >> m & 1))
            a->own = n, a->other = m;
    if (a->own == n && (p->deal || a->start)) return refuse(a, "keys that all queries see");
    if (p->deal && serial_dims(p)) return refuse(a, "keys of one head for each block");
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (!op_add(a, i)) return false;
    if (!softmax_fits(a)) return refuse(a, "a softmax over keys");
    shape_find(a);
    band_find(a);
    return is_in_range(a) || refuse(a, "fewer points");
}

bool cuda_attend_plan(CudaWriter *w, CudaAttend *a) {
    if (!program_plan(w, a)) return false;
    AttendTiles wanted = tiles_wanted(a);
    if (attend_choices(&a->shape, &wanted, &a->tiles, 1) == 0)
        return refuse(a, "tiles that fit (knobs, or widths of fewer elements)");
    places_choose(a);
    return true;
}

uint32_t cuda_attend_choices(Arena *arena, const TileProgram *p, IsaLevel arch,
                             AttendTiles *out, uint32_t most) {
    Diag reasons;
    diag_init(&reasons, arena);
    CudaWriter w = {.diag = &reasons, .arena = arena, .p = p, .arch = arch};
    CudaAttend a;
    AttendTiles any = {0};
    return program_plan(&w, &a) ? attend_choices(&a.shape, &any, out, most) : 0;
}
