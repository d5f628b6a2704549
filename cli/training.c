// training.c: options of train_run.
#include "cli/training.h"

static Str optimizer_text(Cli *cli) {
    const Options *o = &cli->options;
    if (cli_is_artifact(o->model)) return STR("as compiled");
    StrBuf text = {0};
    strbuf_add(&text, cli_train_setup(cli).optimizer);
    vec_each (const Setting, s, &o->optimizer_settings)
        strbuf_addf(&text, " %.*s=%.*s", STR_ARG(s->name), STR_ARG(s->value));
    Str copy = str_copy(&cli->arena, strbuf_view(&text));
    strbuf_release(&text);
    return copy;
}

static bool schedule_of(Cli *cli, int64_t steps, LrSchedule *out) {
    const Options *o = &cli->options;
    *out = (LrSchedule){.lr = o->lr, .steps = steps};
    if (!lr_kind_parse(o->schedule, &out->kind))
        return cli_usage(cli,
                         "there is no schedule '%.*s'; use constant, cosine, wsd or wsd-sqrt",
                         STR_ARG(o->schedule));
    out->floor = o->floor >= 0 ? o->floor : o->lr / 10;
    out->warmup = o->warmup >= 0 ? o->warmup : steps / 20;
    // The last fifth, as is usual.
    out->decay = steps / 5;
    return lr_schedule_check(&cli->diag, out);
}

bool training_options(Cli *cli, int64_t steps, TrainOptions *out) {
    const Options *o = &cli->options;
    *out = (TrainOptions){.data = o->data.ptr,
                          .data_count = o->data.len,
                          .eval_data = o->eval_data.ptr,
                          .eval_count = o->eval_data.len,
                          .steps = steps,
                          .clip = o->clip,
                          .accumulate = (uint32_t)o->accumulate,
                          .seed = o->seed,
                          .optimizer = optimizer_text(cli),
                          .eval_every = o->eval_every > 0 ? o->eval_every : 0};
    return schedule_of(cli, steps, &out->schedule);
}
