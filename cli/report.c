// report.c: HTML.
#include "cli/report.h"

#include "base/io.h"

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c1e21;--soft:#667;--line:#dcdfe4;--page:#fff;"
    "--card:#fff}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e7ea;--soft:#9aa0ab;--line:#363a42;"
    "--page:#16181c;--card:#000}figure svg{filter:invert(1) hue-rotate(180deg)}}\n"
    "body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--page);"
    "max-width:64rem;margin:0 auto;padding:2rem 1.25rem 4rem}\n"
    "h1{font-size:1.6rem;line-height:1.25;margin:0 0 .5rem}h2{font-size:1.15rem;margin:2.2rem 0 "
    ".6rem}p{max-width:46rem;margin:.5rem 0;color:var(--soft)}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);text-align:right;"
    "white-space:nowrap}th:first-child,td:first-child{text-align:left}thead th{color:var(--soft);"
    "font-weight:600}\n"
    ".pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1rem}"
    "figure{margin:0;padding:.75rem;background:var(--card);border:1px solid var(--line);"
    "border-radius:8px}figure svg{width:100%;height:auto;display:block}\n";

static void add_escaped(StrBuf *out, Str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '<')
            strbuf_addz(out, "&lt;");
        else if (c == '>')
            strbuf_addz(out, "&gt;");
        else if (c == '&')
            strbuf_addz(out, "&amp;");
        else if (c == '"')
            strbuf_addz(out, "&quot;");
        else
            strbuf_addc(out, c);
    }
}

void report_begin(Report *r, Diag *diag, Arena *arena, Str directory, Str title) {
    *r = (Report){.diag = diag, .arena = arena, .directory = directory};
    r->pictures = plot_available();
    strbuf_addz(&r->html, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n"
                          "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    add_escaped(&r->html, title);
    strbuf_addf(&r->html, "</title>\n<style>\n%s</style>\n<h1>", style);
    add_escaped(&r->html, title);
    strbuf_addz(&r->html, "</h1>\n");
    if (!r->pictures)
        report_text(r, "There are no pictures on this page because gnuplot is not installed "
                       "(Debian: apt-get install gnuplot-nox).");
}

void report_heading(Report *r, const char *text) {
    strbuf_addz(&r->html, "<h2>");
    add_escaped(&r->html, str_of(text));
    strbuf_addz(&r->html, "</h2>\n");
}

void report_text(Report *r, const char *fmt, ...) {
    StrBuf text = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    strbuf_addz(&r->html, "<p>");
    add_escaped(&r->html, strbuf_view(&text));
    strbuf_addz(&r->html, "</p>\n");
    strbuf_release(&text);
}

void report_table(Report *r) { strbuf_addz(&r->html, "<div class=\"scroll\"><table>\n"); }

void report_row(Report *r, const Str *cells, uint32_t count, bool head) {
    strbuf_addz(&r->html, head ? "<thead><tr>" : "<tr>");
    for (uint32_t i = 0; i < count; i++) {
        const char *tag = head || i == 0 ? "th" : "td";
        strbuf_addf(&r->html, "<%s>", tag);
        add_escaped(&r->html, cells[i]);
        strbuf_addf(&r->html, "</%s>", tag);
    }
    strbuf_addz(&r->html, head ? "</tr></thead>\n" : "</tr>\n");
}

void report_table_end(Report *r) { strbuf_addz(&r->html, "</table></div>\n"); }

void report_pictures(Report *r) { strbuf_addz(&r->html, "<div class=\"pictures\">\n"); }
void report_pictures_end(Report *r) { strbuf_addz(&r->html, "</div>\n"); }

void report_picture(Report *r, const char *name, const Plot *plot) {
    if (!r->pictures) return;
    Diag tried;
    diag_init(&tried, r->arena);
    Str svg, path = str_printf(r->arena, "%.*s/%s.svg", STR_ARG(r->directory), name);
    if (!plot_svg(&tried, r->arena, plot, path, &svg)) {
        diag_warning(r->diag, (Span){0}, "%.*s is missing from the report", STR_ARG(path));
        return;
    }
    strbuf_addz(&r->html, "<figure>");
    strbuf_add(&r->html, svg);
    strbuf_addz(&r->html, "</figure>\n");
}

bool report_finish(Report *r, Str *path) {
    strbuf_addz(&r->html, "</html>\n");
    *path = str_printf(r->arena, "%.*s/report.html", STR_ARG(r->directory));
    bool good = io_write(r->diag, *path, r->html.ptr, r->html.len);
    strbuf_release(&r->html);
    return good;
}
