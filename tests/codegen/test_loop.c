// test_loop.c: contractions against the interpreter, at all levels: odd shapes, every order of
// strides, prologues and epilogues.
#include "base/rng.h"
#include "tests/codegen/kernel_bench.h"

typedef struct {
    int64_t m, n, k, mc, nc, kc;
    bool a_by_k, b_by_n;  // is this the dimension with stride 1
    const char *knobs, *type;
    const char *result;  // its type; NULL: that of the operands
} Shape;

static int64_t tile_of(int64_t extent, int64_t tile) {
    return tile > 0 && tile < extent ? tile : extent;
}

// Each product is rounded once and each of k sums once; values are below 2 in magnitude.
static KernelCheck check_of(int64_t k) {
    KernelCheck check = kernel_check_usual();
    check.tolerance = (double)(k + 4) * 0x1p-23 * 4;
    return check;
}

// y = epilogue(sum of a * b), where epilogue is text that begins with operation %4 and ends in
// a store.
static const char *contraction(TileBench *b, const Shape *s, const char *args,
                               const char *epilogue) {
    const char *type = s->type ? s->type : "f32";
    Str text = str_printf(
        &b->arena,
        "tile t loop\nm m = %lld tile %lld\nn n = %lld tile %lld\nk k = %lld tile %lld\n"
        "arg a: %s[%lld]\narg b: %s[%lld]\narg y: %s[%lld]\n%s%s"
        "%%1 = load a[m*%lld + k*%lld] : f32 (m, k)\n"
        "%%2 = load b[n*%lld + k*%lld] : f32 (n, k)\n"
        "%%3 = dot %%1, %%2 over (k) : f32 (m, n)\n%s",
        (long long)s->m, (long long)tile_of(s->m, s->mc), (long long)s->n,
        (long long)tile_of(s->n, s->nc), (long long)s->k, (long long)tile_of(s->k, s->kc), type,
        (long long)s->m * s->k, type, (long long)s->n * s->k, s->result ? s->result : type,
        (long long)s->m * s->n, args, s->knobs ? s->knobs : "",
        (long long)(s->a_by_k ? s->k : 1), (long long)(s->a_by_k ? 1 : s->m),
        (long long)(s->b_by_n ? 1 : s->k), (long long)(s->b_by_n ? s->n : 1), epilogue);
    return text.ptr;
}

static void check_plain(const Shape *s) {
    TileBench b;
    bench_open(&b);
    Str store =
        str_printf(&b.arena, "store y[m*%lld + n] = %%3 : f32 (m, n)\n", (long long)s->n);
    kernel_check_text(&b, contraction(&b, s, "", store.ptr), check_of(s->k));
    bench_close(&b);
}

// ---- shapes

static const char *const some_knobs[] = {
    "",
    "knob pack_a = 1\nknob pack_b = 1\n",
    "knob mr = 4\nknob nv = 3\nknob pack_b = 1\nknob ku = 1\n",
    "knob mr = 5\nknob nv = 1\nknob pack_a = 1\nknob pack_b = 0\nknob ku = 2\n",
    "knob mr = 18\nknob nv = 1\nknob pack_a = 1\n",
    "knob mr = 1\nknob nv = 8\nknob pack_b = 0\n",
};
enum { KNOBS = sizeof some_knobs / sizeof *some_knobs };

static int64_t draw(uint64_t stream, uint64_t i, int64_t most) {
    return 1 + (int64_t)(rng_u64(stream, i) % (uint64_t)most);
}

static void test_odd_shapes(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 48; i++) {
        Shape s = {.m = draw(1, i, 70), .n = draw(2, i, 70), .k = draw(3, i, 70)};
        s.mc = draw(4, i, 40);
        s.nc = draw(5, i, 70);
        if (i % 3 == 0) s.kc = draw(6, i, 40);
        s.a_by_k = i & 1;
        s.b_by_n = i & 2;
        s.knobs = some_knobs[i / 4 % KNOBS];
        check_plain(&s);
    }
}

static void test_extents_of_one(void **state) {
    (void)state;
    for (int i = 0; i < 32; i++) {
        Shape s = {.m = i & 1 ? 1 : 19, .n = i & 2 ? 1 : 37, .k = i & 4 ? 1 : 23};
        s.a_by_k = i & 8;
        s.b_by_n = i & 16;
        check_plain(&s);
        s.knobs = some_knobs[1];
        check_plain(&s);
    }
}

static void test_thin(void **state) {
    (void)state;
    for (int i = 0; i < 24; i++) {
        Shape s = {.m = 1 + i % 9, .n = 300 + i, .k = 130 + i * 7, .nc = i & 4 ? 160 : 0};
        s.a_by_k = !(i & 1);
        s.b_by_n = i & 2;
        check_plain(&s);
        Shape turned = {
            .m = s.n, .n = s.m, .k = s.k, .mc = s.nc, .a_by_k = s.b_by_n, .b_by_n = s.a_by_k};
        check_plain(&turned);
    }
}

// Few rows and short tiles that divide k: its strands are walked side by side. Whole vectors of
// bf16 come in pairs.
static void test_strands(void **state) {
    (void)state;
    static const char *const types[] = {"f32", "bf16", "f16"};
    static const char *const knobs[] = {"", "knob nv = 3\nknob ku = 4\n",
                                        "knob mr = 2\nknob nv = 4\n", "knob pack_a = 1\n"};
    for (uint64_t i = 0; i < 36; i++) {
        Shape s = {.m = 1 + (int64_t)i % 4, .n = 60 + draw(21, i, 140), .b_by_n = true};
        s.kc = draw(22, i, 8);
        s.k = s.kc * (1 + draw(23, i, 20));
        s.nc = i & 4 ? 64 : 0;
        s.a_by_k = i & 8;
        s.type = types[i % 3];
        s.knobs = knobs[i / 3 % 4];
        check_plain(&s);
    }
}

static void test_larger(void **state) {
    (void)state;
    static const Shape shapes[] = {
        {.m = 130,
         .n = 200,
         .k = 300,
         .mc = 64,
         .nc = 96,
         .kc = 128,
         .a_by_k = true,
         .b_by_n = true},
        {.m = 97, .n = 128, .k = 257, .a_by_k = true},
        {.m = 64, .n = 161, .k = 190, .nc = 80, .b_by_n = true},
        {.m = 301, .n = 33, .k = 5000, .kc = 2048, .a_by_k = true, .b_by_n = true},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_plain(&shapes[i]);
}

// Enough blocks of rows that the first of them copy the next panel: k in multiples of ku.
static void test_panels_copied_by_blocks(void **state) {
    (void)state;
    static const char *const knobs[] = {
        "knob mr = 2\nknob nv = 1\nknob pack_b = 1\nknob ku = 4\n",
        "knob mr = 1\nknob nv = 2\nknob pack_b = 1\nknob ku = 8\nknob pack_a = 1\n",
        "knob mr = 3\nknob nv = 3\nknob pack_b = 1\nknob ku = 2\n",
    };
    for (uint64_t i = 0; i < 24; i++) {
        Shape s = {.m = 12 + draw(11, i, 40), .n = 60 + draw(12, i, 120), .b_by_n = true};
        s.k = 8 * draw(13, i, 12);
        s.mc = 12 + draw(14, i, 40);
        s.nc = i & 4 ? 40 + draw(15, i, 60) : 0;
        s.kc = i & 8 ? 16 : 0;
        s.a_by_k = i & 1;
        s.type = i % 5 == 0 ? "bf16" : NULL;
        s.knobs = knobs[i % 3];
        check_plain(&s);
    }
}

// Rows with stride 1 of whole runs of k, by vectors that fit the rows of a block or do not.
static void test_rows_copied_along_rows(void **state) {
    (void)state;
    static const char *const knobs[] = {
        "knob mr = 3\nknob nv = 2\nknob pack_a = 1\nknob pack_b = 1\n",
        "knob mr = 6\nknob nv = 2\nknob pack_a = 1\nknob pack_b = 1\n",
        "knob mr = 8\nknob nv = 1\nknob pack_a = 1\nknob pack_b = 0\n",
        "knob mr = 13\nknob nv = 1\nknob pack_a = 1\nknob pack_b = 1\n",
    };
    for (uint64_t i = 0; i < 16; i++) {
        Shape s = {.m = 8 * draw(16, i, 10), .n = draw(17, i, 40), .k = 8 * draw(18, i, 12)};
        s.mc = i & 4 ? 0 : draw(19, i, 40);
        s.kc = i & 8 ? 16 : 0;
        s.b_by_n = true;
        s.type = i % 5 == 0 ? "bf16" : NULL;
        s.knobs = knobs[i % 4];
        check_plain(&s);
    }
}

// Rows of more than 1 MB meet several panels before the next rows do.
static void test_groups_of_panels(void **state) {
    (void)state;
    static const Shape shapes[] = {
        {.m = 132,
         .n = 90,
         .k = 2048,
         .a_by_k = true,
         .b_by_n = true,
         .knobs = "knob mr = 4\nknob nv = 1\nknob pack_b = 1\n"},
        {.m = 132,
         .n = 90,
         .k = 2048,
         .knobs = "knob mr = 4\nknob nv = 1\nknob pack_a = 1\nknob pack_b = 1\n"},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_plain(&shapes[i]);
}

static void test_elements_of_16_bits(void **state) {
    (void)state;
    for (int i = 0; i < 16; i++) {
        Shape s = {.m = 3 + 7 * (i & 3), .n = 45, .k = 67, .type = i & 8 ? "bf16" : "f16"};
        s.a_by_k = i & 1;
        s.b_by_n = i & 2;
        s.knobs = some_knobs[i % KNOBS];
        check_plain(&s);
    }
}

// ---- pairs of bf16: some levels multiply two neighbouring k at once

static Shape pairs_shape(uint64_t i, int64_t most) {
    Shape s = {.m = draw(31, i, most), .n = draw(32, i, 2 * most), .k = draw(33, i, 2 * most)};
    s.mc = i & 4 ? draw(34, i, 40) : 0;
    s.nc = i & 8 ? draw(35, i, 90) : 0;
    s.kc = i & 16 ? draw(36, i, 40) : 0;
    s.a_by_k = i & 1;
    s.b_by_n = i & 2;
    s.type = "bf16";
    s.result = "f32";
    return s;
}

static void test_pairs(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 64; i++) {
        Shape s = pairs_shape(i, 50);
        s.knobs = some_knobs[i / 4 % KNOBS];
        check_plain(&s);
    }
}

static void test_pairs_of_few_rows(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 32; i++) {
        Shape s = pairs_shape(i, 12);
        s.n += 200;
        s.k += 130;
        if (i % 3 == 0) s.knobs = "knob mr = 8\nknob nv = 2\nknob pack_b = 0\n";
        check_plain(&s);
    }
}

// First blocks of rows copy the next panel; rows of more than 1 MB meet groups of panels.
static void test_pairs_copied_by_blocks(void **state) {
    (void)state;
    static const char *const knobs[] = {
        "knob mr = 2\nknob nv = 1\nknob pack_b = 1\nknob ku = 4\n",
        "knob mr = 1\nknob nv = 2\nknob pack_b = 1\nknob ku = 8\nknob pack_a = 1\n",
        "knob mr = 3\nknob nv = 3\nknob pack_b = 1\nknob ku = 2\n",
    };
    for (uint64_t i = 0; i < 24; i++) {
        Shape s = pairs_shape(i, 40);
        s.m += 12;
        s.mc = s.mc ? s.mc + 12 : 0;
        s.k = 16 * (1 + s.k / 16) + (i % 7 == 0);
        s.kc = s.kc ? 32 : 0;
        s.knobs = knobs[i % 3];
        check_plain(&s);
    }
    for (uint64_t i = 0; i < 4; i++) {
        Shape s = pairs_shape(i, 1);
        s.m = 132;
        s.n = 90;
        s.k = 4096;
        s.knobs = "knob mr = 4\nknob nv = 1\nknob pack_b = 1\n";
        check_plain(&s);
    }
}

// ---- batches and several k

static void check_usual(const char *text, int64_t k) {
    TileBench b;
    bench_open(&b);
    kernel_check_text(&b, text, check_of(k));
    bench_close(&b);
}

static void test_batches(void **state) {
    (void)state;
    check_usual("tile t loop\ngrid g = 3\ngrid h = 2\nm m = 9 tile 4\nn n = 21\nk k = 11\n"
                "arg a: f32[594]\narg b: f32[462]\narg y: f32[1134]\n"
                "%1 = load a[g*198 + m*22 + h*11 + k] : f32 (g, h, m, k)\n"
                "%2 = load b[h*231 + n*11 + k] : f32 (h, n, k)\n"
                "%3 = dot %1, %2 over (k) : f32 (g, h, m, n)\n"
                "store y[g*378 + m*42 + h*21 + n] = %3 : f32 (g, h, m, n)\n",
                11);
}

static void check_two_k(const char *type) {
    static const char text[] =
        "tile t loop\nm m = 13 tile 7\nn n = 35\nk j = 6 tile 1\nk k = 19 tile %d\n"
        "arg a: %s[1482]\narg b: %s[3990]\narg y: f32[455]\n%s"
        "%%1 = load a[m*19 + j*247 + k] : f32 (m, j, k)\n"
        "%%2 = load b[j*%d + k*%d + n*%d] : f32 (n, j, k)\n"
        "%%3 = dot %%1, %%2 over (j, k) : f32 (m, n)\n"
        "store y[m*35 + n] = %%3 : f32 (m, n)\n";
    for (int i = 0; i < 8; i++) {
        char filled[700];
        snprintf(filled, sizeof filled, text, i & 1 ? 8 : 19, type, type,
                 i & 2 ? some_knobs[1] : "", 665, i & 4 ? 1 : 35, i & 4 ? 19 : 1);
        check_usual(filled, 114);
    }
}

static void test_two_k(void **state) {
    (void)state;
    check_two_k("f32");
}

static void test_pairs_of_two_k(void **state) {
    (void)state;
    check_two_k("bf16");
}

// Both k are walked inside the register kernel, and its blocks copy panels.
static void test_two_k_copied_by_blocks(void **state) {
    (void)state;
    check_usual("tile t loop\nm m = 29\nn n = 100\nk j = 6\nk k = 24\n"
                "arg a: f32[4176]\narg b: f32[14400]\narg y: f32[2900]\n"
                "knob mr = 3\nknob nv = 1\nknob pack_b = 1\nknob ku = 4\n"
                "%1 = load a[m*24 + j*696 + k] : f32 (m, j, k)\n"
                "%2 = load b[j*2400 + k*100 + n] : f32 (n, j, k)\n"
                "%3 = dot %1, %2 over (j, k) : f32 (m, n)\n"
                "store y[m*100 + n] = %3 : f32 (m, n)\n",
                144);
}

// More products than the register kernel sums at once: the outer k become steps.
static void test_many_k(void **state) {
    (void)state;
    check_usual("tile t loop\nm m = 5\nn n = 18\nk i = 3 tile 1\nk j = 40 tile 1\nk k = 64\n"
                "arg a: f32[38400]\narg b: f32[138240]\narg y: f32[90]\n"
                "%1 = load a[m*7680 + i*2560 + j*64 + k] : f32 (m, i, j, k)\n"
                "%2 = load b[i*46080 + j*1152 + k*18 + n] : f32 (n, i, j, k)\n"
                "%3 = dot %1, %2 over (i, j, k) : f32 (m, n)\n"
                "store y[m*18 + n] = %3 : f32 (m, n)\n",
                7680);
}

// ---- what stands before and after the dot

static void check_epilogue(Shape s, const char *args, const char *epilogue) {
    TileBench b;
    bench_open(&b);
    for (int i = 0; i < KNOBS; i++) {
        s.knobs = some_knobs[i];
        kernel_check_text(&b, contraction(&b, &s, args, epilogue), check_of(s.k));
    }
    bench_close(&b);
}

static const Shape usual = {
    .m = 23, .n = 53, .k = 31, .mc = 10, .nc = 40, .a_by_k = true, .b_by_n = true};

static void test_gate(void **state) {
    (void)state;
    Shape s = usual;
    for (int i = 0; i < 2; i++, s.kc = 12)
        check_epilogue(s, "arg up: f32[1219]\n",
                       "%4 = map sigmoid %3 : f32 (m, n)\n"
                       "%5 = map mul %3, %4 : f32 (m, n)\n"
                       "%6 = load up[m*53 + n] : f32 (m, n)\n"
                       "%7 = map mul %5, %6 : f32 (m, n)\n"
                       "store y[m*53 + n] = %7 : f32 (m, n)\n");
}

static void test_residual_in_place(void **state) {
    (void)state;
    check_epilogue(usual, "arg r: bf16[1219]\n",
                   "%4 = load y[m*53 + n] : f32 (m, n)\n"
                   "%5 = map add %3, %4 : f32 (m, n)\n"
                   "store y[m*53 + n] = %5 : f32 (m, n)\n"
                   "%7 = load r[m*53 + n] : f32 (m, n)\n"
                   "%8 = map mul %7, %4 : f32 (m, n)\n"
                   "store r[m*53 + n] = %8 : f32 (m, n)\n");
}

static void test_bias_and_scale(void **state) {
    (void)state;
    check_epilogue(usual, "arg bias: bf16[53]\narg scale: f32[23]\narg all: f32[1]\n",
                   "%4 = load bias[n] : f32 (n)\n"
                   "%5 = load scale[m] : f32 (m)\n"
                   "%6 = load all[0] : f32 ()\n"
                   "%7 = map exp %5 : f32 (m)\n"
                   "%8 = map mul %6, %7 : f32 (m)\n"
                   "%9 = map mul %3, %8 : f32 (m, n)\n"
                   "%10 = map add %9, %4 : f32 (m, n)\n"
                   "store y[m + n*23] = %10 : f32 (m, n)\n");
}

static void test_mask_by_index(void **state) {
    (void)state;
    check_epilogue(usual, "arg w: f32[106]\narg j: i32[53]\n",
                   "%4 = index m : i32 (m)\n"
                   "%5 = index n / 2 % 20 + 3 : i32 (n)\n"
                   "%6 = map lt %4, %5 : bool (m, n)\n"
                   "%7 = const -3 : f32 ()\n"
                   "%8 = map where %6, %3, %7 : f32 (m, n)\n"
                   "%9 = load j[n] : i32 (n)\n"
                   "%10 = gather w[m] at %9*7 of 9 : f32 (m, n)\n"
                   "%11 = load w[m + n - 1] if 1 <= n < 40 and 2 <= m < 20 : f32 (m, n)\n"
                   "%12 = map add %8, %10 : f32 (m, n)\n"
                   "%13 = map add %12, %11 : f32 (m, n)\n"
                   "store y[m*53 + n] = %13 : f32 (m, n)\n");
}

static void test_prologue(void **state) {
    (void)state;
    static const char text[] =
        "tile t loop\nm m = 14 tile 9\nn n = 37 tile 20\nk k = 41 tile %d\n"
        "arg a: f32[574]\narg b: bf16[1517]\narg y: f32[518]\narg s: f32[14]\narg g: f32[41]\narg h: f32[37]\n%s"
        "%%1 = load a[m*%d + k*%d] : f32 (m, k)\n"
        "%%2 = load s[m] : f32 (m)\n"
        "%%3 = map mul %%1, %%2 : f32 (m, k)\n"
        "%%4 = load g[k] : f32 (k)\n"
        "%%5 = map mul %%3, %%4 : f32 (m, k)\n"
        "%%6 = load b[n*%d + k*%d] : f32 (n, k)\n"
        "%%7 = load h[n] : f32 (n)\n"
        "%%8 = map sigmoid %%7 : f32 (n)\n"
        "%%9 = map mul %%6, %%8 : f32 (n, k)\n"
        "%%10 = load g[k] if 0 <= k - 3 < 30 : f32 (k)\n"
        "%%11 = map add %%9, %%10 : f32 (n, k)\n"
        "%%12 = dot %%5, %%11 over (k) : f32 (m, n)\n"
        "store y[m*37 + n] = %%12 : f32 (m, n)\n";
    for (int i = 0; i < 16; i++) {
        char filled[1100];
        snprintf(filled, sizeof filled, text, i & 1 ? 16 : 41, i & 2 ? some_knobs[4] : "",
                 i & 4 ? 1 : 41, i & 4 ? 14 : 1, i & 8 ? 1 : 41, i & 8 ? 37 : 1);
        check_usual(filled, (int64_t)4 * 41);
    }
}

// Rows of both operands picked by an index, as in a mixture of experts.
static void test_gathered_operands(void **state) {
    (void)state;
    check_usual(
        "tile t loop\ngrid e = 3\nm m = 7\nn n = 18\nk k = 9\n"
        "arg x: f32[90]\narg j: i32[7]\narg w: f32[1620]\narg pick: i32[3]\narg y: f32[378]\n"
        "%1 = load j[m] : i32 (m)\n"
        "%2 = gather x[k] at %1*9 of 10 : f32 (m, k)\n"
        "%3 = load pick[e] : i32 (e)\n"
        "%4 = gather w[k*18 + n] at %3*162 of 10 : f32 (e, n, k)\n"
        "%5 = dot %2, %4 over (k) : f32 (e, m, n)\n"
        "store y[e*126 + m*18 + n] = %5 : f32 (e, m, n)\n",
        9);
}

// Rows that are picked, and guards: zeros where there is nothing.
static void test_pairs_picked(void **state) {
    (void)state;
    static const char text[] =
        "tile t loop\ngrid e = 3\nm m = 7\nn n = 18\nk k = 9\n%s"
        "arg x: bf16[99]\narg j: i32[7]\narg w: bf16[1620]\narg pick: i32[3]\narg y: f32[378]\n"
        "%%1 = load j[m] : i32 (m)\n"
        "%%2 = gather x[k%s] at %%1*9 of 10%s : f32 (m, k)\n"
        "%%3 = load pick[e] : i32 (e)\n"
        "%%4 = gather w[k*%d + n*%d] at %%3*162 of 10 : f32 (e, n, k)\n"
        "%%5 = dot %%2, %%4 over (k) : f32 (e, m, n)\n"
        "store y[e*126 + m*18 + n] = %%5 : f32 (e, m, n)\n";
    for (int i = 0; i < 8; i++) {
        char filled[900];
        bool guard = i & 4;
        snprintf(filled, sizeof filled, text, i & 1 ? some_knobs[1] : "", guard ? " - 2" : "",
                 guard ? " if 2 <= k < 8" : "", i & 2 ? 18 : 1, i & 2 ? 1 : 9);
        check_usual(filled, 9);
    }
    // The k are rows that are picked, as in gradients of the weights of a mixture.
    for (int i = 0; i < 4; i++) {
        char filled[900];
        static const char by_k[] =
            "tile t loop\nm m = 21\nn n = 37\nk k = %d\n%s"
            "arg x: bf16[420]\narg j: i32[64]\narg g: bf16[740]\narg y: f32[777]\n"
            "%%1 = load j[k] : i32 (k)\n"
            "%%2 = gather x[m] at %%1*21 of 20 : f32 (m, k)\n"
            "%%3 = gather g[n] at %%1*37 of 20 : f32 (n, k)\n"
            "%%4 = dot %%2, %%3 over (k) : f32 (m, n)\n"
            "store y[m*37 + n] = %%4 : f32 (m, n)\n";
        snprintf(filled, sizeof filled, by_k, i & 1 ? 64 : 49, i & 2 ? some_knobs[2] : "");
        check_usual(filled, 64);
    }
}

// The form follows from level and types alone, also on machines that cannot run it.
static void test_levels_with_pairs(void **state) {
    (void)state;
    static const struct {
        int64_t m;
        const char *type;
        bool a_by_k, pairs;
    } cases[] = {{40, "bf16", true, true}, {40, "bf16", false, true}, {8, "bf16", true, true},
                 {40, "f16", true, false}, {40, "f32", true, false},  {1, "bf16", true, false}};
    TileBench b;
    bench_open(&b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int level = CPU_PORTABLE; level <= CPU_AVX512BF16; level++) {
            Shape s = {.m = cases[i].m, .n = 64, .k = 64, .type = cases[i].type};
            s.a_by_k = cases[i].a_by_k;
            s.b_by_n = true;
            const char *store = "store y[m*64 + n] = %3 : f32 (m, n)\n";
            TileProgram *p = bench_program(&b, contraction(&b, &s, "", store));
            EmitOptions options = {.level = (IsaLevel)level, .assembly = true};
            Str text;
            assert_true(emit_text(&b.diag, &b.arena, p, options, &text));
            bool found = memmem(text.ptr, text.len, "vdpbf16ps", 9) != NULL;
            assert_int_equal(found, cases[i].pairs && level == CPU_AVX512BF16);
        }
    bench_close(&b);
}

// Operands that do not stand at m or n.
static void test_operands_without_rows(void **state) {
    (void)state;
    check_usual("tile t loop\ngrid g = 4\nm m = 1\nn n = 1\nk k = 33\n"
                "arg a: f32[132]\narg b: f32[33]\narg y: f32[4]\n"
                "%1 = load a[g*33 + k] : f32 (g, k)\n"
                "%2 = load b[k] : f32 (k)\n"
                "%3 = dot %1, %2 over (k) : f32 (g)\n"
                "%4 = map neg %3 : f32 (g)\n"
                "store y[g] = %4 : f32 (g)\n",
                33);
    check_usual("tile t loop\nm m = 6\nn n = 21\nk k = 5\n"
                "arg a: f32[5]\narg b: f32[5]\narg r: f32[126]\narg y: f32[126]\n"
                "%1 = load a[k] : f32 (k)\n"
                "%2 = load b[k] : f32 (k)\n"
                "%3 = dot %1, %2 over (k) : f32 ()\n"
                "%4 = map neg %3 : f32 ()\n"
                "%5 = load r[m*21 + n] : f32 (m, n)\n"
                "%6 = map mul %4, %5 : f32 (m, n)\n"
                "store y[m*21 + n] = %6 : f32 (m, n)\n",
                5);
}

static int setup(void **state) {
    (void)state;
    kernel_need_compiler();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_odd_shapes, setup),
        cmocka_unit_test_setup(test_extents_of_one, setup),
        cmocka_unit_test_setup(test_thin, setup),
        cmocka_unit_test_setup(test_strands, setup),
        cmocka_unit_test_setup(test_larger, setup),
        cmocka_unit_test_setup(test_panels_copied_by_blocks, setup),
        cmocka_unit_test_setup(test_rows_copied_along_rows, setup),
        cmocka_unit_test_setup(test_groups_of_panels, setup),
        cmocka_unit_test_setup(test_elements_of_16_bits, setup),
        cmocka_unit_test_setup(test_pairs, setup),
        cmocka_unit_test_setup(test_pairs_of_few_rows, setup),
        cmocka_unit_test_setup(test_pairs_copied_by_blocks, setup),
        cmocka_unit_test_setup(test_pairs_of_two_k, setup),
        cmocka_unit_test_setup(test_pairs_picked, setup),
        cmocka_unit_test_setup(test_levels_with_pairs, setup),
        cmocka_unit_test_setup(test_batches, setup),
        cmocka_unit_test_setup(test_two_k, setup),
        cmocka_unit_test_setup(test_two_k_copied_by_blocks, setup),
        cmocka_unit_test_setup(test_many_k, setup),
        cmocka_unit_test_setup(test_gate, setup),
        cmocka_unit_test_setup(test_residual_in_place, setup),
        cmocka_unit_test_setup(test_bias_and_scale, setup),
        cmocka_unit_test_setup(test_mask_by_index, setup),
        cmocka_unit_test_setup(test_prologue, setup),
        cmocka_unit_test_setup(test_gathered_operands, setup),
        cmocka_unit_test_setup(test_operands_without_rows, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
