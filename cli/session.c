// session.c: opening what a command runs.
#include "cli/session.h"

#include "runtime/cuda/ask.h"

bool loaded_open(Cli *cli, EntryKinds entries, int64_t batch, Loaded *out) {
    const Options *o = &cli->options;
    *out = (Loaded){0};
    if (cli_is_artifact(o->model)) {
        if (!cli_artifact(cli, entries, &out->plan)) return false;
    } else {
        Model model;
        CudaAnswer gpu;
        // Before minutes of compiling.
        if (level_is_cuda(cli->level) &&
            !cuda_look(&cli->diag, &cli->arena, str_of(isa_level_text(cli->level)), &gpu))
            return false;
        if (!cli_model(cli, &model) ||
            !cli_plan(cli, &model, entries, cli_bindings(cli, batch), &out->plan))
            return false;
    }
    cli_flush(cli);
    return session_open(&cli->diag, out->plan, o->threads, &out->session);
}
