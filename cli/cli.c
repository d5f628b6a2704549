// cli.c: the steps that several commands share.
#include "cli/cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "runtime/cuda/ask.h"

void cli_say(const Cli *cli, const char *fmt, ...) {
    if (cli->options.verbosity < 0) return;
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void cli_detail(const Cli *cli, const char *fmt, ...) {
    if (cli->options.verbosity < 1) return;
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void cli_flush(Cli *cli) {
    StrBuf text = {0};
    diag_render(&cli->diag, &text);
    if (text.len) fwrite(text.ptr, 1, text.len, stderr);
    strbuf_release(&text);
    cli->diag.item_count = 0;
    cli->diag.error_count = 0;
}

bool cli_usage(Cli *cli, const char *fmt, ...) {
    StrBuf text = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    diag_fail(&cli->diag, FAIL_USAGE, "%s", text.ptr);
    strbuf_release(&text);
    return false;
}

bool cli_need(Cli *cli, Str value, const char *option) {
    if (value.len) return true;
    return cli_usage(cli, "%s needs %s", command_name(cli->options.command), option);
}

// ---- models

bool cli_is_artifact(Str path) { return str_ends(path, STR(".sta")); }

bool cli_model(Cli *cli, Model *out) {
    const Options *o = &cli->options;
    if (cli_is_artifact(o->model))
        return cli_usage(cli, "%s needs the model's source, not an artifact",
                         command_name(o->command));
    return model_load(&cli->diag, &cli->arena, o->model,
                      (Settings){o->settings.ptr, o->settings.len}, out);
}

bool cli_elaborate(Cli *cli, const Model *model, Graph **out) {
    Elaboration *e;
    if (!ast_to_graph(&cli->diag, &cli->arena, model->program, model->settings, &e))
        return false;
    *out = elaboration_graph(e);
    return true;
}

static bool is_set(const Options *o, const char *name) {
    for (uint32_t i = 0; i < o->settings.len; i++)
        if (str_eq(o->settings.ptr[i].name, str_of(name))) return true;
    return false;
}

Bindings cli_bindings(Cli *cli, int64_t batch) {
    enum { CONTEXT = 256 };
    const Options *o = &cli->options;
    Binding *items = arena_array(&cli->arena, Binding, 2);
    uint32_t n = 0;
    if (o->batch > 0 || !is_set(o, "B"))
        items[n++] = (Binding){STR("B"), o->batch > 0 ? o->batch : batch};
    if (o->context > 0 || !is_set(o, "T"))
        items[n++] = (Binding){STR("T"), o->context > 0 ? o->context : CONTEXT};
    return (Bindings){items, n};
}

TrainSetup cli_train_setup(const Cli *cli) {
    const Options *o = &cli->options;
    return (TrainSetup){o->optimizer.len ? o->optimizer : STR("adamw"),
                        {o->optimizer_settings.ptr, o->optimizer_settings.len}};
}

static TwoPhase two_phase(const Cli *cli) {
    Str choice = cli->options.two_phase;
    if (!choice.len) return TWO_PHASE_BYTES;
    return str_eq(choice, STR("on")) ? TWO_PHASE_ALWAYS : TWO_PHASE_NEVER;
}

static ModelGraphRequest graph_request(const Cli *cli, const Model *model, EntryKind kind,
                                       const TrainSetup *setup, Bindings bindings) {
    return (ModelGraphRequest){.model = model,
                               .kind = kind,
                               .bindings = bindings,
                               .setup = setup,
                               .storage = cli_storage(cli),
                               .level = cli->level,
                               .two_phase = two_phase(cli)};
}

// As in a plan of this entry alone.
static Graph *weights_low(Cli *cli, const Graph *g) {
    WeightUse *use = arena_array(&cli->arena, WeightUse, g->leaves.len);
    weights_find(g, use);
    return pass_weights(g, &cli->arena, use);
}

EntryKind cli_entry(const Cli *cli) {
    const Options *o = &cli->options;
    if (o->grad || o->training) return ENTRY_TRAIN;
    if (o->decode) return ENTRY_DECODE;
    return o->prefill ? ENTRY_PREFILL : ENTRY_FORWARD;
}

bool cli_graph(Cli *cli, const Model *model, EntryKind kind, Bindings bindings, Graph **out) {
    TrainSetup setup = cli_train_setup(cli);
    ModelGraphRequest request = graph_request(cli, model, kind, &setup, bindings);
    if (!model_graph(&cli->diag, &cli->arena, &request, out) || !cli_all_bound(cli, *out))
        return false;
    if (kind < ENTRY_GRAD && cli_storage(cli) == DTYPE_BF16) *out = weights_low(cli, *out);
    return true;
}

bool cli_marked_graph(Cli *cli, const Model *model, Bindings bindings, Graph **out,
                      Sublayers *sublayers) {
    TrainSetup setup = cli_train_setup(cli);
    ModelGraphRequest request = graph_request(cli, model, ENTRY_FORWARD, &setup, bindings);
    return model_marked_graph(&cli->diag, &cli->arena, &request, out, sublayers) &&
           cli_all_bound(cli, *out);
}

const Graph *cli_decode_graph(Cli *cli, const Model *model, Bindings bindings, Str *reason) {
    TrainSetup setup = cli_train_setup(cli);
    ModelGraphRequest request = graph_request(cli, model, ENTRY_DECODE, &setup, bindings);
    Diag tried;
    Graph *g;
    diag_init(&tried, &cli->arena);
    if (model_graph(&tried, &cli->arena, &request, &g)) return g;
    *reason = tried.item_count ? tried.items[0].message : STR("");
    return NULL;
}

bool cli_all_bound(Cli *cli, const Graph *g) {
    for (uint32_t a = 1; a < g->axes.len; a++) {
        const Axis *axis = &g->axes.ptr[a];
        if (axis->extent == EXTENT_UNKNOWN)
            return cli_usage(cli, "axis %.*s needs an extent: --set %.*s=N",
                             STR_ARG(axis->name), STR_ARG(axis->name));
    }
    return true;
}

// ---- plans

static Str database_default(Arena *arena) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache) return str_printf(arena, "%s/strata/tune.db", cache);
    if (home && *home) return str_printf(arena, "%s/.cache/strata/tune.db", home);
    return (Str){0};
}

bool cli_database(Cli *cli, bool must) {
    if (cli->db) return true;
    const char *named = getenv("STRATA_DB");
    Str path = cli->options.db;
    if (!path.len && named) path = str_of(named);
    bool chosen = path.len > 0;
    if (!chosen) path = database_default(&cli->arena);
    if (!path.len) {
        if (!must) return true;
        return cli_usage(cli, "where is the database? $HOME is not set; use --db FILE");
    }
    cli_detail(cli, "tuning database %.*s", STR_ARG(path));
    if (chosen || must) return database_open(&cli->diag, path, &cli->db);
    Diag tried;
    diag_init(&tried, &cli->arena);
    if (database_open(&tried, path, &cli->db)) return true;
    cli->db = NULL;
    Str why = tried.item_count ? tried.items[0].message : STR("it cannot be opened");
    diag_warning(&cli->diag, (Span){0}, "going on without a tuning database: %.*s: %.*s",
                 STR_ARG(path), STR_ARG(why));
    return true;
}

static void show_compiling(void *context, uint32_t done, uint32_t count) {
    progress_show(context, done, count, "%s", "");
}

DType cli_storage(const Cli *cli) {
    Str chosen = cli->options.dtype;
    if (chosen.len) return str_eq(chosen, STR("bf16")) ? DTYPE_BF16 : DTYPE_F32;
    return level_is_cuda(cli->level) ? DTYPE_BF16 : DTYPE_F32;
}

// The architecture of the first GPU that code can be compiled for. False: there is none, and
// with `diag` that is said.
static bool gpu_level(Cli *cli, Diag *diag, IsaLevel *out) {
    CudaAnswer gpu;
    return cuda_ask(diag, (Str){0}, &gpu) &&
           isa_level_parse(cuda_device_arch(&cli->arena, &gpu.device), out);
}

// "cuda:sm_90a", also of a plan; whatever names no architecture is this CPU's.
static void set_level(Cli *cli, Str target) {
    Str cuda = STR("cuda:");
    cli->level = cpu_level_here();
    if (str_starts(target, cuda))
        isa_level_parse((Str){target.ptr + cuda.len, target.len - cuda.len}, &cli->level);
}

bool cli_choose_target(Cli *cli) {
    Str target = cli->options.target;
    set_level(cli, target);
    if (!target.len) gpu_level(cli, NULL, &cli->level);
    return !str_eq(target, STR("cuda")) || gpu_level(cli, &cli->diag, &cli->level);
}

CompileTarget cli_target(Cli *cli) {
    progress_begin(&cli->compiling, "compiling", "kernels", 0);
    return (CompileTarget){.level = cli->level,
                           .threads = cli->options.threads,
                           .db = cli->db,
                           .line_tables = getenv("STRATA_DEBUG") != NULL,
                           .progress = show_compiling,
                           .progress_context = &cli->compiling};
}

bool cli_plan(Cli *cli, const Model *model, EntryKinds entries, Bindings bindings, Plan **out) {
    if (!cli_database(cli, false)) return false;
    ModelPlanRequest request = {.entries = entries.items,
                                .entry_count = entries.count,
                                .bindings = bindings,
                                .setup = cli_train_setup(cli),
                                .storage = cli_storage(cli),
                                .target = cli_target(cli),
                                .run_threads = cli->options.threads,
                                .two_phase = two_phase(cli)};
    double start = clock_seconds();
    bool good = model_plan(&cli->diag, &cli->arena, model, &request, out);
    progress_end(&cli->compiling);
    if (good)
        cli_detail(cli, "%u kernels ready after %.2f s", (*out)->kernel_count,
                   clock_seconds() - start);
    return good;
}

bool cli_artifact(Cli *cli, EntryKinds entries, Plan **out) {
    const Options *o = &cli->options;
    const char *fixed = o->settings.len  ? "--set"
                        : o->batch > 0   ? "--batch"
                        : o->context > 0 ? "--context"
                        : o->optimizer.len || o->optimizer_settings.len
                            ? "--optimizer and --opt"
                            : NULL;
    if (fixed) return cli_usage(cli, "%s: not with an artifact, in which that is fixed", fixed);
    if (!plan_read(&cli->diag, &cli->arena, o->model, out)) return false;
    set_level(cli, (*out)->target);
    for (uint32_t i = 0; i < entries.count; i++) {
        if (plan_entry(*out, entry_name(entries.items[i]))) continue;
        const char *how = entries.items[i] >= ENTRY_ACCUMULATE ? "train --accumulate N"
                          : entries.items[i] >= ENTRY_GRAD     ? "train"
                                                               : "infer";
        return diag_file_error(&cli->diag, FAIL_INPUT, o->model,
                               "the artifact has no '%s'; compile it with --mode %s",
                               entry_name(entries.items[i]), how);
    }
    return true;
}

// ---- text

static void scaled(StrBuf *out, double x, double step, const char *const *units) {
    uint32_t i = 0;
    while (x >= step * 0.9995 && units[i + 1])
        x /= step, i++;
    strbuf_addf(out, "%.*f%s", i == 0 || x >= 100 ? 0 : x >= 10 ? 1 : 2, x, units[i]);
}

void text_bytes(StrBuf *out, double bytes) {
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", NULL};
    scaled(out, bytes, 1024, units);
}

void text_count(StrBuf *out, double x) {
    static const char *const units[] = {"", " k", " M", " G", " T", " P", NULL};
    scaled(out, x, 1000, units);
}

void text_duration(StrBuf *out, double seconds) {
    if (seconds < 1e-3)
        strbuf_addf(out, "%.1f us", seconds * 1e6);
    else if (seconds < 1)
        strbuf_addf(out, "%.2f ms", seconds * 1e3);
    else if (seconds < 60)
        strbuf_addf(out, "%.1f s", seconds);
    else if (seconds < 3600)
        strbuf_addf(out, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else
        strbuf_addf(out, "%.0f h %02d min", floor(seconds / 3600), (int)(seconds / 60) % 60);
}
