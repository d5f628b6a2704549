// explain_residual.c: what connecting sublayers moves. It begins where a sublayer's output is
// marked and ends where an input is: all that an input is computed from, up to the outputs, is
// the residual mechanism.
#include "cli/explain.h"

typedef struct {
    const Graph *g;
    const Regions *regions;
    bool *data;       // per value: depends on an input
    bool *stop;       // per value: a sublayer's output
    uint32_t *owner;  // per value: the first input that needs it, + 1; 0: not of the mechanism
    SublayerTraffic *items;
} Tracing;

// What is stored for x: x without casts and views.
static ValueId stored(const Graph *g, ValueId x) {
    for (;;) {
        const Value *v = graph_value(g, x);
        if (v->op != OP_CAST && !op_is_view(v->op)) return x;
        x = v->in[0];
    }
}

static void mark_data(const Graph *g, bool *data) {
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        data[i] = v->op == OP_INPUT;
        for (uint32_t k = 0; k < v->arity; k++)
            data[i] |= data[v->in[k].i];
    }
}

// Operands come before their users, so one sweep down from `read` finds all it needs.
static void claim(Tracing *t, ValueId read, uint32_t owner, Arena *arena) {
    bool *needed = arena_array(arena, bool, read.i + 1);
    needed[read.i] = true;
    for (uint32_t i = read.i; i > 0; i--) {
        if (!needed[i] || t->stop[stored(t->g, (ValueId){i}).i]) continue;
        const Value *v = graph_value(t->g, (ValueId){i});
        if (!t->owner[i]) t->owner[i] = owner + 1;
        for (uint32_t k = 0; k < v->arity; k++)
            needed[v->in[k].i] = true;
    }
}

static double bytes_of(const Graph *g, ValueId v) {
    return (double)graph_elements(g, v) * (double)dtype_bytes(graph_value(g, v)->type);
}

// The first sublayer among those for which the region reads `input`; 0: none.
static uint32_t reader_of(const Tracing *t, const Region *r, ValueId input) {
    uint32_t first = 0;
    for (uint32_t i = 0; i < r->value_count; i++) {
        uint32_t owner = t->owner[r->values[i].i];
        const Value *v = graph_value(t->g, r->values[i]);
        for (uint32_t k = 0; owner && k < v->arity; k++)
            if (value_layout(t->g, v->in[k]).base.i == input.i && (!first || owner < first))
                first = owner;
    }
    return first;
}

// Parameters, and what is made of them alone, are the same for all tokens and are left out.
static void count_region(Tracing *t, const Region *r) {
    for (uint32_t i = 0; i < r->input_count; i++) {
        uint32_t owner = t->data[r->inputs[i].i] ? reader_of(t, r, r->inputs[i]) : 0;
        if (owner) t->items[owner - 1].read += bytes_of(t->g, r->inputs[i]);
    }
    for (uint32_t i = 0; i < r->output_count; i++) {
        uint32_t owner = t->owner[r->outputs[i].i];
        if (owner && t->data[r->outputs[i].i])
            t->items[owner - 1].written += bytes_of(t->g, r->outputs[i]);
    }
}

static bool is_stored(const Tracing *t, ValueId x) {
    for (uint32_t i = 0; i < t->regions->count; i++) {
        const Region *r = &t->regions->regions[i];
        for (uint32_t k = 0; k < r->output_count; k++)
            if (stored(t->g, r->outputs[k]).i == x.i) return true;
    }
    return false;
}

bool residual_traffic(Cli *cli, const Model *model, ResidualTraffic *out) {
    Sublayers sublayers = {0};
    Graph *g;
    Arena *arena = &cli->arena;
    *out = (ResidualTraffic){0};
    if (!cli_marked_graph(cli, model, cli_bindings(cli, 1), &g, &sublayers)) return false;
    uint32_t n = g->values.len;
    Tracing t = {.g = g, .regions = pass_fuse(g, arena)};
    t.data = arena_array(arena, bool, n);
    t.stop = arena_array(arena, bool, n);
    t.owner = arena_array(arena, uint32_t, n);
    t.items = out->items = arena_array(arena, SublayerTraffic, sublayers.count);
    mark_data(g, t.data);
    for (uint32_t i = 0; i < sublayers.count; i++) {
        ValueId v = sublayers.items[i].output;
        if (!v.i) continue;
        t.stop[stored(g, v).i] = true;
        if (!out->unit) out->unit = bytes_of(g, v);
    }
    for (uint32_t i = 0; i < sublayers.count; i++) {
        const Sublayer *s = &sublayers.items[i];
        if (!s->input.i) continue;
        out->items[out->count].name = s->name;
        out->items[out->count].stored = is_stored(&t, stored(g, s->input));
        claim(&t, s->input, out->count++, arena);
    }
    for (uint32_t i = 0; i < t.regions->count; i++)
        count_region(&t, &t.regions->regions[i]);
    return true;
}

// ---- text and JSON

void residual_text(const ResidualTraffic *r, StrBuf *out) {
    if (!r->count || !(r->unit > 0)) return;
    double read = 0, written = 0;
    strbuf_addz(out, "\nresidual mechanism, ");
    text_bytes(out, r->unit);
    strbuf_addf(out, " (one output) being 1\n    %-24s %8s %8s\n", "", "read", "written");
    for (uint32_t i = 0; i < r->count; i++) {
        const SublayerTraffic *s = &r->items[i];
        strbuf_addf(out, "    %-24.*s %8.2f %8.2f%s\n", STR_ARG(s->name), s->read / r->unit,
                    s->written / r->unit, s->stored ? "" : "  its input stays in registers");
        read += s->read, written += s->written;
    }
    double each = r->unit * r->count;
    strbuf_addf(out, "    %-24s %8.2f %8.2f, together %.2f\n", "mean", read / each,
                written / each, (read + written) / each);
    strbuf_addz(out, "    what is counted, and why it is less than in the literature: "
                     "docs/inspect.md\n");
}

void residual_json(const ResidualTraffic *r, JsonWriter *w) {
    if (!r->count || !(r->unit > 0)) return;
    json_key(w, "residual");
    json_object(w);
    json_key(w, "output_bytes");
    json_number(w, r->unit);
    json_key(w, "sublayers");
    json_array(w);
    for (uint32_t i = 0; i < r->count; i++) {
        json_object(w);
        json_key(w, "name");
        json_string(w, r->items[i].name);
        json_key(w, "read_bytes");
        json_number(w, r->items[i].read);
        json_key(w, "written_bytes");
        json_number(w, r->items[i].written);
        json_key(w, "input_stored");
        json_bool(w, r->items[i].stored);
        json_end(w);
    }
    json_end(w);
    json_end(w);
}
