// graph_print.c: the text form of a graph. graph_read.c reads it back to a graph that prints
// the same.
#include "base/check.h"
#include "ir/graph/graph_text.h"
#include "ir/graph/shape_rules.h"

// ---- words

static const InitText init_texts[] = {
    [INIT_CONSTANT] = {"constant", 1}, [INIT_NORMAL] = {"normal", 1},
    [INIT_UNIFORM] = {"uniform", 2},   [INIT_LOG_UNIFORM] = {"log_uniform", 2},
    [INIT_FAN_IN] = {"fan_in", 0},     [INIT_ORTHOGONAL] = {"orthogonal", 1},
    [INIT_IDENTITY] = {"identity", 1}, [INIT_UNIT] = {"unit", 2},
};
static const char *const transform_texts[] = {
    [INIT_AS_IS] = "", [INIT_LOG] = "log", [INIT_SOFTPLUS_INVERSE] = "softplus_inverse"};

enum {
    INIT_TEXT_COUNT = sizeof init_texts / sizeof *init_texts,
    TRANSFORM_TEXT_COUNT = sizeof transform_texts / sizeof *transform_texts,
};

const InitText *init_text(InitKind kind) { return &init_texts[kind]; }
const char *init_transform_text(InitTransform transform) { return transform_texts[transform]; }

bool init_parse(Str text, InitKind *out) {
    for (int i = 0; i < INIT_TEXT_COUNT; i++) {
        if (!str_eq(text, str_of(init_texts[i].text))) continue;
        *out = (InitKind)i;
        return true;
    }
    return false;
}

bool init_transform_parse(Str text, InitTransform *out) {
    for (int i = INIT_AS_IS + 1; i < TRANSFORM_TEXT_COUNT; i++) {
        if (!str_eq(text, str_of(transform_texts[i]))) continue;
        *out = (InitTransform)i;
        return true;
    }
    return false;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool text_is_plain_name(Str name) {
    if (name.len == 0 || !is_letter(name.ptr[0])) return false;
    for (size_t i = 1; i < name.len; i++)
        if (!is_letter(name.ptr[i]) && !is_digit(name.ptr[i]) && name.ptr[i] != '.')
            return false;
    return true;
}

// ---- pieces

static void print_name(StrBuf *out, Str name) {
    if (text_is_plain_name(name)) {
        strbuf_add(out, name);
        return;
    }
    strbuf_addc(out, '"');
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c == '"' || c == '\\')
            strbuf_addf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            strbuf_addf(out, "\\x%02x", c);
        else
            strbuf_addc(out, (char)c);
    }
    strbuf_addc(out, '"');
}

static void print_axis(const Graph *g, StrBuf *out, AxisId a) {
    print_name(out, graph_axis_at(g, a)->name);
}

static void print_axes(const Graph *g, StrBuf *out, const AxisId *axes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (i) strbuf_addz(out, ", ");
        print_axis(g, out, axes[i]);
    }
}

static void print_list(const Graph *g, StrBuf *out, const char *word, const AxisId *axes,
                       uint32_t count) {
    strbuf_addf(out, " %s (", word);
    print_axes(g, out, axes, count);
    strbuf_addc(out, ')');
}

// ---- header

static void print_axis_line(const Graph *g, const Axis *a, StrBuf *out) {
    strbuf_addz(out, "axis ");
    print_name(out, a->name);
    if (a->extent == EXTENT_UNKNOWN)
        strbuf_addz(out, " = ?");
    else
        strbuf_addf(out, " = %lld", (long long)a->extent);
    if (a->runtime) strbuf_addz(out, " runtime");
    if (a->same_as.i != 0) {
        strbuf_addz(out, " of ");
        print_name(out, graph_axis_at(g, a->same_as)->name);
    }
    strbuf_addc(out, '\n');
}

static void print_init(const Init *init, StrBuf *out) {
    const InitText *text = init_text(init->kind);
    strbuf_addf(out, " = %s", text->text);
    if (text->numbers) {
        strbuf_addc(out, '(');
        strbuf_add_double(out, init->a);
        if (text->numbers == 2) {
            strbuf_addz(out, ", ");
            strbuf_add_double(out, init->b);
        }
        strbuf_addc(out, ')');
    }
    if (init->transform != INIT_AS_IS)
        strbuf_addf(out, " then %s", init_transform_text(init->transform));
}

// f32[e; d -> h, dk]: batch axes; input axes -> output axes.
static void print_leaf_shape(const Graph *g, const Leaf *leaf, StrBuf *out) {
    strbuf_addf(out, " : %s[", dtype_text(leaf->type));
    if (leaf->rank == 0) {
        strbuf_addc(out, ']');
        return;
    }
    const AxisId *inputs = leaf->axes + leaf->batch_count;
    const AxisId *outputs = inputs + leaf->input_count;
    if (leaf->batch_count) {
        print_axes(g, out, leaf->axes, leaf->batch_count);
        strbuf_addz(out, "; ");
    }
    if (leaf->input_count) {
        print_axes(g, out, inputs, leaf->input_count);
        strbuf_addz(out, " -> ");
    }
    print_axes(g, out, outputs, leaf->rank - leaf->batch_count - leaf->input_count);
    strbuf_addc(out, ']');
}

static void print_leaf_line(const Graph *g, const Leaf *leaf, StrBuf *out) {
    strbuf_addf(out, "%s ", op_text(leaf->kind));
    print_name(out, leaf->path);
    print_leaf_shape(g, leaf, out);
    if (leaf->kind != OP_INPUT) print_init(&leaf->init, out);
    if (leaf->index_of.i) {
        strbuf_addz(out, " index of ");
        print_axis(g, out, leaf->index_of);
    }
    if (leaf->trained) strbuf_addz(out, " trained");
    if (leaf->tag_count) {
        strbuf_addz(out, " tags (");
        for (uint32_t i = 0; i < leaf->tag_count; i++) {
            if (i) strbuf_addz(out, ", ");
            print_name(out, leaf->tags[i]);
        }
        strbuf_addc(out, ')');
    }
    strbuf_addc(out, '\n');
}

// ---- values

void band_print(const Band *band, StrBuf *out) {
    if (band->lo == BAND_LEAST)
        strbuf_addz(out, "band -inf");
    else
        strbuf_addf(out, "band %lld", (long long)band->lo);
    if (band->hi == BAND_MOST)
        strbuf_addz(out, ", inf");
    else
        strbuf_addf(out, ", %lld", (long long)band->hi);
}

void graph_print_value(const Graph *g, ValueId id, StrBuf *out) {
    const Value *v = graph_value(g, id);
    unsigned used = op_attrs(v->op);
    strbuf_addf(out, "%%%u = %s", id.i, op_text(v->op));
    for (uint32_t i = 0; i < v->arity; i++)
        strbuf_addf(out, "%s%%%u", i ? ", " : " ", v->in[i].i);
    if (used & ATTR_NUMBER) {
        strbuf_addc(out, ' ');
        strbuf_add_double(out, v->attr.number);
    }
    if (used & ATTR_LEAF) {
        strbuf_addc(out, ' ');
        print_name(out, g->leaves.ptr[v->attr.leaf].path);
    }
    if (used & ATTR_ALONG) print_list(g, out, "along", v->attr.along, v->attr.along_count);
    if (used & ATTR_TO) print_list(g, out, "to", v->attr.to, v->attr.to_count);
    if (used & ATTR_AMOUNT) strbuf_addf(out, " amount %lld", (long long)v->attr.amount);
    if (used & ATTR_BAND) {
        strbuf_addc(out, ' ');
        band_print(&v->attr.band, out);
    }
    strbuf_addf(out, " : %s[", dtype_text(v->type));
    print_axes(g, out, v->axes, v->rank);
    strbuf_addz(out, "]\n");
}

void graph_print(const Graph *g, StrBuf *out) {
    strbuf_addz(out, "graph ");
    print_name(out, g->name);
    strbuf_addz(out, "\n");
    for (uint32_t i = 1; i < g->axes.len; i++)
        print_axis_line(g, &g->axes.ptr[i], out);
    vec_each (const Leaf, leaf, &g->leaves) {
        print_leaf_line(g, leaf, out);
    }
    for (uint32_t i = 1; i < g->values.len; i++)
        graph_print_value(g, (ValueId){i}, out);
    vec_each (const GraphOutput, o, &g->outputs) {
        strbuf_addz(out, "output ");
        print_name(out, o->name);
        strbuf_addf(out, " = %%%u\n", o->value.i);
    }
    vec_each (const GraphUpdate, u, &g->updates) {
        strbuf_addz(out, "update ");
        print_name(out, g->leaves.ptr[u->leaf].path);
        strbuf_addf(out, " = %%%u\n", u->value.i);
    }
}

Hash graph_hash(const Graph *g) {
    StrBuf text = {0};
    graph_print(g, &text);
    Hash hash = hash_bytes(text.ptr, text.len);
    strbuf_release(&text);
    return hash;
}
