// tile_read.c: tile programs from text (docs/tile_ir.md). Line by line; the first mistake ends
// the reading. Whatever the text, no builder is called with something that it would call a bug.
#include "base/check.h"
#include "ir/tile/tile_access.h"
#include "ir/tile/tile_text.h"

typedef struct {
    Diag *diag;
    Arena *arena;
    uint32_t file;
    Str text;
    size_t at, line;  // where reading stands, and where its line starts
    TileProgram *p;
} Reader;

// What stands behind the colon of an operation.
typedef struct {
    DType type;
    DimSet dims;
} Tail;

// ---- words

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '.';
}

// The end of the text reads like the end of a line.
static char peek(const Reader *r) {
    if (r->at == r->text.len) return '\n';
    return r->text.ptr[r->at];
}

// Blanks, and a comment up to the end of the line.
static void blanks_skip(Reader *r) {
    while (r->at < r->text.len && (r->text.ptr[r->at] == ' ' || r->text.ptr[r->at] == '\t'))
        r->at++;
    if (peek(r) != '#') return;
    while (r->at < r->text.len && r->text.ptr[r->at] != '\n')
        r->at++;
}

static Span span_here(const Reader *r) {
    size_t end = r->at < r->text.len ? r->at + 1 : r->at;
    return (Span){r->file, (uint32_t)r->at, (uint32_t)end};
}

static Span span_line(const Reader *r) {
    size_t start = r->line, end = r->at;
    while (start < end && r->text.ptr[start] == ' ')
        start++;
    return (Span){r->file, (uint32_t)start, (uint32_t)end};
}

static bool word_take(Reader *r, const char *word) {
    blanks_skip(r);
    Str want = str_of(word), rest = {r->text.ptr + r->at, r->text.len - r->at};
    if (!str_starts(rest, want)) return false;
    bool longer = rest.len > want.len && name_char(want.ptr[want.len - 1]) &&
                  name_char(rest.ptr[want.len]);
    if (longer) return false;
    r->at += want.len;
    return true;
}

static bool word_expect(Reader *r, const char *word) {
    return word_take(r, word) || diag_error(r->diag, span_here(r), "'%s' expected", word);
}

static bool name_read(Reader *r, Str *out) {
    blanks_skip(r);
    size_t start = r->at;
    while (r->at < r->text.len && name_char(r->text.ptr[r->at]))
        r->at++;
    *out = (Str){r->text.ptr + start, r->at - start};
    return out->len || diag_error(r->diag, span_here(r), "a name expected");
}

static bool name_new_read(Reader *r, Str *out) {
    if (!name_read(r, out)) return false;
    if (tile_name_legal(*out)) return true;
    return diag_error(r->diag, span_line(r), "'%.*s' is no name", STR_ARG(*out));
}

// Digits, with a sign if `negative`.
static bool number_read(Reader *r, bool negative, int64_t *out) {
    blanks_skip(r);
    size_t start = r->at;
    if (negative && peek(r) == '-') r->at++;
    while (r->at < r->text.len && r->text.ptr[r->at] >= '0' && r->text.ptr[r->at] <= '9')
        r->at++;
    Str digits = {r->text.ptr + start, r->at - start};
    if (!str_to_int64(digits, out))
        return diag_error(r->diag, span_here(r), "a number expected");
    if (*out >= -TILE_MAX_NUMBER && *out <= TILE_MAX_NUMBER) return true;
    return diag_error(r->diag, span_line(r), "%.*s is too large", STR_ARG(digits));
}

static bool positive_read(Reader *r, int64_t *out) {
    if (!number_read(r, false, out)) return false;
    return *out >= 1 || diag_error(r->diag, span_line(r), "a number above 0 expected");
}

static bool type_read(Reader *r, DType *out) {
    Str name = {0};
    if (!name_read(r, &name)) return false;
    return dtype_parse(name, out) ||
           diag_error(r->diag, span_line(r), "'%.*s' is no type", STR_ARG(name));
}

// %7, a value above.
static bool operand_read(Reader *r, TileId *out) {
    int64_t number = 0;
    if (!word_expect(r, "%") || !number_read(r, false, &number)) return false;
    if (number < 1 || number >= r->p->ops.len || !tile_op_has_value(r->p->ops.ptr[number].kind))
        return diag_error(r->diag, span_line(r), "%%%lld is no value above", (long long)number);
    *out = (TileId){(uint32_t)number};
    return true;
}

static bool row_number_operand_read(Reader *r, TileId *out) {
    if (!operand_read(r, out)) return false;
    if (tile_op(r->p, *out)->type == DTYPE_I32) return true;
    return diag_error(r->diag, span_line(r), "row numbers are i32, %%%u is %s", out->i,
                      dtype_text(tile_op(r->p, *out)->type));
}

static bool dim_find(const TileProgram *p, Str name, uint32_t *out) {
    for (uint32_t d = 0; d < p->dim_count; d++) {
        if (!str_eq(p->dims[d].name, name)) continue;
        *out = d;
        return true;
    }
    return false;
}

static bool dim_name_read(Reader *r, uint32_t *out) {
    Str name = {0};
    if (!name_read(r, &name)) return false;
    return dim_find(r->p, name, out) ||
           diag_error(r->diag, span_line(r), "no dimension is called '%.*s'", STR_ARG(name));
}

static bool arg_find(const TileProgram *p, Str name, uint32_t *out) {
    for (uint32_t i = 0; i < p->args.len; i++) {
        if (!str_eq(p->args.ptr[i].name, name)) continue;
        *out = i;
        return true;
    }
    return false;
}

// ( NAME , NAME )
static bool dims_read(Reader *r, DimSet *out) {
    *out = 0;
    if (!word_expect(r, "(")) return false;
    if (word_take(r, ")")) return true;
    do {
        uint32_t d = 0;
        if (!dim_name_read(r, &d)) return false;
        *out |= (DimSet)(1U << d);
    } while (word_take(r, ","));
    return word_expect(r, ")");
}

// : TYPE ( NAME , NAME )
static bool tail_read(Reader *r, Tail *out) {
    return word_expect(r, ":") && type_read(r, &out->type) && dims_read(r, &out->dims);
}

// ---- accesses

// DIM [/ NUMBER] [% NUMBER] [(+|-) NUMBER]
static bool index_read(Reader *r, TileGuard *out) {
    uint32_t d = 0;
    if (!dim_name_read(r, &d)) return false;
    out->dim = (int8_t)d;
    out->div = 1;
    if (word_take(r, "/") && !positive_read(r, &out->div)) return false;
    out->mod = tile_usual_mod(r->p->dims[d].extent, out->div);
    if (word_take(r, "%") && !positive_read(r, &out->mod)) return false;
    bool minus = word_take(r, "-");
    if (!minus && !word_take(r, "+")) return true;
    if (!number_read(r, false, &out->shift)) return false;
    if (minus) out->shift = -out->shift;
    return true;
}

// DIM [* NUMBER] | NUMBER
static bool term_read(Reader *r, bool minus, TileAccess *access) {
    blanks_skip(r);
    int64_t number = 1;
    if (peek(r) >= '0' && peek(r) <= '9') {
        if (!number_read(r, false, &number)) return false;
        if (access->offset) return diag_error(r->diag, span_line(r), "two offsets");
        access->offset = minus ? -number : number;
        return true;
    }
    uint32_t d = 0;
    if (!dim_name_read(r, &d)) return false;
    if (word_take(r, "*") && !positive_read(r, &number)) return false;
    if (access->stride[d])
        return diag_error(r->diag, span_line(r), "dimension '%.*s' stands twice",
                          STR_ARG(r->p->dims[d].name));
    access->stride[d] = minus ? -number : number;
    return true;
}

// ARG [ [-] TERM { (+|-) TERM } ]
static bool place_read(Reader *r, TileAccess *out) {
    Str name = {0};
    uint32_t arg = 0;
    if (!name_read(r, &name)) return false;
    if (!arg_find(r->p, name, &arg))
        return diag_error(r->diag, span_line(r), "no argument is called '%.*s'", STR_ARG(name));
    *out = tile_access(arg);
    if (!word_expect(r, "[")) return false;
    bool minus = word_take(r, "-");
    while (true) {
        if (!term_read(r, minus, out)) return false;
        if (word_take(r, "]")) return true;
        minus = word_take(r, "-");
        if (!minus && !word_expect(r, "+")) return false;
    }
}

// [ if NUMBER <= INDEX < NUMBER [ and NUMBER <= INDEX < NUMBER ] ]
static bool guards_read(Reader *r, TileAccess *out) {
    if (!word_take(r, "if")) return true;
    for (uint32_t i = 0; i < 2; i++) {
        TileGuard g = {0};
        if (!number_read(r, true, &g.lo) || !word_expect(r, "<=") || !index_read(r, &g))
            return false;
        if (!word_expect(r, "<") || !number_read(r, true, &g.hi)) return false;
        out->guard[i] = g;
        if (!word_take(r, "and")) return true;
    }
    return diag_error(r->diag, span_line(r), "an access has at most two guards");
}

// at %J * STRIDE of COUNT
static bool rows_read(Reader *r, TileRows *out) {
    return word_expect(r, "at") && row_number_operand_read(r, &out->index) &&
           word_expect(r, "*") && number_read(r, true, &out->stride) && word_expect(r, "of") &&
           number_read(r, false, &out->count);
}

// ---- operations: each reads what follows its word and adds the operation; its tail is left in
// `tail`

static bool const_read(Reader *r, Tail *tail) {
    blanks_skip(r);
    size_t start = r->at;
    while (r->at < r->text.len && r->text.ptr[r->at] > ' ' && r->text.ptr[r->at] != ':')
        r->at++;
    double number = 0;
    if (!str_to_double((Str){r->text.ptr + start, r->at - start}, &number))
        return diag_error(r->diag, span_line(r), "a number expected");
    if (!tail_read(r, tail)) return false;
    tile_const(r->p, number, tail->type);
    return true;
}

static bool index_op_read(Reader *r, Tail *tail) {
    TileGuard index = {0};
    if (!index_read(r, &index) || !tail_read(r, tail)) return false;
    tile_index(r->p, index, span_line(r));
    return true;
}

static bool load_read(Reader *r, Tail *tail) {
    TileAccess access = {0};
    if (!place_read(r, &access) || !guards_read(r, &access) || !tail_read(r, tail))
        return false;
    // What moves by tiles does not stand at the tokens.
    bool by_tiles = r->p->skeleton == TILE_CHUNK && !(tail->dims & tile_tokens(r->p));
    if (by_tiles)
        tile_load_by_tiles(r->p, access, span_line(r));
    else
        tile_load(r->p, access, span_line(r));
    return true;
}

static bool gather_read(Reader *r, Tail *tail) {
    TileAccess access = {0};
    TileRows rows = {0};
    if (!place_read(r, &access) || !rows_read(r, &rows)) return false;
    if (!guards_read(r, &access) || !tail_read(r, tail)) return false;
    tile_gather(r->p, access, rows, span_line(r));
    return true;
}

static bool fn_read(Reader *r, GraphOp *out) {
    Str name = {0};
    if (!name_read(r, &name)) return false;
    if (op_parse(name, out) && op_is_elementwise(*out)) return true;
    return diag_error(r->diag, span_line(r), "'%.*s' is no elementwise operation",
                      STR_ARG(name));
}

static bool map_read(Reader *r, Tail *tail) {
    GraphOp fn = OP_NONE;
    TileId in[3] = {{0}};
    if (!fn_read(r, &fn)) return false;
    uint32_t arity = (uint32_t)op_arity(fn);
    ASSERT(arity <= 3);
    for (uint32_t i = 0; i < arity; i++)
        if ((i && !word_expect(r, ",")) || !operand_read(r, &in[i])) return false;
    if (!tail_read(r, tail)) return false;
    tile_map(r->p, fn, tail->type, in, span_line(r));
    return true;
}

static bool reduce_read(Reader *r, GraphOp fn, Tail *tail) {
    TileId x = {0};
    DimSet over = 0;
    if (!operand_read(r, &x) || !word_expect(r, "over") || !dims_read(r, &over)) return false;
    if (!tail_read(r, tail)) return false;
    tile_reduce(r->p, fn, x, over, span_line(r));
    return true;
}

static bool pair_read(Reader *r, TileId *a, TileId *b) {
    return operand_read(r, a) && word_expect(r, ",") && operand_read(r, b);
}

static bool dot_read(Reader *r, Tail *tail) {
    TileDecayed in = {{0}, {0}, {0}};
    DimSet over = 0;
    if (!pair_read(r, &in.a, &in.b)) return false;
    if (word_take(r, "decayed") && !operand_read(r, &in.alpha)) return false;
    if (!word_expect(r, "over") || !dims_read(r, &over) || !tail_read(r, tail)) return false;
    if (in.alpha.i)
        tile_dot_decayed(r->p, in, over, span_line(r));
    else
        tile_dot(r->p, in.a, in.b, over, span_line(r));
    return true;
}

static bool carry_read(Reader *r, Tail *tail) {
    TileId init = {0};
    if (!operand_read(r, &init) || !tail_read(r, tail)) return false;
    tile_carry(r->p, init, tail->dims, span_line(r));
    return true;
}

// next %CARRY = %VALUE
static bool next_read(Reader *r, Tail *tail) {
    TileId carry = {0}, x = {0};
    if (!operand_read(r, &carry) || !word_expect(r, "=") || !operand_read(r, &x)) return false;
    if (tile_op(r->p, carry)->kind != TILE_CARRY)
        return diag_error(r->diag, span_line(r), "%%%u is no carry", carry.i);
    if (!tail_read(r, tail)) return false;
    tile_next(r->p, carry, x, span_line(r));
    return true;
}

// scan (mul|add) %X (upto|before|after|from|all) ( M )
static bool scan_read(Reader *r, Tail *tail) {
    TileId x = {0};
    DimSet over = 0;
    GraphOp fn = word_take(r, op_text(OP_MUL)) ? OP_MUL : OP_ADD;
    if (fn == OP_ADD && !word_expect(r, op_text(OP_ADD))) return false;
    if (!operand_read(r, &x)) return false;
    int way = WAY_UPTO;
    while (way < WAY_ALL && !word_take(r, tile_way_text((TileWay)way)))
        way++;
    if (way == WAY_ALL && !word_expect(r, tile_way_text(WAY_ALL))) return false;
    if (!dims_read(r, &over) || !tail_read(r, tail)) return false;
    if (over != tile_role_dims(r->p, DIM_M))
        return diag_error(r->diag, span_line(r), "a scan is over the dimension of role m");
    tile_scan(r->p, fn, x, (TileWay)way, span_line(r));
    return true;
}

static bool solve_read(Reader *r, Tail *tail) {
    TileId a = {0}, b = {0};
    if (!pair_read(r, &a, &b)) return false;
    bool transposed = word_take(r, tile_way_text(WAY_TRANSPOSED));
    if (!tail_read(r, tail)) return false;
    tile_solve(r->p, a, b, transposed, span_line(r));
    return true;
}

static bool turn_read(Reader *r, Tail *tail) {
    TileId x = {0};
    if (!operand_read(r, &x) || !tail_read(r, tail)) return false;
    tile_turn(r->p, x, span_line(r));
    return true;
}

static bool store_read(Reader *r, Tail *tail) {
    TileAccess access = {0};
    TileId x = {0};
    if (!place_read(r, &access) || !guards_read(r, &access)) return false;
    if (!word_expect(r, "=") || !operand_read(r, &x) || !tail_read(r, tail)) return false;
    tile_store(r->p, access, x, span_line(r));
    return true;
}

static bool scatter_read(Reader *r, bool adds, Tail *tail) {
    TileAccess access = {0};
    TileRows rows = {0};
    TileId x = {0};
    if (!place_read(r, &access) || !rows_read(r, &rows) || !guards_read(r, &access))
        return false;
    if (!word_expect(r, "=") || !operand_read(r, &x) || !tail_read(r, tail)) return false;
    (adds ? tile_scatter_add : tile_scatter_put)(r->p, access, rows, x, span_line(r));
    return true;
}

// limit %COUNT over ( M or K )
static bool limit_read(Reader *r, Tail *tail) {
    TileId count = {0};
    DimSet over = 0;
    if (!operand_read(r, &count) || !word_expect(r, "over") || !dims_read(r, &over) ||
        !tail_read(r, tail))
        return false;
    tile_limit(r->p, count, over, span_line(r));
    return true;
}

// start %FIRST [over ( M )]
static bool start_read(Reader *r, Tail *tail) {
    TileId first = {0};
    DimSet over = 0;
    if (!operand_read(r, &first) || (word_take(r, "over") && !dims_read(r, &over)) ||
        !tail_read(r, tail))
        return false;
    tile_start(r->p, first, over, span_line(r));
    return true;
}

// sort PLACE = %VALUE by %KEY of GROUPS
static bool sort_read(Reader *r, Tail *tail) {
    TileAccess access = {0};
    TileSorted of = {0};
    if (!place_read(r, &access) || !word_expect(r, "=") || !operand_read(r, &of.x))
        return false;
    if (!word_expect(r, "by") || !operand_read(r, &of.key) || !word_expect(r, "of"))
        return false;
    if (!positive_read(r, &of.groups) || !tail_read(r, tail)) return false;
    tile_sort(r->p, access, of, span_line(r));
    return true;
}

static bool value_read(Reader *r, Tail *tail) {
    int64_t number = 0;
    if (!number_read(r, false, &number)) return false;
    if (number != r->p->ops.len)
        return diag_error(r->diag, span_line(r), "operation %%%u comes here", r->p->ops.len);
    if (!word_expect(r, "=")) return false;
    if (word_take(r, "const")) return const_read(r, tail);
    if (word_take(r, "index")) return index_op_read(r, tail);
    if (word_take(r, "load")) return load_read(r, tail);
    if (word_take(r, "gather")) return gather_read(r, tail);
    if (word_take(r, "map")) return map_read(r, tail);
    if (word_take(r, op_text(OP_REDUCE_SUM))) return reduce_read(r, OP_REDUCE_SUM, tail);
    if (word_take(r, op_text(OP_REDUCE_MAX))) return reduce_read(r, OP_REDUCE_MAX, tail);
    if (word_take(r, "dot")) return dot_read(r, tail);
    if (word_take(r, "carry")) return carry_read(r, tail);
    if (word_take(r, "scan")) return scan_read(r, tail);
    if (word_take(r, "solve")) return solve_read(r, tail);
    if (word_take(r, "turn")) return turn_read(r, tail);
    return diag_error(r->diag, span_here(r), "an operation expected");
}

// The type and dims of an operation follow from its operands: the text may not claim others.
static bool op_checked(Reader *r, const Tail *tail) {
    const TileOp *op = &r->p->ops.ptr[r->p->ops.len - 1];
    if (op->type != tail->type)
        return diag_error(r->diag, span_line(r), "the value is %s, not %s",
                          dtype_text(op->type), dtype_text(tail->type));
    if (op->dims == tail->dims) return true;
    return diag_error(r->diag, span_line(r), "the operation stands at other dimensions");
}

// ---- lines

static bool dim_read(Reader *r, TileRole role) {
    Str name = {0};
    uint32_t taken = 0;
    int64_t extent = 0, tile = 0;
    if (!name_new_read(r, &name) || !word_expect(r, "=") || !positive_read(r, &extent))
        return false;
    if (dim_find(r->p, name, &taken))
        return diag_error(r->diag, span_line(r), "there is another dimension '%.*s'",
                          STR_ARG(name));
    if (r->p->dim_count == TILE_MAX_DIMS)
        return diag_error(r->diag, span_line(r), "more than %d dimensions", TILE_MAX_DIMS);
    tile = tile_usual_tile(role, extent);
    if (word_take(r, "tile") && !positive_read(r, &tile)) return false;
    if (tile > extent)
        return diag_error(r->diag, span_line(r), "the tile is larger than the extent");
    tile_dim(r->p, name, extent, tile, role);
    return true;
}

// arg NAME : TYPE [ ELEMENTS ]
static bool arg_read(Reader *r) {
    Str name = {0};
    uint32_t taken = 0;
    DType type = DTYPE_F32;
    int64_t elements = 0;
    if (!name_new_read(r, &name) || !word_expect(r, ":") || !type_read(r, &type)) return false;
    if (!word_expect(r, "[") || !number_read(r, false, &elements) || !word_expect(r, "]"))
        return false;
    if (arg_find(r->p, name, &taken))
        return diag_error(r->diag, span_line(r), "there is another argument '%.*s'",
                          STR_ARG(name));
    tile_arg(r->p, name, type, elements);
    return true;
}

// knob NAME = NUMBER
static bool knob_read(Reader *r) {
    Str name = {0};
    int64_t value = 0;
    if (!name_new_read(r, &name) || !word_expect(r, "=") || !number_read(r, true, &value))
        return false;
    const char *text = arena_strndup(r->arena, name.ptr, name.len);
    uint32_t before = r->p->knobs.len;
    tile_knob_set(r->p, text, value);
    return r->p->knobs.len > before ||
           diag_error(r->diag, span_line(r), "knob '%s' stands twice", text);
}

// A side of a band: a number, or `none` if it is an infinity.
static bool bound_read(Reader *r, const char *infinity, int64_t none, int64_t *out) {
    *out = none;
    return word_take(r, infinity) || number_read(r, true, out);
}

// band (NUMBER | -inf) , (NUMBER | inf)
static bool band_read(Reader *r) {
    Band *band = &r->p->band;
    if (r->p->skeleton != TILE_ATTEND)
        return diag_error(r->diag, span_line(r), "only an attend program has a band");
    return bound_read(r, "-inf", BAND_LEAST, &band->lo) && word_expect(r, ",") &&
           bound_read(r, "inf", BAND_MOST, &band->hi);
}

// deal NUMBER
static bool deal_read(Reader *r) {
    if (r->p->skeleton != TILE_ATTEND)
        return diag_error(r->diag, span_line(r), "only an attend program deals keys");
    return number_read(r, false, &r->p->deal);
}

static bool reverse_read(Reader *r) {
    r->p->reverse = true;
    return r->p->skeleton == TILE_CHUNK ||
           diag_error(r->diag, span_line(r), "only a chunk program is walked in reverse");
}

static bool segments_read(Reader *r) {
    r->p->segments = true;
    return r->p->skeleton == TILE_CHUNK ||
           diag_error(r->diag, span_line(r), "only a chunk program has segments");
}

static bool body_line_read(Reader *r) {
    Tail tail = {0};
    if (word_take(r, "%")) return value_read(r, &tail) && op_checked(r, &tail);
    if (word_take(r, "store")) return store_read(r, &tail) && op_checked(r, &tail);
    bool adds = word_take(r, "scatter_add");
    if (adds || word_take(r, "scatter_put"))
        return scatter_read(r, adds, &tail) && op_checked(r, &tail);
    if (word_take(r, "limit")) return limit_read(r, &tail) && op_checked(r, &tail);
    if (word_take(r, "start")) return start_read(r, &tail) && op_checked(r, &tail);
    if (word_take(r, "sort")) return sort_read(r, &tail) && op_checked(r, &tail);
    if (word_take(r, "next")) return next_read(r, &tail) && op_checked(r, &tail);
    if (word_take(r, "arg")) return arg_read(r);
    if (word_take(r, "knob")) return knob_read(r);
    if (word_take(r, "band")) return band_read(r);
    if (word_take(r, "deal")) return deal_read(r);
    if (word_take(r, "reverse")) return reverse_read(r);
    if (word_take(r, "segments")) return segments_read(r);
    for (int role = DIM_GRID; role <= DIM_K; role++)
        if (word_take(r, tile_role_text((TileRole)role))) return dim_read(r, (TileRole)role);
    return diag_error(r->diag, span_here(r),
                      "a dimension, argument, knob or operation expected");
}

// Moves to the first line that is not empty. False at the end of the text.
static bool line_next(Reader *r) {
    while (true) {
        blanks_skip(r);
        if (r->at == r->text.len) return false;
        r->line = r->at;
        if (r->text.ptr[r->at] != '\n') return true;
        r->at++;
    }
}

static bool line_end(Reader *r) {
    blanks_skip(r);
    if (r->at == r->text.len || r->text.ptr[r->at] == '\n') return true;
    return diag_error(r->diag, span_here(r), "the end of the line expected");
}

// tile NAME (stream|loop|attend|chunk)
static bool head_read(Reader *r) {
    Str name = {0};
    if (!line_next(r))
        return diag_error(r->diag, span_here(r), "there is no tile program in this text");
    if (!word_expect(r, "tile") || !name_new_read(r, &name)) return false;
    for (int skeleton = TILE_STREAM; skeleton <= TILE_CHUNK; skeleton++) {
        if (!word_take(r, tile_skeleton_text((TileSkeleton)skeleton))) continue;
        r->p = tile_new(r->arena, name, (TileSkeleton)skeleton);
        return line_end(r);
    }
    return diag_error(r->diag, span_here(r), "'stream', 'loop', 'attend' or 'chunk' expected");
}

bool tile_read(Diag *diag, Arena *arena, uint32_t file, TileProgram **out) {
    Reader r = {
        .diag = diag, .arena = arena, .file = file, .text = diag_source(diag, file)->text};
    if (!head_read(&r)) return false;
    while (line_next(&r))
        if (!body_line_read(&r) || !line_end(&r)) return false;
    *out = r.p;
    return true;
}
