// cmd_sweep.c: variants of a model side by side.
#include "base/io.h"
#include "cli/sweep.h"

enum { STEPS = 100 };

static bool add_metric(Sweep *s, Str name) {
    for (uint32_t m = 0; m < METRIC_COUNT; m++) {
        if (!str_eq(name, str_of(metric_name(m)))) continue;
        s->wanted[m] = true;
        return true;
    }
    return cli_usage(
        s->cli, "there is no metric '%.*s'; use step, prefill, decode, memory, traffic, loss",
        STR_ARG(name));
}

static bool choose_metrics(Sweep *s) {
    Str rest = s->cli->options.metrics;
    if (!rest.len) rest = STR("step,memory,traffic");
    while (rest.len) {
        const char *comma = memchr(rest.ptr, ',', rest.len);
        size_t n = comma ? (size_t)(comma - rest.ptr) : rest.len;
        if (!add_metric(s, (Str){rest.ptr, n})) return false;
        n += comma != NULL;
        rest = (Str){rest.ptr + n, rest.len - n};
    }
    if (s->wanted[METRIC_LOSS] && !s->cli->options.data.len)
        return cli_usage(s->cli, "the metric loss needs --data FILE");
    return true;
}

// ---- variants

// The label is also the name of a directory.
static Str label_of(Arena *arena, const Setting *varied, uint32_t count) {
    StrBuf text = {0};
    for (uint32_t i = 0; i < count; i++)
        strbuf_addf(&text, "%s%.*s=%.*s", i ? " " : "", STR_ARG(varied[i].name),
                    STR_ARG(varied[i].value));
    Str label = str_copy(arena, strbuf_view(&text));
    strbuf_release(&text);
    return label;
}

// Combination `number`, the last variation changing fastest.
static SweepPoint combination(Cli *cli, uint32_t number) {
    const Options *o = &cli->options;
    uint32_t n = o->variations.len;
    Setting *varied = arena_array(&cli->arena, Setting, n);
    for (uint32_t i = n; i-- > 0;) {
        const Variation *v = &o->variations.ptr[i];
        varied[i] = (Setting){v->name, v->values[number % v->count]};
        number /= v->count;
    }
    SweepPoint p = {.model = o->model, .varied = varied, .varied_count = n};
    p.label = label_of(&cli->arena, varied, n);
    vec_each (const Setting, s, &o->settings)
        vec_push(&cli->arena, &p.settings, *s);
    for (uint32_t i = 0; i < n; i++)
        vec_push(&cli->arena, &p.settings, varied[i]);
    return p;
}

static Str file_stem(Str path) {
    size_t start = path.len;
    while (start > 0 && path.ptr[start - 1] != '/')
        start--;
    Str name = {path.ptr + start, path.len - start}, suffix = STR(".strata");
    if (str_ends(name, suffix)) name.len -= suffix.len;
    return name;
}

// What is varied is a setting of the first model; another need not have it.
static SweepPoint compared(Cli *cli, Str model) {
    const Options *o = &cli->options;
    SweepPoint p = {.label = file_stem(model), .model = model};
    vec_each (const Setting, s, &o->settings) {
        bool varied = false;
        vec_each (const Variation, v, &o->variations)
            varied |= str_eq(v->name, s->name);
        if (!varied) vec_push(&cli->arena, &p.settings, *s);
    }
    return p;
}

static bool list_points(Sweep *s) {
    Cli *cli = s->cli;
    const Options *o = &cli->options;
    enum { MOST = 200 };
    uint64_t combinations = 1;
    vec_each (const Variation, v, &o->variations) {
        combinations *= v->count;
        if (combinations > MOST) return cli_usage(cli, "more than %d combinations", MOST);
    }
    s->count = (uint32_t)combinations + o->compare.len;
    s->points = arena_array(&cli->arena, SweepPoint, s->count);
    for (uint32_t i = 0; i < combinations; i++)
        s->points[i] = combination(cli, i);
    for (uint32_t i = 0; i < o->compare.len; i++)
        s->points[combinations + i] = compared(cli, o->compare.ptr[i]);
    return true;
}

// ---- the command

static bool measure_all(Sweep *s) {
    while (s->done < s->count) {
        // What was measured so far is worth keeping, whatever stops the next.
        bool good = sweep_measure(s);
        if (!sweep_results_write(s) || !good) return false;
        cli_flush(s->cli);
    }
    return true;
}

bool cmd_sweep(Cli *cli) {
    const Options *o = &cli->options;
    Sweep s = {.cli = cli, .steps = o->steps > 0 ? o->steps : STEPS};
    Str page;
    if (!o->variations.len) return cli_usage(cli, "sweep needs --vary NAME=V1,V2,...");
    if (!cli_need(cli, o->output, "-o DIR") || !choose_metrics(&s) || !list_points(&s) ||
        !io_make_directories(&cli->diag, o->output) ||
        !machine_need(cli, cli->level, &s.machine) || !measure_all(&s) ||
        !sweep_report_write(&s, &page))
        return false;
    if (o->json) {
        sweep_json(&s, &cli->json);
    } else {
        sweep_text(&s, &cli->out);
        strbuf_addf(&cli->out, "%.*s\n", STR_ARG(page));
    }
    return true;
}
