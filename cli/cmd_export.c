// cmd_export.c: parameters as a checkpoint for another program.
#include "cli/conversion.h"

bool cmd_export(Cli *cli) {
    const Options *o = &cli->options;
    Conversion c;
    TensorFile params;
    if (!cli_need(cli, o->params, "--params FILE") || !cli_need(cli, o->output, "-o DIR") ||
        !conversion_open(cli, &c) ||
        !safetensors_open(&cli->diag, &cli->arena, o->params, &params))
        return false;
    ExportRequest request = {.plan = &c.plan,
                             .params = &params,
                             .out = o->output,
                             .shard_bytes = o->shard_bytes,
                             .has_type = o->dtype.len > 0,
                             .type = cli_storage(cli),
                             .seed = o->seed,
                             .watch = conversion_watch(cli, &c, "exporting")};
    MapReport report;
    bool good = mapping_export(&cli->diag, &request, &report);
    progress_end(&c.progress);
    safetensors_close(&params);
    if (good) conversion_report(cli, &report);
    strbuf_release(&report.left_out);
    return good;
}
