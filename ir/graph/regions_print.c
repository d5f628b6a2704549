// regions_print.c: regions for people to read.
//     region attn.norm.3 row cols (d)
//         reads  %4 = param ...
//         %12 = mul %4, %9 : f32[B, T, d]
//         writes %12
#include "base/check.h"
#include "ir/graph/graph_text.h"
#include "ir/graph/region.h"

static void print_axes(const Graph *g, const char *word, const AxisId *axes, uint32_t count,
                       StrBuf *out) {
    if (!count) return;
    strbuf_addf(out, " %s (", word);
    for (uint32_t i = 0; i < count; i++)
        strbuf_addf(out, "%s%.*s", i ? ", " : "", STR_ARG(graph_axis_at(g, axes[i])->name));
    strbuf_addc(out, ')');
}

const char *region_kind_text(RegionKind kind) {
    switch (kind) {
    case REGION_ROW: return "row";
    case REGION_CONTRACT: return "contract";
    case REGION_ATTEND: return "attend";
    case REGION_LINEAR: return "linear";
    case REGION_GROUPED: return "grouped";
    case REGION_ORDER: return "order";
    }
    BUG("region kind %d", (int)kind);
}

static void print_region(const Graph *g, const Region *r, StrBuf *out) {
    strbuf_addf(out, "region %.*s %s", STR_ARG(r->name), region_kind_text(r->kind));
    print_axes(g, "cols", r->cols, r->col_count, out);
    print_axes(g, "unrolled", r->unrolled, r->unrolled_count, out);
    strbuf_addc(out, '\n');
    for (uint32_t i = 0; i < r->input_count; i++) {
        strbuf_addz(out, "    reads  ");
        graph_print_value(g, r->inputs[i], out);
    }
    for (uint32_t i = 0; i < r->value_count; i++) {
        strbuf_addz(out, "    ");
        graph_print_value(g, r->values[i], out);
    }
    strbuf_addz(out, "    writes");
    for (uint32_t i = 0; i < r->output_count; i++)
        strbuf_addf(out, "%s %%%u", i ? "," : "", r->outputs[i].i);
    strbuf_addc(out, '\n');
}

void regions_print(const Regions *r, StrBuf *out) {
    for (uint32_t i = 0; i < r->count; i++)
        print_region(r->graph, &r->regions[i], out);
}
