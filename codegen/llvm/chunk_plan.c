// chunk_plan.c: CHUNK: which values lie in close memory, and where.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/llvm/chunk.h"
#include "codegen/llvm/map.h"

enum { LINE = 16, FEW_SETS = 4 * LINE };  // elements

static bool refuse(const Chunk *c, const char *why) {
    return diag_fail(c->b->diag, FAIL_ENVIRONMENT, "kernel '%.*s' has %s", STR_ARG(c->p->name),
                     why);
}

static const TileOp *op_at(const Chunk *c, uint32_t i) { return &c->p->ops.ptr[i]; }

bool chunk_is_tokens(const Chunk *c, int dim) { return dim == c->m || dim == c->n; }

TileId chunk_origin(const Chunk *c, TileId v) {
    while (tile_op(c->p, v)->kind == TILE_TURN)
        v = tile_op(c->p, v)->in[0];
    return v;
}

int64_t chunk_cols(const Chunk *c, int dim) {
    int64_t extent = chunk_is_tokens(c, dim) ? c->tile : c->p->dims[dim].extent;
    return round_up(extent, c->lanes);
}

// Rows that are a multiple of some lines apart share few sets of a cache.
int64_t chunk_pitch(const Chunk *c, int dim) {
    int64_t cols = chunk_cols(c, dim);
    return chunk_is_tokens(c, dim) || cols % FEW_SETS ? cols : cols + LINE;
}

int64_t chunk_rows(const Chunk *c, int dim) {
    return chunk_is_tokens(c, dim) ? c->padded : chunk_cols(c, dim);
}

IrValue chunk_room(Chunk *c, int row, int col) {
    int64_t elements = col < 0 ? c->lanes : chunk_pitch(c, col);
    return build_scratch(c->b, (row < 0 ? 1 : chunk_rows(c, row)) * elements * 4);
}

// ---- what the operations ask for

typedef struct {
    Chunk *c;
    bool *wanted;    // in close memory
    uint32_t *uses;  // by operations that read it
    bool *late;      // read by a store without being stored before
    // A term of a sum that is stored as a whole, or, `next`, of one that replaces the carry.
    bool *term, *next;
    bool many_carries, many_stores;
} Plan;

static bool is_line(const Matrix *x) { return x->row < 0; }

static bool is_sum(const Plan *plan, uint32_t i) {
    const TileOp *op = op_at(plan->c, i);
    const Matrix *x = &plan->c->value[i];
    bool whole = x->row >= 0 && !is_pairs(plan->c, x) && op->type == DTYPE_F32;
    return whole && op->kind == TILE_MAP && (op->fn == OP_ADD || op->fn == OP_SUB);
}

// May a product be added to a matrix like this one? A dot's are, and those of a turned dot.
static bool is_product(const Plan *plan, uint32_t i, const Matrix *like) {
    const Chunk *c = plan->c;
    const TileOp *op = tile_op(c->p, chunk_origin(c, (TileId){i}));
    const Matrix *x = &c->value[i];
    bool fits = x->row >= 0 && x->col == like->col &&
                chunk_is_tokens(c, x->row) == chunk_is_tokens(c, like->row);
    return fits && op->kind == TILE_DOT && op->arity == 2;
}

static bool adds_product(const Plan *plan, uint32_t i) {
    const TileOp *op = op_at(plan->c, i);
    const Matrix *x = &plan->c->value[i];
    return is_sum(plan, i) &&
           (is_product(plan, op->in[0].i, x) || is_product(plan, op->in[1].i, x));
}

// A line is read by its elements, and what is dear or read twice is computed once.
static bool is_wanted(const Plan *plan, uint32_t i) {
    const TileOp *op = op_at(plan->c, i);
    if (op->type != DTYPE_F32 || op->kind == TILE_CONST) return false;
    if (plan->wanted[i]) return true;
    if (op->kind == TILE_LOAD || op->kind == TILE_MAP) {
        if (is_line(&plan->c->value[i]) || plan->uses[i] > 1) return true;
        if (adds_product(plan, i) && !plan->term[i]) return true;
        // A later store may put its result in the place of what this one reads.
        return op->kind == TILE_LOAD && plan->late[i] && plan->many_stores;
    }
    return op->kind == TILE_DOT || op->kind == TILE_SCAN || op->kind == TILE_SOLVE ||
           op->kind == TILE_REDUCE || op->kind == TILE_CARRY;
}

static bool wants_operand(const Plan *plan, uint32_t i, uint32_t k) {
    const TileOp *op = op_at(plan->c, i);
    switch ((int)op->kind) {
    case TILE_DOT: return true;
    case TILE_SOLVE: return k == 0;
    case TILE_NEXT: return plan->many_carries && k == 1;
    case TILE_TURN: return plan->wanted[i];
    case TILE_SCAN: return is_line(&plan->c->value[op->in[k].i]);
    default: return false;
    }
}

// A carry that a product is being added to cannot be its operand.
static bool reads_carry(const Plan *plan, const TileOp *op) {
    const Chunk *c = plan->c;
    return tile_op(c->p, chunk_origin(c, op->in[0]))->kind == TILE_CARRY ||
           tile_op(c->p, chunk_origin(c, op->in[1]))->kind == TILE_CARRY;
}

// What is read once, as a term, needs no matrix of its own.
static bool merges(const Plan *plan, uint32_t i) {
    const TileOp *op = op_at(plan->c, i);
    if (!plan->term[i] || plan->uses[i] > 1 || plan->wanted[i]) return false;
    if (op->kind == TILE_DOT)
        return op->arity == 2 && !(plan->next[i] && reads_carry(plan, op));
    return op->kind == TILE_TURN || is_sum(plan, i);
}

static void terms_plan(Plan *plan, uint32_t i, bool merged) {
    const TileOp *op = op_at(plan->c, i);
    bool next = op->kind == TILE_NEXT;
    if (next && !plan->many_carries) {
        uint32_t x = op->in[1].i;
        plan->term[x] = plan->next[x] = is_sum(plan, x);
    }
    bool turn = op->kind == TILE_TURN && merged;
    if (!turn && !(is_sum(plan, i) && (merged || plan->wanted[i]))) return;
    for (uint32_t k = 0; k < op->arity; k++) {
        uint32_t x = op->in[k].i;
        bool same =
            plan->c->value[x].row >= 0 && plan->c->value[x].col == plan->c->value[i].col;
        plan->term[x] = same;
        plan->next[x] = same && plan->next[i] && merged;
    }
}

// From the last operation to the first, so that users come before what they use.
static void wants_plan(Plan *plan, uint32_t i) {
    const TileOp *op = op_at(plan->c, i);
    if (op->kind == TILE_NONE) return;
    bool merged = merges(plan, i), turn = op->kind == TILE_TURN;
    if (turn)
        plan->wanted[i] = plan->wanted[i] || plan->uses[i] > 1 || is_line(&plan->c->value[i]);
    else
        plan->wanted[i] = !merged && is_wanted(plan, i);
    plan->c->added[i] = merged && op->kind == TILE_DOT;
    terms_plan(plan, i, merged);
    for (uint32_t k = 0; k < op->arity; k++) {
        uint32_t x = op->in[k].i;
        plan->uses[x]++;
        if (wants_operand(plan, i, k)) plan->wanted[x] = true;
        if (op->kind == TILE_STORE || (plan->late[i] && (turn || !plan->wanted[i])))
            plan->late[x] = true;
    }
}

// ---- shapes

static bool shape_plan(Chunk *c, uint32_t i) {
    const TileOp *op = op_at(c, i);
    Matrix *x = &c->value[i];
    x->row = x->col = -1;
    for (int d = c->m; d < (int)c->p->dim_count; d++) {
        if (!(op->dims >> d & 1)) continue;
        if (x->row >= 0) return refuse(c, "a value at more than two dimensions of a tile");
        x->row = x->col;
        x->col = d;
    }
    return true;
}

// A guard that always holds only says where a value stands.
static bool always_holds(const Chunk *c, const TileGuard *g) {
    if (g->dim < 0) return true;
    int64_t last = c->p->dims[g->dim].extent - 1;
    int64_t most = last / g->div < g->mod - 1 ? last / g->div : g->mod - 1;
    return g->lo <= g->shift && most + g->shift < g->hi;
}

static bool op_plan(Chunk *c, uint32_t i) {
    const TileOp *op = op_at(c, i);
    if (!shape_plan(c, i)) return false;
    const Matrix *in = &c->value[op->in[0].i];
    switch ((int)op->kind) {
    case TILE_LOAD:
        if (always_holds(c, &op->access.guard[0]) && always_holds(c, &op->access.guard[1]))
            return true;
        return refuse(c, "a guarded load");
    case TILE_REDUCE:
        if (in->row >= 0 && chunk_is_tokens(c, in->col)) return refuse(c, "a sum over pairs");
        return true;
    case TILE_DOT:
        if (c->value[i].col >= 0) return true;
        return refuse(c, "a dot of two vectors");
    case TILE_TURN:
        return op->type == DTYPE_F32 || refuse(c, "a turned value that is not a number");
    case TILE_GATHER:
    case TILE_SCATTER: return refuse(c, "an operation that chunks have no code for");
    default: return true;
    }
}

// ---- close memory

static void room_plan(Plan *plan, uint32_t i) {
    Chunk *c = plan->c;
    const TileOp *op = op_at(c, i);
    Matrix *x = &c->value[i];
    x->pitch = x->col < 0 ? c->lanes : chunk_pitch(c, x->col);
    if (!plan->wanted[i]) return;
    x->at = op->kind == TILE_TURN ? c->value[op->in[0].i].at : chunk_room(c, x->row, x->col);
}

static int64_t block_of(const Chunk *c) {
    int64_t block = 1;
    while (block < c->tile && block < c->lanes)
        block *= 2;
    return block;
}

static uint32_t count_of(const Chunk *c, TileOpKind kind) {
    uint32_t count = 0;
    vec_each (const TileOp, op, &c->p->ops)
        count += op->kind == kind;
    return count;
}

bool chunk_plan(Chunk *c, Builder *b) {
    *c = (Chunk){.b = b, .p = b->program, .lanes = b->lanes};
    uint32_t ops = c->p->ops.len;
    c->m = tile_dim_of(c->p, DIM_M);
    c->n = tile_dim_of(c->p, DIM_N);
    c->tile = c->p->dims[c->m].tile;
    c->block = block_of(c);
    c->padded = round_up(c->tile, c->block);
    c->value = arena_array(b->arena, Matrix, ops);
    c->added = arena_array(b->arena, bool, ops);
    c->copies = arena_array(b->arena, Copy, ops * COPY_KINDS);
    for (uint32_t i = 1; i < ops; i++)
        if (!op_plan(c, i)) return false;
    Plan plan = {.c = c,
                 .wanted = arena_array(b->arena, bool, ops),
                 .uses = arena_array(b->arena, uint32_t, ops),
                 .late = arena_array(b->arena, bool, ops),
                 .term = arena_array(b->arena, bool, ops),
                 .next = arena_array(b->arena, bool, ops),
                 .many_carries = count_of(c, TILE_CARRY) > 1,
                 .many_stores = count_of(c, TILE_STORE) > 1};
    for (uint32_t i = ops; i-- > 1;)
        wants_plan(&plan, i);
    for (uint32_t i = 1; i < ops; i++)
        room_plan(&plan, i);
    return true;
}
