// stream_scalars.c: values without cols that are too many for the registers of every thread:
// attention over depth has one for each pair of a source and a query. A block that shares them
// has them in shared memory. What is reduced over cols is put there by the lanes of each warp
// and then added up over the warps. Of all others, those that are needed later than where they
// are computed have a place (stream_lanes.c).
#include "codegen/cuda/stream.h"

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
                                 .local = arena_array(s->w->arena, bool, n),
                                 .step = arena_array(s->w->arena, int64_t, n),
                                 .sums = arena_array(s->w->arena, uint32_t, n)};
    for (uint32_t i = 0; i < n; i++)
        s->scalars.place[i] = -1;
    // Of a single row all may be known to the whole kernel, and nothing is shared.
    if (scalars_words(s) == 0) return;
    cuda_line(s->w, "float *const scalars = (float *)shared + %lld;",
              (long long)(stream_shared_words(s) - scalars_words(s)));
    cuda_line(s->w, "float *const warp_sums = scalars + %d + threadIdx.x / 32 * %d;",
              s->needs.shared_scalars, s->needs.shared_sums);
}

bool scalars_place(const Stream *s, uint32_t i) {
    return s->scalars.place[i] >= 0 && !s->scalars.local[i];
}

int scalars_place_new(Stream *s, uint32_t i) {
    s->scalars.place[i] = s->scalars.count++;
    if (s->scalars.count > s->measured.shared_scalars)
        s->measured.shared_scalars = s->scalars.count;
    return s->scalars.place[i];
}

// ---- reductions over the cols

void scalars_of_warp(Stream *s, const uint32_t *sums, int count, Str first) {
    StrBuf list = {0};
    for (int k = 0; k < count; k++) {
        s->scalars.sums[s->scalars.reduced[0] + s->scalars.reduced[1] + k] = sums[k];
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

// Gives `count` sums of the warps, from `first` on, places in the order of the program: so what
// is alike lies in even steps, whatever the groups are. The table of places; empty: they lie as
// warps have them.
static Str places_of_sums(Stream *s, int first, int count) {
    const uint32_t *sums = s->scalars.sums + first;
    bool *has = arena_array(s->w->arena, bool, op_count(s)), in_order = true;
    int start = s->scalars.count;
    for (int k = 0; k < count; k++)
        has[sums[k]] = true;
    for (uint32_t i = 1; i < op_count(s); i++)
        if (has[i]) scalars_place_new(s, i);
    StrBuf list = {0};
    for (int k = 0; k < count; k++) {
        int place = s->scalars.place[sums[k]] - start;
        in_order = in_order && place == k;
        strbuf_addf(&list, "%s%d", k ? ", " : "", place);
    }
    Str name = in_order ? (Str){0} : str_printf(s->w->arena, "places_%u", sums[0]);
    if (!in_order)
        cuda_line(s->w, "TABLE u16 %.*s[%d] = {%s};", STR_ARG(name), count, list.ptr);
    strbuf_release(&list);
    return name;
}

void scalars_of_block(Stream *s) {
    static const char *const combine[] = {"Sum", "Max"};
    int *reduced = s->scalars.reduced;
    if (reduced[0] + reduced[1] == 0) return;
    cuda_line(s->w, "__syncthreads();");
    for (int k = 0, first = 0; k < 2; first += reduced[k++]) {
        if (reduced[k] == 0) continue;
        int to = s->scalars.count;
        Str places = places_of_sums(s, first, reduced[k]);
        if (places.len == 0) places = STR("nullptr");
        cuda_line(s->w, "warps_reduce<%s, %d>(scalars + %d, %.*s, scalars + %d, %d, %d);",
                  combine[k], s->shape.threads / 32, to, STR_ARG(places),
                  s->needs.shared_scalars + first, s->needs.shared_sums, reduced[k]);
    }
    cuda_line(s->w, "__syncthreads();");
    s->scalars.waited = true;
    reduced[0] = reduced[1] = 0;
}
