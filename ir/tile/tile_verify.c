// tile_verify.c: the invariants of tile programs. docs/tile_ir.md lists them in the same order.
#include "base/check.h"
#include "ir/tile/tile_check.h"
#include "ir/tile/tile_text.h"

bool tile_bad(const Check *c, const char *fmt, ...) {
    StrBuf text = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    Span span = c->op ? c->op->span : (Span){0};
    if (c->op)
        diag_error(c->diag, span, "tile program '%.*s', operation %%%u: %.*s",
                   STR_ARG(c->p->name), (unsigned)(c->op - c->p->ops.ptr),
                   STR_ARG(strbuf_view(&text)));
    else
        diag_error(c->diag, span, "tile program '%.*s': %.*s", STR_ARG(c->p->name),
                   STR_ARG(strbuf_view(&text)));
    strbuf_release(&text);
    return false;
}

static bool in_range(int64_t x) { return x >= -TILE_MAX_NUMBER && x <= TILE_MAX_NUMBER; }

// ---- dimensions, arguments, knobs

static uint32_t role_count(const TileProgram *p, TileRole role) {
    uint32_t count = 0;
    for (uint32_t d = 0; d < p->dim_count; d++)
        count += p->dims[d].role == role;
    return count;
}

static bool dim_verify(const Check *c, const TileDim *dim) {
    if (!tile_name_legal(dim->name))
        return tile_bad(c, "'%.*s' is no name", STR_ARG(dim->name));
    for (const TileDim *other = c->p->dims; other < dim; other++)
        if (str_eq(other->name, dim->name))
            return tile_bad(c, "two dimensions are called '%.*s'", STR_ARG(dim->name));
    if (dim->extent < 1 || dim->extent > TILE_MAX_NUMBER)
        return tile_bad(c, "dimension '%.*s' has the extent %lld", STR_ARG(dim->name),
                        (long long)dim->extent);
    if (dim->tile < 1 || dim->tile > dim->extent)
        return tile_bad(c, "dimension '%.*s' of extent %lld has the tile %lld",
                        STR_ARG(dim->name), (long long)dim->extent, (long long)dim->tile);
    if (dim->role == DIM_GRID && dim->tile != 1)
        return tile_bad(c, "grid dimension '%.*s' has a tile other than 1", STR_ARG(dim->name));
    if (dim > c->p->dims && dim[-1].role > dim->role)
        return tile_bad(c, "dimension '%.*s' stands after one of role %s", STR_ARG(dim->name),
                        tile_role_text(dim[-1].role));
    return true;
}

static bool roles_verify(const Check *c) {
    bool stream = c->p->skeleton == TILE_STREAM, attend = c->p->skeleton == TILE_ATTEND;
    for (uint32_t d = 0; d < c->p->dim_count; d++) {
        TileRole role = c->p->dims[d].role;
        bool of_stream = role == DIM_SERIAL || role == DIM_COL;
        bool whole = attend || c->p->skeleton == TILE_CHUNK;
        if (whole && role == DIM_K && c->p->dims[d].tile != c->p->dims[d].extent)
            return tile_bad(c, "dimension '%.*s' of a program of kind %s is tiled",
                            STR_ARG(c->p->dims[d].name), tile_skeleton_text(c->p->skeleton));
        if (role != DIM_GRID && of_stream != stream && !(attend && role == DIM_SERIAL))
            return tile_bad(c, "a %s program has no dimension of role %s",
                            tile_skeleton_text(c->p->skeleton), tile_role_text(role));
    }
    if (role_count(c->p, DIM_COL) > 1)
        return tile_bad(c, "more than one dimension of role col");
    if (stream) return true;
    const char *kind = tile_skeleton_text(c->p->skeleton);
    if (role_count(c->p, DIM_M) != 1 || role_count(c->p, DIM_N) != 1)
        return tile_bad(c, "a program of kind %s has one dimension of role m and one of role n",
                        kind);
    if (!c->k) return tile_bad(c, "a program of kind %s has a dimension of role k", kind);
    return c->p->skeleton != TILE_CHUNK || tile_chunk_dims_verify(c);
}

static bool dims_verify(const Check *c) {
    if (c->p->dim_count > TILE_MAX_DIMS)
        return tile_bad(c, "more than %d dimensions", TILE_MAX_DIMS);
    double tasks = 1;
    for (uint32_t d = 0; d < c->p->dim_count; d++) {
        if (!dim_verify(c, &c->p->dims[d])) return false;
        tasks *= (double)tile_dim_tiles(c->p, d);
    }
    if (tasks > (double)TILE_MAX_NUMBER) return tile_bad(c, "too many tasks");
    return roles_verify(c);
}

static bool arg_uses_verify(const Check *c, uint32_t number) {
    const TileArg *arg = &c->p->args.ptr[number];
    bool read = false, written = false;
    vec_each (const TileOp, op, &c->p->ops) {
        if (!tile_op_accesses(op->kind) || op->access.arg != number) continue;
        read |= op->kind != TILE_STORE && op->kind != TILE_SORT;
        written |= tile_op_writes(op->kind);
    }
    if (read == arg->read && written == arg->written) return true;
    return tile_bad(c, "argument '%.*s' does not say how it is used", STR_ARG(arg->name));
}

static bool arg_verify(const Check *c, uint32_t number) {
    const TileArg *arg = &c->p->args.ptr[number];
    if (!tile_name_legal(arg->name))
        return tile_bad(c, "'%.*s' is no name", STR_ARG(arg->name));
    for (const TileArg *other = c->p->args.ptr; other < arg; other++)
        if (str_eq(other->name, arg->name))
            return tile_bad(c, "two arguments are called '%.*s'", STR_ARG(arg->name));
    bool known = arg->type == DTYPE_F32 || arg->type == DTYPE_BF16 || arg->type == DTYPE_F16 ||
                 arg->type == DTYPE_I32 || arg->type == DTYPE_BOOL;
    if (!known)
        return tile_bad(c, "argument '%.*s' has the type %s", STR_ARG(arg->name),
                        dtype_text(arg->type));
    if (arg->elements < 0 || !in_range(arg->elements))
        return tile_bad(c, "argument '%.*s' has %lld elements", STR_ARG(arg->name),
                        (long long)arg->elements);
    return arg_uses_verify(c, number);
}

static bool knob_known(Str name) {
    static const char *const names[] = {
#define KNOB(name, otherwise) #name,
#include "ir/tile/knobs.def"
#undef KNOB
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(name, str_of(names[i]))) return true;
    return false;
}

static bool knob_verify(const Check *c, const TileKnob *knob) {
    if (!knob_known(knob->name))
        return tile_bad(c, "there is no knob '%.*s'", STR_ARG(knob->name));
    for (const TileKnob *other = c->p->knobs.ptr; other < knob; other++)
        if (str_eq(other->name, knob->name))
            return tile_bad(c, "knob '%.*s' is set twice", STR_ARG(knob->name));
    return in_range(knob->value) ||
           tile_bad(c, "knob '%.*s' is out of range", STR_ARG(knob->name));
}

// ---- operands, types and dims of one operation

static uint32_t kind_arity(const TileOp *op) {
    switch (op->kind) {
    case TILE_NONE:
    case TILE_CONST:
    case TILE_INDEX:
    case TILE_LOAD: return 0;
    case TILE_GATHER:
    case TILE_REDUCE:
    case TILE_CARRY:
    case TILE_SCAN:
    case TILE_TURN:
    case TILE_LIMIT:
    case TILE_START:
    case TILE_STORE: return 1;
    case TILE_DOT: return op->arity == 3 ? 3 : 2;
    case TILE_NEXT:
    case TILE_SOLVE:
    case TILE_SORT:
    case TILE_SCATTER: return 2;
    case TILE_MAP: return op_is_elementwise(op->fn) ? (uint32_t)op_arity(op->fn) : 0;
    }
    BUG("operation %d", (int)op->kind);
}

static bool operands_verify(const Check *c) {
    const TileOp *op = c->op;
    if (op->kind == TILE_NONE) return tile_bad(c, "an operation without a kind");
    if (op->kind == TILE_MAP && !op_is_elementwise(op->fn))
        return tile_bad(c, "a map of no elementwise operation");
    if (op->arity != kind_arity(op))
        return tile_bad(c, "%u operands instead of %u", op->arity, kind_arity(op));
    for (uint32_t i = 0; i < op->arity; i++) {
        if (!op->in[i].i || op->in[i].i >= (uint32_t)(op - c->p->ops.ptr))
            return tile_bad(c, "operand %%%u does not come before it", op->in[i].i);
        if (!tile_op_has_value(c->p->ops.ptr[op->in[i].i].kind))
            return tile_bad(c, "operand %%%u has no value", op->in[i].i);
    }
    return true;
}

const TileOp *tile_operand(const Check *c, uint32_t i) { return tile_op(c->p, c->op->in[i]); }

static DimSet access_dims(const TileOp *op) {
    DimSet dims = tile_access_moves(&op->access);
    for (uint32_t i = 0; i < 2; i++)
        if (op->access.guard[i].dim >= 0) dims |= (DimSet)(1U << op->access.guard[i].dim);
    return dims;
}

static DimSet dims_expected(const Check *c) {
    const TileOp *op = c->op;
    DimSet dims = 0;
    for (uint32_t i = 0; i < op->arity; i++)
        dims |= tile_operand(c, i)->dims;
    switch (op->kind) {
    case TILE_NONE:
    case TILE_CONST:
    case TILE_MAP:
    case TILE_LIMIT:
    case TILE_START:
    case TILE_STORE: return dims;
    case TILE_LOAD:
        dims = access_dims(op);
        return tile_by_tiles(c->p, op) ? (DimSet)(dims & ~(c->m | c->n)) : dims;
    case TILE_INDEX:
    case TILE_GATHER:
    case TILE_SORT:
    case TILE_SCATTER: return dims | access_dims(op);
    case TILE_REDUCE:
    case TILE_DOT: return (DimSet)(dims & ~op->over);
    case TILE_CARRY: return dims | op->dims;
    case TILE_NEXT: return tile_operand(c, 0)->dims;
    case TILE_SCAN: return op->way == WAY_ALL ? (DimSet)(dims & ~op->over) : dims;
    case TILE_SOLVE: return (DimSet)(dims & ~c->n);
    case TILE_TURN: return tile_turned(c->p, dims);
    }
    BUG("operation %d", (int)op->kind);
}

static bool dims_of_op_verify(const Check *c) {
    const TileOp *op = c->op;
    if (op->dims >> c->p->dim_count)
        return tile_bad(c, "it stands at a dimension that does not exist");
    if (op->dims != dims_expected(c))
        return tile_bad(c, "its dims are not those that its operands give");
    bool reduces = op->kind == TILE_REDUCE || op->kind == TILE_DOT || op->kind == TILE_SCAN;
    if (op->over && !reduces && op->kind != TILE_LIMIT && op->kind != TILE_START)
        return tile_bad(
            c, "only a reduction, a dot, a scan, a limit or a start is over dimensions");
    return true;
}

// Which types a map takes and gives; WHERE's condition is looked at apart.
static bool map_types_legal(const Check *c) {
    DType x = tile_operand(c, c->op->arity == 3 ? 1 : 0)->type, type = c->op->type;
    bool same = c->op->arity < 2 || tile_operand(c, c->op->arity - 1)->type == x;
    GraphOp fn = c->op->fn;
    if (fn == OP_CAST) return true;
    if (fn == OP_EQ || fn == OP_NE || fn == OP_LT || fn == OP_LE)
        return same && type == DTYPE_BOOL;
    if (fn == OP_WHERE) return same && type == x && tile_operand(c, 0)->type == DTYPE_BOOL;
    if (fn == OP_NOT || fn == OP_AND || fn == OP_OR)
        return same && type == x && x == DTYPE_BOOL;
    if (fn == OP_DETACH) return type == x;
    bool of_integers = fn == OP_NEG || fn == OP_ABS || fn == OP_SIGN || fn == OP_ADD ||
                       fn == OP_SUB || fn == OP_MUL || fn == OP_MIN || fn == OP_MAX;
    return same && type == x && (x == DTYPE_F32 || (of_integers && x == DTYPE_I32));
}

static bool all_f32(const Check *c) {
    bool all = c->op->type == DTYPE_F32;
    for (uint32_t i = 0; i < c->op->arity; i++)
        all = all && tile_operand(c, i)->type == DTYPE_F32;
    return all;
}

static DType loaded_type(DType stored) { return dtype_is_float(stored) ? DTYPE_F32 : stored; }

static bool types_legal(const Check *c) {
    const TileOp *op = c->op;
    if (op->type != DTYPE_F32 && op->type != DTYPE_I32 && op->type != DTYPE_BOOL) return false;
    bool number = op->type == DTYPE_F32 || op->type == DTYPE_I32;
    DType stored = tile_op_accesses(op->kind) ? c->p->args.ptr[op->access.arg].type : DTYPE_F32;
    switch (op->kind) {
    case TILE_NONE:
    case TILE_CONST: return true;
    case TILE_INDEX: return op->type == DTYPE_I32;
    case TILE_LOAD: return op->type == loaded_type(stored);
    case TILE_GATHER:
        return op->type == loaded_type(stored) && tile_operand(c, 0)->type == DTYPE_I32;
    case TILE_MAP: return map_types_legal(c);
    case TILE_REDUCE: return number && op->type == tile_operand(c, 0)->type;
    case TILE_DOT:
    case TILE_CARRY:
    case TILE_NEXT:
    case TILE_SCAN:
    case TILE_SOLVE: return all_f32(c);
    case TILE_TURN: return op->type == tile_operand(c, 0)->type;
    case TILE_STORE:
        return op->type == tile_operand(c, 0)->type && op->type == loaded_type(stored);
    case TILE_SCATTER:
        return number && op->type == tile_operand(c, 1)->type &&
               op->type == loaded_type(stored) && tile_operand(c, 0)->type == DTYPE_I32;
    case TILE_LIMIT:
    case TILE_START: return tile_operand(c, 0)->type == DTYPE_I32 && op->type == DTYPE_I32;
    case TILE_SORT:
        return tile_operand(c, 0)->type == DTYPE_I32 && tile_operand(c, 1)->type == DTYPE_I32 &&
               stored == DTYPE_I32 && op->type == DTYPE_I32;
    }
    BUG("operation %d", (int)op->kind);
}

// ---- accesses

static bool guard_verify(const Check *c, const TileGuard *g) {
    if (g->dim < 0) return true;
    if ((uint32_t)g->dim >= c->p->dim_count)
        return tile_bad(c, "a guard on a dimension that does not exist");
    if (g->div < 1 || g->mod < 1 || !in_range(g->div) || !in_range(g->mod))
        return tile_bad(c, "a guard that divides by what is not in [1, 2^48]");
    if (in_range(g->shift) && in_range(g->lo) && in_range(g->hi)) return true;
    return tile_bad(c, "a guard with a number out of range");
}

static bool access_verify(const Check *c) {
    const TileAccess *access = &c->op->access;
    if (access->arg >= c->p->args.len)
        return tile_bad(c, "an access to an argument that does not exist");
    bool fits = in_range(access->offset) && in_range(c->op->index_stride) &&
                in_range(c->op->index_count);
    if (c->op->index_count < 0) fits = false;
    for (uint32_t d = 0; d < TILE_MAX_DIMS; d++) {
        if (access->stride[d] && d >= c->p->dim_count)
            return tile_bad(c, "a stride of a dimension that does not exist");
        double extent = d < c->p->dim_count ? (double)c->p->dims[d].extent : 0;
        if ((double)access->stride[d] * extent > (double)TILE_MAX_NUMBER) fits = false;
        if ((double)access->stride[d] * extent < -(double)TILE_MAX_NUMBER) fits = false;
    }
    double rows = (double)c->op->index_stride * (double)c->op->index_count;
    if (rows > (double)TILE_MAX_NUMBER || rows < -(double)TILE_MAX_NUMBER) fits = false;
    return fits || tile_bad(c, "an access with a number out of range");
}

static bool bounds_verify(const Check *c) {
    TileReach reach = tile_reach(c->p, c->op);
    const TileArg *arg = &c->p->args.ptr[c->op->access.arg];
    if (reach.count <= 0 || (reach.least >= 0 && reach.most < (double)arg->elements))
        return true;
    return tile_bad(c, "it reaches elements %.0f to %.0f of argument '%.*s', which has %lld",
                    reach.least, reach.most, STR_ARG(arg->name), (long long)arg->elements);
}

static bool guarded(const TileOp *op) {
    return op->access.guard[0].dim >= 0 || op->access.guard[1].dim >= 0;
}

// The dims whose points are spread over tasks.
static DimSet split_dims(const TileProgram *p) {
    DimSet dims = 0;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (tile_dim_splits(p, d)) dims |= (DimSet)(1U << d);
    return dims;
}

// Nothing is reduced over m and n of a loop, so what is stored stands at them even if one task
// has all of their points.
static DimSet stored_dims(const Check *c) {
    DimSet dims = split_dims(c->p);
    if (tile_access_moves(&c->op->access) & tile_tokens(c->p)) dims = tile_own_dims(c->p, dims);
    if (c->p->skeleton != TILE_LOOP) return dims;
    for (uint32_t d = 0; d < c->p->dim_count; d++)
        if (c->p->dims[d].extent > 1) dims |= (DimSet)((c->m | c->n) & 1U << d);
    return dims;
}

static bool store_verify(const Check *c) {
    const TileOp *op = c->op;
    if (guarded(op)) return tile_bad(c, "a store has no guard");
    if (!tile_by_tiles(c->p, op) && access_dims(op) & ~op->dims)
        return tile_bad(c, "the store moves along a dimension that its value lacks");
    if (stored_dims(c) & ~op->dims) return tile_bad(c, "several points store the same element");
    if (!tile_access_injective(c->p, op, op->dims | access_dims(op)))
        return tile_bad(c, "an element is stored more than once");
    for (const TileOp *other = c->p->ops.ptr; other < op; other++) {
        if (!tile_op_writes(other->kind) || other->access.arg != op->access.arg) continue;
        if (!tile_accesses_disjoint(c->p, other, op))
            return tile_bad(c, "an element may also be stored by %%%u",
                            (unsigned)(other - c->p->ops.ptr));
    }
    return true;
}

static bool scatter_verify(const Check *c) {
    const TileOp *op = c->op;
    bool puts_rows = c->p->skeleton == TILE_LOOP && op->fn == OP_NONE;
    if (c->p->skeleton != TILE_STREAM && !puts_rows)
        return tile_bad(c, "a scatter is of stream programs; a loop program may put rows");
    if (guarded(op)) return tile_bad(c, "a scatter has no guard");
    // Of points that are put the row numbers differ, as whoever builds the program promises.
    DimSet apart =
        op->fn == OP_ADD ? access_dims(op) : access_dims(op) | tile_operand(c, 0)->dims;
    bool own = !(split_dims(c->p) & ~apart) && tile_access_injective(c->p, op, access_dims(op));
    if (!own) return tile_bad(c, "two tasks may meet in the same element: rows must be serial");
    vec_each (const TileOp, other, &c->p->ops) {
        if (!tile_op_accesses(other->kind) || other->access.arg != op->access.arg) continue;
        if (other->kind == TILE_SCATTER) continue;
        return tile_bad(c, "its argument is also used by %%%u",
                        (unsigned)(other - c->p->ops.ptr));
    }
    return true;
}

// Nothing else is computed for it than a key that is loaded and a position.
static bool sort_verify(const Check *c) {
    const TileOp *key = tile_operand(c, 0), *x = tile_operand(c, 1);
    bool alone = c->p->skeleton == TILE_STREAM && c->p->dim_count == 1 && c->serial == 1 &&
                 c->p->ops.len == 4 && key->kind == TILE_LOAD && !guarded(key) &&
                 key->access.arg != c->op->access.arg && x->kind == TILE_INDEX;
    bool fits = c->op->access.stride[0] == 1 && !guarded(c->op) && c->op->index_count > 0;
    return (alone && fits) || tile_bad(c, "a sort is of loaded keys and positions of all rows");
}

static bool limit_verify(const Check *c) {
    bool rows = c->op->over == c->m ||
                (c->op->over && !(c->op->over & ~c->k) && !(c->op->over & (c->op->over - 1)));
    bool fits = c->p->skeleton == TILE_LOOP && rows && !(c->op->dims & ~c->grid);
    return fits ||
           tile_bad(c, "a limit is of m or one k of a loop program, and stands at grid");
}

static bool start_verify(const Check *c) {
    bool fits = c->p->skeleton == TILE_ATTEND && !(c->op->over & ~c->m) &&
                !(c->op->dims & ~c->grid) && tile_start_of(c->p) == c->op;
    return fits ||
           tile_bad(c, "a start is the one of m in an attend program, and stands at grid");
}

static bool access_op_verify(const Check *c) {
    if (!bounds_verify(c)) return false;
    if (c->op->kind == TILE_STORE) return store_verify(c);
    if (c->op->kind == TILE_SORT) return sort_verify(c);
    return c->op->kind != TILE_SCATTER || scatter_verify(c);
}

static bool aliases_verify(const Check *c) {
    for (uint32_t i = 0; i < c->p->args.len; i++) {
        const TileArg *arg = &c->p->args.ptr[i];
        bool scattered = false;
        vec_each (const TileOp, op, &c->p->ops)
            scattered |= op->kind == TILE_SCATTER && op->access.arg == i;
        if (scattered || !arg->read || !arg->written || tile_in_place(c->p, i, i)) continue;
        return tile_bad(c, "argument '%.*s' is stored to where it may still be loaded",
                        STR_ARG(arg->name));
    }
    return true;
}

// ---- skeletons

static bool one_dim(DimSet dims) { return dims && !(dims & (dims - 1)); }

static bool attend_reduce_verify(const Check *c) {
    if (c->op->over != c->n || !tile_at_pairs(c->p, tile_operand(c, 0)->dims))
        return tile_bad(c, "a reduction of an attend program is over n, of a value at m and n");
    return !(c->n & split_dims(c->p)) || tile_bad(c, "a reduction over n, which is tiled");
}

// Scores over one k; or a sum of them over n, or over m and all serial dimensions.
static bool attend_dot_verify(const Check *c) {
    DimSet a = tile_operand(c, 0)->dims, b = tile_operand(c, 1)->dims, over = c->op->over;
    DimSet rows = c->grid | c->serial;
    if (over & c->k) {
        bool fits = one_dim(over) && a & over && b & over && a & c->m && b & c->n &&
                    !(a & ~(rows | c->m | over)) && !(b & ~(rows | c->n | over));
        return fits || tile_bad(c, "its operands do not stand at m, k and n, k");
    }
    if (!tile_at_pairs(c->p, a) || a & c->k)
        return tile_bad(c, "its left operand does not stand at just m and n");
    if (over & split_dims(c->p)) return tile_bad(c, "a dot over a dimension that is tiled");
    DimSet side = over == c->n ? c->n : c->m;
    bool sums = over == c->n || over == (c->m | c->serial);
    bool fits = sums && b & side && one_dim(b & c->k) && !(b & ~(rows | side | c->k));
    return fits ||
           tile_bad(c, "it is not over n, or m and the serial dimensions, of both operands");
}

// What stands at m and n is a dot over k, or made of such values, and stays in the kernel.
static bool attend_verify(Check *c) {
    vec_each (const TileOp, op, &c->p->ops) {
        c->op = op;
        if (!tile_at_pairs(c->p, op->dims)) continue;
        if (op->kind != TILE_MAP && op->kind != TILE_DOT)
            return tile_bad(c, "only maps and dots stand at m and n");
        if (op->dims & c->k) return tile_bad(c, "it stands at m, n and k");
    }
    c->op = NULL;
    if (c->p->deal < 0 || c->p->deal > TILE_MAX_NUMBER || (c->p->deal && !c->grid))
        return tile_bad(c, "keys are dealt to the points of a grid dimension");
    return c->p->band.lo <= c->p->band.hi || tile_bad(c, "the band has no pairs");
}

static bool reduce_verify(const Check *c) {
    const TileOp *op = c->op;
    if (op->fn != OP_REDUCE_SUM && op->fn != OP_REDUCE_MAX)
        return tile_bad(c, "a reduction is a sum or a maximum");
    if (c->p->skeleton == TILE_ATTEND) return attend_reduce_verify(c);
    if (c->p->skeleton != TILE_STREAM) return tile_bad(c, "a reduction is of stream programs");
    if (!op->over) return tile_bad(c, "a reduction over nothing");
    if (op->over & ~tile_operand(c, 0)->dims)
        return tile_bad(c, "a reduction over a dimension that its operand lacks");
    if (op->over & ~(c->serial | c->col))
        return tile_bad(c, "a reduction is over col and serial dimensions");
    int col = tile_dim_of(c->p, DIM_COL);
    if (op->over & c->col && c->p->dims[col].tile != c->p->dims[col].extent)
        return tile_bad(c, "a reduction over cols that are tiled");
    return true;
}

static bool dot_verify(const Check *c) {
    if (c->op->arity == 3) return tile_bad(c, "a decayed dot is of chunk programs");
    if (c->p->skeleton == TILE_ATTEND) return attend_dot_verify(c);
    if (c->p->skeleton != TILE_LOOP) return tile_bad(c, "a dot is of loop programs");
    if (c->op->over != c->k) return tile_bad(c, "a dot is over all dimensions of role k");
    if (tile_operand(c, 0)->dims & ~(c->grid | c->m | c->k))
        return tile_bad(c, "its left operand stands at more than m and k");
    if (tile_operand(c, 1)->dims & ~(c->grid | c->n | c->k))
        return tile_bad(c, "its right operand stands at more than n and k");
    return true;
}

static bool loop_verify(Check *c) {
    const TileOp *dot = NULL;
    vec_each (const TileOp, op, &c->p->ops) {
        c->op = op;
        if (op->kind == TILE_DOT && dot) return tile_bad(c, "a second dot");
        if (op->kind == TILE_DOT) dot = op;
        if (dot && op->dims & c->k) return tile_bad(c, "it stands at k after the dot");
        if (tile_op_writes(op->kind) && op->dims & c->k)
            return tile_bad(c, "a store stands at k");
        if (tile_op_writes(op->kind) && !dot) return tile_bad(c, "a store before the dot");
        for (uint32_t i = 0; i < op->arity && op != dot; i++)
            if (dot && tile_operand(c, i)->dims & c->k)
                return tile_bad(c, "its operand stands at k");
    }
    c->op = NULL;
    return dot || tile_bad(c, "a loop program has a dot");
}

// ---- all of it

static bool op_verify(const Check *c) {
    const TileOp *op = c->op;
    if (!operands_verify(c)) return false;
    if (op->kind == TILE_INDEX && op->access.guard[0].dim < 0)
        return tile_bad(c, "an index of no dimension");
    if (op->kind == TILE_INDEX && !guard_verify(c, &op->access.guard[0])) return false;
    if (tile_op_accesses(op->kind) && !access_verify(c)) return false;
    for (uint32_t i = 0; i < 2 && tile_op_accesses(op->kind); i++)
        if (!guard_verify(c, &op->access.guard[i])) return false;
    if (!dims_of_op_verify(c)) return false;
    if (!types_legal(c)) return tile_bad(c, "types that do not go together");
    if (tile_op_accesses(op->kind) && !access_op_verify(c)) return false;
    if (c->p->skeleton == TILE_CHUNK) return tile_chunk_op_verify(c);
    if (op->kind >= TILE_CARRY) return tile_bad(c, "an operation of chunk programs");
    if (op->kind == TILE_REDUCE) return reduce_verify(c);
    if (op->kind == TILE_LIMIT) return limit_verify(c);
    if (op->kind == TILE_START) return start_verify(c);
    return op->kind != TILE_DOT || dot_verify(c);
}

static bool ops_verify(Check *c) {
    if (!c->p->ops.len || c->p->ops.ptr[0].kind != TILE_NONE)
        return tile_bad(c, "operation 0 is in use");
    for (uint32_t i = 1; i < c->p->ops.len; i++) {
        c->op = &c->p->ops.ptr[i];
        if (!op_verify(c)) return false;
    }
    c->op = NULL;
    if (c->p->skeleton == TILE_ATTEND) return attend_verify(c);
    if (c->p->skeleton == TILE_CHUNK) return tile_chunk_verify(c);
    return c->p->skeleton != TILE_LOOP || loop_verify(c);
}

bool tile_verify(Diag *diag, const TileProgram *p) {
    Check c = {
        .diag = diag,
        .p = p,
        .grid = tile_role_dims(p, DIM_GRID),
        .serial = tile_role_dims(p, DIM_SERIAL),
        .col = tile_role_dims(p, DIM_COL),
        .m = tile_role_dims(p, DIM_M),
        .n = tile_role_dims(p, DIM_N),
        .k = tile_role_dims(p, DIM_K),
    };
    if (!tile_name_legal(p->name)) return tile_bad(&c, "the program's name is no name");
    if (!dims_verify(&c) || !ops_verify(&c)) return false;
    for (uint32_t i = 0; i < p->args.len; i++)
        if (!arg_verify(&c, i)) return false;
    vec_each (const TileKnob, knob, &p->knobs)
        if (!knob_verify(&c, knob)) return false;
    return aliases_verify(&c);
}
