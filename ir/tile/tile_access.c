// tile_access.c: reach, injectivity and disjointness of accesses.
#include "ir/tile/tile_access.h"

#include <math.h>

#include "base/check.h"
#include "base/integer.h"

bool tile_op_accesses(TileOpKind kind) {
    return kind == TILE_LOAD || kind == TILE_GATHER || tile_op_writes(kind);
}

bool tile_op_writes(TileOpKind kind) {
    return kind == TILE_STORE || kind == TILE_SCATTER || kind == TILE_SORT;
}

bool tile_op_has_value(TileOpKind kind) {
    return !tile_op_writes(kind) && kind != TILE_NEXT && kind != TILE_LIMIT &&
           kind != TILE_START;
}

DimSet tile_access_moves(const TileAccess *access) {
    DimSet dims = 0;
    for (uint32_t d = 0; d < TILE_MAX_DIMS; d++)
        if (access->stride[d]) dims |= (DimSet)(1U << d);
    return dims;
}

bool tile_by_tiles(const TileProgram *p, const TileOp *op) {
    if (p->skeleton != TILE_CHUNK || (op->kind != TILE_LOAD && op->kind != TILE_STORE))
        return false;
    DimSet tokens = tile_tokens(p);
    return !(op->dims & tokens) && tile_access_moves(&op->access) & tokens;
}

DimSet tile_own_dims(const TileProgram *p, DimSet dims) {
    if (!p->segments) return dims;
    return (DimSet)(dims & ~(1U << tile_dealt_to(p)));
}

double tile_points(const TileProgram *p, DimSet dims) {
    double points = 1;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (dims >> d & 1) points *= (double)p->dims[d].extent;
    return points;
}

int64_t tile_dim_tiles(const TileProgram *p, uint32_t d) {
    const TileDim *dim = &p->dims[d];
    switch (dim->role) {
    case DIM_GRID: return dim->extent;
    case DIM_SERIAL:
    case DIM_K: return 1;
    case DIM_M:
    case DIM_N:
        if (p->skeleton == TILE_CHUNK) return 1;
        return ceil_div(dim->extent, dim->tile);
    case DIM_COL: return ceil_div(dim->extent, dim->tile);
    }
    BUG("role %d", (int)dim->role);
}

bool tile_dim_splits(const TileProgram *p, uint32_t dim) { return tile_dim_tiles(p, dim) > 1; }

TileRange tile_walked_by(const TileProgram *p, const int64_t index[TILE_MAX_DIMS]) {
    int dealt = tile_dealt_to(p);
    int64_t tiles = tile_chunks(p), segments = dealt < 0 ? 1 : p->dims[dealt].extent;
    int64_t at = dealt < 0 ? 0 : index[dealt];
    return (TileRange){at * tiles / segments, (at + 1) * tiles / segments - 1};
}

static int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

// With index = (q * mod + r) * div + s the guard says r is in [first, last].
TileRange tile_guard_range(const TileDim *dim, const TileGuard *guard) {
    const TileRange none = {0, -1};
    int64_t first = at_least(guard->lo - guard->shift, 0);
    int64_t last = at_most(guard->hi - guard->shift, guard->mod) - 1;
    if (first > last) return none;
    int64_t end = dim->extent - 1, whole = end / guard->div;
    int64_t q = whole / guard->mod, r = whole % guard->mod;
    if (first > whole) return none;
    TileRange range = {first * guard->div, end};
    if (r < first) q--;
    if (r < first || r > last)
        range.last = (q * guard->mod + last) * guard->div + guard->div - 1;
    return range;
}

// Points of a dimension that an access walks.
static int64_t walked_extent(const TileProgram *p, const TileOp *op, uint32_t dim) {
    bool tiles = tile_by_tiles(p, op) && tile_tokens(p) >> dim & 1;
    return tiles ? tile_chunks(p) : p->dims[dim].extent;
}

TileRange tile_index_range(const TileProgram *p, const TileOp *op, uint32_t dim) {
    TileRange range = {0, walked_extent(p, op, dim) - 1};
    for (uint32_t i = 0; i < 2; i++) {
        if (op->access.guard[i].dim != (int)dim) continue;
        TileRange by_guard = tile_guard_range(&p->dims[dim], &op->access.guard[i]);
        range.first = at_least(range.first, by_guard.first);
        range.last = at_most(range.last, by_guard.last);
    }
    return range;
}

static bool has_row_number(const TileOp *op) {
    return op->kind == TILE_GATHER || op->kind == TILE_SCATTER;
}

TileReach tile_reach(const TileProgram *p, const TileOp *op) {
    const TileReach none = {0, -1, 0};
    TileReach reach = {(double)op->access.offset, (double)op->access.offset, 1};
    for (uint32_t d = 0; d < p->dim_count; d++) {
        TileRange range = tile_index_range(p, op, d);
        if (range.first > range.last) return none;
        double a = (double)range.first * (double)op->access.stride[d];
        double b = (double)range.last * (double)op->access.stride[d];
        reach.least += fmin(a, b);
        reach.most += fmax(a, b);
        if (op->access.stride[d]) reach.count *= (double)(range.last - range.first + 1);
    }
    if (has_row_number(op)) {
        if (op->index_count <= 0) return none;
        double b = (double)(op->index_count - 1) * (double)op->index_stride;
        reach.least += fmin(0, b);
        reach.most += fmax(0, b);
        reach.count = tile_points(p, op->dims);
    }
    reach.count = fmin(reach.count, reach.most - reach.least + 1);
    return reach;
}

// ---- strides of mixed radix: each larger than all that the smaller ones can reach together

typedef struct {
    int64_t stride, extent;
    int64_t least, most;  // what two indices may differ by
    bool down;            // the stride is negative in truth
} Radix;
typedef struct {
    Radix by[TILE_MAX_DIMS + 1];  // ascending strides, all positive; extents above 1
    uint32_t count;
} Radices;

static void radix_insert(Radices *r, int64_t stride, int64_t extent) {
    if (extent <= 1) return;
    Radix new = {stride < 0 ? -stride : stride, extent, 1 - extent, extent - 1, stride < 0};
    uint32_t at = r->count++;
    for (; at && r->by[at - 1].stride > new.stride; at--)
        r->by[at] = r->by[at - 1];
    r->by[at] = new;
}

static Radices radices_of(const TileProgram *p, const TileOp *op, DimSet dims) {
    Radices r = {.count = 0};
    DimSet moves = tile_access_moves(&op->access);
    if (moves & tile_tokens(p)) dims = tile_own_dims(p, dims) | (dims & moves);
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (dims >> d & 1) radix_insert(&r, op->access.stride[d], walked_extent(p, op, d));
    if (has_row_number(op)) radix_insert(&r, op->index_stride, op->index_count);
    return r;
}

// span[i]: how far the first i radices reach. Returns false unless the radices are of mixed
// radix.
static bool radix_spans(const Radices *r, double span[TILE_MAX_DIMS + 2]) {
    span[0] = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        if ((double)r->by[i].stride <= span[i]) return false;
        span[i + 1] = span[i] + (double)r->by[i].stride * (double)(r->by[i].extent - 1);
    }
    return true;
}

bool tile_access_injective(const TileProgram *p, const TileOp *op, DimSet dims) {
    double span[TILE_MAX_DIMS + 2];
    Radices r = radices_of(p, op, dims);
    return radix_spans(&r, span);
}

// Is `distance` a sum of multiples of the first `count` strides, each less than its extent in
// magnitude?
static bool distance_reached(const Radices *r, const double *span, uint32_t count,
                             double distance) {
    if (fabs(distance) > span[count]) return false;
    if (!count) return distance == 0;
    const Radix *last = &r->by[count - 1];
    double stride = (double)last->stride;
    double near = floor(distance / stride);
    for (int i = -1; i <= 2; i++) {
        double times = near + i;
        if (times < (double)last->least || times > (double)last->most) continue;
        if (distance_reached(r, span, count - 1, distance - times * stride)) return true;
    }
    return false;
}

// Do both walk the same steps, be it along other dimensions?
static bool same_radices(const TileProgram *p, const TileOp *a, const TileOp *b) {
    Radices x = radices_of(p, a, a->dims | tile_access_moves(&a->access));
    Radices y = radices_of(p, b, b->dims | tile_access_moves(&b->access));
    for (uint32_t i = 0; i < x.count && x.count == y.count; i++)
        if (x.by[i].stride != y.by[i].stride || x.by[i].extent != y.by[i].extent ||
            x.by[i].down != y.by[i].down)
            return false;
    return x.count == y.count;
}

// The same, but that `step` is that of tiles, which one of them walks.
static bool moves_alike(const TileProgram *p, const TileOp *a, const TileOp *b, int64_t step) {
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (a->access.stride[d] != b->access.stride[d] &&
            (step <= 0 || p->dims[d].role != DIM_M))
            return false;
    return a->dims == b->dims;
}

bool tile_accesses_disjoint(const TileProgram *p, const TileOp *a, const TileOp *b) {
    TileReach x = tile_reach(p, a), y = tile_reach(p, b);
    if (x.count <= 0 || y.count <= 0 || x.most < y.least || y.most < x.least) return true;
    bool plain = (a->kind == TILE_STORE || a->kind == TILE_LOAD) && b->kind == TILE_STORE;
    // One that moves by tiles, and one that is done once.
    bool once = tile_by_tiles(p, a) != tile_by_tiles(p, b);
    const TileOp *wide = tile_by_tiles(p, b) ? b : a;
    int64_t step = once ? wide->access.stride[tile_dim_of(p, DIM_M)] : 0;
    if (!plain || !(once ? moves_alike(p, a, b, step) : same_radices(p, a, b))) return false;
    double span[TILE_MAX_DIMS + 2];
    Radices r = radices_of(p, wide, wide->dims | tile_access_moves(&wide->access));
    if (!radix_spans(&r, span)) return false;
    for (uint32_t i = 0; i < r.count; i++)
        if (once && r.by[i].stride == step) *(wide == a ? &r.by[i].least : &r.by[i].most) = 0;
    return !distance_reached(&r, span, r.count, (double)(b->access.offset - a->access.offset));
}

bool tile_dot_of_bf16(const TileProgram *p, const TileOp *dot) {
    uint32_t innermost = p->dim_count - 1;
    while (!(dot->over >> innermost & 1))
        innermost--;
    for (int i = 0; i < 2; i++) {
        const TileOp *op = tile_op(p, dot->in[i]);
        if (op->kind != TILE_LOAD && op->kind != TILE_GATHER) return false;
        if (p->args.ptr[op->access.arg].type != DTYPE_BF16) return false;
        if (!(op->dims >> innermost & 1)) return false;
    }
    return true;
}
