// cmd_init.c: the initial parameters of a model as a file.
#include "cli/cli.h"
#include "cli/leaves.h"
#include "runtime/init.h"
#include "runtime/safetensors.h"

bool cmd_init(Cli *cli) {
    Model model;
    Graph *g;
    if (!cli_need(cli, cli->options.output, "-o FILE") || !cli_model(cli, &model) ||
        !cli_elaborate(cli, &model, &g))
        return false;
    StoredTensor *tensors = arena_array(&cli->arena, StoredTensor, g->leaves.len);
    TensorFile file = {.path = cli->options.output, .tensors = tensors};
    int64_t elements = 0;
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        if (g->leaves.ptr[i].kind != OP_PARAM) continue;
        PlanTensor t = leaf_tensor(&cli->arena, g, &g->leaves.ptr[i]);
        void *data = arena_alloc(&cli->arena, (size_t)plan_tensor_bytes(&t), 1);
        init_tensor(&t, cli->options.seed, data);
        tensors[file.tensor_count++] = stored_of(&t, data);
        elements += plan_tensor_count(&t);
    }
    if (!safetensors_write(&cli->diag, &file)) return false;
    if (cli->options.json) {
        json_object(&cli->json);
        json_key(&cli->json, "path");
        json_string(&cli->json, cli->options.output);
        json_key(&cli->json, "tensors");
        json_int(&cli->json, file.tensor_count);
        json_key(&cli->json, "parameters");
        json_int(&cli->json, elements);
        json_end(&cli->json);
    } else {
        strbuf_addf(&cli->out, "%.*s: %u tensors, %lld parameters\n",
                    STR_ARG(cli->options.output), file.tensor_count, (long long)elements);
    }
    return true;
}
