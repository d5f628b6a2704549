// test_elaborate.c: what graphs of the language compute, by the reference evaluator. Which
// graphs they are, and what is said about mistakes, is in golden/graph and golden/semantics.
#include <math.h>

#include "base/rng.h"
#include "frontend/ast_to_graph.h"
#include "frontend/modules.h"
#include "frontend/source_to_ast.h"
#include "ir/graph/evaluate.h"
#include "tests/test.h"

// The evaluator works in f64 and sums fewer than 1000 numbers of magnitude about 1.
#define CLOSE 1e-11

typedef struct {
    Arena arena;
    Diag diag;
    Graph *graph;
    Elaboration *kept;
    Evaluation values;
} Fixture;

static int setup(void **state) {
    static Fixture fixture;
    fixture = (Fixture){0};
    diag_init(&fixture.diag, &fixture.arena);
    *state = &fixture;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    arena_release(&f->arena);
    return 0;
}

// ---- from a text or a file to a graph

static Settings parse_settings(Arena *arena, const char *text) {
    Vec(Setting) found = {0};
    while (*text != '\0') {
        const size_t name = strcspn(text, "="), value = strcspn(text + name, " ");
        vec_push(arena, &found, (Setting){{text, name}, {text + name + 1, value - 1}});
        text += name + value;
        text += strspn(text, " ");
    }
    return (Settings){found.ptr, found.len};
}

static void check_graph(Fixture *f, bool ok) {
    if (ok) f->graph = elaboration_graph(f->kept);
    if (ok) ok = graph_verify(&f->diag, f->graph);
    if (!ok) assert_diag(&f->diag, "");
    assert_true(ok);
}

static void elaborate_file(Fixture *f, const char *path, const char *settings) {
    AstProgram *program = NULL;
    const Str library = STR("models");
    bool ok =
        modules_load(&f->diag, &f->arena, str_of(path), (SearchPath){&library, 1}, &program);
    if (ok) {
        ok = ast_to_graph(&f->diag, &f->arena, program, parse_settings(&f->arena, settings),
                          &f->kept);
    }
    check_graph(f, ok);
}

static void elaborate_text(Fixture *f, const char *text) {
    AstModule *module = NULL;
    const uint32_t file = diag_source_add(&f->diag, STR("test"), str_of(text));
    bool ok = source_to_ast(&f->diag, &f->arena, file, &module);
    if (ok) {
        AstProgram *program = arena_new(&f->arena, AstProgram);
        *program =
            (AstProgram){.modules = arena_array(&f->arena, AstModule *, 1), .module_count = 1};
        program->modules[0] = module;
        program->root = module;
        ok = ast_to_graph(&f->diag, &f->arena, program, (Settings){0}, &f->kept);
    }
    check_graph(f, ok);
}

// ---- evaluation with values that depend on the leaf's name alone

static double leaf_element(const Graph *g, const Leaf *leaf, int64_t i) {
    const Hash h = hash_bytes(leaf->path.ptr, leaf->path.len);
    if (leaf->type == DTYPE_I32) {
        const int64_t extent = leaf->index_of.i ? graph_extent(g, leaf->index_of) : 100;
        return (double)(rng_u64(h.lo, (uint64_t)i) % (uint64_t)extent);
    }
    if (leaf->init.kind == INIT_CONSTANT && leaf->kind != OP_INPUT) return leaf->init.a;
    return rng_normal(h.lo, (uint64_t)i);
}

static void evaluate(Fixture *f) {
    evaluation_init(&f->values, f->graph, &f->arena);
    for (uint32_t k = 0; k < f->graph->leaves.len; k++) {
        double *data = evaluation_leaf(&f->values, k);
        const int64_t count = graph_elements(f->graph, f->graph->leaf_values.ptr[k]);
        for (int64_t i = 0; i < count; i++)
            data[i] = leaf_element(f->graph, &f->graph->leaves.ptr[k], i);
    }
}

static const double *output(Fixture *f, const char *name, int64_t *count) {
    const ValueId v = graph_output_find(f->graph, str_of(name));
    assert_int_not_equal(v.i, 0);
    *count = graph_elements(f->graph, v);
    return evaluation_value(&f->values, v);
}

static double loss(Fixture *f, const char *path, const char *settings) {
    int64_t count = 0;
    elaborate_file(f, path, settings);
    evaluate(f);
    return *output(f, "loss", &count);
}

static void assert_close(double got, double wanted, double tolerance) {
    if (!(fabs(got - wanted) <= tolerance)) fail_msg("got %.17g, wanted %.17g", got, wanted);
}

static void assert_outputs_equal(Fixture *f, const char *a, const char *b) {
    int64_t n = 0, m = 0;
    const double *x = output(f, a, &n), *y = output(f, b, &m);
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++) {
        if (fabs(x[i] - y[i]) > CLOSE)
            fail_msg("%s[%d] = %g, %s = %g", a, (int)i, x[i], b, y[i]);
    }
}

// ---- built-in functions

static void elementwise_functions_agree_with_c(void **state) {
    Fixture *f = *state;
    elaborate_text(f, "model m {\n"
                      "    dim n = 5\n"
                      "    input x[n] : f32\n"
                      "    output gelu = gelu(x)\n"
                      "    output silu = silu(x)\n"
                      "    output relu = relu(x)\n"
                      "    output softplus = softplus(x)\n"
                      "    output power = 2 ^ x - pow(x * x, 0.5)\n"
                      "    output bounded = min(max(x, -1), 1)\n"
                      "    output chosen = where(not (x > 0 or x < -1), 7, x)\n"
                      "}\n");
    evaluate(f);
    int64_t n = 0;
    const double *x = f->values.data[f->graph->leaf_values.ptr[0].i];
    const double *gelu = output(f, "gelu", &n), *silu = output(f, "silu", &n);
    const double *relu = output(f, "relu", &n), *softplus = output(f, "softplus", &n);
    const double *power = output(f, "power", &n), *bounded = output(f, "bounded", &n);
    const double *chosen = output(f, "chosen", &n);
    for (int64_t i = 0; i < n; i++) {
        assert_close(gelu[i], x[i] * 0.5 * erfc(-x[i] / sqrt(2)), CLOSE);
        assert_close(silu[i], x[i] / (1 + exp(-x[i])), CLOSE);
        assert_close(relu[i], x[i] > 0 ? x[i] : 0, CLOSE);
        assert_close(softplus[i], log1p(exp(x[i])), CLOSE);
        assert_close(power[i], exp2(x[i]) - fabs(x[i]), CLOSE);
        assert_close(bounded[i], fmin(fmax(x[i], -1), 1), CLOSE);
        assert_close(chosen[i], x[i] > 0 || x[i] < -1 ? x[i] : 7, CLOSE);
    }
}

static void numbers_and_tensors_compute_the_same(void **state) {
    Fixture *f = *state;
    elaborate_text(
        f,
        "fn all(x) = (exp(x) + sqrt(x) + rsqrt(x) + tanh(x) + sigmoid(x) + sin(x) + cos(x) + erf(x)\n"
        "    + abs(-x) + sign(-x) + floor(x) + log(x) + silu(x) + gelu(x) + relu(x) + softplus(x)\n"
        "    + x ^ 3 + max(x, 2) - min(x, 2) / 7)\n"
        "model m {\n"
        "    dim n = 1\n"
        "    output number = broadcast(all(0.7), n)\n"
        "    output tensor = all(0.7 + 0 * position(n))\n"
        "}\n");
    evaluate(f);
    assert_outputs_equal(f, "number", "tensor");
}

// Element i and element i + n/2 are the coordinates of a point that turns by t * base^(-2i/n).
static void rope_turns_pairs(void **state) {
    Fixture *f = *state;
    elaborate_text(f, "model m {\n"
                      "    dim T = 3, n = 4\n"
                      "    input x[T, n] : f32\n"
                      "    output y = rope(x, T, n, base = 100)\n"
                      "}\n");
    evaluate(f);
    int64_t count = 0;
    const double *x = f->values.data[f->graph->leaf_values.ptr[0].i],
                 *y = output(f, "y", &count);
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < 2; i++) {
            const double angle = t * pow(100, -2.0 * i / 4), a = x[4 * t + i],
                         b = x[4 * t + i + 2];
            assert_close(y[4 * t + i], a * cos(angle) - b * sin(angle), CLOSE);
            assert_close(y[4 * t + i + 2], b * cos(angle) + a * sin(angle), CLOSE);
        }
    }
}

static void attend_is_a_softmax_weighted_sum(void **state) {
    Fixture *f = *state;
    elaborate_text(
        f, "fn words(q, k, v, T, n, seen) {\n"
           "    dim S = T\n"
           "    let s = sum(q * rename(k, T -> S), n) * 0.5\n"
           "    let age = position(T) - broadcast(position(S), T)\n"
           "    let p = softmax(where(seen(age), s, -inf), S)\n"
           "    return sum(p * rename(v, T -> S), S)\n"
           "}\n"
           "model m {\n"
           "    dim T = 5, h = 2, r = 3, n = 4, m = 2\n"
           "    input q[T, h, r, n] : f32\n"
           "    input k[T, h, n] : f32\n"
           "    input v[T, h, m] : f32\n"
           "    output all = attend(q, k, v, over = T, along = n)\n"
           "    output all_words = words(q, k, v, T, n, fn(age) = age > -99)\n"
           "    output causal = attend(q, k, v, over = T, along = n, causal = true)\n"
           "    output causal_words = words(q, k, v, T, n, fn(age) = age >= 0)\n"
           "    output near = attend(q, k, v, T, n, true, 0.5, window = 2)\n"
           "    output near_words = words(q, k, v, T, n, fn(age) = age >= 0 and age < 2)\n"
           "}\n");
    evaluate(f);
    assert_outputs_equal(f, "all", "all_words");
    assert_outputs_equal(f, "causal", "causal_words");
    assert_outputs_equal(f, "near", "near_words");
}

static void cross_entropy_is_minus_log_probability(void **state) {
    Fixture *f = *state;
    elaborate_text(f, "model m {\n"
                      "    dim B = 3, n = 4\n"
                      "    input x[B, n] : f32\n"
                      "    input t[B] : index(n)\n"
                      "    output a = cross_entropy(x, t, n)\n"
                      "    output b = -log(sum(softmax(x, n) * one_hot(t, n), n))\n"
                      "}\n");
    evaluate(f);
    assert_outputs_equal(f, "a", "b");
}

static void contractions_sum_over_what_is_said(void **state) {
    Fixture *f = *state;
    elaborate_text(f, "model m {\n"
                      "    dim a = 2, b = 3, c = 4\n"
                      "    input x[a, b] : f32\n"
                      "    input y[b, c] : f32\n"
                      "    input z[c] : f32\n"
                      "    output chain = sum(-x * y * z / 2, [b, c])\n"
                      "    output steps = sum(x * sum(y * z, c), b) * -0.5\n"
                      "    output pairs = sum(outer(x, y), b)\n"
                      "    output product = sum(x * y, b)\n"
                      "    output average = mean(x * y, [a, b])\n"
                      "    output divided = sum(x * y, [b, a]) / (a * b)\n"
                      "}\n");
    evaluate(f);
    assert_outputs_equal(f, "chain", "steps");
    assert_outputs_equal(f, "pairs", "product");
    assert_outputs_equal(f, "average", "divided");
}

static void numbers_stack_to_constants(void **state) {
    Fixture *f = *state;
    elaborate_text(f, "model m {\n"
                      "    dim n = 3\n"
                      "    input x[B = 2, n] : f32\n"
                      "    output picked = sum(x[n: stack([2, 0, 1, 1], k)], B)\n"
                      "    output same = sum(x * one_hot(stack([2, 0, 1, 1], k), n), [B, n])\n"
                      "    output halves = 2 * stack([1, 0.5], h)\n"
                      "    output wholes = stack([2, 1], h)\n"
                      "}\n");
    evaluate(f);
    assert_outputs_equal(f, "picked", "same");
    assert_outputs_equal(f, "halves", "wholes");
}

// ---- compile-time values

static void values_are_computed_while_elaborating(void **state) {
    Fixture *f = *state;
    elaborate_text(
        f,
        "fn fib(n) = if n < 2 then n else fib(n - 1) + fib(n - 2)\n"
        "model m {\n"
        "    dim n = 4, two = n / 2\n"
        "    let l = [1, 2] + [3] + some(none) + some(4)\n"
        "    let r = { a: 1, f: fn(x) = x * 2 } with { a: 5 }\n"
        "    let total = 0\n"
        "    for x in l[1..] { total = total + x }\n"
        "    for i in 0 .. 3 { if i == 1 { total = total + 100 } else { total = total + 1000 } }\n"
        "    let checks = [fib(10) == 55, total == 2109, len(l) == 4, l[-1] == 4, r.f(r.a) == 10,\n"
        "        r[\"a\"] == 5, last(l, 2) == [3, 4], last(l, 9) == l, l[..2] == [1, 2],\n"
        "        two * 2 == n, extent([n, two]) == 8, -7 % 3 == 2, 2 ^ 3 ^ 0 == 2,\n"
        "        not (true and false), none == none, not (none == 0), \"a\" + \"b\" == \"ab\",\n"
        "        extent(n + two) == 6, n + two == n + two, axis([n, two]) != n]\n"
        "    let passed = 0\n"
        "    for ok in checks { passed = passed + (if ok then 1 else 0) }\n"
        "    output failed = broadcast(len(checks) - passed, two)\n"
        "}\n");
    evaluate(f);
    int64_t count = 0;
    assert_close(*output(f, "failed", &count), 0, 0);
    assert_int_equal(count, 2);
}

static void settings_override_dims_and_lets(void **state) {
    Fixture *f = *state;
    elaborate_file(f, "models/prenorm.strata", "size=tiny layers=1 ff=48 B=3");
    const Graph *g = f->graph;
    assert_int_equal(graph_extent(g, graph_axis_find(g, STR("d"))), 64);
    assert_int_equal(graph_extent(g, graph_axis_find(g, STR("ff"))), 48);
    assert_int_equal(graph_extent(g, graph_axis_find(g, STR("B"))), 3);
    assert_true(map_get(&g->leaf_paths, STR("layers.0.attn.wq"), NULL));
    assert_false(map_get(&g->leaf_paths, STR("layers.1.attn.wq"), NULL));
}

static void binding_a_run_time_axis_binds_its_roles(void **state) {
    Fixture *f = *state;
    elaborate_file(f, "models/prenorm.strata", "size=tiny layers=1");
    Graph *g = f->graph;
    assert_int_equal(graph_axis_at(g, graph_axis_find(g, STR("T_key")))->extent,
                     EXTENT_UNKNOWN);
    graph_bind(g, graph_axis_find(g, STR("T")), 7);
    assert_int_equal(graph_extent(g, graph_axis_find(g, STR("T_key"))), 7);
}

// ---- attention over depth (arXiv 2603.15031; section 2 for the sources of each sublayer)

#define SMALL "vocab=11 d=8 h=2 dk=4 ff=12 layers=2 B=2 T=3"

static void assert_sources(Fixture *f, const char *settings, const uint32_t *wanted,
                           uint32_t count) {
    elaborate_file(f, "models/lm.strata", settings);
    uint32_t found = 0;
    vec_each (Value, v, &f->graph->values) {
        if (v->op != OP_STACK) continue;
        assert_true(found < count);
        assert_int_equal(v->arity, wanted[found++]);
    }
    assert_int_equal(found, count);
}

// Sublayers 0 .. 3 and the head; one with a single source stacks nothing.
static void a_block_sees_embedding_blocks_and_partial_sum(void **state) {
    Fixture *f = *state;
    assert_sources(f, SMALL " block=1", (uint32_t[]){2, 3, 4, 5}, 4);
    assert_sources(f, SMALL " block=2", (uint32_t[]){2, 2, 3, 3}, 4);
    assert_sources(f, SMALL " block=3", (uint32_t[]){2, 2, 2, 3}, 4);
    assert_sources(f, SMALL " block=4", (uint32_t[]){2, 2, 2, 2}, 4);
    assert_sources(f, SMALL " blocks=1 block=2", (uint32_t[]){2, 3, 3, 4}, 4);
    assert_sources(f, SMALL " blocks=2,1", (uint32_t[]){2, 2, 3, 4}, 4);
}

static void blocks_of_one_sublayer_are_full_attention(void **state) {
    Fixture *f = *state;
    const double full = loss(f, "models/attnres_full.strata", SMALL);
    const double block = loss(f, "models/attnres_block.strata", SMALL " block=1");
    assert_close(full, block, 0);
}

// Uniform weights scale the stream, and every sublayer normalises it: equal up to the eps of
// the norms, which is 1e-6 of a mean square of about 1, divided by at most 5^2 sources.
static void zero_queries_give_the_loss_of_prenorm(void **state) {
    Fixture *f = *state;
    const double plain = loss(f, "models/prenorm.strata", SMALL);
    assert_true(plain > 0.1);
    assert_close(loss(f, "models/attnres_full.strata", SMALL), plain, 1e-3);
    assert_close(loss(f, "models/attnres_block.strata", SMALL " block=2"), plain, 1e-3);
    assert_close(loss(f, "models/attnres_block.strata", SMALL " block=3"), plain, 1e-3);
}

static void every_scheme_elaborates(void **state) {
    Fixture *f = *state;
    static const char *const schemes[] = {
        "standard",    "post",         "deep",    "highway",     "rezero",
        "layer_scale", "dense",        "mudd",    "hyper",       "mhc",
        "mhc_lite",    "full",         "block",   "window",      "heads",
        "sigmoid",     "hyper_static", "no_norm", "input_query", "static_mix"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        const char *settings =
            arena_printf(&f->arena, SMALL " n=3 heads=2 residual=%s", schemes[i]);
        assert_true(isfinite(loss(f, "models/lm.strata", settings)));
    }
}

// ---- optimizers

// One parameter w[a -> b] and one vector v, with gradients from inputs of the same axes.
static void optimize(Fixture *f, const char *name, const char *settings) {
    const char *path = "tests/frontend/optimized.strata";
    elaborate_file(f, path, "");
    Graph *g = f->graph;
    const uint32_t leaves[] = {2, 3};
    const ValueId grads[] = {g->leaf_values.ptr[0], g->leaf_values.ptr[1]};
    const OptimizerRequest request = {.name = str_of(name),
                                      .overrides = parse_settings(&f->arena, settings),
                                      .leaves = leaves,
                                      .grads = grads,
                                      .count = 2,
                                      .lr = graph_const(g, 0.1, (Span){0}),
                                      .step = graph_const(g, 3, (Span){0})};
    check_graph(f, elaborate_optimizer(f->kept, g, &request));
    evaluate(f);
}

static const double *updated(Fixture *f, const char *path) {
    uint64_t leaf = 0;
    assert_true(map_get(&f->graph->leaf_paths, str_of(path), &leaf));
    vec_each (GraphUpdate, u, &f->graph->updates) {
        if (u->leaf == leaf) return evaluation_value(&f->values, u->value);
    }
    fail_msg("%s is not updated", path);
    return NULL;
}

static const double *leaf_data(Fixture *f, const char *path) {
    uint64_t leaf = 0;
    assert_true(map_get(&f->graph->leaf_paths, str_of(path), &leaf));
    return f->values.data[f->graph->leaf_values.ptr[leaf].i];
}

static void adamw_follows_its_formula(void **state) {
    Fixture *f = *state;
    optimize(f, "adamw", "beta2=0.99 decay=0.2");
    const double *w = leaf_data(f, "w"), *g = leaf_data(f, "gw"), *new_w = updated(f, "w");
    const double *v = leaf_data(f, "v"), *gv = leaf_data(f, "gv"), *new_v = updated(f, "v");
    const double unbias1 = 1 - pow(0.9, 3), unbias2 = 1 - pow(0.99, 3);
    for (int i = 0; i < 6; i++) {
        const double m = 0.1 * g[i] / unbias1, s = 0.01 * g[i] * g[i] / unbias2;
        assert_close(new_w[i], w[i] - 0.1 * (m / (sqrt(s) + 1e-8) + 0.2 * w[i]), CLOSE);
        assert_close(updated(f, "optim.w.m")[i], 0.1 * g[i], CLOSE);
        assert_close(updated(f, "optim.w.v")[i], 0.01 * g[i] * g[i], CLOSE);
    }
    for (int i = 0; i < 3; i++) {
        const double m = 0.1 * gv[i] / unbias1, s = 0.01 * gv[i] * gv[i] / unbias2;
        assert_close(new_v[i], v[i] - 0.1 * m / (sqrt(s) + 1e-8), CLOSE);
    }
}

static void sgd_needs_no_state_without_momentum(void **state) {
    Fixture *f = *state;
    optimize(f, "sgd", "");
    assert_int_equal(f->graph->leaves.len, 4);
    for (int i = 0; i < 6; i++) {
        const double *w = leaf_data(f, "w"), *g = leaf_data(f, "gw");
        assert_close(updated(f, "w")[i], w[i] - 0.1 * g[i], CLOSE);
    }
    optimize(f, "sgd", "momentum=0.5");
    assert_true(map_get(&f->graph->leaf_paths, STR("optim.v.v"), NULL));
}

// Five steps bring the singular values of a matrix near 1: here both, whose squares are the
// eigenvalues of x'x.
static void muon_orthogonalises_maps(void **state) {
    Fixture *f = *state;
    optimize(f, "muon", "decay=0");
    const double *w = leaf_data(f, "w"), *new_w = updated(f, "w");
    double xx[2][2] = {{0}};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 4; j++) {
            const double a = w[2 * i + j / 2] - new_w[2 * i + j / 2],
                         b = w[2 * i + j % 2] - new_w[2 * i + j % 2];
            xx[j / 2][j % 2] += a * b / pow(0.1 * 0.2 * sqrt(3), 2);
        }
    }
    const double half = (xx[0][0] + xx[1][1]) / 2,
                 det = xx[0][0] * xx[1][1] - xx[0][1] * xx[1][0];
    const double spread = sqrt(half * half - det);
    assert_true(half - spread > 0.4 && half + spread < 1.6);
    assert_true(
        map_get(&f->graph->leaf_paths, STR("optim.v.v"), NULL));  // the vector gets AdamW
}

static void optimizer_mistakes_are_said(void **state) {
    Fixture *f = *state;
    elaborate_file(f, "tests/frontend/optimized.strata", "");
    const Setting wrong[] = {{STR("bta1"), STR("1")}}, word[] = {{STR("beta1"), STR("much")}};
    const uint32_t leaf = 2;
    OptimizerRequest r = {.name = STR("adam"),
                          .leaves = &leaf,
                          .grads = &f->graph->leaf_values.ptr[0],
                          .count = 1};
    r.lr = r.step = graph_const(f->graph, 1, (Span){0});
    assert_false(elaborate_optimizer(f->kept, f->graph, &r));
    assert_diag_has(&f->diag, "declares an optimizer 'adam'");
    assert_diag_has(&f->diag, "did you mean 'adamw'?");
    r.name = STR("adamw");
    r.overrides = (Settings){wrong, 1};
    assert_false(elaborate_optimizer(f->kept, f->graph, &r));
    assert_diag_has(&f->diag, "has no setting 'bta1'");
    assert_diag_has(&f->diag, "did you mean 'beta1'?");
    r.overrides = (Settings){word, 1};
    assert_false(elaborate_optimizer(f->kept, f->graph, &r));
    assert_diag_has(&f->diag, "beta1=much: an optimizer's setting is a number, true or false");
    r.overrides = (Settings){0};
    r.name = STR("few");
    assert_false(elaborate_optimizer(f->kept, f->graph, &r));
    assert_diag_has(&f->diag, "the first arguments of an optimizer are p, g, lr and step");
    r.name = STR("lazy");
    assert_false(elaborate_optimizer(f->kept, f->graph, &r));
    assert_diag_has(&f->diag, "optimizer lazy does not update w");
    r.name = STR("greedy");
    assert_false(elaborate_optimizer(f->kept, f->graph, &r));
    assert_diag_has(&f->diag, "an optimizer declares states, not parameters");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(elementwise_functions_agree_with_c, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_and_tensors_compute_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(rope_turns_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(attend_is_a_softmax_weighted_sum, setup, teardown),
        cmocka_unit_test_setup_teardown(cross_entropy_is_minus_log_probability, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(contractions_sum_over_what_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_stack_to_constants, setup, teardown),
        cmocka_unit_test_setup_teardown(values_are_computed_while_elaborating, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_override_dims_and_lets, setup, teardown),
        cmocka_unit_test_setup_teardown(binding_a_run_time_axis_binds_its_roles, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_block_sees_embedding_blocks_and_partial_sum, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(blocks_of_one_sublayer_are_full_attention, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(zero_queries_give_the_loss_of_prenorm, setup, teardown),
        cmocka_unit_test_setup_teardown(every_scheme_elaborates, setup, teardown),
        cmocka_unit_test_setup_teardown(adamw_follows_its_formula, setup, teardown),
        cmocka_unit_test_setup_teardown(sgd_needs_no_state_without_momentum, setup, teardown),
        cmocka_unit_test_setup_teardown(muon_orthogonalises_maps, setup, teardown),
        cmocka_unit_test_setup_teardown(optimizer_mistakes_are_said, setup, teardown),
    };
    return cmocka_run_group_tests_name("frontend/elaborate", tests, NULL, NULL);
}
