// cmd_check.c: is the model right, and what does it cost?
#include "cli/cli.h"
#include "cli/cost.h"
#include "cli/scopes.h"

typedef struct {
    GraphHoldings holds;
    ActiveParameters active;
    GraphKept kept;
    bool decodes;
    double flops, bytes;  // a token
    int64_t tokens;
    uint32_t values, kernels;
    ScopeTotal *scopes;
    uint32_t scope_count;
} Check;

static bool measure(Cli *cli, const Model *model, Check *out) {
    Graph *g;
    if (!cli_elaborate(cli, model, &g)) return false;
    out->holds = graph_holdings(g);
    out->scope_count = graph_scopes(g, &cli->arena, &out->scopes);
    if (!cli_graph(cli, model, cli_entry(cli), cli_bindings(cli, 1), &g)) return false;
    Str reason;
    const Graph *decode = cli_decode_graph(cli, model, cli_bindings(cli, 1), &reason);
    if (decode) out->kept = graph_kept(decode);
    out->decodes = decode != NULL;
    Regions *regions = pass_fuse(g, &cli->arena);
    double bytes = 0;
    for (uint32_t i = 0; i < regions->count; i++)
        bytes += region_cost(regions, &regions->regions[i]).bytes;
    out->tokens = graph_tokens(g);
    out->active = graph_active(g, &cli->arena);
    out->flops = graph_flops(g) / (double)out->tokens;
    out->bytes = bytes / (double)out->tokens;
    out->values = g->values.len - 1;
    out->kernels = regions->count;
    return true;
}

static void print_json(Cli *cli, const Check *c) {
    JsonWriter *w = &cli->json;
    json_object(w);
    json_key(w, "parameters");
    json_int(w, c->holds.parameters);
    json_key(w, "trained_parameters");
    json_int(w, c->holds.trained);
    json_key(w, "active_parameters");
    json_number(w, c->active.all);
    json_key(w, "active_parameters_without_embeddings");
    json_number(w, c->active.without_embeddings);
    json_key(w, "parameter_bytes");
    json_int(w, c->holds.parameter_bytes);
    json_key(w, "flops_per_token");
    json_number(w, c->flops);
    json_key(w, "bytes_per_token");
    json_number(w, c->bytes);
    json_key(w, "state_bytes");
    json_int(w, c->holds.state_bytes);
    if (c->decodes) {
        json_key(w, "state_bytes_per_token");
        json_int(w, c->kept.token);
        json_key(w, "state_bytes_per_row");
        json_int(w, c->kept.row);
    }
    json_key(w, "tokens");
    json_int(w, c->tokens);
    json_key(w, "values");
    json_int(w, c->values);
    json_key(w, "kernels");
    json_int(w, c->kernels);
    json_key(w, "scopes");
    json_array(w);
    for (uint32_t i = 0; i < c->scope_count; i++) {
        json_object(w);
        json_key(w, "name");
        json_string(w, c->scopes[i].name);
        json_key(w, "count");
        json_int(w, c->scopes[i].count);
        json_key(w, "parameters");
        json_int(w, c->scopes[i].parameters);
        json_end(w);
    }
    json_end(w);
    json_end(w);
}

static void line(Cli *cli, const char *name, void (*text)(StrBuf *, double), double x) {
    strbuf_addf(&cli->out, "%-22s ", name);
    text(&cli->out, x);
}

// "  20 x 39.5 M  layers.*.mix.kda"; without x where they differ: the sum.
static void print_scopes(StrBuf *out, const Check *c) {
    for (uint32_t i = 0; i < c->scope_count; i++) {
        const ScopeTotal *s = &c->scopes[i];
        StrBuf size = {0};
        text_count(&size, (double)(s->alike ? s->parameters / s->count : s->parameters));
        strbuf_addf(out, "%6u %c %-8s %.*s\n", s->count, s->alike ? 'x' : ':', size.ptr,
                    STR_ARG(s->name));
        strbuf_release(&size);
    }
}

static void print_text(Cli *cli, const Check *c) {
    StrBuf *out = &cli->out;
    line(cli, "parameters", text_count, (double)c->holds.parameters);
    strbuf_addf(out, " (%lld), ", (long long)c->holds.parameters);
    text_bytes(out, (double)c->holds.parameter_bytes);
    strbuf_addc(out, '\n');
    print_scopes(out, c);
    line(cli, "active a token", text_count, c->active.all);
    strbuf_addz(out, " parameters, ");
    text_count(out, c->active.without_embeddings);
    strbuf_addz(out, " without embeddings\n");
    line(cli, "flops a token", text_count, c->flops);
    strbuf_addf(out, ", %s of %lld tokens in %u kernels\n",
                cli->options.training ? "training step" : "forward pass", (long long)c->tokens,
                c->kernels);
    line(cli, "bytes a token", text_bytes, c->bytes);
    strbuf_addz(out, ", every kernel's inputs and outputs moved once\n");
    if (c->decodes) {
        line(cli, "state bytes a token", text_bytes, (double)c->kept.token);
        strbuf_addz(out, ", what decoding keeps of it; of a row ");
        text_bytes(out, (double)c->kept.row);
        strbuf_addz(out, " more, whatever the context\n");
    }
    if (!c->holds.state_bytes) return;
    line(cli, "state", text_bytes, (double)c->holds.state_bytes);
    strbuf_addz(out, ", whatever the context\n");
}

bool cmd_check(Cli *cli) {
    Model model;
    Check check;
    if (!cli_model(cli, &model) || !measure(cli, &model, &check)) return false;
    if (cli->options.json)
        print_json(cli, &check);
    else
        print_text(cli, &check);
    return true;
}
