// report.h: one self-contained HTML page: text, tables, pictures.
#pragma once

#include "cli/plot.h"

typedef struct {
    Diag *diag;
    Arena *arena;
    Str directory;
    StrBuf html;
    bool pictures;  // gnuplot is there
} Report;

void report_begin(Report *r, Diag *diag, Arena *arena, Str directory, Str title);
void report_heading(Report *r, const char *text);
void report_text(Report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Cells are texts; the first of a row is its head, the others are aligned like numbers.
void report_table(Report *r);
void report_row(Report *r, const Str *cells, uint32_t count, bool head);
void report_table_end(Report *r);
// Pictures between these two stand side by side where there is room.
void report_pictures(Report *r);
// Also left in the directory as NAME.svg. Nothing where there is no gnuplot; a picture that
// cannot be drawn is a warning.
void report_picture(Report *r, const char *name, const Plot *plot);
void report_pictures_end(Report *r);
// Writes DIRECTORY/report.html and releases the report.
MUST_USE bool report_finish(Report *r, Str *path);
