// stream_plan.c: see stream_plan.h. No code is emitted here.
#include "codegen/stream_plan.h"

#include "base/check.h"
#include "ir/tile/tile_access.h"

static DimSet dim_bit(int dim) { return (DimSet)(dim < 0 ? 0U : 1U << dim); }

// ---- one kind of dimension a reduction: sum over rows of sum over cols

static const TileProgram *reductions_split(Arena *arena, const TileProgram *p, DimSet col) {
    TileProgram *out = arena_new(arena, TileProgram);
    uint32_t *new_of = arena_array(arena, uint32_t, p->ops.len);
    *out = *p;
    memset(&out->ops, 0, sizeof out->ops);
    vec_push(arena, &out->ops, (TileOp){.kind = TILE_NONE});
    for (uint32_t i = 1; i < p->ops.len; i++) {
        TileOp op = p->ops.ptr[i];
        for (uint32_t k = 0; k < op.arity; k++)
            op.in[k] = (TileId){new_of[op.in[k].i]};
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

static int home_of_dims(const StreamPlan *s, DimSet dims) {
    for (int i = s->serial_count - 1; i >= 0; i--)
        if (dims & dim_bit(s->serial[i])) return LEVEL_SERIAL + i;
    return dims & ~dim_bit(s->col) ? LEVEL_TASK : LEVEL_KERNEL;
}

static int home_of(const StreamPlan *s, uint32_t i) {
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
    return tile_op_writes(op->kind) && home < LEVEL_TASK ? LEVEL_TASK : home;
}

// A sum over an outer serial dimension that keeps an inner one would need an accumulator for
// each point of that.
static bool reduction_nests(const StreamPlan *s, uint32_t i) {
    const TileOp *op = &s->p->ops.ptr[i];
    for (int level = s->ops[i].home; level < s->ops[op->in[0].i].home; level++)
        if (!(op->over & dim_bit(s->serial[level - LEVEL_TASK]))) return false;
    return true;
}

// Does the loop nest reach each point of the operation's dims just once?
static bool stands_once(const StreamPlan *s, uint32_t i) {
    for (int level = LEVEL_TASK; level < s->ops[i].home; level++)
        if (!(s->p->ops.ptr[i].dims & dim_bit(s->serial[level - LEVEL_TASK]))) return false;
    return true;
}

static bool ops_place(StreamPlan *s) {
    for (uint32_t i = 1; i < s->p->ops.len; i++) {
        const TileOp *op = &s->p->ops.ptr[i];
        StreamPlace *place = &s->ops[i];
        if (op->kind == TILE_DOT) BUG("a dot in a STREAM program");
        place->col = (op->dims & dim_bit(s->col)) != 0;
        place->over_serial = op->kind == TILE_REDUCE && !(op->over & dim_bit(s->col));
        place->home = home_of(s, i);
        if (op->kind == TILE_SCATTER && !stands_once(s, i))
            return diag_fail(s->diag, FAIL_ENVIRONMENT,
                             "kernel '%.*s' scatters inside a row dimension that it lacks",
                             STR_ARG(s->p->name));
        if (place->over_serial && !reduction_nests(s, i))
            return diag_fail(
                s->diag, FAIL_ENVIRONMENT,
                "kernel '%.*s' sums over a row dimension outside one that it keeps",
                STR_ARG(s->p->name));
    }
    return true;
}

bool stream_plan_make(Diag *diag, Arena *arena, const TileProgram *p, StreamPlan *out) {
    *out = (StreamPlan){.diag = diag, .arena = arena, .col = tile_dim_of(p, DIM_COL)};
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_SERIAL) out->serial[out->serial_count++] = (int)d;
    out->p = reductions_split(arena, p, dim_bit(out->col));
    out->ops = arena_array(arena, StreamPlace, out->p->ops.len);
    if (out->col >= 0 && p->dims[out->col].extent > INT32_MAX / 2)
        return diag_fail(diag, FAIL_ENVIRONMENT, "kernel '%.*s' has rows of %lld elements",
                         STR_ARG(p->name), (long long)p->dims[out->col].extent);
    return ops_place(out);
}

bool *stream_targets(const StreamPlan *s) {
    bool *target = arena_array(s->arena, bool, s->p->ops.len);
    for (uint32_t i = 1; i < s->p->ops.len; i++)
        target[i] = tile_op_writes(s->p->ops.ptr[i].kind);
    return target;
}

// ---- what an operation is to a round

static int target_home(const StreamPlan *s, uint32_t i) {
    const TileOp *op = &s->p->ops.ptr[i];
    return tile_op_writes(op->kind) ? s->ops[i].home : s->ops[op->in[0].i].home;
}

bool stream_ends(const StreamPlan *s, const StreamLevel *l, uint32_t i) {
    return l->target[i] && target_home(s, i) == l->level;
}

bool stream_sums(const StreamPlan *s, const StreamLevel *l, uint32_t i, int round) {
    return l->need[i] && s->ops[i].over_serial && s->ops[i].home == l->level &&
           l->time[i] == round + 1;
}

bool stream_reduces(const StreamPlan *s, const StreamLevel *l, uint32_t i, int round) {
    return l->need[i] && s->p->ops.ptr[i].kind == TILE_REDUCE && !s->ops[i].over_serial &&
           s->ops[i].home == l->level && l->time[i] == round + 1;
}

bool stream_ends_at_cols(const StreamPlan *s, const StreamLevel *l, uint32_t i, int round) {
    if (round != l->last_col || !stream_ends(s, l, i)) return false;
    const TileOp *op = &s->p->ops.ptr[i];
    return tile_op_writes(op->kind) ? s->ops[i].col : s->ops[op->in[0].i].col;
}

bool stream_pass_due(const StreamPlan *s, const StreamLevel *l, int round) {
    for (uint32_t i = 1; i < s->p->ops.len; i++)
        if (stream_reduces(s, l, i, round) || stream_ends_at_cols(s, l, i, round)) return true;
    return false;
}

bool stream_scalar(const StreamPlan *s, const StreamLevel *l, uint32_t i, int round) {
    TileOpKind kind = s->p->ops.ptr[i].kind;
    return l->need[i] && !s->ops[i].col && s->ops[i].home == l->level && l->time[i] == round &&
           kind != TILE_REDUCE && !tile_op_writes(kind);
}

bool *stream_inner_targets(const StreamPlan *s, const StreamLevel *l, int round) {
    bool *target = arena_array(s->arena, bool, s->p->ops.len), any = false;
    for (uint32_t i = 1; i < s->p->ops.len; i++) {
        bool deeper = l->target[i] && !stream_ends(s, l, i);
        target[i] = stream_sums(s, l, i, round) || (round == l->last_inner && deeper);
        any = any || target[i];
    }
    return any ? target : NULL;
}

// ---- rounds of one level

// A target that is a reduction stands for adding to it; its own value belongs to an outer
// level.
static void need_mark(const StreamPlan *s, StreamLevel *l) {
    for (uint32_t i = s->p->ops.len - 1; i > 0; i--) {
        const TileOp *op = &s->p->ops.ptr[i];
        if (l->target[i] && tile_op_writes(op->kind)) l->need[i] = true;
        if (!l->need[i] && !l->target[i]) continue;
        for (uint32_t k = 0; k < op->arity; k++)
            if (s->ops[op->in[k].i].home >= l->level) l->need[op->in[k].i] = true;
    }
}

static int operands_time(const StreamPlan *s, const StreamLevel *l, uint32_t i) {
    const TileOp *op = &s->p->ops.ptr[i];
    int time = 0;
    for (uint32_t k = 0; k < op->arity; k++)
        if (l->time[op->in[k].i] > time) time = l->time[op->in[k].i];
    return time;
}

static void latest(int *last, int time) {
    if (time > *last) *last = time;
}

static void time_set(const StreamPlan *s, StreamLevel *l, uint32_t i) {
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
    DimSet dims = (DimSet)(value->dims | (tile_op_writes(op->kind) ? op->dims : 0));
    if (target_home(s, i) > l->level)
        latest(&l->last_inner, ready);
    else if (dims & dim_bit(s->col))
        latest(&l->last_col, ready);
}

StreamLevel stream_level(const StreamPlan *s, int level, const bool *target) {
    uint32_t n = s->p->ops.len;
    StreamLevel l = {.level = level,
                     .target = target,
                     .need = arena_array(s->arena, bool, n),
                     .time = arena_array(s->arena, int, n),
                     .last_col = -1,
                     .last_inner = -1};
    need_mark(s, &l);
    for (uint32_t i = 1; i < n; i++)
        time_set(s, &l, i);
    return l;
}

// ---- what can wait

// A load that waits still comes before a store that may meet it: that of the level's scalars.
static bool may_wait(const StreamPlan *s, const StreamLevel *l, uint32_t i) {
    TileOpKind kind = s->p->ops.ptr[i].kind;
    return stream_scalar(s, l, i, 0) && (kind == TILE_MAP || kind == TILE_LOAD);
}

void stream_level_delay(const StreamPlan *s, StreamLevel *l) {
    enum { MOST_HELD = 32 };
    int *use = arena_array(s->arena, int, s->p->ops.len), held = 0;
    for (uint32_t i = 1; i < s->p->ops.len; i++)
        use[i] = INT32_MAX;
    for (uint32_t i = s->p->ops.len - 1; i > 0; i--) {
        const TileOp *op = &s->p->ops.ptr[i];
        if (!l->need[i] && !l->target[i]) continue;
        if (use[i] == INT32_MAX || !may_wait(s, l, i)) use[i] = operands_time(s, l, i);
        held += use[i] > 0 && may_wait(s, l, i);
        for (uint32_t k = 0; k < op->arity; k++)
            if (use[i] < use[op->in[k].i]) use[op->in[k].i] = use[i];
    }
    for (uint32_t i = 1; held > MOST_HELD && i < s->p->ops.len; i++)
        if (may_wait(s, l, i)) l->time[i] = use[i];
}
