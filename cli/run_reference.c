// run_reference.c: one evaluation of a model by the reference evaluator.
#include "cli/leaves.h"
#include "cli/run_command.h"
#include "runtime/init.h"
#include "runtime/names.h"

static void keep(Run *r, const PlanTensor *t, const void *data) {
    vec_push(r->arena, &r->results, stored_of(t, data));
}

bool run_write_results(Run *r) {
    TensorFile file = {.path = r->cli->options.output,
                       .tensors = r->results.ptr,
                       .tensor_count = r->results.len};
    return safetensors_write(r->diag, &file);
}

bool run_check_indices(Run *r, const PlanTensor *t, const double *x) {
    int64_t n = plan_tensor_count(t);
    for (int64_t i = 0; t->index_below && i < n; i++) {
        if (x[i] >= 0 && x[i] < (double)t->index_below) continue;
        StrBuf place = {0};
        plan_tensor_position(t, i, &place);
        diag_file_error(r->diag, FAIL_INPUT, r->inputs.path,
                        "%s is %.0f; it must be in [0, %lld)", place.ptr, x[i],
                        (long long)t->index_below);
        strbuf_release(&place);
        return false;
    }
    return true;
}

bool run_reference_leaf(Run *r, Evaluation *e, uint32_t leaf) {
    PlanTensor t = leaf_tensor(r->arena, e->graph, &e->graph->leaves.ptr[leaf]);
    const TensorFile *file = t.kind == TENSOR_INPUT ? &r->inputs : &r->params;
    const StoredTensor *stored = safetensors_find(file, t.name);
    int64_t n = plan_tensor_count(&t);
    void *data = arena_alloc(r->arena, (size_t)plan_tensor_bytes(&t), 1);
    if (stored) {
        if (!safetensors_convert(r->diag, file, stored, &t, data)) return false;
    } else if (t.kind == TENSOR_STATE) {
        init_tensor(&t, r->cli->options.seed, data);
    } else {
        return diag_file_error(r->diag, FAIL_INPUT, file->path, "there is no tensor '%.*s'",
                               STR_ARG(t.name));
    }
    double *x = evaluation_leaf(e, leaf);
    for (int64_t i = 0; i < n; i++)
        x[i] = dtype_get(t.type, data, i);
    return run_check_indices(r, &t, x);
}

static void keep_value(Run *r, Evaluation *e, const PlanTensor *t, ValueId v) {
    const double *x = evaluation_value(e, v);
    void *data = arena_alloc(r->arena, (size_t)plan_tensor_bytes(t), 1);
    int64_t n = plan_tensor_count(t);
    for (int64_t i = 0; i < n; i++)
        dtype_set(t->type, data, i, x[i]);
    keep(r, t, data);
}

static ValueId updated(const Graph *g, uint32_t leaf) {
    for (uint32_t i = 0; i < g->updates.len; i++)
        if (g->updates.ptr[i].leaf == leaf) return g->updates.ptr[i].value;
    return g->leaf_values.ptr[leaf];
}

bool run_reference(Run *r) {
    Model model;
    Bindings bindings;
    Graph *g;
    if (!cli_model(r->cli, &model) || !run_bindings(r, &model, &bindings) ||
        !cli_graph(r->cli, &model, r->kind, bindings, &g))
        return false;
    Evaluation e;
    evaluation_init(&e, g, r->arena);
    for (uint32_t i = 0; i < g->leaves.len; i++)
        if (!run_reference_leaf(r, &e, i)) return false;
    for (uint32_t i = 0; i < g->outputs.len; i++) {
        PlanTensor t = output_tensor(r->arena, g, &g->outputs.ptr[i]);
        keep_value(r, &e, &t, g->outputs.ptr[i].value);
        if (!str_eq(t.name, STR(NAME_LOSS))) continue;
        r->has_loss = true;
        r->loss = evaluation_value(&e, g->outputs.ptr[i].value)[0];
    }
    for (uint32_t i = 0; r->cli->options.state && i < g->leaves.len; i++) {
        if (g->leaves.ptr[i].kind != OP_STATE) continue;
        PlanTensor t = leaf_tensor(r->arena, g, &g->leaves.ptr[i]);
        keep_value(r, &e, &t, updated(g, i));
    }
    return run_write_results(r);
}
