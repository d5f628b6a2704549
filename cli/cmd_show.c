// cmd_show.c: the intermediate forms of a model.
#include "cli/cli.h"
#include "codegen/cuda/cuda.h"

typedef enum {
    STAGE_AST,
    STAGE_GRAPH,
    STAGE_REGIONS,
    STAGE_TILE,
    STAGE_LLVM,
    STAGE_ASM,
    STAGE_PLAN,
    STAGE_CUDA,
    STAGE_PTX,
    STAGE_COUNT
} Stage;

static const char *const stage_text[STAGE_COUNT] = {"ast", "graph", "regions", "tile", "llvm",
                                                    "asm", "plan",  "cuda",    "ptx"};
static const char *const comment_text[STAGE_COUNT] = {
    [STAGE_LLVM] = ";", [STAGE_ASM] = "#", [STAGE_PTX] = "//"};

static bool is_cuda(Stage stage) { return stage == STAGE_CUDA || stage == STAGE_PTX; }

static bool find_stage(Cli *cli, Stage *out) {
    if (!cli_need(cli, cli->options.stage, "--stage STAGE")) return false;
    for (uint32_t i = 0; i < STAGE_COUNT; i++)
        if (str_eq(cli->options.stage, str_of(stage_text[i]))) *out = (Stage)i;
    if (*out != STAGE_COUNT) return true;
    return cli_usage(cli,
                     "there is no stage '%.*s'; stages are ast, graph, regions, tile, cuda, "
                     "ptx, llvm, asm and plan",
                     STR_ARG(cli->options.stage));
}

// ---- stages of regions

// Also the name of one kernel, where a region needs several.
static bool is_wanted(const Cli *cli, Str name) {
    return !cli->options.region.len || str_eq(cli->options.region, name);
}

static void show_region_text(Cli *cli, const Regions *regions, const Region *region) {
    Regions one = *regions;
    Region copy = *region;
    one.regions = &copy;
    one.count = 1;
    one.refusal_count = 0;
    regions_print(&one, &cli->out);
}

// Forms for the other kind of target than the chosen one are shown as this machine, or the
// newest GPU with forms of its own, would have them.
static IsaLevel stage_level(const Cli *cli, Stage stage) {
    bool is_form = is_cuda(stage) || stage == STAGE_LLVM || stage == STAGE_ASM;
    if (!is_form || is_cuda(stage) == level_is_cuda(cli->level)) return cli->level;
    return is_cuda(stage) ? CUDA_SM90A : cpu_level_here();
}

static bool cuda_text(Cli *cli, Stage stage, const TileProgram *p, Str *out) {
    IsaLevel level = stage_level(cli, stage);
    CudaKernel kernel;
    if (!cuda_emit(&cli->diag, &cli->arena, p,
                   (EmitOptions){.level = level, .lines = &cli->diag}, &kernel))
        return false;
    *out = kernel.text;
    return stage == STAGE_CUDA || nvrtc_ptx(&cli->diag, &cli->arena, kernel.text, level, out);
}

static bool cpu_text(Cli *cli, Stage stage, const TileProgram *p, Str *out) {
    EmitOptions options = {.level = stage_level(cli, stage), .assembly = stage == STAGE_ASM};
    return emit_text(&cli->diag, &cli->arena, p, options, out);
}

static bool show_program(Cli *cli, Stage stage, const TileProgram *p) {
    if (stage == STAGE_TILE) {
        tile_print(p, &cli->out);
        return true;
    }
    Str text;
    if (!(is_cuda(stage) ? cuda_text(cli, stage, p, &text) : cpu_text(cli, stage, p, &text)))
        return false;
    if (stage != STAGE_CUDA)
        strbuf_addf(&cli->out, "%s %.*s\n", comment_text[stage], STR_ARG(p->name));
    strbuf_add(&cli->out, text);
    return true;
}

static bool show_region(Cli *cli, Stage stage, ScheduleChooser *chooser, const Regions *regions,
                        const Region *region) {
    Schedule schedule = schedule_choose(chooser, regions, region);
    TileKernels *kernels = region_to_tile(regions, region, &schedule, &cli->arena);
    for (uint32_t k = 0; k < kernels->kernel_count; k++) {
        if (k || cli->out.len) strbuf_addc(&cli->out, '\n');
        if (!show_program(cli, stage, kernels->kernels[k].program)) return false;
    }
    return true;
}

static bool show_regions(Cli *cli, Stage stage, const Graph *g) {
    Regions *regions = pass_fuse(g, &cli->arena);
    if (stage == STAGE_REGIONS && !cli->options.region.len) {
        regions_print(regions, &cli->out);
        return true;
    }
    if (!cli_database(cli, false)) return false;
    PlanRequest request = {.target = cli_target(cli), .run_threads = cli->options.threads};
    ScheduleChooser chooser;
    request.target.level = stage_level(cli, stage);
    schedule_chooser_init(&chooser, &cli->arena, &request);
    bool found = false;
    for (uint32_t i = 0; i < regions->count; i++) {
        const Region *region = &regions->regions[i];
        if (!is_wanted(cli, region->name)) continue;
        found = true;
        if (stage == STAGE_REGIONS)
            show_region_text(cli, regions, region);
        else if (!show_region(cli, stage, &chooser, regions, region))
            return false;
    }
    return found || cli_usage(cli, "there is no region '%.*s'; see show --stage regions",
                              STR_ARG(cli->options.region));
}

// ---- the command

static bool show_plan(Cli *cli, const Model *model, EntryKind kind) {
    Plan *plan;
    if (!cli_plan(cli, model, (EntryKinds){&kind, 1},
                  cli_bindings(cli, kind == ENTRY_TRAIN ? TRAIN_BATCH : 1), &plan))
        return false;
    plan_print(plan, &cli->out);
    return true;
}

static bool show_stage(Cli *cli, Stage stage) {
    Plan *plan;
    if (stage == STAGE_PLAN && cli_is_artifact(cli->options.model)) {
        if (!cli_artifact(cli, (EntryKinds){0}, &plan)) return false;
        plan_print(plan, &cli->out);
        return true;
    }
    Model model;
    EntryKind kind = cli_entry(cli);
    if (!cli_model(cli, &model)) return false;
    if (stage == STAGE_AST) {
        ast_print(model.program->root, &cli->out);
        return true;
    }
    if (stage == STAGE_PLAN) return show_plan(cli, &model, kind);
    Graph *g;
    if (!cli_graph(cli, &model, kind, cli_bindings(cli, cli->options.grad ? TRAIN_BATCH : 1),
                   &g))
        return false;
    if (stage != STAGE_GRAPH) return show_regions(cli, stage, g);
    graph_print(g, &cli->out);
    return true;
}

bool cmd_show(Cli *cli) {
    Stage stage = STAGE_COUNT;
    if (!find_stage(cli, &stage) || !show_stage(cli, stage)) return false;
    if (!cli->options.json) return true;
    StrBuf text = cli->out;
    cli->out = (StrBuf){0};
    json_object(&cli->json);
    json_key(&cli->json, "stage");
    json_string(&cli->json, str_of(stage_text[stage]));
    json_key(&cli->json, "text");
    json_string(&cli->json, strbuf_view(&text));
    json_end(&cli->json);
    strbuf_release(&text);
    return true;
}
