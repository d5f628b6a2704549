// test_graph.c: the builder, the tables made from ops.def, and what the verifier refuses.
#include "ir/graph/graph.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    Graph *g;
    AxisId t, d;
    ValueId x, sum;  // sum = reduce_sum x along d
} Fixture;

static int setup(void **state) {
    static Fixture fixture;
    Fixture *f = *state = &fixture;
    *f = (Fixture){0};
    arena_init(&f->arena);
    diag_init(&f->diag, &f->arena);
    f->g = graph_new(&f->arena, STR("g"));
    f->t = graph_axis(f->g, STR("t"), EXTENT_UNKNOWN, true);
    f->d = graph_axis(f->g, STR("d"), 4, false);
    Leaf leaf = {.kind = OP_PARAM, .path = STR("w"), .axes = (AxisId[]){f->t, f->d}, .rank = 2};
    f->x = graph_leaf(f->g, &leaf);
    f->sum = graph_sum(f->g, f->x, &f->d, 1, (Span){0});
    graph_output(f->g, STR("o"), f->sum);
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    arena_release(&f->arena);
    return 0;
}

// ---- operations

static void test_table_follows_ops_def(void **state) {
    (void)state;
    for (int op = OP_NONE + 1; op < OP_COUNT; op++) {
        GraphOp found = OP_NONE;
        assert_true(op_parse(str_of(op_text((GraphOp)op)), &found));
        assert_int_equal(found, op);
        assert_true(op_flops((GraphOp)op) >= 0.0);
    }
    GraphOp found = OP_NEG;
    assert_false(op_parse(STR("none"), &found));
    assert_int_equal(found, OP_NEG);
    assert_int_equal(op_arity(OP_WHERE), 3);
    assert_int_equal(op_arity(OP_STACK), -1);
    assert_true(op_is_elementwise(OP_NEG) && op_is_elementwise(OP_WHERE));
    assert_false(op_is_elementwise(OP_INPUT) || op_is_elementwise(OP_REDUCE_SUM));
    assert_true(op_is_view(OP_TAKE));
    assert_false(op_is_view(OP_PUT));
}

// ---- building

static void test_axis_names_become_unique(void **state) {
    Fixture *f = *state;
    AxisId again = graph_axis(f->g, STR("t"), 3, false),
           third = graph_axis(f->g, STR("t"), 3, false);
    assert_str(graph_axis_at(f->g, again)->name, "t.1");
    assert_str(graph_axis_at(f->g, third)->name, "t.2");
    assert_int_equal(graph_axis_find(f->g, STR("t.1")).i, again.i);
    assert_int_equal(graph_axis_find(f->g, STR("t")).i, f->t.i);
    assert_int_equal(graph_axis_find(f->g, STR("q")).i, 0);
}

static void test_shapes_follow_a_bound_axis(void **state) {
    Fixture *f = *state;
    graph_bind(f->g, f->t, 5);
    assert_int_equal(graph_elements(f->g, f->x), 20);
    graph_bind(f->g, f->t, 7);
    assert_int_equal(graph_elements(f->g, f->x), 28);
    assert_int_equal(graph_elements(f->g, f->sum), 7);
    assert_int_equal(graph_extent(f->g, f->d), 4);
}

static void test_leaf_owns_its_lists(void **state) {
    Fixture *f = *state;
    char path[] = "gain";
    AxisId axes[] = {f->d};
    Str tags[] = {STR("norm")};
    Leaf leaf = {.kind = OP_STATE,
                 .path = str_of(path),
                 .axes = axes,
                 .rank = 1,
                 .tags = tags,
                 .tag_count = 1};
    ValueId v = graph_leaf(f->g, &leaf);
    path[0] = 'x';
    axes[0].i = 0;
    tags[0] = STR("x");
    const Leaf *kept = graph_leaf_of(f->g, v);
    assert_str(kept->path, "gain");
    assert_str(kept->tags[0], "norm");
    assert_int_equal(kept->axes[0].i, f->d.i);
    assert_int_equal(f->g->leaf_values.ptr[1].i, v.i);
}

static void test_value_owns_its_lists_and_clears_the_rest(void **state) {
    Fixture *f = *state;
    AxisId along[] = {f->d};
    ValueId in[] = {f->x};
    GraphAttr attr = {.along = along,
                      .along_count = 1,
                      .amount = 9,
                      .number = 3,
                      .leaf = 7,
                      .type = DTYPE_I32};
    ValueId v = graph_add(f->g, OP_SOFTMAX, (Operands){in, 1}, attr, (Span){0});
    along[0] = f->t;
    in[0] = f->sum;
    const Value *kept = graph_value(f->g, v);
    assert_int_equal(kept->attr.along[0].i, f->d.i);
    assert_int_equal(kept->in[0].i, f->x.i);
    assert_true(kept->attr.amount == 0 && kept->attr.number == 0.0 && kept->attr.leaf == 0);
    assert_int_equal(kept->attr.type, 0);
    assert_int_equal(graph_axis_position(kept, f->d), 1);
    assert_int_equal(graph_axis_position(kept, (AxisId){9}), -1);
    assert_true(graph_has_axis(kept, f->t));
}

static void test_outputs_are_found_by_name(void **state) {
    Fixture *f = *state;
    assert_int_equal(graph_output_find(f->g, STR("o")).i, f->sum.i);
    assert_int_equal(graph_output_find(f->g, STR("p")).i, 0);
}

// ---- the verifier

static void refuse(Fixture *f, const char *why) {
    assert_false(graph_verify(&f->diag, f->g));
    assert_int_equal(f->diag.error_count, 1);
    assert_diag_has(&f->diag, why);
}

static void test_verifier_accepts(void **state) {
    Fixture *f = *state;
    graph_update(f->g, 0, graph_unary(f->g, OP_NEG, f->x, (Span){0}));
    assert_true(graph_verify(&f->diag, f->g));
}

static void test_verifier_wants_operands_first(void **state) {
    Fixture *f = *state;
    f->g->values.ptr[f->sum.i].in = &f->sum;
    refuse(f, "value %2 uses %2, which does not come before it");
}

static void test_verifier_wants_the_rule_kept(void **state) {
    Fixture *f = *state;
    f->g->values.ptr[f->sum.i].attr.along_count = 0;
    refuse(f, "value %2: 'along' needs an axis");
}

static void test_verifier_wants_the_axes_of_the_rule(void **state) {
    Fixture *f = *state;
    f->g->values.ptr[f->sum.i].axes = &f->d;
    refuse(f, "value %2: axes or type are not those of 'reduce_sum'");
}

static void test_verifier_wants_one_value_a_leaf(void **state) {
    Fixture *f = *state;
    graph_add(f->g, OP_PARAM, (Operands){0}, (GraphAttr){0}, (Span){0});
    refuse(f, "value %3 is a second value of leaf 'w'");
}

static void test_verifier_wants_a_value_for_each_leaf(void **state) {
    Fixture *f = *state;
    Leaf leaf = {.kind = OP_INPUT, .path = STR("i")};
    graph_leaf_declare(f->g, &leaf);
    refuse(f, "leaf 'i' has no value");
}

static void test_verifier_wants_axes_named_and_bounded(void **state) {
    Fixture *f = *state;
    f->g->axes.ptr[f->d.i].extent = 0;
    refuse(f, "axis 'd' has extent 0");
}

static void test_verifier_wants_axis_names_unique(void **state) {
    Fixture *f = *state;
    f->g->axes.ptr[f->d.i].name = STR("t");
    refuse(f, "two axes are called 't'");
}

static void test_verifier_wants_roles_of_runtime_axes(void **state) {
    Fixture *f = *state;
    f->g->axes.ptr[f->d.i].same_as = f->t;
    refuse(f, "axis 'd' is no second role of a run-time axis before it");
}

// Each change of a sound leaf, and what is said of it.
static void test_verifier_wants_leaves_consistent(void **state) {
    Fixture *f = *state;
    const struct {
        Leaf leaf;
        const char *why;
    } cases[] = {
        {{.kind = OP_PARAM, .path = STR("")}, "leaf '' has no name"},
        {{.kind = OP_INPUT, .path = STR("l"), .type = DTYPE_F64},
         "has a type that no value can have"},
        {{.kind = OP_INPUT, .path = STR("l"), .axes = (AxisId[]){f->d, f->d}, .rank = 2},
         "has an axis twice"},
        {{.kind = OP_PARAM, .path = STR("l"), .input_count = 1}, "has fewer axes than its map"},
        {{.kind = OP_INPUT, .path = STR("l"), .index_of = f->d}, "cannot be an index"},
        {{.kind = OP_INPUT, .path = STR("l"), .trained = true}, "cannot be trained"},
        {{.kind = OP_PARAM, .path = STR("l"), .type = DTYPE_I32, .trained = true},
         "cannot be trained"},
        {{.kind = OP_PARAM, .path = STR("l"), .init = {.kind = INIT_FAN_IN}},
         "has no input axes"},
        {{.kind = OP_PARAM, .path = STR("l"), .init = {.kind = INIT_IDENTITY}},
         "no two axes for a diagonal"},
        {{.kind = OP_PARAM, .path = STR("l"), .init = {.kind = INIT_UNIT}},
         "no axis for a unit vector"},
        {{.kind = OP_STATE,
          .path = STR("l"),
          .init = {.kind = INIT_LOG_UNIFORM, .a = 2, .b = 1}},
         "needs bounds 0 < a <= b"},
        {{.kind = OP_PARAM, .path = STR("l"), .init = {.kind = INIT_UNIFORM, .a = 2, .b = 1}},
         "needs bounds a <= b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Fixture one;
        void *slot = &one;
        one = *f;
        one.g = graph_new(&f->arena, STR("g"));
        diag_init(&one.diag, &f->arena);
        graph_axis(one.g, STR("t"), 2, false);
        graph_axis(one.g, STR("d"), 4, false);
        // A type that no value can have makes no value either: such a leaf is declared only.
        graph_leaf_declare(one.g, &cases[i].leaf);
        if (cases[i].leaf.type != DTYPE_F64) graph_leaf_value(one.g, 0, (Span){0});
        refuse(slot, cases[i].why);
    }
}

static void test_verifier_wants_outputs_named_once(void **state) {
    Fixture *f = *state;
    graph_output(f->g, STR("p"), f->x);
    f->g->outputs.ptr[1].name = STR("o");
    refuse(f, "two outputs are called 'o'");
}

static void test_verifier_wants_updates_of_the_leaf_shape(void **state) {
    Fixture *f = *state;
    graph_update(f->g, 0, f->sum);
    refuse(f, "leaf 'w' is updated with a value of other axes or type");
}

static void test_verifier_wants_one_update_a_leaf(void **state) {
    Fixture *f = *state;
    graph_update(f->g, 0, f->x);
    graph_update(f->g, 0, f->x);
    refuse(f, "leaf 'w' is updated twice");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_table_follows_ops_def),
        TEST(test_axis_names_become_unique),
        TEST(test_shapes_follow_a_bound_axis),
        TEST(test_leaf_owns_its_lists),
        TEST(test_value_owns_its_lists_and_clears_the_rest),
        TEST(test_outputs_are_found_by_name),
        TEST(test_verifier_accepts),
        TEST(test_verifier_wants_operands_first),
        TEST(test_verifier_wants_the_rule_kept),
        TEST(test_verifier_wants_the_axes_of_the_rule),
        TEST(test_verifier_wants_one_value_a_leaf),
        TEST(test_verifier_wants_a_value_for_each_leaf),
        TEST(test_verifier_wants_axes_named_and_bounded),
        TEST(test_verifier_wants_axis_names_unique),
        TEST(test_verifier_wants_roles_of_runtime_axes),
        TEST(test_verifier_wants_leaves_consistent),
        TEST(test_verifier_wants_outputs_named_once),
        TEST(test_verifier_wants_updates_of_the_leaf_shape),
        TEST(test_verifier_wants_one_update_a_leaf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
