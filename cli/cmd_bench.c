// cmd_bench.c: measured times of a model.
#include "cli/bench.h"
#include "cli/machine.h"
#include "cli/session.h"
#include "runtime/names.h"

enum { SECONDS = 3 };

typedef struct {
    EntryKind kind;
    int64_t tokens;  // a run
    Bench bench;
} Result;

// Of a run: where an entry reads chunks, its input has its name.
static int64_t tokens_of(Cli *cli, const Plan *plan, EntryKind kind) {
    Str own = str_printf(&cli->arena, "%s." NAME_TOKENS, entry_name(kind));
    int i = plan_tensor_find(plan, TENSOR_INPUT, own);
    if (i < 0) i = plan_tensor_find(plan, TENSOR_INPUT, STR(NAME_TOKENS));
    return i < 0 ? 1 : plan_tensor_count(&plan->tensors[i]);
}

// Without chunks a prompt is read by a forward pass over the whole context.
static bool choose_entry(Cli *cli, EntryKind *out) {
    *out = cli_entry(cli);
    if (*out != ENTRY_PREFILL || cli_is_artifact(cli->options.model)) return true;
    Model model;
    Str reason;
    if (!cli_model(cli, &model)) return false;
    if (cli_decode_graph(cli, &model, cli_bindings(cli, 1), &reason)) return true;
    cli_say(cli, "a prefill is a forward pass over the whole context: %.*s", STR_ARG(reason));
    *out = ENTRY_INFER;
    return true;
}

static void key_number(JsonWriter *w, const char *key, double x) {
    json_key(w, key);
    json_number(w, x);
}

static void write_interval(JsonWriter *w, const Interval *ns) {
    key_number(w, "median_ms", ns->median * 1e-6);
    key_number(w, "low_ms", ns->low * 1e-6);
    key_number(w, "high_ms", ns->high * 1e-6);
}

static void print_json(Cli *cli, const Result *r) {
    JsonWriter *w = &cli->json;
    const Bench *b = &r->bench;
    json_object(w);
    json_key(w, "entry");
    json_string(w, str_of(entry_name(r->kind)));
    key_number(w, "runs", b->runs);
    write_interval(w, &b->ns);
    key_number(w, "tokens", (double)r->tokens);
    key_number(w, "tokens_per_second", (double)r->tokens / (b->ns.median * 1e-9));
    key_number(w, "flops", b->flops);
    key_number(w, "bytes", b->bytes);
    key_number(w, "floor_ms", b->floor_ns * 1e-6);
    key_number(w, "fraction_of_floor", b->floor_ns / b->ns.median);
    if (cli->options.kernels) {
        json_key(w, "kernels");
        json_array(w);
        for (uint32_t i = 0; i < b->kernel_count; i++) {
            const BenchKernel *k = &b->kernels[i];
            json_object(w);
            json_key(w, "name");
            json_string(w, k->name);
            key_number(w, "launches", k->launches);
            if (k->registers) key_number(w, "registers", k->registers);
            write_interval(w, &k->ns);
            key_number(w, "flops", k->flops);
            key_number(w, "bytes", k->bytes);
            key_number(w, "floor_ms", k->floor_ns * 1e-6);
            json_end(w);
        }
        json_end(w);
    }
    json_end(w);
}

static void print_kernels(Cli *cli, const Result *r) {
    StrBuf *out = &cli->out;
    strbuf_addf(out, "%-36s %8s %12s %22s %9s %9s %7s\n", "kernel", "launches", "ms",
                "95 % interval", "GFLOP/s", "GB/s", "floor");
    for (uint32_t i = 0; i < r->bench.kernel_count; i++) {
        const BenchKernel *k = &r->bench.kernels[i];
        double ns = k->ns.median > 0 ? k->ns.median : 1;
        strbuf_addf(out, "%-36.*s %8u %12.3f %10.3f .. %8.3f %9.1f %9.1f %5.0f %%",
                    STR_ARG(k->name), k->launches, ns * 1e-6, k->ns.low * 1e-6,
                    k->ns.high * 1e-6, k->flops / ns, k->bytes / ns, 100 * k->floor_ns / ns);
        if (k->registers) strbuf_addf(out, ", %u registers", k->registers);
        strbuf_addc(out, '\n');
    }
    strbuf_addc(out, '\n');
}

static void print_text(Cli *cli, const Result *r) {
    const Bench *b = &r->bench;
    StrBuf *out = &cli->out;
    if (cli->options.kernels) print_kernels(cli, r);
    strbuf_addf(out, "%s: ", entry_name(r->kind));
    text_duration(out, b->ns.median * 1e-9);
    strbuf_addz(out, " a run (95 %: ");
    text_duration(out, b->ns.low * 1e-9);
    strbuf_addz(out, " to ");
    text_duration(out, b->ns.high * 1e-9);
    strbuf_addf(out, ", %u runs), %lld tokens, %.0f tokens/s\n", b->runs, (long long)r->tokens,
                (double)r->tokens / (b->ns.median * 1e-9));
    text_count(out, b->flops);
    strbuf_addf(out, " flops at %.1f GFLOP/s, ", b->flops / b->ns.median);
    text_bytes(out, b->bytes);
    strbuf_addf(out, " at %.1f GB/s, floor ", b->bytes / b->ns.median);
    text_duration(out, b->floor_ns * 1e-9);
    strbuf_addf(out, " (%.0f %% of the time)\n", 100 * b->floor_ns / b->ns.median);
}

bool cmd_bench(Cli *cli) {
    const Options *o = &cli->options;
    Result r = {0};
    Machine machine;
    Loaded loaded = {0};
    bool good =
        choose_entry(cli, &r.kind) &&
        loaded_open(cli, (EntryKinds){&r.kind, 1}, o->training ? TRAIN_BATCH : 1, &loaded) &&
        machine_need(cli, cli->level, &machine);
    if (good) {
        BenchRequest request = {loaded.session, plan_entry(loaded.plan, entry_name(r.kind)),
                                SECONDS, machine.peaks};
        good = bench_entry(&cli->diag, &cli->arena, &request, &r.bench);
    }
    if (good) r.tokens = tokens_of(cli, loaded.plan, r.kind);
    session_close(loaded.session);
    if (!good) return false;
    if (o->json)
        print_json(cli, &r);
    else
        print_text(cli, &r);
    return true;
}
