// plot.h: pictures as SVG, drawn by gnuplot where it is installed.
#pragma once

#include "base/diag.h"

typedef struct {
    Str name;  // empty: not in the key
    const double *x, *y;
    const double *low, *high;  // error bars, but for LINES; NULL: none
    const Str *names;          // POINTS: beside the points; NULL: a line through them
    uint32_t count;
} PlotSeries;

typedef enum {
    PLOT_LINES,   // y over x, one line a series
    PLOT_BARS,    // one bar a tick, from zero
    PLOT_DOTS,    // one dot a tick, the axis fitted to the values
    PLOT_POINTS,  // y over x: points with names, or a line
    PLOT_HEAT,    // a coloured cell for each row and tick
} PlotKind;

typedef struct {
    PlotKind kind;
    Str title, x_label, y_label;
    const PlotSeries *series;
    uint32_t series_count;
    const Str *ticks;  // BARS, DOTS and HEAT, or NULL: names of x = 0, 1, ...
    uint32_t tick_count;
    const Str *rows;  // HEAT: names of y = 0, 1, ..., from the top
    uint32_t row_count;
    const double *cells;     // HEAT: (row_count, tick_count); NAN: none
    bool log_y;              // LINES
    uint32_t width, height;  // pixels
} Plot;

bool plot_available(void);
// The picture is written to the file and its text, from "<svg" on, returned. False: gnuplot
// failed.
MUST_USE bool plot_svg(Diag *diag, Arena *arena, const Plot *plot, Str path, Str *svg);
