// cmd_import.c: parameters from a checkpoint that another program has made.
#include "cli/conversion.h"

bool cmd_import(Cli *cli) {
    const Options *o = &cli->options;
    Conversion c;
    Sharded from;
    if (!cli_need(cli, o->from, "--from PATH") || !cli_need(cli, o->output, "-o FILE") ||
        !conversion_open(cli, &c) || !sharded_open(&cli->diag, &cli->arena, o->from, &from))
        return false;
    ImportRequest request = {.plan = &c.plan,
                             .from = &from,
                             .out = o->output,
                             .seed = o->seed,
                             .watch = conversion_watch(cli, &c, "importing")};
    MapReport report = {0};
    bool good = mapping_import(&cli->diag, &request, &report);
    progress_end(&c.progress);
    sharded_close(&from);
    if (good) conversion_report(cli, &report);
    strbuf_release(&report.left_out);
    return good;
}
