// attend_tile.c: ATTEND for CUDA: tiles in shared memory, and products by mma.sync.
//
// A tile has a row of `width` elements for each point, in chunks of 16 bytes that are mixed as
// those of LOOP_CP. The same tile serves products over its elements, read as it lies, and sums
// over its points, read turned.
#include "codegen/cuda/attend.h"

enum {
    LONG_ROW = 128,
};

static const char *type_name(const CudaAttend *a) {
    return a->type == DTYPE_BF16 ? "bf16" : "f16";
}

// 8 lanes that read one chunk each of 8 rows find them in 8 different sixteenths of 128 bytes.
static void place_print(const CudaAttend *a, int width) {
    int chunks = width / attend_chunk(a), mixed = 8;
    while (chunks % mixed != 0)
        mixed /= 2;
    int divide = 8 / mixed;
    cuda_line(a->w, "// Where 16 bytes of a tile are whose rows have %d elements.", width);
    Str row = divide > 1 ? str_printf(a->w->arena, "row / %d", divide) : STR("row");
    cuda_line(a->w,
              "DEVICE u32 place_%d(u32 row, u32 chunk) { return row * %d + (chunk ^ %.*s %% "
              "%d) * 16; }",
              width, chunks * 16, STR_ARG(row), mixed);
}

void attend_places_print(const CudaAttend *a) {
    int done[2 * ATTEND_MOST + 1], count = 0, tiles = a->own_count + a->other_count;
    for (int i = 0; i < tiles + attend_is_fma(a); i++) {
        int k = 0, width = i < a->own_count ? a->own_tiles[i].width
                           : i < tiles      ? a->other_tiles[i - a->own_count].width
                                            : a->tiles.other;  // of weights
        while (k < count && done[k] != width)
            k++;
        if (k == count) place_print(a, done[count++] = width);
    }
}

// ---- filling

// This chunk's elements as they are in memory, two in a word; zeros beyond the extents.
static void chunk_gather(const CudaAttend *a, const AttendTile *t, const CudaPoint *first,
                         Str inside) {
    CudaWriter *w = a->w;
    CudaPoint at = *first;
    at.at[t->k] = STR("k + e");
    cuda_line(w, "Words<4> x = {};");
    cuda_open(w, "UNROLL for (int e = 0; e < %d; e++)", attend_chunk(a));
    cuda_line(w, "if (%.*s%sk + e < %lld)", STR_ARG(inside), inside.len ? " && " : "",
              (long long)attend_extent(a, t->k));
    Str from = cuda_address(w, tile_op(w->p, t->load), &at, (Str){0});
    if (attend_is_fma(a))
        cuda_line(w, "    x.w[e] = __float_as_uint(*(%.*s));", STR_ARG(from));
    else
        cuda_line(w, "    x.w[e / 2] |= (u32)(%.*s)->bits << e %% 2 * 16;", STR_ARG(from));
    cuda_close(w);
}

void attend_fill(const CudaAttend *a, const AttendTile *t, const char *first, const char *to) {
    CudaWriter *w = a->w;
    bool own = t->dim == a->own;
    int points = own ? a->tiles.own : a->tiles.other, row = t->width / attend_chunk(a);
    int threads = attend_threads(&a->tiles), all = points * row;
    int64_t extent = attend_extent(a, t->dim), elements = attend_extent(a, t->k);
    cuda_comment(w, tile_op(w->p, t->load));
    // Not all: of each copy in an unrolled loop the compiler keeps an address.
    cuda_open(w, "UNROLL_SOME for (int i = 0; i < %d; i++)", (all + threads - 1) / threads);
    cuda_line(w, "const int piece = thread + i * %d, row = piece / %d, chunk = piece %% %d;",
              threads, row, row);
    if (all % threads != 0) cuda_line(w, "if (piece >= %d) break;", all);
    cuda_line(w, "const int point = %s + row, k = chunk * %d;", first, attend_chunk(a));
    Str inside = {0};
    if (own ? extent % points != 0 : attend_is_ragged(a))
        inside = str_printf(w->arena, "point < %lld", (long long)extent);
    CudaPoint at = a->at;
    at.at[t->dim] = STR("point");
    at.at[t->k] = STR("k");
    if (!t->copied) {
        chunk_gather(a, t, &at, inside);
        cuda_line(w, "store_words(shared + %s + place_%d(row, chunk), x);", to, t->width);
        cuda_close(w);
        return;
    }
    if (elements % t->width != 0)
        inside = str_printf(w->arena, "%.*s%sk < %lld", STR_ARG(inside),
                            inside.len ? " && " : "", (long long)elements);
    cuda_line(w, "copy_async16(tiles + %s + place_%d(row, chunk), %.*s, %.*s%s);", to, t->width,
              STR_ARG(cuda_address(w, tile_op(w->p, t->load), &at, (Str){0})), STR_ARG(inside),
              inside.len ? " ? 16 : 0" : "16");
    cuda_close(w);
}

// ---- products

// Of 16 columns, 8 each from a half of the four words of b.
static void multiply_print(const CudaAttend *a, Str sums, const char *weights) {
    CudaWriter *w = a->w;
    cuda_open(w, "UNROLL for (int f = 0; f < %d; f++)", a->tiles.rows);
    for (int half = 0; half < 2; half++)
        cuda_line(w, "mma_%s(%.*s[f][j * 2 + %d], %s, b[%d], b[%d]);", type_name(a),
                  STR_ARG(sums), half, weights, half * 2, half * 2 + 1);
    cuda_close(w);
}

// ---- warps that share rows

void attend_rows_wait(const CudaAttend *a) {
    cuda_line(a->w, "named_barrier_sync(1 + thread / %d, %d);", 32 * a->tiles.columns,
              32 * a->tiles.columns);
}

// Of fragment f of the warp's rows and 16 points of the step: each lane's four words as they
// are in its registers, those of all lanes side by side.
static Str weights_place(const CudaAttend *a, int number, const char *points) {
    const AttendTiles *t = &a->tiles;
    int first = attend_tile_bytes(&a->shape, t) +
                number * attend_weight_bytes(&a->shape, t) / a->shape.weights;
    return str_printf(a->w->arena,
                      "shared + %d + (((warp_row / 16 + f) * %d + %s) * 32 + lane) * 16", first,
                      t->other / 16, points);
}

void attend_weights_share(const CudaAttend *a) {
    CudaWriter *w = a->w;
    for (int i = 0; i < a->weight_count; i++)
        cuda_convert(w, a->weights[i], STR("made known to all that have its row"), 1,
                     attend_weight_bytes(&a->shape, &a->tiles) / a->shape.weights);
    if (attend_is_fma(a)) {
        attend_weights_share_fma(a);
        return;
    }
    int pieces = attend_part(&a->tiles) / 16;
    Str points = str_printf(w->arena, "part * %d + p", pieces);
    cuda_open(w, "UNROLL for (int f = 0; f < %d; f++)", a->tiles.rows);
    cuda_open(w, "UNROLL for (int p = 0; p < %d; p++)", pieces);
    for (int i = 0; i < a->weight_count; i++) {
        const char *x = str_printf(w->arena, "weights_%d[f][p]", i).ptr;
        cuda_line(w, "store_words(%.*s, Words<4>{{%s[0], %s[1], %s[2], %s[3]}});",
                  STR_ARG(weights_place(a, i, points.ptr)), x, x, x, x);
    }
    cuda_close(w);
    cuda_close(w);
    attend_rows_wait(a);
}

// ---- products of a step

// scores[f][j] = own rows . points of the step, over the elements.
void attend_score_print(const CudaAttend *a, int number) {
    CudaWriter *w = a->w;
    const AttendScore *s = &a->scores[number];
    const AttendTile *own = &a->own_tiles[s->own], *other = &a->other_tiles[s->other];
    cuda_comment(w, tile_op(w->p, s->dot));
    int points = attend_part(&a->tiles);
    cuda_line(w, "float scores_%d[%d][%d][4] = {};", number, a->tiles.rows, points / 8);
    // Unrolled, long rows would take registers for their addresses.
    cuda_open(w, "%s for (int k = 0; k < %d; k += 16)",
              own->width > LONG_ROW ? "_Pragma(\"unroll 4\")" : "UNROLL", own->width);
    cuda_line(w, "u32 a[%d][4];", a->tiles.rows);
    cuda_line(w, "UNROLL for (int f = 0; f < %d; f++)", a->tiles.rows);
    cuda_line(w,
              "    matrix_load_x4(a[f], tiles + %d + place_%d(warp_row + f * 16 + lane %% 16, "
              "k / 8 + lane / 16));",
              own->offset, own->width);
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", points / 16);
    cuda_line(w, "u32 b[4];");
    Str part = a->tiles.columns > 1 ? str_printf(w->arena, "part * %d + ", points) : STR("");
    cuda_line(w,
              "matrix_load_x4(b, tiles + stage + %d + place_%d(%.*sj * 16 + lane %% 8 + lane / "
              "16 * 8, k / 8 + lane / 8 %% 2));",
              other->offset, other->width, STR_ARG(part));
    multiply_print(a, str_printf(w->arena, "scores_%d", number), "a[f]");
    cuda_close(w);
    cuda_close(w);
}

// sums[f][j] += weights . elements of the step's points.
void attend_sum_print(const CudaAttend *a, int number) {
    CudaWriter *w = a->w;
    const AttendSum *s = &a->sums[number];
    const AttendTile *tile = &a->other_tiles[s->other];
    int columns = a->tiles.columns, width = s->width / columns;
    bool shared = columns > 1;
    cuda_comment(w, tile_op(w->p, s->dot));
    cuda_open(w, "UNROLL for (int p = 0; p < %d; p++)", a->tiles.other / 16);
    if (shared) {
        cuda_line(w, "Words<4> weights[%d];", a->tiles.rows);
        cuda_line(w, "UNROLL for (int f = 0; f < %d; f++)", a->tiles.rows);
        cuda_line(w, "    weights[f] = load_words<4>(%.*s);",
                  STR_ARG(weights_place(a, s->weight, "p")));
    }
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", width / 16);
    cuda_line(w, "u32 b[4];");
    Str part = shared ? str_printf(w->arena, "part * %d + ", width / 8) : STR("");
    if (s->column) part = str_printf(w->arena, "%.*s%d + ", STR_ARG(part), s->column / 8);
    cuda_line(w,
              "matrix_load_x4_turned(b, tiles + stage + %d + place_%d(p * 16 + lane %% 16, "
              "%.*sj * 2 + lane / 16));",
              tile->offset, tile->width, STR_ARG(part));
    Str weights = str_printf(w->arena, "weights_%d[f][p]", s->weight);
    multiply_print(a, str_printf(w->arena, "sums_%d", number),
                   shared ? "weights[f].w" : weights.ptr);
    cuda_close(w);
    cuda_close(w);
}
