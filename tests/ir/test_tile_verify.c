// test_tile_verify.c: every invariant of tile programs, broken.
#include "ir/tile/tile_access.h"
#include "tests/ir/tile_bench.h"

typedef struct {
    const char *text, *message;  // NULL: sound
} Case;

static void assert_cases(const char *head, const Case *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        TileBench b;
        bench_open(&b);
        TileProgram *p = bench_read(&b, arena_printf(&b.arena, "%s%s", head, cases[i].text));
        bool sound = tile_verify(&b.diag, p);
        if (sound != !cases[i].message) print_error("in: %s\n", cases[i].text);
        if (cases[i].message)
            assert_diag_has(&b.diag, cases[i].message);
        else
            assert_diag(&b.diag, "");
        assert_int_equal(sound, !cases[i].message);
        bench_close(&b);
    }
}
#define ASSERT_CASES(head, cases) assert_cases(head, cases, sizeof(cases) / sizeof *(cases))

static void test_dimensions(void **state) {
    (void)state;
    const Case cases[] = {
        {"stream\n", NULL},
        {"stream\nserial s = 2\ngrid g = 2", "'g' stands after one of role serial"},
        {"stream\ngrid g = 4 tile 2", "grid dimension 'g' has a tile other than 1"},
        {"stream\nm a = 4", "a stream program has no dimension of role m"},
        {"loop\nserial a = 4", "a loop program has no dimension of role serial"},
        {"loop\ncol a = 4", "a loop program has no dimension of role col"},
        {"stream\ncol a = 4\ncol b = 4", "more than one dimension of role col"},
        {"loop\nm a = 4\nk b = 4", "one dimension of role m and one of role n"},
        {"loop\nm a = 4\nm b = 4\nn c = 4", "one dimension of role m and one of role n"},
        {"loop\nm a = 4\nn b = 4", "has a dimension of role k"},
        {"loop\nm a = 4\nn b = 4\nk c = 2", "a loop program has a dot"},
        {"stream\ngrid a = 200000000000000\ngrid b = 2", "too many tasks"},
        {"stream\nknob speed = 3", "there is no knob 'speed'"},
        {"stream\narg x: i64[3]", "argument 'x' has the type i64"},
    };
    ASSERT_CASES("tile t ", cases);
}

static void test_types(void **state) {
    (void)state;
    const Case cases[] = {
        {"%1 = const 1 : bf16 ()", "types that do not go together"},
        {"%1 = const 1 : i32 ()\n%2 = map exp %1 : i32 ()", "types that do not"},
        {"%1 = const 1 : i32 ()\n%2 = map div %1, %1 : i32 ()", "types that do not"},
        {"%1 = const 1 : i32 ()\n%2 = map add %1, %1 : i32 ()", NULL},
        {"%1 = const 1 : i32 ()\n%2 = const 1 : f32 ()\n%3 = map add %1, %2 : i32 ()", "types"},
        {"%1 = const 1 : i32 ()\n%2 = map lt %1, %1 : bool ()", NULL},
        {"%1 = const 1 : i32 ()\n%2 = map lt %1, %1 : i32 ()", "types that do not"},
        {"%1 = const 1 : i32 ()\n%2 = map not %1 : i32 ()", "types that do not"},
        {"%1 = const 1 : i32 ()\n%2 = map cast %1 : f32 ()", NULL},
        {"%1 = const 1 : f32 ()\n%2 = map where %1, %1, %1 : f32 ()", "types that do not"},
        {"%1 = const 1 : f32 ()\n%2 = map eq %1, %1 : bool ()\n%3 = map where %2, %1, %1 : f32 ()",
         NULL},
        {"%1 = load b[c] : bool (c)\n%2 = reduce_sum %1 over (c) : bool ()",
         "types that do not"},
        {"%1 = load j[c] : i32 (c)\nstore x[c] = %1 : i32 (c)", "types that do not"},
    };
    ASSERT_CASES("tile t stream\ncol c = 8\narg x: f32[8]\narg j: i32[8]\narg b: bool[8]\n",
                 cases);
}

static void test_bounds(void **state) {
    (void)state;
    const Case cases[] = {
        {"%1 = load x[g*8 + c] : f32 (g, c)", NULL},
        {"%1 = load x[g*8 + c + 1] : f32 (g, c)",
         "it reaches elements 1 to 32 of argument 'x'"},
        {"%1 = load x[g*8 - c] : f32 (g, c)", "it reaches elements -7 to 24"},
        {"%1 = load x[-g*8 + c + 24] : f32 (g, c)", NULL},
        {"%1 = load x[g*8 + c + 1] if 0 <= c < 7 : f32 (g, c)", NULL},
        {"%1 = load x[g*8 + c - 1] if 0 <= c - 1 < 8 : f32 (g, c)", NULL},
        {"%1 = load x[g*8 + c - 2] if 0 <= c - 1 < 8 : f32 (g, c)", "it reaches elements -1"},
        {"%1 = load x[g*8 + c - 8] if 0 <= g - 1 < 4 : f32 (g, c)", NULL},
        {"%1 = load x[g*8 + c - 2] if 1 <= c / 2 < 4 : f32 (g, c)", NULL},
        {"%1 = load x[g*8 + c - 1] if 1 <= c % 2 < 2 : f32 (g, c)", NULL},
        {"%1 = load x[g*8 + c + 1] if 0 <= c % 2 < 1 : f32 (g, c)", NULL},
        {"%1 = load x[900] if 8 <= c < 9 : f32 (c)", NULL},
        {"%1 = load x[c*281474976710656] : f32 (c)", "an access with a number out of range"},
        {"%1 = load j[g] : i32 (g)\n%2 = gather x[c] at %1*8 of 4 : f32 (g, c)", NULL},
        {"%1 = load j[g] : i32 (g)\n%2 = gather x[c] at %1*8 of 5 : f32 (g, c)",
         "elements 0 to 39"},
        {"%1 = load j[g] : i32 (g)\n%2 = gather x[c] at %1*-8 of 2 : f32 (g, c)",
         "elements -8 to 7"},
        {"%1 = load j[g] : i32 (g)\n%2 = gather x[900] at %1*1 of 0 : f32 (g)", NULL},
        {"%1 = load x[g*8 + c] : f32 (g, c)\nstore y[g*8 + c + 1] = %1 : f32 (g, c)",
         "elements 1 to 32"},
    };
    ASSERT_CASES(
        "tile t stream\ngrid g = 4\ncol c = 8\narg x: f32[32]\narg y: f32[32]\narg j: i32[4]\n",
        cases);
}

#define X   "%1 = load x[g*8 + s*32 + c] : f32 (g, s, c)\n"
#define SUM "%2 = reduce_sum %1 over (c) : f32 (g, s)\n"

static void test_stores(void **state) {
    (void)state;
    const Case cases[] = {
        {X "store y[g*8 + s*32 + c] = %1 : f32 (g, s, c)", NULL},
        {X "store y[c*12 + g*3 + s] = %1 : f32 (g, s, c)", NULL},
        {X "store y[g*8 + s*8 + c] = %1 : f32 (g, s, c)",
         "an element is stored more than once"},
        {X "store y[g*8 + c] = %1 : f32 (g, s, c)", "an element is stored more than once"},
        {X "store y[g*8 + s*32 + c] if 0 <= c < 3 = %1 : f32 (g, s, c)",
         "a store has no guard"},
        {X SUM "store y[g + s*4] = %2 : f32 (g, s)", NULL},
        {X SUM "store y[g + s*4 + c*12] = %2 : f32 (g, s)",
         "along a dimension that its value lacks"},
        {X "%2 = reduce_sum %1 over (s) : f32 (g, c)\nstore y[g*8 + c] = %2 : f32 (g, c)",
         NULL},
        {X "%2 = reduce_sum %1 over (s, c) : f32 (g)\nstore y[g] = %2 : f32 (g)", NULL},
        {"%1 = load x[c] : f32 (c)\nstore y[c] = %1 : f32 (c)",
         "several points store the same element"},
        // Two stores: other elements, interleaved elements, common elements.
        {X
         "store y[g*8 + s*32 + c] = %1 : f32 (g, s, c)\nstore y[g*8 + s*32 + c + 96] = %1 : f32 (g, s, c)",
         NULL},
        {X
         "store y[g*16 + s*64 + c] = %1 : f32 (g, s, c)\nstore y[g*16 + s*64 + c + 8] = %1 : f32 (g, s, c)",
         NULL},
        {X "store y[g*16 + s*64 + c*2] = %1 : f32 (g, s, c)\n"
           "store y[g*16 + s*64 + c*2 + 1] = %1 : f32 (g, s, c)",
         NULL},
        {X
         "store y[g*16 + s*64 + c] = %1 : f32 (g, s, c)\nstore y[g*16 + s*64 + c + 7] = %1 : f32 (g, s, c)",
         "an element may also be stored by %2"},
        {X
         "store y[g*16 + s*64 + c] = %1 : f32 (g, s, c)\nstore y[g*16 + s*64 + c + 23] = %1 : f32 (g, s, c)",
         "an element may also be stored by %2"},
        // Loaded and stored.
        {X "store x[g*8 + s*32 + c] = %1 : f32 (g, s, c)", NULL},
        {X "store x[g*8 + s*32 + c + 96] = %1 : f32 (g, s, c)", NULL},
        {X "store x[g*8 + s*32 + c + 32] = %1 : f32 (g, s, c)",
         "'x' is stored to where it may still be loaded"},
        {X "%2 = load x[c] : f32 (c)\nstore x[g*8 + s*32 + c] = %1 : f32 (g, s, c)",
         "it may still be loaded"},
    };
    ASSERT_CASES(
        "tile t stream\ngrid g = 4\nserial s = 3\ncol c = 8\narg x: f32[192]\narg y: f32[256]\n",
        cases);
}

static void test_tiled_cols(void **state) {
    (void)state;
    const Case cases[] = {
        {"%1 = load x[c] : f32 (c)\nstore y[c] = %1 : f32 (c)", NULL},
        {"%1 = const 1 : f32 ()\nstore y[0] = %1 : f32 ()",
         "several points store the same element"},
        {"%1 = load x[c] : f32 (c)\n%2 = reduce_sum %1 over (c) : f32 ()",
         "a reduction over cols that are tiled"},
        {"%1 = load j[c] : i32 (c)\n%2 = load x[c] : f32 (c)\nscatter_add y[0] at %1*1 of 8 = %2 : f32 (c)",
         "two tasks may meet in the same element"},
    };
    ASSERT_CASES(
        "tile t stream\ncol c = 8 tile 4\narg x: f32[8]\narg y: f32[8]\narg j: i32[8]\n",
        cases);
}

static void test_reductions(void **state) {
    (void)state;
    const Case cases[] = {
        {"%1 = load x[g*8 + c] : f32 (g, c)\n%2 = reduce_max %1 over (c) : f32 (g)", NULL},
        {"%1 = load x[g*8 + c] : f32 (g, c)\n%2 = reduce_sum %1 over () : f32 (g, c)",
         "over nothing"},
        {"%1 = load x[g] : f32 (g)\n%2 = reduce_sum %1 over (c) : f32 (g)",
         "a dimension that its operand lacks"},
        {"%1 = load x[g] : f32 (g)\n%2 = reduce_sum %1 over (g) : f32 ()",
         "over col and serial"},
        {"%1 = load x[c] : f32 (c)\n%2 = dot %1, %1 over (c) : f32 ()",
         "a dot is of loop programs"},
    };
    ASSERT_CASES("tile t stream\ngrid g = 4\ncol c = 8\narg x: f32[32]\n", cases);
}

static void test_scatter(void **state) {
    (void)state;
    const char *load = "%1 = load j[s] : i32 (s)\n%2 = load x[s*8 + c] : f32 (s, c)\n";
    const Case cases[] = {
        {"scatter_add y[c] at %1*8 of 4 = %2 : f32 (s, c)", NULL},
        {"scatter_add y[c] at %1*8 of 4 if 0 <= c < 3 = %2 : f32 (s, c)",
         "a scatter has no guard"},
        {"scatter_add y[c] at %1*7 of 4 = %2 : f32 (s, c)",
         "two tasks may meet in the same element"},
        {"scatter_add y[c] at %1*8 of 5 = %2 : f32 (s, c)", "it reaches elements 0 to 39"},
        {"%3 = load y[c] : f32 (c)\nscatter_add y[c] at %1*8 of 4 = %2 : f32 (s, c)",
         "its argument is also used by %3"},
        {"scatter_put y[c] at %1*8 of 4 = %2 : f32 (s, c)", NULL},
        {"scatter_put y[c] at %1*8 of 5 = %2 : f32 (s, c)", "it reaches elements 0 to 39"},
    };
    const char *head = "tile t stream\nserial s = 6\ncol c = 8 tile 2\n"
                       "arg x: f32[48]\narg y: f32[32]\narg j: i32[6]\n";
    TileBench b;
    bench_open(&b);
    ASSERT_CASES(arena_printf(&b.arena, "%s%s", head, load), cases);
    const Case rows[] = {{"%1 = load j[g] : i32 (g)\n%2 = load x[g*8 + c] : f32 (g, c)\n"
                          "scatter_add y[c] at %1*8 of 4 = %2 : f32 (g, c)",
                          "two tasks may meet in the same element: rows must be serial"},
                         {"%1 = load j[g] : i32 (g)\n%2 = load x[g*8 + c] : f32 (g, c)\n"
                          "scatter_put y[c] at %1*8 of 4 = %2 : f32 (g, c)",
                          NULL},
                         {"%1 = const 2 : i32 ()\n%2 = load x[g*8 + c] : f32 (g, c)\n"
                          "scatter_put y[c] at %1*8 of 4 = %2 : f32 (g, c)",
                          "two tasks may meet in the same element: rows must be serial"}};
    assert_cases(
        "tile t stream\ngrid g = 6\ncol c = 8\narg x: f32[48]\narg y: f32[32]\narg j: i32[6]\n",
        rows, 3);
    bench_close(&b);
}

#define A   "%1 = load a[m*4 + k] : f32 (m, k)\n"
#define B   "%2 = load b[n*4 + k] : f32 (n, k)\n"
#define DOT "%3 = dot %1, %2 over (k) : f32 (m, n)\n"
#define C   "store c[m*6 + n] = %3 : f32 (m, n)\n"

static void test_loops(void **state) {
    (void)state;
    const Case cases[] = {
        {A B DOT C, NULL},
        {A B "%3 = dot %2, %1 over (k) : f32 (m, n)",
         "its left operand stands at more than m and k"},
        {A "%2 = map add %1, %1 : f32 (m, k)\n%3 = dot %1, %2 over (k) : f32 (m)",
         "its right operand stands at more than n and k"},
        {A B "%3 = dot %1, %2 over () : f32 (m, n, k)",
         "a dot is over all dimensions of role k"},
        {A B DOT "%4 = dot %1, %2 over (k) : f32 (m, n)", "a second dot"},
        {A B DOT "%4 = load a[m*4 + k] : f32 (m, k)", "it stands at k after the dot"},
        {A B DOT "%4 = map add %1, %1 : f32 (m, k)", "it stands at k after the dot"},
        {A B "store c[m*6 + k] = %1 : f32 (m, k)", "several points store the same element"},
        {"%1 = load b[m*4 + n] : f32 (m, n)\nstore c[m*6 + n] = %1 : f32 (m, n)\n",
         "a store before the dot"},
        {A B DOT "%4 = load a[m] : f32 (m)\nstore c[m] = %4 : f32 (m)",
         "several points store the same element"},
        {A "%2 = reduce_sum %1 over (k) : f32 (m)", "a reduction is of stream programs"},
        {A B DOT "%4 = load j[m] : i32 (m)\nscatter_add c[n] at %4*6 of 5 = %3 : f32 (m, n)",
         "a scatter is of stream programs"},
        {"%1 = load j[m] : i32 (m)\n" B "%3 = dot %1, %2 over (k) : f32 (m, n)",
         "types that do not"},
    };
    const char *head = "tile t loop\nm m = 5 tile 2\nn n = 6\nk k = 4 tile 3\n"
                       "arg a: f32[20]\narg b: f32[24]\narg c: f32[30]\narg j: i32[5]\n";
    ASSERT_CASES(head, cases);
}

// What no text says: programs spoiled by hand.
static void assert_spoiled(TileBench *b, TileProgram *p, const char *message) {
    assert_false(tile_verify(&b->diag, p));
    assert_diag_has(&b->diag, message);
    bench_close(b);
}
#define SPOILED(spoil, message)                                 \
    do {                                                        \
        TileBench b;                                            \
        bench_open(&b);                                         \
        TileProgram *p = bench_program(&b, tile_text_rms_norm); \
        spoil;                                                  \
        assert_spoiled(&b, p, message);                         \
    } while (0)

#define ATTEND                                                                     \
    "tile t attend\nserial r = 2\nm m = 6\nn n = 6\nk d = 3\nk e = 4\n"            \
    "band -1, 2\narg q: f32[36]\narg k: f32[18]\narg v: f32[24]\narg y: f32[48]\n" \
    "%1 = load q[r*18 + m*3 + d] : f32 (r, m, d)\n"                                \
    "%2 = load k[n*3 + d] : f32 (n, d)\n"                                          \
    "%3 = load v[n*4 + e] : f32 (n, e)\n"                                          \
    "%4 = dot %1, %2 over (d) : f32 (r, m, n)\n"

static void test_attention(void **state) {
    (void)state;
    const Case cases[] = {
        {"", NULL},
        {"%5 = dot %4, %3 over (n) : f32 (r, m, e)\nstore y[r*24 + m*4 + e] = %5 : f32 (r, m, e)",
         NULL},
        {"%5 = dot %4, %1 over (r, m) : f32 (n, d)\nstore k[n*3 + d] = %5 : f32 (n, d)", NULL},
        {"%5 = reduce_max %4 over (n) : f32 (r, m)", NULL},
        {"%5 = reduce_max %4 over (m) : f32 (r, n)",
         "a reduction of an attend program is over n"},
        {"%5 = reduce_sum %1 over (d) : f32 (r, m)",
         "a reduction of an attend program is over n"},
        {"%5 = dot %4, %1 over (m) : f32 (r, n, d)", "it is not over n, or m and the serial"},
        {"%5 = dot %4, %2 over (d) : f32 (r, m, n)", "do not stand at m, k and n, k"},
        {"%5 = dot %2, %1 over (d) : f32 (r, m, n)", "do not stand at m, k and n, k"},
        {"%5 = dot %3, %4 over (n) : f32 (r, m, e)", "its left operand does not stand at"},
        {"%5 = map mul %4, %1 : f32 (r, m, n, d)", "it stands at m, n and k"},
        {"arg s: f32[72]\nstore s[r*36 + m*6 + n] = %4 : f32 (r, m, n)",
         "only maps and dots stand at m and n"},
    };
    ASSERT_CASES(ATTEND, cases);
    const Case heads[] = {
        {"m m = 4\nn n = 4\n", "has a dimension of role k"},
        {"m m = 4\nn n = 4\nk k = 4 tile 2\n",
         "dimension 'k' of a program of kind attend is tiled"},
        {"m m = 4\nn n = 4\nk k = 4\nband 2, 1\n", "the band has no pairs"},
        {"col c = 4\nm m = 4\nn n = 4\nk k = 4\n", "no dimension of role col"},
        {"m m = 4\nn n = 4 tile 2\nk k = 4\narg x: f32[16]\n"
         "%1 = load x[m*4 + k] : f32 (m, k)\n%2 = load x[n*4 + k] : f32 (n, k)\n"
         "%3 = dot %1, %2 over (k) : f32 (m, n)\n%4 = reduce_max %3 over (n) : f32 (m)",
         "a reduction over n, which is tiled"},
        {"m m = 4\nn n = 4\nk k = 4\narg x: i32[4]\n%1 = load x[m] : i32 (m)\n"
         "start %1 over (m) : i32 (m)",
         "a start is the one of m in an attend program, and stands at grid"},
        {"m m = 4\nn n = 4\nk k = 4\nband 0, inf\n"
         "deal 2",
         "keys are dealt to the points of a grid dimension"},
    };
    ASSERT_CASES("tile t attend\n", heads);
}

static void test_spoiled(void **state) {
    (void)state;
    SPOILED(p->name = STR("a b"), "the program's name is no name");
    SPOILED(p->dims[0].name = STR("3"), "'3' is no name");
    SPOILED(p->dims[1].name = STR("t"), "two dimensions are called 't'");
    SPOILED(p->dims[1].extent = 0, "has the extent 0");
    SPOILED(p->dims[1].tile = 0, "has the tile 0");
    SPOILED(p->dims[1].tile = 6, "has the tile 6");
    SPOILED(p->args.ptr[0].name = STR("a-b"), "'a-b' is no name");
    SPOILED(p->args.ptr[1].name = STR("x"), "two arguments are called 'x'");
    SPOILED(p->args.ptr[0].read = false, "argument 'x' does not say how it is used");
    SPOILED(p->args.ptr[0].written = true, "argument 'x' does not say how it is used");
    SPOILED(p->args.ptr[0].elements = TILE_MAX_NUMBER * 2,
            "argument 'x' has 562949953421312 elements");
    SPOILED(vec_push(p->arena, &p->knobs, p->knobs.ptr[0]), "knob 'unroll' is set twice");
    SPOILED(p->knobs.ptr[0].value = INT64_MAX, "knob 'unroll' is out of range");
    SPOILED(p->ops.ptr[0].kind = TILE_CONST, "operation 0 is in use");
    SPOILED(p->ops.ptr[4].kind = TILE_NONE, "operation %4: an operation without a kind");
    SPOILED(p->ops.ptr[2].arity = 1, "operation %2: 1 operands instead of 2");
    SPOILED(p->ops.ptr[2].fn = OP_SOFTMAX, "a map of no elementwise operation");
    SPOILED(p->ops.ptr[2].in[1].i = 2, "operand %2 does not come before it");
    SPOILED(p->ops.ptr[2].in[1].i = 0, "operand %0 does not come before it");
    SPOILED(p->ops.ptr[2].dims = 1, "its dims are not those that its operands give");
    SPOILED(p->ops.ptr[1].dims |= 4, "it stands at a dimension that does not exist");
    SPOILED(p->ops.ptr[2].over = 1,
            "only a reduction, a dot, a scan, a limit or a start is over dimensions");
    SPOILED(p->ops.ptr[3].fn = OP_ADD, "a reduction is a sum or a maximum");
    SPOILED(p->ops.ptr[3].type = DTYPE_I32, "types that do not go together");
    SPOILED(p->ops.ptr[1].access.arg = 3, "an access to an argument that does not exist");
    SPOILED(p->ops.ptr[1].access.stride[2] = 1, "a stride of a dimension that does not exist");
    SPOILED(p->ops.ptr[1].access.offset = INT64_MIN, "an access with a number out of range");
    SPOILED(p->ops.ptr[1].access.guard[1] = ((TileGuard){.dim = 2, .div = 1, .mod = 1}),
            "a guard on a dimension that does not exist");
    SPOILED(p->ops.ptr[1].access.guard[1] = ((TileGuard){.dim = 1, .div = 0, .mod = 1}),
            "a guard that divides");
    SPOILED(p->ops.ptr[1].access.guard[1] =
                ((TileGuard){.dim = 1, .div = 1, .mod = 1, .hi = INT64_MAX}),
            "a guard with a number out of range");
    SPOILED(tile_index(p, (TileGuard){.dim = 1, .div = 1, .mod = 1}, (Span){0});
            p->ops.ptr[p->ops.len - 1].access.guard[0].dim = -1, "an index of no dimension");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dimensions), cmocka_unit_test(test_types),
        cmocka_unit_test(test_bounds),     cmocka_unit_test(test_stores),
        cmocka_unit_test(test_tiled_cols), cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_scatter),    cmocka_unit_test(test_loops),
        cmocka_unit_test(test_attention),  cmocka_unit_test(test_spoiled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
