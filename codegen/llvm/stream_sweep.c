// stream_sweep.c: see stream_sweep.h. No code is emitted here.
#include "codegen/llvm/stream_sweep.h"

#include <stdlib.h>

#include "codegen/llvm/map.h"
#include "ir/tile/tile_access.h"

enum { KEEP_MAX_BYTES = 1 << 20 };

static const TileOp *op_at(const Stream *s, uint32_t i) { return &s->plan.p->ops.ptr[i]; }

// ---- which sums a sweep makes

// Sums that registers hold beside what they are made of.
static int sums_most(const Stream *s) { return level_is_avx512(s->b->level) ? 24 : 10; }

// Values of the cols that registers hold beside what is made of them.
static int values_most(const Stream *s) { return level_is_avx512(s->b->level) ? 28 : 12; }

static int sweeps_of(const Stream *s, const Level *l, int round, int *sums) {
    *sums = 0;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
        *sums += stream_reduces(&s->plan, &l->plan, i, round);
    int most = sums_most(s);
    return s->in_registers || *sums == 0 ? 1 : (*sums + most - 1) / most;
}

typedef struct {
    uint32_t op, row;
} RowSum;

static int by_row(const void *x, const void *y) {
    const RowSum *a = x, *b = y;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    return a->op < b->op ? -1 : 1;
}

// Sums of the same row come together: few sweeps load it, and it waits in a register for them
// alone. The row is the first of those that the operand is computed from.
static void sums_order(Stream *s, Level *l) {
    uint32_t n = s->plan.p->ops.len;
    uint32_t *row = arena_array(s->b->arena, uint32_t, n);
    RowSum *order = arena_array(s->b->arena, RowSum, n);
    for (uint32_t i = 0; i < n; i++) {
        const TileOp *op = op_at(s, i);
        const StreamPlace *place = &s->plan.ops[i];
        row[i] = UINT32_MAX;
        if (op->kind == TILE_REDUCE && !place->over_serial && place->home == l->plan.level)
            order[l->sum_count++] = (RowSum){i, row[op->in[0].i]};
        if (!place->col || place->home < l->plan.level) continue;
        if (op->kind == TILE_LOAD || op->kind == TILE_REDUCE) row[i] = i;
        for (uint32_t k = 0; op->kind == TILE_MAP && k < op->arity; k++)
            row[i] = row[op->in[k].i] < row[i] ? row[op->in[k].i] : row[i];
    }
    qsort(order, (size_t)l->sum_count, sizeof *order, by_row);
    l->sums = arena_array(s->b->arena, uint32_t, n);
    for (int k = 0; k < l->sum_count; k++)
        l->sums[k] = order[k].op;
}

static void sums_share_out(const Stream *s, Level *l, int round, int each) {
    for (int k = 0, seen = 0; k < l->sum_count; k++)
        if (stream_reduces(&s->plan, &l->plan, l->sums[k], round))
            l->sweep[l->sums[k]] = l->sweeps + seen++ / each;
}

// Stores come last: behind all loads of the row.
static void sweeps_plan(Stream *s, Level *l) {
    uint32_t n = s->plan.p->ops.len;
    sums_order(s, l);
    l->sweep = arena_array(s->b->arena, int, n);
    l->round_of = arena_array(s->b->arena, int, n);
    for (uint32_t i = 0; i < n; i++)
        l->sweep[i] = -1;
    for (int round = 0; round <= l->plan.last_col; round++) {
        if (!stream_pass_due(&s->plan, &l->plan, round)) continue;
        int sums, sweeps = sweeps_of(s, l, round, &sums);
        if (sums > 0) sums_share_out(s, l, round, (sums + sweeps - 1) / sweeps);
        for (uint32_t i = 1; i < n; i++)
            if (stream_ends_at_cols(&s->plan, &l->plan, i, round))
                l->sweep[i] = l->sweeps + sweeps - 1;
        for (int k = 0; k < sweeps; k++)
            l->round_of[l->sweeps++] = round;
    }
}

bool sweep_reduces(const Sweep *sweep, uint32_t i) {
    return sweep->level->sweep[i] == sweep->number && op_at(sweep->s, i)->kind == TILE_REDUCE &&
           !sweep->s->plan.ops[i].over_serial;
}

bool sweep_ends(const Sweep *sweep, uint32_t i) {
    return sweep->level->sweep[i] == sweep->number && !sweep_reduces(sweep, i);
}

static bool may_keep(const Stream *s, uint32_t i) {
    const TileOp *op = op_at(s, i);
    if (tile_knob(s->plan.p, "keep", -1) == 0 || op->type == DTYPE_BOOL) return false;
    if (s->cols * 4 > KEEP_MAX_BYTES) return false;
    if (op->kind == TILE_GATHER) return s->plan.ops[op->in[0].i].col;
    return op->kind == TILE_MAP && map_is_costly(op->fn);
}

// Does this sweep find the value where an earlier one left it?
bool sweep_finds(const Sweep *sweep, uint32_t i) {
    if (sweep->s->ops[i].early) return true;
    const ColValue *v = &sweep->level->cols[i];
    bool earlier = v->first >= 0 && v->first < sweep->number;
    return earlier && (sweep->s->in_registers || v->keep);
}

void sweep_mark(Sweep *sweep) {
    const Stream *s = sweep->s;
    Level *l = sweep->level;
    for (uint32_t i = s->plan.p->ops.len - 1; i > 0; i--) {
        const TileOp *op = op_at(s, i);
        bool end = l->sweep[i] == sweep->number;
        if (!end && !sweep->in[i]) continue;
        ColValue *v = &l->cols[i];
        if (sweep->in[i] && !s->ops[i].early) {
            if (v->first < 0) v->first = sweep->number;
            if (v->first < sweep->number && may_keep(s, i)) v->keep = true;
        }
        // A sum over rows is complete here: its own operand is another level's matter.
        bool source = op->kind == TILE_REDUCE && !end;
        if (source || (!end && sweep_finds(sweep, i))) continue;
        for (uint32_t k = 0; k < op->arity; k++)
            if (s->plan.ops[op->in[k].i].col) sweep->in[op->in[k].i] = true;
    }
}

Sweep sweep_new(Stream *s, Level *l, int number) {
    Sweep sweep = {.s = s, .level = l, .number = number};
    sweep.in = arena_array(s->b->arena, bool, s->plan.p->ops.len);
    return sweep;
}

bool sweep_computes(const Sweep *sweep, uint32_t i) {
    return sweep->in[i] && !sweep_finds(sweep, i);
}

// Else it is found, loaded, or another level's matter.
static bool needs_operands(const Sweep *sweep, uint32_t i) {
    return sweep->level->sweep[i] == sweep->number || sweep_computes(sweep, i);
}

static void order_visit(Sweep *sweep, bool *seen, uint32_t i) {
    const TileOp *op = op_at(sweep->s, i);
    if (seen[i]) return;
    seen[i] = true;
    for (uint32_t k = 0; needs_operands(sweep, i) && k < op->arity; k++)
        if (sweep->in[op->in[k].i]) order_visit(sweep, seen, op->in[k].i);
    sweep->order[sweep->count++] = i;
}

// Empty; and which operations are in it.
static bool *order_new(Sweep *sweep) {
    uint32_t n = sweep->s->plan.p->ops.len;
    sweep->order = arena_array(sweep->s->b->arena, uint32_t, n);
    sweep->count = 0;
    return arena_array(sweep->s->b->arena, bool, n);
}

// A sum takes its operand as soon as that is there, so that few values wait in registers.
static void order_make(Sweep *sweep, bool by_rows) {
    const Level *l = sweep->level;
    uint32_t n = sweep->s->plan.p->ops.len;
    bool *seen = order_new(sweep);
    for (int k = 0; by_rows && k < l->sum_count; k++)
        if (sweep_reduces(sweep, l->sums[k])) order_visit(sweep, seen, l->sums[k]);
    for (uint32_t i = 1; i < n; i++)
        if (sweep_reduces(sweep, i)) order_visit(sweep, seen, i);
    for (uint32_t i = 1; i < n; i++)
        if (sweep->in[i] || sweep_ends(sweep, i)) order_visit(sweep, seen, i);
}

// Values of the cols that wait at once for the last of their uses.
static int order_waiting(const Sweep *sweep) {
    const Stream *s = sweep->s;
    uint32_t *uses = arena_array(s->b->arena, uint32_t, s->plan.p->ops.len);
    int waiting = 0, most = 0;
    for (int count = 1; count >= 0; count--)
        for (uint32_t k = 0; k < sweep->count; k++) {
            uint32_t i = sweep->order[k];
            const TileOp *op = op_at(s, i);
            for (uint32_t a = 0; needs_operands(sweep, i) && a < op->arity; a++) {
                if (count)
                    uses[op->in[a].i]++;
                else if (sweep->in[op->in[a].i] && --uses[op->in[a].i] == 0)
                    waiting--;
            }
            if (count == 0 && sweep->in[i]) most = ++waiting > most ? waiting : most;
        }
    return most;
}

// Is all there that this is computed of in the sweep, and is it computed of anything?
static bool order_ready(const Sweep *sweep, const bool *seen, uint32_t i) {
    const TileOp *op = op_at(sweep->s, i);
    bool any = false;
    for (uint32_t k = 0; needs_operands(sweep, i) && k < op->arity; k++) {
        if (!sweep->in[op->in[k].i]) continue;
        if (!seen[op->in[k].i]) return false;
        any = true;
    }
    return any;
}

static void order_follow(Sweep *sweep, bool *seen) {
    for (uint32_t i = 1; i < sweep->s->plan.p->ops.len; i++) {
        bool here = sweep->in[i] || sweep_ends(sweep, i) || sweep_reduces(sweep, i);
        if (seen[i] || !here || !order_ready(sweep, seen, i)) continue;
        seen[i] = true;
        sweep->order[sweep->count++] = i;
    }
}

// What is loaded goes at once into all sums of products that it is part of: so they grow side
// by side, and none of them waits for its own last addition.
static void order_spread(Sweep *sweep) {
    uint32_t n = sweep->s->plan.p->ops.len;
    Sweep needs = *sweep;
    bool *seen = order_new(&needs);
    for (uint32_t i = 1; i < n; i++)
        if (sweep->level->sweep[i] == sweep->number) order_visit(&needs, seen, i);
    for (uint32_t i = 1; i < n; i++)
        if (sweep->in[i]) order_visit(&needs, seen, i);
    seen = order_new(sweep);
    for (uint32_t k = 0; k < needs.count; k++) {
        if (seen[needs.order[k]]) continue;
        seen[needs.order[k]] = true;
        sweep->order[sweep->count++] = needs.order[k];
        order_follow(sweep, seen);
    }
}

// Sums row by row, or in the order of the program: what most of them share waits for all.
void sweep_order(Sweep *sweep) {
    order_make(sweep, true);
    Sweep other = *sweep;
    order_make(&other, false);
    Sweep spread = other;
    order_spread(&spread);
    if (order_waiting(&other) < order_waiting(sweep)) *sweep = other;
    if (order_waiting(&spread) <= values_most(sweep->s)) *sweep = spread;
    sweep->waiting = order_waiting(sweep);
}

// Memory is never idle if all sweeps ask for what comes later, evenly: each for all of some
// rows, or, where there are fewer rows than sweeps, for its part of every one.
static void prefetches_plan(const Stream *s, Level *l) {
    int rows = 0, next = 0;
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
        rows += l->cols[i].sweeps > 0 && access_prefetches(s, l, i);
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++) {
        ColValue *v = &l->cols[i];
        bool whole = v->sweeps > 0 && rows >= l->sweeps && access_prefetches(s, l, i);
        v->asks = whole ? next++ % v->sweeps : -1;
    }
}

// What is kept is known only once all sweeps are.
static void passes_plan(Stream *s, Level *l) {
    sweeps_plan(s, l);
    for (int k = 0; k < l->sweeps; k++) {
        Sweep sweep = sweep_new(s, l, k);
        sweep_mark(&sweep);
    }
    for (int k = 0; k < l->sweeps; k++) {
        Sweep sweep = sweep_new(s, l, k);
        sweep_mark(&sweep);
        for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
            l->cols[i].sweeps += sweep_computes(&sweep, i);
    }
    prefetches_plan(s, l);
    for (uint32_t i = 1; i < s->plan.p->ops.len; i++)
        if (l->cols[i].keep && !s->in_registers)
            l->cols[i].row = build_scratch(s->b, (s->cols + BUILD_MAX_LANES) * 4);
}

Level level_new(Stream *s, int level, const bool *target) {
    uint32_t n = s->plan.p->ops.len;
    Level l = {.plan = stream_level(&s->plan, level, target),
               .cols = arena_array(s->b->arena, ColValue, n)};
    for (uint32_t i = 0; i < n; i++)
        l.cols[i].first = -1;
    passes_plan(s, &l);
    return l;
}
