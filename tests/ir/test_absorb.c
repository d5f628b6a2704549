// Which keys and values of attention are read as what they are made of, which stay; and that
// attention then has the same values.
#include <math.h>

#include "base/check.h"
#include "base/rng.h"
#include "ir/graph/evaluate.h"
#include "ir/graph/passes.h"
#include "tests/ir/graph_reader.h"
#include "tests/test.h"

// c: the narrow values, s: what all heads share.
#define HEADER                                                                                     \
    "graph g\naxis B = 2\naxis T = 5 runtime\naxis S = 5 runtime of T\naxis h = 3\n"               \
    "axis r = 2\naxis c = 4\naxis dk = 6\naxis dr = 2\naxis d = 8\naxis e = 5\naxis b = 60\n"      \
    "input q : f32[B, T, h, r, d]\ninput c : f32[B, T, c]\ninput s : f32[B, T, dr]\n"              \
    "param wk : f32[c, h, dk] = normal(1)\nparam wv : f32[c, h, e] = normal(1)\n"                  \
    "param w8 : f32[h, d, c] = normal(1)\ninput t : f32[B, T, d]\n"                                \
    "input h : f32[B, h, c, T]\ninput b : f32[B, T, b]\nparam wb : f32[b, h, d] = normal(1)\n"     \
    "param we : f32[b, h, e] = normal(1)\n"                                                        \
    "%1 = input q : f32[B, T, h, r, d]\n%2 = input c : f32[B, T, c]\n"                             \
    "%3 = input s : f32[B, T, dr]\n%4 = param wk : f32[c, h, dk]\n"                                \
    "%5 = param wv : f32[c, h, e]\n%6 = param w8 : f32[h, d, c]\n%7 = input t : f32[B, T, d]\n"    \
    "%8 = input h : f32[B, h, c, T]\n%9 = input b : f32[B, T, b]\n%10 = param wb : f32[b, h, d]\n" \
    "%11 = param we : f32[b, h, e]\n"
// Keys are %15, values %17.
#define SKIP(N) "%" #N " = tanh %3 : f32[B, T, dr]\n"
#define KEYS                                                          \
    "%12 = contract %2, %4 along (c) : f32[B, T, h, dk]\n"            \
    "%13 = broadcast %3 to (B, T, h, dr) : f32[B, T, h, dr]\n"        \
    "%14 = concat %12, %13 along (dk, dr) to (d) : f32[B, T, h, d]\n" \
    "%15 = rename %14 along (T) to (S) : f32[B, S, h, d]\n"
#define VALUES                                            \
    "%16 = contract %2, %5 along (c) : f32[B, T, h, e]\n" \
    "%17 = rename %16 along (T) to (S) : f32[B, S, h, e]\n"
#define WIDE_KEYS                                          \
    SKIP(12)                                               \
    SKIP(13)                                               \
    "%14 = contract %9, %10 along (b) : f32[B, T, h, d]\n" \
    "%15 = rename %14 along (T) to (S) : f32[B, S, h, d]\n"
#define ATTEND \
    "%18 = attend %1, %15, %17 0.3 along (d, T, S) band 0, inf : f32[B, T, h, r, e]\noutput y = %18\n"

typedef struct {
    const char *text;
    const char *keys, *values;  // their axes after the pass
    int64_t read;               // elements of a position and row that are read then
} Case;

static const Case cases[] = {
    // Latent attention: values are a part of what stands for the keys.
    {HEADER KEYS VALUES ATTEND, "B, S, latent", "B, S, latent_value", 6},
    // One part, its weight's axes in another order: values are the same as keys.
    {HEADER SKIP(12) "%13 = contract %6, %2 along (c) : f32[h, d, B, T]\n"
                     "%14 = transpose %13 to (B, T, h, d) : f32[B, T, h, d]\n"
                     "%15 = rename %14 along (T) to (S) : f32[B, S, h, d]\n" VALUES ATTEND,
     "B, S, latent", "B, S, latent_value", 4},
    // Repeated for all heads, whatever they are.
    {HEADER SKIP(
         12) "%13 = exp %7 : f32[B, T, d]\n%14 = broadcast %13 to (B, T, h, d) : f32[B, T, h, d]\n"
             "%15 = rename %14 along (T) to (S) : f32[B, S, h, d]\n" VALUES ATTEND,
     "B, S, latent", "B, S, latent_value", 12},
    // A latent for each head.
    {HEADER SKIP(12) SKIP(13) "%14 = contract %8, %6 along (c) : f32[B, h, T, d]\n"
                              "%15 = rename %14 along (T) to (S) : f32[B, h, S, d]\n"
                              "%16 = contract %8, %5 along (c) : f32[B, h, T, e]\n"
                              "%17 = rename %16 along (T) to (S) : f32[B, h, S, e]\n" ATTEND,
     "B, h, S, latent", "B, h, S, latent_value", 12},
    // Within segments of a sequence, which stay as they are.
    {HEADER KEYS VALUES
     "%18 = iota along (T) : i32[T]\n%19 = broadcast %18 to (B, T) : i32[B, T]\n"
     "%20 = rename %19 along (T) to (S) : i32[B, S]\n"
     "%21 = attend %1, %15, %17, %19, %20 0.3 along (d, T, S) band 0, inf : f32[B, T, h, r, e]\n"
     "output y = %21\n",
     "B, S, latent", "B, S, latent_value", 6},
    // Wider than what is made of it.
    {HEADER WIDE_KEYS "%16 = contract %9, %11 along (b) : f32[B, T, h, e]\n"
                      "%17 = rename %16 along (T) to (S) : f32[B, S, h, e]\n" ATTEND,
     "B, S, h, d", "B, S, h, e", 39},
    // Values alone are narrower.
    {HEADER WIDE_KEYS VALUES ATTEND, "B, S, h, d", "B, S, h, e", 39},
    // A function of the sum: keys are heads' own, while values have them from the weight alone.
    {HEADER SKIP(
         12) "%13 = contract %6, %2 along (c) : f32[h, d, B, T]\n"
             "%14 = tanh %13 : f32[h, d, B, T]\n%15 = rename %14 along (T) to (S) : f32[h, d, B, S]\n" VALUES
                 ATTEND,
     "h, d, B, S", "B, S, h, e", 39},
};

static Evaluation evaluated(GraphReader *r, const Graph *g) {
    Evaluation e;
    evaluation_init(&e, g, &r->arena);
    for (uint32_t i = 0; i < g->leaves.len; i++)
        for (int64_t k = 0; k < graph_elements(g, g->leaf_values.ptr[i]); k++)
            evaluation_leaf(&e, i)[k] = rng_normal(i, (uint64_t)k);
    return e;
}

static void expect_same(GraphReader *r, const Graph *x, const Graph *y, size_t at) {
    Evaluation ex = evaluated(r, x), ey = evaluated(r, y);
    ValueId vx = x->outputs.ptr[0].value, vy = y->outputs.ptr[0].value;
    const double *a = evaluation_value(&ex, vx), *b = evaluation_value(&ey, vy);
    assert_int_equal(graph_value(x, vx)->rank, graph_value(y, vy)->rank);
    for (uint32_t i = 0; i < graph_value(x, vx)->rank; i++)
        assert_int_equal(graph_value(x, vx)->axes[i].i, graph_value(y, vy)->axes[i].i);
    for (int64_t i = 0; i < graph_elements(x, vx); i++)
        if (!(fabs(a[i] - b[i]) <= 1e-12 * (1 + fabs(a[i]))))
            fail_msg("case %zu, [%lld]: %.17g, before %.17g", at, (long long)i, b[i], a[i]);
}

static const char *axes_of(GraphReader *r, const Graph *g, const Value *v) {
    StrBuf text = {0};
    for (uint32_t i = 0; i < v->rank; i++)
        strbuf_addf(&text, "%s%.*s", i ? ", " : "",
                    STR_ARG(graph_axis_at(g, v->axes[i])->name));
    const char *kept = arena_strndup(&r->arena, text.ptr, text.len);
    strbuf_release(&text);
    return kept;
}

static const Value *attention_of(const Graph *g) {
    for (uint32_t i = g->values.len - 1; i > 0; i--)
        if (graph_value(g, (ValueId){i})->op == OP_ATTEND) return graph_value(g, (ValueId){i});
    fail_msg("no attention");
    return NULL;
}

// Elements of a position and row that pass_incremental would keep.
static int64_t read_of(const Graph *g, const Value *attend) {
    const Value *v = graph_value(g, attend->in[2]);
    bool part = (v->op == OP_SLICE || v->op == OP_RENAME) && v->in[0].i == attend->in[1].i;
    int64_t n = graph_elements(g, attend->in[1]);
    if (!part) n += graph_elements(g, attend->in[2]);
    return n / 2 / 5;
}

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        GraphReader r;
        reader_init(&r);
        const Graph *before = reader_graph(&r, cases[i].text),
                    *after = pass_absorb(before, &r.arena);
        assert_true(graph_verify(&r.diag, after));
        const Value *attend = attention_of(after);
        assert_string_equal(axes_of(&r, after, graph_value(after, attend->in[1])),
                            cases[i].keys);
        assert_string_equal(axes_of(&r, after, graph_value(after, attend->in[2])),
                            cases[i].values);
        assert_int_equal(read_of(after, attend), cases[i].read);
        expect_same(&r, before, after, i);
        reader_release(&r);
    }
}

// What is no position of the model is not kept, so nothing is gained.
static void test_other_axes_stay(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    Graph *g = reader_graph(&r, cases[0].text);
    AxisId keys = attention_of(g)->attr.along[2];
    g->axes.ptr[keys.i].same_as = (AxisId){0};
    const Graph *after = pass_absorb(g, &r.arena);
    assert_string_equal(axes_of(&r, after, graph_value(after, attention_of(after)->in[1])),
                        "B, S, h, d");
    reader_release(&r);
}

// Attentions over the same keys and values read the same: of values that are no part of keys
// too.
static void test_shared(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    const Graph *g = reader_graph(
        &r,
        HEADER SKIP(
            12) "%13 = neg %1 : f32[B, T, h, r, d]\n%14 = broadcast %7 to (B, T, h, d) : f32[B, T, h, d]\n"
                "%15 = rename %14 along (T) to (S) : f32[B, S, h, d]\n" VALUES ATTEND
                "%19 = attend %13, %15, %17 0.3 along (d, T, S) band 0, 2 : f32[B, T, h, r, e]\n"
                "output z = %19\n");
    const Graph *after = pass_absorb(g, &r.arena);
    const Value *found[2] = {NULL};
    for (uint32_t i = 1, n = 0; i < after->values.len && n < 2; i++)
        if (graph_value(after, (ValueId){i})->op == OP_ATTEND)
            found[n++] = graph_value(after, (ValueId){i});
    ASSERT(found[0] && found[1]);
    assert_int_equal(found[0]->in[1].i, found[1]->in[1].i);
    assert_int_equal(found[0]->in[2].i, found[1]->in[2].i);
    reader_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_other_axes_stay),
        cmocka_unit_test(test_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
