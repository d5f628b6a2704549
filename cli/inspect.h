// inspect.h: what a model does across its depth, measured on data (docs/inspect.md has the
// formulas).
#pragma once

#include "cli/cli.h"

// Means over all tokens of all batches; NAN where there is nothing to measure.
typedef struct {
    Str name;
    double input, output;                    // root mean squares
    double input_gradient, output_gradient;  // of the loss with respect to these
} InspectLayer;

// A list of numbers with a name: the weights of a mix, or what the model reports.
typedef struct {
    Str name;
    const Str *sources;  // of a mix: names; empty: no sublayer's output
    uint32_t count;
    double *values;
} InspectRow;

// matrix[row, column]: what sublayer rows[row] reads of the output of columns[column].
typedef struct {
    Str *rows, *columns;
    uint32_t row_count, column_count;
    double *matrix;
    double *unexplained;  // per row: the part of its root mean square that is not in the matrix
    double *singular;     // min(row_count, column_count) of them
    uint32_t rank, semiseparable;
} InspectMixing;

// An output of the graph whose elements are added up over batches.
typedef struct {
    ValueId value;
    uint32_t count;
    double *sum;
} InspectProbe;

typedef struct {
    Cli *cli;
    Graph *g;
    Sublayers sublayers;
    Vec(InspectProbe) probes;
    int64_t batches, tokens;
    double loss;
    InspectLayer *layers;
    uint32_t layer_count;
    InspectRow *mixes;
    uint32_t mix_count;
    InspectRow *reports;
    uint32_t report_count;
    InspectMixing mixing;
} Inspection;

// The graph with a probe for each number below; fills in all that is known without data.
MUST_USE bool inspect_graph(Inspection *in);
// Runs it on the data.
MUST_USE bool inspect_measure(Inspection *in);

// Rows side by side, NAN past the end of a shorter one.
typedef struct {
    Str *names;
    uint32_t row_count, columns;
    double *cells;
} InspectTable;
// Of those rows whose names end in `kind`; empty: of all.
InspectTable inspect_table(const Inspection *in, const InspectRow *rows, uint32_t count,
                           Str kind);
Str inspect_kind(Str name);                                     // the last part of a path
bool inspect_kind_is_new(const InspectRow *rows, uint32_t at);  // no earlier row is of it

typedef struct {
    double least, median, most;
} InspectSpread;
InspectSpread inspect_spread(Arena *arena, const InspectRow *row);

// The greatest of a mixing matrix's rows; NAN is passed over.
double inspect_unexplained(const InspectMixing *m);
void inspect_json(const Inspection *in, JsonWriter *w);
void inspect_text(const Inspection *in, StrBuf *out);
// inspect.json and the arrays; report.html with its pictures.
MUST_USE bool inspect_results_write(Inspection *in);
MUST_USE bool inspect_report_write(Inspection *in, Str *path);
