// tile.c: building and reading tile programs.
#include "ir/tile/tile.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/integer.h"
#include "ir/tile/tile_access.h"

// ---- names
// Arguments and dimensions are known by name in the text form, so a name is made of
// [A-Za-z0-9_.], does not begin with a digit or a dot, and is unique among its kind.

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '.';
}

bool tile_name_legal(Str name) {
    if (!name.len || name.ptr[0] == '.' || (name.ptr[0] >= '0' && name.ptr[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!name_char(name.ptr[i])) return false;
    return true;
}

static Str name_cleaned(Arena *arena, Str name) {
    if (tile_name_legal(name)) return str_copy(arena, name);
    // The underscore in front keeps a leading digit or dot, and gives an empty name a letter.
    char *clean = arena_array(arena, char, name.len + 2);
    memset(clean, '_', name.len + 1);
    for (size_t i = 0; i < name.len; i++)
        if (name_char(name.ptr[i])) clean[i + 1] = name.ptr[i];
    return (Str){clean, name.len + 1};
}

static bool dim_name_taken(const TileProgram *p, Str name) {
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (str_eq(p->dims[d].name, name)) return true;
    return false;
}

static bool arg_name_taken(const TileProgram *p, Str name) {
    vec_each (const TileArg, arg, &p->args)
        if (str_eq(arg->name, name)) return true;
    return false;
}

static Str name_unique(const TileProgram *p, Str name, bool taken(const TileProgram *, Str)) {
    name = name_cleaned(p->arena, name);
    Str unique = name;
    for (uint32_t i = 1; taken(p, unique); i++)
        unique = str_printf(p->arena, "%.*s.%u", STR_ARG(name), i);
    return unique;
}

// ---- building

TileProgram *tile_new(Arena *arena, Str name, TileSkeleton skeleton) {
    TileProgram *p = arena_new(arena, TileProgram);
    p->arena = arena;
    p->name = name_cleaned(arena, name);
    p->skeleton = skeleton;
    p->band = BAND_ALL;
    vec_push(arena, &p->ops, (TileOp){.kind = TILE_NONE});
    return p;
}

uint32_t tile_dim(TileProgram *p, Str name, int64_t extent, int64_t tile, TileRole role) {
    ASSERT(p->dim_count < TILE_MAX_DIMS);
    ASSERT(extent >= 1 && tile >= 1 && tile <= extent);
    p->dims[p->dim_count] = (TileDim){.name = name_unique(p, name, dim_name_taken),
                                      .extent = extent,
                                      .tile = tile,
                                      .role = role};
    return p->dim_count++;
}

uint32_t tile_arg(TileProgram *p, Str name, DType type, int64_t elements) {
    ASSERT(elements >= 0);
    TileArg arg = {
        .name = name_unique(p, name, arg_name_taken), .type = type, .elements = elements};
    vec_push(p->arena, &p->args, arg);
    return p->args.len - 1;
}

TileAccess tile_access(uint32_t arg) {
    return (TileAccess){.arg = arg, .guard = {{.dim = -1}, {.dim = -1}}};
}

static TileId op_add(TileProgram *p, TileOp op) {
    ASSERT(p->ops.len < UINT32_MAX);
    vec_push(p->arena, &p->ops, op);
    return (TileId){p->ops.len - 1};
}

static TileArg *access_arg(TileProgram *p, const TileAccess *access) {
    ASSERT(access->arg < p->args.len);
    return &p->args.ptr[access->arg];
}

static DimSet guard_dims(const TileProgram *p, const TileGuard *guard) {
    if (guard->dim < 0) return 0;
    ASSERT((uint32_t)guard->dim < p->dim_count);
    return (DimSet)(1U << guard->dim);
}

// The dims that move an access or decide whether it happens.
static DimSet access_dims(const TileProgram *p, const TileAccess *access) {
    return guard_dims(p, &access->guard[0]) | guard_dims(p, &access->guard[1]) |
           tile_access_moves(access);
}

static const TileOp *value_op(const TileProgram *p, TileId v) {
    const TileOp *op = tile_op(p, v);
    ASSERT(tile_op_has_value(op->kind));
    return op;
}

static DType value_type(DType stored) {
    if (dtype_is_float(stored)) return DTYPE_F32;
    return stored == DTYPE_BOOL ? DTYPE_BOOL : DTYPE_I32;
}

TileId tile_const(TileProgram *p, double number, DType type) {
    return op_add(
        p,
        (TileOp){.kind = TILE_CONST, .type = type, .number = number, .access = tile_access(0)});
}

TileId tile_index(TileProgram *p, TileGuard index, Span span) {
    ASSERT(index.dim >= 0 && index.div >= 1 && index.mod >= 1);
    TileAccess access = tile_access(0);
    access.guard[0] =
        (TileGuard){.dim = index.dim, .div = index.div, .mod = index.mod, .shift = index.shift};
    return op_add(p, (TileOp){.kind = TILE_INDEX,
                              .type = DTYPE_I32,
                              .dims = guard_dims(p, &index),
                              .access = access,
                              .span = span});
}

TileId tile_load(TileProgram *p, TileAccess access, Span span) {
    TileArg *arg = access_arg(p, &access);
    arg->read = true;
    return op_add(p, (TileOp){.kind = TILE_LOAD,
                              .type = value_type(arg->type),
                              .dims = access_dims(p, &access),
                              .access = access,
                              .span = span});
}

TileId tile_gather(TileProgram *p, TileAccess access, TileRows rows, Span span) {
    const TileOp *j = value_op(p, rows.index);
    ASSERT(j->type == DTYPE_I32 && rows.count >= 0);
    TileArg *arg = access_arg(p, &access);
    arg->read = true;
    return op_add(p, (TileOp){.kind = TILE_GATHER,
                              .type = value_type(arg->type),
                              .dims = access_dims(p, &access) | j->dims,
                              .arity = 1,
                              .in = {rows.index},
                              .access = access,
                              .index_stride = rows.stride,
                              .index_count = rows.count,
                              .span = span});
}

TileId tile_map(TileProgram *p, GraphOp fn, DType type, const TileId *in, Span span) {
    int arity = op_arity(fn);
    ASSERT(op_is_elementwise(fn) && arity >= 1 && arity <= 3);
    TileOp op = {.kind = TILE_MAP,
                 .fn = fn,
                 .type = type,
                 .arity = (uint8_t)arity,
                 .access = tile_access(0),
                 .span = span};
    for (int i = 0; i < arity; i++) {
        op.in[i] = in[i];
        op.dims |= value_op(p, in[i])->dims;
    }
    return op_add(p, op);
}

TileId tile_reduce(TileProgram *p, GraphOp fn, TileId x, DimSet over, Span span) {
    const TileOp *from = value_op(p, x);
    ASSERT(fn == OP_REDUCE_SUM || fn == OP_REDUCE_MAX);
    return op_add(p, (TileOp){.kind = TILE_REDUCE,
                              .fn = fn,
                              .type = from->type,
                              .dims = (DimSet)(from->dims & ~over),
                              .over = over,
                              .arity = 1,
                              .in = {x},
                              .access = tile_access(0),
                              .span = span});
}

TileId tile_dot(TileProgram *p, TileId a, TileId b, DimSet over, Span span) {
    DimSet dims = value_op(p, a)->dims | value_op(p, b)->dims;
    return op_add(p, (TileOp){.kind = TILE_DOT,
                              .type = DTYPE_F32,
                              .dims = (DimSet)(dims & ~over),
                              .over = over,
                              .arity = 2,
                              .in = {a, b},
                              .access = tile_access(0),
                              .span = span});
}

TileId tile_dot_decayed(TileProgram *p, TileDecayed in, DimSet over, Span span) {
    TileId dot = tile_dot(p, in.a, in.b, over, span);
    TileOp *op = &p->ops.ptr[dot.i];
    op->in[op->arity++] = in.alpha;
    op->dims |= (DimSet)(value_op(p, in.alpha)->dims & ~over);
    return dot;
}

void tile_store(TileProgram *p, TileAccess access, TileId x, Span span) {
    const TileOp *from = value_op(p, x);
    access_arg(p, &access)->written = true;
    op_add(p, (TileOp){.kind = TILE_STORE,
                       .type = from->type,
                       .dims = from->dims,
                       .arity = 1,
                       .in = {x},
                       .access = access,
                       .span = span});
}

static TileOp *scatter(TileProgram *p, TileAccess access, TileRows rows, TileId x, Span span) {
    const TileOp *j = value_op(p, rows.index), *from = value_op(p, x);
    ASSERT(j->type == DTYPE_I32 && rows.count >= 0);
    TileArg *arg = access_arg(p, &access);
    // What is not touched stays, so that the whole argument counts as read.
    arg->read = arg->written = true;
    TileId id = op_add(p, (TileOp){.kind = TILE_SCATTER,
                                   .type = from->type,
                                   .dims = access_dims(p, &access) | j->dims | from->dims,
                                   .arity = 2,
                                   .in = {rows.index, x},
                                   .access = access,
                                   .index_stride = rows.stride,
                                   .index_count = rows.count,
                                   .span = span});
    return &p->ops.ptr[id.i];
}

void tile_scatter_add(TileProgram *p, TileAccess access, TileRows rows, TileId x, Span span) {
    scatter(p, access, rows, x, span)->fn = OP_ADD;
}

void tile_scatter_put(TileProgram *p, TileAccess access, TileRows rows, TileId x, Span span) {
    scatter(p, access, rows, x, span)->fn = OP_NONE;
}

static void op_over(TileProgram *p, TileOpKind kind, TileId x, DimSet over, Span span) {
    op_add(p, (TileOp){.kind = kind,
                       .type = DTYPE_I32,
                       .dims = value_op(p, x)->dims,
                       .over = over,
                       .arity = 1,
                       .in = {x},
                       .access = tile_access(0),
                       .span = span});
}

void tile_limit(TileProgram *p, TileId count, DimSet over, Span span) {
    op_over(p, TILE_LIMIT, count, over, span);
}

void tile_start(TileProgram *p, TileId first, DimSet over, Span span) {
    op_over(p, TILE_START, first, over, span);
}

void tile_sort(TileProgram *p, TileAccess access, TileSorted sorted, Span span) {
    access_arg(p, &access)->written = true;
    op_add(p, (TileOp){.kind = TILE_SORT,
                       .type = DTYPE_I32,
                       .dims = value_op(p, sorted.key)->dims | value_op(p, sorted.x)->dims,
                       .arity = 2,
                       .in = {sorted.key, sorted.x},
                       .access = access,
                       .index_count = sorted.groups,
                       .span = span});
}

TileId tile_load_by_tiles(TileProgram *p, TileAccess access, Span span) {
    TileId load = tile_load(p, access, span);
    p->ops.ptr[load.i].dims &= (DimSet)~tile_tokens(p);
    return load;
}

TileId tile_carry(TileProgram *p, TileId init, DimSet dims, Span span) {
    return op_add(p, (TileOp){.kind = TILE_CARRY,
                              .type = DTYPE_F32,
                              .dims = value_op(p, init)->dims | dims,
                              .arity = 1,
                              .in = {init},
                              .access = tile_access(0),
                              .span = span});
}

void tile_next(TileProgram *p, TileId carry, TileId x, Span span) {
    const TileOp *carried = value_op(p, carry);
    ASSERT(carried->kind == TILE_CARRY && x.i < p->ops.len);
    op_add(p, (TileOp){.kind = TILE_NEXT,
                       .type = DTYPE_F32,
                       .dims = carried->dims,
                       .arity = 2,
                       .in = {carry, x},
                       .access = tile_access(0),
                       .span = span});
}

TileId tile_scan(TileProgram *p, GraphOp fn, TileId x, TileWay way, Span span) {
    ASSERT(fn == OP_MUL || fn == OP_ADD);
    DimSet dims = value_op(p, x)->dims, over = tile_role_dims(p, DIM_M);
    return op_add(p, (TileOp){.kind = TILE_SCAN,
                              .fn = fn,
                              .type = DTYPE_F32,
                              .dims = way == WAY_ALL ? (DimSet)(dims & ~over) : dims,
                              .over = over,
                              .arity = 1,
                              .way = (uint8_t)way,
                              .in = {x},
                              .access = tile_access(0),
                              .span = span});
}

TileId tile_solve(TileProgram *p, TileId a, TileId b, bool transposed, Span span) {
    DimSet dims = value_op(p, a)->dims | value_op(p, b)->dims;
    return op_add(p, (TileOp){.kind = TILE_SOLVE,
                              .type = DTYPE_F32,
                              .dims = (DimSet)(dims & ~tile_role_dims(p, DIM_N)),
                              .arity = 2,
                              .way = transposed ? WAY_TRANSPOSED : WAY_UPTO,
                              .in = {a, b},
                              .access = tile_access(0),
                              .span = span});
}

TileId tile_turn(TileProgram *p, TileId x, Span span) {
    const TileOp *from = value_op(p, x);
    return op_add(p, (TileOp){.kind = TILE_TURN,
                              .type = from->type,
                              .dims = tile_turned(p, from->dims),
                              .arity = 1,
                              .in = {x},
                              .access = tile_access(0),
                              .span = span});
}

void tile_knob_set(TileProgram *p, const char *name, int64_t value) {
    vec_each (TileKnob, knob, &p->knobs) {
        if (!str_eq(knob->name, str_of(name))) continue;
        knob->value = value;
        return;
    }
    vec_push(p->arena, &p->knobs, (TileKnob){str_copy(p->arena, str_of(name)), value});
}

// ---- reading

const TileOp *tile_op(const TileProgram *p, TileId v) {
    ASSERT(v.i > 0 && v.i < p->ops.len);
    return &p->ops.ptr[v.i];
}

int64_t tile_knob(const TileProgram *p, const char *name, int64_t otherwise) {
    vec_each (const TileKnob, knob, &p->knobs)
        if (str_eq(knob->name, str_of(name))) return knob->value;
    return otherwise;
}

int tile_dim_of(const TileProgram *p, TileRole role) {
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == role) return (int)d;
    return -1;
}

int64_t tile_task_count(const TileProgram *p) {
    int64_t count = 1;
    for (uint32_t d = 0; d < p->dim_count; d++) {
        int64_t tiles = tile_dim_tiles(p, d);
        ASSERT(tiles <= TILE_MAX_NUMBER / count);
        count *= tiles;
    }
    return count;
}

DimSet tile_role_dims(const TileProgram *p, TileRole role) {
    DimSet dims = 0;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == role) dims |= (DimSet)(1U << d);
    return dims;
}

DimSet tile_tokens(const TileProgram *p) {
    return tile_role_dims(p, DIM_M) | tile_role_dims(p, DIM_N);
}

DimSet tile_turned(const TileProgram *p, DimSet dims) {
    DimSet m = tile_role_dims(p, DIM_M), n = tile_role_dims(p, DIM_N);
    return (DimSet)((dims & ~(m | n)) | (dims & m ? n : 0) | (dims & n ? m : 0));
}

bool tile_at_pairs(const TileProgram *p, DimSet dims) {
    if (p->skeleton != TILE_ATTEND && p->skeleton != TILE_CHUNK) return false;
    return dims >> tile_dim_of(p, DIM_M) & 1 && dims >> tile_dim_of(p, DIM_N) & 1;
}

const TileOp *tile_start_of(const TileProgram *p) {
    vec_each (const TileOp, op, &p->ops)
        if (op->kind == TILE_START) return op;
    return NULL;
}

int tile_dealt_to(const TileProgram *p) {
    int last = -1;
    for (uint32_t d = 0; (p->deal || p->segments) && d < p->dim_count; d++)
        if (p->dims[d].role == DIM_GRID) last = (int)d;
    return last;
}

int64_t tile_chunks(const TileProgram *p) {
    const TileDim *m = &p->dims[tile_dim_of(p, DIM_M)];
    return ceil_div(m->extent, m->tile);
}

int64_t tile_walked(const TileProgram *p) {
    int dealt = tile_dealt_to(p);
    int64_t segments = dealt < 0 ? 1 : p->dims[dealt].extent;
    return ceil_div(tile_chunks(p), segments);
}

// Pairs of m and n that exist.
static double live_pairs(const TileProgram *p) {
    const TileDim *m = &p->dims[tile_dim_of(p, DIM_M)], *n = &p->dims[tile_dim_of(p, DIM_N)];
    if (p->skeleton == TILE_ATTEND) {
        int dealt = tile_dealt_to(p);
        double pairs = tile_start_of(p) ? band_pairs_anywhere(&p->band, m->extent, n->extent)
                                        : band_pairs(&p->band, m->extent, n->extent);
        return dealt < 0 ? pairs : pairs / (double)p->dims[dealt].extent;
    }
    int64_t tiles = m->extent / m->tile;
    double whole = (double)tiles, tile = (double)m->tile, rest = (double)(m->extent % m->tile);
    return whole * tile * (tile + 1) / 2 + rest * (rest + 1) / 2;
}

// Points of the dims that exist. What stands at no token is computed once a tile.
static double live_points(const TileProgram *p, DimSet dims) {
    if (p->skeleton == TILE_CHUNK) dims = tile_own_dims(p, dims);
    double points = tile_points(p, dims);
    // The points of all groups together are those that one may have.
    vec_each (const TileOp, op, &p->ops)
        if (op->kind == TILE_LIMIT && dims & op->over) return points / tile_points(p, op->dims);
    if (p->skeleton == TILE_CHUNK && !(dims & tile_tokens(p)))
        return points * (double)tile_chunks(p);
    if (!tile_at_pairs(p, dims)) return points;
    return points / tile_points(p, tile_tokens(p)) * live_pairs(p);
}

static double op_work(const TileProgram *p, const TileOp *op) {
    switch (op->kind) {
    case TILE_MAP: return op_flops(op->fn) * live_points(p, op->dims);
    case TILE_REDUCE: return op_flops(op->fn) * live_points(p, op->dims | op->over);
    case TILE_DOT: return op_flops(OP_CONTRACT) * live_points(p, op->dims | op->over);
    case TILE_SCATTER: return op_flops(op->fn) * tile_points(p, op->dims);
    case TILE_SCAN: return op_flops(op->fn) * live_points(p, op->dims | op->over);
    case TILE_SOLVE: return op_flops(OP_CONTRACT) * live_points(p, op->dims | tile_tokens(p));
    case TILE_SORT: return op_flops(OP_GROUP_ORDER) * tile_points(p, op->dims);
    case TILE_NONE:
    case TILE_CONST:
    case TILE_INDEX:
    case TILE_LOAD:
    case TILE_GATHER:
    case TILE_CARRY:
    case TILE_NEXT:
    case TILE_TURN:
    case TILE_LIMIT:
    case TILE_START:
    case TILE_STORE: return 0;
    }
    BUG("operation %d", (int)op->kind);
}

double tile_flops(const TileProgram *p) {
    double flops = 0;
    vec_each (const TileOp, op, &p->ops)
        flops += op_work(p, op);
    return flops;
}

static bool access_same(const TileAccess *a, const TileAccess *b) {
    if (a->arg != b->arg || a->offset != b->offset) return false;
    for (uint32_t d = 0; d < TILE_MAX_DIMS; d++)
        if (a->stride[d] != b->stride[d]) return false;
    for (uint32_t i = 0; i < 2; i++) {
        const TileGuard *x = &a->guard[i], *y = &b->guard[i];
        if (x->dim != y->dim) return false;
        if (x->dim < 0) continue;
        if (x->div != y->div || x->mod != y->mod || x->shift != y->shift) return false;
        if (x->lo != y->lo || x->hi != y->hi) return false;
    }
    return true;
}

// Was the same access of an argument already counted, at an earlier operation?
static bool access_seen(const TileProgram *p, const TileOp *op) {
    for (const TileOp *other = p->ops.ptr; other < op; other++)
        if (tile_op_accesses(other->kind) && other->dims == op->dims &&
            access_same(&other->access, &op->access))
            return true;
    return false;
}

// What stands at keys that queries see only from somewhere on is read where they see it.
static double seen_part(const TileProgram *p, const TileOp *op) {
    int n = tile_dim_of(p, DIM_N);
    if (p->skeleton != TILE_ATTEND || !tile_start_of(p) || !(op->dims >> n & 1)) return 1;
    double keys = (double)p->dims[n].extent, m = (double)p->dims[tile_dim_of(p, DIM_M)].extent;
    return fmin(1, band_pairs_anywhere(&p->band, 1, p->dims[n].extent) / keys + m / keys);
}

double tile_bytes(const TileProgram *p) {
    double bytes = 0;
    for (uint32_t arg = 0; arg < p->args.len; arg++) {
        double count = 0, least = HUGE_VAL, most = -HUGE_VAL;
        vec_each (const TileOp, op, &p->ops) {
            if (!tile_op_accesses(op->kind) || op->access.arg != arg || access_seen(p, op))
                continue;
            TileReach reach = tile_reach(p, op);
            if (reach.count <= 0) continue;
            count += reach.count * seen_part(p, op);
            least = fmin(least, reach.least);
            most = fmax(most, reach.most);
        }
        if (count > 0)
            bytes += fmin(count, most - least + 1) * (double)dtype_bytes(p->args.ptr[arg].type);
    }
    return bytes;
}

// Is the load, moved to the argument of the store, the very access of the store?
static bool access_meets(const TileProgram *p, const TileOp *load, const TileOp *store) {
    TileAccess moved = load->access;
    moved.arg = store->access.arg;
    bool alike = tile_own_dims(p, load->dims) == tile_own_dims(p, store->dims);
    return alike && access_same(&moved, &store->access);
}

// An emitter stores values that stand at the cols in its last pass over a row, after that
// column's loads, and finishes a tile of m and n after all loads of its epilogue: so accesses
// that meet, or of STREAM never do, are enough, however many passes there are.
bool tile_in_place(const TileProgram *p, uint32_t in, uint32_t out) {
    if (dtype_bytes(p->args.ptr[in].type) != dtype_bytes(p->args.ptr[out].type)) return false;
    vec_each (const TileOp, load, &p->ops) {
        if (!tile_op_accesses(load->kind) || load->access.arg != in || load->kind == TILE_STORE)
            continue;
        if (load->kind != TILE_LOAD || load->access.guard[0].dim >= 0 ||
            load->access.guard[1].dim >= 0)
            return false;
        vec_each (const TileOp, store, &p->ops) {
            if (!tile_op_writes(store->kind) || store->access.arg != out) continue;
            if (store->kind != TILE_STORE ||
                (!access_meets(p, load, store) &&
                 (p->skeleton != TILE_STREAM || !tile_accesses_disjoint(p, load, store))))
                return false;
        }
    }
    return true;
}
