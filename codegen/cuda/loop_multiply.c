// loop_multiply.c: LOOP_CP: from tiles in shared memory to sums in registers.
//
// mma.sync: a warp's tile is fragments of 16 x 8. Lane l gives ldmatrix the address of row l %
// 8 of matrix l / 8; which rows and chunks these are depends on how the tile lies. FMA: the
// lanes of a warp are 4 x 8. A thread has rows in groups of up to 4, and columns as well: its
// neighbours' groups lie between, so that 8 lanes read 128 bytes side by side.
#include "base/check.h"
#include "codegen/cuda/loop_cp.h"

static int least(int x, int y) { return x < y ? x : y; }

// ---- mma.sync

// Four matrices: of a the halves of 16 rows, of b two fragments of 8 columns, in each case
// both halves of 16 k. `first`: the row of a (column of b) where they begin.
static void matrices_load(const Cp *c, const CpOperand *o, const char *to, const char *first) {
    // Of matrices 0 to 3, a wants the row halves first, b those of k.
    bool is_a = o->letter == 'a';
    const char *low = "lane % 8 + lane / 8 % 2 * 8", *high = "lane % 8 + lane / 16 * 8";
    if (!o->across)
        cuda_line(c->w, "matrix_load_x4(%s, tiles + place_%c(%s + %s, k / 8 + %s));", to,
                  o->letter, first, is_a ? low : high, is_a ? "lane / 16" : "lane / 8 % 2");
    else
        cuda_line(c->w, "matrix_load_x4_turned(%s, tiles + place_%c(k + %s, (%s) / 8 + %s));",
                  to, o->letter, is_a ? high : low, first, is_a ? "lane / 8 % 2" : "lane / 16");
}

// Opens the loop over this warp's part of the step's k.
static void k_open(const Cp *c, const char *unroll, int unit) {
    int part = c->tiles.bk / c->tiles.warps_k;
    if (c->tiles.warps_k == 1) {
        cuda_open(c->w, "%s for (int k = 0; k < %d; k += %d)", unroll, part, unit);
        return;
    }
    cuda_open(c->w, "%s for (int at = 0; at < %d; at += %d)", unroll, part, unit);
    cuda_line(c->w, "const int k = warp_k * %d + at;", part);
}

void cp_multiply_mma(const Cp *c) {
    CudaWriter *w = c->w;
    const CpTiles *t = &c->tiles;
    int rows = t->bm / t->warps_m / 16, cols = t->bn / t->warps_n / 8;
    cuda_line(w, "const u32 tiles = stages + stage;");
    k_open(c, "UNROLL", 16);
    cuda_line(w, "u32 a[%d][4], b[%d][4];", rows, cols / 2);
    cuda_open(w, "UNROLL for (int i = 0; i < %d; i++)", rows);
    matrices_load(c, &c->a, "a[i]", "warp_m + i * 16");
    cuda_close(w);
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j++)", cols / 2);
    matrices_load(c, &c->b, "b[j]", "warp_n + j * 16");
    cuda_close(w);
    cuda_open(w, "UNROLL for (int i = 0; i < %d; i++)", rows);
    cuda_line(w, "UNROLL for (int j = 0; j < %d; j++)", cols);
    cuda_line(w,
              "    mma_%s(sums[i][j], a[i], b[j / 2][j %% 2 * 2], b[j / 2][j %% 2 * 2 + 1]);",
              c->shape.type == DTYPE_BF16 ? "bf16" : "f16");
    cuda_close(w);
    cuda_close(w);
}

// ---- FMA

// A thread's points of m or n, in groups that a lane has side by side.
typedef struct {
    const CpOperand *o;
    int points, group, step;  // step: from group to group
} Points;

static Points points_of(const CpOperand *o, int points, int lanes) {
    int group = least(points, 4);
    return (Points){o, points, group, group * lanes};
}

static const char *first_point(const Points *x) {
    return x->o->letter == 'a' ? "row_m" : "col_n";
}

// Declares x, four k of point i.
static void four_k_load(const Cp *c, const Points *x) {
    cuda_line(
        c->w,
        "const Words<4> x = load_words<4>(tiles + place_%c(%s + i / %d * %d + i %% %d, k / "
        "4));",
        x->o->letter, first_point(x), x->group, x->step, x->group);
}

// `to` is an expression in i + p, the point: all points at one k.
static void one_k_load(const Cp *c, const Points *x, const char *k, const char *to) {
    CudaWriter *w = c->w;
    cuda_open(w, "UNROLL for (int i = 0; i < %d; i += %d)", x->points, x->group);
    cuda_line(
        w, "const Words<%d> x = load_words<%d>(tiles + place_%c(%s, 0) + (%s + i * %d) * 4);",
        x->group, x->group, x->o->letter, k, first_point(x), x->step / x->group);
    cuda_line(w, "UNROLL for (int p = 0; p < %d; p++) %s = __uint_as_float(x.w[p]);", x->group,
              to);
    cuda_close(w);
}

// Both tiles lie across k: one k at a time.
static void multiply_across(const Cp *c, const Points *a, const Points *b) {
    CudaWriter *w = c->w;
    k_open(c, "_Pragma(\"unroll 8\")", 1);
    cuda_line(w, "float a[%d], b[%d];", a->points, b->points);
    one_k_load(c, a, "k", "a[i + p]");
    one_k_load(c, b, "k", "b[i + p]");
    cuda_line(w, "UNROLL for (int i = 0; i < %d; i++)", a->points);
    cuda_line(w, "    UNROLL for (int j = 0; j < %d; j++)", b->points);
    cuda_line(w, "        sums[i][j] = fmaf(a[i], b[j], sums[i][j]);");
    cuda_close(w);
}

// Four k at a time: all of b, and of a a row or a column after the other, which takes the
// fewest registers.
static void multiply_along(const Cp *c, const Points *a, const Points *b) {
    CudaWriter *w = c->w;
    k_open(c, "NO_UNROLL", 4);
    cuda_line(w, "float b[%d][4];  // [column][k]", b->points);
    if (b->o->across) {
        cuda_open(w, "UNROLL for (int q = 0; q < 4; q++)");
        one_k_load(c, b, "k + q", "b[i + p][q]");
    } else {
        cuda_open(w, "UNROLL for (int i = 0; i < %d; i++)", b->points);
        four_k_load(c, b);
        cuda_line(w, "UNROLL for (int q = 0; q < 4; q++) b[i][q] = __uint_as_float(x.w[q]);");
    }
    cuda_close(w);
    const char *product = "sums[i][j] = fmaf(__uint_as_float(x.w[q]), b[j][q], sums[i][j]);";
    if (a->o->across) {
        cuda_open(w, "UNROLL for (int q = 0; q < 4; q++)");
        cuda_line(w, "float a[%d];", a->points);
        one_k_load(c, a, "k + q", "a[i + p]");
        product = "sums[i][j] = fmaf(a[i], b[j][q], sums[i][j]);";
        cuda_line(w, "UNROLL for (int i = 0; i < %d; i++)", a->points);
    } else {
        cuda_open(w, "UNROLL for (int i = 0; i < %d; i++)", a->points);
        four_k_load(c, a);
        cuda_line(w, "UNROLL for (int q = 0; q < 4; q++)");
    }
    cuda_line(w, "    UNROLL for (int j = 0; j < %d; j++)", b->points);
    cuda_line(w, "        %s", product);
    cuda_close(w);
    cuda_close(w);
}

void cp_multiply_fma(const Cp *c) {
    const CpTiles *t = &c->tiles;
    Points a = points_of(&c->a, t->bm / t->warps_m / 4, 4);
    Points b = points_of(&c->b, t->bn / t->warps_n / 8, 8);
    cuda_line(c->w, "const u8 *tiles = shared + stage;");
    if (c->a.across && c->b.across)
        multiply_across(c, &a, &b);
    else
        multiply_along(c, &a, &b);
}
