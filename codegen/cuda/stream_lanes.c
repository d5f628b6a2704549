// stream_lanes.c: values without cols in a block that shares its scalars. Attention over depth
// computes the same of each pair of a source and a query, of other places. Values that are
// alike so, and whose places are in even steps, are a *run*: its text is written once, and each
// lane of a warp computes another of its values.
//
//     if (const int at = (int)threadIdx.x - 32; (u32)at < 12U) {
//         const float sub_571 = scalars[40 + at * 3] - scalars[7];
//         scalars[96 + at] = expf(sub_571);
//     }
//
// A value's *cone* is what it is computed from that is neither ready in shared memory nor
// constant.
#include "codegen/cuda/stream.h"
#include "ir/tile/tile_access.h"

enum { LANES = 32 };

typedef struct {
    Stream *s;
    const Level *l;
    int round;
    bool *here, *later;  // by TileId: computed in this round; needed outside of it
    bool *ready;         // those that are in shared memory already
} Round;

static uint32_t op_count(const Stream *s) { return s->plan.p->ops.len; }

static Round round_new(Stream *s, const Level *l, int round) {
    uint32_t n = op_count(s);
    Round r = {s, l, round, .here = arena_array(s->w->arena, bool, n)};
    r.later = arena_array(s->w->arena, bool, n);
    r.ready = arena_array(s->w->arena, bool, n);
    for (uint32_t i = 1; i < n; i++) {
        const TileOp *op = stream_op(s, i);
        r.here[i] = op->kind != TILE_CONST && stream_scalar(&s->plan, &l->plan, i, round);
        for (uint32_t k = 0; !r.here[i] && k < op->arity; k++)
            r.later[op->in[k].i] = r.here[op->in[k].i];
    }
    return r;
}

// ---- cones

typedef struct {
    uint32_t *ops;  // in the order of the program; the last is the value
    uint32_t count;
} Cone;

static bool is_inside(const Round *r, uint32_t i) { return r->here[i] && !r->ready[i]; }

static void cone_add(const Round *r, uint32_t i, bool *marked, uint32_t *count) {
    if (marked[i]) return;
    marked[i] = true;
    ++*count;
    const TileOp *op = stream_op(r->s, i);
    for (uint32_t k = 0; k < op->arity; k++)
        if (is_inside(r, op->in[k].i)) cone_add(r, op->in[k].i, marked, count);
}

// `marked` has no marks, before and after.
static Cone cone_of(const Round *r, uint32_t value, bool *marked) {
    Cone cone = {0};
    uint32_t count = 0;
    cone_add(r, value, marked, &count);
    cone.ops = arena_array(r->s->w->arena, uint32_t, count);
    for (uint32_t i = 1; cone.count < count; i++) {
        if (!marked[i]) continue;
        marked[i] = false;
        cone.ops[cone.count++] = i;
    }
    return cone;
}

static void cone_write(const Round *r, const Cone *cone) {
    for (uint32_t t = 0; t < cone->count; t++) {
        r->s->scalars.local[cone->ops[t]] = true;
        stream_scalar_write(r->s, cone->ops[t]);
    }
}

static void cone_forget(const Round *r, const Cone *cone) {
    for (uint32_t t = 0; t < cone->count; t++)
        r->s->scalars.local[cone->ops[t]] = false;
}

// ---- runs

// Two cones, operation by operation: how far the places of the second are from those of the
// first. By TileId of the first: operands in shared memory, and loads.
typedef struct {
    const Round *r;
    int64_t *distance;
    bool *known;
    uint32_t *list;  // what is known
    uint32_t count;
} Match;

static bool distance_note(Match *m, uint32_t i, int64_t distance) {
    if (m->known[i]) return m->distance[i] == distance;
    m->known[i] = true;
    m->distance[i] = distance;
    m->list[m->count++] = i;
    return true;
}

static bool same_guard(const TileGuard *x, const TileGuard *y) {
    return x->dim == y->dim &&
           (x->dim < 0 || (x->div == y->div && x->mod == y->mod && x->shift == y->shift &&
                           x->lo == y->lo && x->hi == y->hi));
}

// But for the offset.
static bool same_access(const TileOp *x, const TileOp *y) {
    bool same = x->access.arg == y->access.arg && x->index_stride == y->index_stride &&
                x->index_count == y->index_count;
    for (int d = 0; same && d < TILE_MAX_DIMS; d++)
        same = x->access.stride[d] == y->access.stride[d];
    return same && same_guard(&x->access.guard[0], &y->access.guard[0]) &&
           same_guard(&x->access.guard[1], &y->access.guard[1]);
}

static uint32_t position(const Cone *cone, uint32_t i) {
    uint32_t t = 0;
    while (t < cone->count && cone->ops[t] != i)
        t++;
    return t;
}

static bool operands_match(Match *m, const Cone *x, const Cone *y, uint32_t i, uint32_t j) {
    const Stream *s = m->r->s;
    if (is_inside(m->r, i) || is_inside(m->r, j)) return position(x, i) == position(y, j);
    const TileOp *a = stream_op(s, i), *b = stream_op(s, j);
    if (a->kind == TILE_CONST && b->kind == TILE_CONST) return a->number == b->number;
    if (scalars_place(s, i) && scalars_place(s, j))
        return distance_note(m, i, s->scalars.place[j] - s->scalars.place[i]);
    return i == j;
}

static bool ops_match(Match *m, const Cone *x, const Cone *y, uint32_t t) {
    const TileOp *a = stream_op(m->r->s, x->ops[t]), *b = stream_op(m->r->s, y->ops[t]);
    if (a->kind != b->kind || a->fn != b->fn || a->type != b->type || a->arity != b->arity)
        return false;
    bool accesses = tile_op_accesses(a->kind);
    if (a->kind == TILE_SCATTER) return x == y;
    if (accesses && !(same_access(a, b) &&
                      distance_note(m, x->ops[t], b->access.offset - a->access.offset)))
        return false;
    if (a->kind == TILE_INDEX && !same_guard(&a->access.guard[0], &b->access.guard[0]))
        return false;
    for (uint32_t k = 0; k < a->arity; k++)
        if (!operands_match(m, x, y, a->in[k].i, b->in[k].i)) return false;
    return true;
}

static bool cones_match(Match *m, const Cone *x, const Cone *y) {
    bool match = x->count == y->count;
    while (m->count > 0)
        m->known[m->list[--m->count]] = false;
    for (uint32_t t = 0; match && t < x->count; t++)
        match = ops_match(m, x, y, t);
    return match;
}

// Does the second cone go on with the run of the first as number `number`?
static bool run_goes_on(Match *m, const Cone *x, const Cone *y, int number) {
    if (!cones_match(m, x, y)) return false;
    int64_t *step = m->r->s->scalars.step;
    for (uint32_t k = 0; k < m->count; k++) {
        uint32_t i = m->list[k];
        if (number == 1) step[i] = m->distance[i];
        if (m->distance[i] != number * step[i]) return false;
    }
    return true;
}

static void steps_forget(Match *m, const Cone *x) {
    if (!cones_match(m, x, x)) return;
    for (uint32_t k = 0; k < m->count; k++)
        m->r->s->scalars.step[m->list[k]] = 0;
}

static void run_write(const Round *r, const Cone *cone, const uint32_t *values, int count,
                      int warp) {
    Stream *s = r->s;
    cuda_open(s->w, "if (const int at = (int)threadIdx.x - %d; (u32)at < %dU)", warp * LANES,
              count);
    if (tile_op_writes(stream_op(s, values[0])->kind)) {
        stream_scalar_store(s, values[0]);
        cuda_close(s->w);
        return;
    }
    int first = scalars_place_new(s, values[0]);
    for (int k = 1; k < count; k++)
        scalars_place_new(s, values[k]);
    cone_write(r, cone);
    cuda_line(s->w, "scalars[%d%s] = %.*s;", first, count > 1 ? " + at" : "",
              STR_ARG(cuda_name(s->w, (TileId){values[0]})));
    cuda_close(s->w);
    cone_forget(r, cone);
}

// These values, or stores, in runs, which warps take in turn.
static void runs_write(const Round *r, const uint32_t *values, int count) {
    Stream *s = r->s;
    Arena *arena = s->w->arena;
    uint32_t n = op_count(s), run[LANES];
    Match match = {.r = r,
                   .distance = arena_array(arena, int64_t, n),
                   .known = arena_array(arena, bool, n),
                   .list = arena_array(arena, uint32_t, n)};
    bool *marked = arena_array(arena, bool, n),
         *taken = arena_array(arena, bool, (size_t)count);
    Cone *cones = arena_array(arena, Cone, (size_t)count);
    for (int k = 0; k < count; k++)
        cones[k] = cone_of(r, values[k], marked);
    for (int k = 0, runs = 0; k < count; k++) {
        if (taken[k]) continue;
        int length = 1;
        run[0] = values[k];
        for (int next = k + 1; next < count && length < LANES; next++) {
            if (taken[next] || !run_goes_on(&match, &cones[k], &cones[next], length)) continue;
            taken[next] = true;
            run[length++] = values[next];
        }
        if (length == 1) steps_forget(&match, &cones[k]);
        run_write(r, &cones[k], run, length, runs++ % (s->shape.threads / LANES));
        steps_forget(&match, &cones[k]);
    }
}

static void values_write(const Round *r, const uint32_t *values, int count) {
    Stream *s = r->s;
    if (count == 0) return;
    // Those who are behind may still read the places.
    if (!s->scalars.waited) cuda_line(s->w, "__syncthreads();");
    runs_write(r, values, count);
    cuda_line(s->w, "__syncthreads();");
    s->scalars.waited = true;
    for (int k = 0; k < count; k++)
        r->ready[values[k]] = true;
}

// By TileId: which of the given values needs it, or that several do.
enum { SEVERAL = UINT32_MAX };
static uint32_t *users_of(const Round *r, const uint32_t *values, int count) {
    const Stream *s = r->s;
    uint32_t n = op_count(s), *user = arena_array(s->w->arena, uint32_t, n);
    for (int k = 0; k < count; k++)
        user[values[k]] = values[k];
    for (uint32_t i = n - 1; i > 0; i--) {
        const TileOp *op = stream_op(s, i);
        for (uint32_t k = 0; user[i] && k < op->arity; k++) {
            uint32_t in = op->in[k].i;
            if (r->here[in]) user[in] = user[in] ? SEVERAL : user[i];
        }
    }
    return user;
}

// Values that take some work and that are operands of several operations for several of the
// given values: they are computed first.
static int values_first(const Round *r, const uint32_t *values, int count, uint32_t *first) {
    enum { LEAST_WORK = 8, LOAD_WORK = 4, MUCH_WORK = 1000 };
    const Stream *s = r->s;
    const uint32_t *user = users_of(r, values, count);
    uint32_t n = op_count(s);
    int *work = arena_array(s->w->arena, int, n), *uses = arena_array(s->w->arena, int, n);
    int found = 0;
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t k = 0; user[i] && k < stream_op(s, i)->arity; k++)
            uses[stream_op(s, i)->in[k].i]++;
    for (int k = 0; k < count; k++)
        uses[values[k]]++;
    for (uint32_t i = 1; i < n; i++) {
        const TileOp *op = stream_op(s, i);
        if (!r->here[i]) continue;
        work[i] = op->kind == TILE_LOAD || op->kind == TILE_GATHER ? LOAD_WORK : 1;
        for (uint32_t k = 0; k < op->arity; k++)
            work[i] += work[i] < MUCH_WORK ? work[op->in[k].i] : 0;
        if (user[i] != SEVERAL || uses[i] < 2 || !scalars_shares(s, i)) continue;
        if (work[i] < LEAST_WORK) continue;
        first[found++] = i;
        work[i] = 0;
    }
    return found;
}

// Everything of this round that all threads need in variables.
static void rest_write(const Round *r, bool *rest) {
    Stream *s = r->s;
    for (uint32_t i = op_count(s) - 1; i > 0; i--) {
        const TileOp *op = stream_op(s, i);
        for (uint32_t k = 0; rest[i] && k < op->arity; k++)
            if (is_inside(r, op->in[k].i)) rest[op->in[k].i] = true;
    }
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (!rest[i]) continue;
        s->scalars.local[i] = true;
        stream_scalar_write(s, i);
    }
}

// By TileId: how many of the marked values lie one behind the other on the way to it.
static int *depths_of(const Round *r, const uint32_t *values, int count) {
    uint32_t n = op_count(r->s);
    int *depth = arena_array(r->s->w->arena, int, n);
    bool *marked = arena_array(r->s->w->arena, bool, n);
    for (int k = 0; k < count; k++)
        marked[values[k]] = true;
    for (uint32_t i = 1; i < n; i++) {
        const TileOp *op = stream_op(r->s, i);
        for (uint32_t k = 0; r->here[i] && k < op->arity; k++) {
            uint32_t in = op->in[k].i;
            int behind = depth[in] + (marked[in] ? 1 : 0);
            if (r->here[in] && behind > depth[i]) depth[i] = behind;
        }
    }
    return depth;
}

// Each after those that it is computed from.
static void first_write(const Round *r, const uint32_t *values, int count) {
    const int *depth = depths_of(r, values, count);
    uint32_t *same = arena_array(r->s->w->arena, uint32_t, (size_t)count + 1);
    for (int written = 0, at = 0; written < count; at++) {
        int some = 0;
        for (int k = 0; k < count; k++)
            if (depth[values[k]] == at) same[some++] = values[k];
        values_write(r, same, some);
        written += some;
    }
}

void scalars_write_shared(Stream *s, const Level *l, int round) {
    Round r = round_new(s, l, round);
    uint32_t n = op_count(s), *values = arena_array(s->w->arena, uint32_t, n),
             *first = arena_array(s->w->arena, uint32_t, n);
    int count = 0, left = 0;
    bool *rest = arena_array(s->w->arena, bool, n);
    for (uint32_t i = 1; i < n; i++) {
        if (r.later[i] && scalars_shares(s, i))
            values[count++] = i;
        else
            rest[i] = r.later[i];
    }
    first_write(&r, first, values_first(&r, values, count, first));
    for (int k = 0; k < count; k++)
        if (!r.ready[values[k]]) values[left++] = values[k];
    values_write(&r, values, left);
    rest_write(&r, rest);
}

// All that they store is there already.
void scalars_store(Stream *s, const uint32_t *stores, int count) {
    bool *none = arena_array(s->w->arena, bool, op_count(s));
    Round r = {.s = s, .here = none, .later = none, .ready = none};
    runs_write(&r, stores, count);
}
