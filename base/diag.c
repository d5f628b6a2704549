// diag.c: recording of errors, warnings and notes. diag_render.c prints them.
#include "base/diag.h"

#include <string.h>

#include "base/check.h"
#include "base/vec.h"

// Macros when analyzed; see diag.h.
#undef diag_error
#undef diag_file_error
#undef diag_fail

void diag_init(Diag *diag, Arena *arena) { *diag = (Diag){.arena = arena}; }

uint32_t diag_source_add(Diag *diag, Str path, Str text) {
    // Spans count bytes in 32 bits.
    if (text.len >= UINT32_MAX) BUG("a source text of %zu bytes", text.len);
    Vec(uint32_t) lines = {0};
    vec_push(diag->arena, &lines, 0);
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\n') vec_push(diag->arena, &lines, i + 1);
    }
    if (diag->source_count == diag->source_cap) {
        diag->sources = vec_grown(diag->arena, diag->sources, diag->source_count,
                                  &diag->source_cap, sizeof *diag->sources);
    }
    diag->sources[diag->source_count++] = (Source){
        .path = str_copy(diag->arena, path),
        .text = str_copy(diag->arena, text),
        .line_start = lines.ptr,
        .line_count = lines.len,
    };
    return diag->source_count;
}

const Source *diag_source(const Diag *diag, uint32_t file) {
    ASSERT(file >= 1 && file <= diag->source_count);
    return &diag->sources[file - 1];
}

// Columns count characters, not bytes: UTF-8 continuation bytes are passed over.
void diag_line_column(const Diag *diag, Span span, uint32_t *line, uint32_t *column) {
    const Source *source = diag_source(diag, span.file);
    uint32_t at = span.start < source->text.len ? span.start : (uint32_t)source->text.len;
    uint32_t low = 0, high = source->line_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (source->line_start[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    *line = low + 1;
    *column = 1;
    for (uint32_t i = source->line_start[low]; i < at; i++) {
        *column += ((unsigned char)source->text.ptr[i] & 0xc0) != 0x80;
    }
}

typedef struct {
    DiagKind kind;
    Fail fail;
    Span span;
    Str path;
} Place;

PRINTF_LIKE(3, 0)
static void record(Diag *diag, Place place, const char *fmt, va_list args) {
    bool error = place.kind == DIAG_ERROR;
    if (error && diag->fail == FAIL_NONE) diag->fail = place.fail;
    diag->error_count += error;
    // The notes and warnings that follow an error that is not shown are not shown either.
    if (diag->error_count > DIAG_MAX_ERRORS) return;
    if (diag->item_count == diag->item_cap) {
        diag->items = vec_grown(diag->arena, diag->items, diag->item_count, &diag->item_cap,
                                sizeof *diag->items);
    }
    StrBuf message = {0};
    strbuf_addv(&message, fmt, args);
    diag->items[diag->item_count++] = (DiagItem){
        .kind = place.kind,
        .span = place.span,
        .path = str_copy(diag->arena, place.path),
        .message = str_copy(diag->arena, strbuf_view(&message)),
    };
    strbuf_release(&message);
}

bool diag_error(Diag *diag, Span span, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    record(diag, (Place){DIAG_ERROR, FAIL_INPUT, span, STR("")}, fmt, args);
    va_end(args);
    return false;
}

void diag_warning(Diag *diag, Span span, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    record(diag, (Place){DIAG_WARNING, FAIL_NONE, span, STR("")}, fmt, args);
    va_end(args);
}

void diag_note(Diag *diag, Span span, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    record(diag, (Place){DIAG_NOTE, FAIL_NONE, span, STR("")}, fmt, args);
    va_end(args);
}

bool diag_file_error(Diag *diag, Fail fail, Str path, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    record(diag, (Place){DIAG_ERROR, fail, (Span){0}, path}, fmt, args);
    va_end(args);
    return false;
}

bool diag_fail(Diag *diag, Fail fail, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    record(diag, (Place){DIAG_ERROR, fail, (Span){0}, STR("")}, fmt, args);
    va_end(args);
    return false;
}

bool diag_full(const Diag *diag) { return diag->error_count >= DIAG_MAX_ERRORS; }
