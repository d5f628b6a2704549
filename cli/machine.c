// machine.c: this machine's CPU or GPU.
#include "cli/machine.h"

#include "autotune/cuda_peaks.h"
#include "autotune/tune_context.h"

bool machine_find(Cli *cli, IsaLevel level, Machine *out) {
    CudaAnswer gpu;
    bool cuda = level_is_cuda(level);
    *out = (Machine){.here = !cuda ||
                             cuda_look(NULL, &cli->arena, str_of(isa_level_text(level)), &gpu)};
    out->context =
        tune_context(&cli->arena, level, cli->options.threads, cuda && out->here ? &gpu : NULL);
    out->hash = tune_context_hash(&out->context);
    if (!cli_database(cli, false)) return false;
    if (!out->here) return true;
    if (cli->db) database_context_add(cli->db, &out->context);
    if (!cuda) return machine_peaks(&cli->diag, cli->db, &out->context, &out->peaks);
    out->peaks = cuda_peaks_measured(cli->db, &out->context, &gpu.device);
    return true;
}

bool machine_need(Cli *cli, IsaLevel level, Machine *out) {
    CudaAnswer gpu;
    return machine_find(cli, level, out) &&
           (out->here ||
            cuda_look(&cli->diag, &cli->arena, str_of(isa_level_text(level)), &gpu));
}

Str machine_text(Arena *arena, const Machine *machine) {
    const TuneContext *c = &machine->context;
    const char *level = isa_level_text(c->level);
    if (level_is_cuda(c->level)) return str_printf(arena, "%.*s (%s)", STR_ARG(c->cpu), level);
    return str_printf(arena, "%.*s (%s, %u threads)", STR_ARG(c->cpu), level, c->threads);
}
