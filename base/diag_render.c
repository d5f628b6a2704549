// diag_render.c: diagnostics as text.
//     path:line:column: kind: message
//        41 |     source line, tabs widened, up to its end
//           |     ^~~~~~ under the part of the span that lies on this line
#include "base/diag.h"

enum { TAB_WIDTH = 4 };

static const char *const kind_text[] = {
    [DIAG_ERROR] = "error",
    [DIAG_WARNING] = "warning",
    [DIAG_NOTE] = "note",
};

// Columns that byte c takes on the screen when it starts at column `at` (from 0).
static uint32_t byte_width(char c, uint32_t at) {
    if (c == '\t') return TAB_WIDTH - at % TAB_WIDTH;
    return ((unsigned char)c & 0xc0) != 0x80;
}

static uint32_t text_width(Str line, uint32_t bytes) {
    uint32_t width = 0;
    for (uint32_t i = 0; i < bytes && i < line.len; i++)
        width += byte_width(line.ptr[i], width);
    return width;
}

// Control characters are shown as '?', so that a source file cannot drive the terminal.
static void add_line_text(StrBuf *out, Str line) {
    uint32_t at = 0;
    for (size_t i = 0; i < line.len; i++) {
        char c = line.ptr[i];
        uint32_t width = byte_width(c, at);
        if (c == '\t')
            strbuf_addf(out, "%*s", (int)width, "");
        else
            strbuf_addc(out, (char)((unsigned char)c < 0x20 || c == 0x7f ? '?' : c));
        at += width;
    }
}

static Str line_text(const Source *source, uint32_t line) {
    uint32_t start = source->line_start[line - 1];
    uint32_t end =
        line < source->line_count ? source->line_start[line] - 1 : (uint32_t)source->text.len;
    if (end > start && source->text.ptr[end - 1] == '\r') end--;
    return (Str){source->text.ptr + start, end - start};
}

static void add_snippet(StrBuf *out, const Source *source, Span span, uint32_t line) {
    Str text = line_text(source, line);
    uint32_t from = span.start - source->line_start[line - 1];
    uint32_t to = span.end > span.start ? from + (span.end - span.start) : from;
    uint32_t left = text_width(text, from), right = text_width(text, to);
    size_t gutter = out->len;
    strbuf_addf(out, "   %u", line);
    gutter = out->len - gutter;
    strbuf_addz(out, " | ");
    add_line_text(out, text);
    strbuf_addf(out, "\n%*s | %*s^", (int)gutter, "", (int)left, "");
    for (uint32_t i = left + 1; i < right; i++)
        strbuf_addc(out, '~');
    strbuf_addc(out, '\n');
}

static bool same_place(Span a, Span b) {
    return a.file == b.file && a.start == b.start && a.end == b.end;
}

// A note at the place just shown does not show the line again.
static void add_item(const Diag *diag, const DiagItem *item, const DiagItem *before,
                     StrBuf *out) {
    if (!item->span.file) {
        strbuf_add(out, item->path.len ? item->path : STR("strata"));
        strbuf_addf(out, ": %s: %.*s\n", kind_text[item->kind], STR_ARG(item->message));
        return;
    }
    const Source *source = diag_source(diag, item->span.file);
    uint32_t line, column;
    diag_line_column(diag, item->span, &line, &column);
    strbuf_addf(out, "%.*s:%u:%u: %s: %.*s\n", STR_ARG(source->path), line, column,
                kind_text[item->kind], STR_ARG(item->message));
    bool shown = item->kind == DIAG_NOTE && before && same_place(item->span, before->span);
    if (!shown) add_snippet(out, source, item->span, line);
}

void diag_render(const Diag *diag, StrBuf *out) {
    for (uint32_t i = 0; i < diag->item_count; i++) {
        add_item(diag, &diag->items[i], i ? &diag->items[i - 1] : NULL, out);
    }
    if (diag->error_count > DIAG_MAX_ERRORS) {
        strbuf_addf(out, "strata: note: too many errors; %u more are not shown\n",
                    diag->error_count - DIAG_MAX_ERRORS);
    }
}
