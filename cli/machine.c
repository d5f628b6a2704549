// machine.c: this machine.
#include "cli/machine.h"

TuneContext machine_context(Cli *cli) {
    return (TuneContext){.cpu = cpu_name_here(&cli->arena),
                         .level = cpu_level_here(),
                         .threads = cli->options.threads,
                         .emitter = emitter_version(&cli->arena, cpu_level_here())};
}

bool machine_measure(Cli *cli, const TuneContext *context, MachinePeaks *out) {
    if (!cli_database(cli, false)) return false;
    if (cli->db) database_context_add(cli->db, context);
    return machine_peaks(&cli->diag, cli->db, context, out);
}
