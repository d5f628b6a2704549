// attend.c: ATTEND for CUDA: a block keeps a tile of one side of the scores, queries or keys,
// and walks over tiles of the other, which come through a ring of stages in shared memory.
// Scores of a step are in registers, and as operands of the sums they stay there.
#include "codegen/cuda/attend.h"

#include "base/integer.h"

static int64_t own_tiles(const CudaAttend *a) { return ceil_div(a->shape.own, a->tiles.own); }

static int side_bytes(const CudaAttend *a, bool own) {
    return (int)dtype_bytes(a->type) *
           (own ? a->tiles.own * a->shape.own_width : a->tiles.other * a->shape.other_width);
}

// ---- which pairs exist

// Do own points stand at different places among the others?
static bool own_moves(const CudaAttend *a) { return !a->start || a->start->over; }

// Where an own point stands.
static const char *place_of(const CudaAttend *a, const char *own) {
    if (!own_moves(a)) return "start";
    return a->start ? str_printf(a->w->arena, "start + %s", own).ptr : own;
}

Str attend_inside(const CudaAttend *a) {
    CudaWriter *w = a->w;
    StrBuf text = {0};
    const char *own = place_of(a, "own");
    if (attend_is_ragged(a)) strbuf_addf(&text, "other < %lld", (long long)a->shape.other);
    if (a->shape.has_lo)
        strbuf_addf(&text, "%s%s - other >= %lld", text.len ? " && " : "", own,
                    (long long)a->shape.lo);
    if (a->shape.has_hi)
        strbuf_addf(&text, "%s%s - other <= %lld", text.len ? " && " : "", own,
                    (long long)a->shape.hi);
    Str out = str_copy(w->arena, strbuf_view(&text));
    strbuf_release(&text);
    return out;
}

// Does a step have pairs that do not exist?
static void masked_print(const CudaAttend *a) {
    if (attend_inside(a).len == 0) return;
    StrBuf text = {0};
    int own = own_moves(a) ? a->tiles.own : 1, other = a->tiles.other;
    const char *first = place_of(a, "own_first");
    if (attend_is_ragged(a))
        strbuf_addf(&text, "other_first + %d > %lld", other, (long long)a->shape.other);
    if (a->shape.has_lo)
        strbuf_addf(&text, "%s%s - other_first - %d < %lld", text.len ? " || " : "", first,
                    other - 1, (long long)a->shape.lo);
    if (a->shape.has_hi)
        strbuf_addf(&text, "%s%s + %d - other_first > %lld", text.len ? " || " : "", first,
                    own - 1, (long long)a->shape.hi);
    cuda_line(a->w, "const bool masked = %.*s;", STR_ARG(strbuf_view(&text)));
    strbuf_release(&text);
}

// ---- tasks and steps

// Blocks with the longest walks come first.
static void task_print(CudaAttend *a) {
    CudaWriter *w = a->w;
    long long points = a->shape.points, inner = points, tiles = own_tiles(a);
    Str tile = points == 1 ? STR("(int)blockIdx.x")
                           : str_printf(w->arena, "(int)blockIdx.x / %lld", points);
    if (a->shape.has_lo && !a->shape.has_hi)
        tile = str_printf(w->arena, "%lld - %.*s", tiles - 1, STR_ARG(tile));
    cuda_line(w, "const int own_first = (%.*s) * %d;", STR_ARG(tile), a->tiles.own);
    for (uint32_t d = 0; d < w->p->dim_count; d++) {
        const TileDim *dim = &w->p->dims[d];
        if (dim->role != DIM_GRID) continue;
        a->at.at[d] = dim->extent == 1 ? STR("0") : str_printf(w->arena, "grid%u", d);
        if (dim->extent == 1) continue;
        inner /= dim->extent;
        cuda_line(w, "const int grid%u = (int)blockIdx.x / %lld %% %lld;  // %.*s", d, inner,
                  (long long)dim->extent, STR_ARG(dim->name));
    }
}

// Of those tiles what is dealt to this block: every so many, from the first of its own on. Some
// at the ends may be none of the band's.
static void dealt_print(const CudaAttend *a) {
    long long tiles = a->shape.deal / a->tiles.other, parts = a->shape.parts;
    Str own = a->at.at[a->dealt];
    cuda_line(a->w, "const int before = first / %lld;", tiles);
    cuda_line(a->w, "const int dealt = before + (%.*s + %lld - before %% %lld) %% %lld;",
              STR_ARG(own), parts, parts, parts);
    cuda_line(a->w,
              "const int steps = end > dealt * %lld ? (((end - 1) / %lld - dealt) / %lld + 1) "
              "* %lld : 0;",
              tiles, tiles, parts, tiles);
}

// The tiles of the other side that the band lets this block meet.
static void walk_print(const CudaAttend *a) {
    CudaWriter *w = a->w;
    long long last = a->shape.other - 1;
    int other = a->tiles.other;
    const char *place = place_of(a, "own_first");
    Str first = STR("0"),
        count = str_printf(w->arena, "%lld", (long long)ceil_div(last + 1, other));
    if (a->shape.has_hi) {
        cuda_line(w, "const int least = %s - (%lld);", place, (long long)a->shape.hi);
        first = str_printf(w->arena, "(least > 0 ? least : 0) / %d", other);
    }
    if (a->shape.has_lo) {
        long long end = (own_moves(a) ? a->tiles.own - 1 : 0) - a->shape.lo;
        cuda_line(w, "const int most = %s + (%lld);", place, end);
        count = str_printf(w->arena, "most < 0 ? 0 : (most < %lld ? most : %lld) / %d + 1",
                           last, last, other);
    }
    cuda_line(w, "const int first = %.*s;", STR_ARG(first));
    cuda_line(w, "const int end = %.*s;", STR_ARG(count));
    if (a->dealt >= 0) {
        dealt_print(a);
        return;
    }
    cuda_line(w, "const int count = end > first ? end - first : 0, steps = count * %lld;",
              (long long)a->shape.serial);
}

// Where a step is, in a scope of its own.
static void step_print(CudaAttend *a) {
    CudaWriter *w = a->w;
    long long inner = a->shape.serial, tiles = a->shape.deal / a->tiles.other;
    if (a->dealt >= 0)
        cuda_line(
            w,
            "const int other_first = (dealt + step / %lld * %lld) * %lld + step %% %lld * "
            "%d;",
            tiles, (long long)a->shape.parts, (long long)a->shape.deal, tiles, a->tiles.other);
    else
        cuda_line(w,
                  inner > 1 ? "const int other_first = (first + step %% count) * %d;"
                            : "const int other_first = (first + step) * %d;",
                  a->tiles.other);
    for (uint32_t d = 0; d < w->p->dim_count; d++) {
        const TileDim *dim = &w->p->dims[d];
        if (dim->role != DIM_SERIAL) continue;
        a->at.at[d] = dim->extent == 1 ? STR("0") : str_printf(w->arena, "serial%u", d);
        if (dim->extent == 1) continue;
        inner /= dim->extent;
        cuda_line(w, "const int serial%u = step / count / %lld %% %lld;  // %.*s", d, inner,
                  (long long)dim->extent, STR_ARG(dim->name));
    }
    cuda_line(w, "const u32 stage = %d + (u32)step %% %d * %d;", side_bytes(a, true),
              a->tiles.stages, side_bytes(a, false));
}

// ---- the kernel

static void tiles_note(const CudaAttend *a, const AttendTile *t, int points, int copies) {
    Str how = str_printf(a->w->arena, "%s, read by %s",
                         t->copied ? "copied 16 bytes at a time" : "packed in registers",
                         attend_is_fma(a) ? "plain loads" : "ldmatrix");
    cuda_convert(a->w, t->load, how, copies,
                 (int64_t)copies * points * t->width * (int64_t)dtype_bytes(a->type));
}

static void fetch_print(CudaAttend *a) {
    CudaWriter *w = a->w;
    cuda_line(w, "// Starts to fill the stage of a step.");
    cuda_open(w, "auto fetch = [&](int step)");
    step_print(a);
    for (int i = 0; i < a->other_count; i++) {
        const AttendTile *t = &a->other_tiles[i];
        attend_fill(a, t, "other_first", str_printf(w->arena, "stage + %d", t->offset).ptr);
        tiles_note(a, t, a->tiles.other, a->tiles.stages);
    }
    w->indent--;
    cuda_line(w, "};");
    for (int i = 0; i < a->own_count; i++) {
        const AttendTile *t = &a->own_tiles[i];
        attend_fill(a, t, "own_first", str_printf(w->arena, "%d", t->offset).ptr);
        tiles_note(a, t, a->tiles.own, 1);
    }
}

static void sums_declare(const CudaAttend *a) {
    CudaWriter *w = a->w;
    for (int i = 0; i < a->sum_count; i++)
        cuda_line(w, "float sums_%d[%d][%d][4] = {};  // [16 rows][8 columns][of a fragment]",
                  i, a->tiles.rows, a->sums[i].width / a->tiles.columns / 8);
    if (!a->top.i) return;
    cuda_line(w, "float top[%d], total[%d] = {};", a->tiles.rows * 2, a->tiles.rows * 2);
    cuda_line(w, "UNROLL for (int r = 0; r < %d; r++) top[r] = -INFINITY;", a->tiles.rows * 2);
}

// One barrier a step: who passes it knows that the step's tiles are complete, and that all have
// done with those of the step before, whose stage is filled next.
static void walk_steps_print(CudaAttend *a) {
    CudaWriter *w = a->w;
    int ahead = a->tiles.stages - 1;
    cuda_open(w, "NO_UNROLL for (int step = 0; step < %d; step++)", ahead);
    cuda_line(w, "if (step < steps) fetch(step);");
    cuda_line(w, "copy_async_commit();");
    cuda_close(w);
    cuda_open(w, "NO_UNROLL for (int step = 0; step < steps; step++)");
    cuda_line(w, "copy_async_wait<%d>();", ahead - 1);
    cuda_line(w, "__syncthreads();");
    cuda_line(w, "if (step + %d < steps) fetch(step + %d);", ahead, ahead);
    cuda_line(w, "copy_async_commit();");
    step_print(a);
    if (a->tiles.columns > 1)
        cuda_line(w, "const int part_first = other_first + part * %d;", attend_part(&a->tiles));
    masked_print(a);
    for (int i = 0; i < a->score_count; i++)
        (attend_is_fma(a) ? attend_score_fma : attend_score_print)(a, i);
    if (a->top.i)
        attend_softmax_print(a);
    else
        attend_weights_print(a);
    if (attend_shares(&a->shape, &a->tiles)) attend_weights_share(a);
    for (int i = 0; i < a->sum_count; i++)
        (attend_is_fma(a) ? attend_sum_fma : attend_sum_print)(a, i);
    cuda_close(w);
    // Of a block without steps, which nothing is dealt to.
    if (a->dealt >= 0) cuda_line(w, "copy_async_wait<0>();");
}

// Warps with the same rows are neighbours.
static void warp_print(const CudaAttend *a) {
    int columns = a->tiles.columns;
    cuda_line(a->w, "const int warp_row = thread / %d * %d;", 32 * columns, a->tiles.rows * 16);
    if (columns == 1) return;
    cuda_line(a->w, "const int part = thread / 32 %% %d;", columns);
    cuda_line(a->w, "float *const of_rows = (float *)(shared + %d);",
              attend_tile_bytes(&a->shape, &a->tiles) +
                  attend_weight_bytes(&a->shape, &a->tiles));
}

static int least_blocks(const CudaAttend *a) {
    int resident = attend_resident(&a->shape, &a->tiles),
        most = 512 / attend_threads(&a->tiles);
    return resident < most ? resident : most > 1 ? most : 1;
}

bool cuda_attend(CudaWriter *w) {
    CudaAttend a;
    if (!cuda_attend_plan(w, &a)) return false;
    cuda_line(w, "// %lld points of %lld x %lld, a block %d of them, in steps of %d.",
              (long long)a.shape.points, (long long)a.shape.own, (long long)a.shape.other,
              a.tiles.own, a.tiles.other);
    attend_places_print(&a);
    strbuf_addc(&w->text, '\n');
    cuda_open(w, "KERNEL_RESIDENT(%d, %d) kernel(%.*s)", attend_threads(&a.tiles),
              least_blocks(&a), STR_ARG(cuda_parameters(w)));
    cuda_line(w, "DYNAMIC_SHARED(shared);");
    cuda_line(w, "const u32 tiles = shared_address(shared);");
    cuda_line(w, "const int thread = (int)threadIdx.x, lane = thread %% 32;");
    warp_print(&a);
    task_print(&a);
    attend_grid_print(&a);
    walk_print(&a);
    fetch_print(&a);
    sums_declare(&a);
    attend_rows_print(&a);
    walk_steps_print(&a);
    attend_results_print(&a);
    cuda_close(w);
    w->launch.blocks = (uint32_t)(a.shape.points * own_tiles(&a));
    w->launch.threads = (uint32_t)attend_threads(&a.tiles);
    w->launch.cluster = 1;
    w->launch.shared_bytes = (uint32_t)attend_shared_bytes(&a.shape, &a.tiles);
    return true;
}
