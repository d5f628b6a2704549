// chunk_plan.c: CHUNK for CUDA: which values are kept in shared memory, which dots are summed
// in registers where they are used, and the order of steps.
#include "base/check.h"
#include "codegen/cuda/chunk.h"
#include "ir/tile/tile_access.h"

enum { MOST_LEAVES = 3 };  // of a value that is computed again wherever it is read

typedef struct {
    Chunk *c;
    uint32_t *uses;
    bool *many;      // read more than once for each element, or by several
    bool *apart;     // read where no sums in registers are: by dots, scans, sums
    bool *by_store;  // read by a store
    bool *decay;     // the alpha of a dot
} Plan;

int64_t chunk_extent(const Chunk *c, int dim) {
    if (dim < 0) return 1;
    return chunk_is_tokens(c, dim) ? c->tile : c->p->dims[dim].extent;
}

static bool is_value(const TileOp *op) {
    return op->kind != TILE_NONE && op->kind != TILE_STORE && op->kind != TILE_NEXT;
}

static void shape_plan(Chunk *c, uint32_t i) {
    ChunkValue *v = &c->value[i];
    v->row = v->col = -1;
    for (int d = c->m; d < (int)c->p->dim_count; d++) {
        if (!(chunk_op(c, i)->dims >> d & 1)) continue;
        v->row = v->col;
        v->col = d;
    }
}

// ---- rooms

static uint32_t room_new(Chunk *c, int64_t rows, int64_t cols, TileId value) {
    // A step of 4 banks from row to row: fragments are read without conflicts.
    int64_t pitch = rows > 1 ? (cols + 7) / 8 * 8 + 4 : cols;
    ChunkRoom room = {.rows = rows, .cols = cols, .pitch = pitch, .value = value};
    vec_push(c->w->arena, &c->rooms, room);
    return c->rooms.len - 1;
}

static void keep(Chunk *c, uint32_t i) {
    ChunkValue *v = &c->value[i];
    v->room = room_new(c, chunk_extent(c, v->row), chunk_extent(c, v->col), (TileId){i});
}

const ChunkFactor *chunk_factor(const Chunk *c, TileId alpha, int half) {
    vec_each (const ChunkFactor, f, &c->factors)
        if (f->alpha.i == alpha.i && f->half == half) return f;
    return NULL;
}

static void factor_need(Chunk *c, TileId alpha, int half) {
    if (chunk_factor(c, alpha, half)) return;
    int64_t cols = half ? chunk_extent(c, c->value[alpha.i].col) : c->tile;
    ChunkFactor f = {alpha, half, room_new(c, c->tile, cols, (TileId){0})};
    vec_push(c->w->arena, &c->factors, f);
    ChunkStep step = {CHUNK_FACTOR, c->factors.len - 1};
    vec_push(c->w->arena, &c->steps, step);
}

static void factors_need(Chunk *c, const TileOp *op) {
    if (op->kind != TILE_DOT || op->arity < 3) return;
    if (!chunk_is_wide(c, op)) factor_need(c, op->in[2], 0);
    for (int half = 16; chunk_is_wide(c, op) && half < c->tile; half *= 2)
        factor_need(c, op->in[2], half);
}

// ---- what is kept

static bool is_cheap(GraphOp fn) {
    switch ((int)fn) {
    case OP_ADD:
    case OP_SUB:
    case OP_MUL:
    case OP_NEG:
    case OP_ABS:
    case OP_MIN:
    case OP_MAX:
    case OP_EQ:
    case OP_NE:
    case OP_LT:
    case OP_LE:
    case OP_WHERE:
    case OP_CAST: return true;
    default: return false;
    }
}

static bool is_through(const TileOp *op) {
    return op->kind == TILE_MAP || op->kind == TILE_TURN;
}

// Functions and loads that are dear count as more than may be computed again.
static int leaves(const Chunk *c, uint32_t i) {
    const TileOp *op = chunk_op(c, i);
    if (op->kind == TILE_CONST || op->kind == TILE_INDEX) return 0;
    if (!is_through(op)) return 1;
    int count = op->kind == TILE_MAP && !is_cheap(op->fn) ? MOST_LEAVES + 1 : 0;
    for (uint32_t k = 0; k < op->arity; k++)
        count += leaves(c, op->in[k].i);
    return count;
}

static bool has_dot(const Plan *plan, uint32_t i) {
    const TileOp *op = chunk_op(plan->c, i);
    if (op->kind == TILE_DOT) return plan->uses[i] == 1 && !chunk_is_wide(plan->c, op);
    for (uint32_t k = 0; is_through(op) && k < op->arity; k++)
        if (has_dot(plan, op->in[k].i)) return true;
    return false;
}

static bool map_is_kept(const Plan *plan, uint32_t i) {
    const Chunk *c = plan->c;
    bool shared = plan->uses[i] > 1 || plan->many[i];
    if (chunk_op(c, i)->type != DTYPE_F32 || c->value[i].col < 0) return false;
    if (!shared && !plan->apart[i]) return false;
    return has_dot(plan, i) || (shared && leaves(c, i) > MOST_LEAVES);
}

// May a store of this program write what the argument's loads read?
static bool is_aliased(const Chunk *c, uint32_t arg) {
    for (uint32_t i = 0; i < c->p->args.len; i++)
        if (c->p->args.ptr[i].written && tile_in_place(c->p, arg, i)) return true;
    return false;
}

static bool load_is_kept(const Plan *plan, uint32_t i) {
    const TileOp *op = chunk_op(plan->c, i);
    if (op->type != DTYPE_F32 || !(op->dims & tile_tokens(plan->c->p))) return false;
    if (plan->by_store[i] && is_aliased(plan->c, op->access.arg)) return true;
    return plan->many[i] || plan->uses[i] > 1;
}

static bool is_kept(const Plan *plan, uint32_t i) {
    const TileOp *op = chunk_op(plan->c, i);
    switch ((int)op->kind) {
    case TILE_LOAD: return plan->decay[i] || load_is_kept(plan, i);
    case TILE_MAP: return plan->decay[i] || map_is_kept(plan, i);
    case TILE_DOT: return !plan->c->value[i].fused;
    case TILE_SCAN:
    case TILE_SOLVE:
    case TILE_REDUCE:
    case TILE_CARRY: return true;
    default: return false;
    }
}

// ---- dots whose sums go where they are used

typedef struct {
    Plan *plan;
    const ChunkValue *like;
    TileId cluster, carry;  // of added dots; the carry that is being replaced
} Fuse;

static bool reads(const Chunk *c, TileId v, TileId what) {
    const TileOp *op = tile_op(c->p, v);
    if (v.i == what.i) return true;
    for (uint32_t k = 0; is_through(op) && k < op->arity; k++)
        if (reads(c, op->in[k], what)) return true;
    return false;
}

static bool is_fit(const Fuse *f, uint32_t i) {
    const Chunk *c = f->plan->c;
    const ChunkValue *v = &c->value[i], *like = f->like;
    const TileOp *op = chunk_op(c, i);
    if (f->plan->uses[i] != 1 || chunk_is_wide(c, op)) return false;
    if (f->carry.i && (reads(c, op->in[0], f->carry) || reads(c, op->in[1], f->carry)))
        return false;
    bool rows =
        chunk_is_tokens(c, v->row) ? chunk_is_tokens(c, like->row) : v->row == like->row;
    bool cols =
        chunk_is_tokens(c, v->col) ? chunk_is_tokens(c, like->col) : v->col == like->col;
    return rows && cols;
}

// All that are added to the first one that is found; a sum that decays as a whole stays alone.
static void dots_fuse(Fuse *f, TileId v, TileId cluster) {
    const Chunk *c = f->plan->c;
    const TileOp *op = tile_op(c->p, v);
    bool dot = op->kind == TILE_DOT,
         alone = dot && op->arity == 3 && chunk_is_pairs(c, &c->value[v.i]);
    if (dot && is_fit(f, v.i) && (!f->cluster.i || (!alone && f->cluster.i == cluster.i))) {
        f->cluster = alone ? v : cluster;
        c->value[v.i].fused = true;
    }
    if (!is_through(op) || f->plan->uses[v.i] > 1) return;
    bool same = op->kind == TILE_TURN || chunk_is_additive(op);
    for (uint32_t k = 0; k < op->arity; k++)
        dots_fuse(f, op->in[k], same ? cluster : op->in[k]);
}

// What is computed once for each element may end in sums in registers.
static void target_plan(Plan *plan, uint32_t i) {
    Chunk *c = plan->c;
    const TileOp *op = chunk_op(c, i);
    bool next = op->kind == TILE_NEXT, solve = op->kind == TILE_SOLVE;
    bool map = op->kind == TILE_MAP && c->value[i].room;
    if (!next && !solve && !map && op->kind != TILE_STORE) return;
    TileId carry = next ? op->in[0] : (TileId){0};
    uint32_t like = next || op->kind == TILE_STORE ? op->in[next].i : i;
    Fuse f = {
        .plan = plan, .like = next ? &c->value[carry.i] : &c->value[like], .carry = carry};
    for (uint32_t k = 0; k < op->arity; k++) {
        if ((next || solve) && k == 0) continue;
        bool same = chunk_is_additive(op) || !map;
        dots_fuse(&f, op->in[k], same ? (TileId){i} : op->in[k]);
    }
}

// ---- from the last operation to the first: users come before what they use

static void operand_plan(Plan *plan, uint32_t i, uint32_t k) {
    Chunk *c = plan->c;
    const TileOp *op = chunk_op(c, i);
    uint32_t x = op->in[k].i;
    bool dot = op->kind == TILE_DOT, solve = op->kind == TILE_SOLVE && k == 0;
    bool passes = is_through(op) && !c->value[i].room;
    if (dot && k == 2) plan->decay[x] = true;
    if (dot || solve || (passes && (plan->many[i] || plan->uses[i] > 1))) plan->many[x] = true;
    if (dot || solve || op->kind == TILE_SCAN || op->kind == TILE_REDUCE ||
        (passes && plan->apart[i]))
        plan->apart[x] = true;
    if (op->kind == TILE_STORE || (passes && plan->by_store[i])) plan->by_store[x] = true;
    // One element for many of the user.
    bool fewer = (c->value[x].row < 0 && c->value[i].row >= 0) ||
                 (c->value[x].col < 0 && c->value[i].col >= 0);
    if (is_value(op) && fewer) plan->many[x] = true;
}

static void op_plan(Plan *plan, uint32_t i) {
    const TileOp *op = chunk_op(plan->c, i);
    if (is_value(op) && plan->uses[i] == 0) return;
    if (is_value(op) && is_kept(plan, i)) keep(plan->c, i);
    target_plan(plan, i);
    for (uint32_t k = 0; k < op->arity; k++)
        operand_plan(plan, i, k);
}

static void uses_count(Plan *plan) {
    for (uint32_t i = plan->c->p->ops.len; i-- > 1;) {
        const TileOp *op = chunk_op(plan->c, i);
        if (is_value(op) && plan->uses[i] == 0) continue;
        for (uint32_t k = 0; k < op->arity; k++)
            plan->uses[op->in[k].i]++;
    }
}

// ---- steps

static bool loads_aliased(const Chunk *c, TileId v, uint32_t arg) {
    const TileOp *op = tile_op(c->p, v);
    if (op->kind == TILE_LOAD) return tile_in_place(c->p, op->access.arg, arg);
    for (uint32_t k = 0; k < op->arity; k++)
        if (!c->value[op->in[k].i].room && loads_aliased(c, op->in[k], arg)) return true;
    return false;
}

// A store waits for the last load of what may be the same memory.
static uint32_t store_after(const Chunk *c, uint32_t i) {
    uint32_t arg = chunk_op(c, i)->access.arg, after = i;
    for (uint32_t k = i + 1; k < c->p->ops.len; k++)
        if (c->value[k].room && chunk_op(c, k)->kind != TILE_CARRY &&
            loads_aliased(c, (TileId){k}, arg))
            after = k;
    return after;
}

static bool stores_tile(const Chunk *c, const TileOp *op) {
    return op->dims & tile_tokens(c->p) || tile_by_tiles(c->p, op);
}

static void steps_plan(Chunk *c) {
    uint32_t ops = c->p->ops.len;
    for (uint32_t i = 1; i < ops; i++) {
        const TileOp *op = chunk_op(c, i);
        if (c->value[i].room || c->value[i].fused) factors_need(c, op);
        ChunkStep step = {CHUNK_KEEP, i};
        if (c->value[i].room && op->kind != TILE_CARRY) vec_push(c->w->arena, &c->steps, step);
        for (uint32_t k = 1; k <= i; k++) {
            const TileOp *store = chunk_op(c, k);
            ChunkStep last = {CHUNK_STORE, k};
            if (store->kind == TILE_STORE && stores_tile(c, store) && store_after(c, k) == i)
                vec_push(c->w->arena, &c->steps, last);
        }
    }
    for (uint32_t i = 1; i < ops; i++) {
        ChunkStep step = {CHUNK_NEXT, i};
        if (chunk_op(c, i)->kind == TILE_NEXT) vec_push(c->w->arena, &c->steps, step);
    }
}

static bool is_refused(const Chunk *c) {
    uint32_t carries = 0;
    vec_each (const TileOp, op, &c->p->ops)
        carries += op->kind == TILE_CARRY;
    return carries > 1;
}

// 16-bit elements come with 8 or 11 bits, and results are rounded to as many.
static bool is_exact(const TileProgram *p) {
    vec_each (const TileArg, arg, &p->args)
        if (arg->type == DTYPE_BF16 || arg->type == DTYPE_F16) return false;
    return true;
}

bool chunk_plan(CudaWriter *w, Chunk *c) {
    const TileProgram *p = w->p;
    uint32_t ops = p->ops.len;
    *c = (Chunk){.w = w, .p = p, .exact = is_exact(p)};
    c->m = tile_dim_of(p, DIM_M);
    c->n = tile_dim_of(p, DIM_N);
    c->tile = p->dims[c->m].tile;
    c->ragged = p->dims[c->m].extent % c->tile != 0;
    c->value = arena_array(w->arena, ChunkValue, ops);
    vec_push(w->arena, &c->rooms, (ChunkRoom){.rows = 0});
    Plan plan = {.c = c,
                 .uses = arena_array(w->arena, uint32_t, ops),
                 .many = arena_array(w->arena, bool, ops),
                 .apart = arena_array(w->arena, bool, ops),
                 .by_store = arena_array(w->arena, bool, ops),
                 .decay = arena_array(w->arena, bool, ops)};
    for (uint32_t i = 1; i < ops; i++)
        shape_plan(c, i);
    uses_count(&plan);
    for (uint32_t i = ops; i-- > 1;)
        op_plan(&plan, i);
    if (is_refused(c))
        return diag_fail(w->diag, FAIL_ENVIRONMENT, "kernel '%.*s' has several carries",
                         STR_ARG(p->name));
    steps_plan(c);
    return chunk_rooms_place(c);
}
