// What is kept in bf16, what stays f32, and that fusion lets nothing fall back to f32.
#include <math.h>

#include "ir/graph/passes.h"
#include "ir/graph/region.h"
#include "tests/ir/graph_reader.h"
#include "tests/ir/model_parts.h"
#include "tests/test.h"

// t is the axis of tokens here: what has it is an activation.
static int setup(void **state) {
    ModelBench *m = test_malloc(sizeof *m);
    model_init(m);
    m->b.g->axes.ptr[m->t.i].runtime = true;
    *state = m;
    return 0;
}

static int teardown(void **state) {
    ModelBench *m = *state;
    bench_release(&m->b);
    test_free(m);
    return 0;
}

static void finish(GraphBench *b, ValueId loss) {
    ValueId wrt[64] = {0}, grads[64];
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->data.len; i++)
        if (b->g->leaves.ptr[i].kind == OP_PARAM) wrt[count++] = b->g->leaf_values.ptr[i];
    pass_differentiate(b->g, loss, wrt, count, grads);
    graph_output(b->g, STR("loss"), loss);
    for (uint32_t i = 0; i < count; i++)
        graph_output(b->g, str_printf(&b->arena, "grad%u", i), grads[i]);
    b->g = pass_recompute(pass_simplify(b->g, &b->arena), &b->arena, 1);
}

static void check_outputs_of(const ModelBench *m, const Graph *g, const Region *r) {
    for (uint32_t i = 0; i < r->output_count; i++) {
        const Value *v = graph_value(g, r->outputs[i]);
        // Others have an h, a depth or nothing besides t.
        bool wide = v->rank > 2 || graph_has_axis(v, m->d) || graph_has_axis(v, m->f) ||
                    graph_has_axis(v, graph_axis_find(g, STR("vocab")));
        if (graph_has_axis(v, m->t)) assert_int_equal(v->type, wide ? DTYPE_BF16 : DTYPE_F32);
    }
}

static void check_types(ModelBench *m, const Graph *g) {
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        if (v->op != OP_CONTRACT) continue;
        assert_int_equal(v->type, DTYPE_F32);
        assert_int_equal(graph_value(g, v->in[0])->type, DTYPE_BF16);
        assert_int_equal(graph_value(g, v->in[1])->type, DTYPE_BF16);
    }
    const Regions *regions = pass_fuse(g, &m->b.arena);
    for (uint32_t i = 0; i < regions->count; i++)
        check_outputs_of(m, g, &regions->regions[i]);
}

static void test_model(void **state) {
    ModelBench *m = *state;
    finish(&m->b, model_with_attn_res(m));
    Graph *low = pass_precision(m->b.g, &m->b.arena);
    bench_verify(&m->b, low);
    check_types(m, low);
    Evaluation exact = bench_evaluation(&m->b);
    Graph *before = m->b.g;
    m->b.g = low;
    Evaluation rounded = bench_evaluation(&m->b);
    m->b.g = before;
    double largest = 0, deviation = 0;
    for (uint32_t i = 0; i < low->outputs.len; i++) {
        ValueId x = before->outputs.ptr[i].value, y = low->outputs.ptr[i].value;
        assert_int_equal(graph_value(low, y)->type, DTYPE_F32);  // none has t
        for (int64_t k = 0; k < graph_elements(low, y); k++) {
            double a = evaluation_value(&exact, x)[k], b = evaluation_value(&rounded, y)[k];
            largest = fmax(largest, fabs(a));
            deviation = fmax(deviation, fabs(a - b));
        }
    }
    // A wrong type or place would show as an error of order one.
    assert_true(deviation > 0);
    assert_true(deviation < 0.1 * largest);
}

// A value that several kernels read is written once, in bf16, and statistics in f32.
static void test_shared_value(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    ValueId w = bench_random(&m->b, AXES(m->d, m->f), -1, 1);
    ValueId y = bench_unary(&m->b, OP_TANH, model_rms_norm(m, x));
    graph_output(m->b.g, STR("y"), model_dot(m, y, w, m->d));
    graph_output(m->b.g, STR("mean"), model_sum(m, y, m->d));
    Graph *low = pass_precision(m->b.g, &m->b.arena);
    bench_verify(&m->b, low);
    check_types(m, low);
    ValueId out = graph_output_find(low, STR("y")), mean = graph_output_find(low, STR("mean"));
    assert_int_equal(graph_value(low, out)->type, DTYPE_BF16);
    assert_int_equal(graph_value(low, mean)->type, DTYPE_F32);
}

// What a leaf takes over keeps the leaf's type.
static void test_update(void **state) {
    ModelBench *m = *state;
    ValueId x = bench_random(&m->b, AXES(m->t, m->d), -1, 1);
    ValueId y = bench_unary(&m->b, OP_TANH, x);
    graph_update(m->b.g, 0, y);
    Graph *low = pass_precision(m->b.g, &m->b.arena);
    assert_int_equal(graph_value(low, low->updates.ptr[0].value)->type, DTYPE_F32);
    bench_verify(&m->b, low);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

// A parameter that is read in bf16 alone is kept so, and its cast goes; others stay. What
// nobody needs does not count.
static void test_weights(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    const Graph *g = reader_graph(
        &r, "graph g\naxis n = 4\naxis m = 3\naxis B = 2 runtime\ninput x : f32[B, n]\n"
            "param w : f32[n -> m] = fan_in trained\nparam s : f32[n] = constant(1)\n"
            "param t : f32[n -> m] = fan_in\n%1 = input x : f32[B, n]\n"
            "%2 = param w : f32[n, m]\n%3 = param s : f32[n]\n%4 = param t : f32[n, m]\n"
            "%5 = mul %1, %3 : f32[B, n]\n%6 = cast %5 : bf16[B, n]\n"
            "%7 = cast %2 : bf16[n, m]\n%8 = contract %6, %7 along (n) : f32[B, m]\n"
            "%9 = cast %4 : bf16[n, m]\n%10 = contract %6, %9 along (n) : f32[B, m]\n"
            "%11 = add %8, %10 : f32[B, m]\n%12 = exp %2 : f32[n, m]\n"
            "output y = %11\noutput t = %4\n");
    WeightUse use[4] = {{0}};
    weights_find(g, use);
    const Graph *low = pass_weights(g, &r.arena, use);
    assert_true(graph_verify(&r.diag, low));
    const char *text = reader_print(&r, low);
    assert_non_null(strstr(text, "param w : bf16[n -> m] = fan_in trained\n"));
    assert_non_null(strstr(text, "param s : f32[n]"));
    assert_non_null(strstr(text, "param t : f32[n -> m]"));
    assert_non_null(strstr(text, "contract %6, %2 along (n)"));
    reader_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_model), TEST(test_shared_value),
                                       TEST(test_update), cmocka_unit_test(test_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
