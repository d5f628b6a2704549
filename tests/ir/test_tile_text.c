// test_tile_text.c: printing, reading and hashing tile programs.
#include "base/io.h"
#include "tests/ir/tile_bench.h"

static void assert_round_trip(const char *text) {
    TileBench b;
    bench_open(&b);
    StrBuf out = {0};
    tile_print(bench_read(&b, text), &out);
    assert_string_equal(out.ptr, text);
    strbuf_release(&out);
    bench_close(&b);
}

static void test_round_trip(void **state) {
    (void)state;
    assert_round_trip(tile_text_rms_norm);
    assert_round_trip(tile_text_contraction);
    assert_round_trip("tile empty stream\n");
    assert_round_trip(
        "tile every.kind stream\n"
        "  grid b = 2\n"
        "  serial t = 8 tile 4\n"
        "  col c = 16 tile 8\n"
        "  arg x: f16[1000]\n"
        "  arg j: i32[16]\n"
        "  arg m: bool[16]\n"
        "  arg y: f32[4096]\n"
        "  arg z: f32[4096]\n"
        "  knob nt = 1\n"
        "  knob keep = -1\n"
        "  %1 = const inf : f32 ()\n"
        "  %2 = const -0.5 : f32 ()\n"
        "  %3 = index c / 4 % 2 - 1 : i32 (c)\n"
        "  %4 = load x[-t*3 + c - 7] if 1 <= t - 2 < 5 and -3 <= c / 2 < 9 : f32 (t, c)\n"
        "  %5 = load j[b*8 + t] : i32 (b, t)\n"
        "  %6 = gather x[c + 4] at %5*16 of 60 if 0 <= c < 9 : f32 (b, t, c)\n"
        "  %7 = load m[c] : bool (c)\n"
        "  %8 = map where %7, %6, %4 : f32 (b, t, c)\n"
        "  store z[0] = %8 : f32 (b, t, c)\n"
        "  %10 = reduce_max %8 over (t) : f32 (b, c)\n"
        "  store y[-b + c*2] = %10 : f32 (b, c)\n"
        "  scatter_add y[c] at %5*-16 of 8 = %8 : f32 (b, t, c)\n");
}

// The programs shown in docs/tile_ir.md are sound, and in the form that is printed.
static void test_documented_programs(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    Str docs = {0};
    Str path = STR(STRATA_TEST_SOURCE_DIR "/docs/tile_ir.md");
    assert_true(io_read(&b.diag, &b.arena, path, &docs));
    uint32_t count = 0;
    const char *fence = "```tile\n", *at = docs.ptr;
    while ((at = strstr(at, fence))) {
        at += strlen(fence);
        const char *end = strstr(at, "```");
        assert_non_null(end);
        const char *text = arena_strndup(&b.arena, at, (size_t)(end - at));
        (void)bench_program(&b, text);
        assert_round_trip(text);
        count++;
    }
    assert_int_equal(count, 6);
    bench_close(&b);
}

static void test_round_trip_of_chunks(void **state) {
    (void)state;
    assert_round_trip("tile chunks chunk\n"
                      "  grid g = 3\n"
                      "  m t = 10 tile 4\n"
                      "  n s = 10 tile 4\n"
                      "  k d = 2\n"
                      "  k e = 5\n"
                      "  reverse\n"
                      "  segments\n"
                      "  arg x: bf16[60]\n"
                      "  arg states: f32[90]\n"
                      "  arg y: f32[150]\n"
                      "  %1 = load states[g*30 + t*10 + d*5 + e] : f32 (g, d, e)\n"
                      "  %2 = const 0 : f32 ()\n"
                      "  %3 = carry %2 : f32 (g, d, e)\n"
                      "  %4 = load x[g*20 + t*2 + d] : f32 (g, t, d)\n"
                      "  %5 = scan mul %4 upto (t) : f32 (g, t, d)\n"
                      "  %6 = scan add %4 after (t) : f32 (g, t, d)\n"
                      "  %7 = scan add %6 before (t) : f32 (g, t, d)\n"
                      "  %8 = scan mul %4 all (t) : f32 (g, d)\n"
                      "  %9 = turn %5 : f32 (g, s, d)\n"
                      "  %10 = dot %7, %9 decayed %4 over (d) : f32 (g, t, s)\n"
                      "  %11 = dot %4, %1 over (d) : f32 (g, t, e)\n"
                      "  %12 = solve %10, %11 : f32 (g, t, e)\n"
                      "  %13 = solve %10, %12 transposed : f32 (g, t, e)\n"
                      "  %14 = dot %4, %13 over (t) : f32 (g, d, e)\n"
                      "  store y[g*50 + t*5 + e] = %13 : f32 (g, t, e)\n"
                      "  next %3 = %14 : f32 (g, d, e)\n");
}

static void test_round_trip_of_starts(void **state) {
    (void)state;
    assert_round_trip("tile starts attend\n"
                      "  grid g = 2\n"
                      "  m t = 3\n"
                      "  n s = 8\n"
                      "  k d = 2\n"
                      "  band 0, inf\n"
                      "  deal 2\n"
                      "  arg at: i32[1]\n"
                      "  arg x: f32[16]\n"
                      "  %1 = load at[0] : i32 ()\n"
                      "  start %1 over (t) : i32 ()\n"
                      "  %3 = load x[g*8 + s] : f32 (g, s)\n");
}

static void test_reader_takes_blanks_and_comments(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    TileProgram *p = bench_read(&b, "# a program\n\n"
                                    "tile a   loop # its name\n"
                                    "m t=7\n"
                                    "\targ x :f32[ 7 ]\n\n"
                                    "%1=load x[t]:f32(t)");
    assert_str(p->name, "a");
    assert_int_equal(p->dims[0].extent, 7);
    assert_int_equal(p->ops.len, 2);
    bench_close(&b);
}

static void test_operations_know_their_line(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    TileProgram *p = bench_read(&b, tile_text_rms_norm);
    uint32_t line = 0, column = 0;
    diag_line_column(&b.diag, p->ops.ptr[1].span, &line, &column);
    assert_int_equal(line, 8);
    assert_int_equal(column, 3);
    bench_close(&b);
}

typedef struct {
    const char *text, *message;
} Mistake;

#define HEAD "tile t stream\ngrid g = 4\ncol c = 8\narg x: f32[32]\narg j: i32[4]\n"

static const Mistake mistakes[] = {
    {"", "there is no tile program in this text"},
    {"graph g", "'tile' expected"},
    {"tile", "a name expected"},
    {"tile 3 loop", "'3' is no name"},
    {"tile t row", "'stream', 'loop', 'attend' or 'chunk' expected"},
    {"tile t streams", "'stream', 'loop', 'attend' or 'chunk' expected"},
    {"tile t stream x", "the end of the line expected"},
    {HEAD "boo", "a dimension, argument, knob or operation expected"},
    {HEAD "grid g = 2", "there is another dimension 'g'"},
    {HEAD "grid h = 0", "a number above 0 expected"},
    {HEAD "grid h = x", "a number expected"},
    {HEAD "grid h = 999999999999999999", "999999999999999999 is too large"},
    {HEAD "grid h = 99999999999999999999", "a number expected"},
    {HEAD "grid h = 2 tile 3", "the tile is larger than the extent"},
    {HEAD "arg x: f32[3]", "there is another argument 'x'"},
    {HEAD "arg y: f31[3]", "'f31' is no type"},
    {HEAD "arg y: f32(3)", "'[' expected"},
    {HEAD "knob mr = 1\nknob mr = 2", "knob 'mr' stands twice"},
    {HEAD "%2 = const 0 : f32 ()", "operation %1 comes here"},
    {HEAD "%1 = hash x", "an operation expected"},
    {HEAD "%1 = const x : f32 ()", "a number expected"},
    {HEAD "%1 = const 0 : f32 ( g )", "the operation stands at other dimensions"},
    {HEAD "%1 = const 0 : f32 (z)", "no dimension is called 'z'"},
    {HEAD "%1 = load y[0] : f32 ()", "no argument is called 'y'"},
    {HEAD "%1 = load x[z] : f32 ()", "no dimension is called 'z'"},
    {HEAD "%1 = load x[g + g] : f32 (g)", "dimension 'g' stands twice"},
    {HEAD "%1 = load x[1 + 2] : f32 ()", "two offsets"},
    {HEAD "%1 = load x[g*0] : f32 (g)", "a number above 0 expected"},
    {HEAD "%1 = load x[g c] : f32 (g)", "'+' expected"},
    {HEAD "%1 = load x[g] : i32 (g)", "the value is f32, not i32"},
    {HEAD "%1 = load x[g] if 0 <= g : f32 (g)", "'<' expected"},
    {HEAD "%1 = load x[g] if 0 <= g / 0 < 2 : f32 (g)", "a number above 0 expected"},
    {HEAD "%1 = load x[g] if 0 <= g < 2 and 0 <= g < 2 and 0 <= g < 2 : f32 (g)",
     "an access has at most two guards"},
    {HEAD "%1 = index g % 0 : i32 (g)", "a number above 0 expected"},
    {HEAD "%1 = map neg %1 : f32 ()", "%1 is no value above"},
    {HEAD "%1 = const 0 : f32 ()\nstore x[0] = %1 : f32 ()\n%3 = map neg %2 : f32 ()",
     "%2 is no value above"},
    {HEAD "%1 = map softmax %1 : f32 ()", "'softmax' is no elementwise operation"},
    {HEAD "%1 = const 0 : f32 ()\n%2 = map add %1 : f32 ()", "',' expected"},
    {HEAD "%1 = const 0 : f32 ()\n%2 = gather x[c] at %1*8 of 4 : f32 (c)",
     "row numbers are i32, %1 is f32"},
};

static void test_mistakes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        TileBench b;
        bench_open(&b);
        uint32_t file = diag_source_add(&b.diag, STR("test.tile"), str_of(mistakes[i].text));
        TileProgram *p = NULL;
        assert_false(tile_read(&b.diag, &b.arena, file, &p));
        assert_int_equal(b.diag.error_count, 1);
        assert_diag_has(&b.diag, mistakes[i].message);
        bench_close(&b);
    }
}

static void test_too_many_dimensions(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    StrBuf text = {0};
    strbuf_addz(&text, "tile t stream\n");
    for (int i = 0; i <= TILE_MAX_DIMS; i++)
        strbuf_addf(&text, "grid g%d = 2\n", i);
    uint32_t file = diag_source_add(&b.diag, STR("test.tile"), strbuf_view(&text));
    TileProgram *p = NULL;
    assert_false(tile_read(&b.diag, &b.arena, file, &p));
    assert_diag_has(&b.diag, "more than 10 dimensions");
    strbuf_release(&text);
    bench_close(&b);
}

static void test_hash(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    TileProgram *p = bench_read(&b, tile_text_rms_norm);
    TileProgram *q = bench_read(&b, tile_text_rms_norm);
    q->name = STR("another");
    for (uint32_t i = 0; i < q->ops.len; i++)
        q->ops.ptr[i].span = (Span){0};
    assert_true(hash_eq(tile_hash(p), tile_hash(q)));
    tile_knob_set(q, "unroll", 4);
    assert_false(hash_eq(tile_hash(p), tile_hash(q)));
    tile_knob_set(q, "unroll", 2);
    assert_true(hash_eq(tile_hash(p), tile_hash(q)));
    q->skeleton = TILE_LOOP;
    assert_false(hash_eq(tile_hash(p), tile_hash(q)));
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_of_chunks),
        cmocka_unit_test(test_documented_programs),
        cmocka_unit_test(test_round_trip_of_starts),
        cmocka_unit_test(test_reader_takes_blanks_and_comments),
        cmocka_unit_test(test_operations_know_their_line),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_too_many_dimensions),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
