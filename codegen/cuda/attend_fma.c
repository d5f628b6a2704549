// attend_fma.c: ATTEND for CUDA: products of tiles in f32. A thread has the same scores and the
// same sums as by mma.sync (attend_value.c): of 16 x 8 two rows, and two neighbours of each.
//
// Rows of own tiles and points of others are read four elements at a time. Sums take all
// weights of a row, which four lanes have: so weights are a tile in shared memory, with a row
// of a step's points for each own point.
#include "codegen/cuda/attend.h"

static int rows_of(const CudaAttend *a) { return a->tiles.rows * 2; }

static Str part_of(const CudaAttend *a, int size) {
    return a->tiles.columns > 1 ? str_printf(a->w->arena, "part * %d + ", size) : STR("");
}

static int weights_offset(const CudaAttend *a, int number) {
    return attend_tile_bytes(&a->shape, &a->tiles) +
           number * attend_weight_bytes(&a->shape, &a->tiles) / a->shape.weights;
}

void attend_weights_share_fma(const CudaAttend *a) {
    CudaWriter *w = a->w;
    int points = attend_part(&a->tiles);
    cuda_open(w, "UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", points / 8);
    cuda_line(w,
              "u8 *const to = shared + place_%d(warp_row + lane / 4 + r * 8, %.*sj * 2 + lane "
              "%% 4 / 2) + lane %% 2 * 8;",
              a->tiles.other, STR_ARG(part_of(a, points / 4)));
    for (int i = 0; i < a->weight_count; i++) {
        const char *x = str_printf(w->arena, "weights_%d[r / 2][j][r %% 2 * 2", i).ptr;
        cuda_line(w,
                  "store_words(to + %d, Words<2>{{__float_as_uint(%s]), __float_as_uint(%s + "
                  "1])}});",
                  weights_offset(a, i), x, x);
    }
    cuda_close(w);
    cuda_close(w);
    attend_rows_wait(a);
}

// Declares a: four elements, from `at` on, of each of the thread's rows.
static void rows_load(const CudaAttend *a, int offset, int width, const char *at) {
    cuda_line(a->w, "Words<4> a[%d];", rows_of(a));
    cuda_line(a->w, "UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    cuda_line(a->w,
              "    a[r] = load_words<4>(shared + %d + place_%d(warp_row + lane / 4 + r * 8, %s "
              "/ 4));",
              offset, width, at);
}

// scores[f][j] = own rows . points of the step, over the elements.
void attend_score_fma(const CudaAttend *a, int number) {
    CudaWriter *w = a->w;
    const AttendScore *s = &a->scores[number];
    const AttendTile *own = &a->own_tiles[s->own], *other = &a->other_tiles[s->other];
    int points = attend_part(&a->tiles);
    cuda_comment(w, tile_op(w->p, s->dot));
    cuda_line(w, "float scores_%d[%d][%d][4] = {};", number, a->tiles.rows, points / 8);
    cuda_open(w, "NO_UNROLL for (int k = 0; k < %d; k += 4)", own->width);
    rows_load(a, own->offset, own->width, "k");
    cuda_open(w, "UNROLL for (int i = 0; i < %d; i++)", points / 4);
    cuda_line(w,
              "const Words<4> b = load_words<4>(shared + stage + %d + place_%d(%.*si / 2 * 8 + "
              "lane %% 4 * 2 + i %% 2, k / 4));",
              other->offset, other->width, STR_ARG(part_of(a, points)));
    cuda_line(w, "UNROLL for (int q = 0; q < 4; q++)");
    cuda_open(w, "    UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    cuda_line(w, "float &sum = scores_%d[r / 2][i / 2][r %% 2 * 2 + i %% 2];", number);
    cuda_line(w, "sum = fmaf(__uint_as_float(a[r].w[q]), __uint_as_float(b.w[q]), sum);");
    for (int i = 0; i < 3; i++)
        cuda_close(w);
}

// sums[f][j] += weights . elements of the step's points.
void attend_sum_fma(const CudaAttend *a, int number) {
    CudaWriter *w = a->w;
    const AttendSum *s = &a->sums[number];
    const AttendTile *tile = &a->other_tiles[s->other];
    int width = s->width / a->tiles.columns;
    cuda_comment(w, tile_op(w->p, s->dot));
    cuda_open(w, "NO_UNROLL for (int p = 0; p < %d; p += 4)", a->tiles.other);
    rows_load(a, weights_offset(a, s->weight), a->tiles.other, "p");
    cuda_open(w, "UNROLL for (int q = 0; q < 4; q++)");
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", width / 8);
    cuda_line(w,
              "const Words<2> b = load_words<2>(shared + stage + %d + place_%d(p + q, %.*s%d + "
              "j * 2 + lane %% 4 / 2) + lane %% 2 * 8);",
              tile->offset, tile->width, STR_ARG(part_of(a, width / 4)), s->column / 4);
    cuda_line(w, "UNROLL for (int e = 0; e < 2; e++)");
    cuda_open(w, "    UNROLL for (int r = 0; r < %d; r++)", rows_of(a));
    cuda_line(w, "float &sum = sums_%d[r / 2][j][r %% 2 * 2 + e];", number);
    cuda_line(w, "sum = fmaf(__uint_as_float(a[r].w[q]), __uint_as_float(b.w[e]), sum);");
    for (int i = 0; i < 4; i++)
        cuda_close(w);
}
