// conversion.c: a model's tensors and a mapping, and what came of them.
#include "cli/conversion.h"

#include "cli/interrupt.h"
#include "cli/leaves.h"

enum { MEGABYTE = 1000000 };

bool conversion_open(Cli *cli, Conversion *out) {
    const Options *o = &cli->options;
    Model model;
    Graph *g;
    *out = (Conversion){0};
    if (!cli_need(cli, o->map, "--map FILE") || !cli_model(cli, &model) ||
        !cli_elaborate(cli, &model, &g) ||
        !mapping_read(&cli->diag, &cli->arena, o->map, &out->mapping))
        return false;
    cli_flush(cli);
    out->plan.mapping = &out->mapping;
    out->plan.ours = leaf_tensors(&cli->arena, g, &out->plan.our_count);
    return map_plan_make(&cli->diag, &cli->arena, &out->plan);
}

static void show(void *context, int64_t done, int64_t total) {
    progress_show(context, (double)done / MEGABYTE, (double)total / MEGABYTE, "%s", "");
}

MapWatch conversion_watch(Cli *cli, Conversion *c, const char *what) {
    c->progress.quiet = cli->options.verbosity < 0;
    progress_begin(&c->progress, what, "MB", 0);
    return (MapWatch){.stop = interrupt_catch(), .progress = show, .context = &c->progress};
}

void conversion_report(Cli *cli, const MapReport *r) {
    if (r->left_out_count)
        cli_say(cli, "%u tensor%s left out: %s", r->left_out_count,
                r->left_out_count == 1 ? " is" : "s are", r->left_out.ptr);
    Str path = cli->options.output;
    if (cli->options.json) {
        json_object(&cli->json);
        json_key(&cli->json, "path");
        json_string(&cli->json, path);
        json_key(&cli->json, "files");
        json_int(&cli->json, r->files);
        json_key(&cli->json, "tensors");
        json_int(&cli->json, r->tensors);
        json_key(&cli->json, "initial");
        json_int(&cli->json, r->initial);
        json_key(&cli->json, "elements");
        json_int(&cli->json, r->elements);
        json_end(&cli->json);
        return;
    }
    strbuf_addf(&cli->out, "%.*s: %u tensors, %lld elements", STR_ARG(path), r->tensors,
                (long long)r->elements);
    if (r->files > 1) strbuf_addf(&cli->out, ", %u files", r->files);
    if (r->initial) strbuf_addf(&cli->out, "; %u have initial values", r->initial);
    strbuf_addc(&cli->out, '\n');
}
