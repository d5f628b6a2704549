// graph_read.c: reads the text form that graph_print.c writes. Any bytes may come in: every
// rule that the builder asserts is checked here first, and the first mistake ends the reading.
#include <math.h>

#include "base/check.h"
#include "ir/graph/graph_text.h"
#include "ir/graph/shape_rules.h"

typedef enum {
    TOKEN_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_VALUE,
    TOKEN_ARROW,
    TOKEN_MARK
} TokenKind;

typedef struct {
    TokenKind kind;
    uint32_t start, end;  // bytes of the text
} Token;

typedef struct {
    Diag *diag;
    Graph *g;
    Arena *arena;
    uint32_t file;
    Str text;
    Token token;  // the next one
    uint32_t at;  // end of the token before it
} Reader;

// ---- tokens

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) { return is_letter(c) || is_digit(c) || c == '.'; }

static char char_at(const Reader *r, uint32_t i) {
    if (i >= r->text.len) return '\0';
    return r->text.ptr[i];
}

// Blanks, line ends, and comments from # to the line's end.
static uint32_t skip_blank(const Reader *r, uint32_t i) {
    for (; i < r->text.len; i++) {
        char c = r->text.ptr[i];
        if (c == '#') {
            while (i < r->text.len && r->text.ptr[i] != '\n')
                i++;
        } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            return i;
        }
    }
    return (uint32_t)r->text.len;
}

static uint32_t string_end(const Reader *r, uint32_t i) {
    for (i++; i < r->text.len && r->text.ptr[i] != '"'; i++)
        if (r->text.ptr[i] == '\\') i++;
    return i < r->text.len ? i + 1 : (uint32_t)r->text.len;
}

// A number's sign may also stand before "inf" and within an exponent.
static uint32_t number_end(const Reader *r, uint32_t i) {
    for (i++; i < r->text.len; i++) {
        char c = r->text.ptr[i], before = r->text.ptr[i - 1];
        bool sign = (c == '-' || c == '+') && (before == 'e' || before == 'E');
        if (!is_word(c) && !sign) break;
    }
    return i;
}

static void next(Reader *r) {
    r->at = r->token.end;
    uint32_t i = skip_blank(r, r->token.end), end = i + 1;
    char c = char_at(r, i);
    TokenKind kind = TOKEN_MARK;
    if (i >= r->text.len) {
        kind = TOKEN_END;
        end = i;
    } else if (c == '"') {
        kind = TOKEN_STRING;
        end = string_end(r, i);
    } else if (c == '-' && char_at(r, i + 1) == '>') {
        kind = TOKEN_ARROW;
        end = i + 2;
    } else if (is_digit(c) || c == '-') {
        kind = TOKEN_NUMBER;
        end = number_end(r, i);
    } else if (is_letter(c) || c == '%') {
        kind = c == '%' ? TOKEN_VALUE : TOKEN_NAME;
        while (is_word(char_at(r, end)))
            end++;
    }
    r->token = (Token){kind, i, end};
}

static Span token_span(const Reader *r) {
    return (Span){r->file, r->token.start, r->token.end};
}

static Str token_text(const Reader *r) {
    return (Str){r->text.ptr + r->token.start, r->token.end - r->token.start};
}

static bool expected(Reader *r, const char *what) {
    if (r->token.kind == TOKEN_END)
        return diag_error(r->diag, token_span(r), "expected %s before the end", what);
    Str got = token_text(r);
    return diag_error(r->diag, token_span(r), "expected %s, got '%.*s'", what,
                      (int)(got.len < 40 ? got.len : 40), got.ptr);
}

static bool is_mark(const Reader *r, char c) {
    return r->token.kind == TOKEN_MARK && r->text.ptr[r->token.start] == c;
}

static bool is_name(const Reader *r, const char *name) {
    return r->token.kind == TOKEN_NAME && str_eq(token_text(r), str_of(name));
}

static bool accept_mark(Reader *r, char c) {
    bool found = is_mark(r, c);
    if (found) next(r);
    return found;
}

static bool accept_name(Reader *r, const char *name) {
    bool found = is_name(r, name);
    if (found) next(r);
    return found;
}

static bool expect_mark(Reader *r, char c) {
    if (accept_mark(r, c)) return true;
    return expected(r, (char[]){'\'', c, '\'', '\0'});
}

static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The bytes between the quotes: \" \\ and \xNN stand for one byte.
static bool unquote(Reader *r, Str *out) {
    Str raw = token_text(r);
    if (raw.len < 2 || raw.ptr[raw.len - 1] != '"')
        return diag_error(r->diag, token_span(r), "the string has no end");
    char *bytes = arena_alloc(r->arena, raw.len, 1);
    size_t n = 0;
    for (size_t i = 1; i + 1 < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '\\') {
            c = raw.ptr[++i];
            int high = c == 'x' && i + 3 < raw.len ? hex_digit(raw.ptr[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(raw.ptr[i + 2]) : -1;
            bool closed = i + 1 < raw.len;
            if (!closed || (c != '"' && c != '\\' && low < 0))
                return diag_error(r->diag, token_span(r), "bad escape in the string");
            if (low >= 0) {
                c = (char)(high * 16 + low);
                i += 2;
            }
        }
        bytes[n++] = c;
    }
    *out = (Str){bytes, n};
    return true;
}

static bool read_name(Reader *r, const char *what, Str *out) {
    if (r->token.kind == TOKEN_NAME)
        *out = token_text(r);
    else if (r->token.kind != TOKEN_STRING)
        return expected(r, what);
    else if (!unquote(r, out))
        return false;
    next(r);
    return true;
}

static bool read_number(Reader *r, double *out) {
    bool number = r->token.kind == TOKEN_NUMBER || r->token.kind == TOKEN_NAME;
    if (!number || !str_to_double(token_text(r), out)) return expected(r, "a number");
    next(r);
    return true;
}

static bool read_integer(Reader *r, int64_t *out) {
    if (r->token.kind != TOKEN_NUMBER || !str_to_int64(token_text(r), out))
        return expected(r, "an integer");
    next(r);
    return true;
}

static bool read_axis(Reader *r, AxisId *out) {
    Span span = token_span(r);
    Str name = {0};
    if (!read_name(r, "an axis", &name)) return false;
    *out = graph_axis_find(r->g, name);
    return out->i != 0 || diag_error(r->diag, span, "there is no axis '%.*s'", STR_ARG(name));
}

static bool read_type(Reader *r, DType *out) {
    if (r->token.kind != TOKEN_NAME || !dtype_parse(token_text(r), out))
        return expected(r, "a type");
    next(r);
    return true;
}

// %N, which must have been defined.
static bool read_value(Reader *r, ValueId *out) {
    int64_t number = 0;
    Str digits = token_text(r);
    if (r->token.kind != TOKEN_VALUE) return expected(r, "a value");
    digits = (Str){digits.ptr + 1, digits.len - 1};
    if (!str_to_int64(digits, &number) || number < 1 || number >= r->g->values.len)
        return diag_error(r->diag, token_span(r), "there is no value %%%.*s before this",
                          STR_ARG(digits));
    *out = (ValueId){(uint32_t)number};
    next(r);
    return true;
}

static bool read_leaf_name(Reader *r, uint32_t *out) {
    Span span = token_span(r);
    Str path = {0};
    if (!read_name(r, "a leaf", &path)) return false;
    uint64_t index = 0;
    if (!map_get(&r->g->leaf_paths, path, &index))
        return diag_error(r->diag, span, "there is no leaf '%.*s'", STR_ARG(path));
    *out = (uint32_t)index;
    return true;
}

// ---- header

// The run-time axis, declared before, of which another is a second role.
static bool read_same_as(Reader *r, AxisId *out) {
    Span span = token_span(r);
    Str name = {0};
    if (!read_name(r, "the axis's name", &name)) return false;
    *out = graph_axis_find(r->g, name);
    if (out->i != 0 && graph_axis_at(r->g, *out)->runtime) return true;
    return diag_error(r->diag, span, "there is no run-time axis '%.*s'", STR_ARG(name));
}

// axis = "axis" NAME "=" (INTEGER | "?") ["runtime" ["of" NAME]]
static bool read_axis_line(Reader *r) {
    Span span = token_span(r);
    Str name = {0};
    if (!read_name(r, "the axis's name", &name) || !expect_mark(r, '=')) return false;
    if (name.len == 0) return diag_error(r->diag, span, "the axis has no name");
    if (graph_axis_find(r->g, name).i)
        return diag_error(r->diag, span, "there is an axis '%.*s' already", STR_ARG(name));
    int64_t extent = EXTENT_UNKNOWN;
    Span extent_span = token_span(r);
    bool known = !accept_mark(r, '?');
    if (known && !read_integer(r, &extent)) return false;
    bool runtime = accept_name(r, "runtime");
    if (known ? extent < 1 : !runtime)
        return diag_error(r->diag, extent_span, "this axis needs an extent of at least 1");
    AxisId same_as = {0};
    if (runtime && accept_name(r, "of") && !read_same_as(r, &same_as)) return false;
    AxisId axis = graph_axis(r->g, name, extent, runtime);
    r->g->axes.ptr[axis.i].same_as = same_as;
    return true;
}

// shape = TYPE "[" [axes ";"] [axes "->"] [axes] "]"
static bool read_leaf_shape(Reader *r, Leaf *leaf, AxisId axes[GRAPH_MAX_RANK]) {
    if (!read_type(r, &leaf->type) || !expect_mark(r, '[')) return false;
    leaf->axes = axes;
    while (!is_mark(r, ']')) {
        if (leaf->rank == GRAPH_MAX_RANK)
            return diag_error(r->diag, token_span(r), "too many axes");
        if (!read_axis(r, &axes[leaf->rank])) return false;
        leaf->rank++;
        if (accept_mark(r, ',')) continue;
        if (is_mark(r, ';') && leaf->batch_count == 0 && leaf->input_count == 0) {
            leaf->batch_count = leaf->rank;
            next(r);
        } else if (r->token.kind == TOKEN_ARROW && leaf->input_count == 0) {
            leaf->input_count = (uint8_t)(leaf->rank - leaf->batch_count);
            next(r);
        } else if (!is_mark(r, ']')) {
            return expected(r, "',' or ']'");
        }
    }
    return expect_mark(r, ']');
}

// init = NAME ["(" NUMBER ["," NUMBER] ")"] ["then" NAME]
static bool read_init(Reader *r, Init *init) {
    if (r->token.kind != TOKEN_NAME || !init_parse(token_text(r), &init->kind))
        return expected(r, "an initialiser");
    next(r);
    int numbers = init_text(init->kind)->numbers;
    if (numbers) {
        if (!expect_mark(r, '(') || !read_number(r, &init->a)) return false;
        if (numbers == 2 && (!expect_mark(r, ',') || !read_number(r, &init->b))) return false;
        if (!expect_mark(r, ')')) return false;
    }
    if (!accept_name(r, "then")) return true;
    if (r->token.kind != TOKEN_NAME || !init_transform_parse(token_text(r), &init->transform))
        return expected(r, "a transform");
    next(r);
    return true;
}

static bool read_tags(Reader *r, Leaf *leaf) {
    Vec(Str) tags = {0};
    if (!expect_mark(r, '(')) return false;
    do {
        Str tag;
        if (!read_name(r, "a tag", &tag)) return false;
        vec_push(r->arena, &tags, tag);
    } while (accept_mark(r, ','));
    leaf->tags = tags.ptr;
    leaf->tag_count = tags.len;
    return expect_mark(r, ')');
}

// leaf = ("param" | "state" | "input") NAME ":" shape ["=" init] ["index" "of" AXIS]
// ["trained"] ["tags" "(" NAMES ")"]
static bool read_leaf_line(Reader *r, GraphOp kind) {
    Leaf leaf = {.kind = kind, .span = token_span(r)};
    AxisId axes[GRAPH_MAX_RANK];
    if (!read_name(r, "the leaf's name", &leaf.path) || !expect_mark(r, ':')) return false;
    if (leaf.path.len == 0) return diag_error(r->diag, leaf.span, "the leaf has no name");
    if (map_get(&r->g->leaf_paths, leaf.path, NULL))
        return diag_error(r->diag, leaf.span, "there is a leaf '%.*s' already",
                          STR_ARG(leaf.path));
    if (!read_leaf_shape(r, &leaf, axes)) return false;
    if (kind != OP_INPUT && (!expect_mark(r, '=') || !read_init(r, &leaf.init))) return false;
    if (accept_name(r, "index")) {
        if (!accept_name(r, "of")) return expected(r, "'of'");
        if (!read_axis(r, &leaf.index_of)) return false;
    }
    leaf.trained = accept_name(r, "trained");
    if (accept_name(r, "tags") && !read_tags(r, &leaf)) return false;
    graph_leaf_declare(r->g, &leaf);
    return true;
}

// ---- values

typedef Vec(AxisId) AxisList;

static bool read_axis_list(Reader *r, char open, char close, AxisList *out) {
    if (!expect_mark(r, open)) return false;
    while (!is_mark(r, close)) {
        AxisId axis;
        if (out->len == UINT8_MAX) return diag_error(r->diag, token_span(r), "too many axes");
        if (!read_axis(r, &axis)) return false;
        vec_push(r->arena, out, axis);
        if (!accept_mark(r, ',') && !is_mark(r, close))
            return expected(r, "',' or the end of the list");
    }
    return expect_mark(r, close);
}

static bool read_list(Reader *r, const char *word, const AxisId **list, uint8_t *count) {
    AxisList axes = {0};
    if (!accept_name(r, word))
        return diag_error(r->diag, token_span(r), "expected '%s (...)'", word);
    if (!read_axis_list(r, '(', ')', &axes)) return false;
    *list = axes.ptr;
    *count = (uint8_t)axes.len;
    return true;
}

// A side of a band: an integer, or `none` if it is an infinity.
static bool read_bound(Reader *r, int64_t none, int64_t *out) {
    double number = 0;
    if (r->token.kind == TOKEN_NUMBER && str_to_int64(token_text(r), out)) {
        next(r);
        return true;
    }
    Span span = token_span(r);
    if (!read_number(r, &number)) return false;
    *out = none;
    return number == (none < 0 ? -HUGE_VAL : HUGE_VAL) ||
           diag_error(r->diag, span, "expected an integer or %sinf", none < 0 ? "-" : "");
}

// "band" (INTEGER | "-inf") "," (INTEGER | "inf")
static bool read_band(Reader *r, Band *out) {
    if (!accept_name(r, "band")) return expected(r, "'band'");
    if (!read_bound(r, BAND_LEAST, &out->lo) || !expect_mark(r, ',')) return false;
    return read_bound(r, BAND_MOST, &out->hi);
}

static bool read_attr(Reader *r, GraphOp op, GraphAttr *attr) {
    unsigned used = op_attrs(op);
    if ((used & ATTR_NUMBER) && !read_number(r, &attr->number)) return false;
    if ((used & ATTR_LEAF) && !read_leaf_name(r, &attr->leaf)) return false;
    if ((used & ATTR_ALONG) && !read_list(r, "along", &attr->along, &attr->along_count))
        return false;
    if ((used & ATTR_TO) && !read_list(r, "to", &attr->to, &attr->to_count)) return false;
    if (used & ATTR_BAND) return read_band(r, &attr->band);
    if (!(used & ATTR_AMOUNT)) return true;
    if (!accept_name(r, "amount")) return expected(r, "'amount'");
    return read_integer(r, &attr->amount);
}

typedef struct {
    GraphOp op;
    Vec(ValueId) in;
    GraphAttr attr;
    DType type;
    AxisList axes;
    Span span;
} ValueLine;

static bool add_value(Reader *r, const ValueLine *line) {
    Graph *g = r->g;
    const char *why =
        graph_rule_violation(g, line->op, (Operands){line->in.ptr, line->in.len}, line->attr);
    if (why) return diag_error(r->diag, line->span, "%s", why);
    bool leaf = op_attrs(line->op) & ATTR_LEAF;
    if (leaf && g->leaf_values.ptr[line->attr.leaf].i)
        return diag_error(r->diag, line->span, "this leaf has a value already");
    ValueId id = leaf ? graph_leaf_value(g, line->attr.leaf, line->span)
                      : graph_add(g, line->op, (Operands){line->in.ptr, line->in.len},
                                  line->attr, line->span);
    const Value *v = graph_value(g, id);
    bool same = v->type == line->type && v->rank == line->axes.len;
    for (uint32_t i = 0; i < v->rank && same; i++)
        same = v->axes[i].i == line->axes.ptr[i].i;
    return same || diag_error(r->diag, line->span, "axes or type are not those that '%s' gives",
                              op_text(line->op));
}

// value = "%" N "=" OP [%N {"," %N}] [NUMBER] [LEAF] ["along" list] ["to" list] ["amount"
// INTEGER] [band] ":" TYPE "[" axes "]"
static bool read_value_line(Reader *r) {
    ValueLine line = {0};
    uint32_t start = r->token.start;
    Str id = token_text(r);
    if (!str_eq(id, str_printf(r->arena, "%%%u", r->g->values.len)))
        return diag_error(r->diag, token_span(r),
                          "expected '%%%u': values are numbered in order", r->g->values.len);
    next(r);
    if (!expect_mark(r, '=')) return false;
    if (r->token.kind != TOKEN_NAME || !op_parse(token_text(r), &line.op))
        return expected(r, "an operation");
    next(r);
    while (r->token.kind == TOKEN_VALUE) {
        ValueId in;
        if (!read_value(r, &in)) return false;
        vec_push(r->arena, &line.in, in);
        if (!accept_mark(r, ',')) break;
    }
    if (!read_attr(r, line.op, &line.attr) || !expect_mark(r, ':') || !read_type(r, &line.type))
        return false;
    if (op_attrs(line.op) & ATTR_TYPE) line.attr.type = line.type;
    if (!read_axis_list(r, '[', ']', &line.axes)) return false;
    line.span = (Span){r->file, start, r->at};
    return add_value(r, &line);
}

// ---- results

static bool read_output_line(Reader *r) {
    Span span = token_span(r);
    Str name = {0};
    ValueId value;
    if (!read_name(r, "the output's name", &name) || !expect_mark(r, '=') ||
        !read_value(r, &value))
        return false;
    if (graph_output_find(r->g, name).i)
        return diag_error(r->diag, span, "there is an output '%.*s' already", STR_ARG(name));
    graph_output(r->g, name, value);
    return true;
}

static bool read_update_line(Reader *r) {
    uint32_t leaf;
    ValueId value;
    if (!read_leaf_name(r, &leaf) || !expect_mark(r, '=') || !read_value(r, &value))
        return false;
    graph_update(r->g, leaf, value);
    return true;
}

// ---- the whole

static bool read_line(Reader *r) {
    if (r->token.kind == TOKEN_VALUE) return read_value_line(r);
    if (accept_name(r, "axis")) return read_axis_line(r);
    if (accept_name(r, "param")) return read_leaf_line(r, OP_PARAM);
    if (accept_name(r, "state")) return read_leaf_line(r, OP_STATE);
    if (accept_name(r, "input")) return read_leaf_line(r, OP_INPUT);
    if (accept_name(r, "output")) return read_output_line(r);
    if (accept_name(r, "update")) return read_update_line(r);
    return expected(r, "a declaration or a value");
}

// graph = "graph" NAME {axis | leaf | value | output | update}
bool graph_read(Diag *diag, Arena *arena, uint32_t file, Graph **out) {
    Reader r = {
        .diag = diag, .arena = arena, .file = file, .text = diag_source(diag, file)->text};
    if (r.text.len >= UINT32_MAX)
        return diag_error(diag, (Span){file, 0, 0}, "the graph is too large");
    next(&r);
    Str name = {0};
    if (!accept_name(&r, "graph")) return expected(&r, "'graph'");
    if (!read_name(&r, "the graph's name", &name)) return false;
    r.g = graph_new(arena, name);
    while (r.token.kind != TOKEN_END)
        if (!read_line(&r)) return false;
    *out = r.g;
    return graph_verify(diag, r.g);
}
