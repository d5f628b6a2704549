// cmd_run.c: one evaluation of a model, compiled or by the reference evaluator.
#include "cli/run_command.h"
#include "runtime/model_io.h"
#include "runtime/names.h"
#include "runtime/run.h"

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

bool run_bindings(Run *r, const Model *model, Bindings *out) {
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
        if (!cli_model(r->cli, &model) || !run_bindings(r, &model, &bindings) ||
            !cli_plan(r->cli, &model, (EntryKinds){&r->kind, 1}, bindings, &plan))
            return false;
    }
    Session *s;
    if (!session_open(r->diag, plan, r->cli->options.threads, &s)) return false;
    bool good = run_session(r, s);
    session_close(s);
    return good;
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
    if (o->decode && o->grad)
        return cli_usage(cli, "--decode and --grad: token by token there are no gradients");
    bool good = safetensors_open(r.diag, r.arena, o->params, &r.params) &&
                safetensors_open(r.diag, r.arena, o->inputs, &r.inputs);
    good = good && (o->decode      ? run_decode(&r)
                    : o->reference ? run_reference(&r)
                                   : run_compiled(&r));
    if (good) report(&r);
    safetensors_close(&r.params);
    safetensors_close(&r.inputs);
    return good;
}
