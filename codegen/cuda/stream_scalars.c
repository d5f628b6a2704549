// stream_scalars.c: values without cols that are too many for the registers of every thread:
// attention over depth has one for each pair of a source and a query. A block that shares them
// has them in shared memory. What is reduced over cols is put there by the lanes of each warp
// and then added up over the warps. Of all others, those that are needed later than where they
// are computed have a place; warps share the work out among them.
#include "codegen/cuda/stream.h"
#include "ir/tile/tile_access.h"

enum { LEAST_OF_WARP = 4, LEAST_STORES = 8 };

static uint32_t op_count(const Stream *s) { return s->plan.p->ops.len; }

bool scalars_shares(const Stream *s, uint32_t i) {
    const TileOp *op = stream_op(s, i);
    const StreamPlace *place = &s->plan.ops[i];
    if (!s->shape.shares || op->type != DTYPE_F32 || place->col || place->home < LEVEL_TASK)
        return false;
    bool loads = op->kind == TILE_LOAD || op->kind == TILE_GATHER;
    return loads || op->kind == TILE_MAP || (op->kind == TILE_REDUCE && !place->over_serial);
}

int64_t scalars_words(const Stream *s) {
    if (!s->shape.shares) return 0;
    return s->needs.shared_scalars + s->shape.threads / 32 * s->needs.shared_sums;
}

void scalars_start(Stream *s) {
    uint32_t n = op_count(s);
    s->scalars = (StreamScalars){.place = arena_array(s->w->arena, int, n),
                                 .local = arena_array(s->w->arena, bool, n)};
    for (uint32_t i = 0; i < n; i++)
        s->scalars.place[i] = -1;
    if (!s->shape.shares) return;
    cuda_line(s->w, "float *const scalars = (float *)shared + %lld;",
              (long long)(stream_shared_words(s) - scalars_words(s)));
    cuda_line(s->w, "float *const warp_sums = scalars + %d + threadIdx.x / 32 * %d;",
              s->needs.shared_scalars, s->needs.shared_sums);
}

bool scalars_place(const Stream *s, uint32_t i) {
    return s->scalars.place[i] >= 0 && !s->scalars.local[i];
}

static int place_new(Stream *s, uint32_t i) {
    s->scalars.place[i] = s->scalars.count++;
    if (s->scalars.count > s->measured.shared_scalars)
        s->measured.shared_scalars = s->scalars.count;
    return s->scalars.place[i];
}

// ---- reductions over the cols

void scalars_of_warp(Stream *s, const uint32_t *sums, int count, Str first) {
    StrBuf list = {0};
    for (int k = 0; k < count; k++) {
        place_new(s, sums[k]);
        strbuf_addf(&list, "%s%.*s", k ? ", " : "",
                    STR_ARG(cuda_name(s->w, (TileId){sums[k]})));
    }
    bool sum = stream_op(s, sums[0])->fn == OP_REDUCE_SUM;
    int *done = &s->scalars.reduced[sum ? 0 : 1], before = s->scalars.reduced[0];
    if (!sum) before += s->scalars.reduced[1];
    cuda_line(s->w, "float all[%d] = {%s};", count, list.ptr);
    cuda_line(s->w, "lanes_reduce_to<%s, %d>(warp_sums + %d, all, %.*s);", sum ? "Sum" : "Max",
              count, before, STR_ARG(first));
    *done += count;
    if (before + count > s->measured.shared_sums) s->measured.shared_sums = before + count;
    strbuf_release(&list);
}

void scalars_of_block(Stream *s) {
    static const char *const combine[] = {"Sum", "Max"};
    int *reduced = s->scalars.reduced, all = reduced[0] + reduced[1];
    if (all == 0) return;
    cuda_line(s->w, "__syncthreads();");
    for (int k = 0, first = 0; k < 2; first += reduced[k++])
        if (reduced[k] > 0)
            cuda_line(s->w, "warps_reduce<%s, %d>(scalars + %d, scalars + %d, %d, %d);",
                      combine[k], s->shape.threads / 32, s->scalars.count - all + first,
                      s->needs.shared_scalars + first, s->needs.shared_sums, reduced[k]);
    cuda_line(s->w, "__syncthreads();");
    s->scalars.waited = true;
    reduced[0] = reduced[1] = 0;
}

// ---- what is computed of them

typedef struct {
    Stream *s;
    const Level *l;
    int round;
    bool *here, *later;  // by TileId: computed in this round; needed outside of it
    bool *ready;         // those that are in shared memory already
} Round;

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

// Everything of this round that the marked values are computed from, but what is ready.
static void cone_write(const Round *r, bool *marked) {
    Stream *s = r->s;
    for (uint32_t i = op_count(s) - 1; i > 0; i--) {
        const TileOp *op = stream_op(s, i);
        for (uint32_t k = 0; marked[i] && k < op->arity; k++)
            if (r->here[op->in[k].i] && !r->ready[op->in[k].i]) marked[op->in[k].i] = true;
    }
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (!marked[i]) continue;
        s->scalars.local[i] = true;
        stream_scalar_write(s, i);
    }
}

static void cone_forget(Stream *s, const bool *marked) {
    for (uint32_t i = 1; i < op_count(s); i++)
        if (marked[i]) s->scalars.local[i] = false;
}

// One warp's share: these values, all its lanes alike.
static void share_write(const Round *r, const uint32_t *values, int count, int warp) {
    Stream *s = r->s;
    bool *marked = arena_array(s->w->arena, bool, op_count(s));
    for (int k = 0; k < count; k++)
        marked[values[k]] = true;
    cuda_open(s->w, "if (threadIdx.x / 32 == %d)", warp);
    cone_write(r, marked);
    cuda_open(s->w, "if (threadIdx.x %% 32 == 0)");
    for (int k = 0; k < count; k++)
        cuda_line(s->w, "scalars[%d] = %.*s;", place_new(s, values[k]),
                  STR_ARG(cuda_name(s->w, (TileId){values[k]})));
    cuda_close(s->w);
    cuda_close(s->w);
    cone_forget(s, marked);
}

static int share_of(const Stream *s, int count, int least) {
    int warps = s->shape.threads / 32, each = (count - 1) / warps + 1;
    return each > least ? each : least;
}

// These values, shared out among the warps in their order.
static void values_write(const Round *r, const uint32_t *values, int count) {
    Stream *s = r->s;
    if (count == 0) return;
    // Those who are behind may still read the places.
    if (!s->scalars.waited) cuda_line(s->w, "__syncthreads();");
    int each = share_of(s, count, LEAST_OF_WARP);
    for (int first = 0; first < count; first += each)
        share_write(r, values + first, count - first < each ? count - first : each,
                    first / each);
    cuda_line(s->w, "__syncthreads();");
    s->scalars.waited = true;
    for (int k = 0; k < count; k++)
        r->ready[values[k]] = true;
}

// Values that take some work and that several warps would compute, by the values that they are
// given. Of those the ones that others are computed from come first, and are shared out too.
static int values_first(const Round *r, const uint32_t *values, int count, uint32_t *first) {
    enum { LEAST_WORK = 8, MUCH_WORK = 1000 };
    Stream *s = r->s;
    uint32_t n = op_count(s), *warps = arena_array(s->w->arena, uint32_t, n);
    int *work = arena_array(s->w->arena, int, n), each = share_of(s, count, LEAST_OF_WARP);
    for (int k = 0; k < count; k++)
        warps[values[k]] |= 1U << k / each;
    bool *used = arena_array(s->w->arena, bool, n);  // by what only one warp computes
    for (uint32_t i = n - 1; i > 0; i--) {
        const TileOp *op = stream_op(s, i);
        for (uint32_t k = 0; k < op->arity; k++)
            if (r->here[op->in[k].i]) warps[op->in[k].i] |= warps[i];
    }
    for (uint32_t i = 1; i < n; i++) {
        const TileOp *op = stream_op(s, i);
        bool several = (warps[i] & (warps[i] - 1)) != 0;
        work[i] = 1;
        for (uint32_t k = 0; r->here[i] && k < op->arity; k++) {
            uint32_t in = op->in[k].i;
            if (!r->here[in]) continue;
            work[i] = work[i] + work[in] < MUCH_WORK ? work[i] + work[in] : MUCH_WORK;
            used[in] = used[in] || !several;
        }
    }
    int found = 0;
    for (uint32_t i = 1; i < n; i++) {
        bool several = (warps[i] & (warps[i] - 1)) != 0;
        if (r->here[i] && several && work[i] >= LEAST_WORK && (used[i] || r->later[i]) &&
            scalars_shares(s, i))
            first[found++] = i;
    }
    return found;
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
    if (count > 0) values_write(&r, first, values_first(&r, values, count, first));
    for (int k = 0; k < count; k++)
        if (!r.ready[values[k]]) values[left++] = values[k];
    values_write(&r, values, left);
    cone_write(&r, rest);
}

// ---- stores

void scalars_store(Stream *s, const uint32_t *stores, int count) {
    int each = share_of(s, count, LEAST_STORES);
    for (int first = 0; first < count; first += each) {
        cuda_open(s->w, "if (lane == %d)", first / each * 32);
        for (int k = first; k < count && k < first + each; k++)
            stream_scalar_store(s, stores[k]);
        cuda_close(s->w);
    }
}
