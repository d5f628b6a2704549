#include "tests/ir/run_regions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "ir/graph/evaluate.h"
#include "tests/test.h"

typedef struct {
    const Graph *graph;
    Arena *arena;
    Evaluation reference;
    const ValueId *laid_in;
    void **memory;  // per value: what the kernels see
} Run;

static void draw_leaf(Run *run, uint32_t leaf) {
    const Leaf *l = &run->graph->leaves.ptr[leaf];
    ValueId v = run->graph->leaf_values.ptr[leaf];
    int64_t n = graph_elements(run->graph, v);
    double *data = evaluation_leaf(&run->reference, leaf);
    run->memory[v.i] = arena_alloc(run->arena, (size_t)n, dtype_bytes(l->type));
    for (int64_t i = 0; i < n; i++) {
        uint64_t counter = (uint64_t)i * 131 + leaf;
        // States and scalars (a step, a second moment) are positive.
        bool positive = l->kind == OP_STATE || l->rank == 0;
        double x = positive ? 0.5 + rng_uniform(7, counter) : rng_normal(7, counter);
        if (!dtype_is_float(l->type))
            x = l->index_of.i ? (double)(rng_u64(7, counter) %
                                         (uint64_t)graph_extent(run->graph, l->index_of))
                              : (double)(rng_u64(7, counter) % 5);
        dtype_set(l->type, run->memory[v.i], i, x);
        data[i] = dtype_get(l->type, run->memory[v.i], i);
    }
}

static void *memory_of(Run *run, ValueId v) {
    const Value *value = graph_value(run->graph, v);
    ValueId stack = run->laid_in[v.i];
    if (!run->memory[v.i] && stack.i) {
        const Value *s = graph_value(run->graph, stack);
        char *at = memory_of(run, stack);
        for (uint32_t k = 0; s->in[k].i != v.i; k++)
            at += graph_elements(run->graph, v) * (int64_t)dtype_bytes(value->type);
        run->memory[v.i] = at;
    }
    if (!run->memory[v.i])
        run->memory[v.i] = arena_alloc(run->arena, (size_t)graph_elements(run->graph, v),
                                       dtype_bytes(value->type));
    return run->memory[v.i];
}

static void fill_constants(Run *run, const ValueHome *homes) {
    for (uint32_t v = 1; v < run->graph->values.len; v++) {
        if (homes[v] != HOME_CONSTANT) continue;
        const double *x = evaluation_value(&run->reference, (ValueId){v});
        void *to = memory_of(run, (ValueId){v});
        for (int64_t i = 0; i < graph_elements(run->graph, (ValueId){v}); i++)
            dtype_set(run->graph->values.ptr[v].type, to, i, x[i]);
    }
}

static void start_outputs(Run *run, const TileKernel *k) {
    for (uint32_t i = 0; i < k->program->args.len; i++) {
        if (!k->starts_as.i || !k->program->args.ptr[i].written) continue;
        size_t bytes = (size_t)k->program->args.ptr[i].elements *
                       dtype_bytes(k->program->args.ptr[i].type);
        memcpy(memory_of(run, k->bindings[i].value), memory_of(run, k->starts_as), bytes);
    }
}

static void run_kernel(Run *run, const TileKernel *k, void **partials) {
    Diag diag;
    diag_init(&diag, run->arena);
    StrBuf text = {0};
    if (!tile_verify(&diag, k->program)) {
        diag_render(&diag, &text);
        tile_print(k->program, &text);
        fprintf(stderr, "%s\n", text.ptr);
    }
    assert_int_equal(diag.error_count, 0);
    strbuf_release(&text);
    void **args = arena_array(run->arena, void *, k->program->args.len);
    for (uint32_t i = 0; i < k->program->args.len; i++)
        args[i] = k->bindings[i].kind == BIND_VALUE ? memory_of(run, k->bindings[i].value)
                                                    : partials[k->bindings[i].partial];
    start_outputs(run, k);
    tile_interpret(k->program, args);
}

static void run_region(Run *run, const Regions *regions, const Region *r, const Schedule *s) {
    TileKernels *kernels = region_to_tile(regions, r, s, run->arena);
    void **partials = arena_array(run->arena, void *, kernels->partial_count);
    for (uint32_t i = 0; i < kernels->partial_count; i++)
        partials[i] = arena_alloc(run->arena, (size_t)kernels->partial_bytes[i], 1);
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        run_kernel(run, &kernels->kernels[i], partials);
}

static void check_value(Run *run, const Regions *regions, Str name, ValueId v,
                        double tolerance) {
    ValueHome home = regions->homes[v.i];
    if (home == HOME_LEAF || home == HOME_CONSTANT) return;
    const double *expected = evaluation_value(&run->reference, v);
    int64_t n = graph_elements(run->graph, v);
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (int64_t i = 0; i < n; i++) {
        double got = dtype_get(graph_value(run->graph, v)->type, run->memory[v.i], i);
        if (fabs(got - expected[i]) <= tolerance * (largest + 1e-30)) continue;
        fail_msg("%.*s[%lld] is %.9g, expected %.9g (largest %.3g)", STR_ARG(name),
                 (long long)i, got, expected[i], largest);
    }
}

void run_regions_check(const Graph *g, const Schedule *schedule, double tolerance) {
    Arena arena = {0};
    arena_init(&arena);
    Run run = {
        .graph = g, .arena = &arena, .memory = arena_array(&arena, void *, g->values.len)};
    evaluation_init(&run.reference, g, &arena);
    for (uint32_t i = 0; i < g->leaves.len; i++)
        draw_leaf(&run, i);
    Regions *regions = pass_fuse(g, &arena);
    run.laid_in = regions->laid_in;
    fill_constants(&run, regions->homes);
    for (uint32_t i = 0; i < regions->count; i++)
        run_region(&run, regions, &regions->regions[i], schedule);
    for (uint32_t i = 0; i < g->outputs.len; i++)
        check_value(&run, regions, g->outputs.ptr[i].name, g->outputs.ptr[i].value, tolerance);
    for (uint32_t i = 0; i < g->updates.len; i++)
        check_value(&run, regions, STR("update"), g->updates.ptr[i].value, tolerance);
    arena_release(&arena);
}
