// test_graph_text.c: the text form of graphs: round trips, and what is said of broken text.
#include "base/io.h"
#include "tests/ir/graph_reader.h"

// One of everything: also the seed of the fuzzer.
static void test_print_of_read_is_the_text(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    Str text;
    Str path = STR(STRATA_TEST_SOURCE_DIR "/tests/fuzz/corpus/graph_read/ops");
    assert_true(io_read(&r.diag, &r.arena, path, &text));
    assert_string_equal(reader_print(&r, reader_graph(&r, text.ptr)), text.ptr);
    reader_release(&r);
}

static void test_names_are_quoted_where_needed(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    Graph *g = graph_new(&r.arena, STR("0 graph"));
    AxisId axes[] = {graph_axis(g, STR("a b"), 2, false), graph_axis(g, STR("a b"), 3, false)};
    Leaf leaf = {.kind = OP_PARAM, .path = STR("w\"\\\n\x7f"), .axes = axes, .rank = 2};
    graph_output(g, STR(""), graph_leaf(g, &leaf));
    const char *text = reader_print(&r, g);
    assert_string_equal(
        text, "graph \"0 graph\"\n"
              "axis \"a b\" = 2\n"
              "axis \"a b.1\" = 3\n"
              "param \"w\\\"\\\\\\x0a\\x7f\" : f32[\"a b\", \"a b.1\"] = constant(0)\n"
              "%1 = param \"w\\\"\\\\\\x0a\\x7f\" : f32[\"a b\", \"a b.1\"]\n"
              "output \"\" = %1\n");
    Graph *again = reader_graph(&r, text);
    assert_string_equal(reader_print(&r, again), text);
    assert_true(str_eq(again->leaves.ptr[0].path, leaf.path));
    reader_release(&r);
}

static void test_numbers_keep_every_bit(void **state) {
    (void)state;
    const double numbers[] = {0.1, -0.0, 1e300, 5e-324, 3.0000000000000004, 16777217};
    GraphReader r;
    reader_init(&r);
    Graph *g = graph_new(&r.arena, STR("g"));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        graph_const(g, numbers[i], (Span){0});
    Graph *again = reader_graph(&r, reader_print(&r, g));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double got = graph_value(again, (ValueId){(uint32_t)i + 1})->attr.number;
        assert_memory_equal(&got, &numbers[i], sizeof got);
    }
    reader_release(&r);
}

static void test_map_split_is_kept(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    Graph *g = reader_graph(&r, "graph g\naxis a = 2\naxis b = 3\naxis c = 4\n"
                                "param w : f32[a; b -> c] = fan_in trained tags (t)\n"
                                "param u : f32[a; b] = unit(2, -1)\n"
                                "param v : f32[a ->] = uniform(-2, 2) then log\n"
                                "%1 = param w : f32[a, b, c]\n"
                                "%2 = param u : f32[a, b]\n"
                                "%3 = param v : f32[a]\n");
    const Leaf *w = &g->leaves.ptr[0], *u = &g->leaves.ptr[1], *v = &g->leaves.ptr[2];
    assert_int_equal(w->batch_count, 1);
    assert_int_equal(w->input_count, 1);
    assert_true(w->trained);
    assert_int_equal(w->tag_count, 1);
    assert_int_equal(u->batch_count, 1);
    assert_int_equal(u->input_count, 0);
    assert_int_equal(v->input_count, 1);
    assert_int_equal(v->init.kind, INIT_UNIFORM);
    assert_int_equal(v->init.transform, INIT_LOG);
    assert_true(v->init.a == -2.0 && v->init.b == 2.0);
    reader_release(&r);
}

static void test_comments_and_blank_lines_are_skipped(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    Graph *g = reader_graph(&r, "# a graph\ngraph g  # its name\n\n\taxis d = 2\r\n# end");
    assert_string_equal(reader_print(&r, g), "graph g\naxis d = 2\n");
    reader_release(&r);
}

static void test_hash_follows_the_text(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    Graph *a = reader_graph(&r, "graph g\naxis d = 2\n%1 = const 1 : f32[]\n");
    Graph *b = reader_graph(
        &r, "graph g # other text, same graph\naxis d = 2\n%1 = const 1 : f32[]\n");
    Graph *c = reader_graph(&r, "graph g\naxis d = 2\n%1 = const 2 : f32[]\n");
    assert_true(hash_eq(graph_hash(a), graph_hash(b)));
    assert_false(hash_eq(graph_hash(a), graph_hash(c)));
    reader_release(&r);
}

// ---- broken text

// Each text ends in one error, of which this is the first line.
static const struct {
    const char *text, *error;
} broken[] = {
    {"", "t:1:1: error: expected 'graph' before the end"},
    {"graf g", "t:1:1: error: expected 'graph', got 'graf'"},
    {"graph 3", "t:1:7: error: expected the graph's name, got '3'"},
    {"graph g\nfoo", "t:2:1: error: expected a declaration or a value, got 'foo'"},
    {"graph \"g", "t:1:7: error: the string has no end"},
    {"graph \"\\q\"", "t:1:7: error: bad escape in the string"},
    {"graph \"\\x4\"", "t:1:7: error: bad escape in the string"},
    {"graph \"\\\"", "t:1:7: error: bad escape in the string"},
    {"graph g axis", "t:1:13: error: expected the axis's name before the end"},
    {"graph g axis \"\" = 1", "t:1:14: error: the axis has no name"},
    {"graph g axis d = 1 axis d = 2", "t:1:25: error: there is an axis 'd' already"},
    {"graph g axis d 1", "t:1:16: error: expected '=', got '1'"},
    {"graph g axis d = x", "t:1:18: error: expected an integer, got 'x'"},
    {"graph g axis d = 0", "t:1:18: error: this axis needs an extent of at least 1"},
    {"graph g axis d = ?", "t:1:18: error: this axis needs an extent of at least 1"},
    {"graph g axis d = 99999999999999999999", "t:1:18: error: expected an integer"},
    {"graph g axis d = 1 axis e = ? runtime of d",
     "t:1:42: error: there is no run-time axis 'd'"},
    {"graph g param \"\" : f32[] = fan_in", "t:1:15: error: the leaf has no name"},
    {"graph g input x : f32[] input x : f32[]", "t:1:31: error: there is a leaf 'x' already"},
    {"graph g input x : f31[]", "t:1:19: error: expected a type, got 'f31'"},
    {"graph g input x : f32[d]", "t:1:23: error: there is no axis 'd'"},
    {"graph g axis d = 1 input x : f32[d d]", "t:1:36: error: expected ',' or ']', got 'd'"},
    {"graph g axis d = 1 input x : f32[d,d,d,d,d,d,d,d,d,d,d,d,d]",
     "t:1:58: error: too many axes"},
    {"graph g param x : f32[]", "t:1:24: error: expected '=' before the end"},
    {"graph g param x : f32[] = magic", "t:1:27: error: expected an initialiser, got 'magic'"},
    {"graph g param x : f32[] = normal(x)", "t:1:34: error: expected a number, got 'x'"},
    {"graph g param x : f32[] = normal(1) then f",
     "t:1:42: error: expected a transform, got 'f'"},
    {"graph g input x : i32[] index d", "t:1:31: error: expected 'of', got 'd'"},
    {"graph g input x : i32[] tags (3)", "t:1:31: error: expected a tag, got '3'"},
    {"graph g %2 = const 1 : f32[]",
     "t:1:9: error: expected '%1': values are numbered in order"},
    {"graph g %1 = magic", "t:1:14: error: expected an operation, got 'magic'"},
    {"graph g %1 = exp %1 : f32[]", "t:1:18: error: there is no value %1 before this"},
    {"graph g %1 = exp %x : f32[]", "t:1:18: error: there is no value %x before this"},
    {"graph g %1 = const x : f32[]", "t:1:20: error: expected a number, got 'x'"},
    {"graph g %1 = const 1 : f64[]", "t:1:9: error: no value can be f64"},
    {"graph g %1 = param w : f32[]", "t:1:20: error: there is no leaf 'w'"},
    {"graph g input x : f32[] %1 = param x : f32[]",
     "t:1:25: error: leaf 'x' is declared as input"},
    {"graph g input x : f32[] %1 = input x : f32[] %2 = input x : f32[]",
     "t:1:46: error: this leaf has a value already"},
    {"graph g %1 = iota to (d) : i32[d]", "t:1:19: error: expected 'along (...)'"},
    {"graph g axis d = 2 %1 = iota along (d d) : i32[d]",
     "t:1:39: error: expected ',' or the end of the list, got 'd'"},
    {"graph g axis d = 2 %1 = iota along (d) : f32[d]",
     "t:1:20: error: axes or type are not those that 'iota' gives"},
    {"graph g axis d = 2 %1 = iota along (d) : i32[]",
     "t:1:20: error: axes or type are not those that 'iota' gives"},
    {"graph g axis d = 2 %1 = iota along (d) : i32[d] %2 = take %1 along (d) : i32[]",
     "t:1:72: error: expected 'amount', got ':'"},
    {"graph g axis d = 2 %1 = iota along (d) : i32[d] %2 = exp %1 : i32[d]",
     "t:1:49: error: needs f32, got i32[d=2]"},
    {"graph g output o = %1", "t:1:20: error: there is no value %1 before this"},
    {"graph g %1 = const 1 : f32[] output o = %1 output o = %1",
     "t:1:51: error: there is an output 'o' already"},
    {"graph g %1 = const 1 : f32[] update o = %1", "t:1:37: error: there is no leaf 'o'"},
    {"graph g input x : f32[]", "t:1:15: error: leaf 'x' has no value"},
    {"graph g input x : f32[] %1 = input x : f32[] update x = %1",
     "t:1:15: error: leaf 'x' is an input and cannot be updated"},
};

static void test_broken_text_is_placed(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        GraphReader r;
        reader_init(&r);
        Graph *g = NULL;
        uint32_t file = diag_source_add(&r.diag, STR("t"), str_of(broken[i].text));
        assert_false(graph_read(&r.diag, &r.arena, file, &g));
        assert_int_equal(r.diag.error_count, 1);
        assert_diag_has(&r.diag, broken[i].error);
        reader_release(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_of_read_is_the_text),
        cmocka_unit_test(test_names_are_quoted_where_needed),
        cmocka_unit_test(test_numbers_keep_every_bit),
        cmocka_unit_test(test_map_split_is_kept),
        cmocka_unit_test(test_comments_and_blank_lines_are_skipped),
        cmocka_unit_test(test_hash_follows_the_text),
        cmocka_unit_test(test_broken_text_is_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
