// plot.c: a script for gnuplot, data included, through a pipe.
#include "cli/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/check.h"
#include "base/io.h"

bool plot_available(void) { return system("command -v gnuplot >/dev/null 2>&1") == 0; }

// ---- the script

static const char *const colours[] = {"#1f6fb4", "#d1495b", "#2a9d5c", "#8e5bb5",
                                      "#e08e1b", "#4a4e69", "#0f8b8d", "#b56576"};
enum { COLOURS = sizeof colours / sizeof *colours };

// In single quotes nothing is special but the quote itself.
static void add_text(StrBuf *out, Str s) {
    strbuf_addc(out, '\'');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\'') strbuf_addc(out, '\'');
        char c = s.ptr[i];
        strbuf_addc(out, (char)((unsigned char)c < 0x20 ? ' ' : c));
    }
    strbuf_addc(out, '\'');
}

// A column of text: double quotes end it.
static void add_name(StrBuf *out, Str s) {
    strbuf_addz(out, " \"");
    for (size_t i = 0; i < s.len; i++) {
        bool special = s.ptr[i] == '"' || s.ptr[i] == '\\';
        strbuf_addc(out, (char)(special ? '\'' : s.ptr[i]));
    }
    strbuf_addc(out, '"');
}

static void add_data(StrBuf *out, const Plot *plot, uint32_t at) {
    const PlotSeries *s = &plot->series[at];
    strbuf_addf(out, "$s%u << END\n", at);
    for (uint32_t i = 0; i < s->count; i++) {
        if (!isfinite(s->y[i])) continue;
        strbuf_add_double(out, s->x ? s->x[i] : i);
        strbuf_addc(out, ' ');
        strbuf_add_double(out, s->y[i]);
        strbuf_addc(out, ' ');
        strbuf_add_double(out, s->low ? s->low[i] : s->y[i]);
        strbuf_addc(out, ' ');
        strbuf_add_double(out, s->high ? s->high[i] : s->y[i]);
        if (s->names) add_name(out, s->names[i]);
        strbuf_addc(out, '\n');
    }
    strbuf_addz(out, "END\n");
}

static void add_names(StrBuf *out, const char *tics, const Str *names, uint32_t count) {
    strbuf_addf(out, "set %s (", tics);
    for (uint32_t i = 0; i < count; i++) {
        if (i) strbuf_addz(out, ", ");
        add_text(out, names[i]);
        strbuf_addf(out, " %u", i);
    }
    strbuf_addz(out, ") scale 0\n");
}

// White is zero.
static void add_heat(StrBuf *out, const Plot *plot) {
    double low = 0, high = 0;
    strbuf_addz(out, "$m << END\n");
    for (uint32_t r = 0; r < plot->row_count; r++) {
        for (uint32_t c = 0; c < plot->tick_count; c++) {
            double x = plot->cells[(size_t)r * plot->tick_count + c];
            low = fmin(low, x), high = fmax(high, x);
            if (c) strbuf_addc(out, ' ');
            strbuf_add_double(out, x);
        }
        strbuf_addc(out, '\n');
    }
    strbuf_addz(out, "END\nset datafile missing 'nan'\nunset grid\n");
    if (plot->ticks) strbuf_addz(out, "set xtics rotate by 90 right\n");
    double most = fmax(high, -low) > 0 ? fmax(high, -low) : 1;
    strbuf_addf(
        out,
        low < 0
            ? "set palette defined (-1 '#b3202c', 0 '#ffffff', 1 '#12508f')\n"
              "set cbrange [-%.9g:%.9g]\n"
            : "set palette defined (0 '#ffffff', 0.05 '#d6e6f4', 0.2 '#8fc1e2', 0.5 '#3e8ec4', 1 '#0b3c70')\n"
              "set cbrange [0:%.9g]\n",
        most, most);
    strbuf_addf(out, "set xrange [-0.5:%.1f]\nset yrange [%.1f:-0.5]\n", plot->tick_count - 0.5,
                plot->row_count - 0.5);
    strbuf_addz(out, "plot $m matrix with image pixels notitle\n");
}

static void add_ticks(StrBuf *out, const Plot *plot) {
    if (plot->ticks) add_names(out, "xtics", plot->ticks, plot->tick_count);
    if (plot->rows) add_names(out, "ytics", plot->rows, plot->row_count);
    if (plot->kind == PLOT_POINTS)
        strbuf_addz(out, "set offsets graph 0.08, graph 0.15, graph 0.1, graph 0.1\n");
    if (plot->kind != PLOT_BARS && plot->kind != PLOT_DOTS) return;
    strbuf_addf(out, "set xrange [-0.6:%.1f]\n", plot->tick_count - 0.4);
    if (plot->kind == PLOT_BARS)
        strbuf_addz(out, "set yrange [0:*]\nset boxwidth 0.6\n");
    else
        strbuf_addz(out, "set offsets 0, 0, graph 0.1, graph 0.1\n");
}

static void add_series(StrBuf *out, const Plot *plot, uint32_t at) {
    const PlotSeries *s = &plot->series[at];
    // A line among points goes through those before it.
    bool through = plot->kind == PLOT_POINTS && !s->names && at > 0;
    const char *colour = colours[(at - through) % COLOURS];
    const char *points = s->low ? "yerrorbars pt 7 ps 0.8 lw 1.5" : "points pt 7 ps 0.8";
    strbuf_addf(out, "%s$s%u using %s with ", at ? ", " : "plot ", at,
                s->low && plot->kind != PLOT_BARS ? "1:2:3:4" : "1:2");
    switch (plot->kind) {
    case PLOT_LINES: strbuf_addz(out, "lines lw 2"); break;
    case PLOT_BARS: strbuf_addz(out, "boxes fill solid 0.75 noborder"); break;
    case PLOT_DOTS: strbuf_addz(out, points); break;
    case PLOT_POINTS: strbuf_addz(out, s->names ? points : "lines dt 2"); break;
    case PLOT_HEAT: BUG("a heat map has no series");
    }
    strbuf_addf(out, " lc rgb '%s' ", colour);
    if (s->name.len) {
        strbuf_addz(out, "title ");
        add_text(out, s->name);
    } else {
        strbuf_addz(out, "notitle");
    }
    if (s->names)
        strbuf_addf(out, ", $s%u using 1:2:5 with labels left offset 0.6,0.4 notitle", at);
    if (s->low && plot->kind == PLOT_BARS)
        strbuf_addf(
            out, ", $s%u using 1:2:3:4 with yerrorbars pt -1 lw 1.5 lc rgb '#555555' notitle",
            at);
}

static void add_script(StrBuf *out, const Plot *plot, Str path) {
    strbuf_addf(
        out,
        "set terminal svg size %u,%u dynamic font 'sans-serif,13' noenhanced background '#ffffff'\n",
        plot->width, plot->height);
    strbuf_addz(out, "set output ");
    add_text(out, path);
    strbuf_addz(out, "\nset border 3 lc rgb '#888888'\nset grid ytics lc rgb '#dddddd'\n"
                     "set tics nomirror\nset key outside right top reverse Left\nset title ");
    add_text(out, plot->title);
    strbuf_addz(out, "\nset xlabel ");
    add_text(out, plot->x_label);
    strbuf_addz(out, "\nset ylabel ");
    add_text(out, plot->y_label);
    strbuf_addz(out, plot->log_y ? "\nset logscale y\nset format y '%.0e'\n" : "\n");
    add_ticks(out, plot);
    if (plot->kind == PLOT_HEAT) add_heat(out, plot);
    for (uint32_t i = 0; i < plot->series_count; i++)
        add_data(out, plot, i);
    for (uint32_t i = 0; i < plot->series_count; i++)
        add_series(out, plot, i);
    strbuf_addz(out, "\n");
}

// ---- running it

static bool run_gnuplot(Str script) {
    FILE *pipe = popen("gnuplot >/dev/null 2>&1", "w");
    if (!pipe) return false;
    bool good = fwrite(script.ptr, 1, script.len, pipe) == script.len;
    int status = pclose(pipe);
    return good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool plot_svg(Diag *diag, Arena *arena, const Plot *plot, Str path, Str *svg) {
    StrBuf script = {0};
    add_script(&script, plot, path);
    bool good = run_gnuplot(strbuf_view(&script));
    strbuf_release(&script);
    if (!good)
        return diag_file_error(diag, FAIL_ENVIRONMENT, path,
                               "gnuplot could not draw the picture");
    Str text;
    if (!io_read(diag, arena, path, &text)) return false;
    const char *start = strstr(text.ptr, "<svg");
    if (!start)
        return diag_file_error(diag, FAIL_ENVIRONMENT, path, "gnuplot wrote no picture");
    *svg = (Str){start, text.len - (size_t)(start - text.ptr)};
    return true;
}
