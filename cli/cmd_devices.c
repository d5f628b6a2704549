// cmd_devices.c: what can be targeted here.
#include "cli/machine.h"
#include "runtime/gemm.h"

static void print_json(Cli *cli, const TuneContext *c, const MachinePeaks *p) {
    JsonWriter *w = &cli->json;
    json_object(w);
    json_key(w, "devices");
    json_array(w);
    json_object(w);
    json_key(w, "target");
    json_string(w, STR("cpu"));
    json_key(w, "name");
    json_string(w, c->cpu);
    json_key(w, "features");
    json_string(w, str_of(cpu_level_text(c->level)));
    json_key(w, "threads");
    json_int(w, c->threads);
    json_key(w, "flops_per_second");
    json_number(w, p->flops);
    json_key(w, "read_bytes_per_second");
    json_number(w, p->read_bytes);
    json_key(w, "emitter");
    json_string(w, c->emitter);
    json_key(w, "library");
    json_bool(w, gemm_available());
    json_end(w);
    json_end(w);
    json_end(w);
}

bool cmd_devices(Cli *cli) {
    TuneContext c = machine_context(cli);
    MachinePeaks p;
    if (!machine_measure(cli, &c, &p)) return false;
    if (cli->options.json) {
        print_json(cli, &c, &p);
        return true;
    }
    strbuf_addf(&cli->out, "cpu  %.*s, %s, %u threads\n", STR_ARG(c.cpu),
                cpu_level_text(c.level), c.threads);
    strbuf_addf(&cli->out, "     measured peaks: %.1f GFLOP/s in f32, %.1f GB/s read\n",
                p.flops * 1e-9, p.read_bytes * 1e-9);
    strbuf_addf(&cli->out, "     emitter %.*s; library for contractions: %s\n",
                STR_ARG(c.emitter), gemm_available() ? "oneDNN" : "none");
    return true;
}
