// diag.h: errors that are the user's or the environment's, with places, source lines, carets
// and notes.
//     if (bad) return diag_error(diag, span, "axis '%s' is not in scope", name);
// Rendered as
//     attn.strata:41:18: error: elementwise operands do not align
//        41 |     scores = q * t
//           |              ^~~~~
//     attn.strata:41:18: note: left is f32[B=8, T=256, d=64]
// Messages: lower case, no final dot.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/str.h"

// A loaded source text. Files are numbered from 1 in load order.
typedef struct {
    Str path, text;
    const uint32_t *line_start;  // byte offset of each line; line_count entries
    uint32_t line_count;
} Source;

// Bytes [start, end) of a source; file 0 means no place.
typedef struct {
    uint32_t file, start, end;
} Span;

typedef enum { DIAG_ERROR, DIAG_WARNING, DIAG_NOTE } DiagKind;

// What went wrong, as the process's exit status (docs: cli.md).
typedef enum {
    FAIL_NONE = 0,
    FAIL_INPUT = 1,        // the model, data or file given is wrong
    FAIL_USAGE = 2,        // the command line is wrong
    FAIL_ENVIRONMENT = 3,  // this machine lacks something
    FAIL_INTERRUPTED = 130,
} Fail;

typedef struct {
    DiagKind kind;
    Span span;  // file 0: `path` names the file, or is empty
    Str path;
    Str message;
} DiagItem;

typedef struct {
    Arena *arena;  // owns messages and sources
    Source *sources;
    uint32_t source_count, source_cap;
    DiagItem *items;
    uint32_t item_count, item_cap;
    uint32_t error_count;
    Fail fail;  // of the first error
} Diag;

#define DIAG_MAX_ERRORS 20

void diag_init(Diag *diag, Arena *arena);
// Registers a text (copied) and returns its file number.
uint32_t diag_source_add(Diag *diag, Str path, Str text);
const Source *diag_source(const Diag *diag, uint32_t file);
// Both from 1; columns count characters.
void diag_line_column(const Diag *diag, Span span, uint32_t *line, uint32_t *column);

// Each records one item; those for errors return false, so that a caller can return at once.
bool diag_error(Diag *diag, Span span, const char *fmt, ...) PRINTF_LIKE(3, 4);
void diag_warning(Diag *diag, Span span, const char *fmt, ...) PRINTF_LIKE(3, 4);
void diag_note(Diag *diag, Span span, const char *fmt, ...) PRINTF_LIKE(3, 4);
// For files other than model sources: "path: error: message". Fail: FAIL_INPUT or
// FAIL_ENVIRONMENT.
bool diag_file_error(Diag *diag, Fail fail, Str path, const char *fmt, ...) PRINTF_LIKE(4, 5);
// "strata: error: message", for a failure with no file.
bool diag_fail(Diag *diag, Fail fail, const char *fmt, ...) PRINTF_LIKE(3, 4);

// The analyzer looks at one file at a time, so here it is told what the three above return.
#ifdef __clang_analyzer__
#define diag_error(...)      ((void)diag_error(__VA_ARGS__), false)
#define diag_file_error(...) ((void)diag_file_error(__VA_ARGS__), false)
#define diag_fail(...)       ((void)diag_fail(__VA_ARGS__), false)
#endif

// DIAG_MAX_ERRORS reached: the parser and the elaborator stop.
bool diag_full(const Diag *diag);
void diag_render(const Diag *diag, StrBuf *out);
