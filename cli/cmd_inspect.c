// cmd_inspect.c: what a trained model does across its depth.
#include "base/io.h"
#include "cli/inspect.h"

bool cmd_inspect(Cli *cli) {
    const Options *o = &cli->options;
    Inspection in = {.cli = cli};
    Str page;
    if (!cli_need(cli, o->params, "--params FILE")) return false;
    if (!o->data.len) return cli_usage(cli, "inspect needs --data FILE");
    if (!cli_need(cli, o->output, "-o DIR") || !inspect_graph(&in) || !inspect_measure(&in) ||
        !io_make_directories(&cli->diag, o->output) || !inspect_results_write(&in) ||
        !inspect_report_write(&in, &page))
        return false;
    if (o->json) {
        inspect_json(&in, &cli->json);
    } else {
        inspect_text(&in, &cli->out);
        strbuf_addf(&cli->out, "%.*s\n", STR_ARG(page));
    }
    return true;
}
