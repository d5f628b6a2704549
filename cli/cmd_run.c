// cmd_run.c: one evaluation of a model, compiled or by the reference evaluator.
#include "cli/cli.h"
#include "cli/leaves.h"
#include "ir/graph/evaluate.h"
#include "runtime/init.h"
#include "runtime/model_io.h"
#include "runtime/names.h"
#include "runtime/run.h"
#include "runtime/safetensors.h"

typedef struct {
    Cli *cli;
    Arena *arena;
    Diag *diag;
    EntryKind kind;
    TensorFile params, inputs;
    Vec(StoredTensor) results;  // of the reference evaluator
    bool has_loss;
    double loss;
} Run;

// ---- extents of run-time axes, from the shapes of the inputs

typedef Vec(Binding) BindingList;

static bool bind_one(Run *r, BindingList *list, Binding b, Str input) {
    vec_each (Binding, known, list) {
        if (!str_eq(known->name, b.name)) continue;
        return known->extent == b.extent ||
               diag_file_error(r->diag, FAIL_INPUT, r->inputs.path,
                               "axis %.*s of '%.*s' is %lld, and %lld in other inputs",
                               STR_ARG(b.name), STR_ARG(input), (long long)b.extent,
                               (long long)known->extent);
    }
    vec_push(r->arena, list, b);
    return true;
}

static bool bind_input(Run *r, const Graph *g, const Leaf *leaf, BindingList *list) {
    const StoredTensor *t = safetensors_find(&r->inputs, leaf->path);
    if (!t)
        return diag_file_error(r->diag, FAIL_INPUT, r->inputs.path, "there is no input '%.*s'",
                               STR_ARG(leaf->path));
    if (t->rank != leaf->rank)
        return diag_file_error(r->diag, FAIL_INPUT, r->inputs.path,
                               "'%.*s' has %u axes; the model declares %u", STR_ARG(leaf->path),
                               t->rank, leaf->rank);
    bool good = true;
    for (uint32_t i = 0; i < t->rank; i++) {
        const Axis *axis = graph_axis_at(g, leaf->axes[i]);
        if (axis->extent != EXTENT_UNKNOWN) continue;
        if (t->shape[i] < 1)
            return diag_file_error(r->diag, FAIL_INPUT, r->inputs.path,
                                   "axis %.*s of '%.*s' is empty", STR_ARG(axis->name),
                                   STR_ARG(leaf->path));
        good = bind_one(r, list, (Binding){axis->name, t->shape[i]}, leaf->path) && good;
    }
    return good;
}

static bool bind_inputs(Run *r, const Model *model, Bindings *out) {
    Graph *g;
    if (!cli_elaborate(r->cli, model, &g)) return false;
    BindingList list = {0};
    bool good = true;
    for (uint32_t i = 0; i < g->leaves.len; i++)
        if (g->leaves.ptr[i].kind == OP_INPUT)
            good = bind_input(r, g, &g->leaves.ptr[i], &list) && good;
    *out = (Bindings){list.ptr, list.len};
    return good;
}

// ---- compiled

static bool run_session(Run *r, Session *s) {
    const Options *o = &r->cli->options;
    RunOptions options = {.entry = entry_name(r->kind),
                          .params = o->params,
                          .inputs = o->inputs,
                          .out = o->output,
                          .states = o->state};
    session_init(s, o->seed);
    if (!run_entry(r->diag, s, &options)) return false;
    int loss = plan_tensor_find(session_plan(s), TENSOR_OUTPUT, STR(NAME_LOSS));
    r->has_loss = loss >= 0;
    return !r->has_loss || model_io_read(r->diag, s, (uint32_t)loss, &r->loss);
}

static bool run_compiled(Run *r) {
    Plan *plan;
    if (cli_is_artifact(r->cli->options.model)) {
        if (!cli_artifact(r->cli, (EntryKinds){&r->kind, 1}, &plan)) return false;
    } else {
        Model model;
        Bindings bindings;
        if (!cli_model(r->cli, &model) || !bind_inputs(r, &model, &bindings) ||
            !cli_plan(r->cli, &model, (EntryKinds){&r->kind, 1}, bindings, &plan))
            return false;
    }
    Session *s;
    if (!session_open(r->diag, plan, r->cli->options.threads, &s)) return false;
    bool good = run_session(r, s);
    session_close(s);
    return good;
}

// ---- by the reference evaluator

static void keep(Run *r, const PlanTensor *t, const void *data) {
    vec_push(r->arena, &r->results, stored_of(t, data));
}

static bool write_results(Run *r) {
    TensorFile file = {.path = r->cli->options.output,
                       .tensors = r->results.ptr,
                       .tensor_count = r->results.len};
    return safetensors_write(r->diag, &file);
}

static bool check_indices(Run *r, const PlanTensor *t, const double *x) {
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

static bool reference_leaf(Run *r, Evaluation *e, uint32_t leaf) {
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
    return check_indices(r, &t, x);
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

static bool run_reference(Run *r) {
    Model model;
    Bindings bindings;
    Graph *g;
    if (!cli_model(r->cli, &model) || !bind_inputs(r, &model, &bindings) ||
        !cli_graph(r->cli, &model, r->kind, bindings, &g))
        return false;
    Evaluation e;
    evaluation_init(&e, g, r->arena);
    for (uint32_t i = 0; i < g->leaves.len; i++)
        if (!reference_leaf(r, &e, i)) return false;
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
    return write_results(r);
}

// ---- the command

static void report(Run *r) {
    Cli *cli = r->cli;
    if (cli->options.json) {
        json_object(&cli->json);
        json_key(&cli->json, "path");
        json_string(&cli->json, cli->options.output);
        if (r->has_loss) {
            json_key(&cli->json, "loss");
            json_number(&cli->json, r->loss);
        }
        json_end(&cli->json);
        return;
    }
    strbuf_addf(&cli->out, "%.*s\n", STR_ARG(cli->options.output));
    if (r->has_loss) strbuf_addf(&cli->out, "loss %.6f\n", r->loss);
}

bool cmd_run(Cli *cli) {
    const Options *o = &cli->options;
    Run r = {.cli = cli,
             .arena = &cli->arena,
             .diag = &cli->diag,
             .kind = o->grad ? ENTRY_GRAD : ENTRY_FORWARD};
    if (!cli_need(cli, o->params, "--params FILE") ||
        !cli_need(cli, o->inputs, "--inputs FILE") || !cli_need(cli, o->output, "-o FILE"))
        return false;
    bool good = safetensors_open(r.diag, r.arena, o->params, &r.params) &&
                safetensors_open(r.diag, r.arena, o->inputs, &r.inputs);
    good = good && (o->reference ? run_reference(&r) : run_compiled(&r));
    if (good) report(&r);
    safetensors_close(&r.params);
    safetensors_close(&r.inputs);
    return good;
}
