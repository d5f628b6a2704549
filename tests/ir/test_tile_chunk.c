// test_tile_chunk.c: chunk programs: every operation against plain loops, and their invariants,
// broken.
#include <math.h>

#include "base/io.h"
#include "base/rng.h"
#include "tests/ir/tile_bench.h"

// Ten tokens in tiles of 4, 4 and 2; keys of 3 elements and values of 2, as far as a test has
// them.
enum { T = 10, C = 4, D = 3, E = 2, TILES = 3 };

#define HEAD                                                             \
    "tile t chunk\nm t = 10 tile 4\nn s = 10 tile 4\nk d = 3\nk e = 2\n" \
    "arg x: f32[30]\narg a: f32[30]\narg v: f32[20]\n"
#define X "%1 = load x[t*3 + d] : f32 (t, d)\n"
#define A "%2 = load a[t*3 + d] : f32 (t, d)\n"
#define V "%3 = load v[t*2 + e] : f32 (t, e)\n"

#define FORMATTED_X "%%1 = load x[t*3 + d] : f32 (t, d)\n"

typedef struct {
    float x[T * D], a[T * D], v[T * E], y[T * C * D];
} Data;

static void data_draw(Data *w) {
    memset(w, 0, sizeof *w);
    for (uint64_t i = 0; i < (uint64_t)T * D; i++) {
        w->x[i] = (float)rng_normal(1, i);
        w->a[i] = (float)rng_uniform(2, i);
        if (i < (uint64_t)T * E) w->v[i] = (float)rng_normal(3, i);
    }
}

// The program's arguments are x, a, v and, last, y.
static void run(Data *w, const char *body) {
    TileBench b;
    bench_open(&b);
    data_draw(w);
    const char *text = arena_printf(&b.arena, "%sarg y: f32[120]\n%s", HEAD, body);
    tile_interpret(bench_program(&b, text), (void *[]){w->x, w->a, w->v, w->y});
    bench_close(&b);
}

// All is double precision but what is stored.
static void assert_near(double got, double expected) {
    if (fabs(got - expected) > 1e-7 * (1 + fabs(expected)))
        fail_msg("expected %.9g, got %.9g", expected, got);
}

static int tile_begin(int t) { return t / C * C; }
static int tile_end(int t) { return tile_begin(t) + C < T ? tile_begin(t) + C : T; }

// ---- operations

static double scanned(const Data *w, const char *way, bool product, int t, int d) {
    double sum = product ? 1 : 0;
    for (int r = tile_begin(t); r < tile_end(t); r++) {
        bool sees = !strcmp(way, "upto")     ? r <= t
                    : !strcmp(way, "before") ? r < t
                    : !strcmp(way, "after")  ? r > t
                                             : r >= t;
        double x = (double)w->x[r * D + d];
        if (sees) sum = product ? sum * x : sum + x;
    }
    return sum;
}

static void test_scans(void **state) {
    (void)state;
    const char *const ways[] = {"upto", "before", "after", "from"};
    for (int i = 0; i < 8; i++) {
        Data w;
        char body[200];
        snprintf(body, sizeof body,
                 FORMATTED_X
                 "%%2 = scan %s %%1 %s (t) : f32 (t, d)\nstore y[t*3 + d] = %%2 : f32 (t, d)",
                 i < 4 ? "mul" : "add", ways[i % 4]);
        run(&w, body);
        for (int t = 0; t < T; t++)
            for (int d = 0; d < D; d++)
                assert_near((double)w.y[t * D + d], scanned(&w, ways[i % 4], i < 4, t, d));
    }
}

// Of a whole tile; stored by tiles, and loaded by tiles, last tile first.
static void test_by_tiles(void **state) {
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        Data w;
        char body[300];
        snprintf(body, sizeof body,
                 "%s" FORMATTED_X "%%2 = scan add %%1 all (t) : f32 (d)\n"
                 "%%3 = load a[t*3 + d] : f32 (d)\n%%4 = map add %%2, %%3 : f32 (d)\n"
                 "store y[t*3 + d] = %%4 : f32 (d)",
                 reverse ? "reverse\n" : "");
        run(&w, body);
        for (int tile = 0; tile < TILES; tile++)
            for (int d = 0; d < D; d++) {
                double sum = (double)w.a[tile * D + d];
                for (int t = tile * C; t < tile_end(tile * C); t++)
                    sum += (double)w.x[t * D + d];
                assert_near((double)w.y[tile * D + d], sum);
            }
    }
}

// What is carried: the sum of all earlier tiles, or later ones; stored last, that of all.
static void test_carries(void **state) {
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        Data w;
        char body[400];
        snprintf(body, sizeof body,
                 "%s%%1 = const 2 : f32 ()\n%%2 = carry %%1 : f32 (d)\n"
                 "%%3 = load x[t*3 + d] : f32 (t, d)\n%%4 = scan add %%3 all (t) : f32 (d)\n"
                 "%%5 = map add %%2, %%4 : f32 (d)\nstore y[t*3 + d] = %%2 : f32 (d)\n"
                 "next %%2 = %%5 : f32 (d)\nstore y[d + 100] = %%2 : f32 (d)",
                 reverse ? "reverse\n" : "");
        run(&w, body);
        for (int d = 0; d < D; d++)
            for (int tile = 0; tile <= TILES; tile++) {
                double sum = 2;
                for (int t = 0; t < T; t++)
                    if (tile == TILES || (reverse ? t / C > tile : t / C < tile))
                        sum += (double)w.x[t * D + d];
                int at = tile == TILES ? 100 + d : tile * D + d;
                assert_near((double)w.y[at], sum);
            }
    }
}

static double between(const Data *w, int s, int t, int d) {
    double product = 1;
    for (int r = s + 1; r <= t; r++)
        product *= (double)w->a[r * D + d];
    return product;
}

// Scores of x with itself, decayed; multiplied from either side, decayed again.
static void test_decayed_dots(void **state) {
    (void)state;
    Data w;
    run(&w, X A "%3 = turn %1 : f32 (s, d)\n"
                "%4 = dot %1, %3 decayed %2 over (d) : f32 (t, s)\n"
                "%5 = dot %4, %3 decayed %2 over (s) : f32 (t, d)\n"
                "%6 = dot %4, %1 decayed %2 over (t) : f32 (s, d)\n"
                "store y[t*3 + d] = %5 : f32 (t, d)\n"
                "store y[s*3 + d + 40] = %6 : f32 (s, d)");
    for (int i = 0; i < T; i++)
        for (int d = 0; d < D; d++) {
            double rows = 0, cols = 0;
            for (int k = tile_begin(i); k < tile_end(i); k++) {
                int t = i > k ? i : k, s = i > k ? k : i;
                double score = 0;
                for (int c = 0; c < D; c++)
                    score +=
                        (double)w.x[t * D + c] * (double)w.x[s * D + c] * between(&w, s, t, c);
                double term = score * (double)w.x[k * D + d] * between(&w, s, t, d);
                rows += k <= i ? term : 0;
                cols += k >= i ? term : 0;
            }
            assert_near((double)w.y[i * D + d], rows);
            assert_near((double)w.y[40 + i * D + d], cols);
        }
}

// (I + strictly lower part) X = v, put in, gives v again; what lies on the diagonal is not
// read.
static void test_solve(void **state) {
    (void)state;
    for (int transposed = 0; transposed < 2; transposed++) {
        Data w;
        char body[400];
        snprintf(body, sizeof body,
                 FORMATTED_X
                 "%%2 = turn %%1 : f32 (s, d)\n%%3 = dot %%1, %%2 over (d) : f32 (t, s)\n"
                 "%%4 = load v[t*2 + e] : f32 (t, e)\n%%5 = solve %%3, %%4%s : f32 (t, e)\n"
                 "store y[t*2 + e] = %%5 : f32 (t, e)",
                 transposed ? " transposed" : "");
        run(&w, body);
        for (int t = 0; t < T; t++)
            for (int e = 0; e < E; e++) {
                double sum = (double)w.y[t * E + e];
                for (int s = tile_begin(t); s < tile_end(t); s++) {
                    double dot = 0;
                    for (int d = 0; d < D; d++)
                        dot += (double)w.x[t * D + d] * (double)w.x[s * D + d];
                    if (transposed ? s > t : s < t) sum += dot * (double)w.y[s * E + e];
                }
                // The numbers put in are rounded.
                assert_true(fabs(sum - (double)w.v[t * E + e]) < 1e-4);
            }
    }
}

static void test_sums(void **state) {
    (void)state;
    Data w;
    run(&w, X "%2 = reduce_sum %1 over (d) : f32 (t)\n%3 = reduce_sum %1 over (t) : f32 (d)\n"
              "%4 = reduce_sum %3 over (d) : f32 ()\nstore y[t] = %2 : f32 (t)\n"
              "store y[t*3 + d + 20] = %3 : f32 (d)\nstore y[t + 40] = %4 : f32 ()");
    for (int tile = 0; tile < TILES; tile++) {
        double all = 0, of[D] = {0};
        for (int t = tile * C; t < tile_end(tile * C); t++) {
            double sum = 0;
            for (int d = 0; d < D; d++) {
                sum += (double)w.x[t * D + d];
                of[d] += (double)w.x[t * D + d];
            }
            assert_near((double)w.y[t], sum);
            all += sum;
        }
        for (int d = 0; d < D; d++)
            assert_near((double)w.y[20 + tile * D + d], of[d]);
        assert_near((double)w.y[40 + tile], all);
    }
}

// The program of the documentation, against the recurrence.
static void test_gated_delta(void **state) {
    (void)state;
    enum { TOKENS = 100, WIDTH = 16, VALUES = 32 };
    static uint16_t q[TOKENS * WIDTH], k[TOKENS * WIDTH], v[TOKENS * VALUES],
        o[TOKENS * VALUES];
    static float alpha[TOKENS * WIDTH], beta[TOKENS], last[WIDTH * VALUES];
    static double s[WIDTH][VALUES];
    TileBench b;
    bench_open(&b);
    Str docs = {0};
    assert_true(
        io_read(&b.diag, &b.arena, STR(STRATA_TEST_SOURCE_DIR "/docs/tile_ir.md"), &docs));
    const char *begin = strstr(docs.ptr, "tile gated_delta chunk"), *end = strstr(begin, "```");
    for (uint64_t i = 0; i < (uint64_t)TOKENS * VALUES; i++) {
        v[i] = bf16_of((float)rng_normal(1, i));
        if (i < TOKENS) beta[i] = (float)rng_uniform(2, i);
        if (i >= (uint64_t)TOKENS * WIDTH) continue;
        q[i] = bf16_of((float)rng_normal(3, i));
        k[i] = bf16_of((float)rng_normal(4, i) / 4);
        alpha[i] = (float)rng_uniform(5, i);
    }
    alpha[37 * WIDTH + 3] = 0;
    tile_interpret(bench_program(&b, arena_strndup(&b.arena, begin, (size_t)(end - begin))),
                   (void *[]){q, k, v, alpha, beta, o, last});
    for (int t = 0; t < TOKENS; t++)
        for (int e = 0; e < VALUES; e++) {
            double read = 0, out = 0;
            for (int d = 0; d < WIDTH; d++) {
                s[d][e] *= (double)alpha[t * WIDTH + d];
                read += s[d][e] * (double)bf16_to(k[t * WIDTH + d]);
            }
            double u = (double)beta[t] * ((double)bf16_to(v[t * VALUES + e]) - read);
            for (int d = 0; d < WIDTH; d++) {
                s[d][e] += (double)bf16_to(k[t * WIDTH + d]) * u;
                out += s[d][e] * (double)bf16_to(q[t * WIDTH + d]);
            }
            double got = (double)bf16_to(o[t * VALUES + e]);
            assert_true(fabs(got - out) <= fabs(out) / 256 + 1e-6);
        }
    for (int i = 0; i < WIDTH * VALUES; i++)
        assert_near((double)last[i], s[i / VALUES][i % VALUES]);
    bench_close(&b);
}

// ---- invariants

typedef struct {
    const char *text, *message;  // NULL: sound
} Case;

#define P "%4 = turn %1 : f32 (s, d)\n%5 = dot %1, %4 over (d) : f32 (t, s)\n"

static const Case cases[] = {
    {"", NULL},
    {P "%6 = solve %5, %3 : f32 (t, e)", NULL},
    {P "%6 = solve %5, %4 : f32 (t, d)", "what is solved stands at m and n"},
    {"%4 = solve %1, %3 : f32 (t, d, e)", "more than two dimensions"},
    {"%4 = map mul %1, %3 : f32 (t, d, e)", "more than two dimensions besides the grid"},
    {"%4 = reduce_max %1 over (d) : f32 (t)", "is a sum over one k, or over m"},
    {P "%6 = reduce_sum %5 over (s) : f32 (t)", "is a sum over one k, or over m"},
    {"%4 = dot %1, %2 over (d) : f32 (t)", "do not stand at one other dimension each"},
    {"%4 = dot %1, %3 over (d) : f32 (t, e)", "over one dimension of both operands"},
    {"%4 = turn %1 : f32 (s, d)\n%5 = dot %4, %1 over (d) : f32 (t, s)", "m is on the left"},
    {P "%6 = dot %3, %5 over (t) : f32 (s, e)", "m is on the left"},
    {P "%6 = dot %5, %4 decayed %2 over (s) : f32 (t, d)", NULL},
    {P "%6 = dot %5, %1 decayed %4 over (t) : f32 (s, d)", "its decay stands at m"},
    {"%4 = dot %1, %3 decayed %2 over (t) : f32 (d, e)", "a decayed dot is of"},
    {"%4 = scan mul %2 all (t) : f32 (d)\n%5 = carry %4 : f32 (d)\nnext %5 = %4 : f32 (d)",
     "a carry begins as numbers"},
    {"%4 = index d : i32 (d)\n%5 = index e : i32 (e)\n%6 = map eq %4, %5 : bool (d, e)\n"
     "%7 = const 1 : f32 ()\n%8 = map where %6, %7, %7 : f32 (d, e)\n"
     "%9 = carry %8 : f32 (d, e)\nnext %9 = %8 : f32 (d, e)",
     NULL},
    {"%4 = const 0 : f32 ()\n%5 = carry %4 : f32 (d, e)", "a carry has one next value"},
    {"%4 = const 0 : f32 ()\n%5 = carry %4 : f32 (t)\nnext %5 = %4 : f32 (t)",
     "without tokens"},
    {"%4 = const 0 : f32 ()\n%5 = carry %4 : f32 (d)\nnext %5 = %4 : f32 (d)\n"
     "%7 = map neg %5 : f32 (d)",
     "a value after a next"},
    {"%4 = const 0 : f32 ()\n%5 = carry %4 : f32 (d)\n%6 = dot %1, %3 over (t) : f32 (d, e)\n"
     "next %5 = %6 : f32 (d)",
     "the carry lacks dimensions"},
    {"%4 = scan add %2 all (t) : f32 (d)\narg y: f32[3]\nstore y[d] = %4 : f32 (d)",
     "only a carry is stored after the last tile"},
    {"arg y: f32[9]\n%4 = scan add %2 all (t) : f32 (d)\nstore y[t*3 + d] = %4 : f32 (d)",
     NULL},
    {"arg y: f32[8]\n%4 = scan add %2 all (t) : f32 (d)\nstore y[t*3 + d] = %4 : f32 (d)",
     "it reaches elements 0 to 8"},
    {"arg y: f32[9]\n%4 = load y[t*3 + d] if 0 <= d < 2 : f32 (d)", "has no guard"},
    {"%4 = turn %3 : f32 (s, e)\n%5 = scan add %4 upto (t) : f32 (s, e)", "over m, of a value"},
    {"%4 = const 0 : f32 ()\n%5 = turn %4 : f32 ()", "stands at one of m and n"},
    {"arg j: i32[10]\n%4 = load j[t] : i32 (t)\n%5 = gather x[d] at %4*3 of 10 : f32 (t, d)",
     "it is no operation of chunk programs"},
};

static void test_invariants(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TileBench b;
        bench_open(&b);
        TileProgram *p =
            bench_read(&b, arena_printf(&b.arena, "%s%s", HEAD X A V, cases[i].text));
        bool sound = tile_verify(&b.diag, p);
        if (sound != !cases[i].message) print_error("in: %s\n", cases[i].text);
        if (cases[i].message) assert_diag_has(&b.diag, cases[i].message);
        assert_int_equal(sound, !cases[i].message);
        bench_close(&b);
    }
}

static void test_heads(void **state) {
    (void)state;
    const Case heads[] = {
        {"m t = 4\nn s = 4\nk d = 2", NULL},
        {"m t = 4\nn s = 5\nk d = 2", "are the same tokens in the same tiles"},
        {"m t = 4 tile 2\nn s = 4\nk d = 2", "are the same tokens in the same tiles"},
        {"m t = 4\nn s = 4\nk d = 2 tile 1",
         "dimension 'd' of a program of kind chunk is tiled"},
        {"serial r = 2\nm t = 4\nn s = 4\nk d = 2", "no dimension of role serial"},
        {"m t = 4\nk d = 2", "one dimension of role m and one of role n"},
        {"grid p = 2\nm t = 7 tile 4\nn s = 7 tile 4\nk d = 2\nsegments", NULL},
        {"grid p = 3\nm t = 7 tile 4\nn s = 7 tile 4\nk d = 2\nsegments",
         "segments are points of a grid dimension, each with a tile"},
        {"m t = 7 tile 4\nn s = 7 tile 4\nk d = 2\nsegments",
         "segments are points of a grid dimension"},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        TileBench b;
        bench_open(&b);
        const char *text = arena_printf(&b.arena, "tile t chunk\n%s\n", heads[i].text);
        assert_int_equal(tile_verify(&b.diag, bench_read(&b, text)), !heads[i].message);
        if (heads[i].message) assert_diag_has(&b.diag, heads[i].message);
        bench_close(&b);
    }
}

// Pairs of a tile that exist: 10 + 10 + 3; a task walks all tiles.
static void test_work(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    TileProgram *p = bench_program(&b, HEAD X A V P "%6 = solve %5, %3 : f32 (t, e)\n"
                                                    "%7 = dot %1, %6 over (t) : f32 (d, e)\n"
                                                    "%8 = map exp %7 : f32 (d, e)\n");
    double exps = op_flops(OP_EXP) * TILES * D * E;
    assert_true(tile_flops(p) == 2.0 * (23 * D + 23 * E + T * D * E) + exps);
    assert_int_equal(tile_task_count(p), 1);
    assert_int_equal(tile_walked(p), TILES);
    assert_true(tile_bytes(p) == 4.0 * (T * D * 2 + T * E));
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scans),       cmocka_unit_test(test_by_tiles),
        cmocka_unit_test(test_carries),     cmocka_unit_test(test_decayed_dots),
        cmocka_unit_test(test_solve),       cmocka_unit_test(test_sums),
        cmocka_unit_test(test_gated_delta), cmocka_unit_test(test_invariants),
        cmocka_unit_test(test_heads),       cmocka_unit_test(test_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
