// cmd_explain.c: every kernel of a model: what it computes, what it costs at least, what it was
// measured at, and why its neighbours are not part of it.
#include <math.h>

#include "autotune/prior.h"
#include "cli/explain.h"
#include "codegen/cuda/attend_choice.h"
#include "ir/graph/passes.h"

static Kernel kernel_of(const Explain *e, const Region *region) {
    Kernel k = {.region = region, .cost = region_cost(e->regions, region)};
    double pairs = e->machine.context.level == CPU_AVX512BF16 ? k.cost.pair_flops : 0;
    k.floor_ns = (double)NAN;
    if (e->machine.here) {
        double flops = k.cost.flops - pairs / 2, bytes = k.cost.bytes;
        const MachinePeaks *peaks = &e->machine.peaks;
        k.floor_ns = floor_ns(peaks, flops, bytes);
        k.by_memory = bytes * peaks->flops > flops * peaks->read_bytes;
    }
    if (!e->cli->db || !database_best(e->cli->db, region_hash(e->regions, region),
                                      e->machine.hash, &k.schedule, &k.tuned_ns)) {
        const TuneContext *c = &e->machine.context;
        k.tuned_ns = 0;
        k.schedule = schedule_prior(e->regions, region, c->level, c->threads);
    }
    return k;
}

Str explain_value_name(const Explain *e, ValueId v) {
    const Value *value = graph_value(e->g, v);
    if (value->op == OP_PARAM || value->op == OP_STATE || value->op == OP_INPUT)
        return graph_leaf_of(e->g, v)->path;
    uint32_t r = e->region_of[v.i];
    return r ? e->regions->regions[r - 1].name : STR("a constant");
}

// ---- text

static void print_floor(const Explain *e, double ns) {
    StrBuf *out = &e->cli->out;
    strbuf_addz(out, "floor ");
    if (e->machine.here)
        text_duration(out, ns * 1e-9);
    else
        strbuf_addz(out, "not known without a device");
}

static void print_kernel(const Explain *e, const Kernel *k) {
    StrBuf *out = &e->cli->out;
    const Region *r = k->region;
    strbuf_addf(out, "%.*s\n    computes", STR_ARG(r->name));
    for (uint32_t i = 0; i < r->value_count; i++)
        strbuf_addf(out, " %s", op_text(graph_value(e->g, r->values[i])->op));
    strbuf_addz(out, "\n    reads");
    for (uint32_t i = 0; i < r->input_count; i++)
        strbuf_addf(out, "%s %.*s", i ? "," : "", STR_ARG(explain_value_name(e, r->inputs[i])));
    strbuf_addf(out, "; writes %u value%s\n    ", r->output_count,
                r->output_count == 1 ? "" : "s");
    text_bytes(out, k->cost.bytes);
    strbuf_addz(out, ", ");
    text_count(out, k->cost.flops);
    strbuf_addz(out, " flops, ");
    print_floor(e, k->floor_ns);
    if (e->machine.here) strbuf_addf(out, " (%s)", k->by_memory ? "memory" : "arithmetic");
    if (k->tuned_ns > 0) {
        strbuf_addz(out, ", tuned ");
        text_duration(out, k->tuned_ns * 1e-9);
        StrBuf schedule = {0};
        schedule_print(&k->schedule, &schedule);
        strbuf_addf(out, " (%.0f %% of floor; %s)", 100 * k->floor_ns / k->tuned_ns,
                    schedule.len ? schedule.ptr : "no knob set");
        strbuf_release(&schedule);
    }
    strbuf_addz(out, "\n");
    if (level_is_cuda(e->machine.context.level)) explain_code_text(e, k);
}

// ---- JSON

static void key_number(JsonWriter *w, const char *key, double x) {
    json_key(w, key);
    json_number(w, x);
}

static void write_kernel(const Explain *e, const Kernel *k) {
    JsonWriter *w = &e->cli->json;
    const Region *r = k->region;
    json_object(w);
    json_key(w, "name");
    json_string(w, r->name);
    json_key(w, "kind");
    json_string(w, str_of(region_kind_text(r->kind)));
    json_key(w, "members");
    json_array(w);
    for (uint32_t i = 0; i < r->value_count; i++)
        json_string(w, str_of(op_text(graph_value(e->g, r->values[i])->op)));
    json_end(w);
    json_key(w, "reads");
    json_array(w);
    for (uint32_t i = 0; i < r->input_count; i++)
        json_string(w, explain_value_name(e, r->inputs[i]));
    json_end(w);
    json_key(w, "outputs");
    json_int(w, r->output_count);
    key_number(w, "bytes", k->cost.bytes);
    key_number(w, "flops", k->cost.flops);
    key_number(w, "floor_ns", k->floor_ns);
    if (k->tuned_ns > 0) {
        StrBuf schedule = {0};
        schedule_print(&k->schedule, &schedule);
        key_number(w, "tuned_ns", k->tuned_ns);
        json_key(w, "schedule");
        json_string(w, strbuf_view(&schedule));
        strbuf_release(&schedule);
    }
    if (level_is_cuda(e->machine.context.level)) explain_code_json(e, k);
    json_end(w);
}

// ---- what was not fused

// Pairs that ended in one kernel after all, by another way, are no refusals.
static bool stands(const Explain *e, const struct Refusal *r) {
    uint32_t a = e->region_of[r->producer.i], b = e->region_of[r->consumer.i];
    return a && b && a != b;
}

static bool repeats(const Explain *e, uint32_t at) {
    const struct Refusal *r = e->regions->refusals;
    for (uint32_t i = at; i-- > 0 && at - i < 64;)
        if (e->region_of[r[i].producer.i] == e->region_of[r[at].producer.i] &&
            e->region_of[r[i].consumer.i] == e->region_of[r[at].consumer.i] &&
            str_eq(str_of(r[i].reason), str_of(r[at].reason)))
            return true;
    return false;
}

static void add_refusals(const Explain *e) {
    Cli *cli = e->cli;
    for (uint32_t i = 0; i < e->regions->refusal_count; i++) {
        const struct Refusal *r = &e->regions->refusals[i];
        if (!stands(e, r) || repeats(e, i)) continue;
        Str from = explain_value_name(e, r->producer), to = explain_value_name(e, r->consumer);
        if (!cli->options.json) {
            strbuf_addf(&cli->out, "    %.*s and %.*s: %s\n", STR_ARG(from), STR_ARG(to),
                        r->reason);
            continue;
        }
        json_object(&cli->json);
        json_key(&cli->json, "producer");
        json_string(&cli->json, from);
        json_key(&cli->json, "consumer");
        json_string(&cli->json, to);
        json_key(&cli->json, "reason");
        json_string(&cli->json, str_of(r->reason));
        json_end(&cli->json);
    }
}

// What a value has in memory that one kernel would not need, and why.
static void add_memory(const Explain *e, uint32_t v, const char *what, const char *why) {
    Cli *cli = e->cli;
    Str name = explain_value_name(e, (ValueId){v});
    if (!cli->options.json) {
        strbuf_addf(&cli->out, "    %.*s and its %s: %s\n", STR_ARG(name), what, why);
        return;
    }
    json_object(&cli->json);
    json_key(&cli->json, "value");
    json_string(&cli->json, name);
    json_key(&cli->json, "keeps");
    json_string(&cli->json, str_of(what));
    json_key(&cli->json, "reason");
    json_string(&cli->json, str_of(why));
    json_end(&cli->json);
}

// Weights chosen by an index, and scores of attention.
static void add_memories(const Explain *e) {
    bool cuda = level_is_cuda(e->machine.context.level);
    for (uint32_t v = 1; v < e->g->values.len; v++) {
        if (!e->region_of[v]) continue;
        const char *why = grouped_refusal(e->g, (ValueId){v});
        if (why) add_memory(e, v, "gathered weight", why);
        why = attend_refusal(e->g, (ValueId){v}, cuda ? ATTEND_MOST_WIDTH : INT64_MAX);
        if (why) add_memory(e, v, "scores", why);
    }
}

// What decoding keeps.
static void add_states(const Explain *e) {
    Cli *cli = e->cli;
    for (uint32_t i = 0; i < e->g->leaves.len; i++) {
        const Leaf *leaf = &e->g->leaves.ptr[i];
        if (leaf->kind != OP_STATE) continue;
        double bytes = (double)graph_elements(e->g, e->g->leaf_values.ptr[i]) *
                       (double)dtype_bytes(leaf->type);
        if (cli->options.json) {
            json_object(&cli->json);
            json_key(&cli->json, "name");
            json_string(&cli->json, leaf->path);
            key_number(&cli->json, "bytes", bytes);
            json_end(&cli->json);
            continue;
        }
        strbuf_addf(&cli->out, "    %.*s", STR_ARG(leaf->path));
        for (uint32_t k = 0; k < leaf->rank; k++)
            strbuf_addf(&cli->out, "%s%.*s=%lld", k ? ", " : " ",
                        STR_ARG(graph_axis_at(e->g, leaf->axes[k])->name),
                        (long long)graph_extent(e->g, leaf->axes[k]));
        strbuf_addz(&cli->out, ": ");
        text_bytes(&cli->out, bytes);
        strbuf_addc(&cli->out, '\n');
    }
}

// ---- the command

static void explain_text(const Explain *e) {
    double floor = 0, bytes = 0, flops = 0;
    for (uint32_t i = 0; i < e->regions->count; i++) {
        Kernel k = kernel_of(e, &e->regions->regions[i]);
        print_kernel(e, &k);
        floor += k.floor_ns, bytes += k.cost.bytes, flops += k.cost.flops;
    }
    StrBuf *out = &e->cli->out;
    strbuf_addf(out, "%u kernels, ", e->regions->count);
    text_bytes(out, bytes);
    strbuf_addz(out, ", ");
    text_count(out, flops);
    strbuf_addz(out, " flops, ");
    print_floor(e, floor);
    if (e->cli->options.grad) {
        strbuf_addz(out, "\nkept for the gradients: ");
        text_bytes(out, (double)graph_kept_bytes(e->g));
        strbuf_addz(out, ", of at least ");
        text_bytes(out, (double)graph_least_kept_bytes(e->g));
    }
    strbuf_addf(out, "\non %.*s\n\nnot fused\n",
                STR_ARG(machine_text(&e->cli->arena, &e->machine)));
    add_refusals(e);
    add_memories(e);
    residual_text(&e->residual, out);
    if (!e->cli->options.decode) return;
    strbuf_addz(out, "\nstates\n");
    add_states(e);
}

static void explain_json(const Explain *e) {
    JsonWriter *w = &e->cli->json;
    json_object(w);
    json_key(w, "machine");
    json_string(w, machine_text(&e->cli->arena, &e->machine));
    json_key(w, "kernels");
    json_array(w);
    for (uint32_t i = 0; i < e->regions->count; i++) {
        Kernel k = kernel_of(e, &e->regions->regions[i]);
        write_kernel(e, &k);
    }
    json_end(w);
    json_key(w, "not_fused");
    json_array(w);
    add_refusals(e);
    add_memories(e);
    json_end(w);
    if (e->cli->options.grad) {
        json_key(w, "kept_bytes");
        json_int(w, graph_kept_bytes(e->g));
        json_key(w, "least_kept_bytes");
        json_int(w, graph_least_kept_bytes(e->g));
    }
    residual_json(&e->residual, w);
    if (e->cli->options.decode) {
        json_key(w, "states");
        json_array(w);
        add_states(e);
        json_end(w);
    }
    json_end(w);
}

bool cmd_explain(Cli *cli) {
    EntryKind kind = cli_entry(cli);
    Explain e = {.cli = cli};
    Model model;
    Graph *g;
    if (!cli_model(cli, &model) ||
        !cli_graph(cli, &model, kind, cli_bindings(cli, kind == ENTRY_TRAIN ? TRAIN_BATCH : 1),
                   &g) ||
        !machine_find(cli, cli->level, &e.machine) ||
        (kind == ENTRY_FORWARD && !residual_traffic(cli, &model, &e.residual)))
        return false;
    e.g = g;
    e.regions = pass_fuse(g, &cli->arena);
    e.region_of = arena_array(&cli->arena, uint32_t, g->values.len);
    for (uint32_t i = 0; i < e.regions->count; i++)
        for (uint32_t k = 0; k < e.regions->regions[i].value_count; k++)
            e.region_of[e.regions->regions[i].values[k].i] = i + 1;
    if (cli->options.json)
        explain_json(&e);
    else
        explain_text(&e);
    return true;
}
