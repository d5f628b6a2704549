// stream_pass.c: the code of one pass over the cols: its steps, sums and stores.
#include <math.h>

#include "base/check.h"
#include "codegen/llvm/map.h"
#include "codegen/llvm/stream_sweep.h"
#include "ir/tile/tile_access.h"

static const TileOp *op_at(const Stream *s, uint32_t i) { return &s->plan.p->ops.ptr[i]; }

// ---- reductions

IrValue reduce_start(const Builder *b, const TileOp *op, int lanes) {
    bool sum = op->fn == OP_REDUCE_SUM;
    if (op->type == DTYPE_F32) return build_f32(b, sum ? 0 : -(double)INFINITY, lanes);
    return build_i32(b, sum ? 0 : INT32_MIN, lanes);
}

IrValue reduce_add(Builder *b, const TileOp *op, IrValue sum, IrValue x) {
    build_line(b, op->span);
    bool real = op->type == DTYPE_F32;
    if (op->fn == OP_REDUCE_SUM)
        return real ? build_fadd(b, sum, x) : LLVMBuildAdd(b->at, sum, x, "");
    if (real) return build_fmax(b, x, sum);
    return build_select(b, build_icmp(b, LLVMIntSGT, x, sum), x, sum);
}

static int slot_lanes(const Stream *s, int slot) {
    return slot < STREAM_MAX_UNROLL ? s->b->lanes : 1 << (slot - STREAM_MAX_UNROLL);
}

// ---- before the loop

// It is spread over a vector where it meets the cols.
static bool is_row_scalar(const Stream *s, TileId v) {
    return !s->plan.ops[v.i].col && tile_op(s->plan.p, v)->kind != TILE_CONST;
}

static void operand_splat(Stream *s, TileId v) {
    StreamOp *so = &s->ops[v.i];
    if (!is_row_scalar(s, v)) return;
    so->splat = build_splat(s->b, so->value, s->b->lanes);
}

// Does the sweep make something of the operation's operands?
static bool op_is_made(const Sweep *sweep, uint32_t i) {
    bool starts = sweep_computes(sweep, i) && op_at(sweep->s, i)->kind != TILE_REDUCE;
    return starts || sweep_ends(sweep, i);
}

static void op_prepare(Sweep *sweep, uint32_t i) {
    Stream *s = sweep->s;
    const TileOp *op = op_at(s, i);
    if (!op_is_made(sweep, i)) return;
    if (op->kind == TILE_LOAD || op->kind == TILE_GATHER || tile_op_writes(op->kind))
        access_prepare(s, i);
    for (uint32_t k = 0; k < op->arity; k++)
        operand_splat(s, op->in[k]);
}

// Scalars that registers cannot hold beside what waits at the cols are spread as they are used,
// out of memory: of a spilled vector each use would load all.
static void scalars_leave(Sweep *sweep) {
    Stream *s = sweep->s;
    Builder *b = s->b;
    uint32_t n = s->plan.p->ops.len;
    bool *used = arena_array(b->arena, bool, n);
    int64_t count = 0, registers = level_is_avx512(b->level) ? 32 : 16;
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t k = 0; op_is_made(sweep, i) && k < op_at(s, i)->arity; k++) {
            TileId v = op_at(s, i)->in[k];
            used[v.i] = is_row_scalar(s, v) && tile_op(s->plan.p, v)->type == DTYPE_F32;
        }
    for (uint32_t i = 1; i < n; i++)
        count += used[i];
    sweep->crowded = !s->in_registers && count + sweep->waiting > registers;
    IrValue row = sweep->crowded ? build_scratch(b, count * 4) : NULL;
    for (uint32_t i = 1, at = 0; i < n; i++) {
        s->ops[i].near = NULL;
        if (!sweep->crowded || !used[i]) continue;
        s->ops[i].near = s->ops[i].near_row;
        if (s->ops[i].near != NULL) continue;
        s->ops[i].near = build_gep(b, b->f32, row, build_i64(b, at++));
        build_store(b, s->ops[i].value, s->ops[i].near, 4);
    }
}

static void accumulators_start(Sweep *sweep, uint32_t i) {
    Stream *s = sweep->s;
    Builder *b = s->b;
    for (int slot = 0; slot < STREAM_SLOTS; slot++) {
        if (!sweep->used[slot]) continue;
        IrValue start = reduce_start(b, op_at(s, i), slot_lanes(s, slot));
        s->ops[i].slots[slot] = build_variable(b, LLVMTypeOf(start));
        build_store(b, start, s->ops[i].slots[slot], 4);
    }
}

static IrValue accumulator_get(Sweep *sweep, uint32_t i, int slot) {
    IrType type = type_of(sweep->s->b, op_at(sweep->s, i)->type, slot_lanes(sweep->s, slot));
    return build_load(sweep->s->b, type, sweep->s->ops[i].slots[slot], 4);
}

static IrValue lanes_reduce(Builder *b, const TileOp *op, IrValue x) {
    return op->fn == OP_REDUCE_SUM ? build_lanes_sum(b, x) : build_lanes_max(b, x);
}

// The full vectors, added pairwise; NULL: there are none.
static IrValue accumulators_join(Sweep *sweep, uint32_t i) {
    IrValue full[STREAM_MAX_UNROLL];
    int count = 0;
    for (int slot = 0; slot < STREAM_MAX_UNROLL; slot++)
        if (sweep->used[slot]) full[count++] = accumulator_get(sweep, i, slot);
    if (count == 0) return NULL;
    for (; count > 1; count = (count + 1) / 2)
        for (int k = 0; k < count / 2; k++)
            full[k] = reduce_add(sweep->s->b, op_at(sweep->s, i), full[k], full[count - 1 - k]);
    return full[0];
}

// The reduction's value: that of the full vectors and the tails.
static void accumulators_finish(Sweep *sweep, uint32_t i, IrValue total) {
    Builder *b = sweep->s->b;
    const TileOp *op = op_at(sweep->s, i);
    for (int slot = STREAM_SLOTS - 1; slot >= STREAM_MAX_UNROLL; slot--) {
        if (!sweep->used[slot]) continue;
        IrValue tail = lanes_reduce(b, op, accumulator_get(sweep, i, slot));
        total = total == NULL ? tail : reduce_add(b, op, total, tail);
    }
    sweep->s->ops[i].value = total;
}

// Several sums at once take fewer steps than one after the other.
static void sums_finish(Sweep *sweep, const uint32_t *sums, int count) {
    Builder *b = sweep->s->b;
    IrValue x[BUILD_MAX_LANES];
    int width = 1;
    while (width < count)
        width *= 2;
    for (int k = 0; k < width; k++)
        x[k] = k < count ? accumulators_join(sweep, sums[k]) : build_f32(b, 0, b->lanes);
    IrValue totals = build_lanes_sums(b, x, width);
    for (int k = 0; k < count; k++)
        accumulators_finish(sweep, sums[k], build_extract(b, totals, k));
}

static void reductions_finish(Sweep *sweep) {
    enum { LEAST = 3 };  // sums that are worth it
    const Stream *s = sweep->s;
    uint32_t sums[BUILD_MAX_LANES];
    int count = 0;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        const TileOp *op = op_at(s, i);
        if (!sweep_reduces(sweep, i)) continue;
        if (sweep->used[0] && op->fn == OP_REDUCE_SUM && op->type == DTYPE_F32) {
            sums[count++] = i;
        } else {
            IrValue full = accumulators_join(sweep, i);
            accumulators_finish(sweep, i, full ? lanes_reduce(s->b, op, full) : NULL);
        }
        if (count < s->b->lanes) continue;
        sums_finish(sweep, sums, count);
        count = 0;
    }
    if (count >= LEAST) {
        sums_finish(sweep, sums, count);
        return;
    }
    for (int k = 0; k < count; k++)
        accumulators_finish(
            sweep, sums[k],
            lanes_reduce(s->b, op_at(s, sums[k]), accumulators_join(sweep, sums[k])));
}

// ---- one step

IrValue operand_value(Stream *s, TileId v, const Step *step) {
    const StreamOp *so = &s->ops[v.i];
    const TileOp *op = tile_op(s->plan.p, v);
    if (s->plan.ops[v.i].col) return s->level->cols[v.i].vec[step->part];
    if (op->kind == TILE_CONST) return map_const(s->b, op, step->lanes);
    if (step->lanes == 1) return so->value;
    if (so->near != NULL)
        return build_splat(s->b, build_load(s->b, s->b->f32, so->near, 4), step->lanes);
    return step->lanes == s->b->lanes ? so->splat : build_splat(s->b, so->value, step->lanes);
}

static IrValue row_pointer(Stream *s, IrValue row, const Step *step) {
    return build_gep(s->b, s->b->f32, row, step->at);
}

static IrValue row_load(Stream *s, uint32_t i, IrValue row, const Step *step) {
    IrType type = type_of(s->b, op_at(s, i)->type, step->lanes);
    return build_load(s->b, type, row_pointer(s, row, step), 4);
}

// Sums over rows: in memory, or, for a row in registers, in one variable a step.
static IrValue sum_pointer(Stream *s, uint32_t i, const Step *step) {
    if (s->in_registers) return s->ops[i].slots[step->part];
    return row_pointer(s, s->ops[i].row, step);
}

static IrValue value_compute(Stream *s, uint32_t i, const Step *step) {
    const TileOp *op = op_at(s, i);
    switch ((int)op->kind) {
    case TILE_LOAD:
    case TILE_GATHER: return access_load(s, i, step);
    case TILE_INDEX: return access_index(s, i, step);
    case TILE_MAP: {
        IrValue in[3] = {0};
        for (uint32_t k = 0; k < op->arity; k++)
            in[k] = operand_value(s, op->in[k], step);
        return map_emit(s->b, op, in);
    }
    case TILE_REDUCE:
        return build_load(s->b, type_of(s->b, op->type, step->lanes), sum_pointer(s, i, step),
                          4);
    default: break;
    }
    BUG("operation %d does not stand at the cols", (int)op->kind);
}

static void value_emit(Sweep *sweep, uint32_t i, const Step *step) {
    Stream *s = sweep->s;
    ColValue *v = &sweep->level->cols[i];
    if (sweep_finds(sweep, i)) {
        if (s->in_registers) return;
        IrValue early = s->ops[i].early;
        v->vec[step->part] = row_load(s, i, early ? early : v->row, step);
        return;
    }
    v->vec[step->part] = value_compute(s, i, step);
    if (v->keep && !s->in_registers)
        build_store(s->b, v->vec[step->part], row_pointer(s, v->row, step), 4);
}

static void reduce_emit(Sweep *sweep, uint32_t i, const Step *step) {
    Stream *s = sweep->s;
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    IrValue old = accumulator_get(sweep, i, step->slot);
    IrValue sum = reduce_add(b, op, old, operand_value(s, op->in[0], step));
    if (step->mask != NULL) sum = build_select(b, step->mask, sum, old);
    build_store(b, sum, s->ops[i].slots[step->slot], 4);
}

static void row_add(Stream *s, uint32_t i, const Step *step) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    IrValue x = operand_value(s, op->in[0], step), pointer = sum_pointer(s, i, step);
    IrValue old = build_load(b, LLVMTypeOf(x), pointer, 4);
    build_store(b, reduce_add(b, op, old, x), pointer, 4);
}

static void stores_emit(Sweep *sweep, const Step *step, bool nontemporal) {
    Stream *s = sweep->s;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        const TileOp *op = op_at(s, i);
        if (!tile_op_writes(op->kind) || !sweep_ends(sweep, i)) continue;
        if (op->kind == TILE_SCATTER)
            access_scatter(s, i, step);
        else
            access_store(s, i, step, nontemporal && access_nontemporal(s, i));
    }
}

static void step_stores(Sweep *sweep, const Step *step) {
    Stream *s = sweep->s;
    Builder *b = s->b;
    if (step->cols == COLS_EVEN) return;
    if (s->aligned == NULL || step->mask != NULL || step->lanes != b->lanes) {
        stores_emit(sweep, step, false);
        return;
    }
    IrBlock yes = build_block(b, "nontemporal"), no = build_block(b, "temporal");
    IrBlock after = build_block(b, "after");
    LLVMBuildCondBr(b->at, s->aligned, yes, no);
    build_at(b, yes);
    stores_emit(sweep, step, true);
    LLVMBuildBr(b->at, after);
    build_at(b, no);
    stores_emit(sweep, step, false);
    LLVMBuildBr(b->at, after);
    build_at(b, after);
}

static void op_emit(Sweep *sweep, uint32_t i, const Step *step) {
    Stream *s = sweep->s;
    if (sweep->in[i]) {
        if (sweep_computes(sweep, i) && access_prefetches(s, sweep->level, i))
            access_prefetch(s, i, step);
        value_emit(sweep, i, step);
    }
    if (sweep_reduces(sweep, i))
        reduce_emit(sweep, i, step);
    else if (sweep_ends(sweep, i) && !tile_op_writes(op_at(s, i)->kind))
        row_add(s, i, step);
}

// Steps that go through the operations together share what they load of scalars.
static void steps_emit(Sweep *sweep, const Step *steps, int count) {
    for (uint32_t k = 0; k < sweep->count; k++)
        for (int n = 0; n < count; n++)
            op_emit(sweep, sweep->order[k], &steps[n]);
    for (int n = 0; sweep->number == sweep->level->sweeps - 1 && n < count; n++)
        step_stores(sweep, &steps[n]);
    if (steps[count - 1].cols == COLS_EVEN) build_forget(sweep->s->b);
}

// ---- the steps of a row

static int log2_of(int lanes) {
    int n = 0;
    while (1 << n < lanes)
        n++;
    return n;
}

// What remains after the full vectors. With masks it is one step; without, one for each power
// of two.
static int tail_steps(const Stream *s, int64_t from, Step *out) {
    int rest = (int)(s->cols - from), count = 0;
    while (rest > 0) {
        int lanes = 1 << log2_of(rest);
        if (lanes > rest && !level_is_avx512(s->b->level)) lanes /= 2;
        IrValue at = build_i64(s->b, from);
        Step step = {.at = at, .first = at, .lanes = lanes};
        step.slot = STREAM_MAX_UNROLL + log2_of(lanes);
        if (lanes > rest) step.mask = build_mask_first(s->b, rest, lanes);
        out[count++] = step;
        from += lanes;
        rest -= lanes;
    }
    return count;
}

enum { MAX_STATIC_STEPS = 2 * STREAM_MAX_UNROLL + 4 };

// Number `turn` of the full steps that begin at `from`.
static Step step_full(Builder *b, IrValue from, int turn, bool paired) {
    Step step = {.lanes = b->lanes, .turn = turn, .slot = turn};
    step.at = step.first = build_iadd(b, from, build_i64(b, (int64_t)turn * b->lanes));
    if (!paired) return step;
    step.part = turn % 2;
    step.cols = step.part ? COLS_ODD : COLS_EVEN;
    step.first = build_iadd(b, from, build_i64(b, (int64_t)(turn - step.part) * b->lanes));
    return step;
}

// Steps from col `from` to the end, one after the other.
static int static_steps(const Stream *s, int64_t from, Step *out) {
    int64_t full = (s->cols - from) / s->b->lanes;
    ASSERT(full <= MAX_STATIC_STEPS - 4);
    for (int k = 0; k < full; k++)
        out[k] = step_full(s->b, build_i64(s->b, from), k, s->paired && (k | 1) < full);
    return (int)full + tail_steps(s, from + full * s->b->lanes, out + full);
}

bool row_fits_registers(const Stream *s) {
    if (s->cols >= (STREAM_MAX_STEPS + 1) * (int64_t)s->b->lanes) return false;
    Step steps[MAX_STATIC_STEPS];
    return static_steps(s, 0, steps) <= STREAM_MAX_STEPS;
}

// Enough independent sums to hide the latency of an addition, not so many that they leave the
// registers.
static int sweep_unroll(const Sweep *sweep) {
    int64_t knob = tile_knob(sweep->s->plan.p, "unroll", 0);
    if (knob > 0) return knob < STREAM_MAX_UNROLL ? (int)knob : STREAM_MAX_UNROLL;
    int sums = 0, values = 0;
    for (uint32_t i = 1; i < sweep->s->plan.p->ops.len; i++) {
        if (sweep_reduces(sweep, i)) sums++;
        if (sweep->in[i])
            values +=
                op_at(sweep->s, i)->kind == TILE_MAP && map_is_costly(op_at(sweep->s, i)->fn)
                    ? 8
                    : 1;
    }
    if (sums > 0) return sums >= 6 || values > 48 ? 1 : sums >= 3 || values > 24 ? 2 : 4;
    return values > 32 ? 1 : values > 8 ? 2 : 4;
}

typedef struct {
    int64_t loop_to;  // cols that the loop covers, a multiple of unroll vectors; 0: no loop
    Step rest[MAX_STATIC_STEPS];
    int rest_count;
} Walk;

static Walk walk_plan(Sweep *sweep) {
    const Stream *s = sweep->s;
    Walk walk = {0};
    sweep->unroll = sweep_unroll(sweep);
    sweep->slots = sweep->unroll;
    if (s->paired || sweep->crowded) sweep->unroll += sweep->unroll % 2;
    int64_t step = (int64_t)sweep->unroll * s->b->lanes;
    if (!s->in_registers && s->cols / step >= 2) walk.loop_to = s->cols / step * step;
    walk.rest_count = static_steps(s, walk.loop_to, walk.rest);
    for (int k = 0; walk.loop_to > 0 && k < sweep->slots; k++)
        sweep->used[k] = true;
    for (int k = 0; k < walk.rest_count; k++) {
        Step *at = &walk.rest[k];
        if (s->in_registers) at->part = k;
        if (at->slot < STREAM_MAX_UNROLL) at->slot %= sweep->slots;
        sweep->used[at->slot] = true;
    }
    return walk;
}

static void walk_emit(Sweep *sweep, const Walk *walk) {
    Builder *b = sweep->s->b;
    if (walk->loop_to > 0) {
        Loop loop = {0};
        int64_t step = (int64_t)sweep->unroll * b->lanes;
        loop_begin(b, &loop, build_i64(b, 0), build_i64(b, walk->loop_to), step);
        int together = sweep->crowded ? 2 : 1;
        for (int k = 0; k < sweep->unroll; k += together) {
            Step at[2];
            for (int n = 0; n < together; n++) {
                at[n] = step_full(b, loop.index, k + n, sweep->s->paired);
                at[n].slot %= sweep->slots;
                at[n].part = (k + n) % 2;
            }
            steps_emit(sweep, at, together);
        }
        loop_end(b, &loop);
    }
    for (int k = 0; k < walk->rest_count; k++)
        steps_emit(sweep, &walk->rest[k], 1);
}

static void sweep_emit(Stream *s, Level *l, int number) {
    Sweep sweep = sweep_new(s, l, number);
    sweep_mark(&sweep);
    sweep_order(&sweep);
    scalars_leave(&sweep);
    Walk walk = walk_plan(&sweep);
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        op_prepare(&sweep, i);
        if (sweep_reduces(&sweep, i)) accumulators_start(&sweep, i);
    }
    walk_emit(&sweep, &walk);
    reductions_finish(&sweep);
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
        l->cols[i].sweep += sweep_computes(&sweep, i);
}

void pass_emit(Stream *s, Level *l, int round) {
    s->level = l;
    for (int k = 0; k < l->sweeps; k++)
        if (l->round_of[k] == round) sweep_emit(s, l, k);
}

// ---- values of the cols that all rows share

enum {
    EARLY_ROWS = 64,              // so many times they must be needed
    EARLY_MAX_BYTES = 256 << 10,  // of all of them, so that they stay close
};

static int64_t rows_count(const TileProgram *p) {
    int64_t rows = tile_task_count(p);
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == DIM_SERIAL) rows *= p->dims[d].extent;
    return rows;
}

// Is it computed from the cols and constants alone?
static bool is_shared(const Stream *s, const bool *shared, uint32_t i) {
    const TileOp *op = op_at(s, i);
    if (!s->plan.ops[i].col || s->plan.ops[i].home != LEVEL_KERNEL) return false;
    if (op->kind == TILE_LOAD || op->kind == TILE_INDEX) return true;
    if (op->kind != TILE_MAP) return false;
    for (uint32_t k = 0; k < op->arity; k++)
        if (!shared[op->in[k].i] && tile_op(s->plan.p, op->in[k])->kind != TILE_CONST)
            return false;
    return true;
}

// Those of which something is made that differs between rows.
static void early_choose(const Stream *s, bool *out) {
    uint32_t n = s->plan.p->ops.len;
    bool *shared = arena_array(s->b->arena, bool, n);
    int64_t bytes = 0;
    for (uint32_t i = 1; i < n; i++) {
        const TileOp *op = op_at(s, i);
        shared[i] = is_shared(s, shared, i);
        for (uint32_t k = 0; !shared[i] && k < op->arity; k++) {
            uint32_t v = op->in[k].i;
            const TileOp *x = op_at(s, v);
            if (!shared[v] || out[v] || x->kind != TILE_MAP || x->type == DTYPE_BOOL) continue;
            bytes += s->cols * 4;
            out[v] = bytes <= EARLY_MAX_BYTES;
        }
    }
}

void early_emit(Stream *s) {
    const TileProgram *p = s->plan.p;
    if (s->plan.col < 0 || s->in_registers || rows_count(p) < EARLY_ROWS) return;
    if (p->dims[s->plan.col].tile != p->dims[s->plan.col].extent) return;
    Level l = {.cols = arena_array(s->b->arena, ColValue, p->ops.len),
               .sweep = arena_array(s->b->arena, int, p->ops.len)};
    Sweep sweep = sweep_new(s, &l, 0);
    bool *early = arena_array(s->b->arena, bool, p->ops.len);
    early_choose(s, early);
    for (uint32_t i = p->ops.len - 1; i > 0; i--) {
        l.sweep[i] = -1;
        l.cols[i].keep = early[i];
        sweep.in[i] = sweep.in[i] || early[i];
        if (early[i]) l.cols[i].row = build_scratch(s->b, (s->cols + BUILD_MAX_LANES) * 4);
        for (uint32_t k = 0; sweep.in[i] && k < op_at(s, i)->arity; k++)
            if (s->plan.ops[op_at(s, i)->in[k].i].col) sweep.in[op_at(s, i)->in[k].i] = true;
    }
    s->level = &l;
    sweep_order(&sweep);
    Walk walk = walk_plan(&sweep);
    for (uint32_t i = 1; i < p->ops.len; i++)
        op_prepare(&sweep, i);
    walk_emit(&sweep, &walk);
    for (uint32_t i = 1; i < p->ops.len; i++)
        s->ops[i].early = l.cols[i].row;
    s->level = NULL;
}

// ---- sums over rows

void rows_start(Stream *s, uint32_t i) {
    Builder *b = s->b;
    const TileOp *op = op_at(s, i);
    StreamOp *so = &s->ops[i];
    if (!s->plan.ops[i].col) {
        so->variable = build_variable(b, type_of(b, op->type, 1));
        build_store(b, reduce_start(b, op, 1), so->variable, 4);
        return;
    }
    if (s->in_registers) {
        Step steps[MAX_STATIC_STEPS];
        int count = static_steps(s, 0, steps);
        for (int k = 0; k < count; k++) {
            IrValue start = reduce_start(b, op, steps[k].lanes);
            so->slots[k] = build_variable(b, LLVMTypeOf(start));
            build_store(b, start, so->slots[k], 4);
        }
        return;
    }
    so->row = build_scratch(b, (s->cols + BUILD_MAX_LANES) * 4);
    Loop loop = {0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, s->cols), b->lanes);
    IrValue pointer = build_gep(b, b->f32, so->row, loop.index);
    build_store(b, reduce_start(b, op, b->lanes), pointer, 4);
    loop_end(b, &loop);
}
