// attend_value.c: ATTEND for CUDA: values in registers. A thread has of each fragment of 16 own
// points x 8 others two neighbours of two rows: row r of the thread is own point lane / 4 + r *
// 8 of its warp, and its others are j * 8 + lane % 4 * 2 + e.
#include "base/check.h"
#include "codegen/cuda/attend.h"

typedef enum { AT_GRID, AT_OWN, AT_OTHER, AT_PAIR, AT_RESULT } Place;

static uint32_t op_count(const CudaAttend *a) { return a->w->p->ops.len; }
static const TileOp *op_at(const CudaAttend *a, uint32_t i) { return &a->w->p->ops.ptr[i]; }

static Place place_of(const CudaAttend *a, uint32_t i) {
    bool own = op_at(a, i)->dims & dim_set(a->own),
         other = op_at(a, i)->dims & dim_set(a->other);
    bool moved = false;
    for (uint32_t d = 0; d < a->w->p->dim_count; d++) {
        bool at = op_at(a, i)->dims & dim_set((int)d);
        if (at && a->w->p->dims[d].role == DIM_K) return AT_RESULT;
        moved = moved || (at && a->w->p->dims[d].role == DIM_SERIAL);
    }
    if (own) return other ? AT_PAIR : AT_OWN;
    return other || moved ? AT_OTHER : AT_GRID;
}

// Is it known only after the walk?
static bool is_late(const CudaAttend *a, uint32_t i) {
    const TileOp *op = op_at(a, i);
    bool pair = place_of(a, i) == AT_PAIR;
    if (op->kind == TILE_REDUCE || (op->kind == TILE_DOT && !pair)) return true;
    for (uint32_t k = 0; !pair && k < op->arity; k++)
        if (is_late(a, op->in[k].i)) return true;
    return false;
}

// What the values are computed of at this place, late or not.
static bool *marked_at(const CudaAttend *a, const bool *wanted, Place place, bool late) {
    bool *which = arena_array(a->w->arena, bool, op_count(a));
    for (uint32_t i = 1; i < op_count(a); i++)
        which[i] = wanted[i] && place_of(a, i) == place && is_late(a, i) == late &&
                   op_at(a, i)->kind != TILE_REDUCE;
    return which;
}

// What the walk (weights) or all that follows it (stores) is computed of.
static bool *wanted_by(const CudaAttend *a, bool walk) {
    bool *wanted = arena_array(a->w->arena, bool, op_count(a));
    for (int i = 0; walk && i < a->weight_count; i++)
        values_mark(a->w->p, a->weights[i], wanted);
    for (uint32_t i = 1; !walk && i < op_count(a); i++)
        if (op_at(a, i)->kind == TILE_STORE) values_mark(a->w->p, op_at(a, i)->in[0], wanted);
    return wanted;
}

static bool *all_kept(const CudaAttend *a) {
    bool *kept = arena_array(a->w->arena, bool, op_count(a));
    memset(kept, true, op_count(a));
    return kept;
}

static int rows_of(const CudaAttend *a) { return a->tiles.rows * 2; }
// Pairs of others of which a thread has scores with a row.
static int pairs_of(const CudaAttend *a) { return attend_part(&a->tiles) / 8; }

static void own_print(const CudaAttend *a, bool inside) {
    int64_t extent = attend_extent(a, a->own);
    cuda_line(a->w, "const int own_row = own_first + warp_row + lane / 4 + r * 8;");
    if (inside || extent % a->tiles.own == 0)
        cuda_line(a->w, "const int own = own_row;");
    else
        cuda_line(a->w, "const int own = own_row < %lld ? own_row : %lld;", (long long)extent,
                  (long long)extent - 1);
}

// Values of rows, which stay known.
static void rows_keep(CudaAttend *a, Values *v, const bool *which) {
    CudaWriter *w = a->w;
    bool any = false;
    for (uint32_t i = 1; i < op_count(a); i++)
        any = any || (which[i] && op_at(a, i)->kind != TILE_CONST);
    if (!any) return;
    const bool *kept = all_kept(a);
    Run run = {.along = -1, .width = 1, .first = a->at, .slot = STR("r")};
    run.first.at[a->own] = STR("own");
    values_declare(w, which, kept, rows_of(a));
    cuda_open(w, "UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    own_print(a, false);
    values_print(v, &run, which, kept);
    cuda_close(w);
}

// What anything is computed of.
static bool *wanted_by_any(const CudaAttend *a) {
    bool *wanted = wanted_by(a, true), *results = wanted_by(a, false);
    for (uint32_t i = 1; i < op_count(a); i++)
        wanted[i] = wanted[i] || results[i];
    if (a->start) values_mark(a->w->p, a->start->in[0], wanted);
    return wanted;
}

void attend_grid_print(CudaAttend *a) {
    a->rows = values_new(a->w);
    Run grid = {.along = -1, .width = 1, .first = a->at};
    values_print(&a->rows, &grid, marked_at(a, wanted_by_any(a), AT_GRID, false), all_kept(a));
    if (a->start)
        cuda_line(a->w, "const int start = %.*s;", STR_ARG(a->rows.known[a->start->in[0].i]));
}

void attend_rows_print(CudaAttend *a) {
    rows_keep(a, &a->rows, marked_at(a, wanted_by_any(a), AT_OWN, false));
}

// ---- scores

// Opens the loop over a thread's pairs of others; what stands at them alone is known inside.
static Values others_open(CudaAttend *a, const bool *wanted) {
    CudaWriter *w = a->w;
    Values v = values_inside(&a->rows);
    bool *which = marked_at(a, wanted, AT_OTHER, false);
    const bool *kept = all_kept(a);
    long long extent = (long long)attend_extent(a, a->other);
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", pairs_of(a));
    values_declare(w, which, kept, 2);
    cuda_open(w, "UNROLL for (int e = 0; e < 2; e++)");
    cuda_line(w, "const int point = %s + j * 8 + lane %% 4 * 2 + e;", attend_part_first(a));
    if (attend_is_ragged(a))
        cuda_line(w, "const int other = point < %lld ? point : %lld;", extent, extent - 1);
    else
        cuda_line(w, "const int other = point;");
    Run run = {.along = -1, .width = 1, .first = a->at, .slot = STR("e")};
    run.first.at[a->other] = STR("other");
    values_print(&v, &run, which, kept);
    cuda_close(w);
    return v;
}

// Opens the loops over the rows, and over the two others of a pair.
static void pairs_open(const CudaAttend *a) {
    cuda_open(a->w, "UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    cuda_line(a->w, "const int own = own_first + warp_row + lane / 4 + r * 8;");
}

static void others_of_pair_open(const CudaAttend *a) {
    cuda_open(a->w, "UNROLL for (int e = 0; e < 2; e++)");
    cuda_line(a->w, "const int other = %s + j * 8 + lane %% 4 * 2 + e;", attend_part_first(a));
}

// Values at own and other: those that are wanted, of the pair e.
static void pair_print(CudaAttend *a, Values *v, const bool *wanted) {
    CudaWriter *w = a->w;
    bool *kept = arena_array(w->arena, bool, op_count(a));
    Run run = {.along = -1, .width = 1, .first = a->at};
    run.first.at[a->own] = STR("own");
    run.first.at[a->other] = STR("other");
    for (int i = 0; i < a->score_count; i++)
        v->known[a->scores[i].dot.i] =
            str_printf(w->arena, "scores_%d[r / 2][j][r %% 2 * 2 + e]", i);
    values_print(v, &run, marked_at(a, wanted, AT_PAIR, false), kept);
}

static void weights_declare(const CudaAttend *a) {
    for (int i = 0; i < a->weight_count; i++)
        cuda_line(a->w, "%s weights_%d[%d][%d][4];", attend_is_fma(a) ? "float" : "u32", i,
                  a->tiles.rows, attend_part(&a->tiles) / (attend_is_fma(a) ? 8 : 16));
}

static void weight_pack(const CudaAttend *a, int i) {
    if (attend_is_fma(a)) {
        for (int e = 0; e < 2; e++)
            cuda_line(a->w, "weights_%d[r / 2][j][r %% 2 * 2 + %d] = pair_%d[%d];", i, e, i, e);
        return;
    }
    cuda_line(
        a->w,
        "weights_%d[r / 2][j / 2][j %% 2 * 2 + r %% 2] = %s_pair(pair_%d[0], pair_%d[1]);", i,
        a->type == DTYPE_BF16 ? "bf16" : "f16", i, i);
}

// Weights of pairs that do not exist are 0, whatever was computed.
static void weights_mask(const CudaAttend *a) {
    CudaWriter *w = a->w;
    Str inside = attend_inside(a);
    if (inside.len == 0) return;
    cuda_open(w, "if (masked)");
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", pairs_of(a));
    pairs_open(a);
    if (!attend_is_fma(a)) cuda_line(w, "u32 kept = 0;");
    others_of_pair_open(a);
    if (!attend_is_fma(a))
        cuda_line(w, "if (%.*s) kept |= 0xffffU << e * 16;", STR_ARG(inside));
    for (int i = 0; attend_is_fma(a) && i < a->weight_count; i++)
        cuda_line(w, "if (!(%.*s)) weights_%d[r / 2][j][r %% 2 * 2 + e] = 0.0f;",
                  STR_ARG(inside), i);
    cuda_close(w);
    for (int i = 0; !attend_is_fma(a) && i < a->weight_count; i++)
        cuda_line(w, "weights_%d[r / 2][j / 2][j %% 2 * 2 + r %% 2] &= kept;", i);
    for (int i = 0; i < 3; i++)
        cuda_close(w);
}

void attend_weights_print(CudaAttend *a) {
    CudaWriter *w = a->w;
    const bool *wanted = wanted_by(a, true);
    weights_declare(a);
    Values v = others_open(a, wanted);
    pairs_open(a);
    for (int i = 0; i < a->weight_count; i++)
        cuda_line(w, "float pair_%d[2];", i);
    others_of_pair_open(a);
    Values pair = values_inside(&v);
    pair.rounded = !attend_is_fma(a);
    pair_print(a, &pair, wanted);
    for (int i = 0; i < a->weight_count; i++) {
        bool is_dot = tile_op(w->p, a->weights[i])->kind == TILE_DOT;
        Str weight = is_dot ? pair.known[a->weights[i].i] : cuda_name(w, a->weights[i]);
        cuda_line(w, "pair_%d[e] = %.*s;", i, STR_ARG(weight));
    }
    cuda_close(w);
    for (int i = 0; i < a->weight_count; i++)
        weight_pack(a, i);
    cuda_close(w);
    cuda_close(w);
    weights_mask(a);
}

// Scores that are more than a dot and a factor.
static void scores_map(CudaAttend *a) {
    bool *wanted = arena_array(a->w->arena, bool, op_count(a));
    TileId score = tile_op(a->w->p, a->top)->in[0];
    values_mark(a->w->p, score, wanted);
    Values v = others_open(a, wanted);
    pairs_open(a);
    others_of_pair_open(a);
    Values pair = values_inside(&v);
    pair_print(a, &pair, wanted);
    cuda_line(a->w, "scores_0[r / 2][j][r %% 2 * 2 + e] = %.*s;",
              STR_ARG(cuda_name(a->w, score)));
    for (int i = 0; i < 3; i++)
        cuda_close(a->w);
}

static void scores_mask(const CudaAttend *a) {
    CudaWriter *w = a->w;
    Str inside = attend_inside(a);
    if (inside.len == 0) return;
    cuda_open(w, "if (masked)");
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", pairs_of(a));
    pairs_open(a);
    others_of_pair_open(a);
    cuda_line(w, "if (!(%.*s)) scores_0[r / 2][j][r %% 2 * 2 + e] = -INFINITY;",
              STR_ARG(inside));
    for (int i = 0; i < 4; i++)
        cuda_close(w);
}

// What each of the warps that share a row has as x is known to all as of_row[part]. Closes the
// loop over the rows and opens it again.
static void row_share(const CudaAttend *a, const char *x) {
    CudaWriter *w = a->w;
    Str row =
        str_printf(w->arena, "of_rows + (warp_row + lane / 4 + r * 8) * %d", a->tiles.columns);
    cuda_line(w, "if (lane %% 4 == 0) (%.*s)[part] = %s;", STR_ARG(row), x);
    cuda_close(w);
    attend_rows_wait(a);
    cuda_open(w, "UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    cuda_line(w, "const float *const of_row = %.*s;", STR_ARG(row));
}

// top and total are of all steps so far; all sums are relative to the row's maximum. exp(x) is
// 2^(x log2 e), and log2 e goes with the factor.
void attend_softmax_print(CudaAttend *a) {
    const double log2_e = 1.4426950408889634;
    CudaWriter *w = a->w;
    int columns = a->tiles.columns;
    if (a->factor == 0) scores_map(a);
    scores_mask(a);
    weights_declare(a);
    Str factor = cuda_number(w, (a->factor != 0 ? a->factor : 1) * log2_e, DTYPE_F32);
    cuda_open(w, "UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    cuda_line(w, "float most = top[r];");
    cuda_line(w, "UNROLL for (int i = 0; i < %d; i++)", pairs_of(a) * 2);
    cuda_line(w, "    most = fmaxf(most, scores_0[r / 2][i / 2][r %% 2 * 2 + i %% 2]);");
    cuda_line(w, "most = fmaxf(most, __shfl_xor_sync(~0U, most, 1));");
    cuda_line(w, "most = fmaxf(most, __shfl_xor_sync(~0U, most, 2));");
    if (columns > 1) {
        row_share(a, "most");
        cuda_line(w, "float most = of_row[0];");
        cuda_line(w, "UNROLL for (int i = 1; i < %d; i++) most = fmaxf(most, of_row[i]);",
                  columns);
    }
    cuda_line(w, "const float base = most == -INFINITY ? 0.0f : most * %.*s;", STR_ARG(factor));
    cuda_line(w, "const float decay = exp2_of(fmaf(top[r], %.*s, -base));", STR_ARG(factor));
    cuda_line(w, "top[r] = most;");
    cuda_line(w, "total[r] *= decay;");
    for (int i = 0; i < a->sum_count; i++) {
        cuda_line(w, "UNROLL for (int i = 0; i < %d; i++)", a->sums[i].width / columns / 4);
        cuda_line(w, "    sums_%d[r / 2][i / 2][r %% 2 * 2 + i %% 2] *= decay;", i);
    }
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", pairs_of(a));
    cuda_line(w, "float pair_0[2];");
    cuda_open(w, "UNROLL for (int e = 0; e < 2; e++)");
    cuda_line(w, "pair_0[e] = exp2_of(fmaf(scores_0[r / 2][j][r %% 2 * 2 + e], %.*s, -base));",
              STR_ARG(factor));
    cuda_line(w, "total[r] += pair_0[e];");
    cuda_close(w);
    weight_pack(a, 0);
    cuda_close(w);
    cuda_close(w);
}

// ---- results

static void softmax_finish(CudaAttend *a) {
    CudaWriter *w = a->w;
    if (!a->top.i) return;
    int columns = a->tiles.columns;
    cuda_open(w, "UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    cuda_line(w, "for (int lanes = 1; lanes <= 2; lanes *= 2)");
    cuda_line(w, "    total[r] += __shfl_xor_sync(~0U, total[r], lanes);");
    if (columns > 1) {
        row_share(a, "total[r]");
        cuda_line(w, "total[r] = of_row[0];");
        cuda_line(w, "UNROLL for (int i = 1; i < %d; i++) total[r] += of_row[i];", columns);
    }
    cuda_close(w);
    double factor = a->factor != 0 ? a->factor : 1;
    a->rows.known[a->top.i] = str_printf(w->arena, "fmaxf(top[r] * %.*s, -3.40282347e38f)",
                                         STR_ARG(cuda_number(w, factor, DTYPE_F32)));
    a->rows.known[a->total.i] = STR("total[r]");
}

static void row_open(const CudaAttend *a, bool one_lane) {
    int64_t extent = attend_extent(a, a->own);
    cuda_open(a->w, "UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    own_print(a, true);
    Str inside = str_printf(a->w->arena, "own < %lld", (long long)extent);
    if (extent % a->tiles.own == 0) inside = STR("true");
    const char *only =
        a->tiles.columns > 1 ? " && part == 0 && lane % 4 == 0" : " && lane % 4 == 0";
    cuda_open(a->w, "if (%.*s%s)", STR_ARG(inside), one_lane ? only : "");
}

static void row_store(const CudaAttend *a, const TileOp *op) {
    CudaPoint at = a->at;
    at.at[a->own] = STR("own");
    row_open(a, true);
    cuda_comment(a->w, op);
    cuda_store(a->w, op, &at, a->rows.known[op->in[0].i]);
    cuda_close(a->w);
    cuda_close(a->w);
}

static void run_store(const CudaAttend *a, const TileOp *op, const Run *run, const Values *v) {
    CudaWriter *w = a->w;
    cuda_comment(w, op);
    if (run->wide && access_is_wide(w->p, op, run->along, run->width)) {
        values_store_wide(v, op, run);
        return;
    }
    CudaPoint at = run->first;
    at.at[run->along] = STR("k + e");
    cuda_open(w, "UNROLL for (int e = 0; e < %d; e++)", run->width);
    if (run->only.len > 0) cuda_open(w, "if (%.*s)", STR_ARG(run->only));
    cuda_store(w, op, &at, v->known[op->in[0].i]);
    if (run->only.len > 0) cuda_close(w);
    cuda_close(w);
}

static void result_store(CudaAttend *a, const TileOp *op) {
    CudaWriter *w = a->w;
    bool *wanted = arena_array(w->arena, bool, op_count(a)),
         *kept = arena_array(w->arena, bool, op_count(a));
    values_mark(w->p, op->in[0], wanted);
    kept[op->in[0].i] = true;
    Values v = values_inside(&a->rows);
    bool *which = arena_array(w->arena, bool, op_count(a));
    int width = 0, k = -1, columns = a->tiles.columns;
    for (uint32_t i = 1; i < op_count(a); i++)
        which[i] = wanted[i] && place_of(a, i) == AT_RESULT;
    for (int i = 0; i < a->sum_count; i++) {
        v.known[a->sums[i].dot.i] =
            str_printf(w->arena, "sums_%d[r / 2][j][r %% 2 * 2 + e]", i);
        if (!wanted[a->sums[i].dot.i]) continue;
        width = a->sums[i].width / columns;
        k = a->sums[i].k;
    }
    ASSERT(k >= 0);
    int64_t extent = attend_extent(a, k);
    Run run = {.along = k, .width = 2, .first = a->at, .slot = STR("e")};
    run.first.at[a->own] = STR("own");
    run.first.at[k] = STR("k");
    run.wide = extent % 2 == 0;
    if (!run.wide) run.only = str_printf(w->arena, "k + e < %lld", (long long)extent);
    row_open(a, false);
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", width / 8);
    Str part = columns > 1 ? str_printf(w->arena, "part * %d + ", width) : STR("");
    cuda_line(w, "const int k = %.*sj * 8 + lane %% 4 * 2;", STR_ARG(part));
    if (extent % width != 0 || extent / width % columns != 0)
        cuda_line(w, "if (k >= %lld) break;", (long long)extent);
    values_declare(w, which, kept, run.width);
    values_print(&v, &run, which, kept);
    run_store(a, op, &run, &v);
    for (int i = 0; i < 3; i++)
        cuda_close(w);
}

void attend_results_print(CudaAttend *a) {
    softmax_finish(a);
    rows_keep(a, &a->rows, marked_at(a, wanted_by(a, false), AT_OWN, true));
    for (uint32_t i = 1; i < op_count(a); i++) {
        const TileOp *op = op_at(a, i);
        if (op->kind != TILE_STORE) continue;
        if (place_of(a, i) == AT_RESULT)
            result_store(a, op);
        else
            row_store(a, op);
    }
}
