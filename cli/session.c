// session.c: opening what a command runs.
#include "cli/session.h"

bool loaded_open(Cli *cli, EntryKinds entries, int64_t batch, Loaded *out) {
    const Options *o = &cli->options;
    *out = (Loaded){0};
    if (cli_is_artifact(o->model)) {
        if (!cli_artifact(cli, entries, &out->plan)) return false;
    } else {
        Model model;
        if (!cli_model(cli, &model) ||
            !cli_plan(cli, &model, entries, cli_bindings(cli, batch), &out->plan))
            return false;
    }
    cli_flush(cli);
    return session_open(&cli->diag, out->plan, o->threads, &out->session);
}
