// test_cuda_schemes.c: a training step of models/lm.strata with every way to connect sublayers:
// each kernel for GPUs runs on the CPU (tests/simt), in turn under every schedule. It reads
// what the reference evaluator says, so that what it writes is off by its own roundings alone.
// Kernels that are the same text run once.
#include <math.h>

#include "ir/region_to_tile.h"
#include "tests/ir/numbers.h"
#include "tests/models/cuda_kernels.h"
#include "tests/simt/simt.h"
#include "tests/test.h"

enum { MOST_ARGS = 640 };

// A training step for a target, and what its values are.
typedef struct {
    const Graph *graph;
    const Regions *regions;
    Evaluation reference;  // as values are kept in memory
} Step;

// A region, one of whose kernels has not run.
typedef struct {
    Step *step;
    const Region *region;
    const TileKernels *kernels;
    uint32_t first;  // text of its first kernel
} Case;

typedef struct {
    Arena arena;  // of one scheme
    Diag diag;
    Arena *kept;
    Map *seen;  // texts, in kept
    Vec(Case) cases;
    Vec(CudaKernel) texts;
    uint32_t launches;
} Bench;

static void must(Bench *b, bool ok) {
    if (ok) return;
    StrBuf text = {0};
    diag_render(&b->diag, &text);
    fail_msg("%s", text.ptr ? text.ptr : "failed without a message");
}

// ---- values

static void round_to_type(const Graph *g, ValueId v, double *x) {
    float kept;
    for (int64_t i = 0; i < graph_elements(g, v); i++) {
        DType type = graph_value(g, v)->type;
        dtype_set(type, &kept, 0, x[i]);
        x[i] = dtype_get(type, &kept, 0);
    }
}

static void step_evaluate(Step *s, Arena *arena, double deviation) {
    const Graph *g = s->graph;
    evaluation_init(&s->reference, g, arena);
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        ValueId v = g->leaf_values.ptr[i];
        double *x = evaluation_leaf(&s->reference, i);
        for (int64_t k = 0; k < graph_elements(g, v); k++)
            x[k] = number_of_leaf(g, i, deviation, k);
        round_to_type(g, v, x);
    }
    for (uint32_t r = 0; r < s->regions->count; r++) {
        const Region *region = &s->regions->regions[r];
        for (uint32_t i = 0; i < region->output_count; i++)
            evaluation_value(&s->reference, region->outputs[i]);
        for (uint32_t i = 0; i < region->output_count; i++)
            round_to_type(g, region->outputs[i], s->reference.data[region->outputs[i].i]);
    }
}

// Evaluations of a region alone: what it reads is given.
static void region_rounded(const Case *c, Evaluation *rounded, Arena *arena) {
    const Graph *g = c->step->graph;
    const Evaluation *reference = &c->step->reference;
    for (uint32_t k = 0; k < ROUNDED_COUNT; k++) {
        evaluation_init(&rounded[k], g, arena);
        for (uint32_t i = 0; i < g->leaves.len; i++)
            rounded[k].data[g->leaf_values.ptr[i].i] = reference->data[g->leaf_values.ptr[i].i];
        for (uint32_t i = 0; i < c->region->input_count; i++)
            rounded[k].data[c->region->inputs[i].i] = reference->data[c->region->inputs[i].i];
        evaluation_rounded(&rounded[k], c->region->outputs, c->region->output_count, k);
    }
}

// ---- running

// Memory of a region's kernels, argument by argument; what they write is filled with ones.
typedef struct {
    Bench *bench;
    const Case *of;
    Arena arena;
    void **values, **partials;
} Memory;

static size_t bytes_of(const Graph *g, ValueId v) {
    return (size_t)graph_elements(g, v) * dtype_bytes(graph_value(g, v)->type);
}

static void *memory_of(Memory *m, ValueId v, bool written) {
    Step *s = m->of->step;
    if (m->values[v.i]) return m->values[v.i];
    void *at = m->values[v.i] = arena_alloc(&m->arena, bytes_of(s->graph, v), 1);
    memset(at, 0xff, bytes_of(s->graph, v));
    const double *x = written ? NULL : evaluation_value(&s->reference, v);
    for (int64_t i = 0; !written && i < graph_elements(s->graph, v); i++)
        dtype_set(graph_value(s->graph, v)->type, at, i, x[i]);
    return at;
}

static void start_output(Memory *m, const TileKernel *kernel, SimtArg *arg) {
    if (!kernel->clear_first) return;
    if (kernel->starts_as.i)
        memcpy(arg->data, memory_of(m, kernel->starts_as, false), arg->bytes);
    else
        memset(arg->data, 0, arg->bytes);
}

static void run_kernel(Memory *m, const Simt *simt, uint32_t number) {
    const TileKernel *kernel = &m->of->kernels->kernels[number];
    const TileProgram *p = kernel->program;
    SimtArg args[MOST_ARGS];
    assert_true(p->args.len <= MOST_ARGS);
    for (uint32_t i = 0; i < p->args.len; i++) {
        const TileArg *arg = &p->args.ptr[i];
        const TileBinding *binding = &kernel->bindings[i];
        args[i] = (SimtArg){.name = str_copy(&m->arena, arg->name).ptr,
                            .data = binding->kind == BIND_PARTIAL
                                        ? m->partials[binding->partial]
                                        : memory_of(m, binding->value, arg->written),
                            .bytes = (size_t)arg->elements * dtype_bytes(arg->type)};
        if (arg->written) start_output(m, kernel, &args[i]);
    }
    uint32_t n = m->bench->launches++;
    SimtSchedule schedule = {(SimtOrder)(n % SIMT_ORDERS),
                             (SimtCompletion)(n / SIMT_ORDERS % SIMT_COMPLETIONS), n};
    must(m->bench, simt_launch(&m->bench->diag, simt, m->of->first + number,
                               (SimtArgs){args, p->args.len}, schedule));
}

static void compare(Memory *m, Evaluation *rounded, ValueId v) {
    Step *s = m->of->step;
    const double *expected = s->reference.data[v.i];
    assert_non_null(m->values[v.i]);
    double limit = DEVIATIONS * deviation_of(&s->reference, rounded, v);
    for (int64_t i = 0; i < graph_elements(s->graph, v); i++) {
        double x = dtype_get(graph_value(s->graph, v)->type, m->values[v.i], i);
        if (fabs(x - expected[i]) <= limit) continue;
        print_error("%.*s\n", STR_ARG(m->bench->texts.ptr[m->of->first].text));
        fail_msg("%%%u[%lld] is %.9g instead of %.9g within %.3g", v.i, (long long)i, x,
                 expected[i], limit);
    }
}

static void case_run(Bench *b, const Case *c, const Simt *simt) {
    Memory m = {.bench = b, .of = c};
    m.values = arena_array(&m.arena, void *, c->step->graph->values.len);
    m.partials = arena_array(&m.arena, void *, c->kernels->partial_count);
    for (uint32_t i = 0; i < c->kernels->partial_count; i++) {
        size_t bytes = (size_t)c->kernels->partial_bytes[i];
        m.partials[i] = memset(arena_alloc(&m.arena, bytes, 1), 0xff, bytes);
    }
    for (uint32_t i = 0; i < c->kernels->kernel_count; i++)
        run_kernel(&m, simt, i);
    Evaluation rounded[ROUNDED_COUNT];
    region_rounded(c, rounded, &m.arena);
    for (uint32_t i = 0; i < c->region->output_count; i++)
        compare(&m, rounded, c->region->outputs[i]);
    arena_release(&m.arena);
}

// ---- collecting

// The first line names the kernel.
static bool is_new(Bench *b, Str text) {
    const char *line = memchr(text.ptr, '\n', text.len);
    Str key = {line, text.len - (size_t)(line - text.ptr)};
    if (map_get(b->seen, key, NULL)) return false;
    map_set(b->kept, b->seen, str_copy(b->kept, key), 1);
    return true;
}

static void add_region(Bench *b, Case c, IsaLevel arch) {
    bool any = false;
    c.first = b->texts.len;
    for (uint32_t i = 0; i < c.kernels->kernel_count; i++) {
        CudaKernel kernel;
        must(b, cuda_emit(&b->diag, &b->arena, c.kernels->kernels[i].program,
                          (EmitOptions){.level = arch}, &kernel));
        any |= is_new(b, kernel.text);
        vec_push(&b->arena, &b->texts, kernel);
    }
    if (any)
        vec_push(&b->arena, &b->cases, c);
    else
        b->texts.len = c.first;
}

static void add_step(Bench *b, const Model *model, IsaLevel arch, DType storage) {
    const Binding bindings[] = {{STR("B"), 2}, {STR("T"), 21}};
    TrainSetup setup = {.optimizer = STR("adamw")};
    ModelGraphRequest request = {model,   ENTRY_TRAIN, {bindings, 2},    &setup,
                                 storage, arch,        TWO_PHASE_ALWAYS, 0};
    Graph *g;
    must(b, model_graph(&b->diag, &b->arena, &request, &g));
    Step *s = arena_new(&b->arena, Step);
    *s = (Step){.graph = g, .regions = pass_fuse(g, &b->arena)};
    // Steep weights show mistakes best; in 16 bits they hide them behind rounding.
    step_evaluate(s, &b->arena, storage == DTYPE_BF16 ? 0.2 : 0.5);
    PlanRequest plan = {.target = {.level = arch}};
    ScheduleChooser chooser;
    schedule_chooser_init(&chooser, &b->arena, &plan);
    for (uint32_t i = 0; i < s->regions->count; i++) {
        const Region *region = &s->regions->regions[i];
        Schedule schedule = schedule_choose(&chooser, s->regions, region);
        Case c = {.step = s, .region = region};
        c.kernels = region_to_tile(s->regions, region, &schedule, &b->arena);
        add_region(b, c, arch);
    }
}

typedef struct {
    Arena arena;
    Map seen;
} Seen;

static void check_scheme(Seen *seen, Str residual) {
    const Setting settings[] = {{STR("size"), STR("tiny")}, {STR("vocab"), STR("37")},
                                {STR("d"), STR("40")},      {STR("ff"), STR("72")},
                                {STR("n"), STR("2")},       {STR("residual"), residual}};
    const IsaLevel targets[] = {CUDA_SM80, CUDA_SM90A, CUDA_SM100A};
    Bench b = {.kept = &seen->arena, .seen = &seen->seen};
    diag_init(&b.diag, &b.arena);
    Model model;
    must(&b, model_load(&b.diag, &b.arena, STR("models/lm.strata"), (Settings){settings, 6},
                        &model));
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        add_step(&b, &model, targets[i], DTYPE_F32);
        add_step(&b, &model, targets[i], DTYPE_BF16);
    }
    Simt *simt;
    must(&b, simt_build(&b.diag, &b.arena, b.texts.ptr, b.texts.len, &simt));
    vec_each (const Case, c, &b.cases)
        case_run(&b, c, simt);
    print_message("%.*s: %u kernels\n", STR_ARG(residual), b.texts.len);
    simt_close(simt);
    arena_release(&b.arena);
}

// ---- schemes

static void test_schemes(void **state) {
    (void)state;
    static const char *const schemes[] = {
        "standard",    "post",         "deep",    "highway",  "rezero",
        "layer_scale", "dense",        "mudd",    "full",     "block",
        "window",      "heads",        "sigmoid", "no_norm",  "input_query",
        "static_mix",  "hyper_static", "hyper",   "mhc_lite", "mhc"};
    Seen seen = {0};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        check_scheme(&seen, str_of(schemes[i]));
    arena_release(&seen.arena);
}

int main(void) {
    if (!simt_available()) {
        fputs("skipped: no C++ compiler; install g++\n", stderr);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schemes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
