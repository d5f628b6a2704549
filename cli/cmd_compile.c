// cmd_compile.c: a model to an artifact.
#include "cli/cli.h"
#include "runtime/names.h"

static bool has_loss(const Graph *g) { return graph_output_find(g, STR(NAME_LOSS)).i != 0; }

// Is there anything that an inference would give?
static bool has_result(const Graph *g) {
    vec_each (const GraphOutput, output, &g->outputs)
        if (!str_eq(output->name, STR(NAME_LOSS)) &&
            !str_starts(output->name, STR(NAME_REPORT_PREFIX)))
            return true;
    return false;
}

// Entries of the model, of which g is the graph.
static uint32_t choose_entries(Cli *cli, const Model *model, const Graph *g, bool train,
                               EntryKind *out) {
    const Options *o = &cli->options;
    uint32_t n = 0;
    Str reason;
    out[n++] = ENTRY_FORWARD;
    if (has_result(g)) out[n++] = ENTRY_INFER;
    // Not for training: what decoding keeps would be in every checkpoint.
    bool decodes = has_result(g) && !train;
    if (decodes && !cli_decode_graph(cli, model, cli_bindings(cli, 1), &reason)) {
        cli_say(cli, "no entries prefill and decode: %.*s", STR_ARG(reason));
        decodes = false;
    }
    if (decodes) out[n++] = ENTRY_PREFILL, out[n++] = ENTRY_DECODE;
    if (has_loss(g)) out[n++] = ENTRY_EVAL;
    if (!train) return n;
    out[n++] = ENTRY_GRAD;
    out[n++] = ENTRY_TRAIN;
    if (o->accumulate > 1) out[n++] = ENTRY_ACCUMULATE, out[n++] = ENTRY_APPLY;
    return n;
}

static void report(Cli *cli, const Plan *plan) {
    int64_t code = 0;
    for (uint32_t i = 0; i < plan->kernel_count; i++)
        code += (int64_t)plan->kernels[i].object.len;
    if (!cli->options.json) {
        strbuf_addf(&cli->out, "%.*s: %u kernels, ", STR_ARG(cli->options.output),
                    plan->kernel_count);
        text_bytes(&cli->out, (double)code);
        strbuf_addz(&cli->out, " of code; entries");
        for (uint32_t i = 0; i < plan->entry_count; i++)
            strbuf_addf(&cli->out, " %.*s", STR_ARG(plan->entries[i].name));
        strbuf_addc(&cli->out, '\n');
        return;
    }
    JsonWriter *w = &cli->json;
    json_object(w);
    json_key(w, "path");
    json_string(w, cli->options.output);
    json_key(w, "kernels");
    json_int(w, plan->kernel_count);
    json_key(w, "code_bytes");
    json_int(w, code);
    json_key(w, "entries");
    json_array(w);
    for (uint32_t i = 0; i < plan->entry_count; i++)
        json_string(w, plan->entries[i].name);
    json_end(w);
    json_key(w, "extents");
    json_object(w);
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        json_key_str(w, plan->extents[i].name);
        json_int(w, plan->extents[i].extent);
    }
    json_end(w);
    json_end(w);
}

bool cmd_compile(Cli *cli) {
    const Options *o = &cli->options;
    bool train = str_eq(o->mode, STR("train"));
    if (o->mode.len && !train && !str_eq(o->mode, STR("infer")))
        return cli_usage(cli, "--mode is train or infer, not '%.*s'", STR_ARG(o->mode));
    Model model;
    Graph *g;
    Plan *plan;
    EntryKind entries[ENTRY_KINDS];
    if (!cli_need(cli, o->output, "-o X.sta") || !cli_model(cli, &model) ||
        !cli_elaborate(cli, &model, &g))
        return false;
    uint32_t count = choose_entries(cli, &model, g, train, entries);
    Bindings bindings = cli_bindings(cli, train ? TRAIN_BATCH : 1);
    if (!cli_plan(cli, &model, (EntryKinds){entries, count}, bindings, &plan) ||
        !plan_write(&cli->diag, plan, o->output))
        return false;
    report(cli, plan);
    return true;
}
