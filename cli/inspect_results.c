// inspect_results.c: what was measured, as JSON, as arrays and as a table.
#include <math.h>
#include <stdlib.h>

#include "base/io.h"
#include "cli/inspect.h"
#include "runtime/npy.h"

// ---- rows of a kind

Str inspect_kind(Str name) {
    size_t start = name.len;
    while (start > 0 && name.ptr[start - 1] != '.')
        start--;
    return (Str){name.ptr + start, name.len - start};
}

bool inspect_kind_is_new(const InspectRow *rows, uint32_t at) {
    for (uint32_t i = 0; i < at; i++)
        if (str_eq(inspect_kind(rows[i].name), inspect_kind(rows[at].name))) return false;
    return true;
}

InspectTable inspect_table(const Inspection *in, const InspectRow *rows, uint32_t count,
                           Str kind) {
    Arena *arena = &in->cli->arena;
    InspectTable t = {.names = arena_array(arena, Str, count)};
    uint32_t *chosen = arena_array(arena, uint32_t, count);
    for (uint32_t i = 0; i < count; i++) {
        if (kind.len && !str_eq(inspect_kind(rows[i].name), kind)) continue;
        if (rows[i].count > t.columns) t.columns = rows[i].count;
        chosen[t.row_count] = i;
        t.names[t.row_count++] = rows[i].name;
    }
    t.cells = arena_array(arena, double, (size_t)t.row_count *t.columns);
    for (uint32_t i = 0; i < t.row_count; i++)
        for (uint32_t k = 0; k < t.columns; k++)
            t.cells[(size_t)i * t.columns + k] =
                k < rows[chosen[i]].count ? rows[chosen[i]].values[k] : (double)NAN;
    return t;
}

// ---- JSON

static void key_number(JsonWriter *w, const char *key, double x) {
    if (isnan(x)) return;
    json_key(w, key);
    json_number(w, x);
}

static void write_names(JsonWriter *w, const char *key, const Str *names, uint32_t count) {
    json_key(w, key);
    json_array(w);
    for (uint32_t i = 0; i < count; i++) {
        if (names[i].len)
            json_string(w, names[i]);
        else
            json_null(w);
    }
    json_end(w);
}

static void write_numbers(JsonWriter *w, const double *x, uint32_t count) {
    json_array(w);
    for (uint32_t i = 0; i < count; i++)
        json_number(w, x[i]);
    json_end(w);
}

static void key_numbers(JsonWriter *w, const char *key, const double *x, uint32_t count) {
    json_key(w, key);
    write_numbers(w, x, count);
}

static void write_layers(const Inspection *in, JsonWriter *w) {
    json_key(w, "sublayers");
    json_array(w);
    for (uint32_t i = 0; i < in->layer_count; i++) {
        const InspectLayer *l = &in->layers[i];
        json_object(w);
        json_key(w, "name");
        json_string(w, l->name);
        key_number(w, "input", l->input);
        key_number(w, "output", l->output);
        key_number(w, "input_gradient", l->input_gradient);
        key_number(w, "output_gradient", l->output_gradient);
        json_end(w);
    }
    json_end(w);
}

static void write_mixes(const Inspection *in, JsonWriter *w) {
    json_key(w, "depth_weights");
    json_array(w);
    for (uint32_t i = 0; i < in->mix_count; i++) {
        const InspectRow *m = &in->mixes[i];
        json_object(w);
        json_key(w, "name");
        json_string(w, m->name);
        write_names(w, "sources", m->sources, m->count);
        key_numbers(w, "weights", m->values, m->count);
        json_end(w);
    }
    json_end(w);
}

static void write_reports(const Inspection *in, JsonWriter *w) {
    json_key(w, "reports");
    json_object(w);
    for (uint32_t i = 0; i < in->report_count; i++) {
        json_key(w, in->reports[i].name.ptr);
        write_numbers(w, in->reports[i].values, in->reports[i].count);
    }
    json_end(w);
}

static void write_mixing(const InspectMixing *m, JsonWriter *w) {
    if (!m->row_count || !m->column_count) return;
    json_key(w, "mixing");
    json_object(w);
    write_names(w, "rows", m->rows, m->row_count);
    write_names(w, "columns", m->columns, m->column_count);
    json_key(w, "matrix");
    json_array(w);
    for (uint32_t i = 0; i < m->row_count; i++)
        write_numbers(w, m->matrix + (size_t)i * m->column_count, m->column_count);
    json_end(w);
    key_numbers(w, "unexplained", m->unexplained, m->row_count);
    key_numbers(w, "singular_values", m->singular,
                m->row_count < m->column_count ? m->row_count : m->column_count);
    json_key(w, "rank");
    json_int(w, m->rank);
    json_key(w, "semiseparable_rank");
    json_int(w, m->semiseparable);
    json_end(w);
}

static int by_size(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

InspectSpread inspect_spread(Arena *arena, const InspectRow *row) {
    uint32_t n = row->count;
    double *x = arena_array(arena, double, n);
    memcpy(x, row->values, n * sizeof *x);
    qsort(x, n, sizeof *x, by_size);
    return (InspectSpread){x[0], 0.5 * (x[(n - 1) / 2] + x[n / 2]), x[n - 1]};
}

void inspect_json(const Inspection *in, JsonWriter *w) {
    json_object(w);
    json_key(w, "model");
    json_string(w, in->cli->options.model);
    json_key(w, "tokens");
    json_int(w, in->tokens);
    key_number(w, "loss", in->loss);
    write_layers(in, w);
    write_mixes(in, w);
    write_reports(in, w);
    write_mixing(&in->mixing, w);
    json_end(w);
}

// ---- files

static Str path_in(const Inspection *in, const char *name) {
    return str_printf(&in->cli->arena, "%.*s/%s", STR_ARG(in->cli->options.output), name);
}

static bool write_json(const Inspection *in) {
    StrBuf text = {0};
    JsonWriter w;
    json_init(&w, &text, true);
    inspect_json(in, &w);
    strbuf_addc(&text, '\n');
    bool good = io_write(&in->cli->diag, path_in(in, "inspect.json"), text.ptr, text.len);
    strbuf_release(&text);
    return good;
}

static bool write_rows(const Inspection *in, const char *name, const InspectTable *t) {
    return !t->row_count ||
           npy_write(&in->cli->diag, path_in(in, name), t->cells, t->row_count, t->columns);
}

static bool write_weights(const Inspection *in) {
    InspectTable t = inspect_table(in, in->mixes, in->mix_count, (Str){0});
    return write_rows(in, "depth_weights.npy", &t);
}

static bool write_reported(const Inspection *in) {
    for (uint32_t i = 0; i < in->report_count; i++) {
        if (!inspect_kind_is_new(in->reports, i)) continue;
        Str kind = inspect_kind(in->reports[i].name);
        InspectTable t = inspect_table(in, in->reports, in->report_count, kind);
        const char *name = arena_printf(&in->cli->arena, "report_%.*s.npy", STR_ARG(kind));
        if (!write_rows(in, name, &t)) return false;
    }
    return true;
}

static bool write_magnitudes(const Inspection *in) {
    enum { COLUMNS = 4 };
    if (!in->layer_count) return true;
    double *x = arena_array(&in->cli->arena, double, (size_t)in->layer_count *COLUMNS);
    for (uint32_t i = 0; i < in->layer_count; i++) {
        const InspectLayer *l = &in->layers[i];
        memcpy(x + (size_t)i * COLUMNS,
               (double[COLUMNS]){l->input, l->output, l->input_gradient, l->output_gradient},
               COLUMNS * sizeof *x);
    }
    return npy_write(&in->cli->diag, path_in(in, "magnitudes.npy"), x, in->layer_count,
                     COLUMNS);
}

static bool write_matrix(const Inspection *in) {
    const InspectMixing *m = &in->mixing;
    return !m->row_count || !m->column_count ||
           npy_write(&in->cli->diag, path_in(in, "mixing.npy"), m->matrix, m->row_count,
                     m->column_count);
}

bool inspect_results_write(Inspection *in) {
    return write_json(in) && write_weights(in) && write_reported(in) && write_magnitudes(in) &&
           write_matrix(in);
}

// ---- text

static void add_cell(StrBuf *out, double x) {
    if (isnan(x))
        strbuf_addf(out, " %11s", "");
    else
        strbuf_addf(out, " %11.4g", x);
}

static void add_reports(const Inspection *in, StrBuf *out) {
    if (in->report_count)
        strbuf_addf(out, "%-32s %11s %11s %11s\n", "reported", "least", "median", "most");
    for (uint32_t i = 0; i < in->report_count; i++) {
        const InspectRow *r = &in->reports[i];
        InspectSpread spread = inspect_spread(&in->cli->arena, r);
        strbuf_addf(out, "%-32.*s", STR_ARG(r->name));
        add_cell(out, r->count > 1 ? spread.least : (double)NAN);
        add_cell(out, spread.median);
        add_cell(out, r->count > 1 ? spread.most : (double)NAN);
        strbuf_addc(out, '\n');
    }
}

void inspect_text(const Inspection *in, StrBuf *out) {
    strbuf_addf(out, "%-24s %11s %11s %11s %11s\n", "", "input", "output", "d input",
                "d output");
    for (uint32_t i = 0; i < in->layer_count; i++) {
        const InspectLayer *l = &in->layers[i];
        strbuf_addf(out, "%-24.*s", STR_ARG(l->name));
        add_cell(out, l->input);
        add_cell(out, l->output);
        add_cell(out, l->input_gradient);
        add_cell(out, l->output_gradient);
        strbuf_addc(out, '\n');
    }
    add_reports(in, out);
    if (!in->mix_count) strbuf_addz(out, "no weighted sums over depth\n");
    const InspectMixing *m = &in->mixing;
    if (m->row_count && m->column_count)
        strbuf_addf(
            out, "mixing matrix %u x %u: rank %u, semiseparable rank %u, unexplained %.2g\n",
            m->row_count, m->column_count, m->rank, m->semiseparable, inspect_unexplained(m));
    if (!isnan(in->loss))
        strbuf_addf(out, "loss %.4f over %lld tokens\n", in->loss, (long long)in->tokens);
}
