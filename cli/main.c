// main.c: the strata command: options, one command, its result on stdout, messages on stderr,
// the exit status (docs/cli.md).
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "autotune/database.h"
#include "cli/cli.h"

static bool run_command(Cli *cli) {
    switch (cli->options.command) {
#define COMMAND(NAME, name, ...) \
    case COMMAND_##NAME:         \
        return cmd_##name(cli);
#include "cli/commands.def"
#undef COMMAND
    case COMMAND_COUNT: break;
    }
    return false;
}

static bool print_result(Cli *cli) {
    size_t n = cli->out.len;
    bool good = !n || (fwrite(cli->out.ptr, 1, n, stdout) == n &&
                       (cli->out.ptr[n - 1] == '\n' || putchar('\n') != EOF));
    good = !fflush(stdout) && good;
    if (good) return true;
    return diag_fail(&cli->diag, FAIL_ENVIRONMENT, "the result cannot be written to stdout: %s",
                     strerror(errno));
}

int main(int argc, char **argv) {
    Cli cli = {0};
    diag_init(&cli.diag, &cli.arena);
    json_init(&cli.json, &cli.out, true);
    bool good = options_parse(&cli.diag, &cli.arena, argc, argv, &cli.options);
    cli.compiling.quiet = cli.options.verbosity < 0;
    good = good && cli_choose_target(&cli) && run_command(&cli);
    progress_end(&cli.compiling);
    // An interrupted command may still have a result.
    if (good || cli.diag.fail == FAIL_INTERRUPTED) good = print_result(&cli) && good;
    int status = good ? FAIL_NONE : cli.diag.fail ? (int)cli.diag.fail : FAIL_INPUT;
    cli_flush(&cli);
    database_close(cli.db);
    strbuf_release(&cli.out);
    arena_release(&cli.arena);
    return status;
}
