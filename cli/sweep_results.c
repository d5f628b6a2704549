// sweep_results.c: what a sweep found, as JSON and as a table.
#include <math.h>

#include "base/io.h"
#include "cli/sweep.h"

// ---- JSON

static void key_number(JsonWriter *w, const char *key, double x) {
    json_key(w, key);
    json_number(w, x);
}

static void write_interval(JsonWriter *w, const char *key, const Interval *x) {
    json_key(w, key);
    json_object(w);
    key_number(w, "median", x->median);
    key_number(w, "low", x->low);
    key_number(w, "high", x->high);
    json_end(w);
}

// The number, and its interval where there are several seeds.
static void write_loss(JsonWriter *w, const char *key, const SeedMean *x) {
    key_number(w, key, x->mean);
    if (!(x->low < x->high)) return;
    StrBuf name = {0};
    strbuf_addf(&name, "%s_interval", key);
    json_key(w, name.ptr);
    json_array(w);
    json_number(w, x->low);
    json_number(w, x->high);
    json_end(w);
    strbuf_release(&name);
}

static void write_losses(JsonWriter *w, const SweepPoint *p) {
    json_key(w, "losses");
    json_array(w);
    for (uint32_t i = 0; i < p->losses.len; i++)
        json_number(w, p->losses.ptr[i]);
    json_end(w);
}

static void write_fronts(const Sweep *s, JsonWriter *w, const SweepPoint *p) {
    json_key(w, "on_front");
    json_array(w);
    for (uint32_t m = 0; m < METRIC_LOSS; m++)
        if (s->wanted[m] && sweep_on_front(s, (uint32_t)(p - s->points), m))
            json_string(w, str_of(metric_name(m)));
    json_end(w);
}

static void write_curve(JsonWriter *w, const SweepPoint *p) {
    json_key(w, "curve");
    json_array(w);
    for (uint32_t i = 0; i < p->curve_loss.len; i++) {
        json_array(w);
        json_number(w, p->curve_steps.ptr[i]);
        json_number(w, p->curve_loss.ptr[i]);
        json_end(w);
    }
    json_end(w);
}

static void write_point(const Sweep *s, const SweepPoint *p, JsonWriter *w) {
    json_object(w);
    json_key(w, "label");
    json_string(w, p->label);
    json_key(w, "model");
    json_string(w, p->model);
    json_key(w, "settings");
    json_object(w);
    for (uint32_t i = 0; i < p->varied_count; i++) {
        json_key_str(w, p->varied[i].name);
        json_string(w, p->varied[i].value);
    }
    json_end(w);
    if (p->parameters) {
        json_key(w, "parameters");
        json_int(w, p->parameters);
    }
    if (s->wanted[METRIC_STEP]) write_interval(w, "step_ms", &p->step_ms);
    if (s->wanted[METRIC_PREFILL]) write_interval(w, "prefill_ms", &p->prefill_ms);
    if (s->wanted[METRIC_DECODE]) write_interval(w, "decode_ms", &p->decode_ms);
    if (s->wanted[METRIC_MEMORY]) key_number(w, "memory_bytes", p->memory_bytes);
    if (s->wanted[METRIC_TRAFFIC]) key_number(w, "traffic_bytes", p->traffic_bytes);
    if (s->wanted[METRIC_LOSS]) {
        write_loss(w, "loss", &p->loss);
        if (!isnan(p->eval_loss.mean)) write_loss(w, "eval_loss", &p->eval_loss);
        if (s->cli->options.seeds > 1) write_loss(w, "against_first", &p->against_first);
        write_losses(w, p);
        write_curve(w, p);
        write_fronts(s, w, p);
    }
    json_end(w);
}

void sweep_json(const Sweep *s, JsonWriter *w) {
    json_object(w);
    json_key(w, "model");
    json_string(w, s->cli->options.model);
    json_key(w, "complete");
    json_bool(w, s->done == s->count);
    json_key(w, "points");
    json_array(w);
    for (uint32_t i = 0; i < s->done; i++)
        write_point(s, &s->points[i], w);
    json_end(w);
    json_end(w);
}

bool sweep_results_write(Sweep *s) {
    Cli *cli = s->cli;
    Str path = str_printf(&cli->arena, "%.*s/results.json", STR_ARG(cli->options.output));
    StrBuf text = {0};
    JsonWriter w;
    json_init(&w, &text, true);
    sweep_json(s, &w);
    strbuf_addc(&text, '\n');
    bool good = io_write(&cli->diag, path, text.ptr, text.len);
    strbuf_release(&text);
    return good;
}

// ---- text

static void add_difference(StrBuf *out, const SeedMean *x) {
    strbuf_addf(out, " %12.4f", x->mean);
    if (x->low < x->high) strbuf_addf(out, " +- %.4f", x->high - x->mean);
}

void sweep_text(const Sweep *s, StrBuf *out) {
    int width = 24;
    for (uint32_t i = 0; i < s->done; i++)
        width = (int)s->points[i].label.len > width ? (int)s->points[i].label.len : width;
    strbuf_addf(out, "%-*s %10s", width, "", "parameters");
    static const char *const heads[METRIC_COUNT] = {"ms a step", "ms prefill", "ms a token",
                                                    "memory",    "traffic",    "loss"};
    for (uint32_t m = 0; m < METRIC_COUNT; m++)
        if (s->wanted[m]) strbuf_addf(out, " %12s", heads[m]);
    bool held_out = s->cli->options.eval_data.len && s->wanted[METRIC_LOSS];
    bool paired = s->cli->options.seeds > 1 && s->wanted[METRIC_LOSS];
    strbuf_addf(out, "%s%s\n", held_out ? "     held-out" : "",
                paired ? " against first (95 %)" : "");
    for (uint32_t i = 0; i < s->done; i++) {
        const SweepPoint *p = &s->points[i];
        StrBuf memory = {0}, traffic = {0}, parameters = {0};
        text_bytes(&memory, p->memory_bytes);
        text_bytes(&traffic, p->traffic_bytes);
        text_count(&parameters, (double)p->parameters);
        strbuf_addf(out, "%-*.*s %10s", width, STR_ARG(p->label), parameters.ptr);
        if (s->wanted[METRIC_STEP]) strbuf_addf(out, " %12.2f", p->step_ms.median);
        if (s->wanted[METRIC_PREFILL]) strbuf_addf(out, " %12.2f", p->prefill_ms.median);
        if (s->wanted[METRIC_DECODE]) strbuf_addf(out, " %12.3f", p->decode_ms.median);
        if (s->wanted[METRIC_MEMORY]) strbuf_addf(out, " %12s", memory.ptr);
        if (s->wanted[METRIC_TRAFFIC]) strbuf_addf(out, " %12s", traffic.ptr);
        if (s->wanted[METRIC_LOSS]) strbuf_addf(out, " %12.4f", p->loss.mean);
        if (held_out) strbuf_addf(out, " %12.4f", p->eval_loss.mean);
        if (paired) add_difference(out, &p->against_first);
        strbuf_addc(out, '\n');
        strbuf_release(&memory);
        strbuf_release(&traffic);
        strbuf_release(&parameters);
    }
}
