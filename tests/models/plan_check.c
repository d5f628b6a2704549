// plan_check.c: see plan_check.h.
#include "tests/models/plan_check.h"

#include <math.h>

#include "runtime/device.h"
#include "tests/ir/numbers.h"
#include "tests/test.h"

// f32 sums of up to a few hundred terms through a dozen layers: errors stay near sqrt(terms) *
// layers * 2^-24 of the largest element, where nothing cancels. Where it does, and in 16 bits,
// the evaluations that round say how far results may be.
#define TOLERANCE 1e-4

enum { MOST_SETTINGS = 16 };

typedef struct {
    Arena arena;
    Diag diag;
    Graph *graph;
    Plan *plan;
    Session *session;
    Evaluation reference, rounded[ROUNDED_COUNT];
} Run;

static void must(Run *run, bool ok) {
    if (ok) return;
    StrBuf text = {0};
    diag_render(&run->diag, &text);
    fail_msg("%s", text.ptr ? text.ptr : "failed without a message");
}

static TensorKind kind_of(GraphOp op) {
    return op == OP_PARAM ? TENSOR_PARAM : op == OP_STATE ? TENSOR_STATE : TENSOR_INPUT;
}

// Steep weights show mistakes best; in bf16 they would amplify rounding beyond any bound.
static void fill(Run *run, double deviation) {
    for (uint32_t i = 0; i < run->graph->leaves.len; i++) {
        const Leaf *leaf = &run->graph->leaves.ptr[i];
        int tensor = plan_tensor_find(run->plan, kind_of(leaf->kind), leaf->path);
        assert_true(tensor >= 0);
        void *to = session_write(run->session, (uint32_t)tensor);
        DType type = run->plan->tensors[tensor].type;
        double *reference = evaluation_leaf(&run->reference, i);
        int64_t n = graph_elements(run->graph, run->graph->leaf_values.ptr[i]);
        for (int64_t k = 0; k < n; k++) {
            dtype_set(type, to, k, number_of_leaf(run->graph, i, deviation, k));
            reference[k] = dtype_get(type, to, k);
        }
        for (int k = 0; k < ROUNDED_COUNT; k++)
            run->rounded[k].data[run->graph->leaf_values.ptr[i].i] = reference;
    }
}

static void compare(Run *run, TensorKind kind, Str name, ValueId v) {
    int tensor = plan_tensor_find(run->plan, kind, name);
    assert_true(tensor >= 0);
    const void *got = session_read(&run->diag, run->session, (uint32_t)tensor);
    const double *expected = evaluation_value(&run->reference, v);
    int64_t n = graph_elements(run->graph, v);
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (uint64_t k = 0; k < ROUNDED_COUNT; k++)
        evaluation_rounded(&run->rounded[k], &v, 1, k);
    double deviation = deviation_of(&run->reference, run->rounded, v);
    double bound = TOLERANCE * largest + DEVIATIONS * deviation;
    for (int64_t i = 0; i < n; i++) {
        double x = dtype_get(graph_value(run->graph, v)->type, got, i);
        if (!(fabs(x - expected[i]) <= bound))
            fail_msg("%.*s[%lld] is %.9g, expected %.9g within %.3g (largest %.3g)",
                     STR_ARG(name), (long long)i, x, expected[i], bound, largest);
    }
}

void plan_check(const char *path, EntryKind kind, IsaLevel level, DType storage) {
    plan_check_with(path, kind, level, storage, (Settings){NULL, 0});
}

void plan_check_with(const char *path, EntryKind kind, IsaLevel level, DType storage,
                     Settings further) {
    Setting settings[MOST_SETTINGS] = {{STR("size"), STR("tiny")},
                                       {STR("vocab"), STR("37")},
                                       {STR("d"), STR("40")},
                                       {STR("ff"), STR("72")}};
    uint32_t setting_count = 4;
    for (uint32_t i = 0; i < further.count; i++)
        settings[setting_count++] = further.items[i];
    assert_true(setting_count <= MOST_SETTINGS);
    const Binding bindings[] = {{STR("B"), 2}, {STR("T"), 21}};
    Run run = {0};
    arena_init(&run.arena);
    diag_init(&run.diag, &run.arena);
    Model model;
    must(&run, model_load(&run.diag, &run.arena, str_of(path),
                          (Settings){settings, setting_count}, &model));
    ModelPlanRequest request = {.entries = &kind,
                                .entry_count = 1,
                                .bindings = {bindings, 2},
                                .setup = {.optimizer = STR("adamw")},
                                .storage = storage,
                                .run_threads = 2,
                                .two_phase = TWO_PHASE_ALWAYS};
    request.target = (CompileTarget){.level = level, .threads = 2};
    ModelGraphRequest graph = {&model,  kind,  request.bindings, &request.setup,
                               storage, level, TWO_PHASE_ALWAYS, 0};
    must(&run, model_graph(&run.diag, &run.arena, &graph, &run.graph));
    must(&run, model_plan(&run.diag, &run.arena, &model, &request, &run.plan));
    must(&run, session_open(&run.diag, run.plan, 2, &run.session));
    evaluation_init(&run.reference, run.graph, &run.arena);
    for (int i = 0; i < ROUNDED_COUNT; i++)
        evaluation_init(&run.rounded[i], run.graph, &run.arena);
    fill(&run, storage == DTYPE_BF16 ? 0.2 : 0.5);
    must(&run, session_run(&run.diag, run.session, plan_entry(run.plan, entry_name(kind))));
    for (uint32_t i = 0; i < run.graph->outputs.len; i++)
        compare(&run, TENSOR_OUTPUT, run.graph->outputs.ptr[i].name,
                run.graph->outputs.ptr[i].value);
    for (uint32_t i = 0; i < run.graph->updates.len; i++) {
        const Leaf *leaf = &run.graph->leaves.ptr[run.graph->updates.ptr[i].leaf];
        compare(&run, kind_of(leaf->kind), leaf->path, run.graph->updates.ptr[i].value);
    }
    session_close(run.session);
    arena_release(&run.arena);
}
