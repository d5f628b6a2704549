// cmd_pending.c: commands whose lower layers are being built.
#include "cli/cli.h"

static bool pending(Cli *cli) {
    return diag_fail(&cli->diag, FAIL_ENVIRONMENT, "this version of strata has no %s",
                     command_name(cli->options.command));
}

bool cmd_sweep(Cli *cli) { return pending(cli); }
