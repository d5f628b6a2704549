// stream_plan.c: where and when each operation of a STREAM program is computed. No code is
// emitted here.
#include "base/check.h"
#include "codegen/llvm/stream.h"

bool stream_is_store(const TileOp *op) {
    return op->kind == TILE_STORE || op->kind == TILE_SCATTER_ADD;
}

static DimSet dim_bit(int dim) { return (DimSet)(dim < 0 ? 0U : 1U << dim); }

// ---- one kind of dimension a reduction: sum over rows of sum over cols

static TileId copied(const uint32_t *new_of, TileId old) { return (TileId){new_of[old.i]}; }

static const TileProgram *reductions_split(Arena *arena, const TileProgram *p, DimSet col) {
    TileProgram *out = arena_new(arena, TileProgram);
    uint32_t *new_of = arena_array(arena, uint32_t, p->ops.len);
    *out = *p;
    memset(&out->ops, 0, sizeof out->ops);
    vec_push(arena, &out->ops, (TileOp){.kind = TILE_NONE});
    for (uint32_t i = 1; i < p->ops.len; i++) {
        TileOp op = p->ops.ptr[i];
        for (uint32_t k = 0; k < op.arity; k++)
            op.in[k] = copied(new_of, op.in[k]);
        if (op.kind == TILE_REDUCE && (op.over & col) && (op.over & ~col)) {
            TileOp inner = op;
            inner.over = col;
            inner.dims = (DimSet)(op.dims | (op.over & ~col));
            vec_push(arena, &out->ops, inner);
            op.over = (DimSet)(op.over & ~col);
            op.in[0] = (TileId){out->ops.len - 1};
        }
        vec_push(arena, &out->ops, op);
        new_of[i] = out->ops.len - 1;
    }
    return out;
}

// ---- homes

static int home_of_dims(const Stream *s, DimSet dims) {
    for (int i = s->serial_count - 1; i >= 0; i--)
        if (dims & dim_bit(s->serial[i])) return LEVEL_SERIAL + i;
    return dims & ~dim_bit(s->col) ? LEVEL_TASK : LEVEL_KERNEL;
}

static int home_of(const Stream *s, uint32_t i) {
    const TileOp *op = &s->p->ops.ptr[i];
    if (op->kind == TILE_REDUCE && s->ops[i].over_serial) {
        int k = 0;
        while (!(op->over & dim_bit(s->serial[k])))
            k++;
        return LEVEL_TASK + k;
    }
    int home = home_of_dims(s, op->dims);
    for (uint32_t k = 0; k < op->arity; k++) {
        int in = s->ops[op->in[k].i].home;
        if (in > home) home = in;
    }
    // The cols of a task are not known before it begins.
    return stream_is_store(op) && home < LEVEL_TASK ? LEVEL_TASK : home;
}

// A sum over an outer serial dimension that keeps an inner one would need an accumulator for
// each point of that.
static bool reduction_nests(const Stream *s, uint32_t i) {
    const TileOp *op = &s->p->ops.ptr[i];
    for (int level = s->ops[i].home; level < s->ops[op->in[0].i].home; level++)
        if (!(op->over & dim_bit(s->serial[level - LEVEL_TASK]))) return false;
    return true;
}

// Does the loop nest reach each point of the operation's dims just once?
static bool stands_once(const Stream *s, uint32_t i) {
    for (int level = LEVEL_TASK; level < s->ops[i].home; level++)
        if (!(s->p->ops.ptr[i].dims & dim_bit(s->serial[level - LEVEL_TASK]))) return false;
    return true;
}

static bool ops_place(Stream *s) {
    for (uint32_t i = 1; i < s->p->ops.len; i++) {
        const TileOp *op = &s->p->ops.ptr[i];
        StreamOp *so = &s->ops[i];
        if (op->kind == TILE_DOT) BUG("a dot in a STREAM program");
        so->col = (op->dims & dim_bit(s->col)) != 0;
        so->over_serial = op->kind == TILE_REDUCE && !(op->over & dim_bit(s->col));
        so->home = home_of(s, i);
        if (op->kind == TILE_SCATTER_ADD && !stands_once(s, i))
            return diag_fail(s->b->diag, FAIL_ENVIRONMENT,
                             "kernel '%.*s' scatters inside a row dimension that it lacks",
                             STR_ARG(s->p->name));
        if (so->over_serial && !reduction_nests(s, i))
            return diag_fail(
                s->b->diag, FAIL_ENVIRONMENT,
                "kernel '%.*s' sums over a row dimension outside one that it keeps",
                STR_ARG(s->p->name));
    }
    return true;
}

bool stream_plan(Stream *s, Builder *b) {
    *s = (Stream){.b = b, .col = tile_dim_of(b->program, DIM_COL)};
    for (uint32_t d = 0; d < b->program->dim_count; d++)
        if (b->program->dims[d].role == DIM_SERIAL) s->serial[s->serial_count++] = (int)d;
    s->p = b->program = reductions_split(b->arena, b->program, dim_bit(s->col));
    s->ops = arena_array(b->arena, StreamOp, s->p->ops.len);
    s->cols = s->col < 0 ? 1 : s->p->dims[s->col].extent;
    if (s->cols > INT32_MAX / 2)
        return diag_fail(b->diag, FAIL_ENVIRONMENT, "kernel '%.*s' has rows of %lld elements",
                         STR_ARG(s->p->name), (long long)s->cols);
    return ops_place(s);
}

// ---- rounds of one level

bool level_sums(const Stream *s, const Level *l, uint32_t i) {
    return l->need[i] && s->ops[i].over_serial && s->ops[i].home == l->level;
}

static int target_home(const Stream *s, uint32_t i) {
    const TileOp *op = &s->p->ops.ptr[i];
    return stream_is_store(op) ? s->ops[i].home : s->ops[op->in[0].i].home;
}

bool level_ends(const Stream *s, const Level *l, uint32_t i) {
    return l->target[i] && target_home(s, i) == l->level;
}

// A target that is a reduction stands for adding to it; its own value belongs to an outer
// level.
static void need_mark(const Stream *s, Level *l) {
    for (uint32_t i = s->p->ops.len - 1; i > 0; i--) {
        const TileOp *op = &s->p->ops.ptr[i];
        if (l->target[i] && stream_is_store(op)) l->need[i] = true;
        if (!l->need[i] && !l->target[i]) continue;
        for (uint32_t k = 0; k < op->arity; k++)
            if (s->ops[op->in[k].i].home >= l->level) l->need[op->in[k].i] = true;
    }
}

static int operands_time(const Stream *s, const Level *l, uint32_t i) {
    const TileOp *op = &s->p->ops.ptr[i];
    int time = 0;
    for (uint32_t k = 0; k < op->arity; k++)
        if (l->time[op->in[k].i] > time) time = l->time[op->in[k].i];
    return time;
}

static void latest(int *last, int time) {
    if (time > *last) *last = time;
}

static void time_set(const Stream *s, Level *l, uint32_t i) {
    const TileOp *op = &s->p->ops.ptr[i];
    int ready = operands_time(s, l, i);
    bool here = s->ops[i].home == l->level;
    if (l->need[i] && op->kind == TILE_REDUCE && here) {
        l->time[i] = ready + 1;
        latest(&l->last, ready);
        latest(s->ops[i].over_serial ? &l->last_inner : &l->last_col, ready);
    } else if (l->need[i]) {
        l->time[i] = ready;
    }
    if (!l->target[i]) return;
    latest(&l->last, ready);
    const TileOp *value = tile_op(s->p, op->in[op->arity - 1]);
    bool col = (value->dims | (stream_is_store(op) ? op->dims : 0)) & dim_bit(s->col);
    if (target_home(s, i) > l->level)
        latest(&l->last_inner, ready);
    else if (col)
        latest(&l->last_col, ready);
}

void level_plan(const Stream *s, Level *l, int level, const bool *target) {
    uint32_t n = s->p->ops.len;
    *l = (Level){.level = level,
                 .target = target,
                 .need = arena_array(s->b->arena, bool, n),
                 .time = arena_array(s->b->arena, int, n),
                 .cols = arena_array(s->b->arena, ColValue, n),
                 .last = 0,
                 .last_col = -1,
                 .last_inner = -1};
    need_mark(s, l);
    for (uint32_t i = 1; i < n; i++) {
        l->cols[i].first = -1;
        time_set(s, l, i);
    }
}
