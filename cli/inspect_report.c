// inspect_report.c: the page: heat maps of the weights over depth, magnitudes, the matrix.
#include <math.h>

#include "cli/inspect.h"
#include "cli/report.h"

enum { WIDTH = 560, HEIGHT = 340, MARGIN = 150, CELL = 16 };

static uint32_t heat_height(uint32_t rows) { return MARGIN + CELL * (rows < 8 ? 8 : rows); }

// ---- weights over depth

// One row each, cells after the last of a shorter one empty.
static void add_heat_map(Report *r, const char *name, Plot plot, const InspectTable *t) {
    plot.kind = PLOT_HEAT;
    plot.tick_count = t->columns;
    plot.rows = t->names;
    plot.row_count = t->row_count;
    plot.cells = t->cells;
    plot.width = WIDTH;
    plot.height = heat_height(t->row_count);
    report_picture(r, name, &plot);
}

static void add_weights(const Inspection *in, Report *r) {
    report_heading(r, "Weights over depth");
    if (!in->mix_count) {
        report_text(r, "The model has no weighted sum over a stack of values.");
        return;
    }
    report_text(r, "Means over all tokens. Sources count from the first of the stack; row by "
                   "row, in inspect.json, they have names.");
    report_pictures(r);
    for (uint32_t i = 0; i < in->mix_count; i++) {
        if (!inspect_kind_is_new(in->mixes, i)) continue;
        Str kind = inspect_kind(in->mixes[i].name);
        InspectTable t = inspect_table(in, in->mixes, in->mix_count, kind);
        Plot plot = {.title = str_printf(r->arena, "read by %.*s", STR_ARG(kind)),
                     .x_label = STR("source")};
        add_heat_map(r, arena_printf(r->arena, "weights_%.*s", STR_ARG(kind)), plot, &t);
    }
    report_pictures_end(r);
}

// ---- magnitudes

static Str number_text(Arena *arena, double x) {
    return isnan(x) ? STR("") : str_printf(arena, "%.4g", x);
}

static void add_table(const Inspection *in, Report *r) {
    static const char *const heads[] = {"sublayer", "input", "output", "gradient of input",
                                        "gradient of output"};
    enum { COLUMNS = sizeof heads / sizeof *heads };
    Str cells[COLUMNS];
    for (uint32_t i = 0; i < COLUMNS; i++)
        cells[i] = str_of(heads[i]);
    report_table(r);
    report_row(r, cells, COLUMNS, true);
    for (uint32_t i = 0; i < in->layer_count; i++) {
        const InspectLayer *l = &in->layers[i];
        cells[0] = l->name;
        cells[1] = number_text(r->arena, l->input);
        cells[2] = number_text(r->arena, l->output);
        cells[3] = number_text(r->arena, l->input_gradient);
        cells[4] = number_text(r->arena, l->output_gradient);
        report_row(r, cells, COLUMNS, false);
    }
    report_table_end(r);
}

static void add_curves(const Inspection *in, Report *r, bool gradients) {
    uint32_t n = in->layer_count;
    double *input = arena_array(r->arena, double, n),
           *output = arena_array(r->arena, double, n);
    for (uint32_t i = 0; i < n; i++) {
        const InspectLayer *l = &in->layers[i];
        input[i] = gradients ? l->input_gradient : l->input;
        output[i] = gradients ? l->output_gradient : l->output;
    }
    PlotSeries series[] = {{.name = STR("input"), .y = input, .count = n},
                           {.name = STR("output"), .y = output, .count = n}};
    Plot plot = {.kind = PLOT_LINES,
                 .title = gradients ? STR("gradient of the loss") : STR("magnitude"),
                 .x_label = STR("sublayer"),
                 .y_label = STR("root mean square"),
                 .series = series,
                 .series_count = 2,
                 .log_y = gradients,
                 .width = WIDTH,
                 .height = HEIGHT};
    report_picture(r, gradients ? "gradients" : "magnitudes", &plot);
}

static void add_magnitudes(const Inspection *in, Report *r) {
    report_heading(r, "Magnitudes");
    if (!in->layer_count) {
        report_text(r, "The model marks no sublayers (sublayer_input, sublayer_output).");
        return;
    }
    report_text(r, "Root mean squares over all tokens and elements of what each sublayer reads "
                   "and gives, and of the gradients of a batch's loss with respect to these.");
    report_pictures(r);
    add_curves(in, r, false);
    if (!isnan(in->loss)) add_curves(in, r, true);
    report_pictures_end(r);
    add_table(in, r);
}

// ---- what the model reports

// One number in each layer, or a list, of which a heat map shows more.
static void add_reported_table(const Inspection *in, Report *r, Str kind, bool lists) {
    Str head[] = {STR("where"), lists ? STR("least") : kind, STR("median"), STR("most")};
    uint32_t columns = lists ? 4 : 2;
    report_table(r);
    report_row(r, head, columns, true);
    for (uint32_t i = 0; i < in->report_count; i++) {
        const InspectRow *row = &in->reports[i];
        if (!str_eq(inspect_kind(row->name), kind)) continue;
        InspectSpread s = inspect_spread(r->arena, row);
        report_row(r,
                   (Str[]){row->name, number_text(r->arena, s.least),
                           number_text(r->arena, s.median), number_text(r->arena, s.most)},
                   columns, false);
    }
    report_table_end(r);
}

static void add_reported(const Inspection *in, Report *r) {
    if (!in->report_count) return;
    report_heading(r, "Reports");
    report_text(r, "What the model reports of itself, as a mean over batches.");
    for (int lists = 1; lists >= 0; lists--) {
        for (uint32_t i = 0; i < in->report_count; i++) {
            Str kind = inspect_kind(in->reports[i].name);
            InspectTable t = inspect_table(in, in->reports, in->report_count, kind);
            if (!inspect_kind_is_new(in->reports, i) || (t.columns > 1) != lists) continue;
            if (lists) {
                report_pictures(r);
                add_heat_map(r, arena_printf(r->arena, "report_%.*s", STR_ARG(kind)),
                             (Plot){.title = kind, .x_label = STR("number")}, &t);
                report_pictures_end(r);
            }
            add_reported_table(in, r, kind, lists);
        }
    }
}

// ---- the matrix

static void add_matrix(const Inspection *in, Report *r) {
    const InspectMixing *m = &in->mixing;
    if (!m->row_count || !m->column_count) return;
    report_heading(r, "Mixing matrix");
    report_text(r,
                "How much of each output is in what each sublayer reads: the linear response "
                "with coefficients held, mean over tokens and elements. It has rank %u; "
                "its blocks below the diagonal have rank %u at most. Of what sublayers "
                "read, at most %.2g (root mean square, relative) is not the sum of marked "
                "outputs.",
                m->rank, m->semiseparable, inspect_unexplained(m));
    Plot plot = {.kind = PLOT_HEAT,
                 .title = STR("read by (row) of the output of (column)"),
                 .ticks = m->columns,
                 .tick_count = m->column_count,
                 .rows = m->rows,
                 .row_count = m->row_count,
                 .cells = m->matrix,
                 .width = MARGIN + 100 + CELL * (m->column_count < 20 ? 20 : m->column_count),
                 .height = heat_height(m->row_count)};
    report_pictures(r);
    report_picture(r, "mixing", &plot);
    report_pictures_end(r);
}

bool inspect_report_write(Inspection *in, Str *path) {
    Cli *cli = in->cli;
    Report r;
    report_begin(&r, &cli->diag, &cli->arena, cli->options.output,
                 str_printf(&cli->arena, "Depth of %.*s", STR_ARG(cli->options.model)));
    report_text(&r, "Parameters %.*s, %lld tokens of data.", STR_ARG(cli->options.params),
                (long long)in->tokens);
    add_weights(in, &r);
    add_magnitudes(in, &r);
    add_reported(in, &r);
    add_matrix(in, &r);
    return report_finish(&r, path);
}
